"""examples/serving: a process that follows the blessed parameters of a model key, against the results service as it is."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, StandardScaler
from sklearn.svm import SVC

from tests.local.makers import Place

GOOD: dict[str, Any] = {"svc__C": 10, "svc__gamma": 0.01, "svc__kernel": "rbf"}
POOR: dict[str, Any] = {"svc__C": 0.001, "svc__gamma": 10.0, "svc__kernel": "rbf"}
# what plain JSON could not say
LITERALS: dict[str, Any] = {
    "scaler": {"class": "sklearn.preprocessing.MinMaxScaler", "params": {"feature_range": {"tuple": [-1, 1]}}},
    "svc__C": {"float": 10},
    "svc__class_weight": {"dict": [[0, 1], [1, 2]]},
}
KEY = {"namespace": "team", "model_key": "breast-cancer-svc"}


@dataclass
class Server:
    """The process, and how to ask it."""

    process: "subprocess.Popen[str]"
    http: httpx.Client
    log: Path

    def version(self) -> int | None:
        answer = self.http.get("/healthz")
        return None if answer.status_code == 503 else int(answer.json()["version"])

    def comes_to(self, want: int) -> None:
        self.until(lambda: self.version() == want)

    def says(self, text: str) -> None:
        self.until(lambda: text in self.log.read_text())

    def until(self, holds: Any) -> None:
        deadline = time.monotonic() + 30
        while not holds():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)


@contextmanager
def serving(place: Place, folder: Path, examples: Path) -> Iterator[Server]:
    log = folder / "log"
    log.touch()
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, str(examples / "serving/serve.py"), *("--server", place.options[1], "--namespace", "team"),
             *("--port", "0", "--every", "0.05")],
            cwd=folder, stderr=stderr, text=True, env=os.environ | {"TUNINGJOB_TOKEN": place.token},
        )  # fmt: skip
    try:
        with httpx.Client(trust_env=False) as http:
            server = Server(process, http, log)
            server.says("listening on port")
            found = re.search(r"listening on port (\d+)", log.read_text())
            assert found is not None
            http.base_url = f"http://127.0.0.1:{found[1]}"
            yield server
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def versions(service_place: Place) -> Place:
    """Two versions that can be fitted, a third that cannot, and one with an estimator, a tuple and a NaN."""
    for params in (GOOD, POOR, {"svc__C": -1}, LITERALS):
        service_place.add("breast-cancer-svc", best_params=params)
    return service_place


@pytest.mark.slow
def test_a_serving_process_follows_what_is_blessed_and_rolled_back_without_a_restart(
    versions: Place, tmp_path: Path, examples: Path
) -> None:
    X, y = load_breast_cancer(return_X_y=True)
    wants = {
        version: make_pipeline(StandardScaler(), SVC(random_state=0)).set_params(**params).fit(X, y).predict(X).tolist()
        for version, params in ((1, GOOD), (2, POOR))
    }
    wants[4] = (
        make_pipeline(MinMaxScaler((-1, 1)), SVC(C=10.0, class_weight={0: 1, 1: 2})).fit(X, y).predict(X).tolist()
    )
    assert wants[1] != wants[2]
    audit = versions.journal.audit
    with serving(versions, tmp_path, examples) as server:

        def predicts(version: int) -> None:
            server.comes_to(version)
            found = server.http.post("/predict", json={"rows": X.tolist()}).json()
            assert found == {"version": version, "predictions": wants[version]}

        server.says("nothing is kept: 404")
        assert server.version() is None
        assert server.http.post("/predict", json={"rows": [[1]]}).status_code == 503
        audit.bless(**KEY, version=1, who="ada")
        predicts(1)
        audit.bless(**KEY, version=2, who="ada")
        predicts(2)
        audit.rollback(**KEY, who="ada")
        predicts(1)
        audit.bless(**KEY, version=3, who="ada")
        server.says("version 1 is kept: InvalidParameterError")
        predicts(1)
        assert server.log.read_text().count("InvalidParameterError") == 1
        audit.rollback(**KEY, who="ada")
        audit.bless(**KEY, version=2, who="ada")
        predicts(2)
        audit.bless(**KEY, version=4, who="ada")
        predicts(4)


@pytest.mark.slow
def test_while_the_service_is_away_it_goes_on_and_even_starts_anew(
    versions: Place, tmp_path: Path, examples: Path
) -> None:
    service = versions.service
    assert service is not None
    versions.journal.audit.bless(**KEY, version=1, who="ada")
    with serving(versions, tmp_path, examples) as server:
        server.comes_to(1)
        service.stop()
        server.says("version 1 is kept: ConnectError")
        assert server.version() == 1
    with serving(versions, tmp_path, examples) as server:
        server.comes_to(1)
        versions.journal.audit.bless(**KEY, version=2, who="ada")
        service.start()
        server.comes_to(2)


@pytest.mark.slow
def test_what_is_no_request_is_refused_with_a_sentence(versions: Place, tmp_path: Path, examples: Path) -> None:
    versions.journal.audit.bless(**KEY, version=1, who="ada")
    with serving(versions, tmp_path, examples) as server:
        server.comes_to(1)
        for body in (
            b"{",
            b"{}",
            b"[]",
            b'{"rows": [["a"]]}',
            b'{"rows": [[1, 2]]}',
            b'{"rows": 1}',
            b'{"rows": [[1], [1, 2]]}',
        ):
            answer = server.http.post("/predict", content=body)
            assert (answer.status_code, answer.json()["detail"][:13]) == (422, "The body must"), body
        assert server.http.get("/").status_code == 404
        assert server.http.post("/elsewhere", json={}).status_code == 400
