"""Each thing that cannot be searched is refused by a reason of its own, before anything starts."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import make_pipeline
from sklearn.utils.discovery import all_estimators

from tests.search.searches import small
from tests.search.test_metrics import job
from tests.search.test_metrics import spec as asks
from tuningjob import local
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.data import Data
from tuningjob.search.build import load_attribute
from tuningjob.search.constraints import invalid_within
from tuningjob.search.data import load_data
from tuningjob.search.findings import findings
from tuningjob.search.paths import whole_path
from tuningjob.search.pilot import run_pilot
from tuningjob.search.problem import prepare
from tuningjob.search.stop import Stop

TREE = "sklearn.tree.DecisionTreeClassifier"
SVC = "sklearn.svm.SVC"


def problem_of(parameters: Any = None, **spec: Any) -> Problem:
    with pytest.raises(ManifestRefused) as refused:
        small(parameters, **spec)
    return refused.value.problems[0]


def table(folder: Path, label: list[Any]) -> dict[str, Any]:
    pd.DataFrame({"width": [0.5 * i for i in range(len(label))], "label": label}).to_csv(folder / "t.csv", index=False)
    return {"path": "t.csv", "target": "label"}


@pytest.mark.parametrize(
    ("spec", "reason"),
    [
        ({"estimator": "sklearn.tree.DecisionTree"}, "CodeImport"),
        ({"estimator": "sklearn.trees.DecisionTree"}, "CodeImport"),
        ({"estimator": "sklearn.metrics.accuracy_score"}, "CodeImport"),
        ({"params": {"max_dept": 1}}, "ParameterUnknown"),
        ({"params": {"max_features": 1}}, "ParameterAmbiguous"),
        ({"params": {"criterion": "entropie"}}, "ParameterInvalid"),
        ({"scoring": "acuracy"}, "ScorerUnknown"),
        ({"estimator": SVC, "scoring": "neg_log_loss"}, "ParameterUnknown"),
        ({"estimator": "sklearn.linear_model.RidgeClassifier", "scoring": "neg_log_loss"}, "ParameterUnknown"),
        ({"data": {"path": "nowhere.csv", "target": "label"}}, "DataLoad"),
        ({"data": {"loader": "sklearn.datasets.load_irises"}}, "CodeImport"),
        ({"data": {"loader": "sklearn.datasets.make_classification"}}, "DataUnseeded"),
        ({"data": {"loader": "sklearn.datasets.make_classification", "params": {"random_state": 0, "n_samples": -1}}}, "DataLoad"),
        ({"crossValidation": {"folds": 60}}, "ClassCounts"),
        ({"estimator": "sklearn.tree.DecisionTreeRegressor", "crossValidation": {"folds": 151}}, "FoldsUnfillable"),
    ],
)  # fmt: skip
def test_each_kind_of_problem_has_a_reason(spec: dict[str, Any], reason: str) -> None:
    assert problem_of({"max_depth": [1, 2]}, **spec).reason == reason


def test_a_scorer_that_the_estimator_cannot_serve_has_its_reason() -> None:
    assert problem_of({"C": [1, 2]}, estimator=SVC, scoring="neg_log_loss").reason == "ScorerMismatch"


def test_what_importing_says_is_told_with_its_place() -> None:
    problem = problem_of({"max_depth": [1]}, estimator="tests.search.broken_module.Tree")
    assert str(problem) == (
        "spec.estimator.class: must be an estimator's class that can be imported, but got 'tests.search.broken_module.Tree'. "
        "Importing it says: RuntimeError: no licence was found (broken_module.py, line 3, in <module>)."
    )


def test_a_module_that_ends_its_importer_is_refused_and_no_success() -> None:
    problem = problem_of({"max_depth": [1]}, estimator="tests.search.leaving_module.Tree")
    assert (problem.reason, "SystemExit: 0" in problem.advice) == ("CodeImport", True)


@pytest.mark.parametrize(
    ("loader", "told"),
    [
        ("broken_loader", "It says: RuntimeError: the warehouse is closed (estimators.py, line"),
        ("leaving_loader", "It says: SystemExit: 0 (estimators.py, line"),
        ("uneven_loader", "It has 3 rows and 2 targets."),
    ],
)
def test_a_loader_that_fails_is_refused_with_what_it_says(loader: str, told: str) -> None:
    with pytest.raises(ManifestRefused) as refused:
        load_data(from_loader(loader), Path())
    (problem,) = refused.value.problems
    assert problem.reason == "DataLoad"
    assert told in problem.advice


def test_texts_are_data_too() -> None:
    data = load_data(from_loader("texts"), Path())
    assert (data.samples, data.features) == (40, 1)
    words = make_pipeline(TfidfVectorizer(), MultinomialNB())
    assert list(findings([words], data)) == []
    (warning,) = findings([MultinomialNB()], data)
    assert warning.startswith("NonNumericData: 1 features are no numbers (texts)")


def from_loader(name: str) -> Data:
    """As of a manifest, which may name scikit-learn's loaders alone."""
    return Data.model_construct(loader=f"tests.search.estimators.{name}", params={})


# --- values


@pytest.mark.parametrize(
    ("spec", "parameters", "told"),
    [
        ({}, {"max_depth": [-1, 0]}, "spec.search.grid.parameters.max_depth: must be an int in the range [1, inf) or None, but got [-1, 0]. scikit-learn would refuse every fit: no value of the list is valid."),
        ({"params": {"criterion": "entropie"}}, {"max_depth": [1]}, "spec.estimator.params.criterion: must be a str among {'"),
        ({}, [{"max_depth": [1]}, {"max_depth": [-1]}], "spec.search.grid.parameters[1].max_depth: must be an int in the range [1, inf) or None, but got [-1]."),
        ({"estimator": SVC, "params": {}}, {"C": [{"float": "-1"}], "kernel": ["rbf"]}, "spec.search.grid.parameters.C: must be a float in the range (0.0, inf], but got [-1.0]."),
    ],
)  # fmt: skip
def test_values_with_which_no_fit_could_be_are_refused_in_scikit_learns_words(
    spec: dict[str, Any], parameters: Any, told: str
) -> None:
    problem = problem_of(parameters, **spec)
    assert problem.reason == "ParameterInvalid"
    assert str(problem).startswith(told)


@pytest.mark.parametrize(
    ("estimator", "parameters", "told"),
    [
        (TREE, {"max_dept": {"randint": [1, 5]}}, "spec.search.random.parameters.max_dept: must be a parameter of the estimator, but got 'max_dept'. Did you mean 'max_depth'?"),
        (TREE, [{"max_depth": [1]}, {"max_dept": [1]}], "spec.search.random.parameters[1].max_dept: must be a parameter of the estimator"),
        (TREE, {"max_features": [1, 2]}, "spec.search.random.parameters.max_features[0]: must be a number that can mean only one thing"),
        (TREE, {"max_depth": {"randint": [-9, 0]}}, "spec.search.random.parameters.max_depth: must be an int in the range [1, inf) or None, but got [-"),
        (SVC, {"C": {"uniform": [-2, -1]}}, "spec.search.random.parameters.C: must be a float in the range (0.0, inf], but got ["),
        (SVC, {"C": {"uniform": [1, 2]}, "C__deeper": [1]}, "spec.search.random.parameters.C__deeper: must be a parameter of the estimator, but got 'C__deeper'"),
    ],
)  # fmt: skip
def test_what_a_random_search_draws_from_is_looked_at_as_a_grid_is(estimator: str, parameters: Any, told: str) -> None:
    random = {"random": {"parameters": parameters, "iterations": 3}}
    assert str(problem_of(estimator=estimator, params={}, search=random)).startswith(told)


def test_only_what_was_drawn_is_judged() -> None:
    """Which values are valid is up to the estimator that was drawn with them, and a bad one that nobody drew hurts nobody."""
    models = [{"class": SVC}, {"class": "sklearn.linear_model.RidgeClassifier"}]
    maps = [
        {"model": [models[0]], "model__tol": {"uniform": [0.1, 0.2]}},
        {"model": [models[1]], "model__tol": [{"float": 0}]},
    ]
    pipeline = [{"name": "model", "class": SVC}]
    drawn = small(pipeline=pipeline, search={"random": {"parameters": maps, "iterations": 20}})
    assert {type(each["model"]).__name__ for each in drawn.candidates} == {"SVC", "RidgeClassifier"}
    assert not [warning for warning in drawn.warnings if warning.startswith("ParameterInvalid")]

    # drawn once, and bad: a pity, but most of the search can be fitted
    unlucky = [
        {"model": [models[0]], "model__C": {"uniform": [-1, 1]}},
        {"model": [models[1]], "model__alpha": {"uniform": [1, 2]}},
    ]
    drawn = small(pipeline=pipeline, search={"random": {"parameters": unlucky, "iterations": 3, "randomState": 1}})
    (value,) = [each["model__C"] for each in drawn.candidates if "model__C" in each]
    assert value < 0
    assert any(
        warning.startswith("ParameterInvalid: spec.search.random.parameters.model__C") for warning in drawn.warnings
    )

    rarely_bad = {"max_depth": [*range(1, 1_000), -1]}
    drawn = small(search={"random": {"parameters": rarely_bad, "iterations": 5}})
    assert -1 not in [each["max_depth"] for each in drawn.candidates]
    assert drawn.warnings == ()


def test_a_drawn_value_that_scikit_learn_would_refuse_is_a_warning() -> None:
    (warning,) = small(
        search={"random": {"parameters": {"max_depth": {"randint": [-5, 6]}}, "iterations": 10}}
    ).warnings
    assert warning.startswith(
        "ParameterInvalid: spec.search.random.parameters.max_depth: must be an int in the range [1, inf)"
    )
    assert warning.endswith("Narrow what is drawn from.")


def test_where_all_that_was_drawn_is_bad_for_one_reason_or_another_the_pilot_has_nothing_to_try() -> None:
    """The search runs, and says why each fit failed: scikit-learn's would, too."""
    maps = [{"max_depth": {"randint": [-9, 0]}}, {"min_samples_leaf": {"randint": [-9, 0]}}]
    drawn = small(search={"random": {"parameters": maps, "iterations": 10}})
    assert len(drawn.warnings) == 2
    assert run_pilot(drawn, n_jobs=1, seconds=5, always=True).pilot is None


def test_more_iterations_than_combinations_are_told_and_each_is_tried_once() -> None:
    drawn = small(search={"random": {"parameters": {"max_depth": [1, 2, 3]}, "iterations": 10}})
    assert sorted(each["max_depth"] for each in drawn.candidates) == [1, 2, 3]
    assert drawn.warnings == (
        "SpaceSmall: spec.search.random.iterations is 10, but there are no more than 3 combinations. Each is tried once, as by spec.search.grid.",
    )  # fmt: skip


def test_parameters_of_steps_and_of_estimators_among_the_values_are_looked_at_too() -> None:
    pipeline: list[dict[str, Any]] = [
        {"name": "scaler", "class": "sklearn.preprocessing.StandardScaler"},
        {"name": "svc", "class": SVC, "params": {"C": -1}},
    ]
    assert problem_of({"svc__gamma": [0.1]}, pipeline=pipeline).field == "spec.estimator.pipeline[1].params.C"
    pipeline[1]["params"] = {}
    tried = [{"class": SVC, "params": {"degree": -1}}]
    assert str(problem_of({"svc": tried}, pipeline=pipeline)).startswith(
        "spec.search.grid.parameters.svc: must be an estimator whose degree is an int in the range [0, inf), but got "
    )


def test_a_bad_value_among_good_ones_is_a_warning_for_scikit_learn_runs_the_others() -> None:
    (warning,) = small({"max_depth": [-1, 2]}).preflight.warnings
    assert warning == (
        "ParameterInvalid: spec.search.grid.parameters.max_depth: must be an int in the range [1, inf) or None, but got -1. "
        "scikit-learn will refuse these fits, which are scored NaN. Take it out of the list."
    )


def test_a_bad_fixed_value_that_every_map_of_the_grid_replaces_hurts_nobody() -> None:
    params = {"max_depth": -1, "random_state": 0}
    assert small({"max_depth": [1, 2]}, params=params).warnings == ()
    (warning,) = small([{"max_depth": [1]}, {"min_samples_leaf": [2]}], params=params).warnings
    assert warning.startswith("ParameterInvalid: spec.estimator.params.max_depth: must be an int")
    assert "In the maps that do not set it" in warning


def test_a_class_whose_own_fit_came_after_the_constraints_may_translate_its_values() -> None:
    assert small({"max_depth": [0]}, estimator="tests.search.estimators.Lenient").warnings == ()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")  # of what is deprecated
def test_no_estimator_of_scikit_learns_is_refused_by_its_defaults() -> None:
    for name, kind in all_estimators():
        try:
            estimator = kind()
        except TypeError:
            continue  # a meta-estimator
        found = list(invalid_within(estimator))
        # which has no default that works
        assert found == [] or name == "SelfTrainingClassifier", name


# --- classes and folds


def test_folds_that_no_class_can_fill_are_refused_with_the_rarest_class(tmp_path: Path) -> None:
    data = table(tmp_path, ["a"] * 3 + ["b"] * 4)
    problem = problem_of({"max_depth": [1]}, data=data, folder=tmp_path)
    assert problem.reason == "ClassCounts"
    assert (problem.field, problem.got) == ("spec.crossValidation.folds", "5")
    assert problem.advice.startswith("The fewest members has class 'a', 3; no class has more than 4.")


def test_a_class_that_some_folds_will_lack_is_a_warning_for_scikit_learn_runs_it(tmp_path: Path) -> None:
    data = table(tmp_path, ["a"] * 3 + ["b"] * 40 + ["c"] * 4)
    (warning,) = small({"max_depth": [1]}, data=data, folder=tmp_path).warnings
    assert warning.startswith("ClassCounts: class 'a' has 3 members, fewer than the 5 folds, and so has 1 other class:")


def test_targets_that_are_missing_are_refused_where_they_are_classes(tmp_path: Path) -> None:
    data = table(tmp_path, [0.0, 1.0, np.nan] * 20)
    problem = problem_of({"max_depth": [1]}, data=data, folder=tmp_path)
    assert str(problem) == (
        "spec.data: must be data whose every target is known, but got 20 of 60 missing. Leave these rows out of the data. "
        "If that is a class: pandas reads NA, N/A, None, null and nan as missing; write another word."
    )
    assert problem.reason == "DataLoad"


# --- what people write out of habit

VECTORISER = "sklearn.feature_extraction.text.TfidfVectorizer"
SCALED = [{"name": "scale", "class": "sklearn.preprocessing.StandardScaler"}, {"name": "model", "class": SVC}]


@pytest.mark.parametrize(
    ("parameters", "spec", "want"),
    [
        ({"C": [1]}, {"pipeline": SCALED}, "must be a parameter of the estimator, but got 'C'. Did you mean 'model__C'?"),
        ({"scale": ["passthrough"], "scale__with_mean": [True]}, {"pipeline": SCALED}, "must be a parameter of each estimator that is tried there, but got 'scale__with_mean'. passthrough lacks it: give it a map of its own in the list."),
        ({"ngram_range": [[1, 1], [1, 2]]}, {"estimator": VECTORISER, "params": {}}, "no value of the list is valid. Write {tuple: [1, 1]}."),
        ({"lowercase": [True]}, {"estimator": VECTORISER, "params": {"ngram_range": [1, 2]}}, "scikit-learn would refuse every fit. Write {tuple: [1, 2]}."),
        ({"validate": [True]}, {"estimator": "sklearn.preprocessing.FunctionTransformer", "params": {"func": "numpy.log1p"}}, "Write {function: numpy.log1p} for a function itself."),
        ({"m__max_depth": [1]}, {"pipeline": [{"name": "s", "class": "tests.search.estimators.Sampler"}, {"name": "m", "class": TREE}]}, "in the place of pipeline write class: imblearn.pipeline.Pipeline, params: {steps: [[name, {class: …}], …]}."),
        ({"max_depth": [1]}, {"scoring": "rmse"}, "Did you mean 'neg_root_mean_squared_error'?"),
        ({"max_depth": [1]}, {"scoring": "neg_rmse"}, "Did you mean 'neg_root_mean_squared_error'?"),
        ({"max_depth": [1]}, {"scoring": "fbeta"}, "It needs a beta: write a map, {fbeta: {function: sklearn.metrics.fbeta_score, params: {beta: 2}}}."),
        ({"max_depth": [1]}, {"scoring": "mymetrics.cost"}, "Write a map: {cost: {function: mymetrics.cost}}, or {scorer: mymetrics.cost} of a scorer."),
        ({"max_depth": [1]}, {"scoring": "zzz"}, "Known: accuracy, adjusted_mutual_info_score, "),
        ({"max_depth": [1]}, {"estimator": "sklearn.RandomForestClassifier"}, "sklearn has no 'RandomForestClassifier'. Write sklearn.ensemble.RandomForestClassifier."),
        ({"max_depth": [1]}, {"estimator": "scikit.learn.SVC"}, "There is no module 'scikit' here. Write sklearn.svm.SVC."),
        ({"pattern": ["a"]}, {"estimator": "sklearn.compose.make_column_selector", "params": {}}, "Another object may be the value of a parameter, but not stand in the place of an estimator."),
    ],
)  # fmt: skip
def test_what_people_write_out_of_habit_is_answered_by_what_is_here(
    parameters: Any, spec: dict[str, Any], want: str
) -> None:
    assert want in str(problem_of(parameters, **spec))


@pytest.mark.slow
def test_every_estimator_of_scikit_learn_is_found_by_its_name_alone() -> None:
    for name, kind in all_estimators():
        path = whole_path(name).removeprefix("Write ").removesuffix(".")
        assert load_attribute(path, "spec.estimator.class", kind="a class") is kind, path
        assert "._" not in path


def test_a_name_that_is_nobodys_has_no_path() -> None:
    assert whole_path("Nothing") == ""
    assert whole_path("RandomForrestClassifier", cutoff=0.8) == "Write sklearn.ensemble.RandomForestClassifier."
    assert whole_path("XGBClassifier") == "Write xgboost.XGBClassifier."


def test_what_is_wrong_in_different_parts_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("age,sick\n" + "".join(f"{i},{i % 2}\n" for i in range(20)))
    asked = asks(
        estimator={"class": "sklearn.tree.DecisionTreeClassifier", "params": {"max_dept": 1}},
        search={"grid": {"parameters": {"criterion": [{"class": "sklearn.svm.SV"}]}}},
        scoring={"a": "acuracy", "b": {"function": "sklearn.metrics.f_score"}},
        refit="a",
        crossValidation={"splitter": {"class": "sklearn.model_selection.KFolds"}},
        data={"path": "t.csv", "target": "sik"},
    )
    with pytest.raises(ManifestRefused) as refused:
        prepare(job(asked).spec, tmp_path)
    assert [problem.field for problem in refused.value.problems] == [
        "spec.estimator.params.max_dept",
        "spec.search.grid.parameters.criterion[0].class",
        "spec.scoring.a",
        "spec.scoring.b.function",
        "spec.crossValidation.splitter.class",
        "spec.data.target",
    ]


@pytest.mark.parametrize(
    ("estimator", "fields"),
    [
        ({"class": TREE, "params": {"max_dept": 1}}, ["params.max_dept"]),
        (
            {
                "pipeline": [
                    {"name": "scale", "class": "sklearn.preprocessing.StandardScaler", "params": {"with_men": True}},
                    {"name": "tree", "class": TREE, "params": {"max_dept": 1, "max_leaf_node": 2}},
                ]
            },
            ["pipeline[0].params.with_men", "pipeline[1].params.max_dept", "pipeline[1].params.max_leaf_node"],
        ),
        (
            {"class": "sklearn.ensemble.BaggingClassifier", "params": {"estimator": {"class": TREE, "params": {"max_dept": 1}}}},
            ["params.estimator.params.max_dept"],
        ),
    ],
)  # fmt: skip
def test_names_that_the_grid_has_wrong_are_told_with_those_that_are_given_once(
    estimator: dict[str, Any], fields: list[str]
) -> None:
    with pytest.raises(ManifestRefused) as refused:
        prepare(job(asks(estimator=estimator, search={"grid": {"parameters": {"criterium": ["gini"]}}})).spec, Path())
    assert [problem.field for problem in refused.value.problems] == [
        *(f"spec.estimator.{field}" for field in fields),
        "spec.search.grid.parameters.criterium",
    ]


@pytest.mark.parametrize("is_given_once", [False, True])
def test_values_that_scikit_learn_would_refuse_are_told_with_wrong_names_and_with_what_means_two_things(
    is_given_once: bool,
) -> None:
    given = {"criterion": "entropie"} | ({"max_dept": 1} if is_given_once else {})
    tried = {"min_samples_leaf": [0, -1], "max_features": [1], "min_sample_split": [2]}
    asked = asks(estimator={"class": TREE, "params": given}, search={"grid": {"parameters": tried}})
    with pytest.raises(ManifestRefused) as refused:
        prepare(job(asked).spec, Path())
    grid = "spec.search.grid.parameters"
    assert [(problem.field, problem.reason) for problem in refused.value.problems] == [
        *([("spec.estimator.params.max_dept", "ParameterUnknown")] if is_given_once else []),
        (f"{grid}.max_features[0]", "ParameterAmbiguous"),
        (f"{grid}.min_sample_split", "ParameterUnknown"),
        ("spec.estimator.params.criterion", "ParameterInvalid"),
        (f"{grid}.min_samples_leaf", "ParameterInvalid"),
    ]


def test_targets_of_numbers_beside_text_are_refused_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "age,sick,old\n" + "".join(f"{i},{'yes' if i % 2 else 'no'},{i % 3}\n" for i in range(20))
    )
    data = {"path": "t.csv", "target": ["sick", "old"]}
    problem = problem_of({"max_depth": [1]}, data=data, folder=tmp_path)
    assert str(problem).startswith(
        "spec.data.target: must be labels of one kind: all of them numbers, or all of them text, but got ['sick', 'old']. "
        "scikit-learn says: TypeError: '<' not supported between instances of 'int' and 'str'"
    )


def test_weights_and_groups_that_are_missing_are_told_at_once(tmp_path: Path) -> None:
    rows = "".join(f"{i},{i % 2},{i % 5 if i > 2 else ''},{i or ''}\n" for i in range(20))
    (tmp_path / "t.csv").write_text(f"age,sick,patient,weight\n{rows}")
    data = {"path": "t.csv", "target": "sick", "features": ["age"], "sampleWeight": "weight"}
    with pytest.raises(ManifestRefused) as refused:
        prepare(job(asks(data=data, crossValidation={"folds": 3, "groups": "patient"})).spec, tmp_path)
    assert [(problem.field, problem.advice.partition(":")[0]) for problem in refused.value.problems] == [
        ("spec.data.sampleWeight", "1 of 20 are missing."),
        ("spec.crossValidation.groups", "3 of its 20 values are missing"),
    ]


@pytest.mark.slow
def test_a_scorer_that_does_not_fit_the_target_leaves_no_begun_search(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("age,sick\n" + "".join(f"{i},{'yes' if i % 2 else 'no'}\n" for i in range(40)))
    output = tmp_path / "results" / "metrics"

    def run(**changes: Any) -> None:
        asked = job(asks(**{"data": {"path": "t.csv", "target": "sick"}, **changes}))
        local.run(asked, folder=tmp_path, output=output, stop=Stop())

    def refused() -> None:
        told = r"spec.scoring: must be one that some fit can be scored by, but got 'r2'"
        with pytest.raises(ManifestRefused, match=told):
            run(scoring="r2")

    refused()
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    # nor in a folder that is there, nor in a journal that has others
    output.mkdir(parents=True)
    refused()
    assert [path.name for path in output.iterdir()] == [".lock"]
    run()
    refused()
    with closing(sqlite3.connect(output / "tuning.db")) as database:
        assert database.execute("SELECT count(*) FROM searches").fetchall() == [(1,)]
