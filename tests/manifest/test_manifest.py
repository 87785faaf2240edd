"""What a manifest says, and how one is refused."""

from typing import Any

import pytest

from tuningjob.errors import ManifestRefused
from tuningjob.manifest import dump_spec, load, load_file, load_spec


def problems_of(document: Any) -> list[str]:
    with pytest.raises(ManifestRefused) as refused:
        load(document)
    return [str(problem) for problem in refused.value.problems]


def test_every_example_is_valid_and_survives_the_journal(examples: Any) -> None:
    files = sorted(examples.glob("*.yaml"))
    assert files
    for file in files:
        spec = load_file(file).spec
        assert load_spec(dump_spec(spec)) == spec


def test_resources_and_parallelism_have_defaults(iris_forest: dict[str, Any]) -> None:
    del iris_forest["spec"]["resources"], iris_forest["spec"]["parallelism"]
    spec = load(iris_forest).spec
    assert (spec.resources.cpu, spec.resources.memory, spec.parallelism) == ("1", "1Gi", 1)


def test_nothing_is_reused_or_compressed_unless_the_manifest_says_so(iris_forest: dict[str, Any]) -> None:
    spec = load(iris_forest).spec
    assert (spec.reuse, spec.artifacts.compression) == (False, "none")
    iris_forest["spec"] |= {"reuse": True, "artifacts": {"compression": "lz4"}}
    spec = load(iris_forest).spec
    assert (spec.reuse, spec.artifacts.compression) == (True, "lz4")
    assert load_spec(dump_spec(spec)) == spec


@pytest.mark.parametrize(
    ("path", "value", "want"),
    [
        ("resources", {"memory": "lots"}, "spec.resources.memory: must be a positive Kubernetes quantity of memory such as 512Mi or 2Gi, from 1Mi to 1Pi, but got 'lots'."),
        ("resources", {"memory": "-1Gi"}, "spec.resources.memory: must be a positive Kubernetes quantity"),
        ("resources", {"cpu": 1.5}, "spec.resources.cpu: must be a positive Kubernetes quantity of CPU such as 2 or 500m, from 1m to 10k, but got 1.5."),
        ("resources", {"cpu": "0"}, "spec.resources.cpu: must be a positive Kubernetes quantity of CPU"),
        ("paralelism", 2, "spec.paralelism: must be a known field, but got an unknown one. Did you mean 'parallelism'?"),
        ("parallelism", 0, "spec.parallelism: must be greater than or equal to 1, but got 0."),
        ("parallelism", "2", "spec.parallelism: must be an integer, but got '2'. Write it without quotes."),
        ("crossValidation", {"folds": 1}, "spec.crossValidation.folds: must be greater than or equal to 2, but got 1."),
        ("crossValidation", {"fold": 3}, "spec.crossValidation.fold: must be a known field, but got an unknown one. Did you mean 'folds'?"),
        ("data", {}, "spec.data: must be with exactly one of loader, path, url, query, function and uploaded"),
        ("data", {"loader": "os.system"}, "spec.data.loader: must be a function load_…, make_… or fetch_… of sklearn.datasets, but got 'os.system'. For your own data give a path or a function."),
        ("data", {"path": "../x.csv", "target": "y"}, "spec.data.path: must be a path that stays below its folder, without .., but got '../x.csv'. Put the file"),
        ("data", {"path": "x.txt", "target": "y"}, "spec.data.path: must be a file that ends in .csv or .parquet"),
        ("data", {"path": "x.csv", "target": "y", "persistentVolumeClaim": "a", "configMap": "b"}, "spec.data: must be with persistentVolumeClaim or configMap, not both"),
        ("data", {"path": "x.csv", "target": True}, "spec.data.target: must be the name of the column to predict, or a list of different ones, at most 1,000, but got True. Put it in quotes: to kubectl a bare y"),
        ("data", {"path": "x.csv", "target": ["a", 1]}, "but got ['a', 1]. Put it in quotes: \"1\"."),
        ("data", {"path": "x.csv", "target": ["a", "a"]}, "but got ['a', 'a']. One of them is there twice."),
        ("data", {"path": "x.csv", "target": []}, "spec.data.target: must be the name of the column to predict"),
        ("data", {"path": "x.csv", "features": {}}, "spec.data.features: must be the name of a column, or a list of different ones, at most 10,000"),
        ("data", {"path": "x.csv", "target": ["a", "b"], "features": ["b"]}, "spec.data.target: must be a column that is not among the features, but got ['a', 'b']. Remove 'b' from one of them."),
        ("data", {"path": "x.csv", "target": "a", "exclude": ["a"]}, "spec.data.target: must be a column that is not among what is excluded, but got 'a'."),
        ("data", {"path": "x.csv", "sampleWeight": "a", "features": "a"}, "spec.data.sampleWeight: must be a column that is not among the features, but got 'a'."),
        ("data", {"path": "x.csv", "sampleWeight": "a", "target": ["a"]}, "spec.data.sampleWeight: must be a column that is not among the targets, but got 'a'."),
        ("data", {"path": "x.csv", "features": ["a"], "exclude": ["b"]}, "spec.data: must be with features or exclude, not both"),
        ("data", {"loader": "sklearn.datasets.load_iris", "target": "a"}, "spec.data: must be without target beside a loader"),
        ("estimator", {}, "spec.estimator: must be one of a class, a pipeline, columns, a union, and a factory"),
        ("data", {"url": "http://h/x.csv"}, "spec.data.url: must be the URL of a file: https://HOST/PATH, s3://BUCKET/NAME"),
        ("data", {"url": "https://me:secret@h/x.csv"}, "without a password"),
        ("data", {"url": "s3://b/x.csv?versionId=1"}, "spec.data.url: must be the URL of a file"),
        ("data", {"url": "s3://b/parts/"}, "spec.data.url: must be the URL of a file"),
        ("data", {"url": "https://h/x?sig=secret"}, "spec.data.url: must be the URL of a file that ends in .csv or .parquet, but got 'https://h/x'. Or say which by spec.data.format."),
        ("data", {"url": "s3://b/x.csv", "sha256": "abc"}, "spec.data.sha256: must be 64 digits and letters a to f"),
        ("data", {"path": "x.csv", "sha256": "a" * 64}, "spec.data: must be with a sha256 beside a url alone"),
        ("data", {"url": "s3://b/x.csv", "configMap": "a"}, "spec.data: must be without configMap beside a url"),
        ("data", {"url": "s3://b/x.parquet", "read": {}}, "spec.data: must be without read beside a Parquet file"),
        ("data", {"query": {"sql": "SELECT a FROM t", "urlFrom": "DB"}}, "spec.data: must be with an ORDER BY in the query, or with a sort"),
        ("data", {"query": {"sql": "DELETE FROM t", "urlFrom": "DB"}}, "spec.data.query.sql: must be a SELECT (or WITH … SELECT), but got 'DELETE FROM t'"),
        ("data", {"query": {"sql": "SELECT 1 ORDER BY 1", "urlFrom": "postgresql://me:secret@h/d"}}, "spec.data.query.urlFrom: must be the name of a variable of the environment"),
        ("code", {}, "spec.code: must be with exactly one of configMap, persistentVolumeClaim, url and uploaded"),
        ("code", {"url": "s3://b/mine.whl"}, "spec.code: must be with a sha256 beside a url, and only there, but got"),
        ("code", {"configMap": "a", "sha256": "0" * 64}, "spec.code: must be with a sha256 beside a url, and only there"),
        ("estimator", {"pipeline": []}, "spec.estimator.pipeline: "),
        ("estimator", {"class": "SVC"}, "spec.estimator.class: must be a dotted path, such as sklearn.svm.SVC, but got 'SVC'. Write the whole path: module and class."),
        ("reuse", "yes", "spec.reuse: must be true or false, but got 'yes'. Write it without quotes."),
        ("exports", {"mlflow": {"uri": "http://ada:secret@a"}}, "spec.exports.mlflow.uri: must be an http:// or https:// URL without a password: put that into a Secret of pod.env, but got 'http://ada:secret@a'."),
        ("exports", {"table": {"url": "https://a/b.csv"}}, "spec.exports.table.url: must be the URL of an object that ends in .csv or .parquet: s3://BUCKET/NAME,"),
        ("exports", {"table": {"url": "s3://b/.csv"}}, "spec.exports.table.url: must be the URL of an object"),
        ("exports", {"optuna": {"urlFrom": "a-b"}}, "spec.exports.optuna.urlFrom: must be the name of a variable of the environment, but got 'a-b'."),
        ("artifacts", {"compression": "zip"}, "spec.artifacts.compression: must be 'none', 'lz4', 'gzip' or 'xz', but got 'zip'."),
        ("artifacts", {"compress": "xz"}, "spec.artifacts.compress: must be a known field, but got an unknown one. Did you mean 'compression'?"),
        ("resources", {"memory": "1e99999999999"}, "spec.resources.memory: must be a positive Kubernetes quantity of memory"),
        ("resources", {"memoryLimit": "1Mi"}, "spec.resources: must be with a memoryLimit that is no less than memory, but got"),
        ("mode", "plan", "spec.mode: must be 'Run' or 'Plan', but got 'plan'."),
        ("queueName", "Q", "spec.queueName: must be the name of a queue: lower-case letters, digits and -, but got 'Q'."),
        ("ttlSecondsAfterFinished", -1, "spec.ttlSecondsAfterFinished: must be greater than or equal to 0, but got -1."),
        ("image", "a b", "spec.image: must be an image, such as registry.example/mine:1, but got 'a b'."),
        ("pod", {"hostNetwork": True}, "spec.pod.hostNetwork: must be a known field, but got an unknown one. Known: env,"),
        ("pod", {"nodeSelector": {"-a": "b"}}, "spec.pod.nodeSelector: must be the key of a label, such as disk or example.com/disk, but got '-a'."),
        ("pod", {"nodeSelector": {"a": "-b"}}, "spec.pod.nodeSelector.a: must be the value of a label: letters, digits, -, _ and ., but got '-b'."),
        ("pod", {"env": [{"name": "OMP_NUM_THREADS", "value": "8"}]}, "spec.pod.env[0].name: must be a variable of your own, but got 'OMP_NUM_THREADS'. OMP_NUM_THREADS is the operator's to set."),
        ("pod", {"env": [{"name": "A"}]}, "spec.pod.env[0]: must be with exactly one of value, secret and configMap, but got {'name': 'A'}."),
        ("pod", {"env": [{"name": "A", "value": "1"}] * 2}, "spec.pod.env: must be a list of variables with different names, but got"),
        ("pod", {"volumes": [{"name": "a", "mountPath": "/tmp", "emptyDir": "1Gi"}]}, "spec.pod.volumes[0].mountPath: must be a path beside /data, /tmp,"),
        ("pod", {"volumes": [{"name": "a", "mountPath": "a", "emptyDir": "1Gi"}]}, "spec.pod.volumes[0].mountPath: must be an absolute path of letters,"),
        ("pod", {"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}, "spec.pod.tolerations[0]: must be without a value beside the operator Exists, but got"),
        ("pod", {"imagePullSecrets": ["A"]}, "spec.pod.imagePullSecrets[0]: must be the name of a Kubernetes object: lower-case words with - and ., but got 'A'."),
        ("search", {"grid": {"parameters": {"C": []}}}, "spec.search.grid.parameters.C: must be a list with at least one value, but got []."),
        ("search", {}, "spec.search: must be either a grid or random, but got {}. Give exactly one of the two."),
        ("search", {"grid": {"parameters": {"C": [1]}}, "random": {"parameters": {"C": [1]}}}, "spec.search: must be either a grid or random, but got {'grid': {"),
        ("search", {"grid": None, "random": None}, "spec.search: must be either a grid or random, but got"),
        ("search", {"randomized": {"parameters": {"C": [1]}}}, "spec.search.randomized: must be a known field, but got an unknown one. Did you mean 'random'?"),
        ("search", {"random": {}}, "spec.search.random.parameters: must be given, but got nothing."),
        ("search", {"random": {"parameters": {"C": [1]}, "iteration": 3}}, "spec.search.random.iteration: must be a known field, but got an unknown one. Did you mean 'iterations'?"),
        ("search", {"random": {"parameters": {"C": [1]}, "iterations": 0}}, "spec.search.random.iterations: must be greater than or equal to 1, but got 0."),
        ("search", {"random": {"parameters": {"C": [1]}, "iterations": 100_001}}, "spec.search.random.iterations: must be less than or equal to 100000, but got 100001."),
        ("search", {"random": {"parameters": {"C": [1]}, "iterations": "10"}}, "spec.search.random.iterations: must be an integer, but got '10'. Write it without quotes."),
        ("search", {"random": {"parameters": {"C": [1]}, "randomState": -1}}, "spec.search.random.randomState: must be greater than or equal to 0, but got -1."),
        ("search", {"random": {"parameters": {"C": [1]}, "randomState": 2**32}}, "spec.search.random.randomState: must be less than or equal to 4294967295, but got 4294967296."),
        ("search", {"random": {"parameters": {"C": {"uniform": [1, 0]}}}}, "spec.search.random.parameters.C.uniform: must be [low, high], finite numbers, low less than high, but got [1, 0]."),
        ("search", {"random": {"parameters": {"C": {"randint": [0, 1.5]}}}}, "spec.search.random.parameters.C.randint: must be [low, high], integers within ±2^53"),
        ("search", {"grid": {"parameters": {"C": {"uniform": [0, 1]}}}}, "spec.search.grid.parameters.C: must be a list of values, but got {'uniform': [0, 1]}. {uniform: …} is drawn from: that is for spec.search.random."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_field_must_be_and_got(
    iris_forest: dict[str, Any], path: str, value: Any, want: str
) -> None:
    iris_forest["spec"][path] = value
    assert any(want in problem for problem in problems_of(iris_forest)), problems_of(iris_forest)


@pytest.mark.parametrize(
    "parameters",
    [
        {"C": [1, 2.5, None, {"float": 1}]},
        {"C": {"loguniform": [0.01, 100]}, "kernel": ["rbf", "poly"]},
        [{"C": {"uniform": [0, 1]}}, {"degree": {"randint": [2, 5]}, "gamma": {"logspace": [-3, 3, 7]}}, {}],
    ],
)
def test_a_random_search_survives_the_journal(iris_forest: dict[str, Any], parameters: Any) -> None:
    iris_forest["spec"]["search"] = {"random": {"parameters": parameters, "iterations": 60, "randomState": 2**32 - 1}}
    spec = load(iris_forest).spec
    assert dump_spec(spec)["search"] == iris_forest["spec"]["search"]
    assert load_spec(dump_spec(spec)) == spec


def test_the_seed_and_the_iterations_of_a_random_search_are_never_absent(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["search"] = {"random": {"parameters": {"C": [1]}}}
    spec = load(iris_forest).spec
    assert dump_spec(spec)["search"] == {"random": {"parameters": {"C": [1]}, "iterations": 10, "randomState": 0}}
    assert load_spec(dump_spec(spec)) == spec


def test_an_integer_that_was_written_with_a_point_is_a_bound_as_the_api_server_has_it(
    iris_forest: dict[str, Any],
) -> None:
    iris_forest["spec"]["search"] = {"random": {"parameters": {"C": {"randint": [1.0, 1e3]}}}}
    assert dump_spec(load(iris_forest).spec)["search"]["random"]["parameters"] == {"C": {"randint": [1, 1000]}}


@pytest.mark.parametrize("name", ["Iris", "a_b", "a.b", "-a", "a" * 53])
def test_a_name_that_pods_cannot_bear_is_refused(iris_forest: dict[str, Any], name: str) -> None:
    iris_forest["metadata"]["name"] = name
    assert problems_of(iris_forest)[0].startswith("metadata.name: must ")


def test_another_kind_is_refused(iris_forest: dict[str, Any]) -> None:
    iris_forest["kind"] = "Job"
    assert problems_of(iris_forest) == ["kind: must be 'TuningJob', but got 'Job'."]


def test_every_problem_is_told_at_once(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["parallelism"] = 0
    iris_forest["spec"]["crossValidation"] = {"folds": 0}
    del iris_forest["spec"]["data"]
    assert len(problems_of(iris_forest)) == 3


@pytest.mark.parametrize("document", [None, [], "text", 3])
def test_what_is_no_manifest_at_all_is_refused(document: Any) -> None:
    assert problems_of(document)[0].startswith("the file: must be a TuningJob manifest")


def test_step_names_must_differ_and_have_no_double_underscore(breast_cancer_svc: dict[str, Any]) -> None:
    steps = breast_cancer_svc["spec"]["estimator"]["pipeline"]
    steps[0]["name"] = "svc"
    assert "must be a list of steps with different names" in problems_of(breast_cancer_svc)[0]
    steps[0]["name"] = "a__b"
    assert problems_of(breast_cancer_svc)[0].startswith(
        "spec.estimator.pipeline[0].name: must be a name without '__', but got 'a__b'."
    )


# --- what people write out of habit


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"cv": 5}, "spec.cv: must be a known field, but got an unknown one. scikit-learn's cv is spec.crossValidation.folds here."),
        ({"crossValidation": {"n_splits": 5}}, "spec.crossValidation.n_splits: must be a known field, but got an unknown one. scikit-learn's n_splits is spec.crossValidation.folds here, or stands in the params of a splitter."),
        ({"groups": "patient"}, "spec.groups: must be a known field, but got an unknown one. It is spec.crossValidation.groups here."),
        ({"crossValidation": {"n_repeats": 3}}, "scikit-learn's n_repeats is spec.crossValidation.repeats here."),
        ({"crossValidation": {"test_fold": "fold"}}, "scikit-learn's PredefinedSplit is spec.crossValidation.predefined here, which names a column."),
        ({"crossValidation": {"splitter": "a.B"}}, "spec.crossValidation.splitter: must be a map, but got 'a.B'. Write {class: a.B}."),
        ({"n_jobs": -1}, "Processes follow from spec.resources.cpu, one for each CPU of a pod, and pods from spec.parallelism."),
        ({"refit": "f1"}, "spec.refit: must be one of the metrics in spec.scoring, but got 'f1'. spec.scoring names none."),
        ({"errorScore": "raise"}, "A fit that fails is scored NaN; with spec.limits.maxFailedFits: 0 the first one ends the search."),
        ({"error_score": "raise"}, "with spec.limits.maxFailedFits: 0 the first one ends the search."),
        ({"random_state": 0}, "An estimator's stands in its params, that of a random search in spec.search.random.randomState."),
        ({"return_train_score": True}, "Did you mean 'returnTrainScore'?"),
        ({"param_grid": {"C": [1]}}, "scikit-learn's param_grid is spec.search.grid.parameters here."),
        ({"search": {"param_grid": {"C": [1]}}}, "scikit-learn's param_grid is spec.search.grid.parameters here."),
        ({"search": {"random": {"parameters": {"C": [1]}, "n_iter": 3}}}, "scikit-learn's n_iter is spec.search.random.iterations here."),
        ({"search": {"random": {"parameters": {"C": [1]}, "random_state": 3}}}, "Did you mean 'randomState'?"),
        ({"url": "s3://b/x.csv"}, "It is spec.data.url here."),
        ({"data": {"sep": ";", "path": "x.csv", "target": "y"}}, "pandas' sep is spec.data.read.delimiter here."),
        ({"data": {"read": {"dtype": {"a": "str"}}, "path": "x.csv", "target": "y"}}, "pandas' dtype is spec.data.read.dtypes here."),
        ({"crossValidation": 5}, "spec.crossValidation: must be a map, but got 5. Write {folds: 5}."),
        ({"estimator": "sklearn.svm.SVC"}, "spec.estimator: must be a map, but got 'sklearn.svm.SVC'. Write {class: sklearn.svm.SVC}."),
        ({"resources": 2}, "spec.resources: must be a map, but got 2. Its fields: cpu, cpuRequest, memory, memoryLimit."),
        ({"estimator": {"class": "a.B", "params": [1]}}, "spec.estimator.params: must be a map, but got [1]."),
        ({"scoring": ["f1", "recall"]}, "spec.refit: must be given where spec.scoring has several metrics, but got None. Name the one that decides."),
        ({"refit": True}, "spec.refit: must be a string, but got True. The best candidate is always fitted on all the data: name the metric that decides, or leave it out."),
        ({"modelKey": 5}, "spec.modelKey: must be a string, but got 5. Put it in quotes: \"5\"."),
        ({"modelKey": "a b"}, "spec.modelKey: must be a key of letters, digits, -, _ and ., with a letter or a digit at both ends, but got 'a b'."),
        ({"data": {"path": "x.csv", "target": "y", "features": ["y"]}}, "spec.data.target: must be a column that is not among the features, but got 'y'. Remove 'y' from one of them."),
        ({"estimator": {"pipeline": [{"name": "m", "class": "SVC"}]}}, "spec.estimator.pipeline[0].class: must be a dotted path, such as sklearn.svm.SVC, or passthrough, but got 'SVC'. Write the whole path"),
        ({"estimator": {"pipeline": [{"name": "1m", "class": "a.B"}]}}, "spec.estimator.pipeline[0].name: must be a name of letters, digits, _ and -, beginning with a letter or _, but got '1m'."),
        ({"search": {"random": {"parameters": {"C": {"normal": [0, 1]}}}}}, "spec.search.random.parameters.C: must be a list of values, but got {'normal': [0, 1]}. Or one of {range: [start, stop, step]}, {linspace: [start, stop, num]}, {logspace: [start, stop, num]}, {uniform: [low, high]}, {loguniform: [low, high]} and {randint: [low, high]}."),
        ({"search": {"grid": {"parameters": {"C": "np.logspace(-3, 0, 4)"}}}}, "but got 'np.logspace(-3, 0, 4)'. A manifest has no Python. Write {logspace: [-3, 0, 4]}."),
        ({"search": {"grid": {"parameters": {"C": "np.logspace(-3"}}}}, "A manifest has no Python. Write {logspace: [start, stop, num]}."),
        ({"search": {"grid": {"parameters": {"C": "range(1, 9)"}}}}, "Write {range: [1, 9]}."),
        ({"search": {"grid": {"parameters": {"C": "np.arange(1"}}}}, "Write {range: [stop]}."),
    ],
)  # fmt: skip
def test_what_people_write_out_of_habit_is_answered_by_what_is_here(
    iris_forest: dict[str, Any], change: dict[str, Any], want: str
) -> None:
    iris_forest["spec"] |= change
    told = problems_of(iris_forest)
    assert any(want in problem for problem in told), told
    assert not any("valid " in problem or "instance of" in problem for problem in told)


def test_the_name_of_a_manifest_is_told_in_words_with_one_that_would_do(iris_forest: dict[str, Any]) -> None:
    iris_forest["metadata"]["name"] = "My_Search.2"
    (problem,) = problems_of(iris_forest)
    assert problem == (
        "metadata.name: must be a name of lower-case letters, digits and -, with a letter or a digit at both ends, "
        "but got 'My_Search.2'. Write my-search-2."
    )
