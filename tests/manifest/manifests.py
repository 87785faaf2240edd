"""Manifests for tests: some that together have every field, any that are valid, and any that are slightly broken.

The broken ones are made from the CRD's own schema, so that a new field is tried without a word here.
"""

import copy
from collections.abc import Iterator
from typing import Any, Final

from hypothesis import strategies as st

from tuningjob.manifest.canonical import canonical
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
    "resources": {"cpu": "1500m", "memory": "1Gi", "memoryLimit": "4Gi"},
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
    "exports": {"mlflow": {"uri": "https://mlflow.example:5000/", "experiment": "e", "children": 3, "model": False}},
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
    FULL, PIPELINE, MADE, DRAWN, MINIMAL, SEVERAL, STABLE, FASTEST, FASTEST_BY_ERRORS, BEST, REPEATED, SPLIT, PREDEFINED, STEPS, UNION, COLUMNS,
    FACTORY, HALVED, REFINED, NESTED, AROUND, AGAIN, FETCHED, ASKED, OF_A_FUNCTION, SENT, SENT_FOLDS, SENT_GROUPS,
)  # fmt: skip


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


# Strategies

names = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,10}[a-z0-9])?", fullmatch=True)
object_names = names | st.builds("{}.{}".format, names, names)
label_keys = st.from_regex(r"([a-z]{1,5}\.[a-z]{1,5}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?", fullmatch=True)
label_values = st.from_regex(r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?)?", fullmatch=True)
dotted_paths = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}(\.[A-Za-z_][A-Za-z0-9_]{0,8}){1,3}", fullmatch=True)
seconds = st.sampled_from([1, 60, 2**31 - 1]) | st.integers(1, 2**31 - 1)
quantities = st.one_of(
    st.sampled_from(["1", "2", "500m", "1Gi", "1Pi", "10k", "1Mi", "1e3", "1E6", "12E6", "+3Gi", "1.", ".5Gi", "1024"]),
    st.integers(1, 2**50),
    st.from_regex(r"[0-9]{1,4}(\.[0-9]{0,2})?(m|k|M|G|T|Ki|Mi|Gi|Ti|e[0-9]|E-?[0-9])?", fullmatch=True),
)
# texts at the edge of some field's rule, and for most fields beyond it
_ODD_TEXTS: Final = (
    "", " ", ".", "..", "a..b", "a.b", "A", "-a", "a-", "a b", "a\n", "\n", "é", "ſ", "a\x00", "a__b", "a=b", "a:b", "$(HOME)",
    "/", "//", "/a", "/a/", "/a//b", "/a/../b", "/a/./b", "/...", "/a/...", "/data", "/data/x", "/database", "/tmp", "/var",
    "/var/run", "/run/tuningjob/x", "HOME", "home", "TUNINGJOB_X", "TUNINGJOB", "OMP_NUM_THREADS", "yes", "null", "1", "0", "-1",
    "1.0", "1e99", "1e-99", "1e99999999999", "1E-99999999999", "0Gi", "1KI", "1Pi", "2Pi", "1048575", "0.9Mi", "10001", "inf",
    "nan", "1_0", "١", "../x.csv", "x.CSV", "x.txt", "csv", ".csv", "a/..", "x.pq", "x.parquet", "sklearn.datasets.load_iris",
    "os.system", "s3://b/x.csv", "https://h/a?x=y", "abfs://c@a.dfs.core.windows.net/x.pq", "s3://b/x/", "passthrough", "species", "Exists", "Equal", "NoExecute", "a/b", "a/b/c", "/b", "a/", "x" * 63, "x" * 64,
    "x" * 253, "x" * 254, "x" * 513, "registry.example:5000/a@sha256:00",
)  # fmt: skip
_odd_text = st.sampled_from(_ODD_TEXTS)
_odd: st.SearchStrategy[Any] = st.one_of(
    st.sampled_from(
        [
            None,
            True,
            False,
            0,
            1,
            -1,
            1.0,
            1.5,
            1e300,
            2**31,
            2**31 - 1,
            2**63,
            -(2**63),
            [],
            {},
            [None],
            [[]],
            {"a": 1},
        ]
    ),
    _odd_text,
    st.text(max_size=8),
    st.integers(),
)


@st.composite
def spread(draw: st.DrawFn, items: st.SearchStrategy[Any], *keys: str, most: int = 3) -> list[Any]:
    """A list whose items differ in these keys."""
    key = (lambda item: tuple(item.get(each) for each in keys)) if keys else None
    return draw(st.lists(items, max_size=most, unique_by=key))


def _objects(required: dict[str, Any], optional: dict[str, Any] | None = None) -> st.SearchStrategy[Body]:
    return st.fixed_dictionaries(required, optional=optional or {})


keys_of = _objects({"name": object_names, "key": st.from_regex(r"[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,8}", fullmatch=True)})
_variable_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True).filter(
    lambda name: name != "HOME" and not name.startswith("TUNINGJOB_")
)
variables = st.one_of(
    _objects({"name": _variable_names, "value": st.text(max_size=8)}),
    _objects({"name": _variable_names, "secret": keys_of}),
    _objects({"name": _variable_names, "configMap": keys_of}),
)
_mount_paths = st.from_regex(r"(/[-A-Za-z0-9_][-A-Za-z0-9_.]{0,6}){1,3}", fullmatch=True).filter(
    lambda path: not path.startswith(("/data", "/tmp", "/var", "/run"))
)
_sizes = st.sampled_from(["1Mi", "1Gi", "1.5Gi", 1048576, "1Pi", "2e6"])
volumes = st.one_of(
    _objects({"name": names, "mountPath": _mount_paths, "secret": object_names}),
    _objects({"name": names, "mountPath": _mount_paths, "configMap": object_names}),
    _objects(
        {"name": names, "mountPath": _mount_paths, "persistentVolumeClaim": object_names}, {"readOnly": st.booleans()}
    ),
    _objects({"name": names, "mountPath": _mount_paths, "emptyDir": _sizes}),
)
_effects = st.sampled_from(["NoSchedule", "PreferNoSchedule", "NoExecute"])
tolerations = st.one_of(
    _objects({"key": label_keys}, {"operator": st.just("Equal"), "value": label_values, "effect": _effects}),
    _objects({"operator": st.just("Exists")}, {"key": label_keys, "effect": _effects}),
    _objects({"key": label_keys, "effect": st.just("NoExecute"), "tolerationSeconds": st.integers(0, 2**31 - 1)}),
)
spreads = _objects(
    {"topologyKey": label_keys},
    {"maxSkew": st.integers(1, 10_000), "whenUnsatisfiable": st.sampled_from(["DoNotSchedule", "ScheduleAnyway"])},
)
pods = _objects(
    {},
    {
        "priorityClassName": object_names,
        "serviceAccountName": object_names,
        "nodeSelector": st.dictionaries(label_keys, label_values, max_size=3),
        "tolerations": st.lists(tolerations, max_size=3),
        "topologySpread": spread(spreads, "topologyKey"),
        "imagePullSecrets": st.lists(object_names, max_size=3, unique=True),
        "env": spread(variables, "name"),
        "volumes": spread(volumes, "name").filter(
            lambda found: len({volume["mountPath"] for volume in found}) == len(found)
        ),
    },
)
_grid_parameters = st.sampled_from(
    [{"C": [1]}, {"C": [1, 2]}, {"C": [True]}, [{"C": [1]}, {"g": {"linspace": [0, 1, 5]}}]]
)
_random_parameters = _grid_parameters | st.sampled_from(
    [
        {"C": {"uniform": [0, 1]}},
        {"C": {"uniform": [0, 2]}},
        {"C": {"uniform": [0.5, 1]}},
        {"C": {"loguniform": [0.001, 1]}},
        {"C": {"randint": [0, 1]}},
        {"C": [1, 2], "g": {"randint": [-(2**53), 2**53]}},
        {"C": [{"class": "a.b", "params": {"x": [1, {"y": 1}]}}]},
        {"C": [{"class": "a.b", "params": {"x": [1, {"y": 2}]}}]},
        [{"C": [1]}, {"C": {"uniform": [0, 1]}}],
        [{}, {"C": [[], {}, [None]]}],
    ]
)
# what the models alone refuse
_bad_parameters = st.sampled_from(
    [
        [],
        [[]],
        "C",
        {"C": []},
        {"C": {"uniform": [1, 0]}},
        {"C": {"uniform": [0]}},
        {"C": {"uniform": ["0", "1"]}},
        {"C": {"loguniform": [0, 1]}},
        {"C": {"randint": [0, 1.5]}},
        {"C": {"randint": [0, 2**53 + 1]}},
        {"C": {"normal": [0, 1]}},
        {"C": [{"uniform": [0, 1]}]},
        {"C": {"range": [10**9]}},
        [{"C": {"uniform": [0, 1]}}, {"C": {"uniform": [True, 2]}}],
    ]
)
_iterations: Final = at(SPEC, ("properties", "search", "properties", "random", "properties", "iterations", "maximum"))
_halvings: st.SearchStrategy[Body] = _objects(
    {},
    {
        "factor": st.sampled_from([1.1, 2, 3, 1_000]),
        "maxResources": st.sampled_from([1, 100, 10**12]),
        "minResources": st.sampled_from([1, 10**12, "exhaust", "smallest"]),
        "aggressiveElimination": st.booleans(),
    },
)
_refinements: st.SearchStrategy[Body] = _objects(
    {},
    {
        "rounds": st.integers(1, 20),
        "shrink": st.sampled_from([0.01, 0.5, 0.99]),
        "tolerance": st.sampled_from([0, 0.001, 1e12]),
        "scales": st.dictionaries(st.text(max_size=4), st.sampled_from(["linear", "log", "integer"]), max_size=3),
        "maxFits": st.sampled_from([1, 10**9]),
    },
)
_outer_folds: st.SearchStrategy[Body] = st.builds(
    lambda folds, shuffled: {**folds, **shuffled},
    _objects({}, {"folds": st.integers(2, 100)}),
    st.sampled_from([{}, {"shuffle": False}, {"shuffle": True, "randomState": 0}, {"repeats": 2, "randomState": 0}]),
) | _objects(
    {
        "splitter": _objects(
            # of which the manifest tells how many outer folds there are
            {"class": st.sampled_from([f"sklearn.model_selection.{name}" for name in ("KFold", "TimeSeriesSplit")])},
            {"params": st.sampled_from([{}, {"n_splits": 3}])},
        )
    }
)
searches: st.SearchStrategy[Body] = st.one_of(
    _objects({"grid": _objects({"parameters": _grid_parameters}), "nested": _outer_folds}),
    _objects({"grid": _objects({"parameters": _grid_parameters}), "refine": _refinements}),
    _objects({"grid": _objects({"parameters": _grid_parameters}), "halving": _halvings}),
    _objects({"grid": _objects({"parameters": _grid_parameters})}),
    _objects(
        {
            "random": _objects(
                {"parameters": _random_parameters},
                {
                    "iterations": st.sampled_from([1, 10, _iterations]) | st.integers(1, _iterations),
                    "randomState": st.sampled_from([0, 1, 2**31, 2**32 - 1]) | st.integers(0, 2**32 - 1),
                },
            )
        }
    ),
)
params = st.sampled_from([{}, {"C": 1}, {"a": {"b": [1, None, 2.5]}}, {"x": {"float": 1}}, {"y": True}, {"y": 1}])
_steps = _objects(
    {
        "name": st.from_regex(r"[A-Za-z](_?[A-Za-z0-9-]){0,5}", fullmatch=True),
        "class": dotted_paths | st.just("passthrough"),
    },
    {"params": params},
)
# what is inside of each other has no type in the schema: the models alone look into it
_INSIDE = st.sampled_from(
    [
        {"pipeline": [{"name": "in", "class": "a.B", "params": {"C": 1}}]},
        {"union": [{"name": "in", "class": "a.B"}, {"name": "out", "class": "drop"}]},
        {"columns": [{"name": "in", "columns": ["a"], "class": "a.B"}], "remainder": "passthrough"},
        {"columns": [{"name": "in", "columns": {"dtype": "number"}, "class": "a.B"}], "remainder": {"class": "a.B"}},
    ]
)
_NAME = st.from_regex(r"[A-Za-z](_?[A-Za-z0-9-]){0,5}", fullmatch=True)
_part_classes = dotted_paths | st.sampled_from(["passthrough", "drop"])
_nested_steps = st.builds(lambda name, inside: {"name": name, **inside}, _NAME, _INSIDE)
_union_parts = (
    _objects({"name": _NAME, "class": _part_classes}, {"params": st.sampled_from([{}, {"C": 1}]).filter(bool)})
    | _nested_steps
)
_column_parts = _objects(
    {
        "name": _NAME,
        "columns": st.sampled_from(
            [["a", "b"], [0, 1], "text", {"dtype": "number"}, {"pattern": "^x"}, {"dtype": ["a"], "pattern": "b"}]
        ),
        "class": dotted_paths,
    },
    {"params": params},
)
estimators = st.one_of(
    _objects({"pipeline": spread(_steps | _nested_steps, "name").filter(bool)}),
    _objects({"union": spread(_union_parts, "name").filter(bool)}),
    _objects(
        {"columns": spread(_column_parts, "name").filter(bool)},
        {"remainder": st.sampled_from(["drop", "passthrough", {"class": "a.B", "params": {"C": 1}}])},
    ),
    _objects({"factory": dotted_paths}, {"params": params}),
    _objects({"class": dotted_paths}, {"params": params}),
    _objects({"pipeline": spread(_steps, "name").filter(bool)}, {"params": st.just({})}),
)
_columns = st.text(min_size=1, max_size=4)
_reads = st.sampled_from(
    [
        {},
        PIPELINE["data"]["read"],
        {"delimiter": r"\s+"},
        {"delimiter": "\t", "naValues": [""]},
        {"header": False, "names": ["a", "b"]},
        {"delimiter": ";", "decimal": ",", "thousands": " "},
        {"dtypes": {"a": "str", "b": "category"}},
        {"dtypes": {"a": "str"}},
    ]
)
# what the models and the API server refuse
_bad_reads = st.sampled_from(
    [
        {"delimiter": ".", "decimal": "."},
        {"decimal": ","},
        {"thousands": "."},
        {"thousands": '"'},
        {"comment": ","},
        {"escapeChar": "."},
        {"escapeChar": '"'},
        {"quoteChar": ","},
        {"header": False},
        {"delimiter": r"\s"},
        {"delimiter": "ab"},
        {"delimiter": "\n"},
        {"dtypes": {}},
        {"dtypes": {"": "str"}},
        {"dtypes": {"x" * 254: "str"}},
        {"dtypes": {"a": "text"}},
        {"encoding": "latin 1"},
    ]
)
_holders: st.SearchStrategy[Body] = st.one_of(
    st.just({}), _objects({"configMap": object_names}), _objects({"persistentVolumeClaim": object_names})
)


def _is_coherent(file: Body) -> bool:
    targets, features = (
        [each] if isinstance(each, str) else each for each in (file.get("target", []), file.get("features", []))
    )
    name = file.get("path") or file["url"].partition("?")[0]
    is_csv = file.get("format", name.rpartition(".")[2].lower()) == "csv"
    return (
        not {*targets} & {*features, *file.get("exclude", [])}
        and not ("features" in file and "exclude" in file)
        and (is_csv or "read" not in file)
    )


_of_a_table: Final = {
    "target": _columns | st.lists(_columns, min_size=1, max_size=3, unique=True),
    "sampleWeight": _columns.map(lambda name: f"{name}*"),
    "format": st.sampled_from(["csv", "parquet"]),
    "features": _columns | st.lists(_columns.map(lambda name: f"{name}+"), min_size=1, max_size=3, unique=True),
    "params": st.just({}),
    "exclude": st.lists(_columns.map(lambda name: f"{name}-"), min_size=1, max_size=3),
    "sort": _columns,
    "read": _reads,
}
_digests: Final = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
data = st.one_of(
    _objects(
        {"loader": st.sampled_from(["sklearn.datasets.load_iris", "sklearn.datasets.make_x"])}, {"params": params}
    ),
    _objects(
        {"query": st.fixed_dictionaries({"sql": st.just("SELECT * FROM t ORDER BY a"), "urlFrom": st.just("DB")})},
        {"target": _columns, "sort": _columns},
    ),
    _objects({"function": st.sampled_from(["mymodule.load", "a.b.c"])}, {"params": params}),
    _objects(
        {
            "uploaded": _objects(
                {"features": _digests}, {"target": _digests, "groups": _digests, "sampleWeight": _digests}
            )
        }
    ),
    st.builds(
        lambda file, holder: {**file, **holder},
        _objects(
            {"path": st.sampled_from(["x.csv", "a/b.parquet", "/x.PQ", "a..b.csv", "parts/"])}, _of_a_table
        ).filter(_is_coherent),
        _holders,
    ),
    _objects(
        {"url": st.sampled_from(["s3://b/x.csv", "https://h/x.PQ?y=.csv", "gs://b/a/x.parquet"])},
        {**_of_a_table, "sha256": st.from_regex(r"[0-9a-f]{64}", fullmatch=True)},
    ).filter(_is_coherent),
)
_no, _yes = st.sampled_from([False]), st.sampled_from([True])
_drawn: Final = {"shuffle": True, "randomState": 0}
# one of folds, splitter and predefined is always written: to leave all of them out is to write folds: 5, but a change to the server
cross_validations = st.one_of(
    _objects({"folds": st.integers(2, 1000)}, {"shuffle": _no}),
    _objects({"folds": st.integers(2, 9), "shuffle": _yes, "randomState": st.integers(0, 2**32 - 1)}),
    _objects(
        {"folds": st.integers(2, 9), "repeats": st.integers(1, 1000), "randomState": st.integers(0, 2**32 - 1)},
        {"shuffle": _yes},
    ),
    _objects({"splitter": _objects({"class": dotted_paths}, {"params": params})}),
)
# columns of the file that are no features: none of the names that features have above
_grouped = st.one_of(
    _objects({"folds": st.integers(2, 9), "groups": st.just("-patient")}, {"shuffle": _no}),
    st.just({"folds": 3, "groups": "-patient", **_drawn}),
    _objects({"splitter": _objects({"class": dotted_paths}), "groups": st.just("-patient")}),
    st.just({"predefined": "-fold"}),
)
_memories = st.sampled_from(["1Gi", "1Mi", "1.5Gi", 1073741824, "0.5Pi"])
_metric_names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
_metrics = st.one_of(
    _metric_names,
    _objects(
        {"function": dotted_paths},
        {
            "params": params,
            "greaterIsBetter": st.booleans(),
            "responseMethod": st.sampled_from(["predict", ["decision_function", "predict_proba"]]),
        },
    ),
    _objects({"scorer": dotted_paths}),
)


@st.composite
def scorings(draw: st.DrawFn) -> Body:
    """A scoring, with its refit where there are several."""
    several = draw(
        st.none()
        | st.lists(_metric_names, min_size=1, max_size=3, unique=True)
        | st.dictionaries(_metric_names, _metrics, min_size=1, max_size=3)
    )
    if several is None:
        return draw(_objects({}, {"scoring": st.text(min_size=1, max_size=63)}))
    needs_refit = len(several) > 1 or draw(st.booleans())
    refit = {"refit": draw(st.sampled_from(sorted(several)))} if needs_refit else {}
    return {"scoring": several, **refit}


_numbers_from_0 = st.sampled_from([0, 1, 0.5, 1e12]) | st.floats(0, 1_000)
_rules: st.SearchStrategy[Body] = st.one_of(
    st.just({}),
    st.just({"best": True}),
    _objects({"fastestWithin": _numbers_from_0}),
    _objects({"fastestWithinStandardErrors": st.sampled_from([0, 1, 1.5, 1_000])}),
    _objects({"mostStable": _objects({}, {"deviations": st.sampled_from([0, 1, 1.5, 1_000])})}),
    _objects(
        {
            "oneStandardError": _objects(
                {
                    "simplest": st.lists(
                        st.builds(
                            lambda name, way: {name: way},
                            st.text(min_size=1, max_size=4),
                            st.sampled_from(["ascending", "descending"]),
                        ),
                        min_size=1,
                        max_size=3,
                    )
                }
            )
        }
    ),
)
selections: st.SearchStrategy[Body] = st.one_of(
    st.just({}),
    _objects({"select": _rules}),
    st.builds(
        lambda rule, gap: {"select": {**rule, "maxOverfitGap": gap}, "returnTrainScore": True}, _rules, _numbers_from_0
    ),
)  # fmt: skip
_others: st.SearchStrategy[Body] = _objects(
    {
        "estimator": estimators,
        "search": searches,
        "data": data,
    },
    {
        "crossValidation": cross_validations,
        "returnTrainScore": st.booleans(),
        "baseline": st.booleans(),
        "resources": _objects(
            {},
            {
                "cpu": st.sampled_from(["1", 1, "1m", "10k", "0.5", 10_000]),
                "memory": _memories,
                "memoryLimit": st.sampled_from(["1Pi", "0.75Pi"]),
            },
        ),
        "parallelism": st.integers(1, 10_000),
        "mode": st.sampled_from(["Run", "Plan"]),
        "suspend": st.booleans(),
        "cancel": st.booleans(),
        "queueName": names,
        "activeDeadlineSeconds": seconds,
        "startDeadlineSeconds": seconds,
        "ttlSecondsAfterFinished": st.just(0) | seconds,
        "limits": _objects(
            {},
            {
                "maxFits": st.integers(1, 10**9),
                "maxFailedFits": st.integers(0, 10**9),
                "fitTimeoutSeconds": seconds,
            },
        ),
        "pod": pods,
        "reuse": st.booleans(),
        "artifacts": _objects({}, {"compression": st.sampled_from(["none", "lz4", "gzip", "xz"])}),
        "exports": _objects(
            {},
            {
                "mlflow": _objects(
                    {"uri": st.sampled_from(["http://a", "https://mlflow.example:5000/b"])},
                    {"experiment": st.just("e"), "children": st.integers(0, 1_000), "model": st.booleans()},
                )
            },
        ),
        "code": st.one_of(
            _objects({"configMap": object_names}),
            _objects({"persistentVolumeClaim": object_names}),
            _objects({"uploaded": _digests}),
            _objects({"url": st.just("gs://b/mine.tar.gz"), "sha256": st.from_regex(r"[0-9a-f]{64}", fullmatch=True)}),
        ),
        "image": st.from_regex(r"[!-~]{1,20}", fullmatch=True),
        "modelKey": st.from_regex(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,8}[A-Za-z0-9])?", fullmatch=True),
    },
)
_specs: st.SearchStrategy[Body] = st.builds(
    lambda others, scoring, selection: {**others, **scoring, **selection}, _others, scorings(), selections
)


@st.composite
def _with_columns(draw: st.DrawFn, spec: Body) -> Body:
    """Of a file, or of what was sent, at times with columns that divide it."""
    data = spec["data"]
    if {"path", "url", "query", "uploaded"}.isdisjoint(data) or not draw(st.booleans()):
        return spec
    division = draw(_grouped)
    if "uploaded" in data:
        columns = dict.fromkeys({"groups", "predefined"} & division.keys(), "0" * 64)
        data = {"uploaded": {**data["uploaded"], **columns}}
    return {**spec, "crossValidation": division, "data": data}


def _agreeing(spec: Body) -> Body:
    """Without what the kind of the search cannot have beside it."""
    search = spec["search"]
    out = {"select", "baseline", "scoring", "refit"} if "halving" in search else set()
    division = spec.get("crossValidation", {})
    if "nested" in search and ("predefined" in division or ("groups" in division and "repeats" in search["nested"])):
        out = {"crossValidation"}
        if sent := spec["data"].get("uploaded"):
            kept = {name: value for name, value in sent.items() if name != "predefined"}
            spec = {**spec, "data": {"uploaded": kept}}
    return {name: value for name, value in spec.items() if name not in out}


specs: st.SearchStrategy[Body] = _specs.flatmap(_with_columns).map(_agreeing)


def near(schema: Body) -> st.SearchStrategy[Any]:
    """Values for this place of the schema: mostly of its type, at its bounds or just beyond, or what fits another place."""
    if "quoteChar" in schema.get("properties", {}):
        return _reads | _bad_reads | _odd
    fitting = st.deferred(lambda: _fitting(schema))
    return st.one_of(fitting, fitting, fitting, _odd)


def _fitting(schema: Body) -> st.SearchStrategy[Any]:
    if "enum" in schema:
        return st.sampled_from(schema["enum"]) | _odd_text
    if schema.get("x-kubernetes-int-or-string"):
        return quantities | _odd_text
    makers = {
        "integer": _integers,
        "number": _integers,
        "boolean": lambda _: st.booleans(),
        "string": _texts,
        "array": lambda found: st.lists(near(found["items"]), max_size=2).flatmap(_perhaps_twice),
        "object": _maps,
    }
    return makers[schema["type"]](schema) if "type" in schema else params | _random_parameters | _bad_parameters


def _perhaps_twice(items: list[Any]) -> st.SearchStrategy[list[Any]]:
    return st.sampled_from([items, items * 2])


def _integers(schema: Body) -> st.SearchStrategy[Any]:
    low, high = schema["minimum"], schema["maximum"]
    return st.sampled_from([low - 1, low, low + 1, high - 1, high, high + 1, float(low)]) | st.integers(low, int(high))


def _texts(schema: Body) -> st.SearchStrategy[Any]:
    lengths = st.sampled_from([schema["maxLength"] + more for more in (-1, 0, 1)])
    return st.one_of(names, label_keys, _odd_text, dotted_paths, _mount_paths, lengths.map(lambda length: "x" * length))


def _maps(schema: Body) -> st.SearchStrategy[Any]:
    if "properties" not in schema:
        of_labels = st.dictionaries(label_keys | _odd_text, label_values | _odd_text | _odd, max_size=2)
        return of_labels if "type" in schema["additionalProperties"] else params
    inner = {key: near(found) for key, found in schema["properties"].items()}
    required = {key: inner.pop(key) for key in schema.get("required", ())}
    keys = st.lists(st.sampled_from(sorted(inner)), unique=True, max_size=3) if inner else st.just([])
    return keys.flatmap(lambda chosen: st.fixed_dictionaries({**required, **{key: inner[key] for key in chosen}}))


@st.composite
def edited(draw: st.DrawFn, spec: Body, most: int = 3) -> Body:
    """``spec`` with up to ``most`` changes, of which each may break it: another value, none, one more, an unknown field."""
    spec = copy.deepcopy(spec)
    for _ in range(draw(st.integers(0, most))):
        places = list(fields(SPEC, spec))
        # the search more often than by its few fields among so many
        of_search = [(path, schema) for path, schema in places if path[0] == "search"]
        path, schema = draw(st.sampled_from(draw(st.sampled_from([places, places, places, of_search]))))
        try:
            parent = at(spec, path[:-1])
            kind = draw(st.sampled_from(["another", "another", "another", "none", "twice", "unknown"]))
            if kind == "none":
                del parent[path[-1]]
            elif kind == "twice" and isinstance(parent, list):
                parent.append(copy.deepcopy(parent[int(path[-1])]))
            elif (
                kind == "unknown" and isinstance(parent, dict) and "x-kubernetes-preserve-unknown-fields" not in schema
            ):
                # a null is nothing at all where a manifest is read, and an unknown field to the API server
                key = draw(st.sampled_from(["unknown", "hostPath", "privileged", "Name", "name", "class", ""]))
                parent[key] = copy.deepcopy(draw(_odd.filter(lambda value: value is not None)))
            else:
                # a copy: what is sampled from must not be edited by the next change
                parent[path[-1]] = copy.deepcopy(draw(near(schema)))
        except (KeyError, IndexError, TypeError):
            continue  # it was not there
    return spec


@st.composite
def mixed(draw: st.DrawFn, spec: Body) -> Body:
    """``spec`` with a field or two of another valid one, at the top or one below it."""
    spec, other = copy.deepcopy(spec), draw(specs)
    for key in draw(st.lists(st.sampled_from(sorted({*spec, *other})), min_size=1, max_size=2, unique=True)):
        if (
            key in {"pod", "resources", "limits"}
            and isinstance(spec.get(key), dict)
            and isinstance(other.get(key), dict)
        ):
            spec[key] |= draw(st.sampled_from([{name: value} for name, value in other[key].items()] or [{}]))
        elif key == "search" and "random" in spec[key] and "random" in other[key]:
            drawn = other[key]["random"]
            spec[key]["random"] |= draw(st.sampled_from([drawn, *({name: value} for name, value in drawn.items())]))
        elif key in {"data", "crossValidation"}:
            # columns are of this file alone
            spec |= {name: other[name] for name in ("data", "crossValidation") if name in other}
        elif key in other:
            spec[key] = other[key]
        elif key not in MINIMAL:
            del spec[key]
    return spec


def sent(document: Any) -> Any:
    """As kubectl sends it: YAML's 1.0 becomes JSON's 1 on the way. A null stays."""
    if isinstance(document, dict):
        return {key: sent(value) for key, value in document.items()}
    return [sent(value) for value in document] if isinstance(document, list) else canonical(document)
