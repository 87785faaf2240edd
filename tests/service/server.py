"""The results service as it is, on a port of this machine: uvicorn, a database, and a clock that a test can turn."""

import asyncio
import functools
import os
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import fastapi.routing
import httpx
import uvicorn
from fastapi import FastAPI

from tests.journal.makers import Clock
from tests.journal.template import ensure_journal
from tuningjob.artifacts.local import LocalStore
from tuningjob.artifacts.uploads import Uploads
from tuningjob.journal.records import Shares
from tuningjob.journal.sql import SqlJournal
from tuningjob.live.story import ObjectStory
from tuningjob.remote.worker import HttpSearchJournal
from tuningjob_operator import tokens
from tuningjob_operator.service import make_app
from tuningjob_operator.service.connections import guarded
from tuningjob_operator.service.identity import IdentityUnavailable, People, PersonRefused
from tuningjob_operator.service.probes import room_in
from tuningjob_operator.service.stories import ObjectName

KEYS = tokens.Keys(bytes(range(32)))

_MAKE_FIELD: Any = fastapi.routing.create_model_field  # type: ignore[attr-defined]  # not exported
_KEPT_FIELD: Any = functools.cache(_MAKE_FIELD)


def _field(**of: Any) -> Any:
    """Of each answer of each route FastAPI makes a field of pydantic's: two thirds of the 0.18 s that an application takes.

    A process that serves makes them once. One that runs tests makes hundreds of applications, whose fields are the same.
    """
    return _KEPT_FIELD(**of) if of.get("field_info") is None else _MAKE_FIELD(**of)


fastapi.routing.create_model_field = _field  # type: ignore[assignment, attr-defined]

_TRANSPORTS: Any = httpx._transports.default
_MAKE_CONTEXT: Any = _TRANSPORTS.create_ssl_context
_USUAL_CONTEXT: Any = functools.cache(_MAKE_CONTEXT)


def _context(verify: Any = True, cert: Any = None, trust_env: bool = True) -> Any:
    """Each client of httpx's reads the certificates of all authorities, also one for plain HTTP. Here they are read once."""
    named_elsewhere = trust_env and not {"SSL_CERT_FILE", "SSL_CERT_DIR"}.isdisjoint(os.environ)
    if verify is True and cert is None and not named_elsewhere:
        return _USUAL_CONTEXT()
    return _MAKE_CONTEXT(verify=verify, cert=cert, trust_env=trust_env)


_TRANSPORTS.create_ssl_context = _context


class _Hasty:
    """The ``asyncio`` of uvicorn's server, whose pauses are a twentieth.

    It looks every tenth of a second whether it is to end, and gives its connections another one then. A process that serves does so
    once; here hundreds of servers end.
    """

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    @staticmethod
    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / 20)


_SERVER: Any = uvicorn.server
_SERVER.asyncio = _Hasty()


@dataclass
class Register:
    """People as an API server would know them: names by token, and what each may do where. See test_people for a real one."""

    names: dict[str, str] = field(default_factory=dict)
    rights: set[tuple[str, str, str]] = field(default_factory=set)
    stories: dict[str, ObjectStory] = field(default_factory=dict)  # by the names of TuningJobs
    is_away: bool = False

    def enter(self, name: str, *verbs: str, namespace: str = "team") -> str:
        """Somebody who may; returns their token."""
        token = f"token-of-{name}"
        self.names[token] = name
        self.rights |= {(name, verb, namespace) for verb in verbs}
        return token

    async def somebody(self, token: str, *, peer: str = "") -> str:
        if self.is_away:
            raise IdentityUnavailable("The Kubernetes API server must say who this is, but got: nothing")
        if token not in self.names:
            raise PersonRefused(401, "The token must be one that this cluster's API server takes, but it did not.")
        return self.names[token]

    async def namespaces(self, token: str, among: Sequence[str], *, peer: str = "") -> frozenset[str] | None:
        name = await self.somebody(token)
        return frozenset(each for each in among if (name, "get", each) in self.rights)

    async def story(self, token: str, name: ObjectName) -> ObjectStory | None:
        return self.stories.get(name.name)

    async def name(self, token: str, *, verb: str, namespace: str, peer: str = "") -> str:
        name = await self.somebody(token)
        if (name, verb, namespace) not in self.rights:
            raise PersonRefused(403, f"{name} must be allowed to {verb} tuningjobs in {namespace}, but is not.")
        return name

    async def close(self) -> None:
        pass


class Service:
    """Started and stopped at will, always on the same port and the same files.

    ``database_url``: another database than a SQLite file in ``root``. ``persons``: who people are; ``register`` by default.
    """

    def __init__(
        self,
        root: Path,
        *,
        max_artifact_bytes: int = 1000,
        database_url: str = "",
        persons: Callable[[], People] | None = None,
    ) -> None:
        root.mkdir(parents=True, exist_ok=True)
        self._root = root
        self._database_url = database_url or f"sqlite:///{ensure_journal(root / 'tuning.db')}"
        self._persons = persons
        self.clock = Clock()
        self.register = Register()
        self.shares = Shares()
        self.protocol = guarded()
        self.artifacts = LocalStore(root / "artifacts", max_bytes=max_artifact_bytes)
        self.uploads = Uploads(self.artifacts)
        self.journal: SqlJournal = self._open()
        self.app: FastAPI | None = None
        self.port = 0
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _open(self) -> SqlJournal:
        return SqlJournal(self._database_url, clock=self.clock)

    def make_app(self) -> FastAPI:
        """The application over the journal as it is open now."""
        return make_app(
            self.journal,
            self.artifacts,
            KEYS,
            persons=self.register if self._persons is None else self._persons(),
            # methods of ours, that look it up when they are asked: a test may have put something else there
            checks=(self._check_reading,),
            writing=(self._check_writing, room_in(self._root)),
            shares=self.shares,
            uploads=self.uploads,
        )

    def _check_reading(self) -> None:
        self.journal.check()

    def _check_writing(self) -> None:
        self.journal.check_writing()

    def start(self) -> None:
        # Bound and listening before the server's thread runs: a client that connects is kept waiting, not refused.
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self.app = self.make_app()
        self._server = uvicorn.Server(
            uvicorn.Config(self.app, log_config=None, ws="none", lifespan="on", http=self.protocol)
        )
        self._thread = threading.Thread(target=self._serve, args=(self._server, listener))
        self._thread.start()

    @staticmethod
    def _serve(server: uvicorn.Server, listener: socket.socket) -> None:
        with listener:
            server.run(sockets=[listener])

    def stop(self) -> None:
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join()
            self._server = self._thread = None

    @property
    def is_stopped(self) -> bool:
        return self._server is None

    def restart(self) -> None:
        """A new process would see no more than the files: neither does this one."""
        self.stop()
        self.journal.close()
        self.journal = self._open()
        self.uploads = Uploads(self.artifacts, namespace_bytes=self.uploads.namespace_bytes)
        self.start()

    def close(self) -> None:
        self.stop()
        self.journal.close()

    def token(self, search: str = "search-a") -> str:
        return tokens.issue(KEYS, search)

    def client(
        self, search: str = "search-a", *, token: str | None = None, sleep: Callable[[float], None] | None = None
    ) -> HttpSearchJournal:
        """By default one that fails a test rather than waits."""
        return HttpSearchJournal(self.url, token or self.token(search), sleep=sleep or _never)


def routes_of(app: FastAPI) -> set[tuple[str, str]]:
    """Method and path template of everything that the application serves."""
    found: list[Any] = []
    for route in app.routes:
        # FastAPI keeps an included router as it is
        found += getattr(getattr(route, "original_router", None), "routes", [route])
    return {(method, route.path) for route in found for method in route.methods if method != "HEAD"}


def _never(seconds: float) -> None:
    raise AssertionError(f"the client wanted to wait {seconds} seconds")
