"""The whole path of a class that somebody named without its module."""

import difflib
import functools
import importlib
from typing import Any, Final

# Whose classes begin so, and where they are.
_OTHERS: Final = {"XGB": "xgboost", "LGBM": "lightgbm", "CatBoost": "catboost"}


def whole_path(name: str, *, cutoff: float = 1.0) -> str:
    """``Write sklearn.svm.SVC.`` for ``SVC``, or nothing; with a lower ``cutoff`` for the nearest name, too."""
    name = name.rpartition(".")[2]
    for prefix, module in _OTHERS.items():
        if name.startswith(prefix):
            return f"Write {module}.{name}."
    found = _classes()
    close = difflib.get_close_matches(name, found, n=1, cutoff=cutoff)
    return f"Write {_public(found[close[0]])}.{close[0]}." if close else ""


@functools.cache
def _classes() -> dict[str, type[Any]]:
    from sklearn.utils.discovery import all_estimators  # noqa: PLC0415  it imports all of scikit-learn

    return dict(all_estimators())


def _public(kind: type[Any]) -> str:
    """The module that users import it from: the first one on the way that has it."""
    parts = kind.__module__.split(".")
    for length in range(2, len(parts)):
        module = ".".join(parts[:length])
        if getattr(importlib.import_module(module), kind.__name__, None) is kind:
            return module
    return kind.__module__
