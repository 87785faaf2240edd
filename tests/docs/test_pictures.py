"""The picture of the layers is the one that the imports make."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

PICTURES: Final = (Path(__file__).parents[2] / "docs" / "pictures.md").read_text()
LAYERS: Final = PICTURES.split("## The layers")[1].split("\n## ")[0]
# in the picture a room has a short name, and in its box that of its package
ROOMS: Final = dict(re.findall(r'^ *(\w+)\["([\w.]+)', LAYERS, re.MULTILINE))
ARROWS: Final = [(ROOMS[a], ROOMS[b]) for a, b in re.findall(r"^ *(\w+) --> (\w+)$", LAYERS, re.MULTILINE)]


# in a process of its own, because grimp leaves threads
GRAPH: Final = """
import json, grimp
graph = grimp.build_graph("tuningjob", "tuningjob_operator", exclude_type_checking_imports=True)
print(json.dumps({module: sorted(graph.find_modules_directly_imported_by(module)) for module in graph.modules}))
"""


def room_of(module: str) -> str | None:
    """The innermost room of the picture that a module is in."""
    rooms = [room for room in ROOMS.values() if module == room or module.startswith(f"{room}.")]
    return max(rooms, key=len, default=None)


@pytest.fixture(scope="module")
def imports() -> set[tuple[str, str]]:
    """Pairs of drawn rooms, of which the first imports the second."""
    done = subprocess.run([sys.executable, "-c", GRAPH], capture_output=True, text=True, check=True, timeout=120)
    graph: dict[str, list[str]] = json.loads(done.stdout)
    missing = set(ROOMS.values()) - set(graph)
    assert not missing, f"docs/pictures.md draws rooms that are not there: {sorted(missing)}"
    pairs = {(room_of(module), room_of(imported)) for module, several in graph.items() for imported in several}
    return {(source, target) for source, target in pairs if source and target and source != target}


def below(room: str) -> set[str]:
    """What the picture lets a room import."""
    found: set[str] = set()
    waiting = [room]
    while waiting:
        here = waiting.pop()
        waiting += [target for source, target in ARROWS if source == here and target not in found]
        found |= {target for source, target in ARROWS if source == here}
    return found


def test_no_arrow_leads_back_up() -> None:
    assert len(ARROWS) >= 10
    assert [room for room in ROOMS.values() if room in below(room)] == []


def test_every_arrow_is_an_import(imports: set[tuple[str, str]]) -> None:
    assert sorted(set(ARROWS) - imports) == []


def test_every_import_goes_down_the_arrows(imports: set[tuple[str, str]]) -> None:
    assert sorted(pair for pair in imports if pair[1] not in below(pair[0])) == []
