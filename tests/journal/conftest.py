from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.journal.makers import Clock
from tuningjob.journal.sql import SqlJournal, open_sqlite


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(tmp_path: Path, clock: Clock) -> Iterator[SqlJournal]:
    journal = open_sqlite(tmp_path / "tuning.db", clock=clock)
    yield journal
    journal.close()
