"""What it would save to do once what the fits of a fold begin with, whatever their trees: `python -m benchmarks.beginnings`.

scikit-learn's histogram boosting bins its rows, XGBoost makes a QuantileDMatrix. The fits of one fold of five are made as they
are, and their beginnings timed: what is left for a rule follows from that. Processor's seconds, because others may be at work.
"""

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
from sklearn.base import BaseEstimator, clone
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from threadpoolctl import threadpool_limits
from xgboost import XGBClassifier

_RESULTS: Final = Path(__file__).parent / "results" / "beginnings.md"
_SIZES: Final = ((1_000, 20), (20_000, 30))
_FOLDS: Final = 5
_RATES: Final = (0.03, 0.1, 0.3)
_FEWEST, _MOST = 100, 300  # stages
_SEARCHES: Final = ("3 rates × 3 trees × 100, 200, 300 stages", "3 rates × 3 trees", "2 rates")
_FIRST: Final = (np.eye(40), np.eye(40), np.arange(40) % 2, np.arange(40) % 2)
_HEAD: Final = (
    "| fits of | X | search | fits and scores of a fold | of it beginnings | a rule would save | with the guard's fit |\n"
    "|---|---|---|---|---|---|---|\n"
)


@dataclass(frozen=True)
class _Boosting:
    """An estimator, what its stages and its trees' sizes are called, the sizes, and the method that its fits begin with."""

    name: str
    estimator: BaseEstimator
    stages: str
    trees: str
    sizes: tuple[int, int, int]
    beginning: str


_BOOSTINGS: Final = (
    _Boosting(
        "HistGradientBoostingClassifier",
        HistGradientBoostingClassifier(random_state=0),
        "max_iter",
        "max_leaf_nodes",
        (7, 15, 31),
        "_bin_data",
    ),
    _Boosting(
        "XGBClassifier",
        XGBClassifier(n_jobs=1, random_state=0),
        "n_estimators",
        "max_depth",
        (3, 5, 7),
        "_create_dmatrix",
    ),
)


@dataclass(frozen=True)
class _Fit:
    """The seconds of a fit and its score, and those of them for its beginning."""

    seconds: float
    beginning: float


@dataclass(frozen=True)
class _Found:
    """A search's fits and scores on one fold, and what a rule would leave out of them.

    ``guarded``: the part of the search that the guard's plain fit takes, if nothing else in the search has one.
    """

    seconds: float
    beginnings: float
    saved: float
    guarded: float

    @classmethod
    def of(cls, fits: Sequence[_Fit], *, plain: float = 0.0) -> "_Found":
        """Of candidates that are fitted one by one, and ``plain`` seconds of the guard's fits that there are anyway."""
        seconds = sum(fit.seconds for fit in fits) + plain
        beginnings = sum(fit.beginning for fit in fits)
        saved = beginnings * (1 - 1 / len(fits)) / seconds
        return cls(seconds, beginnings / seconds, saved, 0.0 if plain else 1 / (len(fits) * _FOLDS))


_Measured = dict[tuple[_Boosting, tuple[int, int]], list[tuple[_Found, ...]]]


def _fit(boosting: _Boosting, parameters: dict[str, Any], data: Sequence[Any]) -> _Fit:
    X, X_test, y, y_test = data
    estimator = clone(boosting.estimator).set_params(**parameters)
    own = getattr(estimator, boosting.beginning)
    spent = []

    def begin(*given: Any, **named: Any) -> Any:  # noqa: ANN401
        began = time.process_time()
        made = own(*given, **named)
        spent.append(time.process_time() - began)
        return made

    setattr(estimator, boosting.beginning, begin)
    began = time.process_time()
    estimator.fit(X, y).score(X_test, y_test)
    return _Fit(time.process_time() - began, spent[0])  # validation rows, too, are binned, and not by a rule


def _measure(boosting: _Boosting, rows: int, columns: int) -> tuple[_Found, ...]:
    X, y = make_classification(rows, columns, n_informative=columns // 2, random_state=0)
    cut = rows - rows // _FOLDS
    data = X[:cut], X[cut:], y[:cut], y[cut:]
    grid = [{"learning_rate": rate, boosting.trees: size} for rate in _RATES for size in boosting.sizes]
    fewest = [_fit(boosting, {**parameters, boosting.stages: _FEWEST}, data) for parameters in grid]
    most = [_fit(boosting, {**parameters, boosting.stages: _MOST}, data) for parameters in grid]
    # one fit serves all stages; the guard has a plain one for each in the whole search, which is most often of the fewest
    plain = sum(fit.seconds for fit in fewest) / _FOLDS
    two = [fewest[number * len(boosting.sizes) + 1] for number in range(2)]
    return _Found.of(most, plain=plain), _Found.of(fewest), _Found.of(two)


def _row(boosting: _Boosting, size: tuple[int, int], search: str, rounds: Sequence[_Found]) -> str:
    saved = [found.saved for found in rounds]
    left = [found.saved - found.guarded for found in rounds]
    cells = (
        boosting.name,
        f"{size[0]:,} × {size[1]}",
        search,
        f"{statistics.median(found.seconds for found in rounds):.2f} s",
        f"{statistics.median(found.beginnings for found in rounds):.1%}",
        _with_spread(saved),
        _with_spread(left),
    )
    return f"| {' | '.join(cells)} |\n"


def _with_spread(parts: Sequence[float]) -> str:
    return f"{statistics.median(parts):.1%} [{min(parts):.1%} to {max(parts):.1%}]"


@click.command()
@click.option("--rounds", default=3, help="How often each fit is made.")
@click.option("--date", required=True, help="The day of the measurement, for the heading.")
def main(rounds: int, date: str) -> None:
    """Measure, and write results/beginnings.md, after each round."""
    found: _Measured = {}
    for number in range(1, rounds + 1):
        for size in _SIZES:
            for boosting in _BOOSTINGS:
                with threadpool_limits(1):
                    _fit(boosting, {}, _FIRST)  # imports
                    found.setdefault((boosting, size), []).append(_measure(boosting, *size))
        _write(found, number, date)


def _write(found: _Measured, rounds: int, date: str) -> None:
    table = "".join(
        _row(boosting, size, search, rows)
        for (boosting, size), measured in found.items()
        for search, rows in zip(_SEARCHES, zip(*measured, strict=True), strict=True)
    )
    click.echo(table)
    _RESULTS.write_text(
        "# What it would save to share what fits begin with\n\n"
        f"{date}, `python -m benchmarks.beginnings --rounds {rounds}`: bins of scikit-learn's histogram boosting, a "
        "QuantileDMatrix of XGBoost, one for each fold. One thread, seconds of the processor; "
        f"load of the machine {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores at the end.\n\n"
        "The fits of one fold of five. Stages are counted as our searches do them: one fit serves all, and the guard has a plain "
        "one for each rate and size of trees. *A rule would save* all beginnings of a fold but one. In searches that share "
        "nothing yet the guard would need one fit more, of one cell: the last column is what is left. Medians of the rounds, "
        "with the least and the most.\n\n"
        f"{_HEAD}{table}",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()
