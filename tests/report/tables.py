"""Result tables made for a test: by scikit-learn's own code, from scores that a function of the parameters gives."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.svm import SVC

from tuningjob.engine.sklearn_private import results_table
from tuningjob.report.table import Origin, ResultTable, table_of

Params = Mapping[str, Any]
Scores = Callable[[Params], float | Sequence[float]]

# the same for all candidates, as some splits are easier than others; their sum is 0
USUAL = (-0.01, 0.004, 0.008, -0.004, 0.002)


def cv_results(
    candidates: Sequence[Params],
    score: Scores,
    *,
    splits: Sequence[float] = USUAL,
    others: Mapping[str, Scores] | None = None,
    train: Scores | None = None,
    seconds: Callable[[Params], float] = lambda _: 1.0,
) -> dict[str, Any]:
    """scikit-learn's ``cv_results_``. A number that ``score`` gives is the mean, of which the splits differ by ``splits``."""
    metrics = {"score": score, **(others or {})}

    def on(split: int, scores: Scores, params: Params) -> float:
        found = scores(params)
        return found + splits[split] if isinstance(found, int | float) else found[split]

    outcomes = []
    for params in candidates:
        for split in range(len(splits)):
            test = {name: on(split, scores, params) for name, scores in metrics.items()}
            outcome: dict[str, Any] = {
                "fit_error": None,
                "test_scores": test if others else test["score"],
                "n_test_samples": 10,
                "fit_time": seconds(params),
                "score_time": 0.0,
            }
            if train is not None:
                trained = {name: on(split, train, params) for name in metrics}
                outcome["train_scores"] = trained if others else trained["score"]
            outcomes.append(outcome)
    search = GridSearchCV(
        SVC(),
        {},
        scoring=list(metrics) if others else None,
        refit="score" if others else True,
        cv=len(splits),
        return_train_score=train is not None,
    )
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "One or more of the test scores are non-finite", UserWarning)
        table: dict[str, Any] = results_table(search, candidates, len(splits), outcomes)
    return table


def table(
    grid: Any, score: Scores, *, drawn: Sequence[Params] | None = None, origin: Origin | None = None, **settings: Any
) -> ResultTable:
    """The table of a search over a grid; or over candidates that were drawn."""
    results = cv_results(drawn or list(ParameterGrid(grid)), score, **settings)
    best = int(results["rank_test_score"].argmin())
    return table_of(results, best, metric="score", told="accuracy", origin=origin)


def drawn(count: int) -> ResultTable:
    """Of candidates drawn at random: a number on a logarithmic scale, an integer and a word."""
    generator = np.random.default_rng(0)
    candidates = [
        {"a": float(generator.lognormal()), "b": int(generator.integers(1, 500)), "c": "xyz"[i % 3]}
        for i in range(count)
    ]
    return table(
        None,
        lambda params: 1 / (1 + params["a"]),
        drawn=candidates,
        splits=(0.0, 0.01, -0.01),
        origin=Origin(name="many"),
    )
