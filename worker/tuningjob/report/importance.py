"""How much each parameter, and each pair of them, matters to the score.

On a full grid it is exact, by an analysis of variance; for drawn candidates it is how far the best tenth differs from all.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from tuningjob.report.axes import Facet, ParameterAxis
from tuningjob.report.table import Floats, Ints, ResultTable

_BEST: Final = 0.1
_BINS: Final = 10
_FEWEST: Final = 20
_MOST_AXES: Final = 12


@dataclass(frozen=True)
class Effect:
    """The share of a parameter, or of two of them beyond what each has alone."""

    names: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class Importance:
    """Effects of parameters. ``method``: a sentence on how they were found. ``effects``: the largest first.

    ``rest``: the share that no pair explains.
    """

    method: str
    effects: tuple[Effect, ...]
    rest: float | None = None


def importance_of(table: ResultTable) -> Importance | None:
    """The importance of the parameters in the answer's grid; None if nothing can be said."""
    home = table.home
    # pruned candidates are the worse ones, and without them every parameter seems to matter less
    if not home.axes or len(home.axes) > _MOST_AXES or table.pruned.any():
        return None
    if home.is_full and not table.failed[home.rows].any():
        return _anova(table, home)
    return _ped_anova(table, home)


def _anova(table: ResultTable, home: Facet) -> Importance | None:
    assert home.cube is not None  # noqa: S101  it is a full grid
    means = table.means[home.cube]
    total = float(means.var())
    if total <= 0 or not np.isfinite(total):
        return None
    axes = range(means.ndim)
    alone = {i: float(_marginal(means, (i,)).var()) for i in axes}
    effects = [Effect((home.axes[i].name,), alone[i] / total) for i in axes]
    for i, j in combinations(axes, 2) if means.ndim > 1 else ():
        both = float(_marginal(means, (i, j)).var()) - alone[i] - alone[j]
        effects.append(Effect((home.axes[i].name, home.axes[j].name), max(both, 0.0) / total))
    ordered = tuple(sorted(effects, key=lambda effect: -effect.share))
    told = (
        "Exact analysis of variance of the mean scores of the full grid: the part of their variance that a parameter explains "
        "alone, and that a pair explains beyond."
    )
    return Importance(told, ordered, max(0.0, 1 - sum(effect.share for effect in effects)))


def _marginal(means: Floats, kept: tuple[int, ...]) -> Floats:
    return np.asarray(means.mean(axis=tuple(i for i in range(means.ndim) if i not in kept)))


def _ped_anova(table: ResultTable, home: Facet) -> Importance | None:
    known = home.rows[~table.failed[home.rows]]
    if known.size < _FEWEST:
        return None
    best = known[np.argsort(-table.means[known], kind="stable")][: max(3, round(_BEST * known.size))]
    found = [(axis, _divergence(_bins(axis, known), _bins(axis, best))) for axis in home.axes]
    total = sum(value for _, value in found)
    if total <= 0:
        return None
    told = (
        "PED-ANOVA (Watanabe, Bansal and Hutter, 2023), because the candidates are no full grid: how far the best tenth of them "
        "differs from all, as a Pearson divergence, parameter by parameter."
    )
    effects = [Effect((axis.name,), value / total) for axis, value in found]
    return Importance(told, tuple(sorted(effects, key=lambda effect: -effect.share)))


def _bins(axis: ParameterAxis, rows: Ints) -> Ints:
    """How many rows each bin has: a bin is one value, or a tenth of the levels if there are more than ten numbers."""
    codes = axis.codes[rows]
    size = len(axis.levels)
    return np.bincount(codes * min(size, _BINS) // size, minlength=min(size, _BINS))


def _divergence(everything: Ints, best: Ints) -> float:
    p = (best + 1 / len(best)) / (best.sum() + 1)
    q = (everything + 1 / len(everything)) / (everything.sum() + 1)
    return float((q * (p / q - 1) ** 2).sum())
