"""The proof of UnusedByDescent."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import SGDClassifier, SGDRegressor
from sklearn.preprocessing import scale

from tests.engine.rules.proof import PlainFit, rule_of, shown
from tuningjob.engine.fingerprint import of_estimator
from tuningjob.engine.rules import Inert

IRIS = (scale(load_iris().data), load_iris().target)
DIABETES = (scale(load_diabetes().data), scale(load_diabetes().target))
ATTRIBUTES = ("coef_", "intercept_", "n_iter_", "t_")
VALUES: dict[str, list[Any]] = {
    "l1_ratio": [0, 0.9, 1.0, None],
    "eta0": [1, 1e-5, np.float32(0.3)],
    "power_t": [0, 0.1, 1e9],
    "epsilon": [0, 1.0, 1e9],
    "validation_fraction": [0.5, 1e-9],
}


def key(descent: Any) -> Any:
    """What the engine compares."""
    return of_estimator(descent, instead=rule_of(Inert, descent).normal_form(descent))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("descent", "looked_at"),
    [
        (SGDClassifier(), set[str]()),
        (SGDClassifier(loss="log_loss", penalty="l1", average=True), set[str]()),
        (SGDClassifier(penalty="elasticnet", learning_rate="constant"), {"l1_ratio", "eta0"}),
        (SGDClassifier(penalty=None, learning_rate="invscaling", loss="perceptron"), {"eta0", "power_t"}),
        (
            SGDClassifier(loss="huber", learning_rate="adaptive", early_stopping=True),
            {"epsilon", "eta0", "validation_fraction"},
        ),
        (SGDClassifier(learning_rate="pa1", penalty=None), {"eta0"}),
        (SGDRegressor(learning_rate="optimal"), set[str]()),
        (SGDRegressor(), {"eta0", "power_t"}),
        (SGDRegressor(loss="epsilon_insensitive", penalty="elasticnet"), {"eta0", "power_t", "epsilon", "l1_ratio"}),
        (SGDRegressor(loss="epsilon_insensitive", learning_rate="pa2"), {"eta0", "epsilon"}),
    ],
    ids=shown,
)
def test_what_is_not_looked_at_changes_nothing(descent: Any, looked_at: set[str]) -> None:
    X, y = IRIS if is_classifier(descent) else DIABETES
    first = clone(descent).set_params(random_state=0, max_iter=8)
    fit = PlainFit(first, X, y, attributes=ATTRIBUTES)
    for name, values in VALUES.items():
        for value in values:
            other = clone(first).set_params(**{name: value})
            assert (key(other) == key(first)) == (name not in looked_at), (name, value)
            if name not in looked_at:
                fit.assert_same(other, f"{name}={value}")
    inert = {name: values[1] for name, values in VALUES.items() if name not in looked_at}
    other = clone(first).set_params(**inert)
    weights = np.linspace(0.1, 2, len(y))
    PlainFit(first, sparse.csr_matrix(X), y, attributes=ATTRIBUTES, sample_weight=weights).assert_same(other, other)
    PlainFit(first, X.astype(np.float32), y, attributes=ATTRIBUTES).assert_same(other, other)


def test_values_that_scikit_learn_refuses_or_warns_of_are_not_taken_for_others() -> None:
    refused: dict[str, list[Any]] = {
        "l1_ratio": [-1, 2, "0.15"],
        "eta0": [0, -1, None],
        "power_t": [-0.5, None, float("inf")],
        "epsilon": [-1, None],
        "validation_fraction": [0.0, 1.0, None],
    }
    for name, values in refused.items():
        descent = SGDClassifier()
        for value in values:
            assert key(clone(descent).set_params(**{name: value})) != key(descent), (name, value)
    for other in ({"penalty": "other"}, {"penalty": ["l2"]}, {"learning_rate": None}, {"loss": "other"}):
        descent = SGDClassifier(**other)
        assert key(clone(descent).set_params(eta0=0.5)) != key(descent)
