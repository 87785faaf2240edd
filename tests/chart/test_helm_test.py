"""The program that `helm test` runs, on a real API server and the real results service. tests/cluster/test_tenant has all of it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.conftest import CHART, Manifest, Render
from tests.chart.objects import containers_of, settings_of, the
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer
from tests.service.server import Service
from tuningjob_operator.service.api_server import ApiServer as Address
from tuningjob_operator.service.identity import KubernetesPeople

PROGRAM = CHART / "files" / "test.py"

pytestmark = pytest.mark.cluster


def test_its_pod_runs_the_program_without_a_right(render: Render) -> None:
    objects = render()
    pod = the(objects, "Pod")
    (container,) = pod["spec"]["containers"]
    assert container["command"] == ["python", "-c"]
    assert container["args"][0].strip() == PROGRAM.read_text(encoding="utf-8").strip()
    assert container["image"] == containers_of(objects)["operator"]["image"]
    url = settings_of(containers_of(objects)["operator"]).results_url
    assert container["env"][0] == {"name": "TUNINGJOB_RESULTS_URL", "value": url}
    account = pod["spec"]["serviceAccountName"]
    assert account == "tuningjob-test"
    bindings = (found for found in objects if found["kind"].endswith("RoleBinding"))
    assert account not in {subject["name"] for found in bindings for subject in found["subjects"]}


def test_its_pod_fits_the_restricted_pod_security_standard(render: Render) -> None:
    spec = the(render("tls.secretName=results-tls"), "Pod")["spec"]
    assert (spec["securityContext"]["runAsNonRoot"], spec["securityContext"]["seccompProfile"]) == (
        True,
        {"type": "RuntimeDefault"},
    )
    assert spec["containers"][0]["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_its_objects_are_there_only_while_it_runs(render: Render) -> None:
    hooks = [found for found in render() if "helm.sh/hook" in found["metadata"].get("annotations", {})]
    assert {found["kind"] for found in hooks} == {"ServiceAccount", "Pod"}
    for found in hooks:
        told = found["metadata"]["annotations"]
        assert told["helm.sh/hook"] == "test"
        assert told["helm.sh/hook-delete-policy"] == "before-hook-creation,hook-succeeded"
    without = render("tests.enabled=false")
    assert not [found for found in without if "helm.sh/hook" in found["metadata"].get("annotations", {})]


@pytest.mark.parametrize(
    ("settings", "kind"), [((), "configMap"), (("tls.secretName=results-tls",), "secret")], ids=["own", "a Secret"]
)
def test_it_is_told_whom_to_trust_and_not_the_key(render: Render, settings: tuple[str, ...], kind: str) -> None:
    spec = the(render(*settings), "Pod")["spec"]
    assert spec["containers"][0]["env"][1] == {"name": "TUNINGJOB_CA_FILE", "value": "/var/run/secrets/tls/ca.crt"}
    (volume,) = [each for each in spec["volumes"] if each["name"] == "tls-ca"]
    assert volume[kind]["items"] == [{"key": "ca.crt", "path": "ca.crt"}]


def test_without_tls_there_is_nobody_to_trust(render: Render) -> None:
    spec = the(render("tls.enabled=false", "people.audience="), "Pod")["spec"]
    assert [each["name"] for each in spec["containers"][0]["env"]] == ["TUNINGJOB_RESULTS_URL"]
    assert "volumes" not in spec


def test_it_asks_with_a_token_that_is_good_for_the_results_service_alone(render: Render) -> None:
    spec = the(render("people.audience=ours"), "Pod")["spec"]
    (volume,) = [each for each in spec["volumes"] if each["name"] == "token"]
    assert volume["projected"]["sources"] == [{"serviceAccountToken": {"path": "token", "audience": "ours"}}]
    (container,) = spec["containers"]
    assert {"name": "TUNINGJOB_TOKEN_FILE", "value": f"{mounts_of_name(container, 'token')}/token"} in container["env"]


def mounts_of_name(container: Manifest, name: str) -> str:
    (path,) = [each["mountPath"] for each in container["volumeMounts"] if each["name"] == name]
    return str(path)


# --- the program -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def account(kubernetes: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a pod of a service account without rights finds mounted."""
    return mounted(kubernetes, tmp_path_factory.mktemp("account"))


def mounted(server: ApiServer, folder: Path) -> Path:
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    server.create_object(accounts, {"metadata": {"name": "tuningjob-test"}})
    request: Manifest = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    told = server.create_object(f"{accounts}/tuningjob-test/token", request)
    (folder / "token").write_text(told["status"]["token"])
    (folder / "namespace").write_text("default")
    (folder / "ca.crt").write_bytes(server.ca_file.read_bytes())
    return folder


@pytest.fixture
def service(kubernetes: ApiServer, tmp_path: Path) -> Iterator[Service]:
    address = Address(kubernetes.url, kubernetes.ca_file)
    service = Service(tmp_path / "service", persons=lambda: KubernetesPeople(address))
    service.start()
    yield service
    service.close()


def run(server: ApiServer, results_url: str, account: Path) -> "subprocess.CompletedProcess[str]":
    environment = {
        "PATH": os.defpath,
        "TUNINGJOB_RESULTS_URL": results_url,
        "TUNINGJOB_TEST_ACCOUNT": str(account),
        "TUNINGJOB_TEST_KUBERNETES": server.url,
        "TUNINGJOB_TEST_PATIENCE": "0",
    }
    words = [sys.executable, "-c", PROGRAM.read_text(encoding="utf-8")]
    return subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.slow
def test_all_is_well(kubernetes: ApiServer, service: Service, account: Path) -> None:
    ended = run(kubernetes, service.url, account)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "the API server serves TuningJobs",
        "the results service is ready",
        "no search is open without its token",
        "who asks for models is known by the API server's word",
    ]


@pytest.mark.slow
def test_a_service_that_is_away_is_told(kubernetes: ApiServer, service: Service, account: Path) -> None:
    url = service.url
    service.stop()
    ended = run(kubernetes, url, account)
    assert ended.returncode == 1
    assert f"not so: the results service is ready. {url}/readyz: must answer, but got" in ended.stdout


@pytest.mark.slow
def test_a_service_that_does_not_reach_the_api_server_is_told(
    kubernetes: ApiServer, tmp_path: Path, account: Path
) -> None:
    nobody = Address("https://127.0.0.1:9", kubernetes.ca_file)
    service = Service(tmp_path / "service", persons=lambda: KubernetesPeople(nobody))
    service.start()
    try:
        ended = run(kubernetes, service.url, account)
    finally:
        service.close()
    assert ended.returncode == 1
    assert "not so: who asks for models is known by the API server's word." in ended.stdout
    assert "must answer 403 or 200, but got 503" in ended.stdout


@pytest.mark.slow
def test_a_cluster_without_the_crd_is_told(service: Service, tmp_path: Path) -> None:
    with apiserver.running() as bare:
        folder = tmp_path / "account"
        folder.mkdir()
        ended = run(bare, service.url, mounted(bare, folder))
    assert ended.returncode == 1
    assert "not so: the API server serves TuningJobs." in ended.stdout
