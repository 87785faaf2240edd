"""The proof of UnusedBySolver."""

from typing import Any

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_diabetes, load_iris
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import scale

from tests.engine.compare import assert_same_search
from tests.engine.rules.proof import PlainFit, rule_of, shown
from tuningjob.engine.fingerprint import of_estimator
from tuningjob.engine.rules import Inert

IRIS = load_iris(return_X_y=True)
DIABETES = (scale(load_diabetes().data[:100]), scale(load_diabetes().target[:100]))
VALUES: dict[str, list[Any]] = {
    "learning_rate": ["adaptive", "invscaling"],
    "learning_rate_init": [0.01, 1],
    "power_t": [0, 0.9, np.float32(0.3)],
    "batch_size": [7, np.int64(500)],
    "shuffle": [False],
    "momentum": [0, 0.5, 1.0],
    "nesterovs_momentum": [False],
    "early_stopping": [True],
    "validation_fraction": [0.3, 0.0],
    "beta_1": [0, 0.5],
    "beta_2": [0.0, 0.5],
    "epsilon": [1e-3, 2],
    "n_iter_no_change": [1, float("inf")],
    "max_fun": [1, 10**6],
}
LOOKED_AT = {
    "lbfgs": {"max_fun"},
    "sgd": set(VALUES) - {"power_t", "validation_fraction", "beta_1", "beta_2", "epsilon", "max_fun"},
    "adam": set(VALUES)
    - {"learning_rate", "power_t", "momentum", "nesterovs_momentum", "validation_fraction", "max_fun"},
}
STATE = ("coefs_", "intercepts_", "n_iter_", "loss_")


def key(network: Any) -> Any:
    """What the engine compares."""
    return of_estimator(network, instead=rule_of(Inert, network).normal_form(network))


@pytest.mark.slow
@pytest.mark.parametrize("solver", sorted(LOOKED_AT))
@pytest.mark.parametrize(
    "network",
    [
        MLPClassifier([5], max_iter=6, random_state=0),
        MLPClassifier([4, 3], max_iter=6, random_state=0, activation="tanh", early_stopping=True),
        MLPRegressor(hidden_layer_sizes=[5], max_iter=6, random_state=0),
        MLPRegressor(hidden_layer_sizes=[], max_iter=6, random_state=0, early_stopping=True, validation_fraction=0.2),
    ],
    ids=shown,
)
def test_a_solver_does_not_look_at_the_parameters_of_another(network: Any, solver: str) -> None:
    X, y = IRIS if is_classifier(network) else DIABETES
    first = clone(network).set_params(solver=solver)
    fit = PlainFit(first, X, y, attributes=STATE)
    looked_at = set(LOOKED_AT[solver])
    if first.early_stopping and solver != "lbfgs":
        looked_at.add("validation_fraction")
    for name, values in VALUES.items():
        for value in values:
            other = clone(first).set_params(**{name: value})
            if getattr(first, name) == value:
                continue
            assert (key(other) == key(first)) == (name not in looked_at), (name, value)
            if name not in looked_at:
                fit.assert_same(other, f"{name}={value}")
    inert = {name: values[-1] for name, values in VALUES.items() if name not in looked_at}
    other, weights = clone(first).set_params(**inert), np.linspace(0.1, 2, len(y))
    PlainFit(first, X, y, attributes=STATE, sample_weight=weights).assert_same(other, other)
    PlainFit(first, sparse.csr_matrix(X), y, attributes=STATE).assert_same(other, other)


def test_a_schedule_has_a_power_and_a_validation_its_fraction() -> None:
    scheduled = MLPClassifier(solver="sgd", learning_rate="invscaling")
    assert key(clone(scheduled).set_params(power_t=0.1)) != key(scheduled)
    validated = MLPClassifier(early_stopping=True)
    assert key(clone(validated).set_params(validation_fraction=0.2)) != key(validated)


def test_values_that_scikit_learn_refuses_are_not_taken_for_others() -> None:
    refused: dict[str, list[Any]] = {
        "momentum": [-1, 2, None, "0"],
        "power_t": [-1, None, float("nan")],
        "nesterovs_momentum": [1, None],
        "learning_rate": ["other", None, ["constant"]],
        "max_fun": [0, 2.0],
    }
    for name, values in refused.items():
        network = MLPClassifier()
        for value in values:
            assert key(clone(network).set_params(**{name: value})) != key(network), (name, value)
    for solver in ("other", None, ["adam"]):
        network = MLPClassifier(solver=solver)
        assert key(clone(network).set_params(momentum=0.5)) != key(network)


@pytest.mark.slow
def test_the_best_known_grid_is_searched_as_scikit_learn_does() -> None:
    grid = {"solver": ["sgd", "adam"], "learning_rate": ["constant", "adaptive"], "alpha": [1e-4, 0.05]}
    network = MLPClassifier([5], max_iter=8, random_state=0)
    ours = assert_same_search(network, grid, *IRIS, cv=3)
    rule_of(Inert, network)  # not in force everywhere: then it shares nothing
    assert (ours.guard.groups, ours.guard.trips) == (1, 0)
    fitted = ours.cv_results_["mean_fit_time"] > 0
    assert np.count_nonzero(fitted) == 6  # two of adam are one
