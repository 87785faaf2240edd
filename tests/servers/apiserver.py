"""A real Kubernetes API server with its etcd, alone: no nodes and no controllers. For what it decides by itself:
who somebody is, what they may, what admission makes of an object.

The programs are the cluster harness' own; nothing of that harness runs here, and both may run at the same time.
"""

import contextlib
import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.cluster.harness import binaries
from tests.servers.missing import missing

_SECONDS: Final = 60
# An API server ends a connection after 90 s without a request.
_KEPT_SECONDS: Final = 60
ADMIN: Final = "admin"
Manifest = dict[str, Any]


class ApiServer:
    """On a port of the loopback, with everything in ``root``. Users are known by static tokens: ``token_of(name)``.

    ``options`` are more flags of the API server.
    """

    def __init__(self, root: Path, *, users: tuple[str, ...] = (), options: tuple[str, ...] = ()) -> None:
        self._root = root
        self._options = options
        self.ca_file = root / "ca.crt"
        self._tokens = {name: secrets.token_hex(16) for name in (ADMIN, *users)}
        self._etcd_ports = (_free_port(), _free_port())
        self._port = _free_port()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._of_thread = threading.local()
        self._connections: list[http.client.HTTPSConnection] = []

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self._port}"

    @property
    def log(self) -> str:
        """What the servers said."""
        return "\n".join(path.read_text(errors="replace")[-3000:] for path in sorted(self._root.glob("*.log")))

    def token_of(self, name: str) -> str:
        return self._tokens[name]

    def kubeconfig(self, user: str = ADMIN) -> Path:
        """A file for clients of this user."""
        path = self._root / f"{user}.kubeconfig"
        cluster = {"server": self.url, "certificate-authority": str(self.ca_file)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self.token_of(user)}}],
        }
        path.write_text(json.dumps(content))
        return path

    def create(self) -> None:
        """Make the keys and the list of users."""
        self._openssl("genrsa", "-out", "sa.key", "2048")
        self._openssl("rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")
        new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        self._openssl(
            "req", "-x509", *new_key, "-subj", "/CN=test-ca", "-days", "2", "-keyout", "ca.key", "-out", "ca.crt"
        )
        self._openssl("req", *new_key, "-subj", "/CN=apiserver", "-keyout", "tls.key", "-out", "tls.csr")
        (self._root / "san").write_text("subjectAltName=IP:127.0.0.1\n")
        words = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "san")
        self._openssl("x509", "-req", "-in", "tls.csr", "-out", "tls.crt", *words)
        lines = [
            f"{token},{name},{name}{',system:masters' if name == ADMIN else ''}" for name, token in self._tokens.items()
        ]
        (self._root / "users.csv").write_text("\n".join(lines) + "\n")

    def start(self) -> None:
        """Start both, and wait until the API server is ready."""
        client, peer = (f"http://127.0.0.1:{port}" for port in self._etcd_ports)
        self._run(
            "etcd",
            *(f"--data-dir={self._root}/etcd", "--unsafe-no-fsync"),
            *(f"--listen-client-urls={client}", f"--advertise-client-urls={client}"),
            *(
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=default={peer}",
            ),
        )
        self._run(
            "kube-apiserver",
            *(f"--etcd-servers={client}", "--bind-address=127.0.0.1", f"--secure-port={self._port}"),
            *(f"--cert-dir={self._root}", f"--tls-cert-file={self._root}/tls.crt"),
            f"--tls-private-key-file={self._root}/tls.key",
            *(f"--token-auth-file={self._root}/users.csv", "--authorization-mode=RBAC"),
            f"--service-account-key-file={self._root}/sa.pub",
            f"--service-account-signing-key-file={self._root}/sa.key",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.98.0.0/16",
            # the default service account of a namespace is a controller's work, and there is none
            "--disable-admission-plugins=ServiceAccount",
            # beta in 1.34, and off
            "--feature-gates=MutatingAdmissionPolicy=true",
            "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
            *self._options,
        )
        deadline = time.monotonic() + _SECONDS
        while not self._is_ready():
            ended = [process.args for process in self._processes if process.poll() is not None]
            is_late = bool(ended) or time.monotonic() > deadline
            assert not is_late, f"the API server is not ready; ended: {ended}\n{self.log}"
            time.sleep(0.05)

    def stop(self) -> None:
        """End both; what was stored stays in ``root``."""
        for connection in self._connections:
            connection.close()
        for process in reversed(self._processes):
            process.send_signal(signal.SIGKILL)
            process.wait(_SECONDS)
        self._processes.clear()

    def back_up(self) -> Path:
        """A copy of what etcd has stored, for ``go_back_to``; the servers are away for that moment."""
        copy = self._root / f"backup-{len(list(self._root.glob('backup-*')))}"
        self.stop()
        shutil.copytree(self._root / "etcd", copy)
        self.start()
        return copy

    def go_back_to(self, backup: Path) -> None:
        """What has been stored since is lost, as when etcd is restored from a snapshot."""
        self.stop()
        shutil.rmtree(self._root / "etcd")
        shutil.copytree(backup, self._root / "etcd")
        self.start()

    def call(self, method: str, path: str, body: Manifest | None = None, *, user: str = ADMIN) -> Manifest:
        """One request as a user. Raises ``Refused`` with the server's own answer."""
        status, text = self.ask(method, path, None if body is None else json.dumps(body).encode(), user=user)
        if status >= http.client.BAD_REQUEST:
            raise Refused(status, text.decode())
        told: Manifest = json.loads(text)
        return told

    def ask(self, method: str, path: str, content: bytes | None = None, *, user: str = ADMIN) -> tuple[int, bytes]:
        """One request as a user: the status and the text of the answer, whatever they are."""
        connection = self._connection()
        headers = {"Authorization": f"Bearer {self.token_of(user)}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, content, headers)
            with connection.getresponse() as answer:
                return answer.status, answer.read()
        except BaseException:
            connection.close()
            raise

    def _connection(self) -> http.client.HTTPSConnection:
        """Each thread's own, kept: a thousand requests of a test begin a connection once."""
        kept: http.client.HTTPSConnection | None = getattr(self._of_thread, "connection", None)
        if kept is None:
            context = ssl.create_default_context(cafile=str(self.ca_file))
            kept = http.client.HTTPSConnection("127.0.0.1", self._port, timeout=_SECONDS, context=context)
            self._of_thread.connection = kept
            self._connections.append(kept)
        elif time.monotonic() - self._of_thread.used > _KEPT_SECONDS:
            kept.close()  # the next request opens it again
        self._of_thread.used = time.monotonic()
        return kept

    def create_object(self, path: str, body: Manifest, *, user: str = ADMIN) -> Manifest:
        """POST, as a user."""
        return self.call("POST", path, body, user=user)

    def _is_ready(self) -> bool:
        try:
            # not /readyz: that waits for what the test does not need, and RBAC's own roles come a moment after it
            self.call("GET", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/system:basic-user")
            self.call("GET", "/api/v1/namespaces/default")
        except (Refused, OSError):
            return False
        return True

    def _openssl(self, *words: str) -> None:
        subprocess.run(["openssl", *words], cwd=self._root, check=True, capture_output=True, timeout=_SECONDS)

    def run_controller(self, name: str) -> None:
        """Start one of Kubernetes' own controllers."""
        self._run(
            "kube-controller-manager",
            # no election, as it is alone; no port, as nobody asks it
            *(f"--kubeconfig={self.kubeconfig()}", "--leader-elect=false", "--secure-port=0", f"--controllers={name}"),
            *(f"--service-account-private-key-file={self._root}/sa.key", f"--root-ca-file={self.ca_file}"),
        )

    def _run(self, program: str, *words: str) -> None:
        # nothing of the caller's environment: a proxy setting would send the API server astray
        with (self._root / f"{program}.log").open("ab") as log:
            command = [str(binaries.path(program)), *words]
            # and no garbage is collected in what lives for seconds, unless memory asks for it
            environment = {"PATH": os.defpath, "GOMAXPROCS": "2", "GOGC": "off", "GOMEMLIMIT": "1GiB"}
            self._processes.append(
                subprocess.Popen(
                    command, cwd=self._root, stdout=log, stderr=log, env=environment, start_new_session=True
                )
            )


class Refused(Exception):
    """The API server's refusal: its status and what it said."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        super().__init__(text)


@contextlib.contextmanager
def running(*users: str, options: tuple[str, ...] = ()) -> Iterator[ApiServer]:
    """A server that runs, and is gone at the end. Fails or skips where its programs are not built."""
    if lacking := [name for name in ("etcd", "kube-apiserver") if not binaries.path(name).exists()]:
        missing(f"{', '.join(lacking)}: not built here. Get them with: make cluster-deps")
    root = Path(tempfile.mkdtemp(prefix="tuningjob-apiserver-"))
    try:
        server = ApiServer(root, users=users, options=options)
        server.create()
        try:
            server.start()
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(root)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
