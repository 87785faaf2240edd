"""Candidates that share work are neighbours in the walk."""

from typing import Any

from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import ParameterGrid
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from tuningjob.journal.walk import Walk, is_sound
from tuningjob.search.order import blocks_of


def walked(estimator: Any, *param_grid: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """The candidates on one split, as they are walked."""
    candidates = list(ParameterGrid(list(param_grid)))
    blocks = blocks_of(estimator, param_grid)
    assert is_sound(blocks, len(candidates))
    walk = Walk(blocks, len(candidates), 1)
    return [candidates[walk.cell(place).candidate] for place in range(walk.size)]


def test_a_nested_axis_turns_fastest_and_is_not_parted() -> None:
    grid = {"n_estimators": [10, 20], "max_features": [1, 2], "min_samples_leaf": [1, 5]}
    order = walked(RandomForestClassifier(), grid)
    assert [each["n_estimators"] for each in order] == [10, 20] * 4
    (block,) = blocks_of(RandomForestClassifier(), [grid])
    assert [axis.together for axis in block.axes] == [False, False, True]


def test_the_first_steps_of_a_pipeline_turn_slowest_whatever_their_names() -> None:
    pipeline = Pipeline([("z", PCA()), ("a", StandardScaler()), ("m", SVC())])
    order = walked(pipeline, {"m__C": [1, 2], "z__n_components": [1, 2], "a__with_mean": [True, False]})
    assert [each["z__n_components"] for each in order] == [1] * 4 + [2] * 4
    assert [each["m__C"] for each in order] == [1, 2] * 4


def test_a_step_turns_more_slowly_than_its_parameters() -> None:
    pipeline = Pipeline([("scale", StandardScaler()), ("model", SVC())])
    order = walked(pipeline, {"model": [SVC(), SVC(kernel="linear")], "model__C": [1, 2], "scale": ["passthrough"]})
    assert [each["model__C"] for each in order] == [1, 2, 1, 2]


def test_a_final_step_that_others_may_replace_has_no_nested_axis() -> None:
    pipeline = Pipeline([("model", RandomForestClassifier())])
    grid = {"model": [RandomForestClassifier()], "model__n_estimators": [1, 2]}
    (block,) = blocks_of(pipeline, [grid])
    assert not any(axis.together for axis in block.axes)
    (block,) = blocks_of(pipeline, [{"model__n_estimators": [1, 2]}])
    assert [axis.together for axis in block.axes] == [True]


def test_the_maps_of_a_list_are_walked_one_after_the_other() -> None:
    order = walked(SVC(), {"kernel": ["linear"], "C": [1, 2]}, {"kernel": ["rbf"], "gamma": [3, 4, 5]}, {})
    assert order == [
        {"C": 1, "kernel": "linear"},
        {"C": 2, "kernel": "linear"},
        *({"gamma": gamma, "kernel": "rbf"} for gamma in (3, 4, 5)),
        {},
    ]
