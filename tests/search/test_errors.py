"""Of an error that may be of any length, what is kept names its kind."""

import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningjob.engine import CellKey
from tuningjob.engine.evaluate import Evaluated
from tuningjob.protocol.records import MAX_ERROR_LENGTH
from tuningjob.search.cells import result_of
from tuningjob.search.reasons import reason_of
from tuningjob.search.results import every_fit_failed


def a_traceback(error: Exception, depth: int = 0) -> str:
    """As scikit-learn keeps it of a fit that failed."""
    try:
        fit(error, depth)
    except ValueError:
        return traceback.format_exc()
    raise AssertionError


def fit(error: Exception, depth: int) -> None:
    if depth:
        fit(error, depth - 1)
    raise error


def kept(error: str) -> str:
    outcome: dict[str, Any] = {
        "fit_error": error,
        "test_scores": float("nan"),
        "fit_time": 0.0,
        "score_time": 0.0,
        "n_test_samples": 1,
    }
    found = result_of(Evaluated(CellKey(0, 0), outcome)).error
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("no", "ValueError: no"),
        ("no.\nStack trace:\n  [bt] (0) lib.so\nend", "ValueError: no. Stack trace: [bt] (0) lib.so end"),
        ("at <T object at 0x7f00ff>", "ValueError: at <T object>"),
        ("", "ValueError"),
    ],
)
def test_the_reason_is_one_line_that_begins_with_its_kind(text: str, want: str) -> None:
    assert reason_of(a_traceback(ValueError(text))) == want


def test_the_reason_of_what_is_no_traceback_is_its_last_line() -> None:
    assert reason_of("The process died\nTimeoutError: the fit took longer than 1 s.") == (
        "TimeoutError: the fit took longer than 1 s"
    )


@pytest.mark.parametrize("depth", [0, 200])
@pytest.mark.parametrize(
    "text", ["short", "long " * 3_000, "many\nlines\n" * 3_000], ids=["short", "long", "many lines"]
)
def test_an_error_of_any_length_keeps_its_kind_and_the_beginning_of_its_text(text: str, depth: int) -> None:
    error = kept(a_traceback(ValueError(text), depth))
    assert len(error) <= MAX_ERROR_LENGTH
    assert f"ValueError: {text[:5].split(maxsplit=1)[0]}" in error
    told = every_fit_failed(3, error)
    assert f"ValueError: {text[:5].split(maxsplit=1)[0]}" in told
    assert len(told) < 14_000


@pytest.mark.slow
@given(st.text())
def test_whatever_an_error_says_its_kind_is_told(text: str) -> None:
    assert reason_of(kept(a_traceback(ValueError(text)))).startswith("ValueError")
