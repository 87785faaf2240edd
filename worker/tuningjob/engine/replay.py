"""Replay a search that decides as it goes: scikit-learn's ``fit`` runs again, with the earlier results, until it asks for more.

So scikit-learn itself decides what a search tries next, none of its code is copied, and the same results lead to the same next
stage. A stage is one call of ``evaluate_candidates``: HalvingGridSearchCV makes one in each round.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuningjob.aliases import Anything, Estimator, Matrix, Target
from tuningjob.engine.evaluate import FitOutcome
from tuningjob.engine.sklearn_private import contexts, results_table
from tuningjob.engine.work import Split


@dataclass(frozen=True)
class Stage:
    """Candidates that a search wants evaluated on these splits; ``first`` is the number of the first one in the whole search."""

    first: int
    candidates: Sequence[Mapping[str, Any]]
    splits: Sequence[Split]


@dataclass(frozen=True)
class Replayed:
    """A search that asks for no more: its ``cv_results_``, and the other attributes that its ``fit`` has set by then."""

    table: dict[str, Any]
    attributes: Mapping[str, Any]


class _Due(Exception):
    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage


class _Over(Exception):
    def __init__(self, table: dict[str, Any]) -> None:
        super().__init__()
        self.table = table


def replay(
    search: Estimator,
    X: Matrix,
    y: Target,
    splits: Sequence[Split],
    outcomes: Sequence[FitOutcome],
    *,
    answered: int,
) -> Stage | Replayed:
    """The next stage after the first ``answered`` candidates, or the finished search if it asks for none.

    ``outcomes`` has what ``_fit_and_score`` returned, ordered by candidate and then by split. ``search`` is any unfitted one of
    scikit-learn's, and is not changed; ``splits`` replace its ``cv``. It must decide by its results alone, so everything that
    draws must have an integer seed. Raises what its ``fit`` raises for its settings.
    """
    kind = type(type(search).__name__, (_Replaying, type(search)), {})
    replayed = kind(**{**search.get_params(deep=False), "cv": list(splits), "refit": False})
    before = set(vars(replayed))
    replayed.replayed = (X, y, splits, outcomes, answered)
    try:
        replayed.fit(X, y)
    except _Due as due:
        return due.stage
    except _Over as over:
        own = {name: value for name, value in vars(replayed).items() if name not in before and name != "replayed"}
        return Replayed(over.table, own)
    raise AssertionError("a search must run its search")


class _Replaying:
    """A search that takes its evaluations from ``replayed`` and leaves ``fit`` by an exception, because it refits nothing."""

    replayed: tuple[Matrix, Target, Sequence[Split], Sequence[FitOutcome], int]

    def _run_search(self, evaluate_candidates: Callable[..., Any], *, callback_ctx: Anything = None) -> None:  # noqa: ARG002
        X, y, splits, outcomes, answered = self.replayed
        asked: list[Any] = []
        more: dict[str, list[Any]] = defaultdict(list)
        table: dict[str, Any] = {}

        def known(
            candidate_params: Anything,
            cv: Anything = None,
            more_results: Anything = None,
            callback_ctx: Anything = None,  # noqa: ARG001  no fit is made of which it could be notified
        ) -> Anything:
            nonlocal table
            candidates = list(candidate_params)
            if len(asked) + len(candidates) > answered:
                divided = splits if cv is None else list(cv.split(X, y))
                raise _Due(Stage(len(asked), candidates, divided))
            asked.extend(candidates)
            for name, values in (more_results or {}).items():
                more[name].extend(values)
            table = results_table(self, asked, len(splits), outcomes[: len(asked) * len(splits)], more)
            return table

        run: Callable[..., None] = super()._run_search  # type: ignore[misc]
        run(known, **contexts(callback_ctx))
        raise _Over(table)
