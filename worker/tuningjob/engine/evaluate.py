"""Evaluate candidates on one split: what they share is done once, the rest as scikit-learn does it."""

import contextlib
import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sklearn.base import clone
from sklearn.metrics._scorer import _BaseScorer, _MultimetricScorer, _PassthroughScorer
from sklearn.model_selection._validation import _fit_and_score, _score

from tuningjob.engine.fingerprint import nested_estimators
from tuningjob.engine.group import Fitted, Fitter, Fitting, Member, NotFitted
from tuningjob.engine.lean import accuracy
from tuningjob.engine.memo import Memo, leaves_alone
from tuningjob.engine.messages import tell_end, tell_start
from tuningjob.engine.processes import deadline
from tuningjob.engine.work import CellKey, Fold, Work, dispatches_arrays, fold_of, wants_kernel

Outcome = dict[str, Any]


@dataclass(frozen=True)
class Evaluated:
    """What came of one cell: a dict as scikit-learn's ``_fit_and_score`` returns it; warnings where somebody collects them."""

    cell: CellKey
    outcome: Outcome
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class AtWork:
    """The cells of the fit that is about to start; told only where it may be killed for taking too long."""

    cells: tuple[CellKey, ...]


class Evaluator:
    """Evaluates cells of one search in this process. Keeps the rows and the fitted transformers of the last split."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self._fold: Fold | None = None
        self._memo: Memo | None = None
        self._pure = _is_pure(work.scorer)

    def evaluate(self, split: int, candidates: Sequence[int], *, plain: bool = False) -> Iterator[Evaluated | AtWork]:
        """One result for each candidate, as soon as it is there, in the order that shares the most.

        ``plain``: nothing is shared. Raises what scikit-learn would raise.
        """
        if plain or dispatches_arrays():
            yield from self._plainly(split, candidates)
            return
        members, others = self._members(split, candidates)
        yield from self._together(split, candidates, members)
        yield from self._plainly(split, others)

    def _members(self, split: int, candidates: Sequence[int]) -> tuple[list[Member], list[int]]:
        """The configured candidates that may share, by their position; the others go the plain way."""
        members: list[Member] = []
        others: list[int] = []
        fold = self._fold_of(split)
        for position, candidate in enumerate(candidates):
            try:
                estimator = self.work.configured(candidate)
                shares = (
                    not wants_kernel(estimator)
                    and leaves_alone(estimator, fold.X_train, fold.y_train)
                    and not any(hasattr(each, "_skl_callbacks") for each in nested_estimators(estimator))
                )
            except Exception:  # noqa: BLE001  the plain way tells it as scikit-learn does
                shares = False
            if shares:
                members.append(Member(position, estimator))
            else:
                others.append(candidate)
        return members, others

    def _together(self, split: int, candidates: Sequence[int], members: list[Member]) -> Iterator[Evaluated | AtWork]:
        fold = self._fold_of(split)
        memo = self._memo_of(fold)
        fitter = Fitter(fold.fit_params, self.work.timeout)
        outcomes: dict[int, Outcome] = {}
        steps = fitter.fit(members, fold.X_train, fold.y_train)
        while True:
            with memo.active():
                step = next(steps, None)
            if step is None:
                return
            if isinstance(step, Fitting):
                yield AtWork(tuple(CellKey(candidates[position], split) for position in step.positions))
            elif isinstance(step, NotFitted):
                yield from self._plainly(split, [candidates[step.position]])
            else:
                known = outcomes.get(step.like) if self._pure else None
                if known is not None and not _is_finite(known):
                    known = None  # scoring that failed says so again
                outcome = outcomes[step.position] = self._outcome(step, fold, known)
                tell_end(self.work, CellKey(candidates[step.position], split), outcome)
                yield Evaluated(CellKey(candidates[step.position], split), outcome)

    def _outcome(self, step: Fitted, fold: Fold, known: Outcome | None) -> Outcome:
        work = self.work
        if known is not None:
            scores: Outcome = {
                name: copy.copy(known[name]) for name in ("test_scores", "train_scores") if name in known
            }
            seconds = 0.0
        else:
            started = time.perf_counter()
            scores = {"test_scores": self._scores(step.estimator, fold.X_test, fold.y_test, fold.test_score_params)}
            seconds = time.perf_counter() - started
            if work.return_train_score:
                params = fold.train_score_params
                scores["train_scores"] = self._scores(step.estimator, fold.X_train, fold.y_train, params)
        return {
            "fit_error": None,
            **scores,
            "n_test_samples": fold.test_samples,
            "fit_time": step.seconds,
            "score_time": seconds,
        }

    def _scores(self, estimator: Any, X: Any, y: Any, params: Any) -> Any:  # noqa: ANN401
        if not params:
            with contextlib.suppress(Exception):  # told by the scorer
                score = accuracy(self.work.scorer, estimator, X, y)
                if score is not None:
                    return score
        return _score(estimator, X, y, self.work.scorer, params, self.work.error_score)

    def _plainly(self, split: int, candidates: Sequence[int]) -> Iterator[Evaluated | AtWork]:
        work = self.work
        train, test = work.splits[split]
        for candidate in candidates:
            cell = CellKey(candidate, split)
            if work.timeout is not None:
                yield AtWork((cell,))
            tell_start(work, cell)
            with deadline(work.timeout):
                outcome = _fit_and_score(
                    clone(work.estimator),
                    work.X,
                    work.y,
                    scorer=work.scorer,
                    train=train,
                    test=test,
                    verbose=0,
                    parameters=work.candidates[candidate],
                    fit_params=work.fit_params,
                    score_params=work.score_params,
                    return_train_score=work.return_train_score,
                    return_n_test_samples=True,
                    return_times=True,
                    error_score=work.error_score,
                )
            tell_end(work, cell, outcome)
            yield Evaluated(cell, outcome)

    def _fold_of(self, split: int) -> Fold:
        if self._fold is None or self._fold.split != split:
            self._forget_fold()
            self._fold = fold_of(self.work, split)
        self._fold.fill(self.work)
        return self._fold

    def _memo_of(self, fold: Fold) -> Memo:
        if self._memo is None:
            self._memo = Memo(fold.size)
        return self._memo

    def _forget_fold(self) -> None:
        if self._memo is not None:
            self._memo.clear()
        self._fold = self._memo = None


def _is_finite(outcome: Outcome) -> bool:
    scores = [outcome[name] for name in ("test_scores", "train_scores") if name in outcome]
    return all(
        math.isfinite(score) for each in scores for score in (each.values() if isinstance(each, dict) else [each])
    )


def _is_pure(scorer: Any) -> bool:  # noqa: ANN401  a scorer
    """Whether it looks at an estimator's predictions alone: two with the same predictions need one scoring."""
    if isinstance(scorer, _MultimetricScorer):
        return all(map(_is_pure, scorer._scorers.values()))
    return isinstance(scorer, _BaseScorer | _PassthroughScorer)
