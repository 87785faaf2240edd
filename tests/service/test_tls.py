"""TLS: spoken by the process as it is started, verified by its authority, renewed without a restart. test_own_certificate has the
certificates that the service makes for itself.
"""

import asyncio
import logging
import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.journal.makers import a_search
from tests.servers.certificates import make_authority, make_certificate
from tuningjob.journal.sql import open_sqlite
from tuningjob_operator import tokens
from tuningjob_operator.service.__main__ import _GRACE_SECONDS
from tuningjob_operator.service.tls import MountedCertificate


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("authority")
    make_authority(folder, "IP:127.0.0.1", "DNS:localhost")
    make_certificate(folder, "one")
    make_certificate(folder, "two")
    return folder


@pytest.fixture
def mounted(authority: Path, tmp_path: Path) -> Path:
    """A folder as the kubelet mounts a Secret of the first certificate."""
    folder = tmp_path / "tls"
    folder.mkdir()
    mount(authority, "one", folder)
    (folder / "ca.crt").write_bytes((authority / "ca.crt").read_bytes())
    return folder


def mount(authority: Path, name: str, folder: Path, *, key_of: str = "") -> None:
    """Put a pair in its place, each file at once, as the kubelet does with the whole."""
    for target, source in (("tls.crt", f"{name}.crt"), ("tls.key", f"{key_of or name}.key")):
        draft = folder / f".{target}"
        draft.write_bytes((authority / source).read_bytes())
        draft.replace(folder / target)


@contextmanager
def serving(data: Path, tls: Path, **more: str) -> Iterator[int]:
    """The results service's own process, speaking TLS; its port."""
    with started(data, tls, **more) as (_, port):
        yield port


@contextmanager
def started(data: Path, tls: Path, **more: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The same, and the process itself."""
    environment = os.environ | {
        "TUNINGJOB_DATA_DIR": str(data),
        "TUNINGJOB_RESULTS_PORT": "0",
        "TUNINGJOB_TLS_DIR": str(tls),
        **more,
    }
    command = [sys.executable, "-m", "tuningjob_operator.service"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if "running on https://" in line:
                    yield process, int(line.split("running on ")[1].split()[0].rsplit(":", 1)[1])
                    return
            pytest.fail("".join(lines))
        finally:
            process.kill()


@pytest.mark.slow
def test_the_service_speaks_tls_that_its_authority_verifies(mounted: Path, tmp_path: Path) -> None:
    journal = open_sqlite(tmp_path / "tuning.db")
    journal.open_search(a_search())
    journal.close()
    with serving(tmp_path, mounted) as port:
        token = tokens.issue(tokens.read_keys(None, tmp_path / "signing.key"), "search-a")
        context = ssl.create_default_context(cafile=str(mounted / "ca.crt"))
        url, headers = f"https://127.0.0.1:{port}", {"Authorization": f"Bearer {token}"}
        told = httpx.get(f"{url}/v1/search", headers=headers, verify=context, trust_env=False, timeout=60)
        assert told.json()["id"] == "search-a"
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(f"{url}/v1/search", headers=headers, trust_env=False, timeout=60)
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False, timeout=60)


@pytest.mark.slow
def test_a_client_that_has_nothing_to_ask_just_now_does_not_delay_the_end_of_the_service(
    mounted: Path, tmp_path: Path
) -> None:
    """A worker whose fit takes an hour keeps its connection, and reads no farewell before its next request."""
    context = ssl.create_default_context(cafile=str(mounted / "ca.crt"))
    with started(tmp_path, mounted) as (process, port), httpx.Client(verify=context, trust_env=False) as client:
        assert client.get(f"https://127.0.0.1:{port}/healthz").status_code == 200
        process.terminate()
        # uvicorn ends in good order, and then by the signal that it was sent
        assert process.wait(_GRACE_SECONDS / 2) == -signal.SIGTERM


async def common_name(port: int, ca: Path) -> str:
    """Of the certificate that is shown to a new connection."""
    context = ssl.create_default_context(cafile=str(ca))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    shown = writer.get_extra_info("peercert")
    writer.close()
    await writer.wait_closed()
    return str(dict(pair for (pair,) in shown["subject"])["commonName"])


async def test_a_renewed_certificate_is_shown_to_new_connections(authority: Path, mounted: Path) -> None:
    certificate = MountedCertificate(mounted)
    certificate.look_seconds = 0.01
    context = certificate.context()
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0, ssl=context)
    watching = asyncio.create_task(certificate.watch(context))
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await common_name(port, authority / "ca.crt") == "one"
        mount(authority, "two", mounted)
        for _ in range(500):
            if await common_name(port, authority / "ca.crt") == "two":
                break
            await asyncio.sleep(0.01)
        else:
            pytest.fail("the renewed certificate was never shown")
        watching.cancel()


def test_what_is_no_pair_leaves_the_old_one_in_use(
    authority: Path, mounted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    certificate = MountedCertificate(mounted)
    context = certificate.context()
    assert certificate.renew(context) is False
    mount(authority, "two", mounted, key_of="one")
    with caplog.at_level(logging.WARNING):
        assert certificate.renew(context) is False
    assert "the renewed certificate was not taken" in caplog.text
    mount(authority, "two", mounted)
    assert certificate.renew(context) is True
    assert certificate.renew(context) is False


def test_a_folder_without_a_pair_is_refused_at_the_start(authority: Path, mounted: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must hold tls\.crt and tls\.key that belong together"):
        MountedCertificate(tmp_path)
    mount(authority, "one", mounted, key_of="two")
    with pytest.raises(ValueError, match="that belong together"):
        MountedCertificate(mounted)
