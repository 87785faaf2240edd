"""Tasks that a process and its forks take from one list. Real forks, real signals."""

import errno
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from unittest.mock import patch

import numpy as np
import pytest
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV as Theirs
from sklearn.neighbors import KNeighborsClassifier

from tests.engine.compare import assert_same_search
from tests.engine.fresh import in_a_fresh_process
from tests.engine.pools import descriptors
from tests.processes import children_of
from tuningjob import GridSearchCV
from tuningjob.engine.processes import MOST_TASKS, run_together, seconds_of_a_fork

X, y = (data[::3] for data in load_iris(return_X_y=True))


class Rendezvous:
    """Tasks 0 and 1 wait for each other, so two processes must have taken them. Run again, they do not wait."""

    def __init__(self) -> None:
        self._pipes = (os.pipe(), os.pipe())
        self._has_met = False

    def meet(self, task: int) -> None:
        if task < 2 and not self._has_met:
            self._has_met = True
            os.write(self._pipes[task][1], b"!")
            os.read(self._pipes[1 - task][0], 1)


def in_two(do: Callable[[int, bool], int], tasks: int = 6) -> list[int]:
    """The values of ``do``, of which each of two processes runs at least one; it is told whether it is in the fork."""
    parent, both = os.getpid(), Rendezvous()

    def run(task: int) -> int:
        both.meet(task)
        return do(task, os.getpid() != parent)

    return run_together(run, range(tasks), 1)


@in_a_fresh_process
def test_every_value_comes_in_its_tasks_order_from_this_process_and_its_forks() -> None:
    before = descriptors()
    pids = run_together(lambda _: os.getpid(), range(MOST_TASKS), 3)
    assert len(pids) == MOST_TASKS
    assert {True, False} == set(map(bool, in_two(lambda _, forked: forked)))
    assert in_two(lambda task, _: task * task) == [0, 1, 4, 9, 16, 25]
    assert run_together(lambda task: task, range(3), 0) == [0, 1, 2]
    assert children_of(os.getpid()) == []
    assert len(descriptors()) == len(before) + 8, "those of two rendezvous"


@in_a_fresh_process
def test_what_a_fork_that_is_killed_has_taken_is_run_here() -> None:
    def do(task: int, forked: bool) -> int:
        if forked:
            os.kill(os.getpid(), signal.SIGKILL)
        return task

    assert in_two(do) == list(range(6))
    assert children_of(os.getpid()) == []


@in_a_fresh_process
def test_what_raises_in_a_fork_alone_is_run_here() -> None:
    def do(task: int, forked: bool) -> int:
        if forked and task < 2:
            raise ValueError("only there")
        return task

    assert in_two(do) == list(range(6))


@in_a_fresh_process
def test_an_error_is_the_tasks_own_wherever_it_was_raised() -> None:
    def do(task: int, _forked: bool) -> int:
        if task < 2:
            raise ValueError(f"task {task}")
        return task

    with pytest.raises(ValueError, match=r"task [01]"):
        in_two(do)
    with pytest.raises(ValueError, match="task 0"):
        in_two(lambda task, forked: do(task, forked) if task == 0 else task)
    with pytest.raises(ValueError, match="task 1"):
        in_two(lambda task, forked: do(task, forked) if task == 1 else task)
    assert children_of(os.getpid()) == []


@in_a_fresh_process
def test_ctrl_c_leaves_no_fork_however_long_its_task_takes() -> None:
    def do(_task: int, forked: bool) -> int:
        if forked:
            while True:
                signal.pause()
        os.kill(os.getpid(), signal.SIGINT)
        return 0

    with pytest.raises(KeyboardInterrupt):
        in_two(do)
    assert children_of(os.getpid()) == []


@in_a_fresh_process
def test_ctrl_c_while_forks_are_made_leaves_none() -> None:
    """It comes right after the first fork, before anything knows of it."""
    fork = os.fork

    def interrupted() -> int:
        pid = fork()
        if pid:
            os.kill(os.getpid(), signal.SIGINT)
        return pid

    with patch("os.fork", interrupted), pytest.raises(KeyboardInterrupt):
        run_together(lambda task: task, range(4), 2)
    assert children_of(os.getpid()) == []


@in_a_fresh_process
def test_if_nothing_can_be_forked_this_process_does_it_all() -> None:
    before = len(descriptors())
    with patch("os.fork", side_effect=OSError(errno.EAGAIN, "too many")):
        assert run_together(lambda task: task, range(4), 2) == [0, 1, 2, 3]
    assert len(descriptors()) == before


@in_a_fresh_process
def test_a_fork_runs_within_what_it_is_given_and_writes_what_was_buffered_once() -> None:
    read, write = os.pipe()

    @contextmanager
    def around() -> Iterator[None]:
        os.write(write, b"(")
        yield
        os.write(write, b")")

    with os.fdopen(os.dup(write), "w") as buffered, patch.object(sys, "stdout", buffered):
        buffered.write("one,")
        run_together(lambda task: task, range(2), 2, around_fork=around)
    os.close(write)
    with os.fdopen(read) as written:
        said = written.read()
    assert said.startswith("one,")
    assert sorted(said[4:]) == ["(", "(", ")", ")"]


@in_a_fresh_process
def test_a_fork_costs_the_fewest_seconds_that_the_last_ones_took() -> None:
    """A fork that takes long is one of a process with much memory, or of a busy machine; one that did not has shown the cost."""
    before = seconds_of_a_fork()
    fork, delays = os.fork, iter([0.3, 0.2, 0.25])

    def slow() -> int:
        until = time.monotonic() + next(delays)
        while time.monotonic() < until:
            pass
        return fork()

    with patch("os.fork", slow):
        run_together(lambda task: task, range(4), 3)
    assert before < 0.1
    assert 0.2 <= seconds_of_a_fork() < 0.3


def test_more_tasks_than_a_pipe_takes_at_once_are_refused() -> None:
    with pytest.raises(ValueError, match=f"tasks must be at most {MOST_TASKS}, but got {MOST_TASKS + 1}"):
        run_together(str, range(MOST_TASKS + 1), 1)


# ---- searches ----


def forks_of(search: Callable[[], object]) -> int:
    """How many forks a search makes, at a price at which a few are worth it and a pool is not."""
    made: list[None] = []
    fork = os.fork

    def counted() -> int:
        made.append(None)
        return fork()

    with (
        patch("os.fork", counted),
        patch("tuningjob.engine.search_cv.price_of", return_value=10.0),
        patch("tuningjob.engine.brief._COPIED_SECONDS", 0.0),
        patch("tuningjob.engine.brief.seconds_of_a_fork", return_value=0.0),
    ):
        search()
    return len(made)


@pytest.mark.slow
@in_a_fresh_process
def test_a_search_whose_candidates_have_nothing_in_common_is_shared_after_its_first_fit() -> None:
    def search() -> None:
        grid = {"C": [0.1, 1.0, 10.0, 100.0]}
        assert_same_search(LogisticRegression(max_iter=20), grid, X, y, n_jobs=3, cv=3, return_train_score=True)

    with patch("tuningjob.engine.search_cv.allowed_cpus", return_value=3):
        assert forks_of(search) == 2, forks_of(search)


@pytest.mark.slow
@in_a_fresh_process
def test_a_search_whose_candidates_share_is_shared_after_its_first_split() -> None:
    searched = []

    def search() -> None:
        grid = {"n_neighbors": [1, 2, 3], "weights": ["uniform", "distance"]}
        searched.append(GridSearchCV(KNeighborsClassifier(), grid, cv=4, n_jobs=2, refit=False).fit(X, y))
        theirs = Theirs(KNeighborsClassifier(), grid, cv=4, refit=False).fit(X, y)
        assert all(
            np.array_equal(searched[0].cv_results_[key], theirs.cv_results_[key])
            for key in theirs.cv_results_
            if key.endswith("score")
        )

    assert forks_of(search) == 1
    assert searched[0].guard.groups > 0, "the guard has looked at the first split"


@pytest.mark.slow
@in_a_fresh_process
def test_warnings_of_a_fork_are_written_where_those_of_a_process_of_its_own_would_be() -> None:
    read, write = os.pipe()
    stderr = os.dup(2)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        os.dup2(write, 2)
        search = GridSearchCV(LogisticRegression(max_iter=1), {"C": [1.0, 2.0, 3.0]}, cv=2, n_jobs=2, refit=False)
        forks = forks_of(lambda: search.fit(X, y))
        os.dup2(stderr, 2)
    assert forks == 1
    assert told == []
    assert os.read(read, 2**16).count(b"ConvergenceWarning: ") == 6
