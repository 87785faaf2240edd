"""What a search will take: the pilot's word first, the search's own fits more and more."""

import datetime as dt
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operator.world import NOON, make_settings, manifest
from tuningjob.journal.records import Progress
from tuningjob.protocol.records import Pilot, Preflight, SearchState, Spread
from tuningjob.sizing import n_jobs_within
from tuningjob_operator.decide.admission import admit
from tuningjob_operator.decide.estimate import Estimate, estimate, estimate_status, has_passed, useful_pods
from tuningjob_operator.decide.status import plan_status

PILOT = Pilot(
    cell_seconds=Spread(low=1.0, expected=2.0, high=4.0),
    process_bytes=Spread(low=50 * 2**20, expected=100 * 2**20, high=200 * 2**20),
    pod_bytes=300 * 2**20,
    cells=6,
    full=2,
)


def progress(*, pilot: Pilot | None = PILOT, **changes: Any) -> Progress:
    found = Preflight(data_digest="d", samples=1, features=1, versions={}, pilot=pilot)
    values: dict[str, Any] = {"done": 0, "total": 100, "preflight": found, **changes}
    return Progress(id="s", namespace="n", name="n", state=SearchState.RUNNING, revision=1, failed=0, **values)


def estimated(**changes: Any) -> Estimate:
    found = estimate(progress(**changes))
    assert found is not None
    return found


def test_nothing_is_said_while_nothing_was_measured() -> None:
    assert estimate(progress(pilot=None)) is None


def test_before_the_first_fit_it_is_the_pilots_word() -> None:
    found = estimated()

    assert (found.cell.low, found.cell.expected, found.cell.high) == (1.0, 2.0, 4.0)
    assert found.left.expected == 200.0
    assert found.basis == "a pilot of 6 fits (2 of them on all rows)"


def test_of_what_is_left_as_much_is_expected_to_be_pruned_as_was_until_now() -> None:
    assert estimated(pilot=None, done=40, pruned=10, measured=30, cell_seconds=60.0).left.expected == 60 * 0.75 * 2.0


def test_without_a_pilot_the_fits_that_are_in_speak_alone() -> None:
    found = estimated(pilot=None, done=10, measured=10, cell_seconds=30.0)

    assert found.cell.expected == 3.0
    assert found.basis == "10 fits of the search"


@given(st.integers(1, 10_000), st.floats(0.001, 1_000))
def test_the_more_is_measured_the_nearer_and_the_narrower(measured: int, seconds: float) -> None:
    found = estimated(measured=measured, cell_seconds=measured * seconds)
    more = estimated(measured=10 * measured, cell_seconds=10 * measured * seconds)

    assert found.cell.low <= found.cell.expected <= found.cell.high
    assert abs(more.cell.expected - seconds) <= abs(found.cell.expected - seconds) + 1e-9
    assert more.cell.high / more.cell.low <= found.cell.high / found.cell.low


def test_the_status_tells_hours_of_all_fits_and_the_end_of_what_is_left() -> None:
    found = estimated(done=50, measured=50, cell_seconds=100.0)
    shown = estimate_status(found, pods=2, n_jobs=5, now=NOON, runs=True)

    assert shown.cpu_hours.expected == float(f"{200 / 3600:.3g}")
    assert shown.wall_seconds.expected == 20.0
    assert shown.completes_at == "12:00Z"
    assert shown.memory_mib_per_process is not None
    assert shown.memory_mib_per_process.high == 200.0
    assert shown.memory_mib_per_pod == 300


def test_an_end_beyond_today_is_told_with_its_date() -> None:
    found = estimated(total=1_000_000)

    assert estimate_status(found, pods=1, n_jobs=10, now=NOON, runs=True).completes_at == "2026-01-03 19:33Z"


@pytest.mark.parametrize(
    ("told", "has_passed_at_noon"),
    [
        ("12:00Z", False),  # the minute is not over
        ("11:59Z", True),
        ("00:01Z", True),
        ("12:01Z", False),
        ("23:59Z", False),
        ("2026-01-01 11:59Z", True),
        ("2025-12-31 23:59Z", True),
        ("2026-01-02 00:30Z", False),
        ("whenever", False),
    ],
)
def test_whether_an_end_that_was_told_has_passed(told: str, has_passed_at_noon: bool) -> None:
    assert has_passed(told, NOON) is has_passed_at_noon


@given(st.floats(0, 1e8), st.floats(0, 11.9 * 3_600))
def test_what_is_told_has_not_passed_before_its_time_and_has_a_minute_after(left: float, later: float) -> None:
    end = NOON + dt.timedelta(seconds=left)
    told = estimate_status(estimated(pilot=None, done=1, total=2, measured=1, cell_seconds=left), **ONE).completes_at
    assert told is not None
    assert not has_passed(told, end)
    assert not has_passed(told, max(NOON, end - dt.timedelta(seconds=later)))
    assert has_passed(told, end + dt.timedelta(seconds=120 + later / 2))


ONE: Any = {"pods": 1, "n_jobs": 1, "now": NOON, "runs": True}


def test_no_end_is_told_while_no_pod_runs() -> None:
    assert estimate_status(estimated(), pods=1, n_jobs=1, now=NOON, runs=False).completes_at is None


def test_no_more_pods_are_useful_than_can_be_kept_busy() -> None:
    short = estimated(total=10)  # at most 40 s of work

    assert useful_pods(short, n_jobs=2) == 4
    assert useful_pods(estimated(total=1), n_jobs=16) == 1
    assert useful_pods(None, n_jobs=1) is None


def test_fewer_processes_where_memory_would_not_hold_them() -> None:
    gib = 2**30

    assert n_jobs_within(8, 2 * gib, PILOT) == 8
    assert n_jobs_within(8, gib, PILOT) == 3
    assert n_jobs_within(8, 400 * 2**20, PILOT) == 1
    assert n_jobs_within(8, gib, None) == 8
    assert n_jobs_within(8, 0, PILOT) == 8


@pytest.mark.parametrize(
    ("memory", "n_jobs", "room"), [("700Mi", 2, "2 processes fit"), ("500Mi", 1, "1 process fits")]
)
def test_status_says_why_there_are_fewer(memory: str, n_jobs: int, room: str) -> None:
    admitted = admit(manifest(resources={"cpu": "3", "memory": memory}), make_settings()).within_memory(PILOT)
    planned = plan_status(admitted)
    assert planned.n_jobs == n_jobs
    assert planned.reason.endswith(f"nJobs would be 3 by the CPU limit, but only {room} the memory of a pod")


def test_the_plan_says_what_part_of_its_cpu_a_pod_is_promised() -> None:
    def reason(request: str) -> str:
        admitted = admit(manifest(resources={"cpu": "2", "cpuRequest": request, "memory": "1Gi"}), make_settings())
        return plan_status(admitted).reason

    assert reason("250m").endswith("; 250m of the CPU is promised, the rest is used while it is idle")
    assert "promised" not in reason("2000m")


def test_an_estimate_of_ages_is_shown_and_breaks_nothing() -> None:
    found = estimated(total=10**12)

    assert estimate_status(found, pods=1, n_jobs=1, now=NOON, runs=True).cpu_hours.expected > 1e8
