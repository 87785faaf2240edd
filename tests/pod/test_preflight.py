"""The first pod's look at a search: what it refuses, what it warns of, what it expects; and what the pods after it make of that."""

from dataclasses import replace
from typing import Any

import pytest
from sklearn.datasets import load_iris

from tests.journal.makers import a_preflight
from tests.pod.patient import FIT_SECONDS
from tests.pod.pods import SEARCH, Pods
from tests.servers.ports import free_port
from tuningjob.manifest import load
from tuningjob.protocol.records import Pilot, Preflight, SearchState, Spread
from tuningjob.search.cells import preflight_of
from tuningjob.search.problem import prepare

pytestmark = pytest.mark.slow

MIB = 2**20


def preflight(pods: Pods) -> Preflight:
    found = pods.service.journal.progress(SEARCH).preflight
    assert found is not None
    return found


@pytest.fixture
def patient(iris_forest: dict[str, Any]) -> dict[str, Any]:
    """A search of fits that take as long as a test says."""
    iris_forest["spec"]["estimator"] = {"class": "tests.pod.patient.Patient", "params": {"random_state": 0}}
    iris_forest["spec"]["search"]["grid"]["parameters"] = {"max_depth": [1, 2, 3], "min_samples_leaf": [1, 2]}
    return iris_forest


def test_mode_plan_leaves_the_forecast_and_runs_nothing(pods: Pods, patient: dict[str, Any]) -> None:
    patient["spec"]["mode"] = "Plan"
    pods.open(patient, pods=1)
    code, said = pods.wait(pods.start(0, **{FIT_SECONDS: "0.2"}))
    assert code == 0, said
    assert "planned:" in said
    progress = pods.service.journal.progress(SEARCH)
    assert (progress.done, progress.state) == (0, SearchState.RUNNING)  # to end it is the operator's
    pilot = preflight(pods).pilot
    assert pilot is not None
    assert pilot.full >= 2
    assert 0.15 < pilot.cell_seconds.expected < 0.4
    assert pilot.process_bytes.high > 0
    assert pilot.pod_bytes > 50 * MIB


def test_a_long_search_begins_with_a_short_pilot(pods: Pods, patient: dict[str, Any]) -> None:
    patient["spec"]["search"]["grid"]["parameters"]["max_leaf_nodes"] = {"range": [2, 12]}
    pods.open(patient, pods=1)
    pod = pods.start(0, **{FIT_SECONDS: "0.1"})
    pods.until("the first cell", lambda: pods.service.journal.progress(SEARCH).done > 0)
    pod.terminate()
    assert pods.wait(pod)[0] == 143
    pilot = preflight(pods).pilot
    assert pilot is not None
    assert pilot.cells >= 2
    # and who comes later does not measure again
    again = pods.start(0, **{FIT_SECONDS: "0"})
    assert pods.wait(again)[0] == 0
    assert preflight(pods).pilot == pilot


def test_a_pilot_that_kills_what_it_is_in_ends_no_search(pods: Pods, patient: dict[str, Any]) -> None:
    patient["spec"]["estimator"] = {"class": "tests.pod.lethal.Lethal", "params": {"random_state": 0}}
    patient["spec"]["search"]["grid"]["parameters"] = [
        {"deadly": ["process"], "max_depth": [1, 2, 3]},
        {"deadly": [""], "max_depth": [1]},
    ]
    patient["spec"]["mode"] = "Plan"
    pods.open(patient, pods=1)
    code, said = pods.wait(pods.start(0))
    assert code == 0, said
    (warning,) = preflight(pods).warnings
    assert warning.startswith("PilotFailed: 3 of 4 candidates failed")
    assert "was killed by SIGKILL" in warning


def test_warnings_are_said_and_kept(pods: Pods, patient: dict[str, Any]) -> None:
    patient["spec"]["estimator"] = {"class": "sklearn.tree.DecisionTreeClassifier"}
    patient["spec"]["search"]["grid"]["parameters"]["max_depth"] = [-1, 1]
    pods.open(patient, pods=1)
    code, said = pods.wait(pods.start(0))
    assert code == 0, said
    assert [warning.partition(":")[0] for warning in preflight(pods).warnings] == [
        "UnseededEstimator",
        "ParameterInvalid",
    ]
    assert "warning: UnseededEstimator: " in said


def test_n_jobs_is_lowered_until_the_pilots_processes_fit_the_pods_memory(pods: Pods, patient: dict[str, Any]) -> None:
    pods.open(patient, pods=1)
    found = preflight_of(prepare(load(patient).spec, pods.folder), 2)
    pilot = Pilot(
        cell_seconds=Spread(low=1.0, expected=1.0, high=1.0),
        process_bytes=Spread(low=0.0, expected=100.0 * MIB, high=150.0 * MIB),
        pod_bytes=200 * MIB,
        cells=3,
    )
    pods.service.journal.view(SEARCH).set_preflight(replace(found, pilot=pilot))
    code, said = pods.wait(pods.start(0, TUNINGJOB_N_JOBS="4", TUNINGJOB_MEMORY_BYTES=str(600 * MIB)))
    assert code == 0, said
    assert "n_jobs 2, lowered from 4 for the pod's memory" in said


@pytest.mark.parametrize(
    ("module", "told"),
    [("broken_module", "RuntimeError: no licence was found"), ("leaving_module", "SystemExit: 0")],
)
def test_code_that_cannot_be_imported_is_a_refusal_and_no_crash(
    pods: Pods, patient: dict[str, Any], module: str, told: str
) -> None:
    patient["spec"]["estimator"] = {"class": f"tests.search.{module}.Tree"}
    pods.open(patient, pods=1)
    code, said = pods.wait(pods.start(0))
    assert code == 2, said
    refusal = pods.service.journal.progress(SEARCH).refusal
    assert refusal is not None
    assert refusal.problems[0]["reason"] == "CodeImport"
    assert told in refusal.problems[0]["advice"]


def test_whatever_the_users_code_raises_is_a_refusal_with_the_end_of_its_traceback(
    pods: Pods, patient: dict[str, Any]
) -> None:
    patient["spec"]["estimator"] = {"class": "tests.search.estimators.Capricious"}
    pods.open(patient, pods=1)
    code, said = pods.wait(pods.start(0))
    assert code == 2, said
    refusal = pods.service.journal.progress(SEARCH).refusal
    assert refusal is not None
    (problem,) = refusal.problems
    assert problem["reason"] == "PreflightFailed"
    assert problem["advice"].endswith("RuntimeError: not before noon\n")
    assert "in get_params" in problem["advice"]


def test_a_fit_that_hangs_is_a_failed_cell_of_a_search_that_completes(pods: Pods, patient: dict[str, Any]) -> None:
    patient["spec"]["estimator"] = {"class": "tests.search.estimators.Hanging", "params": {"random_state": 0}}
    patient["spec"]["search"]["grid"]["parameters"] = {"hangs": [False, True]}
    patient["spec"]["crossValidation"] = {"folds": 2}
    patient["spec"]["limits"] = {"fitTimeoutSeconds": 1}
    pods.open(patient, pods=1)
    code, said = pods.wait(pods.start(0))
    assert code == 0, said
    answer = pods.service.journal.progress(SEARCH).answer
    assert answer is not None
    assert (answer.failed_fits, answer.best_params) == (2, {"hangs": False})


def test_the_first_pod_tells_how_many_splits_there_are_if_only_the_data_do(
    pods: Pods, iris_forest: dict[str, Any]
) -> None:
    """Both pods fit the splits of the same file, and the first one's findings are in the journal before anything is claimed."""
    table = load_iris(as_frame=True).frame
    table["fold"] = [row % 4 - 1 for row in range(len(table))]
    table.to_csv(pods.folder / "iris.csv", index=False)
    iris_forest["spec"] |= {
        "estimator": {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}},
        "search": {"grid": {"parameters": {"max_depth": [1, 2]}}},
        "data": {"path": "iris.csv", "target": "target", "configMap": "any"},
        "crossValidation": {"predefined": "fold"},
    }
    pods.open(iris_forest)
    assert pods.service.journal.progress(SEARCH).total == 0
    for index in (0, 1):
        code, said = pods.wait(pods.start(index))
        assert code == 0, said
    progress = pods.service.journal.progress(SEARCH)
    assert (progress.splits, progress.total, progress.done, progress.state) == (3, 6, 6, SearchState.COMPLETE)
    assert preflight(pods).splits == 3


def test_a_pods_own_memory_is_what_its_data_are_held_against(pods: Pods, patient: dict[str, Any]) -> None:
    rows = "".join(f"{i},{i / 7:.6f},{i % 2}\n" for i in range(60_000))
    (pods.folder / "t.csv").write_text(f"a,b,label\n{rows}")
    patient["spec"]["data"] = {"path": "t.csv", "target": "label", "configMap": "table"}
    pods.open(patient, pods=1)
    code, said = pods.wait(pods.start(0, TUNINGJOB_MEMORY_BYTES=str(16 * MIB)))
    assert code == 2
    assert "spec.data.path: must be data that fit in the pod's memory (16 MiB, of which" in said
    refusal = pods.service.journal.progress(SEARCH).refusal
    assert refusal is not None
    assert refusal.problems[0]["reason"] == "DataTooLarge"


def test_data_that_no_pod_has_reached_yet_refuse_the_search(pods: Pods, patient: dict[str, Any]) -> None:
    patient["spec"]["data"] = {"url": f"https://127.0.0.1:{free_port()}/t.csv", "target": "label"}
    pods.open(patient, pods=1)
    code, said = pods.wait(pods.start(0))
    assert code == 2
    assert "Tried 3 times: [Errno 111] Connection refused" in said
    assert pods.service.journal.progress(SEARCH).state is SearchState.REFUSED


def test_data_that_others_have_reached_leave_the_search_as_it_is(pods: Pods, patient: dict[str, Any]) -> None:
    patient["spec"]["data"] = {"url": f"https://127.0.0.1:{free_port()}/t.csv", "target": "label"}
    pods.open(patient, pods=1)
    pods.service.journal.view(SEARCH).set_preflight(a_preflight())
    code, said = pods.wait(pods.start(0))
    assert code == 4
    assert "Connection refused" in said
    assert pods.service.journal.progress(SEARCH).state is SearchState.RUNNING
