"""Checks of the values that were tried: where to go on, and which values need not be tried again."""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np

from tuningjob.report.axes import Facet, ParameterAxis, is_log
from tuningjob.report.checks.base import SPLIT_ALIKE, Advice, Kind, over_the_rest
from tuningjob.report.spelling import Spelled
from tuningjob.report.table import Bools, Floats, Ints, ResultTable, paired
from tuningjob.report.words import among, assigned, counted, cut, duration, in_flow, in_yaml, score, share

_FEWEST_LEVELS: Final = 3  # the least levels of an axis whose edge says anything
_ADDED: Final = 2
# in a random search, the outermost part of the drawn range
_OUTERMOST: Final = 0.05
_BEST_DRAWN: Final = 0.1
# A value is wasteful if it took at least this share of the time, and so many times the share of its candidates.
_WASTED_SHARE: Final = 0.25
_DEARER: Final = 1.5
_HOPELESS_ERRORS: Final = 2.0


# --- the best value lies on the edge


def edges(table: ResultTable) -> Iterator[Advice]:
    """Advise if a parameter's best value is the largest or the smallest one tried, and better than the one next to it."""
    if table.failed[table.best]:
        return
    home = table.home
    for i, axis in enumerate(home.axes):
        levels = home.levels(i)
        numbers = np.asarray([level.number for level in levels if level.number is not None], dtype=np.float64)
        if not axis.is_numeric or len(numbers) < _FEWEST_LEVELS:
            continue
        at = axis.levels[axis.codes[table.best]].number
        side = _side(table, home, i, at, numbers)
        if side is None or at is None:
            continue
        added = _continued(table, axis, numbers, side)
        if not added:
            continue  # the parameter itself has this bound
        word = "largest" if side > 0 else "smallest"
        values = [*levels, *added] if side > 0 else [*reversed(added), *levels]
        if side > 0 and levels[-1].number is None:  # None comes after the numbers
            values = [*levels[:-1], *added, levels[-1]]
        yield Advice(
            Kind.EDGE,
            f"The best {cut(axis.name)}, {cut(axis.levels[axis.codes[table.best]].python)}, is the {word} that was tried.",
            "What lies beyond may be better still. With reuse: true only the candidates of the new values are fitted.",
            in_yaml(axis.name, values if home.is_full and len(values) <= 24 else added),
            (axis.name,),
        )


def _side(table: ResultTable, home: Facet, i: int, at: float | None, numbers: Floats) -> int | None:
    """1 if the best value is at the upper edge, -1 at the lower one; None if at neither, or no better than its neighbour."""
    if at is None:
        return None
    side = 1 if at == numbers[-1] else -1 if at == numbers[0] else None
    if not home.is_full:
        return _side_of_drawn(table, home, i, numbers)
    # None mostly means that there is no bound, so it lies beyond the largest number
    if side is None or (side > 0 and any(level.number is None for level in home.levels(i))):
        return None
    highest, _ = over_the_rest(table, home, i)
    place = home.place(i, table.best)
    inner = highest[place - side]
    better = table.means[table.best] - inner
    return side if math.isnan(inner) or better > SPLIT_ALIKE else None


def _side_of_drawn(table: ResultTable, home: Facet, i: int, numbers: Floats) -> int | None:
    """``_side`` for drawn values: the best one and most of the best tenth must lie in the outermost part."""
    axis = home.axes[i]
    if len(numbers) < 20:
        return None
    known = home.rows[~table.failed[home.rows]]
    best = known[np.argsort(-table.means[known], kind="stable")][: max(3, round(_BEST_DRAWN * len(known)))]
    scale = np.log if is_log(numbers) or (numbers[0] > 0 and numbers[-1] / numbers[0] >= 1_000) else np.asarray
    low, high = scale(numbers[0]), scale(numbers[-1])
    values = axis.numbers[axis.codes[np.concatenate([[table.best], best])]]
    if np.isnan(values).any() or high == low:
        return None
    places = (scale(values) - low) / (high - low)
    if places[0] >= 1 - _OUTERMOST and np.median(places) >= 1 - 3 * _OUTERMOST:
        return 1
    return -1 if places[0] <= _OUTERMOST and np.median(places) <= 3 * _OUTERMOST else None


def _continued(table: ResultTable, axis: ParameterAxis, numbers: Floats, side: int) -> list[Spelled]:
    """Values beyond the edge, the nearest first, that the parameter may have."""
    edge, inner = (numbers[-1], numbers[-2]) if side > 0 else (numbers[0], numbers[1])
    whole = all(level.number is None or ("." not in level.python and "e" not in level.python) for level in axis.levels)
    text = next(level.python for level in axis.levels if level.number == edge)
    is_whole_edge = "." not in text and "e" not in text
    by_ratio = is_log(numbers) or (edge > 0 and inner > 0 and max(edge / inner, inner / edge) >= 2 and numbers[0] > 0)
    found: list[Spelled] = []
    for step in range(1, _ADDED + 1):
        if by_ratio:
            ratio = max(edge / inner, inner / edge)
            value = edge * min(ratio, 100.0) ** (step * side)
        else:
            value = edge + step * (edge - inner)
        value = float(f"{value:.3g}")
        if numbers[0] >= 0 and value < 0:
            break  # a parameter without negative values so far may not take any
        made: int | float = round(value) if whole or (is_whole_edge and value.is_integer()) else value
        if (whole and (made <= 0 < numbers[0] or made in {edge, *(each.number for each in found)})) or (
            not table.origin.may_be(axis.name, made)
        ):
            break
        found.append(axis.speller(made))
    return found


# --- values that need not be tried


def flat(table: ResultTable) -> Iterator[Advice]:
    """Advise if a grid's parameter changes the mean score by less than a standard error, however it is measured."""
    home = table.home
    if not home.is_full or not math.isfinite(table.error) or table.error <= 0 or table.pruned.any():
        return
    for i, axis in enumerate(home.axes):
        highest, average = over_the_rest(table, home, i)
        if np.isnan(highest).any():
            continue  # nothing is known of a value that failed
        ranges = [float(np.ptp(values)) for values in (highest, average)]
        if max(ranges) >= table.error or _is_inert(table, home, i).all():
            continue
        levels = home.levels(i)
        yield Advice(
            Kind.FLAT,
            f"{cut(axis.name)} does not matter here: its {len(levels)} values change the score by {max(ranges):.2g} at the most, "
            f"less than one standard error ({table.error:.2g}).",
            f"With one value the same grid has {share(1, len(levels))} of the candidates: the time is better spent on another "
            "parameter.",
            in_yaml(axis.name, [axis.levels[axis.codes[table.best]]]),
            (axis.name,),
        )


def inert(table: ResultTable) -> Iterator[Advice]:
    """Advise if a parameter's values change no score on any split: everywhere, or if another parameter has one value."""
    if table.splits == 0 or _all_alike(table.folds[~table.failed]):
        return
    for block in table.blocks:
        for i, axis in enumerate(block.axes if block.is_full else ()):
            groups = _is_inert(table, block, i)
            levels = block.levels(i)
            if groups.size and groups.all():
                yield _inert(axis, levels, f"for all {counted(groups.size, 'combination')} of the others", "")
                continue
            where = _inert_where(block, i, groups)
            if where is not None:
                other, code = where
                condition = assigned(other, code)
                split = f"{in_yaml(other.name, [other.levels[code]])} in a map of its own, without {cut(axis.name)}"
                yield _inert(axis, levels, f"where {condition}", split)


def _inert(axis: ParameterAxis, levels: Sequence[Spelled], where: str, write: str) -> Advice:
    return Advice(
        Kind.INERT,
        f"{cut(axis.name)} made no difference {where}: every split has the same score with each of its {len(levels)} values.",
        "Nothing depends on the parameter there, so these fits were done several times over.",
        write or in_yaml(axis.name, levels[:1]),
        (axis.name,),
    )


def _is_inert(table: ResultTable, block: Facet, i: int) -> Bools:
    """For each combination of the other axes of a grid, whether all levels of this one have the same scores on every split."""
    assert block.cube is not None  # noqa: S101  called for grids only
    rows = np.moveaxis(block.cube, i, 0)
    scores = table.folds[rows]
    with np.errstate(invalid="ignore"):
        return np.asarray((np.abs(scores - scores[:1]) <= SPLIT_ALIKE).all(axis=(0, -1)))


def _inert_where(block: Facet, i: int, groups: Bools) -> tuple[ParameterAxis, int] | None:
    """Another axis of few values, and its value with which this axis is inert in every combination."""
    others = [axis for axis in range(len(block.axes)) if axis != i]
    for place, other in enumerate(others):
        each = np.moveaxis(groups, place, 0).reshape(groups.shape[place], -1)
        if each.shape[1] < 2 and len(others) > 1:
            continue
        found = np.flatnonzero(each.all(axis=1))
        if block.axes[other].is_numeric or found.size != 1:
            continue
        return block.axes[other], int(block.codes[other][found[0]])
    return None


def _all_alike(folds: Floats) -> bool:
    """Whether no candidate differs from another at all, so that no single parameter is the reason."""
    return len(folds) < 2 or bool((np.abs(folds - folds[:1]) <= SPLIT_ALIKE).all())


def wasted(table: ResultTable) -> Iterator[Advice]:
    """Advise against the value that took the most time among the dear ones with which nothing could win."""
    total = float(table.seconds.sum())
    top = table.metric.top
    home = table.home
    if top is None or total <= 0 or table.splits < 2:
        return
    worst: tuple[float, ParameterAxis, int, float] | None = None
    for axis, codes in zip(home.axes, home.codes, strict=True):
        if len(codes) > 12:
            continue
        for code in codes:
            rows = home.rows[axis.codes[home.rows] == code]
            seconds = float(table.seconds[rows].sum())
            behind = _behind(table, top, rows)
            is_dear = seconds >= total * max(_WASTED_SHARE, _DEARER * rows.size / home.rows.size)
            if is_dear and behind is not None and (worst is None or seconds > worst[0]):
                worst = seconds, axis, int(code), behind
    if worst is None:
        return
    seconds, axis, code, behind = worst
    left = [level for i, level in enumerate(axis.levels) if i != code and i in home.codes[_index(home, axis)]]
    yield Advice(
        Kind.WASTED,
        f"{share(seconds, total)} of the time ({duration(seconds)}) went into candidates with {assigned(axis, code)}, the best "
        f"of which is {score(behind, table.error)} below the winner.",
        "That is more than two standard errors of the difference: nothing there could win.",
        in_yaml(axis.name, left),
        (axis.name,),
    )


def _index(block: Facet, axis: ParameterAxis) -> int:
    return next(i for i, each in enumerate(block.axes) if each is axis)


def _behind(table: ResultTable, top: int, rows: Ints) -> float | None:
    """How much the best of these candidates is worse than the winner, if that is sure; None if one of them might have won."""
    known = rows[~table.failed[rows]]
    if known.size < 2 or (rows == top).any():
        return None
    best = int(known[table.means[known].argmax()])
    mean, error = paired(table.folds[top], table.folds[best])
    return mean if mean > _HOPELESS_ERRORS * error and mean > 0 else None


# --- values that failed


def failures(table: ResultTable) -> Iterator[Advice]:
    """Advise on values, or pairs of values, with which all candidates failed, or on failures that no value explains."""
    failed = table.failed & ~table.pruned
    count = int(failed.sum())
    if not count:
        return
    error = next(iter(table.origin.errors), "")
    said = f" They ended with: {cut(error, 200).rstrip('.')}." if error else ""
    lot = f"All {counted(count, 'candidate')} failed"
    if count < table.size:
        lot = f"{counted(count, 'candidate')} of {table.size:,} failed"
    # pruned candidates might have failed, too, so it is not known whether all with a value did
    known = not table.pruned.any()
    single = _failing_value(table, failed) if known else None
    if single is not None:
        axis, code = single
        left = [level for i, level in enumerate(axis.levels) if i != code]
        yield Advice(
            Kind.FAILED,
            f"{lot}: all of those with {assigned(axis, code)}, and no other.{said}",
            "The value is not valid for this estimator or this data: its fits are lost time.",
            in_yaml(axis.name, left),
            (axis.name,),
        )
        return
    pair = _failing_pair(table, failed) if known else None
    if pair is not None:
        (first, one), (second, two) = pair
        without = [level for i, level in enumerate(second.levels) if i != two]
        yield Advice(
            Kind.FAILED,
            f"{lot}: all of those with both {assigned(first, one)} and {assigned(second, two)}, and no other.{said}",
            "The two values do not go together. Write a list of maps, each with what does.",
            in_flow([in_yaml(first.name, [first.levels[one]]), in_yaml(second.name, without)]),
            (first.name, second.name),
        )
        return
    yield Advice(
        Kind.FAILED,
        f"{lot}.{_likeliest(table, failed)}{said}",
        "A candidate with one failed fit has no mean, and cannot win.",
        "limits: {maxFailedFits: 0}  # to end the next search at the first failed fit, with its traceback",
    )


def _failing_value(table: ResultTable, failed: Bools) -> tuple[ParameterAxis, int] | None:
    for axis in table.axes:
        for code in range(len(axis.levels) if len(axis.levels) > 1 else 0):
            if np.array_equal(axis.codes == code, failed):
                return axis, code
    return None


def _failing_pair(
    table: ResultTable, failed: Bools
) -> tuple[tuple[ParameterAxis, int], tuple[ParameterAxis, int]] | None:
    """Two values that all failed candidates have, and no other candidate has both of."""
    rows = np.flatnonzero(failed)
    common = [
        (axis, int(axis.codes[rows[0]]))
        for axis in table.axes
        if axis.codes[rows[0]] >= 0 and len(axis.levels) > 1 and (axis.codes[rows] == axis.codes[rows[0]]).all()
    ]
    for i, (first, one) in enumerate(common):
        for second, two in common[i + 1 :]:
            if np.array_equal((first.codes == one) & (second.codes == two), failed):
                return (first, one), (second, two)
    return None


def _likeliest(table: ResultTable, failed: Bools) -> str:
    """A sentence on the values with which candidates failed far more often than overall."""
    told: list[tuple[float, str]] = []
    overall = float(failed.mean())
    for axis in table.axes:
        for code in range(min(len(axis.levels), 50)):
            mine = axis.codes == code
            if mine.sum() >= 3 and (part := float(failed[mine].mean())) >= max(0.5, 2 * overall):
                told.append((part, f"{share(part, 1)} of those with {assigned(axis, code)}"))
    found = [text for _, text in sorted(told, key=lambda each: -each[0])][:3]
    if failed.all():
        return ""
    return f" Among them are {among(found)}." if found else " No value explains which."
