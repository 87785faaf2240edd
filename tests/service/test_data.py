"""Data that people send: asked for first, sent in parts that may be cut anywhere, kept once, seen by their namespace alone."""

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journal.makers import Pod, a_preflight, a_search, an_answer
from tests.service.conftest import calling
from tests.service.server import Service
from tuningjob.artifacts.uploads import Uploads
from tuningjob.cluster.service import AWAY_SECONDS
from tuningjob.errors import ArtifactRefused, JournalError, NoRoom
from tuningjob.protocol.uploads import MOST_PART_BYTES
from tuningjob.remote.data import HttpData

pytestmark = pytest.mark.slow

MIB = 2**20
DATA = os.urandom(300_000)
SHA = hashlib.sha256(DATA).hexdigest()
HERE = f"/v1/namespaces/team/data/{SHA}"


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    service = Service(tmp_path_factory.mktemp("sent"), max_artifact_bytes=20 * MIB)
    service.uploads = Uploads(service.artifacts, namespace_bytes=24 * MIB)
    for letter, namespace in (("a", "team"), ("b", "other")):
        service.journal.open_search(a_search(f"search-{letter}", namespace=namespace))
    service.register.enter("alice", "get", "update", namespace="team")
    service.register.enter("reader", "get", namespace="team")
    service.register.enter("bob", "get", "update", namespace="other")
    service.start()
    yield service
    service.close()


def client(service: Service, name: str = "alice", namespace: str = "team") -> HttpData:
    return HttpData(service.url, f"token-of-{name}", namespace=namespace, sleep=lambda _seconds: time.sleep(0.01))


def a_file(folder: Path, size: int = 300_000, *, seed: bytes = b"") -> tuple[Path, str]:
    path = folder / hashlib.sha256(seed).hexdigest()[:8]
    path.write_bytes((seed + os.urandom(32)) * (size // (len(seed) + 32) + 1))
    os.truncate(path, size)
    return path, hashlib.sha256(path.read_bytes()).hexdigest()


def fetched(service: Service, sha256: str, search: str = "search-a") -> httpx.Response:
    (http,) = calling(service, service.token(search))
    with httpx.Client(base_url=service.url, headers=http.headers, trust_env=False, timeout=60) as plain:
        return plain.get(f"/v1/data/{sha256}")


def test_what_is_sent_is_what_a_pod_of_the_namespace_gets_and_the_second_time_nothing_is_sent(
    sent: Service, tmp_path: Path
) -> None:
    path, sha256 = a_file(tmp_path, 9 * MIB)
    told: list[tuple[int, int]] = []
    with client(sent) as alice:
        before = alice.room().used_bytes
        assert alice.send(path, sha256, tell=lambda *each: told.append(each)) == 9 * MIB
        assert alice.send(path, sha256) == 0
        assert alice.room().used_bytes == before + 9 * MIB
    assert [have for have, _ in told] == [0, 4 * MIB, 8 * MIB, 9 * MIB]
    assert fetched(sent, sha256).content == path.read_bytes()
    assert fetched(sent, sha256, "search-b").status_code == 404


def test_nothing_is_seen_before_all_of_it_is_there(sent: Service, tmp_path: Path) -> None:
    path, sha256 = a_file(tmp_path)
    for http in calling(sent, "token-of-alice"):
        part = http.put(
            f"/v1/namespaces/team/data/{sha256}",
            params={"offset": 0, "size": 300_000},
            content=path.read_bytes()[:100_000],
        )
        assert part.json() == {"sha256": sha256, "received_bytes": 100_000, "is_complete": False}
    assert fetched(sent, sha256).status_code == 404


@pytest.mark.parametrize("cut", [1, 4 * MIB - 1, 4 * MIB, 5 * MIB + 7, 9 * MIB - 1])
def test_it_goes_on_wherever_it_was_cut_also_after_a_restart(tmp_path: Path, cut: int) -> None:
    service = Service(tmp_path / "service", max_artifact_bytes=20 * MIB)
    service.journal.open_search(a_search())
    service.register.enter("alice", "get", "update")
    service.start()
    try:
        path, sha256 = a_file(tmp_path, 9 * MIB)
        content = path.read_bytes()
        with client(service) as alice:
            at = 0
            while at < cut:  # as the client would, until it is killed
                part = content[at : min(at + 4 * MIB, cut)]
                alice._part(sha256, part, before_bytes=at, size=len(content))
                at += len(part)
        service.restart()
        with client(service) as alice:
            assert alice.state(sha256).received_bytes == cut
            assert alice.send(path, sha256) == 9 * MIB - cut
        assert fetched(service, sha256).content == content
    finally:
        service.close()


def test_a_part_that_is_cut_in_its_midst_is_not_lost(sent: Service, tmp_path: Path) -> None:
    path, sha256 = a_file(tmp_path, 3 * MIB)
    content = path.read_bytes()

    def dying() -> Iterator[bytes]:
        yield content[:MIB]
        raise KeyboardInterrupt

    headers = {"Authorization": "Bearer token-of-alice", "Content-Length": str(3 * MIB)}
    with pytest.raises(KeyboardInterrupt), httpx.Client(trust_env=False) as http:
        http.put(
            f"{sent.url}/v1/namespaces/team/data/{sha256}",
            params={"offset": 0, "size": 3 * MIB},
            content=dying(),
            headers=headers,
        )
    with client(sent) as alice:
        assert alice.send(path, sha256) <= 3 * MIB
    assert fetched(sent, sha256).content == content


def test_a_service_that_is_away_for_five_minutes_is_waited_for_and_goes_on_where_it_was(tmp_path: Path) -> None:
    service = Service(tmp_path / "service", max_artifact_bytes=20 * MIB)
    service.register.enter("alice", "get", "update", namespace="team")
    service.start()
    now = 0.0
    said: list[str] = []
    seen: list[int] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        if now > 300 and service.is_stopped:
            service.restart()

    def tell(sent: int, _size: int) -> None:
        seen.append(sent)
        if sent == 8 * MIB and not said:
            service.stop()

    path, sha = a_file(tmp_path, 18 * MIB)
    clocks: dict[str, Any] = {"clock": lambda: now, "sleep": sleep}
    try:
        with HttpData(
            service.url, "token-of-alice", namespace="team", patience_seconds=AWAY_SECONDS, say=said.append, **clocks
        ) as data:
            assert data.send(path, sha, tell=tell) == 18 * MIB, "something was sent twice, or was there"
    finally:
        service.close()
    assert 300 < now < AWAY_SECONDS
    assert seen == sorted(seen)
    first, last = said
    assert "does not answer" in first
    assert "answers again, after 3" in last


def test_two_clients_that_send_the_same_at_once_leave_it_there_once(sent: Service, tmp_path: Path) -> None:
    path, sha256 = a_file(tmp_path, 9 * MIB)
    with client(sent) as alice:
        before = alice.room().used_bytes
    counts: list[int] = []

    def send() -> None:
        with client(sent) as mine:
            counts.append(mine.send(path, sha256))

    threads = [threading.Thread(target=send) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(counts) == 9 * MIB, "no byte was taken in twice"
    with client(sent) as alice:
        assert alice.room().used_bytes == before + 9 * MIB
    assert fetched(sent, sha256).content == path.read_bytes()


def test_bytes_of_another_digest_are_refused_and_nothing_of_them_stays(sent: Service, tmp_path: Path) -> None:
    path, _ = a_file(tmp_path)
    other = hashlib.sha256(b"other").hexdigest()
    with client(sent) as alice:
        before = alice.room().used_bytes
        with pytest.raises(ArtifactRefused, match="must be the SHA-256 of what was sent"):
            alice.send(path, other)
        assert (alice.room().used_bytes, alice.state(other).received_bytes) == (before, 0)


def test_a_full_share_and_a_long_file_are_told_before_a_byte_is_sent(tmp_path: Path) -> None:
    service = Service(tmp_path / "service", max_artifact_bytes=2 * MIB)
    service.uploads = Uploads(service.artifacts, namespace_bytes=3 * MIB)
    service.register.enter("alice", "get", "update")
    service.register.enter("bob", "get", "update", namespace="other")
    service.start()
    try:
        (first, one), (second, two) = a_file(tmp_path, 2 * MIB), a_file(tmp_path, 2 * MIB, seed=b"2")
        long, three = a_file(tmp_path, 2 * MIB + 1, seed=b"3")
        with client(service) as alice:
            alice.send(first, one)
            with pytest.raises(NoRoom, match=r"must leave the data of namespace team at 3,145,728 bytes"):
                alice.send(second, two)
            with pytest.raises(ArtifactRefused, match="must be of at most 2,097,152 bytes"):
                alice.send(long, three)
        for http in calling(service, "token-of-alice"):  # who does not ask first
            place, whole = f"/v1/namespaces/team/data/{two}", {"offset": 0, "size": 2 * MIB}
            assert http.put(place, params=whole, content=second.read_bytes()).status_code == 507
            assert http.put(place, params=whole | {"size": 2 * MIB + 1}, content=b"x").status_code == 422
            lied = http.put(place, params={"offset": 0, "size": 10}, content=b"x" * 11)
            assert (lied.status_code, "within its 10" in lied.text) == (422, True)
        with client(service, "bob", "other") as bob:
            bob.send(second, two)  # a neighbour's share is its own
    finally:
        service.close()


def test_no_part_is_longer_than_it_may_be_nor_of_unknown_length(sent: Service) -> None:
    for http in calling(sent, "token-of-alice"):
        size = {"offset": 0, "size": 2**40}
        long = http.put(HERE, params=size, content=b"x" * (MOST_PART_BYTES + 1))
        assert long.status_code == 413
        unknown = http.put(HERE, params={"offset": 0, "size": 10}, content=iter([b"x"]))
        assert (unknown.status_code, "Content-Length" in unknown.text) == (422, True)
        assert http.get("/v1/namespaces/team/data/x").status_code == 422
        assert http.get(f"/v1/namespaces/team/data/{SHA.upper()}").status_code == 422


def test_who_may_only_read_sends_nothing_and_nobody_reaches_another_namespace(sent: Service, tmp_path: Path) -> None:
    path, sha256 = a_file(tmp_path)
    with client(sent, "reader") as reader, pytest.raises(JournalError, match="must be allowed to update tuningjobs"):
        reader.send(path, sha256)
    with client(sent, "bob", "team") as bob, pytest.raises(JournalError, match="bob must be allowed to get"):
        bob.send(path, sha256)
    with client(sent) as alice:
        alice.send(path, sha256)
    with client(sent, "bob", "other") as bob:
        assert bob.state(sha256).received_bytes == 0


def test_what_no_search_and_no_blessed_version_names_goes_a_day_later(tmp_path: Path) -> None:
    service = Service(tmp_path / "service", max_artifact_bytes=20 * MIB)
    journal, uploads = service.journal, service.uploads
    names = ["running", "blessed", "deleted", "of nobody", "asked for"]
    files = {name: a_file(tmp_path, 1_000, seed=name.encode()) for name in names}
    service.register.enter("alice", "get", "update")
    service.start()
    try:
        with client(service) as alice:
            for path, sha256 in files.values():
                alice.send(path, sha256)
            for name in ("running", "blessed", "deleted"):
                spec = {"estimator": {"class": "x"}, "data": {"uploaded": {"features": files[name][1]}}}
                journal.open_search(a_search(name, model_key=name, spec=spec))
            view = journal.view("blessed")
            view.set_preflight(a_preflight())
            Pod(view).work()
            view.complete(an_answer())
            journal.audit.bless(namespace="team", model_key="blessed", version=1, who="alice")
            journal.delete("blessed")
            journal.delete("deleted")
            assert uploads.remove_unused(journal.data_in_use(), before=time.time() - 3_600) == 0, "a day has not passed"
            later = time.time() + 1
            assert journal.data_in_use() == {("team", files[name][1]) for name in ("running", "blessed", "deleted")}
            service.clock.pass_time(days=31)
            assert journal.purge(service.clock.now) == 2
            assert journal.purge(service.clock.now) == 0
            while time.time() < later:
                time.sleep(0.05)
            assert alice.state(files["asked for"][1]).is_complete, "somebody is about to name it"
            assert uploads.remove_unused(journal.data_in_use(), before=later) == 2
            left = {name for name, (_, sha256) in files.items() if alice.state(sha256).is_complete}
            assert left == {"running", "blessed", "asked for"}
    finally:
        service.close()
