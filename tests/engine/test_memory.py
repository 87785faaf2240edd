"""Peak memory: one X, the rows of the folds in use, and little for each process."""

import os
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from sklearn.model_selection import KFold, ShuffleSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from tests.conftest import ROOT
from tests.engine.fresh import in_a_fresh_process
from tests.engine.test_backends import a_thread
from tests.processes import children_of
from tuningjob import GridSearchCV
from tuningjob.engine import Work, held_bytes
from tuningjob.manifest.wellknown import THREAD_CAPS

GB = 1e9
# An interpreter with scikit-learn and pandas, and four forks of it with what each has for itself.
PROCESSES = 0.35 * GB


def peak_bytes(splitter: str, X: float) -> tuple[float, str]:
    """The most memory that a search and all its processes had (proportional: shared pages once), and what it printed."""
    search = subprocess.Popen(
        [sys.executable, "-m", "tests.engine.memory_of_a_search", splitter, str(X)],
        cwd=ROOT,
        env={**os.environ, **dict.fromkeys(THREAD_CAPS, "1")},
        stdout=subprocess.PIPE,
        text=True,
    )
    peak, pause = 0.0, 0.05
    while True:
        try:
            printed, _ = search.communicate(timeout=pause)
        except subprocess.TimeoutExpired:
            began = time.monotonic()
            peak = max(peak, sum(map(proportional, tree(search.pid))))
            # the kernel goes through all pages of all processes for it: that must not take longer than the search
            pause = max(0.05, 3 * (time.monotonic() - began))
        else:
            assert search.returncode == 0
            return peak, printed.strip()


def tree(pid: int) -> list[int]:
    try:
        return [pid, *(inner for child in children_of(pid) for inner in tree(child))]
    except OSError:  # it is gone
        return []


def proportional(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it is gone
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def test_what_is_held_is_told_before_it_begins() -> None:
    rows = np.zeros((1_000, 1_000))
    splits = list(KFold(5).split(rows))
    searched = Work(estimator=GaussianNB(), candidates=[{}], X=rows, y=np.zeros(1_000), splits=splits, scorer=None)
    # two folds at a time, cut once for all; a small X is cut by each process
    assert held_bytes(searched, 4) == 8_000_000 + 8_000 + 2 * 8_000_000
    assert held_bytes(replace(searched, X=rows[:, :10].copy()), 4) == 80_000 + 8_000 + 4 * 80_000
    pipeline = Pipeline([("scale", StandardScaler()), ("model", GaussianNB())])
    assert held_bytes(replace(searched, estimator=pipeline), 4) == 24_008_000 + 4 * 64 * 2**20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("splitter", "X", "cells", "rows"),
    [
        # rows that lie together are no copy at all
        ("halves", 0.25 * GB, 8, 0),
        # two folds are in use while one ends and the next begins; four processes with rows of their own would have 4 of 0.25 GB
        ("fifths", 0.25 * GB, 20, 2),
    ],
)
def test_four_processes_share_x_and_the_rows_of_a_fold(splitter: str, X: float, cells: int, rows: float) -> None:
    peak, printed = peak_bytes(splitter, X)
    assert printed == str(cells)
    assert X < peak < X + rows * X + PROCESSES


def mapped_search() -> None:
    """X of 32 MB in a file: what the search's own process allocates is a small part of it."""
    with TemporaryDirectory() as folder:
        rows = np.lib.format.open_memmap(f"{folder}/x.npy", "w+", float, (8_000, 500))
        rows[:] = np.random.default_rng(0).random(rows.shape)
        rows.flush()
        X = np.load(f"{folder}/x.npy", mmap_mode="r")
        splits = ShuffleSplit(2, train_size=0.1, test_size=0.05, random_state=0)
        search = GridSearchCV(GaussianNB(), {"var_smoothing": [1e-9, 1e-3]}, cv=splits, n_jobs=2, refit=False)
        tracemalloc.start()
        search.fit(X, np.arange(len(X)) % 2)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < X.nbytes / 8


@pytest.mark.slow
@in_a_fresh_process
def test_x_of_a_file_is_not_copied_in_the_process_of_the_search() -> None:
    mapped_search()


@pytest.mark.slow
@in_a_fresh_process
def test_x_of_a_file_is_not_copied_for_joblibs_processes() -> None:
    with a_thread():
        mapped_search()
