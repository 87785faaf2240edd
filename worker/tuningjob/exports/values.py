"""The parameters of candidates as other tools take them: numbers, text, True and False, None; anything else as its repr."""

from collections.abc import Iterator
from typing import Final, TypeAlias

from tuningjob.report.axes import ParameterAxis
from tuningjob.report.spelling import Spelled
from tuningjob.report.table import ResultTable

Plain: TypeAlias = bool | int | float | str | None
_WORDS: Final[dict[str, Plain]] = {"None": None, "True": True, "False": False}


def plain_of(level: Spelled) -> Plain:
    """A parameter's value as other tools take it."""
    if level.python in _WORDS:
        return _WORDS[level.python]
    if level.number is None:
        return text_of(level)
    return int(level.python) if level.python.lstrip("-").isdigit() else level.number


def text_of(level: Spelled) -> str:
    """A parameter's value as text; a string is without Python's quotes."""
    if level.python[:1] in "'\"" and level.number is None:
        return level.yaml if level.yaml[:1] not in "'\"" else level.python[1:-1]
    return level.python


def texts(table: ResultTable, candidate: int) -> Iterator[tuple[str, str]]:
    """The parameters that a candidate sets, as text."""
    return ((axis.name, text_of(axis.levels[code])) for axis, code in table.params(candidate))


def is_whole(axis: ParameterAxis) -> bool:
    """Whether all values of the parameter are integers."""
    return all(isinstance(plain_of(level), int) and not isinstance(plain_of(level), bool) for level in axis.levels)
