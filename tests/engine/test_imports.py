"""A search imports no more of scikit-learn than scikit-learn's own does, and finds the same rules as if it had imported all."""

import json

import pytest

from tests.engine.fresh import ended_beside_scikit_learn
from tests.engine.versions import NEWEST, SKLEARN
from tuningjob.engine.rules.base import MODULES, all_rules

_SEARCH = """
import json, sys
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from {module} import GridSearchCV
X, y = make_classification(60, random_state=0)
GridSearchCV(LogisticRegression(), {{"C": [0.1, 1.0]}}, cv=2, n_jobs=1).fit(X, y)
print(json.dumps([name for name in sys.modules if name.startswith("sklearn.") and name.count(".") == 1]))
"""
# a process that has imported no rule yet, and then the one that has forked it
_RULES = """
import json, os
from sklearn.utils.discovery import all_estimators
from tuningjob.engine.rules.base import load_rules, rules_for
kinds = all_estimators()
if os.fork():
    os.wait()
    load_rules()
print(json.dumps({name: repr([type(rule).__name__ for rule in vars(rules_for(kind)).values()]) for name, kind in kinds}))
"""


def _answers(code: str) -> list[object]:
    """What it prints, a line each."""
    ended = ended_beside_scikit_learn(code)
    assert ended.returncode == 0, ended.stderr
    return [json.loads(line) for line in ended.stdout.splitlines()]


@pytest.mark.slow  # new processes
def test_a_search_imports_no_part_of_scikit_learn_that_its_own_search_does_not() -> None:
    (ours,) = _answers(_SEARCH.format(module="tuningjob.engine.search_cv"))
    (theirs,) = _answers(_SEARCH.format(module="sklearn.model_selection"))
    assert isinstance(ours, list)
    assert isinstance(theirs, list)
    heavy = {"ensemble", "neighbors", "tree", "svm", "decomposition", "neural_network"}
    assert {f"sklearn.{name}" for name in heavy} & set(ours) <= set(theirs)


@pytest.mark.slow  # new processes
def test_rules_that_are_imported_when_needed_are_those_of_all() -> None:
    when_needed, of_all = _answers(_RULES)
    assert when_needed == of_all


def test_each_module_of_rules_is_said_to_be_about_the_parts_that_its_rules_are_for() -> None:
    rules = [rule for rule in all_rules() if type(rule).__module__.startswith("tuningjob.engine.rules.")]
    real = {
        (".".join(kind.__module__.split(".")[:2]), type(rule).__module__.rpartition(".")[2])
        for rule in rules
        for kind in rule.estimators
    }
    said = {(part, name) for part, names in MODULES.items() for name in names.split()}
    assert real <= said
    # on another version than those that it was proved on, a rule is not in force
    assert SKLEARN < NEWEST or {(part, name) for part, name in said - real if part.startswith("sklearn.")} == set()
