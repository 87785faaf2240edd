"""TuningJobs of one namespace, as the tests handle them."""

import contextlib
import json
import os
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass
from typing import Any

from tests.cluster import patient
from tests.cluster.harness.client import Cluster, temporary_namespace
from tests.cluster.harness.release import Release
from tests.conftest import EXAMPLES
from tuningjob.manifest.canonical import read_file

Document = dict[str, Any]

# Asked of the results service's own container: the journal is on a volume that only its pod sees.
_ASK = """
import json, sys
from tuningjob_operator.settings import read_settings
from tuningjob.journal.sql import SqlJournal
journal = SqlJournal(read_settings().database_url)
print(json.dumps({"counts": journal.report_counts(sys.argv[1]), "reporters": journal.reporters(sys.argv[1])}))
"""
# The same, of how many cells are in: it looks until they are as many as that, because to begin to look costs a second of a CPU.
_AWAIT = """
import sys, time
from tuningjob_operator.settings import read_settings
from tuningjob.journal.sql import SqlJournal
journal, until = SqlJournal(read_settings().database_url), time.monotonic() + 20
while (cells := sum(journal.report_counts(sys.argv[1]).values())) < int(sys.argv[2]) and time.monotonic() < until:
    time.sleep(0.2)
print(cells)
"""


@dataclass(frozen=True)
class TuningJobs:
    """The TuningJobs of a namespace."""

    cluster: Cluster
    release: Release
    namespace: str

    @property
    def operator_pods(self) -> str:
        """The label selector of the operator's pod."""
        return f"app.kubernetes.io/instance={self.release.name}"

    def apply(self, *documents: Document) -> None:
        """kubectl apply."""
        self.cluster.apply(*documents, namespace=self.namespace)

    def get(self, name: str) -> Document:
        """The object. Raises AssertionError if it is not there."""
        found = self.cluster.get("tj", name, namespace=self.namespace)
        assert found is not None, f"there is no TuningJob {name}"
        return found

    def status(self, name: str) -> Document:
        """Its status; empty if there is none yet."""
        with contextlib.suppress(RecursionError):
            found: Document = self.get(name).get("status", {})
            return found
        # its spec is more than Python's decoder takes
        text = self.cluster.kubectl("get", "tj", name, "--output=jsonpath={.status}", namespace=self.namespace)
        status: Document = json.loads(text) if text else {}
        return status

    def condition(self, name: str, kind: str) -> Document:
        """One of its conditions; empty if it is not there."""
        found = [condition for condition in self.status(name).get("conditions", []) if condition["type"] == kind]
        return found[0] if found else {}

    def wait_for(self, name: str, probe: Callable[[Document], object]) -> Document:
        """Wait until ``probe`` holds for the status; fails at once when the search ends Failed and that is not what is awaited."""
        what = getattr(probe, "__name__", "it").replace("_", " ")

        def look() -> Document | None:
            status = self.status(name)
            if probe(status):
                return status
            if status.get("phase") in {"Failed", "Complete"}:
                state = self.cluster.state(self.namespace)
                raise AssertionError(
                    f"{name} ended {status['phase']} before {what}: {json.dumps(status, indent=1)}\n{state}"
                )
            return None

        return self.cluster.wait_for(f"{name}: {what}", look, timeout_seconds=400, namespace=self.namespace)

    def wait_for_failure(self, name: str) -> Document:
        """Wait until it ends Failed; that condition."""
        self.wait_for(name, lambda status: status.get("phase") == "Failed")
        return self.condition(name, "Failed")

    def hurry(self, name: str, told: Container[str] = ()) -> set[str]:
        """Tell its pods, but those that have been told, to pause before no fit any more (``patient``); those that heard it.

        One that is not there any more, or not yet, has not.
        """
        words = ("--", "sh", "-c", f"touch {patient.HURRY} && echo heard")
        others = (pod for pod in self.running(name) if pod not in told)
        return {
            pod
            for pod in others
            if "heard" in self.cluster.kubectl("exec", pod, *words, namespace=self.namespace, check=False)
        }

    def finish(self, name: str) -> Document:
        """Have it hurry, those of its pods that are still to come included, and wait until it is complete; its status."""
        told: set[str] = set()

        def is_complete(status: Document) -> bool:
            told.update(self.hurry(name, told))
            return status.get("phase") == "Complete"

        return self.wait_for(name, is_complete)

    def running(self, name: str) -> list[str]:
        """Its worker pods that run, by name."""
        return [pod["metadata"]["name"] for pod in self.pods(name) if pod["status"]["phase"] == "Running"]

    def pods(self, name: str) -> list[Document]:
        """Its worker pods."""
        return self.cluster.items("pods", "-l", f"tuningjob.dev/name={name}", namespace=self.namespace)

    def wait_for_pod(self, name: str, phase: str) -> None:
        """Wait for a plain pod."""

        def look() -> bool:
            return (self.cluster.get("pod", name, namespace=self.namespace) or {}).get("status", {}).get(
                "phase"
            ) == phase

        self.cluster.wait_for(f"pod {name}: {phase}", look, namespace=self.namespace)

    def wait_for_fits(self, name: str, cells: int) -> int:
        """Wait until the journal has so many of its cells, which a status tells only in steps; how many it has then.

        Fails at once when the search ends before.
        """

        def look() -> int | None:
            found = int(self._in_service(_AWAIT, self.get(name)["metadata"]["uid"], str(cells)))
            if found >= cells:
                return found
            status = self.status(name)
            assert status.get("phase") not in {"Failed", "Complete"}, f"{name} ended with {found} fits: {status}"
            return None

        return self.cluster.wait_for(f"{name}: {cells} fits", look, timeout_seconds=400, namespace=self.namespace)

    def report_counts(self, name: str) -> dict[int, int]:
        """How many cells were reported once, twice, ….: {1: all} when nothing finished was fitted again."""
        return {int(reports): cells for reports, cells in self._ask(name)["counts"].items()}

    def reporters(self, name: str) -> dict[int, int]:
        """How many cells each completion index reported first."""
        return {int(index): cells for index, cells in self._ask(name)["reporters"].items()}

    def _ask(self, name: str) -> dict[str, dict[str, int]]:
        answer: dict[str, dict[str, int]] = json.loads(self._in_service(_ASK, self.get(name)["metadata"]["uid"]))
        return answer

    def _in_service(self, script: str, *words: str) -> str:
        """What a script prints in the results service's container."""
        pod = self.cluster.wait_for(
            "a pod of the operator's that runs", self._running_operator, namespace=self.release.namespace
        )
        where = ("exec", pod["metadata"]["name"], "-c", "results", "--", "python", "-c", script)
        return self.cluster.kubectl(*where, *words, namespace=self.release.namespace)

    def _running_operator(self) -> Document | None:
        pods = self.cluster.items("pods", "-l", self.operator_pods, namespace=self.release.namespace)
        running = (
            pod
            for pod in pods
            if "deletionTimestamp" not in pod["metadata"]
            and any(
                each["type"] == "Ready" and each["status"] == "True" for each in pod["status"].get("conditions", [])
            )
        )
        return next(running, None)

    def pod(self, name: str, script: str, *, claim: str, stdin: bool = False) -> Document:
        """A plain pod of the worker's image with a claim at /data, admitted under `restricted`."""
        restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "restartPolicy": "Never",
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "fsGroup": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "containers": [
                    {
                        "name": name,
                        "image": self.cluster.worker_image,
                        "command": ["sh", "-c", script],
                        "stdin": stdin,
                        "stdinOnce": stdin,
                        "securityContext": restricted,
                        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
                    }
                ],
                "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
            },
        }


def small_pod(cpu: str = "400m", memory: str = "400Mi") -> Document:
    """Resources of a pod of which several fit on a node, but which is not slowed down: its imports take seconds of a whole CPU."""
    return {"cpu": "1", "cpuRequest": cpu, "memory": memory}


def named(name: str, example: str, **spec: Any) -> Document:
    """A search of the examples under another name, changed by ``spec``."""
    found: Document = read_file(EXAMPLES / f"{example}.yaml")
    found["metadata"]["name"] = name
    found["spec"] |= spec
    return found


@contextlib.contextmanager
def all_at_once(cluster: Cluster, release: Release, name: str, *documents: Document) -> Iterator[TuningJobs]:
    """Of a namespace for the tests of a module, with what all of them look at: each would wait for its own pods to start."""
    with temporary_namespace(cluster, f"{name}-{os.getpid()}") as namespace:
        jobs = TuningJobs(cluster, release, namespace)
        if documents:
            jobs.apply(*documents)
        yield jobs
