"""From a document to a TuningJob, or to a refusal that names the field.

The laptop and the operator both come through ``load``: the verdict is the same.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.spec import bounds
from tuningjob.spec.canonical import canonical, read_file
from tuningjob.spec.grid import parse_search
from tuningjob.spec.literals import parse_params, shown
from tuningjob.spec.models import Model, TuningJob, TuningJobSpec

M = TypeVar("M", TuningJob, TuningJobSpec)


def load(document: Any) -> TuningJob:  # noqa: ANN401  whatever a file or an API server holds
    """A TuningJob from a manifest, or from an object of the API server. Raises ManifestRefused with every problem found."""
    if isinstance(document, Mapping):
        bounds.check_spec(document.get("spec"))
    document = canonical(document)
    if not isinstance(document, Mapping):
        raise ManifestRefused([Problem("the file", "a TuningJob manifest", shown(document))])
    return _validated(TuningJob, document, "")


def load_spec(spec: Any) -> TuningJobSpec:  # noqa: ANN401  whatever the journal or an API server holds
    """A spec alone. Raises ManifestRefused."""
    return _validated(TuningJobSpec, canonical(spec), "spec")


def load_file(path: Path) -> TuningJob:
    """``load`` of a YAML file. Raises ManifestRefused."""
    return load(read_file(path))


def dump_spec(spec: TuningJobSpec) -> dict[str, Any]:
    """The spec as canonical JSON: what the journal keeps and a worker reads. ``load_spec`` of it is equal."""
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def _validated(model: type[M], document: object, prefix: str) -> M:
    try:
        valid = model.model_validate(document)
    except ValidationError as error:
        raise ManifestRefused([_problem(model, detail, prefix) for detail in error.errors()]) from None
    problems = _untyped_problems(valid.spec if isinstance(valid, TuningJob) else valid)
    if problems:
        raise ManifestRefused(problems)
    return valid


def _untyped_problems(spec: TuningJobSpec) -> list[Problem]:
    """What is wrong with the values that the schema does not type: each is looked at, so that all are told at once."""
    problems: list[Problem] = []
    checks: list[tuple[Any, str]] = [
        (spec.estimator.params, "spec.estimator.params"),
        (spec.data.params, "spec.data.params"),
    ]
    checks += [
        (step.params, f"spec.estimator.pipeline[{i}].params") for i, step in enumerate(spec.estimator.pipeline or [])
    ]
    for params, field in checks:
        try:
            parse_params(params, field)
        except ManifestRefused as refused:
            problems += refused.problems
    try:
        parse_search(spec.search)
    except ManifestRefused as refused:
        problems += refused.problems
    if spec.data.path is not None and spec.data.file_format is None:
        problems.append(
            Problem(
                "spec.data.path",
                "a file that ends in .csv or .parquet",
                shown(spec.data.path),
                "Or say which by spec.data.format.",
            )
        )
    return problems


def _problem(model: type[Model], detail: ErrorDetails, prefix: str) -> Problem:
    location = detail["loc"][:-2] if detail["loc"][-1:] == ("[key]",) else detail["loc"]  # of a key of a map
    field = field_path([part for part in (prefix, *location) if part != ""])
    context: Mapping[str, Any] = detail.get("ctx", {})
    match detail["type"]:
        case "must_be":
            return Problem(field or prefix, context["must_be"], shown(detail["input"]), context["advice"])
        case "missing":
            return Problem(field, "given", "nothing")
        case "extra_forbidden":
            return Problem(field, "a known field", "an unknown one", _did_you_mean(model, detail["loc"]))
        case "string_pattern_mismatch":
            return Problem(field, f"text that matches {context['pattern']}", shown(detail["input"]))
        case "string_type" if isinstance(detail["input"], bool):
            advice = "Put it in quotes: to kubectl a bare y, n, yes, no, on or off is true or false."
            return Problem(field, "a string", shown(detail["input"]), advice)
        case _:
            wanted = detail["msg"].split(" should ", 1)[-1].removeprefix("be ")
            return Problem(field, re.sub(r"^have ", "one with ", wanted), shown(detail["input"]))


def field_path(parts: Sequence[str | int]) -> str:
    """``("spec", "steps", 0, "name")`` as ``spec.steps[0].name``."""
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def nearest(name: str, known: Sequence[str]) -> str:
    """``Did you mean 'max_depth'?`` for the nearest known name; else the names, if they are few; else nothing."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(sorted(known))}." if 0 < len(known) <= 30 else ""


def _did_you_mean(model: type[Model], location: Sequence[str | int]) -> str:
    current: Any = model
    for part in location[:-1]:
        if isinstance(part, str) and isinstance(current, type) and issubclass(current, Model):
            current = next((field.annotation for field in current.model_fields.values() if field.alias == part), None)
            current = _inner_model(current)
    if not (isinstance(current, type) and issubclass(current, Model)):
        return ""
    return nearest(str(location[-1]), [field.alias or name for name, field in current.model_fields.items()])


def _inner_model(annotation: Any) -> Any:  # noqa: ANN401  any annotation
    """The model inside ``X | None``, ``list[X]`` and ``Annotated[X, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _inner_model(inner)
        if found is not None:
            return found
    return None
