"""The CRD on a real API server: for each of its rules and bounds a manifest that is refused and one that is taken, and what
may change of one that is there. The models say the same of each.
"""

import re
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.manifest.conftest import JOBS
from tests.manifest.manifests import (
    AGAIN,
    AROUND,
    ASKED,
    COLUMNS,
    CRD,
    DRAWN,
    FACTORY,
    FULL,
    HALVED,
    MADE,
    MINIMAL,
    NESTED,
    PIPELINE,
    REFINED,
    SAMPLES,
    SENT,
    SENT_FOLDS,
    SEVERAL,
    SPEC,
    STEPS,
    UNION,
    Body,
    Path,
    at,
    fields,
    manifest,
)
from tests.manifest.manifests import with_value as changed
from tests.manifest.manifests import without as lacking
from tests.servers.apiserver import ApiServer, Refused
from tuningjob.errors import ManifestRefused
from tuningjob.manifest import load
from tuningjob.manifest.live import CANCELLED, IMMUTABLE, MUTABLE_FIELDS, frozen_changes
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.refusals import field_path

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def refusal(server: ApiServer, spec: Body, name: str = "sample") -> str:
    """What the API server has to say against it; empty if it takes it."""
    try:
        server.call("POST", f"{JOBS}?dryRun=All&fieldValidation=Strict", manifest(spec, name))
    except Refused as refused:
        return str(refused).replace('\\"', '"')
    return ""


def is_refused_here(spec: Body, name: str = "sample") -> bool:
    try:
        load(manifest(spec, name))
    except ManifestRefused:
        return True
    return False


@pytest.mark.parametrize("spec", SAMPLES)
def test_the_samples_are_taken(server: ApiServer, spec: Body) -> None:
    assert refusal(server, spec) == ""
    assert not is_refused_here(spec)


def test_the_samples_have_every_field() -> None:
    found = {tuple(part for part in path if isinstance(part, str)) for spec in SAMPLES for path, _ in present(spec)}
    known = {tuple(part for part in path if isinstance(part, str)) for path in declared(SPEC)}
    assert known - found == set()


def present(spec: Body) -> Iterator[tuple[Path, Body]]:
    """The fields that a spec has, each with its schema."""
    for path, schema in fields(SPEC, spec):
        try:
            at(spec, path)
        except LookupError:
            continue
        yield path, schema


def declared(schema: Body, path: Path = ()) -> Iterator[Path]:
    for key, inner in schema.get("properties", {}).items():
        yield (*path, key)
        yield from declared(inner, (*path, key))
    if "items" in schema:
        yield from declared(schema["items"], path)


# Rules: what is refused with which message, beside what is taken

ENV, VOLUMES, TOLERATIONS = ("pod", "env"), ("pod", "volumes"), ("pod", "tolerations")
VARIABLE: Final = {"name": "A", "value": "b"}
VOLUME: Final = {"name": "a", "mountPath": "/a", "secret": "a"}
SPLITTER: Final = {"class": "sklearn.model_selection.TimeSeriesSplit"}
OF_A_FILE: Final = {**MINIMAL, "data": {"path": "a.csv", "target": "y"}}
OF_A_URL: Final = {**MINIMAL, "data": {"url": "s3://b/a.csv", "target": "y"}}
OWN: Final = {**MINIMAL, "code": {"url": "https://host/mine.whl", "sha256": "0" * 64}}
READ: Final = changed(OF_A_FILE, ("data", "read"), {"delimiter": ";", "names": ["a", "b"]})
A_STEP: Final = [{"name": "b", "class": "a.B"}]
RULES: Final[dict[str, tuple[Body, str, Body]]] = {
    "a quantity of CPU": (
        changed(FULL, ("resources", "cpu"), "much"),
        "must be a positive Kubernetes quantity of CPU such as 2 or 500m, from 1m to 10k",
        changed(FULL, ("resources", "cpu"), "1m"),
    ),
    "one way to divide": (
        {**MINIMAL, "crossValidation": {"folds": 3, "predefined": "fold"}},
        "must be with one of folds, splitter and predefined",
        {**MINIMAL, "crossValidation": {"folds": 3}},
    ),
    "options of folds beside a splitter": (
        {**MINIMAL, "crossValidation": {"splitter": SPLITTER, "shuffle": True, "randomState": 0}},
        "must be with shuffle, randomState and repeats beside folds alone",
        {**MINIMAL, "crossValidation": {"splitter": SPLITTER}},
    ),
    "groups and a predefined column": (
        {**OF_A_FILE, "crossValidation": {"predefined": "fold", "groups": "patient"}},
        "must be with groups or predefined, not both",
        {**OF_A_FILE, "crossValidation": {"predefined": "fold"}},
    ),
    "repeated folds of groups": (
        {**OF_A_FILE, "crossValidation": {"repeats": 2, "randomState": 0, "groups": "patient"}},
        "must be with groups or repeats, not both",
        {**OF_A_FILE, "crossValidation": {"shuffle": True, "randomState": 0, "groups": "patient"}},
    ),
    "repeated folds that are not shuffled": (
        {**MINIMAL, "crossValidation": {"repeats": 2, "randomState": 0, "shuffle": False}},
        "must be with shuffle: true beside repeats",
        {**MINIMAL, "crossValidation": {"repeats": 2, "randomState": 0}},
    ),
    "shuffled folds without a seed": (
        {**MINIMAL, "crossValidation": {"shuffle": True}},
        "must be with a randomState if folds are shuffled or repeated, and only then",
        {**MINIMAL, "crossValidation": {"shuffle": True, "randomState": 0}},
    ),
    "a column of the data of a loader": (
        {**MINIMAL, "crossValidation": {"groups": "patient"}},
        "must be without crossValidation.groups and crossValidation.predefined beside a loader, a function or uploaded data",
        {**OF_A_FILE, "crossValidation": {"groups": "patient"}},
    ),
    "the most of a resource that is a parameter": (
        changed(HALVED, ("search", "halving"), {"resource": "n_estimators"}),
        "must be with maxResources where the resource is a parameter",
        changed(HALVED, ("search", "halving"), {}),
    ),
    "the least of a resource in other words": (
        changed(HALVED, ("search", "halving"), {"minResources": "little"}),
        r"must be a number from 1 to 10\^12, or one of exhaust and smallest",
        changed(HALVED, ("search", "halving"), {"minResources": "smallest"}),
    ),
    "the least of a resource, less than its least": (
        changed(HALVED, ("search", "halving"), {"minResources": 0}),
        r"must be a number from 1 to 10\^12, or one of exhaust and smallest",
        changed(HALVED, ("search", "halving"), {"minResources": 1}),
    ),
    "a second seed of what is drawn": (
        changed(DRAWN, ("search", "halving"), {"randomState": 0}),
        "must be without halving.randomState beside random",
        changed(DRAWN, ("search", "halving"), {}),
    ),
    "a selection in rounds": (
        {**HALVED, "select": {"best": True}},
        "must be without select and baseline beside search.halving",
        HALVED,
    ),
    "a baseline of rounds": (
        {**HALVED, "baseline": True},
        "must be without select and baseline beside search.halving",
        {**HALVED, "baseline": False},
    ),
    "rounds of two kinds": (
        changed(REFINED, ("search", "halving"), {}),
        "must be with one of halving, refine and nested",
        REFINED,
    ),
    "outer folds that are shuffled without a seed": (
        changed(NESTED, ("search", "nested"), {"shuffle": True}),
        "must be with a randomState if folds are shuffled or repeated, and only then",
        changed(NESTED, ("search", "nested"), {}),
    ),
    "outer folds beside a splitter": (
        changed(AROUND, ("search", "nested", "folds"), 3),
        "must be with folds or splitter, not both",
        AROUND,
    ),
    "repeats of an outer splitter": (
        changed(changed(AROUND, ("search", "nested", "repeats"), 3), ("search", "nested", "randomState"), 3),
        "must be with shuffle, randomState and repeats beside folds alone",
        AROUND,
    ),
    "outer folds that are repeated, of groups": (
        {**OF_A_FILE, "search": AGAIN["search"], "crossValidation": {"groups": "patient"}},
        "must be without search.nested.repeats beside crossValidation.groups",
        {**OF_A_FILE, "search": NESTED["search"], "crossValidation": {"groups": "patient"}},
    ),
    "outer folds around those of a column": (
        {**OF_A_FILE, "search": NESTED["search"], "crossValidation": {"predefined": "fold"}},
        "must be without crossValidation.predefined beside search.nested",
        {**OF_A_FILE, "search": NESTED["search"], "crossValidation": {"groups": "patient"}},
    ),
    "what is drawn, refined": (
        changed(DRAWN, ("search", "refine"), {}),
        "must be with a grid beside refine",
        REFINED,
    ),
    "one rule of selection": (
        {**MINIMAL, "select": {"best": True, "fastestWithin": 0.1}},
        "must be with one rule of best, oneStandardError, fastestWithin, fastestWithinStandardErrors and mostStable",
        {**MINIMAL, "select": {"best": True}},
    ),
    "no other than the best by best": (
        {**MINIMAL, "select": {"best": False}},
        "must be true, or absent",
        {**MINIMAL, "select": {}},
    ),
    "train scores for a gap": (
        {**MINIMAL, "select": {"maxOverfitGap": 0.1}},
        "must be with returnTrainScore: true where select has a maxOverfitGap",
        {**MINIMAL, "select": {"maxOverfitGap": 0.1}, "returnTrainScore": True},
    ),
    "CPU, less than its least": (
        changed(FULL, ("resources", "cpu"), "0.9m"),
        "must be a positive Kubernetes quantity of CPU",
        changed(FULL, ("resources", "cpu"), "10k"),
    ),
    "CPU, more than its most": (
        changed(FULL, ("resources", "cpu"), 10_001),
        "must be a positive Kubernetes quantity of CPU",
        changed(FULL, ("resources", "cpu"), 10_000),
    ),
    "a quantity of memory": (
        changed(FULL, ("resources", "memory"), "-1Gi"),
        "must be a positive Kubernetes quantity of memory such as 512Mi or 2Gi, from 1Mi to 1Pi",
        changed(FULL, ("resources", "memory"), "1Mi"),
    ),
    "memory, more than its most": (
        changed(FULL, ("resources", "memoryLimit"), "1025Ti"),
        "must be a positive Kubernetes quantity of memory",
        changed(FULL, ("resources", "memoryLimit"), "1Pi"),
    ),
    "memoryLimit": (
        changed(FULL, ("resources", "memoryLimit"), "1023Mi"),
        "must be with a memoryLimit that is no less than memory",
        changed(FULL, ("resources", "memoryLimit"), 1024**3),
    ),
    "both a pipeline and a class": (
        changed(PIPELINE, ("estimator", "class"), "sklearn.svm.SVC"),
        "must be one of a class, a pipeline, columns, a union, and a factory",
        changed(PIPELINE, ("estimator", "params"), {}),
    ),
    "neither a pipeline nor a class": (
        changed(MINIMAL, ("estimator",), {}),
        "must be one of a class, a pipeline, columns, a union, and a factory",
        MINIMAL,
    ),
    "a factory and a class": (
        changed(FACTORY, ("estimator", "class"), "sklearn.svm.SVC"),
        "must be one of a class, a pipeline, columns, a union, and a factory",
        FACTORY,
    ),
    **{
        f"{what} of one name": (
            changed(spec, ("estimator", what, 1, "name"), "made"),
            "must be a list of parts with different names",
            changed(spec, ("estimator", what, 1, "name"), "made2"),
        )
        for what, spec in {"columns": COLUMNS, "union": UNION}.items()
    },
    **{
        f"params beside {what}": (
            changed(spec, ("estimator", "params"), {"C": 1}),
            "spec.estimator.params: Too many",
            changed(spec, ("estimator", "params"), {}),
        )
        for what, spec in {"columns": COLUMNS, "a union": UNION}.items()
    },
    "a remainder of no columns": (
        changed(PIPELINE, ("estimator", "remainder"), "drop"),
        "spec.estimator",
        lacking(COLUMNS, ("estimator", "remainder")),
    ),
    **{
        f"{what} within {where}": (
            changed(spec, ("estimator", where), [bad]),
            "spec.estimator",
            changed(spec, ("estimator", where), [good]),
        )
        for where, spec, beside in (
            ("pipeline", STEPS, {"name": "a"}),
            ("union", UNION, {"name": "a"}),
            ("columns", COLUMNS, {"name": "a", "columns": ["a"]}),
        )
        for what, bad, good in (
            ("nothing", beside, {**beside, "class": "a.B"}),
            ("a class and a pipeline", {**beside, "class": "a.B", "pipeline": A_STEP}, {**beside, "pipeline": A_STEP}),
            ("params beside a union", {**beside, "union": A_STEP, "params": {"C": 1}}, {**beside, "union": A_STEP}),
        )
    },
    "params beside a pipeline": (
        changed(PIPELINE, ("estimator", "params"), {"C": 1}),
        "spec.estimator.params: Too many",
        changed(FULL, ("estimator", "params"), {"C": 1}),
    ),
    "steps of one name": (
        changed(PIPELINE, ("estimator", "pipeline", 0, "name"), "svc"),
        "must be a list of steps with different names",
        changed(PIPELINE, ("estimator", "pipeline", 0, "name"), "svc2"),
    ),
    "a step's name with two underscores": (
        changed(PIPELINE, ("estimator", "pipeline", 0, "name"), "a__b"),
        "must be a name without '__'",
        changed(PIPELINE, ("estimator", "pipeline", 0, "name"), "a_b_"),
    ),
    "both a grid and random": (
        changed(DRAWN, ("search", "grid"), {"parameters": {"C": [1]}}),
        "must be either a grid or random",
        DRAWN,
    ),
    "neither a grid nor random": (
        changed(MINIMAL, ("search",), {}),
        "must be either a grid or random",
        changed(MINIMAL, ("search",), {"random": {"parameters": {}}}),
    ),
    "both a loader and a path": (
        changed(FULL, ("data", "loader"), "sklearn.datasets.load_iris"),
        "must be with exactly one of loader, path, url, query, function and uploaded",
        FULL,
    ),
    "rows in no order": (
        changed(ASKED, ("data", "query", "sql"), "select a, reorder bye from t"),
        "must be with an ORDER BY in the query, or with a sort",
        changed(ASKED, ("data", "query", "sql"), "with u as (select 1)\nselect * from u order\tby a"),
    ),
    "what is no query": (
        changed(ASKED, ("data", "query", "sql"), "delete from t order by a"),
        "spec.data.query.sql: Invalid value",
        ASKED,
    ),
    "a URL in the manifest": (
        changed(ASKED, ("data", "query", "urlFrom"), "postgresql://h/d"),
        "spec.data.query.urlFrom: Invalid value",
        ASKED,
    ),
    **{
        f"a {key} beside a query": (
            changed(ASKED, ("data", key), value),
            f"must be without {key} beside a query",
            ASKED,
        )
        for key, value in {"format": "csv", "configMap": "a", "persistentVolumeClaim": "a", "read": {}}.items()
    },
    "code of two places": (
        {**MINIMAL, "code": {"configMap": "mine", "persistentVolumeClaim": "mine"}},
        "must be with exactly one of configMap, persistentVolumeClaim, url and uploaded",
        {**MINIMAL, "code": {"configMap": "mine"}},
    ),
    "code of a url without its digest": (
        lacking(OWN, ("code", "sha256")),
        "must be with a sha256 beside a url, and only there",
        OWN,
    ),
    "a digest of code in a volume": (
        {**MINIMAL, "code": {"persistentVolumeClaim": "mine", "sha256": "0" * 64}},
        "must be with a sha256 beside a url, and only there",
        {**MINIMAL, "code": {"persistentVolumeClaim": "mine"}},
    ),
    "a volume where the code is": (
        {**OWN, "pod": {"volumes": [{**VOLUME, "mountPath": "/code"}]}},
        "must be without a volume of spec.pod at /code or below it beside spec.code",
        {**OWN, "pod": {"volumes": [{**VOLUME, "mountPath": "/codes"}]}},
    ),
    "a volume below where the code is": (
        {**OWN, "pod": {"volumes": [{**VOLUME, "mountPath": "/code/x"}]}},
        "must be without a volume of spec.pod at /code or below it beside spec.code",
        {**MINIMAL, "pod": {"volumes": [{**VOLUME, "mountPath": "/code/x"}]}},
    ),
    "both a url and a path": (
        changed(FULL, ("data", "url"), "s3://b/a.csv"),
        "must be with exactly one of loader, path, url, query, function and uploaded",
        OF_A_URL,
    ),
    "a url without TLS": (
        changed(OF_A_URL, ("data", "url"), "http://host/a.csv"),
        "spec.data.url: Invalid value",
        changed(OF_A_URL, ("data", "url"), "https://host/a.csv?signature=b/c"),
    ),
    "a password in a url": (
        changed(OF_A_URL, ("data", "url"), "https://me:secret@host/a.csv"),
        "spec.data.url: Invalid value",
        changed(OF_A_URL, ("data", "url"), "abfs://c@account.dfs.core.windows.net/a.csv"),
    ),
    "a url of an unknown format": (
        changed(OF_A_URL, ("data", "url"), "https://host/a?b=c.csv"),
        "must be with a url that ends in .csv or .parquet, or with a format",
        changed(changed(OF_A_URL, ("data", "url"), "https://host/a?b=c"), ("data", "format"), "csv"),
    ),
    "a digest of a file here": (
        changed(OF_A_FILE, ("data", "sha256"), "0" * 64),
        "must be with a sha256 beside a url alone",
        changed(OF_A_URL, ("data", "sha256"), "0" * 64),
    ),
    **{
        f"a {key} beside a url": (
            changed(OF_A_URL, ("data", key), "a"),
            f"must be without {key} beside a url",
            changed(OF_A_FILE, ("data", key), "a"),
        )
        for key in ("configMap", "persistentVolumeClaim")
    },
    "params beside a url": (
        changed(OF_A_URL, ("data", "params"), {"a": 1}),
        "spec.data.params: Too many",
        changed(OF_A_URL, ("data", "params"), {}),
    ),
    "a Parquet file behind a url that is to be read as text": (
        changed(changed(OF_A_URL, ("data", "url"), "s3://b/a.parquet"), ("data", "read"), {}),
        "must be without read beside a Parquet file",
        changed(OF_A_URL, ("data", "read"), {}),
    ),
    "both a function and a path": (
        changed(FULL, ("data", "function"), "mymodule.load"),
        "must be with exactly one of loader, path, url, query, function and uploaded",
        {**MINIMAL, "data": {"function": "mymodule.load", "params": {"year": 2026}}},
    ),
    "groups beside a function": (
        {**MINIMAL, "data": {"function": "mymodule.load"}, "crossValidation": {"groups": "patient"}},
        "must be without crossValidation.groups and crossValidation.predefined beside a loader, a function or uploaded data",
        {**MINIMAL, "data": {"function": "mymodule.load"}},
    ),
    "a loader of somebody else's": (
        changed(MINIMAL, ("data", "loader"), "os.system"),
        "must be with a loader of sklearn.datasets",
        changed(MINIMAL, ("data", "loader"), "sklearn.datasets.fetch_california_housing"),
    ),
    **{
        f"{key} beside a {source}": (
            {**MINIMAL, "data": {source: "sklearn.datasets.load_iris", key: value}},
            f"must be without {key} beside a {source}",
            changed(FULL, ("data",), {"path": "a.csv", "target": "y", key: value}),
        )
        for source in ("loader", "function")
        for key, value in {
            "format": "csv",
            "persistentVolumeClaim": "a",
            "configMap": "a",
            "sampleWeight": "w",
            "exclude": ["a"],
            "sort": "a",
            "read": {},
        }.items()
    },
    **{
        f"{key} beside a {source}": (
            {**MINIMAL, "data": {source: "sklearn.datasets.load_iris", key: value}},
            "spec.data",
            changed(FULL, ("data",), {"path": "a.csv", key: value}),
        )
        for source in ("loader", "function")
        for key, value in {"target": "z", "features": ["a"]}.items()
    },
    **{
        f"{key} beside uploaded data": (
            {**MINIMAL, "data": {"uploaded": {"features": "0" * 64}, key: value}},
            said,
            changed(FULL, ("data",), {"path": "a.csv", key: value}),
        )
        for key, value, said in (
            *(
                (key, value, f"must be without {key} beside uploaded data")
                for key, value in {
                    "format": "csv",
                    "persistentVolumeClaim": "a",
                    "configMap": "a",
                    "sampleWeight": "w",
                    "exclude": ["a"],
                    "sort": "a",
                    "read": {},
                }.items()
            ),
            ("target", "z", "spec.data"),
            ("features", ["a"], "spec.data"),
        )
    },
    "params beside uploaded data": (
        {**MINIMAL, "data": {"uploaded": {"features": "0" * 64}, "params": {"a": 1}}},
        "spec.data.params: Too many",
        {**MINIMAL, "data": {"uploaded": {"features": "0" * 64}, "params": {}}},
    ),
    "a digest that is none": (
        {**MINIMAL, "data": {"uploaded": {"features": "0" * 63}}},
        "spec.data.uploaded.features: Invalid value",
        {**MINIMAL, "data": {"uploaded": {"features": "0" * 64}}},
    ),
    "groups beside uploaded data": (
        {**MINIMAL, "data": {"uploaded": {"features": "0" * 64}}, "crossValidation": {"groups": "patient"}},
        "must be without crossValidation.groups and crossValidation.predefined beside a loader, a function or uploaded",
        {**MINIMAL, "data": {"uploaded": {"features": "0" * 64, "groups": "0" * 64}}},
    ),
    "folds that nobody divides by": (
        {**MINIMAL, "data": {"uploaded": {"features": "0" * 64, "predefined": "0" * 64}}},
        "must be with crossValidation.predefined beside data.uploaded.predefined",
        SENT_FOLDS,
    ),
    "predefined folds that were not sent": (
        changed(SENT_FOLDS, ("data", "uploaded"), {"features": "0" * 64, "groups": "0" * 64}),
        "must be without crossValidation.groups and crossValidation.predefined beside a loader, a function or uploaded",
        SENT_FOLDS,
    ),
    "features and what is none": (
        changed(PIPELINE, ("data", "exclude"), ["c"]),
        "spec.data",
        lacking(PIPELINE, ("data", "features")),
    ),
    "a Parquet file that is to be read as text": (
        changed(FULL, ("data", "read"), {}),
        "must be without read beside a Parquet file",
        changed(changed(FULL, ("data", "read"), {}), ("data", "format"), "csv"),
    ),
    "two meanings of a character": (
        changed(PIPELINE, ("data", "read"), {"decimal": ","}),
        "must be with another character for each of delimiter",
        changed(PIPELINE, ("data", "read"), {"decimal": ",", "delimiter": ";"}),
    ),
    "a file without names": (
        changed(PIPELINE, ("data", "read"), {"header": False}),
        "must be with names beside header: false",
        changed(PIPELINE, ("data", "read"), {"header": False, "names": ["a"]}),
    ),
    "a type of no column": (
        changed(PIPELINE, ("data", "read"), {"dtypes": {"": "str"}}),
        "must have columns' names as its keys",
        changed(PIPELINE, ("data", "read"), {"dtypes": {"a": "str"}}),
    ),
    "params beside a path": (
        changed(FULL, ("data", "params"), {"a": 1}),
        "spec.data.params: Too many",
        changed(MADE, ("data", "params"), {"a": 1}),
    ),
    "a claim and a ConfigMap": (
        changed(PIPELINE, ("data", "configMap"), "a"),
        "must be with persistentVolumeClaim or configMap, not both",
        PIPELINE,
    ),
    "a path that leaves its folder": (
        changed(FULL, ("data", "path"), "a/../../b.csv"),
        "must be with a path that stays below its folder",
        changed(FULL, ("data", "path"), "a/..b/c.csv"),
    ),
    "a file of an unknown format": (
        changed(FULL, ("data", "path"), "a.txt"),
        "must be with a path that ends in .csv or .parquet, or in / for a folder of Parquet files, or with a format",
        changed(PIPELINE, ("data", "path"), "a.txt"),
    ),
    "a toleration without a key": (
        changed(FULL, TOLERATIONS, [{"operator": "Equal"}]),
        "must be with a key, or with the operator Exists",
        changed(FULL, TOLERATIONS, [{"operator": "Exists"}]),
    ),
    "a value beside Exists": (
        changed(FULL, TOLERATIONS, [{"key": "a", "operator": "Exists", "value": ""}]),
        "must be without a value beside the operator Exists",
        changed(FULL, TOLERATIONS, [{"key": "a", "value": ""}]),
    ),
    "tolerationSeconds without NoExecute": (
        changed(FULL, TOLERATIONS, [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1}]),
        "must be with the effect NoExecute beside tolerationSeconds",
        changed(FULL, TOLERATIONS, [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 1}]),
    ),
    "a constraint twice": (
        changed(FULL, ("pod", "topologySpread"), [{"topologyKey": "a"}, {"topologyKey": "a", "maxSkew": 2}]),
        "must be a list of constraints that differ in topologyKey or whenUnsatisfiable",
        changed(
            FULL, ("pod", "topologySpread"), [{"topologyKey": "a"}, {"topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]
        ),
    ),
    "a pull secret twice": (
        changed(FULL, ("pod", "imagePullSecrets"), ["a", "a"]),
        "must be a list of different names",
        changed(FULL, ("pod", "imagePullSecrets"), ["a", "b"]),
    ),
    "a key of nodeSelector": (
        changed(FULL, ("pod", "nodeSelector"), {"-a": "b"}),
        "must have keys of labels, such as disk or example.com/disk",
        changed(FULL, ("pod", "nodeSelector"), {"a.b/c_D": ""}),
    ),
    "a key of nodeSelector, too long": (
        changed(FULL, ("pod", "nodeSelector"), {f"{'a' * 250}.b/c": "b"}),
        "must have keys of labels, such as disk or example.com/disk",
        changed(FULL, ("pod", "nodeSelector"), {f"{'a' * 249}.b/c": "b"}),
    ),
    "a value of nodeSelector": (
        changed(FULL, ("pod", "nodeSelector"), {"a": "-b"}),
        "should match",
        changed(FULL, ("pod", "nodeSelector"), {"a": "b"}),
    ),
    "a variable of the operator's": (
        changed(FULL, ENV, [{"name": "TUNINGJOB_N_JOBS", "value": "1"}]),
        "must be a variable of your own: TUNINGJOB_\\* and ",
        changed(FULL, ENV, [{"name": "MY_TUNINGJOB_N_JOBS", "value": "1"}]),
    ),
    "a variable that has to be as it is": (
        changed(FULL, ENV, [{"name": "OMP_NUM_THREADS", "value": "8"}]),
        "must be a variable of your own",
        changed(FULL, ENV, [{"name": "omp_num_threads", "value": "8"}]),
    ),
    "a variable with two values": (
        changed(FULL, ENV, [{**VARIABLE, "secret": {"name": "a", "key": "b"}}]),
        "must be with exactly one of value, secret and configMap",
        changed(FULL, ENV, [{"name": "A", "secret": {"name": "a", "key": "b"}}]),
    ),
    "a variable without a value": (
        changed(FULL, ENV, [{"name": "A"}]),
        "must be with exactly one of value, secret and configMap",
        changed(FULL, ENV, [{"name": "A", "value": ""}]),
    ),
    "a variable twice": (
        changed(FULL, ENV, [VARIABLE, VARIABLE]),
        "must be a list of variables with different names",
        changed(FULL, ENV, [VARIABLE, {**VARIABLE, "name": "a"}]),
    ),
    "a volume of two kinds": (
        changed(FULL, VOLUMES, [{**VOLUME, "configMap": "a"}]),
        "must be with exactly one of secret, configMap, persistentVolumeClaim and emptyDir",
        changed(FULL, VOLUMES, [VOLUME]),
    ),
    "a volume of no kind": (
        changed(FULL, VOLUMES, [{"name": "a", "mountPath": "/a"}]),
        "must be with exactly one of secret, configMap, persistentVolumeClaim and emptyDir",
        changed(FULL, VOLUMES, [{"name": "a", "mountPath": "/a", "emptyDir": 2**20}]),
    ),
    "readOnly of what is no claim": (
        changed(FULL, VOLUMES, [{**VOLUME, "readOnly": False}]),
        "must be without readOnly where there is no persistentVolumeClaim",
        changed(FULL, VOLUMES, [{"name": "a", "mountPath": "/a", "persistentVolumeClaim": "a", "readOnly": False}]),
    ),
    "volumes of one name": (
        changed(FULL, VOLUMES, [VOLUME, {**VOLUME, "mountPath": "/b"}]),
        "must be a list of volumes with different names and mountPaths",
        changed(FULL, VOLUMES, [VOLUME, {**VOLUME, "name": "b", "mountPath": "/b"}]),
    ),
    "volumes of one path": (
        changed(FULL, VOLUMES, [VOLUME, {**VOLUME, "name": "b"}]),
        "must be a list of volumes with different names and mountPaths",
        changed(FULL, VOLUMES, [VOLUME, {**VOLUME, "name": "b", "mountPath": "/a/b"}]),
    ),
    **{
        f"a volume at {path}": (
            changed(FULL, VOLUMES, [{**VOLUME, "mountPath": path}]),
            message,
            changed(FULL, VOLUMES, [{**VOLUME, "mountPath": beside}]),
        )
        for path, message, beside in [
            ("/data", "must be a path beside /data", "/database"),
            ("/tmp/x", "must be a path beside /data", "/tmpx"),
            ("/var/run", "must be a path beside /data", "/var/running"),
            ("/run/tuningjob", "must be a path beside /data", "/run/other"),
            ("/", "should match", "/x"),
            ("//tmp", "should match", "/x/tmp"),
            ("/a/../tmp", "should match", "/a/..tmp"),
            ("/a/./b", "should match", "/a/.b"),
            ("/a/", "should match", "/a/..."),
            ("a", "should match", "/A-._a"),
            ("/a:b", "should match", "/a/b"),
        ]
    },
}  # fmt: skip


@pytest.mark.parametrize(("bad", "message", "good"), RULES.values(), ids=RULES.keys())
def test_a_rule_refuses_and_takes(server: ApiServer, bad: Body, message: str, good: Body) -> None:
    assert re.search(message, refusal(server, bad)), refusal(server, bad)
    assert refusal(server, good) == ""
    assert (is_refused_here(bad), is_refused_here(good)) == (True, False)


def test_every_rule_has_its_case() -> None:
    rules = {rule["message"] for rule in rules_of(SPEC)} - {IMMUTABLE, CANCELLED}
    tried = [re.compile(message) for _, message, _ in RULES.values()]
    assert {rule for rule in rules if not any(message.search(rule) for message in tried)} == set()


def rules_of(schema: Any) -> Iterator[Body]:
    if isinstance(schema, dict):
        yield from schema.get("x-kubernetes-validations", [])
        schema = list(schema.values())
    if isinstance(schema, list):
        for inner in schema:
            yield from rules_of(inner)


@pytest.mark.parametrize("name", ["Sample", "a.b", "-a", "a-", "a" * 53, "a_b"])
def test_a_name_that_pods_cannot_bear_is_refused(server: ApiServer, name: str) -> None:
    assert re.search(
        "metadata.name must be a DNS label of at most 52|lowercase RFC 1123", refusal(server, MINIMAL, name)
    )
    assert is_refused_here(MINIMAL, name)
    assert refusal(server, MINIMAL, "a" * 52) == ""


# Bounds: at each the value that is just taken and the one that is just refused


def longer(value: str, length: int) -> list[str]:
    """``value``, made ``length`` long: at its end, at its beginning, as a label's prefix."""
    fill = "a" * (length - len(value))
    return [value + fill, fill + value, f"{fill[1:]}/{value}"]


def numbered(path: Path, item: Any, count: int) -> list[Any]:
    """``count`` items like this one, none like another."""
    if isinstance(item, str):
        return [f"{item}{i}" for i in range(count)]
    key = "topologyKey" if path[-1] == "topologySpread" else "name"
    items = [{**item, **({key: f"{item[key]}{i}"} if key in item else {})} for i in range(count)]
    return [{**item, "mountPath": f"/x{i}"} if "mountPath" in item else item for i, item in enumerate(items)]


Case = tuple[str, list[Body], list[Body]]
# A value of each of these fits only some values of the other: tried below.
_TOGETHER: Final = (("scoring",), ("refit",))


def bounds() -> Iterator[Case]:
    """A name, specs of which one at least must be taken, specs of which none may be."""
    seen: set[tuple[Any, ...]] = set()
    for spec in SAMPLES:
        for path, schema in present(spec):
            key = tuple("*" if isinstance(part, int) else part for part in path)
            if key not in seen and path not in _TOGETHER:
                yield from _bounds_of(spec, path, schema)
            seen.add(key)


def _bounds_of(spec: Body, path: Path, schema: Body) -> Iterator[Case]:
    name, value = field_path(("spec", *path)), at(spec, path)
    for bound, beside in _BESIDE.items():
        # of a union the bounds of the kind that the value is of
        if bound in schema and ("type" in schema or isinstance(value, _KINDS.get(bound, object))):
            good, bad = beside(path, value, schema[bound])
            yield (
                f"{name}: {bound}",
                [changed(spec, path, each) for each in good],
                [changed(spec, path, each) for each in bad],
            )
    if (wrong := _OF_ANOTHER_TYPE.get(schema.get("type", ""))) is not None:
        yield f"{name}: {schema['type']}", [spec], [changed(spec, path, wrong)]
    if "properties" in schema:
        yield f"{name}: nothing else", [spec], [changed(spec, (*path, "unknown"), 1)]
        for field in schema.get("required", []):
            yield f"{name}: {field} is required", [spec], [lacking(spec, (*path, field))]


def _beside_max_length(path: Path, value: Any, limit: int) -> tuple[list[Any], list[Any]]:
    if path[0] == "resources" or path[-1] == "emptyDir":
        return [str(value).zfill(limit)], [str(value).zfill(limit + 1)]
    return longer(value, limit), longer(value, limit + 1)


def _named(path: Path, count: int) -> Body:
    # else a label's value, and a type
    words = {"simplest": "ascending", "scales": "log"}
    value = next((words[str(part)] for part in path if part in words), "str")
    return {f"a{i}": value for i in range(count)}


# For each of a schema's bounds: values of which one is just taken, and values that are just refused.
_BESIDE: Final[dict[str, Callable[[Path, Any, Any], tuple[list[Any], list[Any]]]]] = {
    "minimum": lambda _, __, limit: ([limit], [limit - 1]),
    "maximum": lambda _, __, limit: ([limit], [limit + 1]),
    "maxLength": _beside_max_length,
    "minLength": lambda _, value, limit: ([value], [value[: limit - 1]]),
    "maxItems": lambda path, value, limit: ([numbered(path, value[0], limit)], [numbered(path, value[0], limit + 1)]),
    "minItems": lambda _, value, limit: ([value[:limit]], [value[: limit - 1]]),
    "maxProperties": lambda path, _, limit: ([_named(path, limit)], [_named(path, limit + 1)]),
    "enum": lambda _, __, known: (known, ["other", ""]),
}
_KINDS: Final = {"minLength": str, "maxLength": str, "minItems": list, "maxItems": list}
_OF_ANOTHER_TYPE: Final[Body] = {"integer": "1", "string": 1, "boolean": "true", "array": {}, "object": []}
BOUNDS: Final = list(bounds())


@pytest.mark.parametrize(("good", "bad"), [case[1:] for case in BOUNDS], ids=[case[0] for case in BOUNDS])
def test_a_bound_refuses_and_takes(server: ApiServer, good: list[Body], bad: list[Body]) -> None:
    taken = [refusal(server, spec) == "" for spec in good]
    assert any(taken), refusal(server, good[0])
    assert [not is_refused_here(spec) for spec in good] == taken
    for spec in bad:
        assert refusal(server, spec) != "", spec
        assert is_refused_here(spec)


@pytest.mark.parametrize("limit", [32, 63])
def test_metrics_are_bounded_in_number_and_length(server: ApiServer, limit: int) -> None:
    def scored(scoring: Any, refit: str) -> Body:
        return {**MINIMAL, "scoring": scoring, "refit": refit}

    def beside(count: int) -> list[Body]:
        if limit == 63:
            return [scored(name := "x" * count, name), scored([name], name), scored({name: "f1"}, name)]
        return [scored([f"m{i}" for i in range(count)], "m0"), scored({f"m{i}": "f1" for i in range(count)}, "m0")]

    for good, bad in zip(beside(limit), beside(limit + 1), strict=True):
        assert (refusal(server, good), is_refused_here(good)) == ("", False)
        assert refusal(server, bad) != ""
        assert is_refused_here(bad)


@pytest.mark.parametrize("scoring", [["f1", "recall"], {"a": "f1", "b": "recall"}, [], {}, ""])
def test_several_metrics_need_a_refit_and_none_is_no_scoring(server: ApiServer, scoring: Any) -> None:
    spec = {**MINIMAL, "scoring": scoring}
    assert refusal(server, spec) != ""
    assert is_refused_here(spec)


# Changes

# For each field that must not change, two values of it (... is none) and the spec that they stand in.
_FROM_A_FILE: Final = {"path": "a.csv", "target": "y"}
REPEATED: Final[Body] = {**MINIMAL, "crossValidation": {"folds": 3, "repeats": 2, "randomState": 0}}
SPLIT: Final[Body] = {**MINIMAL, "crossValidation": {"splitter": {"class": "a.B"}}}
PREDEFINED: Final[Body] = {**FULL, "crossValidation": {"predefined": "a"}}
FROZEN: Final[dict[str, list[tuple[Body, Any, Any]]]] = {
    "estimator.class": [(MINIMAL, "sklearn.svm.SVC", "sklearn.svm.SVR")],
    "estimator.params": [
        (MINIMAL, {"C": 1}, {"C": 2}),
        (MINIMAL, {"C": 1}, {"gamma": 1}),
        (MINIMAL, {"C": 1}, {"C": True}),
        (MINIMAL, {"C": 1}, ...),
        (MINIMAL, {"a": {"b": [1, {"c": 1}]}}, {"a": {"b": [1, {"c": 2}]}}),
    ],
    "estimator.pipeline": [
        (PIPELINE, [{"name": "a", "class": "a.b"}], [{"name": "a", "class": "a.c"}]),
        (PIPELINE, [{"name": "a", "class": "a.b"}], [{"name": "a", "class": "a.b", "params": {"x": 1}}]),
        (
            PIPELINE,
            [{"name": "a", "class": "a.b", "params": {"x": 1}}],
            [{"name": "a", "class": "a.b", "params": {"y": 1}}],
        ),
        (
            PIPELINE,
            [{"name": name, "class": "a.b"} for name in "ab"],
            [{"name": name, "class": "a.b"} for name in "ba"],
        ),
    ],
    "estimator.columns": [
        (COLUMNS, [{"name": "a", "columns": one, "class": "a.b"}], [{"name": "a", "columns": other, "class": "a.b"}])
        for one, other in ((["a", "b"], ["b", "a"]), (["a"], "a"), ({"dtype": "number"}, {"dtype": "object"}))
    ],
    "estimator.union": [
        (UNION, [{"name": "a", "class": "a.b"}], [{"name": "a", "class": "drop"}]),
        (UNION, [{"name": "a", "union": A_STEP}], [{"name": "a", "pipeline": A_STEP}]),
    ],
    "estimator.remainder": [(COLUMNS, "drop", "passthrough"), (COLUMNS, "passthrough", ...)],
    "estimator.factory": [(FACTORY, "a.b", "a.c")],
    "search.grid.parameters": [
        (MINIMAL, {"C": [1]}, {"C": [1, 2]}),
        (MINIMAL, {"C": [1]}, {"gamma": [1]}),
        (MINIMAL, {"C": [1]}, [{"C": [1]}]),
        (MINIMAL, {"C": [{"float": 1}]}, {"C": [{"int": 1}]}),
    ],
    "search.random.parameters": [
        (DRAWN, {"C": [1]}, {"C": [1, 2]}),
        (DRAWN, {"C": [1, 2]}, {"C": [2, 1]}),
        (DRAWN, {"C": [1]}, {"C": [True]}),
        (DRAWN, {"C": [1]}, {"gamma": [1]}),
        (DRAWN, {"C": [1]}, {"C": [1], "gamma": [1]}),
        (DRAWN, {"C": [1]}, [{"C": [1]}]),
        (DRAWN, [{"C": [1]}, {"gamma": [1]}], [{"gamma": [1]}, {"C": [1]}]),
        (DRAWN, {"C": [{"float": 1}]}, {"C": [{"int": 1}]}),
        (DRAWN, {"C": [{"a": {"b": [1, {"c": 1}]}}]}, {"C": [{"a": {"b": [1, {"c": 2}]}}]}),
        (DRAWN, {"C": [{"a": {"b": [1, {"c": 1}]}}]}, {"C": [{"a": {"b": [1, {"d": 1}]}}]}),
        (DRAWN, {"C": {"uniform": [0, 1]}}, {"C": {"uniform": [0, 2]}}),
        (DRAWN, {"C": {"uniform": [0.25, 1]}}, {"C": {"uniform": [0.5, 1]}}),
        (DRAWN, {"C": {"uniform": [1, 2]}}, {"C": {"loguniform": [1, 2]}}),
        (DRAWN, {"C": {"uniform": [1, 2]}}, {"C": [1, 2]}),
        (DRAWN, [{"C": {"randint": [1, 9]}}], [{"C": {"randint": [1, 10]}}]),
    ],
    "search.random.iterations": [(DRAWN, 20, 21), (DRAWN, 20, ...)],
    "search.random.randomState": [(DRAWN, 1, 2), (DRAWN, 1, ...), (DRAWN, 0, 2**32 - 1)],
    "search.halving.factor": [(HALVED, 2, 3), (HALVED, 2, ...)],
    "search.halving.resource": [(HALVED, "n_estimators", "max_iter")],
    "search.halving.maxResources": [(HALVED, 10, 20)],
    "search.halving.minResources": [(HALVED, 1, 2), (HALVED, 1, "smallest"), (HALVED, 1, ...)],
    "search.halving.aggressiveElimination": [(HALVED, True, False)],
    "search.halving.randomState": [(HALVED, 0, 1), (HALVED, 0, ...)],
    "search.refine.rounds": [(REFINED, 2, 3), (REFINED, 2, ...)],
    "search.refine.shrink": [(REFINED, 0.25, 0.75)],
    "search.refine.tolerance": [(REFINED, 0, 1)],
    "search.refine.scales": [(REFINED, {"C": "log"}, {"C": "linear"}), (REFINED, {"C": "log"}, ...)],
    "search.refine.maxFits": [(REFINED, 100, 200), (REFINED, 100, ...)],
    "search.nested.folds": [(NESTED, 3, 4), (NESTED, 3, ...)],
    "search.nested.shuffle": [(changed(NESTED, ("search", "nested"), {}), False, ...)],
    "search.nested.randomState": [(NESTED, 0, 1)],
    "search.nested.repeats": [(AGAIN, 2, 3)],
    "search.nested.splitter.class": [(AROUND, "a.B", "a.C")],
    "search.nested.splitter.params": [(AROUND, {"a": 1}, {"b": 1}), (AROUND, {"a": 1}, {})],
    "crossValidation.folds": [(MINIMAL, 3, 4), (MINIMAL, 3, ...)],
    "crossValidation.shuffle": [(REPEATED, True, ...), (MINIMAL, False, ...)],
    "crossValidation.randomState": [(REPEATED, 1, 2)],
    "crossValidation.repeats": [(REPEATED, 2, 3)],
    "crossValidation.splitter.class": [(SPLIT, "a.B", "a.C")],
    "crossValidation.splitter.params": [(SPLIT, {"a": 1}, {"b": 1}), (SPLIT, {"a": 1}, {})],
    "crossValidation.groups": [(FULL, "a", "b"), (FULL, "a", ...)],
    "crossValidation.predefined": [(PREDEFINED, "a", "b")],
    "scoring": [
        (MINIMAL, "accuracy", "f1"),
        (MINIMAL, "accuracy", ...),
        (MINIMAL, "accuracy", ["accuracy"]),
        (SEVERAL, {"f2": "f1", "f1": "f1"}, {"f2": "f1", "f1": "recall"}),
        (
            SEVERAL,
            {"f2": {"function": "a.b", "params": {"beta": 1}}},
            {"f2": {"function": "a.b", "params": {"beta": True}}},
        ),
    ],
    "refit": [(SEVERAL, "f1", "f2"), ({**MINIMAL, "scoring": ["f1"]}, "f1", ...)],
    "select.best": [(MINIMAL, True, ...)],
    "select.oneStandardError.simplest": [(MINIMAL, [{"C": "ascending"}], [{"C": "descending"}])],
    "select.fastestWithin": [(MINIMAL, 0.1, 0.2), (MINIMAL, 0.1, ...)],
    "select.fastestWithinStandardErrors": [(MINIMAL, 1, 2), (MINIMAL, 1, ...)],
    "select.mostStable.deviations": [(MINIMAL, 1, 2), (MINIMAL, 2, ...)],
    "select.maxOverfitGap": [(FULL, 0.1, 0.2), (FULL, 0.1, ...)],
    "baseline": [(MINIMAL, False, True), (MINIMAL, True, ...)],
    "returnTrainScore": [(MINIMAL, False, True)],
    "data.loader": [(MINIMAL, "sklearn.datasets.load_iris", "sklearn.datasets.load_wine")],
    "data.url": [(OF_A_URL, "s3://b/a.csv", "s3://b/b.csv")],
    "data.sha256": [(OF_A_URL, "0" * 64, "1" * 64), (OF_A_URL, "0" * 64, ...)],
    "data.uploaded.features": [(SENT, "0" * 64, "5" * 64)],
    **{
        f"data.uploaded.{name}": [(SENT, "0" * 64, "5" * 64), (SENT, "0" * 64, ...)]
        for name in ("target", "groups", "sampleWeight")
    },
    "data.uploaded.predefined": [(SENT_FOLDS, "5" * 64, "6" * 64)],
    "data.function": [({**MINIMAL, "data": {"function": "a.b"}}, "a.b", "a.c")],
    "data.params": [(MADE, {"a": 1}, {"b": 1}), (MADE, {"a": 1}, {})],
    "data.path": [(FULL, "a.csv", "b.csv")],
    "data.format": [(OF_A_FILE, "csv", "parquet"), (OF_A_FILE, "csv", ...)],
    "data.exclude": [(FULL, ["id"], ["other"]), (FULL, ["id"], ...)],
    "data.sort": [(PIPELINE, "day", "hour"), (PIPELINE, "day", ...)],
    "data.sampleWeight": [(PIPELINE, "w", "v"), (PIPELINE, "w", ...)],
    "data.read.delimiter": [(OF_A_FILE, ";", "|"), (OF_A_FILE, ";", ",")],
    "data.read.decimal": [(READ, ",", ".")],
    "data.read.thousands": [(READ, "'", "_"), (READ, "'", ...)],
    "data.read.encoding": [(READ, "latin-1", "cp1252"), (READ, "latin-1", ...)],
    "data.read.quoteChar": [(READ, "'", '"')],
    "data.read.quoting": [(READ, "minimal", "none")],
    "data.read.doubleQuote": [(READ, True, False)],
    "data.read.escapeChar": [(READ, "\\", "^"), (READ, "\\", ...)],
    "data.read.comment": [(READ, "#", "%"), (READ, "#", ...)],
    "data.read.skipInitialSpace": [(READ, True, False)],
    "data.read.skipRows": [(READ, 1, 0)],
    "data.read.header": [(READ, True, False)],
    "data.read.names": [(READ, ["a", "b"], ["b", "a"])],
    "data.read.naValues": [(READ, ["-"], ["?"]), (READ, ["-"], ...)],
    "data.read.keepDefaultNa": [(READ, True, False)],
    "data.read.trueValues": [(READ, ["ja"], ["oui"]), (READ, ["ja"], ...)],
    "data.read.falseValues": [(READ, ["nein"], ["non"]), (READ, ["nein"], ...)],
    "data.read.parseDates": [(READ, ["a"], ["b"]), (READ, ["a"], ...)],
    "data.read.dateFormat": [(READ, "%d", "%m"), (READ, "%d", ...)],
    "data.read.dayFirst": [(READ, True, False)],
    "data.read.dtypes": [(READ, {"a": "str"}, {"a": "Int64"}), (READ, {"a": "str"}, ...)],
    "data.read.categories": [(READ, ["a"], ["b"]), (READ, ["a"], ...)],
    "data.read.indexColumn": [(READ, "a", "b"), (READ, "a", ...)],
    "data.persistentVolumeClaim": [(PIPELINE, "a", "b"), (PIPELINE, "a", ...)],
    "data.configMap": [(FULL, "a", "b"), (FULL, "a", ...)],
    "data.target": [(FULL, "a", "b")],
    "data.features": [(PIPELINE, ["a", "b"], ["b", "a"]), (PIPELINE, ["a"], ...)],
    "resources.cpu": [(FULL, "1", "2"), (FULL, 1, "1")],
    "resources.memory": [(FULL, "1Gi", "2Gi")],
    "resources.memoryLimit": [(FULL, "2Gi", "3Gi"), (FULL, "2Gi", ...)],
    "mode": [(MINIMAL, "Run", "Plan")],
    "queueName": [(MINIMAL, "a", "b"), (MINIMAL, "a", ...)],
    "startDeadlineSeconds": [(MINIMAL, 1, 2), (MINIMAL, 1, ...)],
    "limits.maxFits": [(FULL, 1, 2)],
    "limits.maxFailedFits": [(FULL, 1, 2), (FULL, 0, ...)],
    "limits.fitTimeoutSeconds": [(FULL, 1, 2), (FULL, 1, ...)],
    "pod.priorityClassName": [(FULL, "a", "b"), (FULL, "a", ...)],
    "pod.serviceAccountName": [(FULL, "a", "b"), (FULL, "a", ...)],
    "pod.nodeSelector": [(FULL, {"a": "b"}, {"a": "c"}), (FULL, {"a": "b"}, {"b": "b"}), (FULL, {"a": "b"}, ...)],
    "pod.tolerations": [(FULL, [{"key": "a"}], [{"key": "b"}]), (FULL, [], ...)],
    "pod.topologySpread": [(FULL, [{"topologyKey": "a"}], [{"topologyKey": "b"}]), (FULL, [], ...)],
    "pod.imagePullSecrets": [(FULL, ["a", "b"], ["b", "a"]), (FULL, ["a"], ...)],
    "pod.env": [(FULL, [VARIABLE], [{**VARIABLE, "value": "c"}]), (FULL, [VARIABLE], ...)],
    "pod.volumes": [(FULL, [VOLUME], [{**VOLUME, "secret": "b"}]), (FULL, [VOLUME], ...)],
    "reuse": [(MINIMAL, True, False)],
    "artifacts.compression": [(FULL, "xz", "none")],
    "exports.mlflow.uri": [(FULL, "http://a", "https://a")],
    "exports.mlflow.experiment": [(FULL, "a", "b"), (FULL, "a", ...)],
    "exports.mlflow.children": [(FULL, 1, 2)],
    "exports.mlflow.model": [(FULL, True, False)],
    "image": [(MINIMAL, "a", "b"), (MINIMAL, "a", ...)],
    "data.query.sql": [(ASKED, "SELECT a FROM t ORDER BY a", "SELECT b FROM t ORDER BY b")],
    "data.query.urlFrom": [(ASKED, "A", "B")],
    "code.configMap": [({**MINIMAL, "code": {"configMap": "a"}}, "a", "b")],
    "code.persistentVolumeClaim": [({**MINIMAL, "code": {"persistentVolumeClaim": "a"}}, "a", "b")],
    "code.url": [(OWN, "s3://b/a.whl", "s3://b/b.whl")],
    "code.sha256": [(OWN, "0" * 64, "1" * 64)],
    "code.uploaded": [(SENT, "0" * 64, "5" * 64)],
    "modelKey": [(MINIMAL, "a", "b"), (MINIMAL, "a", ...)],
}
ADVICE: Final = "must stay as it was created: delete the TuningJob and apply it again to run another"


def written(spec: Body, path: Path, value: Any) -> Body:
    """With this value, in an object that may have to be made; ... is none."""
    for depth in range(1, len(path)):
        try:
            at(spec, path[:depth])
        except LookupError:
            spec = changed(spec, path[:depth], {})
    spec = changed(spec, path, None if value is ... else value)
    return lacking(spec, path) if value is ... else spec


def change(server: ApiServer, before: Body, after: Body) -> str:
    """What the API server has to say against the change; empty if it makes it."""
    stored = server.create_object(JOBS, manifest(before, "changing"))
    try:
        server.call("PUT", f"{JOBS}/changing?dryRun=All&fieldValidation=Strict", {**stored, "spec": after})
    except Refused as refused:
        return str(refused)
    finally:
        server.call("DELETE", f"{JOBS}/changing")
    return ""


# They have no type there, and stand beside others that have none: the object that has them is named.
UNTYPED: Final = {"data.params", "data.target", "data.features", "estimator.params", "estimator.remainder"}
CHANGES: Final = [(name, *case) for name, cases in FROZEN.items() for case in cases]


@pytest.mark.parametrize(("name", "spec", "one", "other"), CHANGES, ids=[case[0] for case in CHANGES])
def test_a_field_stays_as_it_was_created(server: ApiServer, name: str, spec: Body, one: Any, other: Any) -> None:
    path = tuple(name.split("."))
    before, after = written(spec, path, one), written(spec, path, other)
    # to and fro: an optional field may neither come nor go
    for old, new in ((before, after), (after, before)):
        told = change(server, old, new)
        named = f"spec.{name.rpartition('.')[0] if name in UNTYPED else name}"
        assert f"{named}: Forbidden: {ADVICE}" in told, told
        assert re.findall(r'"field":"([^"]+)"', told) == [named]
        assert frozen_changes(load(manifest(old)).spec, load(manifest(new)).spec) == [f"spec.{name}"]
        assert change(server, old, old) == ""


@pytest.mark.parametrize("parameters", [{"C": [1, 2]}, {"C": [1, 2], "gamma": {"linspace": [0, 1, 5]}}, {}])
def test_a_grid_and_a_random_search_do_not_become_each_other(server: ApiServer, parameters: Body) -> None:
    """Not even with the same parameters, nor with more changed."""
    grid = changed(MINIMAL, ("search",), {"grid": {"parameters": parameters}})
    random = changed(MINIMAL, ("search",), {"random": {"parameters": parameters}})
    for old, new in ((grid, random), (random, grid), (grid, DRAWN), (DRAWN, grid)):
        told = change(server, old, new)
        assert told.count(f"Forbidden: {ADVICE}") >= 2
        assert set(re.findall(r'"field":"([^"]+)"', told)) == {"spec.search.grid", "spec.search.random"}
        found = frozen_changes(load(manifest(old)).spec, load(manifest(new)).spec)
        assert found == ["spec.search.grid", "spec.search.random"]


def test_every_field_that_must_not_change_has_its_case() -> None:
    mutable = {TuningJobSpec.model_fields[name].alias for name in MUTABLE_FIELDS}
    # a list is one field, and so is whatever has no fields of its own
    leaves = {path for path in frozen_paths(SPEC) if path[0] not in mutable}
    assert {".".join(path) for path in leaves} == set(FROZEN)


def frozen_paths(schema: Body, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, inner in schema["properties"].items():
        if "properties" in inner:
            yield from frozen_paths(inner, (*path, key))
        else:
            yield (*path, key)


@pytest.mark.parametrize(
    ("field", "one", "other"),
    [
        ("parallelism", 1, 10_000),
        ("suspend", False, True),
        ("activeDeadlineSeconds", 1, 2),
        ("activeDeadlineSeconds", 1, ...),
        ("ttlSecondsAfterFinished", 0, 2),
        ("ttlSecondsAfterFinished", 0, ...),
    ],
)
def test_what_is_of_the_clusters_side_may_change_to_and_fro(
    server: ApiServer, field: str, one: Any, other: Any
) -> None:
    before, after = written(MINIMAL, (field,), one), written(MINIMAL, (field,), other)
    assert (change(server, before, after), change(server, after, before)) == ("", "")
    assert frozen_changes(load(manifest(before)).spec, load(manifest(after)).spec) == []


def test_a_search_is_cancelled_for_good(server: ApiServer) -> None:
    cancelled = {**MINIMAL, "cancel": True}
    assert change(server, MINIMAL, cancelled) == ""
    for again in (MINIMAL, {**MINIMAL, "cancel": False}):
        assert f"spec.cancel: Forbidden: {CANCELLED}" in change(server, cancelled, again)
        assert frozen_changes(load(manifest(cancelled)).spec, load(manifest(again)).spec) == ["spec.cancel"]


def test_every_field_that_changed_is_named(server: ApiServer) -> None:
    told = change(server, MINIMAL, {**MINIMAL, "image": "a", "resources": {"cpu": 2}, "pod": {"env": [VARIABLE]}})
    assert set(re.findall(r'"field":"([^"]+)"', told)) == {"spec.image", "spec.resources.cpu", "spec.pod.env"}


def test_what_the_api_server_filled_in_may_be_left_out_of_the_manifest_that_is_applied_again(server: ApiServer) -> None:
    assert change(server, MINIMAL, MINIMAL) == ""
    assert change(server, FULL, FULL) == ""
    drawn = changed(MINIMAL, ("search",), {"random": {"parameters": {"C": {"uniform": [0, 1]}}}})
    spelled = changed(drawn, ("search", "random"), {**drawn["search"]["random"], "iterations": 10, "randomState": 0})
    for one, other in ((drawn, drawn), (drawn, spelled), (spelled, drawn)):
        assert change(server, one, other) == ""


def test_one_that_came_before_the_rules_stays_changeable(server: ApiServer) -> None:
    """With a value that is refused today: what did not change is not judged again."""
    crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/tuningjobs.tuningjob.dev"
    name = f"{JOBS}/older"

    def install(schema: Body) -> None:
        found = server.call("GET", crds)
        found["spec"]["versions"][0]["schema"]["openAPIV3Schema"] = schema
        server.call("PUT", crds, found)

    ours = CRD["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    install({"type": "object", "x-kubernetes-preserve-unknown-fields": True})
    try:
        until_taken(server, {**MINIMAL, "image": ""}, name="older")
        install(ours)
        until_refused(server, {**MINIMAL, "image": ""})
        older = server.call("GET", name)
        scaled = {**older, "spec": {**older["spec"], "parallelism": 5}}
        assert server.call("PUT", name, scaled)["spec"]["parallelism"] == 5
        older = server.call("PUT", f"{name}/status", {**server.call("GET", name), "status": {"phase": "Running"}})
        assert older["status"] == {"phase": "Running"}
        with pytest.raises(Refused, match="must stay as it was created"):
            server.call("PUT", name, {**older, "spec": {**older["spec"], "reuse": True}})
    finally:
        install(ours)
        until_refused(server, {**MINIMAL, "image": ""})
        server.call("DELETE", name)


def until_taken(server: ApiServer, spec: Body, *, name: str) -> None:
    for _ in range(1000):
        try:
            server.create_object(JOBS, manifest(spec, name))
        except Refused:
            continue
        return
    raise AssertionError("never taken")


def until_refused(server: ApiServer, spec: Body) -> None:
    for _ in range(1000):
        if refusal(server, spec):
            return
    raise AssertionError("never refused")


def test_kubectl_scale_and_an_autoscaler_change_the_parallelism_alone(server: ApiServer) -> None:
    stored = server.create_object(JOBS, manifest(FULL, "scaled"))
    try:
        stored["status"] = {"activePods": 3, "selector": "tuningjob.dev/uid=1"}
        server.call("PUT", f"{JOBS}/scaled/status", stored)
        scale = server.call("GET", f"{JOBS}/scaled/scale")
        assert (scale["spec"], scale["status"]) == ({"replicas": 4}, {"replicas": 3, "selector": "tuningjob.dev/uid=1"})

        scale["spec"]["replicas"] = 7
        server.call("PUT", f"{JOBS}/scaled/scale", scale)
        found = server.call("GET", f"{JOBS}/scaled")
        assert (found["spec"]["parallelism"], found["metadata"]["generation"]) == (7, 2)
        with pytest.raises(Refused, match="greater than or equal to 1"):
            server.call(
                "PUT", f"{JOBS}/scaled/scale", {**scale, "metadata": found["metadata"], "spec": {"replicas": 0}}
            )
    finally:
        server.call("DELETE", f"{JOBS}/scaled")
