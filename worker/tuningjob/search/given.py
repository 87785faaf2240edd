"""Parameters that ``spec.estimator`` gives once: whose each is, and where the manifest has it, at any depth."""

from collections.abc import Iterable, Iterator, Set
from dataclasses import dataclass, replace

from tuningjob.aliases import Anything, Estimator
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.estimator import ESTIMATOR
from tuningjob.manifest.estimator import Estimator as EstimatorSpec
from tuningjob.manifest.literals import Composed, ListOf, ObjectOf, Scalar, TupleOf, Value
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.search.build import estimator_of
from tuningjob.search.reasons import Reason

_PARTS = {"pipeline": "steps", "columns": "transformers", "union": "transformer_list"}


@dataclass(frozen=True)
class Given:
    """A parameter: the object whose it is, its name there (which may be a nested one), what is written, and where."""

    owner: Anything
    name: str
    literal: Value
    field: str


def fixed_values(spec: TuningJobSpec, estimator: Estimator) -> Iterator[Given]:
    """Every parameter that the manifest gives once, of all objects; nothing of what a factory is called with."""
    if spec.estimator.literal is not None:
        yield from _within(spec.estimator.literal, estimator, ESTIMATOR)


def _within(literal: Value, made: Anything, field: str) -> Iterator[Given]:
    """The literals and the objects that were made of them are walked side by side; literals are bounded in depth."""
    match literal:
        case ObjectOf(params=params):
            values = _params_of(made)
            for name, value in params:
                where = f"{field}.params.{name}"
                yield Given(made, name, value, where)
                if name in values:
                    yield from _within(value, values[name], where)
        case Composed(kind=kind, parts=parts, remainder=remainder):
            for i, (part, each) in enumerate(zip(parts, getattr(made, _PARTS[kind]), strict=True)):
                yield from _within(part.value, each[1], f"{field}.{kind}[{i}]")
            if remainder is not None:
                yield from _within(remainder, made.remainder, f"{field}.remainder")
        case ListOf(items=items) | TupleOf(items=items) if type(made) in {list, tuple} and len(made) == len(items):
            for i, (item, each) in enumerate(zip(items, made, strict=True)):
                yield from _within(item, each, f"{field}[{i}]")


def _params_of(made: Anything) -> dict[str, Anything]:
    try:
        return dict(made.get_params(deep=False))
    except Exception:  # noqa: BLE001  the user's own, or an object that is no estimator
        return {}


def field_of(spec: TuningJobSpec, name: str) -> str:
    """Where the manifest has a parameter of the estimator's, by its nested name: ``prep__num__strategy``; or would have it."""
    literal = spec.estimator.literal
    return f"{ESTIMATOR}.factory" if literal is None else _field_of(literal, name, ESTIMATOR)


def _field_of(literal: ObjectOf | Composed, name: str, field: str) -> str:
    head, _, rest = name.partition("__")
    if isinstance(literal, ObjectOf):
        given = dict(literal.params)
        if rest and name not in given:
            below = given.get(head)
            found = (below, f"{field}.params.{head}") if below is not None else _named(literal, head, field)
            if found is not None and isinstance(found[0], ObjectOf | Composed):
                return _field_of(found[0], rest, found[1])
        return f"{field}.params.{name}"
    for i, part in enumerate(literal.parts):
        if part.name == head and isinstance(part.value, ObjectOf | Composed):
            where = f"{field}.{literal.kind}[{i}]"
            return _field_of(part.value, rest, where) if rest else where
    if head == "remainder" and isinstance(literal.remainder, ObjectOf | Composed) and rest:
        return _field_of(literal.remainder, rest, f"{field}.remainder")
    return field


def _named(literal: ObjectOf, name: str, field: str) -> tuple[Value, str] | None:
    """The estimator of this name in a list of pairs, as Pipeline's ``steps`` has it; and where it is."""
    for parameter, value in literal.params:
        for i, pair in enumerate(value.items if isinstance(value, ListOf | TupleOf) else ()):
            if isinstance(pair, ListOf | TupleOf) and len(pair.items) > 1 and pair.items[0] == Scalar(name):
                return pair.items[1], f"{field}.params.{parameter}[{i}][1]"
    return None


def build_without(spec: EstimatorSpec, problems: Iterable[Problem]) -> Estimator | None:
    """The estimator without the parameters that it was refused for, because it lacks them; None if it is refused all the same.

    By it is known what else is wrong.
    """
    lacking = {problem.field for problem in problems if problem.reason == Reason.PARAMETER_UNKNOWN}
    if spec.literal is None or not lacking:
        return None
    try:
        return estimator_of(_without(spec.literal, lacking, ESTIMATOR), ESTIMATOR)
    except ManifestRefused:
        return None


def _without(literal: Value, lacking: Set[str], field: str) -> Value:
    match literal:
        case ObjectOf(params=params):
            named = ((name, value, f"{field}.params.{name}") for name, value in params)
            kept = tuple((name, _without(value, lacking, at)) for name, value, at in named if at not in lacking)
            return replace(literal, params=kept)
        case Composed(kind=kind, parts=parts, remainder=remainder):
            kept_parts = tuple(
                replace(part, value=_without(part.value, lacking, f"{field}.{kind}[{i}]"))
                for i, part in enumerate(parts)
            )
            rest = None if remainder is None else _without(remainder, lacking, f"{field}.remainder")
            return replace(literal, parts=kept_parts, remainder=rest)
        case ListOf(items=items) | TupleOf(items=items):
            return replace(
                literal, items=tuple(_without(item, lacking, f"{field}[{i}]") for i, item in enumerate(items))
            )
    return literal
