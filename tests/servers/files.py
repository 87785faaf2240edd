"""A web server of files by TLS, which does whatever web servers do: ``python -m tests.servers.files FOLDER HOST PORT CERTIFICATE KEY``.

It runs in a process of its own, and serves what lies in its folder; under the names below it does something else.
"""

import contextlib
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from tests.servers import certificates
from tests.servers.ports import free_port

_SECONDS: Final = 30


class _Files(BaseHTTPRequestHandler):
    folder: Path
    asked: dict[str, int]

    def do_GET(self) -> None:  # noqa: C901, PLR0912  what a server may do, a line each
        path, _, query = self.path.partition("?")
        name = path.removeprefix("/")
        self.asked[name] = self.asked.get(name, 0) + 1
        first = name.partition("/")[0]
        if first == "moved":
            self._say(302, Location=name.removeprefix("moved"))
        elif first == "plain":
            self._say(302, Location=f"http://{self.headers['Host']}/t.csv")
        elif first == "round":
            self._say(302, Location=self.path)
        elif first == "status":
            self._say(int(name.split("/")[1]))
        elif first == "flaky" and self.asked[name] == 1:
            self._say(503)
        elif first == "packed":
            self._say(200, b"x", **{"Content-Encoding": "gzip"})
        elif first == "short":
            self._say(200, b"a,y\n1,0\n", **{"Content-Length": "1000"})
        elif first == "endless":
            self._say(200, b"", **{"Content-Length": None})
            with contextlib.suppress(OSError):
                while True:
                    self.wfile.write(b"0" * 2**16)
        elif first == "signed" and query != "signature=secret":
            self._say(403)
        elif first == "asked":
            self._say(200, str(self.asked.get(query, 0)).encode())
        elif (self.folder / name.rpartition("/")[2]).is_file():
            self._say(200, (self.folder / name.rpartition("/")[2]).read_bytes())
        else:
            self._say(404)

    def _say(self, status: int, body: bytes = b"", **headers: str | None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the base's name
        """Not told."""


def main(folder: str, host: str, port: int, certificate: str, key: str) -> None:
    handler = type("Files", (_Files,), {"folder": Path(folder), "asked": {}})
    server = ThreadingHTTPServer((host, port), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


class FileServer:
    """``url``, its ``folder`` of files, and the ``authority`` that its certificate is of."""

    def __init__(self, url: str, folder: Path, authority: Path) -> None:
        self.url, self.folder, self.authority = url, folder, authority

    def times_asked(self, name: str) -> int:
        """How often a file was asked for."""
        return int(self.get(f"asked/?{name}"))

    def get(self, name: str) -> bytes:
        context = ssl.create_default_context(cafile=self.authority)
        with urllib.request.urlopen(f"{self.url}/{name}", timeout=5, context=context) as answer:
            content: bytes = answer.read()
            return content


@contextlib.contextmanager
def https(root: Path, *, host: str = "127.0.0.1") -> Iterator[FileServer]:
    """The server, with a certificate of an authority of its own."""
    certificates.make_authority(root / "tls", f"IP:{host}")
    certificates.make_certificate(root / "tls")
    folder, port = root / "files", free_port()
    folder.mkdir()
    words = [str(folder), host, str(port), str(root / "tls" / "tls.crt"), str(root / "tls" / "tls.key")]
    process = subprocess.Popen([sys.executable, "-m", "tests.servers.files", *words], stdin=subprocess.DEVNULL)
    server = FileServer(f"https://{host}:{port}", folder, root / "tls" / "ca.crt")
    try:
        deadline = time.monotonic() + _SECONDS
        while True:
            try:
                server.get("asked/?any")
                break
            except OSError:
                assert process.poll() is None, f"the server ended with {process.returncode}"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.02)
        yield server
    finally:
        process.kill()
        process.wait(_SECONDS)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
