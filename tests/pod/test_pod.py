"""A worker pod's process, as the Job starts it, against the real results service."""

import contextlib
import http.server
import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest

from tests.pod.pods import SEARCH, Pods
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tests.warm import Program
from tuningjob import local
from tuningjob.manifest import load
from tuningjob.protocol.records import SearchState
from tuningjob.search.problem import prepare
from tuningjob.search.results import gather
from tuningjob.search.stop import Stop

pytestmark = pytest.mark.slow


def test_two_pods_share_a_search_one_dies_and_the_answer_is_scikit_learns(
    pods: Pods, patient_forest: dict[str, Any]
) -> None:
    journal = pods.service.journal
    pods.open(patient_forest)
    first, second = pods.start(0), pods.start(1)
    pods.until("both have reported", lambda: set(journal.reporters(SEARCH)) == {0, 1})
    first.send_signal(signal.SIGTERM)
    assert pods.wait(first)[0] == 143
    replacement = pods.start(0)
    pods.hurry()
    assert {pods.wait(second)[0], pods.wait(replacement)[0]} == {0}

    assert journal.progress(SEARCH).state is SearchState.COMPLETE
    assert journal.report_counts(SEARCH) == {1: 90}
    problem, want = sklearn_search_of(load(patient_forest).spec)
    assert_equal_to_the_bit(gather(problem, journal.view(SEARCH).results()).cv_results, want.cv_results_)
    answer = journal.progress(SEARCH).answer
    assert answer is not None
    assert (answer.best_index, answer.best_score, answer.best_params) == (
        want.best_index_,
        want.best_score_,
        want.best_params_,
    )
    with pods.service.artifacts.open(SEARCH, "model.joblib") as file:
        np.testing.assert_array_equal(
            joblib.load(file).predict_proba(problem.data.X), want.predict_proba(problem.data.X)
        )
    with pods.service.artifacts.open(SEARCH, "report.html") as file:
        assert b"see tuningjob history job" in file.read()


def test_pods_that_prune_share_what_they_know_one_is_killed_and_the_answer_is_scikit_learns(
    pods: Pods, patient_forest: dict[str, Any]
) -> None:
    journal = pods.service.journal
    patient_forest["spec"]["search"]["grid"]["parameters"] = {
        "n_estimators": [4],
        "max_leaf_nodes": [2, 4, 8],
        "min_impurity_decrease": {"linspace": [0.001, 0.3, 7]},
    }
    patient_forest["spec"] |= {"prune": "certain", "crossValidation": {"folds": 7}}
    pods.open(patient_forest)
    first, second = pods.start(0), pods.start(1)
    pods.until("both have reported", lambda: set(journal.reporters(SEARCH)) == {0, 1})
    os.killpg(first.pid, signal.SIGKILL)
    pods.wait(first)
    replacement = pods.start(0)
    pods.hurry()
    assert {pods.wait(second)[0], pods.wait(replacement)[0]} == {0}

    progress = journal.progress(SEARCH)
    assert progress.state is SearchState.COMPLETE
    assert journal.report_counts(SEARCH) == {1: progress.total}
    assert 0 < progress.pruned < progress.total
    _, want = sklearn_search_of(load(patient_forest).spec)
    answer = progress.answer
    assert answer is not None
    assert (answer.best_index, answer.best_score, answer.best_params) == (
        want.best_index_,
        want.best_score_,
        want.best_params_,
    )
    for cell in journal.view(SEARCH).results():
        if not cell.pruned and cell.candidate < len(want.cv_results_["params"]):
            assert cell.test_scores == {"score": want.cv_results_[f"split{cell.split}_test_score"][cell.candidate]}
    (row,) = journal.audit.history(namespace="team", model_key="job")
    assert row.pruned_fits == progress.pruned


def test_pods_go_through_stages_together_one_dies_and_the_answer_is_scikit_learns(
    pods: Pods, patient_forest: dict[str, Any]
) -> None:
    journal = pods.service.journal
    patient_forest["spec"]["search"]["halving"] = {"factor": 3, "minResources": 30}
    pods.open(patient_forest)
    first, second = pods.start(0), pods.start(1)
    pods.until("the second stage", lambda: journal.progress(SEARCH).done > 90)
    os.killpg(first.pid, signal.SIGKILL)
    pods.wait(first)
    replacement = pods.start(0)
    pods.hurry()
    assert {pods.wait(second)[0], pods.wait(replacement)[0]} == {0}

    assert journal.progress(SEARCH).state is SearchState.COMPLETE
    problem, want = sklearn_search_of(load(patient_forest).spec)
    assert set(journal.report_counts(SEARCH)) == {1}
    assert set(journal.reporters(SEARCH)) == {0, 1}
    assert_equal_to_the_bit(gather(problem, journal.view(SEARCH).results()).cv_results, want.cv_results_)
    answer = journal.progress(SEARCH).answer
    assert answer is not None
    assert (answer.best_index, answer.best_params) == (want.best_index_, want.best_params_)


# how it goes on after the grid, the grid, and when a pod dies: in a round after the first, in an outer fold
BEYOND_THE_GRID: dict[str, tuple[dict[str, Any], list[int], int]] = {
    "refine": ({"refine": {"rounds": 2}}, [4, 76, 9], 40),
    "nested": ({"nested": {"folds": 2, "shuffle": True, "randomState": 0}}, [4, 10, 1], 45),
}


@pytest.mark.parametrize("kind", BEYOND_THE_GRID)
def test_a_pod_that_is_killed_beyond_the_grid_costs_nothing(
    kind: str, pods: Pods, patient_forest: dict[str, Any], tmp_path: Path
) -> None:
    journal = pods.service.journal
    beside, leaves, cells = BEYOND_THE_GRID[kind]
    search = {"grid": {"parameters": {"n_estimators": [4], "max_leaf_nodes": {"range": leaves}}}, **beside}
    patient_forest["spec"]["search"] = search
    pods.open(patient_forest)
    first, second = pods.start(0), pods.start(1)
    pods.until("what comes after the grid", lambda: journal.progress(SEARCH).done > cells)
    os.killpg(first.pid, signal.SIGKILL)
    pods.wait(first)
    replacement = pods.start(0)
    pods.hurry()
    assert {pods.wait(second)[0], pods.wait(replacement)[0]} == {0}

    assert journal.progress(SEARCH).state is SearchState.COMPLETE
    assert set(journal.report_counts(SEARCH)) == {1}, "no cell was fitted twice"
    job = load(patient_forest)
    # of which tests/search holds each part to scikit-learn's
    want = local.run(job, folder=tmp_path, output=tmp_path / "at once", stop=Stop())
    found = gather(prepare(job.spec, tmp_path), journal.view(SEARCH).results())
    assert_equal_to_the_bit(found.cv_results, want.results.cv_results)
    answer = journal.progress(SEARCH).answer
    assert answer is not None
    assert (answer.best_index, answer.best_params, answer.nested) == (
        want.answer.best_index,
        want.answer.best_params,
        want.answer.nested,
    )
    assert (answer.nested is not None) == (kind == "nested")


def test_a_service_that_is_restarted_in_the_middle_costs_nothing(pods: Pods, patient_forest: dict[str, Any]) -> None:
    pods.open(patient_forest, pods=1)
    pod = pods.start(0)
    pods.until("ten cells", lambda: pods.service.journal.progress(SEARCH).done >= 10)
    pods.service.restart()
    pods.hurry()
    assert pods.wait(pod)[0] == 0
    assert pods.service.journal.report_counts(SEARCH) == {1: 90}


def test_what_cannot_be_searched_is_refused_with_exit_code_2(pods: Pods, iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["data"] = {"path": "nowhere.csv", "target": "label", "configMap": "table"}
    pods.open(iris_forest)
    code, said = pods.wait(pods.start(0))
    assert code == 2
    assert "spec.data.path: must be a file below" in said
    progress = pods.service.journal.progress(SEARCH)
    assert progress.state is SearchState.REFUSED
    assert progress.refusal is not None
    assert progress.refusal.problems[0]["field"] == "spec.data.path"
    assert progress.refusal.problems[0]["reason"] == "DataLoad"
    # and a pod that comes later goes home
    assert pods.wait(pods.start(1)) == (0, "the search has ended: Refused\n")


def test_a_pod_that_reads_other_data_than_the_first_is_refused(pods: Pods, forest: dict[str, Any]) -> None:
    (pods.folder / "t.csv").write_text("a,label\n" + "".join(f"{i},{i % 2}\n" for i in range(40)))
    forest["spec"]["data"] = {"path": "t.csv", "target": "label", "configMap": "table"}
    forest["spec"]["search"]["grid"]["parameters"] = {"max_leaf_nodes": {"range": [2, 300]}}
    pods.open(forest)
    pods.start(0)
    pods.until("the preflight", lambda: pods.service.journal.progress(SEARCH).preflight is not None)
    (pods.folder / "t.csv").write_text("a,label\n" + "".join(f"{-i},{i % 2}\n" for i in range(40)))
    code, said = pods.wait(pods.start(1))
    assert code == 2
    assert "spec.data: must be the same for every worker" in said


def test_a_search_whose_every_fit_would_fail_is_refused_by_the_first_pod(
    pods: Pods, iris_forest: dict[str, Any]
) -> None:
    iris_forest["spec"]["search"]["grid"]["parameters"] = {"bootstrap": [False], "oob_score": [True]}
    pods.open(iris_forest)
    code, said = pods.wait(pods.start(0))
    assert code == 2, said
    progress = pods.service.journal.progress(SEARCH)
    assert progress.state is SearchState.REFUSED
    assert progress.refusal is not None
    (problem,) = progress.refusal.problems
    assert problem["reason"] == "EveryFitFails"
    assert "Out of bag estimation only available if bootstrap=True" in problem["advice"]


def test_a_search_whose_every_fit_fails_exits_3(pods: Pods, iris_forest: dict[str, Any]) -> None:
    # for lack of memory, which proves nothing of the other fits
    iris_forest["spec"]["estimator"] = {"class": "tests.search.estimators.Starved"}
    iris_forest["spec"]["search"]["grid"]["parameters"] = {"max_depth": [2]}
    pods.open(iris_forest)
    code, said = pods.wait(pods.start(0))
    assert code == 3
    assert "all 5 fits failed" in said
    failure = pods.service.journal.progress(SEARCH).failure
    assert failure is not None
    assert "MemoryError: no room" in failure


def catches_sigterm(process: "Program | subprocess.Popen[str]") -> bool:
    caught = next(
        line for line in Path(f"/proc/{process.pid}/status").read_text().splitlines() if line.startswith("SigCgt")
    )
    return bool(int(caught.split()[1], 16) & (1 << (signal.SIGTERM - 1)))


def test_a_pod_that_is_asked_to_stop_before_it_began_stops_at_once(pods: Pods) -> None:
    """While it imports scikit-learn, or while it waits for a service that is not there."""
    pod = pods.start_cold(0, url="http://127.0.0.1:9")
    pods.until("a handler for SIGTERM", lambda: catches_sigterm(pod))
    pod.terminate()
    assert pods.wait(pod)[0] == 143
    with asked_in_vain() as (url, asked):
        waiting = pods.start(0, url=url)
        pods.until("it asks the service", asked.is_set)
        waiting.terminate()
        assert pods.wait(waiting)[0] == 143


@contextlib.contextmanager
def asked_in_vain() -> Iterator[tuple[str, threading.Event]]:
    """A service that answers 503: its address, and whether it has been asked."""
    asked = threading.Event()

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(503)
            asked.set()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()
        thread.join()
