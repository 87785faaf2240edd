"""What stands before every request: whose it is, and how much of it is read.

Plain ASGI, outside FastAPI: that one reads a body before it asks who sent it, and reads all of it.
"""

import datetime as dt
from collections.abc import Callable
from typing import Final

from fastapi import HTTPException
from fastapi.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuningjob_operator import tokens

MAX_JSON_BYTES: Final = 16 * 2**20
OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
_ARTIFACTS: Final = "/v1/artifacts/"
_UNAUTHORIZED: Final = {"WWW-Authenticate": "Bearer"}


class Border:
    """Lets through what carries a search's token, and of its body no more than it may have.

    Puts the search's id into ``request.state.search_id``. Deny by default: a path is open only if it is listed.
    """

    def __init__(self, app: ASGIApp, *, key: bytes, clock: Callable[[], dt.datetime], max_artifact_bytes: int) -> None:
        self._app = app
        self._key = key
        self._clock = clock
        self._max_artifact_bytes = max_artifact_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(scope["headers"])
        if scope["path"] not in OPEN_PATHS:
            try:
                search_id = tokens.verify(self._key, _bearer(headers), self._clock())
            except tokens.TokenRefused as refusal:
                await JSONResponse({"detail": str(refusal)}, 401, _UNAUTHORIZED)(scope, receive, send)
                return
            scope.setdefault("state", {})["search_id"] = search_id
        limit = self._max_artifact_bytes if scope["path"].startswith(_ARTIFACTS) else MAX_JSON_BYTES
        announced = headers.get(b"content-length", b"0")
        if announced.isdigit() and int(announced) > limit:
            response = JSONResponse({"detail": _too_long(limit)}, 413, {"Connection": "close"})
            await response(scope, receive, send)
            return
        await self._app(scope, _limited(receive, limit), send)


def _bearer(headers: dict[bytes, bytes]) -> str:
    scheme, _, token = headers.get(b"authorization", b"").decode("latin-1").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise tokens.TokenRefused("The request must carry the header Authorization: Bearer <token>, but got none.")
    return token.strip()


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
