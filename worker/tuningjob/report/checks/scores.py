"""Checks of the scores: how far they can be trusted."""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from tuningjob.report.checks.base import SPLIT_ALIKE, Advice, Kind
from tuningjob.report.table import Bools, ResultTable, paired
from tuningjob.report.words import assigned, counted, cut, params_in_words, plus_minus, score, share

_NOISY_SHARE: Final = 0.1
_FEWEST_NEAR: Final = 3
_FEWEST_SPLITS: Final = 4  # the least number among which one can be an outlier
_OUTLYING_MADS: Final = 3.0
_MAD_OF_NORMAL: Final = 1.4826  # the factor from a median deviation to a standard deviation
_AGREEING: Final = 0.9
_MOST_SPLITS: Final = 10
_WITHOUT_PRUNE: Final = "without prune, which no other rule than best goes with"


def no_gain(table: ResultTable) -> Iterator[Advice]:
    """Advise if the answer is not surely better than the defaults, or than guessing."""
    if table.failed[table.best]:
        return
    dummy = table.origin.dummy
    if dummy is not None and _is_unsure(paired(table.folds[table.best], dummy.folds)):
        mean, error = paired(table.folds[table.best], dummy.folds)
        yield Advice(
            Kind.NO_GAIN,
            f"The winner is not surely better than {dummy.told}: the difference is {plus_minus(mean, error)}.",
            "No candidate has learnt anything that these splits can show: look at data, features and metric before parameters.",
            "",
            (dummy.told,),
        )
    default, measured = table.default_row, table.origin.measured_defaults
    if (
        default == table.best
        or (default is None and measured is None)
        or (default is not None and table.failed[default])
    ):
        return
    folds = table.folds[default] if measured is None else measured.folds
    mean, error = paired(table.folds[table.best], folds)
    if _is_unsure((mean, error)):
        over = "the defaults" if measured is None else measured.told
        which = "" if default is None else f" (candidate {default})"
        yield Advice(
            Kind.NO_GAIN,
            f"The winner is not surely better than {over}{which}: the difference is {plus_minus(mean, error)}.",
            "Where tuning gains less than the splits can show, the defaults are the simpler choice.",
            "",
            ("defaults",),
        )


def _is_unsure(difference: tuple[float, float]) -> bool:
    mean, error = difference
    return math.isfinite(mean) and math.isfinite(error) and mean <= 2 * error


def noise(table: ResultTable) -> Iterator[Advice]:
    """Advise if so many candidates are within one standard error that the winner is one of many."""
    near = table.near
    # candidates with the winner's own scores are the same model under other parameters
    top = table.metric.top
    if top is None or table.splits < 2 or near.size < _FEWEST_NEAR or near.size < _NOISY_SHARE * table.size:
        return
    apart = int((np.abs(table.folds[near] - table.folds[top]) > SPLIT_ALIKE).any(axis=1).sum()) + 1
    if apart < _FEWEST_NEAR:
        return
    times = np.where(np.isnan(table.fit_seconds), np.inf, table.fit_seconds)
    cheapest = int(near[times[near].argmin()])
    yield Advice(
        Kind.NOISE,
        f"{near.size:,} of {table.size:,} candidates ({share(near.size, table.size)}) are within one standard error "
        f"({table.error:.2g}) of the highest mean.",
        f"These {counted(table.splits, 'split')} cannot tell them apart: the winner is partly luck. Take the simplest or the "
        f"fastest of them (candidate {cheapest}: {params_in_words(table, cheapest)}), or measure more often.",
        _measured_again(table),
    )


def _measured_again(table: ResultTable) -> str:
    beside = [_WITHOUT_PRUNE] * bool(table.pruned.any())
    if table.splits <= _MOST_SPLITS:
        beside.append(f"or crossValidation: {{folds: {table.splits}, repeats: 5, randomState: 0}}")
    comment = f"  # {'; '.join(beside)}" if beside else ""
    return f"select: {{fastestWithin: {table.error:.2g}}}{comment}"


def overfitting(table: ResultTable) -> Iterator[Advice]:
    """Advise if train scores are above test scores by more than the setting."""
    if table.gaps is None or not math.isfinite(table.origin.gap):
        return
    with np.errstate(invalid="ignore"):
        risky: Bools = table.gaps > table.origin.gap
    count = int(risky.sum())
    if not count:
        return
    winner = bool(risky[table.best])
    its = f"the winner among them (by {table.gaps[table.best]:.2g})" if winner else "but not the winner's"
    common = _in_common(table, risky)
    yield Advice(
        Kind.OVERFIT,
        f"The train score of {counted(count, 'candidate')} of {table.size:,} is above their test score by more than "
        f"{table.origin.gap:g}, {its}.{common}",
        "They know their training data by heart. A simpler or more regularised model may do as well on new data.",
        f"select: {{maxOverfitGap: {table.origin.gap:g}}}{f'  # {_WITHOUT_PRUNE}' if table.pruned.any() else ''}",
    )


def _in_common(table: ResultTable, some: Bools) -> str:
    """A sentence on values that these candidates, and no others, have."""
    found: list[str] = []
    for axis in table.axes:
        codes = set(axis.codes[some].tolist())
        others = set(axis.codes[~some].tolist())
        if codes and not codes & others and -1 not in codes and len(codes) <= 3:
            found.append(" or ".join(assigned(axis, code) for code in sorted(codes)))
    return f" They are the ones with {found[0]}." if found else ""


def outlying_fold(table: ResultTable) -> Iterator[Advice]:
    """Advise if nearly every candidate is far better or far worse on one split than on the others."""
    folds = table.folds[~table.failed]
    k = table.splits
    if k < _FEWEST_SPLITS or not len(folds):
        return
    away = folds - np.median(folds, axis=1, keepdims=True)
    for split in range(k):
        others = np.delete(away, split, axis=1)
        spread = _MAD_OF_NORMAL * np.median(np.abs(others - np.median(others, axis=1, keepdims=True)), axis=1)
        mine = away[:, split] - np.median(others, axis=1)
        # a split of few rows has few different scores, and a spread of zero says nothing
        least = np.abs(folds).max() * 1e-3
        out = np.abs(mine) > _OUTLYING_MADS * np.maximum(spread, least)
        lower = float((out & (mine < 0)).mean())
        higher = float((out & (mine > 0)).mean())
        if max(lower, higher) < _AGREEING:
            continue
        word = "worse" if lower >= higher else "better"
        mine_told, rest = (score(float(np.median(each))) for each in (folds[:, split], np.delete(folds, split, axis=1)))
        yield Advice(
            Kind.FOLD,
            f"Split {split} is {word} than the others for {share(max(lower, higher), 1)} of the candidates: "
            f"{mine_told} at the median, and {rest} on the others.",
            "Its rows differ from the rest: sorted data, a group on one side alone, or broken rows. It moves every mean.",
            f"crossValidation: {{folds: {k}, shuffle: true, randomState: 0}}  # or groups, if rows belong together",
            (f"split{split}",),
        )


def disagreeing_metric(table: ResultTable) -> Iterator[Advice]:
    """Advise if, by another metric, the winner is surely worse than another candidate."""
    for metric in table.metrics[1:]:
        top = metric.top
        if top is None or top == table.best or not np.isfinite(metric.means[table.best]):
            continue
        mean, error = paired(metric.folds[top], metric.folds[table.best])
        sure = mean > 2 * error if math.isfinite(error) else mean > 0
        if not sure or mean <= SPLIT_ALIKE:
            continue
        rank = 1 + int((metric.means > metric.means[table.best]).sum())
        yield Advice(
            Kind.METRIC,
            f"By {cut(metric.told)} the winner is only number {rank:,} of {table.size:,}: "
            f"{score(metric.means[table.best], error)}, and candidate {top} has {score(metric.means[top], error)} "
            f"({params_in_words(table, top)}).",
            f"The metrics disagree by {plus_minus(mean, error)}, more than two standard errors: the one that decides makes "
            "the answer.",
            f"refit: {cut(metric.key)}  # if {cut(metric.key)} is what counts",
            (metric.key,),
        )
