"""What a model weighs and how long it takes to write and load, by compression: ``python -m benchmarks.compression``.

Prints docs/artifacts.md's table. Each load is a process of its own, with the file in the page cache; its memory is what
that process has for itself alone afterwards (``RssAnon``), which is what a second one on the same machine costs.
"""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from tuningjob.threads import cap_threads

cap_threads()

# ruff: noqa: E402  the caps come before numpy
import joblib
from sklearn.base import BaseEstimator
from sklearn.datasets import load_digits, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tuningjob.search.results import dump_model

if TYPE_CHECKING:
    from multiprocessing.connection import Connection

COMPRESSIONS = ("none", "lz4", "gzip", "xz")
REPEATS = 3


def forest() -> BaseEstimator:
    X, y = make_classification(20_000, 30, n_informative=15, random_state=0)
    return RandomForestClassifier(200, random_state=0, n_jobs=2).fit(X, y)


def boosting() -> BaseEstimator:
    X, y = make_classification(20_000, 30, n_informative=15, random_state=0)
    return HistGradientBoostingClassifier(max_iter=300, random_state=0).fit(X, y)


def vectors() -> BaseEstimator:
    X, y = make_classification(20_000, 60, n_informative=20, random_state=0)
    return make_pipeline(StandardScaler(), SVC()).fit(X, y)


def neighbors() -> BaseEstimator:
    X, y = make_classification(30_000, 100, n_informative=20, random_state=0)
    return KNeighborsClassifier(algorithm="brute").fit(X, y)


def digits() -> BaseEstimator:
    return KNeighborsClassifier(algorithm="brute").fit(*load_digits(return_X_y=True))


MODELS: dict[str, Callable[[], BaseEstimator]] = {
    "random forest, 200 trees": forest,
    "gradient boosting, 300 iterations": boosting,
    "scaled SVC": vectors,
    "neighbours, 30,000 × 100 random numbers": neighbors,
    "neighbours, 1,797 × 64 digits": digits,
}


def seconds_of(action: Callable[[], object]) -> float:
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        action()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def private_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) * 1024


def loaded(path: Path, mmap_mode: str | None, told: "Connection[tuple[float, int], None]") -> None:
    """In a process of its own: seconds of a load, and the private memory that the first one left."""
    before = private_bytes()
    model = joblib.load(path, mmap_mode=mmap_mode)
    held = private_bytes() - before
    del model
    told.send((seconds_of(lambda: joblib.load(path, mmap_mode=mmap_mode)), held))


def load_apart(path: Path, mmap_mode: str | None = None) -> tuple[float, int]:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=loaded, args=(path, mmap_mode, theirs))
    process.start()
    answer: tuple[float, int] = ours.recv()
    process.join()
    return answer


def lines(name: str, model: BaseEstimator, folder: Path) -> Iterator[str]:
    for compression in COMPRESSIONS:
        path = folder / f"{compression}.joblib"
        written = seconds_of(partial(dump_model, model, path, compression))
        size = f"{path.stat().st_size / 1e6:,.2f} | {written * 1e3:,.0f}"
        yield line(f"{name} | {compression} | {size}", *load_apart(path))
        if compression == "none":
            yield line(f"{name} | none, mapped | |", *load_apart(path, "r"))


def line(begin: str, load_seconds: float, held_bytes: int) -> str:
    return f"| {begin} | {load_seconds * 1e3:,.1f} | {held_bytes / 1e6:,.1f} |"


def main() -> None:
    print("| model | compression | MB | ms to write | ms to load | MB of its own |\n|---|---|--:|--:|--:|--:|")
    for name, fit in MODELS.items():
        model = fit()
        with tempfile.TemporaryDirectory() as folder:
            for each in lines(name, model, Path(folder)):
                print(each, flush=True)


if __name__ == "__main__":
    main()
