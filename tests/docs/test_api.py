"""docs/api.md is what may be imported, name by name."""

import re
from importlib import import_module
from pathlib import Path
from typing import Final

import pytest

API: Final = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
MODULES: Final = {
    section.partition("\n")[0]: re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    for section in API.split("\n## ")[1:]
}


def test_there_is_something_to_import() -> None:
    assert {"tuningjob", "tuningjob.errors", "tuningjob.engine.rules"} <= set(MODULES)


@pytest.mark.parametrize("module", MODULES)
def test_the_page_and_the_module_name_the_same(module: str) -> None:
    assert sorted(MODULES[module]) == sorted(import_module(module).__all__)


@pytest.mark.parametrize(("module", "name"), [(module, name) for module, names in MODULES.items() for name in names])
def test_a_name_of_the_page_can_be_imported(module: str, name: str) -> None:
    assert getattr(import_module(module), name) is not None
