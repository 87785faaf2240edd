"""docs/glossary.md speaks of what is in the code."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
ROWS: Final = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "docs" / "glossary.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| word ")
]
NAMES: Final = sorted({name for row in ROWS for name in re.findall(r"`(\w+)`", row[-1])})


def names_in(path: Path) -> Iterator[str]:
    """What a module defines or gives a value: itself, classes, functions, variables, arguments, attributes."""
    yield path.stem
    for node in ast.walk(ast.parse(path.read_text())):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name


@pytest.fixture(scope="module")
def code() -> set[str]:
    files = [path for folder in ("worker", "operator") for path in (ROOT / folder).rglob("*.py")]
    return {name for path in files for name in names_in(path)}


def test_words_are_in_order_and_said_once() -> None:
    words = [row[0] for row in ROWS]
    assert len(words) > 30
    assert words == sorted(set(words), key=str.casefold)


def test_every_word_says_where_it_is_in_the_code() -> None:
    assert [row[0] for row in ROWS if not re.search(r"`\w+`", row[-1])] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_word_of_the_glossary_is_a_word_of_the_code(name: str, code: set[str]) -> None:
    assert name in code
