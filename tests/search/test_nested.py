"""The honest estimate is that of scikit-learn's ``cross_validate`` of the search, to the bit."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import (
    GroupKFold,
    GroupShuffleSplit,
    KFold,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    TimeSeriesSplit,
    cross_validate,
)

from tests.search.searches import small
from tests.search.test_metrics import DIABETES, job, spec
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob import local
from tuningjob.errors import ManifestRefused
from tuningjob.journal.sql import open_sqlite
from tuningjob.journal.walk import is_sound
from tuningjob.manifest import load_file
from tuningjob.protocol.records import Cell
from tuningjob.search.nested import nested_of
from tuningjob.search.problem import prepare
from tuningjob.search.stages import search_of
from tuningjob.search.stop import Stop
from tuningjob.search.written import to_literals
from tuningjob.sizing import size_of

DEPTHS = {"parameters": {"max_depth": [1, 2, None], "min_samples_leaf": [1, 20]}}
SHUFFLED = {"folds": 4, "shuffle": True, "randomState": 1}
SPLITTERS = "sklearn.model_selection"
RIDGE = {"class": "sklearn.linear_model.Ridge"}
# the manifest, and what stands around the search by hand
SEARCHES: dict[str, tuple[dict[str, Any], Any]] = {
    "a grid of a classifier, with a baseline": (
        spec(search={"grid": DEPTHS, "nested": SHUFFLED}, scoring="roc_auc", returnTrainScore=True, baseline=True),
        StratifiedKFold(4, shuffle=True, random_state=1),
    ),
    "drawn at random for a regression": (
        spec(
            estimator=RIDGE,
            search={"random": {"parameters": {"alpha": {"loguniform": [0.01, 100]}}, "iterations": 5}, "nested": {}},
            data=DIABETES,
            crossValidation={"folds": 3, "shuffle": True, "randomState": 3},
        ),
        KFold(5),
    ),
    "repeated folds": (
        spec(search={"grid": DEPTHS, "nested": {"folds": 2, "repeats": 2, "randomState": 3}}),
        RepeatedStratifiedKFold(n_splits=2, n_repeats=2, random_state=3),
    ),
    "a time series within a time series": (
        spec(
            estimator=RIDGE,
            search={
                "grid": {"parameters": {"alpha": [0.1, 1, 10]}},
                "nested": {"splitter": {"class": f"{SPLITTERS}.TimeSeriesSplit", "params": {"n_splits": 3, "gap": 2}}},
            },
            data=DIABETES,
            crossValidation={"splitter": {"class": f"{SPLITTERS}.TimeSeriesSplit", "params": {"n_splits": 4}}},
        ),
        TimeSeriesSplit(3, gap=2),
    ),
    "a splitter that draws, whose test rows overlap": (
        spec(
            search={
                "grid": DEPTHS,
                "nested": {
                    "splitter": {"class": f"{SPLITTERS}.ShuffleSplit", "params": {"n_splits": 3, "random_state": 5}}
                },
            }
        ),
        ShuffleSplit(3, random_state=5),
    ),
    "several metrics, and a rule": (
        spec(
            search={"grid": DEPTHS, "nested": {"folds": 3}},
            scoring=["accuracy", "recall"],
            refit="recall",
            select={"mostStable": {}},
        ),
        StratifiedKFold(3),
    ),
}


def ended(asked: dict[str, Any], folder: Path) -> local.FinishedSearch:
    return local.run(job(asked), folder=folder, output=folder / "results", stop=Stop())


def by_hand(asked: dict[str, Any], folder: Path, outer: Any) -> Any:
    """scikit-learn's cross_validate of the search without ``nested``."""
    problem = prepare(job(asked).spec, folder)
    search = search_of(problem)
    metric = problem.spec.metrics.deciding
    if problem.spec.select is not None:

        def most_stable(table: dict[str, Any]) -> int:
            return int((table[f"mean_test_{metric}"] - table[f"std_test_{metric}"]).argmax())

        search.set_params(refit=most_stable)
    scoring = None if problem.spec.scoring is None else metric if problem.spec.metrics.several else problem.spec.scoring
    return cross_validate(search, problem.data.X, problem.data.y, cv=outer, scoring=scoring, return_estimator=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_it_is_cross_validate_of_the_search(name: str, tmp_path: Path) -> None:
    asked, outer = SEARCHES[name]
    outcome = ended(asked, tmp_path)
    want = by_hand(asked, tmp_path, outer)

    found = outcome.answer.nested
    assert found is not None
    scores = want["test_score"]
    assert found.scores == tuple(scores)
    assert (found.mean, found.std) == (scores.mean(), scores.std())
    assert found.optimism == outcome.answer.best_score - scores.mean()
    params = [to_literals(each.best_params_) for each in want["estimator"]]
    assert found.told == nested_of(scores, params, outcome.answer.best_score, outcome.answer.metric).told
    # and the search is the one that it would be without outer folds
    plain = {**asked, "search": {key: value for key, value in asked["search"].items() if key != "nested"}}
    assert_equal_to_the_bit(outcome.results.cv_results, sklearn_search_of(job(plain).spec)[1].cv_results_)
    assert outcome.size.fits == size_of(job(asked).spec).fits
    assert (outcome.answer.baseline is not None) == asked["baseline"]
    # the audit keeps both
    journal = open_sqlite(tmp_path / "results/tuning.db")
    try:
        kept = journal.audit.version(namespace="default", model_key="metrics", version=1)
    finally:
        journal.close()
    assert (kept.baseline, kept.nested) == (outcome.answer.baseline, found)


OUTER_GROUPS: dict[str, tuple[dict[str, Any], Any]] = {
    "folds": ({"folds": 3}, StratifiedGroupKFold(3)),
    "a splitter": (
        {"splitter": {"class": f"{SPLITTERS}.GroupShuffleSplit", "params": {"n_splits": 2, "random_state": 0}}},
        GroupShuffleSplit(2, random_state=0),
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OUTER_GROUPS)
def test_groups_are_never_divided_by_outer_folds_either(name: str, tmp_path: Path) -> None:
    nested, outer = OUTER_GROUPS[name]
    asked, patients = of_patients(nested, tmp_path)
    outcome = ended(asked, tmp_path)
    problem = prepare(job(asked).spec, tmp_path)
    X, y = problem.data.X, problem.data.y
    scores = []
    for train, test in outer.split(X, y, groups=patients):
        search = search_of(problem).fit(X.iloc[train], y.iloc[train], groups=patients[train])
        scores.append(search.score(X.iloc[test], y.iloc[test]))
    assert outcome.answer.nested is not None
    assert outcome.answer.nested.scores == tuple(scores)
    assert not isinstance(search_of(problem).cv, GroupKFold)


def of_patients(nested: dict[str, Any], folder: Path) -> tuple[dict[str, Any], Any]:
    """A search of a table of patients, and whose each row is."""
    rows = np.random.default_rng(0).normal(size=(120, 3))
    patients = np.repeat(np.arange(24), 5)
    table = pd.DataFrame(rows, columns=["a", "b", "c"]).assign(
        y=(rows[:, 0] + patients % 2 > 0.5).astype(int), patient=patients
    )
    table.to_csv(folder / "t.csv", index=False)
    asked = spec(
        data={"path": "t.csv", "target": "y"},
        crossValidation={"folds": 2, "groups": "patient"},
        search={"grid": DEPTHS, "nested": nested},
    )
    return asked, patients


def splitter(name: str, **params: Any) -> dict[str, Any]:
    return {"splitter": {"class": f"{SPLITTERS}.{name}", "params": params}}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a splitter beside folds": ({"folds": 3, **splitter("KFold")}, "spec.search.nested: must be with folds or splitter, not both"),
    "a splitter's options": ({"shuffle": True, "randomState": 1, **splitter("KFold")}, "spec.search.nested: must be with shuffle, randomState and repeats beside folds alone"),
    "repeats without a seed": ({"repeats": 2}, "spec.search.nested.randomState: must be an integer where folds are shuffled or repeated"),
    "repeats beside groups": ({"repeats": 2, "randomState": 0}, "spec: must be without search.nested.repeats beside crossValidation.groups"),
    "as many folds as there are groups": (splitter("LeaveOneGroupOut"), "spec.search.nested.splitter.class: must be a splitter of scikit-learn's that is told its number of splits, but got sklearn.model_selection.LeaveOneGroupOut. It says how many rows"),
    "a splitter that no one knows": ({"splitter": {"class": "tests.search.splitters.Halves"}}, "spec.search.nested.splitter.class: must be a splitter of scikit-learn's"),
    "a splitter that parts groups": (splitter("KFold", n_splits=3), "spec.search.nested.splitter.class: must be a splitter that divides by groups beside spec.crossValidation.groups"),
    "a parameter that is none": (splitter("GroupKFold", n_split=3), "spec.search.nested.splitter.params.n_split: must be a parameter of sklearn.model_selection.GroupKFold"),
    "a splitter without a seed": (splitter("GroupShuffleSplit"), "spec.search.nested.splitter.params.random_state: must be an integer for a splitter that draws"),
    "more folds than there are groups": (splitter("GroupKFold", n_splits=30), "spec.search.nested.splitter: must be a splitter into outer folds in each of which the search can divide the rest"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_outer_folds_that_are_none_are_refused_by_their_field(name: str, tmp_path: Path) -> None:
    nested, sentence = REFUSED[name]
    asked, _ = of_patients(nested, tmp_path)
    with pytest.raises(ManifestRefused) as refused:
        ended(asked, tmp_path)
    assert sentence in str(refused.value)
    assert not (tmp_path / "results").exists()


def test_each_row_of_the_journal_is_a_fit_of_its_own_and_comes_back() -> None:
    problem = small(
        {"max_depth": [1, 2, 3]},
        search={"grid": {"parameters": {"max_depth": [1, 2, 3]}}, "nested": {"folds": 2}},
        baseline=True,
    )
    rows = problem.size.rows
    assert rows == 3 + 1 + 2 * 3
    cells = [Cell(row, split) for row in range(rows) for split in range(len(problem.splits))]
    keys = [problem.rows.key(cell) for cell in cells]
    assert len(set(keys)) == len(cells)
    assert [problem.rows.cell(key) for key in keys] == cells
    assert is_sound(problem.preflight.blocks, rows)
    outer = problem.folds[1].outer[0]
    train, test = problem.rows.splits[problem.rows.key(Cell(9, 0)).split]
    assert set(train) | set(test) == set(outer)


def test_outer_folds_that_cannot_be_divided_again_are_refused(tmp_path: Path) -> None:
    asked = spec(
        search={"grid": DEPTHS, "nested": {"folds": 2}},
        crossValidation={"splitter": {"class": "sklearn.model_selection.LeaveOneOut"}},
        data={"loader": "sklearn.datasets.load_iris"},
    )
    with pytest.raises(
        ManifestRefused, match=r"spec.search.nested.folds: must be a number of outer folds in each of which"
    ):
        ended(asked, tmp_path)


@pytest.mark.slow
def test_the_example_is_run(examples: Path, tmp_path: Path) -> None:
    outcome = local.run(load_file(examples / "nested.yaml"), folder=examples, output=tmp_path, stop=Stop())
    assert outcome.size.fits == (12 + 1 + 5 * 12) * 3
    assert outcome.answer.nested is not None
    assert outcome.answer.nested.told[0].startswith("Nested: score 0.97")
    assert "Nested: score 0.97" in (tmp_path / "verdict.txt").read_text()
    assert "<h3>Outer folds</h3>" in re.sub(r' id="[^"]*"', "", (tmp_path / "report.html").read_text())


@pytest.mark.parametrize(
    ("scores", "best", "sentence"),
    [
        (
            [0.9, 0.8],
            0.9,
            "Nested: f1 0.8500 ± 0.0500 (mean and standard deviation of 2 outer folds); the best score is 0.0500 above it.",
        ),
        (
            [0.9, 0.9],
            0.8,
            "Nested: f1 0.9000 ± 0.0000 (mean and standard deviation of 2 outer folds); the best score is 0.1000 below it.",
        ),
        ([0.9, np.nan], 0.8, "Nested: f1 is not known, because what was chosen failed in one of 2 outer folds."),
    ],
)
def test_the_estimate_in_words(scores: list[float], best: float, sentence: str) -> None:
    found = nested_of(scores, [{"C": 1}, {"C": 1}], best, "f1")
    assert found.told == (sentence, 'Chosen of 2 outer folds: {"C": 1} in 2.')
