"""A search that was begun by other code is another search: its results are never shown as those of the present code."""

import sqlite3
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.local.commands import Ended, tuningjob, written
from tests.search.packages import STALE, install, own_module, write
from tests.truth import assert_equal_to_the_bit, sklearn_search
from tuningjob import local
from tuningjob.manifest import load
from tuningjob.search.beside import importable
from tuningjob.search.problem import prepare
from tuningjob.search.stop import Stop, Terminated

Inside = Callable[..., Ended]
Change = Callable[[Path, int], None]


def search(leaves: list[int], name: str = "trees", **spec: Any) -> dict[str, Any]:
    """Of ``mine.T``: five fits for each number of leaves."""
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": name},
        "spec": {
            "estimator": {"class": "mine.T", "params": {"random_state": 0}},
            "search": {"grid": {"parameters": {"min_samples_leaf": leaves}}},
            "data": {"loader": "sklearn.datasets.load_iris"},
            "modelKey": "trees",
            "baseline": False,
            **spec,
        },
    }


class Run:
    """One run of a search in this process, and what it said; ``stop_after`` so many cells."""

    def __init__(self, document: dict[str, Any], folder: Path, *, stop_after: int | None = None) -> None:
        self.said: list[str] = []
        stop, seen = Stop(), Counter[str]()

        def cells(results: list[Any]) -> None:
            seen["cells"] += len(results)
            if stop_after is not None and seen["cells"] >= stop_after:
                stop.request()

        watcher = local.Watcher(warned=self.said.append, cells=cells)
        self.outcome: local.FinishedSearch | None = None
        try:
            self.outcome = local.run(
                load(document), folder=folder, output=folder / "results", stop=stop, watcher=watcher
            )
        except Terminated:
            assert stop_after is not None

    @property
    def kept_and_reused(self) -> tuple[int, int]:
        assert self.outcome is not None
        return self.outcome.kept, self.outcome.reused

    def must_be_scikit_learns(self, document: dict[str, Any], folder: Path) -> None:
        assert self.outcome is not None
        with importable(folder):
            want = sklearn_search(prepare(load(document).spec, folder))
        assert_equal_to_the_bit(self.outcome.results.cv_results, want.cv_results_)


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.slow) for kind in STALE])
def kind(request: pytest.FixtureRequest) -> tuple[Change, str]:
    return STALE[request.param]


# Once it is known that the code is another, all goes the same way: a file that the estimator's imports, and a distribution, are enough.
of_two_kinds = pytest.mark.parametrize("kind", ["helper", "installed package"], indirect=True)


def test_a_finished_search_is_begun_anew_by_other_code_and_says_so(tmp_path: Path, kind: tuple[Change, str]) -> None:
    change, told = kind
    change(tmp_path, 1)
    first = Run(search([1, 2]), tmp_path)
    again = Run(search([1, 2]), tmp_path)
    assert again.kept_and_reused == (10, 0)
    assert again.said == []

    change(tmp_path, 5)
    other = Run(search([1, 2]), tmp_path)
    assert other.kept_and_reused == (0, 0)
    assert other.said == [f"{told} since the earlier run: 10 finished fits of it are not taken over."]
    other.must_be_scikit_learns(search([1, 2]), tmp_path)
    assert first.outcome is not None
    assert other.outcome is not None
    assert other.outcome.results.best_score > first.outcome.results.best_score
    assert (first.outcome.version, other.outcome.version) == (1, 2)

    change(tmp_path, 1)
    assert Run(search([1, 2]), tmp_path).kept_and_reused == (10, 0), "the code of before is its search of before"


@pytest.mark.slow
@of_two_kinds
def test_a_search_that_was_stopped_holds_no_cells_of_two_codes(tmp_path: Path, kind: tuple[Change, str]) -> None:
    change, told = kind
    leaves = list(range(1, 21))
    change(tmp_path, 1)
    assert Run(search(leaves), tmp_path, stop_after=3).outcome is None
    change(tmp_path, 5)
    resumed = Run(search(leaves), tmp_path)
    assert resumed.kept_and_reused == (0, 0)
    assert [text.split(":")[0] for text in resumed.said] == [f"{told} since the earlier run"]
    resumed.must_be_scikit_learns(search(leaves), tmp_path)


@pytest.mark.slow
@of_two_kinds
def test_only_cells_of_the_same_code_are_reused(tmp_path: Path, kind: tuple[Change, str]) -> None:
    change, _ = kind
    change(tmp_path, 1)
    Run(search([1, 2]), tmp_path)
    wider = search([1, 2, 3], name="wider", reuse=True)
    write(tmp_path, stranger="# imported by nobody")
    assert Run(wider, tmp_path).kept_and_reused == (0, 10)
    change(tmp_path, 5)
    other = Run(wider, tmp_path)
    assert other.kept_and_reused == (0, 0)
    other.must_be_scikit_learns(wider, tmp_path)


@pytest.mark.slow
def test_without_a_change_a_search_that_was_stopped_goes_on(tmp_path: Path) -> None:
    own_module(tmp_path, 1)
    leaves = list(range(1, 41))
    assert Run(search(leaves), tmp_path, stop_after=3).outcome is None
    resumed = Run(search(leaves), tmp_path)
    assert resumed.kept_and_reused[0] >= 3
    assert resumed.said == []


@pytest.mark.slow
def test_of_a_search_that_told_no_code_nothing_is_kept(tmp_path: Path) -> None:
    """As one that an older release has begun."""
    own_module(tmp_path, 1)
    Run(search([1, 2]), tmp_path)
    with sqlite3.connect(tmp_path / "results/tuning.db") as database:
        for table in ("cells", "units", "regions"):
            database.execute(f"update {table} set search_id = 'trees-old'")
        database.execute("update searches set id = 'trees-old', preflight = json_remove(preflight, '$.code')")
    database.close()
    again = Run(search([1, 2]), tmp_path)
    assert again.kept_and_reused == (0, 0)
    assert again.said == ["The earlier run did not tell its code: 10 finished fits of it are not taken over."]


@pytest.mark.slow
def test_code_without_a_file_is_neither_resumed_nor_reused_and_is_named(tmp_path: Path) -> None:
    write(tmp_path, mine="import sys, types\nmade = sys.modules['made'] = types.ModuleType('made')\n"
          "exec('from sklearn.tree import DecisionTreeClassifier\\nclass T(DecisionTreeClassifier): pass', made.__dict__)\n"
          "made.T.__module__ = 'made'\nT = made.T\n")  # fmt: skip
    warning = "CodeUnknown: there is no file to tell the code of made by"
    for version in (1, 2):
        run = Run(search([1, 2], reuse=True), tmp_path)
        assert run.kept_and_reused == (0, 0)
        assert [text for text in run.said if text.startswith(warning)], run.said
        assert run.outcome is not None
        assert run.outcome.version == version


@pytest.mark.slow
def test_the_versions_of_a_search_tell_the_distribution_of_its_estimator(tmp_path: Path, inside: Inside) -> None:
    for version in ("4.6.0", "4.7.0"):
        source = "from sklearn.tree import DecisionTreeClassifier\nclass T(DecisionTreeClassifier): pass"
        install(tmp_path, "my-trees", version, {"mine/__init__.py": source})
        done = inside("run", written(search([1]), tmp_path))
        assert done.returncode == 0, done.stderr
    differs = inside("diff", "trees", 1, 2).stdout
    (line,) = [line for line in differs.splitlines() if "my-trees" in line]
    assert line.split() == ["versions.my-trees", "4.6.0", "4.7.0"]


# --- the module beside the manifest


@pytest.mark.slow
def test_the_module_beside_the_manifest_is_found_from_anywhere(tmp_path: Path) -> None:
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    own_module(home, 1)
    path = written(search([1, 2]), home)
    for command in ("validate", "run"):
        done = tuningjob(command, path, cwd=elsewhere)
        assert done.returncode == 0, done.stderr
    document = search([1, 2])
    document["spec"]["mode"] = "Plan"
    assert tuningjob("run", written(document, home), cwd=elsewhere).returncode == 0


@pytest.mark.slow
def test_each_manifest_has_the_modules_beside_it_even_in_one_process(tmp_path: Path) -> None:
    for name, depth in (("a", 1), ("b", 5)):
        (tmp_path / name).mkdir()
        own_module(tmp_path / name, depth)
    found = [Run(search([1]), tmp_path / name) for name in ("a", "b")]
    for name, run in zip(("a", "b"), found, strict=True):
        run.must_be_scikit_learns(search([1]), tmp_path / name)


def test_a_module_that_is_nowhere_is_told_with_where_it_was_looked_for(tmp_path: Path, inside: Inside) -> None:
    done = inside("validate", written(search([1]), tmp_path))
    assert done.returncode == 2
    assert f"There is no module 'mine' here. It was looked for in {tmp_path}" in done.stderr
