"""What cannot be written with the model is found before the first fit, with the way to it and what helps."""

import functools
import pickle
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC

from tests.search.estimators import Keeping, Locked, Tokenizer
from tests.search.searches import small
from tuningjob.errors import ManifestRefused
from tuningjob.search.picklable import unpicklable

LOCK = "cannot pickle '_thread.lock' object"


def local_object() -> str:
    """What Python itself says of one, in words that change with its version."""
    with pytest.raises((AttributeError, pickle.PicklingError)) as caught:
        pickle.dumps(local_class())
    return str(caught.value)


class Slotted:
    __slots__ = ("left", "right")

    def __init__(self, right: Any) -> None:
        self.left = 1
        self.right = right


def where(value: Any) -> str:
    found = unpicklable(value, "estimator")
    assert found is not None
    return str(found)


def numbers() -> Iterator[int]:
    yield 1


def local_class() -> Any:
    class Local:
        pass

    return Local()


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (Pipeline([("words", Locked()), ("svc", SVC())]), f"estimator.steps[0].tokenizer._lock: {LOCK}"),
        (FeatureUnion([("a", StandardScaler()), ("b", Locked())]), f"estimator.transformer_list[1].tokenizer._lock: {LOCK}"),
        (ColumnTransformer([("a", Locked(), [0])]), f"estimator.transformers[0].tokenizer._lock: {LOCK}"),
        (Pipeline([("in", Pipeline([("words", Locked())])), ("svc", SVC())]), f"estimator.steps[0].steps[0].tokenizer._lock: {LOCK}"),
        (Keeping({"a": [1, numbers()]}), "estimator.what['a'][1]: cannot pickle 'generator' object"),
        (Keeping((1, threading.Lock())), f"estimator.what[1]: {LOCK}"),
        (Keeping(Slotted(threading.Lock())), f"estimator.what.right: {LOCK}"),
        (Keeping(functools.partial(max, key=threading.Lock())), f"estimator.what.keywords['key']: {LOCK}"),
        (Keeping(Tokenizer().locked), f"estimator.what.__self__._lock: {LOCK}"),
        (Keeping(local_class()), f"estimator.what: {local_object()}"),
    ],
    ids=["step", "union", "columns", "nested", "dict", "tuple", "slots", "partial", "method", "local class"],
)  # fmt: skip
def test_the_way_to_what_cannot_be_pickled_is_told(value: Any, told: str) -> None:
    assert where(value) == told


def test_a_lambda_is_to_become_a_named_function() -> None:
    found = unpicklable(Pipeline([("log", FunctionTransformer(lambda x: x)), ("svc", SVC())]), "estimator")
    assert found is not None
    assert found.path == "estimator.steps[0].func"
    assert "<lambda>" in found.error
    assert found.advice.startswith("Make it a named function at the top of a module")


def test_what_holds_itself_is_walked_once() -> None:
    circle: list[Any] = []
    circle.append(circle)
    assert unpicklable(circle, "estimator") is None
    circle.append(threading.Lock())
    assert where(circle) == f"estimator[1]: {LOCK}"


leaves = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
trees = st.recursive(
    leaves, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)


@pytest.mark.slow
@given(tree=trees, steps=st.lists(st.sampled_from(["list", "dict", "slots", "estimator"]), max_size=6))
def test_wherever_it_is_hidden_the_path_leads_to_it(tree: Any, steps: list[str]) -> None:
    assert unpicklable(tree, "value") is None
    lock = threading.Lock()
    value: Any = lock
    path = ""
    for step in steps:
        if step == "list":
            value, path = [tree, value], f"[1]{path}"
        elif step == "dict":
            value, path = {"a": tree, "b": value}, f"['b']{path}"
        elif step == "slots":
            value, path = Slotted(value), f".right{path}"
        else:
            value, path = Keeping(value), f".what{path}"
    found = unpicklable(value, "value")
    assert found is not None
    assert found.path == f"value{path}"


def test_an_estimator_that_cannot_be_pickled_is_refused_before_anything_runs() -> None:
    pipeline: list[dict[str, Any]] = [
        {"name": "words", "class": "tests.search.estimators.Locked"},
        {"name": "tree", "class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}},
    ]
    with pytest.raises(ManifestRefused) as refused:
        small({"tree__max_depth": [1]}, pipeline=pipeline)
    (problem,) = refused.value.problems
    assert problem.reason == "NotPicklable"
    assert str(problem) == (
        f"spec.estimator: must be what can be pickled, but got estimator.steps[0].tokenizer._lock: {LOCK}. Open files, locks, "
        "threads, generators and connections live in their process alone: make it in fit (and drop it at fit's end), or leave it "
        "out in the object's __getstate__."
    )


def test_a_value_of_the_grid_that_cannot_be_pickled_is_refused_with_its_place() -> None:
    pipeline: list[dict[str, Any]] = [
        {"name": "words", "class": "sklearn.preprocessing.StandardScaler"},
        {"name": "tree", "class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}},
    ]
    tried = ["passthrough", {"class": "tests.search.estimators.Locked"}]
    with pytest.raises(ManifestRefused) as refused:
        small({"words": tried}, pipeline=pipeline)
    (problem,) = refused.value.problems
    assert problem.field == "spec.search.grid.parameters.words"
    assert problem.got == f"words[1].tokenizer._lock: {LOCK}"
