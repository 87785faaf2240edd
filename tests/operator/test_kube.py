"""The API calls as they go over the wire, to a server with prepared answers that notes every request."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tuningjob_operator.cluster.client import KubeCluster
from tuningjob_operator.cluster.contract import (
    NODES_ACCESS,
    REQUIRED_ACCESS,
    AlreadyExists,
    ApiError,
    Conflict,
    NotFound,
)
from tuningjob_operator.objects import Body


class ApiServer:
    """Gives prepared answers, and notes method, address, content type and body of every request."""

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


JOB_PATH = "/apis/batch/v1/namespaces/ns/jobs/forest"
MERGE_PATCH = "application/merge-patch+json"


async def test_a_scale_is_a_merge_patch_of_the_numbers_and_the_uid(server: ApiServer) -> None:
    server.answers = [(200, {"metadata": {}})]
    async with KubeCluster() as cluster:
        await cluster.scale_job("ns", "forest", uid="u", pods=3, deaths=2)

    want = {"metadata": {"uid": "u"}, "spec": {"completions": 3, "parallelism": 3, "backoffLimit": 11}}
    assert server.requests == [("PATCH", JOB_PATH, MERGE_PATCH, want)]


@pytest.mark.parametrize("suspend", [True, False])
async def test_a_suspension_is_a_merge_patch_of_the_uid_and_nothing_else(server: ApiServer, *, suspend: bool) -> None:
    server.answers = [(200, {"metadata": {}})]
    async with KubeCluster() as cluster:
        await cluster.suspend_job("ns", "forest", uid="u", suspend=suspend)

    want = {"metadata": {"uid": "u"}, "spec": {"suspend": suspend}}
    assert server.requests == [("PATCH", JOB_PATH, MERGE_PATCH, want)]


async def test_a_job_is_deleted_by_its_uid_and_stays_until_its_pods_are_gone(server: ApiServer) -> None:
    server.answers = [(200, {"metadata": {}})]
    async with KubeCluster() as cluster:
        await cluster.delete_job("ns", "forest", uid="u")

    want = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Foreground",
        "preconditions": {"uid": "u"},
    }
    assert server.requests == [("DELETE", JOB_PATH, "application/json", want)]


async def test_a_tuningjob_is_deleted_as_it_was_seen(server: ApiServer) -> None:
    server.answers = [(200, {"kind": "Status", "status": "Success"})]
    async with KubeCluster() as cluster:
        await cluster.delete_tuningjob("ns", "forest", uid="u", resource_version="7")

    ((method, path, _, body),) = server.requests
    assert (method, path) == ("DELETE", "/apis/tuningjob.dev/v1alpha1/namespaces/ns/tuningjobs/forest")
    assert body["preconditions"] == {"uid": "u", "resourceVersion": "7"}


async def test_a_status_is_put_whole_and_nothing_else(server: ApiServer) -> None:
    metadata = {"namespace": "ns", "name": "forest", "uid": "u", "resourceVersion": "7"}
    typed = {"apiVersion": "tuningjob.dev/v1alpha1", "kind": "TuningJob"}
    told: Body = {**typed, "metadata": metadata, "status": {"phase": "Pending"}}
    server.answers = [(200, told)]
    async with KubeCluster() as cluster:
        body = {**told, "metadata": {**metadata, "generation": 2}, "spec": {"parallelism": 3}}
        assert await cluster.replace_status(body) == told

    path = "/apis/tuningjob.dev/v1alpha1/namespaces/ns/tuningjobs/forest/status"
    assert server.requests == [("PUT", path, "application/json", told)]


async def test_a_listing_is_read_page_by_page(server: ApiServer) -> None:
    server.answers = [
        (200, {"metadata": {"continue": "next page", "resourceVersion": "7"}, "items": [{"metadata": {"name": "a"}}]}),
        (200, {"metadata": {"resourceVersion": "7"}, "items": [{"metadata": {"name": "b"}}]}),
    ]
    async with KubeCluster() as cluster:
        pages = [page async for page in cluster.list_jobs(None)]

    assert [[item["metadata"]["name"] for item in page.items] for page in pages] == [["a"], ["b"]]
    assert {page.resource_version for page in pages} == {"7"}
    assert (pages[0].items[0]["apiVersion"], pages[0].items[0]["kind"]) == ("batch/v1", "Job")
    assert "labelSelector=app.kubernetes.io" in server.requests[0][1]
    assert "continue=next" in server.requests[1][1]


Call = Callable[[KubeCluster], Awaitable[Any]]
LISTS: dict[str, tuple[Call, str]] = {
    "quotas": (lambda cluster: cluster.list_resource_quotas("ns"), "/api/v1/namespaces/ns/resourcequotas"),
    "ranges": (lambda cluster: cluster.list_limit_ranges("ns"), "/api/v1/namespaces/ns/limitranges"),
    "nodes": (lambda cluster: cluster.list_nodes(), "/api/v1/nodes"),
    "pods": (lambda cluster: cluster.list_worker_pods("ns", uid="u"), "/api/v1/namespaces/ns/pods"),
}


@pytest.mark.parametrize("call", LISTS.values(), ids=LISTS)
async def test_small_kinds_are_listed_where_they_are(server: ApiServer, call: tuple[Call, str]) -> None:
    server.answers = [(200, {"metadata": {}, "items": [{"metadata": {"name": "a"}}]})]
    async with KubeCluster() as cluster:
        (item,) = await call[0](cluster)

    assert item["apiVersion"] == "v1"
    assert server.requests[0][1].partition("?")[0] == call[1]


@pytest.mark.parametrize("namespace", ["ns", None])
async def test_whether_something_may_be_done_is_asked_by_review(server: ApiServer, namespace: str | None) -> None:
    server.answers = [(201, {"status": {"allowed": True}}), (201, {"status": {}})]
    async with KubeCluster() as cluster:
        assert await cluster.may(NODES_ACCESS, namespace)
        assert not await cluster.may(REQUIRED_ACCESS[0], namespace)

    (method, path, _, body), _ = server.requests
    assert (method, path) == ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
    assert body["spec"]["resourceAttributes"].get("namespace") == namespace


async def test_refused_credentials_are_read_again_once(server: ApiServer) -> None:
    server.answers = [(401, {"reason": "Unauthorized"}), (200, {"metadata": {"name": "forest"}})]
    async with KubeCluster() as cluster:
        assert (await cluster.get_job("ns", "forest"))["metadata"]["name"] == "forest"

    server.answers = [(401, {"reason": "Unauthorized"})] * 2
    async with KubeCluster() as cluster:
        with pytest.raises(ApiError, match="401 Unauthorized"):
            await cluster.get_job("ns", "forest")


CALLS: dict[str, Call] = {
    "get": lambda cluster: cluster.get_job("ns", "forest"),
    "create": lambda cluster: cluster.create_job({"metadata": {"namespace": "ns"}}),
    "scale": lambda cluster: cluster.scale_job("ns", "forest", uid="u", pods=2, deaths=0),
    "suspend": lambda cluster: cluster.suspend_job("ns", "forest", uid="u", suspend=True),
    "delete": lambda cluster: cluster.delete_job("ns", "forest", uid="u"),
    "delete tuningjob": lambda cluster: cluster.delete_tuningjob("ns", "forest", uid="u", resource_version="7"),
}


@pytest.mark.parametrize(
    ("status", "reason", "call", "want"),
    [
        (404, "NotFound", "get", NotFound),
        (404, "NotFound", "delete", NotFound),
        (409, "AlreadyExists", "create", AlreadyExists),
        # a quota's numbers changed under the call: nothing was created, and nothing is there
        (409, "Conflict", "create", Conflict),
        (409, "Conflict", "scale", Conflict),
        (409, "Conflict", "suspend", Conflict),
        (409, "Conflict", "delete", Conflict),
        (409, "Conflict", "delete tuningjob", Conflict),
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
    counted: list[tuple[str, str, int]] = []
    async with KubeCluster(on_call=lambda verb, resource, status, _: counted.append((verb, resource, status))) as away:
        with pytest.raises(ApiError) as raised:
            await away.get_job("ns", "forest")

    assert raised.value.status == 0
    assert server.requests == []
    assert counted == [("get", "jobs", 0)]


async def test_every_call_is_counted_with_its_verb_its_resource_its_status_and_its_seconds(server: ApiServer) -> None:
    server.answers = [
        (200, {"metadata": {"continue": "more"}, "items": []}),
        (200, {"metadata": {}, "items": []}),
        (401, {"reason": "Unauthorized"}),
        (409, {"reason": "Conflict"}),
    ]
    counted: list[tuple[str, str, int, float]] = []
    async with KubeCluster(on_call=lambda *call: counted.append(call)) as cluster:
        assert not [body async for page in cluster.list_tuningjobs(None) for body in page.items]
        with pytest.raises(Conflict):
            await cluster.replace_status({"metadata": {"namespace": "ns", "name": "forest"}, "status": {}})

    assert [call[:3] for call in counted] == [
        ("list", "tuningjobs", 200),
        ("list", "tuningjobs", 200),
        ("update", "tuningjobs/status", 401),
        ("update", "tuningjobs/status", 409),
    ]
    assert all(0 <= seconds < 30 for *_, seconds in counted)
