"""Whatever backend of joblib's a user chooses: scikit-learn's results, and nothing left behind. Real processes, real signals."""

import contextlib
import gc
import os
import pickle
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import joblib
import numpy as np
import pytest
from joblib.externals.loky.process_executor import ProcessPoolExecutor, _ExecutorManagerThread
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV as Theirs
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from tests.engine.compare import assert_same_results, assert_same_search
from tests.engine.fresh import in_a_fresh_process
from tests.processes import children_of
from tuningjob import GridSearchCV
from tuningjob.errors import WorkerDied

X, y = (data[::3] for data in load_iris(return_X_y=True))
wide = np.repeat(X, 3_000, axis=1)  # more than the megabyte from which joblib puts arrays into files
pipeline = Pipeline([("scale", StandardScaler()), ("model", LogisticRegression(max_iter=1_000))])
grid = {"scale__with_mean": [True, False], "model__C": [0.1, 1.0]}


class Troublesome(ClassifierMixin, BaseEstimator):
    """Harms its process as its parameter says."""

    def __init__(self, trouble: Callable[[], object] | None = None, level: int = 0) -> None:
        self.trouble = trouble
        self.level = level

    def fit(self, X: Any, y: Any) -> "Troublesome":
        if self.trouble is not None:
            self.trouble()
        self.classes_ = np.unique(y)
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.classes_[0])


def exit_with_seven() -> None:
    os._exit(7)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def fail() -> None:
    raise ValueError("no such luck")


def interrupt_the_search() -> None:
    """Ctrl-C, as a terminal gives it to the user's process."""
    os.kill(int(os.environ["THE_SEARCH"]), signal.SIGINT)
    time.sleep(60)  # it is ended long before


@contextlib.contextmanager
def a_thread() -> Iterator[None]:
    """As in a notebook: nothing may be forked."""
    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def files_in_memory() -> list[str]:
    """Joblib's temporary files and semaphores of this process (empty folders are left by joblib itself until the end)."""
    shared = Path("/dev/shm")
    folders = shared.glob(f"joblib_memmapping_folder_{os.getpid()}_*")
    return [
        str(path) for path in (*(file for folder in folders for file in folder.iterdir()), *shared.glob("sem.mp-*"))
    ]


def maps_of_joblibs(pid: int) -> list[str]:
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8")
    except OSError:  # it has gone
        return []
    return [line for line in maps.splitlines() if "joblib_memmapping_folder" in line]


def descriptors() -> Counter[str]:
    """What is open, by its kind."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return Counter(str(link.readlink()).split(":[")[0] for link in links)


# ---- results


def assert_same_with(backend: str, **settings: Any) -> None:
    with joblib.parallel_config(backend=backend):
        assert_same_search(pipeline, grid, X, y, n_jobs=2, cv=2, return_train_score=True, **settings)
        assert_same_search(
            pipeline, grid, X, y, n_jobs=2, cv=2, scoring=["accuracy", "f1_macro"], refit=False, **settings
        )


@pytest.mark.slow
@in_a_fresh_process
def test_a_pool_of_multiprocessing_gives_the_same_results_and_is_ended() -> None:
    assert_same_with("multiprocessing")
    with joblib.parallel_config(backend="multiprocessing"), pytest.raises(ValueError, match="no such luck"):
        GridSearchCV(Troublesome(), {"trouble": [fail]}, cv=2, n_jobs=2, error_score="raise").fit(X, y)
    trackers = [pid for pid in children_of(os.getpid()) if "resource_tracker" in command_of(pid)]
    assert children_of(os.getpid()) == trackers


def command_of(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8")


@pytest.mark.slow
@in_a_fresh_process
def test_threads_and_no_processes_give_the_same_results() -> None:
    assert_same_with("threading")
    assert_same_with("sequential")


@pytest.mark.slow
@in_a_fresh_process
def test_joblibs_own_processes_give_the_same_results() -> None:
    with a_thread():
        assert_same_with("loky")


@pytest.mark.parametrize("pre_dispatch", [0, "0", "n_jobs-2", "0.5*1", -1, "-n_jobs", "1/0", "many", ""])
def test_a_pre_dispatch_that_comes_to_nothing_is_told_as_by_scikit_learn(pre_dispatch: Any) -> None:
    told = []
    for search in (Theirs, GridSearchCV):
        with joblib.parallel_config(backend="threading"), pytest.raises(Exception) as caught:  # noqa: PT011
            search(GaussianNB(), {}, cv=2, n_jobs=2, pre_dispatch=pre_dispatch).fit(X, y)
        told.append((caught.type, str(caught.value)))
    assert told[0] == told[1]


@pytest.mark.slow
@in_a_fresh_process
def test_a_pre_dispatch_is_looked_at_where_processes_are_forked() -> None:
    with pytest.raises(ValueError, match="No fits were performed"):
        GridSearchCV(GaussianNB(), {}, cv=2, n_jobs=2, pre_dispatch="0").fit(X, y)
    for pre_dispatch in (1, "all", "3*n_jobs"):
        assert_same_search(pipeline, grid, X, y, n_jobs=2, cv=2, pre_dispatch=pre_dispatch)


@pytest.mark.slow
def test_a_search_is_cloned_pickled_and_shown_as_scikit_learns() -> None:
    ours, theirs = (search(pipeline, grid, cv=2, n_jobs=1) for search in (GridSearchCV, Theirs))
    assert repr(ours) == repr(theirs)
    assert clone(ours).get_params().keys() - {"prune"} == theirs.get_params().keys()
    fitted = pickle.loads(pickle.dumps(ours.fit(X, y)))
    assert_same_results(fitted.cv_results_, theirs.fit(X, y).cv_results_)
    assert (fitted.predict(X) == theirs.predict(X)).all()
    assert pickle.loads(pickle.dumps(ours.best_estimator_)).score(X, y) == theirs.best_estimator_.score(X, y)
    assert repr(clone(fitted)) == repr(theirs)
    assert not hasattr(clone(fitted), "cv_results_")


# ---- how a process ended


def told_of(trouble: Callable[[], object]) -> str:
    with pytest.raises(WorkerDied) as caught:
        GridSearchCV(Troublesome(), {"trouble": [trouble]}, cv=2, n_jobs=2).fit(X, y)
    return str(caught.value)


@pytest.mark.slow
@in_a_fresh_process
def test_a_forked_process_that_ends_is_told_with_its_exit_code_and_memory_is_named_for_sigkill_alone() -> None:
    assert "by something that the fit calls: it exited with code 7" in told_of(exit_with_seven)
    assert "it was killed by SIGSEGV" in told_of(crash)
    assert "from outside (it was killed by SIGKILL, mostly for lack of memory)" in told_of(die)
    assert children_of(os.getpid()) == trackers()
    assert_same_search(pipeline, grid, X, y, n_jobs=2, cv=2)


def trackers() -> list[int]:
    return [pid for pid in children_of(os.getpid()) if "resource_tracker" in command_of(pid)]


# ---- what is left


@pytest.mark.slow
@in_a_fresh_process
def test_of_a_search_by_joblibs_processes_no_file_stays_and_nobody_waits_for_one() -> None:
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        time.sleep(seconds)

    with a_thread(), patch("joblib.disk.time", SimpleNamespace(sleep=sleep)):
        for _ in range(3):
            pauses.clear()
            GridSearchCV(GaussianNB(), {"var_smoothing": [1e-9, 1e-3, 1.0]}, cv=3, n_jobs=2).fit(wide, y)
            # joblib gives up after ten; a few are its tracker's, who takes a message to remove a file
            assert len(pauses) < 5
            assert files_in_memory() == []
            assert [pid for pid in children_of(os.getpid()) if maps_of_joblibs(pid)] == []


once = [(range(0, len(X), 2), range(1, len(X), 2))]  # one fit, so one Ctrl-C


def assert_nothing_is_left_by_joblib(
    trouble: Callable[[], object], raised: type[BaseException], match: str | None = None
) -> None:
    with a_thread(), pytest.raises(raised, match=match):
        GridSearchCV(Troublesome(), {"trouble": [trouble]}, cv=once, n_jobs=2, error_score="raise").fit(wide, y)
    # joblib's tracker removes them, a process of its own that hears of it when the search has ended
    deadline = time.monotonic() + 10
    while files_in_memory() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert files_in_memory() == []
    assert [pid for pid in children_of(os.getpid()) if maps_of_joblibs(pid)] == []


@pytest.mark.slow
@in_a_fresh_process
def test_of_a_search_by_joblibs_processes_nothing_stays_after_a_fit_that_fails_dies_or_is_interrupted() -> None:
    """And of a process that has died its exit code is told."""
    os.environ["THE_SEARCH"] = str(os.getpid())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_nothing_is_left_by_joblib(fail, ValueError, "no such luck")
        assert_nothing_is_left_by_joblib(exit_with_seven, WorkerDied, "it exited with code 7")
        assert_nothing_is_left_by_joblib(die, WorkerDied, "mostly for lack of memory")
        assert_nothing_is_left_by_joblib(interrupt_the_search, KeyboardInterrupt)
    sys.stderr.flush()


def interrupted(times: int, call: Callable[..., Any]) -> Callable[..., Any]:
    """The call, with a Ctrl-C at its beginning, so many times."""
    interrupts = iter(range(times))

    def calling(*arguments: Any, **options: Any) -> Any:
        for _ in interrupts:
            signal.raise_signal(signal.SIGINT)
        return call(*arguments, **options)

    return calling


@pytest.mark.slow
@in_a_fresh_process
def test_of_a_search_by_joblibs_processes_nothing_stays_when_ctrl_c_comes_again_while_they_are_ended() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["THE_SEARCH"] = str(os.getpid())
    kill_workers = _ExecutorManagerThread.kill_workers

    def interrupt_who_waits(thread: Any, reason: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.3)  # who does not wait for the killing any more comes too early
        kill_workers(thread, reason)

    with (
        patch.object(ProcessPoolExecutor, "shutdown", interrupted(2, ProcessPoolExecutor.shutdown)),
        patch.object(_ExecutorManagerThread, "kill_workers", interrupt_who_waits),
        a_thread(),
        pytest.raises(KeyboardInterrupt),
    ):
        GridSearchCV(Troublesome(), {"trouble": [interrupt_the_search]}, cv=once, n_jobs=2).fit(wide, y)
    assert children_of(os.getpid()) == trackers()
    assert files_in_memory() == []


@pytest.mark.slow
@in_a_fresh_process
def test_of_a_search_in_forked_processes_nothing_stays_after_a_fit_that_fails_dies_or_is_interrupted() -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ["THE_SEARCH"] = str(os.getpid())
    gc.collect()
    before = descriptors()
    for trouble, raised in ((fail, ValueError), (die, WorkerDied), (interrupt_the_search, KeyboardInterrupt)):
        with pytest.raises(raised):
            GridSearchCV(Troublesome(), {"trouble": [trouble]}, cv=once, n_jobs=2, error_score="raise").fit(wide, y)
        assert children_of(os.getpid()) == trackers()
        assert files_in_memory() == []
    with pytest.raises(KeyboardInterrupt), patch("os.waitpid", interrupted(2, os.waitpid)):
        GridSearchCV(Troublesome(), {"trouble": [fail]}, cv=once, n_jobs=2, error_score="raise").fit(wide, y)
    assert children_of(os.getpid()) == trackers()
    gc.collect()
    assert set(descriptors() - before) <= {"pipe"}  # the way to joblib's tracker
