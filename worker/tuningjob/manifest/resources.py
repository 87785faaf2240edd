"""``spec.resources`` and ``spec.limits``: what each pod gets, and how far a search may go."""

from collections.abc import Callable
from typing import Annotated, ClassVar

from pydantic import Field

from tuningjob.manifest.fields import MAX_SECONDS, Cpu, Memory, is_quantity
from tuningjob.manifest.model import Constraint, Model
from tuningjob.manifest.quantity import parse_quantity


def _compared(one: str, sign: str, other: str, holds: Callable[["Resources"], bool], advice: str) -> Constraint:
    """The constraint that ``one`` ≥ or ≤ ``other``, if it is given."""
    words = {">=": "no less", "<=": "no more"}[sign]
    return Constraint(
        # if one of the two is no quantity, that has been reported already
        f"!has(self.{one}) || !{is_quantity(f'self.{one}')} || !{is_quantity(f'self.{other}')} || "
        f"quantity(string(self.{one})).compareTo(quantity(string(self.{other}))) {sign} 0",
        holds,
        f"with a {one} that is {words} than {other}",
        advice,
    )


class Resources(Model):
    """What each pod gets: requests and limits, always both, and equal but for the CPU of a search that gives way."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        _compared(
            "memoryLimit",
            ">=",
            "memory",
            lambda it: it.memory_limit is None or parse_quantity(it.memory_limit) >= parse_quantity(it.memory),
            "Raise it, or leave it out.",
        ),
        _compared(
            "cpuRequest",
            "<=",
            "cpu",
            lambda it: it.cpu_request is None or parse_quantity(it.cpu_request) <= parse_quantity(it.cpu),
            "Lower it, or leave it out.",
        ),
    )

    cpu: Cpu = Field(
        default="1", description="CPU of each pod, its limit: it never uses more. n_jobs is its floor, at least 1."
    )
    cpu_request: Cpu | None = Field(
        default=None,
        description="CPU that each pod is promised. With less than cpu the search uses idle cores up to cpu, and gives way "
        "as soon as others need them. By default cpu, or the part of it that the cluster's administrator has set.",
    )
    memory: Memory = Field(default="1Gi", description="Memory of each pod.")
    memory_limit: Memory | None = Field(
        default=None,
        description="The most that a pod may be given for candidates that ran out of memory alone: they are tried again "
        "with twice as much, up to this. By default never more than memory.",
    )


class Limits(Model):
    """How far a search may go."""

    max_fits: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        default=10_000,
        description="A grid with more fits (candidates × folds) is refused before anything starts.",
    )
    max_failed_fits: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = Field(
        default=None,
        description="The search ends as failed when more fits than this have failed. By default it goes on, as "
        "scikit-learn does, and scores them NaN.",
    )
    fit_timeout_seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS)] | None = Field(
        default=None, description="A fit that takes longer is ended and counts as failed: it is scored NaN."
    )
