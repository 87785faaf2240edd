"""What every search must be equal to: scikit-learn's own, in one process, with one thread."""

import functools
import inspect
import json
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import sklearn.model_selection
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from tuningjob.manifest import TuningJobSpec, dump_spec, load_spec
from tuningjob.manifest.cross_validation import GROUPS
from tuningjob.search.problem import SearchProblem, prepare

# Of a spec, what no score depends on.
_WHERE: Final = {"resources", "parallelism", "pod", "queueName", "suspend"}


def sklearn_search(problem: SearchProblem) -> GridSearchCV | RandomizedSearchCV:
    """The same search by scikit-learn, in this one process."""
    spec = problem.spec
    search = problem.space.search_cv(
        problem.estimator,
        scoring=spec.scoring,
        refit=spec.refit or True,
        cv=problem.cv,
        return_train_score=spec.return_train_score,
    )
    return quietly_fitted(search, problem)


def scikit_learns(search: Any) -> Any:
    """The same search by scikit-learn's own class, unfitted: without what only this project's has, such as ``prune``."""
    kind = getattr(sklearn.model_selection, type(search).__name__)
    params = search.get_params(deep=False)
    return kind(**{name: params[name] for name in inspect.signature(kind).parameters})


def quietly_fitted(
    search: GridSearchCV | RandomizedSearchCV, problem: SearchProblem
) -> GridSearchCV | RandomizedSearchCV:
    """A search of scikit-learn's, fitted on the problem's data."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return search.fit(problem.data.X, problem.data.y, groups=problem.data.beside.get(GROUPS))


def sklearn_search_of(spec: TuningJobSpec) -> tuple[SearchProblem, GridSearchCV | RandomizedSearchCV]:
    """``sklearn_search`` of a spec whose data is a loader's; once for each, wherever and by how many pods it is to be run."""
    asked = {name: value for name, value in dump_spec(spec).items() if name not in _WHERE}
    return _search_of(json.dumps({**asked, "resources": {"cpu": 1, "memory": "1Gi"}}, sort_keys=True))


@functools.cache
def _search_of(spec: str) -> tuple[SearchProblem, GridSearchCV | RandomizedSearchCV]:
    problem = prepare(load_spec(json.loads(spec)), Path())
    return problem, sklearn_search(problem)


def assert_equal_to_the_bit(found: dict[str, Any], want: dict[str, Any]) -> None:
    """Every column of cv_results_ but the times."""
    assert list(found) == list(want)
    assert repr(found["params"]) == repr(want["params"])
    for name, values in want.items():
        if name == "params" or name.endswith("_time"):
            continue
        if name.startswith("param_"):
            assert repr(found[name]) == repr(values)
            assert found[name].dtype == values.dtype
        else:
            assert found[name].dtype == values.dtype
            assert found[name].tobytes() == np.asarray(values).tobytes(), name
