"""Alive, ready, and the numbers: what is told to whom carries no token."""

import asyncio
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.journal.makers import Pod, a_result, a_search
from tests.servers.missing import missing
from tests.service.conftest import calling
from tests.service.server import Service
from tests.service.test_api import detail, sha256
from tuningjob.artifacts.local import LocalStore
from tuningjob.errors import JournalError
from tuningjob.journal.search import SqlSearch
from tuningjob.protocol.records import Cell
from tuningjob.protocol.requests import Report
from tuningjob_operator.service import probes
from tuningjob_operator.service.__main__ import shares_of
from tuningjob_operator.service.probes import GOOD_FOR_SECONDS, Readiness, room_in
from tuningjob_operator.settings import read_settings

pytestmark = pytest.mark.slow


def test_the_probes_answer_without_a_token(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "alive"}
    assert http.get("/readyz").json() == {"status": "ready"}


# --- ready -----------------------------------------------------------------------------------------------------------


def broken() -> None:
    raise JournalError("the journal's database must answer, but got: disk I/O error")


def test_a_service_without_its_database_is_alive_but_not_ready(
    service: Service, http: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    service.journal.check = broken  # type: ignore[method-assign]
    response = http.get("/readyz")
    assert response.status_code == 503
    assert detail(response) == "the journal's database must answer, but got: disk I/O error"
    assert "disk I/O error" in caplog.text
    assert http.get("/healthz").status_code == 200


def test_a_service_without_a_place_for_files_is_ready_and_tells_a_worker_that_brings_one(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.journal.open_search(a_search())
    (tmp_path / "artifacts").write_text("no folder")
    service.start()
    try:
        with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as http:
            assert http.get("/readyz").status_code == 200, "claims and reports are served all the same"
            headers = {**sha256(b"x"), "Authorization": f"Bearer {service.token()}"}
            response = http.put("/v1/artifacts/model.joblib", content=b"x", headers=headers)
        assert response.status_code == 503
        assert "must be" in detail(response)
    finally:
        service.close()


class Asked:
    """A check that counts how often it was asked, and a clock that goes when it is told to."""

    def __init__(self) -> None:
        self.times = 0
        self.now = 0.0
        self.problem: str | None = None

    def __call__(self) -> None:
        self.times += 1
        if self.problem is not None:
            raise OSError(self.problem)

    def clock(self) -> float:
        return self.now


async def test_many_probes_ask_once_every_few_seconds() -> None:
    check = Asked()
    readiness = Readiness([check], clock=check.clock)
    assert await asyncio.gather(*(readiness.problem() for _ in range(20))) == [None] * 20
    check.problem = "disk full"
    assert (await readiness.problem(), check.times) == (None, 1)
    check.now += GOOD_FOR_SECONDS
    assert [await readiness.problem() for _ in range(3)] == ["disk full"] * 3
    assert check.times == 2
    check.problem = None
    check.now += GOOD_FOR_SECONDS
    assert (await readiness.problem(), check.times) == (None, 3)


async def test_a_check_that_hangs_is_not_ready_and_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "PATIENCE_SECONDS", 0.05)
    let_go, asked = threading.Event(), []

    def hangs() -> None:
        asked.append(1)
        let_go.wait()

    readiness = Readiness([hangs])
    told = [await readiness.problem() for _ in range(3)]
    assert all("must answer within" in str(each) for each in told)
    let_go.set()
    monkeypatch.setattr(probes, "PATIENCE_SECONDS", 30)
    assert await readiness.problem() is None
    assert len(asked) == 1


@pytest.fixture
def small_volume(tmp_path: Path) -> Iterator[Path]:
    """A file system of 8 MiB."""
    if os.geteuid() != 0:
        missing("a file system of 8 MiB can be mounted by root alone")
    folder = tmp_path / "volume"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], check=True, timeout=30)
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True, timeout=30)


def fill(volume: Path) -> Path:
    """A file that takes all the room that is left."""
    ballast = volume / "ballast"
    with ballast.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 2**12):
            pass
    return ballast


def test_on_a_full_disk_nothing_is_acknowledged_and_what_was_is_kept(small_volume: Path) -> None:
    service = Service(small_volume, max_artifact_bytes=2**30)
    service.journal.open_search(a_search())
    service.start()
    try:
        with service.client() as client, httpx.Client(base_url=service.url, trust_env=False, timeout=60) as http:
            worker = Pod(client)
            unit = worker.must_claim()
            worker.report(unit.cells[0])
            ballast = fill(small_volume)

            # the log that was emptied last may have room for a little: as long as it acknowledges, it keeps
            taken = {unit.cells[0]}
            with pytest.raises(AssertionError, match="the client wanted to wait"):
                work(worker, taken)
            assert http.get("/readyz").status_code == 200, "everything can still be read"
            assert "tuningjob_journal_writable 0.0" in http.get("/metrics").text
            assert {result.cell for result in client.results()} >= taken
            assert http.get("/healthz").status_code == 200
            file = http.put(
                "/v1/artifacts/model.joblib",
                content=b"x" * 2**20,
                headers={**sha256(b"x" * 2**20), "Authorization": f"Bearer {service.token()}"},
            )
            assert file.status_code == 503
            assert "must be written to the service's volume" in detail(file)

            ballast.unlink()
            service.restart()
            assert http.get("/readyz").json() == {"status": "ready"}
            assert "tuningjob_journal_writable 1.0" in http.get("/metrics").text
            assert {result.cell for result in service.journal.view("search-a").results()} >= taken
            Pod(client).work()
            assert service.journal.report_counts("search-a").keys() <= {1, 2}
            assert service.journal.progress("search-a").done == 30
    finally:
        service.close()


def test_what_is_left_of_a_volume_is_the_journals(small_volume: Path) -> None:
    service = Service(small_volume, max_artifact_bytes=2**30)
    service.artifacts = LocalStore(small_volume / "artifacts", max_bytes=2**30, reserve=0.1)
    service.journal.open_search(a_search())
    service.start()
    try:
        with service.client() as client, httpx.Client(base_url=service.url, trust_env=False, timeout=60) as http:
            ballast = fill(small_volume)
            with ballast.open("r+b") as file:
                file.truncate(ballast.stat().st_size - 2**19)  # half a megabyte is free, of eight
            model = {**sha256(b"model"), "Authorization": f"Bearer {service.token()}"}
            refused = http.put("/v1/artifacts/model.joblib", content=b"model", headers=model)
            assert refused.status_code == 507
            assert "must leave 838,860 bytes of the volume to the journal" in detail(refused)
            Pod(client).work()
            assert service.journal.progress("search-a").done == 30
            ballast.unlink()
            assert http.put("/v1/artifacts/model.joblib", content=b"model", headers=model).status_code == 200
    finally:
        service.close()


def test_a_namespace_has_its_part_of_the_volume_and_its_neighbour_the_rest(small_volume: Path) -> None:
    service = Service(small_volume, max_artifact_bytes=2**30)
    settings = read_settings({"TUNINGJOB_MAX_NAMESPACE_BYTES": "50%"})
    service.shares = shares_of(settings, service.artifacts)
    volume = os.statvfs(small_volume)
    assert service.shares.namespace_bytes == volume.f_blocks * volume.f_frsize // 2
    searches = {"one": "greedy", "two": "greedy", "three": "modest"}
    for search, namespace in searches.items():
        service.journal.open_search(a_search(search, namespace=namespace, name=search))
    service.start()
    model = b"x" * (3 * 2**20)
    try:
        with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as http:
            statuses = {}
            for search in searches:
                headers = {**sha256(model), "Authorization": f"Bearer {service.token(search)}"}
                answer = http.put("/v1/artifacts/model.joblib", content=model, headers=headers)
                statuses[search] = answer.status_code
        assert statuses == {"one": 200, "two": 507, "three": 200}
    finally:
        service.close()


def work(worker: Pod, taken: set[Cell]) -> None:
    """Cell by cell, until nothing is left; ``taken`` is what was acknowledged."""
    while (unit := worker.claim()) is not None:
        for cell in unit.cells:
            worker.report(cell)
            taken.add(cell)


def test_a_volume_with_little_room_left_is_told(tmp_path: Path) -> None:
    room_in(tmp_path)()
    with pytest.raises(OSError, match=r"must have 1,[0-9,]+ bytes free at least, but got"):
        room_in(tmp_path, least_bytes=2**60)()


# --- numbers ---------------------------------------------------------------------------------------------------------


def numbers(http: httpx.Client) -> dict[tuple[str, ...], float]:
    text = http.get("/metrics").text
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_numbers_follow_a_search(service: Service, mine: httpx.Client, http: httpx.Client) -> None:
    with service.client() as client:
        worker = Pod(client)
        unit = worker.must_claim()
        worker.report(*unit.cells[1:])
        failed = a_result(unit.cells[0], fit_seconds=7.0, score_seconds=2.0, error="ValueError")
        client.report(Report(index=0, results=[failed, *(a_result(cell) for cell in unit.cells[1:2])]))
    mine.put("/v1/artifacts/model.joblib", content=b"model", headers=sha256(b"model"))
    found = numbers(http)
    assert found["tuningjob_cells_taken_in_total",] == len(unit.cells)
    assert found["tuningjob_cells_repeated_total",] == 1
    assert found["tuningjob_failed_cells_total",] == 1
    assert found["tuningjob_cell_seconds_sum",] == 0.75 * (len(unit.cells) - 1) + 9.0
    assert found["tuningjob_cell_seconds_bucket", "1.0"] == len(unit.cells) - 1
    assert found["tuningjob_cell_seconds_bucket", "10.0"] == len(unit.cells)
    assert found["tuningjob_claims_total", "Evaluate"] == 1
    assert found["tuningjob_artifact_bytes_total", "in"] == 5
    assert found["tuningjob_http_request_seconds_count", "POST", "/v1/cells", "200"] == 2
    assert found["process_resident_memory_bytes",] > 0


def test_a_journal_that_does_not_answer_is_counted(
    mine: httpx.Client, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(_self: SqlSearch) -> object:
        raise JournalError("the journal's database must answer, but got: database is locked")

    monkeypatch.setattr(SqlSearch, "search", away)
    assert mine.get("/v1/search").status_code == 503
    assert numbers(http)["tuningjob_unavailable_total", "JournalError"] == 1


def test_no_label_is_made_up_by_a_caller_and_no_search_is_named(service: Service, http: httpx.Client) -> None:
    token = service.register.enter("alice", "get", "update")
    for number in range(20):
        for caller in calling(service, token):
            caller.request(f"METHOD{number}", f"/v1/namespaces/team/models/model{number}/params")
            caller.get(f"/v1/namespaces/team/models/model{number}/params")
        http.get(f"/nothing{number}", headers={"Authorization": f"Bearer {service.token()}"})
        http.get(f"/v1/artifacts/{number}")
    routes = {labels[1:3] for labels in numbers(http) if labels[0] == "tuningjob_http_request_seconds_count"}
    assert routes <= {
        ("GET", "/v1/namespaces/{namespace}/models/{key}/params"),
        ("other", "/v1/namespaces/{namespace}/models/{key}/params"),
        ("other", "refused"),
        ("GET", "none"),
        ("GET", "refused"),
        ("GET", "/metrics"),
    }
    text = http.get("/metrics").text
    for secret in ("search-a", "team", "alice", "model7", "forest"):
        assert secret not in text.replace("/v1/namespaces/{namespace}", "")


def test_a_store_is_asked_through_its_own_check(tmp_path: Path) -> None:
    LocalStore(tmp_path / "artifacts", max_bytes=1).check()
