"""Figures of a running search, and the pieces of their pictures. What is put into one is escaped."""

from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

WIDTH: Final = 1_080
END: Final = Markup(' text-anchor="end"')
MIDDLE: Final = Markup(' text-anchor="middle"')
_PICTURE: Final = Markup(
    '<svg class="fig" viewBox="0 0 {} {:.0f}" role="img" aria-label="{}"><title>{}</title>{}</svg>'
)
_LABEL: Final = Markup('<text class="{}" x="{:.1f}" y="{:.1f}"{}>{}</text>')


@dataclass(frozen=True)
class LiveFigure:
    """A figure. ``told``: what it shows. ``head`` and ``rows``: its numbers, for readers who do not see it."""

    key: str
    title: str
    told: str
    picture: Markup
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def picture(height: float, told: str, inside: Markup) -> Markup:
    """The whole picture; ``told`` says what it shows to a reader who does not see it."""
    return _PICTURE.format(WIDTH, height, told, told, inside)


def label(x: float, y: float, words: str, *, anchor: Markup = Markup(), kind: str = "t") -> Markup:  # noqa: B008  immutable
    """Words at a place. They begin there, or ``anchor`` is END or MIDDLE."""
    return _LABEL.format(kind, x, y, anchor, words)


def clipped(words: str, longest: int) -> str:
    """A text on one line, cut to at most ``longest`` letters."""
    line = " ".join(words.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
