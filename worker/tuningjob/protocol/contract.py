"""The journal's semantics. The journal is the truth about progress, and the memory of finished searches.

*Atomic*: every method is one transaction; a batch of cells is taken whole or not at all. What a method returned is on disk.

*Idempotent*: opening a search, reporting a cell, completing and failing may be repeated, with the same effect as once. The
first acknowledged result of a cell is the one that counts; a second report changes nothing but the count of reports.

*Claims* belong to a completion index, not to a pod or a clock. A claimant names the units that it holds; any other
unfinished unit of its index (left by the pod before it, or claimed in a reply that was lost) comes first.
Then come units that were given back, then fresh ones: from where the longest fits are expected, large at first, small at
the tail, and of candidates that share the most. No two indexes hold one unit.

*Leaving* frees everything. When the pod of an index leaves in good order or is known to be gone (``give_back``), any index
may at once claim what it held unfinished, and the right to finish. It counts as no death, and takes none back.

*Deaths* are counted: a unit whose claimant neither finished nor left it, and whose index now has another claimant, comes
again ``alone``. After a second death it is *starved*, if a pod of the search may have more memory than the pod that died. It is
released then, and only a claimant with more memory may take it, alone and before anything else. If not, its first
unfinished cell, the only one that can have killed the pod, is marked as ``lost``; once that is reported, the others of the
unit get their chance, alone. So a cell is lost only at the most memory that there is. A claimant that reports no memory (0)
never gets a starved unit, and never causes one.

*Order*: results come by candidate, then split, however they were reported.

*Finishing* is claimed like a unit, by one index, once every cell is in; that index alone ranks, refits and completes.

*Stages*: the rows of a search may depend on the results before them. Once every cell is in, the index to which finishing falls
may open more rows instead (``open_stage``), which are then claimed as the others were. A claimant that says how many rows it
knows is asked to wait meanwhile, and is told to fetch the new rows when they are there.

*Pruned* cells (``spec.prune``) are reported as any others are, and have no scores. Each claimant decides which of its cells
to prune. It uses the best mean and the scores that come with its claims, the best mean in the replies to its reports, and its own
results. Later reports cannot make its decisions wrong, because the best mean only grows. Such a search is walked candidate
after candidate, so that means are known early.

*Too many failed*: the report that exceeds the spec's ``limits.maxFailedFits`` ends the search as failed, in the same transaction,
so that the end needs no process that watches for it. Fits of the defaults (``baseline``) do not count.

*Files* of a search change while it runs, and never after: the audit's row of its version has their digests.

*Ended is ended*: a search that is complete, failed or refused never changes its state again, and hands out nothing. The one
exception is a laptop's ``begin_again``: it has a search that failed go on, and makes a new one of a complete search.

*Forgotten is not unlearned*: the cells of a deleted search may still be reused by their identity, until they are purged.

*The audit is append-only*: no version and no blessing is ever changed or removed, except for a person's name (``erase_person``).
"""

from collections.abc import Iterator
from typing import Protocol

from tuningjob.protocol.records import Answer, Cell, CellResult, Claim, Preflight, Refusal, SearchRecord
from tuningjob.protocol.requests import ClaimRequest, NewStage, Report, ReportReply, ReuseRequest


class SearchJournal(Protocol):
    """The journal as the workers of one search see it: over HTTP in a pod, directly on a laptop.

    Every method may raise UnknownSearch, and JournalError.
    """

    def search(self) -> SearchRecord:
        """The search, with all that a worker must know to take part."""

    def set_preflight(self, preflight: Preflight) -> None:
        """Keep the first preflight; raises JournalMismatch for a later one of other data, splits, versions or code.

        Versions and code are compared as far as both report them. If only the data determine the number of splits, the first
        preflight says it, and nothing can be claimed before.
        """

    def claim(self, request: ClaimRequest) -> Claim:
        """The next unit for this claimant.

        The answer is NOTHING also while only starved units are left that need more memory than this claimant has.
        """

    def leave(self, *, index: int) -> None:
        """Note that the claimant leaves in good order: its unfinished cells are released, and count as no death.

        The right to finish the search is given up, too.
        """

    def reuse(self, request: ReuseRequest) -> tuple[Cell, ...]:
        """Take over cells of the same identity that any search of the namespace has finished without an error.

        Returns the ones that are finished by now. They count as reused, and as never reported. Raises JournalMismatch for a
        cell that was not claimed.
        """

    def report(self, report: Report) -> ReportReply:
        """Take finished cells in. Raises JournalMismatch for a cell outside the search."""

    def open_stage(self, stage: NewStage) -> None:
        """Open more rows; a repetition, or a call after the end, changes nothing.

        Raises JournalMismatch for a search that does not go by stages, whose cells are not all in, or that would have more fits
        than its spec allows.
        """

    def results(self) -> Iterator[CellResult]:
        """Every finished cell, in the order candidate, split."""

    def complete(self, answer: Answer) -> int:
        """End with an answer: writes the audit row, with the digests of the search's files, and returns its version.

        Raises JournalMismatch while cells are missing, ArtifactsUnavailable while a file is being put in its place.
        """

    def fail(self, reason: str) -> None:
        """End the search without an answer, with the worker's reason."""

    def refuse(self, refusal: Refusal) -> None:
        """End the search because its manifest cannot be searched."""
