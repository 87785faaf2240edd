"""Estimators and functions that stand beside a manifest."""

from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

NOT_CALLABLE = 3


def tamed(X: Any) -> Any:
    return np.tanh(X)


def make_model(*, C: float = 1.0, scaled: bool = True) -> Pipeline:
    return Pipeline(
        [("scale", StandardScaler() if scaled else "passthrough"), ("model", LogisticRegression(C=C, max_iter=200))]
    )


def make_class() -> Any:
    return LogisticRegression


def make_number() -> Any:
    return 3


def make_trouble() -> Any:
    raise RuntimeError("no licence was found")
