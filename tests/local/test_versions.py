"""What a laptop keeps of each version, and what it takes over from one search to the next."""

import functools
import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import pytest

from tests.local.commands import Ended, written
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob import local
from tuningjob.manifest import load
from tuningjob.manifest.wellknown import RESULT_FILES
from tuningjob.search.stop import Stop

Inside = Callable[..., Ended]


@pytest.fixture
def search(iris_forest: dict[str, Any]) -> dict[str, Any]:
    """A search of a moment."""
    iris_forest["metadata"]["name"] = "forest"
    iris_forest["spec"]["search"]["grid"]["parameters"] = {"n_estimators": [2, 3], "max_depth": [1, 2]}
    iris_forest["spec"]["crossValidation"] = {"folds": 3}
    return iris_forest


def wider(search: dict[str, Any], **parameters: list[Any]) -> dict[str, Any]:
    search["spec"]["search"]["grid"]["parameters"] |= parameters
    return search


def said(ended: Ended) -> str:
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.replace("\n", " ")


@pytest.fixture
def two_versions(search: dict[str, Any], tmp_path: Path, inside: Inside) -> Path:
    """The folder of the results."""
    said(inside("run", written(search, tmp_path)))
    said(inside("run", written(wider(search, n_estimators=[5], max_depth=[4]), tmp_path)))
    return tmp_path / "results/forest"


@pytest.mark.slow
def test_each_version_keeps_its_files_and_the_plain_ones_are_those_of_the_last_run(
    two_versions: Path, inside: Inside, tmp_path: Path
) -> None:
    rows = json.loads(inside("history", "forest", "--json").stdout)
    assert [row["created_by"] for row in rows] == ["ada", "ada"]
    for row in rows:
        folder = two_versions / "searches" / row["search_id"]
        assert row["artifacts"] == folder.as_uri()
        assert json.loads((folder / "best_params.json").read_text()) == row["best_params"]
        assert said(inside("download", "forest", "--version", row["version"])).startswith(
            f"Version {row['version']} of forest: {len(RESULT_FILES)} files in forest-v"
        )
        model = joblib.load(tmp_path / f"forest-v{row['version']}/model.joblib")
        assert row["best_params"].items() <= model.get_params().items()
    assert json.loads((two_versions / "best_params.json").read_text()) == {"max_depth": 4, "n_estimators": 5}
    for name in RESULT_FILES:
        assert (two_versions / name).samefile(folder / name)


@pytest.mark.slow
def test_the_plain_files_are_never_those_of_two_searches(
    two_versions: Path, search: dict[str, Any], inside: Inside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whenever a run is ended while it puts them there."""
    first, second = sorted((two_versions / "searches").iterdir(), key=lambda folder: folder.stat().st_mtime)
    search["spec"]["search"]["grid"]["parameters"] = {"n_estimators": [2, 3], "max_depth": [1, 2]}
    path, link = written(search, tmp_path), os.link

    def origins() -> set[Path]:
        there = [(folder, name) for folder in (first, second) for name in RESULT_FILES]
        return {
            folder
            for folder, name in there
            if (two_versions / name).exists() and (two_versions / name).samefile(folder / name)
        }

    def link_so_many(left: Iterator[int], source: Path, target: Path) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        link(source, target)

    assert origins() == {second}
    for number in range(1, len(RESULT_FILES)):
        for name in RESULT_FILES:
            (two_versions / name).unlink(missing_ok=True)
            link(second / name, two_versions / name)
        with monkeypatch.context() as patched:
            patched.setattr(os, "link", functools.partial(link_so_many, iter(range(number))))
            inside("run", path)
        assert origins() == {first}
        assert not (two_versions / "artifacts.json").exists(), "it says that the others are there"
    said(inside("run", path))
    assert {name for name in RESULT_FILES if (two_versions / name).samefile(first / name)} == set(RESULT_FILES)


@pytest.mark.slow
def test_a_version_is_not_changed_by_who_writes_into_the_plain_files(two_versions: Path) -> None:
    for name in RESULT_FILES:
        assert (two_versions / name).stat().st_mode & 0o222 == 0
    if os.geteuid() != 0:  # root may write whatever the mode
        with pytest.raises(PermissionError):
            (two_versions / "model.joblib").write_bytes(b"mine")


@pytest.mark.slow
def test_the_same_search_again_is_its_version_again_and_fits_nothing(
    two_versions: Path, search: dict[str, Any], inside: Inside, tmp_path: Path
) -> None:
    first = json.loads(inside("history", "forest", "--json").stdout)[0]
    model = two_versions / "searches" / first["search_id"] / "model.joblib"
    before = model.stat()
    search["spec"]["search"]["grid"]["parameters"] = {"n_estimators": [2, 3], "max_depth": [1, 2]}
    again = said(inside("run", written(search, tmp_path)))
    assert "0 fits in " in again
    assert "(12 kept)" in again
    assert "Version 1 of forest." in again
    assert (model.stat().st_mtime_ns, model.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    assert (two_versions / "model.joblib").samefile(model)


@pytest.mark.slow
def test_files_that_were_removed_come_back_when_their_search_is_run_again(
    two_versions: Path, search: dict[str, Any], inside: Inside, tmp_path: Path
) -> None:
    newest = json.loads(inside("history", "forest", "--json").stdout)[1]
    folder = two_versions / "searches" / newest["search_id"]
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()
    done = inside("download", "forest", "--version", 2)
    assert done.returncode == 2
    assert f"must have files, but got none in {folder.as_uri()}: they were removed" in done.stderr
    assert "Version 2 of forest." in said(inside("run", written(search, tmp_path)))
    assert {path.name for path in folder.iterdir()} == set(RESULT_FILES)


@pytest.mark.slow
def test_an_extended_grid_fits_only_what_is_new_and_says_how_many_were_reused(
    search: dict[str, Any], inside: Inside, tmp_path: Path
) -> None:
    said(inside("run", written(search, tmp_path)))
    search["spec"]["reuse"] = True
    wider(search, n_estimators=[2, 3, 4], max_depth=[1, 2, 5])
    done = inside("run", written(search, tmp_path))
    assert "15 fits in " in said(done)
    assert "(12 reused)" in said(done)
    with sqlite3.connect(tmp_path / "results/forest/tuning.db") as database:
        reports = database.execute("select reports, count(*) from cells group by reports order by reports").fetchall()
    database.close()
    assert reports == [(0, 12), (1, 12 + 15)]
    job = load(search)
    _, want = sklearn_search_of(job.spec)
    found = local.run(job, folder=tmp_path, output=tmp_path / "results/forest", stop=Stop())
    assert (found.kept, found.reused) == (27, 0)
    assert_equal_to_the_bit(found.results.cv_results, want.cv_results_)


@pytest.mark.slow
def test_fits_of_the_defaults_that_are_a_candidates_are_no_fits_of_the_run(
    search: dict[str, Any], inside: Inside, tmp_path: Path
) -> None:
    del search["spec"]["baseline"]
    search["spec"] |= {
        "estimator": {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}},
        "reuse": True,
    }
    search["spec"]["search"]["grid"]["parameters"] = {"max_depth": [2, None]}
    first = said(inside("run", written(search, tmp_path)))
    assert "6 fits in " in first
    assert "(3 of the defaults are a candidate's); all 9 fits summed" in first
    again = said(inside("run", written(search, tmp_path)))
    assert "0 fits in " in again
    assert "(9 kept); all 9 fits summed" in again
    more = said(inside("run", written(wider(search, max_depth=[2, 3, None]), tmp_path)))
    assert "3 fits in " in more
    assert "(6 reused, 3 of the defaults are a candidate's); all 12 fits summed" in more


@pytest.mark.slow
def test_without_reuse_everything_is_fitted_again(search: dict[str, Any], inside: Inside, tmp_path: Path) -> None:
    said(inside("run", written(search, tmp_path)))
    assert "27 fits in " in said(
        inside("run", written(wider(search, n_estimators=[2, 3, 4], max_depth=[1, 2, 5]), tmp_path))
    )


@pytest.mark.slow
def test_searches_of_one_model_key_are_versions_of_one_journal(
    search: dict[str, Any], inside: Inside, tmp_path: Path
) -> None:
    said(inside("run", written(search, tmp_path)))
    search["metadata"]["name"] = "another-name"
    search["spec"] |= {"modelKey": "forest", "reuse": True}
    assert "(12 reused)" in said(inside("run", written(search, tmp_path)))
    assert [row["version"] for row in json.loads(inside("history", "forest", "--json").stdout)] == [1, 2]


@pytest.mark.slow
def test_what_draws_unseeded_numbers_is_fitted_again_with_a_warning(
    search: dict[str, Any], inside: Inside, tmp_path: Path
) -> None:
    search["spec"]["reuse"] = True
    search["spec"]["estimator"]["params"] = {}
    said(inside("run", written(search, tmp_path)))
    done = inside("run", written(wider(search, max_depth=[1, 2, 5]), tmp_path))
    assert "18 fits in " in said(done)
    assert (
        "warning: UnseededEstimator: 6 of 6 candidates draw random numbers that nobody seeded (random_state is None)"
        in done.stderr
    )
