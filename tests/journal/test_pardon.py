"""A pod that died with its node died of no cell: its death is taken back if it was counted, and else never counted."""

import pytest

from tests.journal.makers import a_result, a_search
from tuningjob.journal.deaths import DeathCount, Victim, dump_victims, load_victims, pardoned, verdict
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Unit
from tuningjob.protocol.requests import ClaimRequest, Report

SMALL, LARGE = 2**30, 4 * 2**30


@pytest.fixture
def opened(journal: SqlJournal) -> SqlJournal:
    journal.open_search(a_search(memory_limit=LARGE))
    return journal


def claim(journal: SqlJournal, claimant: str, *, index: int = 0, memory: int = SMALL) -> Unit:
    unit = (
        journal.view("search-a")
        .claim(ClaimRequest(index=index, slots=4, holding=set(), claimant=claimant, memory=memory))
        .unit
    )
    assert unit is not None
    return unit


def pardon(journal: SqlJournal, *pods: str) -> None:
    journal.pardon("search-a", pods)


def test_what_the_pod_still_holds_will_count_no_death(opened: SqlJournal) -> None:
    unit = claim(opened, "forest-0-abcde.1")
    pardon(opened, "forest-0-abcde")
    again = claim(opened, "forest-0-fghij.1")
    assert again == unit
    assert opened.progress("search-a").deaths == 0


def test_a_death_that_was_counted_is_taken_back(opened: SqlJournal) -> None:
    unit = claim(opened, "a.1")
    assert claim(opened, "b.1").alone
    before = opened.progress("search-a")
    pardon(opened, "a")
    after = opened.progress("search-a")
    assert (before.deaths, after.deaths) == (1, 0)
    assert after.revision > before.revision
    assert claim(opened, "c.1").alone, "b died of it"
    pardon(opened, "b", "c")
    again = claim(opened, "d.1")
    assert (again.id, again.alone) == (unit.id, False)


def test_a_cell_that_was_to_be_lost_gets_its_chance(opened: SqlJournal) -> None:
    unit = claim(opened, "a.1", memory=LARGE)
    claim(opened, "b.1", memory=LARGE)
    assert claim(opened, "c.1", memory=LARGE).lost == unit.cells[0]
    pardon(opened, "b")
    again = claim(opened, "c.1", memory=LARGE)
    assert (again.id, again.alone, again.lost) == (unit.id, True, None)


def test_a_unit_that_was_starved_is_no_more(opened: SqlJournal) -> None:
    unit = claim(opened, "a.1")
    claim(opened, "b.1")
    assert claim(opened, "c.1").id != unit.id
    assert opened.progress("search-a").starved == 1
    pardon(opened, "a")
    assert opened.progress("search-a").starved == 0
    again = claim(opened, "d.1", index=1)
    assert (again.id, again.alone, again.lost) == (unit.id, True, None)


def test_what_was_told_as_lost_stays_and_so_does_what_follows_of_it(opened: SqlJournal) -> None:
    unit = claim(opened, "a.1", memory=LARGE)
    claim(opened, "b.1", memory=LARGE)
    claim(opened, "c.1", memory=LARGE)
    opened.view("search-a").report(Report(index=0, results=[a_result(unit.cells[0], error="lost")]))
    pardon(opened, "a", "b")
    again = claim(opened, "c.1", memory=LARGE)
    assert (again.cells, again.alone, again.lost) == (unit.cells[1:], True, None)
    assert opened.progress("search-a").failed == 1


def test_pardoning_twice_or_whom_nobody_knows_changes_nothing(opened: SqlJournal) -> None:
    claim(opened, "a.1")
    claim(opened, "b.1")
    pardon(opened, "a")
    before = opened.progress("search-a")
    for pods in (["a"], ["nobody"], [], [""]):
        pardon(opened, *pods)
        assert opened.progress("search-a") == before


def test_only_the_pods_of_these_names_are_pardoned(opened: SqlJournal) -> None:
    claim(opened, "forest-1.a.1")
    for other in ("forest-1", "forest", "forest-1.a.1.2", "a"):
        pardon(opened, other)
    assert claim(opened, "forest-1.b.1").alone


def test_a_unit_is_never_pardoned_for_deaths_whose_names_are_not_known() -> None:
    assert pardoned([Victim("", 0)], {""}) == [Victim("", 0)]


@pytest.mark.parametrize(
    ("memories", "want"),
    [
        ([], DeathCount(0, 0)),
        ([1], DeathCount(1, 0)),
        ([1, 1], DeathCount(1, 1)),
        ([1, 2], DeathCount(1, 2)),
        ([1, 1, 2], DeathCount(1, 2)),
        ([1, 1, 2, 4], DeathCount(2, 0)),
        ([1, 1, 2, 4, 1], DeathCount(3, 0)),
        ([4, 4], DeathCount(2, 0)),
        ([1, 0], DeathCount(2, 0)),
        ([0, 1], DeathCount(1, 1)),
        ([1, 1, 0], DeathCount(2, 0)),
    ],
)
def test_what_deaths_mean_is_said_by_the_memory_of_each(memories: list[int], want: DeathCount) -> None:
    victims = [Victim(f"pod-{number}", memory) for number, memory in enumerate(memories)]
    assert verdict(victims, 4) == want
    assert load_victims(dump_victims(victims)) == victims
