"""Valid manifests of any kind, as hypothesis makes them. ``broken.py`` breaks them."""

from typing import Any, Final

from hypothesis import strategies as st

from tests.manifest.manifests import PIPELINE, SPEC, Body, at

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
mount_paths = st.from_regex(r"(/[-A-Za-z0-9_][-A-Za-z0-9_.]{0,6}){1,3}", fullmatch=True).filter(
    lambda path: not path.startswith(("/data", "/tmp", "/var", "/run"))
)
_sizes = st.sampled_from(["1Mi", "1Gi", "1.5Gi", 1048576, "1Pi", "2e6"])
volumes = st.one_of(
    _objects({"name": names, "mountPath": mount_paths, "secret": object_names}),
    _objects({"name": names, "mountPath": mount_paths, "configMap": object_names}),
    _objects(
        {"name": names, "mountPath": mount_paths, "persistentVolumeClaim": object_names}, {"readOnly": st.booleans()}
    ),
    _objects({"name": names, "mountPath": mount_paths, "emptyDir": _sizes}),
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
random_parameters = _grid_parameters | st.sampled_from(
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
bad_parameters = st.sampled_from(
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
                {"parameters": random_parameters},
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
reads = st.sampled_from(
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
bad_reads = st.sampled_from(
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
    "read": reads,
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
    _objects({"name": st.text(min_size=1, max_size=63)}, {"sampleWeight": st.sampled_from([False])}),
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
        "prune": st.sampled_from(["certain", "forgiving"]),
        "resources": _objects(
            {},
            {
                "cpu": st.sampled_from(["1", 1, "1m", "10k", "0.5", 10_000]),
                "cpuRequest": st.sampled_from(["1m", "0.001"]),  # no more than any cpu above
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
                ),
                "optuna": _objects({"urlFrom": st.sampled_from(["STUDIES", "_a1"])}, {"study": st.just("s")}),
                "table": _objects({"url": st.sampled_from(["s3://b/x.csv", "gs://b/a/x.parquet"])}),
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
    if not {"halving", "refine", "nested"}.isdisjoint(search) or spec.get("select", {}).keys() - {"best"}:
        out |= {"prune"}
    return {name: value for name, value in spec.items() if name not in out}


specs: st.SearchStrategy[Body] = _specs.flatmap(_with_columns).map(_agreeing)
