"""Public names of classes and functions, so that no module is imported only to find out whether an object is of it."""

import sys
from typing import Final

from tuningjob.aliases import Anything

_PACKAGES: Final = ("sklearn.", "xgboost.", "lightgbm.")


def public_name(thing: Anything) -> str | None:
    """The public name of a class or function of scikit-learn, such as ``sklearn.svm.SVC``; None for a user's own.

    Those of XGBoost and LightGBM have names, too. An object that only claims such a name gets None, because that module does
    not have it.
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__name__", None)
    if type(module) is not str or type(name) is not str or not module.startswith(_PACKAGES):
        return None
    if getattr(sys.modules.get(module), name, None) is not thing:
        return None
    return ".".join([*module.split(".")[:2], name])
