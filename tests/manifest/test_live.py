"""What may change of a TuningJob whose search runs. The API server's own word on it is in test_api_server_changes.py."""

from typing import Any

import pytest

from tests.manifest.manifests import DRAWN, FULL, MINIMAL, Body, manifest
from tuningjob.manifest import TuningJobSpec, load
from tuningjob.manifest.live import frozen_changes, with_live_fields
from tuningjob.manifest.loading import dump_spec

MUTABLE: Body = {
    "parallelism": 7,
    "suspend": True,
    "cancel": True,
    "activeDeadlineSeconds": 60,
    "ttlSecondsAfterFinished": 0,
}


def spec_of(spec: Body, **changes: Any) -> TuningJobSpec:
    return load(manifest({**spec, **changes})).spec


def test_the_clusters_side_of_a_search_may_change() -> None:
    assert frozen_changes(spec_of(MINIMAL), spec_of(MINIMAL, **MUTABLE)) == []


def test_what_is_asked_now_is_done_on_what_was_admitted() -> None:
    admitted, current = spec_of(MINIMAL), spec_of(MINIMAL, **MUTABLE, image="other", resources={"cpu": 4})
    assert with_live_fields(admitted, dump_spec(current)) == spec_of(MINIMAL, **MUTABLE)


def test_a_deadline_may_be_taken_away() -> None:
    admitted = spec_of(MINIMAL, **MUTABLE)
    assert with_live_fields(admitted, dump_spec(spec_of(MINIMAL))) == spec_of(MINIMAL)


def test_whatever_else_was_edited_the_live_fields_are_followed() -> None:
    admitted = spec_of(MINIMAL, suspend=True)
    broken = {"estimator": {"class": 3}, "parallelism": 7, "suspend": False, "unknown": 1}
    live = with_live_fields(admitted, broken)

    assert (live.parallelism, live.suspend) == (7, False)
    assert live.estimator == admitted.estimator
    assert with_live_fields(admitted, {"parallelism": "many"}) == admitted


def test_all_else_is_told_by_its_path_and_in_order() -> None:
    changes: Body = {
        "estimator": {"class": "sklearn.svm.SVR", "params": {"C": 1}},
        "search": {"grid": {"parameters": {"C": [1]}}},
        "resources": {"memory": "2Gi"},
        "pod": {"env": [{"name": "A", "value": "b"}]},
        "image": "other",
        "parallelism": 3,
    }
    assert frozen_changes(spec_of(MINIMAL), spec_of(MINIMAL, **changes)) == [
        "spec.estimator.class",
        "spec.estimator.params",
        "spec.search.grid.parameters",
        "spec.resources.memory",
        "spec.pod.env",
        "spec.image",
    ]


@pytest.mark.parametrize(("one", "other"), [(1, True), (0, False), ("1", 1), ({"float": 1}, 1), ([1], {"tuple": [1]})])
def test_values_that_are_equal_to_python_alone_are_different(one: Any, other: Any) -> None:
    old, new = (
        spec_of(MINIMAL, estimator={"class": "sklearn.svm.SVC", "params": {"C": value}}) for value in (one, other)
    )
    assert frozen_changes(old, new) == ["spec.estimator.params"]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"C": [1]}, {"C": [True]}),
        ({"C": [[1, {"a": 1}]]}, {"C": [[1, {"a": 2}]]}),
        ({"C": {"uniform": [1, 2]}}, {"C": {"uniform": [1, 3]}}),
        ({"C": {"uniform": [1, 2]}}, {"C": {"loguniform": [1, 2]}}),
        ({"C": {"uniform": [1, 2]}}, {"C": [1, 2]}),
        ({"C": [1]}, [{"C": [1]}]),
    ],
)
def test_what_a_random_search_draws_from_does_not_change(one: Any, other: Any) -> None:
    old, new = (spec_of(DRAWN, search={"random": {"parameters": parameters}}) for parameters in (one, other))
    assert frozen_changes(old, new) == ["spec.search.random.parameters"]
    assert with_live_fields(old, dump_spec(new)) == old


def test_neither_do_its_iterations_and_its_seed() -> None:
    changes = {"search": {"random": {**DRAWN["search"]["random"], "iterations": 21, "randomState": 8}}}
    assert frozen_changes(spec_of(DRAWN), spec_of(DRAWN, **changes)) == [
        "spec.search.random.iterations",
        "spec.search.random.randomState",
    ]


def test_a_grid_does_not_become_a_random_search_of_the_same_parameters() -> None:
    grid = spec_of(MINIMAL)
    random = spec_of(MINIMAL, search={"random": MINIMAL["search"]["grid"]})
    for old, new in ((grid, random), (random, grid)):
        assert frozen_changes(old, new) == ["spec.search.grid", "spec.search.random"]
        assert with_live_fields(old, dump_spec(new)) == old


def test_a_default_that_is_written_down_is_no_change() -> None:
    assert frozen_changes(spec_of(MINIMAL), spec_of(MINIMAL, crossValidation={"folds": 5}, pod={}, mode="Run")) == []
    drawn = {"parameters": {"C": [1]}}
    spelled = {**drawn, "iterations": 10, "randomState": 0}
    old, new = (spec_of(MINIMAL, search={"random": random}) for random in (drawn, spelled))
    assert frozen_changes(old, new) == []


def test_a_cancelled_search_does_not_go_on() -> None:
    assert frozen_changes(spec_of(FULL, cancel=True), spec_of(FULL, cancel=False)) == ["spec.cancel"]
