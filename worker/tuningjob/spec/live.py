"""Which fields of a TuningJob may change while its search runs, and what of the others did.

The CRD's transition rules are generated from the same table (``crd.py``), so that the API server refuses what is told here.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel

from tuningjob.errors import ManifestRefused
from tuningjob.spec.manifest import dump_spec, load_spec
from tuningjob.spec.models import Model, TuningJobSpec

# By their names in Python. Of these, `cancel` goes one way only.
MUTABLE_FIELDS: Final = (
    "parallelism",
    "suspend",
    "cancel",
    "active_deadline_seconds",
    "ttl_seconds_after_finished",
)
IMMUTABLE: Final = "must stay as it was created: delete the TuningJob and apply it again to run another"
CANCELLED: Final = (
    "must stay true: a cancelled search does not go on. Delete the TuningJob and apply it again to run it"
)


def with_live_fields(admitted: TuningJobSpec, current: Mapping[str, Any]) -> TuningJobSpec:
    """``admitted`` with the mutable fields of ``current``, a spec as the API server has it: what the search is to do now.

    Whatever else was edited, even to what cannot be read, does not matter. Mutable fields that cannot be read change nothing.
    """
    live = {str(TuningJobSpec.model_fields[name].alias) for name in MUTABLE_FIELDS}
    wanted = {name: value for name, value in current.items() if name in live}
    if wanted == admitted.model_dump(mode="json", by_alias=True, exclude_none=True, include=set(MUTABLE_FIELDS)):
        return admitted
    frozen = {name: value for name, value in dump_spec(admitted).items() if name not in live}
    try:
        return load_spec({**frozen, **wanted})
    except ManifestRefused:
        return admitted


def frozen_changes(old: TuningJobSpec, new: TuningJobSpec) -> list[str]:
    """Paths of the fields that must not have changed and did, such as ``spec.resources.memory``; in the spec's order."""
    return list(_changes(old, new, "spec", MUTABLE_FIELDS)) + (["spec.cancel"] if old.cancel and not new.cancel else [])


def _changes(old: BaseModel, new: BaseModel, path: str, mutable: tuple[str, ...] = ()) -> Iterator[str]:
    for name, field in type(old).model_fields.items():
        if name in mutable:
            continue
        before, after, where = getattr(old, name), getattr(new, name), f"{path}.{field.alias}"
        if isinstance(before, Model) and isinstance(after, Model):
            yield from _changes(before, after, where)
        elif _written(before) != _written(after):
            yield where


def _written(value: Any) -> str:  # noqa: ANN401  a field of any type
    """As JSON, for to Python ``1 == True``."""

    def plain(model: BaseModel) -> dict[str, Any]:
        return model.model_dump(mode="json", by_alias=True)

    return json.dumps(value, sort_keys=True, default=plain)
