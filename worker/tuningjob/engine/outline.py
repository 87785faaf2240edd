"""Which candidates have work in common, by their parameters alone: a cheap answer, by which the work is ordered and cut.

No result depends on it: what is really shared is decided when the estimators are fitted.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from sklearn.pipeline import Pipeline

from tuningjob.aliases import Estimator, ParamValue
from tuningjob.engine.fingerprint import fingerprint, is_estimator
from tuningjob.engine.rules.base import rules_for

Path = tuple[int, ...]
Params = Mapping[str, Any]


@dataclass(frozen=True)
class Node:
    """The steps and axes that a candidate is on.

    ``path``: one key a step of the pipeline and one for the final estimator; candidates with a common beginning share those
    steps, with all of it a fit. ``axes``: for each nested axis that it is on, the key of the group of candidates that differ
    in it, and its own value there.
    """

    path: Path
    axes: tuple[tuple[int, int], ...] = ()


class Outline:
    """Places the candidates of one estimator. Keys are numbered as they are met: numbers are quick to compare."""

    def __init__(self, estimator: Estimator) -> None:
        self.estimator = estimator
        self._numbers: dict[Hashable, int] = {}

    def place(self, params: Params) -> Node:
        """The node of a candidate."""
        path, axes = _place(self.estimator, params)
        return Node(
            tuple(map(self._number, path)), tuple((self._number(group), self._number(on)) for group, on in axes)
        )

    def _number(self, key: Hashable) -> int:
        return self._numbers.setdefault(key, len(self._numbers))


_Path = tuple[Hashable, ...]
_Axes = tuple[tuple[Hashable, Hashable], ...]


def _place(estimator: Estimator, params: Params) -> tuple[_Path, _Axes]:
    if type(estimator) is not Pipeline or "steps" in params:
        return _final(estimator, params)
    path: list[Hashable] = []
    axes: list[tuple[Hashable, Hashable]] = []
    for name, step in estimator.steps[:-1]:
        chosen, own = _of_step(name, step, params)
        rule = rules_for(type(chosen)).transform
        free = rule.parameters if rule is not None else ()
        path.append(_key(own, free))
        if free:
            axes.append((tuple(path), _values(own, free)))
            path.append(_values(own, free))
    name, step = estimator.steps[-1]
    last, last_axes = _place(*_of_step(name, step, params))
    return (*path, *last), (*axes, *(((*path, group), value) for group, value in last_axes))


def _of_step(name: str, step: Estimator, params: Params) -> tuple[Any, dict[str, Any]]:
    """The estimator that a candidate has in a step, and its parameters there (the estimator itself under the empty name)."""
    chosen = params.get(name, step)
    own = {key[len(name) + 2 :]: value for key, value in params.items() if key.startswith(f"{name}__")}
    if name in params:
        own[""] = chosen
    return chosen, own


def _final(estimator: Estimator, params: Params) -> tuple[_Path, _Axes]:
    rules = rules_for(type(estimator))
    free = rules.nested.parameters if rules.nested else ()
    inactive = [name for rule in (rules.inert, rules.ceiling) if rule is not None for name in rule.parameters]
    path = (_key(params, (*free, *inactive)),)
    return path, ((_key(params, free), _values(params, free)),) if free else ()


def _key(params: Params, without: tuple[str, ...]) -> Hashable:
    return tuple((name, _value(params[name])) for name in sorted(params) if name not in without)


def _values(params: Params, names: tuple[str, ...]) -> Hashable:
    return tuple(_value(params[name]) if name in params else None for name in names)


def _value(value: ParamValue) -> Hashable:
    # estimators among the values are told apart by identity: a grid holds one object for all its candidates
    return ("is", id(value)) if is_estimator(value) else fingerprint(value)
