"""Where commands write: results on stdout, everything else on stderr. Texts from outside are shown literally."""

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Final

from rich.cells import cell_len, set_cell_size
from rich.console import Console

from tuningjob.aliases import Anything

# the least width of a column that is narrowed for others
_NARROWEST: Final = 8

# no markup and no emoji codes: a reason, a parameter or a path may hold brackets and colons
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def print_table(
    titles: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = (), width: int | None = None
) -> int:
    """Columns on stdout, a row a line however wide the terminal is, as kubectl does it. ``right`` ones end at one place.

    With a ``width`` the widest cells are cut to it, and the last columns are left out if that does not do; how many, is returned.
    """
    rows = list(rows)
    widths = [max(map(cell_len, column)) for column in zip(titles, *rows, strict=True)]
    if width is not None:
        widths = _fitted(widths, width)
    for row in (titles, *rows):
        cells = []
        for title, cell, room in zip(titles, row, widths, strict=False):
            cut = cell if cell_len(cell) <= room else f"{set_cell_size(cell, room - 1)}…"
            blank = " " * (room - cell_len(cut))
            cells.append(blank + cut if title in right else cut + blank)
        out.print("  ".join(cells).rstrip(), style="bold" if row is titles else "")
    return len(titles) - len(widths)


def terminal_width() -> int | None:
    """Columns of the terminal that stdout is; None for a file or a pipe, where nothing is cut."""
    return out.width if out.is_terminal else None


def _fitted(widths: list[int], width: int) -> list[int]:
    """Widths whose sum, with the blanks between, is ``width`` at most: the widest are narrowed, then the last left out."""
    widths = list(widths)
    while widths and sum(widths) + 2 * (len(widths) - 1) > width:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] > _NARROWEST:
            widths[widest] -= 1
        else:
            widths.pop()
    return widths


def plain(text: str) -> str:
    """What somebody else wrote, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def warn(sentence: str) -> None:
    """A warning, on stderr."""
    err.print(f"warning: {sentence}", style="yellow")


def json_text(value: object, *, indent: int | None = None) -> str:
    """A parameter's value, or all of them, sorted."""
    import json

    return json.dumps(value, indent=indent, sort_keys=True)


def print_json(kind: Anything, value: object) -> None:
    """A record, or several, as JSON for machines; NaN as the string."""
    from pydantic import TypeAdapter

    sys.stdout.write(TypeAdapter(kind).dump_json(value, indent=2).decode() + "\n")
