"""tuningjob: GridSearchCV for a shared Kubernetes cluster.

The library has the manifest's models (``manifest``), its size (``sizing``), the journal (``journal``), the engine that evaluates
candidates (``engine``), the search itself (``search``), and the two ways to run one: on a laptop (``local``, ``cli``) and in a
pod (``pod``). In a notebook, use ``from tuningjob import GridSearchCV, RandomizedSearchCV``; ``to_manifest`` gives the manifest
of such a search, ``Cluster`` runs it on a cluster. ``params``, ``from_literals``, ``read_results`` and ``load_model`` read what a
finished search answered. docs/api.md lists all that may be imported.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from tuningjob.extras import advice_for

if TYPE_CHECKING:
    from tuningjob.answers import from_literals, read_results
    from tuningjob.artifacts.downloads import load_model
    from tuningjob.cluster.client import Cluster
    from tuningjob.engine.search_cv import GridSearchCV, RandomizedSearchCV
    from tuningjob.in_use import params
    from tuningjob.search.to_manifest import to_manifest

__version__ = "0.1.0"
__all__ = [
    "Cluster",
    "GridSearchCV",
    "RandomizedSearchCV",
    "__version__",
    "from_literals",
    "load_model",
    "params",
    "read_results",
    "to_manifest",
]
_HOMES = {
    "Cluster": "tuningjob.cluster.client",
    "GridSearchCV": "tuningjob.engine.search_cv",
    "RandomizedSearchCV": "tuningjob.engine.search_cv",
    "from_literals": "tuningjob.answers",
    "load_model": "tuningjob.artifacts.downloads",
    "params": "tuningjob.in_use",
    "read_results": "tuningjob.answers",
    "to_manifest": "tuningjob.search.to_manifest",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  the name may be of anything
    # the operator imports this package, too, and must not import scikit-learn
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        advice = advice_for(error, f"tuningjob.{name}")
        if advice is None:
            raise
        raise ImportError(advice) from error
