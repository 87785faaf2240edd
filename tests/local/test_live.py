"""What is seen of a search while it runs."""

from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.progress import Progress

from tuningjob.cli import live
from tuningjob.cli.live import LiveView, TimeLeft
from tuningjob.engine.processes import may_fork
from tuningjob.sizing import KnownSize


def left(*, elapsed: float, **fields: Any) -> str:
    now = [0.0]
    bar = Progress(get_time=lambda: now[0])
    bar.add_task("search", total=180, **fields)
    now[0] = elapsed
    return TimeLeft().render(bar.tasks[0]).plain


@pytest.mark.parametrize(
    ("fields", "want"),
    [
        ({"completed": 0, "fitted": 0}, "-:--:--"),
        ({"completed": 100, "fitted": 0}, "-:--:--"),  # all of them of an earlier run
        ({"completed": 60, "fitted": 60}, "0:02:00"),
        ({"completed": 120, "fitted": 60}, "0:01:00"),
        ({"completed": 180, "fitted": 60}, "0:00:00"),
    ],
)
def test_the_time_left_is_at_the_pace_of_this_run_and_unknown_before_its_first_fit(
    fields: dict[str, int], want: str
) -> None:
    assert left(elapsed=60.0, **fields) == want


def test_between_two_stages_nothing_of_it_keeps_processes_from_being_forked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "terminal").open("w") as terminal:
        monkeypatch.setattr(live, "err", Console(force_terminal=True, file=terminal))
        view = LiveView("search")
        with view:
            for candidates in (6, 9):
                view.started(KnownSize(candidates, 5), 0, 2)
                assert not may_fork(), "the bar is drawn by a thread"
                view.paused()
                assert may_fork()
    assert " 0/45" in (tmp_path / "terminal").read_text()
