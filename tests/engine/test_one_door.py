"""Private names of scikit-learn and of its dependencies are used in one module, which checks their versions."""

import ast
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Final

import pytest

from tests.engine.fresh import ended_beside_scikit_learn

_ROOT: Final = Path(__file__).parents[2]
_DOOR: Final = _ROOT / "worker/tuningjob/engine/sklearn_private.py"
_PACKAGES: Final = {"sklearn", "joblib", "narwhals", "numpy", "scipy", "pandas", "threadpoolctl"}
_PRIVATE: Final = re.compile(r"_[A-Za-z]\w*")
# Python's own, a notebook's, and what a search overrides of the search class that it inherits from
_OURS: Final = {"_exit", "_repr_html_", "_run_search", "_html_repr", "_format_results"}


def _private_imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            package, *rest = name.split(".")
            if package in _PACKAGES and any(map(_PRIVATE.fullmatch, rest)):
                yield name


def _private_reads(tree: ast.AST) -> Iterator[str]:
    """Attributes of anything but ``self`` and its like, names handed to getattr and hasattr, and keywords (what views are given)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and _PRIVATE.fullmatch(node.attr):
            if not isinstance(node.value, ast.Name) or node.value.id not in {"self", "cls"}:
                yield node.attr
        elif isinstance(node, ast.Call):
            yield from (each.arg for each in node.keywords if each.arg and _PRIVATE.fullmatch(each.arg))
            if isinstance(node.func, ast.Name) and node.func.id in {"getattr", "hasattr", "setattr", "delattr"}:
                names = (each.value for each in node.args if isinstance(each, ast.Constant))
                yield from (name for name in names if isinstance(name, str) and _PRIVATE.fullmatch(name))


@cache
def _parsed(path: Path) -> ast.AST:
    return ast.parse(path.read_text())


def _found(search: Callable[[ast.AST], Iterator[str]], *folders: str) -> dict[str, set[str]]:
    """What a search finds in each module of some folders but the door; those where it finds nothing are left out."""
    paths = [path for folder in folders for path in (_ROOT / folder).rglob("*.py") if path != _DOOR]
    found = {str(path.relative_to(_ROOT)): set(search(_parsed(path))) - _OURS for path in paths}
    return {path: names for path, names in found.items() if names}


@pytest.mark.slow
def test_no_module_but_the_door_imports_a_private_name() -> None:
    assert _found(_private_imports, "worker", "operator", "benchmarks") == {}


@pytest.mark.slow
def test_no_module_but_the_door_reads_or_sets_a_private_attribute_of_others() -> None:
    assert _found(_private_reads, "worker/tuningjob/engine", "worker/tuningjob/search") == {}


def test_the_two_searches_for_private_names_find_them_in_the_door() -> None:
    door = ast.parse(_DOOR.read_text())
    assert {"sklearn.model_selection._validation._fit_and_score", "joblib._utils.eval_expr"} <= set(
        _private_imports(door)
    )
    assert {"_scorers", "_tree", "_score_func", "_effective_probability"} <= set(_private_reads(door))


# --- another version than the proved ones

_SEARCH: Final = """
import json, warnings
import joblib, narwhals, sklearn
{fake}
import numpy as np
import sklearn.pipeline
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.preprocessing import StandardScaler
from sklearn.pipeline import make_pipeline

before = narwhals.stable.v2.dependencies.is_into_dataframe, sklearn.pipeline._fit_transform_one
seen = set()

def scorer(estimator, X, y):
    now = narwhals.stable.v2.dependencies.is_into_dataframe, sklearn.pipeline._fit_transform_one
    seen.add(tuple(one is other for one, other in zip(before, now)))
    return estimator.score(X, y)

X, y = make_classification(80, random_state=0)
pipeline = make_pipeline(StandardScaler(), RandomForestClassifier(random_state=0))
grid = {{"randomforestclassifier__n_estimators": [2, 4]}}
theirs = GridSearchCV(pipeline, grid, cv=2).fit(X, y).cv_results_["split1_test_score"]
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    import tuningjob
    from tuningjob.engine.rules.base import Rules, rules_for
    ours = tuningjob.GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    tuningjob.GridSearchCV(pipeline, grid, cv=2, scoring=scorer).fit(X, y)
print(json.dumps({{
    "same": bool(np.array_equal(theirs, ours.cv_results_["split1_test_score"])),
    "shares": ours.guard.groups > 0,
    "told": [str(each.message) for each in told if each.category.__name__ == "UnprovedVersion"],
    "rules": rules_for(RandomForestClassifier) != Rules(),
    "untouched": sorted(seen),
}}))
"""


def _searched(fake: str) -> dict[str, object]:
    ended = ended_beside_scikit_learn(_SEARCH.format(fake=fake))
    assert ended.returncode == 0, ended.stderr
    answer: dict[str, object] = json.loads(ended.stdout)
    return answer


@pytest.mark.slow  # new processes
def test_on_the_proved_versions_work_is_shared_and_nothing_is_said() -> None:
    want = {"same": True, "shares": True, "told": [], "rules": True, "untouched": [[False, False]]}
    assert _searched("") == want


@pytest.mark.slow  # new processes
def test_on_another_scikit_learn_every_fit_is_its_own_and_a_warning_says_so_once() -> None:
    answer = _searched("sklearn.__version__ = '1.10.0'")
    told = answer.pop("told")
    assert isinstance(told, list)
    assert len(told) == 1
    proved = "1.8.* and 1.9.*"
    assert told[0].startswith(f"scikit-learn 1.10.0 is installed, but tuningjob was proved on scikit-learn {proved}.")
    assert answer == {"same": True, "shares": False, "rules": False, "untouched": [[True, True]]}


@pytest.mark.slow  # new processes
def test_on_another_joblib_the_evaluation_is_left_to_scikit_learns_own_search() -> None:
    answer = _searched("joblib.__version__ = '2.0'")
    assert "joblib 2.0 is installed" in str(answer.pop("told"))
    assert answer == {"same": True, "shares": False, "rules": True, "untouched": [[True, True]]}


@pytest.mark.slow  # new processes
def test_on_another_narwhals_only_its_own_functions_stay() -> None:
    answer = _searched("narwhals.__version__ = '3.0'")
    assert "narwhals 3.0 is installed" in str(answer.pop("told"))
    assert answer == {"same": True, "shares": True, "rules": True, "untouched": [[True, False]]}


_ENGINE: Final = """
import json, sys, warnings
import sklearn
sklearn.__version__ = "1.10.0"
from sklearn.metrics import check_scoring
from sklearn.datasets import make_classification
from sklearn.ensemble import RandomForestClassifier
from tuningjob.engine import CellKey, Engine, Work
X, y = make_classification(60, random_state=0)
forest = RandomForestClassifier(random_state=0)
work = Work(estimator=forest, candidates=[{"n_estimators": 2}, {"n_estimators": 4}], X=X, y=y,
            splits=[(list(range(40)), list(range(40, 60)))], scorer=check_scoring(forest))
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    engine = Engine(work, 0)
engine.add([CellKey(0, 0), CellKey(1, 0)])
results = []
while not engine.is_done:
    results += engine.wait()
plain = [RandomForestClassifier(n, random_state=0).fit(X[:40], y[:40]).score(X[40:], y[40:]) for n in (2, 4)]
print(json.dumps([[each.category.__name__ for each in told], [r.outcome["test_scores"] for r in results] == plain]))
"""


@pytest.mark.slow  # a new process
def test_on_another_scikit_learn_a_workers_engine_says_so_and_goes_on() -> None:
    ended = ended_beside_scikit_learn(_ENGINE)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(ended.stdout) == [["UnprovedVersion"], True]


@pytest.mark.slow  # a new process
def test_a_name_that_another_version_lacks_is_told_with_the_versions_to_install() -> None:
    code = (
        "import sklearn.metrics._scorer as scorers\n"
        "sklearn = __import__('sklearn'); sklearn.__version__ = '1.10.0'\n"
        "del scorers._PassthroughScorer\n"
        "import tuningjob.engine.sklearn_private"
    )
    stderr = ended_beside_scikit_learn(code).stderr
    (error,) = [line for line in stderr.splitlines() if line.startswith("ImportError: cannot import name")][-1:]
    assert "'_PassthroughScorer'" in error
    assert "scikit-learn 1.10.0 is installed, but tuningjob was proved on scikit-learn 1.8.* and 1.9.*." in error
