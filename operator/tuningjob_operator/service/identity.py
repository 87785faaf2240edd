"""Who a person is, and what they may do: the API server decides both, so a person has the rights that kubectl has.

A token that is good for the API server (a kubeconfig's) brings the right to ask about itself: SelfSubjectReview tells the name,
SelfSubjectAccessReview whether `kubectl` would be let do the same. A token of an audience of our own is good for nothing but this
service, so it cannot: TokenReview and SubjectAccessReview are asked with a token of the service's, which can do nothing else.

A token is sent to the API server and nowhere else: never logged, never stored. The cache knows its digest.
"""

import asyncio
import base64
import hashlib
import json
import logging
import os
import re
import ssl
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol

import aiohttp
from pydantic_core import from_json
from typing_extensions import override

from tuningjob.manifest.wellknown import GROUP, PLURAL

_log = logging.getLogger(__name__)
# How long a yes is good for after the right was taken away, and a no after it was given.
YES_SECONDS: Final = 30.0
NO_SECONDS: Final = 5.0
_MAX_VERDICTS: Final = 4_096
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10, connect=3)
# Questions to the API server at a time, of people who were known before and of tokens that nobody knows yet.
_KNOWN_AT_ONCE: Final = 8
_STRANGERS_AT_ONCE: Final = 4
# How many strangers may wait, before the next is asked to come again; how many unknown tokens an address may send in a minute.
_STRANGERS_WAITING: Final = 32
_STRANGERS_OF_A_PEER: Final = 30
_MINUTE: Final = 60.0
_MAX_PEERS: Final = 4_096
# RFC 6750's b68token; nothing that could end a header.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_MAX_TOKEN_LENGTH: Final = 16_384
_ANONYMOUS: Final = "system:anonymous"
_AUTHENTICATION: Final = "authentication.k8s.io/v1"
_AUTHORIZATION: Final = "authorization.k8s.io/v1"


class PersonRefused(Exception):
    """A person may not, with the reason in one sentence. ``status``: 401 (nobody known), 403 (not allowed)."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


class IdentityUnavailable(Exception):
    """The API server cannot say just now who a person is."""


class People(Protocol):
    """The people who may ask, and their rights."""

    async def name(self, token: str, *, verb: str, namespace: str, peer: str = "") -> str:
        """The name of whom ``token`` belongs to, who may ``verb`` TuningJobs in ``namespace``.

        ``peer`` is the address that it came from. Raises PersonRefused and IdentityUnavailable.
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


@dataclass(frozen=True)
class Audience:
    """The audience of tokens that are issued for this service alone.

    ``token_file`` has the token to review them with, read anew each time: the kubelet replaces it. ``is_required``: tokens that
    are good for the API server itself are not taken.
    """

    name: str
    token_file: Path
    is_required: bool = False

    def is_of(self, token: str) -> bool:
        """Whether ``token`` says to be for this audience. Whether it is true, the API server tells."""
        _, _, rest = token.partition(".")
        payload, _, _ = rest.partition(".")
        try:
            # pydantic's parser has an end to its depth
            claims = from_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except ValueError:
            return False
        told = claims.get("aud") if isinstance(claims, dict) else None
        return self.name in (told if isinstance(told, list) else [told])

    def own_token(self) -> str:
        """Read our own token. Raises OSError."""
        return self.token_file.read_text(encoding="utf-8").strip()


def find_audience(environ: Mapping[str, str] = os.environ) -> Audience | None:
    """The audience that the chart names; None: only tokens that are good for the API server are taken."""
    name = environ.get("TUNINGJOB_AUDIENCE", "")
    if not name:
        return None
    token_file = Path(environ.get("TUNINGJOB_REVIEWER_TOKEN_FILE", "/var/run/secrets/reviewer/token"))
    return Audience(name, token_file, is_required=environ.get("TUNINGJOB_CLUSTER_TOKENS", "true") != "true")


class Nobody(People):
    """People if there is no API server to ask: none."""

    @override
    async def name(self, token: str, *, verb: str, namespace: str, peer: str = "") -> str:
        raise IdentityUnavailable(
            "This service must be told of a Kubernetes API server to know people by, but it runs outside of any cluster."
        )

    @override
    async def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True)
class _Verdict:
    """The API server's answer. ``refused``: the status and the sentence of a no."""

    name: str = ""
    refused: tuple[int, str] | None = None

    def told(self) -> str:
        if self.refused is not None:
            raise PersonRefused(*self.refused)
        return self.name


class Door:
    """Who may make this service ask the API server: people who were known before, and strangers a few at a time.

    A stranger with random tokens makes the service ask, and keeps only other strangers waiting. Belongs to one event loop.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._rooms = (asyncio.Semaphore(_STRANGERS_AT_ONCE), asyncio.Semaphore(_KNOWN_AT_ONCE))
        self._waiting = 0
        # of each address: since when, and how many tokens that were nobody's
        self._peers: OrderedDict[str, tuple[float, int]] = OrderedDict()

    @asynccontextmanager
    async def open(self, token: bytes, peer: str) -> AsyncIterator[None]:
        """A place to ask from, for the token of this digest. Raises PersonRefused (429) and IdentityUnavailable."""
        if token in self._known:
            async with self._rooms[True]:
                yield
            return
        since, count = self._peers.get(peer, (0.0, 0))
        if count >= _STRANGERS_OF_A_PEER and self._clock() - since < _MINUTE:
            raise PersonRefused(429, f"The address {peer} must send no more tokens that nobody knows. Try again later.")
        if self._waiting >= _STRANGERS_WAITING:
            raise IdentityUnavailable("The API server must be asked of too many unknown tokens just now. Try again.")
        self._waiting += 1
        try:
            async with self._rooms[False]:
                yield
        finally:
            self._waiting -= 1

    def tell(self, token: bytes, peer: str, *, is_somebody: bool) -> None:
        """Note the answer."""
        if is_somebody:
            self._known[token] = None
            self._known.move_to_end(token)
            while len(self._known) > _MAX_VERDICTS:
                self._known.popitem(last=False)
            return
        self._known.pop(token, None)
        since, count = self._peers.pop(peer, (self._clock(), 0))
        is_over = self._clock() - since >= _MINUTE
        self._peers[peer] = (self._clock(), 1) if is_over else (since, count + 1)
        while len(self._peers) > _MAX_PEERS:
            self._peers.popitem(last=False)


def _judged(name: str, may: Mapping[str, Any], attributes: Mapping[str, str]) -> _Verdict:
    """The verdict of an access review."""
    if may.get("allowed") is True:
        return _Verdict(name=name)
    verb, namespace = attributes["verb"], attributes["namespace"]
    sentence = f"{name} must be allowed to {verb} {PLURAL}.{GROUP} in namespace {namespace}, but is not."
    return _Verdict(name=name, refused=(403, sentence))


class KubernetesPeople(People):
    """People as the API server knows them. Belongs to one event loop."""

    def __init__(
        self, server: ApiServer, *, audience: Audience | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._server = server
        self._audience = audience
        self._clock = clock
        self._session: aiohttp.ClientSession | None = None
        self._door = Door(clock)
        self._verdicts: OrderedDict[tuple[bytes, str, str], tuple[float, _Verdict]] = OrderedDict()

    @override
    async def name(self, token: str, *, verb: str, namespace: str, peer: str = "") -> str:
        if len(token) > _MAX_TOKEN_LENGTH or not _TOKEN.fullmatch(token):
            raise PersonRefused(401, "The token must be a Kubernetes bearer token, but got something else.")
        key = (hashlib.sha256(token.encode()).digest(), verb, namespace)
        known = self._verdicts.get(key)
        if known is not None and self._clock() < known[0]:
            return known[1].told()
        async with self._door.open(key[0], peer):
            verdict = await self._review(token, verb=verb, namespace=namespace)
        self._door.tell(key[0], peer, is_somebody=verdict.name != "")
        good_for = YES_SECONDS if verdict.refused is None else NO_SECONDS
        self._verdicts[key] = (self._clock() + good_for, verdict)
        self._verdicts.move_to_end(key)
        while len(self._verdicts) > _MAX_VERDICTS:
            self._verdicts.popitem(last=False)
        return verdict.told()

    @override
    async def close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _review(self, token: str, *, verb: str, namespace: str) -> _Verdict:
        attributes = {"group": GROUP, "resource": PLURAL, "verb": verb, "namespace": namespace}
        if self._audience is not None and self._audience.is_of(token):
            return await self._review_for(self._audience, token, attributes)
        if self._audience is not None and self._audience.is_required:
            advice = f"Try `kubectl create token SERVICEACCOUNT --audience {self._audience.name}`."
            sentence = f"The token must be of the audience {self._audience.name}, but got another. {advice}"
            return _Verdict(refused=(401, sentence))
        who = await self._ask(token, _AUTHENTICATION, "SelfSubjectReview", {})
        if isinstance(who, _Verdict):
            return who
        name = str(who.get("userInfo", {}).get("username", ""))
        if name in {"", _ANONYMOUS}:
            return _Verdict(refused=(401, "The token must belong to somebody, but the API server knows nobody by it."))
        may = await self._ask(token, _AUTHORIZATION, "SelfSubjectAccessReview", {"resourceAttributes": attributes})
        return may if isinstance(may, _Verdict) else _judged(name, may, attributes)

    async def _review_for(self, audience: Audience, token: str, attributes: Mapping[str, str]) -> _Verdict:
        """Of a token of our own audience, which we must ask about with our own token."""
        try:
            own = audience.own_token()
        except OSError as error:
            raise self._unavailable(f"no token to review others with ({error.strerror})") from None
        who = await self._ask(own, _AUTHENTICATION, "TokenReview", {"token": token, "audiences": [audience.name]})
        if isinstance(who, _Verdict):
            raise self._unavailable("no right to create TokenReviews")
        # an API server that knows no audiences would name none
        user, audiences = who.get("user") or {}, who.get("audiences") or []
        if who.get("authenticated") is not True or audience.name not in audiences or not user.get("username"):
            sentence = (
                f"The token must be one of the audience {audience.name} that is good, but the API server says no."
            )
            return _Verdict(refused=(401, sentence))
        spec = {"user": user["username"], **{key: user[key] for key in ("uid", "groups", "extra") if key in user}}
        may = await self._ask(
            own, _AUTHORIZATION, "SubjectAccessReview", {**spec, "resourceAttributes": dict(attributes)}
        )
        if isinstance(may, _Verdict):
            raise self._unavailable("no right to create SubjectAccessReviews")
        return _judged(str(user["username"]), may, attributes)

    async def _ask(self, token: str, api_version: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any] | _Verdict:
        """The status of a review, or the verdict if the API server did not let the token's owner ask."""
        body = {"apiVersion": api_version, "kind": kind, **({"spec": spec} if spec else {})}
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        path = f"/apis/{api_version}/{kind.lower()}s"
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
                connector=aiohttp.TCPConnector(ssl=context, limit=_KNOWN_AT_ONCE + _STRANGERS_AT_ONCE),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=_TIMEOUT,
                # as kopf does: an API server is not reached through a proxy meant for the internet
                trust_env=False,
            )
        return self._session
