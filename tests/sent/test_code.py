"""Modules of one's own as an archive: the same files are the same bytes, whenever they were written and wherever they lie."""

import importlib
import os
import sys
from pathlib import Path

import pytest

from tuningjob.errors import ManifestRefused
from tuningjob.search.archives import unpack
from tuningjob.sent.code import MOST_CODE_BYTES, files_below, loaded_files, write_code


def tree(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {name}\n")
    return folder


def test_the_same_files_are_the_same_bytes_and_come_out_as_they_were(tmp_path: Path) -> None:
    long = "/".join(["deep" * 12] * 4) + "/ü.py"
    names = ("b.py", "a/__init__.py", "a/data.json", long)
    one, other = tree(tmp_path / "one", *names), tree(tmp_path / "other", *reversed(names))
    os.utime(one / "b.py", (1, 1))
    (other / "b.py").chmod(0o755)
    first = write_code(files_below(one), tmp_path / "one.tar")
    assert write_code(files_below(other), tmp_path / "other.tar").sha256 == first.sha256
    out = tmp_path / "out"
    out.mkdir()
    unpack(first.path, out)
    assert {name: (out / name).read_text() for name in names} == {name: (one / name).read_text() for name in names}


def test_caches_hidden_files_and_environments_stay_where_they_are(tmp_path: Path) -> None:
    tree(
        tmp_path,
        "mine.py",
        ".git/config",
        "__pycache__/mine.pyc",
        "venv/pyvenv.cfg",
        "venv/lib.py",
        "pkg/.secret",
        "pkg/x.py",
    )
    assert sorted(files_below(tmp_path)) == ["mine.py", "pkg/x.py"]


def test_the_modules_that_are_loaded_from_below_a_folder_go_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(
        tmp_path,
        "src/mine_too/__init__.py",
        "src/mine_too/part.py",
        "src/not_loaded.py",
        "venv/pyvenv.cfg",
        "venv/lib/in_venv.py",
    )
    for folder in ("src", "venv/lib"):
        monkeypatch.syspath_prepend(str(tmp_path / folder))
    loaded = ("mine_too", "mine_too.part", "in_venv")
    try:
        for name in loaded:
            importlib.import_module(name)
        assert loaded_files(tmp_path) == {
            "mine_too/__init__.py": tmp_path / "src/mine_too/__init__.py",
            "mine_too/part.py": tmp_path / "src/mine_too/part.py",
        }
    finally:
        for name in loaded:
            sys.modules.pop(name, None)


def test_too_much_and_nothing_are_refused_with_the_largest_file_named(tmp_path: Path) -> None:
    tree(tmp_path / "src", "mine.py")
    with (tmp_path / "src" / "model.bin").open("wb") as file:
        file.truncate(MOST_CODE_BYTES)
    with pytest.raises(ManifestRefused, match=r"code: must be at most 16 MiB of modules, .* The largest is model\.bin"):
        write_code(files_below(tmp_path / "src"), tmp_path / "code.tar")
    (tmp_path / "empty").mkdir()
    for folder in ("empty", "nowhere"):
        with pytest.raises(ManifestRefused, match="code: must be a folder with modules"):
            write_code(files_below(tmp_path / folder), tmp_path / "code.tar")
