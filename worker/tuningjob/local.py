"""A search on this machine: processes instead of pods, the journal in SQLite beside the results.

``output`` has the journal, ``searches/<id>/`` with the files of each search, and links to the files of the last run. The files of
a search never change, because a version in the audit refers to them. Only the user removes anything.
"""

import fcntl
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Final

from tuningjob.artifacts.store import artifact_at
from tuningjob.engine.cpus import allowed_cpus
from tuningjob.errors import JournalError, ManifestRefused, SearchFailed
from tuningjob.handed_out import hand_out
from tuningjob.journal.records import NewSearch, Progress
from tuningjob.journal.sql import SqlJournal, open_sqlite
from tuningjob.manifest import TuningJob, dump_spec
from tuningjob.manifest.wellknown import JOURNAL_FILE, RESULT_FILES, SEARCHES_FOLDER, TOLD_FILES
from tuningjob.protocol.records import Answer, CellResult, Preflight, SearchState
from tuningjob.resume import Attempt, as_begun, begin, id_of
from tuningjob.search.beside import importable
from tuningjob.search.cells import preflight_of
from tuningjob.search.pilot import PLAN_SECONDS, run_pilot
from tuningjob.search.probe import refuse_what_cannot_succeed
from tuningjob.search.problem import SearchProblem, prepare
from tuningjob.search.results import Results, gather
from tuningjob.search.run import Conclusion, Worker
from tuningjob.search.stop import Stop, Terminated
from tuningjob.sizing import KnownSize, check_limit, n_jobs_of, pods_of, size_of, size_warning, with_baseline

_LOCK_FILE: Final = ".lock"
_INDEX: Final = 0


@dataclass(frozen=True)
class FinishedSearch:
    """A finished search. ``seconds`` is the wall time of this run.

    ``kept`` cells are of earlier runs. In this run, ``fitted`` ones were evaluated, ``reused`` ones were taken over from other
    searches, and ``pruned`` ones were not needed. The remaining cells are fits of the defaults that are also a candidate's.
    """

    results: Results
    answer: Answer
    version: int
    size: KnownSize
    kept: int
    reused: int
    pruned: int
    fitted: int
    n_jobs: int
    seconds: float
    warnings: Counter[str]

    @property
    def copied(self) -> int:
        """How many cells of the defaults needed no fit in this run, because they are a candidate's."""
        return self.size.fits - self.kept - self.reused - self.pruned - self.fitted


@dataclass(frozen=True)
class Watcher:
    """Callbacks of a search.

    They are ``warned(sentence)`` before it begins, ``started(size, kept, n_jobs)`` once, ``cells(results)`` as cells finish, and
    ``reused(count)`` as cells are taken over. A search by stages calls ``started`` once for each stage, and ``paused()`` between
    two stages, when the watcher must end its threads.
    """

    warned: Callable[[str], None] = lambda _: None
    started: Callable[[KnownSize, int, int], None] = lambda _size, _kept, _n_jobs: None
    cells: Callable[[list[CellResult]], None] = lambda _: None
    paused: Callable[[], None] = lambda: None
    reused: Callable[[int], None] = lambda _: None


def run(
    manifest: TuningJob, *, folder: Path, output: Path, stop: Stop, created_by: str = "", watcher: Watcher = Watcher()
) -> FinishedSearch:
    """Search, and write the results below ``output``; data files and modules are looked for in ``folder``.

    Fits that an earlier run of the same search and the same code finished there are kept; failed ones are tried again.
    ``created_by`` is for the audit. Raises ManifestRefused, SearchFailed, JournalError, Terminated.
    """
    spec = with_baseline(manifest.spec)
    check_limit(size_of(spec), spec)
    with importable(folder):
        problem = prepare(spec, folder)
        with _gone_if_refused(output), _alone(output), _journal_gone_if_refused(output / JOURNAL_FILE):
            journal = open_sqlite(output / JOURNAL_FILE)
            try:
                if manifest.spec.baseline is None:
                    problem = as_begun(journal, problem, manifest.metadata)
                outcome, files = _run(
                    journal,
                    manifest.model_copy(update={"spec": problem.spec}),
                    problem,
                    output=output,
                    stop=stop,
                    created_by=created_by,
                    watcher=watcher,
                )
            finally:
                journal.close()
            _publish(files, output)
            return outcome


@contextmanager
def _gone_if_refused(output: Path) -> Iterator[None]:
    """A block with the folder, made if it is missing. What was made is removed if the trial fits refuse the manifest."""
    made = [path for path in (output, *output.parents) if not path.exists()]
    output.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except ManifestRefused:
        if made:
            shutil.rmtree(made[-1])
        raise


@contextmanager
def _journal_gone_if_refused(path: Path) -> Iterator[None]:
    """A block that removes a journal it made, if the manifest is refused. The caller must be the only run there."""
    was_there = path.exists()
    try:
        yield
    except ManifestRefused:
        if not was_there:
            for file in path.parent.glob(f"{path.name}*"):  # SQLite has further files beside it
                file.unlink(missing_ok=True)
        raise


def _run(
    journal: SqlJournal,
    manifest: TuningJob,
    problem: SearchProblem,
    *,
    output: Path,
    stop: Stop,
    created_by: str,
    watcher: Watcher,
) -> tuple[FinishedSearch, Path]:
    """The outcome, and the folder of its files."""
    size = problem.size
    if size_of(manifest.spec).splits is None and (warning := size_warning(size)):
        watcher.warned(warning)
    n_jobs = local_processes(manifest, size)
    preflight = preflight_of(problem, n_jobs)
    for warning in preflight.warnings:
        watcher.warned(warning)
    attempt = begin(
        journal,
        problem,
        make=lambda digest: _new_search(manifest, digest, size, output=output, created_by=created_by),
        say=watcher.warned,
        look=partial(_look, problem, stop),
    )
    view = journal.view(attempt.id)
    view.set_preflight(preflight)
    first = view.search().preflight  # an earlier release may have begun it, with separate fits of the defaults
    worker = Worker(
        journal=view,
        problem=problem,
        index=_INDEX,
        n_jobs=n_jobs,
        name=manifest.metadata.name,
        about=[("by", created_by)],
        stop=stop,
        shared_with=None if first is None else first.shared_with,
        on_reused=watcher.reused,
        on_pause=watcher.paused,
    )
    with _told_what_is_kept(journal, attempt.id, size):
        return _search(journal, attempt, worker, size=size, output=output, watcher=watcher)


def _look(problem: SearchProblem, stop: Stop) -> None:
    with stop.interruptible():
        refuse_what_cannot_succeed(problem)


@contextmanager
def _told_what_is_kept(journal: SqlJournal, search_id: str, size: KnownSize) -> Iterator[None]:
    """A block that, if the search is asked to stop within it, says what the journal has by then."""
    try:
        yield
    except Terminated as stopped:
        stopped.kept, stopped.fits = journal.progress(search_id).done, size.fits
        raise


@dataclass(frozen=True)
class SearchForecast:
    """What a search would be, by its size, preflight and pilot; nothing is kept. ``n_jobs`` processes would run it."""

    size: KnownSize
    preflight: Preflight
    n_jobs: int


def forecast(manifest: TuningJob, *, folder: Path, stop: Stop) -> SearchForecast:
    """What ``run`` would do, and what it would cost; data files and modules are looked for in ``folder``.

    Raises ManifestRefused, Terminated.
    """
    spec = with_baseline(manifest.spec)
    check_limit(size_of(spec), spec)
    with importable(folder):
        with stop.interruptible():
            problem = prepare(spec, folder)
            refuse_what_cannot_succeed(problem)
            n_jobs = local_processes(manifest, problem.size)
            found = run_pilot(problem, n_jobs=n_jobs, seconds=PLAN_SECONDS, always=True)
        preflight = preflight_of(problem, n_jobs)
    return SearchForecast(
        problem.size, replace(preflight, warnings=(*preflight.warnings, *found.warnings), pilot=found.pilot), n_jobs
    )


def local_processes(manifest: TuningJob, size: KnownSize) -> int:
    """The number of processes on this machine: as many as all pods would have, within its CPUs."""
    return min(n_jobs_of(manifest.spec) * pods_of(manifest.spec, size), allowed_cpus(), size.fits)


def _new_search(manifest: TuningJob, digest: str, size: KnownSize, *, output: Path, created_by: str) -> NewSearch:
    name = manifest.metadata.name
    search_id = id_of(manifest.metadata, digest)
    return NewSearch(
        id=search_id,
        namespace=manifest.metadata.namespace,
        name=name,
        model_key=manifest.spec.model_key or name,
        spec=dump_spec(manifest.spec),
        candidates=size.rows,
        splits=size.splits,
        created_by=created_by,
        artifacts=_files_of(output, search_id).as_uri(),
    )


def _files_of(output: Path, search_id: str) -> Path:
    return output.absolute() / SEARCHES_FOLDER / search_id


def _search(
    journal: SqlJournal, attempt: Attempt, worker: Worker, *, size: KnownSize, output: Path, watcher: Watcher
) -> tuple[FinishedSearch, Path]:
    before = journal.progress(attempt.id)
    started = time.monotonic()
    fitted = 0

    def count(cells: list[CellResult]) -> None:
        nonlocal fitted
        fitted += sum(not cell.pruned for cell in cells)
        watcher.cells(cells)

    worker.on_cells = count
    has_stages = worker.problem.spec.search.has_stages
    if before.done < size.fits or (has_stages and before.state is SearchState.RUNNING):
        # the watcher may start threads, after which nothing may be forked, so it is called once the pool is there
        worker.on_start = lambda: watcher.started(_open(journal, attempt.id, size), before.done, worker.n_jobs)
        try:
            worker.evaluate_all()
        except SearchFailed as failed:
            raise SearchFailed(journal.progress(attempt.id).failure or str(failed)) from failed
    else:
        watcher.started(size, before.done, worker.n_jobs)
    after = journal.progress(attempt.id)
    ended = before
    if attempt.of is not None and after.failed == journal.progress(attempt.of).failed:
        # all that failed has failed again, so the version before is still right
        journal.delete(attempt.id)
        ended = journal.progress(attempt.of)
        worker.journal = journal.view(attempt.of)
    files = _files_of(output, ended.id)
    results, answer, version = _finished(journal, ended, worker, files)
    size = _open(journal, ended.id, size)
    outcome = FinishedSearch(
        results=results,
        answer=answer,
        version=version,
        size=size,
        kept=before.done,
        reused=after.reused - before.reused,
        pruned=after.pruned - before.pruned,
        fitted=fitted,
        n_jobs=worker.n_jobs,
        seconds=time.monotonic() - started,
        warnings=worker.warnings,
    )
    return outcome, files


def _open(journal: SqlJournal, search_id: str, size: KnownSize) -> KnownSize:
    """The size of a search, with the rows that are open by now."""
    rows = journal.view(search_id).search().candidates
    return replace(size, candidates=rows - size.beside, later=0)


def _finished(journal: SqlJournal, before: Progress, worker: Worker, files: Path) -> Conclusion:
    """Finish the search. A version that has its files is not refitted, because it refers to those files."""
    whole = all((files / name).is_file() for name in RESULT_FILES if name not in TOLD_FILES)
    if before.answer is not None and before.model_version is not None and whole:
        return Conclusion(
            gather(worker.problem, journal.view(before.id).results()), before.answer, before.model_version
        )

    def hand_in(folder: Path) -> list[str]:
        _tell(journal, before.id, folder)
        return hand_out(worker.problem.spec, worker.name, folder)

    finished = worker.finish(files, hand_in=hand_in)
    for name in RESULT_FILES:
        with suppress(OSError):  # users write where a link to it is, and must not change a version by mistake
            (files / name).chmod(0o444)
    return finished


def _tell(journal: SqlJournal, search_id: str, folder: Path) -> None:
    """Report the files, which are in their place, to the journal, so that the audit gets their digests.

    If the files of a version were removed, nothing is reported: they are made again, and the audit keeps the first ones' digests.
    """
    journal.set_files(search_id, [artifact_at(folder / name) for name in RESULT_FILES if (folder / name).is_file()])


def _publish(files: Path, output: Path) -> None:
    """Link the files of the last run in ``output`` itself: each whole, and never those of two searches at a time."""
    there = [name for name in RESULT_FILES if not _is_same(files / name, output / name)]
    # the list of the others first: if it is there, they are of one search
    for name in reversed(there):
        (output / name).unlink(missing_ok=True)
    for name in there:
        link = output / f".{name}.link"
        link.unlink(missing_ok=True)
        try:
            os.link(files / name, link)
        except FileNotFoundError:
            continue
        except OSError:  # a file system without links
            shutil.copyfile(files / name, link)
        link.replace(output / name)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


# The locks of this process. Its children inherit them and can outlive it for a moment, so each closes its copies: the same
# command, given again after a kill, must not be told that another run is at work.
_LOCKS: Final = set[IO[str]]()


def _close_locks() -> None:
    while _LOCKS:
        _LOCKS.pop().close()


os.register_at_fork(after_in_child=_close_locks)


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """Hold the lock by which one run at a time writes below ``output``; it ends with its process. Raises JournalError."""
    with (output / _LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(
                f"{output}: another run is at work there. Wait for it, or give another --output."
            ) from None
        _LOCKS.add(lock)
        try:
            yield
        finally:
            _LOCKS.discard(lock)
