"""The requests of a worker to the journal, and the replies."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, PlainSerializer

from tuningjob.protocol.records import (
    MAX_CELLS_PER_REPORT,
    MAX_ERROR_LENGTH,
    MAX_SLOTS,
    WIRE,
    CellIdentity,
    CellResult,
    Claimant,
    Index,
    Ordinal,
    SearchState,
    Standing,
)


@dataclass(frozen=True, kw_only=True)
class ClaimRequest:
    """Asks for the next unit for ``index``, which evaluates ``slots`` cells at a time and holds the units ``holding``.

    ``claimant`` names the process that asks, and no other; by it the journal finds out whether a unit's claimant died. In a pod
    it is ``<name of the pod>.<what tells its processes apart>`` (see ``SqlJournal.pardon``). If it is empty, its deaths are not
    counted. ``memory`` is the limit of its pod in bytes; 0 if there is none, or it is not known. ``rows``: how many rows of the
    journal the claimant knows, in a search that goes by stages. ``prunes``: the claimant asks for the standing, too.
    """

    __pydantic_config__ = WIRE
    index: Index
    slots: Annotated[int, Field(ge=1, le=MAX_SLOTS)]
    holding: Annotated[Set[int], Field(max_length=1_000), PlainSerializer(sorted)] = frozenset()
    claimant: Claimant = ""
    memory: Ordinal = 0
    # left out if it is empty, because an older service refuses a field that it does not know
    rows: Annotated[int, Field(ge=0, lt=2**63, exclude_if=lambda rows: not rows)] = 0
    prunes: Annotated[bool, Field(exclude_if=lambda prunes: not prunes)] = False


@dataclass(frozen=True, kw_only=True)
class NewStage:
    """Asks for more rows, ``rows`` in all, after all ``known`` ones are in. ``index`` has the right to finish."""

    __pydantic_config__ = WIRE
    index: Index
    known: Annotated[int, Field(ge=1, lt=2**63)]
    rows: Annotated[int, Field(ge=1, lt=2**63)]


@dataclass(frozen=True, kw_only=True)
class Leaving:
    """The worker of ``index`` leaves in good order."""

    __pydantic_config__ = WIRE
    index: Index


@dataclass(frozen=True, kw_only=True)
class ReuseRequest:
    """Cells that ``index`` has claimed, each with the identity that its result would have."""

    __pydantic_config__ = WIRE
    index: Index
    cells: Annotated[list[CellIdentity], Field(max_length=MAX_CELLS_PER_REPORT)]


@dataclass(frozen=True, kw_only=True)
class Report:
    """Cells that ``index`` has finished."""

    __pydantic_config__ = WIRE
    index: Index
    results: Annotated[list[CellResult], Field(max_length=MAX_CELLS_PER_REPORT)]


@dataclass(frozen=True, kw_only=True)
class ReportReply:
    """How many of the reported cells were ``new``, and the ``state`` of the search by now.

    ``state`` is None only on the wire: a service of the release before does not send it, and the client then asks for it.
    ``standing``: the best mean by now if the search prunes, without known scores.
    """

    __pydantic_config__ = WIRE
    new: int
    state: SearchState | None = None
    standing: Annotated[Standing | None, Field(exclude_if=lambda standing: standing is None)] = None


@dataclass(frozen=True, kw_only=True)
class Completed:
    """The search is complete, and has this version in the audit."""

    __pydantic_config__ = WIRE
    version: int


@dataclass(frozen=True, kw_only=True)
class Failure:
    """The search has failed, for this reason that a worker gives."""

    __pydantic_config__ = WIRE
    reason: Annotated[str, Field(max_length=MAX_ERROR_LENGTH)]
