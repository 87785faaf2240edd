"""Whatever happens to the pods of a search, in whatever order: each cell ends with exactly one result, and none is lost."""

import itertools
import os
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.journal.makers import Pod, a_preflight, a_result, a_search, an_answer
from tests.journal.test_walk import block
from tuningjob.journal.records import Block, Cell, CellIdentity, Next, SearchState
from tuningjob.journal.sql import SqlJournal

pytestmark = pytest.mark.slow

PODS = 4


def identity_of(cell: Cell) -> str:
    """Of a cell in a grid whose candidates keep their numbers when it is extended."""
    return f"{cell.candidate:016x}{cell.split:016x}"


class LifeOfASearch(RuleBasedStateMachine):
    """Pods claim, report in part and twice, lose replies, die, leave, are given up; the grid is extended, the search deleted.

    The model: which cells each index holds, how often each was reported, what was ever acknowledged, who died of what.
    """

    journal: SqlJournal  # of the test that runs the machine
    numbers = itertools.count()
    indexes = st.integers(0, PODS - 1)

    @initialize(
        sizes=st.lists(st.integers(1, 4), min_size=1, max_size=3),
        with_blocks=st.booleans(),
        splits=st.integers(1, 4),
        pods=st.integers(1, PODS),
        slots=st.integers(1, 3),
    )
    def open(self, sizes: list[int], with_blocks: bool, splits: int, pods: int, slots: int) -> None:
        self.slots, self.splits, self.planned = slots, splits, pods
        self.namespace = f"namespace-{next(self.numbers)}"
        walked = block(*sizes, order=tuple(reversed(range(len(sizes)))))
        self.known: set[Cell] = set()
        size = 1
        for each in sizes:
            size *= each
        self.begin(size, (walked,) if with_blocks else ())

    def begin(self, candidates: int, blocks: tuple[Block, ...]) -> None:
        self.new = a_search(
            f"search-{next(self.numbers)}",
            namespace=self.namespace,
            candidates=candidates,
            splits=self.splits,
            pods=self.planned,
        )
        self.journal.open_search(self.new)
        self.journal.set_preflight(self.new.id, a_preflight(blocks=blocks))
        self.claimants = [f"pod-{next(self.numbers)}" for _ in range(PODS)]
        self.holding: list[set[int]] = [set() for _ in range(PODS)]
        self.held: list[set[Cell]] = [set() for _ in range(PODS)]
        self.reports: Counter[Cell] = Counter()
        self.reused: set[Cell] = set()

    @property
    def finished(self) -> set[Cell]:
        return {*self.reports, *self.reused}

    def ask(self, index: int) -> Any:
        return self.journal.claim(
            self.new.id,
            index=index,
            slots=self.slots,
            holding=self.holding[index],
            claimant=self.claimants[index],
        ).unit

    def result(self, cell: Cell, **changes: Any) -> Any:
        return a_result(cell, identity=identity_of(cell), **changes)

    @rule(index=indexes)
    def claim(self, index: int) -> None:
        unit = self.ask(index)
        if unit is None:
            return
        others = set().union(*(cells for other, cells in enumerate(self.held) if other != index))
        assert not set(unit.cells) & others, "a cell that another index holds"
        assert not set(unit.cells) & self.finished, "a cell that is finished"
        assert len(set(unit.cells)) == len(unit.cells) > 0
        assert unit.lost in {None, unit.cells[0]}
        self.holding[index].add(unit.id)
        self.held[index] |= set(unit.cells)

    @rule(index=indexes)
    def claim_and_lose_the_reply(self, index: int) -> None:
        lost, again = self.ask(index), self.ask(index)
        assert again == lost
        if lost is not None:
            self.held[index] |= set(lost.cells)

    @rule(index=indexes, data=st.data())
    def report_some(self, index: int, data: st.DataObject) -> None:
        open_cells = sorted(self.held[index] - self.finished)
        cells = data.draw(st.lists(st.sampled_from(open_cells), unique=True)) if open_cells else []
        results = [self.result(cell) for cell in cells]
        assert self.journal.report(self.new.id, index=index, results=results) == len(cells)
        self.reports.update(cells)

    @precondition(lambda self: self.finished)
    @rule(index=indexes, data=st.data())
    def report_again(self, index: int, data: st.DataObject) -> None:
        cell = data.draw(st.sampled_from(sorted(self.finished)))
        changed = self.result(cell, test_scores={"accuracy": -1.0})
        assert self.journal.report(self.new.id, index=index, results=[changed]) == 0
        self.reports[cell] += 1

    @rule(index=indexes)
    def reuse(self, index: int) -> None:
        cells = sorted(self.held[index] - self.finished)
        wanted = [CellIdentity(candidate=c.candidate, split=c.split, identity=identity_of(c)) for c in cells]
        taken = set(self.journal.reuse(self.new.id, index=index, cells=wanted))
        assert taken == set(cells) & self.known
        self.reused |= taken

    @rule(index=indexes)
    def die_and_be_replaced(self, index: int) -> None:
        self.holding[index] = set()
        self.claimants[index] = f"pod-{next(self.numbers)}"

    @rule(index=indexes)
    def leave_and_be_replaced(self, index: int) -> None:
        self.journal.leave(self.new.id, index=index)
        self.die_and_be_replaced(index)

    @rule(index=indexes)
    def be_given_up(self, index: int) -> None:
        self.journal.give_back(self.new.id, index=index)
        self.die_and_be_replaced(index)
        self.held[index] = set()

    @rule(more=st.integers(0, 4), forgotten=st.booleans())
    def be_replaced_by_an_extended_grid(self, more: int, forgotten: bool) -> None:
        self.known |= self.finished
        if forgotten:
            self.journal.delete(self.new.id)
        self.begin(self.new.candidates + more, ())

    @invariant()
    def counts_agree(self) -> None:
        if not hasattr(self, "new"):
            return
        progress = self.journal.progress(self.new.id)
        assert (progress.done, progress.reused) == (len(self.finished), len(self.reused))
        counts = Counter(self.reports[cell] for cell in self.finished)
        assert self.journal.report_counts(self.new.id) == dict(counts)
        whole = [c for c in range(self.new.candidates) if {Cell(c, s) for s in range(self.splits)} <= self.finished]
        assert (progress.best is not None) == bool(whole)
        if progress.best is not None:
            assert progress.best.index == min(whole, key=lambda candidate: abs(candidate - 3))

    def teardown(self) -> None:
        if not hasattr(self, "new"):
            return
        # The three others never come back; what they held goes to the one that is left.
        for index in range(1, PODS):
            self.journal.give_back(self.new.id, index=index)
        last = Pod(self.journal.view(self.new.id))
        assert not set(last.work()) & self.finished, "a cell that was acknowledged came again"
        results = list(self.journal.results(self.new.id))
        assert [result.cell for result in results] == [
            Cell(c, s) for c in range(self.new.candidates) for s in range(self.splits)
        ]
        assert [replace(result, identity=None) for result in results] == [a_result(result.cell) for result in results]
        assert last.asks() is Next.FINISH
        self.journal.complete(self.new.id, an_answer())
        assert self.journal.search(self.new.id).state is SearchState.COMPLETE


def test_in_whatever_order_things_happen_every_cell_ends_with_exactly_one_result(journal: SqlJournal) -> None:
    machine = type("Life", (LifeOfASearch,), {"journal": journal})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("TUNINGJOB_EXAMPLES", "40")),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
