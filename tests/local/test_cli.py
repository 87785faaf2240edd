"""`tuningjob run | size | validate`, as a user runs them: in a process of their own."""

import fcntl
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.datasets import load_wine

from tests.conftest import example
from tests.local.commands import Ended, begun_in_a_session, tuningjob, written
from tests.processes import children_of
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob import local
from tuningjob.manifest import load
from tuningjob.search.stop import Stop


@pytest.fixture
def slow(iris_forest: dict[str, Any]) -> dict[str, Any]:
    """A search of some seconds, of fits that have nothing in common: there is time to kill it."""
    iris_forest["metadata"]["name"] = "slow"
    iris_forest["spec"]["data"] = {"loader": "sklearn.datasets.load_wine"}
    iris_forest["spec"]["resources"]["cpu"] = "2"
    parameters = {"n_estimators": [80], "min_samples_leaf": list(range(1, 19))}
    iris_forest["spec"]["search"]["grid"]["parameters"] = parameters
    return iris_forest


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ended, Path]:
    """`tuningjob run` of examples/breast-cancer-svc.yaml, and the folder of its files."""
    folder = tmp_path_factory.mktemp("searched")
    done = tuningjob("run", written(example("breast-cancer-svc.yaml"), folder), cwd=folder, HOME=str(folder))
    return done, folder / "results" / "breast-cancer-svc"


@pytest.mark.slow
def test_run_writes_every_file_and_prints_a_leaderboard(searched: tuple[Ended, Path]) -> None:
    done, folder = searched
    assert done.returncode == 0, done.stderr
    assert {path.name for path in folder.iterdir()} >= {
        "best_params.json", "cv_results.csv", "cv_results.parquet", "leaderboard.csv", "model.joblib", "tuning.db",
        "verdict.txt",
    }  # fmt: skip
    assert json.loads((folder / "best_params.json").read_text()) == {
        "svc__C": 10,
        "svc__gamma": 0.01,
        "svc__kernel": "rbf",
    }
    assert "Best of 9 candidates (accuracy)" in done.stdout
    words = (folder / "verdict.txt").read_text()
    assert "better than guessing without any feature." in " ".join(words.split())
    assert words in done.stdout
    assert "all 50 fits summed" in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_model_loads_with_scikit_learn_alone(searched: tuple[Ended, Path]) -> None:
    alone = (
        "import sys, joblib; sys.modules['tuningjob'] = None; model = joblib.load('model.joblib'); "
        "from sklearn.datasets import load_breast_cancer as load; print(model.predict(load().data[:3]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", alone], cwd=searched[1], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "[0 0 0]", done.stderr


@pytest.mark.slow
def test_the_audit_has_a_row_for_each_version(
    breast_cancer_svc: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended]
) -> None:
    path = written(breast_cancer_svc, tmp_path)
    inside("run", path, "--output", "out")
    inside("run", path, "--output", "out")  # the same search: no new version
    breast_cancer_svc["spec"]["crossValidation"] = {"folds": 3}
    inside("run", written(breast_cancer_svc, tmp_path), "--output", "out")
    with sqlite3.connect(tmp_path / "out/tuning.db") as database:
        rows = database.execute("select model_key, version, fits from hyperparameter_audit order by version").fetchall()
    database.close()
    assert rows == [("breast-cancer-svc", 1, 50), ("breast-cancer-svc", 2, 30)]
    # what is said of a version is brought, and is said again from the files of one that has none
    asked = ("report", "breast-cancer-svc", "--version", "2", "--journal", "out/tuning.db")
    brought, again = inside(*asked), inside("report", "out", "--output", "again")
    assert brought.returncode == again.returncode == 0, brought.stderr + again.stderr
    assert "The answer is candidate " in brought.stdout
    page = (tmp_path / "out/report.html").read_text()
    assert (tmp_path / "breast-cancer-svc-v2/report.html").read_text() == page
    answers = {done.stdout.partition("The answer is ")[2].partition(" Its ")[0] for done in (brought, again)}
    assert len(answers) == 1
    assert (tmp_path / "again/report.html").read_text().startswith("<!doctype html>")


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_and_started_again_it_finishes_what_is_missing_and_is_equal_to_the_bit(
    slow: dict[str, Any], tmp_path: Path, how: signal.Signals
) -> None:
    path = written(slow, tmp_path)
    journal = tmp_path / "results/slow/tuning.db"
    first = begun_in_a_session("run", path, cwd=tmp_path)
    kept_at_least = wait_for_cells(journal, 4)
    zygotes = children_of(first.pid)
    workers = [worker for zygote in zygotes for worker in children_of(zygote)]
    assert len(workers) == min(2, len(os.sched_getaffinity(0)))
    first.send_signal(how)
    _, stderr = first.communicate(timeout=30)
    want = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130, signal.SIGTERM: 143}
    assert first.returncode == want[how], stderr
    wait_until_gone([*zygotes, *workers])

    second = tuningjob("run", path, cwd=tmp_path)

    assert second.returncode == 0, second.stderr
    kept = int(second.stderr.split("Kept ")[1].split(" of ")[0])
    assert kept_at_least <= kept < 90
    with sqlite3.connect(journal) as database:
        assert database.execute("select reports, count(*) from cells group by reports").fetchall() == [(1, 90)]
    database.close()
    job = load(slow)
    _, want = sklearn_search_of(job.spec)
    again = local.run(job, folder=tmp_path, output=tmp_path / "results/slow", stop=Stop())
    assert_equal_to_the_bit(again.results.cv_results, want.cv_results_)
    X = load_wine().data
    np.testing.assert_array_equal(
        joblib.load(tmp_path / "results/slow/model.joblib").predict_proba(X), want.predict_proba(X)
    )


def wait_for_cells(journal: Path, count: int) -> int:
    """Wait until the journal has ``count`` cells; how many it has."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if journal.is_file():
            database = sqlite3.connect(f"file:{journal}?mode=ro", uri=True)
            try:
                (found,) = database.execute("select count(*) from cells").fetchone()
            except sqlite3.OperationalError:
                found = 0
            finally:
                database.close()
            if found >= count:
                return int(found)
        time.sleep(0.02)
    raise AssertionError(f"fewer than {count} cells after a minute")


def wait_until_gone(pids: list[int]) -> None:
    deadline = time.monotonic() + 10
    while any(
        Path(f"/proc/{pid}").exists() and "Z" not in Path(f"/proc/{pid}/stat").read_text().split(") ")[1][:1]
        for pid in pids
    ):
        assert time.monotonic() < deadline, f"worker processes outlived their parent: {pids}"
        time.sleep(0.02)


def test_two_runs_do_not_write_to_one_folder_at_a_time(
    iris_forest: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended]
) -> None:
    (tmp_path / "out").mkdir()
    with (tmp_path / "out/.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = inside("run", written(iris_forest, tmp_path), "--output", "out")
    assert (done.returncode, done.stderr) == (
        3,
        "out: another run is at work there. Wait for it, or give another --output.\n",
    )


@pytest.mark.parametrize(
    ("command", "change", "message"),
    [
        ("run", {"estimator": {"class": "sklearn.svm.SVM"}}, "spec.estimator.class: must be an estimator's class that sklearn.svm has, but got 'sklearn.svm.SVM'. Did you mean 'SVR'?"),
        ("run", {"search": {"grid": {"parameters": {"n_estimator": [5]}}}}, "Did you mean 'n_estimators'?"),
        ("run", {"search": {"grid": {"parameters": {"n_estimators": []}}}}, "spec.search.grid.parameters.n_estimators: must be a list with at least one value, but got []."),
        ("run", {"resources": {"memory": "much"}}, "spec.resources.memory: must be a positive Kubernetes quantity of memory"),
        ("run", {"limits": {"maxFits": 10}}, "spec.search.grid.parameters: must be a grid of at most 10 fits (spec.limits.maxFits), but got 18 candidates × 5 folds = 90 fits."),
        ("run", {"data": {"path": "job.csv", "target": "speices"}}, "spec.data.target: must be a column of job.csv, but got 'speices'. Did you mean 'species'?"),
        ("run", {"search": {"grid": {"parameters": {"n_estimators": [-1, -2]}}}}, "spec.search.grid.parameters.n_estimators: must be an int in the range [1, inf), but got [-1, -2]. scikit-learn would refuse every fit"),
        ("validate", {"scoring": "acuracy"}, "Did you mean 'accuracy'?"),
        ("validate", {"estimator": {"class": "sklearn.svm.LinearSVC"}, "search": {"grid": {"parameters": {"C": [1]}}}, "scoring": "neg_log_loss"}, "neg_log_loss needs predict_proba"),
        ("size", {"limits": {"maxFits": 10}}, "must be a grid of at most 10 fits"),
    ],
)  # fmt: skip
def test_a_refused_manifest_exits_2_with_the_field_and_no_traceback(  # noqa: PLR0917  a case's three and three fixtures
    iris_forest: dict[str, Any],
    tmp_path: Path,
    inside: Callable[..., Ended],
    command: str,
    change: dict[str, Any],
    message: str,
) -> None:
    (tmp_path / "job.csv").write_text("width,species\n1,a\n2,b\n")
    iris_forest["spec"].update(change)
    done = inside(command, written(iris_forest, tmp_path))
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "results").exists()


def test_a_file_that_is_not_there_exits_2(inside: Callable[..., Ended]) -> None:
    done = inside("run", "nowhere.yaml")
    assert (done.returncode, done.stderr) == (
        2,
        "nowhere.yaml: must be a readable file, but got no such file or directory.\n",
    )


@pytest.mark.slow
@pytest.mark.parametrize("command", ["validate", "run"])
def test_a_search_whose_every_fit_would_fail_is_refused_before_its_first_one(
    iris_forest: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended], command: str
) -> None:
    iris_forest["spec"]["search"]["grid"]["parameters"] = {
        "bootstrap": [False],
        "n_estimators": [2, 3],
        "oob_score": [True],
    }
    done = inside(command, written(iris_forest, tmp_path))
    assert (done.returncode, done.stdout) == (2, "")
    assert "ValueError: Out of bag estimation only available if bootstrap=True" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_search_whose_every_fit_fails_exits_3_with_the_end_of_the_first_traceback(
    iris_forest: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended]
) -> None:
    # for lack of memory, which proves nothing of the other fits
    iris_forest["spec"]["estimator"] = {"class": "tests.search.estimators.Starved"}
    iris_forest["spec"]["search"]["grid"]["parameters"] = {"max_depth": [2, 3]}
    path = written(iris_forest, tmp_path)
    for _ in range(2):  # the second time the journal remembers
        done = inside("run", path)
        assert done.returncode == 3
        assert "all 10 fits failed; the first one ended with:" in done.stderr
        assert "MemoryError: no room" in done.stderr


@pytest.mark.slow
def test_a_search_whose_some_fits_fail_completes_and_says_how_many(
    iris_forest: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended]
) -> None:
    iris_forest["spec"]["search"]["grid"]["parameters"] = {"n_estimators": [-1, 5]}
    iris_forest["spec"] |= {"resources": {"cpu": "1"}, "parallelism": 1}
    done = inside("run", written(iris_forest, tmp_path))
    assert done.returncode == 0
    assert (
        "5 fits failed; their scores are NaN. 5 with InvalidParameterError: The 'n_estimators' parameter" in done.stderr
    )
    assert "The first of them is candidate 0: {'n_estimators': -1}." in done.stderr
    assert " in 1 process; " in done.stdout


@pytest.mark.slow
def test_a_search_of_more_failed_fits_than_its_manifest_allows_exits_3_and_with_a_higher_limit_goes_on(
    iris_forest: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended]
) -> None:
    iris_forest["spec"]["search"]["grid"]["parameters"] = {"n_estimators": [-1, 5]}
    iris_forest["spec"]["limits"] = {"maxFailedFits": 4}
    path = written(iris_forest, tmp_path)
    for _ in range(2):  # the second time the journal remembers
        done = inside("run", path)
        assert done.returncode == 3
        assert "fits failed, and spec.limits.maxFailedFits is 4. One of them ended with:" in done.stderr
        assert "InvalidParameterError: The 'n_estimators' parameter" in done.stderr
        assert "Traceback (most recent call last)" in done.stderr

    iris_forest["spec"]["limits"] = {"maxFailedFits": 5}
    assert inside("run", written(iris_forest, tmp_path)).returncode == 0


@pytest.mark.slow
def test_mode_plan_prints_what_the_search_would_be_and_cost_and_runs_nothing(
    iris_forest: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended]
) -> None:
    iris_forest["spec"]["mode"] = "Plan"
    done = inside("run", written(iris_forest, tmp_path))
    assert done.returncode == 0, done.stderr
    told = dict(line.split("  ", 1) for line in done.stdout.splitlines() if "  " in line)
    assert told["fits"].strip() == "90 (and the refit)"
    assert told["data"].strip() == "150 samples × 4 features"
    assert {"seconds a fit", "CPU time", "wall time", "memory"} <= set(told)
    assert "Nothing was run" in done.stdout
    assert not (tmp_path / "results").exists()


def test_size_prints_candidates_splits_fits_and_warns(
    iris_forest: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended]
) -> None:
    done = inside("size", written(iris_forest, tmp_path))
    assert done.stdout.split() == ["candidates", "18", "splits", "5", "fits", "90", "(and", "the", "refit)"]
    assert done.stderr == ""
    iris_forest["spec"]["crossValidation"] = {"folds": 30}
    assert "warning: 540 fits are more than 500" in inside("size", written(iris_forest, tmp_path)).stderr
    iris_forest["spec"]["crossValidation"] = {"folds": 60}
    assert "warning: 1,080 fits are more than 1,000" in inside("size", written(iris_forest, tmp_path)).stderr


@pytest.mark.slow
def test_validate_looks_at_the_data_where_it_is_here_and_says_where_it_is_not(
    iris_forest: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended]
) -> None:
    path = written(iris_forest, tmp_path)
    assert inside("validate", path).stdout == f"{path}: valid. 150 samples × 4 features.\n"
    iris_forest["spec"]["data"] = {"path": "far.csv", "target": "label", "persistentVolumeClaim": "data"}
    assert "Its data is on a volume and was not looked at." in inside("validate", written(iris_forest, tmp_path)).stdout


@pytest.mark.parametrize("command", ["run", "validate", "size"])
def test_a_class_without_its_module_is_answered_by_the_whole_path(
    iris_forest: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended], command: str
) -> None:
    iris_forest["spec"]["estimator"] = {"class": "RandomForrestClassifier"}
    assert inside(command, written(iris_forest, tmp_path)) == Ended(
        2,
        "",
        "spec.estimator.class: must be a dotted path, such as sklearn.svm.SVC, but got 'RandomForrestClassifier'. "
        "Write sklearn.ensemble.RandomForestClassifier.\n",
    )
