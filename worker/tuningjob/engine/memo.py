"""The memo of fitted transformers: the common steps of two candidates' pipelines are fitted on a fold only for the first one.

scikit-learn fits every transformer of a Pipeline, a FeatureUnion and a ColumnTransformer through one function,
``sklearn.pipeline._fit_transform_one``. The memo keeps its results by the transformer's fingerprint and the identity of its
arguments. So candidates share prefixes of pipelines, nested pipelines, branches and replaced steps. That function and others
(``PATCHES``) are replaced while a search is in force (``engine.patches``), and are scikit-learn's in a thread without a memo.

Only parameters are hashed; data are compared by identity. The memo keeps only results that depend on the input alone
(``engine.known``), and never sets anything on a transformer. The rows that a remembered transformer has transformed are looked
up where pipelines, unions and column transformers call it.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Final

from sklearn.pipeline import Pipeline

from tuningjob.aliases import Anything, Estimator, Matrix, ParamValue, Target
from tuningjob.engine.arrays import bytes_of, freeze, is_frozen, shape_of
from tuningjob.engine.fingerprint import fingerprint, of_estimator
from tuningjob.engine.kept import Kept, keeping
from tuningjob.engine.known import is_known
from tuningjob.engine.patches import Patch
from tuningjob.engine.rules.base import rules_for
from tuningjob.engine.rules.views import ByInput
from tuningjob.engine.seeds import is_repeatable
from tuningjob.engine.sklearn_private import (
    CALLBACK_CONTEXT,
    COLUMN_JOBS,
    COLUMNS,
    FIT_TRANSFORM_ONE,
    IS_CACHED_ITSELF,
    PIPELINE_MEMORY,
    PIPELINE_STEPS,
    TRANSFORM_ONE,
    UNION_JOBS,
    fit_transform_one,
    safe_indexing,
    transform_one,
)
from tuningjob.engine.work import SMALLEST_MEMO

# An ensemble of pipelines fits hundreds of transformers, each on its own rows.
_MOST_ENTRIES: Final = 256

_steps_of: Final[Callable[..., Iterator[Any]]] = PIPELINE_STEPS.now
_job_of: Final[Callable[..., Any]] = COLUMN_JOBS.now
_memory_of: Final[Callable[..., Any]] = PIPELINE_MEMORY.now
_active: Final = threading.local()


@dataclass
class _Entry:
    """A remembered value. ``keep`` keeps the objects alive that its key identifies; ``fitted`` is the transformer."""

    value: Any
    keep: tuple[Any, ...]
    size: int = 0
    fitted: Any = None


class Memo:
    """The fitted transformers of one fold, least recently used first.

    ``limit`` bounds the rows that they have transformed, in bytes. ``kept`` has what rules keep from one fold to the next.
    """

    def __init__(self, limit: int, kept: Kept | None = None) -> None:
        self.limit = max(limit, SMALLEST_MEMO)
        self.kept: Kept = {} if kept is None else kept
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._size = 0
        # by the id of a fitted transformer, which its entry keeps alive
        self._transforms: dict[int, tuple[Hashable, ByInput]] = {}

    def active(self) -> AbstractContextManager[None]:
        """Have the pipelines that this thread fits in here share fitted transformers and transformed rows."""
        return _with(self)

    def clear(self) -> None:
        """Forget all entries of the memo."""
        for key in list(self._entries):
            self._forget(key)

    def fit_transform_one(  # noqa: PLR0917  scikit-learn's
        self,
        transformer: Estimator,
        X: Matrix,
        y: Target,
        weight: float | None,
        message_clsname: str,
        message: str | None,
        params: Mapping[str, Mapping[str, Any]] | None,
    ) -> tuple[Any, Any]:
        """The transformed rows and the fitted transformer, as scikit-learn's own function returns them."""

        def fit() -> tuple[Any, Any]:
            Xt, fitted = fit_transform_one(transformer, X, y, weight, message_clsname, message, params)
            return Xt, fitted

        if id(transformer) in self._transforms:
            self._forget(
                self._transforms[id(transformer)][0]
            )  # an estimator that fits its parts repeatedly fits it again
            return fit()
        if not (is_known(transformer) and is_repeatable(transformer, shape_of(X))):
            return fit()
        metadata = [value for each in (params or {}).values() for value in each.values()]
        given = (
            id(X),
            id(y),
            weight,
            *map(id, metadata),
            *((to, *each) for to, each in (params or {}).items() if each),
        )
        rule = rules_for(type(transformer)).transform
        keep = (X, y, metadata)
        whole = of_estimator(transformer, without={CALLBACK_CONTEXT})
        if rule is None or weight is not None or metadata or not rule.applies(transformer, X):
            return self._shared((whole, given), keep, fit)

        narrow = of_estimator(transformer, without={*rule.parameters, CALLBACK_CONTEXT})
        widest = self._remembered((narrow, given), keep, lambda: rule.fit(transformer, X, y))
        return self._shared((whole, given), keep, lambda: rule.derive(widest.value, transformer, X), rule.transform)

    def transform(self, fitted: Estimator, X: Matrix) -> Matrix:
        """Transform rows by a fitted transformer; the result is remembered if its fit is."""
        known = self._transforms.get(id(fitted))
        return fitted.transform(X) if known is None else known[1](X)

    def remembers(self, fitted: Estimator) -> bool:
        """Whether the fit of a transformer is remembered."""
        return id(fitted) in self._transforms

    def columns(self, X: Matrix, key: Anything) -> Matrix:
        """The columns that a ColumnTransformer gives to one of its transformers, as the same object each time."""
        subset = self._remembered(("columns", id(X), fingerprint(key)), (X,), lambda: safe_indexing(X, key, axis=1))
        return freeze(subset.value) if is_frozen(X) else subset.value

    def _shared(
        self,
        key: Hashable,
        keep: tuple[Any, ...],
        fit: Callable[[], tuple[Any, Any]],
        transform: Callable[[Any, Any], Any] = lambda fitted, X: fitted.transform(X),
    ) -> tuple[Any, Any]:
        entry = self._entries.get(key)
        if entry is None:
            entry = self._remembered(key, keep, fit)
            Xt, fitted = entry.value
            freeze(Xt)
            more = bytes_of(Xt)  # its transformed test rows will be remembered, too, and are about as large
            entry.size += more
            self._size += more
            entry.fitted = fitted
            self._transforms[id(fitted)] = key, ByInput(lambda X: freeze(transform(fitted, X)))
        else:
            self._entries.move_to_end(key)
        Xt, fitted = entry.value
        return Xt, fitted

    def _remembered(self, key: Hashable, keep: tuple[Any, ...], make: Callable[[], Any]) -> _Entry:
        entry = self._entries.get(key)
        if entry is None:
            while self._entries and (self._size > self.limit or len(self._entries) >= _MOST_ENTRIES):
                self._forget(next(iter(self._entries)))
            value = make()
            entry = self._entries[key] = _Entry(value, keep, _size_within(value))
            self._size += entry.size
        self._entries.move_to_end(key)
        return entry

    def _forget(self, key: Hashable) -> None:
        entry = self._entries.pop(key)
        if entry.fitted is not None:
            self._transforms.pop(id(entry.fitted), None)
        self._size -= entry.size


def _size_within(value: ParamValue) -> int:
    """The bytes of a value's arrays, each counted once: transformers share some, and a frame has one for each column."""
    parts = value if isinstance(value, tuple) else getattr(value, "__dict__", {}).values()
    return bytes_of(value) + sum(map(bytes_of, parts))


@contextmanager
def _with(memo: Memo | None) -> Iterator[None]:
    before = getattr(_active, "memo", None)
    _active.memo = memo
    try:
        with keeping(None if memo is None else memo.kept):
            yield
    finally:
        _active.memo = before


def inactive() -> AbstractContextManager[None]:
    """Remember nothing in here, even if a memo is active around it."""
    return _with(None)


class _Remembered:
    """A fitted transformer that looks up its results in the memo, wrapped only for one call of a pipeline's steps."""

    def __init__(self, fitted: Estimator, memo: Memo) -> None:
        self._fitted = fitted
        self._memo = memo

    def transform(self, X: Matrix, **params: Anything) -> Matrix:
        return self._fitted.transform(X, **params) if params else self._memo.transform(self._fitted, X)

    def __getattr__(self, name: str) -> Anything:
        return getattr(self._fitted, name)


def _shared_fit_transform_one(  # noqa: PLR0917  scikit-learn's
    transformer: Estimator,
    X: Matrix,
    y: Target,
    weight: float | None,
    message_clsname: str = "",
    message: str | None = None,
    params: Mapping[str, Mapping[str, Any]] | None = None,
) -> Estimator:
    memo: Memo | None = getattr(_active, "memo", None)
    if memo is None:
        return fit_transform_one(transformer, X, y, weight, message_clsname, message, params)
    return memo.fit_transform_one(transformer, X, y, weight, message_clsname, message, params)


def _shared_transform_one(
    transformer: Estimator,
    X: Matrix,
    y: Target,
    weight: float | None,
    params: Anything = None,
) -> Matrix:
    memo: Memo | None = getattr(_active, "memo", None)
    if memo is None or weight is not None or not memo.remembers(transformer) or (params and params.transform):
        return transform_one(transformer, X, y, weight, params)
    return memo.transform(transformer, X)


def _shared_steps(pipeline: Estimator, with_final: bool = True, filter_passthrough: bool = True) -> Iterator[Any]:  # noqa: FBT001, FBT002
    memo: Memo | None = getattr(_active, "memo", None)
    steps: Iterator[Any] = _steps_of(pipeline, with_final, filter_passthrough)
    if memo is None or type(pipeline) is not Pipeline:
        return steps
    return ((at, name, _Remembered(step, memo) if memo.remembers(step) else step) for at, name, step in steps)


def _shared_columns(X: Matrix, indices: Anything, *, axis: int = 0) -> Matrix:
    memo: Memo | None = getattr(_active, "memo", None)
    if memo is None or axis != 1:
        return safe_indexing(X, indices, axis=axis)
    return memo.columns(X, indices)


def _shared_job(function: Anything) -> Anything:
    memo: Memo | None = getattr(_active, "memo", None)
    return _job_of(function if memo is None else _SHARED.get(function, function))


_SHARED: Final = {fit_transform_one: _shared_fit_transform_one, transform_one: _shared_transform_one}


class _NoMemory:
    """Stands for joblib's memory in a pipeline that has none, and caches nothing."""

    location = None

    @staticmethod
    def cache(function: Anything) -> Anything:
        return _SHARED.get(function, function)


def _shared_memory(memory: Anything) -> Anything:
    return _NoMemory if memory is None and getattr(_active, "memo", None) is not None else _memory_of(memory)


_FITS: Final = (
    (Patch(PIPELINE_MEMORY, _shared_memory), Patch(UNION_JOBS, _shared_job))
    if IS_CACHED_ITSELF
    else (Patch(FIT_TRANSFORM_ONE, _shared_fit_transform_one), Patch(TRANSFORM_ONE, _shared_transform_one))
)
PATCHES: Final = (
    *_FITS,
    Patch(PIPELINE_STEPS, _shared_steps),
    Patch(COLUMN_JOBS, _shared_job),
    Patch(COLUMNS, _shared_columns),
)
