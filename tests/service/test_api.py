"""The HTTP API at its border: who may ask, how much is read, and what a refusal says."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.journal.makers import Pod, a_search, an_answer
from tests.service.server import Service
from tuningjob.errors import ArtifactRefused
from tuningjob.journal.sql import open_sqlite
from tuningjob.protocol.records import SearchState
from tuningjob.remote.worker import HttpSearchJournal
from tuningjob_operator import tokens
from tuningjob_operator.service.border import MAX_JSON_BYTES

ENDPOINTS = [
    ("GET", "/v1/search"),
    ("PUT", "/v1/preflight"),
    ("POST", "/v1/claims"),
    ("POST", "/v1/leave"),
    ("POST", "/v1/reuse"),
    ("POST", "/v1/cells"),
    ("GET", "/v1/cells"),
    ("POST", "/v1/complete"),
    ("POST", "/v1/fail"),
    ("POST", "/v1/refuse"),
    ("PUT", "/v1/artifacts/model.joblib"),
    ("GET", "/v1/artifacts/model.joblib"),
]
RESULT = {
    "candidate": 0,
    "split": 0,
    "test_scores": {"accuracy": 0.5},
    "fit_seconds": 1,
    "score_seconds": 1,
    "test_samples": 30,
}


def detail(response: httpx.Response) -> str:
    sentence = response.json()["detail"]
    assert isinstance(sentence, str)
    assert "\n" not in sentence
    return sentence


def sha256(data: bytes) -> dict[str, str]:
    return {"X-Content-Sha256": hashlib.sha256(data).hexdigest()}


# --- who may ask -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path"), [*ENDPOINTS, ("GET", "/"), ("GET", "/docs"), ("GET", "/metrics/")])
def test_nothing_but_the_open_paths_answers_without_a_token(stranger: httpx.Client, method: str, path: str) -> None:
    response = stranger.request(method, path)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert "must carry the header Authorization" in detail(response)


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        ("Basic dXNlcjpwYXNz", "must carry the header Authorization"),
        ("Bearer", "must carry the header Authorization"),
        ("Bearer x", "must be of the form"),
        (f"Bearer {tokens.issue(tokens.Keys(bytes(32)), 'search-a')}", "must be signed by"),
    ],
)
def test_a_token_that_is_no_right_is_refused_with_the_reason(
    stranger: httpx.Client, header: str, sentence: str
) -> None:
    response = stranger.get("/v1/search", headers={"Authorization": header})
    assert response.status_code == 401
    assert sentence in detail(response)


@pytest.mark.slow
def test_the_token_of_one_search_cannot_touch_another(service: Service, tmp_path: Path) -> None:
    service.journal.open_search(a_search("search-b"))
    before = service.journal.progress("search-b")
    file = tmp_path / "model"
    file.write_bytes(b"model")
    with service.client("search-a") as a:
        assert a.search().id == "search-a"
        Pod(a).work()
        a.upload("model.joblib", file)
        a.complete(an_answer())
    assert service.journal.progress("search-b") == before
    assert list(service.journal.view("search-b").results()) == []
    assert service.artifacts.list("search-b") == []


@pytest.mark.alike
@pytest.mark.parametrize("path", ["/v1/search?search=search-b", "/v1/search?id=search-b"])
def test_no_parameter_names_a_search(service: Service, mine: httpx.Client, path: str) -> None:
    service.journal.open_search(a_search("search-b"))
    assert mine.get(path).json()["id"] == "search-a"


@pytest.mark.slow
def test_a_token_of_a_search_that_is_gone_finds_nothing(service: Service, mine: httpx.Client) -> None:
    service.journal.delete("search-a")
    response = mine.get("/v1/search")
    assert response.status_code == 404
    assert "search-a" in detail(response)


# --- how much is read ------------------------------------------------------------------------------------------------


def in_pieces(size: int) -> Iterator[bytes]:
    """Chunked: no length is announced."""
    for _ in range(size // 2**16 + 1):
        yield b" " * 2**16


@pytest.mark.parametrize("announced", [True, False])
def test_a_body_that_is_too_long_is_refused(blunderer: httpx.Client, *, announced: bool) -> None:
    body = b" " * (MAX_JSON_BYTES + 1) if announced else in_pieces(MAX_JSON_BYTES)
    response = blunderer.post("/v1/fail", content=body)
    assert response.status_code == 413
    assert detail(response) == "The body must be of at most 262,144 bytes, but got more."


def test_too_many_cells_in_one_report_are_refused(blunderer: httpx.Client) -> None:
    response = blunderer.post("/v1/cells", json={"index": 0, "results": [RESULT] * 1001})
    assert response.status_code == 422
    assert "at most 1000" in detail(response)


# --- what is wrong ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "where"),
    [
        ("POST", "/v1/claims", {"index": "first", "slots": 1}, "body.index: must be a valid integer"),
        ("POST", "/v1/claims", {"index": -1, "slots": 1}, "body.index: must be greater than or equal to 0, but got -1"),
        ("POST", "/v1/claims", {"index": 0, "slots": 0}, "body.slots: must be greater than or equal to 1"),
        ("POST", "/v1/claims", {"index": 0, "slots": 10**6}, "body.slots: must be less than or equal to 1024"),
        ("POST", "/v1/claims", {"index": 0, "slots": 1, "holding": 3}, "body.holding: must be a valid"),
        ("POST", "/v1/claims", {"index": 0, "slots": 1, "search": "search-b"}, "body.search: must not be there"),
        ("POST", "/v1/claims", [], "body: must be an object"),
        ("POST", "/v1/claims", {"index": 0, "slots": 1, "claimant": "x" * 129}, "body.claimant: "),
        (
            "POST",
            "/v1/claims",
            {"index": 0, "slots": 1, "memory": -1},
            "body.memory: must be greater than or equal to 0",
        ),
        ("POST", "/v1/claims", {"index": 0, "slots": 1, "memory": 2**63}, "body.memory: must be less than"),
        ("POST", "/v1/claims", {"index": 0, "slots": 1, "claimant": "a\0"}, "body.claimant: must match pattern"),
        ("POST", "/v1/leave", {}, "body.index: "),
        ("POST", "/v1/leave", {"index": 100_000}, "body.index: must be less than 100000"),
        ("POST", "/v1/reuse", {"index": 0, "cells": [{"candidate": 0, "split": 0}]}, "body.cells.0.identity: "),
        (
            "POST",
            "/v1/reuse",
            {"index": 0, "cells": [{"candidate": 0, "split": 0, "identity": "../x"}]},
            "body.cells.0.identity: ",
        ),
        (
            "POST",
            "/v1/reuse",
            {"index": 0, "cells": [{"candidate": 0, "split": 0, "identity": "0" * 32}] * 1001},
            "body.cells: ",
        ),
        (
            "POST",
            "/v1/cells",
            {"index": 0, "results": [RESULT | {"candidate": -1}]},
            "body.results.0.candidate: must be",
        ),
        ("POST", "/v1/cells", {"index": 0, "results": [RESULT | {"split": 2**63}]}, "body.results.0.split: must be"),
        (
            "POST",
            "/v1/cells",
            {"index": 0, "results": [RESULT | {"fit_seconds": "NaN"}]},
            "body.results.0.fit_seconds: ",
        ),
        ("POST", "/v1/cells", {"index": 0, "results": [RESULT | {"test_scores": [1]}]}, "body.results.0.test_scores: "),
        ("POST", "/v1/cells", {"index": 0, "results": [RESULT | {"error": "x" * 8193}]}, "body.results.0.error: "),
        ("POST", "/v1/cells", {"index": 0, "results": [RESULT | {"by": 1}]}, "body.results.0.by: "),
        ("PUT", "/v1/preflight", {"data_digest": 1}, "body.data_digest: must be a valid string"),
        (
            "PUT",
            "/v1/preflight",
            {"data_digest": "\0", "samples": 1, "features": 1, "versions": {}},
            "body: must be without NUL",
        ),
        ("POST", "/v1/complete", {}, "body.best_index: must be given, but got nothing."),
        ("POST", "/v1/fail", {"reason": "x" * 8193}, "body.reason: "),
        ("POST", "/v1/refuse", {"problems": []}, "body.problems: "),
        ("GET", "/v1/cells?limit=5001", None, "query.limit: must be less than or equal to 5000, but got '5001'"),
        ("GET", "/v1/cells?start=-1", None, "query.start: must be"),
    ],
)
def test_what_has_the_wrong_type_or_bound_is_refused_with_its_place(
    blunderer: httpx.Client, method: str, path: str, body: Any, where: str
) -> None:
    response = blunderer.request(method, path, json=body)
    assert response.status_code == 422, response.text
    assert detail(response).startswith(where), detail(response)


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b'{"reason": "\\ud800"}', b"[" * 100_000])
def test_what_is_no_json_is_refused(standing: Service, blunderer: httpx.Client, body: bytes) -> None:
    response = blunderer.post("/v1/fail", content=body)
    assert response.status_code in {400, 422}, response.text
    assert detail(response)
    assert standing.journal.view("search-a").search().state is SearchState.RUNNING


def test_a_mismatch_is_a_conflict_with_the_journals_sentence(blunderer: httpx.Client) -> None:
    response = blunderer.post("/v1/cells", json={"index": 0, "results": [RESULT]})
    assert response.status_code == 409
    assert "a reported cell must be one that was claimed" in detail(response)


def test_a_path_that_is_none_is_not_found(blunderer: httpx.Client) -> None:
    assert blunderer.get("/v2/search").status_code == 404


# --- files -----------------------------------------------------------------------------------------------------------


def stored(service: Service) -> list[str]:
    root = service.artifacts.path("search-a", "model.joblib").parent.parent
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_a_file_comes_back_as_it_was_sent(mine: httpx.Client) -> None:
    data = bytes(range(256)) * 3
    response = mine.put("/v1/artifacts/model.joblib", content=data, headers=sha256(data))
    assert response.json() == {"name": "model.joblib", "size_bytes": 768, "sha256": hashlib.sha256(data).hexdigest()}
    assert mine.get("/v1/artifacts/model.joblib").content == data


def test_a_file_with_another_digest_is_refused_and_nothing_is_left(standing: Service, blunderer: httpx.Client) -> None:
    response = blunderer.put("/v1/artifacts/model.joblib", content=b"model", headers=sha256(b"another"))
    assert response.status_code == 422
    assert "model.joblib: must have the SHA-256" in detail(response)
    assert stored(standing) == []


@pytest.mark.parametrize("announced", [True, False])
def test_a_file_that_is_too_long_is_refused_and_nothing_is_left(
    standing: Service, blunderer: httpx.Client, *, announced: bool
) -> None:
    body = b"x" * 1001 if announced else in_pieces(1001)
    response = blunderer.put("/v1/artifacts/model.joblib", content=body, headers=sha256(b""))
    assert response.status_code == 413
    assert "must be of at most 1,000 bytes" in detail(response)
    assert stored(standing) == []


def test_a_client_is_told_that_its_model_is_too_long(standing: Service, tmp_path: Path) -> None:
    file = tmp_path / "model"
    file.write_bytes(b"x" * 5_000_000)
    with standing.client() as client, pytest.raises(ArtifactRefused, match="must be of at most 1,000 bytes"):
        client.upload("model.joblib", file)


@pytest.mark.parametrize("name", ["model.pkl", "..%2Fmodel.joblib", "%2e%2e", ".model.joblib.part"])
def test_a_file_of_another_name_is_refused(blunderer: httpx.Client, name: str) -> None:
    assert blunderer.put(f"/v1/artifacts/{name}", content=b"x", headers=sha256(b"x")).status_code in {404, 422}
    assert blunderer.get(f"/v1/artifacts/{name}").status_code in {404, 422}


def test_a_file_without_its_digest_is_refused(blunderer: httpx.Client) -> None:
    response = blunderer.put("/v1/artifacts/model.joblib", content=b"x")
    assert response.status_code == 422
    assert detail(response).startswith("header.x-content-sha256: ")


def test_a_file_that_is_not_there_is_not_found(blunderer: httpx.Client) -> None:
    response = blunderer.get("/v1/artifacts/model.joblib")
    assert response.status_code == 404
    assert "model.joblib" in detail(response)


@pytest.mark.slow
def test_an_ended_search_takes_no_more_files(service: Service, mine: httpx.Client) -> None:
    service.journal.fail("search-a", "why")
    response = mine.put("/v1/artifacts/model.joblib", content=b"x", headers=sha256(b"x"))
    assert response.status_code == 409
    assert "must be running to take files in, but got Failed" in detail(response)


# --- the process -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_process_serves_from_its_settings_and_ends_on_sigterm(tmp_path: Path) -> None:
    journal = open_sqlite(tmp_path / "tuning.db")
    journal.open_search(a_search())
    journal.close()
    environment = os.environ | {"TUNINGJOB_DATA_DIR": str(tmp_path), "TUNINGJOB_RESULTS_PORT": "0"}
    environment |= {"TUNINGJOB_LOG_LEVEL": "debug"}
    command = [sys.executable, "-m", "tuningjob_operator.service"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            assert process.stdout is not None
            url = next(line for line in process.stdout if "running on" in line).split("running on ")[1].split()[0]
            key = tokens.read_keys(None, tmp_path / "signing.key")
            token = tokens.issue(key, "search-a")
            with HttpSearchJournal(url.replace("0.0.0.0", "127.0.0.1"), token) as client:
                assert client.search().id == "search-a"
            process.send_signal(signal.SIGTERM)
            rest = process.stdout.read()
            told = [json.loads(line) for line in rest.splitlines()]
            (answered,) = [line for line in told if line["message"] == "answered"]
            assert (answered["route"], answered["status"], answered["search"]) == ("/v1/search", 200, "search-a")
            assert process.wait(timeout=30) in {0, -signal.SIGTERM}
            assert "Traceback" not in rest
        finally:
            process.kill()
    assert json.dumps(sorted(path.name for path in tmp_path.iterdir() if path.suffix == ".key")) == '["signing.key"]'


@pytest.mark.slow
def test_a_file_that_is_no_journal_is_told_and_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "tuning.db").write_bytes(b"not a database" * 1_000)
    environment = os.environ | {"TUNINGJOB_DATA_DIR": str(tmp_path), "TUNINGJOB_RESULTS_PORT": "0"}
    command = [sys.executable, "-m", "tuningjob_operator.service"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert ended.returncode == 1
    assert "cannot start: " in ended.stderr
    assert "file is not a database" in ended.stderr
    assert "Traceback" not in ended.stdout + ended.stderr
    assert (tmp_path / "tuning.db").read_bytes() == b"not a database" * 1_000


def test_a_pod_of_the_release_before_is_told_nothing_that_it_does_not_know(
    service: Service, mine: httpx.Client
) -> None:
    claim = mine.post("/v1/claims", json={"index": 0, "slots": 2}).json()
    assert claim.keys() == {"next", "unit"}
    assert claim["unit"].keys() == {"id", "cells"}
    (cell,) = claim["unit"]["cells"][:1]
    result = {**cell, "test_scores": {"score": 1.0}, "fit_seconds": 0.1, "score_seconds": 0.1, "test_samples": 3}
    mine.post("/v1/cells", json={"index": 0, "results": [{**result, "identity": "a" * 32}]})
    assert mine.get("/v1/cells").json() == [result]
    assert [each.identity for each in service.journal.view("search-a").results()] == ["a" * 32]


# --- what was blessed stays -----------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_upload_that_outlasts_its_search_changes_no_version(service: Service) -> None:
    honest, evil = b"an honest model", b"EVIL PICKLE"
    with service.client() as client:
        Pod(client).work()
        with httpx.Client(
            base_url=service.url, headers={"Authorization": f"Bearer {service.token()}"}, timeout=60
        ) as mine:
            put = mine.put("/v1/artifacts/model.joblib", content=honest, headers=sha256(honest))
            assert put.status_code == 200
            begun = threading.Event()
            completed = threading.Event()

            def dawdling() -> Iterator[bytes]:
                yield evil[:-1]
                begun.set()
                assert completed.wait(10)
                yield evil[-1:]

            with ThreadPoolExecutor(1) as thread:
                late = thread.submit(
                    mine.put, "/v1/artifacts/model.joblib", content=dawdling(), headers=sha256(evil), timeout=20
                )
                assert begun.wait(10)
                client.complete(an_answer())
                completed.set()
                response = late.result()
    assert response.status_code == 409
    assert "must be running to take files in, but got Complete" in detail(response)
    assert service.artifacts.read_bytes("search-a", "model.joblib") == honest
    told = service.journal.audit.version(namespace="team", model_key="forest", version=1).files
    assert told is not None
    assert [file.sha256 for file in told] == [hashlib.sha256(honest).hexdigest()]
