"""Read-only data shared between fits: a fit that tries to write into them raises, and is repeated on its own copy."""

from typing import Any

import numpy as np
from scipy import sparse

from tuningjob.aliases import Anything, Matrix


def freeze(data: Matrix) -> Matrix:
    """Make the buffers of a dense or compressed sparse array read-only; returns the same object."""
    for buffer in _buffers(data):
        buffer.flags.writeable = False
    return data


def own(data: Matrix) -> Matrix:
    """A writable copy with the memory layout of the original, because the rounding of matrix products depends on the layout.

    Raises TypeError for an object that cannot be copied so.
    """
    if data is None:
        return None
    if type(data) is np.ndarray and not data.dtype.hasobject and min(data.strides, default=0) >= 0:
        size = sum((length - 1) * stride for length, stride in zip(data.shape, data.strides, strict=True))
        memory = np.empty(size + data.itemsize if data.size else 0, np.uint8)
        copied: np.ndarray[Any, Any] = np.ndarray(data.shape, data.dtype, memory.data, strides=data.strides)
        copied[...] = data
        return copied
    if np.ndim(data) == 1 and callable(getattr(data, "copy", None)):
        return data.copy()
    if sparse.issparse(data) and data.format in {"csr", "csc"}:
        return data.copy()
    raise TypeError(f"{type(data).__name__} has no copy with the same layout")


def may_overlap(one: Anything, other: Anything) -> bool:
    """Whether writing into one of two objects may change the other."""
    if one is other:
        return True
    return any(np.may_share_memory(a, b) for a in _buffers(one) for b in _buffers(other))


def is_frozen(data: Matrix) -> bool:
    """Whether the data are read-only, so that no fit can change them."""
    buffers = _buffers(data)
    return data is None or (bool(buffers) and not any(buffer.flags.writeable for buffer in buffers))


def bytes_of(data: Matrix) -> int:
    """The size of the data in bytes; 0 if the object does not say it."""
    buffers = _buffers(data)
    if buffers:
        return sum(buffer.nbytes for buffer in buffers)
    usage = getattr(data, "memory_usage", None)
    return int(np.sum(usage(index=False))) if callable(usage) else 0


def shape_of(data: Matrix) -> "tuple[int, ...] | None":
    """The shape of dense data; None for other data, for which estimators choose their solvers in other ways."""
    shape = getattr(data, "shape", None)
    return None if shape is None or sparse.issparse(data) else tuple(shape)


def _buffers(data: Matrix) -> "list[np.ndarray[Any, Any]]":
    if isinstance(data, np.ndarray):
        return [data]
    if sparse.issparse(data) and data.format in {"csr", "csc"}:
        return [data.data, data.indices, data.indptr]
    return []
