"""The pages of a namespace: who may see and change what, and what no other site, no header and no tenant's file can bring about."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import pytest

from tests.journal.makers import Pod, a_preflight, a_search, an_answer
from tests.service.server import Service
from tests.service.test_api import sha256
from tuningjob.journal.sql import open_sqlite
from tuningjob.live.story import ObjectStory, ToldCondition
from tuningjob.loopback import LoopbackServer
from tuningjob.ui import LaptopSite
from tuningjob_operator.service.feed import MOST_OF_A_NAMESPACE, Feed

pytestmark = pytest.mark.slow

UI = "/v1/namespaces/team/ui/"
EVERYWHERE = "/v1/namespaces/-/ui/"
REPORT = b"<!doctype html><script>parent.document</script>"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """Two versions of a model, and a search that runs."""
    service = Service(tmp_path_factory.mktemp("pages"))
    for search in ("done-1", "done-2"):
        service.journal.open_search(a_search(search))
        view = service.journal.view(search)
        view.set_preflight(a_preflight())
        Pod(view).work()
        service.artifacts.put(search, "report.html", [REPORT], sha256=sha256(REPORT)["X-Content-Sha256"])
        view.complete(an_answer())
    service.journal.open_search(a_search("running"))
    service.start()
    yield service
    service.close()


@pytest.fixture
def ada(finished: Service) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {finished.register.enter('ada', 'get', 'update')}"}
    with httpx.Client(base_url=finished.url, headers=headers, trust_env=False, timeout=60) as http:
        yield http


def secret_in(page: str) -> str:
    return page.partition('name="csrf" value="')[2].partition('"')[0]


def bless(http: httpx.Client, secret: str, *, version: str = "1", why: str = "good", **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return http.post(f"{UI}models/forest/bless", data={"csrf": secret, "version": version, "why": why}, headers=named)


def test_every_page_lets_in_nothing_but_its_own_script_and_is_kept_nowhere(ada: httpx.Client) -> None:
    for path in (
        "",
        "models",
        "models/forest",
        "models/forest?before=1&after=2",
        "searches/running",
        "searches/done-1",
    ):
        answer = ada.get(UI + path)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_is_not_there_or_in_another_namespace_is_not_found(finished: Service, ada: httpx.Client) -> None:
    finished.journal.open_search(a_search("elsewhere", namespace="other"))
    for path in (
        "searches/elsewhere",
        "searches/elsewhere/stream",
        "searches/none",
        "models/none",
        "models/forest/9/report",
    ):
        answer = ada.get(UI + path)
        assert answer.status_code == 404, path
    assert ada.get(f"{UI}models/forest?before=1&after=9").status_code == 404
    assert ada.get("/v1/namespaces/other/ui/").status_code == 403


def test_the_list_of_all_namespaces_has_those_that_its_reader_may_see(finished: Service, ada: httpx.Client) -> None:
    finished.journal.open_search(a_search("secret", namespace="hidden", name="not-adas"))
    assert "not-adas" not in ada.get(EVERYWHERE).text
    assert 'href="/v1/namespaces/team/ui/searches/running"' in ada.get(EVERYWHERE).text
    finished.register.enter("ada", "get", namespace="hidden")
    try:
        assert 'href="/v1/namespaces/hidden/ui/searches/secret"' in ada.get(EVERYWHERE).text
        with ada.stream("GET", f"{EVERYWHERE}stream") as answer:
            assert any("not-adas" in line for line, _ in zip(answer.iter_lines(), range(200), strict=False))
    finally:
        finished.register.rights.discard(("ada", "get", "hidden"))
    nobody = httpx.get(finished.url + EVERYWHERE, headers={"Authorization": "Bearer x"}, trust_env=False, timeout=60)
    assert nobody.status_code == 401
    for path in ("models", "searches/running", "models/forest/bless"):
        assert ada.get(EVERYWHERE + path).status_code in {404, 405, 422}, path


def test_a_page_watches_until_the_tuningjob_has_said_that_it_is_over_too(finished: Service, ada: httpx.Client) -> None:
    said = ToldCondition("Complete", "False", "Searching", "not yet", "2026-03-01T12:00:00Z")
    finished.register.stories["forest"] = ObjectStory(conditions=(said,))
    try:
        page = ada.get(f"{UI}searches/done-1").text
        assert "not yet" in page
        assert 'data-stream="/v1/namespaces/team/ui/searches/done-1/stream"' in page
        finished.register.stories["forest"] = ObjectStory(conditions=(replace(said, status="True"),))
        assert 'data-stream=""' in ada.get(f"{UI}searches/done-1").text
    finally:
        finished.register.stories.clear()


def test_a_version_is_put_into_use_by_a_form_with_a_reason_and_back(finished: Service, ada: httpx.Client) -> None:
    secret = secret_in(ada.get(f"{UI}models/forest").text)
    for version in ("1", "2"):
        done = bless(ada, secret, version=version, why="fast")
        assert (done.status_code, done.headers["location"]) == (303, f"{UI}models/forest")
    assert ada.post(f"{UI}models/forest/rollback", data={"csrf": secret, "why": "slow"}).status_code == 303
    told = [
        (each.to_version, each.who, each.why)
        for each in finished.journal.audit.blessings(namespace="team", model_key="forest")
    ]
    assert told == [(1, "ada", "fast"), (2, "ada", "fast"), (1, "ada", "slow")]


def test_no_other_site_s_form_is_obeyed(finished: Service, ada: httpx.Client) -> None:
    before = finished.journal.audit.blessings(namespace="team", model_key="forest")
    secret = secret_in(ada.get(f"{UI}models/forest").text)
    with httpx.Client(base_url=finished.url, trust_env=False, timeout=60) as bob:
        bob.headers["Authorization"] = f"Bearer {finished.register.enter('bob', 'get', 'update')}"
        anothers = secret_in(bob.get(f"{UI}models/forest").text)
    refused = [
        bless(ada, ""),
        bless(ada, anothers),
        bless(ada, secret, Sec_Fetch_Site="cross-site"),
        bless(ada, secret, Sec_Fetch_Site="same-site"),
        bless(ada, secret, Origin="https://evil.example"),
        bless(ada, secret, Origin="null"),
        ada.post(f"{UI}models/forest/bless", json={"csrf": secret, "version": 1, "why": "x"}),
    ]
    assert [each.status_code for each in refused] == [403] * len(refused)
    wrong = [
        bless(ada, secret, version=version, why=why)
        for version, why in (("x", "y"), ("²", "y"), ("1", " "), ("9" * 30, "y"))
    ]
    assert [each.status_code for each in wrong] == [422] * 4
    assert bless(ada, secret, version="9").status_code == 404
    assert finished.journal.audit.blessings(namespace="team", model_key="forest") == before
    assert bless(ada, secret, Origin=finished.url, Sec_Fetch_Site="same-origin").status_code == 303


def test_what_headers_and_cookies_say_of_a_person_is_not_heard(finished: Service) -> None:
    finished.register.enter("ada", "get", "update")
    for headers in (
        {"X-Auth-Request-User": "ada", "X-Forwarded-User": "ada", "X-Remote-User": "ada", "Impersonate-User": "ada"},
        {"Cookie": "tuningjob=token-of-ada; token=token-of-ada"},
    ):
        assert httpx.get(finished.url + UI, headers=headers, trust_env=False).status_code == 401


def test_a_person_who_may_only_look_changes_nothing(finished: Service) -> None:
    token = finished.register.enter("carol", "get")
    with httpx.Client(base_url=finished.url, headers={"Authorization": f"Bearer {token}"}, trust_env=False) as carol:
        secret = secret_in(carol.get(f"{UI}models/forest").text)
        assert bless(carol, secret).status_code == 403


def test_a_stream_begins_with_the_page_s_part_and_an_expired_token_gets_none(
    finished: Service, ada: httpx.Client
) -> None:
    for path in ("stream", "searches/running/stream"):
        with ada.stream("GET", UI + path) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = answer.iter_lines()
            first = [next(lines) for _ in range(4)]
        assert first[0] == "retry: 1000"
        assert any(line.startswith("data: ") for line in first)
    with ada.stream("GET", f"{UI}searches/done-1/stream") as answer:
        assert "event: over" in "\n".join(answer.iter_lines())
    finished.register.names.clear()
    assert ada.get(f"{UI}stream").status_code == 401


def test_a_report_of_a_tenant_s_own_making_runs_as_a_stranger(ada: httpx.Client, finished: Service) -> None:
    finished.register.enter("ada", "get", "update")
    answer = ada.get(f"{UI}models/forest/1/report")
    assert (answer.content, answer.headers["content-type"]) == (REPORT, "text/html; charset=utf-8")
    assert answer.headers["content-security-policy"].startswith("sandbox allow-scripts; default-src 'none'")


async def test_all_who_watch_cost_one_look_and_there_is_an_end_to_them() -> None:
    made: list[int] = []

    def make() -> tuple[str, bool]:
        made.append(1)
        return "part", False

    now = 0.0
    feed = Feed(clock=lambda: now)
    for _ in range(50):
        assert await feed.part("a", make) == ("part", False)
    assert len(made) == 1
    now = 2.0
    await feed.part("a", make)
    assert len(made) == 2
    now = 12.0
    await feed.part("b", make)
    assert list(feed._made) == ["b"], "what nobody was fed for a while is not kept"
    entered: list[Any] = [feed.watched("team") for _ in range(MOST_OF_A_NAMESPACE)]
    for each in entered:
        each.__enter__()
    with pytest.raises(Exception, match="Too many pages watch"):
        feed.check("team")
    feed.check("other")
    entered[0].__exit__(None, None, None)
    feed.check("team")


def test_the_laptop_s_server_lets_in_one_browser_once_and_no_other_site(tmp_path: Path) -> None:
    journal = open_sqlite(tmp_path / "tuning.db")
    site = LaptopSite(journal, tmp_path, who="ada", figures=lambda _journal, _search: "")
    with LoopbackServer(site) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            root = server.url.partition("?")[0]
            with httpx.Client(trust_env=False) as http:
                assert http.get(root).status_code == 401
                assert http.get(f"{root}?key=wrong").status_code == 401
                first = server.url
                let_in = http.get(first)
                assert let_in.status_code == 303
                assert {"HttpOnly", "SameSite=Strict"} <= {
                    part.strip() for part in let_in.headers["set-cookie"].split(";")
                }
                assert http.get(root).status_code == 200
                assert http.get(first).status_code == 401  # good for once
                assert http.get(root, headers={"Host": "evil.example"}).status_code == 421
                form = {"csrf": site.csrf, "version": "1", "why": "x"}
                evil = http.post(f"{root}models/forest/bless", data=form, headers={"Origin": "http://evil.example"})
                unknown = http.post(f"{root}models/forest/bless", data=form | {"csrf": "no"})
                own = http.post(f"{root}models/forest/bless", data=form)
                long = http.post(f"{root}models/forest/bless", data=form | {"why": "x" * 20_000})
                assert [each.status_code for each in (evil, unknown, own, long)] == [403, 403, 404, 413]
        finally:
            site.is_over.set()
            server.shutdown()
            thread.join()
    journal.close()
