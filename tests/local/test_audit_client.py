"""The way to the results service when it is not what it should be: away, slow to come back, something else."""

import json
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.local.makers import Place
from tuningjob.errors import ArtifactRefused, JournalError, NotBlessed, ServiceUnavailable, UnknownModel
from tuningjob.protocol.audit import AuditRow
from tuningjob.protocol.records import Artifact, Baseline, NestedEstimate
from tuningjob.remote.audit import HttpAudit

Answer = tuple[int, bytes]


@contextmanager
def answering(*answers: Answer, certificate: Path | None = None) -> Iterator[tuple[str, list[str]]]:
    """Something that listens: its URL, and what was asked of it. After the last answer it gives the last one again."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = answers[min(len(asked), len(answers)) - 1]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815  http.server's name

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if certificate else 'http'}://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class Time:
    """A clock that a sleep turns forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def client(url: str, time: Time | None = None) -> HttpAudit:
    time = time or Time()
    return HttpAudit(url, "token-of-ada", namespace="team", clock=time, sleep=time.sleep)


BROKEN: Answer = (503, b'{"detail": "the journal must answer, but got: nothing"}')
MODELS: Answer = (200, b'{"models": ["forest"]}')


def test_a_service_that_comes_back_is_waited_for() -> None:
    with answering(BROKEN, (429, b""), (502, b"<html>"), MODELS) as (url, asked), client(url) as audit:
        assert audit.models() == ["forest"]
    assert asked == ["GET /v1/namespaces/team/models?after=&limit=200"] * 4


def test_one_that_stays_away_is_given_up_with_its_own_sentence() -> None:
    time = Time()
    with (
        answering(BROKEN) as (url, _),
        client(url, time) as audit,
        pytest.raises(ServiceUnavailable, match=r"must be a results service that answers, but got: the journal must"),
    ):
        audit.models()
    assert 15.0 <= time.now < 25.0


def test_nobody_listening_is_unavailable_too() -> None:
    with answering(MODELS) as (url, _):
        pass
    with client(url) as audit, pytest.raises(ServiceUnavailable, match=r"Connection refused"):
        audit.rollback("forest", why="")


@pytest.fixture
def crt(tmp_path: Path) -> Path:
    """A certificate for this machine; with its key in tls.pem beside it."""
    key, crt = tmp_path / "key.pem", tmp_path / "crt.pem"
    words = ("-subj", "/CN=results", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", crt)
    new = ("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *words)
    subprocess.run(new, check=True, capture_output=True)
    (tmp_path / "tls.pem").write_bytes(key.read_bytes() + crt.read_bytes())
    return crt


@pytest.mark.slow
def test_a_certificate_that_nobody_here_trusts_is_told_at_once_and_its_authority_may_be_named(crt: Path) -> None:
    time = Time()
    with answering(MODELS, certificate=crt.with_name("tls.pem")) as (url, _):
        with client(url, time) as audit, pytest.raises(ServiceUnavailable, match="by --ca-file"):
            audit.models()
        assert time.now == 0.0
        with HttpAudit(url, "token-of-ada", namespace="team", ca_file=crt) as audit:
            assert audit.models() == ["forest"]


@pytest.mark.slow
def test_who_speaks_http_to_a_service_that_speaks_tls_is_told_the_scheme(crt: Path) -> None:
    with (
        answering(MODELS, certificate=crt.with_name("tls.pem")) as (url, _),
        client(url.replace("https", "http")) as audit,
        pytest.raises(ServiceUnavailable, match="begins with https"),
    ):
        audit.models()


def test_a_rollback_that_may_have_been_done_is_not_sent_twice() -> None:
    with answering(BROKEN) as (url, asked), client(url) as audit:
        with pytest.raises(
            ServiceUnavailable, match="It may have been done all the same: see `tuningjob blessings KEY`"
        ):
            audit.rollback("forest", why="")
        assert asked == ["POST /v1/namespaces/team/models/forest/rollback"]


@pytest.mark.slow
def test_a_blessing_is_sent_again_because_twice_is_once(service_place: Place) -> None:
    service_place.add()
    with client(service_place.options[1]) as audit:
        first = audit.bless("forest", 1, why="good")
        assert audit.bless("forest", 1, why="good") == first
    with answering(BROKEN, MODELS) as (url, asked), client(url) as audit:
        with pytest.raises(JournalError):
            audit.bless("forest", 1, why="")
        assert len(asked) == 2


@pytest.mark.parametrize(
    "answer",
    [
        (200, b"<html>welcome</html>"),
        (200, b'{"models": "forest"}'),
        (200, b"[]"),
        (404, b"<html>not here</html>"),
        (404, b'{"detail": "Not Found"}'),
        (301, b""),
    ],
)
def test_something_else_that_listens_is_told_as_such(answer: Answer) -> None:
    with answering(answer) as (url, _), client(url) as audit:
        with pytest.raises(JournalError, match="must be a results service of this version, but got") as error:
            audit.models()
        assert not isinstance(error.value, UnknownModel)


@pytest.mark.slow
def test_what_is_unknown_and_what_is_not_in_use_are_told_apart(service_place: Place) -> None:
    service_place.add()
    with client(service_place.options[1]) as audit:
        asks: list[Callable[[str], object]] = [audit.blessed, lambda key: audit.rollback(key, why="")]
        for ask in asks:
            with pytest.raises(NotBlessed):
                ask("forest")
            with pytest.raises(UnknownModel):
                ask("tree")


def a_row() -> AuditRow:
    return AuditRow(
        namespace="team", model_key="forest", version=1, search_id="s", best_params={}, score=0.9, metric="accuracy",
        std=0.0, fits=1, failed_fits=0, duration_seconds=1.0, finished_at="2026-03-01T12:00:00+00:00", data_digest="d",
    )  # fmt: skip


def test_a_file_that_broke_off_is_fetched_from_its_beginning(tmp_path: Path) -> None:
    entry = Artifact("model.joblib", 5, "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
    with answering((503, b"he"), (200, b"hello")) as (url, _), client(url) as audit:
        audit.fetch(a_row(), entry, tmp_path / "model.joblib")
    assert (tmp_path / "model.joblib").read_bytes() == b"hello"


def test_a_file_of_another_digest_is_refused(tmp_path: Path) -> None:
    entry = Artifact("model.joblib", 5, "0" * 64)
    refused = pytest.raises(ArtifactRefused, match=r"model.joblib: must have the SHA-256 0000")
    with answering((200, b"hello")) as (url, _), client(url) as audit, refused:
        audit.fetch(a_row(), entry, tmp_path / "model.joblib")


@pytest.mark.slow
def test_numbers_that_are_none_come_through(service_place: Place) -> None:
    baseline = Baseline(defaults=0.5, dummy=float("nan"), gain=0.25, uncertainty=float("inf"), told=("Tuning gained.",))
    nested = NestedEstimate(
        scores=(0.5, float("nan")), mean=float("nan"), std=0.25, optimism=float("nan"), told=("Nested.",)
    )
    service_place.add(
        best_score=float("nan"),
        best_std=float("inf"),
        best_params={"a": [1, None, "ü"]},
        baseline=baseline,
        nested=nested,
    )
    with client(service_place.options[1]) as audit:
        row = audit.version("forest", 1)
    assert repr(row.score) == "nan"
    assert row.std == float("inf")
    assert (repr(row.baseline), repr(row.nested)) == (repr(baseline), repr(nested))
    assert json.dumps(row.best_params, ensure_ascii=False) == '{"a": [1, null, "ü"]}'
