"""The border before every request: it finds out who sent the request, and bounds how much of it is read.

It is plain ASGI outside FastAPI, because FastAPI reads the whole of a body before it asks who sent it.
"""

import asyncio
import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from anyio import CapacityLimiter, to_thread
from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuningjob.errors import TuningJobError
from tuningjob.journal.turns import behalf
from tuningjob.protocol.uploads import MOST_PART_BYTES
from tuningjob_operator import tokens
from tuningjob_operator.service.identity import IdentityUnavailable, People, PersonRefused
from tuningjob_operator.service.room import COME_AGAIN, Desk, NoTurn, RequestRoom, Turn

# The most bytes of a report; pods of the previous release send lists of results of 8 MiB, in an envelope.
MAX_JSON_BYTES: Final = 8 * 2**20 + 4 * 2**10
# The bounds of workers' other bodies, each a few times as large as honest ones are.
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
# The page of the searches in all namespaces that a person may see; its route asks which these are. No namespace has this name.
EVERYWHERE: Final = f"{NAMESPACES}-/ui/"
_ARTIFACTS: Final = "/v1/artifacts/"
_DATA: Final = "/v1/data/"
_SENT: Final = re.compile(rf"{NAMESPACES}[^/]+/data/[0-9a-f]{{64}}$")
# Paths that wait for a disk or a bucket: files of a search or a version, and data that people have sent.
_FILES: Final = re.compile(
    rf"{_ARTIFACTS}|{_DATA}|{NAMESPACES}[^/]+/models/[^/]+/versions/[^/]+/artifacts(/|$)|{_SENT.pattern}"
)
_LINGER_SECONDS: Final = 10.0
# A body is given up if no byte comes for the first, or if it takes longer than the second in all (a model of 4 GiB: the third).
IDLE_SECONDS: Final = 30.0
MAX_BODY_SECONDS: Final = 60.0
MAX_UPLOAD_SECONDS: Final = 3_600.0
_NAMESPACE: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_READS: Final = frozenset({"GET", "HEAD"})
_MAX_KNOWN: Final = 10_000  # searches whose namespaces are remembered


@dataclass(frozen=True)
class Person:
    """A person whom the API server knows, and the one namespace that this request may touch; "" for the list of all."""

    name: str
    namespace: str
    token: str = field(repr=False, compare=False)
    peer: str = ""


class _Refused(Exception):
    def __init__(self, status: int, sentence: str, **headers: str) -> None:
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(sentence)


class Border:
    """Lets a request through if it carries a right, with a body of no more bytes than it may have.

    Workers carry a search's token, and ``request.state.search_id`` names the search. People carry their Kubernetes token, and
    ``request.state.person`` names the person. Denied by default: a path is open only if it is listed.

    A request holds its turn at the desk from the end of its body to the beginning of its answer, so slow senders and readers hold
    none. ``namespace_of`` says which namespace a search is in.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: tokens.Keys,
        people: People,
        max_artifact_bytes: int,
        namespace_of: Callable[[str], str],
        room: RequestRoom,
        desk: Desk,
        idle_seconds: float = IDLE_SECONDS,
    ) -> None:
        self._app = app
        self._keys = keys
        self._people = people
        self._max_artifact_bytes = max_artifact_bytes
        self._namespace_of = namespace_of
        self._namespaces: dict[str, str] = {}
        self._asking: CapacityLimiter | None = None
        self._room = room
        self._desk = desk
        self._idle_seconds = idle_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        try:
            limit = await self._admit(scope)
        except _Refused as refused:
            headers = {"WWW-Authenticate": "Bearer"} if refused.status == 401 else refused.headers
            await JSONResponse({"detail": str(refused)}, refused.status, headers)(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"")
        size = int(announced) if announced.isdigit() else None
        if size is not None and size > limit:
            await _refuse(413, _too_long(limit), scope, receive, send)
            return
        seconds = MAX_UPLOAD_SECONDS if _is_file(scope) else MAX_BODY_SECONDS
        read = _limited(receive, limit, idle_seconds=self._idle_seconds, seconds=seconds)
        if scope["path"] in OPEN_PATHS:
            await self._app(scope, read, send)
            return
        search_id = scope["state"].get("search_id")
        try:
            if search_id is None:
                await self._at_work(scope["state"]["person"].namespace, scope, read, send)
            else:
                size = limit if size is None and _has_body(scope) else size or 0
                await self._in_turn(search_id, size, scope, read, send)
        except NoTurn:
            await _refuse(503, COME_AGAIN, scope, receive, send, Retry_After="2")

    async def _in_turn(self, search_id: str, size: int, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a worker's request in its search's turn. Raises NoTurn, before anything was answered."""
        namespace = await self._namespace(search_id)
        # files are streamed: they are never in memory, and take long
        who, size = (f"{search_id}/files", 0) if _is_file(scope) else (search_id, size)
        async with self._room.taken(who, size, namespace=namespace):
            await self._at_work(namespace, scope, receive, send)

    async def _at_work(self, namespace: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request in its namespace's turn at the desk. Raises NoTurn, before anything was answered."""
        on_behalf = behalf.set(namespace)
        turn = Turn(self._desk, namespace)
        try:
            # files have threads of their own, with turns of their own
            if _is_file(scope):
                await self._app(scope, receive, send)
                return
            if not _has_body(scope):
                await turn.take()
            await self._app(scope, _taking(turn, receive), _giving_back(turn, send))
        finally:
            turn.give_back()
            behalf.reset(on_behalf)

    async def _namespace(self, search_id: str) -> str:
        """The namespace of a search, asked for once; an unknown search counts as a namespace of its own."""
        known = self._namespaces.get(search_id)
        if known is not None:
            return known
        self._asking = self._asking or CapacityLimiter(2)
        try:
            known = await to_thread.run_sync(self._namespace_of, search_id, limiter=self._asking)
        except TuningJobError:
            return f"/{search_id}"
        if len(self._namespaces) >= _MAX_KNOWN:
            self._namespaces.clear()
        self._namespaces[search_id] = known
        return known

    async def _admit(self, scope: Scope) -> int:
        """How many bytes of body the request may have. Raises _Refused."""
        path: str = scope["path"]
        if path in OPEN_PATHS:
            return MAX_PERSONS_BYTES
        token = _bearer(dict(scope["headers"]))
        state = scope.setdefault("state", {})
        if path.startswith(NAMESPACES):
            state["person"] = await self._person(path, scope["method"], token, (scope.get("client") or ("",))[0])
            return MOST_PART_BYTES if _SENT.match(path) else MAX_PERSONS_BYTES
        try:
            state["search_id"] = tokens.search_of_token(self._keys, token)
        except tokens.TokenRefused as refusal:
            raise _Refused(401, str(refusal)) from None
        if path.startswith(_ARTIFACTS):
            return self._max_artifact_bytes
        return _MAX_BODIES.get(path, MAX_JSON_BYTES)

    async def _person(self, path: str, method: str, token: str, peer: str) -> Person:
        is_everywhere = path.startswith(EVERYWHERE)
        namespace = "" if is_everywhere else path.removeprefix(NAMESPACES).partition("/")[0]
        if not is_everywhere and not _NAMESPACE.fullmatch(namespace):
            raise _Refused(404, f"The namespace must be a Kubernetes namespace, but got {namespace[:80]!r}.")
        if tokens.is_one(token):
            raise _Refused(401, "The token must be a person's Kubernetes token, but got the token of a search.")
        try:
            if is_everywhere:
                name = await self._people.somebody(token, peer=peer)
            else:
                verb = "get" if method in _READS else "update"
                name = await self._people.name(token, verb=verb, namespace=namespace, peer=peer)
        except PersonRefused as refusal:
            waits = {"Retry_After": "10"} if refusal.status == 429 else {}
            raise _Refused(refusal.status, str(refusal), **waits) from None
        except IdentityUnavailable as unavailable:
            raise _Refused(503, str(unavailable), Retry_After="2") from None
        return Person(name, namespace, token, peer)


def _bearer(headers: dict[bytes, bytes]) -> str:
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise _Refused(401, "The request must carry the header Authorization: Bearer <token>, but got none.")
    return token.strip()


def _lingering(receive: Receive, send: Send) -> Send:
    """``send`` that closes only once the body was read, because a close before that resets the connection and loses the answer.

    Most clients, ours too, look for an answer only after they have sent everything.
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


def _taking(turn: Turn, receive: Receive) -> Receive:
    """``receive`` that waits for the turn once the body is there."""

    async def received() -> Message:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body", False):
            try:
                await turn.take()
            except NoTurn:
                raise HTTPException(503, COME_AGAIN, {"Retry-After": "2"}) from None
        return message

    return received


def _giving_back(turn: Turn, send: Send) -> Send:
    """``send`` that gives the turn back when the answer begins."""

    async def sent(message: Message) -> None:
        turn.give_back()
        await send(message)

    return sent


def _limited(receive: Receive, limit: int, *, idle_seconds: float, seconds: float) -> Receive:
    """``receive`` that counts a body while it is read: too many bytes end in a 413, too long a pause or a time in a 408."""
    read = 0
    ends_at: float | None = None
    is_whole = False

    async def counted() -> Message:
        nonlocal read, ends_at, is_whole
        if is_whole:
            return await receive()  # a handler may wait for the client to leave, for any time
        now = asyncio.get_running_loop().time()
        ends_at = now + seconds if ends_at is None else ends_at
        # FastAPI lets an HTTPException from within `receive` pass.
        try:
            async with asyncio.timeout(min(idle_seconds, ends_at - now)):
                message = await receive()
        except TimeoutError:
            sentence = f"The body must go on within {idle_seconds:g} seconds, and end within {seconds:g}, but did not."
            raise HTTPException(408, sentence, {"Connection": "close"}) from None
        is_whole = not message.get("more_body", False)
        read += len(message.get("body", b""))
        if read > limit:
            raise HTTPException(413, _too_long(limit), {"Connection": "close"})
        return message

    return counted


async def _refuse(status: int, sentence: str, scope: Scope, receive: Receive, send: Send, **headers: str) -> None:
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    response = JSONResponse({"detail": sentence}, status, {"Connection": "close", **told})
    await response(scope, receive, _lingering(receive, send))


def _is_file(scope: Scope) -> bool:
    return _FILES.match(scope["path"]) is not None


def _has_body(scope: Scope) -> bool:
    return scope["method"] not in _READS


def _too_long(limit: int) -> str:
    return f"The body must be of at most {limit:,} bytes, but got more."
