"""What stands before every request: whose it is, and how much of it is read.

Plain ASGI, outside FastAPI: that one reads a body before it asks who sent it, and reads all of it.
"""

import asyncio
import contextlib
import re
from dataclasses import dataclass
from typing import Final

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuningjob_operator import tokens
from tuningjob_operator.service.identity import IdentityUnavailable, People, PersonRefused

# What a report may have; pods of the release before send lists of results of 8 MiB, in an envelope.
MAX_JSON_BYTES: Final = 8 * 2**20 + 4 * 2**10
# The other bodies of workers, each a few times of what honest ones are.
_MAX_BODIES: Final = {
    "/v1/preflight": 4 * 2**20,
    "/v1/claims": 64 * 2**10,
    "/v1/leave": 4 * 2**10,
    "/v1/reuse": 512 * 2**10,
    "/v1/complete": 256 * 2**10,
    "/v1/fail": 256 * 2**10,
    "/v1/refuse": 2**20,
}
MAX_PERSONS_BYTES: Final = 64 * 2**10
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics", "/openapi.json"})
NAMESPACES: Final = "/v1/namespaces/"
_ARTIFACTS: Final = "/v1/artifacts/"
_LINGER_SECONDS: Final = 10.0
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_READS: Final = frozenset({"GET", "HEAD"})


@dataclass(frozen=True)
class Person:
    """Somebody whom the API server knows, and the one namespace that this request may touch."""

    name: str
    namespace: str


class _Refused(Exception):
    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


class Border:
    """Lets through what carries a right, and of its body no more than it may have.

    Workers carry a search's token: ``request.state.search_id`` says of which search. People carry their Kubernetes token:
    ``request.state.person``. Deny by default: a path is open only if it is listed.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: tokens.Keys,
        people: People,
        max_artifact_bytes: int,
    ) -> None:
        self._app = app
        self._keys = keys
        self._people = people
        self._max_artifact_bytes = max_artifact_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            limit = await self._admit(scope)
        except _Refused as refused:
            headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else {}
            await JSONResponse({"detail": str(refused)}, refused.status, headers)(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            response = JSONResponse({"detail": _too_long(limit)}, 413, {"Connection": "close"})
            await response(scope, receive, _lingering(receive, send))
            return
        await self._app(scope, _limited(receive, limit), send)

    async def _admit(self, scope: Scope) -> int:
        """How many bytes of body the request may have. Raises _Refused."""
        path: str = scope["path"]
        if path in OPEN_PATHS:
            return MAX_PERSONS_BYTES
        token = _bearer(dict(scope["headers"]))
        state = scope.setdefault("state", {})
        if path.startswith(NAMESPACES):
            state["person"] = await self._person(path, scope["method"], token)
            return MAX_PERSONS_BYTES
        try:
            state["search_id"] = tokens.verify(self._keys, token)
        except tokens.TokenRefused as refusal:
            raise _Refused(401, str(refusal)) from None
        if path.startswith(_ARTIFACTS):
            return self._max_artifact_bytes
        return _MAX_BODIES.get(path, MAX_JSON_BYTES)

    async def _person(self, path: str, method: str, token: str) -> Person:
        namespace = path.removeprefix(NAMESPACES).partition("/")[0]
        if not _NAMESPACE.fullmatch(namespace):
            raise _Refused(404, f"The namespace must be a Kubernetes namespace, but got {namespace[:80]!r}.")
        if tokens.is_one(token):
            raise _Refused(401, "The token must be a person's Kubernetes token, but got the token of a search.")
        try:
            name = await self._people.name(token, verb="get" if method in _READS else "update", namespace=namespace)
        except PersonRefused as refusal:
            raise _Refused(refusal.status, str(refusal)) from None
        except IdentityUnavailable as unavailable:
            raise _Refused(503, str(unavailable)) from None
        return Person(name, namespace)


def _bearer(headers: dict[bytes, bytes]) -> str:
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _Refused(401, "The request must carry the header Authorization: Bearer <token>, but got none.")
    return token.strip()


def _lingering(receive: Receive, send: Send) -> Send:
    """``send`` that closes only when the body was read: on what is not read a connection is reset, its answer with it.

    Most clients, ours too, look for an answer when they have sent all they had.
    """

    async def send_and_read(message: Message) -> None:
        if message["type"] != "http.response.body":
            await send(message)
            return
        await send({**message, "more_body": True})
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                while (await receive()).get("more_body", False):
                    pass
        await send({"type": "http.response.body", "body": b""})

    return send_and_read


def _limited(receive: Receive, limit: int) -> Receive:
    """``receive`` that ends in a 413: a body without an announced length is counted while it is read."""
    read = 0

    async def counted() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > limit:
            # FastAPI lets an HTTPException from within `receive` pass.
            raise HTTPException(413, _too_long(limit), {"Connection": "close"})
        return message

    return counted


def _too_long(limit: int) -> str:
    return f"The body must be of at most {limit:,} bytes, but got more."
