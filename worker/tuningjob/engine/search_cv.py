"""scikit-learn's GridSearchCV and RandomizedSearchCV, evaluated by the engine.

Everything but the evaluation is scikit-learn's own code: its classes are the base, and its ``fit`` runs. The engine replaces
the ``joblib.Parallel`` that it calls: it is given the same calls of ``_fit_and_score``, and returns the same dicts.
"""

import contextlib
import copy
import itertools
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from types import CellType
from typing import TYPE_CHECKING, Any, Self

import joblib
import numpy as np
from joblib.parallel import get_active_backend
from sklearn.model_selection import GridSearchCV as _GridSearchCV
from sklearn.model_selection import RandomizedSearchCV as _RandomizedSearchCV
from sklearn.utils.parallel import Parallel

from tuningjob.aliases import Anything, Estimator, Matrix, Target
from tuningjob.elsewhere import ELSEWHERE, FETCH_BEST
from tuningjob.engine.brief import Brief, price_of
from tuningjob.engine.cpus import allowed_cpus
from tuningjob.engine.engine import Engine
from tuningjob.engine.evaluate import (
    PATCHES,
    Evaluated,
    Evaluator,
    FitOutcome,
    may_depend_on_draws,
    shares_anything,
)
from tuningjob.engine.fingerprint import nested_estimators
from tuningjob.engine.messages import tell_end, tell_start
from tuningjob.engine.processes import may_fork
from tuningjob.engine.pruned import CERTAIN, FORGIVING, not_run, race_of, score_of, with_pruned
from tuningjob.engine.race import Race
from tuningjob.engine.reported import report_of_search
from tuningjob.engine.seeds import GlobalGenerators
from tuningjob.engine.sklearn_private import (
    Diagram,
    StrOptions,
    constraints_of,
    contexts,
    eval_expr,
    is_told_of_fits,
    processes_of,
    streams,
    variables_of,
    warn_if_unproved,
)
from tuningjob.engine.work import CellKey, Work, dispatches_arrays

if TYPE_CHECKING:
    from tuningjob.report.notebook import SearchReport

# One call of _fit_and_score, as sklearn.utils.parallel.delayed represents it.
_Call = tuple[Any, tuple[Any, Any, Any], Mapping[str, Any]]


_PRUNES = [StrOptions({CERTAIN, FORGIVING}), None]


@dataclass(frozen=True)
class GuardReport:
    """The number of ``groups`` with one candidate that was also fitted the plain way; ``trips`` says how often bits differed."""

    groups: int = 0
    trips: int = 0


class _SharedWork:
    """A mixin that evaluates the candidates of scikit-learn's search, and does the work that they share once."""

    n_jobs: int | None
    pre_dispatch: int | str
    refit: Any
    prune: str | None = None  # a default for objects that older versions have pickled
    _guard: GuardReport = GuardReport()

    def _run_search(self, evaluate_candidates: Callable[..., Any], *, callback_ctx: Anything = None) -> None:
        run: Callable[..., None] = super()._run_search  # type: ignore[misc]
        warn_if_unproved()
        variables = variables_of(evaluate_candidates)
        if variables is None or _has_callbacks(self):
            # callbacks are notified of each fit, so each candidate must have one
            run(evaluate_candidates, **contexts(callback_ctx))
            return

        def without_contexts(
            candidate_params: Anything,
            cv: Anything = None,
            more_results: Anything = None,
            callback_ctx: Anything = None,  # noqa: ARG001  costs a pickle of all contexts for each batch of fits
        ) -> Anything:
            return evaluate_candidates(candidate_params, cv, more_results)

        parallel, estimator = variables
        evaluation = _Evaluation(self, parallel.cell_contents, estimator)
        parallel.cell_contents = evaluation
        run(without_contexts, **contexts(callback_ctx))
        self._guard = evaluation.guard

    def _format_results(
        self, candidate_params: Anything, n_splits: int, out: Anything, more_results: Anything = None
    ) -> dict[str, Any]:
        make: Callable[[], dict[str, Any]] = partial(
            super()._format_results,  # type: ignore[misc]
            candidate_params,
            n_splits,
            out,
            more_results,
        )
        return make() if self.prune is None else with_pruned(out, n_splits, make)

    def fit(self, X: Matrix, y: Target = None, **params: Anything) -> Self:
        """Fit as scikit-learn does; within ``with tuningjob.Cluster(…):`` that cluster's pods do the fits."""
        elsewhere = ELSEWHERE.get()
        if elsewhere is None:
            super().fit(X, y, **params)  # type: ignore[misc]
        else:
            elsewhere(self, X, y, params)
        return self

    def __getattr__(self, name: str) -> Anything:
        """Fetch ``best_estimator_`` of a search that was fitted elsewhere, when it is first read."""
        if name == "best_estimator_" and FETCH_BEST in vars(self):
            self.best_estimator_ = vars(self)[FETCH_BEST]()
            return self.best_estimator_
        return super().__getattribute__(name)  # again, to raise a property's own error

    def __getstate__(self) -> dict[str, Any]:
        """The state without the connection to a cluster: a copy does not have a model that was not fetched before."""
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        return {key: value for key, value in state.items() if key != FETCH_BEST}

    @property
    def guard(self) -> GuardReport:
        """The guard's report on the last ``fit``."""
        return self._guard

    def report(self) -> "SearchReport":
        """The report of the search: verdict, advice and figures, as text and as a page. Raises NotFittedError."""
        return report_of_search(self)

    def _html_repr(self) -> str:
        """The HTML for a notebook: scikit-learn's diagram, and below it the report if the search was fitted.

        scikit-learn's diagram reads every attribute, but this does not load a model that pods have written.
        """
        shown = copy.copy(self) if FETCH_BEST in vars(self) and "best_estimator_" not in vars(self) else self
        diagram: str = super(_SharedWork, shown)._html_repr()  # type: ignore[misc]
        if not hasattr(self, "cv_results_"):
            return diagram
        try:
            return f"{diagram}{shown.report()._repr_html_()}"
        except Exception:  # noqa: BLE001  a diagram alone is better than a traceback
            return diagram


class GridSearchCV(_SharedWork, Diagram, _GridSearchCV):  # type: ignore[misc]
    """scikit-learn's GridSearchCV, to the bit, with the work that candidates have in common done once.

    Parameters, attributes, warnings and errors are scikit-learn's. In the ``*_time`` columns, the time of a fit that serves
    several candidates is divided equally among them. That of a pipeline's common beginning is charged to the first candidate
    that needs it. There are two more attributes: ``guard``, how often sharing was checked against a plain fit, and
    ``report()``, which a notebook also shows.

    There is one more parameter: ``prune="certain"`` leaves out the splits of candidates that provably cannot be the best one any
    more, and so needs scores with an upper bound; ``"forgiving"`` leaves out more, and may lose the winner (``docs/engine.md``).
    ``cv_results_`` has NaN for what was left out, and the column ``pruned``.
    """

    _parameter_constraints = {**constraints_of(_GridSearchCV), "prune": _PRUNES}  # noqa: RUF012

    def __init__(
        self,
        estimator: Estimator,
        param_grid: Anything,
        *,
        scoring: Anything = None,
        n_jobs: int | None = None,
        refit: Anything = True,
        cv: Anything = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        error_score: Anything = np.nan,
        return_train_score: bool = False,
        prune: str | None = None,
    ) -> None:
        super().__init__(
            estimator,
            param_grid,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.prune = prune


class RandomizedSearchCV(_SharedWork, Diagram, _RandomizedSearchCV):  # type: ignore[misc]
    """scikit-learn's RandomizedSearchCV, to the bit, with the work that candidates have in common done once.

    It differs from scikit-learn's in the same ways as this module's GridSearchCV.
    """

    _parameter_constraints = {**constraints_of(_RandomizedSearchCV), "prune": _PRUNES}  # noqa: RUF012

    def __init__(
        self,
        estimator: Estimator,
        param_distributions: Anything,
        *,
        n_iter: int = 10,
        scoring: Anything = None,
        n_jobs: int | None = None,
        refit: Anything = True,
        cv: Anything = None,
        verbose: int = 0,
        pre_dispatch: int | str = "2*n_jobs",
        random_state: Anything = None,
        error_score: Anything = np.nan,
        return_train_score: bool = False,
        prune: str | None = None,
    ) -> None:
        super().__init__(
            estimator,
            param_distributions,
            n_iter=n_iter,
            scoring=scoring,
            n_jobs=n_jobs,
            refit=refit,
            cv=cv,
            verbose=verbose,
            pre_dispatch=pre_dispatch,
            random_state=random_state,
            error_score=error_score,
            return_train_score=return_train_score,
        )
        self.prune = prune


class _Evaluation:
    """Replaces ``joblib.Parallel`` in scikit-learn's search."""

    def __init__(self, search: _SharedWork, parallel: Parallel, estimator: CellType) -> None:
        self._search = search
        self._parallel = parallel
        self._estimator = estimator
        self._told: set[CellKey] = set()
        self.guard = GuardReport()

    def __call__(self, calls: Iterable[_Call]) -> list[FitOutcome]:
        """Evaluate the calls; returns the outcome of each, in order."""
        with _uncloned(self._estimator):
            listed = list(calls)
        work, cells = _work_of(self._estimator.cell_contents, listed)
        self._told.clear()
        prune = self._search.prune
        race = None if prune is None or not cells else race_of(prune, work, self._search.refit)
        outcomes: dict[CellKey, FitOutcome] = {}
        with PATCHES.in_force():
            for result in self._evaluate(work, cells, race):
                outcomes[result.cell] = result.outcome
        if race is not None and outcomes:
            self._fill_in(work, cells, outcomes)
        return [outcomes[cell] for cell in cells] if outcomes else []

    def _fill_in(self, work: Work, cells: list[CellKey], outcomes: dict[CellKey, FitOutcome]) -> None:
        """Add outcomes for the cells that were left out."""
        left_out = [cell for cell in cells if cell not in outcomes]
        like = next((each for each in outcomes.values() if each["fit_error"] is None), next(iter(outcomes.values())))
        outcomes.update({cell: not_run(like, len(work.splits[cell.split][1])) for cell in left_out})
        if work.verbose > 0:
            print(f"{len(left_out)} of {len(cells)} fits were not needed")  # noqa: T201  as scikit-learn's own lines

    def _evaluate(self, work: Work, cells: list[CellKey], race: Race | None) -> Iterable[Evaluated]:
        asked = int(joblib.effective_n_jobs(self._search.n_jobs)) if cells else 0
        if not cells or not self._dispatches_anything(asked):
            return
        backend, _ = get_active_backend()
        is_loky = type(backend).__name__ == "LokyBackend"
        processes = self._processes(asked, type(backend).__name__)
        if processes > 1 and is_loky:
            cells = yield from self._begin_here(work, cells, race, price_of(processes, backend), processes)
        elif race is not None:
            race.add(cells)
        if processes == 1:
            # one by one, because draws from global generators and other unknown effects must come in scikit-learn's order
            if race is not None or shares_anything(work):
                generators = GlobalGenerators()
                is_in_vain = generators.have_moved if race is None else _once(generators.have_moved, work)
                if (yield from self._drain(work, Engine(work, 0), cells, race, is_in_vain)):
                    return
                generators.restore()
            yield from self._one_by_one(work, cells)
        elif cells:
            by_fork = is_loky and may_fork()
            parallel = None if by_fork else self._joblibs(processes)
            with Engine(work, min(processes, len(cells)) if by_fork else processes, parallel=parallel) as engine:
                yield from self._drain(work, engine, cells, race)

    def _begin_here(
        self, work: Work, cells: list[CellKey], race: Race | None, price: float, processes: int
    ) -> Generator[Evaluated, None, list[CellKey]]:
        """Evaluate here the cells that end before processes would have started, at this price; returns the other cells.

        ``race`` then knows all of them, and the scores that are there.
        """
        prune, refit = self._search.prune, self._search.refit
        score = partial(score_of, refit=refit)
        own = None if prune is None else race_of(prune, work, refit)  # what it finds may be thrown away
        brief = Brief(work, processes=processes, price=price, race=own, score=score)
        results = brief.evaluate(cells)
        self.guard = GuardReport(self.guard.groups + brief.guarded, self.guard.trips + brief.tripped)
        for result in results:
            self._tell(work, result)
            yield result
        done = {result.cell for result in results}
        left = [cell for cell in cells if cell not in done]
        if race is None:
            return left
        race.add(left, known={result.cell: score(result.outcome) for result in results})
        return left if race.left else []

    def _drain(
        self,
        work: Work,
        engine: Engine,
        cells: list[CellKey],
        race: Race | None,
        is_in_vain: Callable[[], bool] = lambda: False,
    ) -> Generator[Evaluated, None, bool]:
        """Collect results until there are no more or ``is_in_vain``; returns whether there are no more.

        ``race`` knows the cells already.
        """
        engine.add(cells if race is None else race.due(engine.schedule.processes))
        while not engine.is_done:
            results = engine.wait()
            if is_in_vain():
                return False
            for result in results:
                self._tell(work, result)
                yield result
                if race is not None:
                    race.arrived(result.cell, score_of(result.outcome, self._search.refit))
            if race is not None and engine.is_hungry:
                engine.add(race.due(engine.schedule.processes))
        schedule = engine.schedule
        self.guard = GuardReport(self.guard.groups + schedule.guarded, self.guard.trips + schedule.tripped)
        return True

    def _one_by_one(self, work: Work, cells: Iterable[CellKey]) -> Iterable[Evaluated]:
        evaluator = Evaluator(work)
        for cell in cells:
            if cell not in self._told:
                tell_start(work, cell)
            for step in evaluator.evaluate(cell.split, [cell.candidate], plain=True):
                if isinstance(step, Evaluated):
                    self._tell(work, step, has_started=True)
                    yield step

    def _tell(self, work: Work, result: Evaluated, *, has_started: bool = False) -> None:
        """Print both lines of a cell once, also if a fit serves several cells or the guard fits one again."""
        if result.cell not in self._told:
            self._told.add(result.cell)
            if not has_started:
                tell_start(work, result.cell)
            tell_end(work, result.cell, result.outcome)

    def _joblibs(self, processes: int) -> Parallel:
        """scikit-learn's own Parallel, with the backend that the user has chosen; scikit-learn also ends it."""
        parallel = self._parallel
        if processes != processes_of(parallel):
            parallel.__exit__(None, None, None)
            parallel.n_jobs = processes
            parallel.__enter__()
        parallel.batch_size = 1
        one_by_one = streams(parallel)
        parallel.return_generator, parallel.return_ordered = one_by_one, not one_by_one
        return parallel

    def _dispatches_anything(self, processes: int) -> bool:
        """Whether joblib would dispatch any fit, by ``pre_dispatch``; raises what it would raise. One process dispatches all."""
        amount = self._search.pre_dispatch
        if processes == 1 or amount == "all":
            return True
        if isinstance(amount, str):
            amount = eval_expr(amount.replace("n_jobs", str(processes)))
        return next(itertools.islice((True,), int(amount)), False)

    def _processes(self, asked: int, backend: str) -> int:
        allowed = allowed_cpus()
        if asked <= allowed or backend not in {"LokyBackend", "MultiprocessingBackend"}:
            return asked
        warnings.warn(
            f"n_jobs={self._search.n_jobs} asks for {asked} processes, but this process may use {allowed} "
            f"CPU{'s' if allowed > 1 else ''}: {allowed} will be used, more would only wait for each other.",
            UserWarning,
            stacklevel=2,
        )
        return allowed


def _once(have_moved: Callable[[], bool], work: Work) -> Callable[[], bool]:
    """A function that says whether a generator has moved on which a score may depend; that is examined at the first move."""
    matters: bool | None = None

    def is_in_vain() -> bool:
        nonlocal matters
        if matters is None and have_moved():
            matters = may_depend_on_draws(work)
        return bool(matters)

    return is_in_vain


class _Unclonable:
    """Stands for the estimator in scikit-learn's calls, so that no clone is made for each of many calls."""

    def __sklearn_clone__(self) -> Self:
        return self


@contextlib.contextmanager
def _uncloned(estimator: CellType) -> Iterator[None]:
    original = estimator.cell_contents
    estimator.cell_contents = _Unclonable()
    try:
        yield
    finally:
        estimator.cell_contents = original


def _work_of(estimator: Estimator, calls: list[_Call]) -> tuple[Work, list[CellKey]]:
    """The search to which the calls belong, and the cell of each call."""
    if not calls:
        return Work(estimator=None, candidates=(), X=None, y=None, splits=(), scorer=None), []
    _, (_, X, y), first = calls[0]
    candidates: dict[int, Mapping[str, Any]] = {}
    splits: dict[int, Any] = {}
    cells = []
    for _, _, call in calls:
        cell = CellKey(call["candidate_progress"][0], call["split_progress"][0])
        candidates[cell.candidate] = call["parameters"]
        if cell.split not in splits:
            splits[cell.split] = tuple(map(_indices, (call["train"], call["test"])))
        cells.append(cell)
    work = Work(
        estimator=estimator,
        candidates=[candidates[index] for index in range(len(candidates))],
        X=X,
        y=y,
        splits=[splits[index] for index in range(len(splits))],
        scorer=first["scorer"],
        fit_params=first["fit_params"],
        score_params=first["score_params"],
        return_train_score=first["return_train_score"],
        error_score=first["error_score"],
        verbose=first["verbose"],
    )
    return work, cells


def _indices(given: Anything) -> Anything:
    """Indices as ``_fit_and_score`` takes them: ranges, lists and masks as arrays."""
    return given if dispatches_arrays() else np.asarray(given)


def _has_callbacks(search: Anything) -> bool:
    try:
        return any(map(is_told_of_fits, nested_estimators(search)))
    except Exception:  # noqa: BLE001  an estimator may raise anything when it is read
        return False
