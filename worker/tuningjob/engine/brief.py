"""Brief searches, which end before processes could start: evaluated in the user's own process, with no difference but in time.

A search begins here only if none of its fits can take long, because a fit cannot be asked to stop. A few classes on small data
guarantee that. It goes on here, one split at a time, while measurements say that processes would not end it sooner. Only known
(``engine.known``), seeded and silent estimators are fitted here: others may draw, print or crash, which must not happen in the
user's process.
"""

import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from joblib.parallel import ParallelBackendBase
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import Pipeline

from tuningjob.aliases import Estimator, ParamValue
from tuningjob.engine.arrays import shape_of
from tuningjob.engine.engine import Engine, one_thread
from tuningjob.engine.evaluate import Evaluated, FitOutcome, may_depend_on_draws
from tuningjob.engine.forecast import magnitude_of
from tuningjob.engine.guard import GuardTripped
from tuningjob.engine.known import can_share, is_known, is_known_scorer
from tuningjob.engine.named import public_name
from tuningjob.engine.processes import may_fork, seconds_to_fork
from tuningjob.engine.race import Race
from tuningjob.engine.seeds import GlobalGenerators, is_repeatable
from tuningjob.engine.sklearn_private import processes_of_loky, threads_of_loky
from tuningjob.engine.work import CellKey, Work, dispatches_arrays, wants_kernel

# The most that a fit and a score of the classes below take for each value of X.
_SECONDS_PER_VALUE: Final = 1e-6
# The longest that the first fit may take: so many seconds, or this part of what processes cost.
_FIRST_SECONDS: Final = 0.02
_FIRST_PART: Final = 0.25
# How many times cheaper sharing may make a split than its fits one by one; it is measured once a split was evaluated.
_HOPE: Final = 2
_FIRST_FEW: Final = 2  # the very first also imports
# What processes cost a search of few fits (benchmarks/fixed_costs.py). Forked ones cost this besides the measured time to fork,
# because they must copy the memory that they write to. The last two are joblib's: already started, and not yet.
_FORKED_SECONDS: Final = 0.02
_EACH_FORK_SECONDS: Final = 0.005
_JOBLIBS_SECONDS: Final = 0.05
_STARTED_SECONDS: Final = 0.4
_MOST_ITERATIONS: Final = 1_000  # coordinate descent takes some microseconds for each on so few data
_MOST_STEPS: Final = 200  # for a solver that calls Python at each
# libsvm looks at all rows in each iteration, for some nanoseconds a row, and at all pairs of rows once.
_MOST_MACHINE_ITERATIONS: Final = 40_000
_MOST_ROWS_OF_A_KERNEL: Final = 1_000
_MACHINE: Final = "sklearn.svm.SVC"
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
        self.guarded, self.tripped = engine.schedule.guarded, engine.schedule.tripped
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
        first = next(iter(by_split.values()))[:_FIRST_FEW]
        for number, cell in enumerate(first, start=1):
            seconds, results = self._timed(engine, [cell])
            yield results
            if self._is_worth(seconds * self._as_many_as(cell, cells) / _HOPE):
                break
            if number == len(first):
                return
        if self._race is not None:
            yield from self._best_first(engine, self._race)
            return
        begun = set(first[:number])
        for done, part in enumerate(by_split.values(), start=1):
            seconds, results = self._timed(engine, [cell for cell in part if cell not in begun])
            yield results
            if not self._is_worth(seconds * (len(by_split) - done)):
                return

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
        """Whether work of so many seconds ends sooner here than in processes that have yet to start."""
        return seconds * (1 - 1 / self._processes) < self._price


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
        for each in told:
            if issubclass(each.category, GuardTripped):  # the search issues it, wherever its fits are
                warnings.warn(each.message, stacklevel=4)
            else:
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


# --- what can be begun here


def limited(work: Work) -> Work:
    """The search with a limit of iterations for a support vector machine that has none.

    A limit that is not reached changes nothing: the rule ``svm_iterations`` has the proof.
    """
    estimator, shape = work.estimator, shape_of(work.X)
    is_pipeline = type(estimator) is Pipeline and bool(estimator.steps)
    name, machine = estimator.steps[-1] if is_pipeline else ("", estimator)
    if public_name(type(machine)) != _MACHINE or getattr(machine, "max_iter", None) != -1 or not can_share(estimator):
        return work
    if shape is None or shape[0] > _MOST_ROWS_OF_A_KERNEL:
        return work
    limit = {f"{name}__max_iter" if is_pipeline else "max_iter": _MOST_MACHINE_ITERATIONS}
    return replace(work, estimator=clone(estimator).set_params(**limit))


def is_quick(work: Work, most_seconds: float) -> bool:
    """Whether no fit of a search can take longer than so many seconds, or have any other effect on the process."""
    shape = shape_of(work.X)
    if shape is None or len(shape) != 2 or _SECONDS_PER_VALUE * math.prod(shape) > most_seconds:
        return False
    if work.fit_params or work.score_params or not is_known_scorer(work.scorer) or dispatches_arrays():
        return False
    if not can_share(work.estimator):
        return False
    # most candidates differ in numbers that make no fit longer
    kinds = {
        tuple((name, _told(name, value)) for name, value in candidate.items()): number
        for number, candidate in enumerate(work.candidates)
    }
    try:
        return all(_is_quick(work.configured(number), shape) for number in kinds.values())
    except Exception:  # noqa: BLE001  the fits will raise it
        return False


def _told(name: str, value: ParamValue) -> object:
    if isinstance(value, str | bool) or value is None or name.endswith(("max_iter", "verbose")):
        return repr(value)
    return None if isinstance(value, int | float) else id(value)


def _is_quick(estimator: Estimator, shape: tuple[int, ...]) -> bool:
    if not is_known(estimator) or not is_repeatable(estimator, shape) or wants_kernel(estimator):
        return False
    steps = [step for _, step in estimator.steps] if type(estimator) is Pipeline else [estimator]
    if shape[0] > _MOST_ROWS_OF_A_KERNEL and any(public_name(type(step)) == _MACHINE for step in steps):
        return False
    return not any(getattr(step, "verbose", False) for step in (estimator, *steps)) and all(map(_is_bounded, steps))


def _is_bounded(step: Estimator) -> bool:
    if step is None or isinstance(step, str):  # "passthrough"
        return True
    module, _, name = (public_name(type(step)) or "").rpartition(".")
    return any(name in names.split() and holds(step) for names, holds in _BOUNDED.get(module, ()))


def _always(_: Estimator) -> bool:
    return True


def _has_few_iterations(model: Estimator) -> bool:
    return isinstance(model.max_iter, int) and model.max_iter <= _MOST_ITERATIONS


def _has_few_steps(model: Estimator) -> bool:
    return (
        model.solver in {"lbfgs", "newton-cholesky"}
        and isinstance(model.max_iter, int)
        and model.max_iter <= _MOST_STEPS
    )


def _is_limited(machine: Estimator) -> bool:
    is_alone = machine.probability is False or machine.probability == "deprecated"  # else it fits others inside
    return is_alone and isinstance(machine.max_iter, int) and 0 < machine.max_iter <= _MOST_MACHINE_ITERATIONS


def _is_direct(ridge: Estimator) -> bool:
    return bool(ridge.solver in {"auto", "cholesky", "svd"})


def _sorts_once(tree: Estimator) -> bool:
    return bool(tree.criterion != "absolute_error")


# The classes whose fit is bounded by its data, and the condition for it.
_BOUNDED: Final[Mapping[str, Sequence[tuple[str, Callable[[Any], bool]]]]] = {
    "sklearn.linear_model": (
        ("ElasticNet Lasso", _has_few_iterations),
        ("LinearRegression", _always),
        ("LogisticRegression", _has_few_steps),
        ("Ridge RidgeClassifier", _is_direct),
    ),
    "sklearn.naive_bayes": (("BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB", _always),),
    "sklearn.neighbors": (("KNeighborsClassifier KNeighborsRegressor NearestCentroid", _always),),
    "sklearn.preprocessing": (("MaxAbsScaler MinMaxScaler Normalizer RobustScaler StandardScaler", _always),),
    "sklearn.svm": (("SVC", _is_limited),),
    "sklearn.tree": (
        ("DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier ExtraTreeRegressor", _sorts_once),
    ),
}
