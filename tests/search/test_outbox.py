"""What a worker has finished and the journal has not got yet."""

import math
import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.journal.makers import a_result
from tuningjob.protocol.records import MAX_ERROR_LENGTH, Cell, CellResult
from tuningjob.search.outbox import Outbox


def cells(count: int, *, start: int = 0, error: str | None = None) -> list[CellResult]:
    return [a_result(Cell(number, 0), error=error) for number in range(start, start + count)]


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Outbox]:
    """Ten in memory, some hundred in a file."""
    outbox = Outbox(memory_cells=10, file_bytes=20_000, folder=str(tmp_path))
    yield outbox
    outbox.close()


def emptied(outbox: Outbox, limit: int = 7) -> list[CellResult]:
    found: list[CellResult] = []
    while batch := outbox.first(limit):
        found += batch
        outbox.remove(len(batch))
    return found


def numbers(results: list[CellResult]) -> list[int]:
    return sorted(result.candidate for result in results)


def test_cells_stay_until_they_are_removed(small: Outbox) -> None:
    small.put(cells(5))
    assert small.first(3) == small.first(3) == cells(3)
    small.remove(3)
    assert len(small) == 2
    assert small.first(100) == cells(2, start=3)


def test_what_memory_does_not_hold_waits_in_a_file_that_nobody_sees(small: Outbox, tmp_path: Path) -> None:
    small.put(cells(50))
    assert (len(small), small.spilled) == (50, 40)
    assert not small.is_full
    assert list(tmp_path.iterdir()) == []
    assert numbers(emptied(small)) == list(range(50))
    assert len(small) == 0


def test_a_small_search_needs_no_file(small: Outbox) -> None:
    small.put(cells(10))
    assert small.spilled == 0


def test_scores_come_back_from_the_file_equal_to_the_bit(small: Outbox) -> None:
    odd = [math.nan, math.inf, -math.inf, -0.0, 0.1 + 0.2, 5e-324]
    sent = [a_result(Cell(i, 0), test_scores={"score": score}, error="Zwölf\n\x1b\x00") for i, score in enumerate(odd)]
    small.put(cells(10, start=100))
    small.put(sent)
    assert small.spilled == len(sent)
    # repr: NaN equals itself there, and -0.0 is not 0.0
    assert [repr(result) for result in emptied(small)[10:]] == [repr(result) for result in sent]


def test_it_says_when_it_is_full_takes_more_all_the_same_and_has_room_again_once_emptied(small: Outbox) -> None:
    start = 0
    while not small.is_full:
        small.put(cells(20, start=start))
        start += 20
    assert 60 <= start <= 200
    small.put(cells(20, start=start))
    assert numbers(emptied(small)) == list(range(start + 20))
    assert not small.is_full


def test_the_longest_errors_fit(small: Outbox) -> None:
    # six bytes for each character
    small.put(cells(12, error="\x01" * MAX_ERROR_LENGTH))
    assert small.spilled == 2
    assert numbers(emptied(small)) == list(range(12))


@contextmanager
def no_file_longer_than(limit: int) -> Iterator[None]:
    """As a full disk: what is written beyond fails (Python ignores SIGXFSZ), after a part of it perhaps."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_disk_that_is_full_loses_nothing_and_is_tried_again(small: Outbox) -> None:
    small.put(cells(20))
    with no_file_longer_than(2_000):
        small.put(cells(10, start=20))
        was_full = small.is_full
    assert was_full
    assert (len(small), small.spilled) == (30, 10)
    small.put(cells(10, start=30))
    assert not small.is_full
    assert small.spilled == 20
    assert numbers(emptied(small)) == list(range(40))


def test_a_folder_that_is_not_there_is_as_good_as_a_full_disk(tmp_path: Path) -> None:
    outbox = Outbox(memory_cells=3, folder=str(tmp_path / "nowhere"))
    outbox.put(cells(5))
    assert outbox.is_full
    assert numbers(emptied(outbox)) == [0, 1, 2, 3, 4]
    assert not outbox.is_full


def test_the_space_on_the_disk_is_given_back(small: Outbox) -> None:
    small.put(cells(50))
    assert small._file is not None
    assert os.fstat(small._file.fileno()).st_size > 5_000
    emptied(small)
    assert os.fstat(small._file.fileno()).st_size == 0


@pytest.mark.slow
@given(st.lists(st.tuples(st.booleans(), st.integers(0, 25)), max_size=30))
def test_whatever_comes_and_goes_nothing_is_lost_and_nothing_comes_twice(moves: list[tuple[bool, int]]) -> None:
    outbox = Outbox(memory_cells=4, file_bytes=3_000)
    put, taken = 0, []
    for is_put, count in moves:
        if is_put:
            outbox.put(cells(count, start=put))
            put += count
        else:
            batch = outbox.first(count)
            taken += batch
            outbox.remove(len(batch))
        assert len(outbox) == put - len(taken)
    assert numbers(taken + emptied(outbox)) == list(range(put))
    outbox.close()
