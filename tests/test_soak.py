"""The soak's own plan and checks: a check that cannot fail would let an hour of chaos pass."""

import itertools
from collections import Counter

import pytest

from benchmarks.soak import checks, kinds, plan
from benchmarks.soak.checks import Cell, Ended, Fit, Life
from benchmarks.soak.counted import LEDGER, CountedTree, rows_of
from benchmarks.soak.ledger import Ledger
from benchmarks.soak.stage import search_of
from benchmarks.soak.truth import digest_of
from tests.waiting import wait_for
from tuningjob.manifest import load

MIB = 2**20
DEEDS = len(plan.HOLDS)
HEADER = "mean_fit_time,param_C,mean_test_score\n"


def first_acts(seed: int, count: int = 3 * DEEDS) -> list[plan.Act]:
    return list(itertools.islice(plan.acts(seed), count))


# --- the plan


def test_a_seed_repeats_what_is_done_and_another_does_not() -> None:
    assert first_acts(1) == first_acts(1)
    assert [act.deed for act in first_acts(1)] != [act.deed for act in first_acts(2)]


def test_even_a_short_run_does_each_thing_once_and_each_lasts_as_long_as_it_may() -> None:
    for start in range(0, 3 * DEEDS, DEEDS):
        pack = first_acts(5)[start : start + DEEDS]
        assert {act.deed for act in pack} == set(plan.HOLDS)
    for act in first_acts(5):
        least, most = plan.HOLDS[act.deed]
        assert least <= act.holds <= most


def test_a_draw_chooses_among_what_is_there() -> None:
    act = first_acts(1)[0]
    assert act.choose([]) is None
    assert act.choose(["only"]) == "only"
    assert {each.choose(range(3)) for each in first_acts(1)} == {0, 1, 2}


def test_each_kind_is_sent_as_often_as_its_weight_by_tenants_in_turn() -> None:
    pack = sum(kinds.WEIGHTS.values())
    sent = list(itertools.islice(plan.orders(3, kinds.WEIGHTS, ("a", "b")), 2 * pack))

    assert Counter(order.kind for order in sent[:pack]) == kinds.WEIGHTS
    assert Counter(order.tenant for order in sent) == {"a": pack, "b": pack}
    assert len({order.name for order in sent}) == 2 * pack
    assert sent == list(itertools.islice(plan.orders(3, kinds.WEIGHTS, ("a", "b")), 2 * pack))


@pytest.mark.parametrize("kind", kinds.SPECS)
def test_every_kind_is_a_manifest_in_both_places(kind: str) -> None:
    assert load(kinds.on_a_laptop(kind)).spec.estimator
    asked = load(kinds.manifest(kind, f"s0001-{kind}", url="https://10.200.0.1:1/t.csv", ledger="10.200.0.1:2"))
    assert asked.metadata.name == f"s0001-{kind}"


# --- the checks

CANCELLED = Ended("s1", "grid", "Failed", "Cancelled", was_cancelled=True)
ENDS: dict[str, tuple[Ended, list[str]]] = {
    "equal": (Ended("s1", "grid", "Complete", digest="d"), []),
    "another result": (
        Ended("s1", "grid", "Complete", digest="x"),
        ["s1: its results are not those of grid on a laptop (x)"],
    ),
    "no result": (Ended("s1", "grid", "Complete"), ["s1: its results are not those of grid on a laptop (none)"]),
    "failed": (Ended("s1", "grid", "Failed", "BackoffLimitExceeded"), ["s1: ended Failed (BackoffLimitExceeded)"]),
    "cancelled": (CANCELLED, []),
    "cancelled by nobody": (Ended("s1", "grid", "Failed", "Cancelled"), ["s1: ended Failed (Cancelled)"]),
    "failed before it was cancelled": (
        Ended("s1", "grid", "Failed", "Refused", was_cancelled=True),
        ["s1: ended Failed (Refused)"],
    ),
    "deleted": (Ended("s1", "grid", "Deleted", was_deleted=True), []),
    "deleted by nobody": (Ended("s1", "grid", "Deleted"), ["s1: ended Deleted (no reason)"]),
}


@pytest.mark.parametrize(("ended", "want"), ENDS.values(), ids=ENDS)
def test_how_a_search_must_end(ended: Ended, want: list[str]) -> None:
    assert checks.wrong_ends([ended], {"grid": "d"}) == want


def test_what_was_acknowledged_must_be_there_as_it_was() -> None:
    seen = [Cell("a", 0, "x", 1.0), Cell("a", 1, "y", 2.0), Cell("b", 0, "z", 3.0)]
    assert checks.lost(seen, seen) == []
    assert checks.lost(seen, [seen[0], Cell("a", 1, "changed", 2.0)]) == [
        "a: cell 1 was acknowledged and is another",
        "b: cell 0 was acknowledged and is gone",
    ]
    assert checks.lost(seen, seen[:2], forgotten={"b"}) == []


def test_a_fit_that_begins_after_its_result_was_acknowledged_is_found() -> None:
    cells = [Cell("a", 0, "x", 10.0)]
    twice_before = [Fit("a", 0, 3.0), Fit("a", 0, 9.0), Fit("a", 1, 99.0), Fit("other", 0, 99.0)]
    assert checks.fitted_again(twice_before, cells) == []
    again = [Fit("a", 0, 11.0), Fit("a", 0, 12.5)]
    assert checks.fitted_again(again, cells) == [
        "a: cell 0 was fitted 2 times more, up to 2.5 s after it was acknowledged"
    ]
    assert checks.fitted_again(again, cells, slack_seconds=3) == []


@pytest.mark.parametrize(
    ("samples", "faults"),
    [
        ([20, 60, 80] + [100] * 20, 0),  # it starts
        ([100, 101] * 10, 0),
        ([100 + 5 * number for number in range(20)], 1),
        ([100, 500], 0),  # too short a life to say
        ([100] * 19 + [300], 1),  # above its limit, once
    ],
    ids=["starts", "flat", "grows", "short", "above its limit"],
)
def test_memory_must_be_flat(samples: list[int], faults: int) -> None:
    life = Life("operator", 1, [each * MIB for each in samples])
    limit = {"operator": (1_000 if faults == 0 else 256) * MIB}
    assert len(checks.grown([life], limit)) == faults


def test_a_process_that_had_not_begun_to_work_by_its_second_quarter_has_not_grown() -> None:
    flat, late, grows = (
        Life("operator", pid, [each * MIB for each in samples])
        for pid, samples in enumerate([[100] * 12, [50] * 8 + [105] * 4, [100] * 8 + [150] * 4])
    )
    limit = {"operator": 1_000 * MIB}
    assert checks.grown([flat, flat, late], limit) == []
    (fault,) = checks.grown([flat, flat, grows], limit)
    assert fault.startswith("operator (pid 2): grew from 100 MiB to 150 MiB: 100 ")


def test_tables_and_namespaces_must_be_empty_but_for_what_stays() -> None:
    assert checks.not_emptied({"cells": 0, "audit": 3}, kept={"audit": 3}) == []
    assert checks.not_emptied({"cells": 2, "audit": 3}, kept={"audit": 2}) == [
        "audit: 3 rows, and 2 are to stay",
        "cells: 2 rows, and 0 are to stay",
    ]
    assert checks.left_behind({"a": ["configmaps/ours"], "b": []}, ours={"ours"}) == []
    assert checks.left_behind({"a": ["secrets/x", "pods/y", "configmaps/ours"]}, ours={"ours"}) == [
        "a: pods/y, secrets/x"
    ]


# --- what is told and compared


def test_results_are_compared_without_their_times() -> None:
    assert digest_of(f"{HEADER}0.1,1,0.5\n") == digest_of(f"{HEADER}0.2,1,0.5\n")
    assert digest_of(f"{HEADER}0.1,1,0.5\n") != digest_of(f"{HEADER}0.1,1,0.50000001\n")
    assert digest_of(f"{HEADER}0.1,1,0.5\n") != digest_of(f"{HEADER}0.1,2,0.5\n")


@pytest.mark.slow
def test_every_fit_is_heard_of(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = [[0.0], [1.0], [2.0]], [0, 0, 1]
    with Ledger.listening("127.0.0.1") as ledger:
        monkeypatch.setenv(LEDGER, ledger.address)
        monkeypatch.setenv("TUNINGJOB_POD_NAME", "s0001-counted-0-abcde")
        CountedTree(min_samples_leaf=2).fit(X, y)
        wait_for(lambda: bool(ledger.fits), seconds=10)
        (fit,) = ledger.fits
    assert (search_of(fit.pod), fit.leaves, fit.rows) == ("s0001-counted", 2, rows_of(X))
