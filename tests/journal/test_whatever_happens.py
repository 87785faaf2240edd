"""Whatever happens to the pods of a search, in whatever order: each cell ends with exactly one result, and none is lost.

A quick profile runs with the other tests; ``TUNINGJOB_EXAMPLES=1000`` runs as many as it says, on each database.
"""

import itertools
import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field, replace
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
from tuningjob.journal.records import Progress
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Block, Cell, CellIdentity, Next, SearchState, Unit
from tuningjob.protocol.requests import ClaimRequest, Report, ReuseRequest

pytestmark = pytest.mark.slow

PODS = 4
SIZES = (0, 1, 2, 4, 8)  # bytes of pods, and the most that a search may give them; 0: nobody knows, and none


@dataclass
class Given:
    """A unit that was handed out: who has it (None: nobody), with how much memory, and who died of it with how much."""

    cells: tuple[Cell, ...]
    limit: int
    index: int | None = None
    claimant: str | None = None
    memory: int = 0
    victims: list[tuple[str, int]] = field(default_factory=list)

    @property
    def deaths(self) -> int:
        """Those that count: being starved forgives all but one."""
        return self._fate[0]

    @property
    def starved(self) -> int:
        return self._fate[1]

    @property
    def _fate(self) -> tuple[int, int]:
        deaths = starved = 0
        for _, memory in self.victims:
            deaths += 1
            if deaths == 2:
                deaths, starved = (1, memory) if 0 < memory < self.limit else (2, 0)
        return deaths, starved

    def be_free(self) -> None:
        self.index = self.claimant = None


def identity_of(cell: Cell) -> str:
    """Of a cell in a grid whose candidates keep their numbers when it is extended."""
    return f"{cell.candidate:016x}{cell.split:016x}"


class LifeOfASearch(RuleBasedStateMachine):
    """Pods of different sizes claim, report in part and twice, lose replies, die, leave, are scaled away, are pardoned.

    The grid is extended, the search deleted. The model: which units each index holds, how often each cell was reported, what was
    ever acknowledged, who died of what with how much memory.
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
        limit=st.sampled_from(SIZES),
    )
    def open(self, *, sizes: list[int], with_blocks: bool, splits: int, pods: int, slots: int, limit: int) -> None:
        self.slots, self.splits, self.planned, self.limit = slots, splits, pods, limit
        self.sizes = [1] * PODS
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
            memory_limit=self.limit,
        )
        self.journal.open_search(self.new)
        self.journal.view(self.new.id).set_preflight(a_preflight(blocks=blocks))
        self.claimants = [f"pod-{next(self.numbers)}.1" for _ in range(PODS)]
        self.holding: list[set[int]] = [set() for _ in range(PODS)]
        self.given: dict[int, Given] = {}
        self.deaths = 0
        self.finisher: int | None = None
        self.reports: Counter[Cell] = Counter()
        self.reused: set[Cell] = set()
        self.seen: Progress | None = None

    @property
    def finished(self) -> set[Cell]:
        return {*self.reports, *self.reused}

    def left_of(self, unit: Given) -> tuple[Cell, ...]:
        return tuple(cell for cell in unit.cells if cell not in self.finished)

    def open_units(self) -> dict[int, Given]:
        """What was handed out and is not finished, in the order of units."""
        return {number: unit for number, unit in sorted(self.given.items()) if self.left_of(unit)}

    def held(self, index: int) -> set[Cell]:
        return {cell for unit in self.open_units().values() if unit.index == index for cell in self.left_of(unit)}

    def expected(self, index: int) -> int | None:
        """The unit that this claim must be answered with; None: a fresh one, or none."""
        name, memory = self.claimants[index], self.sizes[index]
        for number, unit in self.open_units().items():
            if unit.index != index or number in self.holding[index]:
                continue
            if unit.claimant not in {None, name}:
                unit.victims.append((unit.claimant, unit.memory))
                self.deaths += 1
            if unit.starved == 0 or unit.starved < memory:
                return number
            unit.be_free()
        free = [
            (-unit.starved, number)
            for number, unit in self.open_units().items()
            if unit.index is None and (unit.starved == 0 or unit.starved < memory)
        ]
        return min(free)[1] if free else None

    def ask(self, index: int) -> Unit | None:
        expected = self.expected(index)
        claim = self.journal.view(self.new.id).claim(
            ClaimRequest(
                index=index,
                slots=self.slots,
                holding=self.holding[index],
                claimant=self.claimants[index],
                memory=self.sizes[index],
            )
        )
        unit = claim.unit
        if unit is None:
            assert expected is None, "something was free"
            everything = len(self.finished) == self.new.candidates * self.splits
            assert (claim.next is Next.FINISH) == (everything and self.finisher in {None, index})
            if claim.next is Next.FINISH:
                self.finisher = index
            return None
        assert len(set(unit.cells)) == len(unit.cells) > 0
        assert not set(unit.cells) & self.finished, "a cell that is finished"
        if expected is None:
            known = {cell for each in self.given.values() for cell in each.cells}
            assert not set(unit.cells) & known, "a cell that others were given"
            self.given[unit.id] = Given(unit.cells, self.limit)
        else:
            assert unit.id == expected
        mine = self.given[unit.id]
        assert unit.cells == self.left_of(mine)
        assert mine.starved == 0 or mine.starved < self.sizes[index], "too little memory for it"
        assert unit.alone == (mine.deaths >= 1)
        assert unit.lost == (unit.cells[0] if mine.deaths >= 2 else None)
        at_most = [memory for _, memory in mine.victims if memory == 0 or memory >= self.limit]
        assert unit.lost is None or at_most, "lost, though a pod may have more memory than those that died"
        mine.index, mine.claimant, mine.memory = index, self.claimants[index], self.sizes[index]
        return unit

    def result(self, cell: Cell, **changes: Any) -> Any:
        return a_result(cell, identity=identity_of(cell), **changes)

    @rule(index=indexes)
    def claim(self, index: int) -> None:
        unit = self.ask(index)
        if unit is not None:
            self.holding[index].add(unit.id)

    @rule(index=indexes, most=st.integers(1, 12))
    def work(self, index: int, most: int) -> None:
        for _ in range(most):
            unit = self.ask(index)
            if unit is None:
                return
            self.report(index, unit.cells)

    @rule(index=indexes)
    def claim_and_lose_the_reply(self, index: int) -> None:
        lost, again = self.ask(index), self.ask(index)
        assert again == lost

    @rule(index=indexes, data=st.data())
    def report_some(self, index: int, data: st.DataObject) -> None:
        open_cells = sorted(self.held(index))
        cells = data.draw(st.lists(st.sampled_from(open_cells), unique=True)) if open_cells else []
        self.report(index, cells)

    def report(self, index: int, cells: Collection[Cell]) -> None:
        results = [self.result(cell) for cell in cells]
        assert self.journal.view(self.new.id).report(Report(index=index, results=results)).new == len(cells)
        self.have(cells)
        self.reports.update(cells)

    def have(self, cells: Collection[Cell]) -> None:
        for unit in self.given.values():
            if unit.deaths >= 2 and set(unit.cells) & set(cells):
                # told as lost: of the deaths until then one stays, and nobody is pardoned for it
                unit.victims = [("", 0)]

    @precondition(lambda self: self.finished)
    @rule(index=indexes, data=st.data())
    def report_again(self, index: int, data: st.DataObject) -> None:
        cell = data.draw(st.sampled_from(sorted(self.finished)))
        changed = self.result(cell, test_scores={"accuracy": -1.0})
        assert self.journal.view(self.new.id).report(Report(index=index, results=[changed])).new == 0
        self.reports[cell] += 1

    @rule(index=indexes)
    def reuse(self, index: int) -> None:
        cells = sorted(self.held(index))
        wanted = [CellIdentity(candidate=c.candidate, split=c.split, identity=identity_of(c)) for c in cells]
        taken = set(self.journal.view(self.new.id).reuse(ReuseRequest(index=index, cells=wanted)))
        assert taken == set(cells) & self.known
        self.have(taken)
        self.reused |= taken

    @rule(index=indexes, size=st.sampled_from(SIZES))
    def die_and_be_replaced(self, index: int, size: int) -> None:
        self.holding[index] = set()
        self.claimants[index] = f"pod-{next(self.numbers)}.1"
        self.sizes[index] = size

    @rule(index=indexes, sizes=st.lists(st.sampled_from(SIZES), min_size=1, max_size=6))
    def die_of_it_again_and_again(self, index: int, sizes: list[int]) -> None:
        for size in sizes:
            self.ask(index)
            self.die_and_be_replaced(index, size)

    @rule(index=indexes)
    def go_on_when_a_process_was_killed(self, index: int) -> None:
        pod, _, life = self.claimants[index].rpartition(".")
        self.holding[index] = set()
        self.claimants[index] = f"{pod}.{int(life) + 1}"

    def free(self, indexes: Collection[int]) -> None:
        for unit in self.given.values():
            if unit.index in indexes:
                unit.be_free()
        if self.finisher in indexes:
            self.finisher = None

    @rule(index=indexes, size=st.sampled_from(SIZES))
    def leave_and_be_replaced(self, index: int, size: int) -> None:
        self.journal.view(self.new.id).leave(index=index)
        self.free([index])
        self.die_and_be_replaced(index, size)

    @rule(first=indexes, size=st.sampled_from(SIZES))
    def be_scaled_away(self, first: int, size: int) -> None:
        self.journal.give_back(self.new.id, first=first)
        self.free(range(first, PODS))
        for index in range(first, PODS):
            self.die_and_be_replaced(index, size)

    @rule(pods=st.integers(0, PODS))
    def share_with_so_many(self, pods: int) -> None:
        self.journal.set_pods(self.new.id, pods)

    @rule(data=st.data())
    def pardon(self, data: st.DataObject) -> None:
        names = {unit.claimant for unit in self.given.values()} | {
            name for unit in self.given.values() for name, _ in unit.victims
        }
        pods = sorted({name.rpartition(".")[0] for name in names if name})
        pardoned = data.draw(st.lists(st.sampled_from(pods), unique=True)) if pods else ["nobody"]
        self.journal.pardon(self.new.id, pardoned)
        for unit in self.open_units().values():
            left = [victim for victim in unit.victims if victim[0].rpartition(".")[0] not in pardoned]
            self.deaths -= len(unit.victims) - len(left)
            unit.victims = left
            if unit.claimant and unit.claimant.rpartition(".")[0] in pardoned:
                unit.claimant = None

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
        evaluated = len(self.reports.keys() - self.reused)
        assert (progress.measured, progress.cell_seconds) == (evaluated, 0.75 * evaluated)

    @invariant()
    def the_operator_is_told(self) -> None:
        if not hasattr(self, "new"):
            return
        progress = self.journal.progress(self.new.id)
        units = list(self.open_units().values())
        holders = [index for index in (self.finisher, *(unit.index for unit in units)) if index is not None]
        assert progress.last_holder == max(holders, default=None)
        waiting = [unit.starved for unit in units if unit.index is None and unit.starved]
        assert (progress.starved, progress.starved_bytes) == (len(waiting), max(waiting, default=0))
        assert all(starved < self.limit for starved in waiting), "no pod will ever have enough for it"
        assert progress.deaths == self.deaths
        if self.seen is not None:
            # a claim is no news, but what it finds may be
            before = replace(self.seen, revision=progress.revision, last_holder=progress.last_holder)
            assert before == progress or progress.revision > self.seen.revision
            last, before_it = (-1 if each.last_holder is None else each.last_holder for each in (progress, self.seen))
            assert last >= before_it or progress.revision > self.seen.revision
        self.seen = progress

    def teardown(self) -> None:
        if not hasattr(self, "new"):
            return
        # The three others never come back; what they held goes to the one that is left, a pod as large as may be.
        self.journal.give_back(self.new.id, first=1)
        last = Pod(self.journal.view(self.new.id), memory=max(self.limit, 1))
        assert not set(last.work()) & self.finished, "a cell that was acknowledged came again"
        results = list(self.journal.view(self.new.id).results())
        assert [result.cell for result in results] == [
            Cell(c, s) for c in range(self.new.candidates) for s in range(self.splits)
        ]
        assert [replace(result, identity=None) for result in results] == [a_result(result.cell) for result in results]
        assert last.asks() is Next.FINISH
        self.journal.view(self.new.id).complete(an_answer())
        assert self.journal.view(self.new.id).search().state is SearchState.COMPLETE


def test_in_whatever_order_things_happen_every_cell_ends_with_exactly_one_result(journal: SqlJournal) -> None:
    machine = type("Life", (LifeOfASearch,), {"journal": journal})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=int(os.environ.get("TUNINGJOB_EXAMPLES", "15")),
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
