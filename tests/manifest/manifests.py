"""Manifests for tests, which together have every field, and what takes them apart. ``generated.py`` makes any others."""

import copy
from collections.abc import Iterator
from typing import Any, Final

from tuningjob.manifest.crd import custom_resource_definition

Body = dict[str, Any]
Path = tuple[str | int, ...]

CRD: Final = custom_resource_definition()
SPEC: Final[Body] = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]

_POD: Final[Body] = {
    "priorityClassName": "batch-low",
    "serviceAccountName": "reader",
    "nodeSelector": {"disk": "ssd", "example.com/zone": "a"},
    "tolerations": [
        {"key": "gpu", "operator": "Equal", "value": "no", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
    ],
    "topologySpread": [
        {"topologyKey": "topology.kubernetes.io/zone", "maxSkew": 2, "whenUnsatisfiable": "DoNotSchedule"}
    ],
    "imagePullSecrets": ["registry", "registry.two"],
    "env": [
        {"name": "LEVEL", "value": "debug"},
        {"name": "KEY", "secret": {"name": "bucket", "key": "id"}},
        {"name": "URL", "configMap": {"name": "hosts", "key": "db.url"}},
    ],
    "volumes": [
        {"name": "keys", "mountPath": "/etc/keys", "secret": "bucket"},
        {"name": "hosts", "mountPath": "/etc/hosts.d", "configMap": "hosts"},
        {"name": "cache", "mountPath": "/cache", "persistentVolumeClaim": "cache", "readOnly": False},
        {"name": "space", "mountPath": "/space", "emptyDir": "1Gi"},
    ],
}
MINIMAL: Final[Body] = {
    "estimator": {"class": "sklearn.svm.SVC"},
    "search": {"grid": {"parameters": {"C": [1, 2]}}},
    "data": {"loader": "sklearn.datasets.load_iris"},
}
PIPELINE: Final[Body] = {
    "estimator": {
        "pipeline": [
            {"name": "scale", "class": "sklearn.preprocessing.StandardScaler", "params": {"with_mean": True}},
            {"name": "svc", "class": "sklearn.svm.SVC"},
        ]
    },
    "search": {"grid": {"parameters": {"svc__C": [1, 2]}}},
    "data": {
        "path": "iris.csv",
        "target": "species",
        "features": ["a", "b"],
        "format": "csv",
        "persistentVolumeClaim": "iris",
        "sort": "day",
        "sampleWeight": "w",
        "read": {
            "delimiter": r"\s+",
            "decimal": ",",
            "thousands": ".",
            "encoding": "latin-1",
            "quoteChar": "'",
            "quoting": "minimal",
            "doubleQuote": False,
            "escapeChar": "\\",
            "comment": "#",
            "skipInitialSpace": True,
            "skipRows": 1,
            "header": False,
            "names": ["a", "b", "day", "id", "species"],
            "naValues": ["-", ""],
            "keepDefaultNa": False,
            "trueValues": ["ja"],
            "falseValues": ["nein"],
            "parseDates": ["day"],
            "dateFormat": "%d.%m.%Y",
            "dayFirst": True,
            "dtypes": {"a": "Int64"},
            "categories": ["b"],
            "indexColumn": "id",
        },
    },
}
FULL: Final[Body] = {
    "estimator": {"class": "sklearn.svm.SVC", "params": {"kernel": "rbf"}},
    "search": {"grid": {"parameters": [{"C": [1, 2]}, {"gamma": {"logspace": [-3, 3, 7]}}]}},
    "crossValidation": {"folds": 3},
    "scoring": "accuracy",
    "returnTrainScore": True,
    "data": {"path": "iris.parquet", "target": "species", "configMap": "iris", "exclude": ["id"]},
    "resources": {"cpu": "1500m", "cpuRequest": "1m", "memory": "1Gi", "memoryLimit": "4Gi"},
    "parallelism": 4,
    "mode": "Plan",
    "suspend": True,
    "cancel": True,
    "queueName": "team-a",
    "activeDeadlineSeconds": 3600,
    "startDeadlineSeconds": 600,
    "ttlSecondsAfterFinished": 0,
    "limits": {"maxFits": 100, "maxFailedFits": 3, "fitTimeoutSeconds": 60},
    "pod": _POD,
    "reuse": True,
    "artifacts": {"compression": "xz"},
    "exports": {
        "mlflow": {"uri": "https://mlflow.example:5000/", "experiment": "e", "children": 3, "model": False},
        "optuna": {"urlFrom": "STUDIES", "study": "s"},
        "table": {"url": "s3://b/results/iris.parquet"},
    },
    "image": "registry.example:5000/mine@sha256:0123",
    "modelKey": "iris",
}
MADE: Final[Body] = {**MINIMAL, "data": {"loader": "sklearn.datasets.make_blobs", "params": {"random_state": 0}}}
DRAWN: Final[Body] = {
    **MINIMAL,
    "search": {
        "random": {
            "parameters": [
                {"C": {"loguniform": [0.01, 100]}, "kernel": ["rbf", "poly"]},
                {"degree": {"range": [2, 5]}},
            ],
            "iterations": 20,
            "randomState": 7,
        }
    },
}
SEVERAL: Final[Body] = {
    **FULL,
    "scoring": {
        "f1": "f1",
        "f2": {"function": "sklearn.metrics.fbeta_score", "params": {"beta": 2}},
        "cost": {"scorer": "mine.cost"},
    },
    "refit": "f2",
    "select": {"oneStandardError": {"simplest": [{"C": "ascending"}]}, "maxOverfitGap": 0.05},
}
STABLE: Final[Body] = {
    **MINIMAL,
    "baseline": True,
    "scoring": ["f1", "recall"],
    "refit": "f1",
    "select": {"mostStable": {"deviations": 2}},
}
HALVED: Final[Body] = {
    **MINIMAL,
    "search": {
        **MINIMAL["search"],
        "halving": {
            "factor": 2.5,
            "resource": "n_estimators",
            "maxResources": 100,
            "minResources": 5,
            "aggressiveElimination": True,
            "randomState": 1,
        },
    },
}
REFINED: Final[Body] = {
    **MINIMAL,
    "search": {
        **MINIMAL["search"],
        "refine": {"rounds": 2, "shrink": 0.25, "tolerance": 0.001, "scales": {"C": "log"}, "maxFits": 500},
    },
}
AROUND: Final[Body] = {
    **MINIMAL,
    "search": {**MINIMAL["search"], "nested": {"splitter": {"class": "a.B", "params": {"n_splits": 3}}}},
}
AGAIN: Final[Body] = {
    **MINIMAL,
    "search": {**MINIMAL["search"], "nested": {"folds": 3, "repeats": 2, "randomState": 0}},
}
NESTED: Final[Body] = {
    **MINIMAL,
    "search": {**MINIMAL["search"], "nested": {"folds": 3, "shuffle": True, "randomState": 0}},
}
FASTEST: Final[Body] = {**MINIMAL, "select": {"fastestWithin": 0.01}}
FASTEST_BY_ERRORS: Final[Body] = {**MINIMAL, "select": {"fastestWithinStandardErrors": 1}}
BEST: Final[Body] = {**MINIMAL, "select": {"best": True}}
PRUNED: Final[Body] = {**MINIMAL, "prune": "certain", "select": {"best": True}}
REPEATED: Final[Body] = {
    **MINIMAL,
    "crossValidation": {"folds": 3, "shuffle": True, "repeats": 2, "randomState": 0},
}
SPLIT: Final[Body] = {
    **FULL,
    "crossValidation": {"splitter": {"class": "a.B", "params": {"n_splits": 3}}, "groups": "patient"},
}
PREDEFINED: Final[Body] = {**FULL, "crossValidation": {"predefined": "fold"}}
# estimators inside of each other: each kind at the top, and each kind in each
_WITHIN: Final[Body] = {
    "pipeline": [{"name": "a", "class": "a.B"}],
    "union": [{"name": "a", "class": "a.B"}],
    "columns": [{"name": "a", "columns": ["a"], "class": "a.B"}],
}
_PARTS: Final[list[Body]] = [
    {"name": "made", "class": "a.B", "params": {"C": 1}},
    {"name": "steps", "pipeline": _WITHIN["pipeline"]},
    {"name": "parts", "columns": _WITHIN["columns"], "remainder": "drop"},
    {"name": "both", "union": _WITHIN["union"]},
]
STEPS: Final[Body] = {**MINIMAL, "estimator": {"pipeline": _PARTS}}
UNION: Final[Body] = {**MINIMAL, "estimator": {"union": _PARTS}}
COLUMNS: Final[Body] = {
    **MINIMAL,
    "estimator": {
        "columns": [
            {"name": "made", "columns": ["a", "b"], "class": "a.B", "params": {"C": 1}},
            {"name": "steps", "columns": "text", "pipeline": _WITHIN["pipeline"]},
            {"name": "both", "columns": {"dtype": "number"}, "union": _WITHIN["union"]},
        ],
        "remainder": "passthrough",
    },
}
FACTORY: Final[Body] = {**MINIMAL, "estimator": {"factory": "mine.make_model", "params": {"depth": 2}}}
FETCHED: Final[Body] = {
    **MINIMAL,
    "data": {"url": "s3://b/a.csv", "format": "csv", "sha256": "0" * 64, "target": "y"},
    "code": {"url": "https://host/mine.whl", "sha256": "0" * 64},
}
ASKED: Final[Body] = {
    **MINIMAL,
    "data": {"query": {"sql": "SELECT * FROM t ORDER BY a", "urlFrom": "DB"}, "target": "y"},
    "code": {"configMap": "mine"},
}
OF_A_FUNCTION: Final[Body] = {
    **MINIMAL,
    "data": {"function": "mine.load", "params": {"rows": 9}},
    "code": {"persistentVolumeClaim": "mine"},
}
SENT: Final[Body] = {
    **MINIMAL,
    "data": {"uploaded": {"features": "0" * 64, "target": "1" * 64, "groups": "2" * 64, "sampleWeight": "3" * 64}},
    "code": {"uploaded": "4" * 64},
}
SENT_FOLDS: Final[Body] = {
    **MINIMAL,
    "data": {"uploaded": {"features": "0" * 64, "predefined": "5" * 64}},
    "crossValidation": {"predefined": "fold"},
}
SENT_GROUPS: Final[Body] = {**SENT, "crossValidation": {"groups": "patient", "folds": 3}}
SAMPLES: Final = (
    FULL, PIPELINE, MADE, DRAWN, MINIMAL, SEVERAL, STABLE, FASTEST, FASTEST_BY_ERRORS, BEST, PRUNED, REPEATED, SPLIT, PREDEFINED, STEPS, UNION,
    COLUMNS, FACTORY, HALVED, REFINED, NESTED, AROUND, AGAIN, FETCHED, ASKED, OF_A_FUNCTION, SENT, SENT_FOLDS, SENT_GROUPS,
)  # fmt: skip


# Pieces that tests change or put into a spec.
OF_A_FILE: Final[Body] = {**MINIMAL, "data": {"path": "a.csv", "target": "y"}}
OF_A_URL: Final[Body] = {**MINIMAL, "data": {"url": "s3://b/a.csv", "target": "y"}}
READ: Final[Body] = {**OF_A_FILE, "data": {**OF_A_FILE["data"], "read": {"delimiter": ";", "names": ["a", "b"]}}}
A_STEP: Final = [{"name": "b", "class": "a.B"}]
OWN: Final[Body] = {**MINIMAL, "code": {"url": "https://host/mine.whl", "sha256": "0" * 64}}
VARIABLE: Final = {"name": "A", "value": "b"}
VOLUME: Final = {"name": "a", "mountPath": "/a", "secret": "a"}


def manifest(spec: Body, name: str = "sample") -> Body:
    """A whole manifest of its own, to be changed."""
    body = {"apiVersion": "tuningjob.dev/v1alpha1", "kind": "TuningJob", "metadata": {"name": name}, "spec": spec}
    return copy.deepcopy(body)


def at(document: Any, path: Path) -> Any:
    """The value at ``path``. Raises LookupError."""
    for part in path:
        document = document[part]
    return document


def with_value(spec: Body, path: Path, value: Any) -> Body:
    """A copy of ``spec`` in which ``path``, whose parents must be there, has another value."""
    spec = copy.deepcopy(spec)
    at(spec, path[:-1])[path[-1]] = value
    return spec


def without(spec: Body, path: Path) -> Body:
    """A copy of ``spec`` in which ``path`` is not."""
    spec = copy.deepcopy(spec)
    del at(spec, path[:-1])[path[-1]]
    return spec


def fields(schema: Body, document: Any, path: Path = ()) -> Iterator[tuple[Path, Body]]:
    """Every place of ``document`` for which the schema has a word, those of absent fields included."""
    if path:
        yield path, schema
    if isinstance(document, dict):
        known = schema.get("properties", {})
        for key, inner in known.items():
            yield from fields(inner, document.get(key), (*path, key))
        if "additionalProperties" in schema:
            for key, value in document.items():
                yield from fields(schema["additionalProperties"], value, (*path, key))
    elif isinstance(document, list) and "items" in schema:
        for i, item in enumerate(document):
            yield from fields(schema["items"], item, (*path, i))
