"""The authority of the results service's certificates, through installations and upgrades by the real helm, on a real API server."""

import base64
import datetime as dt
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from tests.chart.conftest import CHART, Helm
from tests.servers.apiserver import ADMIN, ApiServer
from tests.service.test_own_certificate import shown_by
from tuningjob_operator.service.tls import OwnCertificate

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

NAMESPACE = "authority"
PATH = f"/api/v1/namespaces/{NAMESPACE}"
Install = Callable[..., dict[str, bytes]]
RENEWAL = "tuningjob.dev/renew-after"


@pytest.fixture
def installed(helm: Helm, kubernetes: ApiServer) -> Iterator[Install]:
    """Installs or upgrades the release, and returns what is in the authority's Secret then."""
    access = (
        *("--kube-apiserver", kubernetes.url, "--kube-token", kubernetes.token_of(ADMIN)),
        *("--kube-ca-file", str(kubernetes.ca_file), "--namespace", NAMESPACE),
    )

    def install(*settings: str) -> dict[str, bytes]:
        words = [word for each in settings for word in ([each] if each.startswith("--") else ["--set-string", each])]
        arguments = ("upgrade", "--install", "ours", str(CHART), "--create-namespace", "--set", "crds.enabled=false")
        result = helm(*arguments, *access, *words)
        assert result.returncode == 0, result.stderr
        secret = secret_of(kubernetes)
        return {name: base64.b64decode(value) for name, value in secret["data"].items()}

    yield install
    helm("uninstall", "ours", *access)
    kubernetes.call("DELETE", f"{PATH}/secrets/ours-tuningjob-ca")


def secret_of(kubernetes: ApiServer) -> dict[str, Any]:
    found: dict[str, Any] = kubernetes.call("GET", f"{PATH}/secrets/ours-tuningjob-ca")
    return found


def test_it_is_made_once_and_what_it_signs_is_verified_by_what_everybody_may_read(
    installed: Install, kubernetes: ApiServer, tmp_path: Path
) -> None:
    first = installed()
    assert installed("podLabels.more=1") == first
    told = kubernetes.call("GET", f"{PATH}/configmaps/ours-tuningjob-ca")["data"]["ca.crt"]
    for name, content in first.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "told.crt").write_text(told)

    own = OwnCertificate(tmp_path, ["results.team.svc"], life=dt.timedelta(days=30))
    shown_by(own.context(), tmp_path / "told.crt", "results.team.svc")
    authority = x509.load_pem_x509_certificate(first["ca.crt"])
    assert authority.not_valid_after_utc - dt.datetime.now(dt.UTC) > dt.timedelta(days=3_640)


def test_after_years_an_upgrade_renews_it_and_copies_of_the_one_before_go_on(
    installed: Install, kubernetes: ApiServer, tmp_path: Path
) -> None:
    first = installed()
    secret = secret_of(kubernetes)
    secret["metadata"]["annotations"][RENEWAL] = "2020-01-01"
    kubernetes.call("PUT", f"{PATH}/secrets/ours-tuningjob-ca", secret)
    second = installed("--force-conflicts")  # it was not helm that wrote the old day
    assert second["ca.key"] == first["ca.key"]
    assert second["ca.crt"] != first["ca.crt"]
    assert secret_of(kubernetes)["metadata"]["annotations"][RENEWAL] > "2030"
    assert installed() == second

    for name, content in {**second, "before.crt": first["ca.crt"]}.items():
        (tmp_path / name).write_bytes(content)
    own = OwnCertificate(tmp_path, ["results"], life=dt.timedelta(days=30)).context()
    for trusted in ("before.crt", "ca.crt"):
        shown_by(own, tmp_path / trusted, "results")


def test_a_new_generation_is_another_authority_that_nobody_trusted_before(installed: Install, tmp_path: Path) -> None:
    first = installed()
    second = installed("tls.generation=2")
    assert second["ca.key"] != first["ca.key"]
    assert installed("tls.generation=2") == second
    for name, content in {**second, "before.crt": first["ca.crt"]}.items():
        (tmp_path / name).write_bytes(content)
    own = OwnCertificate(tmp_path, ["results"], life=dt.timedelta(days=30)).context()
    with pytest.raises(ssl.SSLCertVerificationError):
        shown_by(own, tmp_path / "before.crt", "results")
