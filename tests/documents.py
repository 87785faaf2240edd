"""What a page of the documentation tells people to type, for tests that type it."""

import re
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def commands_of(page: str, section: str) -> list[str]:
    """The commands of a section, in their order; one that goes on in the next line is one."""
    text = (DOCS / page).read_text(encoding="utf-8").split(f"\n## {section}\n")[1].split("\n## ")[0]
    return [str(found) for found in re.findall(r"^\$ ((?:.*\\\n)*.*)", text, re.MULTILINE)]
