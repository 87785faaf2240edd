"""What the results say about the next search: each table with all of the advice that it calls for, and no more."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from tests.report.tables import Params, table
from tuningjob.report.advice import Kind, advice_of
from tuningjob.report.table import Origin, ResultTable, ScoreToBeat

C = [0.1, 1.0, 10.0]
PEAK = {0.1: 0.80, 1.0: 0.95, 10.0: 0.85}
RISE = {0.1: 0.80, 1.0: 0.90, 10.0: 0.95}
STEADY = (-0.0001, 0.0001, 0.0002, -0.0002, 0.0)
BOTH = {"C": C, "gamma": [0.01, 0.1, 1.0]}
RNG = np.random.default_rng(0)
DRAWN = [{"C": float(value)} for value in 10 ** RNG.uniform(-3, 3, 60)]


def hill(params: Params) -> float:
    """A peak at C=1, gamma=0.1."""
    return 0.95 - 0.05 * abs(np.log10(params["C"])) - 0.05 * abs(np.log10(params["gamma"]) + 1)


def nan_where(bad: Callable[[Params], bool], score: Callable[[Params], float]) -> Callable[[Params], float]:
    return lambda params: float("nan") if bad(params) else score(params)


def of_c(values: dict[float, float]) -> Callable[[Params], float]:
    return lambda params: values[params["C"]]


# a sentence: the results, and of each piece of advice its kind and what to write
CASES: dict[str, tuple[Callable[[], ResultTable], list[tuple[Kind, str]]]] = {
    "a peak within the grid calls for nothing": (lambda: table({"C": C}, of_c(PEAK)), []),
    "a peak of two parameters calls for nothing": (lambda: table(BOTH, hill), []),
    "the largest value is the best": (
        lambda: table({"C": C}, of_c(RISE)),
        [(Kind.EDGE, "C: [0.1, 1.0, 10.0, 100.0, 1000.0]")],
    ),
    "the smallest value is the best": (
        lambda: table({"C": C}, of_c({0.1: 0.95, 1.0: 0.9, 10.0: 0.8})),
        [(Kind.EDGE, "C: [0.001, 0.01, 0.1, 1.0, 10.0]")],
    ),
    "the best number of neighbours is an integer, and 1 is the least": (
        lambda: table({"k": [3, 5, 7]}, lambda params: 1 - params["k"] / 20),
        [(Kind.EDGE, "k: [1, 3, 5, 7]")],
    ),
    "trees go on by their ratio": (
        lambda: table({"n": [50, 100, 200]}, lambda params: params["n"] / 1_000),
        [(Kind.EDGE, "n: [50, 100, 200, 400, 800]")],
    ),
    "the edge is the parameter's own bound": (
        lambda: table(
            {"share": [0.2, 0.6, 1.0]},
            lambda params: params["share"] / 2,
            origin=Origin(may_be=lambda _name, value: value <= 1),
        ),
        [],
    ),
    "a value that was never negative is not continued below zero": (
        lambda: table({"alpha": [0.0, 0.5, 1.0]}, lambda params: 1 - params["alpha"]),
        [],
    ),
    "None is no bound: the largest number before it is no edge": (
        lambda: table({"depth": [2, 4, 8, None]}, lambda params: {2: 0.5, 4: 0.7, 8: 0.9, None: 0.8}[params["depth"]]),
        [],
    ),
    "None itself is no edge": (
        lambda: table({"depth": [2, 4, 8, None]}, lambda params: {2: 0.5, 4: 0.7, 8: 0.8, None: 0.9}[params["depth"]]),
        [],
    ),
    "the best of two values alone says nothing of an edge": (
        lambda: table({"C": [0.1, 1.0]}, lambda params: RISE[params["C"]]),
        [],
    ),
    "words have no edge": (
        lambda: table({"kernel": ["linear", "poly", "rbf"]}, lambda params: len(params["kernel"]) / 10),
        [],
    ),
    "a plateau at the edge is none": (
        lambda: table({"C": C}, lambda params: [0.8, 0.8, 0.81, 0.8, 0.8] if params["C"] < 1 else [0.9, 0.91, 0.9, 0.9, 0.89]),
        [],
    ),
    "drawn values whose best are the largest": (
        lambda: table(None, lambda params: 0.5 + np.log10(params["C"]) / 10, drawn=DRAWN),
        [(Kind.EDGE, "C: [")],
    ),
    "drawn values whose best are in the midst": (
        lambda: table(None, lambda params: 0.9 - abs(np.log10(params["C"])) / 10, drawn=DRAWN),
        [],
    ),
    "an axis that does not matter": (
        lambda: table(
            {**BOTH, "cache": [1, 2, 3]}, lambda params: hill(params) + {1: 0.0, 2: 0.0001, 3: 0.00005}[params["cache"]]
        ),
        [(Kind.FLAT, "cache: [2]"), (Kind.NOISE, "select: {fastestWithin: 0.0032}")],
    ),
    "an axis that matters beside another alone is not flat": (
        lambda: table(
            {"C": C, "kind": ["a", "b"]},
            lambda params: PEAK[params["C"]] + (0.02 if (params["kind"] == "a") == (params["C"] == 1.0) else -0.02),
        ),
        [],
    ),
    "an axis that makes no difference at all": (
        lambda: table({**BOTH, "verbose": [0, 5]}, hill),
        [(Kind.INERT, "verbose: [0]")],
    ),
    "an axis that makes no difference with one kernel": (
        lambda: table(
            {"C": C, "gamma": [0.01, 0.1, 1.0], "kernel": ["linear", "rbf"]},
            lambda params: hill(params) if params["kernel"] == "rbf" else PEAK[params["C"]] - 0.1,
        ),
        [(Kind.INERT, "kernel: [linear] in a map of its own, without gamma")],
    ),
    "where all candidates are alike no parameter is to blame": (lambda: table({"C": C, "gamma": [1, 2]}, lambda _: 0.9), []),
    "many candidates within one standard error": (
        lambda: table({"C": [1, 2, 3, 4]}, lambda params: 0.9 + {1: 0, 2: 0.002, 3: 0.001, 4: -0.06}[params["C"]]),
        [(Kind.NOISE, "select: {fastestWithin: 0.0032}")],
    ),
    "two candidates within one standard error are no crowd": (
        lambda: table({"C": C}, of_c({0.1: 0.8, 1.0: 0.95, 10.0: 0.949})),
        [],
    ),
    "no better than the defaults": (
        lambda: table(
            {"C": C},
            lambda params: {0.1: [0.7] * 5, 1.0: [0.8, 0.9, 0.8, 0.9, 0.85], 10.0: [0.85, 0.86, 0.85, 0.86, 0.73]}[params["C"]],
            origin=Origin(defaults={"C": 10.0}),
        ),
        [(Kind.NO_GAIN, "")],
    ),
    "surely better than the defaults": (
        lambda: table({"C": C}, of_c(PEAK), origin=Origin(defaults={"C": 10.0})),
        [],
    ),
    "no better than the defaults, which were measured": (
        lambda: table(
            {"C": C},
            of_c(PEAK),
            origin=Origin(
                defaults={"C": 5.0}, measured_defaults=ScoreToBeat("the defaults", np.asarray([0.9, 0.99, 0.9, 0.99, 0.95]))
            ),
        ),
        [(Kind.NO_GAIN, "")],
    ),
    "the defaults are the best": (lambda: table({"C": C}, of_c(PEAK), origin=Origin(defaults={"C": 1.0})), []),
    "no better than guessing": (
        lambda: table(
            {"C": C},
            of_c({0.1: 0.50, 1.0: 0.52, 10.0: 0.49}),
            origin=Origin(dummy=ScoreToBeat("guessing", np.asarray([0.5, 0.55, 0.5, 0.53, 0.5]))),
        ),
        [(Kind.NO_GAIN, "")],
    ),
    "candidates that know their training data by heart": (
        lambda: table(
            {"depth": [2, 4, None]}, lambda params: {2: 0.8, 4: 0.9, None: 0.85}[params["depth"]],
            train=lambda params: {2: 0.81, 4: 0.93, None: 1.0}[params["depth"]],
        ),
        [(Kind.OVERFIT, "select: {maxOverfitGap: 0.05}")],
    ),
    "train scores that are near the test scores": (
        lambda: table({"C": C}, of_c(PEAK), train=lambda params: PEAK[params["C"]] + 0.04),
        [],
    ),
    "a gap that the manifest allows": (
        lambda: table({"C": C}, of_c(PEAK), train=lambda _: 1.0, origin=Origin(gap=0.3)),
        [],
    ),
    "a split that is far off for all": (
        lambda: table({"C": C}, of_c(PEAK), splits=(0.001, -0.4, 0.002, -0.001, 0.0)),
        [(Kind.FOLD, "crossValidation: {folds: 5, shuffle: true, randomState: 0}")],
    ),
    "a split that is far off for one candidate alone": (
        lambda: table({"C": C}, lambda params: [0.9, 0.91, 0.5, 0.9, 0.9] if params["C"] == 10 else PEAK[params["C"]]),
        [],
    ),
    "of three splits none is an outlier": (
        lambda: table({"C": [1, 5, 10]}, lambda params: {1: 0.1, 5: 0.99, 10: 0.1}[params["C"]], splits=(0.0, -0.2, 0.001)),
        [],
    ),
    "one value whose candidates all failed": (
        lambda: table(
            {**BOTH, "penalty": ["l1", "l2"]}, nan_where(lambda params: params["penalty"] == "l1", hill),
            origin=Origin(errors={"ValueError: no l1": 45}, failed_fits=45),
        ),
        [(Kind.FAILED, "penalty: [l2]")],
    ),
    "two values that do not go together": (
        lambda: table(
            {"C": C, "penalty": ["l1", "l2"], "solver": ["lbfgs", "saga"]},
            nan_where(
                lambda params: params["penalty"] == "l1" and params["solver"] == "lbfgs",
                lambda params: PEAK[params["C"]] + 0.02 * (params["solver"] == "saga") + 0.02 * (params["penalty"] == "l2"),
            ),
        ),
        [(Kind.FAILED, "{penalty: [l1], solver: [saga]}")],
    ),
    "failures that no value explains": (
        lambda: table(BOTH, nan_where(lambda params: abs(params["C"] * params["gamma"] - 0.01) < 1e-9, hill)),
        [(Kind.FAILED, "limits: {maxFailedFits: 0}")],
    ),
    "all failed": (
        lambda: table({"C": C}, lambda _: float("nan"), origin=Origin(errors={"ValueError: no": 15}, failed_fits=15)),
        [(Kind.FAILED, "limits: {maxFailedFits: 0}")],
    ),
    "time spent where nothing could win": (
        lambda: table(
            {**BOTH, "kernel": ["poly", "rbf"]},
            lambda params: hill(params) - 0.3 * (params["kernel"] == "poly"),
            seconds=lambda params: 9.0 if params["kernel"] == "poly" else 1.0,
        ),
        [(Kind.WASTED, "kernel: [rbf]")],
    ),
    "time spent where something might have won": (
        lambda: table(
            {**BOTH, "kernel": ["poly", "rbf"]},
            lambda params: [hill(params) + each for each in (0.05, -0.06, 0.04, -0.05, 0.0)]
            if params["kernel"] == "poly"
            else hill(params),
            seconds=lambda params: 9.0 if params["kernel"] == "poly" else 1.0,
        ),
        [],
    ),
    "a metric that disagrees": (
        lambda: table({"C": C}, of_c(PEAK), others={"recall": of_c({0.1: 0.9, 1.0: 0.6, 10.0: 0.5})}),
        [(Kind.METRIC, "refit: recall")],
    ),
    "metrics that agree": (lambda: table({"C": C}, of_c(PEAK), others={"recall": of_c(PEAK)}), []),
    "a metric that disagrees by less than the splits can show": (
        lambda: table(
            {"C": C}, of_c(PEAK), others={"recall": lambda params: [0.9, 0.8, 0.9, 0.8, 0.9] if params["C"] == 1.0 else [0.8, 0.9, 0.9, 0.9, 0.81]}
        ),
        [],
    ),
    "one candidate": (lambda: table({"C": [1.0]}, lambda _: 0.9), []),
    "one split": (lambda: table({"C": C}, of_c(PEAK), splits=(0.0,)), []),
    "a list of maps is looked at map by map": (
        lambda: table(
            [{"kernel": ["linear"], "C": C}, {"kernel": ["rbf"], "C": C, "gamma": [0.01, 0.1, 1.0]}],
            lambda params: hill(params) + params["gamma"] / 100 if params["kernel"] == "rbf" else PEAK[params["C"]] - 0.2,
        ),
        [],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_the_advice_is(case: str) -> None:
    make, want = CASES[case]

    got = advice_of(make())

    assert [each.kind for each in got] == [kind for kind, _ in sorted(want, key=lambda each: order(each[0]))]
    for advice, (_, write) in zip(got, sorted(want, key=lambda each: order(each[0])), strict=True):
        assert write in advice.write
        assert advice.seen.endswith((".", ")"))
        assert advice.reason


def test_a_rule_that_prune_refuses_is_advised_without_it() -> None:
    found = table({"C": [1, 2, 3, 4]}, lambda params: 0.9 + {1: 0, 2: 0.002, 3: 0.001, 4: -0.06}[params["C"]])
    pruned = replace(found, given_up=np.array([False, False, False, True]))

    (before,), (after,) = advice_of(found), advice_of(pruned)

    assert (
        before.write == "select: {fastestWithin: 0.0032}  # or crossValidation: {folds: 5, repeats: 5, randomState: 0}"
    )
    assert after.write == before.write.replace("or", "without prune, which no other rule than best goes with; or", 1)


def order(kind: Kind) -> int:
    return list(Kind).index(kind)


def test_there_are_cases_enough_of_each_kind() -> None:
    assert {kind for _, want in CASES.values() for kind, _ in want} == set(Kind)
    assert sum(not want for _, want in CASES.values()) >= len(Kind)
    assert len(CASES) >= 25
