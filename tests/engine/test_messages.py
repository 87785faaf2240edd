"""What ``verbose`` prints: scikit-learn's lines, one for each fit, whatever was shared."""

import contextlib
import io
import re
import warnings
from typing import Any

import pytest
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV as Theirs
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from tests.engine.fresh import in_a_fresh_process
from tests.engine.test_strange_objects import Constant
from tuningjob import GridSearchCV

X, y = (data[::3] for data in load_iris(return_X_y=True))
forest = RandomForestClassifier(random_state=0)
SEARCHES: tuple[tuple[Any, Any, dict[str, Any]], ...] = (
    (forest, {"n_estimators": [1, 2, 3], "max_depth": [1, -1]}, {}),  # the second depth fails
    (forest, {"n_estimators": [1, 2]}, {"return_train_score": True}),
    (
        Pipeline([("scale", StandardScaler()), ("model", forest)]),
        {"scale__with_std": [True, False], "model__n_estimators": [1, 2]},
        {"scoring": ["accuracy", "f1_macro"], "refit": False, "return_train_score": True},
    ),
    (Constant(), {"label": [0, 1]}, {"scoring": "f1_macro"}),
    (Constant(), {}, {}),
)


def printed(kind: type, estimator: Any, grid: Any, **settings: Any) -> list[str]:
    with contextlib.redirect_stdout(io.StringIO()) as output, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kind(estimator, grid, cv=2, **settings).fit(X, y)
    return [re.sub(r"total time=.*", "total time=", line) for line in output.getvalue().splitlines()]


@pytest.mark.slow
@pytest.mark.parametrize("verbose", [0, 1, 2, 3, 10])
def test_one_process_prints_scikit_learns_lines(verbose: int) -> None:
    for estimator, grid, settings in SEARCHES:
        ours, theirs = (printed(kind, estimator, grid, verbose=verbose, **settings) for kind in (GridSearchCV, Theirs))
        assert sorted(ours) == sorted(theirs)
        # each START is followed by its END
        assert [line for line in ours if "START" in line] == [
            ours[place - 1] for place, line in enumerate(ours) if "END" in line and verbose == 10
        ]


def test_where_nothing_is_shared_one_process_prints_them_in_scikit_learns_order() -> None:
    ours, theirs = (printed(kind, Constant(), {"label": [0, 1, 2]}, verbose=10) for kind in (GridSearchCV, Theirs))
    assert ours == theirs


@pytest.mark.slow
@in_a_fresh_process
def test_several_processes_print_scikit_learns_lines() -> None:
    for verbose in (1, 3, 10):  # the rest is one process's
        for estimator, grid, settings in SEARCHES:
            ours = printed(GridSearchCV, estimator, grid, verbose=verbose, n_jobs=2, **settings)
            assert sorted(ours) == sorted(printed(Theirs, estimator, grid, verbose=verbose, **settings))
