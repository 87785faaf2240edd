"""The start of the process, and what kopf is told."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import kopf
import pytest
from aiohttp import web

from tests.operator.world import World, make_settings
from tuningjob_operator import __main__ as operator_main
from tuningjob_operator import watch
from tuningjob_operator.__main__ import CannotStart, check_access, check_settings, start
from tuningjob_operator.cluster import AlreadyExists, ApiError, Conflict, NotFound
from tuningjob_operator.kube import KubeCluster
from tuningjob_operator.loops import RESYNC_SECONDS, STALE_RESYNCS


async def test_a_forbidden_verb_is_named_with_its_place(world: World) -> None:
    world.cluster.forbidden = {("create jobs.batch", "team-a"), ("list pods", "team-b")}

    with pytest.raises(CannotStart) as raised:
        await check_access(world.cluster, ("team-a", "team-b"))
    assert str(raised.value) == (
        "The operator's service account must be allowed to: "
        "create jobs.batch in namespace team-a; list pods in namespace team-b."
    )


async def test_nodes_are_asked_for_only_where_they_are_looked_at(world: World) -> None:
    world.cluster.forbidden = {("list nodes", None)}
    await check_access(world.cluster, ())

    with pytest.raises(CannotStart, match="must be allowed to: list nodes in all namespaces"):
        await check_access(world.cluster, (), with_nodes=True)


def test_a_certificate_without_its_authority_is_told_before_any_search_begins(tmp_path: Path) -> None:
    settings = make_settings(tls_dir=tmp_path)
    with pytest.raises(CannotStart, match=r"ca\.crt must be the authority .* needs the key ca\.crt"):
        check_settings(settings)
    (tmp_path / "ca.crt").touch()
    check_settings(settings)
    check_settings(make_settings(tls_dir=None))


async def test_a_crd_that_comes_late_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_main, "_START_PAUSE_SECONDS", 0)
    world.cluster.fail_next = [NotFound(404, "NotFound", "no such resource")]
    await start(world.cluster, world.resync, ())

    assert world.resync.age_seconds == 0


async def test_a_crd_that_never_comes_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_main, "_START_PAUSE_SECONDS", 0)
    world.cluster.fail_next = [NotFound(404, "NotFound", "no such resource")] * 50

    with pytest.raises(CannotStart, match=r"the CRD tuningjobs\.tuningjob\.dev must be installed"):
        await start(world.cluster, world.resync, ())


def probes_of(world: World) -> Any:
    registry = watch.make_registry(cache=world.cache, queue=world.queue, resync=world.resync)
    (probe,) = [h for h in registry._activities.get_all_handlers() if h.id == "resync"]
    return probe.fn


async def test_the_probe_fails_once_the_resync_is_stale(world: World) -> None:
    probe = probes_of(world)
    world.clock.seconds = STALE_RESYNCS * RESYNC_SECONDS
    assert await probe() == world.clock.seconds
    world.clock.seconds += 1

    with pytest.raises(kopf.PermanentError):
        await probe()


def test_kopf_only_watches(world: World) -> None:
    registry = watch.make_registry(cache=world.cache, queue=world.queue, resync=world.resync)

    assert len(registry._watching.get_all_handlers()) == 2
    for others in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert not others.get_all_handlers()


class ApiServer:
    """Answers what it is told to, and notes what it was asked."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str, Any]] = []
        self.answers: list[tuple[int, Any]] = []

    async def handle(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.requests.append((request.method, str(request.rel_url), request.headers.get("Content-Type", ""), body))
        status, answer = self.answers.pop(0)
        return web.json_response(answer, status=status)


@pytest.fixture
async def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    made = ApiServer()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", made.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "k", "user": "u"}}],
        "clusters": [{"name": "k", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(kubeconfig))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    yield made
    await runner.cleanup()


async def test_a_scale_is_a_merge_patch_of_the_numbers_and_the_uid(server: ApiServer) -> None:
    server.answers = [(200, {"metadata": {}})]
    async with KubeCluster() as cluster:
        await cluster.scale_job("ns", "forest", uid="u", pods=3, deaths=2)

    want = {"metadata": {"uid": "u"}, "spec": {"completions": 3, "parallelism": 3, "backoffLimit": 11}}
    path = "/apis/batch/v1/namespaces/ns/jobs/forest"
    assert server.requests == [("PATCH", path, "application/merge-patch+json", want)]


async def test_a_listing_is_read_page_by_page(server: ApiServer) -> None:
    server.answers = [
        (200, {"metadata": {"continue": "next page", "resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]}),
        (200, {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "b"}}]}),
    ]
    async with KubeCluster() as cluster:
        listing = await cluster.list_jobs(None)

    assert [item["metadata"]["name"] for item in listing.items] == ["a", "b"]
    assert listing.items[0]["kind"] == "Job"
    assert "labelSelector=app.kubernetes.io" in server.requests[0][1]
    assert "continue=next" in server.requests[1][1]


async def test_refused_credentials_are_read_again_once(server: ApiServer) -> None:
    server.answers = [(401, {"reason": "Unauthorized"}), (200, {"metadata": {"name": "forest"}})]
    async with KubeCluster() as cluster:
        assert (await cluster.get_job("ns", "forest"))["metadata"]["name"] == "forest"

    server.answers = [(401, {"reason": "Unauthorized"})] * 2
    async with KubeCluster() as cluster:
        with pytest.raises(ApiError, match="401 Unauthorized"):
            await cluster.get_job("ns", "forest")


CALLS: dict[str, Callable[[KubeCluster], Awaitable[Any]]] = {
    "get": lambda cluster: cluster.get_job("ns", "forest"),
    "create": lambda cluster: cluster.create_job({"metadata": {"namespace": "ns"}}),
    "scale": lambda cluster: cluster.scale_job("ns", "forest", uid="u", pods=2, deaths=0),
}


@pytest.mark.parametrize(
    ("status", "reason", "call", "want"),
    [
        (404, "NotFound", "get", NotFound),
        (409, "AlreadyExists", "create", AlreadyExists),
        (409, "Conflict", "scale", Conflict),
        (500, "InternalError", "get", ApiError),
    ],
)
async def test_errors_are_told_apart(
    server: ApiServer, status: int, reason: str, call: str, want: type[ApiError]
) -> None:
    server.answers = [(status, {"kind": "Status", "reason": reason, "message": "why"})]
    async with KubeCluster() as cluster:
        with pytest.raises(ApiError) as raised:
            await CALLS[call](cluster)

    assert type(raised.value) is want
    assert (raised.value.status, raised.value.reason, raised.value.message) == (status, reason, "why")


async def test_a_server_that_is_away_is_an_api_error(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kubeconfig = (tmp_path / "kubeconfig").read_text().replace("127.0.0.1:", "127.0.0.1:1/")
    (tmp_path / "away").write_text(kubeconfig)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "away"))
    async with KubeCluster() as cluster:
        with pytest.raises(ApiError) as raised:
            await cluster.get_job("ns", "forest")

    assert raised.value.status == 0
    assert server.requests == []
