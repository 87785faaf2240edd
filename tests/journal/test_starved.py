"""A unit that kills its pods waits for one with more memory, as long as there may be one; then its cell is lost, and no other."""

from itertools import count

import pytest

from tests.journal.makers import Pod, a_result, a_search
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Next, Unit
from tuningjob.protocol.requests import ClaimRequest, Report

SMALL, MIDDLE, LARGE = 2**30, 2 * 2**30, 4 * 2**30
NAMES = (f"pod-{number}" for number in count())


@pytest.fixture
def opened(journal: SqlJournal) -> SqlJournal:
    journal.open_search(a_search(memory_limit=LARGE))
    return journal


def ask(
    journal: SqlJournal, memory: int, *, index: int = 0, name: str = "", holding: frozenset[int] = frozenset()
) -> Unit | None:
    """What a new pod of this memory is given."""
    name = name or next(NAMES)
    return (
        journal.view("search-a")
        .claim(ClaimRequest(index=index, slots=4, holding=holding, claimant=name, memory=memory))
        .unit
    )


def claim(journal: SqlJournal, memory: int, *, index: int = 0, name: str = "") -> Unit:
    unit = ask(journal, memory, index=index, name=name)
    assert unit is not None
    return unit


def starve(journal: SqlJournal, memory: int = SMALL) -> Unit:
    """Two pods of index 0 die of a unit; a third one is given another."""
    unit = claim(journal, memory)
    assert claim(journal, memory).alone
    assert claim(journal, memory).id != unit.id
    return unit


def waiting(journal: SqlJournal) -> tuple[int, int]:
    progress = journal.progress("search-a")
    return progress.starved, progress.starved_bytes


def test_a_unit_that_two_pods_died_of_waits_while_a_pod_may_have_more_memory(opened: SqlJournal) -> None:
    before = opened.progress("search-a")
    starve(opened)
    after = opened.progress("search-a")
    assert (before.starved, before.starved_bytes) == (0, 0)
    assert (after.starved, after.starved_bytes, after.deaths) == (1, SMALL, 2)
    assert after.revision > before.revision


@pytest.mark.parametrize("index", [0, 1])
def test_a_pod_with_more_memory_is_given_it_first_and_alone(opened: SqlJournal, index: int) -> None:
    starved = starve(opened)
    opened.view("search-a").leave(index=0)
    before = opened.progress("search-a")
    unit = claim(opened, MIDDLE, index=index)
    assert (unit.id, unit.cells, unit.alone, unit.lost) == (starved.id, starved.cells, True, None)
    after = opened.progress("search-a")
    assert (after.starved, after.starved_bytes, after.last_holder) == (0, 0, index)
    assert after.revision > before.revision, "the operator, which makes larger pods, is told"


def test_the_pod_that_finds_its_index_starved_is_given_the_unit_if_it_has_the_memory(opened: SqlJournal) -> None:
    unit = claim(opened, SMALL)
    claim(opened, SMALL)
    again = claim(opened, MIDDLE)
    assert (again.id, again.alone, again.lost) == (unit.id, True, None)


@pytest.mark.parametrize("memory", [SMALL, 1, 0], ids=["as much", "less", "unknown"])
def test_nobody_with_too_little_memory_is_given_it_and_without_it_nobody_finishes(
    opened: SqlJournal, memory: int
) -> None:
    starved = starve(opened)
    opened.view("search-a").leave(index=0)
    name = next(NAMES)
    while unit := ask(opened, memory, index=1, name=name):
        assert unit.id != starved.id
        opened.view("search-a").report(Report(index=1, results=[a_result(cell) for cell in unit.cells]))
    assert opened.progress("search-a").done == 30 - len(starved.cells)
    answer = opened.view("search-a").claim(ClaimRequest(index=1, slots=1, holding=set(), claimant=name, memory=memory))
    assert answer.next is Next.NOTHING
    larger = claim(opened, LARGE, index=1)
    assert larger.cells == starved.cells
    opened.view("search-a").report(Report(index=1, results=[a_result(cell) for cell in larger.cells]))
    assert (
        opened.view("search-a").claim(ClaimRequest(index=1, slots=1, holding=set(), claimant=name)).next is Next.FINISH
    )


def test_it_is_starved_again_and_again_until_a_pod_of_the_most_memory_has_died_of_it(opened: SqlJournal) -> None:
    starved = starve(opened)
    opened.view("search-a").leave(index=0)
    assert claim(opened, MIDDLE).id == starved.id
    assert claim(opened, MIDDLE).id != starved.id
    assert waiting(opened) == (1, MIDDLE)
    opened.view("search-a").leave(index=0)
    at_most = claim(opened, LARGE)
    assert (at_most.id, at_most.lost) == (starved.id, None)
    unit = claim(opened, LARGE)
    assert (unit.id, unit.alone, unit.lost) == (starved.id, True, starved.cells[0])
    assert waiting(opened) == (0, 0)


def test_a_cell_that_is_lost_may_be_told_by_any_worker_and_stays_lost_if_that_one_dies(opened: SqlJournal) -> None:
    starved = starve(opened)
    opened.view("search-a").leave(index=0)
    claim(opened, LARGE)
    for memory in (SMALL, 0, MIDDLE):
        assert claim(opened, memory).lost == starved.cells[0]


def test_once_the_lost_cell_is_told_the_others_get_their_chance_at_every_size(opened: SqlJournal) -> None:
    first, second, *_ = starve(opened).cells
    opened.view("search-a").leave(index=0)
    claim(opened, LARGE)
    assert claim(opened, LARGE).lost == first
    opened.view("search-a").report(Report(index=0, results=[a_result(first, error="lost")]))
    opened.view("search-a").leave(index=0)
    unit = claim(opened, SMALL)
    assert (unit.cells[0], unit.alone, unit.lost) == (second, True, None)
    other = claim(opened, SMALL)
    assert second not in other.cells
    assert waiting(opened) == (1, SMALL)


def test_a_pod_that_leaves_a_starved_unit_in_good_order_leaves_it_to_those_with_enough(opened: SqlJournal) -> None:
    starved = starve(opened)
    opened.view("search-a").leave(index=0)
    assert claim(opened, MIDDLE).id == starved.id
    opened.view("search-a").leave(index=0)
    assert waiting(opened) == (1, SMALL)
    assert claim(opened, SMALL, index=1).id != starved.id
    again = claim(opened, MIDDLE, index=2)
    assert (again.id, again.lost) == (starved.id, None)


def test_an_index_whose_pod_has_become_smaller_does_not_go_on_with_what_starved_it(opened: SqlJournal) -> None:
    starved = starve(opened)
    opened.view("search-a").leave(index=0)
    assert claim(opened, MIDDLE, name="the-same").id == starved.id
    assert claim(opened, SMALL, name="the-same").id != starved.id
    assert waiting(opened) == (1, SMALL)


@pytest.mark.parametrize(
    ("memory", "limit"), [(0, LARGE), (LARGE, LARGE), (LARGE, SMALL), (SMALL, 0)], ids=["unknown", "=", ">", "no limit"]
)
def test_where_no_pod_can_have_more_the_cell_is_lost_at_once(journal: SqlJournal, memory: int, limit: int) -> None:
    journal.open_search(a_search(memory_limit=limit))
    unit = claim(journal, memory)
    claim(journal, memory)
    assert claim(journal, memory).lost == unit.cells[0]


def test_several_starved_units_are_given_to_several_claimants_the_neediest_first(opened: SqlJournal) -> None:
    first = starve(opened)
    opened.view("search-a").leave(index=0)
    assert claim(opened, MIDDLE).id == first.id
    claim(opened, MIDDLE)  # starved of MIDDLE now; and the next one, of SMALL
    opened.view("search-a").leave(index=0)
    second = claim(opened, SMALL, index=1)
    claim(opened, SMALL, index=1)
    assert claim(opened, SMALL, index=1).id not in {first.id, second.id}
    assert waiting(opened) == (2, MIDDLE)
    assert claim(opened, LARGE, index=2).id == first.id
    assert claim(opened, LARGE, index=3).id == second.id


def test_what_a_starved_units_claimant_of_long_ago_reports_late_is_taken(opened: SqlJournal) -> None:
    starved = starve(opened)
    late = Pod(opened.view("search-a"), index=0)
    late.report(*starved.cells[:-1])
    opened.view("search-a").leave(index=0)
    assert claim(opened, LARGE).cells == starved.cells[-1:]
    late.report(starved.cells[-1])
    assert waiting(opened) == (0, 0)
    late.report(*starved.cells)
    assert claim(opened, LARGE, index=1).id != starved.id
