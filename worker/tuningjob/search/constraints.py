"""Check parameter values by scikit-learn's own constraints, as an estimator's ``fit`` would."""

from collections.abc import Callable, Hashable, Iterator
from functools import cache
from typing import Any, Final

from tuningjob.aliases import Estimator, ParamValue
from tuningjob.engine.fingerprint import is_estimator
from tuningjob.engine.sklearn_private import (
    InvalidParameterError,
    constraints_of,
    declares_constraints,
    make_constraint,
    validate_parameter_constraints,
)

_UNCHECKED: Final = "no_validation"


def constraint_text(owner: Estimator, name: str, value: ParamValue) -> str | None:
    """What the parameter must be, in scikit-learn's words, if ``owner`` would refuse the value when it is fitted; else None.

    ``owner`` may be any object in the place of an estimator; one without constraints refuses nothing.
    """
    kind: Any = type(owner)
    constraints = _constraints_of(kind, name)
    if not constraints or any(is_satisfied_by(value) for is_satisfied_by in constraints):
        return None
    try:
        validate_parameter_constraints(constraints_of(kind), {name: value}, kind.__name__)
    except InvalidParameterError as error:
        return str(error).partition(" must be ")[2].rpartition(". Got ")[0]
    return None


def invalid_within(estimator: Estimator) -> Iterator[tuple[str, Any, str]]:
    """The parameters of an estimator and those within it that ``fit`` would refuse: nested name, value, and what it must be."""
    if not is_estimator(estimator):
        return
    named = {"": estimator, **estimator.get_params()}
    for path, owner in named.items():
        if is_estimator(owner):
            for name, value in owner.get_params(deep=False).items():
                wanted = constraint_text(owner, name, value)
                if wanted is not None:
                    yield (f"{path}__{name}" if path else name), value, wanted


@cache
def _constraints_of(owner: Hashable, name: str) -> tuple[Callable[[Any], bool], ...]:
    constraints = constraints_of(owner).get(name, _UNCHECKED)
    if constraints == _UNCHECKED or _fits_in_its_own_way(owner):
        return ()
    return tuple(make_constraint(constraint).is_satisfied_by for constraint in constraints)


def _fits_in_its_own_way(owner: Estimator) -> bool:
    """Whether a third-party class overrides ``fit`` but inherits constraints, and so may translate values before the check."""
    for each in owner.__mro__:
        if declares_constraints(each) or each.__module__.startswith("sklearn."):
            return False
        if "fit" in vars(each):
            return True
    return False
