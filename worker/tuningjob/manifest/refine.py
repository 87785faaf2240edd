"""``spec.search.refine``: a grid, then a finer one around the best candidate so far, and so on."""

from typing import Annotated, Final, Literal

from pydantic import Field

from tuningjob.manifest.model import Model

REFINE: Final = "spec.search.refine"
Scale = Literal["linear", "log", "integer"]


class Refine(Model):
    """From coarse to fine, by rounds."""

    rounds: Annotated[int, Field(ge=1, le=20)] = Field(
        default=3, description="How many rounds may follow the grid. It ends sooner where one has no better candidate."
    )
    shrink: Annotated[float, Field(ge=0.01, le=0.99)] = Field(
        default=0.5, description="How wide a round is on each parameter, as a part of the one before."
    )
    tolerance: Annotated[float, Field(ge=0, le=1e12)] = Field(
        default=0,
        description="By how much the mean of a round's best must be above the best before, for another round.",
    )
    scales: Annotated[dict[str, Scale], Field(max_length=256)] | None = Field(
        default=None,
        description="How the values of a parameter lie: linear, log or integer. By default integer for integers, log for "
        "positive numbers of which the highest is a hundred times the lowest, else linear.",
    )
    max_fits: Annotated[int, Field(ge=1, le=10**9)] | None = Field(
        default=None, description="No round begins that would come to more fits in all; limits.maxFits by default."
    )
