"""A few fits before the search say what all will cost, disturb nothing, and end in time."""

import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.processes import children_of
from tests.search.searches import small
from tuningjob.protocol.records import Pilot
from tuningjob.search.cells import work_of
from tuningjob.search.pilot import cost_of, estimate_of, run_pilot
from tuningjob.search.problem import SearchProblem
from tuningjob.search.trial import MeasuredFit

MIB = 2**20
MANY = {"loader": "sklearn.datasets.make_classification", "params": {"n_samples": 3_000, "random_state": 0}}


def pilot_of(problem: SearchProblem, *, seconds: float = 20.0, memory_bytes: int = 0) -> Pilot:
    found = run_pilot(problem, n_jobs=2, seconds=seconds, memory_bytes=memory_bytes, always=True)
    assert found.warnings == ()
    assert found.pilot is not None
    return found.pilot


@pytest.mark.slow
def test_a_small_search_is_measured_on_all_rows() -> None:
    pilot = pilot_of(small({"max_depth": [1, 2, 3]}))
    assert pilot.cells >= pilot.full >= 3
    seconds, memory = pilot.cell_seconds, pilot.process_bytes
    assert 0 < seconds.low <= seconds.expected <= seconds.high < 1
    assert 0 < memory.low <= memory.expected <= memory.high < 200 * MIB
    assert 50 * MIB < pilot.pod_bytes < 2_000 * MIB


@pytest.mark.slow
def test_what_the_machine_gives_to_others_is_no_cost_and_what_a_fit_waits_for_is() -> None:
    data = {"loader": "sklearn.datasets.make_classification", "params": {"n_samples": 500, "random_state": 0}}
    pilot = pilot_of(small({"max_depth": [1, 2]}, estimator="tests.search.estimators.Slow", data=data))
    assert pilot.full >= 2
    # 400 rows train in each split, a millisecond each
    assert 0.3 < pilot.cell_seconds.expected < 0.8


@pytest.mark.slow
def test_what_was_measured_on_few_rows_is_carried_on_to_all_of_them() -> None:
    problem = small({"max_depth": [1, 2]}, estimator="tests.search.estimators.Slow", data=MANY)
    pilot = pilot_of(problem, seconds=2.5)  # one fit on all rows alone would take 2.4
    assert pilot.full == 0
    assert pilot.cell_seconds.low <= 2.4 <= pilot.cell_seconds.high
    assert 1.6 < pilot.cell_seconds.expected < 4.8


@pytest.mark.slow
def test_a_fit_that_never_ends_is_killed_when_the_time_is_up() -> None:
    problem = small({"hangs": [True]}, estimator="tests.search.estimators.Hanging")
    before, began = children_of(os.getpid()), time.monotonic()
    found = run_pilot(problem, n_jobs=1, seconds=0.5)
    assert time.monotonic() - began < 5
    assert children_of(os.getpid()) == before
    assert found.pilot is None
    (warning,) = found.warnings
    assert warning == "PilotFailed: no fit on 120 of 120 rows ended within 0.5 s: nothing is known of the costs."


@pytest.mark.slow
def test_a_fit_that_takes_longer_than_fit_timeout_seconds_is_ended_then() -> None:
    problem = small({"hangs": [True]}, estimator="tests.search.estimators.Hanging", limits={"fitTimeoutSeconds": 1})
    (warning,) = run_pilot(problem, n_jobs=1, seconds=2.5, always=True).warnings
    assert "with: the fit took longer than 1 s. The search runs" in warning


def test_a_short_search_is_not_measured() -> None:
    found = run_pilot(small({"max_depth": [1, 2, 3]}), n_jobs=2, seconds=0.7)
    assert (found.pilot, found.warnings) == (None, ())


def test_a_fit_that_fails_is_a_warning_with_its_last_line() -> None:
    forest = "sklearn.ensemble.RandomForestClassifier"
    failing = small({"bootstrap": [False], "oob_score": [True]}, estimator=forest)
    found = run_pilot(failing, n_jobs=1, seconds=20, always=True)
    assert found.pilot is None
    (warning,) = found.warnings
    assert warning.startswith(
        "PilotFailed: 1 of 1 candidates failed when they were tried on 120 of 120 rows, the first one ("
    )
    assert "ValueError: Out of bag estimation only available if bootstrap=True. The search runs" in warning


def test_scoring_that_fails_is_told_before_the_search_as_well() -> None:
    problem = small(
        {"n_neighbors": [3]}, estimator="sklearn.neighbors.KNeighborsClassifier", params={}, scoring="roc_auc"
    )
    (warning,) = run_pilot(problem, n_jobs=1, seconds=20, always=True).warnings
    assert "multi_class must be in" in warning


def test_values_that_scikit_learn_refuses_are_not_tried() -> None:
    assert pilot_of(small({"max_depth": [-1, 2]})).full == 1


def test_a_fit_that_ends_all_of_its_processes_costs_the_pod_nothing() -> None:
    problem = small({"max_depth": [1]}, estimator="tests.search.estimators.Deadly")
    found = run_pilot(problem, n_jobs=1, seconds=20, always=True)
    assert found.pilot is None
    (warning,) = found.warnings
    assert "its process was killed by SIGKILL, mostly for lack of memory" in warning


@pytest.mark.slow
def test_memory_that_a_fit_takes_for_a_moment_is_counted() -> None:
    plain = pilot_of(small({"max_depth": [1]}))
    hungry = pilot_of(small({"max_depth": [1]}, estimator="tests.search.estimators.Hungry"))
    more = hungry.process_bytes.expected - plain.process_bytes.expected
    assert 55 * MIB < more < 90 * MIB


@pytest.mark.slow
def test_a_fit_that_needs_more_than_the_pod_has_fails_alone() -> None:
    # by far more: of what is resident now, the pilot's process may have less, and that is room for it
    problem = small({"max_depth": [1]}, estimator="tests.search.estimators.Insatiable")
    found = run_pilot(problem, n_jobs=1, seconds=20, memory_bytes=resident() + 40 * MIB, always=True)
    assert found.pilot is None
    (warning,) = found.warnings
    assert "MemoryError" in warning


def resident() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmRSS"))) * 1024


@pytest.mark.slow
def test_the_search_is_not_disturbed_by_its_pilot() -> None:
    problem = small({"max_depth": [1, 2], "splitter": ["random"]}, params={})
    np.random.seed(7)
    want = pickle.dumps(np.random.get_state())
    X = problem.data.X.copy()
    np.random.seed(7)
    threads = set(Path("/proc/self/task").iterdir())
    pilot_of(problem)
    assert pickle.dumps(np.random.get_state()) == want
    assert set(Path("/proc/self/task").iterdir()) <= threads
    np.testing.assert_array_equal(work_of(problem).X, X)


# --- what it comes to


def fits(*measured: tuple[int, float, int]) -> list[MeasuredFit]:
    return [MeasuredFit(0, rows, seconds, size) for rows, seconds, size in measured]


@pytest.mark.parametrize(("power", "expected"), [(0.0, 10**0.5), (1.0, 10.0), (2.0, 100.0)])
def test_seconds_follow_a_power_of_the_rows(power: float, expected: float) -> None:
    cost = cost_of(fits((100, 1.0, 1), (1_000, 1.0, 1)), 10_000, power=power, row_bytes=8)
    assert cost.seconds.expected == pytest.approx(expected)
    assert cost.seconds.low < cost.seconds.expected < cost.seconds.high


def test_bytes_follow_a_straight_line_through_the_last_two_sizes() -> None:
    cost = cost_of(fits((100, 1.0, 20 * MIB), (1_000, 1.0, 29 * MIB)), 10_000, power=1.0, row_bytes=8)
    memory = cost.process_bytes
    assert (memory.low, memory.expected) == (29 * MIB, 119 * MIB)
    assert memory.high == pytest.approx(1.1 * (29 + 135) * MIB)


def test_bytes_of_one_size_grow_by_a_few_copies_of_the_rows() -> None:
    cost = cost_of(fits((100, 1.0, 20 * MIB)), 1_100, power=1.0, row_bytes=1_024)
    assert cost.process_bytes.expected == 20 * MIB + 3 * 1_000 * 1_024


def test_values_that_one_fit_covers_cost_their_group_its_dearest() -> None:
    def seconds(search: dict[str, Any]) -> float:
        problem = small(estimator="sklearn.ensemble.RandomForestClassifier", search=search)
        chosen = [dict(problem.candidates[0])]
        return estimate_of(problem, chosen, fits((120, 0.6, MIB)), whole=120, n_jobs=1).cell_seconds.expected

    apart = seconds({"grid": {"parameters": {"n_estimators": [20], "min_impurity_decrease": [0.0, 0.1, 0.2]}}})
    # of trees 10, 20 and 30, which are 60, it takes 30
    assert seconds({"grid": {"parameters": {"n_estimators": [10, 20, 30]}}}) == pytest.approx(apart / 2)
    # candidates that were drawn are fitted one by one
    drawn = {"parameters": {"n_estimators": {"randint": [10, 30]}}, "iterations": 4}
    assert seconds({"random": drawn}) == pytest.approx(apart)
