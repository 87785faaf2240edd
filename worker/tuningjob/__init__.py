"""tuningjob: GridSearchCV for a shared Kubernetes cluster.

The library: the manifest's models (``spec``), its size (``sizing``), the journal (``journal``), the engine that evaluates
candidates (``engine``), the search itself (``search``), and the two ways to run one: on a laptop (``local``, ``cli``) and in a
pod (``pod``). In a notebook: ``from tuningjob import GridSearchCV, RandomizedSearchCV``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuningjob.engine.search_cv import GridSearchCV, RandomizedSearchCV

__version__ = "0.1.0"
__all__ = ["GridSearchCV", "RandomizedSearchCV", "__version__"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    # the operator imports this package too, and must not import scikit-learn
    if name in {"GridSearchCV", "RandomizedSearchCV"}:
        return getattr(import_module("tuningjob.engine.search_cv"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
