"""``spec.resources`` and ``spec.limits``: what each pod gets, and how far a search may go."""

from typing import Annotated, ClassVar

from pydantic import Field

from tuningjob.manifest.fields import MAX_SECONDS, Cpu, Memory, is_quantity
from tuningjob.manifest.model import Constraint, Model
from tuningjob.manifest.quantity import parse_quantity


class Resources(Model):
    """What each pod gets: requests and limits, always both, always equal."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        Constraint(
            # nothing to add where one of the two is no quantity: it has been reported
            f"!has(self.memoryLimit) || !{is_quantity('self.memoryLimit')} || !{is_quantity('self.memory')} || "
            "quantity(string(self.memoryLimit)).compareTo(quantity(string(self.memory))) >= 0",
            lambda it: it.memory_limit is None or parse_quantity(it.memory_limit) >= parse_quantity(it.memory),
            "with a memoryLimit that is no less than memory",
            "Raise it, or leave it out.",
        ),
    )

    cpu: Cpu = Field(default="1", description="CPU of each pod. n_jobs is its floor, at least 1.")
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
