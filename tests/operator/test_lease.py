"""Operators agree by Leases: never two at work on one TuningJob, one soon after another has gone, and no tenant stops another's."""

import asyncio
import copy
import datetime as dt
import random
from collections.abc import Iterable
from typing import Any

import pytest

from tests.operator.world import NOON
from tuningjob_operator.cluster.contract import AlreadyExists, ApiError, Conflict, NotFound
from tuningjob_operator.control.lease import LEASE_SECONDS, RENEW_SECONDS, SCOPE_NAME, Leadership, LeadershipLost
from tuningjob_operator.objects import Body

EVERYWHERE: tuple[str, ...] = ()


class Server:
    """The API server's Leases, and a clock for everybody."""

    def __init__(self) -> None:
        self.leases: dict[tuple[str, str], Body] = {}
        self.seconds = 0.0
        self._version = 0

    def now(self) -> dt.datetime:
        return NOON + dt.timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    def store(self, body: Body) -> Body:
        self._version += 1
        kept = copy.deepcopy(body)
        kept["metadata"]["resourceVersion"] = str(self._version)
        self.leases[body["metadata"]["namespace"], body["metadata"]["name"]] = kept
        return copy.deepcopy(kept)


class Line:
    """One process' way to the server, which may be cut."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.is_cut = False

    def _reach(self) -> None:
        if self.is_cut:
            raise ApiError(0, "Unreachable", "cut")

    async def get_lease(self, namespace: str, name: str) -> Body:
        self._reach()
        if (namespace, name) not in self.server.leases:
            raise NotFound(404, "NotFound", name)
        return copy.deepcopy(self.server.leases[namespace, name])

    async def list_leases(self, labels: str) -> tuple[Body, ...]:
        self._reach()
        key, _, value = labels.partition("=")
        return tuple(
            copy.deepcopy(lease)
            for lease in self.server.leases.values()
            if lease["metadata"].get("labels", {}).get(key) == value
        )

    async def create_lease(self, body: Body) -> Body:
        self._reach()
        if (body["metadata"]["namespace"], body["metadata"]["name"]) in self.server.leases:
            raise AlreadyExists(409, "AlreadyExists", "taken")
        return self.server.store(body)

    async def replace_lease(self, body: Body) -> Body:
        self._reach()
        known = self.server.leases.get((body["metadata"]["namespace"], body["metadata"]["name"]))
        if known is None:
            raise NotFound(404, "NotFound", "gone")
        if known["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise Conflict(409, "Conflict", "changed")
        return self.server.store(body)


class Operator:
    """One process, a step at a time: the test ends each pause of ``Leadership``."""

    def __init__(self, server: Server, release: str, pod: str, watched: tuple[str, ...] = EVERYWHERE) -> None:
        self.line = Line(server)
        self.leadership = Leadership(
            self.line, release=release, pod=pod, watched=watched, cluster_namespace="kube-system", clock=server
        )
        self.changes = 0
        self.works = False
        self.is_gone = False
        self._task: asyncio.Task[None] | None = None

    async def _run(self) -> None:
        await self.leadership.acquire()
        self.works = True
        await self.leadership.hold(self._changed)

    def _changed(self) -> None:
        self.changes += 1

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    def allows(self, namespace: str) -> bool:
        return self.works and not self.is_gone and self.leadership.allows(namespace)

    async def kill(self) -> None:
        self.is_gone = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def error(self) -> BaseException | None:
        assert self._task is not None
        return self._task.exception() if self._task.done() and not self._task.cancelled() else None


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture(autouse=True)
def virtual_time(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Time goes when ``pass_time`` says so; a sleep of somebody lasts until then."""

    async def sleep(seconds: float, _real: Any = asyncio.sleep) -> None:
        until = server.seconds + seconds
        while server.seconds < until:
            await _real(0)

    monkeypatch.setattr("tuningjob_operator.control.lease.asyncio.sleep", sleep)


async def pass_time(server: Server, seconds: float, *, step: float = 0.25) -> None:
    until = server.seconds + seconds
    while server.seconds < until:
        server.seconds += step
        for _ in range(30):
            await _yield()


async def _yield() -> None:
    future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, None)
    await future


async def run(server: Server, operators: Iterable[Operator], seconds: float = 15) -> None:
    for operator in operators:
        operator.start()
    await pass_time(server, seconds)


async def stop(*operators: Operator) -> None:
    for operator in operators:
        await operator.kill()


async def test_of_two_replicas_one_works_and_the_other_stands_by(server: Server) -> None:
    one, two = (Operator(server, "system/tj", pod) for pod in ("a", "b"))
    await run(server, (one, two))
    assert sorted([one.allows("team"), two.allows("team")]) == [False, True]
    await stop(one, two)


async def test_the_first_operator_of_a_cluster_begins_at_once(server: Server) -> None:
    one = Operator(server, "system/tj", "a")
    await run(server, (one,), seconds=1)
    assert one.allows("team")
    await stop(one)


async def test_a_standby_takes_over_within_fifteen_seconds_of_a_crash(server: Server) -> None:
    one, two = (Operator(server, "system/tj", pod) for pod in ("a", "b"))
    await run(server, (one,))
    await run(server, (two,))
    await one.kill()
    await pass_time(server, 14)
    assert two.allows("team")
    await stop(two)


async def test_a_standby_takes_over_at_once_when_the_other_ends_in_good_order(server: Server) -> None:
    one, two = (Operator(server, "system/tj", pod) for pod in ("a", "b"))
    await run(server, (one,))
    await run(server, (two,))
    await one.kill()
    await one.leadership.give_back()
    await pass_time(server, 2 * RENEW_SECONDS)
    assert two.allows("team")
    await stop(two)


async def test_the_same_pod_goes_on_at_once_after_a_crash(server: Server) -> None:
    one = Operator(server, "system/tj", "a")
    await run(server, (one,))
    await one.kill()
    again = Operator(server, "system/tj", "a")
    await run(server, (again,), seconds=1)
    assert again.allows("team")
    await stop(again)


async def test_who_cannot_renew_stops_before_another_begins(server: Server) -> None:
    one, two = (Operator(server, "system/tj", pod) for pod in ("a", "b"))
    await run(server, (one,))
    await run(server, (two,))
    one.line.is_cut = True
    for _ in range(80):
        await pass_time(server, 0.25)
        assert not (one.allows("team") and two.allows("team"))
    assert two.allows("team")
    one.line.is_cut = False
    await pass_time(server, 5)
    assert isinstance(one.error(), LeadershipLost)
    await stop(one, two)


async def test_an_api_server_that_is_away_stops_the_work_and_ends_nobody(server: Server) -> None:
    one = Operator(server, "system/tj", "a")
    await run(server, (one,))
    one.line.is_cut = True
    await pass_time(server, 60)
    assert (one.allows("team"), one.error()) == (False, None)
    one.line.is_cut = False
    await pass_time(server, 5)
    assert one.allows("team")
    await stop(one)


async def test_of_two_releases_that_watch_everything_one_works(server: Server) -> None:
    one, two = Operator(server, "one/tj", "a"), Operator(server, "two/tj", "a")
    await run(server, (one, two))
    assert sorted([one.allows("team"), two.allows("team")]) == [False, True]
    await stop(one, two)


@pytest.mark.slow
async def test_a_namespace_is_left_to_the_release_that_watches_it_alone(server: Server) -> None:
    """The one for all stops there before the other one begins, and comes back when that has gone."""
    everywhere, here = Operator(server, "one/tj", "a"), Operator(server, "two/tj", "a", ("team",))
    await run(server, (everywhere,))
    here.start()
    for _ in range(100):
        await pass_time(server, 0.25)
        assert not (everywhere.allows("team") and here.allows("team"))
    assert here.allows("team")
    assert not here.allows("other")
    assert everywhere.allows("other")
    assert everywhere.changes
    await here.kill()
    await pass_time(server, 20)
    assert everywhere.allows("team")
    await stop(everywhere)


async def test_two_releases_that_watch_one_namespace_share_no_search_and_keep_the_rest(server: Server) -> None:
    one, two = Operator(server, "one/tj", "a", ("red", "team")), Operator(server, "two/tj", "a", ("blue", "team"))
    await run(server, (one, two), seconds=30)
    assert (one.allows("red"), two.allows("blue")) == (True, True)
    assert sorted([one.allows("team"), two.allows("team")]) == [False, True]
    await stop(one, two)


async def test_a_tenant_who_takes_the_lease_of_a_namespace_stops_the_work_there_alone(server: Server) -> None:
    operator = Operator(server, "one/tj", "a", ("red", "evil"))
    await run(server, (operator,), seconds=30)
    for _ in range(20):
        lease = server.leases["evil", SCOPE_NAME]
        lease["spec"] |= {"holderIdentity": "evil/mine/x", "renewTime": str(server.seconds)}
        server.store(lease)
        await pass_time(server, 1)
    assert operator.allows("red")
    assert not operator.allows("evil")
    assert operator.error() is None
    await stop(operator)


async def test_without_a_release_there_is_nobody_to_ask() -> None:
    server = Server()
    leadership = Leadership(Line(server), release="", pod="", watched=(), cluster_namespace="kube-system", clock=server)
    await leadership.acquire()
    await leadership.give_back()
    assert leadership.allows("team")
    assert server.leases == {}


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
async def test_whatever_happens_no_two_operators_are_allowed_into_one_namespace(server: Server, seed: int) -> None:
    """Crashes, restarts and cut lines at any time, of replicas and of other releases."""
    chance = random.Random(seed)
    kinds: list[tuple[str, str, tuple[str, ...]]] = [
        ("one/tj", "a", ()), ("one/tj", "b", ()), ("two/tj", "a", ()), ("three/tj", "a", ("team",)),
        ("four/tj", "a", ("team", "red")), ("four/tj", "b", ("team", "red")),
    ]  # fmt: skip
    alive: dict[int, Operator] = {}
    for _ in range(60):
        which = chance.randrange(len(kinds))
        operator = alive.get(which)
        if operator is None or operator.error() is not None:
            if operator is not None:
                await operator.kill()
            alive[which] = Operator(server, *kinds[which])
            alive[which].start()
        elif chance.random() < 0.4:
            await operator.kill()
            del alive[which]
        else:
            operator.line.is_cut = not operator.line.is_cut
        for _ in range(chance.randrange(1, 3 * LEASE_SECONDS)):
            await pass_time(server, 0.5, step=0.5)
            for namespace in ("team", "red", "other"):
                allowed = [name for name, each in alive.items() if each.error() is None and each.allows(namespace)]
                assert len(allowed) <= 1, (namespace, [kinds[name] for name in allowed])
    await stop(*alive.values())
