"""The command: ``python -m benchmarks.incident --date …``, on the cluster of `make cluster-up` or of any kubeconfig.

A neighbour (250m requested, no limit) on one node, a load generator on another. For each condition some blocks, each with every
arm once, forwards and backwards in turn, so that what drifts reaches all of them alike.
"""

import contextlib
import json
import math
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.incident.arms import CONDITIONS, HOSTNAME, SEARCH, Arm, Body, Condition, Place
from benchmarks.incident.page import REQUEST_MILLICORES, Block, Measured, page
from benchmarks.incident.ratios import quantile
from tests.cluster.harness.cgroups import memory_limited
from tests.cluster.harness.client import Cluster, temporary_namespace
from tests.cluster.harness.layout import KUBECONFIG
from tests.cluster.harness.shell import HarnessError
from tuningjob.manifest.quantity import parse_quantity

_HERE: Final = Path(__file__).parent
_RESULTS: Final = _HERE.parent / "results" / "incident.md"
_SCRIPTS: Final = ("open_loop.py", "neighbour.py")
_NEIGHBOUR, _CLIENT, _PORT = "neighbour", "client", 8000
_WARM_UP: Final = 3.0  # seconds of load that are not counted
_FULL_SECONDS: Final = 60.0  # of each arm where a node's memory is bounded: processes take half of it to start
# In the search's container, whichever control groups the node has: seconds of CPU, periods, and periods in which it was stopped.
_USAGE: Final = """
import json, pathlib
root = pathlib.Path("/sys/fs/cgroup")
def words(path):
    return dict(line.split() for line in path.read_text().splitlines()) if path.exists() else {}
if (root / "cgroup.controllers").exists():
    stat = words(root / "cpu.stat")
    seconds = int(stat["usage_usec"]) / 1e6
else:
    stat = words(root / "cpu" / "cpu.stat")
    seconds = int((root / "cpuacct" / "cpuacct.usage").read_text()) / 1e9
print(json.dumps([seconds, int(stat.get("nr_periods", 0)), int(stat.get("nr_throttled", 0))]))
"""


# Microseconds in which something on the node that could run waited for a core, since it was started.
_PRESSURE: Final = "import re; print(re.search(r'some .*total=(\\d+)', open('/proc/pressure/cpu').read()).group(1))"


@dataclass(frozen=True)
class _Usage:
    moment: float
    waited: float  # seconds
    cpu_seconds: float = 0.0
    periods: int = 0
    throttled: int = 0
    fits: int = 0
    deaths: int = 0
    restarts: int = 0


@dataclass
class Scene:
    """The cluster, a namespace of it, and the two nodes."""

    cluster: Cluster
    namespace: str
    near: str
    far: str
    image: str
    service: str  # the results service, as a path of the API server
    seconds: float
    date: str
    measured: dict[str, Measured] = field(default_factory=dict)

    def kubectl(self, *words: str, check: bool = True) -> str:
        """In the namespace."""
        return self.cluster.kubectl(*words, namespace=self.namespace, check=check)

    def place(self) -> Place:
        """The neighbour's node as it is now."""
        node = self.cluster.get("node", self.near) or {}
        left = parse_quantity(node["status"]["allocatable"]["cpu"])
        for pod in self.cluster.items("pods", "--all-namespaces", f"--field-selector=spec.nodeName={self.near}"):
            if pod["status"]["phase"] in {"Pending", "Running"}:
                requests = [each.get("resources", {}).get("requests", {}) for each in pod["spec"]["containers"]]
                left -= sum(parse_quantity(each.get("cpu", "0")) for each in requests)
        return Place(self.near, float(left), self.image)

    # --- the neighbour and its client

    def prepare(self) -> None:
        """The scripts, and the pod that asks."""
        files = {name: (_HERE / name).read_text(encoding="utf-8") for name in _SCRIPTS}
        scripts = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "scripts"}, "data": files}
        asleep = ["python", "-c", "import signal; signal.pause()"]
        self.cluster.apply(scripts, self._pod(_CLIENT, self.far, asleep, {}), namespace=self.namespace)
        self._await_ready(_CLIENT)

    @contextlib.contextmanager
    def neighbour(self, condition: Condition) -> Iterator[str]:
        """The web service; gives its address."""
        words = [str(_PORT), str(condition.milliseconds), *([str(condition.megabytes)] if condition.megabytes else [])]
        request = {"cpu": f"{REQUEST_MILLICORES}m", "memory": "128Mi"}
        pod = self._pod(_NEIGHBOUR, self.near, ["python", "/scripts/neighbour.py", *words], {"requests": request})
        self.cluster.apply(pod, namespace=self.namespace)
        try:
            self._await_ready(_NEIGHBOUR)
            yield (self.cluster.get("pod", _NEIGHBOUR, namespace=self.namespace) or {})["status"]["podIP"]
        finally:
            self.kubectl("delete", "pod", _NEIGHBOUR, "--grace-period=0", "--force", check=False)

    def ask(self, address: str, condition: Condition, seconds: float) -> Body:
        """One run of the load generator."""
        command = ("python", "/scripts/open_loop.py", address, str(_PORT))
        options = (f"--rate={condition.rate}", f"--seconds={seconds}")
        found: Body = json.loads(self.kubectl("exec", _CLIENT, "--", *command, *options))
        return found

    def _pod(self, name: str, node: str, command: Sequence[str], resources: Body) -> Body:
        restricted = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
        container: Body = {
            "name": name,
            "image": self.image,
            "imagePullPolicy": "IfNotPresent",
            "command": [*command],
            "resources": resources,
            "securityContext": restricted,
            "volumeMounts": [{"name": "scripts", "mountPath": "/scripts"}],
        }
        if name == _NEIGHBOUR:
            container["readinessProbe"] = {"tcpSocket": {"port": _PORT}, "periodSeconds": 1}
        return {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name},
            "spec": {
                "nodeSelector": {HOSTNAME: node},
                "terminationGracePeriodSeconds": 0,
                "securityContext": {
                    "runAsNonRoot": True,
                    "runAsUser": 65532,
                    "seccompProfile": {"type": "RuntimeDefault"},
                },
                "volumes": [{"name": "scripts", "configMap": {"name": "scripts"}}],
                "containers": [container],
            },
        }

    def _await_ready(self, pod: str) -> None:
        self.kubectl("wait", "--for=condition=Ready", f"pod/{pod}", "--timeout=120s")

    # --- what stands beside it

    @contextlib.contextmanager
    def beside(self, arm: Arm, *, from_its_start: bool) -> Iterator[None]:
        """The arm's search, from its first fits on, or from the start of its pod; gone at the end."""
        if arm.body is None:
            yield
            return
        body = arm.body(self.place())
        kind = body["kind"].lower()
        before = self._fits(kind)
        self.cluster.apply(body, namespace=self.namespace)

        def has_begun() -> bool:
            return bool(self._running()) if from_its_start else bool(self._pods()) and self._fits(kind) > before

        try:
            self.cluster.wait_for("the search's first fits", has_begun, namespace=self.namespace)
            yield
        finally:
            self.kubectl("delete", kind, SEARCH, "--wait=false", check=False)
            self.cluster.wait_for("its pods to go", lambda: not self._pods(), namespace=self.namespace)

    def usage(self, arm: Arm) -> _Usage:
        """What the search has used so far."""
        self._await_ready(_NEIGHBOUR)
        waited = int(self.kubectl("exec", _NEIGHBOUR, "--", "python", "-c", _PRESSURE)) / 1e6
        neighbour = self.cluster.get("pod", _NEIGHBOUR, namespace=self.namespace) or {}
        restarts = neighbour["status"]["containerStatuses"][0]["restartCount"]
        if arm.body is None:
            return _Usage(time.monotonic(), waited, restarts=restarts)
        kind = arm.body(self.place())["kind"].lower()
        seconds, periods, throttled = self._used()
        deaths = sum(pod["status"]["phase"] == "Failed" for pod in self._pods())
        return _Usage(time.monotonic(), waited, seconds, periods, throttled, self._fits(kind), deaths, restarts)

    def _used(self) -> tuple[float, int, int]:
        """What the container of the search has used; nothing if there is none just now, because it was killed."""
        try:
            (pod, *_) = (each["metadata"]["name"] for each in self._running())
            seconds, periods, throttled = json.loads(self.kubectl("exec", pod, "--", "python", "-c", _USAGE))
        except (ValueError, HarnessError):
            return math.nan, 0, 0
        return seconds, periods, throttled

    def _running(self) -> list[Body]:
        return [pod for pod in self._pods() if pod["status"]["phase"] == "Running"]

    def _pods(self) -> list[Body]:
        return self.cluster.items("pods", f"--selector=job-name={SEARCH}", namespace=self.namespace)

    def _fits(self, kind: str) -> int:
        """Of a bare Job by its log; of a TuningJob by what the results service has counted, whose only search it is.

        Its status would not do: it is written a few times in a life.
        """
        if kind == "job":
            return self.kubectl("logs", f"job/{SEARCH}", "--tail=-1", check=False).count("] END ")
        told = self.cluster.kubectl("get", "--raw", f"{self.service}/proxy/metrics")
        found = re.search(r"^tuningjob_cells_taken_in_total (\S+)", told, re.MULTILINE)
        return int(float(found.group(1))) if found else 0

    # --- the measurement

    def measure(self, condition: Condition, blocks: int) -> None:
        """Every arm of a condition, in each block."""
        found: dict[str, list[Block]] = {arm.name: [] for arm in condition.arms}
        seconds = self.seconds if condition.node_bytes is None else _FULL_SECONDS
        self.measured[condition.name] = Measured(f"{self.date}: {blocks} blocks of {seconds:.0f} s.", found)
        with self._bounded(condition), self.neighbour(condition) as address:
            for block in range(blocks):
                for arm in condition.arms if block % 2 == 0 else reversed(condition.arms):
                    with self.beside(arm, from_its_start=condition.node_bytes is not None):
                        self.ask(address, condition, _WARM_UP)
                        before = self.usage(arm)
                        told = self.ask(address, condition, seconds)
                        after = self.usage(arm)
                    found[arm.name].append(_block(told, before, after))
                    p99 = quantile(told["latencies"], 0.99)
                    click.echo(
                        f"block {block + 1}: {arm.name}: p99 {1e3 * p99:.1f} ms, {found[arm.name][-1].cores:.2f} cores"
                    )

    def _bounded(self, condition: Condition) -> contextlib.AbstractContextManager[None]:
        """The neighbour's node with the memory that the condition wants."""
        if condition.node_bytes is None:
            return contextlib.nullcontext()
        return memory_limited(self.near, condition.node_bytes)


def _block(told: Body, before: _Usage, after: _Usage) -> Block:
    seconds = after.moment - before.moment
    periods = after.periods - before.periods
    is_same = after.deaths == before.deaths  # else the container is another, or none
    return Block(
        latencies=told["latencies"],
        failed=told["failed"],
        cores=(after.cpu_seconds - before.cpu_seconds) / seconds if is_same else math.nan,
        throttled=(after.throttled - before.throttled) / periods if periods else 0.0,
        fits_per_second=max(0, after.fits - before.fits) / seconds,
        pressure=(after.waited - before.waited) / seconds,
        deaths=after.deaths,
        restarts=after.restarts - before.restarts,
    )


def _schedulable(cluster: Cluster) -> list[str]:
    nodes: list[dict[str, Any]] = cluster.items("nodes")
    free = [
        node for node in nodes if not any(t["effect"] != "PreferNoSchedule" for t in node["spec"].get("taints", []))
    ]
    return sorted(node["metadata"]["name"] for node in free)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--kubeconfig", type=click.Path(path_type=Path), default=KUBECONFIG, help="By default the test cluster's."
)
@click.option("--image", help="The worker image on that cluster; by default the one of the chart that is installed.")
@click.option("--blocks", default=5, show_default=True)
@click.option("--seconds", default=20.0, show_default=True, help="Of each arm in each block.")
@click.option("--condition", "chosen", multiple=True, help="Only those whose names begin so.")
@click.option("--write/--no-write", default=True, help="Write benchmarks/results/incident.md.")
@click.option("--date", default="", help="The date to write there.")
def main(
    *, kubeconfig: Path, image: str | None, blocks: int, seconds: float, chosen: tuple[str, ...], write: bool, date: str
) -> None:
    """Measure a neighbour's latency beside a search, with and without limits."""
    cluster = Cluster(kubeconfig=kubeconfig, nodes=(), operator_image="", worker_image="")
    nodes = _schedulable(cluster)
    if len(nodes) < 2:
        raise click.ClickException(
            f"two nodes are needed, one for the neighbour and one for who asks it, but got {nodes}"
        )
    with temporary_namespace(cluster, f"incident-{uuid.uuid4().hex[:6]}") as namespace:
        scene = Scene(
            cluster=cluster,
            namespace=namespace,
            near=nodes[-1],
            far=nodes[0],
            image=image or worker_image(cluster),
            service=results_service(cluster),
            seconds=seconds,
            date=date,
        )
        scene.prepare()
        written, kept = "", _RESULTS.read_text(encoding="utf-8") if _RESULTS.exists() else ""
        for condition in CONDITIONS:
            # only there a node is a control group, which can be given a bound
            is_possible = condition.node_bytes is None or kubeconfig == KUBECONFIG
            if is_possible and (not chosen or condition.name.startswith(chosen)):
                scene.measure(condition, blocks)
                written = page(scene.measured, kept)
                # after each condition: what was measured is kept if the next one fails
                if write:
                    _RESULTS.write_text(written, encoding="utf-8")
    click.echo(written)


def results_service(cluster: Cluster) -> str:
    """The installed chart's results service, as a path of the API server."""
    for service in cluster.items("services", "--all-namespaces", "--selector=app.kubernetes.io/name=tuningjob"):
        metadata, port = service["metadata"], service["spec"]["ports"][0]
        named = f"{port['name']}:{metadata['name']}:{port['port']}"  # the port's name is its scheme
        return f"/api/v1/namespaces/{metadata['namespace']}/services/{named}"
    raise click.ClickException("a chart of tuningjob must be installed, whose service counts the fits, but none is")


def worker_image(cluster: Cluster) -> str:
    """What the installed chart's operator gives to searches that name none."""
    for deployment in cluster.items("deployments", "--all-namespaces", "--selector=app.kubernetes.io/name=tuningjob"):
        for container in deployment["spec"]["template"]["spec"]["containers"]:
            for variable in container.get("env", []):
                if variable["name"] == "TUNINGJOB_WORKER_IMAGE":
                    return str(variable["value"])
    raise click.ClickException("--image must be given: no chart of tuningjob is installed here")


if __name__ == "__main__":
    main()
