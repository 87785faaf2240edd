"""A nested search: scikit-learn's ``cross_validate`` of the search, with no copy of the data for an outer fold.

The candidates are tried again on the training rows of each outer fold. These are rows of the journal after the search's own, on
splits that are row numbers of the whole data. The worker that finishes the search fits each fold's choice on all of its training
rows and scores it on the others: one fit a fold.
"""

import json
import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from tuningjob.engine import Evaluated, one_thread
from tuningjob.engine.evaluate import Evaluator
from tuningjob.engine.sklearn_private import results_table
from tuningjob.protocol.records import NestedEstimate
from tuningjob.search.cells import result_of, work_of
from tuningjob.search.problem import SearchProblem
from tuningjob.search.results import Results
from tuningjob.search.selection import choose
from tuningjob.search.stages import search_of
from tuningjob.search.written import to_literals

_MOST_TOLD: Final = 3
_LONGEST: Final = 150


def estimated(problem: SearchProblem, results: Results) -> NestedEstimate | None:
    """The expected score of the search on unseen data; None if the manifest does not ask for it."""
    if not problem.folds:
        return None
    splits, count = len(problem.splits), len(problem.candidates)
    search, metric = search_of(problem), problem.spec.metrics.deciding
    chosen: list[Mapping[str, Any]] = []
    for start in range(0, len(problem.folds) * count * splits, count * splits):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # scores that are NaN are reported as failed fits
            table = results_table(search, problem.candidates, splits, results.inner[start : start + count * splits])
        chosen.append(table["params"][choose(problem.spec.select, metric, table).index])
    work = replace(
        work_of(problem), candidates=chosen, splits=[fold.outer for fold in problem.folds], return_train_score=False
    )
    with warnings.catch_warnings(), one_thread():
        warnings.simplefilter("ignore")
        steps = [step for i in range(len(chosen)) for step in Evaluator(work).evaluate(i, [i], plain=True)]
    outcomes = [result_of(step, problem.spec.metrics) for step in steps if isinstance(step, Evaluated)]
    scores = [next(iter(outcome.test_scores.values())) for outcome in outcomes]  # the deciding one comes first
    return nested_of(scores, [to_literals(each) for each in chosen], results.best_score, problem.metric)


def nested_of(scores: Sequence[float], chosen: Sequence[Mapping[str, Any]], best: float, metric: str) -> NestedEstimate:
    """The estimate from each outer fold's score and choice, and from the best score of the whole search."""
    mean, std = float(np.mean(scores)), float(np.std(scores))
    counted = Counter(json.dumps(each, sort_keys=True) for each in chosen).most_common()
    told = [
        f"{text[:_LONGEST]}{'…' if len(text) > _LONGEST else ''} in {count}" for text, count in counted[:_MOST_TOLD]
    ]
    more = f", and {len(counted) - _MOST_TOLD} others" if len(counted) > _MOST_TOLD else ""
    folds = f"of {len(scores)} outer folds"
    if math.isfinite(mean):
        above = best - mean
        where = f"{abs(above):.4f} {'above' if above >= 0 else 'below'} it"
        first = (
            f"Nested: {metric} {mean:.4f} ± {std:.4f} (mean and standard deviation {folds}); the best score is {where}."
        )
    else:
        first = f"Nested: {metric} is not known, because what was chosen failed in one {folds}."
    second = f"Chosen {folds}: {'; '.join(told)}{more}."
    return NestedEstimate(scores=tuple(scores), mean=mean, std=std, optimism=best - mean, told=(first, second))
