"""What a published grid's search costs, and how much of it is the same work twice: simple models, by the estimator's class.

Counted is what is known to be exact, whether there is a rule for it or not: members of ensembles that a larger one contains,
leaves that a larger tree has, neighbours of one query, parameters that do nothing. Depths that no tree reaches depend on the
data, and are not.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

Candidate = Mapping[str, Any]

# Do nothing for any result.
_NEVER: Final = frozenset({"n_jobs", "verbose", "warm_start", "cache_size", "copy_X"})
_OF_KERNELS: Final[Mapping[str, frozenset[str]]] = {
    "linear": frozenset({"gamma", "degree", "coef0"}),
    "rbf": frozenset({"degree", "coef0"}),
    "sigmoid": frozenset({"degree"}),
}


def _of_machines(estimator: Any) -> frozenset[str]:  # noqa: ANN401
    return _OF_KERNELS.get(estimator.kernel, frozenset())


# By class: the parameters that do nothing beside an estimator's others.
_INERT: Final[Mapping[str, Callable[[Any], frozenset[str]]]] = {
    "SVC": _of_machines,
    "SVR": _of_machines,
    "KNeighborsClassifier": lambda _: frozenset({"leaf_size", "algorithm"}),
    "KNeighborsRegressor": lambda _: frozenset({"leaf_size", "algorithm"}),
}
_TREES: Final = {"max_leaf_nodes"}
_MEMBERS: Final = {"n_estimators"}
# By class: the parameters of which the largest value's fit contains all others.
_NESTED: Final[Mapping[str, set[str]]] = {
    "RandomForestClassifier": _MEMBERS | _TREES,
    "RandomForestRegressor": _MEMBERS | _TREES,
    "ExtraTreesClassifier": _MEMBERS | _TREES,
    "GradientBoostingClassifier": _MEMBERS,
    "GradientBoostingRegressor": _MEMBERS,
    "AdaBoostClassifier": _MEMBERS,
    "BaggingClassifier": _MEMBERS,
    "XGBClassifier": _MEMBERS,
    "XGBRegressor": _MEMBERS,
    "LGBMRegressor": _MEMBERS,
    "DecisionTreeClassifier": _TREES,
    "DecisionTreeRegressor": _TREES,
    "KNeighborsClassifier": {"n_neighbors", "weights"},
    "Ridge": {"alpha"},
    "MultinomialNB": {"alpha"},
    "CategoricalNB": {"alpha"},
}


def fits_as_members(estimator: Any, candidates: Sequence[Candidate]) -> int:  # noqa: ANN401
    """The fits of all candidates on one fold, an ensemble counted by its members."""
    return max(1, round(sum(_cost(configured) for configured in _configured(estimator, candidates))))


def oracle(estimator: Any, candidates: Sequence[Candidate]) -> float:  # noqa: ANN401
    """The candidates' work ÷ the work that differs."""
    total = 0.0
    largest: dict[str, float] = {}
    for configured in _configured(estimator, candidates):
        cost = _cost(configured)
        total += cost
        key = _key(configured)
        largest[key] = max(cost, largest.get(key, 0.0))
    return total / sum(largest.values()) if largest else 1.0


def _configured(estimator: Any, candidates: Iterable[Candidate]) -> Iterable[Any]:  # noqa: ANN401
    """Each candidate's final estimator; those whose parameters are refused fail at once, and cost nothing."""
    for candidate in candidates:
        configured = clone(estimator).set_params(**candidate)
        last = configured.steps[-1][1] if isinstance(configured, Pipeline) else configured
        if _is_valid(last):
            yield configured


def _is_valid(estimator: Any) -> bool:  # noqa: ANN401
    if getattr(estimator, "tree_method", None) == "gpu_hist":
        return False
    try:
        if hasattr(estimator, "_parameter_constraints"):
            estimator._validate_params()
        if type(estimator).__name__ == "LogisticRegression" and estimator.solver == "lbfgs":
            return estimator.penalty not in {"l1", "elasticnet"}
    except ValueError:
        return False
    return True


def _cost(configured: Any) -> float:  # noqa: ANN401
    size = getattr(configured, "n_estimators", 1)
    return float(size if isinstance(size, int | np.integer) else 1)


def _key(configured: Any) -> str:  # noqa: ANN401
    """Equal for those that one fit serves."""
    if isinstance(configured, Pipeline):
        return repr([(name, sorted(step.get_params().items(), key=str)) for name, step in configured.steps])
    name = type(configured).__name__
    free = _NEVER | _NESTED.get(name, set()) | _INERT.get(name, lambda _: frozenset())(configured)
    return repr(
        sorted(
            (parameter, repr(value)) for parameter, value in configured.get_params().items() if parameter not in free
        )
    )
