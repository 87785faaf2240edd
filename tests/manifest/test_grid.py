"""The grid is scikit-learn's ParameterGrid, without scikit-learn; and a sample has as many candidates as its ParameterSampler."""

import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import ParameterGrid, ParameterSampler

from tuningjob.errors import ManifestRefused
from tuningjob.manifest.grid import GRID, SAMPLE, Grid, Sample, parse_grid
from tuningjob.manifest.search import GridSearch, RandomSearch, Search
from tuningjob.search.build import build_space, materialise

names = st.sampled_from(["C", "gamma", "kernel", "svc__C", "max_depth", "alpha"])
scalars = st.none() | st.integers(-5, 5) | st.floats(0, 1) | st.sampled_from(["scale", "rbf"])
ranges = st.builds(
    lambda start, length: {"range": [start, start + length]}, st.integers(-5, 5), st.integers(1, 3)
) | st.builds(lambda start, num: {"linspace": [start, start + 3, num]}, st.integers(-5, 5), st.integers(1, 4))
values = st.lists(scalars | ranges, min_size=1, max_size=3) | ranges
maps = st.dictionaries(names, values, max_size=3)
grids = maps | st.lists(maps, min_size=1, max_size=3)
distributions = st.one_of(
    st.builds(lambda low, more: {"uniform": [low, low + more]}, st.integers(-5, 5), st.floats(0.1, 5)),
    st.builds(lambda low, more: {"loguniform": [low, low + more]}, st.floats(0.1, 5), st.floats(0.1, 5)),
    st.builds(lambda low, more: {"randint": [low, low + more]}, st.integers(-5, 5), st.integers(1, 5)),
)
drawn_maps = st.dictionaries(names, values | values | distributions, max_size=3)
samples = drawn_maps | st.lists(drawn_maps, min_size=1, max_size=3)


@pytest.mark.slow
@given(grids)
def test_every_candidate_is_the_one_that_parameter_grid_has_there(parameters: Any) -> None:
    grid = parse_grid(parameters)
    want = ParameterGrid(build_space(grid.maps, GRID))
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
        ({"C": {"uniform": [0, 1]}}, r"parameters\.C: must be a list of values, but got \{'uniform': \[0, 1\]\}\. \{uniform: …\} is drawn from: that is for spec\.search\.random\."),
        ([{}, {"C": {"loguniform": [1, 2]}}], r"parameters\[1\]\.C: must be a list of values, .* \{loguniform: …\} is drawn from: that is for spec\.search\.random\."),
        ({"C": {"randint": "many"}}, r"parameters\.C: must be a list of values, .* \{randint: …\} is drawn from: that is for spec\.search\.random\."),
        ({"C": [1, {"uniform": [0, 1]}]}, r"parameters\.C\[1\]: must be one value, but got \{'uniform': \[0, 1\]\}"),
    ],
)  # fmt: skip
def test_what_is_no_grid_is_refused_with_its_field(parameters: Any, message: str) -> None:
    with pytest.raises(ManifestRefused, match=message):
        parse_grid(parameters)


def test_all_problems_of_a_map_are_told_at_once() -> None:
    with pytest.raises(ManifestRefused) as refused:
        parse_grid({"C": [], "gamma": 3})
    assert [problem.field.rsplit(".", 1)[1] for problem in refused.value.problems] == ["C", "gamma"]


def sample_of(parameters: Any, iterations: int = 10) -> Sample:
    found = Search(random=RandomSearch(parameters=parameters, iterations=iterations)).space
    assert isinstance(found, Sample)
    return found


def test_a_search_is_a_grid_or_a_sample() -> None:
    assert isinstance(Search(grid=GridSearch(parameters={"C": [1, 2]})).space, Grid)
    assert sample_of({"C": [1, 2]}).maps == parse_grid({"C": [1, 2]}).maps


@pytest.mark.slow
@given(samples, st.integers(1, 40))
def test_a_sample_has_as_many_candidates_as_parameter_sampler_draws(parameters: Any, iterations: int) -> None:
    sample = sample_of(parameters, iterations)
    want = ParameterSampler(build_space(sample.maps, SAMPLE), iterations, random_state=0)
    assert sample.size == len(want)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The total space of parameters", UserWarning)
        assert sample.size == len(list(want))


UNIFORM = {"uniform": [0, 1]}


@pytest.mark.parametrize(
    ("parameters", "iterations", "combinations", "size"),
    [
        ({"C": [1, 2], "gamma": {"range": [3]}}, 5, 6, 5),
        ({"C": [1, 2], "gamma": {"range": [3]}}, 6, 6, 6),
        ({"C": [1, 2], "gamma": {"range": [3]}}, 7, 6, 6),
        ({"C": [1, 1]}, 7, 2, 2),
        ([{"C": [1, 2]}, {"gamma": [1, {"linspace": [0, 1, 4]}]}], 100, 7, 7),
        ({}, 100, 1, 1),
        ([{}, {"C": [1]}], 100, 2, 2),
        ({"C": UNIFORM}, 100, None, 100),
        ({"C": {"loguniform": [1, 2]}, "gamma": [1]}, 100_000, None, 100_000),
        ({"C": {"randint": [0, 1]}}, 100, None, 100),
        ([{"C": [1]}, {"C": UNIFORM}], 100, None, 100),
        ({"C": {"range": [1_000_000]}}, 100_000, 1_000_000, 100_000),
        ({f"p{i}": [0, 1] for i in range(62)}, 100_000, 2**62, 100_000),
        ([{f"p{i}": [0, 1] for i in range(power)} for power in range(63)], 10, 2**63 - 1, 10),
        ({**{f"p{i}": [0, 1] for i in range(63)}, "C": UNIFORM}, 10, None, 10),
        # a parameter may be called so
        ({"uniform": [0, 1]}, 10, 2, 2),
    ],
)  # fmt: skip
def test_a_sample_has_its_iterations_or_all_combinations_of_its_lists_if_they_are_fewer(
    parameters: Any, iterations: int, combinations: int | None, size: int
) -> None:
    sample = sample_of(parameters, iterations)
    assert (sample.combinations, sample.size) == (combinations, size)


TWO_BOUNDS = r"must be \[low, high\], but got "
NUMBERS = r"must be \[low, high\], numbers, but got "
FINITE = r"must be \[low, high\], finite numbers, low less than high, but got "
INTEGERS = r"must be \[low, high\], integers within ±2\^53, low less than high \(which is not drawn\), but got "
POSITIVE = r"must be \[low, high\] with low greater than 0, but got "
ANY_KIND = ("uniform", "loguniform", "randint")
BAD_BOUNDS: list[tuple[tuple[str, ...], Any, str]] = [
    (ANY_KIND, [], TWO_BOUNDS),
    (ANY_KIND, [1], TWO_BOUNDS),
    (ANY_KIND, [1, 2, 3], TWO_BOUNDS),
    (ANY_KIND, 1, TWO_BOUNDS),
    (ANY_KIND, "12", TWO_BOUNDS),
    (ANY_KIND, None, TWO_BOUNDS),
    (ANY_KIND, {"low": 1, "high": 2}, TWO_BOUNDS),
    (ANY_KIND, [True, 2], TWO_BOUNDS),
    (ANY_KIND, [0, True], TWO_BOUNDS),
    (("uniform", "loguniform"), ["1", "2"], NUMBERS),
    (("uniform", "loguniform"), [1, None], NUMBERS),
    (("uniform", "loguniform"), [1, {"float": 2}], NUMBERS),
    (("uniform", "loguniform"), [2, 1], FINITE),
    (("uniform", "loguniform"), [1, 1], FINITE),
    (("uniform", "loguniform"), [1, float("inf")], FINITE),
    (("uniform", "loguniform"), [float("-inf"), 1], FINITE),
    (("uniform", "loguniform"), [float("nan"), 1], FINITE),
    (("uniform", "loguniform"), [1, float("nan")], FINITE),
    (("uniform", "loguniform"), [1, 10**309], FINITE),
    # to floats they are one
    (("uniform", "loguniform"), [2**53, 2**53 + 1], FINITE),
    # each is finite and what is between them is not
    (("uniform",), [-1e308, 1e308], FINITE),
    (("loguniform",), [0, 1], POSITIVE),
    (("loguniform",), [-0.0, 1], POSITIVE),
    (("loguniform",), [-1, 1], POSITIVE),
    (("randint",), [2, 1], INTEGERS),
    (("randint",), [1, 1], INTEGERS),
    (("randint",), [0, 1.5], INTEGERS),
    (("randint",), [0.0, 1], INTEGERS),
    (("randint",), ["0", "1"], INTEGERS),
    (("randint",), [0, None], INTEGERS),
    (("randint",), [0, float("inf")], INTEGERS),
    (("randint",), [0, 2**53 + 1], INTEGERS),
    (("randint",), [-(2**53) - 1, 0], INTEGERS),
]


@pytest.mark.parametrize(
    ("kind", "bounds", "message"), [(kind, bounds, message) for kinds, bounds, message in BAD_BOUNDS for kind in kinds]
)
def test_bounds_that_a_distribution_cannot_have_are_refused(kind: str, bounds: Any, message: str) -> None:
    with pytest.raises(ManifestRefused, match=rf"^spec\.search\.random\.parameters\.C\.{kind}: {message}"):
        sample_of({"C": {kind: bounds}})


@pytest.mark.parametrize(
    ("kind", "bounds"),
    [
        ("uniform", [-1, 1]),
        ("uniform", [0, 1.7e308]),
        ("uniform", [0, 5e-324]),
        ("loguniform", [5e-324, 1.7e308]),
        ("loguniform", [1, 2]),
        ("randint", [0, 1]),
        ("randint", [-(2**53), 2**53]),
    ],
)
def test_what_is_drawn_is_within_the_bounds(kind: str, bounds: list[float]) -> None:
    low, high = bounds
    space = build_space(sample_of({"C": {kind: bounds}}).maps, SAMPLE)
    drawn = [each["C"] for each in ParameterSampler(space, 100, random_state=0)]
    assert all(low <= value < high if kind == "randint" else low <= value <= high for value in drawn)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"C": [{"uniform": [0, 1]}]}, r"parameters\.C\[0\]: must be one value, but got \{'uniform': \[0, 1\]\}\. \{uniform: …\} is drawn from: write it in the place of the list\."),
        ({"C": [1, {"loguniform": [1, 2]}]}, r"parameters\.C\[1\]: must be one value, .* \{loguniform: …\} is drawn from: write it in the place of the list\."),
        ({"C": [[{"randint": [1, 2]}]]}, r"parameters\.C\[0\]\[0\]: must be one value, .* \{randint: …\} is drawn from"),
        ({"C": [{"class": "a.B", "params": {"x": {"uniform": [0, 1]}}}]}, r"parameters\.C\[0\]\.params\.x: must be one value, but got"),
        ({"C": [{"tuple": [{"range": [3]}]}]}, r"parameters\.C\[0\]\.tuple\[0\]: must be one value, .* \{range: …\} makes several: write it in the place of the list, or of an item in it\."),
        ({"C": {"normal": [0, 1]}}, r"parameters\.C: must be a list of values, but got \{'normal': \[0, 1\]\}\. Or one of "),
        ({"C": {"uniform": [0, 1], "loc": 3}}, r"parameters\.C: must be a list of values, but got"),
        ({"C": []}, r"parameters\.C: must be a list with at least one value, but got \[\]"),
        ({"C": 3}, r"parameters\.C: must be a list of values, but got 3\. Write \[3\] for a single one\."),
        ([], r"parameters: must be a map of parameters, or a list of such maps, but got \[\]"),
        (None, r"parameters: must be a map of parameters, or a list of such maps, but got None"),
        ([{"C": [1]}, "C"], r"parameters\[1\]: must be a map of parameters, but got 'C'"),
        ([{"C": [1]}, {"C": {"uniform": [1, 0]}}], r"parameters\[1\]\.C\.uniform: must be \[low, high\], finite"),
        ({"C": {"range": [1_000_001]}}, r"parameters: must be lists of at most 1,000,000 values together, but got 1,000,001\. Draw from \{randint: \[low, high\]\}, \{uniform: …\} or \{loguniform: …\} instead\."),
        ({"C": {"linspace": [0, 1, 10**12]}, "gamma": UNIFORM}, r"parameters: must be lists of at most 1,000,000 values together"),
        ([{"C": [1, {"range": [500_000]}]}, {"C": {"logspace": [0, 1, 500_000]}}], r"parameters: must be lists of at most 1,000,000 values together, but got 1,000,001"),
        ({f"p{i}": [0, 1] for i in range(63)}, r"parameters: must be lists of at most 2\^63 - 1 combinations, which scikit-learn draws by their number, but got 9,223,372,036,854,775,808\. Give fewer values, or draw one parameter from a distribution\."),
        ([{f"p{i}": [0, 1] for i in range(62)}] * 2, r"parameters: must be lists of at most 2\^63 - 1 combinations"),
    ],
)  # fmt: skip
def test_what_is_no_sample_is_refused_with_its_field(parameters: Any, message: str) -> None:
    with pytest.raises(ManifestRefused, match=rf"^spec\.search\.random\.{message}"):
        sample_of(parameters)


def test_all_problems_of_a_map_that_is_drawn_from_are_told_at_once() -> None:
    with pytest.raises(ManifestRefused) as refused:
        sample_of({"C": {"uniform": [1, 0]}, "alpha": UNIFORM, "gamma": [], "kernel": [{"randint": [1, 2]}]})
    assert [problem.field.removeprefix(f"{SAMPLE}.") for problem in refused.value.problems] == [
        "C.uniform",
        "gamma",
        "kernel[0]",
    ]
