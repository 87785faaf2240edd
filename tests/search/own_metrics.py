"""Metrics and scorers of a user's own."""

from typing import Any

import numpy as np
from sklearn.metrics import accuracy_score, make_scorer


def asymmetric(y_true: Any, y_pred: Any, *, weight: float = 2.0) -> float:
    """A loss in which the errors of one side weigh more."""
    return float(np.mean((y_true > y_pred) * weight + (y_true < y_pred)))


def cost(estimator: Any, X: Any, y: Any) -> float:
    """A scorer that looks at the estimator, too."""
    return float(np.mean(estimator.predict(X) == y)) - 0.01 * float(estimator.get_params()["max_depth"] or 10)


class Cost:
    """A scorer with a memory of its own."""

    def __init__(self, price: float) -> None:
        self.price = price

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        return -self.price * float(np.mean(estimator.predict(X) != y))


def against_depth(estimator: Any, X: Any, y: Any) -> float:
    """Raises for some candidates."""
    if estimator.get_params()["max_depth"] == 2:
        raise ValueError("two is too few")
    return float(np.mean(estimator.predict(X) == y))


def always_raises(y_true: Any, y_pred: Any) -> float:  # noqa: ARG001
    """Of no use."""
    raise ValueError(f"no use for {len(y_true)} rows")


def matrix(y_true: Any, y_pred: Any) -> Any:  # noqa: ARG001
    """No number."""
    return np.eye(2)


def wrong(estimator: Any, X: Any, y: Any) -> float:
    """A scorer that takes no weights."""
    return -float(np.mean(estimator.predict(X) != y))


def made_anew() -> Any:
    """``made``, to be told what it asks for."""
    return make_scorer(accuracy_score)


priced = Cost(3.0)
made = make_scorer(accuracy_score)
LIMIT = 3
