"""Parameters of stochastic gradient descent that its penalty, its schedule and its loss never use share a fit."""

from collections.abc import Mapping
from typing import Any, Final

from sklearn.linear_model import SGDClassifier, SGDRegressor

from tuningjob.aliases import Estimator, Matrix
from tuningjob.engine.rules.base import Inert, register
from tuningjob.engine.rules.values import as_number, is_valid

_INSTEAD: Final[Mapping[str, Any]] = {
    "l1_ratio": 0.15,
    "eta0": 0.01,
    "power_t": 0.5,
    "epsilon": 0.1,
    "validation_fraction": 0.1,
}
_WITH_EPSILON: Final = {"huber", "epsilon_insensitive", "squared_epsilon_insensitive"}


@register
class UnusedByDescent(Inert):
    """Ignores ``l1_ratio`` without elasticnet, ``eta0`` and ``power_t`` of other schedules, and ``epsilon`` of other losses."""

    estimators = (SGDClassifier, SGDRegressor)
    parameters = tuple(_INSTEAD)
    proof = "tests/engine/rules/test_sgd_schedule.py::test_what_is_not_looked_at_changes_nothing"

    def normal_form(self, estimator: Estimator, X: Matrix = None) -> Mapping[str, Any]:  # noqa: ARG002
        if not all(is_valid(estimator, name) for name in ("penalty", "learning_rate", "loss")):
            return {}
        looked_at = {
            "l1_ratio": estimator.penalty == "elasticnet",
            "eta0": estimator.learning_rate != "optimal",
            "power_t": estimator.learning_rate == "invscaling",
            "epsilon": estimator.loss in _WITH_EPSILON,
            "validation_fraction": estimator.early_stopping is not False,
        }
        return {name: _INSTEAD[name] for name, looks in looked_at.items() if not looks and _is_silent(estimator, name)}


def _is_silent(estimator: Estimator, name: str) -> bool:
    """Whether an unused value neither raises nor warns."""
    value = getattr(estimator, name)
    if name == "l1_ratio" and value is None:
        return True
    number = as_number(value)  # all of these values are passed to C
    return is_valid(estimator, name) and number is not None and (name != "power_t" or number >= 0)
