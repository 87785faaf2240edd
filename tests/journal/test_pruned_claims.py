"""Pods that prune: each decides by what comes with its claims and what it has found, and the winner is that of all scores."""

import json
import math
import os
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from tests.engine.test_race import tables, winner
from tests.journal.makers import Pod, a_preflight, a_result, a_search, an_answer
from tests.journal.test_walk import block
from tuningjob.engine.race import Leader, Race
from tuningjob.engine.work import CellKey
from tuningjob.errors import JournalMismatch
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.contract import SearchJournal
from tuningjob.protocol.records import MOST_KNOWN, Cell, CellIdentity, CellResult, Claim, Next, Standing, Unit
from tuningjob.protocol.requests import ClaimRequest, Report, ReuseRequest

# each is a whole search, on each database; the race alone has a hundred in tests/engine/test_race.py
EXAMPLES = int(os.environ.get("TUNINGJOB_EXAMPLES", "25"))
SPEC = {"estimator": {"class": "sklearn.svm.SVC"}, "prune": "certain"}


class Claimant:
    """A pod without an engine: one cell at a time, with the score that the table has."""

    def __init__(self, view: SearchJournal, index: int, bound: float, scores: list[list[float]]) -> None:
        self.view = view
        self.index = index
        self.scores = scores
        self.race = Race(len(scores[0]), bound=bound)
        self.held: dict[int, set[Cell]] = {}
        self.due: list[CellKey] = []

    def step(self) -> int:
        """Report one cell, or claim; returns how many cells the journal had no result of."""
        gone = self.race.withdrawn()
        self.due = self.due or self.race.due()
        if gone or self.due:
            results = [a_result(Cell(*cell), test_scores={}, fit_seconds=0.0, pruned=True) for cell in gone]
            if self.due:
                results.append(self.evaluated(self.due.pop(0)))
            return self.report(results)
        claim = self.view.claim(ClaimRequest(index=self.index, slots=1, holding=set(self.held), prunes=True))
        if claim.unit is not None:
            self.enter(claim.unit, claim.standing or Standing())
        return 0

    def enter(self, unit: Unit, standing: Standing) -> None:
        self.held[unit.id] = set(unit.cells)
        self.follow(standing)
        known = {CellKey(each.candidate, each.split): each.score for each in standing.scores}
        self.race.add([CellKey(cell.candidate, cell.split) for cell in unit.cells], known)

    def follow(self, standing: Standing) -> None:
        if standing.best is not None and standing.worst is not None:
            self.race.lead(Leader(standing.best, standing.worst))

    def evaluated(self, cell: CellKey) -> CellResult:
        score = self.scores[cell.candidate][cell.split]
        self.race.arrived(cell, score)
        error = "failed" if math.isnan(score) else None
        return a_result(Cell(*cell), test_scores={"accuracy": score}, error=error)

    def report(self, results: list[CellResult]) -> int:
        reply = self.view.report(Report(index=self.index, results=results))
        assert reply.standing is not None
        self.follow(reply.standing)
        done = {result.cell for result in results}
        self.held = {unit: left for unit, cells in self.held.items() if (left := cells - done)}
        return reply.new


def searched(journal: SqlJournal, scores: list[list[float]], bound: float, pods: int, random: Random) -> set[CellKey]:
    """Search by pods in any order, some of which die; returns what ran."""
    candidates, splits = len(scores), len(scores[0])
    journal.open_search(a_search(candidates=candidates, splits=splits, pods=pods, spec=SPEC))
    view = journal.view("search-a")
    blocks = (block(candidates),) if random.random() < 0.5 else ()
    view.set_preflight(a_preflight(blocks=blocks))
    claimants = [Claimant(view, index, bound, scores) for index in range(pods)]
    done = 0
    while done < candidates * splits:
        index = random.randrange(pods)
        if random.random() < 0.05:  # a pod dies, and another takes its place
            claimants[index] = Claimant(view, index, bound, scores)
        done += claimants[index].step()
    progress = journal.progress("search-a")
    assert progress.done == done
    ran = {CellKey(cell.candidate, cell.split) for cell in view.results() if not cell.pruned}
    assert progress.pruned == candidates * splits - len(ran)
    assert progress.failed == sum(math.isnan(scores[cell.candidate][cell.split]) for cell in ran)
    return ran


@pytest.mark.slow
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(drawn=tables(), pods=st.integers(1, 3), seed=st.integers(0, 2**32))
def test_in_any_order_of_reports_the_winner_is_that_of_all_scores(
    journal: SqlJournal, drawn: tuple[float, list[list[float]]], pods: int, seed: int
) -> None:
    bound, scores = drawn
    journal.delete("search-a")
    ran = searched(journal, scores, bound, pods, Random(seed))
    assert winner(scores, ran)[0] == winner(scores)[0]


def test_a_claim_tells_what_is_known_besides_its_unit_to_who_prunes(journal: SqlJournal) -> None:
    journal.open_search(a_search(candidates=3, splits=2, pods=2, spec=SPEC))
    view = journal.view("search-a")
    view.set_preflight(a_preflight())
    scores = {Cell(0, 0): 0.5, Cell(0, 1): 0.9, Cell(1, 0): math.nan}
    claimed: set[Cell] = set()
    held: set[int] = set()
    while Cell(1, 0) not in claimed:
        unit = view.claim(ClaimRequest(index=0, slots=1, holding=held)).unit
        assert unit is not None
        held.add(unit.id)
        claimed.update(unit.cells)
    view.report(
        Report(index=0, results=[a_result(cell, test_scores={"accuracy": score}) for cell, score in scores.items()])
    )
    view.leave(index=0)
    claim = view.claim(ClaimRequest(index=1, slots=1, prunes=True))
    assert claim.unit is not None
    assert claim.unit.cells[0] == Cell(1, 1)
    assert claim.standing is not None
    assert (claim.standing.best, claim.standing.worst) == (0.7, 0.5)
    (known,) = claim.standing.scores
    assert (known.candidate, known.split, math.isnan(known.score)) == (1, 0, True)


def test_the_reply_to_a_report_tells_the_best_of_all_pods(journal: SqlJournal) -> None:
    journal.open_search(a_search(candidates=4, splits=1, pods=2, spec=SPEC))
    view = journal.view("search-a")
    view.set_preflight(a_preflight())
    first, second = Pod(view, index=0), Pod(view, index=1)
    (one,), (other,) = first.must_claim().cells[:1], second.must_claim().cells[:1]
    view.report(Report(index=0, results=[a_result(one, test_scores={"accuracy": 0.9})]))
    standing = view.report(Report(index=1, results=[a_result(other, test_scores={"accuracy": 0.1})])).standing
    assert standing is not None
    assert (standing.best, standing.worst, standing.scores) == (0.9, 0.9, ())


def test_who_does_not_prune_is_told_nothing_that_an_older_release_does_not_know(journal: SqlJournal) -> None:
    journal.open_search(a_search())
    view = journal.view("search-a")
    view.set_preflight(a_preflight())
    claim = view.claim(ClaimRequest(index=0, slots=1))
    assert json.loads(TypeAdapter(Claim).dump_json(claim)).keys() == {"next", "unit"}
    assert "pruned" not in json.loads(TypeAdapter(CellResult).dump_json(a_result(Cell(0, 0))))


def test_a_search_that_is_run_again_for_its_failed_fits_decides_anew_what_is_pruned(journal: SqlJournal) -> None:
    scores = [[math.nan, 0.9, 0.9], [0.5, 0.5, 0.5]]
    ran = searched(journal, scores, 1.0, 1, Random(1))
    assert CellKey(0, 2) not in ran
    view = journal.view("search-a")
    kept = journal.begin_again("search-a", a_search(candidates=2, splits=3, pods=1, spec=SPEC))
    assert kept == 3
    assert journal.progress("search-a").pruned == 0
    view.set_preflight(a_preflight())
    scores[0][0] = 0.9
    claimant = Claimant(view, 0, 1.0, scores)
    while journal.progress("search-a").done < 6:
        claimant.step()
    assert journal.progress("search-a").best is not None
    assert {cell.candidate for cell in view.results() if cell.pruned} == set()


def test_what_was_pruned_is_never_a_result_of_another_search(journal: SqlJournal) -> None:
    """Whatever a worker says that it is: it has no scores that another search could take."""
    journal.open_search(a_search(candidates=1, splits=2, pods=1, spec=SPEC))
    view = journal.view("search-a")
    view.set_preflight(a_preflight())
    unit = Pod(view).must_claim()
    identities = {cell: f"{cell.split:032x}" for cell in unit.cells}
    kept, left_out = unit.cells
    view.report(
        Report(
            index=0,
            results=[
                a_result(kept, identity=identities[kept]),
                a_result(left_out, identity=identities[left_out], pruned=True),
            ],
        )
    )
    journal.open_search(a_search("search-b", candidates=1, splits=2, pods=1))
    other = journal.view("search-b")
    other.set_preflight(a_preflight())
    Pod(other).must_claim()
    wanted = [
        CellIdentity(candidate=cell.candidate, split=cell.split, identity=each) for cell, each in identities.items()
    ]
    assert other.reuse(ReuseRequest(index=0, cells=wanted)) == (kept,)


def test_a_pruned_cell_of_a_search_without_prune_is_refused(journal: SqlJournal) -> None:
    journal.open_search(a_search())
    view = journal.view("search-a")
    view.set_preflight(a_preflight())
    unit = Pod(view).must_claim()
    with pytest.raises(JournalMismatch, match=r"a pruned cell must be one of a search with spec\.prune"):
        view.report(Report(index=0, results=[a_result(unit.cells[0], test_scores={}, pruned=True)]))
    assert journal.progress("search-a").done == 0


def test_scores_of_a_pruned_cell_are_none(journal: SqlJournal) -> None:
    """A worker that reports both a score and that there is none cannot make a best of it."""
    journal.open_search(a_search(candidates=1, splits=1, pods=1, spec=SPEC))
    view = journal.view("search-a")
    view.set_preflight(a_preflight())
    (cell,) = Pod(view).must_claim().cells
    view.report(Report(index=0, results=[a_result(cell, test_scores={"accuracy": 1.0}, pruned=True)]))
    assert journal.progress("search-a").best is None
    (found,) = view.results()
    assert (found.test_scores, found.pruned) == ({}, True)


def test_the_row_of_the_defaults_is_given_to_somebody_where_others_are_pruned(journal: SqlJournal) -> None:
    """A preflight that says that they are a candidate's is not believed: that one's fits may be left out."""
    journal.open_search(a_search(candidates=4, splits=2, pods=1, spec=SPEC))
    view = journal.view("search-a")
    blocks = (block(3), block(start=3))
    view.set_preflight(a_preflight(blocks=blocks, ranked=3, shared_with=1))
    assert len(Pod(view).work()) == 8


@pytest.mark.slow
def test_the_standing_that_comes_with_a_claim_has_a_bound(journal: SqlJournal) -> None:
    splits = MOST_KNOWN + 2_000
    journal.open_search(a_search(candidates=1, splits=splits, pods=1, spec=SPEC))
    view = journal.view("search-a")
    view.set_preflight(a_preflight())
    pod = Pod(view, slots=1_024)
    while True:
        claim = view.claim(ClaimRequest(index=0, slots=1_024, holding=pod.holding, prunes=True))
        assert claim.unit is not None
        if claim.unit.cells[-1].split == splits - 1:
            break
        pod.holding.add(claim.unit.id)
        pod.finish(claim.unit)
    assert claim.standing is not None
    assert len(claim.standing.scores) == MOST_KNOWN


def test_the_audit_says_how_many_fits_were_not_needed(journal: SqlJournal) -> None:
    ran = searched(journal, [[0.9, 0.9, 0.9], [0.1, 0.9, 0.9]], 1.0, 1, Random(1))
    view = journal.view("search-a")
    assert view.claim(ClaimRequest(index=0, slots=1)).next is Next.FINISH
    view.complete(an_answer())
    (row,) = journal.audit.history(namespace="team", model_key="forest")
    assert (row.fits, row.pruned_fits) == (6, 6 - len(ran))
    assert row.pruned_fits > 0
    watched = journal.live.watched("team", "search-a")
    assert watched.pruned == row.pruned_fits
    assert len(watched.marks) == len(ran)
