"""Files of finished searches: there whole and with the promised digest, or not there at all. One contract, four places."""

import hashlib
import os
import resource
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.servers import buckets as servers
from tests.servers.buckets import BucketServer
from tuningjob.artifacts.buckets import BucketStore
from tuningjob.artifacts.local import LocalStore
from tuningjob.artifacts.opening import open_store
from tuningjob.artifacts.store import ArtifactStore, blocks
from tuningjob.errors import ArtifactRefused, ArtifactsUnavailable
from tuningjob.protocol.records import Artifact

MODEL = "model.joblib"
LIMIT_BYTES = 24 << 20
# a bucket takes it in several parts, the last of them a short one
LARGE = bytes(range(256)) * ((20 << 20) // 256) + b"end"

# gcsfs hands aiohttp the bytes of a part as they are
pytestmark = [
    pytest.mark.filterwarnings("ignore:Sending a large body directly with raw bytes:ResourceWarning"),
    *servers.talks_to_buckets,
]


@dataclass(frozen=True)
class Place:
    """Somewhere to keep artifacts, empty at first."""

    url: str
    scratch: Path
    objects: Callable[[], list[str]]
    """What is there, as ``<search id>/<name>``, unfinished files among them."""

    def open(self, *, max_bytes: int = LIMIT_BYTES) -> ArtifactStore:
        return open_store(self.url, max_bytes=max_bytes, scratch=self.scratch)

    def left(self) -> list[str]:
        """Everything that is kept, and everything that is on its way."""
        return [*self.objects(), *files_below(self.scratch)]


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with servers.s3(tmp_path_factory.mktemp("s3")) as server:
        yield server


@pytest.fixture(scope="session")
def gcs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with servers.gcs(tmp_path_factory.mktemp("gcs")) as server:
        yield server


def in_bucket(server: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    prefix = f"teams/{uuid.uuid4().hex}/"

    def objects() -> list[str]:
        return [name.removeprefix(prefix) for name in server.objects() if name.startswith(prefix)]

    return Place(f"{server.url}/{prefix}", tmp_path / "scratch", objects)


@pytest.fixture(params=["file", pytest.param("s3", marks=pytest.mark.slow), pytest.param("gs", marks=pytest.mark.slow)])
def place(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    if request.param == "file":
        root = tmp_path / "arti facts"
        return Place(root.as_uri(), tmp_path / "scratch", lambda: files_below(root))
    server = request.getfixturevalue({"s3": "s3", "gs": "gcs"}[request.param])
    return in_bucket(server, tmp_path, monkeypatch)


@pytest.fixture
def store(place: Place) -> ArtifactStore:
    return place.open()


@pytest.fixture
def folder(tmp_path: Path) -> LocalStore:
    return LocalStore(tmp_path / "artifacts", max_bytes=LIMIT_BYTES)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def put(store: ArtifactStore, search: str, name: str, data: bytes) -> Artifact:
    return store.put(search, name, [data], sha256=sha256(data))


def files_below(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*") if found.is_file())


# --- what is stored comes back ---------------------------------------------------------------------------------------


def test_a_file_comes_back_as_it_was_put(store: ArtifactStore, place: Place) -> None:
    stored = store.put("a", MODEL, [b"mo", b"", b"del"], sha256=sha256(b"model"))
    assert stored == store.find("a", MODEL) == Artifact(MODEL, 5, sha256(b"model"))
    assert store.read_bytes("a", MODEL) == b"model"
    assert b"".join(blocks(store.open("a", MODEL))) == b"model"
    assert place.left() == [f"a/{MODEL}"]


def test_an_empty_file_is_a_file(store: ArtifactStore) -> None:
    assert put(store, "a", MODEL, b"") == store.find("a", MODEL)
    assert store.read_bytes("a", MODEL) == b""


def test_a_large_file_comes_back_block_by_block(store: ArtifactStore, place: Place) -> None:
    chunks = (LARGE[start : start + 70_000] for start in range(0, len(LARGE), 70_000))
    stored = store.put("a", MODEL, chunks, sha256=sha256(LARGE))
    assert stored == store.find("a", MODEL) == Artifact(MODEL, len(LARGE), sha256(LARGE))
    read = list(blocks(store.open("a", MODEL)))
    assert max(map(len, read)) <= 1 << 20
    assert b"".join(read) == LARGE
    assert place.left() == [f"a/{MODEL}"]


def test_files_are_listed_by_name_for_their_search_only(store: ArtifactStore) -> None:
    put(store, "a", MODEL, b"m")
    put(store, "a", "cv_results.csv", b"c")
    put(store, "ab", MODEL, b"other")
    assert store.list("a") == [Artifact("cv_results.csv", 1, sha256(b"c")), Artifact(MODEL, 1, sha256(b"m"))]
    assert store.list("none") == []


def test_what_one_store_has_put_another_finds(store: ArtifactStore, place: Place) -> None:
    reader = place.open(max_bytes=0)
    assert reader.list("a") == []
    put(store, "a", MODEL, b"first")
    assert reader.read_bytes("a", MODEL) == b"first"
    put(store, "a", MODEL, b"the second")
    assert reader.read_bytes("a", MODEL) == b"the second"
    assert reader.find("a", MODEL).size_bytes == 10


def test_a_file_that_is_not_there_is_not_found(store: ArtifactStore) -> None:
    put(store, "b", MODEL, b"m")
    for ask in (store.read_bytes, store.open, store.find):
        with pytest.raises(FileNotFoundError):
            ask("a", MODEL)


def test_a_deleted_search_has_no_files_and_deleting_again_is_no_error(store: ArtifactStore, place: Place) -> None:
    put(store, "a", MODEL, b"m")
    put(store, "a", "cv_results.csv", b"c")
    put(store, "ab", MODEL, b"other")
    store.delete("a")
    store.delete("a")
    assert store.list("a") == []
    assert place.left() == [f"ab/{MODEL}"]


def test_data_that_were_sent_are_a_folder_of_digests_apart_from_searches(store: ArtifactStore, place: Place) -> None:
    sent = Artifact(hashlib.sha256(LARGE).hexdigest(), len(LARGE), hashlib.sha256(LARGE).hexdigest())
    store.put("a", MODEL, [b"model"], sha256=hashlib.sha256(b"model").hexdigest())
    assert (store.folders("data_"), store.entries("data_team")) == ((), {})
    part = store.unfinished("data_team") / ".part of it"
    part.parent.mkdir(parents=True, exist_ok=True)
    part.write_bytes(LARGE)
    store.sweep()
    assert store.entries("data_team") == {}
    store.adopt(part, "data_team", sent)
    assert not part.exists()
    assert (store.folders("data_"), store.find("data_team", sent.name)) == (("data_team",), sent)
    (entry,) = store.entries("data_team").values()
    assert (entry.size_bytes, abs(entry.changed_at - time.time()) < 600) == (len(LARGE), True)
    assert store.read_bytes("data_team", sent.name) == LARGE
    for _ in range(2):
        store.remove("data_team", sent.name)
    assert store.entries("data_team") == {}
    assert place.objects() == [f"a/{MODEL}"]
    for folder, name in (("data_team", MODEL), ("a", sent.name)):
        with pytest.raises(ArtifactRefused):
            store.put(folder, name, [b"x"], sha256=sent.sha256)


def test_its_url_is_where_a_search_is_and_tells_no_secret(store: ArtifactStore, place: Place) -> None:
    assert store.url("a") == f"{place.url.rstrip('/')}/a"
    assert servers.SECRET_KEY not in store.url("a")


def test_a_store_that_is_there_passes_its_check(store: ArtifactStore) -> None:
    store.check()


# --- whole or not at all ---------------------------------------------------------------------------------------------


def test_an_upload_is_seen_by_nobody_before_it_is_committed(store: ArtifactStore, place: Place) -> None:
    with store.upload("a", MODEL, sha256=sha256(LARGE)) as upload:
        upload.write(LARGE)
        assert store.list("a") == []
        assert f"a/{MODEL}" not in place.left()
        upload.commit()
        assert store.read_bytes("a", MODEL) == LARGE


def test_an_upload_that_is_not_committed_leaves_nothing(store: ArtifactStore, place: Place) -> None:
    with store.upload("a", MODEL, sha256=sha256(b"model")) as upload:
        upload.write(b"model")
    assert place.left() == []


def test_a_wrong_digest_is_refused_and_nothing_is_left(store: ArtifactStore, place: Place) -> None:
    with pytest.raises(ArtifactRefused, match=r"model\.joblib: must have the SHA-256"):
        store.put("a", MODEL, [b"model"], sha256=sha256(b"another"))
    assert place.left() == []


def test_a_wrong_digest_leaves_the_file_before_it_in_place(store: ArtifactStore, place: Place) -> None:
    put(store, "a", MODEL, b"good")
    with pytest.raises(ArtifactRefused):
        store.put("a", MODEL, [b"bad"], sha256=sha256(b"good"))
    assert store.read_bytes("a", MODEL) == b"good"
    assert place.left() == [f"a/{MODEL}"]


def test_what_is_too_long_is_refused_before_it_is_all_read(place: Place) -> None:
    read = []

    def endless() -> Iterator[bytes]:
        while True:
            read.append(40)
            yield b"x" * 40

    with pytest.raises(ArtifactRefused, match="must be of at most 100 bytes, but got more"):
        place.open(max_bytes=100).put("a", MODEL, endless(), sha256="0" * 64)
    assert len(read) == 3
    assert place.left() == []


def test_exactly_the_limit_is_taken(place: Place) -> None:
    assert put(place.open(max_bytes=100), "a", MODEL, b"x" * 100).size_bytes == 100


def test_a_sender_that_breaks_off_leaves_nothing(store: ArtifactStore, place: Place) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        store.put("a", MODEL, broken(), sha256="0" * 64)
    assert place.left() == []


def test_who_reads_while_another_file_takes_its_place_never_gets_some_of_both(store: ArtifactStore) -> None:
    second = LARGE[::-1]
    put(store, "a", MODEL, LARGE)
    with store.open("a", MODEL) as reading:
        begun = reading.read(1000)
        put(store, "a", MODEL, second)
        try:
            read = begun + reading.read()
        except OSError:
            pass  # a bucket has forgotten the first, and says so
        else:
            assert read == LARGE
    assert store.read_bytes("a", MODEL) == second


def test_of_many_at_once_one_counts_whole_and_nothing_else_is_left(store: ArtifactStore, place: Place) -> None:
    files = [bytes([number]) * (9 << 20) for number in range(4)]
    threads = [threading.Thread(target=put, args=(store, "a", MODEL, data)) for data in files]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = store.read_bytes("a", MODEL)
    assert found in files
    assert store.find("a", MODEL).sha256 == sha256(found)
    assert place.left() == [f"a/{MODEL}"]


@pytest.mark.slow
def test_an_upload_whose_process_is_killed_is_seen_by_nobody_and_swept_away(store: ArtifactStore, place: Place) -> None:
    code = f"""
import os, signal
from pathlib import Path
from tuningjob.artifacts.opening import open_store
store = open_store({place.url!r}, max_bytes={LIMIT_BYTES}, scratch=Path({str(place.scratch)!r}))
with store.upload("a", {MODEL!r}, sha256="0" * 64) as upload:
    upload.write(bytes(1 << 20))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    assert len(place.left()) == 1
    assert store.list("a") == []
    put(store, "b", MODEL, b"m")
    store.sweep()
    assert place.left() == [f"b/{MODEL}"]
    store.sweep()


@contextmanager
def volume_of(size_bytes: int) -> Iterator[None]:
    """No file may grow beyond this, for this process: to it, that is a full volume."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size_bytes", [100, 5 << 20])
def test_a_full_volume_is_told_and_nothing_is_left(store: ArtifactStore, place: Place, size_bytes: int) -> None:
    put(store, "a", MODEL, b"before")
    digest = sha256(LARGE)
    with volume_of(size_bytes), pytest.raises(ArtifactsUnavailable, match=r"model\.joblib: must be written to the"):
        store.put("a", MODEL, (LARGE[start : start + 70_000] for start in range(0, len(LARGE), 70_000)), sha256=digest)
    assert store.read_bytes("a", MODEL) == b"before"
    assert place.left() == [f"a/{MODEL}"]


# --- nothing leads out of the store ----------------------------------------------------------------------------------


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, sha256(b"model").upper(), sha256(b"model") + "\n"])
def test_a_digest_must_be_one(folder: LocalStore, digest: str) -> None:
    with pytest.raises(ArtifactRefused, match="must be 64 lower-case hex digits"):
        folder.put("a", MODEL, [b"model"], sha256=digest)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "model.pkl", "../a/model.joblib", "/etc/passwd", "model.joblib\n", "model.joblib/"]
)
def test_only_the_names_of_result_files_are_taken(store: ArtifactStore, name: str) -> None:
    for ask in (store.find, store.open, lambda search, name: store.put(search, name, [], sha256=sha256(b""))):
        with pytest.raises(ArtifactRefused, match=r"name: must be one of best_params\.json, "):
            ask("a", name)


@given(search=st.text(max_size=200) | st.sampled_from(["..", ".", "", "a/b", "a\\b", "a\n", "a.b", "-a", "x" * 129]))
def test_no_search_id_leads_out_of_the_store(search: str) -> None:
    root = Path("/artifacts")
    try:
        path = LocalStore(root, max_bytes=1).path(search, MODEL)
    except ArtifactRefused:
        return
    assert path.parent.parent == root
    assert path.parent.name == search


@pytest.mark.parametrize("search", ["..", ".", "", "a/b", "a.b", "x" * 129, "é", "a#b", "a?b", "*"])
def test_a_search_id_that_is_no_plain_word_is_refused_everywhere(store: ArtifactStore, search: str) -> None:
    asked: list[Callable[[str], object]] = [store.list, store.delete, store.url]
    asked += [lambda search: store.open(search, MODEL), lambda search: store.find(search, MODEL)]
    asked += [lambda search: put(store, search, MODEL, b"")]
    for ask in asked:
        with pytest.raises(ArtifactRefused, match="search id: must be"):
            ask(search)


# --- a folder's own --------------------------------------------------------------------------------------------------


def test_the_digest_of_a_file_is_kept_not_computed_anew(folder: LocalStore) -> None:
    put(folder, "a", MODEL, b"model")
    folder.path("a", MODEL).write_bytes(b"rotted")
    assert folder.list("a") == [Artifact(MODEL, 6, sha256(b"model"))], "who downloads it will see that it is another"


def test_a_file_without_its_attribute_is_read_for_its_digest(folder: LocalStore) -> None:
    put(folder, "a", MODEL, b"model")
    os.removexattr(folder.path("a", MODEL), "user.tuningjob.sha256")
    assert folder.list("a") == [Artifact(MODEL, 5, sha256(b"model"))]


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = LocalStore(tmp_path / "file" / "artifacts", max_bytes=10)
    with pytest.raises(
        ArtifactsUnavailable, match=r"artifacts: must be a folder for artifacts, but got .*Not a directory"
    ):
        store.check()
    with pytest.raises(ArtifactsUnavailable, match=r"model\.joblib: must be written to the service's volume"):
        put(store, "a", MODEL, b"m")


# --- a bucket's own --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_object_that_somebody_else_has_put_there_is_read_for_its_digest(
    s3: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = in_bucket(s3, tmp_path, monkeypatch)
    path = s3.bucket / place.url.removeprefix(f"{s3.url}/") / "a" / MODEL
    path.parent.mkdir(parents=True)
    path.write_bytes(b"model")
    assert place.open().list("a") == [Artifact(MODEL, 5, sha256(b"model"))]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["s3", "gcs"])
def test_a_bucket_that_is_not_there_is_told_not_taken_for_an_empty_one(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = request.getfixturevalue(kind)
    in_bucket(server, tmp_path, monkeypatch)
    place = Place(server.url.replace("models", "nowhere"), tmp_path / "scratch", list)
    store = place.open()
    with pytest.raises(
        ArtifactsUnavailable, match="//nowhere: must answer, and take these credentials, but got FileNotFound"
    ):
        store.check()
    with pytest.raises(ArtifactsUnavailable, match="//nowhere: must answer"):
        put(store, "a", MODEL, b"m")
    assert place.left() == []


def ways_to_ask(store: ArtifactStore) -> list[Callable[[], object]]:
    return [
        store.check,
        lambda: put(store, "a", MODEL, LARGE),
        lambda: put(store, "a", MODEL, b"m"),
        lambda: store.find("a", MODEL),
        lambda: store.open("a", MODEL),
        lambda: store.list("a"),
        lambda: store.delete("a"),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("way", range(7))
def test_credentials_that_are_not_taken_are_told_without_the_secret(
    s3: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: int
) -> None:
    place = in_bucket(s3, tmp_path, monkeypatch)
    put(place.open(), "a", MODEL, b"before")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-secret")
    with pytest.raises(
        ArtifactsUnavailable, match=r"must answer, and take these credentials, but got PermissionError"
    ) as told:
        ways_to_ask(place.open())[way]()
    assert "wrong-and-secret" not in str(told.value)
    assert place.left() == [f"a/{MODEL}"]


@pytest.mark.slow
def test_a_server_that_dies_is_told_whatever_was_asked_and_comes_back_with_what_it_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with servers.s3(tmp_path / "server") as server:
        place = in_bucket(server, tmp_path, monkeypatch)
        store = place.open()
        put(store, "a", MODEL, b"before")
        with store.upload("a", MODEL, sha256=sha256(LARGE)) as upload:
            upload.write(LARGE)
            server.kill()
            with pytest.raises(ArtifactsUnavailable, match="must answer"):
                upload.commit()
        for ask in ways_to_ask(store):
            with pytest.raises(ArtifactsUnavailable, match="must answer"):
                ask()
        assert files_below(place.scratch) == []
        server.start()
        assert store.read_bytes("a", MODEL) == b"before"
        put(store, "a", MODEL, LARGE)
        assert store.read_bytes("a", MODEL) == LARGE


# --- which store it is -----------------------------------------------------------------------------------------------


def test_a_url_of_a_folder_is_a_store_on_that_volume(tmp_path: Path) -> None:
    store = open_store((tmp_path / "a b").as_uri(), max_bytes=3, scratch=tmp_path / "scratch")
    assert isinstance(store, LocalStore)
    assert store.path("a", MODEL) == tmp_path / "a b" / "a" / MODEL
    assert store.max_bytes == 3


@pytest.mark.parametrize(
    "url",
    ["", "/data", "data", "file:relative", "file://host/data", "http://host/bucket", "s3://", "s3:///prefix", "s3://bucket?x=1", "gs://bucket#x"],
)  # fmt: skip
def test_another_url_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match="The store of artifacts must be at file:///<folder>, s3://<bucket>/<prefix> or gs"
    ):
        open_store(url, max_bytes=1, scratch=tmp_path)


def test_a_url_with_credentials_in_it_is_refused_without_telling_them(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="without credentials, but got 's3://bucket/p'") as told:
        open_store("s3://key:hidden@bucket/p", max_bytes=1, scratch=tmp_path)
    assert "hidden" not in str(told.value)


@pytest.mark.slow
def test_a_bucket_without_a_prefix_is_a_store(
    s3: BucketServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_bucket(s3, tmp_path, monkeypatch)
    store = open_store(s3.url, max_bytes=LIMIT_BYTES, scratch=tmp_path)
    assert isinstance(store, BucketStore)
    search = uuid.uuid4().hex
    put(store, search, MODEL, b"m")
    assert store.url(search) == f"s3://models/{search}"
    assert (s3.bucket / search / MODEL).read_bytes() == b"m"
    store.delete(search)
    assert store.list(search) == []


@pytest.mark.slow
def test_who_keeps_files_on_a_volume_imports_no_client_of_buckets(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tuningjob.artifacts.opening import open_store; "
        f"open_store({tmp_path.as_uri()!r}, max_bytes=1, scratch=Path({str(tmp_path)!r})); "
        "print(sorted({'fsspec', 's3fs', 'gcsfs', 'botocore', 'aiohttp'} & sys.modules.keys()))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"
