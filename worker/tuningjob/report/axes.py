"""The parameters that a search varied, and the grids that its candidates form."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, TypeAlias

import numpy as np

from tuningjob.aliases import ParamValue
from tuningjob.report.spelling import Spelled, Speller

Ints: TypeAlias = np.ndarray[Any, np.dtype[np.intp]]
Floats: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

_LOG_SPREAD: Final = 10.0
# parameters for which 1 means one, and 1.0 means all
_NUMBER_OR_SHARE: Final = frozenset(
    {
        "max_df",
        "max_features",
        "max_samples",
        "min_df",
        "min_samples_leaf",
        "min_samples_split",
        "n_components",
        "n_features_to_select",
    }
)
# A block that is no grid may be several grids, one for each value of a parameter with at most so many values.
_MOST_PARTS: Final = 16


@dataclass(frozen=True, eq=False)
class ParameterAxis:
    """One parameter. ``levels`` are its values, first the numbers in order.

    ``codes`` has each candidate's position in ``levels``; -1 if the candidate does not set the parameter.
    """

    name: str
    levels: tuple[Spelled, ...]
    codes: Ints
    speller: Speller

    def code_of(self, value: ParamValue) -> int | None:
        """The code of a value; None if it was not tried. 1 is 1.0, except for parameters that take a number or a share."""
        wanted = self.speller(value)
        for code, level in enumerate(self.levels):
            if level.python == wanted.python:
                return code
        if wanted.number is None or self.name.rpartition("__")[2] in _NUMBER_OR_SHARE:
            return None
        return next((code for code, level in enumerate(self.levels) if level.number == wanted.number), None)

    @cached_property
    def numbers(self) -> Floats:
        """The numbers of the levels; NaN for a level that is no number."""
        return np.asarray([math.nan if level.number is None else level.number for level in self.levels])

    @property
    def is_numeric(self) -> bool:
        """Whether the values can be ordered: all are numbers, except for None."""
        return all(level.number is not None or level.python == "None" for level in self.levels) and any(
            level.number is not None for level in self.levels
        )

    @property
    def has_none(self) -> bool:
        """Whether None, which mostly means no bound at all, is among the values."""
        return any(level.python == "None" for level in self.levels)

    @cached_property
    def is_log(self) -> bool:
        """Whether the numbers are spaced evenly by ratios rather than by differences, over at least a decade."""
        return is_log(self.numbers[~np.isnan(self.numbers)])


def is_log(numbers: Floats) -> bool:
    """Whether sorted numbers are better seen on a logarithmic scale."""
    if len(numbers) < 3 or numbers[0] <= 0 or numbers[-1] / numbers[0] < _LOG_SPREAD:
        return False
    steps, ratios = np.diff(numbers), np.diff(np.log(numbers))
    return bool(ratios.std() / ratios.mean() <= steps.std() / steps.mean())


@dataclass(frozen=True, eq=False)
class Facet:
    """Candidates that set the same parameters. ``axes`` are the parameters with several values among them.

    ``cube`` has a dimension for each of these, and a candidate in each place; None unless every combination is there once.
    """

    rows: Ints
    axes: tuple[ParameterAxis, ...]
    cube: Ints | None
    codes: tuple[Ints, ...]  # for each axis, the codes of its levels in the block

    @property
    def is_full(self) -> bool:
        """Whether the candidates are a grid."""
        return self.cube is not None

    def has(self, candidate: int) -> bool:
        """Whether a candidate is in the block."""
        return bool((self.rows == candidate).any())

    def levels(self, axis: int) -> list[Spelled]:
        """The values of one of its axes."""
        return [self.axes[axis].levels[code] for code in self.codes[axis]]

    def place(self, axis: int, candidate: int) -> int:
        """The position of a candidate's value in ``levels(axis)``."""
        return int(np.flatnonzero(self.codes[axis] == self.axes[axis].codes[candidate])[0])


def axes_of(cv_results: Mapping[str, Any], speller: Speller) -> tuple[ParameterAxis, ...]:
    """The parameters of ``cv_results_``, in the order of its columns.

    Their values come from ``params``, because a column of numbers turns integers into floats.
    """
    candidates: Sequence[Mapping[str, Any]] = cv_results["params"]
    names = [name.removeprefix("param_") for name in cv_results if name.startswith("param_")]
    return tuple(_axis(name, candidates, speller) for name in names)


def _axis(name: str, candidates: Sequence[Mapping[str, Any]], speller: Speller) -> ParameterAxis:
    found: dict[str, int] = {}
    levels: list[Spelled] = []
    seen: dict[int, int] = {}  # by identity, which is safe because the candidates keep their values alive
    codes = np.full(len(candidates), -1, dtype=np.intp)
    for row, params in enumerate(candidates):
        if name not in params:
            continue
        value = params[name]
        code = seen.get(id(value))
        if code is None:
            level = speller(value)
            code = found.setdefault(level.python, len(levels))
            if code == len(levels):
                levels.append(level)
            seen[id(value)] = code
        codes[row] = code
    order = sorted(range(len(levels)), key=lambda code: _rank(levels[code], code))
    places = np.empty(len(levels) + 1, dtype=np.intp)
    places[order] = np.arange(len(levels))
    places[-1] = -1
    return ParameterAxis(name, tuple(levels[code] for code in order), places[codes], speller)


def _rank(level: Spelled, code: int) -> tuple[int, float, int]:
    return (1, 0.0, code) if level.number is None else (0, level.number, code)


def facets_of(axes: Sequence[ParameterAxis], size: int) -> tuple[Facet, ...]:
    """The candidates by the parameters that they set; a block that is no grid is split by a parameter if that makes grids."""
    rows = np.arange(size, dtype=np.intp)
    if not axes:
        return (_block((), rows),)
    present = np.stack([axis.codes >= 0 for axis in axes], axis=1)
    _, kinds = np.unique(present, axis=0, return_inverse=True)
    kinds = kinds.reshape(-1)
    order = dict.fromkeys(kinds.tolist())  # in the order of the manifest's maps
    return tuple(block for kind in order for block in _parted(axes, rows[kinds == kind]))


def _parted(axes: Sequence[ParameterAxis], rows: Ints) -> Iterable[Facet]:
    whole = _block(axes, rows)
    if not whole.is_full:
        for axis, codes in zip(whole.axes, whole.codes, strict=True):
            if axis.is_numeric or len(codes) > _MOST_PARTS:
                continue
            parts = [_block(axes, rows[axis.codes[rows] == code]) for code in codes]
            if all(part.is_full for part in parts):
                return parts
    return [whole]


def _block(axes: Sequence[ParameterAxis], rows: Ints) -> Facet:
    found = [(axis, np.unique(axis.codes[rows])) for axis in axes]
    varied = [(axis, codes) for axis, codes in found if len(codes) > 1]
    shape = tuple(len(codes) for _, codes in varied)
    return Facet(
        rows, tuple(axis for axis, _ in varied), _cube(varied, rows, shape), tuple(codes for _, codes in varied)
    )


def _cube(varied: Sequence[tuple[ParameterAxis, Ints]], rows: Ints, shape: tuple[int, ...]) -> Ints | None:
    if math.prod(shape) != len(rows):
        return None
    if not varied:
        return rows.reshape(())
    cube = np.full(shape, -1, dtype=np.intp)
    cube[tuple(np.searchsorted(codes, axis.codes[rows]) for axis, codes in varied)] = rows
    return cube if (cube >= 0).all() else None
