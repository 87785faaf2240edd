"""Evaluate candidates on one split: shared work is done once, the rest as scikit-learn does it."""

import copy
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from sklearn.base import clone

from tuningjob.aliases import AnyScorer, Anything, Estimator
from tuningjob.engine.fingerprint import nested_estimators
from tuningjob.engine.group import Fitted, Fitter, Fitting, Member, NotFitted
from tuningjob.engine.kept import Kept
from tuningjob.engine.known import can_share, is_a_scorer, is_known, is_known_scorer, may_share
from tuningjob.engine.memo import PATCHES as MEMO_PATCHES
from tuningjob.engine.memo import Memo
from tuningjob.engine.patches import Patches
from tuningjob.engine.processes import deadline
from tuningjob.engine.seeds import is_repeatable
from tuningjob.engine.shortcuts import PATCHES as LEAN_PATCHES
from tuningjob.engine.shortcuts import lean
from tuningjob.engine.sklearn_private import fit_and_score, has_callbacks, is_proved, score
from tuningjob.engine.work import CellKey, Fold, Side, Work, dispatches_arrays, fold_of, wants_kernel

# The functions of scikit-learn that a search replaces, in each process that evaluates its cells.
PATCHES: Final = Patches((*MEMO_PATCHES, *LEAN_PATCHES) if is_proved() else ())

FitOutcome = dict[str, Any]
# Values that never replace an estimator. None is not among them, because as a seed it means unseeded draws.
_SAYS_NOTHING: Final = (str, int, float, np.generic)


@dataclass(frozen=True)
class Evaluated:
    """The result of one cell: a dict as scikit-learn's ``_fit_and_score`` returns it, and warnings if a caller collects them.

    ``process`` is the number of the engine's process that evaluated it.
    """

    cell: CellKey
    outcome: FitOutcome
    warnings: tuple[str, ...] = ()
    process: int = 0


@dataclass(frozen=True)
class AtWork:
    """The cells of the fit that is about to start; yielded only if the fit has a time limit."""

    cells: tuple[CellKey, ...]


class Evaluator:
    """Evaluates cells of one search in this process.

    It keeps the rows and the fitted transformers of the last split, and what rules keep for all splits.
    """

    def __init__(self, work: Work) -> None:
        self.work = work
        self._fold: Fold | None = None
        self._memo: Memo | None = None
        self._kept: Kept = {}
        self._knows_scorer = is_known_scorer(work.scorer)
        # any other scorer may do anything with an estimator, so each candidate is fitted by itself and given away
        self.shares = is_a_scorer(work.scorer) and can_share(work.estimator) and not dispatches_arrays()

    def evaluate(self, split: int, candidates: Sequence[int], *, plain: bool = False) -> Iterator[Evaluated | AtWork]:
        """One result for each candidate, as soon as it is there, in the order that shares the most.

        With ``plain`` nothing is shared. Raises what scikit-learn would raise.
        """
        if plain or not self.shares:
            yield from self._plainly(split, candidates)
            return
        members, others = self._members(candidates)
        yield from self._together(split, candidates, members)
        yield from self._plainly(split, others)

    def _members(self, candidates: Sequence[int]) -> tuple[list[Member], list[int]]:
        """The configured candidates that may share work, and the numbers of the others, which are fitted the plain way."""
        members: list[Member] = []
        others: list[int] = []
        for position, candidate in enumerate(candidates):
            try:
                estimator = self.work.configured(candidate)
                shares = (
                    may_share(estimator)
                    and not wants_kernel(estimator)
                    and not any(map(has_callbacks, nested_estimators(estimator)))
                )
            except Exception:  # noqa: BLE001  the plain fit reports it as scikit-learn does
                shares = False
            if shares:
                members.append(Member(position, estimator, is_known(estimator)))
            else:
                others.append(candidate)
        return members, others

    def _together(self, split: int, candidates: Sequence[int], members: list[Member]) -> Iterator[Evaluated | AtWork]:
        fold = self._fold_of(split)
        memo = self._memo_of(fold)
        fitter = Fitter(fold.fit_params, self.work.timeout)
        outcomes: dict[int, FitOutcome] = {}
        known = {member.position for member in members if member.is_known}
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
                alike = outcomes.get(step.like) if self._knows_scorer else None
                if alike is not None and not _is_finite(alike):
                    alike = None  # failed scoring must report its error again
                if alike is not None:
                    outcome = _same_scores(alike, step.seconds)
                else:
                    outcome = self._outcome(step, fold, memo if step.position in known else None)
                outcomes[step.position] = outcome
                yield Evaluated(CellKey(candidates[step.position], split), outcome)

    def _outcome(self, step: Fitted, fold: Fold, memo: Memo | None) -> FitOutcome:
        """Score a fitted estimator: with the memo if it is known, else on its own copy of the rows."""
        work = self.work
        train, test = work.splits[fold.split]

        def scores_of(cut: Side, indices: Anything) -> Anything:
            if memo is None:
                return self._scores(step.estimator, Side.cut(work, indices), work.scorer)
            if not self._knows_scorer:
                cut = Side.cut(work, indices, X=cut.X)
            with memo.active():
                return self._scores(step.estimator, cut, lean(work.scorer, step.estimator, cut.y, cut.params))

        started = time.perf_counter()
        scores: FitOutcome = {"test_scores": scores_of(fold.test_side, test)}
        seconds = time.perf_counter() - started
        if work.return_train_score:
            scores["train_scores"] = scores_of(fold.train_side, train)
        return {
            "fit_error": None,
            **scores,
            "n_test_samples": fold.test_samples,
            "fit_time": step.seconds,
            "score_time": seconds,
        }

    def _scores(self, estimator: Estimator, side: Side, scorer: AnyScorer) -> Anything:
        return score(estimator, side.X, side.y, scorer, side.params, self.work.error_score)

    def _plainly(self, split: int, candidates: Sequence[int]) -> Iterator[Evaluated | AtWork]:
        work = self.work
        train, test = work.splits[split]
        for candidate in candidates:
            cell = CellKey(candidate, split)
            if work.timeout is not None:
                yield AtWork((cell,))
            with deadline(work.timeout):
                outcome = fit_and_score(
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
            yield Evaluated(cell, outcome)

    def _fold_of(self, split: int) -> Fold:
        if self._fold is None or self._fold.split != split:
            self._forget_fold()
            self._fold = fold_of(self.work, split)
        self._fold.fill(self.work)
        return self._fold

    def _memo_of(self, fold: Fold) -> Memo:
        if self._memo is None:
            self._memo = Memo(fold.size, self._kept)
        return self._memo

    def close(self) -> None:
        """Drop the rows and the transformers, which refer to each other in circles."""
        self._forget_fold()
        self._kept.clear()

    def _forget_fold(self) -> None:
        if self._memo is not None:
            self._memo.clear()
        self._fold = self._memo = None


def shares_anything(work: Work) -> bool:
    """Whether cells of a search may share work, and no candidate is seen to draw without a seed."""
    if not Evaluator(work).shares:
        return False
    # most candidates differ in numbers only, so one of each kind that replaces estimators, generators or seeds is enough
    kinds = {
        tuple((name, id(value)) for name, value in candidate.items() if not isinstance(value, _SAYS_NOTHING)): number
        for number, candidate in enumerate(work.candidates)
    }
    found = False
    for number in kinds.values():
        try:
            estimator = work.configured(number)
            if not is_repeatable(estimator):
                return False
            found = found or may_share(estimator)
        except Exception:  # noqa: BLE001  the fits will raise it
            return False
    return found


def may_depend_on_draws(work: Work) -> bool:
    """Whether a score may depend on draws from a global generator: not if all candidates are known, and seeded if they use it.

    A support vector machine draws a seed at each fit, for example, and mostly has no use for it.
    """
    try:
        made = map(work.configured, range(len(work.candidates)))
        return not is_known_scorer(work.scorer) or not all(is_known(each) and is_repeatable(each) for each in made)
    except Exception:  # noqa: BLE001  nothing is known of a candidate that cannot be made
        return True


def _is_finite(outcome: FitOutcome) -> bool:
    scores = [outcome[name] for name in ("test_scores", "train_scores") if name in outcome]
    return all(
        math.isfinite(score) for each in scores for score in (each.values() if isinstance(each, dict) else [each])
    )


def _same_scores(known: FitOutcome, seconds: float) -> FitOutcome:
    """The outcome of a candidate whose predictions are those of another one, with its own ``seconds``."""
    scores: FitOutcome = {name: copy.copy(known[name]) for name in ("test_scores", "train_scores") if name in known}
    return {**known, **scores, "fit_time": seconds, "score_time": 0.0}
