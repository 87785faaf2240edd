"""Turns a document into a TuningJob, or into a refusal that names the field.

The laptop and the operator both use ``load``, so the verdict is the same.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from tuningjob.aliases import Json
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest import bounds
from tuningjob.manifest.canonical import canonical, read_file
from tuningjob.manifest.literals import shown
from tuningjob.manifest.models import TuningJob, TuningJobSpec
from tuningjob.manifest.refusals import problem_of

M = TypeVar("M", TuningJob, TuningJobSpec)


def load(document: Json) -> TuningJob:
    """A TuningJob from a manifest, or from an object of the API server. Raises ManifestRefused with every problem found."""
    if isinstance(document, Mapping):
        bounds.check_spec(document.get("spec"))
    document = canonical(document)
    if not isinstance(document, Mapping):
        raise ManifestRefused([Problem("the file", "a TuningJob manifest", shown(document))])
    return _validated(TuningJob, document, "")


def load_spec(spec: Json) -> TuningJobSpec:
    """Only the spec of a TuningJob. Raises ManifestRefused."""
    return _validated(TuningJobSpec, canonical(spec), "spec")


def load_file(path: Path) -> TuningJob:
    """``load`` of a YAML file. Raises ManifestRefused."""
    return load(read_file(path))


def dump_spec(spec: TuningJobSpec) -> dict[str, Any]:
    """The spec as canonical JSON: what the journal keeps and a worker reads. ``load_spec`` of it is equal."""
    return spec.model_dump(mode="json", by_alias=True, exclude_none=True)


def _validated(model: type[M], document: object, prefix: str) -> M:
    try:
        valid = model.model_validate(document, by_alias=True, by_name=False)
    except ValidationError as error:
        raise ManifestRefused([problem_of(model, detail, prefix) for detail in error.errors()]) from None
    problems = _parse(valid.spec if isinstance(valid, TuningJob) else valid)
    if problems:
        raise ManifestRefused(problems)
    return valid


def _parse(spec: TuningJobSpec) -> list[Problem]:
    """Parse what the schema does not type, once, because the models keep the result. Returns all problems."""
    problems: list[Problem] = []
    parsed: Sequence[Callable[[], object]] = (
        lambda: spec.estimator.literal if spec.estimator.factory is None else spec.estimator.arguments,
        lambda: spec.data.arguments,
        lambda: spec.cross_validation.arguments,
        lambda: spec.search.space,
        lambda: spec.metrics,
    )
    for each in parsed:
        try:
            each()
        except ManifestRefused as refused:
            problems += refused.problems
    return problems
