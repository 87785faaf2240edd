"""What a person's script does, in a process of its own: `python -m tests.cluster.notebook WHAT KUBECONFIG NAMESPACE`.

Besides a kubeconfig whose user has a certificate it is told of nothing: the results service is reached through the API server.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn.model_selection
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.cluster import patient
from tests.truth import assert_equal_to_the_bit, scikit_learns
from tuningjob import Cluster, GridSearchCV

MODULE = '''
from sklearn.base import BaseEstimator, TransformerMixin


class Clip(TransformerMixin, BaseEstimator):
    """A transformer of one's own."""

    def __init__(self, most=1.0):
        self.most = most

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return X.clip(-self.most, self.most)
'''


PATIENCE = f'''
import os, time
from sklearn.linear_model import Ridge


class Patient(Ridge):
    """In pods it waits, until it is told to hurry."""

    def fit(self, X, y):
        until = time.monotonic() + 3 * ("TUNINGJOB_RESULTS_URL" in os.environ)
        while time.monotonic() < until and not os.path.exists({patient.HURRY!r}):
            time.sleep(0.05)
        return super().fit(X, y)
'''


def tell(what: object) -> None:
    sys.stdout.write(f"{json.dumps(what)}\n")
    sys.stdout.flush()


def churn() -> tuple[pd.DataFrame, "pd.Series[Any]"]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, 200),
            "income": rng.normal(size=200),
            "town": pd.Categorical(rng.choice(["Ulm", "Bonn", "Köln"], 200)),
            "plan": pd.Series(rng.choice(["small", "large"], 200), dtype="str"),
        }
    )
    return frame, pd.Series(np.where(frame["income"] + rng.normal(size=200) > 0, "yes", "no"), name="churned")


def searches() -> Iterator[tuple[Any, tuple[Any, Any], dict[str, Any]]]:
    Path("cleaning.py").write_text(MODULE, encoding="utf-8")
    sys.path.insert(0, str(Path.cwd()))
    from cleaning import Clip  # type: ignore[import-not-found]  # noqa: PLC0415

    columns = make_column_transformer(
        (make_pipeline(StandardScaler(), Clip()), ["age", "income"]),
        (OneHotEncoder(handle_unknown="ignore"), ["town", "plan"]),
    )
    grid = {"columntransformer__pipeline__clip__most": [0.5, 2.0], "logisticregression__C": [0.1, 1.0, 10.0]}
    metrics = {"acc": "accuracy", "loss": "neg_log_loss"}
    pipeline = make_pipeline(columns, LogisticRegression())
    yield GridSearchCV(pipeline, grid, cv=3, scoring=metrics, refit="loss", return_train_score=True), churn(), {}

    rng = np.random.default_rng(1)
    words = TfidfVectorizer().fit_transform([f"w{i % 7} w{i % 3} w{i % 5}" for i in range(120)])
    given = {"groups": np.arange(120) // 12, "sample_weight": rng.random(120)}
    ridge = GridSearchCV(Ridge(solver="sparse_cg"), {"alpha": [0.1, 1.0, 10.0]}, cv=GroupKFold(3))
    yield ridge, (words, rng.normal(size=120)), given

    digits = load_digits()
    forest = GridSearchCV(
        RandomForestClassifier(random_state=0), {"n_estimators": [10, 30], "max_depth": [4, None]}, cv=3
    )
    yield forest, (np.asfortranarray(digits.data), digits.target), {}


def fit(cluster: Callable[[], Cluster]) -> None:
    """Every search there, and by scikit-learn here."""
    for search, given, params in searches():
        with cluster():
            search.fit(*given, **params)
            predicted = search.predict(given[0])
        theirs = scikit_learns(search)
        theirs.fit(*given, **params)
        assert_equal_to_the_bit(search.cv_results_, theirs.cv_results_)
        assert (search.best_params_, search.best_score_) == (theirs.best_params_, theirs.best_score_)
        assert search.refit_time_ > 0.0
        assert np.array_equal(predicted, theirs.predict(given[0]))
    tell("all equal")


def submit(cluster: Callable[[], Cluster]) -> None:
    """One search over much data, in a handle."""
    X = np.random.default_rng(2).normal(size=(3_000, 1_000))
    search = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0, 10.0, 100.0]}, cv=4)
    with cluster() as where:
        run = where.submit(search, X, X[:, 0])
        tell(run.name)
        run.wait()
        tell(float(run.result().best_score_))


def bucket(cluster: Callable[[], Cluster]) -> None:
    """A search over an object that pods read, whose fits take their time there."""
    Path("patience.py").write_text(PATIENCE, encoding="utf-8")
    sys.path.insert(0, str(Path.cwd()))
    from patience import Patient  # type: ignore[import-not-found]  # noqa: PLC0415

    grid = {"alpha": [0.1, 1.0, 10.0, 100.0, 1_000.0]}
    search = GridSearchCV(Patient(), grid, cv=4)
    with cluster():
        search.fit("s3://models/rows.parquet", "y")
    frame = pd.read_parquet("rows.parquet")
    theirs = sklearn.model_selection.GridSearchCV(Ridge(), grid, cv=4).fit(frame.drop(columns="y"), frame["y"])
    assert_equal_to_the_bit(search.cv_results_, theirs.cv_results_)
    assert (search.best_params_, search.best_score_) == (theirs.best_params_, theirs.best_score_)
    tell("all equal")


if __name__ == "__main__":
    what, kubeconfig, namespace = sys.argv[1:]
    size: dict[str, Any] = {
        "pods": 2,
        "cpu": "500m",
        "memory": "600Mi",
        "pod": json.loads(os.environ.get("POD", "null")),
    }
    {"fit": fit, "submit": submit, "bucket": bucket}[what](
        lambda: Cluster(namespace, kubeconfig=kubeconfig, service_account="ann", **size)
    )
