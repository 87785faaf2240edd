"""From `submit` in Python to the first fit, against `kubectl apply` with the data in place.

`python -m benchmarks.start_from_python`, on the real two-node cluster of `make cluster-up`, in pairs, one after the other
and in turns. Both searches are the same, over 10 MB of X that are new each time: Python sends them within what is measured,
and `kubectl apply` names what was sent before. So what differs is what the client costs: to write and digest X, the way
through the API server, the questions to the results service, the upload. The libraries are imported already, as they are
where somebody has an X. The first fit begins when the worker says that its data are ready.
"""

import statistics
import time
import uuid
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV

import tuningjob
from benchmarks.start import first_fit
from tests.cluster.harness.client import Cluster, temporary_namespace
from tests.cluster.harness.layout import KUBECONFIG, NODES
from tests.cluster.people import person
from tuningjob import to_manifest
from tuningjob.cluster.sending import packed

_RESULTS: Final = Path(__file__).parent / "results" / "start-from-python.md"
_ROWS, _COLUMNS = 2_500, 500  # of 8 bytes: 10 MB
_SEARCH: Final = GridSearchCV(Ridge(), {"alpha": [float(alpha) for alpha in range(1, 201)]}, cv=5)
_POD: Final[dict[str, Any]] = {"cpu": "500m", "memory": "600Mi"}


def _fresh(rng: np.random.Generator) -> tuple[Any, Any]:
    X = rng.normal(size=(_ROWS, _COLUMNS))
    return X, X[:, 0] + rng.normal(size=_ROWS)


def _by_python(cluster: Cluster, python: tuningjob.Cluster, given: tuple[Any, Any]) -> float:
    began = time.time()
    run = python.submit(_SEARCH, *given)
    seconds = first_fit(cluster, python.namespace, run.name, began)
    run.delete()
    return seconds


def _by_apply(cluster: Cluster, python: tuningjob.Cluster, given: tuple[Any, Any]) -> float:
    name = f"applied-{uuid.uuid4().hex[:6]}"
    unsent = {"uploaded": {"features": "0" * 64}}
    document = to_manifest(_SEARCH, data=unsent, name=name)
    document["spec"] |= {"resources": _POD, "parallelism": 1}
    with packed(dict(zip("Xy", given, strict=True)), document, code=False) as parcel:
        python._service.send(parcel.files, lambda _: None)
        document = parcel.name_in(document)
    began = time.time()
    cluster.apply(document, namespace=python.namespace)
    seconds = first_fit(cluster, python.namespace, name, began)
    cluster.kubectl("delete", "tj", name, namespace=python.namespace)
    return seconds


@click.command()
@click.option("--pairs", default=9, show_default=True)
@click.option("--date", required=True, help="For the heading of the results.")
@click.option("--remark", default="", help="Of the machine, below the table.")
def main(pairs: int, date: str, remark: str) -> None:
    """Measure, print, and write benchmarks/results/start-from-python.md."""
    nodes = tuple(node.name for node in NODES)
    cluster = Cluster(kubeconfig=KUBECONFIG, nodes=nodes, operator_image="", worker_image="")
    ours: list[float] = []
    applied: list[float] = []
    rng = np.random.default_rng()
    with temporary_namespace(cluster, f"start-{uuid.uuid4().hex[:6]}") as namespace:
        person(cluster, namespace, "ann", role="edit", server="")
        python = tuningjob.Cluster(namespace, kubeconfig=KUBECONFIG, service_account="ann", pods=1, **_POD)
        with python:
            for pair in range(pairs + 1):
                both = [(ours, _by_python), (applied, _by_apply)]
                for times, measure in both if pair % 2 else reversed(both):
                    seconds = measure(cluster, python, _fresh(rng))
                    if pair:  # the first pair warms the nodes up
                        times.append(seconds)
                if pair:
                    click.echo(f"pair {pair}: Python {ours[-1]:.2f} s, kubectl apply {applied[-1]:.2f} s")
    more = [mine - its for mine, its in zip(ours, applied, strict=True)]
    text = f"""# From Python to the first fit

{date}, `python -m benchmarks.start_from_python`, {pairs} pairs on the two-node test cluster (two cores), X of 10 MB.

| | median | least | most |
|---|---|---|---|
| `submit(search, X, y)`, X sent meanwhile | {statistics.median(ours):.2f} s | {min(ours):.2f} s | {max(ours):.2f} s |
| `kubectl apply`, X sent before | {statistics.median(applied):.2f} s | {min(applied):.2f} s | {max(applied):.2f} s |
| more, of each pair | {statistics.median(more):.2f} s | {min(more):.2f} s | {max(more):.2f} s |
"""
    _RESULTS.write_text(f"{text}\n{remark}\n" if remark else text, encoding="utf-8")
    click.echo(text)


if __name__ == "__main__":
    main()
