"""The verdict: what was found, how sure that is, and what it cost. A pure function of the results."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tuningjob.report.table import Floats, ResultTable, paired
from tuningjob.report.words import counted, duration, listed, params_in_words, plus_minus, score


@dataclass(frozen=True)
class Gain:
    """How much better the answer is than ``over``, on the same splits. ``error``: standard error of ``mean``."""

    over: str
    mean: float
    error: float

    @property
    def is_sure(self) -> bool:
        """Whether the gain is more than two standard errors."""
        return bool(self.mean > 2 * self.error) if math.isfinite(self.error) else self.mean > 0


@dataclass(frozen=True)
class Verdict:
    """What a search found. ``near``: how many candidates are within one standard error of the highest mean.

    ``cheapest``: the one of these with the fastest fits. ``gains``: over the defaults and over guessing, as far as they are
    known. ``seconds``: the sum of all fits and scorings.
    """

    candidate: int
    mean: float
    error: float
    near: int
    cheapest: int | None
    gains: tuple[Gain, ...]
    fits: int
    failed_fits: int
    seconds: float
    sentences: tuple[str, ...]


def verdict_of(table: ResultTable) -> Verdict:
    """The verdict on a search."""
    near = table.near
    cheapest = int(near[np.argmin(_known_times(table)[near])]) if near.size else None
    gains = tuple(_gains(table))
    fits = table.size * table.splits
    return Verdict(
        candidate=table.best,
        mean=float(table.means[table.best]),
        error=float(table.metric.errors[table.best]),
        near=int(near.size),
        cheapest=cheapest,
        gains=gains,
        fits=fits,
        failed_fits=table.origin.failed_fits,
        seconds=float(table.seconds.sum()),
        sentences=tuple(_sentences(table, cheapest, gains, fits)),
    )


def _known_times(table: ResultTable) -> Floats:
    return np.where(np.isnan(table.fit_seconds), np.inf, table.fit_seconds)


def _gains(table: ResultTable) -> Iterator[Gain]:
    default = table.default_row
    measured = table.origin.measured_defaults
    if measured is not None and default != table.best:
        yield Gain(measured.told, *paired(table.folds[table.best], measured.folds))
    elif default is not None and default != table.best:
        yield Gain("the defaults", *paired(table.folds[table.best], table.folds[default]))
    if table.origin.dummy is not None:
        yield Gain(table.origin.dummy.told, *paired(table.folds[table.best], table.origin.dummy.folds))


def _sentences(table: ResultTable, cheapest: int | None, gains: tuple[Gain, ...], fits: int) -> Iterator[str]:
    best, metric = table.best, table.metric
    yield f"The answer is candidate {best}: {params_in_words(table, best)}."
    if table.failed[best]:
        yield "No candidate has a mean score: every one has a fit that failed, or that gave no number."
    else:
        spread = f" (mean and standard error over {table.splits} splits)" if table.splits > 1 else " (one split)"
        error = float(metric.errors[best]) if table.splits > 1 else math.nan
        yield f"Its {metric.told} is {plus_minus(float(table.means[best]), error)}{spread}."
        rule = table.origin.rule
        if rule is not None:
            yield _by_rule(table)
        yield from _comparisons(table, gains)
        yield from _neighbours(table, cheapest)
        if table.pruned_fits and not table.origin.is_certain:
            yield "Whether it is the best of all is not certain, because prune: forgiving may lose the winner."
    if table.origin.outer is not None:
        yield from table.origin.outer.told
    yield _cost(table, fits)


def _by_rule(table: ResultTable) -> str:
    rule = table.origin.rule
    assert rule is not None  # noqa: S101  checked before
    told = f"It was chosen by {rule.name}"
    if rule.passed_over is None:
        return f"{told}, and has the highest mean, too."
    passed = score(float(table.means[rule.passed_over]), table.error)
    return f"{told}, and not the highest mean ({passed}, candidate {rule.passed_over}), because {rule.why}."


def _comparisons(table: ResultTable, gains: tuple[Gain, ...]) -> Iterator[str]:
    for gain in gains:
        if not math.isfinite(gain.mean):
            continue
        size = plus_minus(abs(gain.mean), gain.error)
        if gain.mean > 0 and gain.is_sure:
            yield f"That is {size} better than {gain.over}."
        elif gain.mean == 0:
            yield f"That is no better than {gain.over}."
        else:
            word = "better" if gain.mean > 0 else "worse"
            yield f"That is {size} {word} than {gain.over}: too little to be told from chance on these splits."
    if table.default_row == table.best:
        yield "These are the defaults: nothing that was tried is better."
    elif table.default_row is None and table.origin.defaults and table.origin.measured_defaults is None:
        missing = [
            f"{axis.name}={table.axes[i].speller(table.origin.defaults[axis.name]).python}"
            for i, axis in enumerate(table.axes)
            if axis.name in table.origin.defaults and axis.code_of(table.origin.defaults[axis.name]) is None
        ]
        what = f": add {listed(missing)} to the grid" if missing else ""
        yield f"Whether that is better than the defaults is not known, because they are not among the candidates{what}."


def _neighbours(table: ResultTable, cheapest: int | None) -> Iterator[str]:
    others = int(table.near.size) - 1
    if table.splits < 2 or cheapest is None:
        return
    size, pruned = table.size - int(table.pruned.sum()), table.pruned.any()
    among = "Of those that were not pruned no other candidate" if pruned else "No other candidate"
    if others == 0:
        yield f"{among} is within one standard error of the highest mean."
        return
    told = f"{counted(others + 1, 'candidate')} of {size:,}{' that were not pruned' if pruned else ''}"
    told += " are within one standard error of the highest mean"
    times = table.fit_seconds
    if cheapest != table.best and times[cheapest] > 0 and times[table.best] > 1.2 * times[cheapest]:
        faster = times[table.best] / times[cheapest]
        params = params_in_words(table, cheapest)
        told += f"; the cheapest of them, candidate {cheapest}, is fitted {faster:,.2g} times as fast ({params})"
    elif cheapest == table.best:
        told += "; the answer is the cheapest of them"
    yield f"{told}."


def _cost(table: ResultTable, fits: int) -> str:
    told = f"{counted(table.size, 'candidate')} × {counted(table.splits, 'split')} are {fits:,} fits"
    if table.origin.failed_fits:
        told += f", of which {table.origin.failed_fits:,} failed"
    if table.pruned_fits:
        told += f"{' and' if table.origin.failed_fits else ', of which'} {table.pruned_fits:,} were not needed (pruned)"
    measured = table.origin.measured_defaults
    if measured is not None and measured.candidate is not None:
        told += f", those of {measured.told} among them (candidate {measured.candidate})"
    elif measured is not None:
        told += f", beside {counted(table.splits, 'fit')} of {measured.told}"
    told += f"; fitting and scoring took {duration(float(table.seconds.sum()))}, summed over all processes"
    if table.origin.refit_seconds is not None:
        told += f", and the refit {duration(table.origin.refit_seconds)}"
    return f"{told}."
