"""An estimator whose fits take their time and next to no CPU, until they are told to hurry: there is time to interfere.

Pods have this module from a ConfigMap (``code``), by the same name as here; only there a fit pauses.
"""

import os
import time
from pathlib import Path
from typing import Any, Final

from sklearn.ensemble import RandomForestClassifier

Document = dict[str, Any]

HURRY: Final = "/tmp/hurry"
"""Where this file is, no fit pauses any more."""

_PAUSE: Final = "FIT_PAUSE_SECONDS"
_ROOT: Final = "/code"
_CONFIG_MAP: Final = "patient"


class PatientForest(RandomForestClassifier):
    """A random forest that pauses before each fit, for as many seconds as its environment says."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "PatientForest":
        until = time.monotonic() + float(os.environ.get(_PAUSE, "0"))
        while time.monotonic() < until and not Path(HURRY).exists():
            time.sleep(0.05)
        return super().fit(X, y, sample_weight)


def code() -> Document:
    """The ConfigMap with this module."""
    file = Path(__file__)
    data = {file.name: file.read_text(encoding="utf-8")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _CONFIG_MAP}, "data": data}


def forest(*, most_leaves: int = 22, pause_seconds: float = 0.4) -> Document:
    """Of a spec: an estimator, data and a grid of 90 fits that have nothing in common, with ``code`` to run it by."""
    folder = f"{_ROOT}/{__name__.rpartition('.')[0].replace('.', '/')}"
    return {
        "estimator": {"class": f"{__name__}.{PatientForest.__name__}", "params": {"random_state": 0}},
        "search": {"grid": {"parameters": {"n_estimators": [2], "max_leaf_nodes": {"range": [4, most_leaves]}}}},
        "data": {"loader": "sklearn.datasets.load_digits"},
        "pod": {
            "volumes": [{"name": "code", "mountPath": folder, "configMap": _CONFIG_MAP}],
            "env": [{"name": "PYTHONPATH", "value": _ROOT}, {"name": _PAUSE, "value": str(pause_seconds)}],
        },
    }
