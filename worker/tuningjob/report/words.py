"""Writes numbers, values and lists as a sentence has them."""

import math
import re
from collections.abc import Iterable, Sequence
from typing import Final

from tuningjob.report.axes import ParameterAxis
from tuningjob.report.spelling import Spelled, one_line, yaml_text
from tuningjob.report.table import ResultTable

_MOST_NAMED: Final = 8
_LONGEST_VALUE: Final = 80
_BARE_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def score(value: float, error: float = math.nan) -> str:
    """A score to the second digit of its standard error, or to four digits if that is not known."""
    if not math.isfinite(error) or error <= 0 or not math.isfinite(value):
        return f"{value:.4g}"
    decimals = 1 - math.floor(math.log10(error))
    return f"{value:.{min(decimals, 8)}f}" if decimals > 0 else f"{value:.0f}"


def plus_minus(value: float, error: float) -> str:
    """A score and its standard error."""
    return f"{score(value, error)} ± {error:.2g}" if math.isfinite(error) else score(value)


def duration(seconds: float) -> str:
    """A time for people: 12 s, 3.4 min, 5.6 h."""
    for unit, name in ((3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.3g} {name}" if seconds < 1_000 * unit else f"{seconds / unit:,.0f} {name}"
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s"


def counted(count: int, noun: str) -> str:
    """A number with its noun: 1 candidate, 2 candidates."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def share(part: float, whole: float) -> str:
    """A share as a percentage; a small one is "less than 1 %", not 0 %."""
    return f"{part / whole:.0%}".replace("%", " %") if part >= 0.005 * whole else "less than 1 %"


def cut(text: str, longest: int = _LONGEST_VALUE) -> str:
    """A text cut to at most ``longest`` letters."""
    text = one_line(text)
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def assigned(axis: ParameterAxis, code: int) -> str:
    """A parameter and its value: ``C=10``."""
    return f"{cut(axis.name)}={cut(axis.levels[code].python)}"


def params_in_words(table: ResultTable, candidate: int) -> str:
    """All parameters that a candidate sets, in words."""
    told = [assigned(axis, code) for axis, code in table.params(candidate)]
    return listed(told, most=16) or "the estimator as it is"


def listed(items: Sequence[str], *, most: int = _MOST_NAMED) -> str:
    """Items separated by commas, at most ``most`` of them, and how many more there are."""
    some = ", ".join(items[:most])
    return some if len(items) <= most else f"{some} and {len(items) - most:,} more"


def among(items: Sequence[str]) -> str:
    """Words separated by commas, the last one after an *and*."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def in_yaml(name: str, levels: Iterable[Spelled]) -> str:
    """A parameter of a grid, as the manifest has it: ``C: [1, 10]``."""
    name = name if _BARE_NAME.fullmatch(name) else yaml_text(name)
    return f"{name}: [{', '.join(level.yaml for level in levels)}]"


def in_flow(pairs: Iterable[str]) -> str:
    """A map of the manifest on one line."""
    return f"{{{', '.join(pairs)}}}"
