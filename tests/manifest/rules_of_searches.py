"""For each of the CRD's rules about a search: a spec that is refused, the words of the refusal, and a spec that is taken."""

from typing import Final

from tests.manifest.manifests import (
    A_STEP,
    AGAIN,
    AROUND,
    ASKED,
    COLUMNS,
    DRAWN,
    FACTORY,
    FULL,
    HALVED,
    MADE,
    MINIMAL,
    NESTED,
    OF_A_FILE,
    OF_A_URL,
    OWN,
    PIPELINE,
    REFINED,
    SENT_FOLDS,
    STEPS,
    UNION,
    VOLUME,
    Body,
)
from tests.manifest.manifests import with_value as changed
from tests.manifest.manifests import without as lacking

SPLITTER: Final = {"class": "sklearn.model_selection.TimeSeriesSplit"}
VOLUMES: Final = ("pod", "volumes")
SEARCH_RULES: Final[dict[str, tuple[Body, str, Body]]] = {
    "a quantity of CPU": (
        changed(FULL, ("resources", "cpu"), "much"),
        "must be a positive Kubernetes quantity of CPU such as 2 or 500m, from 1m to 10k",
        changed(FULL, ("resources", "cpu"), "1m"),
    ),
    "pruning beside rounds": (
        {**HALVED, "prune": "certain"},
        "must be without search.halving, search.refine and search.nested beside prune",
        {**MINIMAL, "prune": "certain"},
    ),
    "pruning beside another rule": (
        {**MINIMAL, "prune": "forgiving", "select": {"fastestWithin": 0.1}},
        "must be without a rule of select but best beside prune",
        {**MINIMAL, "prune": "forgiving", "select": {"best": True}},
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
    "cpuRequest": (
        changed(FULL, ("resources", "cpuRequest"), "1501m"),
        "must be with a cpuRequest that is no more than cpu",
        changed(FULL, ("resources", "cpuRequest"), "1.5"),
    ),
    "a cpuRequest of nothing": (
        changed(FULL, ("resources", "cpuRequest"), 0),
        "must be a positive Kubernetes quantity of CPU",
        changed(FULL, ("resources", "cpuRequest"), "1m"),
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
}  # fmt: skip
