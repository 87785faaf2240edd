"""Who a person is: the API server's word, asked with the person's own token, and remembered for a moment."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tuningjob_operator.service.api_server import ApiServer, find_api_server
from tuningjob_operator.service.identity import (
    NO_SECONDS,
    YES_SECONDS,
    IdentityUnavailable,
    KubernetesPeople,
    Nobody,
    PersonRefused,
)

Reply = tuple[int, Any]


@dataclass
class Reviews:
    """An API server's two reviews, as a test wants them answered. test_kubernetes has the real one."""

    who: Reply = (201, {"status": {"userInfo": {"username": "alice"}}})
    may: Reply = (201, {"status": {"allowed": True}})
    asked: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)

    async def answer(self, request: web.Request) -> web.Response:
        self.asked.append((request.path, request.headers["Authorization"], await request.json()))
        status, body = self.who if request.path.endswith("/selfsubjectreviews") else self.may
        if isinstance(body, str):
            return web.Response(status=status, text=body, headers=self.headers)
        return web.json_response(body, status=status, headers=self.headers)


@dataclass
class Clock:
    now: float = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def reviews() -> Reviews:
    return Reviews()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def server(reviews: Reviews) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post("/{path:.*}", reviews.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def people(server: str, clock: Clock) -> AsyncIterator[KubernetesPeople]:
    people = KubernetesPeople(ApiServer(server), clock=clock)
    yield people
    await people.close()


async def refusal(asking: Awaitable[str]) -> tuple[int, str]:
    with pytest.raises(PersonRefused) as raised:
        await asking
    return raised.value.status, str(raised.value)


async def test_a_person_is_asked_about_with_their_own_token(people: KubernetesPeople, reviews: Reviews) -> None:
    assert await people.name("t0ken", verb="update", namespace="team") == "alice"
    (who, who_token, _), (may, may_token, body) = reviews.asked
    assert who == "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    assert may == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert who_token == may_token == "Bearer t0ken"
    attributes = {"group": "tuningjob.dev", "resource": "tuningjobs", "verb": "update", "namespace": "team"}
    assert body["spec"] == {"resourceAttributes": attributes}


@pytest.mark.parametrize(
    ("who", "may", "status", "sentence"),
    [
        ((401, {}), (201, {}), 401, "must be one that this cluster's API server takes"),
        ((403, {}), (201, {}), 403, "must let everybody create SelfSubjectReviews"),
        ((201, {"status": {"userInfo": {"username": "system:anonymous"}}}), (201, {}), 401, "must belong to somebody"),
        ((201, {"status": {}}), (201, {}), 401, "must belong to somebody"),
        (None, (201, {"status": {"allowed": False}}), 403, "alice must be allowed to get tuningjobs.tuningjob.dev in "),
        (None, (201, {"status": {"allowed": "yes"}}), 403, "alice must be allowed to get"),
        (None, (403, {}), 403, "must let everybody create SelfSubjectAccessReviews"),
    ],
)
async def test_a_no_is_told_with_its_reason(
    people: KubernetesPeople, reviews: Reviews, *, who: Reply | None, may: Reply, status: int, sentence: str
) -> None:
    reviews.who, reviews.may = who or reviews.who, may
    told = await refusal(people.name("t0ken", verb="get", namespace="team"))
    assert told[0] == status
    assert sentence in told[1]


@pytest.mark.parametrize(
    "reply", [(500, {}), (429, {}), (404, {}), (200, "no json"), (200, {"kind": "Status"}), (200, [])]
)
async def test_what_is_no_review_is_no_verdict_and_is_not_remembered(
    people: KubernetesPeople, reviews: Reviews, reply: Reply
) -> None:
    good, reviews.who = reviews.who, reply
    with pytest.raises(IdentityUnavailable, match="The Kubernetes API server must say who this is, but got: "):
        await people.name("t0ken", verb="get", namespace="team")
    reviews.who = good
    assert await people.name("t0ken", verb="get", namespace="team") == "alice"


async def test_an_api_server_that_is_away_is_told_as_such(unused_tcp_port: int) -> None:
    people = KubernetesPeople(ApiServer(f"http://127.0.0.1:{unused_tcp_port}"))
    with pytest.raises(IdentityUnavailable, match="ClientConnectorError"):
        await people.name("t0ken", verb="get", namespace="team")
    await people.close()


async def test_a_token_follows_no_redirect(people: KubernetesPeople, reviews: Reviews) -> None:
    reviews.who, reviews.headers = (307, {}), {"Location": "/elsewhere"}
    with pytest.raises(IdentityUnavailable, match="status 307"):
        await people.name("t0ken", verb="get", namespace="team")
    assert [path for path, _, _ in reviews.asked] == ["/apis/authentication.k8s.io/v1/selfsubjectreviews"]


@pytest.mark.parametrize("token", ["a b", "a\r\nX-Evil: 1", "ä", "=", "a" * 16_385, "a\0", ""])
async def test_what_cannot_be_a_token_is_sent_nowhere(people: KubernetesPeople, reviews: Reviews, token: str) -> None:
    assert (await refusal(people.name(token, verb="get", namespace="team")))[0] == 401
    assert reviews.asked == []


# --- remembered ------------------------------------------------------------------------------------------------------


async def test_a_yes_is_good_for_half_a_minute(people: KubernetesPeople, reviews: Reviews, clock: Clock) -> None:
    for _ in range(3):
        assert await people.name("t0ken", verb="get", namespace="team") == "alice"
    assert len(reviews.asked) == 2
    clock.now += YES_SECONDS
    reviews.may = (201, {"status": {"allowed": False}})
    assert (await refusal(people.name("t0ken", verb="get", namespace="team")))[0] == 403


async def test_a_no_is_good_for_a_few_seconds(people: KubernetesPeople, reviews: Reviews, clock: Clock) -> None:
    reviews.may = (201, {"status": {"allowed": False}})
    first = await refusal(people.name("t0ken", verb="get", namespace="team"))
    reviews.may = (201, {"status": {"allowed": True}})
    assert await refusal(people.name("t0ken", verb="get", namespace="team")) == first
    clock.now += NO_SECONDS
    assert await people.name("t0ken", verb="get", namespace="team") == "alice"


async def test_what_is_remembered_is_for_one_token_one_verb_and_one_namespace(
    people: KubernetesPeople, reviews: Reviews
) -> None:
    await people.name("t0ken", verb="get", namespace="team")
    reviews.may = (201, {"status": {"allowed": False}})
    for token, verb, namespace in (("t0ken", "update", "team"), ("t0ken", "get", "other"), ("other", "get", "team")):
        assert (await refusal(people.name(token, verb=verb, namespace=namespace)))[0] == 403
    assert await people.name("t0ken", verb="get", namespace="team") == "alice"


async def test_a_yes_outlives_an_api_server_for_its_half_minute(
    people: KubernetesPeople, reviews: Reviews, clock: Clock
) -> None:
    await people.name("t0ken", verb="get", namespace="team")
    reviews.who = (500, {})
    clock.now += YES_SECONDS - 1
    assert await people.name("t0ken", verb="get", namespace="team") == "alice"
    clock.now += 1
    with pytest.raises(IdentityUnavailable):
        await people.name("t0ken", verb="get", namespace="team")


async def test_no_more_is_remembered_than_has_room(people: KubernetesPeople, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuningjob_operator.service.identity._MAX_VERDICTS", 3)
    await asyncio.gather(*(people.name(f"t{number}", verb="get", namespace="team") for number in range(20)))
    assert len(people._verdicts) == 3


async def test_a_token_is_neither_kept_nor_logged(
    people: KubernetesPeople, reviews: Reviews, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG):
        await people.name("s3cret", verb="get", namespace="team")
        reviews.who = (500, {"message": "s3cret"})
        with pytest.raises(IdentityUnavailable) as raised:
            await people.name("s3cret", verb="update", namespace="team")
    assert "s3cret" not in caplog.text
    assert "s3cret" not in str(raised.value)
    assert "s3cret" not in repr(people._verdicts)


# --- where -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "url"),
    [
        ({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}, "https://10.0.0.1:6443"),
        ({"KUBERNETES_SERVICE_HOST": "fd00::1"}, "https://[fd00::1]:443"),
        (
            {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "TUNINGJOB_KUBERNETES_URL": "http://proxy:8001/"},
            "http://proxy:8001",
        ),
        ({}, None),
    ],
)
def test_the_api_server_is_found_where_the_kubelet_says(environ: dict[str, str], url: str | None) -> None:
    found = find_api_server(environ)
    assert (found and found.url) == url


def test_its_authority_is_the_one_that_is_mounted(tmp_path: Path) -> None:
    ca_file = tmp_path / "ca.crt"
    environ = {"TUNINGJOB_KUBERNETES_URL": "https://a", "TUNINGJOB_KUBERNETES_CA_FILE": str(ca_file)}
    assert find_api_server(environ) == ApiServer("https://a", None)
    ca_file.touch()
    assert find_api_server(environ) == ApiServer("https://a", ca_file)


async def test_outside_of_a_cluster_nobody_is_anybody() -> None:
    with pytest.raises(IdentityUnavailable, match="runs outside of any cluster"):
        await Nobody().name("t0ken", verb="get", namespace="team")
    await Nobody().close()
