"""Who a person is, and what they may: the API server's word, asked with the person's own token.

The service has no Kubernetes credentials. Who brings a token brings the right to ask about themselves: SelfSubjectReview
(a TokenReview of oneself) tells the name, SelfSubjectAccessReview whether `kubectl` would be let do the same. So
kubectl's rights are the rights, and there is nothing here that a thief of this service's credentials could ask.

A token is sent to the API server and nowhere else: never logged, never stored. The cache knows its digest.
"""

import asyncio
import hashlib
import json
import logging
import os
import re
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp

from tuningjob.spec.wellknown import GROUP, PLURAL

_log = logging.getLogger(__name__)
# How long a yes is good for after the right was taken away, and a no after it was given.
YES_SECONDS: Final = 30.0
NO_SECONDS: Final = 5.0
_MAX_VERDICTS: Final = 4_096
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10, connect=3)
# Whoever sends random tokens makes this service ask: so many questions at a time, and the others wait.
_CONNECTIONS: Final = 8
# RFC 6750's b68token; nothing that could end a header.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_MAX_TOKEN_LENGTH: Final = 16_384
_ANONYMOUS: Final = "system:anonymous"
_SELF_REVIEW: Final = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
_ACCESS_REVIEW: Final = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


class PersonRefused(Exception):
    """A person may not, with the reason in one sentence. ``status``: 401 (nobody known), 403 (not allowed)."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


class IdentityUnavailable(Exception):
    """Nobody can tell just now who a person is."""


class People(Protocol):
    """Who may do what."""

    async def name(self, token: str, *, verb: str, namespace: str) -> str:
        """The name of whom ``token`` belongs to, who may ``verb`` TuningJobs in ``namespace``.

        Raises PersonRefused and IdentityUnavailable.
        """

    async def close(self) -> None:
        """Give the connections back."""


@dataclass(frozen=True)
class ApiServer:
    """Where the API server is. ``ca_file``: whom its certificate must be signed by; None: what this system trusts."""

    url: str
    ca_file: Path | None = None


# What the kubelet writes into every pod; the chart mounts ca.crt alone, without a token.
_CA_FILE: Final = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"


def find_api_server(environ: Mapping[str, str] = os.environ) -> ApiServer | None:
    """The API server of this pod's cluster, or the one that ``TUNINGJOB_KUBERNETES_URL`` names; None outside of any."""
    ca_file = Path(environ.get("TUNINGJOB_KUBERNETES_CA_FILE", _CA_FILE))
    url = environ.get("TUNINGJOB_KUBERNETES_URL", "")
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    if not url and host:
        # by address, not by name: a cluster's DNS may be down when it matters
        url = f"https://{f'[{host}]' if ':' in host else host}:{environ.get('KUBERNETES_SERVICE_PORT', '443')}"
    if not url:
        return None
    return ApiServer(url.rstrip("/"), ca_file if ca_file.exists() else None)


class Nobody:
    """People where there is no API server to ask: none."""

    async def name(self, token: str, *, verb: str, namespace: str) -> str:  # noqa: ARG002
        """See People."""
        raise IdentityUnavailable(
            "This service must be told of a Kubernetes API server to know people by, but it runs outside of any cluster."
        )

    async def close(self) -> None:
        """See People."""


@dataclass(frozen=True)
class _Verdict:
    """What the API server said. ``refused``: the status and the sentence of a no."""

    name: str = ""
    refused: tuple[int, str] | None = None

    def told(self) -> str:
        if self.refused is not None:
            raise PersonRefused(*self.refused)
        return self.name


class KubernetesPeople:
    """People as the API server knows them. Belongs to one event loop."""

    def __init__(self, server: ApiServer, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._server = server
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._verdicts: OrderedDict[tuple[bytes, str, str], tuple[float, _Verdict]] = OrderedDict()

    async def name(self, token: str, *, verb: str, namespace: str) -> str:
        """See People."""
        if len(token) > _MAX_TOKEN_LENGTH or not _TOKEN.fullmatch(token):
            raise PersonRefused(401, "The token must be a Kubernetes bearer token, but got something else.")
        key = (hashlib.sha256(token.encode()).digest(), verb, namespace)
        known = self._verdicts.get(key)
        if known is not None and self._clock() < known[0]:
            return known[1].told()
        verdict = await self._review(token, verb=verb, namespace=namespace)
        good_for = YES_SECONDS if verdict.refused is None else NO_SECONDS
        self._verdicts[key] = (self._clock() + good_for, verdict)
        self._verdicts.move_to_end(key)
        while len(self._verdicts) > _MAX_VERDICTS:
            self._verdicts.popitem(last=False)
        return verdict.told()

    async def close(self) -> None:
        """See People."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _review(self, token: str, *, verb: str, namespace: str) -> _Verdict:
        who = await self._ask(token, _SELF_REVIEW, "authentication.k8s.io/v1", "SelfSubjectReview", {})
        if isinstance(who, _Verdict):
            return who
        name = str(who.get("userInfo", {}).get("username", ""))
        if name in {"", _ANONYMOUS}:
            return _Verdict(refused=(401, "The token must belong to somebody, but the API server knows nobody by it."))
        attributes = {"group": GROUP, "resource": PLURAL, "verb": verb, "namespace": namespace}
        spec = {"resourceAttributes": attributes}
        may = await self._ask(token, _ACCESS_REVIEW, "authorization.k8s.io/v1", "SelfSubjectAccessReview", spec)
        if isinstance(may, _Verdict):
            return may
        if may.get("allowed") is True:
            return _Verdict(name=name)
        sentence = f"{name} must be allowed to {verb} {PLURAL}.{GROUP} in namespace {namespace}, but is not."
        return _Verdict(name=name, refused=(403, sentence))

    async def _ask(
        self, token: str, path: str, api_version: str, kind: str, spec: Mapping[str, Any]
    ) -> dict[str, Any] | _Verdict:
        """The status of a review of oneself, or the verdict if the API server did not let the person ask."""
        body = {"apiVersion": api_version, "kind": kind, **({"spec": spec} if spec else {})}
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        try:
            session = await self._connected()
            # never after a redirect: the token is for one address
            async with session.post(
                self._server.url + path, json=body, headers=headers, allow_redirects=False
            ) as answer:
                status, text = answer.status, await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
                await self.close()  # its authority may be a new one: the file is read again
            raise self._unavailable(f"{type(error).__name__} {error}".strip()) from error
        if status == HTTPStatus.UNAUTHORIZED:
            return _Verdict(
                refused=(401, "The token must be one that this cluster's API server takes, but it did not.")
            )
        if status == HTTPStatus.FORBIDDEN:
            sentence = f"The API server must let everybody create {kind}s (system:basic-user does), but it did not."
            return _Verdict(refused=(403, sentence))
        if status not in {HTTPStatus.OK, HTTPStatus.CREATED}:
            raise self._unavailable(f"status {status}")
        try:
            return dict(json.loads(text)["status"])
        except (ValueError, KeyError, TypeError):
            raise self._unavailable("an answer that is no review") from None

    def _unavailable(self, got: str) -> IdentityUnavailable:
        _log.warning("the API server did not review a person's token: %s", got)
        return IdentityUnavailable(f"The Kubernetes API server must say who this is, but got: {got}")

    async def _connected(self) -> aiohttp.ClientSession:
        if self._session is None:
            context: ssl.SSLContext | bool = True
            if self._server.ca_file is not None:
                ca_file = str(self._server.ca_file)
                context = await asyncio.to_thread(ssl.create_default_context, cafile=ca_file)
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=context, limit=_CONNECTIONS),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=_TIMEOUT,
                # as kopf does: an API server is not reached through a proxy meant for the internet
                trust_env=False,
            )
        return self._session
