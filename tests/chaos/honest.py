"""The honest tenant, in a process of its own: it searches, and measures how it is served. ``python -m tests.chaos.honest``.

Its first line of input says where everything is, each later one names the phase that begins. It tells when it is at work; and at
the end of its input it finishes what it is at, and tells what it has seen as one line of JSON.
"""

import itertools
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.chaos.kube import TUNINGJOBS, Access, Kube
from tests.chaos.stage import answers
from tests.journal.makers import Pod, a_preflight
from tuningjob.protocol.contract import SearchJournal
from tuningjob.remote.worker import HttpSearchJournal

MODEL_KEY: Final = "heirloom"


def search_of(secret: str) -> dict[str, Any]:
    """A real search, small: 12 candidates × 5 folds, with random states. ``secret`` is in all that is kept of it."""
    return {
        "estimator": {
            "pipeline": [
                {"name": "scaler", "class": "sklearn.preprocessing.StandardScaler"},
                {"name": secret, "class": "sklearn.ensemble.ExtraTreesClassifier", "params": {"random_state": 7}},
            ]
        },
        "search": {
            "grid": {"parameters": {f"{secret}__n_estimators": [3, 6, 9], f"{secret}__max_depth": [1, 2, 3, 8]}}
        },
        "crossValidation": {"folds": 5},
        "scoring": "accuracy",
        "returnTrainScore": True,
        "data": {"loader": "sklearn.datasets.load_wine"},
        "resources": {"cpu": "1", "memory": "1Gi"},
        "parallelism": 1,
        "modelKey": MODEL_KEY,
        "baseline": False,
    }


def endless(secret: str) -> dict[str, Any]:
    """One that nobody finishes: what is claimed of it, steadily."""
    grid = {f"{secret}__min_samples_leaf": {"range": [1, 100_001]}}
    return {**search_of(secret), "search": {"grid": {"parameters": grid}}, "limits": {"maxFits": 1_000_000}}


# A claim is sent so often; and a TuningJob is created so often, to see when it has a status.
CLAIM_SECONDS: Final = 0.05
CREATE_SECONDS: Final = 1.5
AT_WORK: Final = "at work"
_PATIENCE_SECONDS: Final = 120.0


@dataclass
class Seen:
    """What came of one phase. Seconds."""

    claims: list[float] = field(default_factory=list)
    twins_claims: list[float] = field(default_factory=list)
    first_statuses: list[float] = field(default_factory=list)
    # of each search that ended in it: its uid, its name, and its phase then
    searches: list[tuple[str, str, str]] = field(default_factory=list)
    probe_misses: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Where:
    """What the honest tenant is told at its beginning. ``twin`` is a service that nobody else knows."""

    access: dict[str, str]
    namespace: str
    secret: str
    url: str
    twin_url: str
    twin_token: str
    probes: dict[str, str]


class Tenant:
    """Its four occupations are methods, each for a thread of its own."""

    def __init__(self, where: Where) -> None:
        self._where = where
        self._access = Access(**where.access)
        self._path = TUNINGJOBS.format(where.namespace)
        self._over = threading.Event()
        self._claiming = threading.Barrier(3, timeout=_PATIENCE_SECONDS)
        self._seen: dict[str, Seen] = {}
        self._phase = ""

    def enter(self, phase: str) -> None:
        self._seen.setdefault(phase, Seen())
        self._phase = phase

    def wait_until_at_work(self) -> None:
        self._claiming.wait()

    def stop(self) -> None:
        self._over.set()

    @property
    def report(self) -> dict[str, Any]:
        return {phase: asdict(seen) for phase, seen in self._seen.items()}

    @property
    def _now(self) -> Seen:
        return self._seen[self._phase]

    def _create(self, kube: Kube, spec: dict[str, Any], what: str) -> tuple[str, str]:
        """Its name, which nobody can guess, and its uid."""
        name = f"{what}-{uuid.uuid4().hex[:12]}"
        body = {
            "apiVersion": "tuningjob.dev/v1alpha1",
            "kind": "TuningJob",
            "metadata": {"name": name, "namespace": self._where.namespace},
            "spec": spec,
        }
        return name, kube.create(self._path, body)["metadata"]["uid"]

    def _until(self, what: str, probe: Any) -> Any:
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not (found := probe()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {_PATIENCE_SECONDS:g} s for {what}")
            time.sleep(0.02)
        return found

    def watch_first_statuses(self) -> None:
        with Kube(self._access) as kube:
            while not self._over.wait(CREATE_SECONDS):
                began, seen = time.monotonic(), self._now
                name, _ = self._create(kube, search_of(self._where.secret), "brief")
                self._until("a first status", lambda name=name: kube.get(f"{self._path}/{name}").get("status"))
                seen.first_statuses.append(time.monotonic() - began)
                kube.delete(self._where.namespace, name)

    def search(self) -> None:
        """One search after the other, from the manifest to the answer."""
        with Kube(self._access) as kube, tempfile.TemporaryDirectory(prefix="honest-") as folder:
            for number in itertools.count():
                if self._over.is_set() and number:
                    return
                name, uid = self._create(kube, search_of(self._where.secret), "search")
                job = self._until("its Job", lambda name=name: self._job(kube, name))
                token = self._until("its token", lambda uid=uid: kube.token_of(self._where.namespace, uid))
                code, said = self._work(job, token, Path(folder))
                if code:
                    raise RuntimeError(f"the worker of {name} ended with {code}: {said}")
                phase = self._until("its end", lambda name=name: self._ended(kube, name))
                self._now.searches.append((uid, name, phase))

    def _job(self, kube: Kube, name: str) -> dict[str, Any]:
        return kube.get(f"/apis/batch/v1/namespaces/{self._where.namespace}/jobs/{name}")

    def _ended(self, kube: Kube, name: str) -> str:
        phase = kube.get(f"{self._path}/{name}").get("status", {}).get("phase", "")
        return phase if phase in {"Complete", "Failed"} else ""

    @staticmethod
    def _work(job: dict[str, Any], token: str, folder: Path) -> tuple[int, str]:
        """A pod of the Job: its own environment, its token, its command."""
        container = job["spec"]["template"]["spec"]["containers"][0]
        told = {variable["name"]: variable["value"] for variable in container["env"] if "value" in variable}
        token_file = folder / "token"
        token_file.write_text(token)
        ours = {"TUNINGJOB_TOKEN_FILE": str(token_file), "JOB_COMPLETION_INDEX": "0", "HOME": str(folder)}
        environment = {"PATH": os.defpath, **told, **ours, "TUNINGJOB_POD_NAME": f"pod-{uuid.uuid4().hex[:6]}"}
        command = [sys.executable, *container["command"][1:]]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr[-2_000:]

    def claim(self) -> None:
        """Steadily, from the service that everybody knows."""
        with Kube(self._access) as kube:
            _, uid = self._create(kube, endless(self._where.secret), "endless")
            token = self._until("its token", lambda: kube.token_of(self._where.namespace, uid))
        with HttpSearchJournal(self._where.url, token) as journal:
            for seconds in self._claims(journal):
                self._now.claims.append(seconds)

    def claim_from_the_twin(self) -> None:
        """The same, from one that is left in peace: what this machine makes of a claim just now."""
        with HttpSearchJournal(self._where.twin_url, self._where.twin_token) as journal:
            for seconds in self._claims(journal):
                self._now.twins_claims.append(seconds)

    def _claims(self, journal: SearchJournal) -> Iterator[float]:
        """How long each took."""
        journal.set_preflight(a_preflight())
        pod = Pod(journal)
        pod.finish(pod.must_claim())
        self._claiming.wait()
        due = time.monotonic()
        while not self._over.is_set():
            began = time.monotonic()
            unit = pod.must_claim()
            yield time.monotonic() - began
            pod.finish(unit)
            due = max(due + CLAIM_SECONDS, time.monotonic())
            self._over.wait(due - time.monotonic())

    def probe(self) -> None:
        """As the kubelet does, only more often: three misses in a row, and it would start a container anew."""
        while not self._over.wait(1):
            for name, url in self._where.probes.items():
                if not answers(url, seconds=5):
                    self._now.probe_misses[name] = self._now.probe_misses.get(name, 0) + 1


@contextmanager
def at_work(tenant: Tenant) -> Iterator[None]:
    with ThreadPoolExecutor(5) as threads:
        occupations = (
            tenant.watch_first_statuses,
            tenant.search,
            tenant.claim,
            tenant.claim_from_the_twin,
            tenant.probe,
        )
        running = [threads.submit(each) for each in occupations]
        try:
            yield
        finally:
            tenant.stop()
        for each in running:
            each.result()


def main() -> int:
    tenant = Tenant(Where(**json.loads(sys.stdin.readline())))
    tenant.enter(sys.stdin.readline().strip())
    with at_work(tenant):
        tenant.wait_until_at_work()
        print(AT_WORK, flush=True)
        for line in sys.stdin:
            tenant.enter(line.strip())
    print(json.dumps(tenant.report))
    return 0


if __name__ == "__main__":
    sys.exit(main())
