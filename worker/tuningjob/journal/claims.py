"""Claims in SQL: the regions and units of one search, within one transaction on it.

Locks are taken in the order units, regions, search, and within each in the order of keys. A claim passes by what another
transaction has locked (SKIP LOCKED). Only if nothing else is left it waits, in a new transaction that holds no lock yet.
"""

import bisect
import datetime as dt
import functools
import json
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from pydantic import TypeAdapter
from sqlalchemy import Connection, Row

from tuningjob.errors import JournalMismatch
from tuningjob.journal import statements
from tuningjob.journal.cells import Cells
from tuningjob.journal.deaths import (
    ALONE_FROM,
    LOST_FROM,
    DeathCount,
    Victim,
    dump_victims,
    is_of,
    load_victims,
    pardoned,
    verdict,
)
from tuningjob.journal.schema import regions, searches, units
from tuningjob.journal.units import RegionState, expected_seconds, parts_for, preferred, unit_end
from tuningjob.journal.walk import NOBODY, Walk
from tuningjob.protocol.records import Block, Cell, Preflight, Unit
from tuningjob.protocol.requests import ClaimRequest

# blocks, parts; then, as far as they are there: how many candidates are ranked, where the stage begins, the candidate that the
# next row shares its results with, and whether the search prunes
_ORDER: Final = TypeAdapter(
    tuple[tuple[Block, ...], int]
    | tuple[tuple[Block, ...], int, int]
    | tuple[tuple[Block, ...], int, int, int]
    | tuple[tuple[Block, ...], int, int, int, int]
    | tuple[tuple[Block, ...], int, int, int, int, bool]
)
_PREFLIGHT: Final = TypeAdapter(Preflight)
MOST_NOTED_DEATHS: Final = 200


@functools.lru_cache(maxsize=256)
def _walk(order: str, candidates: int, splits: int) -> Walk:
    blocks, parts, *more = _ORDER.validate_json(order)
    ranked, first, shared_with, prunes = (*more, *(0, 0, NOBODY, 0)[len(more) :])
    return Walk(blocks, candidates, splits, parts, ranked, first, shared_with, bool(prunes))


def walk_of(row: Row[Any]) -> Walk:
    """The walk of a search. Raises JournalMismatch if its regions are not cut, because then nothing was claimed yet."""
    if row.walk is None:
        raise JournalMismatch("a reported cell must be one that was claimed, but nothing was claimed yet")
    return _walk(row.walk, row.candidates, row.splits)


class Claims:
    """The claims on the search of ``row``: gives, releases, counts down and pardons its units."""

    def __init__(self, connection: Connection, row: Row[Any]) -> None:
        self._connection = connection
        self._row = row
        self.has_freed = False

    # --- giving

    def next_unit(self, request: ClaimRequest, *, wait: bool, now: dt.datetime) -> Unit | None:
        """The next unit: one that its index left, else a released one, else a fresh one. None if there is none now.

        ``wait``: wait for what others have locked, instead of passing it by. None with ``has_freed`` set: a starved unit of the
        index was released, and any index may claim it once this transaction has ended. Ask again in another transaction.
        """
        own = self._own(request, now)
        if own is not None or self.has_freed:
            return own
        unit = self._given_back(request, wait=wait)
        return unit or self._fresh(walk_of(self._row), request, wait=wait)

    def _own(self, request: ClaimRequest, now: dt.datetime) -> Unit | None:
        for found in self._connection.execute(statements.OWN, {"search": self._row.id, "index": request.index}).all():
            if found.id in request.holding:
                continue
            # the operator may give it back or pardon its claimant at this moment
            this = {"search": self._row.id, "unit": found.id, "index": request.index}
            unit = self._connection.execute(statements.HELD_BY, this).one_or_none()
            if unit is None:
                continue
            return self._resumed(unit, request, now)
        return None

    def _resumed(self, unit: Row[Any], request: ClaimRequest, now: dt.datetime) -> Unit | None:
        """Give a unit of the claimant's index again: an earlier claimant's, or its own if the reply to its claim was lost."""
        found = DeathCount(unit.deaths, unit.starved)
        has_died = bool(unit.claimant and request.claimant and unit.claimant != request.claimant)
        if has_died:
            victims = [*load_victims(unit.victims), Victim(unit.claimant, unit.memory)]
            found = verdict(victims, self._row.memory_limit)
            self._change(unit, deaths=found.deaths, starved=found.starved, victims=dump_victims(victims))
            self._note_death(unit, now)
        self.has_freed = found.starved > 0 and found.starved >= request.memory
        if self.has_freed:
            self._change(unit, holder=None, claimant=None)
        elif (unit.claimant or "", unit.memory) != (request.claimant, request.memory):
            self._change(unit, claimant=request.claimant or None, memory=request.memory)
        if has_died or self.has_freed:
            self._connection.execute(statements.CHANGED, {"search": self._row.id, "more_deaths": int(has_died)})
        return None if self.has_freed else self._unit(unit, found.deaths)

    def _note_death(self, unit: Row[Any], now: dt.datetime) -> None:
        """Note a death for the pages, up to as many as a figure can show: a worker can make up any number of claimants."""
        this = {"search": self._row.id}
        if self._connection.execute(statements.NOTED_DEATHS, this).scalar_one() < MOST_NOTED_DEATHS:
            died = {"unit_of": unit.id, "by": unit.claimant, "index": unit.holder, "now": now}
            self._connection.execute(statements.note_death(self._connection.dialect.name), {**this, **died})

    def _given_back(self, request: ClaimRequest, *, wait: bool) -> Unit | None:
        this = {"search": self._row.id, "memory": request.memory}
        unit = self._connection.execute(statements.locking(statements.GIVEN_BACK, wait=wait), this).one_or_none()
        if unit is None:
            return None
        self._change(unit, holder=request.index, claimant=request.claimant or None, memory=request.memory)
        if unit.starved:
            self._connection.execute(statements.CHANGED, {"search": self._row.id, "more_deaths": 0})
        return self._unit(unit, unit.deaths)

    def _fresh(self, walk: Walk, request: ClaimRequest, *, wait: bool) -> Unit | None:
        rows = self._connection.execute(statements.REGIONS, {"search": self._row.id}).all()
        stretches = [RegionState(row.number, row.next, row.stop, row.seconds, row.measured) for row in rows]
        piloted = None if any(stretch.measured for stretch in stretches) else self._piloted()
        seconds = expected_seconds(walk.regions, stretches, piloted)
        order = preferred(stretches, seconds)
        # while waiting, lock regions in key order: one that was emptied meanwhile stays locked during the wait for the next
        for position in sorted(order) if wait else order:
            this = {"search": self._row.id, "region": stretches[position].number}
            row = self._connection.execute(statements.locking(statements.REGION, wait=wait), this).one_or_none()
            if row is None or row.next >= row.stop:  # locked by another, or emptied by it
                continue
            stretches[position] = RegionState(row.number, row.next, row.stop, row.seconds, row.measured)
            stop = unit_end(
                walk,
                stretches,
                seconds,
                position,
                pods=self._row.pods,
                slots=request.slots,
                # a claimant that names its memory is a pod, which others may join; a laptop's one worker stays alone
                elastic=request.memory > 0,
                is_piloted=piloted is not None,
            )
            self._connection.execute(statements.TAKE, {**this, "to": stop})
            # units are disjoint pieces of the walk, so the place where one begins is its id
            piece = {"search": self._row.id, "first": row.next, "to": stop, "count": stop - row.next}
            given = {"index": request.index, "by": request.claimant or None, "bytes": request.memory}
            self._connection.execute(statements.ADD_UNIT, {**piece, **given})
            return Unit(id=row.next, cells=tuple(walk.cells(row.next, stop)))
        return None

    def _piloted(self) -> float | None:
        """The seconds that a cell takes by the pilot; None if there was no pilot."""
        preflight = self._connection.execute(statements.FOUND, {"search": self._row.id}).scalar_one()
        pilot = _PREFLIGHT.validate_json(preflight).pilot if preflight else None
        return pilot.cell_seconds.expected if pilot is not None and pilot.cells else None

    def cut(self) -> None:
        """Cut the regions. The first claim does this, because by then it is known how the candidates are best walked."""
        row = self._row
        found = _PREFLIGHT.validate_json(row.preflight) if row.preflight else None
        blocks, ranked = (found.blocks, found.ranked) if found is not None else ((), 0)
        parts = parts_for(row.pods)
        shared_with = None if found is None else found.shared_with
        known: tuple[object, ...] = (blocks, parts, ranked) if ranked else (blocks, parts)
        if json.loads(row.spec).get("prune") is not None:
            known = (blocks, parts, ranked, 0, NOBODY, True)
        elif shared_with is not None:
            known = (blocks, parts, ranked, 0, shared_with)
        order = _ORDER.dump_json(known).decode()  # type: ignore[arg-type]
        walk = _walk(order, row.candidates, row.splits)
        self._connection.execute(searches.update().where(searches.c.id == row.id).values(walk=order))
        self._add(walk)

    def open_stage(self, rows: int) -> None:
        """Open the next stage: ``rows`` in all, walked in order. The rows before are finished, so their units go."""
        search, splits, first = self._row.id, self._row.splits, self._row.candidates
        order = _ORDER.dump_json(((), parts_for(self._row.pods), 0, first)).decode()
        for table in (units, regions):
            self._connection.execute(table.delete().where(table.c.search_id == search))
        mine = searches.update().where(searches.c.id == search)
        self._connection.execute(
            mine.values(candidates=rows, walk=order, finisher=None, revision=searches.c.revision + 1)
        )
        self._add(_walk(order, rows, splits))

    def _add(self, walk: Walk) -> None:
        self._connection.execute(
            regions.insert(),
            [
                {
                    "search_id": self._row.id,
                    "number": number,
                    "start": each.start,
                    # a row that has its results from another candidate is given to no claimant
                    "next": each.stop if walk.is_shared(each.start // walk.splits) else each.start,
                    "stop": each.stop,
                }
                for number, each in enumerate(walk.regions)
            ],
        )

    def _unit(self, unit: Row[Any], deaths: int) -> Unit:
        left = self._unfinished(unit)
        lost = left[0] if deaths >= LOST_FROM else None
        return Unit(id=unit.id, cells=left, alone=deaths >= ALONE_FROM, lost=lost)

    def _unfinished(self, unit: Row[Any]) -> tuple[Cell, ...]:
        """The unfinished cells of a unit, in the order of the walk."""
        walk, splits = walk_of(self._row), self._row.splits
        ordered = {cell.candidate * splits + cell.split: cell for cell in walk.cells(unit.start, unit.stop)}
        finished = Cells(self._connection, self._row.id).finished(list(ordered))
        return tuple(cell for ordinal, cell in ordered.items() if ordinal not in finished)

    def _change(self, unit: Row[Any], **values: object) -> None:
        this = (units.c.search_id == self._row.id) & (units.c.id == unit.id)
        self._connection.execute(units.update().where(this).values(**values))

    # --- giving back

    def free(self, first: int, last: int) -> bool:
        """Release all that these indexes hold; returns whether they held anything."""
        held = {"search": self._row.id, "first": first, "last": last}
        found = self._connection.execute(statements.LOCK_HELD, held).scalars().all()
        if found:
            self._connection.execute(statements.FREE, [{"search": self._row.id, "unit": unit} for unit in found])
        return bool(found)

    def pardon(self, pods: Collection[str]) -> None:
        """Take back the deaths of units that these pods held, because Kubernetes ended the pods (see ``SqlJournal.pardon``)."""
        this = {"search": self._row.id}
        near = [unit.id for unit in self._connection.execute(statements.SUSPECTS, this) if _is_concerned(unit, pods)]
        if not near:
            return
        undone = 0
        for unit in self._connection.execute(
            statements.SUSPECTS.where(units.c.id.in_(near)).with_for_update(), this
        ).all():
            before = load_victims(unit.victims)
            after = pardoned(before, pods)
            found = verdict(after, self._row.memory_limit)
            self._change(unit, deaths=found.deaths, starved=found.starved, victims=dump_victims(after))
            if unit.claimant and is_of(unit.claimant, pods):
                self._change(unit, claimant=None)
            undone += len(before) - len(after)
            for claimant in {each.claimant for each in before} - {each.claimant for each in after}:
                self._connection.execute(statements.FORGET_DEATH, {**this, "unit_of": unit.id, "by": claimant})
        self._connection.execute(statements.CHANGED, {**this, "more_deaths": -undone})

    # --- taking in

    def finished(self, places: Sequence[int]) -> None:
        """Count down the units of new cells. Raises JournalMismatch for a cell that was never claimed."""
        near = {"search": self._row.id, "first": min(places), "last": max(places)}
        left = set(places)
        changes = []
        for unit in self._connection.execute(statements.NEAR, near):
            inside = [place for place in left if unit.start <= place < unit.stop]
            if inside:
                left.difference_update(inside)
                changes.append({"search": self._row.id, "unit": unit.id, "count": len(inside)})
        if left:
            cell = walk_of(self._row).cell(min(left))
            raise JournalMismatch(f"a reported cell must be one that was claimed, but got {cell}")
        self._connection.execute(statements.FINISHED, changes)

    def measured(self, seconds: Mapping[int, float]) -> None:
        """Add how long the cells at these places took to their regions."""
        starts = walk_of(self._row).starts
        count: Counter[int] = Counter()
        total: defaultdict[int, float] = defaultdict(float)
        for place, took in seconds.items():
            number = bisect.bisect_right(starts, place) - 1
            count[number] += 1
            total[number] += took
        changes = [
            {"search": self._row.id, "region": number, "more_seconds": total[number], "more": count[number]}
            for number in sorted(count)
        ]
        self._connection.execute(statements.MEASURED, changes)


def _is_concerned(unit: Row[Any], pods: Collection[str]) -> bool:
    victims = load_victims(unit.victims)
    return is_of(unit.claimant or "", pods) or len(pardoned(victims, pods)) < len(victims)
