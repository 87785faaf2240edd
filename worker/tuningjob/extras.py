"""What an installation without the extra ``local`` lacks, told in one sentence instead of a traceback."""

from typing import Final

# What the extra brings, by the names that are imported.
_BROUGHT: Final = frozenset(
    {"alembic", "click", "fsspec", "httpx", "joblib", "lz4", "narwhals", "numpy", "pandas", "pyarrow", "rich", "scipy"}
    | {"sklearn", "sqlalchemy", "tenacity", "threadpoolctl"}
)


def advice_for(error: ModuleNotFoundError, what: str) -> str | None:
    """What to install before ``what`` can be used; None if what is missing is none of ours."""
    module = (error.name or "").partition(".")[0]
    if module not in _BROUGHT:
        return None
    return f"{what} needs the extra 'local' ({module} is not installed): pip install 'tuningjob[local]'"
