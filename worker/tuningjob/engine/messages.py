"""The lines that ``verbose`` prints of each fit, in scikit-learn's words (``_fit_and_score``).

The process of the search prints them as results come in, because a process that evaluates may fit a candidate with others, or
twice.
"""

from collections.abc import Mapping
from typing import Any, Final

from joblib.logger import short_format_time

from tuningjob.aliases import Anything
from tuningjob.engine.work import CellKey, Work

_WIDTH: Final = 80


def tell_start(work: Work, cell: CellKey) -> None:
    """Print the line before a fit, from ``verbose=10`` on."""
    if work.verbose > 9:
        start = f"[CV{_progress(work, cell)}] START {_params(work, cell)}"
        print(f"{start}{(_WIDTH - len(start)) * '.'}")  # noqa: T201  that is what verbose asks for


def tell_end(work: Work, cell: CellKey, outcome: Mapping[str, Any]) -> None:
    """Print the line after a fit, from ``verbose=2`` on, and its scores from 3 on."""
    if work.verbose <= 1:
        return
    params = _params(work, cell)
    result = f"{params};" if params else ""
    if work.verbose > 2:
        result += _scores(outcome["test_scores"], outcome.get("train_scores"))
    result += f" total time={short_format_time(outcome['fit_time'] + outcome['score_time'])}"
    end = f"[CV{_progress(work, cell)}] END "
    print(end + "." * (_WIDTH - len(end) - len(result)) + result)  # noqa: T201  that is what verbose asks for


def _progress(work: Work, cell: CellKey) -> str:
    if work.verbose <= 2:
        return ""
    splits = f" {cell.split + 1}/{len(work.splits)}"
    return splits if work.verbose <= 9 else f"{splits}; {cell.candidate + 1}/{len(work.candidates)}"


def _params(work: Work, cell: CellKey) -> str:
    params = work.candidates[cell.candidate]
    return ", ".join(f"{name}={params[name]}" for name in sorted(params))


def _scores(test: Anything, train: Anything) -> str:
    if not isinstance(test, Mapping):
        return ", score=" + (f"{test:.3f}" if train is None else f"(train={train:.3f}, test={test:.3f})")
    both = ("" if train is None else f"train={train[name]:.3f}, " for name in sorted(test))
    return "".join(f" {name}: ({first}test={test[name]:.3f})" for name, first in zip(sorted(test), both, strict=True))
