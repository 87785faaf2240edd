"""What a cell will cost: learned from a few, and never at a cost of its own that grows with the search."""

import itertools
import math
import tracemalloc
from random import Random
from statistics import median
from typing import Any

import pytest

from tuningjob.engine.forecast import Forecast

GRID = [
    {"n_estimators": n, "max_depth": depth, "criterion": criterion}
    for n, depth, criterion in itertools.product((50, 100, 400), (2, 8, None), ("gini", "entropy"))
]


def cost(params: dict[str, Any], random: Random) -> float:
    """Additive on a logarithmic scale, give or take a tenth."""
    deep = {2: 0.4, 8: 1.0, None: 1.3}[params["max_depth"]]
    dear = {"gini": 1.0, "entropy": 1.2}[params["criterion"]]
    return float(0.002 * params["n_estimators"] * deep * dear * math.exp(random.gauss(0, 0.1)))


def drawn(random: Random) -> dict[str, float]:
    return {name: random.lognormvariate(0, 1) for name in ("C", "gamma", "tol", "coef0")}


def test_before_anything_was_measured_sizes_compare() -> None:
    forecast = Forecast()
    assert not forecast.is_measured
    assert forecast.seconds(GRID[-1]) == 8 * forecast.seconds(GRID[0])


def test_sixteen_measured_cells_forecast_the_others() -> None:
    random = Random(0)
    forecast = Forecast()
    for params in random.sample(GRID, 16):
        forecast.learn(params, cost(params, random))
    errors = [abs(math.log(forecast.seconds(params) / cost(params, random))) for params in GRID for _ in range(5)]
    assert forecast.is_measured
    assert median(errors) < math.log(1.26)


def test_a_value_that_was_never_measured_is_forecast_by_its_size() -> None:
    forecast = Forecast()
    for n in (10, 20, 40, 80) * 2:
        forecast.learn({"n_estimators": n}, n * 0.01)
    assert forecast.seconds({"n_estimators": 80}) < forecast.seconds({"n_estimators": 160}) < 2.0


def test_a_search_without_parameters_has_a_forecast_too() -> None:
    forecast = Forecast()
    for _ in range(4):
        forecast.learn({}, 0.5)
    assert math.isclose(forecast.seconds({}), 0.5)


def test_what_was_measured_last_counts_when_there_is_much() -> None:
    forecast = Forecast()
    for number in range(40_000):
        forecast.learn({"solver": "a"}, 1.0 if number < 20_000 else 2.0)
    assert math.isclose(forecast.seconds({"solver": "a"}), 2.0, rel_tol=0.01)


@pytest.mark.slow
def test_many_candidates_of_values_drawn_from_distributions_cost_the_forecast_neither_memory_nor_time() -> None:
    random = Random(0)
    forecast = Forecast()
    tracemalloc.start()
    try:
        for _ in range(3_000):
            params = drawn(random)
            for _ in range(5):
                forecast.learn(params, params["C"])
            forecast.seconds(drawn(random))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert forecast.version >= 9
    assert peak < 20 * 2**20
