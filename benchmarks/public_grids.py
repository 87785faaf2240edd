"""Grids as people published them, our search against scikit-learn's: `python -m benchmarks.public_grids`.

`public-grids.json` has the calls: class names and values, read from 13 public repositories of notebooks and books (kaggleScape,
simisimon/kaggle-notebooks, introduction_to_ml_with_python, handson-ml3, ...), those that run on any table of numbers. Values are
as they were written, also those that scikit-learn takes no more (`max_features="auto"`): their fits fail on both sides.

Three sides: scikit-learn, ours in a process with one thread (it forks), and ours in a process with another thread, as a notebook
(joblib's processes). Each grid on each side is a process of its own, in turn with the others, with a time limit. Its first search
is told apart from the later ones. Exit code 1 when a result was not scikit-learn's to the bit.
"""

import gc
import json
import os
import pickle
import re
import select
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from statistics import geometric_mean, median, quantiles
from typing import Any, Final, Self

import click
import sklearn.model_selection
from sklearn.base import is_regressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, make_classification
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

import tuningjob
from benchmarks.answers import as_text
from benchmarks.measure import differences
from benchmarks.report import machine
from benchmarks.searches import N_JOBS
from benchmarks.worth import fits_as_members, oracle

_ROOT: Final = Path(__file__).parents[1]
_GRIDS: Final = Path(__file__).parent / "public-grids.json"
_RESULTS: Final = Path(__file__).parent / "results" / "public-grids.md"
_ONE_THREAD: Final = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
STOCK: Final = "scikit-learn"
FORKED: Final = "forked"
LOKY: Final = "joblib's"
SIDES: Final = (STOCK, FORKED, LOKY)
# Of ensembles' members that scikit-learn fits in a search, all candidates and folds together: above, fewer folds and rows do.
_MOST_MEMBERS: Final = 60_000
_FEW_ROWS: Final = 200
# Repeated once, and then until scikit-learn's searches have taken so long.
_ENOUGH_SECONDS: Final = 5.0
_GRACE_SECONDS: Final = 10.0


@dataclass(frozen=True, kw_only=True)
class Grid:
    """One published call of a search, with data of a suitable kind."""

    number: int
    estimator: Any
    grid: list[dict[str, list[Any]]]
    cv: int
    scoring: str | None
    candidates: list[dict[str, Any]]
    folds: int
    is_small: bool

    @property
    def name(self) -> str:
        """The final estimator, and what is searched."""
        last = self.estimator.steps[-1][1] if isinstance(self.estimator, Pipeline) else self.estimator
        axes = dict.fromkeys(
            name.rsplit("__", 1)[-1] for one in self.grid for name, values in one.items() if len(values) > 1
        )
        return f"{type(last).__name__} × {', '.join(axes) or 'nothing'}"

    def data(self) -> tuple[Any, Any]:
        """A table: of numbers of a like scale, counts for naive Bayes, a hundred columns for many components."""
        last = self.estimator.steps[-1][1] if isinstance(self.estimator, Pipeline) else self.estimator
        if type(last).__module__ == "sklearn.naive_bayes":
            X, y = load_digits(return_X_y=True)
        elif isinstance(self.estimator, Pipeline) and "pca" in self.estimator.named_steps:
            X, y = make_classification(600, 100, n_informative=30, random_state=0)
        elif is_regressor(last):
            X, y = load_diabetes(return_X_y=True)
        else:
            X, y = load_breast_cancer(return_X_y=True)
            X = StandardScaler().fit_transform(X)
        return (X[:_FEW_ROWS], y[:_FEW_ROWS]) if self.is_small else (X, y)

    def search(self, kind: type, X: Any, y: Any) -> Any:  # noqa: ANN401
        """The search, unfitted; where scikit-learn's would take many minutes, by the first of the folds."""
        is_classifier = not is_regressor(self.estimator)
        cv = sklearn.model_selection.check_cv(self.cv, y, classifier=is_classifier)
        splits = list(cv.split(X, y))[: self.folds] if self.folds < self.cv else self.cv
        return kind(self.estimator, self.grid, cv=splits, scoring=self.scoring, n_jobs=N_JOBS, refit=False)


def read() -> list[Grid]:
    """All of them, in the order of the file."""
    return [_grid(number, one) for number, one in enumerate(json.loads(_GRIDS.read_text(encoding="utf-8")))]


def _grid(number: int, one: dict[str, Any]) -> Grid:
    named = one["estimator"]
    is_pipeline = not isinstance(named, str)
    estimator = Pipeline([(name, _made(path)) for name, path in named]) if is_pipeline else _made(named)
    grid = [_seeded(each) for each in one["grid"]]
    candidates = list(sklearn.model_selection.ParameterGrid(grid))
    members = fits_as_members(estimator, candidates)
    folds = min(one["cv"], max(1, _MOST_MEMBERS // members))
    return Grid(
        number=number,
        estimator=estimator,
        grid=grid,
        cv=one["cv"],
        scoring=one["scoring"],
        candidates=candidates,
        folds=folds,
        is_small=members * one["cv"] > _MOST_MEMBERS,
    )


def _made(path: str) -> Any:  # noqa: ANN401
    """With a seed where it has one: without, two searches of scikit-learn's own differ."""
    module, name = path.rsplit(".", 1)
    estimator = getattr(import_module(module), name)()
    if "random_state" in estimator.get_params():
        estimator.set_params(random_state=0)
    if "n_jobs" in estimator.get_params() and module.startswith(("xgboost", "lightgbm")):
        estimator.set_params(n_jobs=1)
    return estimator


def _seeded(grid: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Without None among the seeds: no two fits of it are alike."""
    return {
        name: [value for value in values if value is not None] if name.endswith("random_state") else values
        for name, values in grid.items()
    }


# --- a side's process


@dataclass(frozen=True, kw_only=True)
class Found:
    """One search: its seconds, and what it found, or the beginning of what it raised."""

    seconds: float
    results: dict[str, list[str]]
    error: str | None = None


def serve(side: str, number: int) -> None:
    """Search once for each line on stdin, and answer with what came of it, pickled."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    grid = read()[number]
    if side == LOKY:
        threading.Thread(target=threading.Event().wait, daemon=True).start()
    kind = sklearn.model_selection.GridSearchCV if side == STOCK else tuningjob.GridSearchCV
    X, y = grid.data()
    warnings.simplefilter("ignore")
    for _ in sys.stdin:
        search = grid.search(kind, X, y)
        gc.collect()
        results, error = {}, None
        began = time.perf_counter()
        try:
            search.fit(X, y)
        except ValueError as raised:
            error = str(raised).split("\n", 1)[0]
        seconds = time.perf_counter() - began
        if error is None:
            results = {key: as_text(value) for key, value in search.cv_results_.items() if not key.endswith("_time")}
        pickle.dump(Found(seconds=seconds, results=results, error=error), answers)
        answers.flush()


class _Process:
    """A side's process for one grid, and all that it starts, in a group of their own."""

    def __init__(self, side: str, number: int, limit: float) -> None:
        self.limit = limit
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from benchmarks.public_grids import serve; serve({side!r}, {number})"],
            cwd=_ROOT,
            env={**os.environ, **_ONE_THREAD, "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()  # it ends by itself, and joblib's folder with it
            try:
                process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)

    def search(self) -> Found | None:
        """One search; None if it was not done within the limit, or its process died."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(b"\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], self.limit)[0]:
                return None
            found: Found = pickle.load(process.stdout)
        except (EOFError, BrokenPipeError):
            return None
        return found


# --- what came of it


@dataclass(kw_only=True)
class Row:
    """A grid's measurements: each side's seconds, its first search first."""

    grid: Grid
    seconds: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    problems: list[str] = field(default_factory=list)
    error: str | None = None

    def of(self, side: str, *, first: bool = False) -> float | None:
        """Seconds of a side: of its first search, else the median of the later ones (of the only one, if there was but one)."""
        seconds = self.seconds[side]
        if not seconds:
            return None
        return seconds[0] if first else median(seconds[1:] or seconds)

    def ratio(self, side: str, *, first: bool = False) -> float | None:
        """scikit-learn's seconds ÷ this side's."""
        theirs, ours = self.of(STOCK, first=first), self.of(side, first=first)
        return None if theirs is None or ours is None else theirs / ours

    @property
    def oracle(self) -> float:
        """How much there was to share."""
        return oracle(self.grid.estimator, self.grid.candidates)

    @property
    def part(self) -> float | None:
        """The forked path's ratio ÷ the oracle."""
        ratio = self.ratio(FORKED)
        return None if ratio is None else ratio / self.oracle


def measure(grid: Grid, *, repeat: int, limit: float, sides: Sequence[str]) -> Row:
    """A B C, C B A, ...: each side in a process of its own."""
    row = Row(grid=grid)
    want: Found | None = None
    with ExitStack() as stack:
        processes = {side: stack.enter_context(_Process(side, grid.number, limit)) for side in sides}
        for number in range(1 + repeat):
            for side in sides if number % 2 == 0 else reversed(sides):
                found = processes[side].search()
                if found is None:
                    row.problems.append(f"{side} was not done after {limit:.0f} s, or died")
                    return row
                row.seconds[side].append(found.seconds)
                if want is None:
                    want, row.error = found, found.error
                elif found.error != want.error:
                    row.problems.append(f"{side} raised {found.error!r}, not {want.error!r}")
                else:
                    row.problems += [f"{side}: {line}" for line in differences(want.results, found.results)]
            if number and sum(row.seconds[STOCK]) > _ENOUGH_SECONDS:  # the first alone would also be joblib's start
                break
    return row


def _cells(row: Row) -> list[str]:
    grid = row.grid
    folds = f"{grid.folds}" if grid.folds == grid.cv else f"{grid.folds} of {grid.cv}"
    return [
        f"{grid.number}",
        grid.name,
        f"{len(grid.candidates)} × {folds}{', few rows' if grid.is_small else ''}",
        *(_number(row.of(side), " s") for side in SIDES),
        *(_number(row.ratio(side)) for side in (FORKED, LOKY)),
        *(_number(row.ratio(side, first=True)) for side in (FORKED, LOKY)),
        _number(row.oracle),
        _number(row.part),
        "all fail" if row.error else "no" if row.problems else "yes",
    ]


_HEADINGS: Final = (
    "", "grid", "fits", "scikit-learn", "forked", "joblib's", "ratio, forked", "ratio, joblib's",
    "first, forked", "first, joblib's", "oracle", "ratio ÷ oracle", "exact",
)  # fmt: skip


def summary(rows: Sequence[Row]) -> list[str]:
    """Means, the least, and how the ratios are distributed, for both paths, later searches and first ones."""
    lines = []
    for first, when in ((False, "later searches"), (True, "the first search of a process")):
        for side, path in ((FORKED, "forked"), (LOKY, "joblib's processes")):
            found = (row.ratio(side, first=first) for row in rows if not row.error)
            ratios = [ratio for ratio in found if ratio is not None]
            lines += _distribution(f"{path}, {when}", ratios)
    parts = [part for row in rows if not row.error and (part := row.part) is not None]
    lines += _distribution("ratio ÷ oracle, forked", parts)
    failing = [row for row in rows if row.error]
    if failing:
        lines.append(
            f"Of {len(failing)} grids every fit fails today, with scikit-learn's error on all sides; they count in no mean."
        )
    problems = [f"{row.grid.number} {row.grid.name}: {problem}" for row in rows for problem in row.problems]
    return [*lines, *(problems or ["Every result was equal to scikit-learn's to the bit."])]


def _distribution(name: str, ratios: Sequence[float]) -> list[str]:
    if len(ratios) < 2:
        return []
    tenths = quantiles(ratios, n=10)
    spread = ", ".join(f"{tenths[at]:.2f}" for at in (0, 2, 4, 6, 8))
    below = sum(ratio < 1 for ratio in ratios)
    mean = f"geometric mean {geometric_mean(ratios):.2f} of {len(ratios)}, least {min(ratios):.2f}, below 1.0: {below}"
    return [f"{name}: {mean}; tenths 1, 3, 5, 7, 9: {spread}; most {max(ratios):.1f}."]


def markdown(rows: Sequence[Row], *, date: str, repeat: int) -> str:
    """The page of results."""
    table = [list(_HEADINGS), ["---:", "---"] + ["---:"] * (len(_HEADINGS) - 2), *map(_cells, rows)]
    parts = [
        "# Public grids against scikit-learn's search",
        (
            f"Made by `python -m benchmarks.public_grids --repeat {repeat} --date {date}`; do not edit. "
            f"Machine: {machine()}; load {os.getloadavg()[0]:.1f} at the end. {len(rows)} of {len(read())} grids."
        ),
        "\n".join(f"| {' | '.join(cells)} |" for cells in table),
        "\n".join(f"- {line}" for line in summary(rows)),
        _HOW.format(repeat=repeat, enough=_ENOUGH_SECONDS, members=f"{_MOST_MEMBERS:,}", rows=_FEW_ROWS),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


_HOW: Final = """\
How it was measured: `n_jobs=2` and `refit=False` on all sides, one BLAS and OpenMP thread; each grid on each side in a process of
its own, in turn (A B C, C B A, …). Seconds and ratios are medians of {repeat} searches after the first, or of as few as one once
scikit-learn's have taken {enough:.0f} s. **first** is the first search of a process, in which joblib's processes start. Data are
scikit-learn's, of a suitable kind; estimators have a seed. Where scikit-learn would fit more than {members} members of ensembles,
the table has {rows} rows, and only the first folds are searched.

**oracle**: the candidates' work ÷ the work that differs, by a model that `benchmarks/worth.py` states: members of ensembles,
distinct fits; fits that fail cost nothing. It counts neither overhead nor scoring, nor depths that no tree reaches: a yardstick,
not a bound.
"""


def _number(value: float | None, unit: str = "") -> str:
    return "–" if value is None else f"{value:.2f}{unit}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--only", metavar="PATTERN", default="", help="Grids whose number and name this regular expression finds."
)
@click.option("--repeat", type=click.IntRange(min=0), default=5, show_default=True, help="Searches after the first.")
@click.option("--limit", type=float, default=300.0, show_default=True, help="Seconds for one search.")
@click.option(
    "--side", "sides", multiple=True, type=click.Choice(SIDES[1:]), help="Ours on this path; both by default."
)
@click.option("--date", help="The day, for the page; without it none is written.")
def main(*, only: str, repeat: int, limit: float, sides: tuple[str, ...], date: str | None) -> None:
    """Measure, hold every result to scikit-learn's bits, and write results/public-grids.md."""
    rows: list[Row] = []
    for row in _rows(only, repeat=repeat, limit=limit, sides=(STOCK, *(sides or SIDES[1:]))):
        rows.append(row)
        click.echo(f"{' · '.join(_cells(row))} {'; '.join(row.problems)}")
        if date is not None:
            _RESULTS.write_text(markdown(rows, date=date, repeat=repeat), encoding="utf-8")
    for line in summary(rows):
        click.echo(line)
    sys.exit(1 if any(row.problems for row in rows) else 0)


def _rows(only: str, *, repeat: int, limit: float, sides: Sequence[str]) -> Iterator[Row]:
    for grid in read():
        if re.search(only, f"{grid.number} {grid.name}", re.IGNORECASE):
            yield measure(grid, repeat=repeat, limit=limit, sides=sides)


if __name__ == "__main__":
    main()
