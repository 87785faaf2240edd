"""The view of a search while it runs."""

import datetime as dt
import math
import threading
from typing import Final, Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from tuningjob.cli.console import err
from tuningjob.protocol.records import CellResult
from tuningjob.sizing import KnownSize
from tuningjob.threads import see_off

# A bar that is not redrawn has no thread; the thread of one that is ends within milliseconds.
_GRACE_SECONDS: Final = 1.0


class TimeLeft(ProgressColumn):
    """Seconds left, at the mean pace of all fits of this run, because they come in bursts; reused cells do not count.

    Pruned cells count, because about the same share of what is left is likely to be pruned.
    """

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        """Unknown until a fit is in."""
        fitted = task.fields["fitted"]
        if not fitted or task.elapsed is None:
            return Text("-:--:--", style="progress.remaining")
        left = ((task.total or 0) - task.completed) * task.elapsed / fitted
        return Text(str(dt.timedelta(seconds=math.ceil(left))), style="progress.remaining")


class LiveView:
    """A progress bar. It begins once the worker's processes are there, because a thread refreshes it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeLeft(),
            TextColumn("{task.fields[told]}"),
            console=err,
        )
        self._task: TaskID | None = None
        self._fitted = 0
        self._failed = 0
        self._pruned = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._bar.stop()

    def started(self, size: KnownSize, kept: int, n_jobs: int) -> None:
        """Say what was kept, and show the bar."""
        if self._task is not None:  # another stage
            self._bar.update(self._task, total=size.fits)
            self._bar.start()
            return
        if kept:
            err.print(f"Kept {kept:,} of {size.fits:,} fits of an earlier run.")
        plural = "es" if n_jobs > 1 else ""
        err.print(f"{size.told_rows} × {size.splits} splits = {size.fits:,} fits in {n_jobs} process{plural}.")
        self._bar.start()
        self._task = self._bar.add_task(self._name, total=size.fits, completed=kept, fitted=0, told="")

    def paused(self) -> None:
        """Take the bar away, with its thread."""
        if self._task is not None:
            others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
            self._bar.stop()
            for thread in others:  # the thread that draws, to which there is no other reference
                see_off(thread, _GRACE_SECONDS)

    def cells(self, results: list[CellResult]) -> None:
        """Count finished cells."""
        if self._task is not None:
            self._fitted += len(results)
            self._failed += sum(result.error is not None for result in results)
            self._pruned += sum(result.pruned for result in results)
            counts = ((self._failed, "failed"), (self._pruned, "pruned"))
            told = ", ".join(f"{count} {how}" for count, how in counts if count)
            self._bar.update(self._task, advance=len(results), fitted=self._fitted, told=told)

    def reused(self, count: int) -> None:
        """Count cells that were taken over."""
        if self._task is not None:
            self._bar.update(self._task, advance=count)
