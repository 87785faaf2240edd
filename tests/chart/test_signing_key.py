"""The key that tokens of searches are signed with, through installations and upgrades by the real helm, on a real API server."""

import base64
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chart.conftest import CHART, Helm, Render
from tests.chart.objects import containers_of, mounts_of, of_kind, pod_of, volumes_of
from tests.cluster.harness import binaries
from tests.documents import commands_of
from tests.servers.apiserver import ADMIN, ApiServer

pytestmark = pytest.mark.cluster

NAMESPACE = "keys"
Install = Callable[..., dict[str, bytes]]


@pytest.fixture
def installed(helm: Helm, kubernetes: ApiServer) -> Iterator[Install]:
    """Installs or upgrades the release, and returns what is in the key's Secret then."""
    access = (
        *("--kube-apiserver", kubernetes.url, "--kube-token", kubernetes.token_of(ADMIN)),
        *("--kube-ca-file", str(kubernetes.ca_file), "--namespace", NAMESPACE),
    )

    def install(*settings: str) -> dict[str, bytes]:
        words = [
            word for setting in settings for word in ("--set-string" if "generation" in setting else "--set", setting)
        ]
        result = helm(
            "upgrade",
            "--install",
            "keys",
            str(CHART),
            "--create-namespace",
            *access,
            "--set",
            "crds.enabled=false",
            *words,
        )
        assert result.returncode == 0, result.stderr
        secret: dict[str, Any] = kubernetes.call(
            "GET", f"/api/v1/namespaces/{NAMESPACE}/secrets/keys-tuningjob-signing-key"
        )
        return {name: base64.b64decode(value) for name, value in secret["data"].items()}

    install.uninstall = lambda: helm("uninstall", "keys", *access)  # type: ignore[attr-defined]
    yield install
    install.uninstall()  # type: ignore[attr-defined]
    kubernetes.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}/secrets/keys-tuningjob-signing-key")


@pytest.mark.slow
def test_the_key_is_made_once_and_outlives_upgrades_and_the_release(installed: Install) -> None:
    first = installed()
    assert [len(key) for key in first.values()] == [32]
    assert installed("retentionDays=7") == first
    installed.uninstall()  # type: ignore[attr-defined]
    assert installed() == first


@pytest.mark.slow
def test_a_new_generation_is_a_new_key_beside_the_former_one(installed: Install) -> None:
    (first,) = installed().values()
    rotated = installed("signingKey.generation=2")
    assert rotated["former.key"] == first != rotated["signing.key"]
    assert installed("signingKey.generation=2") == rotated
    assert installed("signingKey.generation=2", "signingKey.keepFormer=false") == {
        "signing.key": rotated["signing.key"]
    }


@pytest.mark.slow
def test_a_key_that_was_restored_as_the_page_says_can_still_be_changed(
    installed: Install, kubernetes: ApiServer, tmp_path: Path
) -> None:
    def types(pattern: str) -> None:
        (command,) = [line for line in commands_of("database.md", "Backup and restore") if re.search(pattern, line)]
        named = command.replace("-n tuningjob-system", f"-n {NAMESPACE}").replace(" tuningjob-", " keys-tuningjob-")
        environment = {
            "KUBECONFIG": str(kubernetes.kubeconfig()),
            "PATH": f"{binaries.path('kubectl').parent}:{os.environ['PATH']}",
        }
        subprocess.run(["bash", "-c", named], cwd=tmp_path, env=environment, check=True, timeout=60)

    first = installed()
    types("get secret .*> keys.yaml")
    installed.uninstall()  # type: ignore[attr-defined]
    for name in ("signing-key", "ca"):
        kubernetes.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}/secrets/keys-tuningjob-{name}")
    types("-f keys.yaml")

    assert installed() == first
    rotated = installed("signingKey.generation=2", "tls.generation=2")
    assert rotated["former.key"] == first["signing.key"] != rotated["signing.key"]


@pytest.mark.parametrize(
    ("settings", "secret"),
    [((), "tuningjob-signing-key"), (("signingKey.existingSecret=mine",), "mine")],
    ids=["the chart's", "one's own"],
)
def test_both_containers_are_given_the_key_and_another_is_taken_at_a_start(
    render: Render, settings: tuple[str, ...], secret: str
) -> None:
    objects = render(*settings)
    assert volumes_of(objects)["signing-key"] == {"secret": {"secretName": secret, "defaultMode": 0o440}}
    for container in containers_of(objects).values():
        (where,) = [each["value"] for each in container["env"] if each["name"] == "TUNINGJOB_SIGNING_KEY_DIR"]
        assert mounts_of(container)[where] == "signing-key"
    made = [each["metadata"]["name"] for each in of_kind(objects, "Secret")]
    assert ("tuningjob-signing-key" in made) is (not settings)
    again = render(*settings, "signingKey.keepFormer=false")
    assert pod_of(objects)["metadata"]["annotations"] != pod_of(again)["metadata"]["annotations"]
