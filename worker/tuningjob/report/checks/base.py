"""A piece of advice."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from tuningjob.report.axes import Facet
from tuningjob.report.table import Floats, ResultTable


class Kind(StrEnum):
    """The kind of advice, by what a check has seen."""

    EDGE = "BestOnEdge"
    NO_GAIN = "NoGain"
    NOISE = "WithinNoise"
    OVERFIT = "Overfitting"
    FAILED = "FailedFits"
    FOLD = "OutlyingFold"
    METRIC = "MetricDisagrees"
    FLAT = "FlatParameter"
    INERT = "InertValues"
    WASTED = "TimeWasted"

    @property
    def heading(self) -> str:
        """The heading of this kind of advice, for people."""
        return _HEADINGS[self]


_HEADINGS: Final = {
    Kind.EDGE: "The best value is on the edge",
    Kind.NO_GAIN: "No sure gain",
    Kind.NOISE: "Within the noise",
    Kind.OVERFIT: "Overfitting",
    Kind.FAILED: "Failed fits",
    Kind.FOLD: "One split is an outlier",
    Kind.METRIC: "A metric disagrees",
    Kind.FLAT: "A parameter that does not matter",
    Kind.INERT: "Values without effect",
    Kind.WASTED: "Time spent in vain",
}


@dataclass(frozen=True)
class Advice:
    """A piece of advice. ``seen``: what the results show; ``reason``: why that matters; ``write``: what to write in the manifest.

    ``about`` names the parameters, splits or metrics that it is about.
    """

    kind: Kind
    seen: str
    reason: str
    write: str
    about: tuple[str, ...] = ()


SPLIT_ALIKE: Final = 1e-12  # scores that differ by less count as equal


def over_the_rest(table: ResultTable, block: Facet, axis: int) -> tuple[Floats, Floats]:
    """For each level of a grid's axis: the highest mean over all else, and the mean of the means. NaN if all failed."""
    cube = block.cube
    assert cube is not None  # noqa: S101  called for grids only
    means = np.moveaxis(table.means[cube], axis, 0).reshape(cube.shape[axis], -1)
    known = np.isfinite(means)
    highest = np.where(known, means, -np.inf).max(axis=1)
    counts = known.sum(axis=1)
    average = np.where(known, means, 0.0).sum(axis=1) / np.maximum(counts, 1)
    return np.where(counts > 0, highest, np.nan), np.where(counts > 0, average, np.nan)
