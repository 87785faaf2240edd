"""A worker pod: `python -m tuningjob.pod`, one completion index of the Job.

It reads its environment (``manifest.wellknown``), takes part in the one search that its token is for, and tells Kubernetes by its
exit code what to do: see ExitCode.
"""

import os
import signal

from tuningjob.manifest.wellknown import ExitCode
from tuningjob.threads import cap_threads

cap_threads()  # before anything imports numpy
# The first process of a container ignores SIGTERM until it has a handler, and scikit-learn takes a second to import. Draining a
# node or deleting a namespace in that second would take the whole grace period.
signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(ExitCode.TERMINATED))

# ruff: noqa: E402
import sys
import tempfile
import time
import traceback
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tuningjob.errors import (
    ArtifactRefused,
    JournalError,
    JournalMismatch,
    ManifestRefused,
    Problem,
    SearchFailed,
    ServiceUnavailable,
    WorkerDied,
)
from tuningjob.handed_out import hand_out
from tuningjob.manifest import load_spec, wellknown
from tuningjob.manifest.code import CODE_PATH
from tuningjob.protocol.code import first_few, other_code
from tuningjob.protocol.records import Preflight, Refusal, SearchRecord, SearchState
from tuningjob.remote.worker import HttpSearchJournal
from tuningjob.search import pilot
from tuningjob.search.cells import preflight_of
from tuningjob.search.own_code import bring_in
from tuningjob.search.probe import refuse_what_cannot_succeed
from tuningjob.search.problem import SearchProblem, prepare
from tuningjob.search.reasons import Reason, error_text
from tuningjob.search.run import Conclusion, Worker
from tuningjob.search.sent_data import Fetch
from tuningjob.search.stop import Stop, Terminated
from tuningjob.search.urls import scratch_room
from tuningjob.sizing import n_jobs_within

# The most that the journal takes (Refusal, Preflight).
_MOST_PROBLEMS = 64
_MOST_WARNINGS = 32
_TRACEBACK_LENGTH = 2_000


@dataclass(frozen=True)
class Environment:
    """What the operator's Job builder gave this pod. ``memory_bytes`` is the container's limit, 0 if there is none.

    ``pod_name`` and ``image`` are empty if they are not to be known.
    """

    results_url: str
    token: str
    index: int
    n_jobs: int
    data_dir: Path
    ca_file: Path | None = None
    memory_bytes: int = 0
    pod_name: str = ""
    code_dir: Path = Path(CODE_PATH)
    image: str = ""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Environment":
        """Read the environment. Raises KeyError for a missing variable, as in a pod that the operator did not make."""
        ca_file = environ.get(wellknown.ENV_CA_FILE)
        return cls(
            results_url=environ[wellknown.ENV_RESULTS_URL],
            token=Path(environ[wellknown.ENV_TOKEN_FILE]).read_text(encoding="utf-8").strip(),
            index=int(environ[wellknown.ENV_COMPLETION_INDEX]),
            n_jobs=int(environ[wellknown.ENV_N_JOBS]),
            data_dir=Path(environ.get(wellknown.ENV_DATA_DIR, "/data")),
            ca_file=Path(ca_file) if ca_file else None,
            memory_bytes=int(environ.get(wellknown.ENV_MEMORY, "0")),
            pod_name=environ.get(wellknown.ENV_POD_NAME, ""),
            code_dir=Path(environ.get(wellknown.ENV_CODE_DIR, CODE_PATH)),
            image=environ.get(wellknown.ENV_IMAGE, ""),
        )

    def claimant(self) -> str:
        """A name for a worker in this life of the pod, because a container that starts again is another worker."""
        life = uuid.uuid4().hex[:12]
        return f"{self.pod_name}.{life}" if self.pod_name else life


def main() -> int:
    """Take part in the search until nothing is left."""
    environment = Environment.read(os.environ)
    stop = Stop()
    journal = HttpSearchJournal(
        environment.results_url, environment.token, ca_file=environment.ca_file, say=_say, sleep=stop.sleep
    )
    try:
        with stop.on_signals():
            return _take_part(environment, journal, stop)
    except Terminated:
        _say("asked to stop; what was finished is reported")
        return ExitCode.TERMINATED
    except SearchFailed as failed:
        _say(f"search failed: {failed}")
        return ExitCode.FAILED
    except (WorkerDied, JournalError) as error:
        _say(str(error))
        return ExitCode.CRASHED
    except ServiceUnavailable as error:
        _say(str(error))
        return ExitCode.SERVICE_UNAVAILABLE


def _take_part(environment: Environment, journal: HttpSearchJournal, stop: Stop) -> int:
    started = time.monotonic()
    try:
        with stop.interruptible():  # nothing is finished yet that must be reported
            search = journal.search()
            if search.state is not SearchState.RUNNING:
                _say(f"the search has ended: {search.state}")
                return ExitCode.DONE
            problem, preflight = _look(search, environment, _fetching(journal))
            journal.set_preflight(preflight)
    except ManifestRefused as refused:
        return _refuse(journal, refused.problems)
    except JournalMismatch as mismatch:
        return _refuse(journal, [_changed(journal.search().preflight, preflight, mismatch)])
    known = (search.preflight or preflight).pilot
    n_jobs = n_jobs_within(environment.n_jobs, environment.memory_bytes, known)
    lowered = f", lowered from {environment.n_jobs} for the pod's memory" if n_jobs < environment.n_jobs else ""
    _say(
        f"{problem.data.samples} samples × {problem.data.features} features ready in {time.monotonic() - started:.1f} s; "
        f"n_jobs {n_jobs}{lowered}"
    )
    if problem.spec.mode == "Plan":
        _say("planned: the forecast is in the TuningJob's status, and nothing runs (spec.mode: Plan)")
        return ExitCode.DONE
    warnings: Counter[str] = Counter()
    to_finish = None
    while to_finish is None:
        worker = Worker(
            journal=journal,
            problem=problem,
            index=environment.index,
            n_jobs=n_jobs,
            name=search.name,
            # a reference to the person, not the name, because a name can be removed from the audit, but not from a file
            about=[
                ("image", environment.image),
                ("by", f"see tuningjob history {problem.spec.model_key or search.name}"),
            ],
            claimant=environment.claimant(),
            memory=environment.memory_bytes,
            stop=stop,
            warnings=warnings,
        )
        to_finish = _survive(worker)
    for text, count in warnings.most_common(20):
        _say(f"warning: {text} (×{count})")
    if to_finish:
        with tempfile.TemporaryDirectory(prefix="tuningjob-") as folder:
            _, answer, version = _finish(worker, journal, Path(folder))
        for text in answer.warnings:
            _say(f"warning: {text}")
        _say(f"complete: candidate {answer.best_index}, {answer.metric} {answer.best_score!r}, version {version}")
    return ExitCode.DONE


def _fetching(journal: HttpSearchJournal) -> Fetch:
    """A function that fetches files that were sent from Python, each once, to the pod's scratch volume."""
    folder: list[Path] = []

    def fetch(sha256: str) -> Path:
        if not folder:
            folder.append(Path(tempfile.mkdtemp(prefix="tuningjob-sent-")))
        path = folder[0] / sha256
        if not path.exists():
            journal.download(sha256, path, most_bytes=scratch_room(folder[0], in_pod=True))
        return path

    return fetch


def _look(search: SearchRecord, environment: Environment, fetch: Fetch) -> tuple[SearchProblem, Preflight]:
    """The search made ready, and what this worker found; with a pilot if no worker was there before.

    Raises ManifestRefused, also for any exception of the user's own code, because another pod would get it, too.
    """
    try:
        spec = load_spec(search.spec)
        bring_in(spec.code, environment.code_dir, fetch)
        problem = prepare(spec, environment.data_dir, in_pod=True, memory_bytes=environment.memory_bytes, fetch=fetch)
        preflight = preflight_of(problem, environment.n_jobs)
        if search.preflight is not None:
            return problem, preflight
        for warning in preflight.warnings:
            _say(f"warning: {warning}")
        refuse_what_cannot_succeed(problem, memory_bytes=environment.memory_bytes)
        is_plan = problem.spec.mode == "Plan"
        found = pilot.run_pilot(
            problem,
            n_jobs=environment.n_jobs,
            seconds=pilot.PLAN_SECONDS if is_plan else pilot.RUN_SECONDS,
            memory_bytes=environment.memory_bytes,
            always=is_plan,
        )
    except ManifestRefused as refused:
        if search.preflight is not None and all(each.reason == Reason.UNREACHABLE for each in refused.problems):
            # other pods reached the data and are at work: this pod is replaced, and the search goes on
            raise ServiceUnavailable(str(refused)) from refused
        raise
    except ServiceUnavailable:
        raise
    except (Exception, SystemExit) as error:
        end = "".join(traceback.format_exception(error))[-_TRACEBACK_LENGTH:]
        must_be = "a search that can be made ready where it runs"
        raise ManifestRefused([Problem("spec", must_be, error_text(error), end, Reason.PREFLIGHT_FAILED)]) from error
    for warning in found.warnings:
        _say(f"warning: {warning}")
    warnings = (*preflight.warnings, *found.warnings)[:_MOST_WARNINGS]
    return problem, replace(preflight, warnings=warnings, pilot=found.pilot)


def _changed(first: Preflight | None, mine: Preflight, mismatch: JournalMismatch) -> Problem:
    """The refusal of a worker whose data, code or versions are not those that the first worker began with."""
    must_be = "the same for every worker"
    if first is None or first.data_digest != mine.data_digest:
        advice = "The data are not what the first worker had: keep them while a search runs."
        return Problem("spec.data", must_be, str(mismatch), advice, Reason.DATA_CHANGED)
    if first.split_digest and mine.split_digest and first.split_digest != mine.split_digest:
        advice = "The splitter divided the same data otherwise for the first worker: it must depend on data and params alone."
        return Problem("spec.crossValidation", must_be, str(mismatch), advice, Reason.SPLITS_CHANGED)
    advice = "The first worker had other code. Keep the image (name it by its digest: a tag can be moved) and what is mounted."
    got = first_few([each.exact for each in other_code(first, mine)])
    return Problem("spec.image", must_be, got, advice, Reason.CODE_CHANGED)


def _survive(worker: Worker) -> bool | None:
    """``worker.evaluate_all``; None if a process died and another worker must go on.

    The journal counts a death of this claimant, as if the pod had died and come again. Raises WorkerDied if the claimant had no
    unit, because then no death is counted, and retries would never end.
    """
    try:
        return worker.evaluate_all()
    except WorkerDied as died:
        if not worker.has_begun:
            raise
        _say(f"{died} What it was at is tried once more, alone.")
        return None


def _finish(worker: Worker, journal: HttpSearchJournal, folder: Path) -> Conclusion:
    def hand_in(files: Path) -> list[str]:
        journal.upload_all(files)
        return hand_out(worker.problem.spec, worker.name, files)

    try:
        return worker.finish(folder, hand_in=hand_in)
    except ArtifactRefused as refused:
        # another pod's files would be the same
        journal.fail(f"the results service did not take the results: {refused}")
        raise SearchFailed(str(refused)) from refused


def _refuse(journal: HttpSearchJournal, problems: list[Problem] | tuple[Problem, ...]) -> int:
    for problem in problems:
        _say(str(problem))
    journal.refuse(Refusal(problems=tuple(asdict(problem) for problem in problems[:_MOST_PROBLEMS])))
    return ExitCode.REFUSED


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
