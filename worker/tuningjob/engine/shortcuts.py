"""Shortcuts past scikit-learn's checks that cost more than a tiny fit and have a known outcome.

These checks were half of the time of fits of a millisecond (iris, naive Bayes or a small tree). Scores keep the bits that
scikit-learn's functions give. ``PATCHES`` are in force while a search is (``engine.patches``).
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.pipeline import Pipeline

from tuningjob.aliases import AnyScorer, Anything, Estimator, Matrix, ParamValue, Target
from tuningjob.engine.patches import Patch, inside
from tuningjob.engine.sklearn_private import (
    ASKS_NARWHALS,
    IS_FRAME,
    IS_SERIES,
    PARAM_NAMES,
    PassthroughScorer,
    Scorer,
    is_plainly,
    is_proved,
)

_LABELS: Final = frozenset("biuU")  # booleans, integers, text: accuracy only compares them for equality


def lean(
    scorer: AnyScorer, estimator: Estimator, y: Target, params: Mapping[str, Any]
) -> Callable[[Any, Any, Any], Any]:
    """A function that scores a known estimator as ``scorer`` does, with fewer checks if that is the accuracy of plain labels.

    It is chosen before any prediction, so the estimator predicts once in both cases.
    """
    if params or type(y) is not np.ndarray or y.ndim != 1 or y.dtype.kind not in _LABELS:
        return scorer  # type: ignore[no-any-return]
    if is_proved() and _is_accuracy(scorer, estimator):
        return _accuracy
    return scorer  # type: ignore[no-any-return]


def _accuracy(estimator: Estimator, X: Matrix, y: Target) -> float:
    """The accuracy: for plain labels of one type ``accuracy_score`` is the average of ``y == y_pred``, after its checks."""
    predicted = estimator.predict(X)
    if type(predicted) is not np.ndarray or predicted.dtype != y.dtype or predicted.shape != y.shape:
        return float(accuracy_score(y, predicted))
    return float(np.average(predicted == y))


def _is_accuracy(scorer: AnyScorer, estimator: Estimator) -> bool:
    if type(scorer) is Scorer:
        return is_plainly(scorer, accuracy_score)
    return type(scorer) is PassthroughScorer and _scores_by_accuracy(estimator)


def _scores_by_accuracy(estimator: Estimator) -> bool:
    if type(estimator) is Pipeline:
        return _scores_by_accuracy(estimator.steps[-1][1])
    return getattr(type(estimator), "score", None) is ClassifierMixin.score


# --- what is replaced while a search is in force


def _is_frame(value: ParamValue) -> bool:
    return type(value) is not np.ndarray and _into_dataframe(value)


def _is_series(value: ParamValue) -> bool:
    return type(value) is not np.ndarray and _into_series(value)


@cache
def _known_names(kind: type, init: object) -> tuple[str, ...]:  # noqa: ARG001  __init__ may be replaced
    return tuple(_names_of(kind))


def _param_names(kind: Anything) -> list[str]:
    return list(_known_names(kind, kind.__init__)) if inside() else _names_of(kind)


_into_dataframe: Final[Callable[[Any], bool]] = IS_FRAME.now
_into_series: Final[Callable[[Any], bool]] = IS_SERIES.now
_names_of: Final[Callable[[type], list[str]]] = PARAM_NAMES.now.__func__

PATCHES: Final = (
    # scikit-learn reads the signature of a class for every get_params: half a dozen times a fit, 70 µs each
    Patch(PARAM_NAMES, classmethod(_param_names), _known_names.cache_clear),
    # ... and asks of every array whether it is a frame of one of nine libraries: a dozen times a fit, 30 µs each
    *((Patch(IS_FRAME, _is_frame), Patch(IS_SERIES, _is_series)) if ASKS_NARWHALS and is_proved("narwhals") else ()),
)
