"""While a cluster is upgraded, workers and a service of two releases talk to each other.

``recorded/`` holds all that the two of version 0.1.0, before the records of the protocol had a package of their own, have told each
other in the life of a few searches. A service of today must take those bodies and answer as then; a worker of today must send
those bodies, and understand those answers. A reply may say more than then: workers of before pass that by.
"""

import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journal.makers import a_preflight, a_result, a_search, an_answer
from tests.service.server import Service
from tuningjob.errors import JournalMismatch
from tuningjob.journal.records import NewSearch
from tuningjob.protocol.contract import SearchJournal
from tuningjob.protocol.records import (
    Axis,
    Block,
    Cell,
    CellIdentity,
    Claim,
    Pilot,
    Refusal,
    SearchState,
    Spread,
)
from tuningjob.protocol.requests import ClaimRequest, Report, ReuseRequest
from tuningjob.remote.worker import HttpSearchJournal

Exchange = dict[str, Any]
RECORDED: dict[str, list[Exchange]] = json.loads(
    (Path(__file__).parent / "recorded" / "workers_0.1.0.json").read_text(encoding="utf-8")
)
A_GIB = 2**30


def searches() -> dict[str, NewSearch]:
    """What was opened then."""
    return {
        "life": a_search("life", splits=2, pods=1),
        "failing": a_search("failing", spec={"limits": {"maxFailedFits": 0}}),
        "ending": a_search("ending"),
        "refused": a_search("refused"),
    }


@pytest.fixture
def upgraded(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path)
    for search in searches().values():
        service.journal.open_search(search)
    service.start()
    yield service
    service.close()


@pytest.mark.alike
@pytest.mark.parametrize("search", RECORDED)
def test_a_service_takes_what_workers_of_the_version_before_send_and_answers_as_then(
    upgraded: Service, search: str
) -> None:
    headers = {"Authorization": f"Bearer {upgraded.token(search)}"}
    with httpx.Client(base_url=upgraded.url, headers=headers, trust_env=False, timeout=60) as http:
        for told in RECORDED[search]:
            response = http.request(told["method"], told["path"], **_body_of(told))
            assert response.status_code == told["status"], told
            then = told["answer"]
            got: Any = response.json() if response.content else None
            if told["path"] == "/v1/cells" and told["method"] == "POST" and response.is_success:
                # since then a reply to a report says whether it has ended the search
                assert got.pop("state") in set(SearchState)
            assert got == then, told


def _body_of(told: Exchange) -> dict[str, Any]:
    if "/artifacts/" in told["path"]:
        return {"content": b"{}", "headers": {"X-Content-Sha256": told["answer"]["sha256"]}}
    return {} if told["body"] is None else {"json": told["body"]}


@pytest.mark.slow
def test_a_service_takes_a_claim_that_names_neither_claimant_nor_memory(upgraded: Service) -> None:
    headers = {"Authorization": f"Bearer {upgraded.token('life')}"}
    with httpx.Client(base_url=upgraded.url, headers=headers, trust_env=False, timeout=60) as http:
        assert http.post("/v1/claims", json={"index": 0, "slots": 1}).json()["next"] == "Evaluate"


@contextmanager
def service_of_before(exchanges: list[Exchange]) -> Iterator[str]:
    """Its URL. It takes nothing but the bodies that were sent then, in their order, gives the answers of then, and wants all."""
    left = iter(exchanges)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            told: Exchange = next(left, {"method": "nothing", "path": "more", "body": None})
            want, got = f"{told['method']} {told['path']}", f"{self.command} {self.path}"
            if got != want:
                self._answer(418, {"detail": f"{got} is asked, where then it was {want}"})
            elif told["body"] is not None and json.loads(body) != told["body"]:
                self._answer(418, {"detail": f"{got}: {body.decode()} is sent, where then it was {told['body']}"})
            else:
                self._answer(told["status"], told["answer"])

        do_POST = do_PUT = do_GET  # noqa: N815  http.server's names

        def _answer(self, status: int, answer: object) -> None:
            content = b"" if answer is None else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
            assert [f"{each['method']} {each['path']}" for each in left] == [], "was asked then, and is not now"
        finally:
            server.shutdown()
            thread.join()


def lives_fully(journal: HttpSearchJournal, folder: Path) -> None:
    def claim(claimant: str, memory: int, *holding: int) -> Claim:
        asking = ClaimRequest(index=0, slots=2, holding=set(holding), claimant=claimant, memory=memory)
        return journal.claim(asking)

    assert journal.search().preflight is None
    journal.set_preflight(_full_preflight())
    assert journal.search().preflight == _full_preflight()
    unit = claim("first.1", A_GIB).unit
    assert unit is not None
    cells = unit.cells
    wanted = [CellIdentity(candidate=cell.candidate, split=cell.split, identity="0" * 32) for cell in cells]
    assert journal.reuse(ReuseRequest(index=0, cells=wanted)) == ()
    scored = a_result(cells[0], identity="1" * 32, train_scores={"accuracy": 1.0})
    failed = a_result(cells[1], test_scores={"accuracy": math.nan, "loss": -math.inf}, error="ValueError: →")
    for result in (scored, failed):
        assert journal.report(Report(index=0, results=[result])).new == 1
    claim("first.1", A_GIB, unit.id)
    again = [claim(claimant, A_GIB).unit for claimant in ("second.1", "third.1")]
    assert [each is not None and each.alone for each in again] == [True, True]
    for claimant in ("large.1", "larger.1"):
        lost = claim(claimant, 2**40).unit
    assert lost is not None
    assert lost.lost == lost.cells[0]
    claim("largest.1", 2**40)
    journal.leave(index=0)
    while (found := claim("last.1", 2**40).unit) is not None:
        reply = journal.report(Report(index=0, results=[a_result(cell) for cell in found.cells]))
        assert reply.new == len(found.cells)
    assert len(list(journal.results())) == 12
    file = folder / "best_params.json"
    file.write_text("{}", encoding="utf-8")
    assert journal.upload(file.name, file).size_bytes == 2
    assert journal.complete(an_answer(best_std=math.nan)) == 1
    assert claim("last.1", 2**40).unit is None
    assert journal.search().state is SearchState.COMPLETE


def _full_preflight() -> Any:
    a_few = Spread(low=0.1, expected=0.2, high=0.4)
    some_bytes = Spread(low=1e6, expected=2e6, high=4e6)
    axes = (Axis(size=3, stride=2), Axis(size=2, stride=1, together=True))
    return a_preflight(
        split_digest="5" * 64,
        estimator_digest="e" * 64,
        seed="0",
        blocks=(Block(start=0, axes=axes),),
        memory_bytes=2**20,
        warnings=("ConstantFeature: one",),
        pilot=Pilot(cell_seconds=a_few, process_bytes=some_bytes, pod_bytes=10**8, cells=2, full=1),
        code={"mine.py": "sha256:" + "0" * 32},
    )


def fails_too_often(journal: SearchJournal, _folder: Path) -> None:
    journal.set_preflight(a_preflight())
    unit = journal.claim(ClaimRequest(index=0, slots=2, claimant="first.1")).unit
    assert unit is not None
    reply = journal.report(Report(index=0, results=[a_result(unit.cells[0], error="ValueError")]))
    # the service of then does not say it: it was asked
    assert reply.state is SearchState.FAILED


def is_refused_what_does_not_fit(journal: SearchJournal, _folder: Path) -> None:
    journal.set_preflight(a_preflight())
    with pytest.raises(JournalMismatch, match=r"must be data of digest d+, as the search began with, but got e+"):
        journal.set_preflight(a_preflight(data_digest="e" * 64))
    with pytest.raises(JournalMismatch, match="nothing was claimed yet"):
        journal.report(Report(index=0, results=[a_result(Cell(0, 0))]))
    journal.fail("ValueError: no")


def refuses(journal: SearchJournal, _folder: Path) -> None:
    problem = {"field": "spec.data", "must_be": "there", "got": "nothing", "advice": "", "reason": "DataChanged"}
    journal.refuse(Refusal(problems=(problem,)))


LIVES: dict[str, Callable[[HttpSearchJournal, Path], None]] = {
    "life": lives_fully,
    "failing": fails_too_often,
    "ending": is_refused_what_does_not_fit,
    "refused": refuses,
}


@pytest.mark.parametrize("search", RECORDED)
def test_a_worker_sends_what_the_service_of_the_version_before_takes_and_understands_its_answers(
    tmp_path: Path, search: str
) -> None:
    running = next(told for told in RECORDED["life"] if told["path"] == "/v1/search")
    exchanges = [each for told in RECORDED[search] for each in _with_the_question(told, running)]
    if search == "failing":
        exchanges = RECORDED[search]  # there it was asked then, too
    with service_of_before(exchanges) as url, HttpSearchJournal(url, "token", sleep=_never) as journal:
        LIVES[search](journal, tmp_path)


def _with_the_question(told: Exchange, running: Exchange) -> Iterator[Exchange]:
    """A reply to a report did not say in which state the search was, so that a worker of today asks for it."""
    yield told
    if (told["method"], told["path"], told["status"]) == ("POST", "/v1/cells", 200):
        yield running


def _never(_seconds: float) -> None:
    raise AssertionError("the worker was not understood")
