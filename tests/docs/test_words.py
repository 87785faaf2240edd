"""docs/glossary.md speaks of what is in the code."""

import ast
import re
from collections import defaultdict
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


def names_in(path: Path, text: str) -> Iterator[str]:
    """What a module defines or gives a value: itself, classes, functions, variables, arguments, attributes."""
    yield path.stem
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name):
                yield name


def texts() -> Iterator[tuple[Path, str]]:
    """The modules of the worker and of the operator."""
    for folder in ("worker", "operator"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, path.read_text()


@pytest.fixture(scope="module")
def code() -> set[str]:
    """The glossary's names that are in it. Only files that have the word of one that is still missing are parsed."""
    missing = set(NAMES)
    for path, text in texts():
        if not missing.isdisjoint([path.stem, *re.findall(r"\w+", text)]):
            missing.difference_update(names_in(path, text))
    return set(NAMES) - missing


def test_words_are_in_order_and_said_once() -> None:
    words = [row[0] for row in ROWS]
    assert len(words) > 30
    assert words == sorted(set(words), key=str.casefold)


def test_every_word_says_where_it_is_in_the_code() -> None:
    assert [row[0] for row in ROWS if not re.search(r"`\w+`", row[-1])] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_word_of_the_glossary_is_a_word_of_the_code(name: str, code: set[str]) -> None:
    assert name in code


# one thing, said in more than one place: a program's entry, a router of the service, scikit-learn's own classes, a command and what it calls
SAME: Final = {"main", "make_routes", "GridSearchCV", "RandomizedSearchCV", "params", "run", "verify"}


def test_a_name_means_one_thing() -> None:
    # private names are read where they are defined, and a migration is never changed
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path, text in texts():
        for name in re.findall(r"^(?:class|def|async def) (\w+)", text, re.MULTILINE):
            homes[name].append(str(path.relative_to(ROOT)))
    shared = {name: found for name, found in homes.items() if len(found) > 1 and not name.startswith("_")}
    assert {name: found for name, found in shared.items() if name not in SAME and "versions" not in found[0]} == {}
    assert set(shared) >= SAME
