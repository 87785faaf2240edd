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


# one thing, said in more than one place: a program's entry, a router of the service, scikit-learn's own classes, a command and what it calls
SAME: Final = {"main", "make_routes", "GridSearchCV", "RandomizedSearchCV", "params", "run", "verify"}


def test_a_name_means_one_thing() -> None:
    # private names are read where they are defined, and a migration is never changed
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for folder in ("worker", "operator"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    homes[node.name].append(str(path.relative_to(ROOT)))
    shared = {name: found for name, found in homes.items() if len(found) > 1 and not name.startswith("_")}
    assert {name: found for name, found in shared.items() if name not in SAME and "versions" not in found[0]} == {}
    assert set(shared) >= SAME
