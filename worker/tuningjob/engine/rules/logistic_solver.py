"""Parameters of a logistic regression that its solver and its penalty never use share a fit."""

from collections.abc import Mapping
from typing import Any, Final

from sklearn.linear_model import LogisticRegression

from tuningjob.aliases import Estimator, Matrix
from tuningjob.engine.rules.base import Inert, register
from tuningjob.engine.rules.values import as_number, is_valid

_DRAW: Final = {"liblinear", "sag", "saga"}


@register
class UnusedByLogisticSolver(Inert):
    """Ignores ``intercept_scaling`` and ``random_state`` of other solvers, and ``C`` and ``l1_ratio`` of other penalties.

    A value that causes a warning differs from one that does not.
    """

    estimators = (LogisticRegression,)
    parameters = ("C", "l1_ratio", "intercept_scaling", "random_state")
    proof = "tests/engine/rules/test_logistic_solver.py::test_what_is_not_looked_at_changes_nothing"

    def normal_form(self, estimator: Estimator, X: Matrix = None) -> Mapping[str, Any]:  # noqa: ARG002
        if not (is_valid(estimator, "solver") and is_valid(estimator, "penalty")):
            return {}
        instead: dict[str, Any] = {}
        penalty = estimator.penalty
        if estimator.solver != "liblinear" and is_valid(estimator, "intercept_scaling"):
            instead["intercept_scaling"] = 1
        if estimator.solver not in _DRAW and is_valid(estimator, "random_state"):
            instead["random_state"] = None
        if penalty is None and is_valid(estimator, "C") and estimator.C != 1.0:
            instead["C"] = 2.0  # which warns, as all values but 1.0 do
        ratio = as_number(estimator.l1_ratio)
        if (penalty is None or penalty in {"l1", "l2"}) and ratio is not None and 0 < ratio < 1:
            instead["l1_ratio"] = 0.5  # which warns, as all values between 0 and 1 do
        return instead
