"""What is odd about estimator and data is told, each by its reason, and nothing is told that is not so."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.calibration import CalibratedClassifierCV
from sklearn.decomposition import PCA
from sklearn.ensemble import AdaBoostClassifier, BaggingClassifier, RandomForestClassifier
from sklearn.ensemble import HistGradientBoostingClassifier as HistGradientBoosting
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from tests.search.searches import small
from tuningjob.search.data import Dataset
from tuningjob.search.findings import findings, representatives, unseeded

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 2, 200)
PLAIN = RNG.normal(5, 2, (200, 3))
UNEVEN = PLAIN * [1, 20, 300]
HOLES = np.where(RNG.random((200, 3)) < 0.1, np.nan, PLAIN)


def told(X: Any, *estimators: Any, y: Any = LABELS) -> list[str]:
    return list(findings(estimators, Dataset(X, y, "")))


def reasons(X: Any, *estimators: Any) -> list[str]:
    return [warning.partition(":")[0] for warning in told(X, *estimators)]


# --- scales


def test_features_of_very_different_scales_are_told_with_who_minds_and_what_to_do() -> None:
    (warning,) = told(pd.DataFrame(UNEVEN, columns=["a", "b", "c"]), SVC())
    assert warning.startswith(
        "ScaleSensitiveUnscaled: SVC depends on the features' scales, and nothing before it scales them"
    )
    assert "the standard deviation of c is 3" in warning
    assert "Put sklearn.preprocessing.StandardScaler before it in spec.estimator.pipeline" in warning


@pytest.mark.parametrize(
    "estimator",
    [
        KNeighborsClassifier(),
        LogisticRegression(),
        make_pipeline(SimpleImputer(), SVC()),
        make_pipeline(PCA(), DecisionTreeClassifier()),
        BaggingClassifier(SVC()),
        Pipeline([("scaler", "passthrough"), ("svc", SVC())]),
    ],
    ids=str,
)
@pytest.mark.parametrize(
    "X", [UNEVEN, scipy.sparse.csr_array(UNEVEN), pd.DataFrame(UNEVEN)], ids=["array", "sparse", "frame"]
)
def test_an_estimator_that_minds_scales_is_found_wherever_it_sees_them(estimator: Any, X: Any) -> None:
    assert reasons(X, estimator) == ["ScaleSensitiveUnscaled"]


@pytest.mark.parametrize(
    "estimator",
    [
        make_pipeline(StandardScaler(), SVC()),
        make_pipeline(StandardScaler(), PCA(), SVC()),
        RandomForestClassifier(),
        LogisticRegression(C=np.inf),
        BaggingClassifier(make_pipeline(StandardScaler(), SVC())),
    ],
    ids=str,
)
def test_scales_matter_to_no_tree_and_to_nobody_behind_a_scaler(estimator: Any) -> None:
    assert reasons(UNEVEN, estimator) == []
    assert reasons(PLAIN, SVC()) == []


# --- standardised already


@pytest.mark.parametrize("rows", [200, 25_000])
@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_data_that_were_scaled_before_they_were_split_are_told(rows: int, kind: type) -> None:
    X = StandardScaler().fit_transform(np.random.default_rng(1).exponential(3, (rows, 4))).astype(kind)
    X = np.column_stack([X, np.arange(rows) % 2])  # a column that nobody scaled
    assert reasons(X, RandomForestClassifier()) == ["AlreadyStandardised"]
    assert reasons(pd.DataFrame(X), RandomForestClassifier()) == ["AlreadyStandardised"]


@pytest.mark.parametrize(
    "X",
    [PLAIN, RNG.normal(size=(30_000, 3)), np.tile([[-1.0, 1.0], [1.0, -1.0]], (100, 1)), scipy.sparse.csr_array(PLAIN)],
    ids=["measured", "drawn from the normal distribution", "a balanced design", "sparse"],
)
def test_other_data_are_not(X: Any) -> None:
    assert reasons(X, RandomForestClassifier()) == []


# --- missing values and what is no number


@pytest.mark.parametrize(
    "estimator", [SVC(), make_pipeline(StandardScaler(), SVC()), CalibratedClassifierCV(SVC())], ids=str
)
def test_missing_values_are_told_where_nobody_takes_them(estimator: Any) -> None:
    (warning,) = told(HOLES, estimator)
    missing = int(np.isnan(HOLES).sum())
    assert warning.startswith(
        f"MissingValues: {missing} values are missing in 3 features (feature 0, feature 1, feature 2), and SVC"
    )
    assert "Put sklearn.impute.SimpleImputer before it" in warning


@pytest.mark.parametrize(
    "estimator",
    [HistGradientBoosting(), RandomForestClassifier(), make_pipeline(SimpleImputer(), StandardScaler(), SVC())],
    ids=str,
)
def test_missing_values_are_fine_where_they_are_taken(estimator: Any) -> None:
    assert reasons(HOLES, estimator) == []


def test_missing_targets_are_told() -> None:
    y = np.where(np.arange(200) < 3, np.nan, PLAIN[:, 0])
    (warning,) = told(PLAIN, RandomForestClassifier(), y=y)
    assert warning.startswith("MissingValues: 3 of 200 targets are missing")


@pytest.mark.parametrize("kind", [object, "str"])
def test_features_that_are_no_numbers_are_told_unless_somebody_encodes_them(kind: Any) -> None:
    frame = pd.DataFrame(
        {"a": PLAIN[:, 0], "town": pd.Series(["x", "y"] * 100, dtype=kind), "digits": ["1", "2"] * 100}
    )
    (warning,) = told(frame, DecisionTreeClassifier())
    assert warning.startswith("NonNumericData: 1 features are no numbers (town), and no step makes numbers of them")
    assert told(frame, make_pipeline(OneHotEncoder(), DecisionTreeClassifier())) == []
    assert told(np.array(frame, dtype=object), DecisionTreeClassifier())[0].startswith("NonNumericData: 1 features")


# --- random numbers


@pytest.mark.parametrize(
    ("estimator", "names"),
    [
        (RandomForestClassifier(), ("random_state",)),
        (RandomForestClassifier(random_state=0), ()),
        (make_pipeline(StandardScaler(), RandomForestClassifier()), ("randomforestclassifier__random_state",)),
        (AdaBoostClassifier(DecisionTreeClassifier(), random_state=0), ()),
        (SVC(), ()),
        (LogisticRegression(), ()),
        (LogisticRegression(solver="saga"), ("random_state",)),
        (RandomForestClassifier(random_state=np.random.RandomState(0)), ("random_state",)),
    ],
)
def test_only_what_draws_random_numbers_needs_a_seed(estimator: Any, names: tuple[str, ...]) -> None:
    assert tuple(unseeded(estimator, (200, 3))) == names


def test_an_unseeded_estimator_is_told_without_reuse_too() -> None:
    (warning,) = small({"max_depth": [1, 2]}, params={}).preflight.warnings
    assert warning.startswith(
        "UnseededEstimator: fits draw random numbers that nobody seeded (random_state is None): the same"
    )
    assert small({"max_depth": [1], "random_state": [0, 1]}, params={}).preflight.warnings == ()


def test_with_reuse_it_says_how_many_candidates_are_fitted_anew() -> None:
    (warning,) = small({"max_depth": [1, 2]}, params={}, reuse=True).preflight.warnings
    assert warning == (
        "UnseededEstimator: 2 of 2 candidates draw random numbers that nobody seeded (random_state is None): they are fitted anew "
        "in each search, whatever spec.reuse says. Give it a number."
    )


# --- which candidates are looked at


def test_every_value_of_every_short_list_is_looked_at() -> None:
    grid: list[dict[str, list[Any]]] = [
        {"max_depth": [1, 2, 3], "criterion": ["gini", "entropy"]},
        {"max_depth": list(range(1, 101))},
    ]
    made = representatives(DecisionTreeClassifier(), grid)
    assert len(made) <= 32
    assert {each.criterion for each in made} == {"gini", "entropy"}
    assert {1, 2, 3} <= {each.max_depth for each in made}


def test_a_step_that_only_some_candidates_have_is_found() -> None:
    pipeline: list[dict[str, Any]] = [
        {"name": "scaler", "class": "sklearn.preprocessing.StandardScaler"},
        {"name": "last", "class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}},
    ]
    parameters = [
        {"last__max_depth": [1, 2, 3]},
        {
            "scaler": [{"class": "sklearn.preprocessing.StandardScaler"}, "passthrough"],
            "last": [{"class": "sklearn.svm.SVC"}],
        },
    ]
    (warning,) = small(parameters, pipeline=pipeline, data={"loader": "sklearn.datasets.load_wine"}).warnings
    assert warning.startswith("ScaleSensitiveUnscaled: SVC")
