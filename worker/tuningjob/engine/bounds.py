"""The table of bounded metrics: the upper bound of each one's scores, by which a search may prune.

The table has a metric only if rounding never carries its score above the bound by more than the last bits. It does not have the
Poisson and gamma deviances and D² of Tweedie, whose rounding grows with y, clustering metrics, and metrics without a bound.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
from sklearn import metrics
from sklearn.pipeline import Pipeline

from tuningjob.aliases import AnyScorer, Anything
from tuningjob.engine.fingerprint import is_estimator
from tuningjob.engine.named import public_name
from tuningjob.engine.sklearn_private import (
    PassthroughScorer,
    Scorer,
    metric_arguments,
    metric_of,
    scorers_of,
    sign_of,
)
from tuningjob.engine.work import Work

_AT_MOST_ONE: Final = (
    metrics.accuracy_score,
    metrics.average_precision_score,
    metrics.balanced_accuracy_score,
    metrics.cohen_kappa_score,
    metrics.d2_absolute_error_score,
    metrics.d2_log_loss_score,
    metrics.d2_pinball_score,
    metrics.explained_variance_score,
    metrics.f1_score,
    metrics.fbeta_score,
    metrics.jaccard_score,
    metrics.matthews_corrcoef,
    metrics.precision_score,
    metrics.r2_score,
    metrics.recall_score,
    metrics.roc_auc_score,
    metrics.top_k_accuracy_score,
)
# losses: their scores are their negatives
_AT_LEAST_ZERO: Final = (
    metrics.brier_score_loss,
    metrics.hamming_loss,
    metrics.hinge_loss,
    metrics.log_loss,
    metrics.max_error,
    metrics.mean_absolute_error,
    metrics.mean_absolute_percentage_error,
    metrics.mean_pinball_loss,
    metrics.mean_squared_error,
    metrics.mean_squared_log_error,
    metrics.median_absolute_error,
    metrics.root_mean_squared_error,
    metrics.root_mean_squared_log_error,
    metrics.zero_one_loss,
)
# The classes whose ``score`` is accuracy or R², for every estimator that inherits it.
_ACCURACY_OR_R2: Final = frozenset(
    {
        "sklearn.base.ClassifierMixin",
        "sklearn.base.RegressorMixin",
        "sklearn.dummy.DummyClassifier",
        "sklearn.dummy.DummyRegressor",
        "sklearn.neighbors.KNeighborsClassifier",
        "sklearn.neighbors.RadiusNeighborsClassifier",
    }
)
# The arguments of these metrics that do not move the bound. normalize=False (a count) and negative weights do.
_HARMLESS: Final = frozenset(
    {
        "adjusted",
        "alpha",
        "average",
        "beta",
        "k",
        "labels",
        "max_fpr",
        "multi_class",
        "pos_label",
        "weights",
        "zero_division",
    }
)
TABLE: Final = (
    "accuracy, balanced_accuracy, f1*, precision*, recall*, jaccard*, roc_auc*, average_precision, top_k_accuracy, "
    "matthews_corrcoef, r2, explained_variance, d2_absolute_error_score (at most 1); neg_* of errors and log loss (at most 0)"
)


class Unbounded(ValueError):
    """A search is to prune for certain, but its scores have no known bound because of ``got``."""

    def __init__(self, message: str, got: str) -> None:
        super().__init__(message, got)
        self.got = got

    def __str__(self) -> str:
        return str(self.args[0])


def bound_of_search(work: Work, metric: str | None = None) -> float:
    """The upper bound of the scores that rank the candidates of a search. Raises Unbounded if none is known.

    ``metric`` is the one that decides if there are several.
    """
    scorer = work.scorer if metric is None else scorers_of(work.scorer)[metric]
    bound = _own_bound(work) if type(scorer) is PassthroughScorer else _bound(scorer)
    if bound is None:
        raise Unbounded(_refused(_told(scorer)), _told(scorer))
    _check_weights(work.score_params)
    given = work.error_score
    return bound if isinstance(given, str) or math.isnan(given) else max(bound, float(given))


def bound_of(scorer: AnyScorer) -> float | None:
    """The upper bound of a scorer's scores; None if it is not known."""
    return _bound(scorer)


def _bound(scorer: AnyScorer) -> float | None:
    if type(scorer) is not Scorer or not _HARMLESS.issuperset(metric_arguments(scorer)):
        return None
    metric, sign = metric_of(scorer), sign_of(scorer)
    if metric in _AT_MOST_ONE and sign == 1:
        return 1.0
    return 0.0 if metric in _AT_LEAST_ZERO and sign == -1 else None


def _own_bound(work: Work) -> float | None:
    """The bound of ``estimator.score``: that of accuracy or R², unless a candidate's class has its own ``score``."""
    kinds: dict[tuple[int, ...], int] = {}
    for number, candidate in enumerate(work.candidates):
        kinds.setdefault(tuple(id(value) for value in candidate.values() if is_estimator(value)), number)
    for number in kinds.values():
        try:
            judged: Anything = work.configured(number)
        except Exception:  # noqa: BLE001, S112  without a score its fits fail and say why
            continue
        while type(judged) is Pipeline:
            judged = judged.steps[-1][1]
        own = next((kind for kind in type(judged).__mro__ if "score" in vars(kind)), None)
        if public_name(own) not in _ACCURACY_OR_R2:
            return None
    return 1.0


def _check_weights(params: Mapping[str, Any]) -> None:
    for name, value in params.items():
        if name != "sample_weight" or not bool((np.asarray(value) >= 0).all()):
            got = f"scores that are given {name}" if name != "sample_weight" else "a sample_weight below 0"
            raise Unbounded(_refused(got), got)


def _told(scorer: AnyScorer) -> str:
    if type(scorer) is PassthroughScorer:
        return "the score method of an estimator's own"
    metric: Callable[..., Any] | None = metric_of(scorer)
    return getattr(metric, "__name__", None) or repr(scorer)


def _refused(got: str) -> str:
    return (
        f"prune='certain' must have scores with a known upper bound, but got {got}. The table of them: {TABLE}. "
        "With any other leave prune out, or say 'forgiving', which may lose the winner."
    )
