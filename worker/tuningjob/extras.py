"""Says in one sentence, instead of a traceback, what an installation lacks: an extra, or a dependency.

The images have no more than they need, and an installation with ``--no-deps`` lacks even the library's own dependencies.
"""

from typing import Final

# The modules that come with the package, by the names under which they are imported.
_BROUGHT: Final = frozenset(
    {"alembic", "click", "fsspec", "httpx", "jinja2", "joblib", "lz4", "narwhals", "numpy", "pandas", "pyarrow", "rich"}
    | {"scipy", "sklearn", "sqlalchemy", "tenacity", "threadpoolctl"}
)
# The modules that an extra brings, each with the name of its extra.
_OF_EXTRAS: Final = {"kubernetes": "cluster", "mlflow": "mlflow", "optuna": "optuna"}


def advice_for(error: ModuleNotFoundError, what: str) -> str | None:
    """What to install before ``what`` can be used; None if the missing module is not one of ours."""
    module = (error.name or "").partition(".")[0]
    if module in _OF_EXTRAS:
        extra = _OF_EXTRAS[module]
        return f"{what} needs the extra '{extra}' ({module} is not installed): pip install 'tuningjob[{extra}]'"
    if module in _BROUGHT:
        return f"{what} needs {module}, which is not installed: pip install tuningjob brings it"
    return None
