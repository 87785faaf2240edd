"""The libraries that multiply matrices here: the bits of a sum depend on its order, and that on the library and the processor."""

from threadpoolctl import threadpool_info

_NAMED = ("internal_api", "version", "architecture")


def kernels_in_use() -> tuple[str, ...]:
    """Each that this process has loaded, with the processor that it took: openblas 0.3.30 Haswell."""
    found = (each for each in threadpool_info() if each.get("user_api") == "blas")
    return tuple(sorted({" ".join(str(each[name]) for name in _NAMED if each.get(name)) for each in found}))
