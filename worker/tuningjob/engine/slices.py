"""Shared slices: the rows of a fold are cut once for all processes.

An X of 1 GB must not have a private copy of a fold in each of four processes. The rows of a split lie in memory that is shared
by all processes forked after it was reserved, and the first process that needs them copies them. Untouched memory costs nothing,
and memory that is no longer needed is given back to the system.
"""

import fcntl
import mmap
import os
import sys
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import numpy as np
from numpy.typing import NDArray

from tuningjob.aliases import Matrix
from tuningjob.engine.sklearn_private import safe_indexing

_Array = NDArray[Any]
_Rows = NDArray[np.intp]

# Rows are copied in blocks: a block of an array in another order passes through a temporary copy, which stays in the cache.
_BLOCK_BYTES: Final = 2**20
_ALIGNMENT: Final = 16  # malloc's
_FILLED: Final = 1


class SharedRows:
    """Selections of the rows of ``X``, each held once for all processes.

    ``selections`` are row numbers or masks, as a splitter gives them. The object is made before the processes are forked, when
    nothing is copied yet. Processes may ``take`` at the same time, but threads of one process may not. Raises IndexError for rows
    that X lacks.
    """

    WORTHWHILE: ClassVar[int] = 2**20  # the least size of X in bytes; each process copies a smaller one in no time

    def __init__(self, X: _Array, selections: Sequence[_Array]) -> None:
        if not self.supports(X):
            raise TypeError("X must be a numpy array with at least one value, and not of objects")
        self._X = np.asarray(X)  # a memmap as a plain array, which is what its rows are
        self._selections = [self._select(rows) for rows in selections]
        self._states = mmap.mmap(-1, max(len(selections), 1))
        # A process locks its bytes of this file; the kernel releases the locks when the process is killed.
        self._locks = os.memfd_create("tuningjob-rows")
        self._close = weakref.finalize(self, os.close, self._locks)

    @staticmethod
    def supports(X: Matrix) -> bool:
        """Whether the rows of X can be shared: it is a numpy array or memmap whose values are not Python objects."""
        return (
            sys.platform == "linux"
            and type(X) in {np.ndarray, np.memmap}
            and X.ndim >= 1
            and X.nbytes > 0
            and not X.dtype.hasobject
        )

    def take(self, selection: int) -> _Array:
        """``X[selections[selection]]``, read-only: the same values, dtype and strides as scikit-learn cuts for a fit.

        A process gets the same array at each call. If the rows follow each other it is a view of X itself.
        """
        selected = self._selections[selection]
        if isinstance(selected, _Copied):
            with self._locked(selection):
                if self._states[selection] != _FILLED:
                    selected.fill(self._X)
                    self._states[selection] = _FILLED  # if killed before, the next process fills it again
            return selected.array
        return selected

    def release(self, selection: int) -> None:
        """Give a selection's memory back. Its existing arrays, in any process, turn to zeros.

        The caller must know that they are no longer used. The next ``take`` fills the memory again.
        """
        selected = self._selections[selection]
        if isinstance(selected, _Copied):
            with self._locked(selection):
                self._states[selection] = 0
                selected.memory.madvise(mmap.MADV_REMOVE)

    def close(self) -> None:
        """Close the file of locks, after which nothing may be taken. The memory is freed with its last array and process."""
        self._selections.clear()
        self._close()

    def _select(self, selection: _Array) -> "_Copied | _Array":
        X = self._X
        rows = _row_numbers(selection, len(X))
        # scikit-learn decides how the axes lie; the first one is always the outermost
        sample = np.asarray(safe_indexing(X, rows[:1]))
        strides = (sample.nbytes, *sample.strides[1:])
        if not len(rows):
            return _read_only(sample)
        if X.flags.c_contiguous and _follow_each_other(rows):
            view = X[rows[0] : rows[-1] + 1]
            if view.strides == strides and view.ctypes.data % _ALIGNMENT == 0:
                return _read_only(view)
        return _Copied.reserve(rows, (len(rows), *X.shape[1:]), strides, X.dtype)

    @contextmanager
    def _locked(self, selection: int) -> Iterator[None]:
        fcntl.lockf(self._locks, fcntl.LOCK_EX, 1, selection)
        try:
            yield
        finally:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, selection)


@dataclass(frozen=True, eq=False)
class _Copied:
    """Rows copied to separate memory; ``array`` is a read-only view of it."""

    rows: _Rows
    memory: mmap.mmap
    target: _Array
    array: _Array

    @classmethod
    def reserve(
        cls, rows: _Rows, shape: tuple[int, ...], strides: tuple[int, ...], dtype: "np.dtype[Any]"
    ) -> "_Copied":
        memory = mmap.mmap(-1, shape[0] * strides[0])  # anonymous, MAP_SHARED
        target: _Array = np.ndarray(shape, dtype, memory, strides=strides)
        # An array of a read-only buffer cannot be made writeable again, but numpy looks through a memoryview given directly.
        read_only = np.frombuffer(memoryview(memory).toreadonly(), np.uint8)
        array: _Array = np.ndarray(shape, dtype, read_only, strides=strides)
        return cls(rows, memory, target, array)

    def fill(self, X: _Array) -> None:
        """Copy the rows in blocks, without a second copy of all of them in between."""
        step = max(_BLOCK_BYTES // self.target.strides[0], 1)
        for start in range(0, len(self.rows), step):
            rows, target = self.rows[start : start + step], self.target[start : start + step]
            if X.flags.c_contiguous and X.flags.aligned and target.flags.c_contiguous:
                # Twice as fast. It would copy an X in any other order whole, and with mode="raise" each block.
                np.take(X, rows, axis=0, out=target, mode="clip")
            else:
                target[...] = X[rows, ...]


def _row_numbers(selection: _Array, n_rows: int) -> _Rows:
    """A selection as row numbers from 0, whether given as numbers, as negative numbers from the end, or as a mask."""
    given = np.asarray(selection)
    if given.dtype == bool:
        if given.shape != (n_rows,):
            raise IndexError(f"a mask of shape {given.shape} for {n_rows} rows")
        return np.flatnonzero(given)
    # numpy takes an empty list for one of floats
    rows = given.astype(np.intp, casting="same_kind" if given.size else "unsafe", copy=False)
    if rows.size and not (-n_rows <= rows.min() and rows.max() < n_rows):
        raise IndexError(f"rows {rows.min()} to {rows.max()} are selected, but there are {n_rows}")
    return np.where(rows < 0, rows + n_rows, rows) if rows.size and rows.min() < 0 else rows


def _follow_each_other(rows: _Rows) -> bool:
    return bool(rows[-1] - rows[0] == len(rows) - 1 and (np.diff(rows) == 1).all())


def _read_only(array: _Array) -> _Array:
    view = array.view()
    view.flags.writeable = False
    return view
