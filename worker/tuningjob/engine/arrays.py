"""Data shared between fits are read-only: a fit that would write into them raises, and is done again on a copy of its own."""

from typing import Any

import numpy as np
from scipy import sparse

from tuningjob.aliases import Anything, Matrix


def freeze(data: Matrix) -> Matrix:
    """The same object, its buffers read-only where it is a dense or compressed sparse array."""
    for buffer in _buffers(data):
        buffer.flags.writeable = False
    return data


def own(data: Matrix) -> Matrix:
    """A copy that may be written into, laid out in memory as the original: products of matrices are rounded by the layout.

    Raises TypeError for what has no such copy.
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
    """Whether writing into one may change the other."""
    if one is other:
        return True
    return any(np.may_share_memory(a, b) for a in _buffers(one) for b in _buffers(other))


def is_frozen(data: Matrix) -> bool:
    """Whether no fit can change it."""
    buffers = _buffers(data)
    return data is None or (bool(buffers) and not any(buffer.flags.writeable for buffer in buffers))


def bytes_of(data: Matrix) -> int:
    """The size in bytes, if the object says it; else 0."""
    buffers = _buffers(data)
    if buffers:
        return sum(buffer.nbytes for buffer in buffers)
    usage = getattr(data, "memory_usage", None)
    return int(np.sum(usage(index=False))) if callable(usage) else 0


def shape_of(data: Matrix) -> "tuple[int, ...] | None":
    """The shape of dense data; None for others, of which solvers are chosen in other ways."""
    shape = getattr(data, "shape", None)
    return None if shape is None or sparse.issparse(data) else tuple(shape)


def _buffers(data: Matrix) -> "list[np.ndarray[Any, Any]]":
    if isinstance(data, np.ndarray):
        return [data]
    if sparse.issparse(data) and data.format in {"csr", "csc"}:
        return [data.data, data.indices, data.indptr]
    return []
