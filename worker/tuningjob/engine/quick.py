"""Quick searches: those in which no fit can take long, and that may be fitted in the user's own process.

A few classes on small data guarantee that a fit is over soon, whatever their parameters. Only known (``engine.known``), seeded
and silent estimators are quick: others may draw, print or crash, which must not happen in the user's process.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from sklearn.base import clone
from sklearn.pipeline import Pipeline

from tuningjob.aliases import Estimator, ParamValue
from tuningjob.engine.arrays import shape_of
from tuningjob.engine.known import can_share, is_known, is_known_scorer
from tuningjob.engine.named import public_name
from tuningjob.engine.seeds import is_repeatable
from tuningjob.engine.work import Work, dispatches_arrays, wants_kernel

# The most that a fit and a score of the classes below take for each value of X.
_SECONDS_PER_VALUE: Final = 1e-6
_MOST_ITERATIONS: Final = 1_000  # coordinate descent takes some microseconds for each on so few data
_MOST_STEPS: Final = 200  # for a solver that calls Python at each
# libsvm looks at all rows in each iteration, for some nanoseconds a row, and at all pairs of rows once.
_MOST_MACHINE_ITERATIONS: Final = 40_000
_MOST_ROWS_OF_A_KERNEL: Final = 1_000
_MACHINE: Final = "sklearn.svm.SVC"


def limited(work: Work) -> Work:
    """The search with a limit of iterations for a support vector machine that has none.

    A limit that is not reached changes nothing: the rule ``svm_iterations`` has the proof.
    """
    estimator, shape = work.estimator, shape_of(work.X)
    is_pipeline = type(estimator) is Pipeline and bool(estimator.steps)
    name, machine = estimator.steps[-1] if is_pipeline else ("", estimator)
    if public_name(type(machine)) != _MACHINE or getattr(machine, "max_iter", None) != -1 or not can_share(estimator):
        return work
    if shape is None or shape[0] > _MOST_ROWS_OF_A_KERNEL:
        return work
    limit = {f"{name}__max_iter" if is_pipeline else "max_iter": _MOST_MACHINE_ITERATIONS}
    return replace(work, estimator=clone(estimator).set_params(**limit))


def is_quick(work: Work, most_seconds: float) -> bool:
    """Whether no fit of a search can take longer than so many seconds, or have any other effect on the process."""
    shape = shape_of(work.X)
    if shape is None or len(shape) != 2 or _SECONDS_PER_VALUE * math.prod(shape) > most_seconds:
        return False
    if work.fit_params or work.score_params or not is_known_scorer(work.scorer) or dispatches_arrays():
        return False
    if not can_share(work.estimator):
        return False
    # most candidates differ in numbers that make no fit longer
    kinds = {
        tuple((name, _told(name, value)) for name, value in candidate.items()): number
        for number, candidate in enumerate(work.candidates)
    }
    try:
        return all(_is_quick(work.configured(number), shape) for number in kinds.values())
    except Exception:  # noqa: BLE001  the fits will raise it
        return False


def _told(name: str, value: ParamValue) -> object:
    if isinstance(value, str | bool) or value is None or name.endswith(("max_iter", "verbose")):
        return repr(value)
    return None if isinstance(value, int | float) else id(value)


def _is_quick(estimator: Estimator, shape: tuple[int, ...]) -> bool:
    if not is_known(estimator) or not is_repeatable(estimator, shape) or wants_kernel(estimator):
        return False
    steps = [step for _, step in estimator.steps] if type(estimator) is Pipeline else [estimator]
    if shape[0] > _MOST_ROWS_OF_A_KERNEL and any(public_name(type(step)) == _MACHINE for step in steps):
        return False
    return not any(getattr(step, "verbose", False) for step in (estimator, *steps)) and all(map(_is_bounded, steps))


def _is_bounded(step: Estimator) -> bool:
    if step is None or isinstance(step, str):  # "passthrough"
        return True
    module, _, name = (public_name(type(step)) or "").rpartition(".")
    return any(name in names.split() and holds(step) for names, holds in _BOUNDED.get(module, ()))


def _always(_: Estimator) -> bool:
    return True


def _has_few_iterations(model: Estimator) -> bool:
    return isinstance(model.max_iter, int) and model.max_iter <= _MOST_ITERATIONS


def _has_few_steps(model: Estimator) -> bool:
    return (
        model.solver in {"lbfgs", "newton-cholesky"}
        and isinstance(model.max_iter, int)
        and model.max_iter <= _MOST_STEPS
    )


def _is_limited(machine: Estimator) -> bool:
    is_alone = machine.probability is False or machine.probability == "deprecated"  # else it fits others inside
    return is_alone and isinstance(machine.max_iter, int) and 0 < machine.max_iter <= _MOST_MACHINE_ITERATIONS


def _is_direct(ridge: Estimator) -> bool:
    return bool(ridge.solver in {"auto", "cholesky", "svd"})


def _sorts_once(tree: Estimator) -> bool:
    return bool(tree.criterion != "absolute_error")


# The classes whose fit is bounded by its data, and the condition for it.
_BOUNDED: Final[Mapping[str, Sequence[tuple[str, Callable[[Any], bool]]]]] = {
    "sklearn.linear_model": (
        ("ElasticNet Lasso", _has_few_iterations),
        ("LinearRegression", _always),
        ("LogisticRegression", _has_few_steps),
        ("Ridge RidgeClassifier", _is_direct),
    ),
    "sklearn.naive_bayes": (("BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB", _always),),
    "sklearn.neighbors": (("KNeighborsClassifier KNeighborsRegressor NearestCentroid", _always),),
    "sklearn.preprocessing": (("MaxAbsScaler MinMaxScaler Normalizer RobustScaler StandardScaler", _always),),
    "sklearn.svm": (("SVC", _is_limited),),
    "sklearn.tree": (
        ("DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor", _sorts_once),
    ),
}
