"""The outline: which candidates have work in common, judged cheaply by their parameters alone, to order and cut the work.

No result depends on it, because what is really shared is decided when the estimators are fitted.
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

    ``path`` has one key for each step of the pipeline and one for the final estimator. Candidates with a common beginning share
    those steps; with the same path they share a fit. ``axes`` has, for each nested axis, the key of the group of candidates that
    differ in it, and the candidate's own value.
    """

    path: Path
    axes: tuple[tuple[int, int], ...] = ()


class Outline:
    """Places the candidates of one estimator, which is fitted on rows of X.

    Keys are replaced by numbers, in the order in which they are met, because numbers are quick to compare.
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
        """The key of the candidates that one fit of the final estimator serves; None if it has no rule for that.

        These are on one nested axis, or differ in parameters without effect. (That a fit is also that of a higher limit is known
        after it.)
        """
        return _family(self.estimator, params, self._X)

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


def _family(estimator: Estimator, params: Params, X: Matrix) -> Hashable | None:
    if type(estimator) is not Pipeline or "steps" in params:
        rules = rules_for(type(estimator))
        if rules.nested is None and rules.inert is None:
            return None
        alike = params if rules.inert is None else _in_normal_form(rules.inert, estimator, params, X)
        return _key(alike, rules.nested.parameters if rules.nested else ())
    name, step = estimator.steps[-1]
    last = _family(*_of_step(name, step, params), X)
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
    """The parameters, with those replaced that have no effect: else candidates that share a fit would not look alike."""
    if not any(name in params for name in inert.parameters):
        return params
    try:
        configured = object.__new__(type(estimator))  # clone and set_params would cost more than all the rest
        vars(configured).update({**vars(estimator), **params})
        instead = inert.normal_form(configured, X)
    except Exception:  # noqa: BLE001  its parameters may raise anything when they are read
        return params
    return {**params, **instead}


def _key(params: Params, without: tuple[str, ...]) -> Hashable:
    return tuple((name, _value(params[name])) for name in sorted(params) if not _is_of(name, without))


def _values(params: Params, names: tuple[str, ...]) -> Hashable:
    return tuple((name, _value(params[name])) for name in sorted(params) if _is_of(name, names))


def _is_of(name: str, names: tuple[str, ...]) -> bool:
    """Whether a name is one of ``names``, or of a parameter within one of these."""
    return name.partition("__")[0] in names


def _value(value: ParamValue) -> Hashable:
    # estimators among the values are compared by identity, because a grid has one object for all its candidates
    return ("is", id(value)) if is_estimator(value) else fingerprint(value)
