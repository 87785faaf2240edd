"""A file behind a URL is streamed to the disk once, held against its digest, and gone afterwards; whatever goes wrong has words."""

import gzip
import hashlib
import io
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.servers import buckets, files
from tests.servers.ports import free_port
from tuningjob.engine.processes import may_fork
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.data import Data
from tuningjob.search import urls
from tuningjob.search.data import Dataset, load_data

FRAME = pd.DataFrame({"a": range(40), "b": [i / 7 for i in range(40)], "y": [0, 1] * 20})
CSV = FRAME.to_csv(index=False).encode()
DIGEST = hashlib.sha256(CSV).hexdigest()


def contents() -> Iterator[tuple[str, bytes]]:
    """Files of one table, each with its name."""
    yield "t.csv", CSV
    yield "t.csv.gz", gzip.compress(CSV, mtime=0)
    parquet = io.BytesIO()
    pq.write_table(pa.Table.from_pandas(FRAME, preserve_index=False, nthreads=1), parquet)
    yield "t.parquet", parquet.getvalue()


@pytest.fixture(autouse=True)
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where files are put; after each test there is nothing."""
    folder = tmp_path / "disk"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(urls, "_WAITS", (0.0, 0.0))
    yield folder
    assert list(folder.iterdir()) == []


def loaded(url: str, **spec: Any) -> Dataset:
    data = load_data(Data.model_validate({"url": url, "target": "y", **spec}), Path("/nowhere"), in_pod=True)
    pd.testing.assert_frame_equal(data.X, FRAME[["a", "b"]])
    pd.testing.assert_series_equal(data.y, FRAME["y"])
    return data


def refusal(url: str, **spec: Any) -> Problem:
    with pytest.raises(ManifestRefused) as refused:
        loaded(url, **spec)
    (problem,) = refused.value.problems
    return problem


# --- https


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[files.FileServer]:
    with files.https(tmp_path_factory.mktemp("web")) as server:
        for name, content in contents():
            (server.folder / name).write_bytes(content)
        yield server


@pytest.fixture
def site(web: files.FileServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Its URL, for who trusts its authority."""
    monkeypatch.setenv("SSL_CERT_FILE", str(web.authority))
    return web.url


@pytest.mark.parametrize(
    ("name", "spec"),
    [
        ("t.csv", {}),
        ("t.csv", {"sha256": DIGEST}),
        ("t.csv.gz", {"format": "csv"}),
        ("t.parquet", {}),
        ("moved/t.csv", {}),
        ("moved/moved/t.parquet", {}),
        ("flaky/t.csv", {}),
        ("signed/t.csv?signature=secret", {}),
        ("t.csv?version=3", {"format": "csv"}),
    ],
)
def test_a_file_of_a_web_server_is_read_as_one_of_the_disk(site: str, name: str, spec: dict[str, Any]) -> None:
    loaded(f"{site}/{name}", **spec)


def test_it_is_fetched_once(site: str, web: files.FileServer) -> None:
    before = web.times_asked("t.parquet")
    loaded(f"{site}/t.parquet")
    assert web.times_asked("t.parquet") == before + 1


@pytest.mark.parametrize(
    ("name", "reason", "want"),
    [
        ("plain/t.csv", "DataLoad", "spec.data.url: must be the URL of a file that may be read, but got '{site}/plain/t.csv'. It says: 302, to http://127.0.0.1. Nothing is followed out of https."),
        ("round/t.csv", "DataLoad", "It says: more than 5 redirections."),
        ("gone.csv", "DataLoad", "It says: 404 Not Found."),
        ("status/403/t.csv", "DataLoad", "It says: 403 Forbidden. A signed URL has an end"),
        ("status/503/t.csv", "Unreachable", "spec.data.url: must be a URL that can be reached from here, but got '{site}/status/503/t.csv'. Tried 3 times: 503 Service Unavailable; 503 Service Unavailable; 503 Service Unavailable."),
        ("status/429/t.csv", "Unreachable", "Tried 3 times: 429 Too Many Requests"),
        ("short/t.csv", "Unreachable", "Tried 3 times: peer closed connection without sending complete message body"),
        ("packed/t.csv", "DataLoad", "Content-Encoding: gzip. The file must be sent as it is."),
        ("endless/t.csv", "DataTooLarge", "spec.data.url: must be a file of at most 1 MiB, because it is put on the disk first, but got '{site}/endless/t.csv'. It has more."),
    ],
)  # fmt: skip
def test_what_a_web_server_does_instead_is_told(
    site: str, name: str, reason: str, want: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(urls, "scratch_room", lambda *_, **__: 2**20)
    problem = refusal(f"{site}/{name}")
    assert problem.reason == reason
    assert want.format(site=site) in str(problem)


def test_another_file_than_the_digest_says_is_refused_with_both(site: str) -> None:
    problem = refusal(f"{site}/t.csv", sha256="0" * 64)
    assert (problem.field, problem.got) == ("spec.data.sha256", repr("0" * 64))
    assert f"has {DIGEST}: it is another file" in problem.advice


def test_a_length_beyond_the_disk_is_refused_before_it_comes(site: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "scratch_room", lambda *_, **__: 100)
    assert "because it is put on the disk first" in str(refusal(f"{site}/t.csv"))


def test_a_signature_is_in_no_message(site: str) -> None:
    assert "wrong" not in str(refusal(f"{site}/signed/t.csv?signature=wrong"))


def test_a_server_that_nobody_vouches_for_is_refused(web: files.FileServer) -> None:
    problem = refusal(f"{web.url}/t.csv")
    assert problem.reason == "Unreachable"
    assert "CERTIFICATE_VERIFY_FAILED" in problem.advice


def test_a_server_that_is_not_there_is_told_with_what_was_tried() -> None:
    problem = refusal(f"https://127.0.0.1:{free_port()}/t.csv")
    assert problem.reason == "Unreachable"
    assert problem.advice.startswith("Tried 3 times: [Errno 111] Connection refused")


@pytest.mark.slow
def test_what_is_wrong_with_the_file_is_said_of_its_url(site: str) -> None:
    with pytest.raises(ManifestRefused, match=r"spec\.data\.target: must be a column of https://.*/t\.csv"):
        load_data(Data.model_validate({"url": f"{site}/t.csv", "target": "z"}), Path())
    problem = refusal(f"{site}/t.csv", format="parquet")
    assert (problem.field, problem.must_be) == ("spec.data.url", "a parquet file that can be read")


# --- buckets


@pytest.fixture(scope="module", params=["s3", "gcs", "azure"])
def bucket(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[buckets.BucketServer]:
    """A server that has the files in its bucket."""
    with getattr(buckets, request.param)(tmp_path_factory.mktemp(request.param)) as server:
        for name, content in contents():
            server.put(f"data/{name}", content)
        yield server


@pytest.fixture
def store(bucket: buckets.BucketServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """The folder's URL, for who has its credentials."""
    for name, value in bucket.environment.items():
        monkeypatch.setenv(name, value)
    return f"{bucket.url}/data"


@pytest.mark.slow
@pytest.mark.parametrize(("name", "spec"), [("t.csv.gz", {"format": "csv"}), ("t.parquet", {})])
def test_an_object_of_a_bucket_is_read_and_no_thread_is_left_behind(
    store: str, name: str, spec: dict[str, Any]
) -> None:
    loaded(f"{store}/{name}", **spec)
    assert may_fork()


# What is said is the same of both: each costs a process.
of_s3 = pytest.mark.parametrize("bucket", ["s3"], indirect=True)


@of_s3
@pytest.mark.slow
def test_an_object_that_is_not_there_is_told(store: str) -> None:
    problem = refusal(f"{store}/u.csv")
    assert (problem.reason, problem.field) == ("DataLoad", "spec.data.url")
    assert "there is no object of this name" in problem.advice


@of_s3
@pytest.mark.slow
def test_an_object_that_is_too_large_is_refused_before_it_comes(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "scratch_room", lambda *_, **__: 100)
    assert refusal(f"{store}/t.csv").reason == "DataTooLarge"


@of_s3
@pytest.mark.slow
def test_credentials_that_are_wrong_are_told_and_are_in_no_message(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-not-to-be-told")
    problem = refusal(f"{store}/t.csv")
    assert problem.reason == "DataLoad"
    assert "wrong-and" not in str(problem)
    assert "Credentials are taken from the environment" in problem.advice


@pytest.mark.slow
def test_a_bucket_that_does_not_answer_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{free_port()}",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    assert refusal("s3://models/t.csv").reason == "Unreachable"


_AZURE = """
import os
from pyarrow import fs
from tuningjob.search.bucket import file_system_of
key = {"account_key": "c2VjcmV0"}
os.environ["AZURE_STORAGE_KEY"] = key["account_key"]
url = "abfs://data@acme.dfs.core.windows.net/churn/t.csv"
assert file_system_of(url) == (fs.AzureFileSystem("acme", **key), "data/churn/t.csv")
there = "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=bW9yZQ==;EndpointSuffix=core.windows.net"
os.environ["AZURE_STORAGE_CONNECTION_STRING"] = there
assert file_system_of(url)[0] == fs.AzureFileSystem("acme", account_key="bW9yZQ==")
os.environ["AZURE_STORAGE_CONNECTION_STRING"] = f"{there};BlobEndpoint=http://127.0.0.1:10000/acme"
where = {f"{kind}_storage_authority": "127.0.0.1:10000" for kind in ("blob", "dfs")}
how = {f"{kind}_storage_scheme": "http" for kind in ("blob", "dfs")}
assert file_system_of(url)[0] == fs.AzureFileSystem("acme", account_key="bW9yZQ==", **where, **how)
print("held", flush=True)
os._exit(0)
"""


@pytest.mark.slow
def test_who_one_is_to_azure_is_told_by_a_key_or_a_connection_string() -> None:
    """In a process of its own, because Arrow's client starts threads."""
    words = [sys.executable, "-c", _AZURE]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert ended.stdout == "held\n", ended.stderr
