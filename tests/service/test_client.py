"""A search through the results service is the search that the journal itself would have led."""

import contextlib
import datetime as dt
import http.server
import itertools
import math
import socket
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from email.utils import format_datetime
from ipaddress import ip_address
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.journal.makers import Pod, a_preflight, a_result, a_search, an_answer
from tests.service.server import Service
from tuningjob.errors import ArtifactRefused, JournalError, JournalMismatch, ServiceUnavailable, UnknownSearch
from tuningjob.journal.search import SqlSearch
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.contract import SearchJournal
from tuningjob.protocol.records import (
    MAX_CELLS_PER_PAGE,
    MAX_CELLS_PER_REPORT,
    MAX_ERROR_LENGTH,
    Cell,
    CellIdentity,
    CellResult,
    Claim,
    Next,
    Refusal,
    SearchState,
    Unit,
)
from tuningjob.protocol.requests import ClaimRequest, Report, ReuseRequest
from tuningjob.remote.worker import HttpSearchJournal
from tuningjob_operator import tokens

pytestmark = pytest.mark.slow


def a_life(journal: SearchJournal) -> Iterator[object]:
    """All that a worker may ask, and what it is told."""
    yield journal.search()
    journal.set_preflight(a_preflight(warnings=("constant feature",)))
    first, second = Pod(journal, index=0, slots=2, memory=2**40), Pod(journal, index=1)
    left = first.must_claim()
    yield left
    yield first.report(*left.cells[:2])
    identities = [CellIdentity(candidate=cell.candidate, split=cell.split, identity="0" * 32) for cell in left.cells]
    yield journal.reuse(ReuseRequest(index=0, cells=identities))
    for claimant in ("the-first", "its-replacement", "another"):
        yield journal.claim(ClaimRequest(index=0, slots=2, holding=set(), claimant=claimant, memory=2**30))
    yield journal.claim(ClaimRequest(index=0, slots=2, holding=set(), claimant="too-small", memory=2**20))
    yield journal.claim(ClaimRequest(index=0, slots=2, holding=set(), claimant="large-enough", memory=2**31))
    journal.leave(index=0)
    yield journal.claim(ClaimRequest(index=0, slots=2, holding=set(), claimant="the-last", memory=2**40))
    yield second.work()
    yield list(journal.results())
    yield first.restarted().work()
    yield first.asks()
    yield list(journal.results())
    yield journal.complete(an_answer())
    yield journal.complete(an_answer())
    yield journal.search().state
    yield first.asks()


def test_the_whole_life_of_a_search_is_the_same_as_with_the_journal_itself(client: HttpSearchJournal) -> None:
    direct = SqlJournal("sqlite://")
    try:
        direct.open_search(a_search())
        for told, want in itertools.zip_longest(a_life(client), a_life(direct.view("search-a"))):
            assert told == want
    finally:
        direct.close()


floats = st.floats(allow_nan=True, allow_infinity=True)


results = st.builds(
    a_result,
    st.just(Cell(0, 0)),
    test_scores=st.dictionaries(st.text(min_size=1, max_size=8), floats, max_size=3),
    train_scores=st.none() | st.dictionaries(st.text(min_size=1, max_size=8), floats, max_size=3),
    fit_seconds=st.floats(0, 1e9),
    error=st.none() | st.text(max_size=50),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=results)
def test_a_result_crosses_the_wire_equal_to_the_bit(
    service: Service, client: HttpSearchJournal, sent: CellResult
) -> None:
    service.journal.delete("search-a")
    service.journal.open_search(a_search(candidates=1, splits=1))
    Pod(client).must_claim()
    client.report(Report(index=0, results=[sent]))
    # repr: NaN equals itself there, and -0.0 is not 0.0
    assert [repr(result) for result in client.results()] == [repr(sent)]


def test_an_answer_of_nan_and_infinity_arrives_as_such(service: Service, client: HttpSearchJournal) -> None:
    Pod(client).work()
    sent = an_answer(best_score=-math.inf, best_std=math.nan)
    client.complete(sent)
    assert repr(service.journal.progress("search-a").answer) == repr(sent)


def test_a_report_of_many_cells_is_sent_in_batches_and_results_are_read_in_pages(service: Service) -> None:
    service.journal.open_search(a_search("large", candidates=700, splits=10, pods=1))
    with service.client("large") as client:
        worker = Pod(client)
        claimed = [cell for unit in iter(worker.claim, None) for cell in unit.cells]
        assert len(claimed) == 7_000 > max(MAX_CELLS_PER_PAGE, MAX_CELLS_PER_REPORT)
        assert worker.report(*claimed) == 7_000
        assert [result.cell for result in client.results()] == sorted(claimed)


def test_a_report_whose_errors_are_longer_than_a_body_may_be_is_sent_in_parts(service: Service) -> None:
    service.journal.open_search(a_search("large", candidates=1_000, splits=1, pods=1))
    with service.client("large") as client:
        worker = Pod(client)
        claimed = [cell for unit in iter(worker.claim, None) for cell in unit.cells]
        # three bytes for each character
        failed = [a_result(cell, error="→" * MAX_ERROR_LENGTH) for cell in claimed]
        assert client.report(Report(index=0, results=failed)).new == 1_000


def test_identities_are_asked_for_in_batches(service: Service) -> None:
    service.journal.open_search(a_search("large", candidates=700, splits=2, pods=1))
    with service.client("large") as client:
        worker = Pod(client)
        claimed = [cell for unit in iter(worker.claim, None) for cell in unit.cells]
        named = {cell: f"{number:032x}" for number, cell in enumerate(claimed)}
        client.report(Report(index=0, results=[a_result(cell, identity=identity) for cell, identity in named.items()]))
        wanted = [
            CellIdentity(candidate=cell.candidate, split=cell.split, identity=identity)
            for cell, identity in named.items()
        ]
        assert len(wanted) == 1_400 > MAX_CELLS_PER_REPORT
        assert sorted(client.reuse(ReuseRequest(index=0, cells=wanted))) == sorted(claimed)


def test_many_threads_may_use_one_client(client: HttpSearchJournal) -> None:
    cells = Pod(client, slots=30).must_claim().cells
    with ThreadPoolExecutor(8) as threads:
        done = [threads.submit(client.report, Report(index=0, results=[a_result(cell)])) for cell in cells]
        asked = [threads.submit(client.search) for _ in range(30)]
        assert sum(future.result().new for future in done) == len(cells)
        assert {future.result().id for future in asked} == {"search-a"}


def test_reporting_nothing_asks_nothing(client: HttpSearchJournal, service: Service) -> None:
    service.stop()
    assert client.report(Report(index=0, results=[])).new == 0


def test_a_failure_is_told_with_the_end_of_a_long_reason(service: Service, client: HttpSearchJournal) -> None:
    client.fail("x" * 10_000 + "ValueError: the reason")
    progress = service.journal.progress("search-a")
    assert progress.state is SearchState.FAILED
    assert progress.failure is not None
    assert progress.failure.endswith("ValueError: the reason")


def test_a_refusal_is_told_as_it_is(service: Service, client: HttpSearchJournal) -> None:
    refusal = Refusal(problems=({"field": "spec.data.target", "must_be": "a column", "got": "'clas'"},))
    client.refuse(refusal)
    assert service.journal.progress("search-a").refusal == refusal
    assert client.claim(ClaimRequest(index=0, slots=1, holding=set())) == Claim(next=Next.NOTHING)


# --- refusals come back as the journal's own errors ------------------------------------------------------------------


def test_a_mismatch_comes_back_with_the_journals_sentence(service: Service, client: HttpSearchJournal) -> None:
    outside = [a_result(Cell(0, 0))]
    with pytest.raises(JournalMismatch) as direct:
        service.journal.view("search-a").report(Report(index=0, results=outside))
    with pytest.raises(JournalMismatch) as over_http:
        client.report(Report(index=0, results=outside))
    assert str(over_http.value) == str(direct.value)


def test_a_deleted_search_is_unknown(service: Service, client: HttpSearchJournal) -> None:
    service.journal.delete("search-a")
    with pytest.raises(UnknownSearch, match="search-a"):
        client.search()


def test_a_token_of_a_key_that_is_gone_is_a_journal_error_that_says_so(service: Service) -> None:
    token = tokens.issue(tokens.Keys(bytes(32)), "search-a")
    stranger = HttpSearchJournal(service.url, token)
    with pytest.raises(JournalError, match="The token must be signed by this installation"):
        stranger.search()
    stranger.close()


def test_a_token_is_as_good_after_years_as_on_its_first_day(service: Service, client: HttpSearchJournal) -> None:
    service.clock.pass_time(days=800)
    assert client.search().id == "search-a"


# --- the service stays away ------------------------------------------------------------------------------------------


class Patience:
    """A clock that goes only by sleeping."""

    def __init__(self, *, wakes: dict[int, object] | None = None) -> None:
        self.now = 0.0
        self.pauses: list[float] = []
        self.wakes = wakes or {}

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
        if callable(act := self.wakes.get(len(self.pauses))):
            act()


def patient_client(service: Service, patience: Patience, *, patience_seconds: float = 600) -> HttpSearchJournal:
    return HttpSearchJournal(
        service.url,
        service.token(),
        patience_seconds=patience_seconds,
        clock=patience.clock,
        sleep=patience.sleep,
    )


def test_a_restart_in_the_middle_is_ridden_out_and_nothing_is_fitted_again(service: Service) -> None:
    patience = Patience(wakes={3: service.start})
    with patient_client(service, patience) as client:
        worker = Pod(client)
        unit = worker.must_claim()
        service.stop()
        worker.finish(unit)
        assert len(patience.pauses) == 3
        service.restart()
        worker.work()
        assert client.complete(an_answer()) == 1
    assert service.journal.report_counts("search-a") == {1: 30}


def test_pauses_grow_to_a_bound_and_end_with_patience(service: Service) -> None:
    patience = Patience()
    service.stop()
    with (
        patient_client(service, patience, patience_seconds=120) as client,
        pytest.raises(ServiceUnavailable, match=r"127\.0\.0\.1:[0-9]+: must answer within 120 seconds, but got"),
    ):
        client.search()
    assert 120 <= patience.now < 140
    assert 0.25 <= patience.pauses[0] <= 0.5
    assert 10 <= patience.pauses[-1] <= 20
    assert len(patience.pauses) < 20


def test_a_database_that_does_not_answer_is_waited_for(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_self: SqlSearch) -> object:
        raise JournalError("the journal's database must answer, but got: database is locked")

    monkeypatch.setattr(SqlSearch, "search", broken)
    patience = Patience(wakes={2: monkeypatch.undo})
    with patient_client(service, patience) as client:
        assert client.search().id == "search-a"
    assert len(patience.pauses) == 2


def test_a_claim_whose_reply_was_lost_is_not_lost(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The service took the claim and died before it answered: the client asks again and is given the same unit."""
    claimed: list[Claim] = []
    working = SqlSearch.claim

    def lose_the_reply(search: SqlSearch, request: ClaimRequest) -> Claim:
        claimed.append(working(search, request))
        monkeypatch.undo()
        raise JournalError("the reply is lost")

    monkeypatch.setattr(SqlSearch, "claim", lose_the_reply)
    with patient_client(service, Patience()) as client:
        assert client.claim(ClaimRequest(index=0, slots=1, holding=set())) == claimed[0]


def test_who_waits_is_told_once_and_when_it_is_over(service: Service) -> None:
    patience = Patience(wakes={6: service.start})
    said: list[str] = []
    service.stop()
    with HttpSearchJournal(
        service.url, service.token(), say=said.append, clock=patience.clock, sleep=patience.sleep
    ) as client:
        client.search()
        client.search()
    assert len(said) == 2
    assert said[0].startswith(f"{service.url} does not answer: ")
    assert said[1] == f"{service.url} answers again, after {patience.now:.0f} seconds"


@contextlib.contextmanager
def answering(*answers: tuple[int, Mapping[str, str]], body: bytes = b'{"detail":"wait a moment"}') -> Iterator[str]:
    """A service that answers so, one after the other: its address. For what the real one never says."""
    left = list(answers)

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, headers = left.pop(0)
            self.send_response_only(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def http_date(*, seconds: int) -> str:
    return format_datetime(NOON + dt.timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize(
    ("status", "headers", "least", "most"),
    [
        (429, {"Retry-After": "7"}, 7, 8),
        (503, {"Retry-After": "7"}, 7, 8),
        (503, {"Retry-After": http_date(seconds=9), "Date": http_date(seconds=0)}, 9, 10),
        (503, {"Retry-After": http_date(seconds=-9), "Date": http_date(seconds=0)}, 0, 1),
        (503, {"Retry-After": http_date(seconds=9)}, 0, 1),
        (503, {"Retry-After": "86400"}, 60, 61),
        (503, {"Retry-After": "soon"}, 0, 1),
        (429, {}, 0, 1),
    ],
)
def test_a_service_that_asks_for_a_pause_is_given_it(
    status: int, headers: Mapping[str, str], least: float, most: float
) -> None:
    patience = Patience()
    with (
        answering((status, headers), (404, {})) as url,
        HttpSearchJournal(url, "token", clock=patience.clock, sleep=patience.sleep) as client,
        pytest.raises(UnknownSearch, match="wait a moment"),
    ):
        client.search()
    (pause,) = patience.pauses
    assert least < pause <= most


def test_what_a_later_service_says_besides_is_passed_over() -> None:
    body = b'{"next":"Evaluate","unit":{"id":7,"cells":[{"candidate":1,"split":2}],"deadline":9},"news":[]}'
    with answering((200, {}), body=body) as url, HttpSearchJournal(url, "token") as client:
        assert client.claim(ClaimRequest(index=0, slots=1, holding=set())) == Claim(
            next=Next.EVALUATE, unit=Unit(id=7, cells=(Cell(1, 2),))
        )


# --- TLS -------------------------------------------------------------------------------------------------------------


def a_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "results")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + dt.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "tls.crt", folder / "tls.key"
    files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


@contextlib.contextmanager
def behind_tls(service: Service, folder: Path) -> Iterator[tuple[str, Path]]:
    """The service's address behind TLS, and the file that vouches for it."""
    certificate, key = a_certificate(folder)
    server = uvicorn.Server(
        uvicorn.Config(
            service.make_app(), log_config=None, ws="none", lifespan="on", ssl_certfile=certificate, ssl_keyfile=key
        )
    )
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    with listener:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}", certificate
        server.should_exit = True
        thread.join()


def test_a_service_whose_certificate_is_vouched_for_is_spoken_to(service: Service, tmp_path: Path) -> None:
    with (
        behind_tls(service, tmp_path) as (url, ca_file),
        HttpSearchJournal(url, service.token(), ca_file=ca_file) as client,
    ):
        assert client.search().id == "search-a"


def test_a_service_that_nobody_vouches_for_is_told_nothing(service: Service, tmp_path: Path) -> None:
    patience = Patience()
    (tmp_path / "other").mkdir()
    other, _ = a_certificate(tmp_path / "other")
    with (
        behind_tls(service, tmp_path) as (url, _),
        HttpSearchJournal(
            url, service.token(), ca_file=other, patience_seconds=1, clock=patience.clock, sleep=patience.sleep
        ) as client,
        pytest.raises(ServiceUnavailable, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        client.search()


# --- files -----------------------------------------------------------------------------------------------------------


def test_a_file_is_handed_in_and_read_back(service: Service, client: HttpSearchJournal, tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(bytes(range(256)))
    stored = client.upload("model.joblib", file)
    assert stored.size_bytes == 256
    assert service.artifacts.list("search-a") == [stored]
    assert service.artifacts.read_bytes("search-a", "model.joblib") == bytes(range(256))


def test_the_result_files_of_a_folder_are_handed_in_and_nothing_else(
    service: Service, client: HttpSearchJournal, tmp_path: Path
) -> None:
    folder = tmp_path / "results"
    folder.mkdir()
    for name in ("best_params.json", "leaderboard.csv", "tuning.db"):
        (folder / name).write_bytes(name.encode())
    client.upload_all(folder)
    assert [artifact.name for artifact in service.artifacts.list("search-a")] == ["best_params.json", "leaderboard.csv"]


def test_a_file_is_sent_again_from_its_beginning_when_the_service_comes_back(service: Service, tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"model")
    service.stop()
    with patient_client(service, Patience(wakes={2: service.start})) as client:
        client.upload("model.joblib", file)
    assert service.artifacts.read_bytes("search-a", "model.joblib") == b"model"


def test_a_large_file_is_streamed_and_one_that_is_too_large_is_refused_at_once(tmp_path: Path) -> None:
    file = tmp_path / "model"
    size = 24 * 2**20
    file.write_bytes(bytes(size))
    service = Service(tmp_path / "service", max_artifact_bytes=size)
    service.journal.open_search(a_search())
    service.start()
    try:
        with service.client() as client:
            assert client.upload("model.joblib", file).size_bytes == size
            with file.open("ab") as more:
                more.write(b"!")
            with pytest.raises(ArtifactRefused, match="at most"):
                client.upload("model.joblib", file)
    finally:
        service.close()
