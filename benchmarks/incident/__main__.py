"""The command: ``python -m benchmarks.incident --date …``, on the cluster of `make cluster-up` or of any kubeconfig.

A neighbour (250m requested, no limit) on one node, a load generator on another. For each condition some blocks, each with every
arm once, forwards and backwards in turn, so that what drifts reaches all of them alike.
"""

import contextlib
import json
import math
import os
import random
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from benchmarks.incident.arms import CONDITIONS, HOSTNAME, SEARCH, Arm, Body, Condition, Place
from benchmarks.incident.ratios import UNCHANGED, compare, quantile
from tests.cluster.harness.client import Cluster, temporary_namespace
from tests.cluster.harness.layout import KUBECONFIG
from tuningjob.manifest.quantity import parse_quantity

_HERE: Final = Path(__file__).parent
_RESULTS: Final = _HERE.parent / "results" / "incident.md"
_SCRIPTS: Final = ("open_loop.py", "neighbour.py")
_NEIGHBOUR, _CLIENT, _PORT = "neighbour", "client", 8000
_REQUEST_MILLICORES: Final = 250
_WARM_UP: Final = 3.0  # seconds of load that are not counted
_QUANTILES: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999}
_NOT_MEASURED: Final = """\
- A search that fills a node's memory: both nodes of the test cluster have the memory of one machine, and the control plane with
  them. Beyond its own limit a search's container is killed, and no other (`tests/cluster/test_memory.py`).
- A neighbour that an autoscaler gives more pods, and nodes of more cores: there are two cores for all.
- The page cache: what a container reads counts towards its own memory limit, so a search holds no more of it than that.
"""
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
class Block:
    """What was measured of one arm in one block. Latencies are seconds; ``cores`` is the CPU that the search got."""

    latencies: list[float]
    failed: int
    cores: float
    throttled: float  # the part of its periods in which the search was stopped
    fits_per_second: float
    pressure: float  # the part of the time in which something on the node waited for a core


@dataclass(frozen=True)
class _Usage:
    moment: float
    waited: float  # seconds
    cpu_seconds: float = 0.0
    periods: int = 0
    throttled: int = 0
    fits: int = 0


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
    measured: dict[str, dict[str, list[Block]]] = field(default_factory=dict)

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
        request = {"cpu": f"{_REQUEST_MILLICORES}m", "memory": "128Mi"}
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
    def beside(self, arm: Arm) -> Iterator[None]:
        """The arm's search, from its first fits on; gone at the end."""
        if arm.body is None:
            yield
            return
        body = arm.body(self.place())
        kind = body["kind"].lower()
        before = self._fits(kind)
        self.cluster.apply(body, namespace=self.namespace)

        def has_begun() -> bool:
            return bool(self._pods()) and self._fits(kind) > before

        try:
            self.cluster.wait_for("the search's first fits", has_begun, namespace=self.namespace)
            yield
        finally:
            self.kubectl("delete", kind, SEARCH, "--wait=false", check=False)
            self.cluster.wait_for("its pods to go", lambda: not self._pods(), namespace=self.namespace)

    def usage(self, arm: Arm) -> _Usage:
        """What the search has used so far."""
        waited = int(self.kubectl("exec", _NEIGHBOUR, "--", "python", "-c", _PRESSURE)) / 1e6
        if arm.body is None:
            return _Usage(time.monotonic(), waited)
        kind = arm.body(self.place())["kind"].lower()
        pod = self._pods()[0]["metadata"]["name"]
        seconds, periods, throttled = json.loads(self.kubectl("exec", pod, "--", "python", "-c", _USAGE))
        return _Usage(time.monotonic(), waited, seconds, periods, throttled, self._fits(kind))

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
        self.measured[condition.name] = found
        with self.neighbour(condition) as address:
            for block in range(blocks):
                for arm in condition.arms if block % 2 == 0 else reversed(condition.arms):
                    with self.beside(arm):
                        self.ask(address, condition, _WARM_UP)
                        before = self.usage(arm)
                        told = self.ask(address, condition, self.seconds)
                        after = self.usage(arm)
                    found[arm.name].append(_block(told, before, after))
                    p99 = quantile(told["latencies"], 0.99)
                    click.echo(
                        f"block {block + 1}: {arm.name}: p99 {1e3 * p99:.1f} ms, {found[arm.name][-1].cores:.2f} cores"
                    )


def _block(told: Body, before: _Usage, after: _Usage) -> Block:
    seconds = after.moment - before.moment
    periods = after.periods - before.periods
    return Block(
        latencies=told["latencies"],
        failed=told["failed"],
        cores=(after.cpu_seconds - before.cpu_seconds) / seconds,
        throttled=(after.throttled - before.throttled) / periods if periods else 0.0,
        fits_per_second=(after.fits - before.fits) / seconds,
        pressure=(after.waited - before.waited) / seconds,
    )


def _table(condition: Condition, found: dict[str, list[Block]]) -> list[str]:
    draws = random.Random(0)
    quiet = [quantile(block.latencies, _QUANTILES["p99"]) for block in found["alone"]]
    heads = ["beside the neighbour", *(f"{name}, ms" for name in _QUANTILES), "p99 ÷ alone", ""]
    heads += ["pressure", "cores of the search", "stopped by its limit", "fits/s", "unanswered"]
    rules = ["---", *["---:"] * 4, "---", *["---:"] * 5]
    lines = [f"## {condition.name[0].upper()}{condition.name[1:]}", "", _row(heads), _row(rules)]
    for name, blocks in found.items():
        quantiles = {q: [quantile(block.latencies, part) for block in blocks] for q, part in _QUANTILES.items()}
        cells = [name, *(f"{1e3 * _median(values):.1f}" for values in quantiles.values())]
        pressure = f"{100 * _median([block.pressure for block in blocks]):.0f} %"
        if name == "alone":
            cells += ["1", "", pressure, "", "", ""]
        else:
            ratio = compare(quantiles["p99"], quiet, draws)
            cells += [str(ratio), ratio.verdict, pressure]
            cells += [f"{_median([block.cores for block in blocks]):.2f}"]
            cells += [f"{100 * _median([block.throttled for block in blocks]):.0f} %"]
            cells += [f"{_median([block.fits_per_second for block in blocks]):.1f}"]
        lines.append(_row([*cells, str(sum(block.failed for block in blocks))]))
    return [*lines, ""]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _median(values: Sequence[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else math.nan


def _page(scene: Scene, *, blocks: int, date: str) -> str:
    groups = "2" if Path("/sys/fs/cgroup/cgroup.controllers").exists() else "1"
    how = (
        f"{date}, `python -m benchmarks.incident`: {blocks} blocks of {scene.seconds:.0f} s, every arm once in each, forwards "
        f"and backwards in turn; {os.cpu_count()} cores, which both nodes, the control plane and the load generator share on the "
        f"test cluster; control groups v{groups}. The neighbour is a web service in Python with {_REQUEST_MILLICORES}m of CPU "
        "requested and no limit, the search a GridSearchCV over an MLPClassifier. Requests leave at intended times (an open "
        "loop), and latency counts from the intended time."
    )
    words = (
        "p50, p99 and p99.9 are medians over blocks. *p99 ÷ alone* is the geometric mean over blocks with its 95 % bootstrap "
        f"interval; *unchanged* means that its upper bound is below {UNCHANGED:.2f}, *worse* that its lower one is above 1, "
        f"*open* that {blocks} blocks do not tell. A request without an answer counts as 20 s. *Pressure* is the part of the "
        "time in which something on the node waited for a core (`/proc/pressure/cpu`; both nodes of the test cluster are this "
        "one machine)."
    )
    lines = ["# The incident again: a neighbour's latency beside a search", "", how, "", words, ""]
    for condition in CONDITIONS:
        if condition.name in scene.measured:
            lines += _table(condition, scene.measured[condition.name])
    lines += ["## What was not measured, and why", "", _NOT_MEASURED]
    return "\n".join(lines)


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
            cluster, namespace, nodes[-1], nodes[0], image or worker_image(cluster), results_service(cluster), seconds
        )
        scene.prepare()
        page = ""
        for condition in CONDITIONS:
            if not chosen or condition.name.startswith(chosen):
                scene.measure(condition, blocks)
                page = _page(scene, blocks=blocks, date=date)
                # after each condition: what was measured is kept if the next one fails
                if write:
                    _RESULTS.write_text(page, encoding="utf-8")
    click.echo(page)


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
