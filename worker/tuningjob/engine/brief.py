"""Brief searches, which end before processes could start: evaluated in the user's own process, with no difference but in time.

A search begins here only if it is quick (``engine.quick``), because a fit cannot be asked to stop. It goes on here, one split at
a time, while measurements say that processes would not end it sooner. If this process may be forked, and one or a few forks of it
are worth their time, they take a part of the rest.
"""

import math
import os
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from joblib.parallel import ParallelBackendBase
from sklearn.exceptions import ConvergenceWarning

from tuningjob.engine.engine import Engine, one_thread
from tuningjob.engine.evaluate import Evaluated, FitOutcome, may_depend_on_draws
from tuningjob.engine.forecast import magnitude_of
from tuningjob.engine.guard import GuardTripped
from tuningjob.engine.processes import may_fork, run_together, seconds_of_a_fork, seconds_to_fork
from tuningjob.engine.quick import is_quick, limited
from tuningjob.engine.race import Race
from tuningjob.engine.schedule import have_nothing_in_common
from tuningjob.engine.seeds import GlobalGenerators
from tuningjob.engine.sklearn_private import processes_of_loky, threads_of_loky
from tuningjob.engine.work import CellKey, Work

# The longest that the first fit may take: so many seconds, or this part of what processes cost.
_FIRST_SECONDS: Final = 0.02
_FIRST_PART: Final = 0.25
# How many times cheaper sharing may make a split than its fits one by one; it is measured once a split was evaluated.
_HOPE: Final = 2
_FIRST_FEW: Final = 2  # the very first also imports
# A pool is worth its cost once it has so many times as much to save as a few forks that share the work with this process, because
# it cuts the work finer, and nothing of it is done again if one is killed.
_TOGETHER_UNTIL: Final = 4
# Such forks cost this besides the time to fork, because each copies the memory that it writes to.
_COPIED_SECONDS: Final = 0.01
_BATCHES: Final = 8  # for each process, so that all end at about the same time
# What processes cost a search of few fits (benchmarks/fixed_costs.py). Forked ones cost this besides the measured time to fork,
# because they must copy the memory that they write to. The last two are joblib's: already started, and not yet.
_FORKED_SECONDS: Final = 0.02
_EACH_FORK_SECONDS: Final = 0.005
_JOBLIBS_SECONDS: Final = 0.05
_STARTED_SECONDS: Final = 0.4
_STOPPED: Final = "Solver terminated early"


@dataclass
class _Patience:
    """The seconds that searches here have lost by not having joblib's processes, since these were last there."""

    lost_seconds: float = 0.0


_patience: Final = _Patience()


class Brief:
    """Evaluates the cells of a search here, as far as that is worth it.

    ``price`` is what ``processes`` cost, in seconds. A search that is pruned gives a ``race`` of its own for this, and the
    ``score`` of an outcome that decides.
    """

    def __init__(
        self,
        work: Work,
        *,
        processes: int,
        price: float,
        race: Race | None = None,
        score: Callable[[FitOutcome], float] = lambda _: math.nan,
    ) -> None:
        self._work = work
        self._processes = processes
        self._price = price
        self._race = race
        self._score = score
        # which cells are worth a fit, a race says after each of them
        self._forks = processes - 1 if race is None and may_fork() else 0
        self._begun: set[CellKey] = set()
        self._seconds = 0.0
        self.guarded = 0
        self.tripped = 0

    def evaluate(self, cells: Sequence[CellKey]) -> list[Evaluated]:
        """The results of all cells, of those of some splits, or of none. Raises what scikit-learn would raise for a cell."""
        work = limited(self._work)
        if not self._price or not is_quick(work, max(_FIRST_SECONDS, _FIRST_PART * self._price)):
            return []
        generators = GlobalGenerators()
        engine = Engine(work, 0)
        with _as_in_another_process():
            try:
                results = self._within_limits(engine, cells) if work is not self._work else self._all(engine, cells)
            finally:
                have_moved = generators.have_moved()
                generators.restore()
        if have_moved and may_depend_on_draws(self._work):
            return []  # these fits must draw in processes, not here
        self.guarded += engine.schedule.guarded
        self.tripped += engine.schedule.tripped
        is_whole = len(results) == len(cells) if self._race is None else not self._race.left
        if is_whole and not may_fork():
            _patience.lost_seconds += max(0.0, self._seconds * (1 - 1 / self._processes) - _JOBLIBS_SECONDS)
        return results

    def _all(self, engine: Engine, cells: Sequence[CellKey]) -> list[Evaluated]:
        return [result for part in self._rounds(engine, cells) for result in part]

    def _within_limits(self, engine: Engine, cells: Sequence[CellKey]) -> list[Evaluated]:
        """The results of ``_all``; none if a fit was stopped by the limit that is set only here, of which libsvm warns."""
        results: list[Evaluated] = []
        with warnings.catch_warnings():
            warnings.filterwarnings("error", _STOPPED, ConvergenceWarning)
            try:
                for part in self._rounds(engine, cells):
                    if any(_STOPPED in (result.outcome["fit_error"] or "") for result in part):
                        return []
                    results += part
            except ConvergenceWarning:  # error_score="raise"
                return []
        return results

    def _rounds(self, engine: Engine, cells: Sequence[CellKey]) -> Iterator[list[Evaluated]]:
        """Evaluate one or two first fits, then split after split or the race's order, while that is worth it."""
        by_split: dict[int, list[CellKey]] = {}
        for cell in cells:
            by_split.setdefault(cell.split, []).append(cell)
        if self._race is not None:
            self._race.add(cells)
        is_alone = self._race is None and have_nothing_in_common(self._work)
        first = next(iter(by_split.values()))[:_FIRST_FEW]
        seconds = yield from self._first_fits(engine, first, cells, 1 if is_alone else _HOPE)
        if not self._is_worth(seconds):
            return
        if self._race is not None:
            yield from self._best_first(engine, self._race)
            return
        left = [[cell for cell in part if cell not in self._begun] for part in by_split.values()]
        if is_alone and not self._is_worth_alone(seconds):
            yield self._together(engine, _batches(left, _BATCHES * self._processes))
        else:
            yield from self._split_by_split(engine, left)

    def _first_fits(
        self, engine: Engine, first: Sequence[CellKey], cells: Sequence[CellKey], hope: float
    ) -> Generator[list[Evaluated], None, float]:
        """Evaluate these one by one until one says that the rest is worth it; returns the seconds that all cells may take."""
        for cell in first:
            seconds, results = self._timed(engine, [cell])
            self._begun.add(cell)
            yield results
            seconds *= self._as_many_as(cell, cells) / hope
            if self._is_worth(seconds):
                break
        return seconds

    def _split_by_split(self, engine: Engine, left: list[list[CellKey]]) -> Iterator[list[Evaluated]]:
        while left:
            seconds, results = self._timed(engine, left.pop(0))
            yield results
            if not self._is_worth(seconds * len(left)):
                return
            if len(left) > 1 and not self._is_worth_alone(seconds * len(left)):
                yield self._together(engine, left)  # what the guard says of the first split holds for the others
                return

    def _together(self, engine: Engine, batches: list[list[CellKey]]) -> list[Evaluated]:
        """The results of all batches, by this process and its forks, each with a guard of its own from here on."""
        schedule = engine.schedule
        begun = schedule.guarded, schedule.tripped

        def run(batch: list[CellKey]) -> tuple[list[Evaluated], int, int]:
            guarded, tripped = schedule.guarded, schedule.tripped
            _, results = _timed(engine, batch)
            return results, schedule.guarded - guarded, schedule.tripped - tripped

        forks = min(self._forks, len(batches) - 1)
        results, guarded, tripped = zip(*run_together(run, batches, forks, around_fork=_in_a_fork), strict=True)
        # those of this process are in its schedule
        self.guarded += sum(guarded) - (schedule.guarded - begun[0])
        self.tripped += sum(tripped) - (schedule.tripped - begun[1])
        return [result for part in results for result in part]

    def _best_first(self, engine: Engine, race: Race) -> Iterator[list[Evaluated]]:
        while due := race.due():
            seconds, results = self._timed(engine, due)
            yield results
            if not self._is_worth(seconds / len(due) * race.left):
                return

    def _timed(self, engine: Engine, cells: Sequence[CellKey]) -> tuple[float, list[Evaluated]]:
        seconds, results = _timed(engine, cells)
        self._seconds += seconds
        if self._race is not None:
            for result in results:
                self._race.arrived(result.cell, self._score(result.outcome))
        return seconds, results

    def _as_many_as(self, cell: CellKey, cells: Sequence[CellKey]) -> float:
        """How many times the cost of ``cell`` all cells cost if they are fitted one by one."""
        candidates = self._work.candidates
        return sum(magnitude_of(candidates[each.candidate]) for each in cells) / magnitude_of(
            candidates[cell.candidate]
        )

    def _is_worth(self, seconds: float) -> bool:
        """Whether work of so many seconds ends sooner here, or by a few forks, than in processes that have yet to start."""
        return self._saved(seconds) < self._price * (_TOGETHER_UNTIL if self._forks else 1)

    def _is_worth_alone(self, seconds: float) -> bool:
        """Whether work of so many seconds ends sooner here than by a few forks, if these are possible."""
        return not self._forks or self._saved(seconds) < _COPIED_SECONDS + self._forks * seconds_of_a_fork()

    def _saved(self, seconds: float) -> float:
        return seconds * (1 - 1 / self._processes)


def _batches(parts: Sequence[Sequence[CellKey]], wanted: int) -> list[list[CellKey]]:
    """About so many batches of cells, each of one split."""
    size = max(1, sum(map(len, parts)) // wanted)
    return [list(part[at : at + size]) for part in parts for at in range(0, len(part), size)]


def _timed(engine: Engine, cells: Sequence[CellKey]) -> tuple[float, list[Evaluated]]:
    began = time.thread_time()  # on a busy machine processes take longer to come, too
    results: list[Evaluated] = []
    engine.add(cells)
    while not engine.is_done:
        results += engine.wait()
    return time.thread_time() - began, results


@contextmanager
def _as_in_another_process() -> Iterator[None]:
    """Allow one thread, and write warnings to where a separate process would have written them."""
    told: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as told, one_thread():
            yield
    finally:
        _write([each for each in told if not issubclass(each.category, GuardTripped)])
        for each in told:
            if issubclass(each.category, GuardTripped):  # the search issues it, wherever its fits are
                warnings.warn(each.message, stacklevel=4)


@contextmanager
def _in_a_fork() -> Iterator[None]:
    """Write the warnings that come in here to where a separate process would have written them."""
    told: list[warnings.WarningMessage] = []
    try:
        with warnings.catch_warnings(record=True) as told:
            yield
    finally:
        _write(told)


def _write(told: Iterable[warnings.WarningMessage]) -> None:
    for each in told:
        text = warnings.formatwarning(each.message, each.category, each.filename, each.lineno, each.line)
        os.write(2, text.encode(errors="replace"))


def price_of(processes: int, backend: ParallelBackendBase) -> float:
    """What loky's or forked processes cost before and after their work, in seconds; 0 if their results may have other bits.

    Loky's processes that are not running cost their start, less what searches have lost by not having them. So one short search
    starts none, and many in a row cost at most twice the best possible time.
    """
    if may_fork():
        return _FORKED_SECONDS + _EACH_FORK_SECONDS * processes + seconds_to_fork(processes)
    if threads_of_loky(backend, processes) != {"1"}:
        return 0.0  # bits depend on the number of threads
    if processes_of_loky() >= processes:
        _patience.lost_seconds = 0.0
        return _JOBLIBS_SECONDS
    return max(_STARTED_SECONDS * processes - _patience.lost_seconds, _JOBLIBS_SECONDS)
