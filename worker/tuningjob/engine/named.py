"""scikit-learn's classes and functions by their names, so that nobody imports a module only to ask whether something is of it."""

import sys

from tuningjob.aliases import Anything


def public_name(thing: Anything) -> str | None:
    """``sklearn.svm.SVC`` for scikit-learn's own class or function, wherever its package keeps it; None for any other thing.

    What only claims the name of scikit-learn's is not found where it says that it is.
    """
    module, name = getattr(thing, "__module__", None), getattr(thing, "__name__", None)
    if type(module) is not str or type(name) is not str or not module.startswith("sklearn."):
        return None
    if getattr(sys.modules.get(module), name, None) is not thing:
        return None
    return ".".join([*module.split(".")[:2], name])
