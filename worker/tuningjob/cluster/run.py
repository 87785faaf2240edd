"""A search on a cluster: its progress and its answer."""

import io
import tempfile
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import pandas as pd

from tuningjob.aliases import Anything, Estimator
from tuningjob.artifacts.downloads import Sidecar
from tuningjob.cluster.access import Access, Object, UnknownPerson
from tuningjob.cluster.environment import check_kernels
from tuningjob.cluster.saying import say
from tuningjob.cluster.service import Service
from tuningjob.errors import ClusterRefused, ClusterUnavailable, SearchFailed, TuningJobError
from tuningjob.manifest import load
from tuningjob.manifest.canonical import to_yaml
from tuningjob.manifest.wellknown import (
    BEST_PARAMS_FILE,
    CV_RESULTS_CSV_FILE,
    GROUP,
    LEADERBOARD_FILE,
    MODEL_FILE,
    SIDECAR_FILE,
    VERDICT_FILE,
)
from tuningjob.protocol.audit import AuditRow

if TYPE_CHECKING:
    from tuningjob.cluster.answer import FittedSearch, PublishedAnswer

_TABLES: Final = (BEST_PARAMS_FILE, LEADERBOARD_FILE, CV_RESULTS_CSV_FILE, VERDICT_FILE)
_ENDED: Final = frozenset({"Complete", "Planned", "Failed"})
# seconds of one request for changes, and between two attempts while the API server does not answer
_WATCH_SECONDS: Final = 240
_PAUSES: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
_AGAIN_SECONDS: Final = 2.0
# the operator packs at most 8 MiB of text as a table into a ConfigMap
_MOST_BYTES: Final = 16 * 1024 * 1024
_GZIP: Final = 31
# the operator's reason for a preflight that passed with warnings
_ODD: Final = "PassedWithWarnings"


@dataclass(frozen=True)
class RunProgress:
    """How far a search is, by its TuningJob's status. As text it is one line, below the plan if that is new."""

    phase: str
    done: int = 0
    failed: int = 0
    total: int | None = None
    pods: int = 0
    best: float | None = None
    completes_at: str | None = None
    message: str = ""
    plan: str = ""  # what the operator decided, and why; empty before that
    pruned: int = 0  # how many of the done ones
    has_new_plan: bool = False  # whether it differs from the last one that was reported

    @property
    def is_over(self) -> bool:
        """Whether nothing will change any more."""
        return self.phase in _ENDED

    def __str__(self) -> str:
        return f"plan: {self.plan}\n{self.line}" if self.has_new_plan else self.line

    @property
    def line(self) -> str:
        """The progress in one line, without the plan."""
        parts = [self.phase]
        if self.total is not None:
            counts = ((self.failed, "failed"), (self.pruned, "pruned"))
            told = ", ".join(f"{count:,} {how}" for count, how in counts if count)
            parts.append(f"{self.done:,}/{self.total:,} fits" + (f" ({told})" if told else ""))
        if self.pods and not self.is_over:
            parts.append(f"{self.pods} pods" if self.pods > 1 else "1 pod")
        if self.best is not None:
            parts.append(f"best {self.best!r}")
        if self.completes_at and not self.is_over:
            parts.append(f"ends about {self.completes_at}")
        return ", ".join(parts) + (f": {self.message}" if self.message else "")

    @classmethod
    def of(cls, tuningjob: Mapping[str, Any]) -> Self:
        """The progress by a TuningJob's status; pending if no operator has seen it."""
        status = tuningjob.get("status") or {}
        progress, best, grid = (status.get(name) or {} for name in ("progress", "best", "grid"))
        return cls(
            phase=status.get("phase") or "Pending",
            done=progress.get("done", 0),
            failed=progress.get("failed", 0),
            pruned=progress.get("pruned", 0),
            total=progress.get("total", grid.get("fits")),
            pods=status.get("activePods") or 0,
            best=best.get("score"),
            completes_at=(status.get("estimate") or {}).get("completesAt"),
            message=status.get("message") or "",
            plan=_plan(status.get("plan") or {}),
        )


def _plan(plan: Mapping[str, Any]) -> str:
    if not plan:
        return ""
    pods, fits = plan.get("pods", 0), plan.get("nJobs", 0)
    size = f"of {plan.get('cpu')} CPU and {plan.get('memory')}"
    at_once = "1 fit" if fits == 1 else f"{fits} fits"
    return f"{pods} pod{'' if pods == 1 else 's'} {size}, {at_once} at once in each: {plan.get('reason')}"


class Run:
    """A search on a cluster, by its TuningJob. Made by ``Cluster.submit`` and ``Cluster.attach``.

    Every method asks the API server again, with the person's rights, and may raise ClusterRefused and ClusterUnavailable.
    """

    def __init__(self, access: Access, name: str, *, service: Service, like: Anything = None) -> None:
        self._access = access
        self._service = service
        self._like = like
        self.name = name
        self.namespace = access.namespace
        self._result: FittedSearch | None = None

    def __repr__(self) -> str:
        return f"Cluster({self.namespace!r}).attach({self.name!r})"

    def progress(self) -> RunProgress:
        """How far the search is."""
        return RunProgress.of(self._tuningjob())

    def plan(self) -> str:
        """The number and size of pods that the operator decided on, and why; empty until it has decided."""
        return self.progress().plan

    def manifest(self) -> str:
        """The manifest as the text of a file, which `tuningjob run` and `kubectl apply` take."""
        found = self._tuningjob()
        document = {name: found[name] for name in ("apiVersion", "kind")}
        return to_yaml({**document, "metadata": {"name": self.name}, "spec": found["spec"]})

    def cancel(self) -> None:
        """End the search for good. Finished fits stay in the results service, and may be reused."""
        if not self.progress().is_over:
            self._access.set_field(self.name, "cancel", value=True)

    def delete(self) -> None:
        """Delete the TuningJob and all that was made for it. Versions in the audit stay."""
        self._access.delete(self.name)

    def wait(self, *, timeout: float | None = None, tell: Callable[[RunProgress], object] | None = None) -> Self:
        """Wait until the search is over. ``tell`` is called with each progress, which has the plan: ``run.wait(tell=print)``.

        It waits for an API server that is away for a while. Ctrl-C leaves the search running and prints how to come back to it; a
        second Ctrl-C within two seconds cancels the search. Raises SearchFailed with the reason, TimeoutError.
        """
        plan = ""
        with self._detaching():
            for tuningjob in self._changes(timeout):
                progress = RunProgress.of(tuningjob)
                if tell is not None:
                    tell(replace(progress, has_new_plan=progress.plan not in {"", plan}))
                plan = progress.plan or plan
                if progress.phase == "Failed":
                    raise SearchFailed(f"{self.name}: {_reason(tuningjob)}")
                if progress.is_over:
                    return self
        raise AssertionError("unreachable: changes end with an error or never")

    def result(self) -> "FittedSearch":
        """The search as scikit-learn's ``fit`` leaves it: ``cv_results_``, ``best_params_``, …, and what it delegates
        to the model. A refined search is a GridSearchCV with the candidates of all rounds.

        The model (``best_estimator_``, and so ``predict``) is fetched from the results service when it is first needed, and
        checked against the audit. Loading a model runs the code that its file names: do it for searches of people whom you trust.
        What the manifest names is imported and constructed here. Raises ClusterRefused for a search that is not complete.
        """
        if self._result is None:
            from tuningjob.cluster.answer import fitted  # noqa: PLC0415  only a result needs scikit-learn

            tuningjob = self._complete()
            spec = load(_as_written(tuningjob)).spec
            self._result = fitted(spec, self._answer(tuningjob), like=self._like)
        return self._result

    def leave_in(self, search: Anything) -> None:
        """Leave in a search object of this package what its ``fit`` would have left; warnings of pods are given here.

        ``best_estimator_`` is fetched when it is first needed, as with ``result``.
        """
        from tuningjob.cluster.answer import fitted_in_place  # noqa: PLC0415

        tuningjob = self._complete()
        _warn(tuningjob)
        spec = load(_as_written(tuningjob)).spec
        fitted_in_place(search, spec, self._answer(tuningjob))

    def bless(self, *, why: str) -> None:
        """Put the search's version into use, under your name: requests for the parameters of its model key then get these."""
        self._service.bless(*_version(self._complete()), why=why)

    def leaderboard(self) -> pd.DataFrame:
        """The best candidates, the best one first."""
        return pd.read_csv(io.BytesIO(self._file(self._complete(), LEADERBOARD_FILE)))

    def verdict(self) -> str:
        """What was found, in words, how sure that is, and advice for the next search."""
        return self._file(self._complete(), VERDICT_FILE).decode(errors="replace")

    def write_tables(self, folder: Path) -> list[Path]:
        """Write the answer's files but the models: best parameters, leaderboard, all of ``cv_results_``, verdict."""
        tuningjob = self._complete()
        folder.mkdir(parents=True, exist_ok=True)
        written = [folder / name for name in _TABLES]
        for path in written:
            path.write_bytes(self._file(tuningjob, path.name))
        return written

    def ran_with(self) -> tuple[Sidecar | None, AuditRow | None]:
        """What the pods reported that they ran with, and the search's version in the audit; None for what is missing."""
        tuningjob = self._complete()
        told = self._published(tuningjob).get(SIDECAR_FILE)
        try:
            row = self._service.version(*_version(tuningjob))
        except TuningJobError:
            row = None
        return None if told is None else Sidecar.loads(told), row

    def logs(self, *, lines: int | None = 100) -> dict[str, str]:
        """The last lines of each pod's log, by the pod's name."""
        return {
            pod: self._access.log(pod, lines=lines) for pod in sorted(self._access.pods(f"{GROUP}/name={self.name}"))
        }

    # --- how changes are found

    def _tuningjob(self) -> Object:
        found = self._access.get(self.name)
        if found is None:
            raise ClusterRefused(
                f"{self.name}: must be a TuningJob in the namespace {self.namespace}, but there is none."
            )
        return found

    def _complete(self) -> Object:
        found = self._tuningjob()
        progress = RunProgress.of(found)
        if progress.phase == "Failed":
            raise SearchFailed(f"{self.name}: {_reason(found)}")
        if progress.phase != "Complete":
            raise ClusterRefused(f"{self.name}: must be complete, but it is not yet: {progress}. Wait for it: wait().")
        return found

    def _changes(self, timeout: float | None) -> Iterator[Object]:
        """Yield the TuningJob as it is, and then each time that it has changed. Raises TimeoutError."""
        end = None if timeout is None else time.monotonic() + timeout
        attempts = 0
        while True:
            left = _WATCH_SECONDS if end is None else end - time.monotonic()
            try:
                found = self._tuningjob()
                yield found
                if left <= 0:
                    raise TimeoutError(
                        f"{self.name}: must be over within {timeout:g} seconds, but is not: {RunProgress.of(found)}"
                    )
                seconds = max(1, min(_WATCH_SECONDS, int(left)))
                for changed in self._access.changes(self.name, found["metadata"]["resourceVersion"], seconds):
                    attempts = 0
                    if changed is None:
                        break
                    yield changed
            except (ClusterUnavailable, UnknownPerson) as error:
                is_over = end is not None and time.monotonic() >= end
                # a token may expire during the wait
                if is_over or (isinstance(error, UnknownPerson) and not self._access.is_renewed()):
                    raise
                time.sleep(_PAUSES[min(attempts, len(_PAUSES) - 1)])
                attempts += 1

    @contextmanager
    def _detaching(self) -> Iterator[None]:
        try:
            yield
        except KeyboardInterrupt:
            say(f"{self.name} goes on. Back to it: {self!r}. To cancel it: Ctrl-C once more, now.")
            try:
                time.sleep(_AGAIN_SECONDS)
            except KeyboardInterrupt:
                self.cancel()
                say(f"{self.name} is cancelled.")
            raise

    # --- files

    def _published(self, tuningjob: Object) -> Mapping[str, bytes]:
        return self._access.configmap(tuningjob["status"].get("results") or f"{self.name}-results") or {}

    def _file(self, tuningjob: Object, name: str) -> bytes:
        """A file of the answer: from its ConfigMap or, if it was too large for that, from the results service."""
        contents = self._published(tuningjob)
        if name in contents:
            return contents[name]
        if f"{name}.gz" in contents:
            return _unpacked(contents[f"{name}.gz"], name)
        with tempfile.TemporaryDirectory() as folder:
            self._service.fetch(*_version(tuningjob), Path(folder), [name])
            return (Path(folder) / name).read_bytes()

    def _answer(self, tuningjob: Object) -> "PublishedAnswer":
        from tuningjob.cluster.answer import PublishedAnswer  # noqa: PLC0415

        told = self._published(tuningjob).get(SIDECAR_FILE)
        sidecar = None if told is None else Sidecar.loads(told)
        if sidecar is not None:
            check_kernels(sidecar.kernels)
        table = self._file(tuningjob, CV_RESULTS_CSV_FILE)
        return PublishedAnswer(table, sidecar, fetch=lambda: self._model(tuningjob))

    def _model(self, tuningjob: Object) -> Estimator:
        from tuningjob.artifacts.downloads import load_model  # noqa: PLC0415

        key, number = _version(tuningjob)
        with tempfile.TemporaryDirectory() as folder:
            self._service.fetch(key, number, Path(folder), [MODEL_FILE, SIDECAR_FILE])
            say(
                f"The model, version {number} of {key}, is loaded: that runs what its file says, as its author wrote it."
            )
            return load_model(Path(folder) / MODEL_FILE)


def _as_written(tuningjob: Mapping[str, Any]) -> Object:
    return {name: tuningjob[name] for name in ("apiVersion", "kind", "metadata", "spec")}


def _version(tuningjob: Mapping[str, Any]) -> tuple[str, int]:
    """The model key and the version of a finished search."""
    number = (tuningjob.get("status") or {}).get("modelVersion")
    name = str(tuningjob["metadata"]["name"])
    if number is None:
        raise ClusterRefused(f"{name}: must have a version in the audit, but its status names none.")
    return str(tuningjob["spec"].get("modelKey") or name), int(number)


def _warn(tuningjob: Mapping[str, Any]) -> None:
    """Warn of what the pods found odd, and of how many fits failed, as scikit-learn's own fit does."""
    from sklearn.exceptions import FitFailedWarning  # noqa: PLC0415  only a result needs scikit-learn

    status = tuningjob.get("status") or {}
    for condition in status.get("conditions") or []:
        if condition["reason"] == _ODD:
            for text in condition["message"].splitlines()[1:]:
                warnings.warn(text, UserWarning, stacklevel=6)
    for text in (status.get("best") or {}).get("warnings") or []:
        warnings.warn(text, UserWarning, stacklevel=6)
    progress = RunProgress.of(tuningjob)
    if progress.failed:
        told = (
            f"{progress.failed:,} fits failed out of a total of {progress.total:,}. The score on these is set to nan."
        )
        warnings.warn(f"{told} Their errors are in the pods' logs and in the report.", FitFailedWarning, stacklevel=6)


def _reason(tuningjob: Mapping[str, Any]) -> str:
    """Why the search failed: the whole message of the condition, which is longer than the status' own."""
    status = tuningjob.get("status") or {}
    told = [each for each in status.get("conditions") or [] if each["type"] == "Failed" and each["status"] == "True"]
    return f"{told[0]['reason']}: {told[0]['message']}" if told else str(status.get("message") or "it failed")


def _unpacked(content: bytes, name: str) -> bytes:
    """The unpacked bytes; their number is bounded, because anybody with the right may have written the ConfigMap."""
    unpacker = zlib.decompressobj(wbits=_GZIP)
    try:
        found = unpacker.decompress(content, _MOST_BYTES)
    except zlib.error as error:
        raise ClusterRefused(f"{name}.gz: must be packed by gzip, but got: {error}.") from None
    if not unpacker.eof:
        raise ClusterRefused(f"{name}.gz: must be whole, and of at most {_MOST_BYTES:,} bytes, but is not.")
    return found
