"""Real servers of objects, which the tests start themselves: versitygw for S3, fake-gcs-server for Google Cloud Storage, and Azurite,
Microsoft's own, for Azure's blobs.

The first two are built from their Go modules into the cache of the cluster's harness, and npm brings Azurite there. They listen on a
port of this machine alone, keep their objects below a folder, and are ended by their process.
"""

import asyncio
import base64
import contextlib
import email.utils
import gc
import hmac
import os
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from tests.cluster.harness import binaries, brought
from tests.cluster.harness.shell import HarnessError
from tests.servers.missing import missing
from tests.servers.ports import free_port

_ACCESS_KEY: Final = "tuningjob"
# made for the tests, of servers that listen on this machine alone; a test looks for it where it must not be
SECRET_KEY: Final = "must-not-be-told"
_SECONDS: Final = 30
# those that every Azurite has, as its documentation says
_AZURE_ACCOUNT: Final = "devstoreaccount1"
_AZURE_KEY: Final = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="


class BucketServer:
    """A server with one bucket, ``models``. ``environment`` is what its clients need."""

    def __init__(
        self, program: Path, words: Sequence[str], *, url: str, root: Path, health: str, secrets: Mapping[str, str]
    ) -> None:
        self.url = url
        self.bucket = root / "objects" / "models"
        self.environment: dict[str, str] = {}
        self._log = root / "log"
        self._command = [str(program), *words]
        self._health = health
        self._secrets = secrets
        self._process: subprocess.Popen[bytes] | None = None

    def objects(self) -> list[str]:
        """The names of all objects, as they are on the disk."""
        return sorted(str(path.relative_to(self.bucket)) for path in self.bucket.rglob("*") if path.is_file())

    def put(self, name: str, content: bytes) -> None:
        """An object, as if a client had put it there. A server of S3 has its objects as files, one of Google's knows what it was sent."""
        if self.url.startswith("s3"):
            (self.bucket / name).parent.mkdir(parents=True, exist_ok=True)
            (self.bucket / name).write_bytes(content)
        else:
            where = (
                f"{self.environment['STORAGE_EMULATOR_HOST']}/upload/storage/v1/b/models/o?uploadType=media&name={name}"
            )
            urllib.request.urlopen(urllib.request.Request(where, data=content, method="POST"), timeout=_SECONDS).close()

    def reset(self) -> None:
        """The bucket is there, and empty: a folder, to servers that have their objects as files."""
        self.bucket.mkdir(parents=True, exist_ok=True)

    def start(self) -> None:
        """Start, and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env={**os.environ, **self._secrets},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        deadline = time.monotonic() + _SECONDS
        while not self._answers():
            said = self._log.read_text(errors="replace")[-2000:]
            assert self._process.poll() is None, f"{self._command[0]} ended with {self._process.returncode}: {said}"
            assert time.monotonic() < deadline, f"{self._command[0]} does not answer: {said}"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it at once; without effect if it does not run."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(_SECONDS)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self._health, timeout=1):
                return True
        except OSError:
            return False


@contextlib.contextmanager
def s3(root: Path, *, host: str = "127.0.0.1") -> Iterator[BucketServer]:
    """versitygw, keeping what it has below ``root``. Skips or fails where it is not built."""
    address = f"{host}:{free_port()}"
    words = ["--port", address, "--health", "/health", "--quiet", "posix"]
    words += ["--sidecar", str(root / "attributes"), str(root / "objects")]
    server = BucketServer(
        _program("versitygw"),
        words,
        url="s3://models",
        root=root,
        health=f"http://{address}/health",
        secrets={"ROOT_ACCESS_KEY_ID": _ACCESS_KEY, "ROOT_SECRET_ACCESS_KEY": SECRET_KEY},
    )
    (root / "attributes").mkdir(parents=True)
    server.environment = {
        "AWS_ACCESS_KEY_ID": _ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_REGION": "us-east-1",
    }
    yield from _running(server)


@contextlib.contextmanager
def gcs(root: Path, *, host: str = "127.0.0.1") -> Iterator[BucketServer]:
    """fake-gcs-server, keeping what it has below ``root``. Skips or fails where it is not built."""
    port = free_port()
    address = f"http://{host}:{port}"
    words = [
        "-scheme",
        "http",
        "-host",
        host,
        "-port",
        str(port),
        "-external-url",
        address,
        "-log-level",
        "warn",
    ]
    words += ["-backend", "filesystem", "-filesystem-root", str(root / "objects")]
    health = f"{address}/_internal/healthcheck"
    server = BucketServer(_program("fake-gcs-server"), words, url="gs://models", root=root, health=health, secrets={})
    server.environment = {"STORAGE_EMULATOR_HOST": address}
    yield from _running(server)


class AzureServer(BucketServer):
    """Azurite: its bucket is a container, and each request is signed."""

    def reset(self) -> None:
        """The container, made."""

    def start(self) -> None:
        super().start()
        with contextlib.suppress(urllib.error.HTTPError):  # it is there, after another start
            self._send("/models", {"restype": "container"}, b"")

    def put(self, name: str, content: bytes) -> None:
        self._send(f"/models/{name}", {}, content, {"x-ms-blob-type": "BlockBlob"})

    def _send(self, path: str, query: Mapping[str, str], content: bytes, more: Mapping[str, str] | None = None) -> None:
        """With a Shared Key, as Azure's documentation of it says."""
        at = f"/{_AZURE_ACCOUNT}{path}"
        headers = {
            "x-ms-date": email.utils.formatdate(usegmt=True),
            "x-ms-version": "2021-12-02",
            **(more or {}),
        }
        kind, length = "application/octet-stream", str(len(content)) if content else ""
        named = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        asked = "".join(f"\n{name}:{value}" for name, value in sorted(query.items()))
        told = f"PUT\n\n\n{length}\n\n{kind}\n\n\n\n\n\n\n{named}/{_AZURE_ACCOUNT}{at}{asked}"
        digest = hmac.new(base64.b64decode(_AZURE_KEY), told.encode(), "sha256").digest()
        headers |= {
            "Authorization": f"SharedKey {_AZURE_ACCOUNT}:{base64.b64encode(digest).decode()}",
            "Content-Type": kind,
        }
        where = f"{self._health}{at}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        urllib.request.urlopen(
            urllib.request.Request(where, data=content, method="PUT", headers=headers), timeout=_SECONDS
        ).close()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(self._health, timeout=1):
                return True
        except urllib.error.HTTPError:  # it wants to know who asks
            return True
        except OSError:
            return False


@contextlib.contextmanager
def azure(root: Path, *, host: str = "127.0.0.1") -> Iterator[BucketServer]:
    """Azurite, keeping what it has below ``root``. Skips or fails where it is not there, and cannot be brought."""
    port = free_port()
    address = f"http://{host}:{port}"
    words = [str(_azurite()), "--blobHost", host, "--blobPort", str(port), "--location", str(root / "objects")]
    node = shutil.which("node") or ""
    server = AzureServer(
        Path(node),
        [*words, "--silent", "--disableTelemetry", "--skipApiVersionCheck"],
        url=f"abfs://models@{_AZURE_ACCOUNT}.dfs.core.windows.net",
        root=root,
        health=address,
        secrets={},
    )
    (root / "objects").mkdir(parents=True)
    told = f"DefaultEndpointsProtocol=http;AccountName={_AZURE_ACCOUNT};AccountKey={_AZURE_KEY}"
    server.environment = {"AZURE_STORAGE_CONNECTION_STRING": f"{told};BlobEndpoint={address}/{_AZURE_ACCOUNT};"}
    yield from _running(server)


def _azurite() -> Path:
    """Its program. Skips or fails where there is no Node, or npm brings nothing."""
    try:
        return brought.azurite()
    except HarnessError as error:
        missing(str(error))


def _running(server: BucketServer) -> Iterator[BucketServer]:
    server.reset()
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _program(name: str) -> Path:
    program = binaries.path(name)
    if not program.exists():
        missing(f"{name} is not built. Build it with: make cluster-deps")
    return program


# A store lives as long as its process, so it has no end of its own; those of tests end when they are found as garbage, or with
# their module.
talks_to_buckets: Final = [
    pytest.mark.usefixtures("ended_clients"),
    pytest.mark.filterwarnings("ignore:[Uu]nclosed:ResourceWarning"),
]


@pytest.fixture(scope="module")
def ended_clients() -> Iterator[None]:
    """After a module that talked to a bucket in this process, its clients' threads end: with them it could fork no workers."""
    yield
    gc.collect()  # while there is a loop on which what was left behind can be closed
    # not imported here: what no test has used is not there to be ended
    asyn, core = sys.modules.get("fsspec.asyn"), sys.modules.get("gcsfs.core")
    if asyn is not None and asyn.iothread[0] is not None:
        loop, thread = asyn.loop[0], asyn.iothread[0]
        # the last test's store is no garbage yet, because pytest forgets a test's arguments only after this
        for session in _open_sessions():
            asyncio.run_coroutine_threadsafe(session.close(), loop).result(_SECONDS)
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result(_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_SECONDS)
        loop.close()
        asyn.reset_lock()
    for thread in threading.enumerate():
        if core is not None and thread.name == core._DEFERRED_CLOSE_THREAD_NAME:
            vars(core)["_deferred_close_queue"].put(None)
            thread.join(_SECONDS)
            vars(core)["_deferred_close_queue"] = None


def _open_sessions() -> list[Any]:
    """The aiohttp sessions of this process that nobody has closed: here those of fsspec's clients."""
    aiohttp = sys.modules.get("aiohttp")
    if aiohttp is None:
        return []
    # by its type: isinstance would ask proxies, which answer for what they stand for
    return [each for each in gc.get_objects() if type(each) is aiohttp.ClientSession and not each.closed]
