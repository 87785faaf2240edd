"""``spec.code`` in a pod: the user's modules are found first, in every process; an archive is what was meant, or is refused."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.search.packages import install, write
from tests.servers import files
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.code import Code
from tuningjob.protocol.code import digest_of
from tuningjob.search.code_identity import CodeReader
from tuningjob.search.own_code import bring_in


@pytest.fixture(autouse=True)
def _path_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "/somewhere")
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))


def seen_by_a_process(module: str) -> str:
    """What a process that is not forked finds."""
    words = [sys.executable, "-c", f"import {module}; print({module}.X)"]
    return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout.strip()


@pytest.mark.parametrize("code", [{"configMap": "any"}, {"persistentVolumeClaim": "any"}])
def test_modules_of_a_volume_are_found_first_and_by_other_processes(tmp_path: Path, code: dict[str, str]) -> None:
    write(tmp_path, own_module_of_a_volume="X = 1")
    bring_in(Code.model_validate(code), tmp_path)
    assert sys.path[0] == str(tmp_path)
    assert os.environ["PYTHONPATH"] == f"{tmp_path}:/somewhere"
    assert seen_by_a_process("own_module_of_a_volume") == "1"


def test_without_code_nothing_changes(tmp_path: Path) -> None:
    before = list(sys.path)
    bring_in(None, tmp_path)
    assert (sys.path, os.environ["PYTHONPATH"]) == (before, "/somewhere")


# --- an archive


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[files.FileServer]:
    with files.https(tmp_path_factory.mktemp("web")) as server:
        installed = server.folder.parent / "installed"
        install(installed, "mine", "1.0", {"own_module_of_a_wheel/__init__.py": "X = 2"})
        with zipfile.ZipFile(server.folder / "mine-1.0-py3-none-any.whl", "w") as wheel:
            for path in installed.rglob("*"):
                wheel.write(path, path.relative_to(installed))
        with tarfile.open(server.folder / "mine.tar.gz", "w:gz") as archive:
            entry = tarfile.TarInfo("own_module_of_a_tar.py")
            entry.size = len(b"X = 3")
            archive.addfile(entry, io.BytesIO(b"X = 3"))
        with tarfile.open(server.folder / "bad.tar", "w") as archive:
            archive.addfile(tarfile.TarInfo("../out.py"))
        yield server


@pytest.fixture
def site(web: files.FileServer, monkeypatch: pytest.MonkeyPatch) -> files.FileServer:
    monkeypatch.setenv("SSL_CERT_FILE", str(web.authority))
    return web


def code_of(site: files.FileServer, name: str, **changes: Any) -> Code:
    digest = hashlib.sha256((site.folder / name).read_bytes()).hexdigest()
    return Code.model_validate({"url": f"{site.url}/{name}", "sha256": digest, **changes})


def refusal(code: Code) -> Problem:
    with pytest.raises(ManifestRefused) as refused:
        bring_in(code, Path("/nowhere"))
    (problem,) = refused.value.problems
    return problem


@pytest.mark.parametrize(
    ("name", "module", "want"),
    [
        ("mine-1.0-py3-none-any.whl", "own_module_of_a_wheel", "2"),
        ("mine.tar.gz", "own_module_of_a_tar", "3"),
    ],
)
def test_modules_of_an_archive_are_found_and_it_is_not_kept(
    site: files.FileServer, tmp_path: Path, name: str, module: str, want: str
) -> None:
    bring_in(code_of(site, name), Path("/nowhere"))
    assert seen_by_a_process(module) == want
    assert [entry.name.startswith("tuningjob-code-") for entry in (tmp_path / "tmp").iterdir()] == [True]


def test_another_archive_than_was_meant_is_refused_before_it_is_opened(site: files.FileServer, tmp_path: Path) -> None:
    problem = refusal(code_of(site, "mine.tar.gz", sha256="0" * 64))
    assert (problem.field, problem.reason) == ("spec.code.sha256", "CodeImport")
    assert not any(path.is_file() for path in (tmp_path / "tmp").rglob("*"))


def test_an_archive_that_leads_out_is_refused(site: files.FileServer, tmp_path: Path) -> None:
    problem = refusal(code_of(site, "bad.tar"))
    assert (problem.field, problem.reason) == ("spec.code.url", "CodeImport")
    assert "leads out of its folder" in problem.advice
    assert not list(tmp_path.rglob("out.py"))


def test_a_module_of_a_wheel_is_known_by_its_content_whatever_its_version_says(site: files.FileServer) -> None:
    bring_in(code_of(site, "mine-1.0-py3-none-any.whl"), Path("/nowhere"))
    parts = CodeReader().of_modules(["own_module_of_a_wheel"]).parts
    assert parts == {"own_module_of_a_wheel/__init__.py": digest_of(b"X = 2")}
