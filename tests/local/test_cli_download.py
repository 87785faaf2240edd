"""`tuningjob download`: the files of a version, checked, each whole or not there at all."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.local.commands import Ended
from tests.local.makers import FILES, Place
from tuningjob.artifacts.downloads import Sidecar
from tuningjob.artifacts.store import artifact_at

pytestmark = pytest.mark.slow

Ask = Callable[..., Ended]


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.fixture
def blessed(place: Place, ask: Ask) -> str:
    """Version 1 of the forest, in use, with its files; the id of its search."""
    search = place.add()
    place.add_files(search)
    ask("bless", "forest", 1)
    return search


@pytest.mark.usefixtures("blessed")
def test_the_files_of_the_version_in_use_are_brought_here_unchanged(ask: Ask, tmp_path: Path) -> None:
    done = ask("download", "forest")
    assert done == Ended(0, "Version 1 of forest: 4 files in forest-v1\n", "")
    assert names(tmp_path / "forest-v1") == {*FILES, "artifacts.json"}
    for name, content in FILES.items():
        assert (tmp_path / "forest-v1" / name).read_bytes() == content


@pytest.mark.usefixtures("blessed")
def test_another_version_is_named(place: Place, ask: Ask, tmp_path: Path) -> None:
    place.add_files(place.add(), {"model.joblib": b"another"})
    assert ask("download", "forest", "--version", 2, "--output", "there/is").returncode == 0
    assert (tmp_path / "there/is/model.joblib").read_bytes() == b"another"


@pytest.mark.usefixtures("blessed")
def test_one_file_comes_with_what_it_must_be(ask: Ask, tmp_path: Path) -> None:
    assert ask("download", "forest", "--only", "model.joblib").returncode == 0
    assert names(tmp_path / "forest-v1") == {"model.joblib", "artifacts.json"}


@pytest.mark.usefixtures("blessed")
def test_a_file_that_the_version_has_not_is_told_with_those_that_it_has(ask: Ask, tmp_path: Path) -> None:
    done = ask("download", "forest", "--only", "search.joblib")
    assert (done.returncode, done.stdout) == (2, "")
    assert (
        "must be one of artifacts.json, best_params.json, cv_results.csv, model.joblib (what version 1 has)"
        in done.stderr
    )
    assert not (tmp_path / "forest-v1").exists()


def test_library_versions_that_differ_are_warned_of(place: Place, ask: Ask) -> None:
    place.add_files(place.add(), joblib="0.0.1", no_such_library="2.0")
    done = ask("download", "forest", "--version", 1)
    assert done.returncode == 0
    assert "warning: joblib: the files were written with 0.0.1, " in done.stderr
    assert "warning: no-such-library: the files were written with 2.0, and it is not installed here." in done.stderr


def test_files_of_before_there_were_digests_are_taken_as_they_are_with_a_warning(
    journal_place: Place, inside: Callable[..., Ended], tmp_path: Path
) -> None:
    search = journal_place.add()
    journal_place.add_files(search)
    (journal_place.files_of(search) / "artifacts.json").unlink()
    done = inside("download", "forest", "--version", 1, *journal_place.options)
    assert done.returncode == 0
    assert done.stderr == (
        "warning: it has no artifacts.json: whether its library versions differ from the ones here is not known.\n"
    )
    assert names(tmp_path / "forest-v1") == set(FILES)


@pytest.mark.usefixtures("blessed")
def test_what_is_in_place_is_not_fetched_again_and_what_is_missing_is(ask: Ask, tmp_path: Path) -> None:
    ask("download", "forest")
    there = tmp_path / "forest-v1/model.joblib"
    before = there.stat()
    (tmp_path / "forest-v1/cv_results.csv").unlink()
    assert ask("download", "forest").returncode == 0
    assert there.stat().st_mtime_ns == before.st_mtime_ns
    assert (tmp_path / "forest-v1/cv_results.csv").read_bytes() == FILES["cv_results.csv"]


@pytest.mark.usefixtures("blessed")
def test_another_file_of_the_name_is_never_overwritten(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/model.joblib").write_text("mine")
    done = ask("download", "forest", "--output", "mine")
    assert done == Ended(
        2, "", "Error: --output: must be a folder without another model.joblib, but got mine. Give another.\n"
    )
    assert names(tmp_path / "mine") == {"model.joblib"}


@pytest.mark.usefixtures("blessed")
def test_a_folder_that_cannot_be_is_told(ask: Ask, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = ask("download", "forest", "--output", "file/below")
    assert done.returncode == 2
    assert "--output: must be a folder with room for the files, but got" in done.stderr


def test_a_file_that_is_not_what_was_stored_is_refused_and_nothing_is_left(
    place: Place, ask: Ask, tmp_path: Path
) -> None:
    search = place.add()
    place.add_files(search)
    stored = place.store.path(search, "model.joblib") if place.store else place.files_of(search) / "model.joblib"
    stored.write_bytes(b"X" * stored.stat().st_size)
    done = ask("download", "forest", "--version", 1)
    assert done.returncode == 3
    assert "model.joblib: must " in done.stderr
    assert "SHA-256" in done.stderr
    assert names(tmp_path / "forest-v1") == set()


def test_a_file_that_was_swapped_with_all_that_tells_of_it_is_refused_by_the_audit(
    place: Place, ask: Ask, tmp_path: Path
) -> None:
    search = place.add(with_files=True)
    assert ask("download", "forest", "--version", 1, "--output", "honest").returncode == 0
    model, told = place.path_of(search, "model.joblib"), place.path_of(search, "artifacts.json")
    sidecar = Sidecar.loads(told.read_bytes())
    model.unlink()  # with what a store keeps of its digest
    model.write_bytes(b"EVIL PICKLE")
    entries = [artifact_at(model) if entry.name == model.name else entry for entry in sidecar.files]
    told.unlink()
    told.write_text(replace(sidecar, files=tuple(entries)).dumps())
    done = ask("download", "forest", "--version", 1)
    assert done.returncode == 3
    assert "must be the file that version 1 of forest was completed with" in done.stderr
    assert not (tmp_path / "forest-v1").exists()


def test_a_version_without_files_says_so(place: Place, ask: Ask, tmp_path: Path) -> None:
    place.add()
    done = ask("download", "forest", "--version", 1)
    assert done.returncode == 2
    assert "version 1 of forest: must have files, but got none" in done.stderr
    assert not (tmp_path / "forest-v1").exists()


def test_a_journal_and_its_files_may_be_moved_together(
    journal_place: Place, inside: Callable[..., Ended], tmp_path: Path
) -> None:
    journal_place.add_files(journal_place.add())
    journal_place.journal.close()
    journal_place.folder.rename(tmp_path / "elsewhere")
    done = inside("download", "forest", "--version", 1, "--journal", "elsewhere/tuning.db", "-n", "team")
    assert done.returncode == 0
    assert (tmp_path / "forest-v1/model.joblib").read_bytes() == FILES["model.joblib"]


def test_files_in_a_bucket_are_the_services_to_hand_out(journal_place: Place, inside: Callable[..., Ended]) -> None:
    journal_place.add(artifacts="s3://bucket/search-1")
    done = inside("download", "forest", "--version", 1, *journal_place.options)
    assert done.returncode == 2
    assert "but got files at s3://bucket/search-1. Ask the results service for them: --server URL." in done.stderr
