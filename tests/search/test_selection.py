"""Each rule chooses what a refit callable chooses that was written by hand, of any table and in a search of scikit-learn's."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.search.test_metrics import by_hand, job, prepared, spec
from tests.truth import assert_equal_to_the_bit
from tuningjob import local
from tuningjob.manifest.select import Select
from tuningjob.search.selection import choose
from tuningjob.search.stop import Stop

Table = dict[str, Any]
Rule = Callable[[Table], int]

SPLITS = 3
GRID = {"grid": {"parameters": {"max_depth": [None, 8, 4, 2, 1], "min_samples_leaf": [1, 20]}}}


# --- rules as somebody writes them for scikit-learn, a loop at a time


def candidates(table: Table, metric: str) -> list[int]:
    return [i for i, mean in enumerate(table[f"mean_test_{metric}"]) if not math.isnan(mean)]


def highest(table: Table, metric: str, among: list[int]) -> int:
    found = among[0]
    for i in among:
        if table[f"mean_test_{metric}"][i] > table[f"mean_test_{metric}"][found]:
            found = i
    return found


def within_gap(table: Table, metric: str, most: float) -> list[int]:
    gaps = {i: table[f"mean_train_{metric}"][i] - table[f"mean_test_{metric}"][i] for i in candidates(table, metric)}
    kept = [i for i, gap in gaps.items() if gap <= most]
    known = {i: gap for i, gap in gaps.items() if not math.isnan(gap)}
    return kept or [i for i, gap in known.items() if gap == min(known.values())] or list(gaps)


def one_standard_error(table: Table, metric: str, among: list[int]) -> int:
    """The shallowest tree within one standard error, of equally shallow ones that with the larger leaves, then the better one."""
    best = highest(table, metric, among)
    scores = [table[f"split{split}_test_{metric}"][best] for split in range(SPLITS)]
    error = math.sqrt(sum((score - sum(scores) / SPLITS) ** 2 for score in scores) / (SPLITS - 1)) / math.sqrt(SPLITS)
    near = [i for i in among if table[f"mean_test_{metric}"][i] >= table[f"mean_test_{metric}"][best] - error]

    def depth(i: int) -> float:
        return table["params"][i]["max_depth"] or math.inf

    found = near[0]
    for i in near:
        leaf, other = table["params"][i]["min_samples_leaf"], table["params"][found]["min_samples_leaf"]
        if depth(i) != depth(found):
            found = i if depth(i) < depth(found) else found
        elif leaf != other:
            found = i if leaf > other else found
        elif table[f"mean_test_{metric}"][i] > table[f"mean_test_{metric}"][found]:
            found = i
    return found


def fastest(table: Table, metric: str, among: list[int], most: float) -> int:
    best = table[f"mean_test_{metric}"][highest(table, metric, among)]
    near = [i for i in among if table[f"mean_test_{metric}"][i] >= best - most]
    return min(near, key=lambda i: (table["mean_fit_time"][i], -table[f"mean_test_{metric}"][i], i))


def most_stable(table: Table, metric: str, among: list[int], deviations: float) -> int:
    lowest = [table[f"mean_test_{metric}"][i] - deviations * table[f"std_test_{metric}"][i] for i in among]
    return among[lowest.index(max(lowest))]


SIMPLEST = {"simplest": [{"max_depth": "ascending"}, {"min_samples_leaf": "descending"}]}


def rules(metric: str) -> dict[str, tuple[dict[str, Any], Rule]]:
    """The manifest, and the callable that is as good."""
    return {
        "one standard error": (
            {"oneStandardError": SIMPLEST},
            lambda table: one_standard_error(table, metric, candidates(table, metric)),
        ),
        "fastest": ({"fastestWithin": 0.02}, lambda table: fastest(table, metric, candidates(table, metric), 0.02)),
        "most stable": (
            {"mostStable": {"deviations": 1.5}},
            lambda table: most_stable(table, metric, candidates(table, metric), 1.5),
        ),
        "the best within a gap": (
            {"maxOverfitGap": 0.03},
            lambda table: highest(table, metric, within_gap(table, metric, 0.03)),
        ),
        "the simplest within a gap": (
            {"oneStandardError": SIMPLEST, "maxOverfitGap": 0.05},
            lambda table: one_standard_error(table, metric, within_gap(table, metric, 0.05)),
        ),
        "a gap that nothing keeps to": (
            {"maxOverfitGap": 0},
            lambda table: highest(table, metric, within_gap(table, metric, 0.0)),
        ),
    }


# --- any table

# multiples of 1/16, so that sums and means are the same in whatever order they are taken, and many are equal
score = st.integers(0, 16).map(lambda number: number / 16) | st.just(math.nan)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    size = draw(st.integers(1, 6))

    def column() -> np.ndarray[Any, Any]:
        return np.array(draw(st.lists(score, min_size=size, max_size=size)))

    test = [column() for _ in range(SPLITS)]
    table: Table = {f"split{split}_test_a": values for split, values in enumerate(test)}
    mean = np.mean(test, axis=0)
    table |= {"mean_test_a": mean, "std_test_a": np.std(test, axis=0), "mean_train_a": column()}
    order = np.where(np.isnan(mean), -np.inf, mean)
    table["rank_test_a"] = np.array([1 + int((order > each).sum()) for each in order], dtype=np.int32)
    table["mean_fit_time"] = np.array(draw(st.lists(st.integers(1, 3), min_size=size, max_size=size)), dtype=float)
    depths, leaves = st.sampled_from([None, 1, 2, 4]), st.sampled_from([1, 20])
    table["params"] = [{"max_depth": draw(depths), "min_samples_leaf": draw(leaves)} for _ in range(size)]
    return table


@pytest.mark.slow
@settings(max_examples=200)
@given(table=tables(), name=st.sampled_from(sorted(rules("a"))))
def test_of_any_table_a_rule_chooses_what_the_one_written_by_hand_chooses(table: Table, name: str) -> None:
    document, by_hand = rules("a")[name]
    choice = choose(Select.model_validate(document), "a", table)
    best = int(table["rank_test_a"].argmin())
    if not candidates(table, "a"):
        assert choice.index == best
        return
    assert choice.index == by_hand(table)
    assert choice.passed_over == (best if choice.index != best else None)
    assert bool(choice.why) == (choice.passed_over is not None)


@pytest.mark.slow
@given(table=tables())
def test_without_a_rule_it_is_scikit_learns_best(table: Table) -> None:
    for select in (None, Select.model_validate({"best": True})):
        choice = choose(select, "a", table)
        assert (choice.index, choice.rule, choice.passed_over) == (int(table["rank_test_a"].argmin()), "best", None)


def test_infinite_scores_are_no_reason_to_raise() -> None:
    table: Table = {
        "mean_test_a": np.array([-math.inf, math.inf, 0.5]), "std_test_a": np.array([math.nan, math.nan, 0.1]),
        "mean_train_a": np.array([math.inf, math.inf, 0.5]), "rank_test_a": np.array([3, 1, 2]),
        "mean_fit_time": np.ones(3), "params": [{}, {}, {}], **{f"split{i}_test_a": np.zeros(3) for i in range(SPLITS)},
    }  # fmt: skip
    for document, _ in rules("a").values():
        assert choose(Select.model_validate(document), "a", table).index in {1, 2}


def test_the_gap_that_is_risky_by_default_is_for_scores_without_a_unit() -> None:
    def risky(scale: float, select: Select | None = None) -> list[bool]:
        table: Table = {
            "mean_test_a": np.array([0.5, 0.5]) * scale, "mean_train_a": np.array([0.54, 0.56]) * scale,
            "rank_test_a": np.array([1, 1]),
        }  # fmt: skip
        return list(choose(select, "a", table).risky.tolist())

    assert risky(1) == [False, True]
    assert risky(100) == [False, False]
    assert risky(100, Select.model_validate({"maxOverfitGap": 5})) == [False, True]


# --- searches

# what a search chooses by times differs from run to run, so no two searches can be compared by it
SEARCHED = [name for name in rules("") if name != "fastest"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "one standard error" else pytest.mark.slow) for name in SEARCHED]
)
def test_a_search_with_a_rule_is_that_of_scikit_learn_with_a_callable(name: str, tmp_path: Path) -> None:
    select, rule = rules("roc_auc")[name]
    document = spec(search=GRID, scoring=["accuracy", "roc_auc"], refit="roc_auc", returnTrainScore=True, select=select)
    want = by_hand(document, tmp_path, ["accuracy", "roc_auc"], rule)

    outcome = local.run(job(document), folder=tmp_path, output=tmp_path / "results", stop=Stop())

    found = joblib.load(tmp_path / "results/search.joblib")
    assert_equal_to_the_bit(outcome.results.cv_results, want.cv_results_)
    assert found.best_index_ == want.best_index_
    assert found.best_params_ == want.best_params_
    X, _ = prepared(document, tmp_path)
    assert found.predict_proba(X).tobytes() == want.predict_proba(X).tobytes()
    assert not hasattr(want, "best_score_")
    assert not hasattr(found, "best_score_")
    # what knows nothing of rules can be loaded where only scikit-learn is
    assert (found.refit, found.multimetric_) == ("roc_auc", True)

    best = int(want.cv_results_["rank_test_roc_auc"].argmin())
    choice = outcome.answer.choice
    assert choice is not None
    assert choice.passed_over == (None if best == want.best_index_ else best)
    assert outcome.answer.best_score == want.cv_results_["mean_test_roc_auc"][want.best_index_]


@pytest.mark.slow
def test_of_one_metric_the_fastest_is_chosen_from_the_times_of_its_own_table(tmp_path: Path) -> None:
    document = spec(search=GRID, scoring="accuracy", select={"fastestWithin": 0.02})
    outcome = local.run(job(document), folder=tmp_path, output=tmp_path / "results", stop=Stop())
    table = outcome.results.cv_results
    assert outcome.results.best_index == fastest(table, "score", candidates(table, "score"), 0.02)
    assert outcome.answer.choice is not None
    assert outcome.answer.choice.rule == "fastestWithin 0.02"
