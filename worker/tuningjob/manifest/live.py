"""Which fields of a TuningJob may change while its search runs, and which others have changed.

The CRD's transition rules are generated from the same table (``crd.py``), so the API server refuses what is reported here.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from pydantic import BaseModel, ValidationError, create_model

from tuningjob.aliases import ParamValue
from tuningjob.errors import ManifestRefused
from tuningjob.manifest.canonical import canonical
from tuningjob.manifest.model import Model
from tuningjob.manifest.models import TuningJobSpec

# The mutable fields by their names in Python. `cancel` can only be set, not unset.
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


def _live_fields() -> type[Model]:
    """A model of only the mutable fields, as the spec has them, with their defaults."""
    whole = TuningJobSpec.model_fields
    fields: dict[str, Any] = {name: (whole[name].rebuild_annotation(), whole[name]) for name in MUTABLE_FIELDS}
    return create_model("LiveFields", __base__=Model, **fields)


_LiveFields: Final = _live_fields()
_NAMES: Final = frozenset(str(TuningJobSpec.model_fields[name].alias) for name in MUTABLE_FIELDS)


def with_live_fields(admitted: TuningJobSpec, current: Mapping[str, Any]) -> TuningJobSpec:
    """``admitted`` with the mutable fields of ``current``, a spec as the API server has it: what the search must do now.

    Edits of other fields do not matter, even if they cannot be read. Mutable fields that cannot be read change nothing. No rule
    ties a mutable field to another, so only these are read, and what was parsed of ``admitted`` is kept.
    """
    try:
        wanted = canonical({name: value for name, value in current.items() if name in _NAMES})
        found = _LiveFields.model_validate(wanted, by_alias=True, by_name=False)
    except (ManifestRefused, ValidationError):
        return admitted
    changed = {name: value for name in MUTABLE_FIELDS if (value := getattr(found, name)) != getattr(admitted, name)}
    return admitted.model_copy(update=changed) if changed else admitted


def frozen_changes(old: TuningJobSpec, new: TuningJobSpec) -> list[str]:
    """Paths of immutable fields that have changed, such as ``spec.resources.memory``, in the spec's order."""
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


def _written(value: ParamValue) -> str:
    """The value as JSON, because ``1 == True`` in Python."""

    def plain(model: BaseModel) -> dict[str, Any]:
        return model.model_dump(mode="json", by_alias=True)

    return json.dumps(value, sort_keys=True, default=plain)
