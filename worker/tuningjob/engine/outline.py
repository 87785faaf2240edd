"""Which candidates have work in common, by their parameters alone: a cheap answer, by which the work is ordered and cut.

No result depends on it: what is really shared is decided when the estimators are fitted.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

from sklearn.pipeline import Pipeline

from tuningjob.aliases import Estimator, Matrix, ParamValue
from tuningjob.engine.fingerprint import fingerprint, is_estimator
from tuningjob.engine.rules.base import Inert, rules_for

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
    """Places the candidates of one estimator, which is fitted on rows of X. Keys are numbered as they are met: numbers are
    quick to compare.
    """

    def __init__(self, estimator: Estimator, X: Matrix = None) -> None:
        self.estimator = estimator
        self._X = X
        self._numbers: dict[Hashable, int] = {}

    def place(self, params: Params) -> Node:
        """The node of a candidate."""
        path, axes = _place(self.estimator, params, self._X)
        return Node(
            tuple(map(self._number, path)), tuple((self._number(group), self._number(on)) for group, on in axes)
        )

    def family(self, params: Params) -> Hashable | None:
        """The key of the candidates that one fit of the final estimator serves, by a nested axis; None of one that is on none."""
        return _family(self.estimator, params)

    def _number(self, key: Hashable) -> int:
        return self._numbers.setdefault(key, len(self._numbers))


_Path = tuple[Hashable, ...]
_Axes = tuple[tuple[Hashable, Hashable], ...]


def _place(estimator: Estimator, params: Params, X: Matrix) -> tuple[_Path, _Axes]:
    if type(estimator) is not Pipeline or "steps" in params:
        return _final(estimator, params, X)
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
    last, last_axes = _place(*_of_step(name, step, params), X)
    return (*path, *last), (*axes, *(((*path, group), value) for group, value in last_axes))


def _family(estimator: Estimator, params: Params) -> Hashable | None:
    if type(estimator) is not Pipeline or "steps" in params:
        nested = rules_for(type(estimator)).nested
        return None if nested is None else _key(params, nested.parameters)
    name, step = estimator.steps[-1]
    last = _family(*_of_step(name, step, params))
    if last is None:
        return None
    return (*(_key(_of_step(name, step, params)[1], ()) for name, step in estimator.steps[:-1]), last)


def _of_step(name: str, step: Estimator, params: Params) -> tuple[Any, dict[str, Any]]:
    """The estimator that a candidate has in a step, and its parameters there (the estimator itself under the empty name)."""
    chosen = params.get(name, step)
    own = {key[len(name) + 2 :]: value for key, value in params.items() if key.startswith(f"{name}__")}
    if name in params:
        own[""] = chosen
    return chosen, own


def _final(estimator: Estimator, params: Params, X: Matrix) -> tuple[_Path, _Axes]:
    rules = rules_for(type(estimator))
    free = rules.nested.parameters if rules.nested else ()
    limit = rules.ceiling.parameters if rules.ceiling else ()
    alike = params if rules.inert is None else _in_normal_form(rules.inert, estimator, params, X)
    inert = rules.inert.parameters if rules.inert else ()
    path = (_key(params, (*free, *limit, *inert)), _key(alike, (*free, *limit)))
    return path, ((_key(params, free), _values(params, free)),) if free else ()


def _in_normal_form(inert: Inert, estimator: Estimator, params: Params, X: Matrix) -> Params:
    """The parameters, those replaced that do not matter: else what shares a fit would look as if it had none in common."""
    if not any(name in params for name in inert.parameters):
        return params
    try:
        configured = object.__new__(type(estimator))  # not by clone and set_params, which cost more than all the rest
        vars(configured).update({**vars(estimator), **params})
        instead = inert.normal_form(configured, X)
    except Exception:  # noqa: BLE001  its parameters may raise anything when they are looked at
        return params
    return {name: instead.get(name, value) for name, value in params.items()}


def _key(params: Params, without: tuple[str, ...]) -> Hashable:
    return tuple((name, _value(params[name])) for name in sorted(params) if not _is_of(name, without))


def _values(params: Params, names: tuple[str, ...]) -> Hashable:
    return tuple((name, _value(params[name])) for name in sorted(params) if _is_of(name, names))


def _is_of(name: str, names: tuple[str, ...]) -> bool:
    """Whether a name is one of these, or of a parameter within one of these."""
    return name.partition("__")[0] in names


def _value(value: ParamValue) -> Hashable:
    # estimators among the values are told apart by identity: a grid holds one object for all its candidates
    return ("is", id(value)) if is_estimator(value) else fingerprint(value)
