"""The journal's contract on claims: which cells an index is given, and what becomes of them when it goes."""

import pytest
from sqlalchemy import create_engine

from tests.journal.makers import ALL_CELLS, a_preflight, a_result, a_search, pod
from tuningjob.errors import JournalMismatch
from tuningjob.journal.sql import SqlJournal
from tuningjob.journal.walk import MAX_REGIONS
from tuningjob.protocol.records import Axis, Block
from tuningjob.protocol.requests import ClaimRequest, Report

# --- claims ---------------------------------------------------------------------------------------------------------


def test_every_cell_is_claimed_once_in_the_grids_order(opened: SqlJournal) -> None:
    assert pod(opened, slots=4).work() == ALL_CELLS


@pytest.mark.slow
def test_units_of_different_indexes_never_overlap(opened: SqlJournal) -> None:
    pods = [pod(opened, index) for index in range(4)]
    claimed = [cell for _ in range(20) for claimant in pods if (unit := claimant.claim()) for cell in unit.cells]
    assert sorted(claimed) == ALL_CELLS


def test_a_claimant_is_not_given_again_what_it_holds(opened: SqlJournal) -> None:
    worker = pod(opened)
    first, second = worker.must_claim(), worker.must_claim()
    assert first.id != second.id
    assert not set(first.cells) & set(second.cells)


def test_the_next_pod_of_an_index_first_resumes_what_the_one_before_left(opened: SqlJournal) -> None:
    before = pod(opened, 1)
    left = before.must_claim()
    pod(opened, 0).must_claim()
    before.report(*left.cells[:2])
    resumed = before.restarted().must_claim()
    assert resumed.id == left.id
    assert resumed.cells == left.cells[2:], "only what is not finished"


def test_a_claim_whose_reply_was_lost_comes_again(opened: SqlJournal) -> None:
    worker = pod(opened)
    held = worker.must_claim()
    lost = opened.view("search-a").claim(ClaimRequest(index=0, slots=1, holding={held.id})).unit
    again = opened.view("search-a").claim(ClaimRequest(index=0, slots=1, holding={held.id})).unit
    assert again == lost


def test_another_index_is_not_given_what_a_dead_pods_index_holds(opened: SqlJournal) -> None:
    left = pod(opened, 0).must_claim()
    evaluated = pod(opened, 1).work()
    assert not set(evaluated) & set(left.cells)
    assert sorted([*evaluated, *left.cells]) == ALL_CELLS


def test_what_a_given_up_index_held_goes_to_others_before_fresh_units(opened: SqlJournal) -> None:
    given_up = pod(opened, 0)
    left = given_up.must_claim()
    given_up.report(left.cells[0])
    opened.give_back("search-a", first=0)
    assert pod(opened, 1).must_claim().cells == left.cells[1:]


def test_its_own_unfinished_units_come_before_given_back_ones(opened: SqlJournal) -> None:
    own = pod(opened, 0).must_claim()
    pod(opened, 1).must_claim()
    opened.give_back("search-a", first=1)
    assert pod(opened, 0).must_claim() == own


def test_a_unit_that_was_given_back_is_given_to_one_index_only(opened: SqlJournal) -> None:
    given_up = pod(opened, 0).must_claim()
    opened.give_back("search-a", first=0)
    first, second = pod(opened, 1).must_claim(), pod(opened, 2).must_claim()
    assert first.cells == given_up.cells
    assert not set(first.cells) & set(second.cells)


def test_giving_back_twice_or_nothing_changes_nothing(opened: SqlJournal) -> None:
    held = pod(opened, 1).must_claim()
    for _ in range(2):
        before = opened.progress("search-a")
        opened.give_back("search-a", first=2)
        opened.view("search-a").leave(index=0)
        assert opened.progress("search-a") == before
    assert pod(opened, 1).must_claim() == held


def test_all_indexes_from_the_first_one_that_is_gone_give_back_what_they_hold(opened: SqlJournal) -> None:
    units = [pod(opened, index).must_claim() for index in range(4)]
    opened.give_back("search-a", first=2)
    assert pod(opened, 1).must_claim() == units[1]
    taker = pod(opened, 0, slots=1)
    taker.holding = {units[0].id}
    assert [taker.must_claim() for _ in range(2)] == units[2:]


def test_what_a_pod_leaves_in_good_order_is_anybodys_at_once(opened: SqlJournal) -> None:
    left = pod(opened, 1).must_claim()
    opened.view("search-a").leave(index=1)
    assert opened.progress("search-a").last_holder is None
    assert pod(opened, 0).must_claim() == left
    assert not set(pod(opened, 1).must_claim().cells) & set(left.cells)


def test_a_million_candidates_are_claimed_without_rows_for_them(opened: SqlJournal, database_url: str) -> None:
    opened.open_search(a_search("huge", candidates=1_000_000, splits=10, pods=100))
    block = Block(start=0, axes=(Axis(size=1_000, stride=1_000), Axis(size=1_000, stride=1)))
    opened.view("huge").set_preflight(a_preflight(blocks=(block,)))
    pod(opened, search="huge").must_claim()
    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        counts = [
            connection.exec_driver_sql(f"SELECT count(*) FROM {table} WHERE search_id = 'huge'").scalar_one()
            for table in ("units", "cells", "regions")
        ]
    engine.dispose()
    assert counts[:2] == [1, 0]
    assert counts[2] <= 4 * MAX_REGIONS


def test_the_walk_of_the_first_preflight_is_the_order_of_claims(journal: SqlJournal) -> None:
    journal.open_search(a_search(pods=1))
    turned = Block(start=0, axes=(Axis(size=3, stride=1), Axis(size=2, stride=3)))
    journal.view("search-a").set_preflight(a_preflight(blocks=(turned,)))
    claimed = pod(journal).must_claim().cells
    assert [cell.candidate for cell in claimed if cell.split == 0] == [0, 3, 1, 4, 2, 5]
    assert sorted(claimed) == ALL_CELLS
    pod(journal).report(*claimed)
    assert [result.cell for result in journal.view("search-a").results()] == ALL_CELLS, "and not that of results"


@pytest.mark.slow
def test_where_fits_take_longest_is_handed_out_first_once_it_is_known(journal: SqlJournal) -> None:
    journal.open_search(a_search(candidates=64, splits=1, pods=8))
    axes = (Axis(size=2, stride=32), Axis(size=32, stride=1))
    journal.view("search-a").set_preflight(a_preflight(blocks=(Block(start=0, axes=axes),)))
    worker = pod(journal)
    claimed = []
    while unit := worker.claim():
        claimed += [cell.candidate for cell in unit.cells]
        # the upper half of the second axis is a hundred times as dear
        results = [a_result(cell, fit_seconds=100.0 if cell.candidate % 32 >= 16 else 1.0) for cell in unit.cells]
        journal.view("search-a").report(Report(index=0, results=results))
    assert sorted(claimed) == list(range(64))
    second_row = [candidate for candidate in claimed if candidate >= 32]
    assert sum(candidate >= 48 for candidate in second_row[:16]) >= 14, "it was measured in the first row"


def test_blocks_that_do_not_name_each_candidate_once_are_refused(opened: SqlJournal) -> None:
    with pytest.raises(JournalMismatch, match="must name each of the 6 candidates once"):
        opened.view("search-a").set_preflight(a_preflight(blocks=(Block(start=0, axes=(Axis(size=5, stride=1),)),)))
    assert opened.progress("search-a").preflight is None
