"""The same answers with fewer questions: checks that cost more than a tiny fit, where their outcome is known.

Measured on fits of a millisecond (iris, naive Bayes or a small tree) they were half of the time. Nothing here computes: scores
are the bits that scikit-learn's functions give.
"""

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any, Final

import narwhals.stable.v2 as nw
import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.metrics._scorer import _PassthroughScorer, _Scorer
from sklearn.pipeline import Pipeline

_LABELS: Final = frozenset("biuU")  # booleans, integers, text: of these accuracy asks nothing but equality


def lean(scorer: Any, estimator: Any, y: Any, params: Mapping[str, Any]) -> Callable[[Any, Any, Any], Any]:  # noqa: ANN401
    """What ``scorer`` does for a known estimator, with fewer questions where that is the accuracy of plain labels.

    It is chosen before it has asked for anything: whatever it is, it predicts once.
    """
    if params or type(y) is not np.ndarray or y.ndim != 1 or y.dtype.kind not in _LABELS:
        return scorer  # type: ignore[no-any-return]
    if _is_accuracy(scorer, estimator):
        return _accuracy
    return scorer  # type: ignore[no-any-return]


def _accuracy(estimator: Any, X: Any, y: Any) -> float:  # noqa: ANN401
    """``accuracy_score`` is the average of ``y == y_pred`` for plain labels of one type, after checks of types and shapes."""
    predicted = estimator.predict(X)
    if type(predicted) is not np.ndarray or predicted.dtype != y.dtype or predicted.shape != y.shape:
        return float(accuracy_score(y, predicted))
    return float(np.average(predicted == y))


def _is_accuracy(scorer: Any, estimator: Any) -> bool:  # noqa: ANN401
    if type(scorer) is _Scorer:
        plain = scorer._score_func is accuracy_score and not scorer._kwargs and scorer._sign == 1
        return plain and scorer._response_method == "predict"
    return type(scorer) is _PassthroughScorer and _scores_by_accuracy(estimator)


def _scores_by_accuracy(estimator: Any) -> bool:  # noqa: ANN401
    if type(estimator) is Pipeline:
        return _scores_by_accuracy(estimator.steps[-1][1])
    return getattr(type(estimator), "score", None) is ClassifierMixin.score


def _unless_array(is_frame: Callable[[Any], bool], value: Any) -> bool:  # noqa: ANN401
    return type(value) is not np.ndarray and is_frame(value)


_names_of: Final = BaseEstimator._get_param_names.__func__


@cache
def _known_names(kind: type) -> tuple[str, ...]:
    return tuple(_names_of(kind))


def _param_names(kind: type) -> list[str]:
    return list(_known_names(kind))


def _install() -> None:
    # scikit-learn 1.9 asks of every array whether it is a frame of one of nine libraries: a dozen times a fit, 30 µs each.
    for name in ("is_into_dataframe", "is_into_series"):
        asked = getattr(nw.dependencies, name)
        if not isinstance(asked, partial):
            setattr(nw.dependencies, name, partial(_unless_array, asked))
    # ... and reads the signature of a class for every get_params: half a dozen times a fit, 70 µs each.
    BaseEstimator._get_param_names = classmethod(_param_names)


_install()
