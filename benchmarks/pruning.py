"""What pruning saves, in fits and in seconds, and that the answer is the same to the bit: `python -m benchmarks.pruning`.

Searches of every kind on scikit-learn's own data, with two processes. Four sides in turns: scikit-learn, the engine, the engine
that prunes for certain, and the forgiving rule, which may lose the winner.
"""

import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click
import numpy as np
import sklearn.model_selection
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_friedman1
from sklearn.ensemble import GradientBoostingRegressor, HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import tuningjob

Grid = Mapping[str, Sequence[Any]]
_RESULTS = Path(__file__).parent / "results" / "pruning.md"
_N_JOBS: Final = 2
_SIDES: Final[dict[str, Callable[..., Any]]] = {
    "scikit-learn": sklearn.model_selection.GridSearchCV,
    "tuningjob": tuningjob.GridSearchCV,
    "certain": lambda *given, **more: tuningjob.GridSearchCV(*given, prune="certain", **more),
    "forgiving": lambda *given, **more: tuningjob.GridSearchCV(*given, prune="forgiving", **more),
}


@dataclass(frozen=True)
class Searched:
    """A search by hand: the estimator, its grid, its data, and the arguments of the search."""

    estimator: Any
    grid: Grid
    data: tuple[Any, Any]
    folds: int = 5
    scoring: str | None = None


def _scaled(estimator: Any) -> Any:  # noqa: ANN401
    return make_pipeline(StandardScaler(), estimator)


def _searches() -> dict[str, Searched]:
    cancer, digits, wine = (load(return_X_y=True) for load in (load_breast_cancer, load_digits, load_wine))
    diabetes = load_diabetes(return_X_y=True)
    friedman = make_friedman1(800, random_state=0, noise=1.0)
    svc: Grid = {"svc__C": list(np.logspace(-3, 3, 7)), "svc__gamma": list(np.logspace(-5, 1, 7))}
    forest: Grid = {
        "n_estimators": [25, 50, 100],
        "max_depth": [2, 4, 8, None],
        "max_features": ["sqrt", 0.3],
        "min_samples_leaf": [1, 5],
    }
    neighbours: Grid = {"n_neighbors": list(range(1, 26)), "weights": ["uniform", "distance"], "p": [1, 2]}
    tree: Grid = {
        "max_depth": [*range(1, 13), None],
        "min_samples_leaf": [1, 2, 5, 10, 20, 50],
        "criterion": ["gini", "entropy"],
    }
    logistic: Grid = {"logisticregression__C": list(np.logspace(-6, 6, 25))}
    boosting: Grid = {"learning_rate": [0.01, 0.05, 0.2, 0.8], "max_depth": [1, 2, 3, 5], "subsample": [0.5, 1.0]}
    histogram: Grid = {
        "learning_rate": [0.01, 0.05, 0.2, 1.0],
        "max_leaf_nodes": [3, 15, 31],
        "l2_regularization": [0.0, 10],
    }
    ridge: Grid = {"alpha": list(np.logspace(-4, 4, 60))}
    return {
        "SVC, cancer": Searched(_scaled(SVC()), svc, cancer),
        "SVC, cancer, 10 folds": Searched(_scaled(SVC()), svc, cancer, folds=10),
        "SVC, cancer, AUC, 10 folds": Searched(_scaled(SVC()), svc, cancer, folds=10, scoring="roc_auc"),
        "SVC, digits": Searched(_scaled(SVC()), svc, digits),
        "SVC, wine, 10 folds": Searched(_scaled(SVC()), svc, wine, folds=10),
        "random forest, digits": Searched(RandomForestClassifier(random_state=0), forest, digits),
        "random forest, cancer, log loss": Searched(
            RandomForestClassifier(random_state=0), forest, cancer, scoring="neg_log_loss"
        ),
        "k neighbours, digits, 10 folds": Searched(KNeighborsClassifier(), neighbours, digits, folds=10),
        "tree, cancer, 10 folds": Searched(DecisionTreeClassifier(random_state=0), tree, cancer, folds=10),
        "logistic regression, cancer, log loss, 10 folds": Searched(
            _scaled(LogisticRegression(max_iter=5_000)), logistic, cancer, folds=10, scoring="neg_log_loss"
        ),
        "gradient boosting, Friedman": Searched(GradientBoostingRegressor(random_state=0), boosting, friedman),
        "histogram boosting, cancer": Searched(
            HistGradientBoostingClassifier(random_state=0, early_stopping=False), histogram, cancer
        ),
        "ridge, diabetes, squared error": Searched(Ridge(), ridge, diabetes, scoring="neg_mean_squared_error"),
    }


def _fitted(side: str, searched: Searched) -> tuple[float, Any]:
    search = _SIDES[side](
        searched.estimator, searched.grid, cv=searched.folds, scoring=searched.scoring, n_jobs=_N_JOBS
    )
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(*searched.data)
    return time.perf_counter() - began, search


def _scores(search: Any) -> Any:  # noqa: ANN401
    return np.array([search.cv_results_[f"split{split}_test_score"] for split in range(search.n_splits_)])


def _check(name: str, found: Any, want: Any) -> None:  # noqa: ANN401
    """The same answer and the same bits of what was run. Raises AssertionError."""
    ours, theirs = _scores(found), _scores(want)
    ran = ~np.isnan(ours)
    same = (found.best_index_, found.best_score_.hex(), found.best_params_) == (
        want.best_index_,
        want.best_score_.hex(),
        want.best_params_,
    )
    if not same or ours[ran].tobytes() != theirs[ran].tobytes():
        raise AssertionError(f"{name}: another answer, or other bits")


def _row(name: str, searched: Searched, repeat: int) -> tuple[str, dict[str, float]]:
    seconds: dict[str, list[float]] = {side: [] for side in _SIDES}
    found: dict[str, Any] = {}
    for turn in range(repeat):
        for side in _SIDES if turn % 2 == 0 else reversed(_SIDES):
            took, found[side] = _fitted(side, searched)
            seconds[side].append(took)
        for side in ("tuningjob", "certain"):
            _check(f"{name}, {side}", found[side], found["scikit-learn"])
    medians = {side: statistics.median(each) for side, each in seconds.items()}
    parts = {side: float(np.isfinite(_scores(found[side])).mean()) for side in ("certain", "forgiving")}
    lost = "" if found["forgiving"].best_index_ == found["scikit-learn"].best_index_ else " (another winner)"
    figures = {
        "certain of fits": parts["certain"],
        "forgiving of fits": parts["forgiving"],
        "tuningjob": medians["scikit-learn"] / medians["tuningjob"],
        "certain": medians["scikit-learn"] / medians["certain"],
        "gain": medians["tuningjob"] / medians["certain"],
        "forgiving": medians["scikit-learn"] / medians["forgiving"],
    }
    fits = _scores(found["scikit-learn"]).size
    cells = [
        name,
        f"{fits:,}",
        f"{figures['certain of fits']:.2f}",
        f"{figures['forgiving of fits']:.2f}{lost}",
        f"{medians['scikit-learn']:.2f}",
        *(f"{figures[side]:.2f}" for side in ("tuningjob", "certain", "gain", "forgiving")),
    ]
    return f"| {' | '.join(cells)} |", figures


@click.command()
@click.option("--date", required=True, help="Of the measurement.")
@click.option("--repeat", default=3, show_default=True)
@click.option("--only", default="", help="Searches with this in their name.")
def main(date: str, repeat: int, only: str) -> None:
    """Measure, and write benchmarks/results/pruning.md."""
    rows, every = [], []
    for name, searched in _searches().items():
        if only in name:
            row, figures = _row(name, searched, repeat)
            click.echo(row)
            rows.append(row)
            every.append(figures)
    means = {key: float(np.exp(np.mean([np.log(each[key]) for each in every]))) for key in every[0]}
    least = min(each["gain"] for each in every)
    text = [
        "# What pruning saves",
        "",
        (
            f"{date}, `make bench-pruning`: {_N_JOBS} processes, one thread each, the median of {repeat}; scikit-learn "
            f"{sklearn.__version__}. Every answer and every score that `certain` computed is scikit-learn's to the bit, compared "
            "in the same run."
        ),
        "",
        (
            "| search | fits | certain: part of the fits | forgiving: part of the fits | scikit-learn, s | "
            "scikit-learn ÷ tuningjob | scikit-learn ÷ certain | tuningjob ÷ certain | scikit-learn ÷ forgiving |"
        ),
        "|---|---|---|---|---|---|---|---|---|",
        *rows,
        (
            f"| **geometric mean** | | {means['certain of fits']:.2f} | {means['forgiving of fits']:.2f} | | "
            f"{means['tuningjob']:.2f} | {means['certain']:.2f} | {means['gain']:.2f} | {means['forgiving']:.2f} |"
        ),
        "",
        (
            f"The least of tuningjob ÷ certain is {least:.2f}. Where one fit serves many candidates (forests by `n_estimators`, "
            "neighbours), a candidate that is left out saves its scoring alone."
        ),
    ]
    if not only:
        _RESULTS.write_text("\n".join(text) + "\n")
    click.echo("\n".join(text[-3:]))


if __name__ == "__main__":
    main()
