"""Which operator works: one of a release at a time, and one release in a namespace. Kubernetes' own Leases decide.

By a Lease in its own namespace a release's replicas agree on the one that works; the others stand by. For what it watches, a
release has further Leases: one in each watched namespace, or, if it watches all, one in the namespace where such releases meet.
So two releases never work on one TuningJob. Each Lease counts by itself: a tenant who takes the one in their namespace stops the
work in that namespace alone.

As in client-go's leader election, a Lease has run out when it was not renewed for its duration *by our own clock*: no two clocks
are compared. A holder that cannot renew stops before the others may begin. An operator's steps are idempotent and follow from
what it observed, so a pass that was under way when a Lease was lost does no harm.
"""

import asyncio
import contextlib
import datetime as dt
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from aiohttp import web

from tuningjob_operator import names
from tuningjob_operator.cluster.contract import AlreadyExists, ApiError, Conflict, NotFound
from tuningjob_operator.control.loops import Reconcile
from tuningjob_operator.objects import Body, Clock, Key

logger = logging.getLogger(__name__)

# The Lease for a watched namespace has this name in every release, so that two releases compete for one object.
SCOPE_NAME: Final = "tuningjob-operator"
LEASE_SECONDS: Final = 8
RENEW_SECONDS: Final = 2.0
# The holder stops this many seconds after its last renewal; the others begin LEASE_SECONDS after the last one that they saw.
GIVE_UP_SECONDS: Final = 6.0
# A release that watches all namespaces looks for Leases in them this often, and works in none if its last look is older than
# FRESH; one that takes the Lease of a namespace begins SETTLE later, when the other one must have seen it or have stopped.
LOOK_SECONDS: Final = 4.0
FRESH_SECONDS: Final = 8.0
SETTLE_SECONDS: Final = 10.0


class LeadershipLost(Exception):
    """Another replica has the release's own Lease."""


class Leases(Protocol):
    """The calls to the API server. Each raises ApiError or a subclass."""

    async def get_lease(self, namespace: str, name: str) -> Body:
        """Read one Lease."""

    async def list_leases(self, labels: str) -> tuple[Body, ...]:
        """The Leases of all namespaces that carry the labels."""

    async def create_lease(self, body: Body) -> Body:
        """Create a Lease. AlreadyExists if there is one of its name."""

    async def replace_lease(self, body: Body) -> Body:
        """Write a Lease over the version that was read. Conflict if another write came between."""


class Watchman:
    """Judges when a Lease has run out: when we have seen it unchanged for its duration."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._seen: dict[str, tuple[object, float]] = {}

    def holder(self, lease: Mapping[str, Any]) -> str:
        """The holder of the Lease now; empty if it is free. The caller must ask repeatedly, or the answer is wrong."""
        spec: Mapping[str, Any] = lease.get("spec") or {}
        holder = str(spec.get("holderIdentity") or "")
        state, now = (holder, spec.get("renewTime")), self._monotonic()
        known, since = self._seen.get(lease["metadata"]["namespace"], (None, now))
        if known != state:
            since = now
            self._seen[lease["metadata"]["namespace"]] = (state, now)
        return holder if now - since < LEASE_SECONDS else ""


class Hold:
    """One Lease, which is ours while it is renewed.

    ``is_scope``: only the replica of its release that works asks for it, so it may take the Lease from another replica at once.
    ``settles``: it is used only once another release has had the time to see it.
    """

    def __init__(
        self,
        leases: Leases,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        is_scope: bool = False,
        settles: bool = False,
    ) -> None:
        self.namespace = namespace
        self._name = name
        self._leases = leases
        self._identity = identity
        self._clock = clock
        self._is_scope = is_scope
        self._settles = settles
        self._watchman = Watchman(clock.monotonic)
        self._lease: Body | None = None
        self._renewed_at: float | None = None
        self._usable_at = 0.0
        self._told = ""
        self.is_taken = False

    @property
    def is_held(self) -> bool:
        """Whether no other process can have the Lease now."""
        return self._renewed_at is not None and self._clock.monotonic() - self._renewed_at < GIVE_UP_SECONDS

    @property
    def is_usable(self) -> bool:
        """Whether we may work under the Lease now."""
        return self.is_held and self._clock.monotonic() >= self._usable_at

    async def renew(self) -> None:
        """Take the Lease if it is free, or renew it. Raises nothing, because the next try follows soon."""
        began, was_held = self._clock.monotonic(), self.is_held
        try:
            self._lease = await self._take()
        except (Conflict, AlreadyExists, NotFound):
            # another process wrote in between, or we did and got no answer: the next look tells
            self._lease = None
            return
        except ApiError as error:
            logger.warning("a Lease was not renewed", extra={"namespace": self.namespace, "error": str(error)})
            return
        if not was_held:
            self._begin()  # even if it was ours and ran out, because others may have begun since
        self.is_taken = self._lease is None
        self._renewed_at = None if self.is_taken else began

    async def give_back(self) -> None:
        """Give the Lease up, so that the next holder can begin at once."""
        lease, self._lease, self._renewed_at = self._lease, None, None
        if lease is not None:
            with contextlib.suppress(ApiError):
                await self._leases.replace_lease({**lease, "spec": {**lease["spec"], "holderIdentity": ""}})

    async def _take(self) -> Body | None:
        if self._lease is not None:
            return await self._leases.replace_lease(self._renewed(self._lease))
        try:
            found = await self._leases.get_lease(self.namespace, self._name)
        except NotFound:
            return await self._leases.create_lease(self._renewed(None))
        holder = self._watchman.holder(found)
        is_free = holder in {"", self._identity} or (
            self._is_scope and release_of(holder) == release_of(self._identity)
        )
        if not is_free:
            if holder != self._told:
                logger.info("standing by", extra={"namespace": self.namespace, "lease": self._name, "holder": holder})
            self._told = holder
            return None
        self._told = ""
        return await self._leases.replace_lease(self._renewed(found))

    def _begin(self) -> None:
        self._usable_at = self._clock.monotonic() + (SETTLE_SECONDS if self._settles else 0.0)

    def _renewed(self, lease: Body | None) -> Body:
        now = self._clock.now().astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        old: Mapping[str, Any] = (lease or {}).get("spec") or {}
        is_kept = old.get("holderIdentity") == self._identity
        metadata = {"name": self._name, "namespace": self.namespace, "labels": {names.LABEL_MANAGED_BY: names.APP}}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata if lease is None else lease["metadata"],
            "spec": {
                "holderIdentity": self._identity,
                "leaseDurationSeconds": LEASE_SECONDS,
                "acquireTime": old.get("acquireTime", now) if is_kept else now,
                "renewTime": now,
                "leaseTransitions": int(old.get("leaseTransitions") or 0) + (0 if is_kept or lease is None else 1),
            },
        }


class Leadership:
    """The namespaces that this process may work on.

    ``release`` is ``namespace/name``; empty if there is no other operator: then it may work on everything, at once. ``watched``
    are its namespaces, empty for all; ``cluster_namespace`` has the Lease for which releases that watch all of them compete.
    """

    def __init__(
        self, leases: Leases, *, release: str, pod: str, watched: Sequence[str], cluster_namespace: str, clock: Clock
    ) -> None:
        self._leases = leases
        self._clock = clock
        self._release = release
        self._sees_all = not watched
        identity = f"{release}/{pod}"
        own, _, name = release.partition("/")
        self._own = Hold(leases, namespace=own, name=name, identity=identity, clock=clock)
        self._scopes = {
            namespace: Hold(
                leases,
                namespace=namespace,
                name=SCOPE_NAME,
                identity=identity,
                clock=clock,
                is_scope=True,
                settles=not self._sees_all,
            )
            for namespace in watched or (cluster_namespace,)
        }
        self._others: frozenset[str] = frozenset()
        self._looked_at = float("-inf")
        self._watchmen: dict[str, Watchman] = {}

    def allows(self, namespace: str) -> bool:
        """Whether TuningJobs of this namespace are ours to work on now."""
        if not self._release:
            return True
        if not self._own.is_held:
            return False
        if self._sees_all:
            is_fresh = self._clock.monotonic() - self._looked_at < FRESH_SECONDS
            return is_fresh and namespace not in self._others and self._has_all
        return namespace in self._scopes and self._scopes[namespace].is_usable

    @property
    def leads(self) -> bool:
        """Whether this is the replica of its release that works."""
        return not self._release or self._own.is_held

    @property
    def _has_all(self) -> bool:
        return all(hold.is_usable for hold in self._scopes.values())

    async def acquire(self) -> None:
        """Stand by until this is the replica of its release that works, and until no other release watches all namespaces."""
        while self._release:
            await self._own.renew()
            if self._own.is_held:
                if not self._sees_all:
                    return
                await asyncio.gather(self._look(), *(hold.renew() for hold in self._scopes.values()))
                if self._has_all:
                    return
            await asyncio.sleep(RENEW_SECONDS)

    async def hold(self, on_change: Callable[[], None]) -> None:
        """Keep the Leases, for ever; ``on_change`` is called when ``allows`` may say otherwise. Raises LeadershipLost."""
        before = self._state()
        while True:
            if self._release:
                await asyncio.gather(*(hold.renew() for hold in (self._own, *self._scopes.values())))
                # while the API server is away no operator works and none can take over, so this one need not end
                if self._own.is_taken:
                    raise LeadershipLost(f"another replica has the Lease of {self._release}")
            if self._release and self._sees_all and self._clock.monotonic() - self._looked_at >= LOOK_SECONDS:
                await self._look()
            if (now := self._state()) != before:
                before = now
                on_change()
            await asyncio.sleep(RENEW_SECONDS)

    async def _look(self) -> None:
        """Look who has Leases in the namespaces that we see: a release that watches such a namespace alone comes first there."""
        began = self._clock.monotonic()
        try:
            found = await self._leases.list_leases(f"{names.LABEL_MANAGED_BY}={names.APP}")
        except ApiError as error:
            logger.warning("the Leases of other releases were not read", extra={"error": str(error)})
            return
        others = set()
        for lease in found:
            namespace = lease["metadata"]["namespace"]
            if lease["metadata"]["name"] != SCOPE_NAME or namespace in self._scopes:
                continue
            holder = self._watchmen.setdefault(namespace, Watchman(self._clock.monotonic)).holder(lease)
            if holder and release_of(holder) != self._release:
                others.add(namespace)
        if others != self._others:
            logger.info("namespaces that another release works in", extra={"namespaces": sorted(others)})
        self._others, self._looked_at = frozenset(others), began

    def _state(self) -> object:
        return (self._others, self.allows(""), [hold.is_usable for hold in self._scopes.values()])

    async def give_back(self) -> None:
        """Give all Leases up, so that others can begin at once."""
        if self._release:
            await asyncio.gather(*(hold.give_back() for hold in (self._own, *self._scopes.values())))


def where_allowed(leadership: Leadership, reconcile: Reconcile) -> Reconcile:
    """``reconcile`` that does nothing for a TuningJob that another operator is at work on."""

    async def reconcile_if_ours(key: Key) -> float | None:
        return await reconcile(key) if leadership.allows(key.namespace) else None

    return reconcile_if_ours


def release_of(identity: str) -> str:
    """``namespace/name`` of a holder ``namespace/name/pod``."""
    return identity.rpartition("/")[0]


@contextlib.asynccontextmanager
async def healthy_while_standing_by(port: int) -> AsyncIterator[None]:
    """Answer the kubelet's probe, as kopf does once there is work."""

    async def answer(_request: web.Request) -> web.Response:
        return web.json_response({"standingBy": True})

    app = web.Application()
    app.router.add_get("/healthz", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104  the kubelet comes from the node
        yield
    finally:
        await runner.cleanup()
