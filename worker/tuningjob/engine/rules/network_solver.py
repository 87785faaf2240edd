"""Neural networks that differ only in parameters that their solver never uses share a fit."""

from collections.abc import Mapping
from typing import Any, Final

from sklearn.neural_network import MLPClassifier, MLPRegressor

from tuningjob.aliases import Estimator, Matrix
from tuningjob.engine.rules.base import Inert, register
from tuningjob.engine.rules.values import is_valid

_INSTEAD: Final[Mapping[str, Any]] = {
    "learning_rate": "constant",
    "learning_rate_init": 0.001,
    "power_t": 0.5,
    "batch_size": "auto",
    "shuffle": True,
    "momentum": 0.9,
    "nesterovs_momentum": True,
    "early_stopping": False,
    "validation_fraction": 0.1,
    "beta_1": 0.9,
    "beta_2": 0.999,
    "epsilon": 1e-8,
    "n_iter_no_change": 10,
    "max_fun": 15_000,
}
_INERT: Final[Mapping[str, frozenset[str]]] = {
    "lbfgs": frozenset(_INSTEAD) - {"max_fun"},
    "sgd": frozenset({"beta_1", "beta_2", "epsilon", "max_fun"}),
    "adam": frozenset({"learning_rate", "power_t", "momentum", "nesterovs_momentum", "max_fun"}),
}


@register
class UnusedBySolver(Inert):
    """Ignores other solvers' parameters: ``learning_rate`` and ``momentum`` under adam, ``beta_1`` under sgd, both under lbfgs.

    Under sgd ``power_t`` counts only for the schedule "invscaling", and ``validation_fraction`` only with ``early_stopping``.
    """

    estimators = (MLPClassifier, MLPRegressor)
    parameters = tuple(_INSTEAD)
    proof = "tests/engine/rules/test_network_solver.py::test_a_solver_does_not_look_at_the_parameters_of_another"

    def normal_form(self, estimator: Estimator, X: Matrix = None) -> Mapping[str, Any]:  # noqa: ARG002
        # a value that scikit-learn refuses is kept, so that it fails by itself
        solver = estimator.solver
        if not isinstance(solver, str) or solver not in _INERT:
            return {}
        inert = set(_INERT[solver])
        if solver == "sgd" and is_valid(estimator, "learning_rate") and estimator.learning_rate != "invscaling":
            inert.add("power_t")
        if estimator.early_stopping is False:
            inert.add("validation_fraction")
        return {name: _INSTEAD[name] for name in inert if is_valid(estimator, name)}
