"""Certificates that the service makes for itself, from the authority that the chart has made."""

import datetime as dt
import logging
import ssl
import time
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from tests.servers.certificates import make_authority
from tests.service.test_tls import serving
from tuningjob_operator.service.authority import Authority
from tuningjob_operator.service.tls import OwnCertificate

NAMES = ("results", "results.team.svc", "localhost", "127.0.0.1", "::1")
DAY, HOUR = dt.timedelta(days=1), dt.timedelta(hours=1)
NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
LIFE = DAY / 2  # openssl's authority is good for two


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> dt.datetime:
        return self.now


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As the chart's Secret is mounted."""
    folder = tmp_path_factory.mktemp("authority")
    make_authority(folder)
    return folder


def shown_by(context: ssl.SSLContext, ca_file: Path, name: str) -> x509.Certificate:
    """What a client that trusts the authority alone, and calls the server by this name, is shown in memory. Raises ssl.SSLError."""
    trusting = ssl.create_default_context(cafile=str(ca_file))
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT  # what Python 3.13 has by itself
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context.wrap_bio(to_server, to_client, server_side=True)
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    for _ in range(4):
        for side in (client, server):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    shown = client.getpeercert(binary_form=True)
    assert shown is not None
    return x509.load_der_x509_certificate(shown)


def remaking(folder: Path, clock: Clock) -> tuple[OwnCertificate, ssl.SSLContext]:
    certificate = OwnCertificate(folder, NAMES, life=LIFE, clock=clock)
    return certificate, certificate.context()


@pytest.mark.parametrize("name", NAMES)
def test_it_is_good_for_each_of_its_names(authority: Path, name: str) -> None:
    _, context = remaking(authority, Clock())
    shown = shown_by(context, authority / "ca.crt", name)
    assert shown.not_valid_after_utc == NOW + LIFE


@pytest.mark.parametrize("name", ["results.other.svc", "127.0.0.2", "example.com"])
def test_it_is_good_for_no_other_name(authority: Path, name: str) -> None:
    _, context = remaking(authority, Clock())
    with pytest.raises(ssl.SSLCertVerificationError, match=r"mismatch|not valid for"):
        shown_by(context, authority / "ca.crt", name)


def test_it_signs_nothing_and_serves_alone(authority: Path) -> None:
    _, context = remaking(authority, Clock())
    shown = shown_by(context, authority / "ca.crt", "results").extensions
    assert shown.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = shown.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign) == (True, False)
    assert list(shown.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]


def test_it_is_made_anew_after_two_thirds_of_its_life_with_another_key(authority: Path) -> None:
    clock, began = Clock(), NOW - LIFE * 0.67
    clock.now = began
    certificate, context = remaking(authority, clock)
    first = shown_by(context, authority / "ca.crt", "results")
    clock.now = began + LIFE * 0.66
    assert certificate.renew(context) is False
    clock.now = began + LIFE * 0.67
    assert certificate.renew(context) is True
    second = shown_by(context, authority / "ca.crt", "results")
    assert second.public_key() != first.public_key()
    assert second.not_valid_after_utc > first.not_valid_after_utc
    assert certificate.renew(context) is False


def test_a_client_whose_clock_is_behind_takes_it_too(authority: Path) -> None:
    found = Authority.read(authority)
    now = found.certificate.not_valid_before_utc + 2 * HOUR
    issued = x509.load_pem_x509_certificate(found.issue(NAMES, now=now, life=LIFE).pem)
    assert issued.not_valid_before_utc == now - HOUR


def test_it_never_outlives_its_authority_whose_end_is_told_a_year_before(
    authority: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    ends = Authority.read(authority).ends
    with caplog.at_level(logging.WARNING):
        certificate = OwnCertificate(authority, NAMES, life=30 * DAY, clock=clock)
    assert "the authority ends at" in caplog.text
    assert "helm upgrade" in caplog.text
    context = certificate.context()
    assert shown_by(context, authority / "ca.crt", "results").not_valid_after_utc == ends

    clock.now = ends
    assert certificate.renew(context) is False
    assert "must not have ended" in caplog.text
    with pytest.raises(ValueError, match="must not have ended"):
        OwnCertificate(authority, NAMES, life=DAY, clock=clock)


def test_another_authority_is_taken_at_the_next_look_and_what_is_none_is_not(
    authority: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    mounted, other = tmp_path / "mounted", tmp_path / "other"
    make_authority(other)
    mounted.mkdir()
    for name in ("ca.crt", "ca.key"):
        (mounted / name).write_bytes((authority / name).read_bytes())
    certificate, context = remaking(mounted, Clock())
    (mounted / "ca.crt").write_bytes((other / "ca.crt").read_bytes())
    assert certificate.renew(context) is False
    assert "that belong together" in caplog.text
    shown_by(context, authority / "ca.crt", "results")
    (mounted / "ca.key").write_bytes((other / "ca.key").read_bytes())
    assert certificate.renew(context) is True
    shown_by(context, other / "ca.crt", "results")
    with pytest.raises(ssl.SSLCertVerificationError):
        shown_by(context, authority / "ca.crt", "results")


@pytest.mark.parametrize("broken", ["nothing", "text", "another key"])
def test_what_is_no_authority_is_refused_at_the_start(authority: Path, tmp_path: Path, broken: str) -> None:
    folder = tmp_path / "mounted"
    make_authority(folder)
    if broken == "nothing":
        (folder / "ca.key").unlink()
    else:
        (folder / "ca.key").write_bytes(b"none" if broken == "text" else (authority / "ca.key").read_bytes())
    with pytest.raises(ValueError, match=r"must hold (a )?ca\.crt and (a )?ca\.key"):
        OwnCertificate(folder, NAMES, life=DAY)


@pytest.mark.slow
def test_connections_live_through_the_end_of_the_certificate_that_they_began_with(
    authority: Path, tmp_path: Path
) -> None:
    """Real seconds, and the service's own process: certificates of 6 s, each shown for 4."""
    context = ssl.create_default_context(cafile=str(authority / "ca.crt"))

    def shown(client: httpx.Client) -> tuple[bytes, float]:
        """Of the connection that an answer came by: the certificate, and when it ends."""
        with client.stream("GET", "/healthz") as answer:
            answer.read()
            assert answer.status_code == 200
            tls = answer.extensions["network_stream"].get_extra_info("ssl_object")
        return tls.getpeercert(True), ssl.cert_time_to_seconds(tls.getpeercert()["notAfter"])  # noqa: FBT003  no keyword there

    days = str(6 / 86_400)
    with serving(tmp_path, authority, TUNINGJOB_TLS_NAMES="localhost,127.0.0.1", TUNINGJOB_TLS_DAYS=days) as port:
        url = f"https://127.0.0.1:{port}"
        with httpx.Client(base_url=url, verify=context, trust_env=False, timeout=60) as kept:
            first, ends = shown(kept)
            seen: set[bytes] = set()
            while time.time() < ends + 3 or len(seen) < 3:
                # the one connection goes on, and each new one is shown a certificate that is good
                assert shown(kept)[0] == first
                with httpx.Client(base_url=url, verify=context, trust_env=False, timeout=60) as new:
                    certificate, good_until = shown(new)
                assert good_until > time.time() - 1  # X.509 has whole seconds
                seen.add(certificate)
                time.sleep(0.1)
