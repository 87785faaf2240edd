"""Nothing waits for ever, and nobody's waiting is another's: heads, bodies, connections, turns, strangers."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import httpx
import pytest

from tests.journal.makers import Pod, a_result, a_search, an_answer
from tests.service.server import Service
from tests.service.test_api import detail, sha256
from tuningjob.errors import ArtifactRefused
from tuningjob.protocol.records import MAX_ERROR_LENGTH, SearchState
from tuningjob.protocol.requests import Report
from tuningjob_operator.service.border import Border
from tuningjob_operator.service.connections import Crowd, guarded
from tuningjob_operator.service.identity import Door, IdentityUnavailable, PersonRefused
from tuningjob_operator.service.room import PER_SEARCH, SHORT_BYTES, Desk, NoTurn, RequestRoom


def serving(root: Path, crowd: Crowd) -> Iterator[Service]:
    service = Service(root)
    service.protocol = guarded(crowd)
    service.journal.open_search(a_search())
    service.start()
    yield service
    service.close()


@pytest.fixture
def hasty(tmp_path: Path) -> Iterator[Service]:
    """A service that waits for a head for a moment, and has room for five connections."""
    yield from serving(tmp_path, Crowd(head_seconds=0.3, most=5))


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[Service]:
    """A service that gives an address two connections."""
    yield from serving(tmp_path, Crowd(most_of_a_peer=2))


def connect(service: Service, said: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", service.port), timeout=10)
    connection.sendall(said)
    return connection


def is_closed(connection: socket.socket) -> bool:
    """Waits until it is, or until the test has had enough."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.alike
@pytest.mark.parametrize("said", [b"", b"GET /healthz HTTP/1.1\r\nHos", b"POST /v1/cells HTTP/1.1\r\nX: "])
def test_half_a_head_is_not_waited_for(hasty: Service, said: bytes) -> None:
    with connect(hasty, said) as connection:
        assert is_closed(connection)


def test_half_a_second_head_is_not_waited_for_either(hasty: Service) -> None:
    with connect(hasty, b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\nGET /he") as connection:
        answer = b""
        while part := connection.recv(4_096):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.count(b"HTTP/1.1") == 1


def test_silent_connections_make_room_for_one_that_speaks(tmp_path: Path) -> None:
    for service in serving(tmp_path, Crowd(most=5)):
        with ExitStack() as opened:
            silent = [opened.enter_context(connect(service)) for _ in range(12)]
            assert httpx.get(f"{service.url}/healthz", trust_env=False, timeout=60).status_code == 200
            assert all(map(is_closed, silent[:7])), "the oldest went"


def test_an_address_has_so_many_connections(narrow: Service) -> None:
    with connect(narrow) as one, connect(narrow), connect(narrow) as third:
        assert is_closed(third)
        one.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert one.recv(12) == b"HTTP/1.1 200"


@pytest.mark.slow
def test_a_body_that_does_not_go_on_is_a_408(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    service.stop()
    begin = Border.__init__
    monkeypatch.setattr(Border, "__init__", lambda self, app, **kept: begin(self, app, **kept, idle_seconds=0.2))
    service.start()
    head = f"POST /v1/fail HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {service.token()}\r\nContent-Length: 20\r\n\r\n"
    with connect(service, head.encode() + b'{"reason"') as connection:
        answer = b""
        while part := connection.recv(4_096):
            answer += part
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"must go on within 0.2 seconds" in answer


def with_long_results(service: Service) -> None:
    """Eight megabytes of them: more than two kernels keep for a connection."""
    service.journal.open_search(a_search("long", candidates=1_000, splits=1, pods=1))
    pod = Pod(service.journal.view("long"), slots=1_000)
    while (unit := pod.claim()) is not None:
        results = [a_result(cell, error="E" * 8_000) for cell in unit.cells]
        service.journal.view("long").report(Report(index=0, results=results))


def ask_and_do_not_read(service: Service) -> socket.socket:
    connection = socket.socket()
    connection.settimeout(60)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
    connection.connect(("127.0.0.1", service.port))
    head = f"GET /v1/cells HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {service.token('long')}\r\n\r\n"
    connection.sendall(head.encode())
    return connection


@pytest.mark.slow
def test_answers_that_nobody_reads_make_room_for_those_that_are_read(tmp_path: Path) -> None:
    """They were kept for as long as their clients liked: 160 of them, of one tenant, took 800 MB."""
    crowd = Crowd(most_unread=200_000)
    for service in serving(tmp_path, crowd):
        with_long_results(service)
        with ExitStack() as opened:
            for _ in range(5):
                opened.enter_context(ask_and_do_not_read(service))
            headers = {"Authorization": f"Bearer {service.token('long')}"}
            answer = httpx.get(f"{service.url}/v1/cells", headers=headers, trust_env=False, timeout=60)
            assert len(answer.json()) == 1_000
            assert sum(each.unsent_bytes for each in list(crowd.unread)) <= crowd.most_unread


@pytest.mark.slow
def test_an_answer_of_which_nothing_is_read_is_not_kept_for_ever(tmp_path: Path) -> None:
    crowd = Crowd(read_seconds=0.3)
    for service in serving(tmp_path, crowd):
        with_long_results(service)
        with ask_and_do_not_read(service):
            waiting = threading.Event()
            while not crowd.peers:
                waiting.wait(0.02)
            while crowd.peers:  # until the service has closed it
                waiting.wait(0.02)


CHUNKED = "POST /v1/fail HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {}\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    "said",
    [
        # whose answer has begun when the rest of its body turns out to be none
        "GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        # whose answer has not begun, and that nobody waits for
        CHUNKED.format("nobody's"),
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_a_body_that_is_no_http_is_no_fault_of_the_service(
    service: Service, caplog: pytest.LogCaptureFixture, said: str, at_once: bool
) -> None:
    with connect(service, said.encode() + (b"no chunk\r\n" if at_once else b"")) as connection:
        answer = connection.recv(4_096)
        with contextlib.suppress(OSError):  # it may have been closed by now
            connection.sendall(b"no chunk\r\n")
        assert is_closed(connection) or answer
    assert httpx.get(f"{service.url}/healthz", trust_env=False, timeout=60).status_code == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.slow
def test_an_upload_that_is_interrupted_is_no_fault_of_the_service(
    service: Service, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    head = (
        f"PUT /v1/artifacts/model.joblib HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {service.token()}\r\n"
        f"X-Content-Sha256: {'0' * 64}\r\nContent-Length: 900\r\n\r\n"
    )
    connect(service, head.encode() + b"x" * 100).close()
    counted = 'route="/v1/artifacts/{name}",status="499"'
    waiting = threading.Event()
    while counted not in http.get("/metrics").text:
        waiting.wait(0.02)
    assert 'status="500"' not in http.get("/metrics").text
    assert "Traceback" not in caplog.text
    assert list((service.artifacts.path("search-a", "model.joblib").parent.parent).glob("*/.*.part")) == []


# --- turns ------------------------------------------------------------------------------------------------------------


async def test_long_bodies_wait_in_order_and_short_ones_pass_by() -> None:
    room, order = RequestRoom(max_bytes=300_000), []

    async def ask(who: str, size: int) -> None:
        async with room.taken(who, size):
            order.append(who)
            await asyncio.sleep(0)

    async with room.taken("first", 200_000):
        waiting = [asyncio.create_task(ask(who, 150_000)) for who in ("second", "third")]
        await asyncio.sleep(0)
        await ask("short", SHORT_BYTES)
        assert order == ["short"]
    await asyncio.gather(*waiting)
    assert order == ["short", "second", "third"]


async def test_who_has_waited_long_enough_is_asked_to_come_again_and_leaves_nothing_behind() -> None:
    room = RequestRoom(max_bytes=100_000, patience_seconds=0.01)
    async with room.taken("first", 100_000):
        with pytest.raises(NoTurn):
            async with room.taken("second", 70_000):
                pass
    async with room.taken("second", 100_000):
        pass


async def test_a_search_that_asks_without_end_keeps_its_neighbour_waiting_for_nothing() -> None:
    room = RequestRoom(patience_seconds=0.01)
    async with AsyncExitStack() as turns:
        for _ in range(PER_SEARCH):
            await turns.enter_async_context(room.taken("greedy", 10))
        with pytest.raises(NoTurn):
            async with room.taken("greedy", 10):
                pass
        async with room.taken("neighbour", 10):
            pass
    async with room.taken("greedy", 10):
        pass


async def test_long_bodies_of_namespaces_take_turns_and_none_has_all_the_room() -> None:
    room, order = RequestRoom(max_bytes=400_000), []

    async def ask(namespace: str, number: int) -> None:
        async with room.taken(f"{namespace}-{number}", 100_000, namespace=namespace):
            order.append((namespace, number))
            await asyncio.sleep(0)

    async with AsyncExitStack() as held:
        for number in range(3):
            await held.enter_async_context(room.taken(f"held-{number}", 100_000, namespace="loud"))
        loud = [asyncio.create_task(ask("loud", number)) for number in range(9)]
        await asyncio.sleep(0)
        await ask("quiet", 0)
        assert order == [("quiet", 0)], "a quarter is left to others"
        await held.enter_async_context(room.taken("held-3", 100_000, namespace="other"))
        quiet = asyncio.create_task(ask("quiet", 1))
        await asyncio.sleep(0)
    await asyncio.gather(*loud, quiet)
    assert order.index(("quiet", 1)) <= 2
    assert [number for namespace, number in order if namespace == "loud"] == list(range(9))


async def test_who_gives_up_waiting_at_the_desk_leaves_it_to_others() -> None:
    desk = Desk(at_once=1, per_namespace=1, patience_seconds=0.01)
    await desk.enter("loud")
    with pytest.raises(NoTurn):
        await desk.enter("quiet")
    waiting = asyncio.create_task(desk.enter("other"))
    await asyncio.sleep(0)
    desk.leave("loud")
    waiting.cancel()  # it was given its turn a moment ago
    await asyncio.gather(waiting, return_exceptions=True)
    await desk.enter("quiet")
    assert len(desk) == 0


# --- strangers ----------------------------------------------------------------------------------------------------------


async def enter(door: Door, token: bytes, peer: str = "a") -> None:
    async with door.open(token, peer):
        pass


async def test_an_address_that_sends_tokens_of_nobody_is_not_heard_for_a_while_and_its_neighbour_is() -> None:
    now = 0.0
    door = Door(lambda: now)
    await enter(door, b"ada")
    door.tell(b"ada", "a", is_somebody=True)
    for number in range(30):
        await enter(door, b"%d" % number)
        door.tell(b"%d" % number, "a", is_somebody=False)
    with pytest.raises(PersonRefused, match="address a must send no more tokens that nobody knows"):
        await enter(door, b"another")
    await enter(door, b"another", "b")
    await enter(door, b"ada")
    now = 61.0
    await enter(door, b"another")


async def test_people_who_were_known_before_do_not_wait_for_strangers() -> None:
    door = Door(lambda: 0.0)
    door.tell(b"ada", "a", is_somebody=True)
    enough = asyncio.Event()

    async def dawdle(number: int) -> None:
        async with door.open(b"%d" % number, f"peer-{number}"):
            await enough.wait()

    strangers = [asyncio.create_task(dawdle(number)) for number in range(32)]
    await asyncio.sleep(0)
    with pytest.raises(IdentityUnavailable, match="too many unknown tokens"):
        await enter(door, b"one more", "another")
    await asyncio.wait_for(enter(door, b"ada"), 1)
    enough.set()
    await asyncio.gather(*strangers)


@pytest.mark.slow
def test_what_a_search_may_have_of_the_store_is_told_before_it_is_sent(service: Service) -> None:
    service.stop()
    service.shares = type(service.shares)(search_bytes=500)
    service.start()
    body = b"x" * 501
    response = httpx.put(
        f"{service.url}/v1/artifacts/model.joblib",
        content=body,
        headers={**sha256(body), "Authorization": f"Bearer {service.token()}"},
        trust_env=False,
        timeout=60,
    )
    assert response.status_code == 422
    assert "must leave the files of its search at 500 bytes at most" in detail(response)


@pytest.mark.slow
def test_a_pod_that_is_told_to_come_again_does_so_when_it_was_told_to(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    tight = RequestRoom(max_bytes=0, patience_seconds=0.05)
    service.stop()
    monkeypatch.setattr("tuningjob_operator.service.app.RequestRoom", lambda: tight)
    service.start()
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        tight._give_back("", 2**20)  # somebody has finished meanwhile

    with service.client(sleep=sleep) as client:
        cells = Pod(client, slots=30).must_claim().cells
        reported = client.report(
            Report(index=0, results=[a_result(cell, error="E" * MAX_ERROR_LENGTH) for cell in cells])
        )
    assert reported.new == len(cells)
    assert len(slept) == 1
    assert slept[0] > 2, "Retry-After: 2, and some more"


@pytest.mark.slow
def test_an_answer_that_is_too_large_is_no_reason_to_try_again(service: Service) -> None:
    with service.client() as client:
        Pod(client).work()
        with pytest.raises(ArtifactRefused, match="must be of at most 65,536 bytes as JSON"):
            client.complete(an_answer(best_params={"class_weight": {str(number): 1.5 for number in range(9_000)}}))
        with pytest.raises(ArtifactRefused, match="must be of at most 262,144 bytes"):
            client.complete(an_answer(best_params={"a": "x" * 300_000}))
        assert client.search().state is SearchState.RUNNING
