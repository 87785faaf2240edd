"""Equal to the bit."""

from typing import Any

import numpy as np
from scipy import sparse


def assert_same_bits(one: Any, other: Any, what: str = "") -> None:
    """Dense or sparse arrays, lists of them, or numbers: the same type of number, the same shape, the same bits."""
    if isinstance(other, list | tuple):
        assert len(one) == len(other), what
        for each, wanted in zip(one, other, strict=True):
            assert_same_bits(each, wanted, what)
        return
    if sparse.issparse(other):
        for part in ("data", "indices", "indptr"):
            assert_same_bits(getattr(one, part), getattr(other, part), f"{what} {part}")
        return
    one, other = np.asarray(one), np.asarray(other)
    assert one.dtype == other.dtype, f"{what}: {one.dtype} is not {other.dtype}"
    assert one.shape == other.shape, f"{what}: {one.shape} is not {other.shape}"
    if one.dtype == object:
        assert one.tolist() == other.tolist(), what
    else:
        assert one.tobytes() == other.tobytes(), f"{what}: {np.count_nonzero(one != other)} of {one.size} differ"
