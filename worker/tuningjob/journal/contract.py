"""The journal: the truth about progress, and the memory of finished searches. Its semantics, once.

*Atomic*: every method is one transaction; a batch of cells is taken whole or not at all. What a method returned is on disk.

*Idempotent*: opening a search, reporting a cell, completing and failing may be repeated, with the same effect as once. The
first acknowledged result of a cell is the one that counts; a second report changes nothing but the count of reports.

*Claims* belong to a completion index, not to a pod or a clock. A claimant names the units that it holds; any other
unit of its index that is not finished (of the pod before it, or claimed in a reply that was lost) comes first.
Then units that were given back, then fresh ones: from where the longest fits are expected, large at first, small at the
tail, and of candidates that share the most. No two indexes hold one unit.

*Leaving* frees everything: what an index holds unfinished, when its pod leaves in good order or is known to be gone
(``give_back``), is anybody's at once, and so is the right to finish. It counts as no death, and makes none undone.

*Deaths* are counted: a unit whose claimant neither finished nor left it, and whose index now has another claimant, comes
again ``alone``. After a second death it is *starved*, if a pod of the search may have more memory than the one that died
had: nobody holds it, and it goes, alone, only to a claimant with more, to that one before anything else. If not, the
one cell that it can be (the first that is not finished) is marked as ``lost``; once that is reported, the others of the
unit get their chance, alone. So a cell is lost only at the most memory that there is. Who does not know its memory (0) has
too little for a starved unit, and starves none.

*Order*: results come by candidate, then split, whatever order they were reported in.

*Finishing* is claimed like a unit, by one index, once every cell is in; that index alone ranks, refits and completes.

*Too many failed*: a search whose spec has ``limits.maxFailedFits`` is ended, as failed, by the report that passes it: in the
same transaction, so that it depends on no one's watching how the search ends.

*Files* of a search change while it runs, and never after: the audit's row of its version tells their digests.

*Ended is ended*: a search that is complete, failed or refused never changes its state again, and hands out nothing; but for
``begin_again``, which is a laptop's, and of a complete search makes another one.

*Forgotten is not unlearned*: the cells of a deleted search may still be reused by their identity, until they are purged.

*The audit is append-only*: no version and no blessing is ever changed or removed, but for a person's name (``erase_person``).
"""

import datetime as dt
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence, Set
from contextlib import AbstractContextManager
from typing import Protocol

from tuningjob.artifacts.store import Artifact
from tuningjob.journal.records import AuditRow, Blessing, EndedBy, Erasure, NewSearch, Progress, Shares, Whereabouts
from tuningjob.protocol.records import Answer, Cell, CellIdentity, CellResult, Claim, Preflight, Refusal, Search


class Journal(ABC):
    """All searches: what the operator, the results service and the laptop use. Every method may raise JournalError."""

    @abstractmethod
    def open_search(self, new: NewSearch) -> None:
        """Open a search; one of this id that is there already stays as it is, but for its number of pods."""

    @abstractmethod
    def named(self, namespace: str, name: str) -> list[str]:
        """The ids of the searches of this name, the newest first."""

    @abstractmethod
    def begin_again(self, search_id: str, new: NewSearch) -> int:
        """Have a search run again without its failed cells; returns how many cells it keeps.

        If ``new`` has another id, it is a search of its own that begins with the cells. Raises JournalMismatch if there is
        a search of that id, and for a complete search if the id is its own, because its version means it.
        """

    @abstractmethod
    def search(self, search_id: str) -> Search:
        """Raises UnknownSearch."""

    @abstractmethod
    def progress(self, search_id: str, *, words: bool = True) -> Progress:
        """How far a search is. Cheap: made to be asked at every look at the search. Raises UnknownSearch.

        Without ``words`` nothing is read that a worker has written: no preflight, answer, refusal and failure. What an older
        release has taken in, and no worker may send any more, is None; of an answer, what the journal knows itself.
        """

    @abstractmethod
    def whereabouts(self) -> dict[str, Whereabouts]:
        """Of every search that was not deleted, however long ago it has ended: whose it is. Nothing of a worker's is read."""

    @abstractmethod
    def set_pods(self, search_id: str, pods: int) -> None:
        """So many pods share the search from now on, at least one: the sizes of units follow.

        Regions, in which costs are learnt, are cut for the number that holds at the first claim.
        """

    @abstractmethod
    def places(self) -> dict[str, tuple[str, str]]:
        """Namespace and name of every search that is not deleted, whenever it ended."""

    @abstractmethod
    def revisions(self) -> dict[str, int]:
        """Of the searches that still run or ended a short while ago: id → revision. Cheap: made to be polled."""

    @abstractmethod
    def check(self) -> None:
        """Raises JournalError, with the reason, if nothing could be read now. Made to be asked every few seconds."""

    @abstractmethod
    def check_writing(self) -> None:
        """Raises JournalError, with the reason, if nothing could be written now: a full disk still reads."""

    @abstractmethod
    def set_preflight(self, search_id: str, preflight: Preflight) -> None:
        """Keep the first; raises JournalMismatch for a later one of other data, other versions or other code.

        Versions and code are compared as far as both tell them.
        """

    @abstractmethod
    def claim(
        self, search_id: str, *, index: int, slots: int, holding: Set[int], claimant: str = "", memory: int = 0
    ) -> Claim:
        """The next unit for ``index``, which evaluates ``slots`` cells at a time and holds the units ``holding``.

        ``claimant`` names the process that asks, and no other: whether a unit's claimant died is told by it. Empty: nobody
        counts. In a pod ``<name of the pod>.<what tells its processes apart>``: see ``pardon``. ``memory`` is the limit of its
        pod in bytes; 0 where there is none, or nobody knows it.

        NOTHING, too, while only starved units are left that need more memory than this claimant has.
        """

    @abstractmethod
    def leave(self, search_id: str, *, index: int) -> None:
        """The claimant goes in good order: what it leaves unfinished is for anybody, and has killed nobody.

        The right to finish the search is given up, too.
        """

    @abstractmethod
    def pardon(self, search_id: str, claimants: Sequence[str]) -> None:
        """The pods of these names died of what was nobody's fault, their node's end say: it counts as no death of any unit.

        Of units that are not finished: deaths that were counted already are taken back (and with them that a unit is starved, or
        a cell to be lost), and of what such a pod still holds none will be. What was reported as lost stays.
        """

    @abstractmethod
    def reuse(self, search_id: str, *, index: int, cells: Sequence[CellIdentity]) -> tuple[Cell, ...]:
        """Take over what is known: cells of the same identity that any search of the namespace has finished without an error.

        Returns the ones that are finished by now. They count as reused, and as reported never. Raises JournalMismatch for a
        cell that was not claimed.
        """

    def report(self, search_id: str, *, index: int, results: Sequence[CellResult]) -> int:
        """Take finished cells in; returns how many were new. Raises JournalMismatch for a cell outside the search."""
        return len(self.take_in(search_id, index=index, results=results))

    @abstractmethod
    def take_in(self, search_id: str, *, index: int, results: Sequence[CellResult]) -> list[CellResult]:
        """``report``, for who wants to know which ones were new."""

    @abstractmethod
    def give_back(self, search_id: str, *, first: int) -> None:
        """The indexes from ``first`` on have no pods any more: as if each had left."""

    @abstractmethod
    def results(self, search_id: str, *, start: int = 0, limit: int | None = None) -> Iterator[CellResult]:
        """Finished cells in the order candidate, split: from the ``start``-th, at most ``limit``."""

    @abstractmethod
    def page(self, search_id: str, *, start: int, limit: int, max_bytes: int) -> list[CellResult]:
        """As ``results``, of a bounded size: one at least, if there is one, and then no more than ``max_bytes`` of them."""

    @abstractmethod
    def complete(self, search_id: str, answer: Answer) -> int:
        """End with an answer: writes the audit row, with the digests of the search's files, and returns its version.

        Raises JournalMismatch while cells are missing, ArtifactsUnavailable while a file is being put in its place.
        """

    @abstractmethod
    def check_room(self, search_id: str, name: str, size_bytes: int, shares: Shares = Shares()) -> None:  # noqa: B008  frozen
        """Whether a file of the search may begin to come in: for who would rather know before than after.

        Raises JournalMismatch for a search that has ended, ArtifactRefused and NoRoom for a share that it would exceed.
        """

    @abstractmethod
    def placing(
        self,
        search_id: str,
        file: Artifact,
        shares: Shares = Shares(),  # noqa: B008  frozen
    ) -> AbstractContextManager[None]:
        """Within it, put the file in its place; it counts as there unless an error leaves it. Raises as ``check_room``.

        In one order with ``complete``: within it the search does not complete, and of one that has ended no file is placed.
        """

    @abstractmethod
    def reused_from(self, search_id: str) -> dict[str, int]:
        """Of whom the reused cells are: the searches that evaluated them, with how many of each, the most first."""

    @abstractmethod
    def fail(self, search_id: str, text: str, *, by: EndedBy = EndedBy.WORKER, reason: str = "") -> None:
        """End without an answer. ``reason`` is one word of whoever ends it, a worker has none; ``text`` then begins with it."""

    @abstractmethod
    def refuse(self, search_id: str, refusal: Refusal) -> None:
        """End because the manifest asks for what cannot be."""

    @abstractmethod
    def delete(self, search_id: str) -> None:
        """Forget a search; its audit row stays, and its cells until they are purged."""

    @abstractmethod
    def purge(self, deleted_before: dt.datetime) -> int:
        """Remove the cells of searches that were deleted before, a slice at a time; returns how many searches went."""

    @abstractmethod
    def report_counts(self, search_id: str) -> dict[int, int]:
        """How many cells were reported once, twice, …: the proof that nothing finished is fitted again. Never: reused."""

    @abstractmethod
    def reporters(self, search_id: str) -> dict[int, int]:
        """How many cells each completion index was the first to report."""

    @property
    @abstractmethod
    def audit(self) -> "Audit":
        """The memory of finished searches, in the same database."""

    def view(self, search_id: str) -> "SearchJournal":
        """The journal as the workers of one search see it."""
        return _View(self, search_id)


class Audit(ABC):
    """The versioned memory of finished searches: ``hyperparameter_audit``, and who blessed which version when, and why.

    Every method may raise JournalError, and UnknownModel for a key or a version that is not there.
    """

    @abstractmethod
    def models(self, namespace: str) -> list[str]:
        """The model keys of a namespace, sorted."""

    @abstractmethod
    def history(self, *, namespace: str, model_key: str) -> list[AuditRow]:
        """The versions of a model key, the first one first; none for a key that is not there."""

    @abstractmethod
    def page(self, *, namespace: str, model_key: str, after: int, limit: int) -> list[AuditRow]:
        """As ``history``, no more than ``limit``, of versions higher than ``after``."""

    @abstractmethod
    def version(self, *, namespace: str, model_key: str, version: int) -> AuditRow:
        """One version."""

    @abstractmethod
    def blessed(self, *, namespace: str, model_key: str) -> AuditRow:
        """The version in use. Raises NotBlessed."""

    @abstractmethod
    def bless(self, *, namespace: str, model_key: str, version: int, who: str, why: str = "") -> Blessing:
        """Put a version into use. Of the one that is in use already: changes nothing, returns how it came to be."""

    @abstractmethod
    def rollback(self, *, namespace: str, model_key: str, who: str, why: str = "") -> Blessing:
        """Put the version into use again that was before the one in use. Raises NotBlessed if there is none."""

    @abstractmethod
    def blessings(self, *, namespace: str, model_key: str) -> list[Blessing]:
        """Every bless and rollback of a model key, the first one first."""

    @abstractmethod
    def erase_person(self, name: str) -> Erasure:
        """Have a pseudonym wherever this person is named, in every namespace; there is no way back. That it was done is kept."""

    @abstractmethod
    def keeps(self, search_id: str) -> bool:
        """Whether a version of this search was ever blessed: its files are then kept when the search is deleted."""


class SearchJournal(Protocol):
    """The journal as the workers of one search see it: over HTTP in a pod, directly on a laptop."""

    def search(self) -> Search:
        """See Journal.search; so with every other method of this name there."""

    def set_preflight(self, preflight: Preflight) -> None:
        """See Journal."""

    def claim(self, *, index: int, slots: int, holding: Set[int], claimant: str = "", memory: int = 0) -> Claim:
        """See Journal."""

    def leave(self, *, index: int) -> None:
        """See Journal."""

    def reuse(self, *, index: int, cells: Sequence[CellIdentity]) -> tuple[Cell, ...]:
        """See Journal."""

    def report(self, *, index: int, results: Sequence[CellResult]) -> int:
        """See Journal."""

    def results(self) -> Iterator[CellResult]:
        """Every finished cell, in order."""

    def complete(self, answer: Answer) -> int:
        """See Journal."""

    def fail(self, reason: str) -> None:
        """See Journal."""

    def refuse(self, refusal: Refusal) -> None:
        """See Journal."""


class _View:
    def __init__(self, journal: Journal, search_id: str) -> None:
        self._journal = journal
        self._id = search_id

    def search(self) -> Search:
        return self._journal.search(self._id)

    def set_preflight(self, preflight: Preflight) -> None:
        self._journal.set_preflight(self._id, preflight)

    def claim(self, *, index: int, slots: int, holding: Set[int], claimant: str = "", memory: int = 0) -> Claim:
        return self._journal.claim(
            self._id, index=index, slots=slots, holding=holding, claimant=claimant, memory=memory
        )

    def leave(self, *, index: int) -> None:
        self._journal.leave(self._id, index=index)

    def reuse(self, *, index: int, cells: Sequence[CellIdentity]) -> tuple[Cell, ...]:
        return self._journal.reuse(self._id, index=index, cells=cells)

    def report(self, *, index: int, results: Sequence[CellResult]) -> int:
        return self._journal.report(self._id, index=index, results=results)

    def results(self) -> Iterator[CellResult]:
        return self._journal.results(self._id)

    def complete(self, answer: Answer) -> int:
        return self._journal.complete(self._id, answer)

    def fail(self, reason: str) -> None:
        self._journal.fail(self._id, reason)

    def refuse(self, refusal: Refusal) -> None:
        self._journal.refuse(self._id, refusal)
