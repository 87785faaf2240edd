"""How far a search is, as a person who waits is shown it; in a notebook by tests/manifest/test_fit.py."""

import sys

import pytest

from tuningjob.cluster.display import progress_display
from tuningjob.cluster.run import RunProgress

PLAN = {"pods": 1, "nJobs": 2, "cpu": "2", "memory": "1Gi", "reason": "parallelism is 1"}
STATES = (
    {"phase": "Pending"},
    {"phase": "Running", "plan": PLAN, "progress": {"done": 5, "failed": 1, "total": 10}, "activePods": 1},
    {"phase": "Running", "plan": {**PLAN, "pods": 2}, "progress": {"done": 9, "failed": 1, "total": 10}},
    {"phase": "Complete", "plan": {**PLAN, "pods": 2}, "progress": {"done": 10, "failed": 1, "total": 10}},
)


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> str:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: request.param == "a terminal")
    tell = progress_display("forest")
    for status in STATES:
        tell(RunProgress.of({"status": status}))
    return capsys.readouterr().err


@pytest.mark.parametrize("shown", ["a terminal"], indirect=True)
def test_in_a_terminal_it_is_one_line_that_changes_and_each_plan_stays_above_it(shown: str) -> None:
    *plans, last, _ = shown.split("\n")
    assert [line.rpartition("\x1b[K")[2] for line in plans] == [
        "forest: plan: 1 pod of 2 CPU and 1Gi, 2 fits at once in each: parallelism is 1",
        "forest: plan: 2 pods of 2 CPU and 1Gi, 2 fits at once in each: parallelism is 1",
    ]
    assert last.endswith("forest: [####################] Complete, 10/10 fits (1 failed)")
    assert "forest: [##########..........] Running, 5/10 fits (1 failed), 1 pod" in shown
    assert "forest: [....................] Pending" in shown


@pytest.mark.parametrize("shown", ["a log"], indirect=True)
def test_in_a_log_it_is_a_line_for_each_phase_and_each_plan(shown: str) -> None:
    assert [line.split(":")[1:3] for line in shown.splitlines()] == [
        [" Pending"],
        [" plan", " 1 pod of 2 CPU and 1Gi, 2 fits at once in each"],
        [" Running, 5/10 fits (1 failed), 1 pod"],
        [" plan", " 2 pods of 2 CPU and 1Gi, 2 fits at once in each"],
        [" Complete, 10/10 fits (1 failed)"],
    ]
