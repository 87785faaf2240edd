"""What only scikit-learn and the data can tell of a manifest is told before anything starts."""

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tuningjob.errors import ManifestRefused
from tuningjob.manifest import load
from tuningjob.search.problem import SearchProblem, prepare


def prepared(document: dict[str, Any], folder: Path = Path()) -> SearchProblem:
    return prepare(load(document).spec, folder)


def refusal(document: dict[str, Any], folder: Path = Path()) -> str:
    with pytest.raises(ManifestRefused) as refused:
        prepared(document, folder)
    return str(refused.value)


@pytest.fixture
def table(tmp_path: Path, iris_forest: dict[str, Any]) -> dict[str, Any]:
    """A manifest on a CSV file in ``tmp_path``."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(60, 3)), columns=["width", "height", "depth"])
    frame["label"] = rng.integers(0, 2, 60)
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet", index=False)
    iris_forest["spec"]["data"] = {"path": "t.csv", "target": "label"}
    return iris_forest


def test_an_unknown_class_is_refused_with_the_nearest_name(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["estimator"]["class"] = "sklearn.ensemble.RandomForrestClassifier"
    assert refusal(iris_forest) == (
        "spec.estimator.class: must be an estimator's class that sklearn.ensemble has, but got "
        "'sklearn.ensemble.RandomForrestClassifier'. Did you mean 'RandomForestClassifier'?"
    )


def test_an_unknown_module_is_refused_with_the_nearest_name(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["estimator"]["class"] = "sklearn.ensembel.RandomForestClassifier"
    assert "There is no module 'sklearn.ensembel' here. Did you mean 'ensemble'?" in refusal(iris_forest)


def test_a_function_is_no_estimator(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["estimator"] = {"class": "sklearn.metrics.accuracy_score"}
    assert "spec.estimator.class: must be a class with scikit-learn's get_params" in refusal(iris_forest)


def test_a_parameter_that_the_estimator_lacks_is_refused_with_the_nearest_name(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["search"]["grid"]["parameters"]["max_dept"] = [3]
    assert refusal(iris_forest) == (
        "spec.search.grid.parameters.max_dept: must be a parameter of the estimator, but got 'max_dept'. Did you mean 'max_depth'?"
    )


def test_a_fixed_parameter_that_a_step_lacks_is_refused(breast_cancer_svc: dict[str, Any]) -> None:
    breast_cancer_svc["spec"]["estimator"]["pipeline"][1]["params"] = {"gama": 1}
    assert refusal(breast_cancer_svc).startswith(
        "spec.estimator.pipeline[1].params.gama: must be a parameter of sklearn.svm.SVC, but got 'gama'. Did you mean 'gamma'?"
    )


@pytest.mark.parametrize("value", [1, 1.0])
def test_a_number_that_means_two_things_is_refused_with_both_spellings(
    iris_forest: dict[str, Any], value: float
) -> None:
    iris_forest["spec"]["search"]["grid"]["parameters"]["max_features"] = [value, 0.5]
    assert refusal(iris_forest) == (
        "spec.search.grid.parameters.max_features[0]: must be a number that can mean only one thing, but got 1. "
        "Write {int: 1} for a count, or {float: 1} for a fraction."
    )


def test_a_number_that_means_two_things_is_refused_among_fixed_parameters(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["estimator"]["params"]["max_features"] = 1
    assert refusal(iris_forest).startswith(
        "spec.estimator.params.max_features: must be a number that can mean only one thing"
    )


def test_tagged_numbers_keep_their_type(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["search"]["grid"]["parameters"] = {"max_features": [{"int": 1}, {"float": 1}, {"float": "1.0"}]}
    values = [params["max_features"] for params in prepared(iris_forest).candidates]
    assert [(type(value), value) for value in values] == [(int, 1), (float, 1.0), (float, 1.0)]


def test_a_scorer_that_the_estimator_cannot_serve_is_refused(breast_cancer_svc: dict[str, Any]) -> None:
    breast_cancer_svc["spec"]["scoring"] = "neg_log_loss"
    assert refusal(breast_cancer_svc).startswith(
        "spec.scoring: must be a scorer that the estimator can serve (neg_log_loss needs predict_proba), "
        "but got an estimator without predict_proba."
    )


def test_an_unknown_scorer_is_refused_with_the_nearest_name(breast_cancer_svc: dict[str, Any]) -> None:
    breast_cancer_svc["spec"]["scoring"] = "acuracy"
    assert "but got 'acuracy'. Did you mean 'accuracy'?" in refusal(breast_cancer_svc)


def test_folds_that_the_data_cannot_fill_are_refused(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["crossValidation"] = {"folds": 60}
    assert refusal(iris_forest).startswith(
        "spec.crossValidation.folds: must be a number of folds that the 150 samples can fill, but got 60."
    )


def test_a_missing_target_column_is_refused_with_the_nearest_name(table: dict[str, Any], tmp_path: Path) -> None:
    table["spec"]["data"]["target"] = "lable"
    assert (
        refusal(table, tmp_path)
        == "spec.data.target: must be a column of t.csv, but got 'lable'. Did you mean 'label'?"
    )


def test_a_missing_feature_column_is_refused(table: dict[str, Any], tmp_path: Path) -> None:
    table["spec"]["data"]["features"] = ["width", "hieght"]
    assert refusal(table, tmp_path).startswith(
        "spec.data.features[1]: must be a column of t.csv, but got 'hieght'. Did you mean 'height'?"
    )


def test_a_missing_file_is_refused_with_the_nearest_name(table: dict[str, Any], tmp_path: Path) -> None:
    table["spec"]["data"]["path"] = "tt.csv"
    assert refusal(table, tmp_path).endswith("but got 'tt.csv'. Did you mean 't.csv'?")


def test_a_file_that_is_none_of_its_format_is_refused(table: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_text("no parquet")
    table["spec"]["data"]["path"] = "t.parquet"
    assert refusal(table, tmp_path).startswith("spec.data.path: must be a parquet file that can be read")


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_every_other_column_is_a_feature_unless_features_are_named(
    table: dict[str, Any], tmp_path: Path, name: str
) -> None:
    table["spec"]["data"]["path"] = name
    assert list(prepared(table, tmp_path).data.X.columns) == ["width", "height", "depth"]
    table["spec"]["data"]["features"] = ["depth", "width"]
    assert list(prepared(table, tmp_path).data.X.columns) == ["depth", "width"]


def test_data_without_a_seed_is_refused_for_every_pod_would_make_another(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["data"] = {"loader": "sklearn.datasets.make_classification"}
    assert refusal(iris_forest).startswith("spec.data.params.random_state: must be an integer, but got None.")


def test_the_digest_of_the_data_is_the_same_each_time_and_another_for_other_data(iris_forest: dict[str, Any]) -> None:
    first = prepared(iris_forest).preflight.data_digest
    assert prepared(iris_forest).preflight.data_digest == first
    iris_forest["spec"]["data"] = {"loader": "sklearn.datasets.load_wine"}
    assert prepared(iris_forest).preflight.data_digest != first


def test_estimators_may_be_values_and_their_parameters_may_be_searched(breast_cancer_svc: dict[str, Any]) -> None:
    breast_cancer_svc["spec"]["search"]["grid"]["parameters"] = [
        {"scaler": ["passthrough", {"class": "sklearn.preprocessing.MinMaxScaler"}], "svc__C": [1]},
        {
            "svc": [{"class": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 500}}],
            "svc__l1_ratio": [0.5],
        },
    ]
    candidates = list(prepared(breast_cancer_svc).candidates)
    assert [type(candidate.get("svc", candidate.get("scaler"))).__name__ for candidate in candidates] == [
        "str",
        "MinMaxScaler",
        "LogisticRegression",
    ]


def test_a_parameter_that_one_of_the_estimators_tried_lacks_is_refused(breast_cancer_svc: dict[str, Any]) -> None:
    tried = [{"class": "sklearn.svm.SVC"}, {"class": "sklearn.linear_model.LogisticRegression"}]
    breast_cancer_svc["spec"]["search"]["grid"]["parameters"] = {"svc": tried, "svc__gamma": [0.1]}
    assert refusal(breast_cancer_svc) == (
        "spec.search.grid.parameters.svc__gamma: must be a parameter of each estimator that is tried there, but got 'svc__gamma'. "
        "LogisticRegression lacks it: give it a map of its own in the list."
    )


def test_a_parameter_of_a_step_that_is_also_passed_through_is_refused(breast_cancer_svc: dict[str, Any]) -> None:
    parameters = {
        "scaler": ["passthrough", {"class": "sklearn.preprocessing.StandardScaler"}],
        "scaler__with_mean": [True],
    }
    breast_cancer_svc["spec"]["search"]["grid"]["parameters"] = parameters
    assert "passthrough lacks it: give it a map of its own in the list." in refusal(breast_cancer_svc)


def test_a_number_that_means_two_things_to_an_estimator_that_is_tried_is_refused(
    breast_cancer_svc: dict[str, Any],
) -> None:
    tried = [{"class": "sklearn.ensemble.RandomForestClassifier", "params": {"random_state": 0}}]
    breast_cancer_svc["spec"]["search"]["grid"]["parameters"] = {"svc": tried, "svc__max_features": [1]}
    assert "svc__max_features[0]: must be a number that can mean only one thing" in refusal(breast_cancer_svc)


def test_a_name_below_what_is_no_estimator_is_refused(breast_cancer_svc: dict[str, Any]) -> None:
    breast_cancer_svc["spec"]["search"]["grid"]["parameters"] = {"svc__C__deep": [1]}
    assert "svc__C__deep: must be a parameter of the estimator" in refusal(breast_cancer_svc)


# --- classes whose parameters nobody lists, and classes that are hidden


@pytest.fixture
def takes_any(iris_forest: dict[str, Any]) -> dict[str, Any]:
    iris_forest["spec"]["estimator"] = {"class": "tests.search.estimators.TakesAny", "params": {"verbose": -1}}
    iris_forest["spec"]["search"]["grid"]["parameters"] = {"max_depth": [2, 3], "max_bin": [31, 255]}
    return iris_forest


def test_a_parameter_that_a_class_takes_by_kwargs_may_be_fixed_and_tried(takes_any: dict[str, Any]) -> None:
    problem = prepared(takes_any)
    assert problem.estimator.get_params() == {"max_depth": None, "verbose": -1}
    assert [dict(candidate)["max_bin"] for candidate in problem.candidates] == [31, 31, 255, 255]


def test_a_parameter_that_such_a_class_refuses_is_refused(takes_any: dict[str, Any]) -> None:
    takes_any["spec"]["search"]["grid"]["parameters"]["worth_bad"] = [1]
    assert "parameters.worth_bad: must be a parameter of the estimator, but got 'worth_bad'." in refusal(takes_any)
    takes_any["spec"]["estimator"]["params"] = {"verbose_bad": 1}
    assert "spec.estimator.params.verbose_bad: must be a parameter of tests.search.estimators.TakesAny" in refusal(
        takes_any
    )


def test_where_any_name_is_taken_one_that_is_nearly_a_listed_one_is_warned_of(takes_any: dict[str, Any]) -> None:
    assert not [text for text in prepared(takes_any).warnings if "ParameterUnknown" in text]
    takes_any["spec"]["estimator"]["params"]["max_depht"] = 3
    takes_any["spec"]["search"]["grid"]["parameters"] = {"mox_depth": [1, 2]}
    assert [text for text in prepared(takes_any).warnings if "ParameterUnknown" in text] == [
        "ParameterUnknown: spec.estimator.params.max_depht: TakesAny takes any name, and does not list 'max_depht'. Did you mean 'max_depth'?",
        "ParameterUnknown: spec.search.grid.parameters.mox_depth: TakesAny takes any name, and does not list 'mox_depth'. Did you mean 'max_depth'?",
    ]


def test_it_may_be_drawn_stand_in_a_pipeline_and_be_put_there_by_the_grid(takes_any: dict[str, Any]) -> None:
    model = {"name": "model", **takes_any["spec"]["estimator"]}
    takes_any["spec"]["estimator"] = {
        "pipeline": [{"name": "scale", "class": "sklearn.preprocessing.StandardScaler"}, model]
    }
    parameters = {"model__max_bin": {"randint": [31, 255]}, "model__max_depth": [2, 3]}
    takes_any["spec"]["search"] = {"random": {"parameters": parameters, "iterations": 2}}
    assert all(31 <= dict(candidate)["model__max_bin"] < 255 for candidate in prepared(takes_any).candidates)
    placed = [{"class": "tests.search.estimators.TakesAny"}, {"class": "sklearn.svm.SVC"}]
    takes_any["spec"]["search"] = {"grid": {"parameters": {"model": placed[:1], "model__max_bin": [31]}}}
    prepared(takes_any)
    takes_any["spec"]["search"] = {"grid": {"parameters": {"model": placed, "model__max_bin": [31]}}}
    assert (
        "must be a parameter of each estimator that is tried there, but got 'model__max_bin'. SVC lacks it"
        in refusal(takes_any)
    )


def test_a_name_that_goes_to_a_class_inside_an_estimator_is_for_the_estimator_to_judge(
    takes_any: dict[str, Any],
) -> None:
    takes_any["spec"]["estimator"] = {"class": "tests.search.estimators.Net", "params": {"module__units": 3}}
    takes_any["spec"]["search"]["grid"]["parameters"] = {"module__layers": [1, 2]}
    assert prepared(takes_any).estimator.get_params()["module__units"] == 3
    takes_any["spec"]["search"]["grid"]["parameters"] = {"module__layers_bad": [1, 2]}
    assert "must be a parameter of the estimator, but got 'module__layers_bad'" in refusal(takes_any)


@pytest.mark.parametrize("library", ["lightgbm.LGBMClassifier", "catboost.CatBoostClassifier"])
def test_parameters_of_real_libraries_that_nobody_lists_are_taken(library: str, iris_forest: dict[str, Any]) -> None:
    import_module("tests.lone_catboost")
    params = {"lightgbm": {"verbose": -1}, "catboost": {"verbose": 0, "iterations": 5}}[library.partition(".")[0]]
    iris_forest["spec"]["estimator"] = {"class": library, "params": params}
    iris_forest["spec"]["search"]["grid"]["parameters"] = {"max_bin": [31, 255], "learning_rate": [0.1]}
    assert len(prepared(iris_forest).candidates) == 2


EXPERIMENTAL = {
    "sklearn.impute.IterativeImputer": {"class": "sklearn.impute.IterativeImputer", "params": {"random_state": 0}},
    "sklearn.model_selection.HalvingGridSearchCV": {
        "class": "sklearn.model_selection.HalvingGridSearchCV",
        "params": {"estimator": {"class": "sklearn.svm.SVC"}, "param_grid": {"C": [1, 10]}},
    },
    "sklearn.model_selection.HalvingRandomSearchCV": {
        "class": "sklearn.model_selection.HalvingRandomSearchCV",
        "params": {"estimator": {"class": "sklearn.svm.SVC"}, "param_distributions": {"C": [1, 10]}},
    },
}


# each in a fork of one interpreter, which itself hears of none
FORKS = """
import json, os, sys
from tuningjob.manifest.estimator import Estimator
from tuningjob.search.build import build_estimator
for document in json.loads(sys.argv[1]):
    if not os.fork():
        print(type(build_estimator(Estimator.model_validate(document))).__name__, flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.mark.slow
def test_an_experimental_class_is_found_in_a_process_that_never_heard_of_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FORKS, json.dumps([*EXPERIMENTAL.values()])],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stdout.split(), done.stderr) == ([path.rpartition(".")[2] for path in EXPERIMENTAL], "")


def test_whatever_a_modules_getattr_raises_is_a_refusal(iris_forest: dict[str, Any]) -> None:
    for name in ("Runtime", "Exits", "Imports", "Recurses"):
        iris_forest["spec"]["estimator"]["class"] = f"tests.search.raising_module.{name}"
        message = refusal(iris_forest)
        assert (
            f"spec.estimator.class: must be an estimator's class that can be imported, but got 'tests.search.raising_module.{name}'. Importing it says: "
            in message
        )
    iris_forest["spec"]["estimator"]["class"] = "tests.search.raising_module.Absent"
    assert "tests.search.raising_module has no 'Absent'." in refusal(iris_forest)


def test_keys_that_no_dict_can_have_are_refused(iris_forest: dict[str, Any]) -> None:
    iris_forest["spec"]["estimator"]["params"] = {"class_weight": {"dict": [[[0], 1]]}}
    assert "spec.estimator.params.class_weight.dict: must be keys that a dict can have, but got [0]." in refusal(
        iris_forest
    )
