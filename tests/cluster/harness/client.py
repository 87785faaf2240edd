"""The cluster as a test sees it: run kubectl and helm, read objects as JSON, wait for a fact with a message worth reading."""

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from . import binaries, reading
from .layout import KUBECONFIG, RELEASE, RUN, SYSTEM_NAMESPACE
from .shell import HarnessError, TimedOut, run, until

T = TypeVar("T")
Manifest = Mapping[str, Any]
_POLL_SECONDS = 0.3


@dataclass(frozen=True)
class Cluster:
    """A running cluster, ours or one that was named to us, and the images that its nodes have."""

    kubeconfig: Path
    nodes: tuple[str, ...]
    operator_image: str
    worker_image: str

    def kubectl(self, *words: str, namespace: str | None = None, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl and return what it prints; raise HarnessError with its message if it fails."""
        command = self.command(*words, namespace=namespace)
        return run(*command, stdin=stdin, check=check, env=self._environment(), timeout_seconds=400)

    def command(self, *words: str, namespace: str | None = None) -> list[str]:
        """kubectl's whole command line, for who runs it in the background."""
        where = [f"--namespace={namespace}"] if namespace else []
        return [str(_program("kubectl")), f"--kubeconfig={self.kubeconfig}", *where, *words]

    def helm(self, *words: str, check: bool = True) -> str:
        """Run helm and return what it prints; raise HarnessError with its message if it fails."""
        command = [str(_program("helm")), f"--kubeconfig={self.kubeconfig}", *words]
        return run(*command, check=check, env=self._environment(), timeout_seconds=400)

    def apply(self, *manifests: Manifest, namespace: str | None = None) -> None:
        """Apply manifests, in their order and all by one kubectl, which costs a third of a second of a CPU."""
        many = {"apiVersion": "v1", "kind": "List", "items": manifests}
        text = json.dumps(manifests[0] if len(manifests) == 1 else many)
        self.kubectl("apply", "-f", "-", namespace=namespace, stdin=text)

    def get(self, *words: str, namespace: str | None = None) -> dict[str, Any] | None:
        """One object, or a list object; None if the named object does not exist."""
        if self.kubeconfig == KUBECONFIG and reading.can_read(*words):
            return reading.read(*words, namespace=namespace)
        text = self.kubectl("get", *words, "--ignore-not-found", "--output=json", namespace=namespace)
        found: dict[str, Any] | None = json.loads(text) if text.strip() else None
        return found

    def items(self, *words: str, namespace: str | None = None) -> list[dict[str, Any]]:
        """The objects of a list."""
        listed = self.get(*words, namespace=namespace) or {}
        found: list[dict[str, Any]] = listed.get("items", [])
        return found

    def wait_for(
        self,
        description: str,
        probe: Callable[[], T | None],
        *,
        timeout_seconds: float = 300,
        namespace: str | None = None,
    ) -> T:
        """Return the first truthy answer of ``probe``; at the deadline, fail with what the namespace looks like."""
        try:
            return until(description, probe, timeout_seconds=timeout_seconds, poll_seconds=_POLL_SECONDS)
        except TimedOut as error:
            raise AssertionError(f"{error}\n\n{self.state(namespace)}") from error

    def state(self, namespace: str | None = None) -> str:
        """What one would look at by hand: the namespace's objects described, its events, and the system's logs."""
        parts = []
        if namespace:
            kinds = self.kubectl("api-resources", "--output=name", check=False).split()
            ours = [kind for kind in kinds if kind.startswith("tuningjobs.")]
            parts += [
                (f"describe {kind}", self.kubectl("describe", kind, namespace=namespace, check=False))
                for kind in (*ours, "jobs", "pods")
            ]
            events = self.kubectl("get", "events", "--sort-by=.lastTimestamp", namespace=namespace, check=False)
            parts.append(("events", events))
        parts.append(("operator and results service", self.system_logs()))
        return "\n".join(f"--- {title} ---\n{text.strip()[-6000:]}" for title, text in parts)

    def system_logs(self, *, lines: int = 150) -> str:
        """The end of the operator's and the results service's logs."""
        return self.kubectl(
            *("logs", f"--selector=app.kubernetes.io/instance={RELEASE}", "--all-containers", "--prefix"),
            *(f"--tail={lines}", "--ignore-errors"),
            namespace=SYSTEM_NAMESPACE,
            check=False,
        )

    def _environment(self) -> dict[str, str]:
        """The caller's, but with what the programs cache kept beside our own cluster's state, to go when that goes."""
        # what ends in a second need not collect its garbage
        common = {**os.environ, "GOGC": "off", "GOMEMLIMIT": "1GiB"}
        if self.kubeconfig != KUBECONFIG:
            return common
        folders = {"KUBECACHEDIR": "kubectl", **{f"HELM_{kind}_HOME": "helm" for kind in ("CACHE", "CONFIG", "DATA")}}
        return {**common, **{name: str(RUN / "cache" / folder) for name, folder in folders.items()}}


@contextlib.contextmanager
def temporary_namespace(cluster: Cluster, name: str) -> Iterator[str]:
    """A namespace held to the ``restricted`` Pod Security level; deleted at the end, without waiting for that."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
    try:
        # a pod is refused until the controller manager has made the namespace's service account
        cluster.wait_for(
            f"the service account of {name}", lambda: cluster.get("serviceaccount", "default", namespace=name)
        )
        yield name
    finally:
        cluster.kubectl("delete", "namespace", name, "--wait=false", check=False)


def _program(name: str) -> Path:
    """Our own build of the program; for a cluster that is not ours, the one on the PATH will do."""
    ours = binaries.path(name)
    if ours.exists():
        return ours
    if found := shutil.which(name):
        return Path(found)
    raise HarnessError(f"{name}: neither in the cache nor on the PATH. Get it with: make cluster-deps")
