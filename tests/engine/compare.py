"""scikit-learn's search and ours, side by side."""

import copy
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import sklearn.model_selection

import tuningjob
from tests.engine.bits import assert_same_bits

_CLASSES = {
    "GridSearchCV": (sklearn.model_selection.GridSearchCV, tuningjob.GridSearchCV),
    "RandomizedSearchCV": (sklearn.model_selection.RandomizedSearchCV, tuningjob.RandomizedSearchCV),
}


def assert_same_search(
    estimator: Any,
    space: Any,
    X: Any,
    y: Any,
    *,
    n_jobs: int | None = None,
    kind: str = "GridSearchCV",
    fit_params: Mapping[str, Any] | None = None,
    each_time: Mapping[str, Callable[[], Any]] | None = None,
    **settings: Any,
) -> Any:
    """Fit both; the same results to the bit, times left out, or the same exception. Returns ours.

    ``each_time``: settings that are used up by a search, made for each.
    """
    theirs, ours = (
        _fitted(
            search(estimator, space, n_jobs=jobs, **settings, **{k: make() for k, make in (each_time or {}).items()}),
            X,
            y,
            fit_params or {},
        )
        for search, jobs in zip(_CLASSES[kind], (1, n_jobs), strict=True)
    )
    if isinstance(theirs, Exception) and settings.get("error_score") == "raise":
        # the first to fail is raised, and which is first depends on the order
        assert isinstance(ours, Exception)
        return ours
    if isinstance(theirs, Exception):
        assert type(ours) is type(theirs), f"{ours!r} is not {theirs!r}"
        # which of the calls in a recursion without end meets the limit, and says so, is a matter of the stack below it
        assert isinstance(theirs, RecursionError) or _first_line(ours) == _first_line(theirs)
        return ours
    if isinstance(ours, Exception):
        raise ours
    assert_same_results(ours.cv_results_, theirs.cv_results_)
    for name in ("best_index_", "best_score_", "best_params_", "n_splits_", "multimetric_"):
        assert hasattr(ours, name) == hasattr(theirs, name), name
        if hasattr(theirs, name):
            assert repr(getattr(ours, name)) == repr(getattr(theirs, name)), name
    if hasattr(theirs, "best_estimator_") and hasattr(theirs, "predict"):
        answers = [_answer(search, copy.deepcopy(X)) for search in (ours, theirs)]
        assert_same_bits(answers[0], answers[1], "predictions of the refitted estimator")
    return ours


def assert_same_results(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> None:
    """Two ``cv_results_``: the same keys in the same order, the same bits in all but the times."""
    assert list(ours) == list(theirs)
    for name, expected in theirs.items():
        if name.endswith("_time"):
            assert np.isfinite(ours[name]).all()
            assert (ours[name] >= 0).all()
        elif name == "params":
            assert list(map(repr, ours[name])) == list(map(repr, expected))
        elif name.startswith("param_"):
            assert repr(ours[name]) == repr(expected)
        else:
            assert_same_bits(ours[name], expected, name)


def _fitted(search: Any, X: Any, y: Any, fit_params: Mapping[str, Any]) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.random.seed(0)  # whatever draws unseeded draws the same
        try:
            # some write into what they are given, the last fit of all into the caller's own
            return search.fit(copy.deepcopy(X), copy.deepcopy(y), **copy.deepcopy(dict(fit_params)))
        except Exception as error:  # noqa: BLE001  to be compared
            return error


def _answer(search: Any, X: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        np.random.seed(0)
        try:
            return search.predict(X)
        except Exception as error:  # noqa: BLE001  to be compared
            return repr(error)


def _first_line(error: BaseException) -> str:
    return str(error).strip().split("\n", 1)[0]
