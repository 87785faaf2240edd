"""A search from coarse to fine: its rounds, and that all of them are those of a GridSearchCV of the same candidates, to the bit."""

import math
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import GridSearchCV

from tests.search.coming_back import assert_comes_back, forged_answer
from tests.search.test_metrics import job, spec
from tests.truth import assert_equal_to_the_bit
from tuningjob import local
from tuningjob.cluster.answer import fitted
from tuningjob.errors import ArtifactRefused, ManifestRefused
from tuningjob.manifest import load_file
from tuningjob.manifest.refine import Refine
from tuningjob.search.problem import prepare
from tuningjob.search.refine import RefinedAxis, axis_of, next_round
from tuningjob.search.stop import Stop
from tuningjob.sizing import size_of

NUMBERS: Final = st.one_of(
    st.lists(st.integers(1, 10_000), min_size=2, max_size=6, unique=True),
    st.lists(st.floats(1e-6, 1e6), min_size=2, max_size=6, unique=True),
)
SVC = {
    "pipeline": [
        {"name": "scale", "class": "sklearn.preprocessing.StandardScaler"},
        {"name": "svc", "class": "sklearn.svm.SVC"},
    ]
}
GRID = {"svc__C": {"logspace": [-2, 3, 4]}, "svc__kernel": ["rbf", "poly"]}


def refined(**refine: Any) -> dict[str, Any]:
    return {"grid": {"parameters": GRID}, "refine": refine}


def ended(asked: dict[str, Any], folder: Path) -> local.FinishedSearch:
    return local.run(job(asked), folder=folder, output=folder / "results", stop=Stop())


# --- the whole search


def by_hand(tried: list[dict[str, Any]], round_: int, scores: list[float]) -> list[dict[str, Any]]:
    """The next round of GRID: 4 values of C that are half as far apart in their exponents as in the round before."""
    best = tried[scores.index(max(scores))]
    low, high, half = math.log(0.01), math.log(1000), math.log(1e5) * 0.5**round_ / 2
    middle = min(max(math.log(best["svc__C"]), low + half), high - half)
    steps = [middle - half, middle - half / 3, middle + half / 3, middle + half]
    around = sorted({float(f"{math.exp(step):.6g}") for step in steps} | {float(best["svc__C"])})
    known = {(float(each["svc__C"]), each["svc__kernel"]) for each in tried}
    return [{**best, "svc__C": each} for each in around if (each, best["svc__kernel"]) not in known]


@pytest.mark.slow
def test_it_is_a_grid_search_of_all_its_rounds_and_each_is_around_the_best_before(tmp_path: Path) -> None:
    asked = spec(estimator=SVC, search=refined(rounds=4), scoring="f1", baseline=True)
    outcome = ended(asked, tmp_path)
    found = outcome.results.cv_results

    problem = prepare(job(asked).spec, tmp_path)
    want = GridSearchCV(
        problem.estimator,
        [{name: [value] for name, value in each.items()} for each in found["params"]],
        scoring="f1",
        cv=3,
    )
    want.fit(problem.data.X, problem.data.y)
    assert next(iter(found)) == "round"
    assert_equal_to_the_bit({name: values for name, values in found.items() if name != "round"}, want.cv_results_)
    assert outcome.answer.best_index == want.best_index_
    left = joblib.load(tmp_path / "results/search.joblib")
    assert left.best_score_ == want.best_score_
    assert_comes_back(job(asked).spec, tmp_path / "results", left)
    for forged in ('{"svc__C": {"class": "antigravity.Up"}, "svc__kernel": "rbf"}', '{"svc__C": true}', "3", "{}", ""):
        with pytest.raises(ArtifactRefused, match="of candidates with values of the grid, or numbers between them"):
            fitted(job(asked).spec, forged_answer(tmp_path / "results", forged))

    rounds = np.asarray(found["round"])
    means = found["mean_test_score"]
    assert [dict(each) for each in np.asarray(found["params"])[rounds == 0]] == list(problem.candidates)
    for number in range(1, rounds.max() + 1):
        before = list(np.flatnonzero(rounds < number))
        tried = [found["params"][i] for i in before]
        expected = by_hand(tried, number, [means[i] for i in before])
        assert [found["params"][i] for i in np.flatnonzero(rounds == number)] == expected
        assert number == 1 or means[rounds == number - 1].max() > means[rounds < number - 1].max()
    ended_early = rounds.max() < 4
    assert ended_early == (means[rounds == rounds.max()].max() <= means[rounds < rounds.max()].max())
    # its baseline is a row in the middle of the journal
    assert outcome.answer.baseline is not None
    assert outcome.size.fits == (len(rounds) + 1) * 3
    assert 1 < len(rounds) - 8 <= size_of(job(asked).spec).later


@pytest.mark.slow
def test_of_several_metrics_and_rules_those_of_the_manifest_say_what_is_refined(tmp_path: Path) -> None:
    asked = spec(
        estimator=SVC,
        search=refined(rounds=1, scales={"svc__C": "linear"}),
        scoring=["accuracy", "recall"],
        refit="recall",
        select={"oneStandardError": {"simplest": [{"svc__C": "ascending"}]}},
    )
    outcome = ended(asked, tmp_path)
    found = outcome.results.cv_results
    first = [i for i, number in enumerate(found["round"]) if number == 0]
    folds = np.array([[found[f"split{split}_test_recall"][i] for split in range(3)] for i in first])
    best = int(folds.mean(axis=1).argmax())
    error = folds[best].std(ddof=1) / math.sqrt(3)
    near = [i for i in first if folds[i].mean() >= folds[best].mean() - error]
    least = min(found["params"][i]["svc__C"] for i in near)
    fresh = {found["params"][i]["svc__C"] for i in range(len(first), len(found["round"]))}
    # half as wide as 0.01 to 1000, at its lower end, where the simplest one is
    assert least == pytest.approx(0.01) or least in {found["params"][i]["svc__C"] for i in first}
    assert fresh
    assert max(fresh) - min([least, *fresh]) == pytest.approx((1000 - 0.01) / 2)


@pytest.mark.slow
def test_the_fits_that_it_may_have_end_it_before_a_round_that_would_pass_them(tmp_path: Path) -> None:
    tried = [ended(spec(estimator=SVC, search=refined(maxFits=most)), tmp_path / str(most)) for most in (24, 36)]
    assert [outcome.size.fits for outcome in tried] == [24, 36]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no numbers": ({"grid": {"parameters": {"svc__kernel": ["rbf", "poly"]}}, "refine": {}}, "spec.search.refine: must be beside a parameter of the grid that has two numbers or more"),
    "a name that is none": (refined(scales={"svc__c": "log"}), "spec.search.refine.scales: must be parameters of the grid, but got svc__c"),
    "a scale of words": (refined(scales={"svc__kernel": "log"}), "spec.search.refine.scales.svc__kernel: must be log for a list of positive numbers"),
    "integers that are none": (refined(scales={"svc__C": "integer"}), "spec.search.refine.scales.svc__C: must be integer for a list of integers"),
    "halving beside it": ({**refined(), "halving": {}}, "spec.search: must be with one of halving, refine and nested"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_refined_is_refused(name: str, tmp_path: Path) -> None:
    search, sentence = REFUSED[name]
    with pytest.raises(ManifestRefused) as refused:
        ended(spec(estimator=SVC, search=search), tmp_path)
    assert sentence in str(refused.value)


@pytest.mark.slow
def test_the_example_comes_to_a_value_between_those_of_its_grid(examples: Path, tmp_path: Path) -> None:
    manifest = load_file(examples / "coarse-to-fine.yaml")
    outcome = local.run(manifest, folder=examples, output=tmp_path, stop=Stop())
    assert outcome.results.cv_results["round"][outcome.answer.best_index] > 0


# --- its parts


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([1, 5, 9], "integer"),
        ([0.1, 0.5, 0.9], "linear"),
        ([0.01, 1.0, 100.0], "log"),
        ([0.0, 1000.0], "linear"),
        ([-1.0, 1000.0], "linear"),
    ],
)
def test_a_scale_is_told_by_the_values(values: list[Any], scale: str) -> None:
    axis = axis_of(values)
    assert axis is not None
    assert axis.scale == scale


@pytest.mark.parametrize("values", [["a", "b"], [True, False], [1], [1, None], [1, math.nan], [3, 3], [1.0, math.inf]])
def test_what_are_no_different_numbers_is_no_axis(values: list[Any]) -> None:
    assert axis_of(values) is None


def test_what_is_not_positive_has_no_logarithmic_axis() -> None:
    assert axis_of([0, 10], "log") is None


@pytest.mark.slow
@given(values=NUMBERS, at=st.floats(0, 1), width=st.floats(0.01, 1))
def test_points_are_within_the_ends_with_the_best_among_them(values: list[Any], at: float, width: float) -> None:
    axis = axis_of(values)
    assert axis is not None
    best = sorted(values)[round(at * (len(values) - 1))]
    points = axis.around(best, width)
    assert best in points
    assert points == sorted(set(points))
    assert axis.low <= points[0] <= points[-1] <= axis.high
    assert len(points) <= axis.points + 1
    assert all(isinstance(point, int) for point in points) == (axis.scale == "integer")


def test_a_logarithmic_axis_is_halved_by_its_exponents() -> None:
    assert RefinedAxis(1e-4, 1e4, 5, "log").around(1.0, 0.5) == [0.01, 0.1, 1.0, 10.0, 100.0]


def test_at_an_end_the_points_lie_on_one_side() -> None:
    assert RefinedAxis(0.0, 8.0, 3, "linear").around(8.0, 0.5) == [4.0, 6.0, 8.0]


@pytest.mark.slow
@given(values=NUMBERS, shrink=st.floats(0.1, 0.9), target=st.floats(1, 10_000))
def test_nothing_is_tried_twice(values: list[Any], shrink: float, target: float) -> None:
    grid = {"C": values, "kernel": ["a", "b"]}
    tried = [{"C": value, "kernel": kernel} for value in values for kernel in "ab"]
    for number in range(1, 4):
        best = min(tried, key=lambda each: abs(each["C"] - target))
        tried += next_round(Refine(shrink=shrink), [grid], tried, best, number)
    assert len({(each["C"], each["kernel"]) for each in tried}) == len(tried)
    assert {each["kernel"] for each in tried[2 * len(values) :]} <= {"a", "b"}


def test_of_several_grids_the_one_that_the_best_is_of_is_refined() -> None:
    grids: list[dict[str, list[Any]]] = [
        {"C": [1.0, 2.0], "kernel": ["a"]},
        {"C": [np.int64(10), 30.0], "kernel": ["b"]},
        {"degree": [1, 3]},
    ]
    best = {"C": 30.0, "kernel": "b"}
    assert next_round(Refine(), grids, [best, {"C": 10, "kernel": "b"}], best, 1) == [{"C": 20.0, "kernel": "b"}]
    assert next_round(Refine(), grids, [], {"gamma": 1}, 1) == []
