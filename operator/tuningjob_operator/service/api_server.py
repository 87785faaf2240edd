"""Requests to the API server: with the token of the person who asks, over connections that are kept open.

A token is sent to the API server and nowhere else: never logged, never stored, and never sent on after a redirect.
"""

import asyncio
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiohttp

_TIMEOUT: Final = aiohttp.ClientTimeout(total=10, connect=3)
# What the kubelet writes into every pod; the chart mounts ca.crt alone, without a token.
_CA_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
_CHUNK_BYTES: Final = 64 * 2**10


class ApiServerAway(Exception):
    """The API server cannot be asked just now, for this reason."""


@dataclass(frozen=True)
class ApiServer:
    """Where the API server is. ``ca_file``: the authority that must have signed its certificate; None: this system's."""

    url: str
    ca_file: Path | None = None


def find_api_server(environ: Mapping[str, str] = os.environ) -> ApiServer | None:
    """The API server of this pod's cluster, or the one that ``TUNINGJOB_KUBERNETES_URL`` names; None if there is neither."""
    ca_file = Path(environ.get("TUNINGJOB_KUBERNETES_CA_FILE", _CA_FILE))
    url = environ.get("TUNINGJOB_KUBERNETES_URL", "")
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    if not url and host:
        # by address, not by name: a cluster's DNS may be down when it matters
        url = f"https://{f'[{host}]' if ':' in host else host}:{environ.get('KUBERNETES_SERVICE_PORT', '443')}"
    if not url:
        return None
    return ApiServer(url.rstrip("/"), ca_file if ca_file.exists() else None)


class ApiConnection:
    """Requests to one API server, at most ``at_once`` at a time. Belongs to one event loop."""

    def __init__(self, server: ApiServer, *, at_once: int) -> None:
        self._server = server
        self._at_once = at_once
        self._session: aiohttp.ClientSession | None = None

    async def call(
        self, method: str, path: str, *, token: str, body: Mapping[str, Any] | None = None, most_bytes: int = 2**20
    ) -> tuple[int, bytes]:
        """The status and the body of the answer. Raises ApiServerAway, even for an answer of more than ``most_bytes``."""
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        try:
            session = await self._connected()
            # never after a redirect: the token is for one address
            async with session.request(
                method, self._server.url + path, json=body, headers=headers, allow_redirects=False
            ) as answer:
                return answer.status, await _bounded(answer, most_bytes)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
                await self.close()  # its authority may be new, so the file is read again
            raise ApiServerAway(f"{type(error).__name__} {error}".strip()) from error

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            context: ssl.SSLContext | bool = True
            if self._server.ca_file is not None:
                ca_file = str(self._server.ca_file)
                context = await asyncio.to_thread(ssl.create_default_context, cafile=ca_file)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=self._at_once),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=_TIMEOUT,
                # as kopf does: an API server is not reached through a proxy meant for the internet
                trust_env=False,
            )
        return self._session


async def _bounded(answer: aiohttp.ClientResponse, most_bytes: int) -> bytes:
    found = bytearray()
    async for chunk in answer.content.iter_chunked(_CHUNK_BYTES):
        found += chunk
        if len(found) > most_bytes:
            raise ApiServerAway(f"an answer of more than {most_bytes:,} bytes")
    return bytes(found)
