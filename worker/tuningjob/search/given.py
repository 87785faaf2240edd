"""The parameters that ``spec.estimator`` fixes, at any depth: the owner of each, and its place in the manifest."""

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
    """A fixed parameter: its owner, its name there (which may be nested), its literal, and its place in the manifest."""

    owner: Anything
    name: str
    literal: Value
    field: str


def fixed_values(spec: TuningJobSpec, estimator: Estimator) -> Iterator[Given]:
    """Every parameter that the manifest fixes for any object, without the arguments of a factory."""
    if spec.estimator.literal is not None:
        yield from _within(spec.estimator.literal, estimator, ESTIMATOR)


def _within(literal: Value, made: Anything, field: str) -> Iterator[Given]:
    """Walk literals and the objects made of them side by side; the depth of literals is bounded."""
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
    except Exception:  # noqa: BLE001  the user's own code, or an object that is no estimator
        return {}


def field_of(spec: TuningJobSpec, name: str) -> str:
    """The place in the manifest of a parameter by its nested name, such as ``prep__num__strategy``, even if it is not set."""
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
    """The estimator of this name in a list of pairs, such as Pipeline's ``steps``, and its place."""
    for parameter, value in literal.params:
        for i, pair in enumerate(value.items if isinstance(value, ListOf | TupleOf) else ()):
            if isinstance(pair, ListOf | TupleOf) and len(pair.items) > 1 and pair.items[0] == Scalar(name):
                return pair.items[1], f"{field}.params.{parameter}[{i}][1]"
    return None


def build_without(spec: EstimatorSpec, problems: Iterable[Problem]) -> Estimator | None:
    """The estimator without the parameters that it lacks, so that other problems can be found; None if it is still refused."""
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
