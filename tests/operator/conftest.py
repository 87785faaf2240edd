from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.operator.world import World
from tuningjob_operator.cluster.aside import PLANNING, READING


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """A process that has threads must not be forked, and tests of the engine fork the one that runs them."""
    yield
    for aside in (READING, PLANNING):
        aside.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.journal.close()
