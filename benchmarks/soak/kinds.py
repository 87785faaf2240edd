"""The searches: all kinds, small, each with the weight with which it is sent. Pure."""

from collections.abc import Mapping
from typing import Any, Final

from benchmarks.soak.counted import LEDGER, PAUSE, CountedTree

Document = dict[str, Any]

TABLE: Final = "table"  # the ConfigMap with t.csv, and with the authority of the web server
CODE: Final = "counted"
COUNTED: Final = "counted"
LEAVES: Final = 16
FOLDS: Final = 4
_ROOT: Final = "/code"
_MODULE: Final = CountedTree.__module__

_TREE: Final = {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}}
_SVC: Final = {
    "pipeline": [
        {"name": "scaler", "class": "sklearn.preprocessing.StandardScaler"},
        {"name": "svc", "class": "sklearn.svm.SVC"},
    ]
}
_OF_SVC: Final = {"svc__C": {"logspace": [-2, 2, 3]}, "svc__gamma": {"logspace": [-3, 0, 3]}}
_IRIS: Final = {"loader": "sklearn.datasets.load_iris"}
_OF_TABLE: Final = {"target": "sick", "features": ["a", "b", "c"]}

SPECS: Final[Mapping[str, Document]] = {
    "grid": {"estimator": _SVC, "search": {"grid": {"parameters": _OF_SVC}}, "data": _IRIS, "parallelism": 2},
    "forest": {
        "estimator": {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"random_state": 0}},
        "search": {"grid": {"parameters": {"n_estimators": [5, 10, 20], "max_depth": [None, 2]}}},
        "data": {"loader": "sklearn.datasets.load_wine"},
        "returnTrainScore": True,
        "scoring": ["accuracy", "f1_macro"],
        "refit": "f1_macro",
        "parallelism": 2,
    },
    "random": {
        "estimator": _TREE,
        "search": {
            "random": {
                "parameters": {"max_depth": {"randint": [1, 9]}, "ccp_alpha": {"uniform": [0.0, 0.02]}},
                "iterations": 12,
                "randomState": 3,
            }
        },
        "data": {"loader": "sklearn.datasets.load_breast_cancer"},
        "parallelism": 2,
    },
    "halving": {
        "estimator": _SVC,
        "search": {"grid": {"parameters": _OF_SVC}, "halving": {"factor": 3}},
        "data": _IRIS,
    },
    "refine": {
        "estimator": _SVC,
        "search": {"grid": {"parameters": {"svc__C": {"logspace": [-2, 2, 3]}}}, "refine": {"rounds": 2}},
        "data": _IRIS,
    },
    "nested": {
        "estimator": _TREE,
        "search": {
            "grid": {"parameters": {"max_depth": [1, 2, 3]}},
            "nested": {"folds": 3, "shuffle": True, "randomState": 1},
        },
        "data": {"loader": "sklearn.datasets.load_wine"},
        "parallelism": 2,
    },
    "file": {
        "estimator": {"class": "sklearn.linear_model.LogisticRegression"},
        "search": {"grid": {"parameters": {"C": {"logspace": [-2, 2, 5]}}}},
        "data": {"path": "t.csv", "configMap": TABLE, **_OF_TABLE},
    },
    "url": {
        "estimator": {"class": "sklearn.neighbors.KNeighborsClassifier"},
        "search": {"grid": {"parameters": {"n_neighbors": [1, 3, 5, 7]}}},
        "data": {"url": "", **_OF_TABLE},
    },
    # an eighth of its fits fail, and are scored NaN
    "failing": {
        "estimator": {"class": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 200}},
        "search": {"grid": {"parameters": {"C": [-1.0, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0]}}},
        "data": _IRIS,
    },
    COUNTED: {
        "estimator": {"class": f"{_MODULE}.{CountedTree.__name__}", "params": {"random_state": 0}},
        "search": {"grid": {"parameters": {"min_samples_leaf": {"range": [1, LEAVES + 1]}}}},
        "crossValidation": {"folds": FOLDS},
        "data": {"loader": "sklearn.datasets.load_digits"},
        "baseline": False,
        "parallelism": 2,
    },
}

# What lasts is what can be interfered with.
WEIGHTS: Final[Mapping[str, int]] = {name: 4 if name == COUNTED else 1 for name in SPECS}

_POD: Final = {"resources": {"cpu": "1", "cpuRequest": "200m", "memory": "500Mi"}}


def manifest(kind: str, name: str, *, url: str = "", ledger: str = "", fit_seconds: float = 0.0) -> Document:
    """The TuningJob of a kind; ``url``: of t.csv, for pods; ``ledger``: where each fit is told of."""
    spec: Document = {"crossValidation": {"folds": 3}, **SPECS[kind], **_POD}
    if kind == "url":
        spec["data"] = {**spec["data"], "url": url}
        spec["pod"] = {
            "env": [{"name": "SSL_CERT_FILE", "value": "/etc/table/ca.crt"}],
            "volumes": [{"name": "table", "mountPath": "/etc/table", "configMap": TABLE}],
        }
    if kind == COUNTED:
        folder = f"{_ROOT}/{_MODULE.rpartition('.')[0].replace('.', '/')}"
        told = {"PYTHONPATH": _ROOT, PAUSE: str(fit_seconds), LEDGER: ledger}
        spec["pod"] = {
            "env": [{"name": key, "value": value} for key, value in told.items()],
            "volumes": [{"name": "code", "mountPath": folder, "configMap": CODE}],
        }
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": name},
        "spec": spec,
    }


def on_a_laptop(kind: str) -> Document:
    """The same search with t.csv beside the manifest."""
    document = manifest(kind, kind)
    spec = document["spec"]
    spec.pop("pod", None)
    if "target" in spec["data"]:
        spec["data"] = {"path": "t.csv", **_OF_TABLE}
    return document
