"""From `kubectl apply` to the first fit, against the same pod started by a bare `kubectl create`: `python -m benchmarks.start`.

On the real two-node cluster of `make cluster-up`, in pairs, one after the other and in turns. Both pods are the same to the field
(image, resources, command, token) and search the same: the bare Job is a copy of one that the operator made for a search that was
suspended before its pod began. So what differs is what the operator costs: admission, journal, quota, Secret, Job, and the
preflight's pilot. The first fit begins when the worker says that its data are ready.
"""

import copy
import json
import statistics
import time
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from tests.cluster.harness.client import Cluster, temporary_namespace
from tests.cluster.harness.layout import KUBECONFIG, NODES
from tuningjob.manifest.canonical import read_file

_RESULTS = Path(__file__).parent / "results" / "start.md"
_EXAMPLE = Path(__file__).parents[1] / "examples" / "iris-forest.yaml"
_READY = " ready in "


def _document(name: str) -> dict[str, Any]:
    document: dict[str, Any] = copy.deepcopy(read_file(_EXAMPLE))
    document["metadata"]["name"] = name
    # long enough that the preflight's pilot takes its whole budget, and that nothing ends before it is measured
    grid = {"n_estimators": [100], "max_leaf_nodes": {"range": [4, 204]}}
    document["spec"].update(
        parallelism=1,
        resources={"cpu": "1", "memory": "512Mi"},
        data={"loader": "sklearn.datasets.load_digits"},
        search={"grid": {"parameters": grid}},
    )
    return document


def first_fit(cluster: Cluster, namespace: str, job: str, since: float) -> float:
    """Seconds from ``since`` until the pod of a Job says that it begins."""

    def told() -> str | None:
        words = ("logs", f"job/{job}", "--timestamps", "--tail=20")
        text = cluster.kubectl(*words, namespace=namespace, check=False)
        return next((line.split()[0] for line in text.splitlines() if _READY in line), None)

    moment = cluster.wait_for(f"{job} to begin", told, timeout_seconds=60, namespace=namespace)
    # nanoseconds are more than Python's datetime holds
    return datetime.fromisoformat(f"{moment[:26]}+00:00").timestamp() - since


def _by_tuningjob(cluster: Cluster, namespace: str) -> float:
    name = f"tj-{uuid.uuid4().hex[:6]}"
    began = time.time()
    cluster.apply(_document(name), namespace=namespace)
    seconds = first_fit(cluster, namespace, name, began)
    cluster.kubectl("delete", "tj", name, namespace=namespace)
    return seconds


def _by_job(cluster: Cluster, namespace: str) -> float:
    name = f"bare-{uuid.uuid4().hex[:6]}"
    cluster.apply(_document(name), namespace=namespace)
    first_fit(cluster, namespace, name, time.time())
    made = cluster.get("job", name, namespace=namespace)
    assert made is not None
    cluster.kubectl("patch", "tj", name, "--type=merge", "-p", '{"spec":{"suspend":true}}', namespace=namespace)

    def is_idle() -> bool:
        found = cluster.get("job", name, namespace=namespace) or {}
        status = found.get("status", {})
        return bool(found["spec"].get("suspend")) and not status.get("active") and not status.get("terminating")

    cluster.wait_for("its pod to go", is_idle, namespace=namespace)
    template = made["spec"]["template"]
    template["metadata"] = {}
    copied = f"{name}-copy"
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": copied},
        "spec": {"completions": 1, "parallelism": 1, "completionMode": "Indexed", "template": template},
    }
    began = time.time()
    cluster.kubectl("create", "-f", "-", namespace=namespace, stdin=json.dumps(body))
    seconds = first_fit(cluster, namespace, copied, began)
    cluster.kubectl("delete", f"job/{copied}", f"tj/{name}", namespace=namespace)
    return seconds


@click.command()
@click.option("--pairs", default=11, show_default=True)
@click.option("--date", required=True, help="For the heading of the results.")
def main(pairs: int, date: str) -> None:
    """Measure, print, and write benchmarks/results/start.md."""
    nodes = tuple(node.name for node in NODES)
    cluster = Cluster(kubeconfig=KUBECONFIG, nodes=nodes, operator_image="", worker_image="")
    ours: list[float] = []
    bare: list[float] = []
    with temporary_namespace(cluster, f"start-{uuid.uuid4().hex[:6]}") as namespace:
        for pair in range(pairs + 1):
            both = [(ours, _by_tuningjob), (bare, _by_job)]
            for times, measure in both if pair % 2 else reversed(both):
                seconds = measure(cluster, namespace)
                if pair:  # the first pair warms the nodes up
                    times.append(seconds)
            if pair:
                click.echo(f"pair {pair}: TuningJob {ours[-1]:.2f} s, Job {bare[-1]:.2f} s")
    more = [mine - its for mine, its in zip(ours, bare, strict=True)]
    text = f"""# From `kubectl apply` to the first fit

{date}, `python -m benchmarks.start`, {pairs} pairs on the two-node test cluster (two cores).

| | median | least | most |
|---|---|---|---|
| TuningJob | {statistics.median(ours):.2f} s | {min(ours):.2f} s | {max(ours):.2f} s |
| the same pod by a bare Job | {statistics.median(bare):.2f} s | {min(bare):.2f} s | {max(bare):.2f} s |
| more, of each pair | {statistics.median(more):.2f} s | {min(more):.2f} s | {max(more):.2f} s |
"""
    _RESULTS.write_text(text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
