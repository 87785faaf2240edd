"""A failure does not outlive its cause: on a laptop the same command tries failed cells again, and no version changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.local.commands import Ended, written
from tests.search.packages import write

Inside = Callable[..., Ended]

# fails where a file is there that no digest covers
FLAKY = """
import pathlib
from sklearn.tree import DecisionTreeClassifier

class T(DecisionTreeClassifier):
    def fit(self, X, y):
        told = pathlib.Path(__file__).with_name("fails")
        if told.exists() and str(self.max_depth) in told.read_text().split():
            raise RuntimeError("not today")
        return super().fit(X, y)
"""


@pytest.fixture
def flaky(iris_forest: dict[str, Any], tmp_path: Path) -> Callable[..., Path]:
    """The manifest of a search of ten fits; those of the depths that are given fail."""
    write(tmp_path, flaky=FLAKY)
    iris_forest["metadata"]["name"] = "flaky"
    iris_forest["spec"]["estimator"] = {"class": "flaky.T", "params": {"random_state": 0}}
    iris_forest["spec"]["search"] = {"grid": {"parameters": {"max_depth": [1, 2]}}}

    def manifest(*depths: int) -> Path:
        (tmp_path / "fails").write_text(" ".join(map(str, depths)))
        return written(iris_forest, tmp_path)

    return manifest


def said(ended: Ended) -> str:
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def history(inside: Inside) -> list[dict[str, Any]]:
    return list(json.loads(inside("history", "flaky", "--json").stdout))


@pytest.mark.slow
def test_failed_fits_of_a_finished_search_are_tried_again_and_make_a_new_version(
    flaky: Callable[..., Path], inside: Inside, tmp_path: Path
) -> None:
    assert "Version 1 of flaky" in said(inside("run", flaky(2)))
    (first,) = history(inside)
    files = Path(first["artifacts"].removeprefix("file://"))
    before = {path.name: path.read_bytes() for path in files.iterdir()}

    mended = inside("run", flaky())
    assert "5 failed fits of the earlier run are tried again." in mended.stderr
    assert "(5 kept)" in said(mended).replace("\n", " ")
    assert "Version 2 of flaky" in mended.stdout
    one, two = history(inside)
    assert one == first
    assert {path.name: path.read_bytes() for path in files.iterdir()} == before
    assert (one["failed_fits"], two["failed_fits"]) == (5, 0)
    assert two["score"] > one["score"]
    assert json.loads((tmp_path / "results/flaky/best_params.json").read_text()) == {"max_depth": 2}

    again = inside("run", flaky())
    assert "(10 kept)" in said(again).replace("\n", " ")
    assert "tried again" not in again.stderr
    assert len(history(inside)) == 2


@pytest.mark.slow
def test_what_fails_again_changes_nothing(flaky: Callable[..., Path], inside: Inside) -> None:
    said(inside("run", flaky(2)))
    before = history(inside)
    for _ in range(2):
        again = inside("run", flaky(2))
        assert "5 failed fits of the earlier run are tried again." in again.stderr
        assert "Version 1 of flaky" in said(again)
        assert "5 fits failed" in again.stderr
        assert history(inside) == before


@pytest.mark.slow
def test_a_search_that_failed_is_begun_again_by_the_same_command(flaky: Callable[..., Path], inside: Inside) -> None:
    path = flaky(1, 2)
    path.write_text(path.read_text().replace("  search:", "  limits: {maxFailedFits: 2}\n  search:"))
    (path.parent / "fails").write_text("2")
    failed = inside("run", path)
    assert failed.returncode == 3
    assert "RuntimeError: not today" in failed.stderr
    (path.parent / "fails").write_text("")
    mended = inside("run", path)
    assert "of the earlier run are tried again." in mended.stderr
    assert "Version 1 of flaky" in said(mended)


@pytest.mark.slow
def test_a_failure_that_was_mended_in_the_code_is_another_search(
    flaky: Callable[..., Path], inside: Inside, tmp_path: Path
) -> None:
    said(inside("run", flaky(2)))
    write(tmp_path, flaky=FLAKY.replace("told.exists()", "False"))
    mended = inside("run", flaky(2))
    assert "flaky.py changed since the earlier run: 10 finished fits of it are not taken over." in mended.stderr
    assert "10 fits in" in said(mended)
    assert history(inside)[1]["failed_fits"] == 0
