"""What the scale's page makes of measurements, and that each side evaluates what it says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.scale import pods
from benchmarks.scale.page import EACH, TUNINGJOB, Many, OnPods, Slept, bound, page
from tuningjob.manifest import load
from tuningjob.sizing import size_of

SIDES = Path(pods.__file__).with_name("sides.py")


@pytest.mark.parametrize(
    ("count", "seconds", "slots", "want"), [(10_000, 1.0, 16, 625.0), (90, 2.0, 16, 11.25), (3, 2.0, 16, 2.0)], ids=str
)
def test_no_order_ends_before_the_bound(count: int, seconds: float, slots: int, want: float) -> None:
    assert bound(count, seconds, slots) == want


def test_the_page_says_what_was_measured_and_what_was_not() -> None:
    slept = [
        Slept("ours", 100, 1.0, 10, 10.5),
        Slept("ray", 100, 1.0, 10, None, why="its wheel cannot be installed here"),
    ]
    on_pods = [
        OnPods(TUNINGJOB, 90, 2.0, 16, 20.0),
        OnPods(EACH, 90, 2.0, 16, 100.0),
        OnPods(EACH, 500, 2.0, 16, 400.0),
    ]
    many = [Many(1_000_000, 500.0, 4_321, "2026-11-30")]
    text = page(slept, on_pods, many, ["10^6 fits: no time"], machine="Here.")

    assert "| 100 × 1 s | 10 | `tuningjob.GridSearchCV` | 10.5 | 1.050 |" in text
    assert "| 100 × 1 s | 10 | Ray Tune | not measured | its wheel cannot be installed here |" in text
    assert "| 90 × 2 s | 16 | 11.2 s | 20.0 s | 100.0 s | 5.0 | 1.78 |" in text
    assert "| 500 × 2 s | 16 | 62.5 s | not measured | 400.0 s |  |  |" in text
    assert "| 1,000,000 | 500 | 2,000 | 4.3 kB | 2026-11-30 |" in text
    assert "- 10^6 fits: no time" in text


def test_the_search_of_the_cluster_is_a_manifest_of_as_many_fits() -> None:
    spec = load(pods.tuningjob("search-90", 90, 2.0)).spec
    assert spec.parallelism * int(spec.resources.cpu) == pods.SLOTS


def test_the_search_of_a_million_fits_has_so_many() -> None:
    assert size_of(load(pods.million("million")).spec).fits == pods.MILLION


@pytest.mark.slow
def test_a_side_evaluates_every_candidate_at_once_where_there_are_slots() -> None:
    # with a warning it would say that it takes fewer processes than there are slots
    words = [sys.executable, "-W", "error::UserWarning", str(SIDES), "ours", "8", "0.25", "4"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["seconds"] >= 0.5
