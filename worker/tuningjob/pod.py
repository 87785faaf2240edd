"""A worker pod: `python -m tuningjob.pod`, one completion index of the Job.

Reads its environment (spec.wellknown), takes part in the one search that its token is for, and says by its exit code what
Kubernetes is to do: see ExitCode.
"""

import os
import signal

from tuningjob.spec.wellknown import ExitCode
from tuningjob.threads import cap_threads

cap_threads()  # before anything imports numpy
# The first process of a container ignores SIGTERM until it has a handler, and scikit-learn takes a second to import: whoever
# drains a node or deletes a namespace in that second would wait for the whole grace period.
signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(ExitCode.TERMINATED))

# ruff: noqa: E402
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from tuningjob.client import HttpSearchJournal
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
from tuningjob.journal.records import Answer, Refusal, SearchState
from tuningjob.search.cells import preflight_of
from tuningjob.search.problem import prepare
from tuningjob.search.results import Results
from tuningjob.search.run import Worker
from tuningjob.search.stop import Stop, Terminated
from tuningjob.spec import load_spec, wellknown


@dataclass(frozen=True)
class Environment:
    """What the operator's Job builder gave this pod."""

    results_url: str
    token: str
    index: int
    n_jobs: int
    data_dir: Path
    ca_file: Path | None = None

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> "Environment":
        """Raises KeyError for what is missing: a pod that the operator did not make."""
        ca_file = environ.get(wellknown.ENV_CA_FILE)
        return cls(
            results_url=environ[wellknown.ENV_RESULTS_URL],
            token=Path(environ[wellknown.ENV_TOKEN_FILE]).read_text(encoding="utf-8").strip(),
            index=int(environ[wellknown.ENV_COMPLETION_INDEX]),
            n_jobs=int(environ[wellknown.ENV_N_JOBS]),
            data_dir=Path(environ.get(wellknown.ENV_DATA_DIR, "/data")),
            ca_file=Path(ca_file) if ca_file else None,
        )


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
        with stop.interruptible():  # nothing is finished yet that would have to be reported
            search = journal.search()
            if search.state is not SearchState.RUNNING:
                _say(f"the search has ended: {search.state}")
                return ExitCode.DONE
            problem = prepare(load_spec(search.spec), environment.data_dir)
            journal.set_preflight(preflight_of(problem, environment.n_jobs))
    except ManifestRefused as refused:
        return _refuse(journal, refused.problems)
    except JournalMismatch as mismatch:
        return _refuse(journal, [Problem("spec.data", "the same for every worker", str(mismatch))])
    _say(
        f"{problem.data.samples} samples × {problem.data.features} features ready in {time.monotonic() - started:.1f} s; "
        f"n_jobs {environment.n_jobs}"
    )
    warnings: Counter[str] = Counter()
    to_finish = None
    while to_finish is None:
        # of this life, not of the pod: a container that starts again is another
        claimant = uuid.uuid4().hex
        worker = Worker(journal, problem, environment.index, environment.n_jobs, claimant, stop, warnings=warnings)
        to_finish = _survive(worker)
    for text, count in warnings.most_common(20):
        _say(f"warning: {text} (×{count})")
    if to_finish:
        with tempfile.TemporaryDirectory(prefix="tuningjob-") as folder:
            _, answer, version = _finish(worker, journal, Path(folder))
        _say(f"complete: candidate {answer.best_index}, {answer.metric} {answer.best_score!r}, version {version}")
    return ExitCode.DONE


def _survive(worker: Worker) -> bool | None:
    """``worker.evaluate_all``; None if a process was killed, for lack of memory mostly, and another worker is to go on.

    As if the pod had died and come again, but at once: the journal has it as the death of this claimant. Raises WorkerDied if it
    was given nothing, so nothing is counted, and there would be no end to it.
    """
    try:
        return worker.evaluate_all()
    except WorkerDied as died:
        if not worker.has_begun:
            raise
        _say(f"{died} What it was at is tried once more, alone.")
        return None


def _finish(worker: Worker, journal: HttpSearchJournal, folder: Path) -> tuple[Results, Answer, int]:
    try:
        return worker.finish(folder, hand_in=journal.upload_all)
    except ArtifactRefused as refused:
        # another pod's files would be the same
        journal.fail(f"the results service did not take the results: {refused}")
        raise SearchFailed(str(refused)) from refused


def _refuse(journal: HttpSearchJournal, problems: list[Problem] | tuple[Problem, ...]) -> int:
    for problem in problems:
        _say(str(problem))
    journal.refuse(Refusal(problems=tuple(asdict(problem) for problem in problems)))
    return ExitCode.REFUSED


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
