"""The grid is scikit-learn's ParameterGrid, without scikit-learn."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import ParameterGrid

from tuningjob.errors import ManifestRefused
from tuningjob.search.build import build_param_grid, materialise
from tuningjob.spec.grid import parse_grid

names = st.sampled_from(["C", "gamma", "kernel", "svc__C", "max_depth", "alpha"])
scalars = st.none() | st.integers(-5, 5) | st.floats(0, 1) | st.sampled_from(["scale", "rbf"])
ranges = st.builds(
    lambda start, length: {"range": [start, start + length]}, st.integers(-5, 5), st.integers(1, 3)
) | st.builds(lambda start, num: {"linspace": [start, start + 3, num]}, st.integers(-5, 5), st.integers(1, 4))
values = st.lists(scalars | ranges, min_size=1, max_size=3) | ranges
maps = st.dictionaries(names, values, max_size=3)
grids = maps | st.lists(maps, min_size=1, max_size=3)


@given(grids)
def test_every_candidate_is_the_one_that_parameter_grid_has_there(parameters: Any) -> None:
    grid = parse_grid(parameters)
    want = ParameterGrid(build_param_grid(grid))
    assert grid.size == len(want)
    for index in range(grid.size):
        assert {name: materialise(value) for name, value in grid.params_at(index).items()} == want[index]
    with pytest.raises(IndexError):
        grid.params_at(grid.size)
    with pytest.raises(IndexError):
        grid.params_at(-1)


def test_a_grid_of_ten_to_the_thirty_is_sized_and_not_enumerated() -> None:
    grid = parse_grid({f"p{i}": {"range": [10]} for i in range(30)})
    assert grid.size == 10**30
    assert grid.json_at(10**30 - 1) == {f"p{i}": 9 for i in range(30)}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"C": []}, r"parameters\.C: must be a list with at least one value, but got \[\]"),
        ([{"C": [1]}, {"C": []}], r"parameters\[1\]\.C: must be a list with at least one value"),
        ({"C": 3}, r"parameters\.C: must be a list of values, but got 3\. Write \[3\] for a single one\."),
        ({"C": "abc"}, r"parameters\.C: must be a list of values, but got 'abc'"),
        ([], r"parameters: must be a map of parameters, or a list of such maps, but got \[\]"),
        (["C"], r"parameters\[0\]: must be a map of parameters, but got 'C'"),
        (None, r"parameters: must be a map of parameters"),
        ({"C": {"logspace": [1, 2]}}, r"parameters\.C\.logspace: must be \[start, stop, num\]"),
        ({"C": {"logspace": [1, 2, 0]}}, r"num an integer of at least 1"),
        ({"C": {"range": [1, 5, 0]}}, r"step not 0"),
        ({"C": {"range": [5, 1]}}, r"must be a range with at least one value"),
        ({"C": [{"int": 1.5}]}, r"parameters\.C\[0\]\.int: must be an integer, but got 1\.5"),
        ({"C": [{"float": "many"}]}, r"parameters\.C\[0\]\.float: must be a number, but got 'many'"),
        ({"C": [{"none": False}]}, r"parameters\.C\[0\]\.none: must be true"),
        ({"C": [{"1": 0.5}]}, r"parameters\.C\[0\]\.1: must be a key that is a word.* Write \{dict: \[\[1, …\], …\]\}"),
        ({"C": [{"tuple": 3}]}, r"parameters\.C\[0\]\.tuple: must be a list"),
        ({"C": [{"class": 3}]}, r"parameters\.C\[0\]\.class: must be the dotted path of a class"),
    ],
)
def test_what_is_no_grid_is_refused_with_its_field(parameters: Any, message: str) -> None:
    with pytest.raises(ManifestRefused, match=message):
        parse_grid(parameters)


def test_all_problems_of_a_map_are_told_at_once() -> None:
    with pytest.raises(ManifestRefused) as refused:
        parse_grid({"C": [], "gamma": 3})
    assert [problem.field.rsplit(".", 1)[1] for problem in refused.value.problems] == ["C", "gamma"]
