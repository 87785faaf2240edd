"""Fit several candidates on one fold's data, and do the work that they share once."""

import copy
import math
import time
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sklearn.pipeline import Pipeline

from tuningjob.aliases import Estimator, Matrix, Target
from tuningjob.engine.arrays import freeze, may_overlap, own, shape_of
from tuningjob.engine.fingerprint import fingerprint, of_estimator
from tuningjob.engine.known import known_steps
from tuningjob.engine.memo import inactive
from tuningjob.engine.processes import deadline
from tuningjob.engine.rules.base import Ceiling, Inert, NestedFit, Rules, rules_for
from tuningjob.engine.rules.views import view
from tuningjob.engine.seeds import is_repeatable
from tuningjob.engine.sklearn_private import fit_prefix

_T = TypeVar("_T")


@dataclass(eq=False)
class Member:
    """One candidate of a group: its position in it, and its configured estimator, which becomes None once it is fitted.

    A candidate that is not known (``engine.known``) shares only the first steps of its pipeline.
    """

    position: int
    estimator: Any
    is_known: bool = True


@dataclass(frozen=True)
class Fitted:
    """A candidate's fitted estimator.

    ``seconds`` is its part of the time. ``like`` is the position of a member with the same predictions, mostly itself.
    """

    position: int
    estimator: Any
    seconds: float
    like: int


@dataclass(frozen=True)
class NotFitted:
    """A candidate that cannot be fitted here: the caller fits it the plain way."""

    position: int


@dataclass(frozen=True)
class Fitting:
    """The positions of the members that are about to be fitted; yielded only if fits have a time limit."""

    positions: tuple[int, ...]


Step = Fitted | NotFitted | Fitting


@dataclass
class Fitter:
    """Fits groups of candidates on one fold's training rows. An error of a fit is not raised: it becomes NotFitted."""

    fit_params: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None
    clock: Callable[[], float] = time.perf_counter

    def fit(self, members: Sequence[Member], X: Matrix, y: Target) -> Iterator[Step]:
        """Fit every member; members that share work follow each other."""
        groups = _group(members, lambda member: type(member.estimator))
        for kind, group in groups.items():
            if kind is Pipeline:
                yield from self._fit_pipelines(group, X, y)
            else:
                yield from self._fit_kin(kind, group, X, y)

    # --- pipelines: fit what comes before the last step once, then the last steps as a group of their own

    def _fit_pipelines(self, members: Sequence[Member], X: Matrix, y: Target) -> Iterator[Step]:
        known, others = _parted(members, lambda member: member.is_known)
        if self.fit_params:
            # metadata is routed by the pipeline itself, to each of its steps
            yield from self._fit_alone(known, X, y)
            yield from (NotFitted(member.position) for member in others)
            return
        for group in _depth_first(known, lambda pipeline: len(pipeline.steps) - 1):
            yield from self._fit_after_prefix(group, X, y)
        for group in _depth_first(others, known_steps):
            yield from self._fit_rests(group, X, y)

    def _fit_after_prefix(self, group: Sequence[Member], X: Matrix, y: Target) -> Iterator[Step]:
        first = group[0].estimator
        last = first.steps[-1][1]
        if len(first.steps) == 1 or last is None or last == "passthrough" or first.transform_input is not None:
            yield from self._fit_alone(group, X, y)
            return
        positions = tuple(member.position for member in group)
        started = self.clock()
        if self.timeout is not None:
            yield Fitting(positions)
        try:
            with deadline(self.timeout):
                Xt = freeze(fit_prefix(first, X, y))
        except Exception:  # noqa: BLE001  the plain fit reports the error as scikit-learn does
            yield from map(NotFitted, positions)
            return
        prefix = first.steps[:-1]
        seconds = self.clock() - started
        finals = [Member(member.position, member.estimator.steps[-1][1]) for member in group]
        pipelines = {member.position: member for member in group}
        for step in self.fit(finals, Xt, y):
            if isinstance(step, Fitted):
                member = pipelines[step.position]
                pipeline, member.estimator = member.estimator, None
                pipeline.steps = [*prefix, (pipeline.steps[-1][0], step.estimator)]
                # the prefix is charged to the first candidate that needed it
                yield Fitted(step.position, pipeline, step.seconds + seconds, step.like)
                seconds = 0.0
            else:
                yield step

    def _fit_rests(self, group: Sequence[Member], X: Matrix, y: Target) -> Iterator[Step]:
        """Fit pipelines with the same known first steps once; the other steps may do anything, so each has its own data."""
        count = known_steps(group[0].estimator)
        head = copy.copy(group[0].estimator)
        head.steps = [*head.steps[:count], ("rest", "passthrough")]
        started = self.clock()
        if self.timeout is not None:
            yield Fitting(tuple(member.position for member in group))
        try:
            with deadline(self.timeout):
                Xt = freeze(fit_prefix(head, X, y))
            shared = may_overlap(Xt, X)
        except Exception:  # noqa: BLE001  the plain fit reports the error as scikit-learn does
            shared = True
        if shared:
            yield from (NotFitted(member.position) for member in group)
            return
        seconds = self.clock() - started
        for member in group:
            if self.timeout is not None:
                yield Fitting((member.position,))
            pipeline, member.estimator = member.estimator, None
            rest = copy.copy(pipeline)
            rest.steps = pipeline.steps[count:]
            started = self.clock()
            try:
                with deadline(self.timeout), inactive():
                    rest.fit(own(Xt), own(y))
            except Exception:  # noqa: BLE001  the plain fit reports the error as scikit-learn does
                yield NotFitted(member.position)
            else:
                pipeline.steps = [*head.steps[:count], *rest.steps]
                yield Fitted(member.position, pipeline, self.clock() - started + seconds, member.position)
                seconds = 0.0
            del pipeline, rest

    # --- final estimators of one class

    def _fit_kin(self, kind: type, members: Sequence[Member], X: Matrix, y: Target) -> Iterator[Step]:
        rules = rules_for(kind)
        repeatable, others = _parted(members, lambda member: is_repeatable(member.estimator, shape_of(X)))
        if len(members) == 1 or not repeatable or not (rules.nested or rules.inert or rules.ceiling):
            yield from self._fit_alone(members, X, y)
            return
        yield from self._fit_alone(others, X, y)
        free = {name for rule in (rules.nested, rules.ceiling) if rule is not None for name in rule.parameters}
        twins = _group(repeatable, lambda member: _normal(member.estimator, rules.inert, X))
        families = _group(
            [group[0] for group in twins.values()], lambda m: _normal(m.estimator, rules.inert, X, without=free)
        )
        likes = {group[0].position: group[1:] for group in twins.values()}
        for family in families.values():
            for step in self._fit_family(family, rules, X, y):
                yield step
                if not isinstance(step, Fitting):
                    yield from _same_as(step, likes[step.position])

    def _fit_family(self, family: Sequence[Member], rules: Rules, X: Matrix, y: Target) -> Iterator[Step]:
        """Fit members that differ only in a nested axis and in a ceiling, the highest ceiling first."""
        nested, ceiling = rules.nested, rules.ceiling
        if ceiling is None:
            yield from self._fit_axis(family, nested, X, y)
            return
        limit = ceiling.parameters[0]
        heights = {member.position: ceiling.height(getattr(member.estimator, limit)) for member in family}
        valid, invalid = _parted(family, lambda member: heights[member.position] is not None)
        yield from self._fit_alone(invalid, X, y)
        levels = _group(sorted(valid, key=lambda m: -(heights[m.position] or 0.0)), lambda m: heights[m.position])
        above: dict[Hashable, Fitted] = {}
        reached = math.inf
        for height, level in levels.items():
            todo = []
            for member in level:
                known = above.get(_normal(member.estimator, rules.inert, X, without={limit}))
                if known is not None and height is not None and height > reached:
                    yield from _same_as(known, [member])
                else:
                    todo.append(member)
            if not todo:
                continue
            keys = {member.position: _normal(member.estimator, rules.inert, X, without={limit}) for member in todo}
            if len(todo) == len(level):
                above, reached = {}, 0.0
            for step in self._fit_axis(todo, nested, X, y):
                if isinstance(step, Fitted):
                    above[keys[step.position]] = step
                    reached = max(reached, _reached(ceiling, step.estimator))
                yield step

    def _fit_axis(self, family: Sequence[Member], nested: NestedFit | None, X: Matrix, y: Target) -> Iterator[Step]:
        """Fit members that differ only in a nested axis."""
        served, others = _parted(family, lambda member: nested is not None and nested.accepts(member.estimator))
        if nested is None or len(served) < 2 or not nested.applies(served[0].estimator, X, y):
            yield from self._fit_alone(family, X, y)
            return
        yield from self._fit_alone(others, X, y)
        positions = [member.position for member in served]
        if self.timeout is not None:
            yield Fitting(tuple(positions))
        left = list(served)
        started = self.clock()
        try:
            with deadline(self.timeout):
                fits = nested.fit([member.estimator for member in served], X, y, self.fit_params)
                first = next(fits)
            # the time of the shared fit is divided equally
            share = (self.clock() - started) / len(served)
            yield Fitted(positions[0], first, share, positions[0])
            left.pop(0)
            for member, (estimator, seconds) in zip(served[1:], self._timed(fits), strict=True):
                yield Fitted(member.position, estimator, share + seconds, member.position)
                left.pop(0)
        except Exception:  # noqa: BLE001  perhaps only the largest member fails
            yield from map(NotFitted, [member.position for member in left])

    def _timed(self, fits: Iterator[_T]) -> Iterator[tuple[_T, float]]:
        while True:
            started = self.clock()
            try:
                fitted = next(fits)
            except StopIteration:
                return
            yield fitted, self.clock() - started

    def _fit_alone(self, members: Sequence[Member], X: Matrix, y: Target) -> Iterator[Step]:
        for member in members:
            if self.timeout is not None:
                yield Fitting((member.position,))
            # no reference to the fitted estimator is kept: the models of a whole task would not fit into memory
            estimator, member.estimator = member.estimator, None
            started = self.clock()
            try:
                with deadline(self.timeout):
                    if y is None:
                        estimator.fit(X, **self.fit_params)
                    else:
                        estimator.fit(X, y, **self.fit_params)
            except Exception:  # noqa: BLE001  the plain fit reports the error as scikit-learn does
                yield NotFitted(member.position)
            else:
                yield Fitted(member.position, estimator, self.clock() - started, member.position)
            del estimator


def _reached(ceiling: Ceiling, fitted: Estimator) -> float:
    try:
        return ceiling.reached(fitted)
    except Exception:  # noqa: BLE001  a user's rule may raise anything; then no members count as alike
        return math.inf


def _depth_first(pipelines: Sequence[Member], count: Callable[[Any], int]) -> list[list[Member]]:
    """Groups of members with the same first ``count`` steps, ordered so that common beginnings follow each other."""
    ranks: list[dict[Hashable, int]] = []

    def path(member: Member) -> tuple[int, ...]:
        steps = member.estimator.steps[: count(member.estimator)]
        ranks.extend({} for _ in range(len(steps) - len(ranks)))
        keys = (fingerprint(step) for step in steps)
        return tuple(rank.setdefault(key, len(rank)) for rank, key in zip(ranks, keys, strict=False))

    groups = _group(pipelines, path)
    return [groups[key] for key in sorted(groups)]


def _normal(estimator: Estimator, inert: Inert | None, X: Matrix, *, without: set[str] | None = None) -> Hashable:
    instead = inert.normal_form(estimator, X) if inert is not None else None
    return of_estimator(estimator, without=without or (), instead=instead)


def _same_as(step: Fitted | NotFitted, others: Sequence[Member]) -> Iterator[Step]:
    for other in others:
        if isinstance(step, NotFitted):
            yield NotFitted(other.position)
        else:
            yield Fitted(other.position, view(step.estimator, other.estimator), 0.0, step.like)


def _parted(members: Sequence[Member], belongs: Callable[[Member], bool]) -> tuple[list[Member], list[Member]]:
    """Split the members into those that belong and the others."""
    groups = _group(members, lambda member: bool(belongs(member)))
    return groups.get(True, []), groups.get(False, [])


def _group(members: Sequence[Member], key: Callable[[Member], Any]) -> dict[Any, list[Member]]:
    groups: dict[Any, list[Member]] = {}
    for member in members:
        groups.setdefault(key(member), []).append(member)
    return groups
