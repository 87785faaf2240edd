"""How big a search is, and what is said of it."""

from typing import Any

import pytest

from tests.manifest.manifests import MINIMAL, manifest
from tuningjob.errors import ManifestRefused
from tuningjob.manifest import load
from tuningjob.sizing import Size, check_limit, n_jobs_of, pods_of, size_of, size_warning


def test_the_forest_grid_is_ninety_fits(iris_forest: dict[str, Any]) -> None:
    assert size_of(load(iris_forest).spec) == Size(candidates=18, splits=5)
    assert size_of(load(iris_forest).spec).fits == 90


@pytest.mark.parametrize(
    ("fits", "warned"), [(500, None), (501, "more than 500"), (1000, "more than 500"), (1001, "more than 1,000")]
)
def test_a_search_is_warned_of_above_500_and_above_1000_fits(fits: int, warned: str | None) -> None:
    warning = size_warning(Size(candidates=fits, splits=1))
    assert (warning is None) if warned is None else (warning is not None and warned in warning)


@pytest.mark.parametrize(("cpu", "n_jobs"), [("2", 2), (4, 4), ("2500m", 2), ("500m", 1), ("1", 1), ("0.1", 1)])
def test_n_jobs_is_the_floor_of_the_cpu_limit_and_at_least_one(
    iris_forest: dict[str, Any], cpu: str | int, n_jobs: int
) -> None:
    iris_forest["spec"]["resources"]["cpu"] = cpu
    assert n_jobs_of(load(iris_forest).spec) == n_jobs


@pytest.mark.parametrize(("parallelism", "pods"), [(1, 1), (45, 45), (90, 90), (1000, 90)])
def test_there_are_no_more_pods_than_there_is_work_for(
    iris_forest: dict[str, Any], parallelism: int, pods: int
) -> None:
    iris_forest["spec"]["parallelism"] = parallelism
    spec = load(iris_forest).spec
    assert pods_of(spec, size_of(spec)) == pods


def told(document: dict[str, Any], cluster_max_fits: int | None = None) -> str:
    """Why it is too big; empty if it is not."""
    try:
        spec = load(document).spec
        check_limit(size_of(spec), spec, cluster_max_fits=cluster_max_fits)
    except ManifestRefused as refused:
        return str(refused)
    return ""


@pytest.fixture
def drawn_forest(iris_forest: dict[str, Any]) -> dict[str, Any]:
    """The forest with 18 of more combinations: 90 fits, too."""
    iris_forest["spec"]["search"] = {"random": {"parameters": {"max_depth": {"randint": [1, 9]}}, "iterations": 18}}
    return iris_forest


def test_a_random_search_has_its_iterations_or_all_that_there_are(drawn_forest: dict[str, Any]) -> None:
    assert size_of(load(drawn_forest).spec) == Size(candidates=18, splits=5)
    drawn_forest["spec"]["search"]["random"]["parameters"] = {"max_depth": {"range": [1, 9]}}
    assert size_of(load(drawn_forest).spec) == Size(candidates=8, splits=5)
    drawn_forest["spec"]["search"]["random"] = {"parameters": {"max_depth": {"randint": [1, 9]}}}
    assert size_of(load(drawn_forest).spec) == Size(candidates=10, splits=5)


OWN = "or raise spec.limits.maxFits."
CEILING = "the ceiling is the administrator's (chart value limits.maxFits)."


@pytest.mark.parametrize(
    ("own", "ceiling", "must_be", "advice"),
    [
        (89, None, "89 fits (spec.limits.maxFits)", f"fewer values or folds, or spec.search.random with iterations: 17 in place of the grid, {OWN}"),
        (89, 90, "89 fits (spec.limits.maxFits)", f"fewer values or folds, or spec.search.random with iterations: 17 in place of the grid, {OWN}"),
        (5, None, "5 fits (spec.limits.maxFits)", f"fewer values or folds, or spec.search.random with iterations: 1 in place of the grid, {OWN}"),
        (4, None, "4 fits (spec.limits.maxFits)", f"fewer values or folds, {OWN}"),
        (1_000_000, 50, "50 fits (this cluster's ceiling)", f"fewer values or folds, or spec.search.random with iterations: 10 in place of the grid; {CEILING}"),
        (89, 50, "50 fits (this cluster's ceiling)", f"fewer values or folds, or spec.search.random with iterations: 10 in place of the grid; {CEILING}"),
        (89, 4, "4 fits (this cluster's ceiling)", f"fewer values or folds; {CEILING}"),
    ],
)  # fmt: skip
def test_a_grid_over_a_limit_is_refused_with_the_field_and_what_to_do(
    iris_forest: dict[str, Any], own: int, ceiling: int | None, must_be: str, advice: str
) -> None:
    iris_forest["spec"]["limits"] = {"maxFits": own}
    assert told(iris_forest, ceiling) == (
        f"spec.search.grid.parameters: must be a grid of at most {must_be}, but got "
        f"18 candidates × 5 folds = 90 fits. Give {advice}"
    )


@pytest.mark.parametrize(
    ("own", "ceiling", "must_be", "advice"),
    [
        (89, None, "89 fits (spec.limits.maxFits)", f"at most 17 iterations, or fewer folds, {OWN}"),
        (89, 90, "89 fits (spec.limits.maxFits)", f"at most 17 iterations, or fewer folds, {OWN}"),
        (4, None, "4 fits (spec.limits.maxFits)", f"fewer folds, {OWN}"),
        (1_000_000, 50, "50 fits (this cluster's ceiling)", f"at most 10 iterations, or fewer folds; {CEILING}"),
        (89, 4, "4 fits (this cluster's ceiling)", f"fewer folds; {CEILING}"),
    ],
)
def test_a_random_search_over_a_limit_is_refused_with_its_iterations(
    drawn_forest: dict[str, Any], own: int, ceiling: int | None, must_be: str, advice: str
) -> None:
    drawn_forest["spec"]["limits"] = {"maxFits": own}
    assert told(drawn_forest, ceiling) == (
        f"spec.search.random.iterations: must be a search of at most {must_be}, but got "
        f"18 candidates × 5 folds = 90 fits. Give {advice}"
    )


@pytest.mark.parametrize(("own", "ceiling"), [(90, None), (90, 90), (1_000, 90)])
def test_a_search_that_is_just_at_its_limit_is_taken(
    iris_forest: dict[str, Any], own: int, ceiling: int | None
) -> None:
    iris_forest["spec"]["limits"] = {"maxFits": own}
    assert told(iris_forest, ceiling) == ""
    iris_forest["spec"]["search"] = {"random": {"parameters": {"max_depth": {"randint": [1, 9]}}, "iterations": 18}}
    assert told(iris_forest, ceiling) == ""
    iris_forest["spec"]["search"]["random"]["iterations"] = 19
    assert told(iris_forest, ceiling) != ""


def test_a_grid_that_becomes_the_random_search_that_is_advised_is_taken(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["limits"] = {"maxFits": 89}
    grid = iris_forest["spec"]["search"].pop("grid")
    iris_forest["spec"]["search"] = {"random": {**grid, "iterations": 17}}
    assert told(iris_forest) == ""
    assert size_of(load(iris_forest).spec).fits == 85


def test_a_number_too_long_to_read_is_told_as_a_power_of_ten(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["search"]["grid"]["parameters"] = {f"p{i}": {"range": [10]} for i in range(40)}
    spec = load(iris_forest).spec
    with pytest.raises(ManifestRefused, match=r"about 10\^40 candidates × 5 folds"):
        check_limit(size_of(spec), spec)


@pytest.mark.parametrize(
    ("search", "why"),
    [
        ({"grid": {"parameters": {"C": {"range": [-(2**63) + 1, 2**63 - 1]}}}}, "spec.search.grid.parameters: must be a grid of at most 10,000 fits"),
        ({"random": {"parameters": {"C": {"range": [-(2**63) + 1, 2**63 - 1]}}}}, "spec.search.random.parameters: must be lists of at most 1,000,000 values together"),
        ({"grid": {"parameters": {f"p{i}": {"range": [10**18]} for i in range(250)}}}, "about 10^4500 candidates × 5 folds = about 10^4500 fits"),
        ({"random": {"parameters": {f"p{i}": {"range": [100]} for i in range(2_200)}}}, "but got about 10^4400."),
    ],
)  # fmt: skip
def test_numbers_that_no_machine_has_a_word_for_are_refused_like_all_others(search: dict[str, Any], why: str) -> None:
    assert why in told(manifest({**MINIMAL, "search": search}))


def test_a_distribution_is_no_value_of_a_list() -> None:
    random = {"parameters": {"C": {"range": [10**6]}, "gamma": {"uniform": [0, 1]}}}
    assert told(manifest({**MINIMAL, "search": {"random": random}})) == ""


@pytest.mark.parametrize(
    ("listed", "way", "instead"),
    [
        (10**6, "spec.search.random with iterations: 100000 in place of the grid", {"range": [10**6]}),
        (10**6 + 1, "spec.search.random with distributions and iterations: 100000 in place of the grid", {"randint": [0, 10**6 + 1]}),
    ],
)  # fmt: skip
def test_what_is_advised_can_be_done(listed: int, way: str, instead: dict[str, Any]) -> None:
    limits = {"maxFits": 4_000_000}
    grid = {"grid": {"parameters": {"C": {"range": [listed]}}}}
    assert way in told(manifest({**MINIMAL, "search": grid, "limits": limits}))
    drawn = {"random": {"parameters": {"C": instead}, "iterations": 100_000}}
    assert told(manifest({**MINIMAL, "search": drawn, "limits": limits})) == ""
