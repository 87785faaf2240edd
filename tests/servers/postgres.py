"""A real Postgres that the tests start themselves: a fresh cluster of data in a temporary folder, gone at the end.

It does what it is told to: ``stop``, ``restart``, and ``kill`` as a power cut would (but for the disk's cache). What it
acknowledges is on the disk, unless it is made not to be ``durable``, as the session's is, which nobody kills.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql

from tests.memory import temporary_folder
from tests.servers.missing import missing
from tests.servers.ports import free_port

USER: Final = "tuningjob"
# made for the tests, of servers that live as long as they do; a test looks for it where it must not be
PASSWORD: Final = "must-not-be-told"
LOOPBACK: Final = "127.0.0.1"
_SECONDS: Final = 60
_IN_MEMORY: Final = ("-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")


class Postgres:
    """One server with its data in ``root``, which it makes; on one port of the addresses, and a socket in ``root``."""

    def __init__(
        self, root: Path, programs: Path, *, addresses: Sequence[str] = (LOOPBACK,), durable: bool = True
    ) -> None:
        self._root = root
        self._programs = programs
        self._addresses = addresses
        self._durability = () if durable else _IN_MEMORY
        # Postgres refuses to run as root
        self._user = "postgres" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._empty: list[str] = []
        self.port = free_port()

    def create(self) -> None:
        """Make the data folder."""
        self._root.mkdir(parents=True, exist_ok=True)
        self._own(self._root)
        with tempfile.NamedTemporaryFile("w", dir=self._root) as password:
            password.write(PASSWORD)
            password.flush()
            self._own(Path(password.name))
            words = ["--no-sync", "--no-instructions", "--locale=C.UTF-8", "--encoding=UTF8", "--auth=scram-sha-256"]
            words += [f"--pgdata={self._root}/data", f"--username={USER}", f"--pwfile={password.name}"]
            ended = self._run("initdb", *words).wait(_SECONDS)
        assert ended == 0, f"initdb: {self.log}"
        with (self._root / "data" / "pg_hba.conf").open("a") as rights:
            rights.write("host all all all scram-sha-256\n")

    @property
    def log(self) -> str:
        """What the server said."""
        return (self._root / "log").read_text(errors="replace")

    def url(self, database: str, *, address: str = LOOPBACK) -> str:
        return f"postgresql://{USER}:{PASSWORD}@{address}:{self.port}/{database}"

    def start(self) -> None:
        """Start, and wait until it answers; it first recovers what a killed one left."""
        assert self._process is None, "it runs"
        listen = f"listen_addresses={','.join(self._addresses)}"
        words: list[str | Path] = ["-D", self._root / "data", "-k", self._root, "-p", str(self.port), "-c", listen]
        self._process = self._run("postgres", *words, *self._durability)
        deadline = time.monotonic() + _SECONDS
        while (fault := self._fault()) is not None:
            assert self._process.poll() is None, f"Postgres ended: {self.log[-4000:]}"
            assert time.monotonic() < deadline, f"Postgres does not answer: {fault}\n{self.log[-4000:]}"
            time.sleep(0.02)

    def stop(self) -> None:
        """End it as ``systemctl stop`` does: open transactions are rolled back, sessions ended."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(_SECONDS)
            self._process = None

    def kill(self) -> None:
        """SIGKILL, the server and all its processes."""
        assert self._process is not None, "it does not run"
        pid = self._process.pid
        # the children are sessions of their own, so there is no group to kill; none is born once the parent is stopped
        os.kill(pid, signal.SIGSTOP)
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for each in (pid, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        self._process.wait(_SECONDS)
        self._process = None

    def restart(self) -> None:
        """Stop and start, on the same port and the same data."""
        self.stop()
        self.start()

    def create_database(self) -> str:
        """A database with nothing in it. Returns its name."""
        if self._empty:
            return self._empty.pop()
        name = f"test_{uuid.uuid4().hex[:12]}"
        with self._connect("postgres") as connection:
            connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
        return name

    def copy_database(self, template: str) -> str:
        """A database like another one, which nobody is connected to. Returns its name."""
        name = f"test_{uuid.uuid4().hex[:12]}"
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY FILE_COPY")
        with self._connect("postgres") as connection:
            connection.execute(copy.format(sql.Identifier(name), sql.Identifier(template)))
        return name

    def drop_database(self, name: str) -> None:
        """Where the server is durable this waits for the disk; see ``empty_database``."""
        with self._connect("postgres") as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))

    def empty_database(self, name: str) -> None:
        """End the sessions of a database and have it back for ``create_database``: to drop it would wait for the disk."""
        with self._connect(name) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND pid <> pg_backend_pid()",
                [name],
            )
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public")
        self._empty.append(name)

    def _connect(self, database: str) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self.url(database), autocommit=True, connect_timeout=_SECONDS)

    def _run(self, program: str, *words: str | Path) -> subprocess.Popen[bytes]:
        identity: dict[str, Any] = {"user": self._user, "group": self._user, "extra_groups": []} if self._user else {}
        with (self._root / "log").open("ab") as log:
            return subprocess.Popen(
                [self._programs / program, *words], cwd=self._root, stdout=log, stderr=log, **identity
            )

    def _own(self, path: Path) -> None:
        if self._user is not None:
            shutil.chown(path, self._user)

    def _fault(self) -> psycopg.OperationalError | None:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError as error:
            return error
        return None


@contextlib.contextmanager
def running(
    root: Path | None = None, *, addresses: Sequence[str] = (LOOPBACK,), durable: bool = True
) -> Iterator[Postgres]:
    """A server that runs, and is gone at the end with its data. Fails or skips where Postgres is not installed."""
    programs = find_programs()
    if programs is None:
        missing("Postgres is not installed here (Debian: postgresql-15). Get it with: make cluster-deps")
    with contextlib.ExitStack() as stack:
        if root is None:
            # not pytest's tmp_path: its parents are for its user alone, and the path of a socket is short
            root = Path(tempfile.mkdtemp(prefix="tuningjob-postgres-", dir=temporary_folder()))
        stack.callback(shutil.rmtree, root)
        server = Postgres(root, programs, addresses=addresses, durable=durable)
        server.create()
        stack.callback(server.stop)
        server.start()
        yield server


def find_programs() -> Path | None:
    """Where `initdb` and `postgres` are: Debian keeps them out of PATH."""
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest = max(versions, key=lambda path: int(path.parts[-3]), default=None)
    found = newest or shutil.which("postgres")
    return Path(found).parent if found else None


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A Postgres for the whole session, started when the first test asks for it. Nobody kills it, so it need not wait for the disk."""
    with running(durable=False) as server:
        yield server
