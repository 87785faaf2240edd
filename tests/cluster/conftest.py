"""The cluster's fixtures: one cluster for the session, the product on it, and a fresh namespace for each test.

- ``TUNINGJOB_KUBECONFIG``: use this running cluster, with the chart installed and the images that
  ``TUNINGJOB_OPERATOR_IMAGE`` and ``TUNINGJOB_WORKER_IMAGE`` name, instead of bringing one up.
- ``TUNINGJOB_KEEP_CLUSTER=1``: leave ours up at the end. The next run takes it, with whatever has changed.
- ``TUNINGJOB_REQUIRE_CLUSTER=1``: a cluster that cannot be brought up is a failure, not a skip.
"""

import os
import re
import sys
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from . import patient
from .harness import bringup, teardown
from .harness import release as product
from .harness.client import Cluster, temporary_namespace
from .harness.layout import KUBECONFIG
from .harness.shell import HarnessError, NotReady
from .tuningjobs import TuningJobs, small_pod


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A running two-node cluster, and the images of this checkout on its nodes."""
    if kubeconfig := os.environ.get("TUNINGJOB_KUBECONFIG"):
        yield _named(Path(kubeconfig))
        return
    try:
        with bringup.lock():
            yield bringup.up(_say, keep=os.environ.get("TUNINGJOB_KEEP_CLUSTER") == "1")
            if not bringup.kept():
                teardown.down()
                left = teardown.leftovers()
                assert not left, f"the cluster left behind: {left}"
    except NotReady as reason:
        if os.environ.get("TUNINGJOB_REQUIRE_CLUSTER") == "1":
            pytest.fail(str(reason), pytrace=False)
        pytest.skip(str(reason))


@pytest.fixture(scope="session")
def release(cluster: Cluster) -> product.Release:
    """The chart, installed."""
    if "TUNINGJOB_KUBECONFIG" in os.environ:
        return product.Release()
    return product.install(cluster)


@pytest.fixture(scope="session")
def own_nodes(cluster: Cluster) -> None:
    """For tests that cut a node off, stop the API server, or have pods reach a server on this machine."""
    if cluster.kubeconfig != KUBECONFIG:
        pytest.skip("the cluster that TUNINGJOB_KUBECONFIG names is left alone: this needs nodes of our own")


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own, held to the ``restricted`` Pod Security level."""
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower().removeprefix("test_"))[:40].strip("-")
    with temporary_namespace(cluster, f"{words}-{uuid.uuid4().hex[:6]}") as name:
        yield name


@pytest.fixture
def jobs(cluster: Cluster, release: product.Release, namespace: str) -> TuningJobs:
    """The TuningJobs of the test's own namespace."""
    return TuningJobs(cluster, release, namespace)


@pytest.fixture
def slow_forest(jobs: TuningJobs, iris_forest: dict[str, Any]) -> dict[str, Any]:
    """90 fits that have nothing in common, some 40 s for one pod, in which it mostly waits; five pods fit on the two nodes."""
    jobs.apply(patient.code())
    iris_forest["metadata"]["name"] = "forest"
    iris_forest["spec"].update(patient.forest(), resources=small_pod(), parallelism=1)
    return iris_forest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of the cluster may take longer than others: on a machine that has other work, too, and the first one brings it up.

    Who uses the cluster is marked so here, because a forgotten mark had the fast suite bring it up.
    """
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.cluster)
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.timeout(900))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Put what one would look at by hand beside the failure of a test that uses the cluster."""
    report = yield
    fixtures: dict[str, object] = getattr(item, "funcargs", {})
    found = fixtures.get("cluster")
    if report.when == "call" and report.failed and isinstance(found, Cluster):
        name = fixtures.get("namespace") or getattr(fixtures.get("jobs"), "namespace", None)
        try:
            state = found.state(name if isinstance(name, str) else None)
        except HarnessError as error:
            state = str(error)
        report.sections.append(("the cluster, when this failed", state))
    return report


def _named(kubeconfig: Path) -> Cluster:
    bare = Cluster(kubeconfig=kubeconfig, nodes=(), operator_image="", worker_image="")
    try:
        images = {name: os.environ[f"TUNINGJOB_{name.upper()}"] for name in ("operator_image", "worker_image")}
    except KeyError as error:
        pytest.fail(
            f"TUNINGJOB_KUBECONFIG is set, so {error.args[0]} must name the image on that cluster", pytrace=False
        )
    nodes = tuple(node["metadata"]["name"] for node in bare.items("nodes"))
    return Cluster(kubeconfig=kubeconfig, nodes=nodes, **images)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
