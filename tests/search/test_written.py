"""What a search answers with are the manifest's own literals: they load back to equal values, and can be pasted into a manifest."""

import json
import math
import warnings
from collections import Counter
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.compose import make_column_selector
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectKBest, f_regression
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils._test_common.instance_generator import _construct_instances
from sklearn.utils.discovery import all_estimators

from tests.search.estimators import Hanging, KnowsItself
from tuningjob.errors import ManifestRefused
from tuningjob.manifest import load
from tuningjob.manifest.canonical import canonical, read_yaml
from tuningjob.search.problem import prepare
from tuningjob.search.written import from_literals, public_path, to_literals

# JSON escapes what is beyond as two halves, which YAML does not join
text = st.text(st.characters(max_codepoint=0xD7FF))
hashable = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | text,
    lambda inner: st.lists(inner, max_size=3).map(tuple),
    max_leaves=4,
)
tags = st.sampled_from(
    ["class", "params", "float", "int", "tuple", "dict", "none", "repr", "range", "uniform", "1", "-0", "", "a"]
)
values = st.recursive(
    hashable
    | st.builds(
        SVC, C=st.floats(1e-3, 1e3), class_weight=st.none() | st.dictionaries(st.integers(0, 3), st.floats(0, 1))
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(hashable | tags, inner, max_size=3)
        | st.builds(lambda step: make_pipeline(StandardScaler(with_mean=False), step), inner)
    ),
    max_leaves=8,
)


def as_told(value: Any) -> Any:
    """For a comparison that tells 1 from 1.0 and True, 0.0 from -0.0, and takes one NaN for another."""
    if isinstance(value, BaseEstimator):
        return type(value), as_told(value.get_params(deep=False))
    if isinstance(value, make_column_selector):
        return type(value), as_told(vars(value))
    if isinstance(value, list | tuple):
        return type(value), [as_told(item) for item in value]
    if isinstance(value, dict):
        return dict, [(as_told(key), as_told(item)) for key, item in sorted(value.items(), key=repr)]
    return type(value), repr(value)


def read_back(written: dict[str, Any]) -> dict[str, Any]:
    """By a file, and by an API server: both must give the same."""
    found = from_literals(json.loads(json.dumps(written)))
    again = from_literals(canonical(json.loads(json.dumps(canonical(written)))))
    assert as_told(found) == as_told(again)
    return found


@pytest.mark.slow
@given(values)
def test_every_value_loads_back_as_it_was(value: Any) -> None:
    assert as_told(read_back(to_literals({"p": value}))) == as_told({"p": value})


@pytest.mark.slow
@given(values)
def test_what_was_written_can_be_pasted_into_yaml(value: Any) -> None:
    written = to_literals({"p": value})
    assert as_told(from_literals(read_yaml(json.dumps(written)))) == as_told({"p": value})


@pytest.mark.parametrize("cls", [cls for _, cls in all_estimators()], ids=lambda cls: cls.__name__)
def test_every_estimator_of_scikit_learn_loads_back_by_its_public_name(cls: type[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are deprecated
        for estimator in _construct_instances(cls):
            written = to_literals({"p": estimator})
            assert "._" not in written["p"]["class"]
            if "repr" not in json.dumps(written):
                assert as_told(read_back(written)["p"]) == as_told(estimator)


@pytest.mark.parametrize("library", ["xgboost", "lightgbm", "catboost"])
def test_every_estimator_of_other_libraries_loads_back_by_its_public_name(library: str) -> None:
    if find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    import_module("tests.lone_catboost")
    module = import_module(library)
    classes = [each for each in vars(module).values() if isinstance(each, type) and hasattr(each, "set_params")]
    assert classes
    for cls in classes:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some are deprecated
            estimator = cls().set_params(max_depth=3)
            written = to_literals({"p": estimator})
            assert written == {"p": {"class": f"{library}.{cls.__name__}", "params": {"max_depth": 3}}}
            assert repr(from_literals(written)["p"].get_params()) == repr(estimator.get_params())


def nowhere() -> Any:
    def function() -> None: ...

    return function


WRITTEN: dict[str, tuple[Any, Any]] = {
    "a tuple": ((1, 1), {"tuple": [1, 1]}),
    "a float that is whole": (10.0, {"float": 10}),
    "another": (0.5, 0.5),
    "an integer": (10, 10),
    "one beyond 64 bits": (10**20, {"int": "100000000000000000000"}),
    "nothing": (None, {"none": True}),
    "nothing, in a list": ([None], [None]),
    "not a number": (math.nan, {"float": "nan"}),
    "infinity": (-math.inf, {"float": "-inf"}),
    "numpy's numbers": ([np.float64(2), np.float32(0.5), np.int64(3), np.bool_(1), np.str_("a")], [{"float": 2}, 0.5, 3, True, "a"]),
    "a dict with words for keys": ({"a": 1, "b": None}, {"a": 1, "b": {"none": True}}),
    "one with numbers": ({0: 1, 1: 10}, {"dict": [[0, 1], [1, 10]]}),
    "one that looks like a literal": ({"tuple": [1]}, {"dict": [["tuple", [1]]]}),
    "one that looks like an array": ({"array": [1]}, {"dict": [["array", [1]]]}),
    "one that looks like an estimator": ({"class": "a.B"}, {"dict": [["class", "a.B"]]}),
    "an estimator": (SVC(random_state=0), {"class": "sklearn.svm.SVC", "params": {"random_state": 0}}),
    "an estimator as it is made": (SVC(), {"class": "sklearn.svm.SVC"}),
    "a count where a fraction could be meant": (
        RandomForestClassifier(max_features=1, min_samples_leaf=1),
        {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"max_features": {"int": 1}}},
    ),
    "all of them where a count could be meant": (
        RandomForestClassifier(max_features=1.0),
        {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"max_features": {"float": 1}}},
    ),
    "a pipeline": (
        Pipeline([("svc", SVC(C=0.5))]),
        {"class": "sklearn.pipeline.Pipeline", "params": {"steps": [{"tuple": ["svc", {"class": "sklearn.svm.SVC", "params": {"C": 0.5}}]}]}},
    ),
    "an estimator of the user's": (Hanging(max_depth=2), {"class": "tests.search.estimators.Hanging", "params": {"max_depth": 2}}),
    "a kernel": (
        RBF(2.5) + WhiteKernel(),
        {
            "class": "sklearn.gaussian_process.kernels.Sum",
            "params": {
                "k1": {"class": "sklearn.gaussian_process.kernels.RBF", "params": {"length_scale": 2.5}},
                "k2": {"class": "sklearn.gaussian_process.kernels.WhiteKernel"},
            },
        },
    ),
    "a function": (np.log1p, {"function": "numpy.log1p"}),
    "another function": (f_regression, {"function": "sklearn.feature_selection.f_regression"}),
    "a function inside an estimator": (
        SelectKBest(f_regression),
        {
            "class": "sklearn.feature_selection.SelectKBest",
            "params": {"score_func": {"function": "sklearn.feature_selection.f_regression"}},
        },
    ),
    "a class": (SVC, {"function": "sklearn.svm.SVC"}),
    "a function of nowhere": (nowhere(), {"repr": "tests.search.test_written.nowhere.<locals>.function"}),
    "a function that is written as text": ({"function": "a.b"}, {"dict": [["function", "a.b"]]}),
    "an object of another class": (
        make_column_selector(dtype_include="number"),
        {"class": "sklearn.compose.make_column_selector", "params": {"dtype_include": "number"}},
    ),
    "an object that keeps more than its arguments": (Counter(a=1), {"repr": "Counter({'a': 1})"}),
    "an array": (np.arange(3), {"array": [0, 1, 2]}),
    "an array of floats in rows": (np.array([[0.5, 1], [2, 3]]), {"array": [[0.5, {"float": 1}], [{"float": 2}, {"float": 3}]]}),
    "an array that lists would not make": (np.arange(3, dtype=np.float32), {"repr": "array([0., 1., 2.], dtype=float32)"}),
    "an integer beyond what Python writes": (10**5_000, {"repr": "<int>"}),
}  # fmt: skip


@pytest.mark.parametrize("what", WRITTEN)
def test_a_value_is_written_as_a_manifest_would(what: str) -> None:
    value, want = WRITTEN[what]
    found = to_literals({"p": value})["p"]
    assert (found, json.dumps(found)) == (want, json.dumps(want))


def test_an_ambiguous_count_is_told_by_the_estimator_that_has_it() -> None:
    forest = make_pipeline(StandardScaler(), RandomForestClassifier(max_features=1, max_depth=1))
    params = {"randomforestclassifier__max_features": 1, "randomforestclassifier__max_depth": 1}
    assert to_literals(params, forest) == {
        "randomforestclassifier__max_depth": 1,
        "randomforestclassifier__max_features": {"int": 1},
    }
    assert to_literals({"max_features": 1, "passthrough__x": 1}) == {"max_features": 1, "passthrough__x": 1}


def test_what_was_written_is_refused_or_means_the_same_in_a_manifest(iris_forest: dict[str, Any]) -> None:
    best = {
        "n_estimators": 3,
        "max_features": 1.0,
        "max_depth": None,
        "class_weight": {0: 1, 1: 2.0},
        "min_samples_leaf": 1,
    }
    forest = RandomForestClassifier(**best)
    iris_forest["spec"]["estimator"]["params"] = to_literals(best, forest)
    iris_forest["spec"]["search"]["grid"]["parameters"] = {
        name: [value] for name, value in to_literals(best, forest).items()
    }
    problem = prepare(load(iris_forest).spec, Path())
    assert as_told({name: problem.estimator.get_params()[name] for name in best}) == as_told(best)
    assert [as_told(dict(candidate)) for candidate in problem.candidates] == [as_told(best)]
    iris_forest["spec"]["estimator"]["params"] = to_literals({"class_weight": nowhere()})
    with pytest.raises(
        ManifestRefused,
        match=r"spec\.estimator\.params\.class_weight: must be one value, but got \{'repr': .*stands where a search had",
    ):
        load(iris_forest)


def test_what_cannot_be_written_is_refused_where_it_is_read() -> None:
    with pytest.raises(ManifestRefused, match=r"params\.f: must be one value, but got \{'repr': .*function'\}"):
        from_literals(to_literals({"f": nowhere()}))


def test_no_class_that_is_neither_an_estimators_nor_scikit_learns_is_called_for_an_answer() -> None:
    literal = {"class": "subprocess.Popen", "params": {"args": ["true"]}}
    with pytest.raises(
        ManifestRefused, match=r"must be an estimator's class, or one of scikit-learn's, but got 'subprocess\.Popen'"
    ):
        from_literals({"f": [{"pipeline": [{"name": "a", "class": "sklearn.svm.SVC", "params": {"C": literal}}]}]})


@pytest.mark.slow
def test_what_is_too_large_for_the_journal_is_marked_and_the_rest_is_kept() -> None:
    found = to_literals({"huge": list(range(100_000)), "long": "x" * 40_000, "longer": "y" * 40_000, "C": 1})
    assert len(json.dumps(found)) < 64 * 2**10
    assert found["C"] == 1
    assert found["huge"]["repr"].startswith("[0, 1, 2, ")
    assert sorted(type(found[name]).__name__ for name in ("long", "longer")) == ["dict", "str"]


def test_what_is_inside_of_itself_or_too_deep_is_marked() -> None:
    deep: Any = 0
    for _ in range(100):
        deep = [deep]
    circle: list[Any] = []
    circle += [circle, circle]
    found = to_literals({"deep": deep, "circle": circle, "self": KnowsItself(), "C": 1})
    assert found["C"] == 1
    assert all("repr" in json.dumps(found[name]) for name in ("deep", "circle", "self"))
    assert len(json.dumps(found)) < 64 * 2**10


def test_a_class_that_nobody_can_import_has_no_path() -> None:
    class Local(SVC):
        pass

    assert public_path(Local) is None
    assert set(to_literals({"p": Local()})["p"]) == {"repr"}
    assert public_path(RandomForestClassifier) == "sklearn.ensemble.RandomForestClassifier"


def test_answers_of_older_releases_are_read_as_they_were() -> None:
    old = {
        "ngram_range": [1, 1],
        "max_depth": None,
        "missing": "nan",
        "model": {"class": "sklearn.svm._classes.SVC", "params": {**SVC(C=3).get_params(), "class_weight": None}},
    }
    found = from_literals(old)
    assert as_told(found["model"]) == as_told(SVC(C=3))
    assert {**found, "model": None} == {**old, "model": None}
