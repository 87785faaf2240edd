"""The account that reviews tokens, as the chart makes it, by the real helm; with the controller that gives it its token."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.conftest import CHART, Helm
from tests.cluster.harness import binaries
from tests.servers import apiserver
from tests.servers.apiserver import ADMIN, ApiServer
from tests.servers.missing import missing
from tests.service.test_kubernetes import grant, token_of_account
from tuningjob_operator.service.api_server import ApiServer as Address
from tuningjob_operator.service.identity import Audience, KubernetesPeople, PersonRefused

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

SECRET = "/api/v1/namespaces/tokens/secrets/tuningjob-reviewer"
_SECONDS = 60


@pytest.fixture(scope="module")
def kubernetes() -> Iterator[ApiServer]:
    """An API server of its own, with the controller of service accounts' tokens."""
    if not binaries.path("kube-controller-manager").exists():
        missing("kube-controller-manager: not built here. Get it with: make cluster-deps")
    with apiserver.running() as server:
        server.run_controller("serviceaccount-token-controller")
        yield server


@pytest.fixture
def token_file(kubernetes: ApiServer, helm: Helm, tmp_path: Path) -> Iterator[Path]:
    """What the kubelet would mount into the results service's container, of a release that is installed."""
    access = (
        *("--kube-apiserver", kubernetes.url, "--kube-token", kubernetes.token_of(ADMIN)),
        *("--kube-ca-file", str(kubernetes.ca_file), "--namespace", "tokens"),
    )
    result = helm("install", "tuningjob", str(CHART), "--create-namespace", "--set", "crds.enabled=false", *access)
    assert result.returncode == 0, result.stderr
    deadline = time.monotonic() + _SECONDS
    while not (data := kubernetes.call("GET", SECRET).get("data")):
        assert time.monotonic() < deadline, kubernetes.log
        time.sleep(0.1)
    file = tmp_path / "token"
    file.write_bytes(base64.b64decode(data["token"]))
    # an upgrade leaves it what it is
    result = helm("upgrade", "tuningjob", str(CHART), "--set", "crds.enabled=false", *access)
    assert result.returncode == 0, result.stderr
    assert kubernetes.call("GET", SECRET)["data"] == data
    yield file
    helm("uninstall", "tuningjob", *access)


async def test_the_account_that_the_chart_makes_reviews_tokens_of_our_audience_and_may_nothing_else(
    kubernetes: ApiServer, token_file: Path
) -> None:
    kubernetes.create_object("/api/v1/namespaces", {"metadata": {"name": "team"}})
    kubernetes.create_object("/api/v1/namespaces/team/serviceaccounts", {"metadata": {"name": "serving"}})
    grant(kubernetes, "view", ["get"], {"kind": "ServiceAccount", "namespace": "team", "name": "serving"})
    token = token_of_account(kubernetes, "serving", audiences=["tuningjob"])
    address = Address(kubernetes.url, kubernetes.ca_file)
    audience = Audience("tuningjob", token_file)
    people = KubernetesPeople(address, audience=audience)
    try:
        assert await people.name(token, verb="get", namespace="team") == "system:serviceaccount:team:serving"
        with pytest.raises(PersonRefused, match="must be allowed to update"):
            await people.name(token, verb="update", namespace="team")
        # the reviewer itself is somebody without a right
        with pytest.raises(PersonRefused, match="tuningjob-reviewer must be allowed to get"):
            await people.name(audience.own_token(), verb="get", namespace="team")
    finally:
        await people.close()
