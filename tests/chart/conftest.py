"""Helm as it is: the one on the PATH, or the one that the cluster's harness has built."""

import functools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator

import pytest

from tests.chart.admission import OPERATOR, prepare
from tests.cluster.harness import binaries
from tests.cluster.harness.layout import CHART
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer, Manifest
from tests.yamls import documents

__all__ = ["CHART", "Helm", "Manifest", "Render"]

Helm = Callable[..., "subprocess.CompletedProcess[str]"]
Render = Callable[..., list[Manifest]]


@pytest.fixture(scope="session")
def helm_program() -> str:
    ours = binaries.path("helm")
    found = os.environ.get("HELM") or (str(ours) if ours.exists() else shutil.which("helm"))
    if found is None:
        pytest.fail("helm: neither in the cache nor on the PATH. Get it with: make cluster-deps")
    return found


@pytest.fixture(scope="session")
def helm(helm_program: str) -> Helm:
    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run([helm_program, *words], capture_output=True, text=True, check=False, timeout=60)

    return run


@pytest.fixture(scope="session")
def template(helm: Helm) -> Helm:
    """``helm template`` with ``--set`` of every word, once for all tests that ask for the same."""

    @functools.cache
    def run(*settings: str) -> "subprocess.CompletedProcess[str]":
        words = [word for setting in settings for word in ("--set-json" if "=[" in setting else "--set", setting)]
        where = ("--namespace", "tuningjob-system", "--kube-version", "1.34.0")
        return helm("template", "tuningjob", str(CHART), *where, *words)

    return run


@pytest.fixture(scope="session")
def render(template: Helm) -> Render:
    """The objects of ``template``."""

    def run(*settings: str) -> list[Manifest]:
        result = template(*settings)
        assert result.returncode == 0, result.stderr
        return documents(result.stdout)

    return run


@pytest.fixture(scope="package")
def kubernetes() -> Iterator[ApiServer]:
    """An API server as ``admission.prepare`` leaves it; a module leaves it as it was, but for TuningJobs."""
    with apiserver.running("alice", "bob", "carol", OPERATOR) as server:
        prepare(server)
        yield server


@pytest.fixture(scope="module")
def objects(render: Render) -> list[Manifest]:
    """What the chart makes with its own values; a module may change its own copy."""
    return render()
