"""The versions of a model key, and who blessed which: the records that people and programs get from the results service."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from tuningjob.protocol.records import WIRE, Artifact, Baseline, Choice, NestedEstimate


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """One version of a model key in the audit table. ``finished_at`` is ISO 8601, in UTC.

    ``files`` are the files of the search as they were when it was completed; ``reused_from`` maps searches to how many cells were
    taken over from them. Both are None in a row of a release that did not keep them. ``score`` and ``std`` are of the ``metric``
    that decides; ``scores`` are the means of all metrics if there are several. ``choice`` is set if another rule than the highest
    mean chose. ``pruned_fits``: how many fits were not needed. ``baseline`` and ``nested`` are set if the manifest asked for
    them.
    """

    __pydantic_config__ = WIRE
    namespace: str
    model_key: str
    version: int
    search_id: str
    best_params: dict[str, Any]
    score: float
    metric: str
    std: float
    fits: int
    failed_fits: int
    duration_seconds: float
    finished_at: str
    data_digest: str
    split_digest: str = ""
    estimator_digest: str = ""
    image: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    seed: str = ""
    created_by: str = ""
    artifacts: str = ""
    files: tuple[Artifact, ...] | None = None
    reused_from: dict[str, int] | None = None
    # left out if they are empty or 0, because older clients refuse a field that they do not know
    scores: Annotated[dict[str, float], Field(exclude_if=lambda scores: not scores)] = field(default_factory=dict)
    choice: Annotated[Choice | None, Field(exclude_if=lambda choice: choice is None)] = None
    baseline: Annotated[Baseline | None, Field(exclude_if=lambda baseline: baseline is None)] = None
    pruned_fits: Annotated[int, Field(exclude_if=lambda count: not count)] = 0
    nested: Annotated[NestedEstimate | None, Field(exclude_if=lambda nested: nested is None)] = None


class Act(StrEnum):
    """How a version came to be the blessed one."""

    BLESS = "bless"
    ROLLBACK = "rollback"


@dataclass(frozen=True, kw_only=True)
class Blessing:
    """One entry of a model key's history of blessings: ``to_version`` is the one in use from ``at`` (ISO 8601, UTC) on."""

    __pydantic_config__ = WIRE
    namespace: str
    model_key: str
    number: int
    act: Act
    from_version: int | None
    to_version: int
    who: str
    why: str
    at: str
