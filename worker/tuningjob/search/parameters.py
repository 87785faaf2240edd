"""Check names and values of parameters, fixed and tried, against the estimators that own them."""

import difflib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from numbers import Integral
from typing import Any

from tuningjob.aliases import Anything, Estimator, Matrix, ParamValue
from tuningjob.engine.sklearn_private import Interval, RealNotInt, constraints_of
from tuningjob.errors import Problem
from tuningjob.manifest.literals import PATH_TEXT, Scalar, Value, shown
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.ranges import Distribution
from tuningjob.manifest.refusals import nearest
from tuningjob.search.build import takes
from tuningjob.search.constraints import constraint_text, invalid_within
from tuningjob.search.given import field_of, fixed_values
from tuningjob.search.reasons import Reason
from tuningjob.search.space import Maps, Space

# --- names, and ambiguous numbers


def fixed_problems(spec: TuningJobSpec, estimator: Estimator) -> Iterator[Problem]:
    """The problems of ambiguous numbers (1 or 1.0) among the fixed parameters, at any depth."""
    for given in fixed_values(spec, estimator):
        owners = owners_of(given.owner, {}, given.name)
        if any(means_two_things(owner, given.name.rpartition("__")[2], given.literal) for owner in owners):
            yield _ambiguity(given.field, given.literal)


def space_problems(estimator: Estimator, space: Space) -> Iterator[Problem]:
    """The problems of names that the estimator lacks, and of ambiguous numbers."""
    for i, (each, values) in enumerate(zip(space.written, space.listed, strict=True)):
        for name, literals in each.items():
            field = f"{space.field(i)}.{name}"
            owners, leaf = owners_of(estimator, values, name), name.rpartition("__")[2]
            lacking = [each for each in _holders(estimator, values, name) if not _takes(*each, values[name][0])]
            if lacking:
                yield _unknown_parameter(estimator, [holder for holder, _ in lacking], len(owners), name, field)
                continue
            for j, literal in enumerate(() if isinstance(literals, Distribution) else literals):
                if isinstance(literal, Scalar) and any(means_two_things(owner, leaf, literal) for owner in owners):
                    yield _ambiguity(f"{field}[{j}]", literal)


def owners_of(estimator: Estimator, values: Mapping[str, Sequence[Any]], name: str) -> list[Any]:
    """The owners of a nested name: the estimator in that place, or each one that the grid puts there.

    If a candidate's estimator lacks the parameter, its ``set_params`` would end scikit-learn's search, so all of them count.
    """
    *above, _ = name.split("__")
    for depth in range(len(above), 0, -1):
        tried = values.get("__".join(above[:depth]))
        if tried is not None:
            return [_below(value, above[depth:]) for value in tried]
    return [_below(estimator, above)]


def _below(value: ParamValue, path: Sequence[str]) -> Anything:
    return value.get_params().get("__".join(path)) if path and _is_estimator(value) else value


def owner_of(estimator: Estimator, name: str) -> Matrix:
    """The object that owns a parameter with a nested name; None without an estimator."""
    return None if estimator is None else owners_of(estimator, {}, name)[0]


def _holders(estimator: Estimator, values: Mapping[str, Sequence[Any]], name: str) -> list[tuple[Any, str]]:
    """The innermost object with parameters on the way of a nested name, and the rest of the name.

    The value there need be no estimator: skorch hands ``module__units`` on to a module's class.
    """
    parts = name.split("__")
    for depth in range(len(parts) - 1, 0, -1):
        tried = values.get("__".join(parts[:depth]))
        if tried is not None:
            return [_innermost(value, parts[depth:]) for value in tried]
    return [_innermost(estimator, parts)]


def _innermost(value: ParamValue, parts: Sequence[str]) -> tuple[Any, str]:
    for depth in range(len(parts) - 1, 0, -1):
        inner = _below(value, parts[:depth])
        if _is_estimator(inner):
            return inner, "__".join(parts[depth:])
    return value, "__".join(parts)


def _is_estimator(value: ParamValue) -> bool:
    return hasattr(value, "get_params") and not isinstance(value, type)


def _takes(holder: Estimator, name: str, value: ParamValue) -> bool:
    return _is_estimator(holder) and takes(holder, name, value)


def _unknown_parameter(estimator: Estimator, lacking: Sequence[Any], owners: int, name: str, field: str) -> Problem:
    known = list(estimator.get_params())
    if len(lacking) < owners or name in known:  # the owners are not the estimator's own parts, but tried in their place
        names = ", ".join(owner if isinstance(owner, str) else type(owner).__name__ for owner in lacking)
        wanted = "a parameter of each estimator that is tried there"
        advice = f"{names} lacks it: give it a map of its own in the list."
        return Problem(field, wanted, shown(name), advice, Reason.PARAMETER_UNKNOWN)
    wanted = "a parameter of the estimator"
    of_a_step = min((each for each in known if each.endswith(f"__{name}")), key=len, default=None)
    advice = nearest(name, known) if of_a_step is None else f"Did you mean {of_a_step!r}?"
    return Problem(field, wanted, shown(name), advice, Reason.PARAMETER_UNKNOWN)


def misspelt_names(spec: TuningJobSpec, estimator: Estimator, space: Space) -> Iterator[str]:
    """Warnings about names close to a listed one of a class that takes any name."""
    named = [(given.field, given.owner, given.name) for given in fixed_values(spec, estimator)]
    for i, (each, values) in enumerate(zip(space.written, space.listed, strict=True)):
        named += [
            (f"{space.field(i)}.{name}", *holder) for name in each for holder in _holders(estimator, values, name)[:1]
        ]
    for field, owner, name in named:
        known = _listed(type(owner)) if _is_estimator(owner) and "__" not in name else []
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.85)
        if close and name not in known:
            yield (
                f"{Reason.PARAMETER_UNKNOWN}: {field}: {type(owner).__name__} takes any name, and does not list {name!r}. "
                f"Did you mean {close[0]!r}?"
            )


def _listed(cls: type[Any]) -> list[str]:
    """The names that a class lists before any is set, and those of its signature."""
    try:
        return [*cls().get_params(deep=False), *inspect.signature(cls).parameters]
    except Exception:  # noqa: BLE001  the user's own
        return []


def means_two_things(owner: Estimator, name: str, literal: Value) -> bool:
    """Whether a bare 0 or 1 means something else as a float, by scikit-learn's own constraints.

    ``max_features=1`` is one feature, ``max_features=1.0`` all of them, and an API server turns ``1.0`` into ``1``.
    """
    if (
        not isinstance(literal, Scalar)
        or literal.tagged
        or isinstance(literal.value, bool)
        or literal.value not in {0, 1}
    ):
        return False
    constraints = constraints_of(type(owner)).get(name, ())
    intervals = (
        [constraint for constraint in constraints if isinstance(constraint, Interval)]
        if isinstance(constraints, list)
        else []
    )
    as_integer = any(interval.type is Integral for interval in intervals)
    return as_integer and any(
        interval.type is RealNotInt and float(literal.value) in interval for interval in intervals
    )


def _ambiguity(field: str, literal: Value) -> Problem:
    value = literal.value if isinstance(literal, Scalar) else literal
    return Problem(
        field,
        "a number that can mean only one thing",
        shown(value),
        f"Write {{int: {value}}} for a count, or {{float: {value}}} for a fraction.",
        Reason.PARAMETER_AMBIGUOUS,
    )


# --- values that scikit-learn would refuse


def refused_values(spec: TuningJobSpec, estimator: Estimator, space: Space) -> Iterator[Problem]:
    """The problems of values with which no candidate, or none of one map of a grid, could be fitted."""
    for field, value, wanted, maps in _fixed_values(spec, estimator, space.tried):
        if maps == len(space.tried):
            advice = f"scikit-learn would refuse every fit.{_how_to_write(value, wanted)}"
            yield Problem(field, wanted, shown(value), advice, Reason.PARAMETER_INVALID)
    for field, values, bad, wanted in _tried_values(estimator, space):
        if _is_hopeless(space, field, values, bad):
            advice = f"scikit-learn would refuse every fit: {space.no_value}.{_how_to_write(bad[0], wanted)}"
            yield Problem(field, wanted, shown(list(values)), advice, Reason.PARAMETER_INVALID)


def doubtful_values(spec: TuningJobSpec, estimator: Estimator, space: Space) -> Iterator[str]:
    """Warnings about values with which some candidates cannot be fitted: their scores will be NaN, as in scikit-learn."""
    for field, value, wanted, maps in _fixed_values(spec, estimator, space.tried):
        if 0 < maps < len(space.tried):
            where = "In the maps that do not set it scikit-learn will refuse every fit, scored NaN."
            problem = Problem(field, wanted, shown(value), f"{where}{_how_to_write(value, wanted)}")
            yield f"{Reason.PARAMETER_INVALID}: {problem}"
    for field, values, bad, wanted in _tried_values(estimator, space):
        if not _is_hopeless(space, field, values, bad):
            told = shown(bad[0]) if len(bad) == 1 else shown(bad)
            way = f"{space.without_it}.{_how_to_write(bad[0], wanted)}"
            advice = f"scikit-learn will refuse these fits, which are scored NaN. {way}"
            yield f"{Reason.PARAMETER_INVALID}: {Problem(field, wanted, told, advice)}"


def _how_to_write(value: ParamValue, wanted: str) -> str:
    """The advice to write a Python value as the manifest does, if a value looks like Python."""
    if isinstance(value, list) and "'tuple'" in wanted:
        return f" Write {{tuple: {shown(value)}}}."
    if isinstance(value, str) and "callable" in wanted:
        path = value if PATH_TEXT.fullmatch(value) else "PATH"
        return f" Write {{function: {path}}} for a function itself."
    return ""


def valid_values(estimator: Estimator, maps: Maps) -> list[dict[str, list[Any]]]:
    """The maps without values that scikit-learn would refuse; a map in which a parameter has none left is dropped."""
    valid = [
        {
            name: [
                value
                for value in values
                if _wanted(owners_of(estimator, tried, name), name.rpartition("__")[2], name, value, tried) is None
            ]
            for name, values in tried.items()
        }
        for tried in maps
    ]
    return [each for each in valid if all(each.values())]


def _is_hopeless(space: Space, field: str, values: Sequence[Any], bad: Sequence[Any]) -> bool:
    """Whether these values leave nothing to fit: in a whole map of a grid, or in all of a random search."""
    return len(bad) == len(values) and space.is_everywhere(field.rpartition(".")[2])


def _fixed_values(
    spec: TuningJobSpec,
    estimator: Estimator,
    maps: Maps,
) -> Iterator[tuple[str, Any, str, int]]:
    """The invalid values: field, value, what it must be, and the number of maps that have it."""
    for name, value, wanted in invalid_within(estimator):
        yield field_of(spec, name), value, wanted, sum(not _is_set(name, values) for values in maps)


def _is_set(name: str, values: Mapping[str, Sequence[Any]]) -> bool:
    """Whether a map gives the parameter other values, or replaces its owner."""
    parts = name.split("__")
    return any("__".join(parts[:depth]) in values for depth in range(1, len(parts) + 1))


def _tried_values(
    estimator: Estimator,
    space: Space,
) -> Iterator[tuple[str, Sequence[Any], list[Any], str]]:
    """For each field with invalid values: all values, the invalid ones, and what the first of these must be."""
    found: dict[str, tuple[list[Any], list[Any], list[str]]] = {}
    for i, tried in enumerate(space.tried):
        for name, values in tried.items():
            owners, leaf = owners_of(estimator, tried, name), name.rpartition("__")[2]
            wanted = [_wanted(owners, leaf, name, value, tried) for value in values]
            known, bad, must = found.setdefault(f"{space.field_tried(i)}.{name}", ([], [], []))
            known += values
            bad += [value for value, each in zip(values, wanted, strict=True) if each is not None]
            must += filter(None, wanted)
    for field, (values, bad, must) in found.items():
        if bad:
            yield field, values, bad, must[0]


def _wanted(
    owners: Sequence[Any],
    leaf: str,
    name: str,
    value: ParamValue,
    tried: Mapping[str, Any],
) -> str | None:
    for owner in owners:
        wanted = constraint_text(owner, leaf, value)
        if wanted is not None:
            return wanted
    for inner, _, wanted in invalid_within(value):
        if not _is_set(f"{name}__{inner}", {other: values for other, values in tried.items() if other != name}):
            return f"an estimator whose {inner} is {wanted}"
    return None
