"""Runs a workload on each side in turn, one side at a time, and keeps what they answered."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Self

from benchmarks.answers import Failed, Ran
from benchmarks.problem import Workload
from benchmarks.side import Side, SideProcess

_REASON_CHARACTERS = 300


@dataclass(kw_only=True)
class Timing:
    """What one side needed for one workload, in the order of the repetitions; and why it has none, if so."""

    wall_seconds: list[float] = field(default_factory=list)
    peak_bytes: int = 0
    failure: str | None = None
    differences: list[str] = field(default_factory=list)

    @property
    def median_seconds(self) -> float | None:
        """None when it never ran to the end, or was not asked to."""
        return median(self.wall_seconds) if self.wall_seconds and not self.failure else None


@dataclass(frozen=True, kw_only=True)
class Row:
    """A workload's measurements: scikit-learn's search, ours, and the rivals'."""

    workload: Workload
    stock: Timing
    ours: Timing
    rivals: dict[str, Timing]
    candidates: int
    folds: int
    oracle: float | None

    @property
    def ratio(self) -> float | None:
        """scikit-learn's median seconds ÷ ours."""
        return self.ratio_to(self.ours)

    def ratio_to(self, other: Timing) -> float | None:
        """scikit-learn's median seconds ÷ the other's, over the repetitions that both were in: the machine was the same."""
        if self.stock.median_seconds is None or other.median_seconds is None:
            return None
        return median(self.stock.wall_seconds[: len(other.wall_seconds)]) / other.median_seconds

    @property
    def problems(self) -> list[str]:
        """What makes the whole command fail: a search of the two that failed or differed. A rival may do as it likes."""
        return [
            f"{self.workload.name}: {who} {what}"
            for who, timing in (("scikit-learn", self.stock), ("ours", self.ours))
            for what in ([f"failed: {timing.failure}"] if timing.failure else []) + timing.differences
        ]


class Contest:
    """The processes of all sides. Use as a context manager: it ends them."""

    def __init__(self, *, stock: Side, ours: Side, rivals: Sequence[Side]) -> None:
        self._stock, self._ours = SideProcess(stock), SideProcess(ours)
        self._rivals = [SideProcess(rival) for rival in rivals]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in (self._stock, self._ours, *self._rivals):
            process.stop()

    def row(self, workload: Workload, *, repeat: int, repeat_rivals: int) -> Row:
        """Measure one workload: A B, B A, A B ...; the first results of scikit-learn are what all others must equal."""
        timings = {process: Timing() for process in (self._stock, self._ours, *self._rivals)}
        first: Ran | None = None
        for repetition in range(repeat):
            turn = [self._stock, self._ours, *(self._rivals if repetition < repeat_rivals else [])]
            for process in turn if repetition % 2 == 0 else reversed(turn):
                answer = self._run(process, workload, timings[process])
                if answer is None:
                    continue
                if first is None and process is self._stock:
                    first = answer
                elif first is not None:
                    is_rival = process in self._rivals
                    timings[process].differences += differences(
                        _scores(first) if is_rival else first.results, _scores(answer) if is_rival else answer.results
                    )
        return Row(
            workload=workload,
            stock=timings[self._stock],
            ours=timings[self._ours],
            rivals={process.side.heading: timings[process] for process in self._rivals},
            candidates=first.candidates if first else 0,
            folds=first.folds if first else 0,
            oracle=first.oracle if first else None,
        )

    @staticmethod
    def _run(process: SideProcess, workload: Workload, timing: Timing) -> Ran | None:
        """One run, noted. A side that has failed at a workload is not asked again."""
        if timing.failure:
            return None
        answer, peak_bytes = process.run(workload.name)
        timing.peak_bytes = max(timing.peak_bytes, peak_bytes)
        if isinstance(answer, Failed):
            timing.failure = answer.reason[:_REASON_CHARACTERS]
        if not isinstance(answer, Ran):
            return None
        timing.wall_seconds.append(answer.wall_seconds)
        return answer


def _scores(answer: Ran) -> dict[str, list[str]]:
    """The columns of single scores: all that a rival is compared by, its other columns may be of its own making."""
    return {column: answer.results[column] for column in sorted(answer.results) if column.startswith("split")}


def differences(want: dict[str, list[str]], got: dict[str, list[str]]) -> list[str]:
    """A line for each column that is not equal to the bit, with its first difference."""
    if list(want) != list(got):
        return [f"has other columns: {sorted(want.keys() ^ got.keys()) or 'in another order'}"]
    lines = []
    for column, values in want.items():
        if len(values) != len(got[column]):
            lines.append(f"{column} has another length")
            continue
        pairs = [(w, g) for w, g in zip(values, got[column], strict=True) if w != g]
        if pairs:
            lines.append(
                f"{column} differs in {len(pairs)} of {len(values)}, first {pairs[0][0]} against {pairs[0][1]}"
            )
    return lines
