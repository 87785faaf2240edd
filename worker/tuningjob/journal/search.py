"""One search in SQL as its workers see it: what they ask of it, and what they report."""

import datetime as dt
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from sqlalchemy import Connection, Row, bindparam, select
from typing_extensions import override

from tuningjob.errors import JournalMismatch
from tuningjob.journal import files, rows
from tuningjob.journal.audit import remember
from tuningjob.journal.cells import Cells
from tuningjob.journal.claims import Claims, walk_of
from tuningjob.journal.database import Database
from tuningjob.journal.records import TOO_MANY_FAILED_FITS, UNKNOWN_SPLITS, Best, EndedBy
from tuningjob.journal.schema import cells, searches
from tuningjob.journal.values import bounded_text, storable
from tuningjob.journal.walk import is_sound, is_walked_apart
from tuningjob.protocol.code import first_few, other_code
from tuningjob.protocol.contract import SearchJournal
from tuningjob.protocol.records import (
    MOST_KNOWN,
    Answer,
    Cell,
    CellIdentity,
    CellResult,
    Claim,
    KnownScore,
    Next,
    Preflight,
    Refusal,
    SearchRecord,
    SearchState,
    Standing,
    Unit,
)
from tuningjob.protocol.requests import ClaimRequest, NewStage, Report, ReportReply, ReuseRequest

_PAGE: Final = 5_000
_FEW: Final = 64
_MAX_CELL: Final = 512 * 2**10
# The fields of spec.search that make a search go by stages, and those that make scores of two stages not comparable.
_STAGED: Final = frozenset({"halving", "refine"})
_APART: Final = frozenset({"halving"})
_MOST_CELLS: Final = 2**63 - 1
_LIMITING: Final = (searches.c.spec, searches.c.candidates, searches.c.splits, searches.c.preflight)
_BEST: Final = select(searches.c.best_index, searches.c.best_score).where(searches.c.id == bindparam("search"))
# Built once, because thousands of cells pass through them.
_COUNT: Final = (
    searches.update()
    .where(searches.c.id == bindparam("search"))
    .values(
        revision=searches.c.revision + 1,
        done=searches.c.done + bindparam("new"),
        failed=searches.c.failed + bindparam("more_failed"),
        reused=searches.c.reused + bindparam("more_reused"),
        pruned=searches.c.pruned + bindparam("more_pruned"),
    )
    .returning(searches.c.best_index, searches.c.best_score, searches.c.failed, searches.c.state)
)


@dataclass(frozen=True)
class TakenIn:
    """What a report brought: its ``new`` results, the ``state`` of the search by then, and the ``standing`` if it prunes."""

    new: list[CellResult]
    state: SearchState
    standing: Standing | None = None


class SqlSearch(SearchJournal):
    """``SearchJournal`` in SQL, which says what every method promises. Made by ``SqlJournal.view``."""

    def __init__(self, database: Database, search_id: str, clock: Callable[[], dt.datetime]) -> None:
        self._database = database
        self._id = search_id
        self._clock = clock

    @override
    def search(self) -> SearchRecord:
        with self._database.reading() as connection:
            row = rows.row_of(connection, self._id, rows.ALL)
        return SearchRecord(
            id=row.id,
            namespace=row.namespace,
            name=row.name,
            spec=json.loads(row.spec),
            candidates=row.candidates,
            splits=row.splits,
            state=SearchState(row.state),
            preflight=rows.from_column(Preflight, row.preflight),
        )

    @override
    def set_preflight(self, preflight: Preflight) -> None:
        with rows.locked(self._database, self._id) as (connection, row):
            first = rows.from_column(Preflight, row.preflight)
            if first is None:
                splits = _splits_of(row, preflight)
                if preflight.blocks and not is_sound(preflight.blocks, row.candidates):
                    raise JournalMismatch(
                        f"blocks: must name each of the {row.candidates} candidates once, but do not."
                    )
                shared_with = preflight.shared_with
                if shared_with is not None and not is_walked_apart(preflight.blocks, preflight.ranked, shared_with):
                    raise JournalMismatch(
                        f"shared_with: must be a candidate before a row that is walked by itself, but got {shared_with}."
                    )
                told = rows.to_column(preflight)
                rows.change(connection, row.id, preflight=told, splits=splits, started_at=self._clock())
            elif first.data_digest != preflight.data_digest:
                raise JournalMismatch(
                    f"must be data of digest {first.data_digest}, as the search began with, but got {preflight.data_digest}."
                )
            elif first.split_digest != preflight.split_digest and first.split_digest and preflight.split_digest:
                raise JournalMismatch(
                    f"must be splits of digest {first.split_digest}, as the search began with, but got {preflight.split_digest}."
                )
            elif other := other_code(first, preflight):
                raise JournalMismatch(
                    f"must be the code that the search began with, but got {first_few([each.exact for each in other])}."
                )

    @override
    def claim(self, request: ClaimRequest) -> Claim:
        wait = False
        while True:
            with rows.joined(self._database, self._id) as (connection, row):
                if row.state != SearchState.RUNNING.value:
                    return Claim(next=Next.NOTHING)
                if row.splits == UNKNOWN_SPLITS:
                    raise JournalMismatch(
                        "the number of splits must be told by a preflight before a claim, but was not"
                    )
                if request.rows not in {0, row.candidates}:
                    return Claim(next=Next.STAGE)
                claims = Claims(connection, row)
                if row.walk is not None:
                    unit = claims.next_unit(request, wait=wait, now=self._clock())
                    if unit is not None:
                        standing = _standing(connection, row, unit) if request.prunes else None
                        return Claim(next=Next.EVALUATE, unit=unit, standing=standing)
                    if wait and not claims.has_freed:
                        return Claim(next=self._after_the_last(connection, row, request))
            if row.walk is None:
                self._cut()
            elif not claims.has_freed:
                wait = True

    def _after_the_last(self, connection: Connection, row: Row[Any], request: ClaimRequest) -> Next:
        """What this index is to do now that nothing is left to be claimed: finish, wait for another stage, or leave."""
        otherwise, index = Next.WAIT if request.rows else Next.NOTHING, request.index
        if row.done < row.candidates * row.splits or row.finisher not in {None, index}:
            return otherwise
        return Next.FINISH if self._may_finish(connection, index) else otherwise

    @override
    def open_stage(self, stage: NewStage) -> None:
        with rows.alone(self._database, self._id) as (connection, row):
            if row.state != SearchState.RUNNING.value or row.candidates == stage.rows:
                return
            spec = json.loads(row.spec)
            most = (spec.get("limits") or {}).get("maxFits")
            if not (spec.get("search") or {}).keys() & _STAGED:
                raise JournalMismatch("a search must go by stages to have another one, but does not")
            if row.candidates != stage.known or row.done != row.candidates * row.splits or stage.rows < stage.known:
                raise JournalMismatch(f"a stage must follow {row.candidates} finished rows, but got {stage}")
            if most is not None and stage.rows * row.splits > most:
                raise JournalMismatch(f"a search must have at most {most} fits, but got {stage.rows * row.splits}")
            if spec["search"].keys() & _APART:  # with more of the resource a candidate has other scores
                rows.change(connection, row.id, best_index=None, best_score=None)
            Claims(connection, row).open_stage(stage.rows)

    def _cut(self) -> None:
        """Cut the regions, in a transaction of its own, because it locks the search before them."""
        with rows.locked(self._database, self._id) as (connection, row):
            if row.walk is None:
                Claims(connection, row).cut()

    def _may_finish(self, connection: Connection, index: int) -> bool:
        row = rows.locked_row(connection, self._id)
        if row is None or row.finisher not in {None, index} or row.state != SearchState.RUNNING.value:
            return False
        if row.finisher is None:
            rows.change(connection, self._id, finisher=index)
        return True

    @override
    def leave(self, *, index: int) -> None:
        rows.free(self._database, self._id, index, index)

    @override
    def report(self, report: Report) -> ReportReply:
        taken = self.take_in(report)
        return ReportReply(new=len(taken.new), state=taken.state, standing=taken.standing)

    def take_in(self, report: Report) -> TakenIn:
        """``report``, which also returns the results that were new."""
        with rows.joined(self._database, self._id) as (connection, row):
            by_ordinal: dict[int, CellResult] = {}
            for result in report.results:
                if result.pruned and not walk_of(row).prunes:
                    raise JournalMismatch("a pruned cell must be one of a search with spec.prune, but is not")
                said = CellResult.not_needed(result.cell) if result.pruned else result
                by_ordinal.setdefault(_ordinal(row, result.candidate, result.split), said)
            mine = Cells(connection, self._id)
            new = mine.insert(by_ordinal, index=report.index, now=self._clock())
            mine.report_again(sorted(by_ordinal.keys() - new.keys()))
            state = SearchState(row.state)
            if new:
                shared = self._share(mine, row, new, index=report.index)
                counted = _count(connection, row, new, shared=shared, reused=0)
                state = SearchState(counted.state)
                errors = (result.error for result in new.values() if result.error is not None)
                error = next(errors, None)
                if error is not None and self._ends_by_failures(connection, counted.failed, error):
                    state = SearchState.FAILED
            prunes = row.walk is not None and walk_of(row).prunes
            return TakenIn(list(new.values()), state, _standing(connection, row) if prunes else None)

    def _share(self, mine: Cells, row: Row[Any], new: Mapping[int, CellResult], *, index: int) -> dict[int, CellResult]:
        """Copy new results to the row that shares them with their candidate; they took no time there."""
        walk = walk_of(row)
        theirs = [result for result in new.values() if result.candidate == walk.shared_with]
        copies = {
            _ordinal(row, walk.ranked, each.split): replace(
                each, candidate=walk.ranked, fit_seconds=0.0, score_seconds=0.0, identity=None
            )
            for each in theirs
        }
        return mine.insert(copies, index=index, now=self._clock(), is_shared=True)

    def _ends_by_failures(self, connection: Connection, failed: int, error: str) -> bool:
        """End the search if too many fits have failed; returns whether it ended. ``error`` is the one that its failure quotes.

        It must be called after ``_count``, whose lock on the search's row is held.
        """
        running = (searches.c.id == self._id) & (searches.c.state == SearchState.RUNNING.value)
        row = connection.execute(select(*_LIMITING).where(running)).first()
        spec = {} if row is None else json.loads(row.spec)
        most = (spec.get("limits") or {}).get("maxFailedFits")
        if row is None or most is None or failed <= most:
            return False
        first = rows.from_column(Preflight, row.preflight)
        if spec.get("baseline") and first is not None and 0 < first.ranked < row.candidates:
            # fits of the defaults come after the candidates and do not count, because the user may not have asked for them
            defaults = range(first.ranked * row.splits, (first.ranked + 1) * row.splits)
            failed -= Cells(connection, self._id).failed(defaults)
            if failed <= most:
                return False
        told = f"{failed} fits failed, and spec.limits.maxFailedFits is {most}. One of them ended with:\n{error}"
        rows.change(
            connection,
            self._id,
            state=SearchState.FAILED.value,
            finished_at=self._clock(),
            failure=storable(f"{TOO_MANY_FAILED_FITS}: {told}"),
            ended_by=EndedBy.JOURNAL.value,
            end_reason=TOO_MANY_FAILED_FITS,
        )
        return True

    @override
    def reuse(self, request: ReuseRequest) -> tuple[Cell, ...]:
        # known cells are looked up before anything is locked, because that may take long
        with self._database.reading() as connection:
            whole = rows.row_of(connection, self._id)
            known = Cells(connection, self._id).known(whole.namespace, {each.identity for each in request.cells})
        # the fit is the same, but another metric may have decided in the search that it is from
        first = json.loads(whole.spec).get("refit") if known else None
        with rows.joined(self._database, self._id) as (connection, row):
            wanted: dict[int, CellIdentity] = {}
            for each in request.cells:
                wanted.setdefault(_ordinal(row, each.candidate, each.split), each)
            mine = Cells(connection, self._id)
            found = {
                ordinal: (each, *known[each.identity]) for ordinal, each in wanted.items() if each.identity in known
            }
            new = mine.insert(
                {
                    ordinal: replace(
                        result,
                        candidate=each.candidate,
                        split=each.split,
                        test_scores=_with_first(first, result.test_scores),
                    )
                    for ordinal, (each, _, result) in found.items()
                },
                index=request.index,
                now=self._clock(),
                sources={ordinal: source for ordinal, (_, source, _) in found.items()},
            )
            if new:
                shared = self._share(mine, row, new, index=request.index)
                _count(connection, row, new, shared=shared, reused=len(new))
            return tuple(Cell(*divmod(ordinal, row.splits)) for ordinal in sorted(mine.finished(list(wanted))))

    @override
    def results(self, *, start: int = 0, limit: int | None = None) -> Iterator[CellResult]:
        with self._database.reading() as connection, self._found(connection, start, limit, _PAGE) as found:
            for result, _ in found:
                yield result

    def page(self, *, start: int, limit: int, max_bytes: int) -> list[CellResult]:
        """A page of ``results``: at least one if there is one, and beyond that no more than ``max_bytes``."""
        page: list[CellResult] = []
        size = 0
        with self._database.reading() as connection, self._found(connection, start, limit, _FEW) as found:
            for result, length in found:
                size += length
                if page and size > max_bytes:
                    break
                page.append(result)
        return page

    @contextmanager
    def _found(
        self, connection: Connection, start: int, limit: int | None, at_once: int
    ) -> Iterator[Iterator[tuple[CellResult, int]]]:
        """Yield results in chunks, each result with its size in bytes."""
        row = rows.row_of(connection, self._id)
        text = bounded_text(cells.c.result, _MAX_CELL)
        query = select(cells.c.ordinal, text).where(cells.c.search_id == self._id).order_by(cells.c.ordinal)
        # Once every cell is in, the start-th one is that of ordinal `start`: a seek, where OFFSET would read all before it.
        gapless = row.done == row.candidates * row.splits
        query = query.where(cells.c.ordinal >= start) if gapless else query.offset(start)
        # also closed if a reader stops early, because Postgres keeps an open cursor
        with connection.execution_options(yield_per=at_once).execute(query.limit(limit)) as found:
            yield ((_result_of(*each, row.splits), len(each[1] or "")) for each in found)

    @override
    def complete(self, answer: Answer) -> int:
        with rows.locked(self._database, self._id) as (connection, row):
            if row.state == SearchState.COMPLETE.value:
                return int(row.model_version)
            if row.state != SearchState.RUNNING.value:
                raise JournalMismatch(f"the search must be running, but got {row.state}")
            total = row.candidates * row.splits
            if row.done != total or not total:
                raise JournalMismatch(f"a search must have all its {total} cells to be complete, but got {row.done}")
            now = self._clock()
            placed = files.settled(connection, row.id, now)
            version = remember(
                connection, row, answer, now, preflight=rows.from_column(Preflight, row.preflight), placed=placed
            )
            rows.change(
                connection,
                row.id,
                state=SearchState.COMPLETE.value,
                finished_at=now,
                answer=rows.to_column(answer),
                ended_by=EndedBy.WORKER.value,
                model_version=version,
            )
            return version

    @override
    def fail(self, reason: str) -> None:
        self._end(SearchState.FAILED, failure=storable(reason), end_reason="")

    @override
    def refuse(self, refusal: Refusal) -> None:
        self._end(SearchState.REFUSED, refusal=rows.to_column(refusal))

    def _end(self, state: SearchState, **why: str) -> None:
        told = {"state": state.value, "finished_at": self._clock(), "ended_by": EndedBy.WORKER.value}
        rows.end_search(self._database, self._id, **told, **why)


def _splits_of(row: Row[Any], preflight: Preflight) -> int:
    """How many splits the search has, by its manifest or else by its first worker. Raises JournalMismatch."""
    if row.splits == UNKNOWN_SPLITS:
        if not preflight.splits:
            raise JournalMismatch("splits: must be told where only the data tell them, but were not.")
        if row.candidates * preflight.splits > _MOST_CELLS:
            raise JournalMismatch(f"splits: must make at most {_MOST_CELLS:,} cells, but got {preflight.splits}.")
        return preflight.splits
    if preflight.splits not in {0, row.splits}:
        raise JournalMismatch(f"splits: must be the {row.splits} of the manifest, but got {preflight.splits}.")
    return int(row.splits)


def _result_of(ordinal: int, text: str | None, splits: int) -> CellResult:
    found = rows.from_column(CellResult, text)
    if found is not None:
        return found
    candidate, split = divmod(ordinal, splits)
    error = "The result that an older release took in is too long to be read, or is none."
    return CellResult(
        candidate=candidate,
        split=split,
        test_scores={},
        fit_seconds=0.0,
        score_seconds=0.0,
        test_samples=0,
        error=error,
    )


def _standing(connection: Connection, row: Row[Any], unit: Unit | None = None) -> Standing:
    """The best mean of a search and, with a ``unit``, the known scores of the unit's candidates."""
    mine, splits = Cells(connection, row.id), row.splits
    best = connection.execute(_BEST, {"search": row.id}).one()
    worst = None
    if best.best_index is not None:
        worst = mine.lowest(range(best.best_index * splits, (best.best_index + 1) * splits))
    given = () if unit is None else unit.cells
    own = {cell.candidate * splits + cell.split for cell in given}
    near = sorted({cell.candidate for cell in given})
    others = (ordinal for each in near for ordinal in range(each * splits, (each + 1) * splits) if ordinal not in own)
    wanted = list(islice(others, MOST_KNOWN))
    known = mine.scores(wanted) if wanted else {}
    return Standing(
        best=best.best_score if worst is not None else None,
        worst=worst,
        scores=tuple(
            KnownScore(candidate=ordinal // splits, split=ordinal % splits, score=score)
            for ordinal, score in known.items()
        ),
    )


def _with_first(metric: str | None, scores: dict[str, float]) -> dict[str, float]:
    return {metric: scores[metric], **scores} if metric is not None and metric in scores else scores


def _ordinal(row: Row[Any], candidate: int, split: int) -> int:
    """A cell's place in the order of results. Raises JournalMismatch for a cell that the search does not have."""
    if not (candidate < row.candidates and split < row.splits):
        raise JournalMismatch(f"a reported cell must be one that was claimed, but got {Cell(candidate, split)}")
    return int(candidate * row.splits + split)


def _count(
    connection: Connection,
    row: Row[Any],
    new: Mapping[int, CellResult],
    *,
    shared: Mapping[int, CellResult],
    reused: int,
) -> Row[Any]:
    """Record what new cells change: their units, the known cost of their regions, and the search, in this order.

    ``shared`` cells came with them and belong to no unit. Returns the search's state by now, and how many of its cells failed.
    """
    walk, claims = walk_of(row), Claims(connection, row)
    places = {walk.place(result.cell): result for result in new.values()}
    claims.finished(list(places))
    evaluated = {place: result for place, result in places.items() if not result.pruned}
    if evaluated and not reused:
        claims.measured({place: result.fit_seconds + result.score_seconds for place, result in evaluated.items()})
    failed = sum(result.error is not None for result in (*new.values(), *shared.values()))
    counts = {
        "search": row.id,
        "new": len(new) + len(shared),
        "more_failed": failed,
        "more_reused": reused,
        "more_pruned": len(places) - len(evaluated),
    }
    found = connection.execute(_COUNT, counts).one()
    # from here on this transaction holds the search's row, and sees what others brought before
    before = None if found.best_index is None else Best(index=found.best_index, score=found.best_score)
    candidates = {result.candidate for result in new.values() if walk.ranks(result.candidate)}
    best = Cells(connection, row.id).best(candidates, row.splits, before)
    if best is not None:
        mine = searches.update().where(searches.c.id == row.id)
        connection.execute(mine.values(best_index=best.index, best_score=best.score))
    return found
