"""The courier: a thread that carries messages between a worker's loop and the journal.

A request to the journal may last as long as an outage of the results service, and meanwhile the loop must collect what the engine
finishes. One thread does one errand after the other, so that their order is fixed: a claim names exactly the units whose cells
are not acknowledged yet.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Self

from tuningjob.errors import SearchFailed
from tuningjob.protocol.contract import SearchJournal
from tuningjob.protocol.records import (
    MAX_CELLS_PER_REPORT,
    Cell,
    CellIdentity,
    CellResult,
    Next,
    SearchState,
    Standing,
    Unit,
)
from tuningjob.protocol.requests import ClaimRequest, Report, ReuseRequest
from tuningjob.search.outbox import Outbox
from tuningjob.threads import see_off

# An errand that takes longer is abandoned with its thread, because the process is about to end.
_GRACE_SECONDS: Final = 1.0
# A search that has ended so needs no more results. A complete one may be sent a cell again, which changes nothing.
_ENDED_IN_VAIN: Final = frozenset({SearchState.FAILED, SearchState.REFUSED})


@dataclass(frozen=True)
class Claimed:
    """The answer to a claim. The ``known`` cells of the unit were taken over from another search.

    ``standing`` has the scores known besides the unit, in a search that prunes.
    """

    next: Next
    unit: Unit | None = None
    known: frozenset[Cell] = frozenset()
    standing: Standing | None = None


@dataclass(frozen=True)
class Sender:
    """The worker that sends a courier; ``identities`` gives the identities of those cells that have one.

    ``memory`` is the pod's limit in bytes, 0 if there is none. With ``reuse``, known results are taken over before a unit is
    evaluated. For ``rows`` and ``prunes`` see ClaimRequest.
    """

    index: int
    slots: int
    claimant: str
    identities: Callable[[Sequence[Cell]], Mapping[Cell, str]]
    reuse: bool
    memory: int = 0
    rows: int = 0
    prunes: bool = False


class Courier:
    """Delivers finished cells and fetches units in its own thread. The loop calls its methods, and none waits for the journal.

    An error of the journal's client, which has tried for as long as it may, ends the courier, and ``check`` raises it. So does
    SearchFailed, if the reply to a report says that the search has ended without an answer.
    """

    def __init__(self, journal: SearchJournal, outbox: Outbox, sender: Sender) -> None:
        self._journal = journal
        self._outbox = outbox
        self._sender = sender
        self._held: dict[int, set[Cell]] = {}  # used by the thread alone: claimed and not acknowledged
        self._work = threading.Condition()
        self._asked = False
        self._deliver_first = False
        self._closing = False
        self._answer: Claimed | None = None
        self._standing: Standing | None = None
        self._error: BaseException | None = None
        self._news = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._work:
            self._closing = True
            self._work.notify()
        see_off(self._thread, _GRACE_SECONDS)

    def send(self, results: Sequence[CellResult]) -> None:
        """Queue finished cells for delivery to the journal."""
        self._outbox.put(results)
        with self._work:
            self._work.notify()

    def ask(self, *, deliver_first: bool) -> None:
        """Queue a claim of a unit; with ``deliver_first`` only after all sent cells are acknowledged, so the answer is final."""
        with self._work:
            self._asked, self._deliver_first = True, deliver_first
            self._work.notify()

    @property
    def is_asking(self) -> bool:
        """Whether a claim has no answer yet, or one that ``answer`` has not returned."""
        with self._work:
            return self._asked or self._answer is not None

    def answer(self) -> Claimed | None:
        """The answer to ``ask``, returned once; None while there is none."""
        with self._work:
            answer, self._answer = self._answer, None
            return answer

    def standing(self) -> Standing | None:
        """The newest standing from a reply to a report, in a search that prunes, returned once; None if there is none."""
        with self._work:
            standing, self._standing = self._standing, None
            return standing

    @property
    def is_settled(self) -> bool:
        """Whether the journal has acknowledged all sent cells."""
        return not self._outbox

    @property
    def is_idle(self) -> bool:
        """Whether the courier has neither a claim nor cells to carry."""
        with self._work:
            return not self._asked and not self._outbox

    def wait(self, timeout: float) -> None:
        """Wait for the outcome of an errand, at most ``timeout`` seconds."""
        self._news.wait(timeout)
        self._news.clear()

    def check(self) -> None:
        """Raise the error that ended the courier, if any: ServiceUnavailable, JournalError, SearchFailed or Terminated."""
        if self._error is not None:
            raise self._error

    # --- in the thread

    def _run(self) -> None:
        try:
            while self._has_an_errand():
                if self._asked and not (self._deliver_first and self._outbox):
                    self._fetch()
                else:
                    self._deliver()
                self._news.set()
        except BaseException as error:  # noqa: BLE001  check() raises it in the loop
            self._error = error
            self._news.set()

    def _has_an_errand(self) -> bool:
        with self._work:
            self._work.wait_for(lambda: self._closing or self._asked or self._outbox)
            return not self._closing

    def _deliver(self) -> None:
        batch = self._outbox.first(MAX_CELLS_PER_REPORT)
        identities = self._sender.identities([result.cell for result in batch])
        named = [replace(result, identity=identities.get(result.cell)) for result in batch]
        reply = self._journal.report(Report(index=self._sender.index, results=named))
        self._outbox.remove(len(batch))
        self._let_go(result.cell for result in batch)
        with self._work:
            self._standing = reply.standing
        if reply.state in _ENDED_IN_VAIN:
            raise SearchFailed(f"the search has ended: {reply.state}")

    def _fetch(self) -> None:
        sender = self._sender
        claim = self._journal.claim(
            ClaimRequest(
                index=sender.index,
                slots=sender.slots,
                holding=frozenset(self._held),
                claimant=sender.claimant,
                memory=sender.memory,
                rows=sender.rows,
                prunes=sender.prunes,
            )
        )
        known: frozenset[Cell] = frozenset()
        if claim.unit is not None:
            self._held[claim.unit.id] = set(claim.unit.cells)
            if sender.reuse:
                known = self._taken_over(claim.unit.cells)
        with self._work:
            self._asked = False
            self._answer = Claimed(claim.next, claim.unit, known, claim.standing)

    def _taken_over(self, cells: Sequence[Cell]) -> frozenset[Cell]:
        """The cells whose results were taken over from another search of the namespace."""
        named = [
            CellIdentity(candidate=cell.candidate, split=cell.split, identity=identity)
            for cell, identity in self._sender.identities(cells).items()
        ]
        known: set[Cell] = set()
        for start in range(0, len(named), MAX_CELLS_PER_REPORT):
            batch = named[start : start + MAX_CELLS_PER_REPORT]
            known.update(self._journal.reuse(ReuseRequest(index=self._sender.index, cells=batch)))
        self._let_go(known)
        return frozenset(known)

    def _let_go(self, cells: Iterable[Cell]) -> None:
        for cell in cells:
            for unit, left in list(self._held.items()):
                left.discard(cell)
                if not left:
                    del self._held[unit]
