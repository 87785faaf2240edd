"""What a page of the documentation shows, for tests that type it."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
_FENCED: Final = re.compile(r"(?:^ *<!-- (\w+) -->\n)?^( *)```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, the word above it (``sketch``, ``values`` or none), its language and what it says."""

    page: str
    line: int
    mark: str
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    @property
    def commands(self) -> list[str]:
        """What is typed in a console's block; what goes on in the next line is one command."""
        return typed(self.text)


def blocks_of(page: str) -> Iterator[Block]:
    """All blocks of a page, which is named from the project's folder."""
    text = (ROOT / page).read_text(encoding="utf-8")
    for found in _FENCED.finditer(text):
        mark, indent, language, inside = found.groups()
        lines = "".join(line.removeprefix(indent) for line in inside.splitlines(keepends=True))
        yield Block(page, text[: found.start()].count("\n") + 1, mark or "", language, lines)


def typed(text: str) -> list[str]:
    """The commands after each ``$``, in their order."""
    return [str(found) for found in re.findall(r"^\$ ((?:.*\\\n)*.*)", text, re.MULTILINE)]


def commands_of(page: str, section: str) -> list[str]:
    """The commands of a section of a page of docs/, in their order."""
    return typed((DOCS / page).read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0])
