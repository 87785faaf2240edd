"""The libraries that multiply matrices here: the bits of a sum depend on its order, and that on the library and the processor."""

import functools
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from threadpoolctl import threadpool_info

_NAMED: Final = ("internal_api", "version", "architecture")


def kernels_in_use() -> tuple[str, ...]:
    """Each that this process has loaded, with the processor that it took: openblas 0.3.30 Haswell."""
    found = (each for each in numeric_libraries() if each.get("user_api") == "blas")
    return tuple(sorted({" ".join(str(each[name]) for name in _NAMED if each.get(name)) for each in found}))


def numeric_libraries() -> Sequence[Mapping[str, Any]]:
    """What threadpoolctl knows of the BLAS and OpenMP libraries that this process has loaded."""
    return _as_of(len(sys.modules))


@functools.lru_cache(maxsize=1)
def _as_of(modules: int) -> Sequence[Mapping[str, Any]]:  # noqa: ARG001
    """To look for them takes milliseconds: again only after imports, by which they come."""
    found: Sequence[Mapping[str, Any]] = threadpool_info()
    return found
