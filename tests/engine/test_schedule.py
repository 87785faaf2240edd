"""What is evaluated next: common work together, the longest first, nobody waiting at the end; every cell once."""

import math
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from tuningjob.engine import AtWork, CellKey, Evaluated, Work
from tuningjob.engine.forecast import Forecast
from tuningjob.engine.schedule import Schedule, Task

FOREST = RandomForestClassifier(random_state=0)


def work(estimator: Any, candidates: list[dict[str, Any]]) -> Work:
    return Work(estimator=estimator, candidates=candidates, X=None, y=None, splits=(), scorer=None)


def cells(candidates: int, splits: int) -> list[CellKey]:
    return [CellKey(candidate, split) for candidate in range(candidates) for split in range(splits)]


def result(cell: CellKey, score: float = 0.5, seconds: float = 1.0) -> Evaluated:
    outcome = {"fit_error": None, "test_scores": score, "fit_time": seconds, "score_time": 0.0, "n_test_samples": 1}
    return Evaluated(cell, outcome)


def done(schedule: Schedule, task: Task, seconds: float = 1.0) -> None:
    for candidate in task.candidates:
        schedule.arrived(task, result(CellKey(candidate, task.split), seconds=seconds))
    schedule.finished(task)


def taken(schedule: Schedule) -> list[Task]:
    return list(iter(schedule.take, None))


def test_candidates_of_one_axis_are_one_task_on_each_split() -> None:
    candidates = [{"n_estimators": n, "max_features": f} for n in (10, 20, 40) for f in (1, 2)]
    schedule = Schedule(work(FOREST, candidates), processes=2, guard=False)
    schedule.add(cells(6, 3))
    tasks = taken(schedule)
    assert sorted((task.split, sorted(task.candidates)) for task in tasks) == [
        (split, part) for split in range(3) for part in ([0, 2, 4], [1, 3, 5])
    ]


def test_pipelines_with_a_common_beginning_stay_together() -> None:
    pipeline = Pipeline([("scale", StandardScaler()), ("model", GaussianNB())])
    candidates = [
        {"model__var_smoothing": s, "scale__with_mean": m} for s in (0.1, 0.2, 0.3, 0.4) for m in (True, False)
    ]
    schedule = Schedule(work(pipeline, candidates), processes=1, guard=False)
    schedule.add(cells(8, 4))
    for task in taken(schedule):
        assert len({candidates[candidate]["scale__with_mean"] for candidate in task.candidates}) == 1


def test_the_longest_expected_task_is_next() -> None:
    candidates = [{"max_features": features} for features in (2, 200, 20, 2_000)]
    schedule = Schedule(work(FOREST, candidates), processes=2, guard=False)
    for features in (2, 20, 200, 2_000):
        schedule.forecast.learn({"max_features": features}, features / 1_000)
    schedule.add(cells(4, 1))
    assert [candidates[task.candidates[0]]["max_features"] for task in taken(schedule)] == [2_000, 200, 20, 2]


def test_the_last_task_is_cut_in_two_where_another_process_would_wait() -> None:
    candidates = [{"var_smoothing": 10.0**-power} for power in range(8)]
    schedule = Schedule(work(GaussianNB(), candidates), processes=2, guard=False)
    schedule.add([CellKey(candidate, 0) for candidate in range(8)])
    tasks = taken(schedule)
    assert sorted(candidate for task in tasks for candidate in task.candidates) == list(range(8))
    assert len(tasks[-1].candidates) == 1


def test_tasks_too_short_to_be_worth_it_are_not_cut() -> None:
    candidates = [{"var_smoothing": 10.0**-power} for power in range(64)]
    schedule = Schedule(work(GaussianNB(), candidates), processes=2, guard=False)
    for candidate in candidates:
        schedule.forecast.learn(candidate, 1e-4)
    schedule.add([CellKey(candidate, 0) for candidate in range(64)])
    assert all(len(task.candidates) == 2 for task in taken(schedule))


def test_of_a_large_x_no_other_fold_is_begun_before_those_in_use_are_done_with() -> None:
    candidates = [{"max_features": f} for f in (1, 2, 3, 4)]
    schedule = Schedule(work(FOREST, candidates), processes=2, guard=False, by_fold=True)
    schedule.add(cells(4, 3))
    at_work: list[Task] = []
    folds_in_use = []
    while schedule.unfinished:
        while len(at_work) < 2 and (task := schedule.take()) is not None:
            at_work.append(task)
        folds_in_use.append(len({task.split for task in at_work}))
        done(schedule, at_work.pop(0))
    assert max(folds_in_use) == 2
    assert folds_in_use.count(2) == 2


def test_results_of_a_group_wait_for_the_guard() -> None:
    candidates = [{"n_estimators": n} for n in (1, 2, 3)]
    schedule = Schedule(work(FOREST, candidates), processes=1)
    schedule.add(cells(3, 2))
    tasks = taken(schedule)
    (watched,) = (task for task in tasks if task.plain)
    for task in tasks:
        if not task.plain:
            done(schedule, task)
    assert schedule.ready() == []
    done(schedule, watched)
    assert sorted(each.cell for each in schedule.ready()) == sorted(cells(3, 2))


def test_the_guard_speaks_once_the_first_task_of_a_group_is_done() -> None:
    candidates = [{"n_estimators": n} for n in (1, 2, 3)]
    schedule = Schedule(work(FOREST, candidates), processes=1)
    schedule.add(cells(3, 2))
    for expected in ([], cells(3, 2)[::2], cells(3, 2)[1::2]):
        task = schedule.take()
        assert task is not None
        done(schedule, task)
        assert [each.cell for each in schedule.ready()] == sorted(expected)
    assert schedule.unfinished == 0


def test_one_verdict_on_a_group_is_enough_for_all_of_it_that_comes_later() -> None:
    candidates = [{"n_estimators": n} for n in (1, 2, 3)]
    schedule = Schedule(work(FOREST, candidates), processes=1)
    for split in range(4):
        schedule.add([CellKey(candidate, split) for candidate in range(3)])
        for task in iter(schedule.take, None):
            done(schedule, task)
    assert len(schedule.ready()) == 12
    assert schedule.guarded == 1


@pytest.mark.filterwarnings("ignore::tuningjob.engine.guard.GuardTripped")
def test_what_is_left_of_a_condemned_group_is_not_shared_any_more() -> None:
    candidates = [{"n_estimators": n} for n in (1, 2, 3)]
    schedule = Schedule(work(FOREST, candidates), processes=1)
    schedule.add(cells(3, 3))
    told: list[CellKey] = []
    shared = 0

    def work_off() -> None:
        nonlocal shared
        while (task := schedule.take()) is not None:
            shared += not task.plain
            for cell in task.cells:
                schedule.arrived(task, result(cell, 0.5 if task.plain else 0.25))
            schedule.finished(task)
            ready = schedule.ready()
            assert {each.outcome["test_scores"] for each in ready} <= {0.5}
            told.extend(each.cell for each in ready)

    work_off()
    schedule.add([CellKey(candidate, 3) for candidate in range(3)])  # it is known by now
    work_off()
    assert sorted(told) == sorted(cells(3, 4))
    assert shared == 1
    assert schedule.tripped == 1


def test_cells_of_a_group_that_never_come_together_are_watched_all_the_same() -> None:
    candidates = [{"n_estimators": n} for n in (1, 2)]
    schedule = Schedule(work(FOREST, candidates), processes=1)
    schedule.add([CellKey(0, 0)])
    schedule.add([CellKey(1, 0), CellKey(0, 1)])
    for task in iter(schedule.take, None):
        done(schedule, task)
    assert len(schedule.ready()) == 3


def test_a_task_whose_process_is_gone_is_done_again_without_what_has_arrived() -> None:
    candidates = [{"max_features": f} for f in (1, 2, 3, 4)]
    schedule = Schedule(work(FOREST, candidates), processes=1, guard=False)
    schedule.add([CellKey(candidate, 0) for candidate in range(4)])
    (task, *rest) = taken(schedule)
    for other in rest:
        done(schedule, other)
    first = task.candidates[0]
    culprit = schedule.lost(task, AtWork((CellKey(first, 0),)))
    assert culprit == CellKey(first, 0)
    schedule.give(task, result(culprit))
    for again in taken(schedule):
        done(schedule, again)
    assert sorted(each.cell.candidate for each in schedule.ready()) == [0, 1, 2, 3]


@pytest.mark.slow
@given(st.integers(1, 3), st.integers(1, 3), st.integers(0, 2**32))
def test_every_cell_is_told_once_whatever_comes_in_which_order(splits: int, processes: int, seed: int) -> None:
    chance = Random(seed)
    candidates = [{"n_estimators": n, "max_features": f} for n in (1, 2, 3) for f in (1, 2)]
    schedule = Schedule(work(FOREST, candidates), processes, seed=chance.randrange(10))
    wanted = cells(6, splits)
    schedule.add(wanted[: len(wanted) // 2])
    schedule.add(wanted[len(wanted) // 2 :])
    told: list[CellKey] = []
    at_work: list[Task] = []
    while schedule.unfinished:
        task = schedule.take() if not at_work or chance.random() < 0.5 else None
        if task is not None:
            at_work.append(task)
            continue
        ending = at_work.pop(chance.randrange(len(at_work)))
        lost = chance.random() < 0.2
        arriving = ending.candidates[: chance.randrange(len(ending.candidates) + 1)] if lost else ending.candidates
        for candidate in arriving:
            schedule.arrived(ending, result(CellKey(candidate, ending.split)))
        if lost:
            schedule.lost(ending, None)
        else:
            schedule.finished(ending)
        told += [each.cell for each in schedule.ready()]
    assert sorted(told) == sorted(wanted)


def test_a_forecast_learns_that_cost_grows_with_a_parameter() -> None:
    forecast = Forecast()
    for trees in (10, 20, 40, 80):
        for kind, factor in (("gini", 1.0), ("entropy", 3.0)):
            forecast.learn({"n_estimators": trees, "criterion": kind}, 0.01 * trees * factor)
    assert forecast.is_measured
    expected = forecast.seconds({"n_estimators": 160, "criterion": "entropy"})
    assert 0.3 < expected / (0.01 * 160 * 3) < 3
    assert forecast.seconds({"n_estimators": 40, "criterion": "entropy"}) > forecast.seconds(
        {"n_estimators": 40, "criterion": "gini"}
    )


def test_before_anything_is_measured_a_forecast_goes_by_sizes() -> None:
    forecast = Forecast()
    assert forecast.seconds({"model__n_estimators": 50, "C": 3}) == 50
    assert forecast.seconds({}) == 1


@pytest.mark.parametrize("value", [math.nan, math.inf, 0, -1, True, None, "text", (1, 2)])
def test_a_forecast_takes_any_value(value: Any) -> None:
    forecast = Forecast()
    for _ in range(8):
        forecast.learn({"C": value, "n_estimators": value}, 0.1)
    assert forecast.seconds({"C": value, "n_estimators": value}) == pytest.approx(0.1, rel=0.5)
