"""The rows of the journal: the candidates, and then the other rows (defaults, outer folds)."""

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, overload

from sklearn.base import clone

from tuningjob.aliases import Anything, Estimator
from tuningjob.engine import CellKey
from tuningjob.engine.work import Split
from tuningjob.protocol.records import Cell
from tuningjob.search.reasons import error_text

_SEPARATOR: Final = "__"
_RANDOM_STATE: Final = "random_state"

Params = Mapping[str, Any]


@dataclass(frozen=True)
class Rows:
    """The open rows of the journal, from row ``first`` on, and the fit of each of their cells.

    ``candidates`` and ``splits`` are those of the fits, by the engine's numbers. In a nested search the first ``repeated``
    candidates have further rows for each outer fold, on ``width`` splits of that fold.
    """

    candidates: Sequence[Params]
    splits: Sequence[Split]
    first: int = 0
    repeated: int = 0
    width: int = 0

    def key(self, cell: Cell) -> CellKey:
        """The fit for which a cell of the journal stands."""
        row = cell.candidate - self.first
        if not self.repeated or row < len(self.candidates):
            return CellKey(row, cell.split)
        fold, candidate = divmod(row - len(self.candidates), self.repeated)
        return CellKey(candidate, (fold + 1) * self.width + cell.split)

    def cell(self, key: CellKey) -> Cell:
        """The cell of the journal for a fit."""
        fold, split = divmod(key.split, self.width) if self.repeated else (0, key.split)
        row = key.candidate if not fold else len(self.candidates) + (fold - 1) * self.repeated + key.candidate
        return Cell(row + self.first, split)


class Appended(Sequence[Params]):
    """A sequence followed by more items, without a copy of the first, which may be a grid of a million candidates."""

    def __init__(self, first: Sequence[Params], more: Sequence[Params]) -> None:
        self._first = first
        self._more = more

    def __len__(self) -> int:
        return len(self._first) + len(self._more)

    @overload
    def __getitem__(self, index: int) -> Params: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Params]: ...
    def __getitem__(self, index: int | slice) -> Params | Sequence[Params]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(index)
        return self._first[index] if index < len(self._first) else self._more[index - len(self._first)]


@dataclass(frozen=True)
class Defaults:
    """The defaults of the tuned parameters.

    ``refused`` says why they cannot be set on the estimator. Then ``params`` is empty, and the estimator is evaluated as the
    manifest has it.
    """

    params: Params
    refused: str = ""


def defaults_of(estimator: Estimator, tuned: Iterable[str]) -> Defaults:
    """The class's default of each tuned parameter.

    A step or a required argument has none and keeps its value. So does a random state, because fits without one would differ.
    """
    try:
        defaults = dict(_defaults(clone(estimator), tuned))
        # tried here, because an exception during a fit would end the search
        clone(estimator).set_params(**clone(defaults, safe=False))
    except Exception as error:  # noqa: BLE001  a user's class may do anything
        return Defaults({}, error_text(error))
    return Defaults(defaults)


def _defaults(estimator: Estimator, tuned: Iterable[str]) -> Iterator[tuple[str, Any]]:
    params = {"": estimator, **estimator.get_params(deep=True)}
    replaced: set[str] = set()
    for name in sorted(set(tuned)):  # an owner comes before its parameters
        owner, _, own = name.rpartition(_SEPARATOR)
        default = _default(type(params.get(owner)), own)
        is_given = default is not inspect.Parameter.empty and own != _RANDOM_STATE
        if name not in params or not is_given or replaced & set(_owners(name)):
            continue
        if hasattr(params[name], "get_params") or hasattr(default, "get_params"):
            replaced.add(name)  # its parameters are no longer there
        yield name, default


def _owners(name: str) -> Iterator[str]:
    while _SEPARATOR in name:
        name = name.rpartition(_SEPARATOR)[0]
        yield name


def _default(kind: Anything, name: str) -> Anything:
    try:
        parameters = inspect.signature(kind.__init__).parameters  # as scikit-learn reads them
    except (TypeError, ValueError):  # a class may have no signature
        return inspect.Parameter.empty
    return parameters[name].default if name in parameters else inspect.Parameter.empty
