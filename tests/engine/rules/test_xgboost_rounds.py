"""The proof of XGBoostRounds."""

import pickle
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, make_classification
from sklearn.model_selection import train_test_split
from xgboost import XGBClassifier, XGBRanker, XGBRegressor, XGBRFClassifier

from tests.engine.bits import assert_same_bits
from tests.engine.compare import assert_same_search
from tests.engine.fresh import in_a_fresh_process
from tests.engine.rules.proof import assert_nested_fits_are_plain_fits, rule_of
from tuningjob.engine.arrays import freeze
from tuningjob.engine.known import is_known
from tuningjob.engine.rules import NestedFit
from tuningjob.engine.rules.base import Rules, rules_for
from tuningjob.engine.seeds import is_repeatable

SIZES = [{"n_estimators": size} for size in (1, 3, 8, 20)]
ONE: dict[str, Any] = {"n_jobs": 1, "random_state": 0}
CANCER = load_breast_cancer(return_X_y=True)
IRIS = load_iris(return_X_y=True)
DIABETES = load_diabetes(return_X_y=True)
ATTRIBUTES = ("feature_importances_", "intercept_", "n_features_in_", "objective")


def _set(value: Any) -> str:
    """What was set, out of XGBoost's two dozen parameters."""
    settings = value.get_params() if hasattr(value, "get_params") else {}
    return (
        " ".join(f"{k}={v}" for k, v in settings.items() if v is not None and k not in {"missing", "n_jobs"}) or "data"
    )


def _counts(rng_seed: int = 0) -> tuple[Any, Any]:
    X, y = DIABETES
    return X, np.random.default_rng(rng_seed).poisson(1 + y / 100)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("boosting", "data"),
    [
        (XGBClassifier(**ONE), CANCER),
        (XGBClassifier(n_jobs=1), IRIS),
        (
            XGBClassifier(subsample=0.5, colsample_bytree=0.5, colsample_bylevel=0.7, colsample_bynode=0.7, **ONE),
            CANCER,
        ),
        (XGBClassifier(tree_method="exact", gamma=0.1, min_child_weight=3, **ONE), IRIS),
        (XGBClassifier(tree_method="approx", max_delta_step=1, reg_alpha=0.5, reg_lambda=2, **ONE), CANCER),
        (XGBClassifier(num_parallel_tree=3, subsample=0.7, **ONE), IRIS),
        (XGBClassifier(objective="multi:softmax", max_depth=2, **ONE), IRIS),
        (XGBClassifier(objective="binary:hinge", **ONE), CANCER),
        (XGBClassifier(objective="binary:logitraw", learning_rate=1.0, scale_pos_weight=2, **ONE), CANCER),
        (XGBClassifier(grow_policy="lossguide", max_leaves=5, max_bin=16, eval_metric="auc", **ONE), CANCER),
        (XGBRegressor(**ONE), DIABETES),
        (XGBRegressor(objective="reg:absoluteerror", subsample=0.5, **ONE), DIABETES),
        (XGBRegressor(objective="reg:pseudohubererror", base_score=150, **ONE), DIABETES),
        (XGBRegressor(objective="reg:squaredlogerror", **ONE), DIABETES),
        (XGBRegressor(objective="reg:tweedie", tree_method="hist", **ONE), _counts()),
        (XGBRegressor(objective="reg:gamma", **ONE), DIABETES),
        (XGBRegressor(objective="count:poisson", max_bin=8, **ONE), _counts()),
        (XGBRegressor(objective="reg:logistic", **ONE), (DIABETES[0], DIABETES[1] / 400)),
        (XGBRegressor(monotone_constraints=(1, 0, -1, 0, 0, 0, 0, 0, 0, 0), **ONE), DIABETES),
        (XGBRegressor(interaction_constraints="[[0, 1], [2, 3, 4]]", colsample_bynode=0.5, **ONE), DIABETES),
    ],
    ids=_set,
)
def test_the_first_rounds_are_the_smaller_boosting(boosting: Any, data: tuple[Any, Any]) -> None:
    X, X_test, y, _ = train_test_split(*data, random_state=0)
    assert is_known(boosting)
    assert is_repeatable(boosting)
    assert_nested_fits_are_plain_fits(boosting, SIZES, freeze(X), freeze(y), X_test, attributes=ATTRIBUTES)


@pytest.mark.slow
def test_sparse_rows_frames_missing_values_and_weights_are_served_too() -> None:
    X, X_test, y, _ = train_test_split(*CANCER, random_state=0)
    boosting = XGBClassifier(subsample=0.5, **ONE)
    assert_nested_fits_are_plain_fits(boosting, SIZES, sparse.csr_matrix(X), y, sparse.csr_matrix(X_test))
    assert_nested_fits_are_plain_fits(boosting, SIZES, np.where(np.median(X) < X, np.nan, X), y, X_test)
    names = [f"feature {number}" for number in range(X.shape[1])]
    frames = pd.DataFrame(X, columns=names), pd.Series(y), pd.DataFrame(X_test, columns=names)
    assert_nested_fits_are_plain_fits(boosting, SIZES, *frames, attributes=("feature_names_in_", *ATTRIBUTES))
    for name, start in (("sample_weight", 0.1), ("base_margin", -1.0)):
        metadata = {name: np.linspace(start, 2, len(y))}
        assert_nested_fits_are_plain_fits(boosting, SIZES, X, y, X_test, fit_params=metadata)
    for missing in (0.0, -999):
        spoilt = np.where(np.median(X) < X, missing, X)
        assert_nested_fits_are_plain_fits(XGBClassifier(missing=missing, **ONE), SIZES, spoilt, y, X_test)
    assert_nested_fits_are_plain_fits(boosting, [{"n_estimators": None}, *SIZES], X.astype(np.float32), y, X_test)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["rank:ndcg", "rank:map", "rank:pairwise"])
def test_a_ranking_is_the_beginning_of_a_longer_one(objective: str) -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(120, 4)), columns=list("abcd"))
    X["qid"] = np.repeat(np.arange(12), 10)
    y = pd.Series((X["a"] + rng.normal(size=120) > 0).astype(int))
    ranker = XGBRanker(objective=objective, **ONE)
    assert_nested_fits_are_plain_fits(ranker, SIZES, X, y, X.iloc[:40])
    fitted = list(rule_of(NestedFit, ranker).fit([clone(ranker).set_params(**size) for size in SIZES], X, y, {}))
    for size, shared in zip(SIZES, fitted, strict=True):
        assert shared.score(X, y) == clone(ranker).set_params(**size).fit(X, y).score(X, y)


def test_what_else_there_is_is_left_to_a_fit_of_its_own() -> None:
    rule = rule_of(NestedFit, XGBClassifier())
    X, y = IRIS
    assert rule.applies(XGBClassifier(), X, y)
    others: list[dict[str, Any]] = [
        {"booster": "dart"},
        {"booster": "gblinear"},
        {"device": "cuda"},
        {"early_stopping_rounds": 3},
        {"callbacks": [object()]},
        {"objective": lambda y, predicted: (predicted - y, np.ones_like(y))},
        {"objective": "multi:other"},
        {"multi_strategy": "multi_output_tree"},
        {"enable_categorical": True},
        {"feature_types": ["q"] * 4},
        {"feature_weights": np.ones(4)},
        {"sampling_method": "gradient_based"},
        {"tree_method": "gpu_hist"},
        {"updater": "refresh"},
        {"eval_metric": np.mean},
    ]
    for other in others:
        assert not is_known(XGBClassifier(**other)), other
        assert "eval_metric" in other or not rule.applies(XGBClassifier(**other), X, y), other
    assert not rule.applies(XGBClassifier(), X, np.column_stack([y, y]))
    for size in (0, -1, 2.0, True, "10"):
        assert not rule.accepts(XGBClassifier(n_estimators=size))
    with pytest.raises(ValueError, match="eval_set"):
        next(iter(rule.fit([XGBClassifier()], X, y, {"eval_set": [(X, y)]})))
    assert rules_for(XGBRFClassifier) == Rules()


def test_no_seed_is_a_seed_and_a_generator_is_none() -> None:
    assert is_repeatable(XGBClassifier())
    assert is_repeatable(XGBClassifier(random_state=1))
    assert not is_repeatable(XGBClassifier(random_state=np.random.RandomState(0)))


@pytest.mark.slow
def test_a_second_call_gives_the_same_draws_nothing_and_changes_nothing() -> None:
    for kind, (X, y) in ((XGBClassifier, IRIS), (XGBRegressor, DIABETES)):
        fitted = kind(n_estimators=5, **ONE).fit(freeze(X), freeze(y))

        def state(fitted: Any = fitted) -> Any:
            model = bytes(fitted.get_booster().save_raw("ubj")), fitted.get_booster().save_config()
            world = pickle.dumps((np.random.get_state(), random.getstate()))
            return model, repr({name: value for name, value in vars(fitted).items() if name != "_Booster"}), world

        fitted.predict(X)  # the first call writes into the configuration which way it predicts
        before = state()
        for method in ("predict", "predict_proba") if kind is XGBClassifier else ("predict",):
            assert_same_bits(getattr(fitted, method)(X), getattr(fitted, method)(X), method)
        assert state() == before


@pytest.mark.slow
@in_a_fresh_process  # its threads stay
def test_several_threads_add_up_in_one_order() -> None:
    X, y = make_classification(600, 8, random_state=0)
    for settings in (
        {},
        {"subsample": 0.7, "colsample_bynode": 0.5},
        {"tree_method": "approx"},
        {"tree_method": "exact"},
    ):
        boosting = XGBClassifier(n_jobs=2, random_state=0, **settings)
        assert_nested_fits_are_plain_fits(boosting, SIZES[:2], X, y, X[:99])


@pytest.mark.slow
@in_a_fresh_process
def test_a_search_is_scikit_learns_in_one_process_and_in_forks() -> None:
    X, y = IRIS
    grid = {"n_estimators": [2, 5, 9], "max_depth": [1, 3]}
    for jobs in (1, 2):
        ours = assert_same_search(XGBClassifier(**ONE), grid, X, y, n_jobs=jobs, cv=3)
        assert (ours.guard.groups, ours.guard.trips) == (2, 0)
