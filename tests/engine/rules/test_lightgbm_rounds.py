"""The proof of LightGBMRounds."""

import pickle
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRanker, LGBMRegressor
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.model_selection import train_test_split

from tests.engine.bits import assert_same_bits
from tests.engine.compare import assert_same_search
from tests.engine.fresh import in_a_fresh_process
from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, assert_same_predictions, rule_of, shown
from tuningjob.engine.arrays import freeze
from tuningjob.engine.fingerprint import of_estimator
from tuningjob.engine.known import is_known
from tuningjob.engine.rules import Inert, NestedFit
from tuningjob.engine.seeds import is_repeatable

SIZES = [{"n_estimators": size} for size in (1, 3, 8, 20)]
ONE: dict[str, Any] = {"n_jobs": 1, "random_state": 0, "verbose": -1}
CANCER = load_breast_cancer(return_X_y=True)
IRIS = load_iris(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
FEW: dict[str, Any] = {"subsample": 0.7, "subsample_freq": 1}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("boosting", "data"),
    [
        (LGBMClassifier(**ONE), CANCER),
        (LGBMClassifier(n_jobs=1, verbose=-1), IRIS),
        (LGBMClassifier(colsample_bytree=0.5, num_leaves=5, **FEW, **ONE), CANCER),
        (LGBMClassifier(boosting_type="rf", **FEW, **ONE), CANCER),
        (LGBMClassifier(boosting_type="rf", **FEW, **ONE), IRIS),
        (LGBMClassifier(extra_trees=True, path_smooth=1, feature_fraction_bynode=0.5, **ONE), IRIS),
        (LGBMClassifier(class_weight="balanced", max_depth=3, reg_alpha=0.1, **ONE), IRIS),
        (LGBMClassifier(objective="multiclassova", min_child_samples=3, **ONE), IRIS),
        (LGBMClassifier(objective="cross_entropy", max_bin=16, lambda_l1=0.5, force_col_wise=True, **ONE), CANCER),
        (LGBMClassifier(is_unbalance=True, min_split_gain=0.1, force_row_wise=True, **ONE), CANCER),
        (LGBMClassifier(scale_pos_weight=2, learning_rate=1.0, deterministic=True, **ONE), CANCER),
        (LGBMClassifier(min_child_samples=10_000, **ONE), CANCER),  # no split at all
        (LGBMClassifier(min_split_gain=2.0, **ONE), IRIS),  # which ends before all rounds
        (LGBMRegressor(**ONE), DIABETES),
        (LGBMRegressor(boosting_type="rf", feature_fraction=0.5, **FEW, **ONE), DIABETES),
        (LGBMRegressor(objective="huber", bagging_fraction=0.5, bagging_freq=2, **ONE), DIABETES),
        *(
            (LGBMRegressor(objective=objective, num_leaves=7, **ONE), DIABETES)
            for objective in ("regression_l1", "fair", "gamma", "mape", "poisson", "quantile", "tweedie")
        ),
    ],
    ids=shown,
)
def test_the_first_rounds_are_the_smaller_boosting(boosting: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    assert is_known(boosting)
    assert is_repeatable(boosting)
    assert_nested_fits_are_plain_fits(
        boosting, SIZES, freeze(X), freeze(y), X_test, attributes=("n_features_in_", "best_iteration_")
    )


@pytest.mark.slow
def test_sparse_rows_frames_missing_values_and_weights_are_served_too() -> None:
    X, X_test, y, _ = train_test_split(*CANCER, random_state=0)
    boosting = LGBMClassifier(**FEW, **ONE)
    assert_nested_fits_are_plain_fits(boosting, SIZES, sparse.csr_matrix(X), y, sparse.csr_matrix(X_test))
    assert_nested_fits_are_plain_fits(boosting, SIZES, np.where(np.median(X) < X, np.nan, X), y, X_test)
    names = [f"feature_{number}" for number in range(X.shape[1])]
    frame, other = pd.DataFrame(X, columns=names), pd.DataFrame(X_test, columns=names)
    frame["kind"], other["kind"] = (
        pd.Series(rows[:, 0] // 4).astype(pd.CategoricalDtype([float(each) for each in range(8)]))
        for rows in (X, X_test)
    )
    assert_nested_fits_are_plain_fits(boosting, SIZES, frame, pd.Series(y), other)
    assert_nested_fits_are_plain_fits(boosting, SIZES, X, np.array(["no", "yes"])[y], X_test)
    for name, start in (("sample_weight", 0.1), ("init_score", -1.0)):
        metadata = {name: np.linspace(start, 2, len(y))}
        assert_nested_fits_are_plain_fits(boosting, SIZES, X, y, X_test, fit_params=metadata)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["lambdarank", "rank_xendcg"])
def test_a_ranking_is_the_beginning_of_a_longer_one(objective: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 4))
    y = (X[:, 0] + rng.normal(size=200) > 0).astype(int)
    ranker = LGBMRanker(objective=objective, **ONE)
    assert_nested_fits_are_plain_fits(ranker, SIZES, X, y, X[:40], fit_params={"group": [20] * 10})


@pytest.mark.slow
@pytest.mark.parametrize("holes", [False, True])
@pytest.mark.parametrize("kind", [LGBMClassifier, LGBMRegressor])
def test_with_one_thread_it_does_not_matter_how_lightgbm_adds_up(kind: Any, *, holes: bool) -> None:
    """It tries rows and columns, and takes what was faster: both must have the same bits, or no fit could be repeated."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((600, 12)) < 0.7, 0.0, rng.normal(size=(600, 12)))
    X = np.where(rng.random(X.shape) < 0.1, np.nan, X) if holes else X
    y = np.nan_to_num(X[:, 0] + X[:, 1]) > 0.1
    for rows in (X, sparse.csr_matrix(X)):
        for weights in (None, rng.random(600)):
            one, other = (
                kind(n_estimators=15, min_child_samples=5, **FEW, **ONE, **{way: True}).fit(rows, y, weights)
                for way in ("force_col_wise", "force_row_wise")
            )
            assert_same_predictions(one, other, rows)


def test_how_a_parameter_was_set_does_not_matter() -> None:
    def normal(boosting: Any, *without: str) -> Any:
        return of_estimator(boosting, without=without, instead=rule_of(Inert, LGBMClassifier()).normal_form(boosting))

    made, told = LGBMClassifier(n_estimators=5, **ONE), LGBMClassifier(**ONE).set_params(n_estimators=5)
    assert normal(made) == normal(told) == normal(clone(told))
    assert normal(told, "n_estimators") == normal(clone(told).set_params(n_estimators=9), "n_estimators")
    assert normal(told) != normal(clone(told).set_params(n_estimators=9))
    assert normal(told) != normal(clone(told).set_params(max_bin=9))
    assert normal(told) != normal(clone(told).set_params(num_leaves=9))
    assert_same_predictions(told.fit(*IRIS), made.fit(*IRIS), IRIS[0])


def test_what_else_there_is_is_left_to_a_fit_of_its_own() -> None:
    rule = rule_of(NestedFit, LGBMClassifier())
    X, y = IRIS
    assert rule.applies(LGBMClassifier(**ONE), X, y)
    others: list[dict[str, Any]] = [
        {"boosting_type": "dart"},
        {"boosting": "dart"},
        {"n_jobs": 2},
        {"n_jobs": 0},
        {"num_threads": 2},
        {"n_iter": 10},
        {"early_stopping_round": 3},
        {"objective": lambda y, predicted: (predicted - y, np.ones_like(y))},
        {"device": "gpu"},
        {"linear_tree": True},
    ]
    for other in others:
        assert not is_known(LGBMClassifier(**{**ONE, **other})), other
        assert not rule.applies(LGBMClassifier(**{**ONE, **other}), X, y), other
    assert not rule.applies(LGBMClassifier(**ONE), X, np.column_stack([y, y]))
    sizes: list[Any] = [0, -1, 2.0, True, None, "10"]
    for size in sizes:
        assert not rule.accepts(LGBMClassifier(n_estimators=size))
    with pytest.raises(ValueError, match="eval_set"):
        next(iter(rule.fit([LGBMClassifier()], X, y, {"eval_set": [(X, y)]})))
    at_odds = LGBMClassifier(**ONE).set_params(num_leaves=4)
    at_odds.num_leaves = 9  # LightGBM goes on with 4
    assert not is_known(at_odds)


def test_no_seed_is_a_seed_and_a_generator_is_none() -> None:
    assert is_repeatable(LGBMClassifier())
    assert not is_repeatable(LGBMClassifier(random_state=np.random.RandomState(0)))


@pytest.mark.slow
def test_a_second_call_gives_the_same_draws_nothing_and_changes_nothing() -> None:
    for kind, (X, y) in ((LGBMClassifier, IRIS), (LGBMRegressor, DIABETES)):
        fitted = kind(n_estimators=5, **ONE).fit(freeze(X), freeze(y))

        def state(fitted: Any = fitted) -> Any:
            world = pickle.dumps((np.random.get_state(), random.getstate()))
            own = {name: value for name, value in vars(fitted).items() if name != "_Booster"}
            return fitted.booster_.model_to_string(), repr(own), world

        before = state()
        for method in ("predict", "predict_proba") if kind is LGBMClassifier else ("predict",):
            assert_same_bits(getattr(fitted, method)(X), getattr(fitted, method)(X), method)
        assert state() == before


@pytest.mark.slow
@in_a_fresh_process
def test_a_search_is_scikit_learns_in_one_process_and_in_forks() -> None:
    X, y = IRIS
    grid = {"n_estimators": [2, 5, 9], "num_leaves": [3, 7]}
    for jobs in (1, 2):
        ours = assert_same_search(LGBMClassifier(**ONE), grid, X, y, n_jobs=jobs, cv=3)
        assert (ours.guard.groups, ours.guard.trips) == (2, 0)
