"""A unit that killed its pod is run alone; the cell that killed two is given up, and the rest goes on."""

import pytest

from tests.journal.makers import Pod, a_result, a_search
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Cell, Unit
from tuningjob.protocol.requests import ClaimRequest, Report


@pytest.fixture
def opened(journal: SqlJournal) -> SqlJournal:
    journal.open_search(a_search())
    return journal


def claim(journal: SqlJournal, claimant: str, *, index: int = 0, holding: frozenset[int] = frozenset()) -> Unit:
    unit = journal.view("search-a").claim(ClaimRequest(index=index, slots=4, holding=holding, claimant=claimant)).unit
    assert unit is not None
    return unit


def test_a_unit_whose_pod_died_comes_again_alone(opened: SqlJournal) -> None:
    first = claim(opened, "pod-1")
    assert not first.alone
    again = claim(opened, "pod-2")
    assert (again.id, again.cells, again.alone, again.lost) == (first.id, first.cells, True, None)


def test_a_unit_that_another_pod_died_with_does_not_touch_the_others(opened: SqlJournal) -> None:
    claim(opened, "pod-1")
    assert not claim(opened, "other", index=1).alone
    assert claim(opened, "pod-2").alone


def test_the_first_unfinished_cell_of_a_unit_that_two_pods_died_with_is_lost(opened: SqlJournal) -> None:
    cells = claim(opened, "pod-1").cells
    claim(opened, "pod-2")
    opened.view("search-a").report(Report(index=0, results=[a_result(cells[0])]))
    unit = claim(opened, "pod-3")
    assert (unit.alone, unit.lost, unit.cells) == (True, cells[1], cells[1:])


def test_once_the_lost_cell_is_reported_the_rest_of_the_unit_gets_its_chance_alone(opened: SqlJournal) -> None:
    cells = claim(opened, "pod-1").cells
    claim(opened, "pod-2")
    lost = claim(opened, "pod-3").lost
    assert lost == cells[0]
    opened.view("search-a").report(Report(index=0, results=[a_result(lost, error="two pods died of it")]))
    after_another_death = claim(opened, "pod-4")
    assert after_another_death.lost == cells[1], "that pod was fitting the next one, alone"
    opened.view("search-a").report(Report(index=0, results=[a_result(cells[1], error="and of this one")]))
    again = opened.view("search-a").claim(ClaimRequest(index=0, slots=4, holding=set(), claimant="pod-4")).unit
    assert again is not None
    assert (again.alone, again.lost, again.cells) == (True, None, cells[2:])


def test_a_lost_reply_is_no_death(opened: SqlJournal) -> None:
    lost = claim(opened, "pod-1")
    again = claim(opened, "pod-1")
    assert again == lost
    assert not again.alone


def test_who_left_in_good_order_has_killed_nobody(opened: SqlJournal) -> None:
    for number in range(5):
        unit = claim(opened, f"pod-{number}")
        assert not unit.alone
        opened.view("search-a").leave(index=0)


def test_a_unit_that_was_left_keeps_its_count(opened: SqlJournal) -> None:
    first = claim(opened, "pod-1")
    claim(opened, "pod-2")
    opened.view("search-a").leave(index=0)
    unit = claim(opened, "pod-7", index=1)
    assert (unit.id, unit.alone, unit.lost) == (first.id, True, None)


def test_leaving_is_only_for_the_units_of_the_index(opened: SqlJournal) -> None:
    claim(opened, "pod-1")
    claim(opened, "other", index=1)
    opened.view("search-a").leave(index=1)
    assert claim(opened, "pod-2").alone


def test_who_does_not_say_its_name_is_never_counted(opened: SqlJournal) -> None:
    for _ in range(5):
        assert not claim(opened, "").alone


def test_a_unit_that_is_given_back_keeps_its_count(opened: SqlJournal) -> None:
    first = claim(opened, "pod-1")
    claim(opened, "pod-2")
    opened.give_back("search-a", first=0)
    unit = claim(opened, "pod-7", index=1)
    assert (unit.id, unit.alone, unit.lost) == (first.id, True, None)


@pytest.mark.slow
def test_a_unit_that_is_finished_is_nobodys_death(opened: SqlJournal) -> None:
    Pod(opened.view("search-a")).work()
    assert opened.progress("search-a").done == 30
    assert opened.view("search-a").claim(ClaimRequest(index=0, slots=1, holding=set(), claimant="pod-2")).unit is None


def test_a_death_of_a_pod_that_held_two_units_counts_for_both(opened: SqlJournal) -> None:
    first = claim(opened, "pod-1")
    second = claim(opened, "pod-1", holding=frozenset({first.id}))
    resumed = claim(opened, "pod-2")
    other = claim(opened, "pod-2", holding=frozenset({resumed.id}))
    assert {resumed.id, other.id} == {first.id, second.id}
    assert resumed.alone
    assert other.alone
    assert Cell(0, 0) in resumed.cells


def test_the_deaths_of_a_search_are_counted_and_its_watchers_are_told(opened: SqlJournal) -> None:
    claim(opened, "pod-1")
    before = opened.progress("search-a")
    claim(opened, "pod-1")  # a lost reply
    assert opened.progress("search-a") == before
    claim(opened, "pod-2")
    claim(opened, "pod-3")
    after = opened.progress("search-a")
    assert (before.deaths, after.deaths) == (0, 2)
    assert after.revision > before.revision
