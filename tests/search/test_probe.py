"""A search of which every fit would fail is refused before its first one, and no search is of which one might succeed."""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.processes import children_of
from tests.search.searches import small
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.search.probe import refuse_what_cannot_succeed

TREE = "sklearn.tree.DecisionTreeClassifier"
REGRESSOR = "sklearn.tree.DecisionTreeRegressor"
LOGISTIC = "sklearn.linear_model.LogisticRegression"
RNG = np.random.default_rng(0)
ROWS = 400


@pytest.fixture
def table(tmp_path: Path) -> dict[str, Any]:
    """Columns of every kind, and targets of some."""
    frame = pd.DataFrame(
        {
            "width": RNG.normal(size=ROWS),
            "colour": RNG.choice(["red", "blue"], ROWS),
            "since": pd.date_range("2020-01-01", periods=ROWS),
            "text": RNG.choice(["one two", "two three", "three four"], ROWS),
            "answer": RNG.choice(["no", "yes"], ROWS),
            "kind": RNG.choice(["a", "b", "c"], ROWS),
            "bit": RNG.integers(0, 2, ROWS),
            "sorted": np.linspace(-1, 3, ROWS),
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    return {"folder": tmp_path}


def data(target: str, *features: str) -> dict[str, Any]:
    return {"path": "t.parquet", "target": target, "features": list(features or ("width",))}


def refusal(parameters: Any, **spec: Any) -> Problem:
    with pytest.raises(ManifestRefused) as refused:
        refuse_what_cannot_succeed(small(parameters, **spec))
    (problem,) = refused.value.problems
    assert problem.reason == "EveryFitFails"
    return problem


def drawn() -> list[int]:
    """The state of numpy's global generator."""
    key: list[int] = np.random.get_state(legacy=False)["state"]["key"].tolist()
    return key


# --- what surely fails


@pytest.mark.alike
@pytest.mark.parametrize(
    ("scoring", "target", "error", "advice"),
    [
        ("f1", "answer", "ValueError: pos_label=1 is not a valid label: It should be one of ['no' 'yes'].", "f1 takes 1 for the class that counts (scikit-learn's pos_label). Write scoring: f1_macro or f1_weighted, or give the target as 0 and 1, where 1 is the class that counts."),
        ("recall", "answer", "pos_label=1 is not a valid label", "Write scoring: recall_macro or recall_weighted"),
        ("average_precision", "answer", "pos_label=1 is not a valid label", "Give the target as 0 and 1"),
        ("neg_brier_score", "answer", "pos_label is not specified", "Give the target as 0 and 1"),
        ("f1", "kind", "Target is multiclass but average='binary'", "f1 is for two classes, and the target has 3. Write scoring: f1_macro or f1_weighted."),
        ("roc_auc", "kind", "multi_class must be in ('ovo', 'ovr').", "roc_auc is for two classes, and the target has 3. Write scoring: roc_auc_ovr or roc_auc_ovo"),
        ("r2", "answer", "could not convert string to float", "The target is text: choose a classifier and a scorer for classes"),
    ],
)  # fmt: skip
def test_a_scorer_that_cannot_take_the_target_is_refused_with_what_to_write(
    table: dict[str, Any], scoring: str, target: str, error: str, advice: str
) -> None:
    problem = refusal({"max_depth": [2, 3]}, scoring=scoring, data=data(target), **table)
    assert str(problem).startswith(
        f"spec.scoring: must be one that some fit can be scored by, but got '{scoring}'. "
        "Each of 2 candidates that were tried on 128 rows was fitted, but scoring it failed: ValueError: "
    )
    assert error in problem.advice
    assert advice in problem.advice


@pytest.mark.alike
@pytest.mark.parametrize(
    ("spec", "error", "advice"),
    [
        ({"estimator": LOGISTIC, "data": data("bit", "width", "colour")}, "could not convert string to float: '", "Put an encoder before the estimator"),
        ({"estimator": "sklearn.ensemble.HistGradientBoostingClassifier", "data": data("bit", "width", "since")}, "DTypePromotionError: The DType", "A date is no number"),
        ({"estimator": REGRESSOR, "data": data("answer")}, "could not convert string to float", "The target is text"),
        ({"estimator": TREE, "data": data("sorted")}, "Unknown label type: continuous", "choose a regressor"),
        ({"pipeline": [{"name": "t", "class": "sklearn.feature_extraction.text.TfidfVectorizer"}, {"name": "m", "class": TREE}], "data": data("bit", "text")}, "Number of labels=320 does not match number of samples=1", "X is a table, and TfidfVectorizer takes one column of texts. Put it into a sklearn.compose.ColumnTransformer, with the column's name alone and not in a list: transformers: [[text, {class: sklearn.feature_extraction.text.TfidfVectorizer}, text]]."),
    ],
    ids=["text", "date", "text as target", "measured target", "vectoriser"],
)  # fmt: skip
def test_an_estimator_that_cannot_take_the_data_is_refused_with_what_to_do(
    table: dict[str, Any], spec: dict[str, Any], error: str, advice: str
) -> None:
    nested = {"m__max_depth": [2, 3]} if "pipeline" in spec else None
    parameters = nested or ({"C": [1, 2]} if spec["estimator"] == LOGISTIC else {"max_depth": [2, 3]})
    problem = refusal(parameters, **{"params": {}, **spec}, **table)
    assert problem.field == "spec.estimator"
    assert error in problem.advice
    assert advice in problem.advice


@pytest.mark.slow
@pytest.mark.alike
@pytest.mark.parametrize(("value", "error"), [(np.inf, "Input X contains infinity"), (np.nan, "Input X contains NaN")])
def test_one_row_that_no_fit_can_take_is_found_among_many(tmp_path: Path, value: float, error: str) -> None:
    frame = pd.DataFrame({"width": RNG.normal(size=ROWS), "bit": RNG.integers(0, 2, ROWS)})
    frame.loc[201, "width"] = value
    frame.to_parquet(tmp_path / "t.parquet")
    table: dict[str, Any] = {"folder": tmp_path}
    problem = refusal({"C": [1, 2]}, estimator=LOGISTIC, data=data("bit"), **table)
    assert error in problem.advice
    if np.isnan(value):
        boosting = "sklearn.ensemble.HistGradientBoostingClassifier"
        refuse_what_cannot_succeed(small({"max_iter": [2]}, estimator=boosting, data=data("bit"), **table))


@pytest.mark.slow
def test_an_outlier_detector_is_told_the_labels_that_it_predicts(table: dict[str, Any]) -> None:
    problem = refusal(
        {"n_estimators": [3, 4]}, estimator="sklearn.ensemble.IsolationForest", scoring="f1", data=data("bit"), **table
    )
    assert "Predicted are other labels than the target has: " in problem.advice
    assert "(an outlier detector: 1 and -1)" in problem.advice


@pytest.mark.slow
@pytest.mark.alike
@pytest.mark.parametrize(
    ("params", "target", "advice"),
    [
        ({}, "answer", "number them in the data; no step of a pipeline does that"),
        ({"early_stopping_rounds": 3}, "bit", "A search gives fit no validation set: leave early stopping out"),
    ],
)
def test_what_xgboost_cannot_be_given_is_refused(
    table: dict[str, Any], params: dict[str, Any], target: str, advice: str
) -> None:
    problem = refusal(
        {"max_depth": [2, 3]}, estimator="xgboost.XGBClassifier", params=params, data=data(target), **table
    )
    assert advice in problem.advice


@pytest.mark.slow
def test_what_nobody_knows_is_refused_once_every_candidate_failed_on_all_rows_of_several_splits() -> None:
    forest = "sklearn.ensemble.RandomForestClassifier"
    problem = refusal({"bootstrap": [False], "oob_score": [True], "n_estimators": [2, 3]}, estimator=forest)
    assert str(problem) == (
        f"spec.estimator: must be one that some fit can succeed with, but got '{forest}'. Each of 2 candidates that were tried on "
        "120 rows failed: ValueError: Out of bag estimation only available if bootstrap=True."
    )


# --- what may succeed


@pytest.mark.alike
@pytest.mark.parametrize(
    ("parameters", "spec"),
    [
        ({"n_neighbors": [200, 300]}, {"estimator": "sklearn.neighbors.KNeighborsClassifier", "params": {}}),
        ({"t__n_components": [150, 200]}, {"pipeline": [{"name": "r", "class": "sklearn.random_projection.GaussianRandomProjection", "params": {"n_components": 250, "random_state": 0}}, {"name": "t", "class": "sklearn.decomposition.PCA"}, {"name": "m", "class": TREE}]}),
        ({"C": [1], "penalty": ["l1", "elasticnet", "l2"], "solver": ["lbfgs", "newton-cg"]}, {"estimator": LOGISTIC}),
        ([{"bootstrap": [False], "oob_score": [True]}, {"bootstrap": [True], "oob_score": [True]}], {"estimator": "sklearn.ensemble.RandomForestClassifier"}),
        ({"fails_below": [300]}, {"estimator": "tests.search.estimators.Reluctant", "params": {}}),
        ({"fails_for": [["a", "b", "c", "d", "e", "f"]], "one": list("abcdefgh"), "other": list("abcdefgh")}, {"estimator": "tests.search.estimators.Picky", "params": {}}),
        ({"fails_for": [["a", "b", "c", "d", "e", "f", "g", "h", "i"]], "one": list("abcdefghij"), "other": list("abcdefghij")}, {"estimator": "tests.search.estimators.Picky", "params": {}}),
    ],
    ids=["neighbours", "components", "solvers", "a later map", "few rows", "a few of 64 candidates", "one of 100 candidates"],
)  # fmt: skip
def test_a_search_of_which_some_candidate_succeeds_is_never_refused(
    table: dict[str, Any], parameters: Any, spec: dict[str, Any]
) -> None:
    refuse_what_cannot_succeed(small(parameters, data=data("bit"), **spec, **table))


@pytest.mark.slow
def test_a_score_that_exists_in_one_split_alone_is_enough(table: dict[str, Any]) -> None:
    # negative targets have no logarithmic error: they are in the first splits, for the rows are sorted and not shuffled
    refuse_what_cannot_succeed(
        small(
            {"strategy": ["constant"], "constant": [1]},
            estimator="sklearn.dummy.DummyRegressor",
            params={},
            scoring="neg_mean_squared_log_error",
            data=data("sorted"),
            **table,
        )
    )


@pytest.mark.parametrize(
    ("estimator", "forks"), [(TREE, False), ("sklearn.ensemble.RandomForestClassifier", True)], ids=["quick", "not"]
)
def test_a_first_fit_that_is_over_at_once_is_made_without_a_process(
    estimator: str, forks: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork, forked = os.fork, list[int]()

    def counted() -> int:
        forked.append(fork())
        return forked[-1]

    monkeypatch.setattr("os.fork", counted)
    before = drawn()

    refuse_what_cannot_succeed(small({"max_depth": [1, 2]}, estimator=estimator))

    assert bool(forked) is forks
    assert drawn() == before


@pytest.mark.slow
def test_a_warning_is_no_failure(table: dict[str, Any]) -> None:
    params = {"strategy": "constant", "constant": 0}
    refuse_what_cannot_succeed(
        small(
            {"random_state": [0, 1]},
            estimator="sklearn.dummy.DummyClassifier",
            params=params,
            scoring="precision",
            data=data("bit"),
            **table,
        )
    )


# --- what proves nothing


@pytest.mark.slow
def test_a_fit_that_takes_its_time_is_not_waited_for() -> None:
    before, began = children_of(os.getpid()), time.monotonic()
    refuse_what_cannot_succeed(small({"hangs": [True]}, estimator="tests.search.estimators.Hanging"))
    assert time.monotonic() - began < 6
    assert children_of(os.getpid()) == before


@pytest.mark.alike
@pytest.mark.parametrize("estimator", ["Deadly", "Insatiable", "Starved", "Offline"])
def test_a_fit_that_is_killed_or_lacks_memory_or_a_network_refuses_nothing(estimator: str) -> None:
    problem = small({"max_depth": [1, 2]}, estimator=f"tests.search.estimators.{estimator}")
    refuse_what_cannot_succeed(problem, memory_bytes=2**29)
