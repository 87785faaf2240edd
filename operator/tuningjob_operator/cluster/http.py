"""Calls to the API server over aiohttp, which kopf brings: a session, credentials, pages, and one error for each meaning.

Tokens expire: a pod's is read again every minute, and on a 401 session and credentials are made anew, once.
"""

import contextlib
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Final, Self, TypeVar

import aiohttp
import kopf
from pydantic_core import from_json

from tuningjob_operator.cluster.answers import PackedItems, page_reader, read_slim
from tuningjob_operator.cluster.contract import AlreadyExists, ApiError, Conflict, Listing, NotFound
from tuningjob_operator.cluster.login import login
from tuningjob_operator.cluster.paths import path_of
from tuningjob_operator.objects import Body, ignore

logger = logging.getLogger(__name__)

R = TypeVar("R")

REQUEST_SECONDS: Final = 30
_PAGE: Final = 100
# The most pods, quotas, limit ranges, nodes or Leases that are read.
_MOST_ITEMS: Final = 2_500
_METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
JSON: Final = "application/json"
MERGE_PATCH: Final = "application/merge-patch+json"
_TOKEN_SECONDS: Final = 60.0

# Called with every call's verb, resource (`jobs`, `tuningjobs/status`), HTTP status (0: no answer) and seconds.
OnCall = Callable[[str, str, int, float], None]


class HttpApi:
    """The API server. An async context: the HTTP session lives in it."""

    def __init__(self, *, on_call: OnCall = ignore) -> None:
        self._on_call = on_call
        self._session: aiohttp.ClientSession | None = None
        self._server = ""
        self._credentials: dict[str, str] = {}
        self._read_at = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reset()

    async def _reset(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _connected(self) -> aiohttp.ClientSession:
        now = time.monotonic()
        if self._session is None or now - self._read_at >= _TOKEN_SECONDS:
            info = login(settings=kopf.OperatorSettings())
            if info is None:
                raise ApiError(0, "NoCredentials", "neither a service account's token nor a kubeconfig is there")
            self._server, self._credentials, self._read_at = info.server.rstrip("/"), info.as_http_headers(), now
            if self._session is None:
                # as kopf does: an API server is not reached through a proxy meant for the internet
                connector = aiohttp.TCPConnector(ssl=info.as_ssl_context())
                self._session = aiohttp.ClientSession(
                    connector=connector, timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS), trust_env=False
                )
        return self._session

    async def call(
        self,
        verb: str,
        resource: str,
        namespace: str | None,
        name: str = "",
        *,
        body: Body | None = None,
        content_type: str = JSON,
    ) -> Body:
        """Make one call. ``resource`` may name a subresource."""
        path = path_of(resource, namespace, name)

        async def read(response: aiohttp.ClientResponse) -> Body:
            text = await response.read()
            return await read_slim(text)

        return await self.ask(verb, resource, path, read, body=body, content_type=content_type)

    async def ask(
        self,
        verb: str,
        resource: str,
        path: str,
        read: Callable[[aiohttp.ClientResponse], Awaitable[R]],
        *,
        body: Body | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = JSON,
    ) -> R:
        """Make a call, and once more with new credentials if the old ones were refused; ``read`` reads a good answer."""
        try:
            return await self._ask_once(verb, resource, path, read, body=body, query=query, content_type=content_type)
        except ApiError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
        logger.info("the API server refused the credentials: reading them again")
        await self._reset()
        return await self._ask_once(verb, resource, path, read, body=body, query=query, content_type=content_type)

    async def _ask_once(
        self,
        verb: str,
        resource: str,
        path: str,
        read: Callable[[aiohttp.ClientResponse], Awaitable[R]],
        *,
        body: Body | None,
        query: Mapping[str, str] | None,
        content_type: str,
    ) -> R:
        session = self._connected()
        headers = {"Accept": JSON, **self._credentials, **({"Content-Type": content_type} if body is not None else {})}
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        began, status = time.monotonic(), 0
        try:
            async with session.request(
                _METHODS[verb], f"{self._server}{path}", params=query, data=data, headers=headers
            ) as response:
                if response.status >= HTTPStatus.BAD_REQUEST:
                    text = await response.read()
                    status = response.status
                    raise _error(status, text)
                answer = await read(response)
                status = response.status
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{type(error).__name__}: {error}") from error
        except ValueError as error:
            raise ApiError(status, "Unreadable", f"the answer to {verb} {resource}: {error}") from error
        finally:
            self._on_call(verb, resource, status, time.monotonic() - began)

    async def pages(self, resource: str, kind: str, namespace: str | None, **query: str) -> AsyncIterator[Listing]:
        """All objects of a resource, in pages of one resourceVersion; their items are decoded when they are looked at."""
        pages = {"limit": str(_PAGE), **query}
        while True:
            items: list[bytes] = []
            found = await self.ask(
                "list", resource, path_of(resource, namespace), page_reader(kind, items), query=pages
            )
            metadata = found.get("metadata", {})
            yield Listing(PackedItems(items, resource, kind), str(metadata.get("resourceVersion", "")))
            if not metadata.get("continue"):
                return
            pages["continue"] = metadata["continue"]

    async def all_of(self, resource: str, kind: str, namespace: str | None, **query: str) -> tuple[Body, ...]:
        """All objects of a resource, up to more than any search needs, because a tenant may make any number."""
        found: list[Body] = []
        async for page in self.pages(resource, kind, namespace, **query):
            found += page.items
            if len(found) >= _MOST_ITEMS:
                logger.warning(
                    "only the first objects of a list were read", extra={"resource": resource, "of": namespace}
                )
                break
        return tuple(found)


def _error(status: int, text: bytes) -> ApiError:
    reason, message = "", text[:2_000].decode(errors="replace")
    with contextlib.suppress(ValueError, AttributeError):
        told = from_json(text)
        reason, message = told.get("reason", reason), told.get("message", message)
    if status == HTTPStatus.NOT_FOUND:
        return NotFound(status, reason, message)
    if status == HTTPStatus.CONFLICT:
        # not by the verb alone: a quota that another create has changed meanwhile answers a create with a Conflict
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
        return kind(status, reason, message)
    return ApiError(status, reason, message[:2_000])
