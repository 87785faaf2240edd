"""What a search costs beside its fits, against scikit-learn's own: `python -m benchmarks.fixed_costs`.

The fits take a millisecond or two, on an X of 2.4 MB, which joblib hands to its processes in a file. Two places: a process with
one thread, in which ours forks, and one with another thread (a notebook; a script that imports xgboost), in which ours uses
joblib's processes as scikit-learn does. In pairs and in turns: a process for each side, the first search of it, then later ones.
"""

import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import numpy as np
import sklearn.model_selection
from sklearn.naive_bayes import GaussianNB

import tuningjob

_RESULTS = Path(__file__).parent / "results" / "fixed-costs.md"
_ROOT = Path(__file__).parents[1]
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
_SIDES = {"scikit-learn": sklearn.model_selection.GridSearchCV, "tuningjob": tuningjob.GridSearchCV}
_PLACES = {"one": "one thread (ours forks)", "more": "more threads (joblib's processes)"}
_HEAD = (
    "| process | search | scikit-learn | tuningjob | more, of each pair: median | least |\n|---|---|---|---|---|---|\n"
)


def serve(side: str, place: str) -> None:
    """Search once for each line on stdin, and say how many seconds it took."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(5_000, 60))
    y = (X[:, 0] > 0).astype(int)
    if place == "more":
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    for _ in sys.stdin:
        search = _SIDES[side](GaussianNB(), {"var_smoothing": [1e-9, 1e-6, 1e-3, 1.0]}, cv=4, n_jobs=2, refit=False)
        began = time.perf_counter()
        search.fit(X, y)
        sys.stdout.write(f"{time.perf_counter() - began}\n")
        sys.stdout.flush()


@contextmanager
def _process(side: str, place: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", f"from benchmarks.fixed_costs import serve; serve({side!r}, {place!r})"]
    with subprocess.Popen(
        command,
        cwd=_ROOT,
        env={**os.environ, **_ONE_THREAD},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        yield process


def _seconds(process: subprocess.Popen[str]) -> float:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("\n")
    process.stdin.flush()
    return float(process.stdout.readline())


def _pairs(place: str, rounds: int, later: int) -> Iterator[tuple[bool, float, float]]:
    """Whether it was the first search of both processes, scikit-learn's seconds, and ours; who begins changes."""
    for turn in range(rounds):
        with _process("scikit-learn", place) as theirs, _process("tuningjob", place) as ours:
            for number in range(1 + later):
                order = (theirs, ours) if (turn + number) % 2 else (ours, theirs)
                seconds = {id(process): _seconds(process) for process in order}
                yield number == 0, seconds[id(theirs)], seconds[id(ours)]


def _row(place: str, search: str, pairs: list[tuple[float, float]]) -> str:
    more = [ours - theirs for theirs, ours in pairs]
    cells = (
        _PLACES[place],
        f"{search}, {len(pairs)} pairs",
        *(f"{statistics.median(side):.3f} s" for side in zip(*pairs, strict=True)),
        f"{statistics.median(more):+.3f} s",
        f"{min(more):+.3f} s",
    )
    return f"| {' | '.join(cells)} |\n"


@click.command()
@click.option("--rounds", default=5, help="Pairs of fresh processes for each place.")
@click.option("--later", default=8, help="Searches in each process after the first.")
@click.option("--date", required=True, help="The day of the measurement, for the heading.")
def main(rounds: int, later: int, date: str) -> None:
    """Measure, and write results/fixed-costs.md."""
    table = _HEAD
    for place in _PLACES:
        grouped: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        for first, theirs, ours in _pairs(place, rounds, later):
            grouped[first].append((theirs, ours))
        for first, pairs in grouped.items():
            table += _row(place, "first" if first else "later", pairs)
            click.echo(table.splitlines()[-1])
    _RESULTS.write_text(
        f"# What a search costs beside its fits\n\n{date}, `python -m benchmarks.fixed_costs --rounds {rounds} --later {later}`: "
        f"16 fits of a millisecond or two on an X of 2.4 MB, `n_jobs=2`, load of the machine {os.getloadavg()[0]:.1f} on "
        f"{os.cpu_count()} cores at the end.\n\n{table}",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
