"""How big a search is, and what is said of it."""

from typing import Any

import pytest

from tuningjob.errors import ManifestRefused
from tuningjob.sizing import Size, check_limit, n_jobs_of, pods_of, size_of, size_warning
from tuningjob.spec import load


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


def test_a_grid_over_its_own_limit_is_refused_with_the_field_and_what_to_do(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["limits"] = {"maxFits": 89}
    spec = load(iris_forest).spec
    with pytest.raises(ManifestRefused) as refused:
        check_limit(size_of(spec), spec)
    assert str(refused.value) == (
        "spec.search.grid.parameters: must be a grid of at most 89 fits (spec.limits.maxFits), but got "
        "18 candidates × 5 folds = 90 fits. Give fewer values or folds, or raise spec.limits.maxFits."
    )


def test_a_manifest_cannot_pass_the_clusters_ceiling(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["limits"] = {"maxFits": 1_000_000}
    spec = load(iris_forest).spec
    with pytest.raises(ManifestRefused, match="this cluster's ceiling"):
        check_limit(size_of(spec), spec, cluster_max_fits=50)


def test_a_number_too_long_to_read_is_told_as_a_power_of_ten(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["search"]["grid"]["parameters"] = {f"p{i}": {"range": [10]} for i in range(40)}
    spec = load(iris_forest).spec
    with pytest.raises(ManifestRefused, match=r"about 10\^40 candidates × 5 folds"):
        check_limit(size_of(spec), spec)
