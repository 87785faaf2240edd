"""Estimators and scorers of other libraries and of nobody's, with what may be searched in them."""

from typing import Any

import numpy as np
from catboost import CatBoostClassifier, CatBoostRegressor
from imblearn.over_sampling import RandomOverSampler
from imblearn.pipeline import Pipeline as SamplingPipeline
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.metrics import make_scorer
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from xgboost import XGBClassifier, XGBRegressor

from tests.engine import odd

Space = dict[str, list[Any]]
# with a rule each, so known; in the other settings they are not
LGBM: Space = {
    "n_estimators": [1, 2, 5, 9],
    "num_leaves": [3, 5],
    "boosting_type": ["gbdt", "dart"],
    "colsample_bytree": [0.5, 1.0],
}
XGB: Space = {
    "n_estimators": [1, 2, 5, 9, None],
    "max_depth": [1, 3],
    "subsample": [0.5, 1.0],
    "booster": ["gbtree", "dart", "gblinear"],
}
FOREIGN_CLASSIFIERS: list[tuple[Any, Space]] = [
    (LGBMClassifier(n_estimators=3, min_child_samples=3, n_jobs=1, verbose=-1, random_state=0), LGBM),
    (XGBClassifier(n_estimators=3, n_jobs=1, random_state=0), XGB),
    (
        CatBoostClassifier(iterations=3, thread_count=1, verbose=0, allow_writing_files=False, random_seed=0),
        {"depth": [1, 3]},
    ),
    (odd.Owner(), {"C": [0.1, 10.0]}),
    *((odd.Centroids(how), {"shrink": [0.0, 0.1, 0.5]}) for how in odd.ODD_WAYS),
    (
        SamplingPipeline(
            [("sample", RandomOverSampler(random_state=0)), ("tree", DecisionTreeClassifier(random_state=0))]
        ),
        {"tree__max_depth": [1, 3, None], "sample": ["passthrough", RandomOverSampler(random_state=1)]},
    ),
]
FOREIGN_REGRESSORS: list[tuple[Any, Space]] = [
    (LGBMRegressor(n_estimators=3, min_child_samples=3, n_jobs=1, verbose=-1, random_state=0), LGBM),
    (XGBRegressor(n_estimators=3, n_jobs=1, random_state=0), XGB),
    (
        CatBoostRegressor(iterations=3, thread_count=1, verbose=0, allow_writing_files=False, random_seed=0),
        {"depth": [1, 3]},
    ),
]
FOREIGN_TRANSFORMERS: list[tuple[Any, Space]] = [
    (odd.DrawingTransform(), {"scale": [0.1, 1.0]}),
    (odd.WritingTransform(), {}),
    (odd.Slotted(), {"factor": [1.0, 2.0]}),
    (odd.Cyclic(), {"factor": [1.0, 2.0]}),
    (IterativeImputer(sample_posterior=True, random_state=0, max_iter=1), {"sample_posterior": [True, False]}),
    (StandardScaler(copy=False), {"with_mean": [True, False]}),
    (FunctionTransformer(np.tanh), {"func": [np.tanh, np.sin, None]}),
    (FunctionTransformer(odd.shifted), {"validate": [True, False]}),
]
_FOR_CLASSES: list[Any] = [
    odd.scorer_that_fits_again,
    odd.scorer_that_writes,
    odd.scorer_that_pickles,
    make_scorer(odd.metric_that_writes),
    {"a": "accuracy", "b": odd.scorer_that_fits_again, "c": "accuracy"},
    {"a": "accuracy", "b": make_scorer(odd.metric_that_writes), "c": "f1_macro"},
]
_FOR_NUMBERS: list[Any] = [odd.scorer_that_scores_twice, {"a": "r2", "b": odd.scorer_that_scores_twice}]
# By whether y is of classes, and whether nothing else draws at the same time.
ODD_SCORERS: dict[tuple[bool, bool], list[Any]] = {
    (True, True): [*_FOR_CLASSES, make_scorer(odd.metric_that_draws)],
    (True, False): _FOR_CLASSES,
    (False, True): [*_FOR_NUMBERS, odd.scorer_that_draws],
    (False, False): _FOR_NUMBERS,
}
