"""The results service whose files are in a bucket: a worker hands a model in, a person reads it, the bucket goes away and comes back."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.journal.makers import Pod, a_preflight, a_search, an_answer
from tests.servers import buckets
from tests.servers.buckets import BucketServer
from tests.service.server import Service
from tuningjob.artifacts.opening import open_store
from tuningjob.protocol.records import Artifact

pytestmark = [pytest.mark.slow, *buckets.talks_to_buckets]

# more than one part of an upload in parts
MODEL = bytes(range(256)) * ((20 << 20) // 256) + b"end"
WORKERS_FILE = "/v1/artifacts/model.joblib"
FILE = "/v1/namespaces/team/models/forest/versions/1/artifacts/model.joblib"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BucketServer]:
    with buckets.s3(tmp_path / "s3") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def service(bucket: BucketServer, tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "service")
    store = open_store(f"{bucket.url}/team", max_bytes=1 << 30, scratch=tmp_path / "scratch")
    service.artifacts = store  # type: ignore[assignment]  # other tests look for its paths
    service.journal.open_search(a_search())
    service.start()
    yield service
    service.close()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.joblib"
    path.write_bytes(MODEL)
    return path


def test_a_model_goes_into_the_bucket_and_comes_out_as_it_was(
    service: Service, bucket: BucketServer, model: Path, tmp_path: Path
) -> None:
    with service.client() as worker:
        stored = worker.upload("model.joblib", model)
    assert stored == Artifact("model.joblib", len(MODEL), hashlib.sha256(MODEL).hexdigest())
    assert bucket.objects() == ["team/search-a/model.joblib"]
    assert list((tmp_path / "scratch").iterdir()) == []

    with service.client() as worker:
        worker.set_preflight(a_preflight())
        Pod(worker).work()
        worker.complete(an_answer())
    headers = {"Authorization": f"Bearer {service.register.enter('ann', 'get')}"}
    with httpx.Client(base_url=service.url, headers=headers, trust_env=False, timeout=60) as person:
        response = person.get(FILE)
    assert response.status_code == 200
    assert response.content == MODEL
    assert response.headers["x-content-sha256"] == stored.sha256


def test_a_bucket_that_is_away_is_waited_for_and_nothing_is_lost(
    service: Service, bucket: BucketServer, model: Path, tmp_path: Path
) -> None:
    pauses = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        bucket.start()

    bucket.kill()
    headers = {"Authorization": f"Bearer {service.token()}", "X-Content-Sha256": hashlib.sha256(b"").hexdigest()}
    with httpx.Client(base_url=service.url, headers=headers, trust_env=False, timeout=60) as http:
        for response in (http.put(WORKERS_FILE, content=b""), http.get(WORKERS_FILE)):
            assert response.status_code == 503
            assert "s3://models/team: must answer" in response.json()["detail"]
            assert buckets.SECRET_KEY not in response.text
        assert http.get("/readyz").status_code == 200, "claims and reports are served all the same"
    with service.client(sleep=sleep) as worker:
        stored = worker.upload("model.joblib", model)
    assert len(pauses) == 1
    assert service.artifacts.list("search-a") == [stored]
    assert list((tmp_path / "scratch").iterdir()) == []
