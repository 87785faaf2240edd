"""imbalanced-learn's pipelines, whose steps may be samplers or "passthrough", and its ensembles: scikit-learn's results."""

from collections.abc import Mapping
from typing import Any

import pytest
from imblearn.ensemble import BalancedRandomForestClassifier
from imblearn.over_sampling import SMOTE, RandomOverSampler
from imblearn.pipeline import Pipeline
from imblearn.under_sampling import RandomUnderSampler
from sklearn.datasets import make_classification
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from tests.engine.compare import assert_same_search
from tests.engine.fresh import in_a_fresh_process

X, y = make_classification(300, 8, weights=[0.8], random_state=0)
balanced = Pipeline([("scale", StandardScaler()), ("balance", SMOTE(random_state=0)), ("model", LogisticRegression())])
SEARCHES: Mapping[str, tuple[Any, Any]] = {
    "a sampler's parameters": (balanced, {"balance__k_neighbors": [3, 5], "model__C": [0.1, 1.0]}),
    "samplers and none": (
        balanced,
        {
            "balance": ["passthrough", None, SMOTE(random_state=0), RandomUnderSampler(random_state=0)],
            "model__C": [0.1, 1],
        },
    ),
    "a transformer or none": (balanced, {"scale": ["passthrough", StandardScaler(), PCA(2)], "model__C": [0.1, 1.0]}),
    "a last step or none": (balanced, {"model": [LogisticRegression(), "passthrough"]}),
    "a sampler that ends it": (
        Pipeline([("scale", StandardScaler()), ("balance", RandomOverSampler(random_state=0))]),
        {"scale__with_mean": [True, False]},
    ),
    "an ensemble": (BalancedRandomForestClassifier(random_state=0), {"n_estimators": [2, 5], "max_depth": [2, None]}),
}


@pytest.mark.alike
@pytest.mark.parametrize("name", SEARCHES)
def test_a_search_of_imbalanced_learns_is_scikit_learns(name: str) -> None:
    assert_same_search(*SEARCHES[name], X, y, n_jobs=1, cv=2)


@pytest.mark.slow
@in_a_fresh_process
def test_a_search_of_imbalanced_learns_is_scikit_learns_in_processes_too() -> None:
    for estimator, grid in SEARCHES.values():
        assert_same_search(estimator, grid, X, y, n_jobs=2, cv=2, scoring=["f1", "roc_auc"], refit=False)
