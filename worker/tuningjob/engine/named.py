"""Classes and functions by their public names, so that no module is imported only to ask whether something is of it."""

import sys
from typing import Final

from tuningjob.aliases import Anything

_PACKAGES: Final = ("sklearn.", "xgboost.", "lightgbm.")


def public_name(thing: Anything) -> str | None:
    """``sklearn.svm.SVC`` for scikit-learn's own class or function, wherever its package keeps it; None for a user's.

    XGBoost's and LightGBM's have names, too. What only claims to be one of theirs is not found where it says that it is.
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__name__", None)
    if type(module) is not str or type(name) is not str or not module.startswith(_PACKAGES):
        return None
    if getattr(sys.modules.get(module), name, None) is not thing:
        return None
    return ".".join([*module.split(".")[:2], name])
