"""A search on this machine: processes instead of pods, the journal in SQLite beside the results."""

import fcntl
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tuningjob.engine.cpus import allowed_cpus
from tuningjob.errors import JournalError, SearchFailed
from tuningjob.journal.contract import Journal
from tuningjob.journal.records import Answer, CellResult, NewSearch, SearchState
from tuningjob.journal.sql import open_sqlite
from tuningjob.search.cells import preflight_of
from tuningjob.search.problem import SearchProblem, library_versions, prepare
from tuningjob.search.results import Results
from tuningjob.search.run import Worker
from tuningjob.search.stop import Stop
from tuningjob.sizing import Size, check_limit, n_jobs_of, pods_of, size_of
from tuningjob.spec import TuningJob, dump_spec

JOURNAL_FILE: Final = "tuning.db"
_LOCK_FILE: Final = ".lock"
_INDEX: Final = 0
# What a search is, apart from where and how wide it runs: a change of these is another search.
_IDENTITY: Final = ("estimator", "search", "crossValidation", "scoring", "returnTrainScore", "data")


@dataclass(frozen=True)
class Outcome:
    """A finished search. ``kept`` cells came from earlier runs; seconds are wall time of this one."""

    results: Results
    answer: Answer
    version: int
    size: Size
    kept: int
    n_jobs: int
    seconds: float
    warnings: Counter[str]


@dataclass(frozen=True)
class Watcher:
    """Who wants to hear of it: ``started(size, kept, n_jobs)`` once, ``cells(results)`` as they finish."""

    started: Callable[[Size, int, int], None] = lambda _size, _kept, _n_jobs: None
    cells: Callable[[list[CellResult]], None] = lambda _: None


def run(manifest: TuningJob, *, folder: Path, output: Path, stop: Stop, watcher: Watcher = Watcher()) -> Outcome:
    """Search, and write the results below ``output``; data files are looked for below ``folder``.

    What an earlier run of the same search finished there is kept. Raises ManifestRefused, SearchFailed, JournalError,
    Terminated.
    """
    size = size_of(manifest.spec)
    check_limit(size, manifest.spec)
    problem = prepare(manifest.spec, folder)
    output.mkdir(parents=True, exist_ok=True)
    with _alone(output):
        journal = open_sqlite(output / JOURNAL_FILE)
        try:
            search_id = _open(manifest, problem, journal, size)
            worker = Worker(
                journal=journal.view(search_id),
                problem=problem,
                index=_INDEX,
                n_jobs=processes_of(manifest, size),
                stop=stop,
                on_cells=watcher.cells,
            )
            return _search(journal, search_id, worker, size=size, output=output, watcher=watcher)
        finally:
            journal.close()


def processes_of(manifest: TuningJob, size: Size) -> int:
    """Processes on this machine: what the pods would have in all, within its CPUs."""
    return min(n_jobs_of(manifest.spec) * pods_of(manifest.spec, size), allowed_cpus(), size.fits)


def _open(manifest: TuningJob, problem: SearchProblem, journal: Journal, size: Size) -> str:
    """The id of the search in the journal, opened if it is a new one."""
    name = manifest.metadata.name
    search_id = f"{name}-{_identity(problem)}"
    journal.open_search(
        NewSearch(
            id=search_id,
            namespace=manifest.metadata.namespace,
            name=name,
            model_key=manifest.spec.model_key or name,
            spec=dump_spec(manifest.spec),
            candidates=size.candidates,
            splits=size.splits,
        )
    )
    return search_id


def _search(journal: Journal, search_id: str, worker: Worker, *, size: Size, output: Path, watcher: Watcher) -> Outcome:
    before = journal.progress(search_id)
    if before.state is SearchState.FAILED:
        raise SearchFailed(f"an earlier run ended so: {before.failure}\nRemove {output / JOURNAL_FILE} to try again.")
    journal.set_preflight(search_id, preflight_of(worker.problem, worker.n_jobs))
    started = time.monotonic()
    if before.done < size.fits:
        # the watcher may start threads, and after that nothing may be forked: it hears once the pool is there
        worker.on_start = lambda: watcher.started(size, before.done, worker.n_jobs)
        worker.evaluate_all()
    else:
        watcher.started(size, before.done, worker.n_jobs)
    results, answer, version = worker.finish(output)
    seconds = time.monotonic() - started
    return Outcome(results, answer, version, size, before.done, worker.n_jobs, seconds, worker.warnings)


def _identity(problem: SearchProblem) -> str:
    """A digest of what is searched, on which data, with which libraries."""
    spec = dump_spec(problem.spec)
    what = [{name: spec.get(name) for name in _IDENTITY}, problem.data.digest, library_versions()]
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()[:16]


@contextmanager
def _alone(output: Path) -> Iterator[None]:
    """One run at a time writes below ``output``. Raises JournalError. The lock dies with its process."""
    with (output / _LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise JournalError(
                f"{output}: another run is at work there. Wait for it, or give another --output."
            ) from None
        yield
