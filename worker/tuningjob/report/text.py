"""Verdict and advice as text: ``verdict.txt``, and what `tuningjob run` prints."""

import textwrap
from collections.abc import Iterator, Sequence
from typing import Final

from tuningjob.report.advice import Advice
from tuningjob.report.spelling import one_line
from tuningjob.report.verdict import Verdict

_WIDTH: Final = 100
# The text goes into a ConfigMap, beside the leaderboard.
MOST_LETTERS: Final = 16_000
_MOST_LINE: Final = 2_000


def written(name: str, verdict: Verdict, advice: Sequence[Advice]) -> str:
    """Verdict and advice in lines that fit a terminal; what to write in the manifest has a line of its own."""
    text = "\n".join(_lines(name, verdict, advice)) + "\n"
    return text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 2]}…\n"


def _lines(name: str, verdict: Verdict, advice: Sequence[Advice]) -> Iterator[str]:
    if name:
        yield one_line(name)
    yield from _wrapped(" ".join(verdict.sentences))
    for number, each in enumerate(advice, 1):
        yield ""
        yield from _wrapped(f"{number}. {each.seen} {each.reason}", indent="   ")
        if each.write:
            yield f"   Write: {one_line(each.write)[:_MOST_LINE]}"
    if not advice:
        yield ""
        yield "Nothing in the results calls for advice."


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(one_line(text)[:_MOST_LINE], _WIDTH, subsequent_indent=indent, break_long_words=True)
