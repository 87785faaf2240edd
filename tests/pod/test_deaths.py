"""A cell that kills its pod costs two pods and itself, and nothing else."""

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from tests.pod.patient import FIT_SECONDS, HURRY
from tests.pod.pods import SEARCH, Pods
from tests.search.searches import small
from tests.truth import assert_equal_to_the_bit, sklearn_search, sklearn_search_of
from tests.warm import Program, warm
from tuningjob.journal.sql import open_sqlite
from tuningjob.manifest import load
from tuningjob.protocol.records import Cell, SearchState
from tuningjob.search.results import gather

pytestmark = pytest.mark.slow

DEPTHS = [1, 2, 3, 4, 5, 6]


def lethal(how: str) -> dict[str, Any]:
    """Twelve candidates, of which the first split of one ends what fits it."""
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": "lethal"},
        "spec": {
            "estimator": {"class": "tests.pod.lethal.Lethal", "params": {"random_state": 0}},
            "search": {
                "grid": {
                    "parameters": [
                        {"deadly": [""], "max_depth": DEPTHS},
                        {"deadly": [how], "max_depth": [3]},
                        {"deadly": [""], "max_depth": DEPTHS},
                    ]
                }
            },
            "data": {"loader": "sklearn.datasets.load_iris"},
        },
    }


CULPRIT = Cell(len(DEPTHS), 0)


def test_what_kills_its_pod_is_tried_alone_and_then_told_as_failed_and_the_search_goes_on(pods: Pods) -> None:
    pods.open(lethal("pod"), pods=1)
    for _ in range(2):
        ended, said = pods.wait(pods.start(0))
        assert ended == -signal.SIGKILL, said
    # the second one was alone with it: all that comes before it in the unit is in, and nothing else was begun
    ended, said = pods.wait(pods.start(0))
    assert ended == 0, said
    assert_the_culprit_alone_failed(pods, "pod")


def test_what_kills_its_process_costs_the_pod_nothing(pods: Pods) -> None:
    pods.open(lethal("process"), pods=1)
    ended, said = pods.wait(pods.start(0))
    assert ended == 0, said
    assert said.count("What it was at is tried once more, alone.") == 2
    assert_the_culprit_alone_failed(pods, "process")


def assert_the_culprit_alone_failed(pods: Pods, how: str) -> None:
    journal = pods.service.journal
    assert journal.progress(SEARCH).state is SearchState.COMPLETE
    assert journal.progress(SEARCH).deaths >= 2
    assert journal.report_counts(SEARCH) == {1: 65}
    (failed,) = [result for result in journal.view(SEARCH).results() if result.error is not None]
    assert failed.cell == CULPRIT
    assert "spec.resources.memory" in str(failed.error)
    trees = sklearn_search(small({"max_depth": [*DEPTHS, 3, *DEPTHS]})).cv_results_
    problem = small(lethal(how)["spec"]["search"]["grid"]["parameters"], estimator="tests.pod.lethal.Lethal")
    found = gather(problem, journal.view(SEARCH).results()).cv_results
    for split in range(5):
        want = trees[f"split{split}_test_score"].copy()
        if split == CULPRIT.split:
            want[CULPRIT.candidate] = np.nan
        assert found[f"split{split}_test_score"].tobytes() == want.tobytes()


def test_a_pod_that_is_drained_three_times_has_died_of_nothing(pods: Pods, patient_forest: dict[str, Any]) -> None:
    journal = pods.service.journal
    pods.open(patient_forest, pods=1)
    for _ in range(3):
        wanted = journal.progress(SEARCH).done + 5
        pod = pods.start(0)
        pods.until(f"{wanted} cells", lambda wanted=wanted: journal.progress(SEARCH).done >= wanted)
        pod.terminate()
        assert pods.wait(pod)[0] == 143
    pods.hurry()
    code, said = pods.wait(pods.start(0))
    assert code == 0, said
    assert journal.progress(SEARCH).failed == 0
    assert journal.report_counts(SEARCH) == {1: 90}
    problem, want = sklearn_search_of(load(patient_forest).spec)
    assert_equal_to_the_bit(gather(problem, journal.view(SEARCH).results()).cv_results, want.cv_results_)


def test_a_run_on_a_laptop_that_is_killed_three_times_has_lost_nothing(
    small_forest: dict[str, Any], tmp_path: Path
) -> None:
    manifest = tmp_path / "job.yaml"
    manifest.write_text(yaml.safe_dump(small_forest))
    output, hurry = tmp_path / "out", tmp_path / "hurry"
    environment = os.environ | {FIT_SECONDS: "0.1", HURRY: str(hurry)}

    def started() -> Program:
        return warm().begin("tuningjob.cli", "run", str(manifest), "--output", str(output), env=environment)

    for _ in range(3):
        wanted = cells_in(output) + 5
        run = started()
        Pods.until(f"{wanted} cells", lambda wanted=wanted: cells_in(output) >= wanted)
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
    hurry.touch()
    last = started()
    _, said = last.communicate(timeout=240)
    assert last.returncode == 0, said
    assert cells_in(output) == 90
    journal = open_sqlite(output / "tuning.db")
    try:
        (search_id,) = journal.revisions()
        assert journal.progress(search_id).failed == 0
        assert journal.report_counts(search_id) == {1: 90}
    finally:
        journal.close()


def cells_in(output: Path) -> int:
    if not (output / "tuning.db").exists():
        return 0
    journal = open_sqlite(output / "tuning.db")
    try:
        return sum(journal.progress(search_id).done for search_id in journal.revisions())
    finally:
        journal.close()
