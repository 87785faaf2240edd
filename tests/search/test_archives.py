"""Whatever is in an archive: plain files come out below the folder as they went in, or it is refused and nothing is beside it."""

import contextlib
import io
import stat
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningjob.search.archives import ArchiveRefused, parts_below, unpack

MODES: dict[str, Any] = {"tar": "w:", "tar.gz": "w:gz", "tar.bz2": "w:bz2", "tar.xz": "w:xz"}


def made(path: Path, entries: list[tuple[str, bytes]], kind: str) -> Path:
    """An archive of files; a name that ends in / is a folder's."""
    if kind == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in entries:
                archive.writestr(zipfile.ZipInfo(name), content)
    else:
        with tarfile.open(path, MODES[kind]) as archive:
            for name, content in entries:
                add(archive, name, content)
    return path


def add(archive: tarfile.TarFile, name: str, content: bytes = b"", **changes: Any) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    if name.endswith("/"):
        entry.type = tarfile.DIRTYPE
    for key, value in changes.items():
        setattr(entry, key, value)
    archive.addfile(entry, io.BytesIO(content))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def refusal(archive: Path, folder: Path, **bounds: int) -> str:
    with pytest.raises(ArchiveRefused) as refused:
        unpack(archive, folder, **bounds)
    return str(refused.value)


@pytest.mark.parametrize("kind", ["zip", *MODES])
def test_files_come_out_as_they_went_in_and_cannot_be_written(folder: Path, kind: str) -> None:
    entries = [("mine/", b""), ("mine/__init__.py", b"X = 1\n"), ("./top.py", b"Y = 2\n" * 40_000), ("a/b/c.txt", b"")]
    unpack(made(folder.parent / "a", entries, kind), folder)
    assert files_of(folder) == {"mine/__init__.py": b"X = 1\n", "top.py": b"Y = 2\n" * 40_000, "a/b/c.txt": b""}
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.rglob("*") if path.is_file()} == {0o444}


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
@pytest.mark.parametrize(
    "name", ["/etc/x", "../x", "a/../../x", "a/..", "..", "C:x", "a\\..\\x", "x" * 300, "a/" * 70 + "x"]
)
def test_no_path_leads_out(folder: Path, kind: str, name: str) -> None:
    assert "path" in refusal(made(folder.parent / "a", [("fine.py", b""), (name, b"x")], kind), folder)
    assert set(folder.parent.iterdir()) == {folder, folder.parent / "a"}


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE]
)
def test_what_is_no_plain_file_is_refused(folder: Path, kind: bytes) -> None:
    with tarfile.open(folder.parent / "a", "w") as archive:
        add(archive, "odd", type=kind, linkname="/etc/passwd")
        add(archive, "odd/x", b"x")
    if kind == tarfile.CONTTYPE:  # a file, as tar of old had it
        assert "unpacking it says" in refusal(folder.parent / "a", folder)
    else:
        assert refusal(folder.parent / "a", folder) == "'odd' in it is a link, a device, or no plain file"
    assert not any(path.is_symlink() for path in folder.rglob("*"))


def test_a_link_in_a_wheel_is_refused(folder: Path) -> None:
    with zipfile.ZipFile(folder.parent / "a", "w") as archive:
        link = zipfile.ZipInfo("odd")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "'odd' in it is a link" in refusal(folder.parent / "a", folder)


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_nothing_is_written_over(folder: Path, kind: str) -> None:
    with pytest.warns(UserWarning, match="Duplicate name") if kind == "zip" else pytest.MonkeyPatch.context():
        archive = made(folder.parent / "a", [("x.py", b"1"), ("x.py", b"2")], kind)
    assert refusal(archive, folder) == "'x.py' is there twice"


@pytest.mark.parametrize("kind", ["zip", *MODES])
def test_a_bomb_is_refused_by_what_comes_out_of_it(folder: Path, kind: str) -> None:
    archive = made(folder.parent / "a", [("zeros", bytes(3 * 2**20))], kind)
    assert refusal(archive, folder, most_bytes=2**20) == "it has more than 1 MiB when it is unpacked"
    assert sum(map(len, files_of(folder).values())) <= 2**20


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_a_bomb_of_names_is_refused_by_their_number(folder: Path, kind: str) -> None:
    archive = made(folder.parent / "a", [(f"{i}", b"") for i in range(30)], kind)
    assert refusal(archive, folder, most_files=20) == "it has more than 20 entries"
    assert len(files_of(folder)) == 20


def test_a_size_that_lies_is_not_believed(folder: Path) -> None:
    archive = made(folder.parent / "a", [("zeros", bytes(2**20))], "zip")
    content = archive.read_bytes()
    archive.write_bytes(content.replace((2**20).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    refusal(archive, folder)
    assert sum(map(len, files_of(folder).values())) <= 2**20


@pytest.mark.parametrize(
    "content", [b"", b"import os\n", b"PK\x03\x04", b"\x1f\x8b", b"\x1f\x8bxxxx", b"BZh9xx", b"\xfd7zXZ\x00xx"]
)
def test_what_is_no_archive_is_refused(folder: Path, content: bytes) -> None:
    (folder.parent / "a").write_bytes(content)
    assert refusal(folder.parent / "a", folder).startswith(("it is no wheel", "unpacking it says: "))


_names = st.lists(st.sampled_from(["a", "b", "..", ".", "", "é", "x.py", "C:", "\\"]), min_size=1, max_size=4).map(
    "/".join
)


@pytest.mark.slow
@given(
    entries=st.lists(st.tuples(_names, st.binary(max_size=30)), max_size=5),
    kind=st.sampled_from(["zip", "tar", "tar.gz"]),
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_either_all_comes_out_below_the_folder_or_it_is_refused(
    entries: list[tuple[str, bytes]], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("any")
    folder = root / "out"
    folder.mkdir()
    entries = [(name, content) for name, content in entries if name]
    archive = made(root / "a", [(name, b"" if name.endswith("/") else content) for name, content in entries], kind)
    try:
        unpack(archive, folder)
    except ArchiveRefused:
        pass
    else:
        want = {"/".join(parts_below(name)): content for name, content in entries if not name.endswith("/")}
        assert files_of(folder) == want
    assert {*root.iterdir()} == {folder, archive}


@pytest.mark.slow
@given(content=st.binary(max_size=200), at=st.integers(0, 2_000), kind=st.sampled_from(["zip", "tar", "tar.gz"]))
def test_bytes_that_were_changed_raise_nothing_else(
    content: bytes, at: int, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("changed")
    (root / "out").mkdir()
    archive = made(root / "a", [("mine/x.py", b"X = 1\n" * 20), ("y.py", b"")], kind)
    whole = archive.read_bytes()
    archive.write_bytes(whole[: at % len(whole)] + content + whole[at % len(whole) + len(content) :])
    with contextlib.suppress(ArchiveRefused):
        unpack(archive, root / "out")
    assert {*root.iterdir()} == {root / "out", archive}
