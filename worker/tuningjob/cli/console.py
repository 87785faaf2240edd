"""Where commands write: results on stdout, everything else on stderr. What others wrote is shown as it is, as text."""

import sys
from collections.abc import Collection, Iterable, Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console

# no markup and no emoji codes: a reason, a parameter or a path may hold brackets and colons
out = Console(highlight=False, soft_wrap=True, markup=False, emoji=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False, emoji=False)


def print_table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, right: Collection[str] = ()) -> None:
    """Columns on stdout, a row a line however wide the terminal is, as kubectl does it. ``right`` ones end at one place."""
    rows = list(rows)
    widths = [max(map(cell_len, column)) for column in zip(titles, *rows, strict=True)]
    for row in (titles, *rows):
        cells = []
        for title, cell, width in zip(titles, row, widths, strict=True):
            blank = " " * (width - cell_len(cell))
            cells.append(blank + cell if title in right else cell + blank)
        out.print("  ".join(cells).rstrip(), style="bold" if row is titles else "")


def plain(text: str) -> str:
    """What somebody else wrote, without what a terminal would obey."""
    return "".join(letter if letter.isprintable() else "�" for letter in text)


def warn(sentence: str) -> None:
    """A warning, on stderr."""
    err.print(f"warning: {sentence}", style="yellow")


def to_json(value: object, *, indent: int | None = None) -> str:
    """A parameter's value, or all of them, sorted."""
    import json  # noqa: PLC0415  what shows no parameters starts without it

    return json.dumps(value, indent=indent, sort_keys=True)


def print_json(kind: Any, value: object) -> None:  # noqa: ANN401  a record's class, or what TypeAdapter takes in its place
    """A record, or several, as JSON for machines; NaN as the string."""
    from pydantic import TypeAdapter  # noqa: PLC0415  what needs no JSON starts without it

    sys.stdout.write(TypeAdapter(kind).dump_json(value, indent=2).decode() + "\n")
