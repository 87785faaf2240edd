"""Suggest the full path of a class that was named without its module."""

import difflib
import functools
import importlib
from typing import Any, Final

# Prefixes of class names, and the modules of these classes.
_OTHERS: Final = {"XGB": "xgboost", "LGBM": "lightgbm", "CatBoost": "catboost"}


def whole_path(name: str, *, cutoff: float = 1.0) -> str:
    """The advice ``Write sklearn.svm.SVC.`` for ``SVC``, or an empty text; a lower ``cutoff`` also accepts near names."""
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
    """The module from which users import a class: the outermost package that has it."""
    parts = kind.__module__.split(".")
    for length in range(2, len(parts)):
        module = ".".join(parts[:length])
        if getattr(importlib.import_module(module), kind.__name__, None) is kind:
            return module
    return kind.__module__
