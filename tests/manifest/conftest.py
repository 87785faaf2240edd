"""An API server that has the CRD."""

import time
from collections.abc import Iterator

import pytest

from tests.manifest.manifests import CRD
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer, Refused

JOBS = "/apis/tuningjob.dev/v1alpha1/namespaces/default/tuningjobs"


@pytest.fixture(scope="session")
def server() -> Iterator[ApiServer]:
    """It takes TuningJobs."""
    with apiserver.running() as server:
        server.create_object("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", CRD)
        wait_until_served(server)
        yield server


def wait_until_served(server: ApiServer) -> None:
    """Until it takes TuningJobs: a moment after the CRD was made, or after the server is ready again."""
    deadline = time.monotonic() + 60
    while not _is_served(server):
        assert time.monotonic() < deadline, "the CRD is not served in time"
        time.sleep(0.05)


def _is_served(server: ApiServer) -> bool:
    try:
        server.call("GET", JOBS)
    except Refused:
        return False
    return True
