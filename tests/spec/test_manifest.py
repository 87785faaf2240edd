"""What a manifest says, and how one is refused."""

from typing import Any

import pytest

from tuningjob.errors import ManifestRefused
from tuningjob.spec import dump_spec, load, load_file, load_spec


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
        ("resources", {"memory": "lots"}, "spec.resources.memory: must be a positive Kubernetes quantity of memory such as 512Mi or 2Gi, but got 'lots'."),
        ("resources", {"memory": "-1Gi"}, "spec.resources.memory: must be a positive Kubernetes quantity"),
        ("resources", {"cpu": 1.5}, "spec.resources.cpu: must be a positive Kubernetes quantity of CPU such as 2 or 500m, but got 1.5."),
        ("resources", {"cpu": "0"}, "spec.resources.cpu: must be a positive Kubernetes quantity of CPU"),
        ("paralelism", 2, "spec.paralelism: must be a known field, but got an unknown one. Did you mean 'parallelism'?"),
        ("parallelism", 0, "spec.parallelism: must be greater than or equal to 1, but got 0."),
        ("parallelism", "2", "spec.parallelism: must be a valid integer, but got '2'."),
        ("crossValidation", {"folds": 1}, "spec.crossValidation.folds: must be greater than or equal to 2, but got 1."),
        ("crossValidation", {"fold": 3}, "spec.crossValidation.fold: must be a known field, but got an unknown one. Did you mean 'folds'?"),
        ("data", {}, "spec.data: must be either a loader or a path"),
        ("data", {"loader": "os.system"}, "spec.data: must be with a loader of sklearn.datasets"),
        ("data", {"path": "x.csv"}, "spec.data: must be with a target beside a path"),
        ("data", {"path": "../x.csv", "target": "y"}, "spec.data: must be with a path that stays below its folder"),
        ("data", {"path": "x.txt", "target": "y"}, "spec.data.path: must be a file that ends in .csv or .parquet"),
        ("data", {"path": "x.csv", "target": "y", "persistentVolumeClaim": "a", "configMap": "b"}, "spec.data: must be with persistentVolumeClaim or configMap, not both"),
        ("data", {"path": "x.csv", "target": True}, "spec.data.target: must be a string, but got True. Put it in quotes: to kubectl a bare y"),
        ("estimator", {}, "spec.estimator: must be either a pipeline or a class"),
        ("estimator", {"pipeline": []}, "spec.estimator.pipeline: "),
        ("estimator", {"class": "SVC"}, "spec.estimator.class: must be text that matches"),
        ("reuse", "yes", "spec.reuse: must be a valid boolean, but got 'yes'."),
        ("artifacts", {"compression": "zip"}, "spec.artifacts.compression: must be 'none', 'lz4', 'gzip' or 'xz', but got 'zip'."),
        ("artifacts", {"compress": "xz"}, "spec.artifacts.compress: must be a known field, but got an unknown one. Did you mean 'compression'?"),
        ("search", {"grid": {"parameters": {"C": []}}}, "spec.search.grid.parameters.C: must be a list with at least one value, but got []."),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_with_field_must_be_and_got(
    iris_forest: dict[str, Any], path: str, value: Any, want: str
) -> None:
    iris_forest["spec"][path] = value
    assert any(problem.startswith(want) for problem in problems_of(iris_forest)), problems_of(iris_forest)


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
    assert "must be a list of steps whose names have no '__'" in problems_of(breast_cancer_svc)[0]
