"""Name the libraries that multiply matrices here: the order of a sum, and so its bits, depends on library and processor."""

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from threadpoolctl import threadpool_info

_NAMED: Final = ("internal_api", "version", "architecture")


def kernels_in_use() -> tuple[str, ...]:
    """The loaded libraries, each with the processor type that it chose, such as ``openblas 0.3.30 Haswell``."""
    found = (each for each in numeric_libraries() if each.get("user_api") == "blas")
    return tuple(sorted({" ".join(str(each[name]) for name in _NAMED if each.get(name)) for each in found}))


def numeric_libraries() -> Sequence[Mapping[str, Any]]:
    """The descriptions by threadpoolctl of the BLAS and OpenMP libraries that this process has loaded."""
    return _as_of(len(sys.modules))


@functools.lru_cache(maxsize=1)
def _as_of(modules: int) -> Sequence[Mapping[str, Any]]:  # noqa: ARG001
    """The cached descriptions. The look-up takes milliseconds, so it is repeated only after imports, which load libraries."""
    found: Sequence[Mapping[str, Any]] = threadpool_info()
    return found
