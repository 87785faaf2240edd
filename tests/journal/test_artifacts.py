"""Files of finished searches: there whole and with the promised digest, or not there at all."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningjob.errors import ArtifactRefused
from tuningjob.journal.artifacts import Artifact, ArtifactStore, blocks

MODEL = "model.joblib"


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts", max_bytes=100)


def files_below(path: Path) -> list[str]:
    return sorted(str(found.relative_to(path)) for found in path.rglob("*"))


def test_a_file_comes_back_as_it_was_put(store: ArtifactStore) -> None:
    stored = store.put("a", MODEL, [b"mo", b"", b"del"], sha256=sha256(b"model"))
    assert stored == Artifact(MODEL, 5, sha256(b"model"))
    assert store.read_bytes("a", MODEL) == b"model"
    assert b"".join(blocks(store.open("a", MODEL))) == b"model"
    assert store.path("a", MODEL).read_bytes() == b"model"


def test_files_are_listed_by_name_for_their_search_only(store: ArtifactStore) -> None:
    store.put("a", MODEL, [b"m"], sha256=sha256(b"m"))
    store.put("a", "cv_results.csv", [b"c"], sha256=sha256(b"c"))
    store.put("b", MODEL, [b"other"], sha256=sha256(b"other"))
    assert store.list("a") == [Artifact("cv_results.csv", 1, sha256(b"c")), Artifact(MODEL, 1, sha256(b"m"))]
    assert store.list("none") == []


def test_a_second_file_takes_the_place_of_the_first_and_who_reads_the_first_reads_on(store: ArtifactStore) -> None:
    store.put("a", MODEL, [b"first"], sha256=sha256(b"first"))
    with store.open("a", MODEL) as reading:
        store.put("a", MODEL, [b"second"], sha256=sha256(b"second"))
        assert reading.read() == b"first"
    assert store.read_bytes("a", MODEL) == b"second"


def test_a_wrong_digest_is_refused_and_nothing_is_left(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(ArtifactRefused, match=r"model\.joblib: must have the SHA-256"):
        store.put("a", MODEL, [b"model"], sha256=sha256(b"another"))
    assert files_below(tmp_path / "artifacts") == []


def test_a_wrong_digest_leaves_the_file_before_it_in_place(store: ArtifactStore) -> None:
    store.put("a", MODEL, [b"good"], sha256=sha256(b"good"))
    with pytest.raises(ArtifactRefused):
        store.put("a", MODEL, [b"bad"], sha256=sha256(b"good"))
    assert store.read_bytes("a", MODEL) == b"good"
    assert files_below(store.path("a", MODEL).parent) == [MODEL]


def test_what_is_too_long_is_refused_before_it_is_all_read(store: ArtifactStore, tmp_path: Path) -> None:
    read = []

    def endless() -> Iterator[bytes]:
        while True:
            read.append(40)
            yield b"x" * 40

    with pytest.raises(ArtifactRefused, match="must be of at most 100 bytes, but got more"):
        store.put("a", MODEL, endless(), sha256="0" * 64)
    assert len(read) == 3
    assert files_below(tmp_path / "artifacts") == []


def test_exactly_the_limit_is_taken(store: ArtifactStore) -> None:
    data = b"x" * 100
    assert store.put("a", MODEL, [data], sha256=sha256(data)).size_bytes == 100


def test_a_sender_that_breaks_off_leaves_nothing(store: ArtifactStore, tmp_path: Path) -> None:
    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ConnectionError

    with pytest.raises(ConnectionError):
        store.put("a", MODEL, broken(), sha256="0" * 64)
    assert files_below(tmp_path / "artifacts") == []


@pytest.mark.parametrize("digest", ["", "abc", "g" * 64, sha256(b"model").upper(), sha256(b"model") + "\n"])
def test_a_digest_must_be_one(store: ArtifactStore, digest: str) -> None:
    with pytest.raises(ArtifactRefused, match="must be 64 lower-case hex digits"):
        store.put("a", MODEL, [b"model"], sha256=digest)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "model.pkl", "../a/model.joblib", "/etc/passwd", "model.joblib\n", "model.joblib/"]
)
def test_only_the_names_of_result_files_are_taken(store: ArtifactStore, name: str) -> None:
    with pytest.raises(ArtifactRefused, match=r"name: must be one of best_params\.json, "):
        store.put("a", name, [b""], sha256=sha256(b""))


@given(search=st.text(max_size=200) | st.sampled_from(["..", ".", "", "a/b", "a\\b", "a\n", "a.b", "-a", "x" * 129]))
def test_no_search_id_leads_out_of_the_store(search: str) -> None:
    root = Path("/artifacts")
    try:
        path = ArtifactStore(root, max_bytes=1).path(search, MODEL)
    except ArtifactRefused:
        return
    assert path.parent.parent == root
    assert path.parent.name == search


@pytest.mark.parametrize("search", ["..", ".", "", "a/b", "a.b", "x" * 129, "é"])
def test_a_search_id_that_is_no_plain_word_is_refused_everywhere(store: ArtifactStore, search: str) -> None:
    for ask in (store.list, store.delete, lambda name: store.open(name, MODEL)):
        with pytest.raises(ArtifactRefused, match="search id: must be"):
            ask(search)


def test_a_file_that_is_not_there_is_not_found(store: ArtifactStore) -> None:
    with pytest.raises(FileNotFoundError):
        store.read_bytes("a", MODEL)


def test_a_deleted_search_has_no_files_and_deleting_again_is_no_error(store: ArtifactStore, tmp_path: Path) -> None:
    store.put("a", MODEL, [b"m"], sha256=sha256(b"m"))
    store.delete("a")
    store.delete("a")
    assert files_below(tmp_path / "artifacts") == []


def test_sweeping_removes_what_dead_uploads_left_and_nothing_else(store: ArtifactStore) -> None:
    store.put("a", MODEL, [b"m"], sha256=sha256(b"m"))
    left = store.path("a", MODEL).with_name(".model.joblib.0123456789abcdef.part")
    left.write_bytes(b"half")
    store.sweep()
    assert files_below(left.parent) == [MODEL]
    store.sweep()
