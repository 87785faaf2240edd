"""The results service, its database or the way to it fails in the middle of a search."""

import contextlib
import http.client
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pod.narrow import MEMORY_CELLS, NOTES_FILE, PATIENCE_SECONDS
from tests.pod.pods import SEARCH, Pods
from tests.service.server import Service
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob.errors import JournalError
from tuningjob.journal.search import SqlSearch
from tuningjob.manifest import load
from tuningjob.protocol.records import SearchState
from tuningjob.protocol.requests import ClaimRequest
from tuningjob.search.results import gather

pytestmark = pytest.mark.slow

NARROW = "tests.pod.narrow"


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


def noted(notes: Path) -> tuple[int, int]:
    """How many cells the pod has finished, and how many of them it has spilled."""
    if not notes.exists():
        return 0, 0
    finished, spilled = notes.read_text().split()
    return int(finished), int(spilled)


def assert_it_is_scikit_learns(pods: Pods, forest: dict[str, Any]) -> None:
    journal = pods.service.journal
    assert journal.progress(SEARCH).state is SearchState.COMPLETE
    problem, want = sklearn_search_of(load(forest).spec)
    assert_equal_to_the_bit(gather(problem, journal.view(SEARCH).results()).cv_results, want.cv_results_)


@contextlib.contextmanager
def service_is_stopped(service: Service) -> Iterator[None]:
    service.stop()
    yield
    service.start()


@contextlib.contextmanager
def database_is_away(service: Service) -> Iterator[None]:
    """Every answer is a 503, as with a database that cannot be reached."""

    def away(*_: object, **__: object) -> Any:
        raise JournalError("the journal's database must answer, but got: connection refused")

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(service.journal, "progress", away)
        for name in ("claim", "take_in", "reuse", "leave", "search"):
            patched.setattr(SqlSearch, name, away)
        yield


@pytest.mark.parametrize("away", [service_is_stopped, database_is_away])
def test_a_pod_computes_through_an_outage_and_loses_nothing(
    pods: Pods,
    patient_forest: dict[str, Any],
    notes: Path,
    away: Callable[[Service], contextlib.AbstractContextManager[None]],
) -> None:
    journal = pods.service.journal
    pods.open(patient_forest, pods=1)
    pod = pods.start(0, module=NARROW, **{MEMORY_CELLS: "2", NOTES_FILE: str(notes)})
    pods.until("ten cells", lambda: journal.progress(SEARCH).done >= 10)
    with away(pods.service):
        before = noted(notes)[0]
        pods.until("twenty more are finished", lambda: noted(notes)[0] >= before + 20)
    pods.hurry()
    code, said = pods.wait(pod)
    assert code == 0, said
    assert "does not answer" in said
    assert "answers again" in said
    finished, spilled = noted(notes)
    assert finished == 90
    assert spilled >= 10
    assert journal.report_counts(SEARCH) == {1: 90}
    assert_it_is_scikit_learns(pods, patient_forest)


def test_a_pod_whose_patience_is_at_its_end_exits_4_and_its_replacement_finishes(
    pods: Pods, patient_forest: dict[str, Any], notes: Path
) -> None:
    journal = pods.service.journal
    pods.open(patient_forest, pods=1)
    pod = pods.start(0, module=NARROW, **{PATIENCE_SECONDS: "1", NOTES_FILE: str(notes)})
    pods.until("ten cells", lambda: journal.progress(SEARCH).done >= 10)
    with service_is_stopped(pods.service):
        code, said = pods.wait(pod)
    assert code == 4, said
    assert "must answer within 1 seconds" in said
    assert journal.progress(SEARCH).done < 90
    pods.hurry()
    code, said = pods.wait(pods.start(0))
    assert code == 0, said
    assert journal.report_counts(SEARCH) == {1: 90}
    assert_it_is_scikit_learns(pods, patient_forest)


def test_a_pod_that_is_asked_to_stop_in_an_outage_hands_in_what_it_has_when_the_service_is_back(
    pods: Pods, patient_forest: dict[str, Any], notes: Path
) -> None:
    journal = pods.service.journal
    pods.open(patient_forest, pods=1)
    pod = pods.start(0, module=NARROW, **{NOTES_FILE: str(notes)})
    pods.until("ten cells", lambda: journal.progress(SEARCH).done >= 10)
    with service_is_stopped(pods.service):
        before = noted(notes)[0]
        pods.until("ten more are finished", lambda: noted(notes)[0] >= before + 10)
        pod.terminate()
    code, said = pods.wait(pod)
    assert code == 143, said
    assert journal.progress(SEARCH).done == noted(notes)[0] >= 20
    unit = journal.view(SEARCH).claim(ClaimRequest(index=0, slots=1, holding=set(), claimant="the next")).unit
    assert unit is not None
    assert not unit.alone


@contextlib.contextmanager
def losing_replies(service: Service, *, every: int) -> Iterator[tuple[str, list[str]]]:
    """A way to the service on which some replies are lost after the request was handled: its address, and what was lost."""
    lost: list[str] = []
    count = 0

    class Way(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_one_request(self) -> None:
            nonlocal count
            self.raw_requestline = self.rfile.readline(65_537)
            if not self.raw_requestline or not self.parse_request():
                self.close_connection = True
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            onward = http.client.HTTPConnection("127.0.0.1", service.port)
            onward.request(self.command, self.path, body, dict(self.headers))
            answer = onward.getresponse()
            content = answer.read()
            onward.close()
            count += 1
            if count % every == 0:
                lost.append(self.path)
                self.close_connection = True
                return
            self.send_response(answer.status)
            if "Content-Type" in answer.headers:
                self.send_header("Content-Type", answer.headers["Content-Type"])
            # an answer that the service streams says no length; here it is known
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Way) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", lost
        finally:
            server.shutdown()
            thread.join()


def test_replies_that_are_lost_cost_neither_a_cell_nor_a_fit(
    pods: Pods, patient_forest: dict[str, Any], notes: Path
) -> None:
    journal = pods.service.journal
    pods.open(patient_forest, pods=1)
    with losing_replies(pods.service, every=3) as (url, lost):
        pod = pods.start(0, url=url, module=NARROW, **{NOTES_FILE: str(notes)})
        pods.until("replies of both kinds are lost", lambda: {"/v1/claims", "/v1/cells"} <= set(lost))
        pods.hurry()
        code, said = pods.wait(pod)
    assert code == 0, said
    assert noted(notes)[0] == 90
    counts = journal.report_counts(SEARCH)
    assert sum(counts.values()) == 90
    assert set(counts) <= {1, 2, 3}
    assert_it_is_scikit_learns(pods, patient_forest)
