"""The identity of a cell: a digest of all that decides the bits of its result, and of nothing else.

It covers the estimator with the candidate's parameters and the code that it runs, the data, the split, the scoring, the libraries
and the arithmetic kernels. Two cells with one identity have the same result, also in different searches. A cell has no identity
if it draws unseeded random numbers, or if a part cannot be described: an object that keeps more than its arguments, a function
outside a module, or code without a file.
"""

import hashlib
import inspect
import json
from collections.abc import Mapping, Sequence, Set
from functools import lru_cache
from typing import Any, Final

import numpy as np
from sklearn.base import clone

from tuningjob.aliases import Anything, Estimator, ParamValue
from tuningjob.search.code_identity import CodeReader
from tuningjob.search.kernels import numeric_libraries
from tuningjob.search.written import arguments_kept, function_path

_RANDOM_STATE: Final = "random_state"
_CACHED: Final = 4_096


class _Unknown(Exception):
    """Raised for a value that cannot be described."""


class Identities:
    """The identities of one search's cells; ``setting`` is JSON that describes what they have in common besides the estimator.

    ``reader`` describes the code of the estimator's classes, without the versions that ``setting`` already has.
    """

    def __init__(
        self,
        *,
        estimator: Estimator,
        candidates: Sequence[Mapping[str, Any]],
        splits: Sequence[tuple[Any, Any]],
        setting: Mapping[str, Any],
        reader: CodeReader,
    ) -> None:
        self._reader = reader
        self._estimator = estimator
        self._candidates = candidates
        self._splits = [digest_of_split(split) for split in splits]
        self._setting = _digest({**setting, "kernels": _kernels()})
        self._base = _parameters(estimator)
        self._of_candidate = lru_cache(maxsize=_CACHED)(self._candidate)

    def of(self, candidate: int, split: int) -> str | None:
        """The identity of a cell as 32 hex digits; None if it has none."""
        known = self._of_candidate(candidate)
        return None if known is None else _digest([known, self._splits[split], self._setting])

    def is_same(self, params: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
        """Whether two combinations of parameters make the same estimator, to the type and the last bit of each parameter."""
        try:
            return _described(self._with(params), self._reader) == _described(self._with(other), self._reader)
        except (_Unknown, RecursionError):
            return False

    def is_alike(self, value: ParamValue, other: ParamValue) -> bool:
        """Whether two values are the same to a fit, in type and bits; False if that is not known."""
        try:
            return bool(
                _description(value, frozenset(), self._reader) == _description(other, frozenset(), self._reader)
            )
        except (_Unknown, RecursionError):
            return False

    @property
    def estimator_digest(self) -> str:
        """The digest of the estimator before a candidate's parameters are set; empty if it cannot be described."""
        try:
            return _digest(_described(self._base, self._reader))
        except (_Unknown, RecursionError):
            return ""

    @property
    def seed(self) -> str:
        """The random states that are set on the estimator, as JSON; empty for none."""
        given = {
            name: value
            for name, value in sorted(self._base.items())
            if _is_random_state(name) and isinstance(value, int | np.integer)
        }
        return json.dumps({name: int(value) for name, value in given.items()}) if given else ""

    def unseeded(self, candidate: int) -> tuple[str, ...]:
        """The parameters of a candidate by which it draws random numbers without a seed."""
        return tuple(name for name, value in self._of(candidate).items() if _is_random_state(name) and value is None)

    def _candidate(self, candidate: int) -> str | None:
        if self.unseeded(candidate):
            return None
        try:
            return _digest(_described(self._of(candidate), self._reader))
        except (_Unknown, RecursionError):
            return None

    def _of(self, candidate: int) -> dict[str, Any]:
        return self._with(self._candidates[candidate])

    def _with(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if all(name in self._base and not _has_parameters(self._base[name], value) for name, value in params.items()):
            return {**self._base, **params}
        return _parameters(clone(self._estimator).set_params(**clone(dict(params), safe=False)))


def digest_of_split(split: tuple[Any, Any]) -> str:
    """The digest of a split's row numbers on both sides."""
    sides = [np.asarray(side) for side in split]
    return _digest([[str(side.dtype), side.shape, hashlib.sha256(side.tobytes()).hexdigest()] for side in sides])


def digest_of_splits(splits: Sequence[tuple[Any, Any]]) -> str:
    """The digest of all splits, in order."""
    return _digest([digest_of_split(split) for split in splits])


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _kernels() -> list[list[str]]:
    """The code that multiplies matrices here: the order of a sum, and so its bits, depends on the library and the processor."""
    return sorted(
        [str(each.get(name, "")) for name in ("internal_api", "version", "architecture")]
        for each in numeric_libraries()
    )


def _parameters(estimator: Estimator) -> dict[str, Any]:
    """All parameters of an estimator and of those within it, by their nested names; the estimator itself has the empty name."""
    return {"": estimator, **estimator.get_params(deep=True)}


def _has_parameters(*values: Anything) -> bool:
    """Whether replacing one value by another changes more parameters than this one."""
    return any(
        hasattr(value, "get_params") or (isinstance(value, list | tuple) and any(map(_has_parameters, value)))
        for value in values
    )


def _is_random_state(name: str) -> bool:
    return name.rpartition("__")[2] == _RANDOM_STATE


def _described(parameters: Mapping[str, Any], reader: CodeReader) -> dict[str, Any]:
    """The descriptions of parameters by their names. An estimator counts as its class, because its parameters are listed, too."""
    named = {id(value) for value in parameters.values() if hasattr(value, "get_params")}
    return {name: _description(value, named, reader) for name, value in parameters.items()}


def _description(  # noqa: PLR0911  a line for each kind
    value: ParamValue,
    named: Set[int],
    reader: CodeReader,
) -> Anything:
    """A value as JSON, which differs from that of any other value."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.bool_):
        return bool(value)
    if isinstance(value, int | np.integer):
        return ["int", int(value)]
    if isinstance(value, float | np.floating):
        return ["float", float(value).hex()]
    if isinstance(value, list | tuple):
        return [type(value).__name__, *(_description(item, named, reader) for item in value)]
    if isinstance(value, Mapping):
        return [
            "dict",
            *([_description(key, named, reader), _description(item, named, reader)] for key, item in value.items()),
        ]
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return ["array", value.dtype.str, list(value.shape), hashlib.sha256(value.tobytes()).hexdigest()]
    if isinstance(value, type) or inspect.isroutine(value):
        return _code(value, reader)
    return _of_object(value, named, reader)


def _of_object(value: ParamValue, named: Set[int], reader: CodeReader) -> Anything:
    if isinstance(value, np.ufunc):
        return _ufunc(value)
    if hasattr(value, "get_params"):
        own: Mapping[str, Any] = {} if id(value) in named else value.get_params(deep=False)
    else:
        kept = arguments_kept(value)
        if kept is None or _draws_unseeded(kept):
            raise _Unknown(type(value))
        own = kept
    return [_code(type(value), reader), {name: _description(item, named, reader) for name, item in own.items()}]


def _draws_unseeded(kept: Mapping[str, Any]) -> bool:
    """Whether an object with these arguments may draw without a seed, as scikit-learn's splitters do."""
    return kept.get(_RANDOM_STATE, 0) is None and kept.get("shuffle", True) is not False


def _ufunc(value: Anything) -> list[str]:
    """The description of a ufunc of numpy or scipy, whose versions are recorded anyway; it does not name its module."""
    path = function_path(value)
    if path is None or not path.startswith(("numpy.", "scipy.")):
        raise _Unknown(type(value))
    return [path]


def _code(of: Anything, reader: CodeReader) -> list[str]:
    """The place of some code, and its identity if the recorded versions do not determine it."""
    name = f"{of.__module__}.{of.__qualname__}"
    if "<" in name:  # a lambda, or an object defined in a function
        raise _Unknown(name)
    code = reader.of(of)
    if code.unknown:
        raise _Unknown(name)
    return [name, code.digest] if code.parts else [name]
