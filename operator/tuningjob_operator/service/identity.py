"""Who a person is, and what they may do: the API server decides both, so a person has the rights that kubectl has.

A token that is good for the API server (a kubeconfig's) may ask about itself: SelfSubjectReview tells the name, and
SelfSubjectAccessReview whether `kubectl` could do the same. A token of an audience of our own is good for this service alone, so
TokenReview and SubjectAccessReview are asked with a token of the service's, which can do nothing else.

A token is sent to the API server and nowhere else: never logged, never stored. The cache knows its digest.
"""

import asyncio
import base64
import hashlib
import json
import logging
import os
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Protocol

from pydantic_core import from_json
from typing_extensions import override

from tuningjob.live.story import ObjectStory
from tuningjob.manifest.wellknown import GROUP, PLURAL
from tuningjob_operator.service.api_server import ApiConnection, ApiServer, ApiServerAway
from tuningjob_operator.service.stories import ObjectName, Stories, elsewhere

_log = logging.getLogger(__name__)
# How long a yes stays good after the right was taken away, and a no after it was given.
YES_SECONDS: Final = 30.0
NO_SECONDS: Final = 5.0
_MAX_VERDICTS: Final = 4_096
# For how many namespaces the API server is asked about a person who may not see all: each is a request.
MOST_NAMESPACES: Final = 50
# How many requests to the API server at a time, for people who were known before, and for unknown tokens.
_KNOWN_AT_ONCE: Final = 8
_STRANGERS_AT_ONCE: Final = 4
# How many strangers may wait before the next is asked to come again; how many unknown tokens an address may send in a minute.
_STRANGERS_WAITING: Final = 32
_STRANGERS_OF_A_PEER: Final = 30
_MINUTE: Final = 60.0
_MAX_PEERS: Final = 4_096
# RFC 6750's b64token, without characters that could end a header.
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_MAX_TOKEN_LENGTH: Final = 16_384
_ANONYMOUS: Final = "system:anonymous"
_AUTHENTICATION: Final = "authentication.k8s.io/v1"
_AUTHORIZATION: Final = "authorization.k8s.io/v1"


class PersonRefused(Exception):
    """A person is refused, for the reason in one sentence. ``status``: 401 (not known), 403 (not allowed)."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status = status
        super().__init__(sentence)


class IdentityUnavailable(Exception):
    """The API server cannot say just now who a person is."""


class People(Protocol):
    """The people who may ask, and their rights."""

    async def name(self, token: str, *, verb: str, namespace: str, peer: str = "") -> str:
        """The name of the token's owner, who may ``verb`` TuningJobs in ``namespace``.

        ``peer`` is the address that the token came from. Raises PersonRefused and IdentityUnavailable.
        """

    async def somebody(self, token: str, *, peer: str = "") -> str:
        """The name of the token's owner, without regard to rights. Raises as ``name``."""

    async def namespaces(self, token: str, among: Sequence[str], *, peer: str = "") -> frozenset[str] | None:
        """Those of the first namespaces in ``among`` in which the owner may get TuningJobs; None: all that there are.

        Raises as ``name``.
        """

    async def story(self, token: str, name: ObjectName) -> ObjectStory | None:
        """What the API server tells the token's owner of a TuningJob; None if nothing has come yet."""

    async def close(self) -> None:
        """Close the connections."""


@dataclass(frozen=True)
class Audience:
    """The audience of tokens that are issued for this service alone.

    ``token_file`` has the token to review them with; it is read each time, because the kubelet replaces it. ``is_required``:
    tokens that are good for the API server itself are refused.
    """

    name: str
    token_file: Path
    is_required: bool = False

    def is_of(self, token: str) -> bool:
        """Whether ``token`` claims to be for this audience. Only the API server can tell whether that is true."""
        _, _, rest = token.partition(".")
        payload, _, _ = rest.partition(".")
        try:
            # pydantic's parser bounds the depth
            claims = from_json(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except ValueError:
            return False
        told = claims.get("aud") if isinstance(claims, dict) else None
        return self.name in (told if isinstance(told, list) else [told])

    def own_token(self) -> str:
        """Read our own token. Raises OSError."""
        return self.token_file.read_text(encoding="utf-8").strip()


def find_audience(environ: Mapping[str, str] = os.environ) -> Audience | None:
    """The audience that the chart names; None: only tokens that are good for the API server are accepted."""
    name = environ.get("TUNINGJOB_AUDIENCE", "")
    if not name:
        return None
    token_file = Path(environ.get("TUNINGJOB_REVIEWER_TOKEN_FILE", "/var/run/secrets/reviewer/token"))
    return Audience(name, token_file, is_required=environ.get("TUNINGJOB_CLUSTER_TOKENS", "true") != "true")


class Nobody(People):
    """The ``People`` of a service without an API server: it knows none."""

    @override
    async def name(self, token: str, *, verb: str, namespace: str, peer: str = "") -> str:
        raise IdentityUnavailable(
            "This service must be told of a Kubernetes API server to know people by, but it runs outside of any cluster."
        )

    @override
    async def somebody(self, token: str, *, peer: str = "") -> str:
        return await self.name(token, verb="", namespace="")

    @override
    async def namespaces(self, token: str, among: Sequence[str], *, peer: str = "") -> frozenset[str] | None:
        return frozenset()

    @override
    async def story(self, token: str, name: ObjectName) -> ObjectStory | None:
        return None

    @override
    async def close(self) -> None:
        """Close nothing, because there is no connection."""


@dataclass(frozen=True)
class _Verdict:
    """The API server's answer. ``refused``: a no's status and sentence. ``sees``: the namespaces that are seen; None: all."""

    name: str = ""
    refused: tuple[int, str] | None = None
    sees: frozenset[str] | None = frozenset()

    def told(self) -> str:
        if self.refused is not None:
            raise PersonRefused(*self.refused)
        return self.name


class Door:
    """Bounds the requests to the API server: known people come first, strangers a few at a time.

    A stranger with random tokens keeps only other strangers waiting. Belongs to one event loop.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._known: OrderedDict[bytes, None] = OrderedDict()
        self._rooms = (asyncio.Semaphore(_STRANGERS_AT_ONCE), asyncio.Semaphore(_KNOWN_AT_ONCE))
        self._waiting = 0
        # for each address: since when, and how many invalid tokens it has sent
        self._peers: OrderedDict[str, tuple[float, int]] = OrderedDict()

    @asynccontextmanager
    async def open(self, token: bytes, peer: str) -> AsyncIterator[None]:
        """Hold a place to ask about the token of this digest. Raises PersonRefused (429) and IdentityUnavailable."""
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
        """Note whether the token was valid."""
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


@dataclass(frozen=True)
class _Somebody:
    """A token's owner. ``asks``: the token to ask about them with. ``spec``: how a review names them, if it must."""

    name: str
    asks: str
    spec: Mapping[str, Any] | None = None


class KubernetesPeople(People):
    """People as the API server knows them. Belongs to one event loop."""

    def __init__(
        self, server: ApiServer, *, audience: Audience | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._audience = audience
        self._clock = clock
        self._connection = ApiConnection(server, at_once=_KNOWN_AT_ONCE + _STRANGERS_AT_ONCE)
        self._stories = Stories(self._connection, clock)
        self._door = Door(clock)
        self._verdicts: OrderedDict[tuple[bytes, str, str], tuple[float, _Verdict]] = OrderedDict()

    @override
    async def name(self, token: str, *, verb: str, namespace: str, peer: str = "") -> str:
        return (await self._remembered(token, (verb, namespace), peer, partial(self._may, verb, namespace))).told()

    @override
    async def somebody(self, token: str, *, peer: str = "") -> str:
        return (await self._remembered(token, ("", ""), peer, self._is)).told()

    @override
    async def namespaces(self, token: str, among: Sequence[str], *, peer: str = "") -> frozenset[str] | None:
        verdict = await self._remembered(token, ("see", ""), peer, partial(self._sees, among[:MOST_NAMESPACES]))
        verdict.told()
        return verdict.sees

    @override
    async def story(self, token: str, name: ObjectName) -> ObjectStory | None:
        if self._audience is not None and self._audience.is_of(token):
            return elsewhere(name)
        return await self._stories.of(token, name)

    @override
    async def close(self) -> None:
        await self._connection.close()

    async def _remembered(
        self, token: str, what: tuple[str, str], peer: str, judge: Callable[[_Somebody], Awaitable[_Verdict]]
    ) -> _Verdict:
        """The verdict on the owner of ``token``: a recent one, or a new one by ``judge``."""
        if len(token) > _MAX_TOKEN_LENGTH or not _TOKEN.fullmatch(token):
            raise PersonRefused(401, "The token must be a Kubernetes bearer token, but got something else.")
        digest = hashlib.sha256(token.encode()).digest()
        key = (digest, *what)
        known = self._verdicts.get(key)
        if known is not None and self._clock() < known[0]:
            return known[1]
        async with self._door.open(digest, peer):
            who = await self._who(token)
            verdict = who if isinstance(who, _Verdict) else await judge(who)
        self._door.tell(digest, peer, is_somebody=verdict.name != "")
        good_for = YES_SECONDS if verdict.refused is None else NO_SECONDS
        self._verdicts[key] = (self._clock() + good_for, verdict)
        self._verdicts.move_to_end(key)
        while len(self._verdicts) > _MAX_VERDICTS:
            self._verdicts.popitem(last=False)
        return verdict

    async def _is(self, who: _Somebody) -> _Verdict:
        return _Verdict(name=who.name)

    async def _sees(self, among: Sequence[str], who: _Somebody) -> _Verdict:
        if (await self._may("get", "", who)).refused is None:  # no namespace in a review means all of them
            return _Verdict(name=who.name, sees=None)
        seen: set[str] = set()
        for start in range(0, len(among), _STRANGERS_AT_ONCE):
            asked = among[start : start + _STRANGERS_AT_ONCE]
            verdicts = await asyncio.gather(*(self._may("get", each, who) for each in asked))
            seen |= {each for each, verdict in zip(asked, verdicts, strict=True) if verdict.refused is None}
        return _Verdict(name=who.name, sees=frozenset(seen))

    async def _may(self, verb: str, namespace: str, who: _Somebody) -> _Verdict:
        attributes = {"group": GROUP, "resource": PLURAL, "verb": verb, "namespace": namespace}
        kind = "SelfSubjectAccessReview" if who.spec is None else "SubjectAccessReview"
        spec = {**(who.spec or {}), "resourceAttributes": attributes}
        may = await self._ask(who.asks, _AUTHORIZATION, kind, spec)
        if not isinstance(may, _Verdict):
            return _judged(who.name, may, attributes)
        if who.spec is not None:
            raise self._unavailable("no right to create SubjectAccessReviews")
        return may

    async def _who(self, token: str) -> _Somebody | _Verdict:
        if self._audience is not None and self._audience.is_of(token):
            return await self._owner(self._audience, token)
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
        return _Somebody(name, token)

    async def _owner(self, audience: Audience, token: str) -> _Somebody | _Verdict:
        """The owner of a token of our own audience, which we must ask about with our own token."""
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
        return _Somebody(str(user["username"]), own, spec)

    async def _ask(self, token: str, api_version: str, kind: str, spec: Mapping[str, Any]) -> dict[str, Any] | _Verdict:
        """The status of a review, or the verdict if the API server did not let the token's owner ask."""
        body = {"apiVersion": api_version, "kind": kind, **({"spec": spec} if spec else {})}
        try:
            status, text = await self._connection.call(
                "POST", f"/apis/{api_version}/{kind.lower()}s", token=token, body=body
            )
        except ApiServerAway as away:
            raise self._unavailable(str(away)) from away
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
