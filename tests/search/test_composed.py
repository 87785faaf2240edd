"""Estimators made of others, functions as values, and factories: the manifest makes what is written by hand in Python."""

import sys
from pathlib import Path
from typing import Any

import imblearn.pipeline
import numpy as np
import pandas as pd
import pytest
from imblearn.over_sampling import SMOTE
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import RFE, SelectKBest, f_regression
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, KFold
from sklearn.multioutput import ClassifierChain
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

import tuningjob
from tests.search.own_models import make_model, tamed
from tests.search.searches import journal_in, opened, small, worker
from tests.search.test_written import as_told
from tests.truth import assert_equal_to_the_bit
from tuningjob.errors import ManifestRefused
from tuningjob.manifest import dump_spec, load, load_spec
from tuningjob.manifest.literals import parse_literal
from tuningjob.manifest.spelling import to_json
from tuningjob.search.build import build_estimator, materialise
from tuningjob.search.code_identity import CodeReader
from tuningjob.search.identity import Identities
from tuningjob.search.problem import library_versions, prepare

IRIS = {"loader": "sklearn.datasets.load_iris"}
SCALER = {"class": "sklearn.preprocessing.StandardScaler"}
LOGISTIC = {"class": "sklearn.linear_model.LogisticRegression"}
TREE = {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"max_depth": 3, "random_state": 0}}
MIXED: list[dict[str, Any]] = [
    {
        "name": "numbers",
        "columns": {"dtype": "number"},
        "pipeline": [{"name": "fill", "class": "sklearn.impute.SimpleImputer", "params": {"strategy": "median"}}, {"name": "scale", **SCALER}],
    },
    {"name": "city", "columns": ["city"], "class": "sklearn.preprocessing.OneHotEncoder", "params": {"handle_unknown": "ignore"}},
    {"name": "words", "columns": "text", "class": "sklearn.feature_extraction.text.TfidfVectorizer"},
    {"name": "rest", "columns": {"pattern": "^x_"}, "class": "drop"},
]  # fmt: skip


def mixed() -> ColumnTransformer:
    return ColumnTransformer(
        [
            (
                "numbers",
                Pipeline([("fill", SimpleImputer(strategy="median")), ("scale", StandardScaler())]),
                make_column_selector(dtype_include="number"),
            ),
            ("city", OneHotEncoder(handle_unknown="ignore"), ["city"]),
            ("words", TfidfVectorizer(), "text"),
            ("rest", "drop", make_column_selector(pattern="^x_")),
        ]
    )


ESTIMATORS: dict[str, tuple[dict[str, Any], Any]] = {
    "columns as a step": (
        {"pipeline": [{"name": "prep", "columns": MIXED}, {"name": "model", **LOGISTIC}]},
        Pipeline([("prep", mixed()), ("model", LogisticRegression())]),
    ),
    "columns at the top, and what becomes of the others": (
        {"columns": [{"name": "a", "columns": [0, 2], **SCALER}], "remainder": "passthrough"},
        ColumnTransformer([("a", StandardScaler(), [0, 2])], remainder="passthrough"),
    ),
    "an estimator for the other columns": (
        {"columns": [{"name": "a", "columns": ["a"], "class": "passthrough"}], "remainder": {"pipeline": [{"name": "s", **SCALER}]}},
        ColumnTransformer([("a", "passthrough", ["a"])], remainder=Pipeline([("s", StandardScaler())])),
    ),
    "columns by several types and a pattern": (
        {"columns": [{"name": "a", "columns": {"dtype": ["int64", "float64"], "pattern": "^x"}, **SCALER}]},
        ColumnTransformer([("a", StandardScaler(), make_column_selector(dtype_include=["int64", "float64"], pattern="^x"))]),
    ),
    "a union in a pipeline in a union": (
        {
            "union": [
                {"name": "pca", "class": "sklearn.decomposition.PCA", "params": {"n_components": 2}},
                {"name": "both", "pipeline": [{"name": "s", **SCALER}, {"name": "u", "union": [{"name": "same", "class": "passthrough"}]}]},
            ]
        },
        FeatureUnion([("pca", PCA(n_components=2)), ("both", Pipeline([("s", StandardScaler()), ("u", FeatureUnion([("same", "passthrough")]))]))]),
    ),
    "scikit-learn's own words for it": (
        {
            "class": "sklearn.compose.ColumnTransformer",
            "params": {"transformers": [{"tuple": ["a", SCALER, {"class": "sklearn.compose.make_column_selector", "params": {"dtype_include": "number"}}]}], "n_jobs": 2},
        },
        ColumnTransformer([("a", StandardScaler(), make_column_selector(dtype_include="number"))], n_jobs=2),
    ),
    "the target transformed by functions": (
        {
            "class": "sklearn.compose.TransformedTargetRegressor",
            "params": {
                "regressor": {"pipeline": [{"name": "s", **SCALER}, {"name": "r", "class": "sklearn.linear_model.Ridge"}]},
                "func": {"function": "numpy.log1p"},
                "inverse_func": {"function": "numpy.expm1"},
            },
        },
        TransformedTargetRegressor(Pipeline([("s", StandardScaler()), ("r", Ridge())]), func=np.log1p, inverse_func=np.expm1),
    ),
    "a vote": (
        {"class": "sklearn.ensemble.VotingClassifier", "params": {"estimators": [{"tuple": ["tree", TREE]}, {"tuple": ["bayes", {"class": "sklearn.naive_bayes.GaussianNB"}]}], "voting": "soft"}},
        VotingClassifier([("tree", DecisionTreeClassifier(max_depth=3, random_state=0)), ("bayes", GaussianNB())], voting="soft"),
    ),
    "a stack with a splitter": (
        {
            "class": "sklearn.ensemble.StackingClassifier",
            "params": {
                "estimators": [["tree", TREE], ["scaled", {"pipeline": [{"name": "s", **SCALER}, {"name": "m", **LOGISTIC}]}]],
                "final_estimator": LOGISTIC,
                "cv": {"class": "sklearn.model_selection.KFold", "params": {"n_splits": 3, "shuffle": True, "random_state": 0}},
            },
        },
        StackingClassifier(
            [["tree", DecisionTreeClassifier(max_depth=3, random_state=0)], ["scaled", Pipeline([("s", StandardScaler()), ("m", LogisticRegression())])]],
            final_estimator=LogisticRegression(),
            cv=KFold(3, shuffle=True, random_state=0),
        ),
    ),
    "a calibrated classifier": (
        {"class": "sklearn.calibration.CalibratedClassifierCV", "params": {"estimator": {"class": "sklearn.svm.SVC"}, "method": "isotonic", "cv": 3}},
        CalibratedClassifierCV(SVC(), method="isotonic", cv=3),
    ),
    "a meta-estimator that must be given another": (
        {"class": "sklearn.feature_selection.RFE", "params": {"estimator": TREE, "n_features_to_select": 2}},
        RFE(DecisionTreeClassifier(max_depth=3, random_state=0), n_features_to_select=2),
    ),
    "another, with a parameter of the inner one": (
        {"class": "sklearn.multioutput.ClassifierChain", "params": {"estimator": LOGISTIC, "order": [1, 0], "estimator__C": 2}},
        ClassifierChain(LogisticRegression(C=2), order=[1, 0]),
    ),
    "functions of one's own": (
        {
            "pipeline": [
                {"name": "f", "class": "sklearn.preprocessing.FunctionTransformer", "params": {"func": {"function": "tests.search.own_models.tamed"}}},
                {"name": "k", "class": "sklearn.feature_selection.SelectKBest", "params": {"score_func": {"function": "sklearn.feature_selection.f_regression"}, "k": 2}},
                {"name": "r", "class": "sklearn.linear_model.LinearRegression"},
            ]
        },
        Pipeline([("f", FunctionTransformer(tamed)), ("k", SelectKBest(f_regression, k=2)), ("r", LinearRegression())]),
    ),
    "a class as a value": (
        {"class": "sklearn.preprocessing.OneHotEncoder", "params": {"dtype": {"function": "numpy.float32"}}},
        OneHotEncoder(dtype=np.float32),
    ),
    "kernels": (
        {
            "class": "sklearn.gaussian_process.GaussianProcessRegressor",
            "params": {
                "kernel": {
                    "class": "sklearn.gaussian_process.kernels.Sum",
                    "params": {"k1": {"class": "sklearn.gaussian_process.kernels.RBF", "params": {"length_scale": 2.5}}, "k2": {"class": "sklearn.gaussian_process.kernels.WhiteKernel"}},
                }
            },
        },
        GaussianProcessRegressor(RBF(2.5) + WhiteKernel()),
    ),
    "a function of one's own that makes it": (
        {"factory": "tests.search.own_models.make_model", "params": {"C": 0.5, "scaled": False}},
        make_model(C=0.5, scaled=False),
    ),
}  # fmt: skip


def estimator_of(written: dict[str, Any]) -> Any:
    return build_estimator(
        load_spec(
            {
                "estimator": written,
                "search": {"grid": {"parameters": {"a": [1]}}},
                "data": IRIS,
            }
        ).estimator
    )


@pytest.mark.parametrize("what", ESTIMATORS)
def test_the_manifest_makes_what_is_written_in_python(what: str) -> None:
    written, want = ESTIMATORS[what]
    assert as_told(estimator_of(written)) == as_told(want)


@pytest.mark.parametrize("what", [what for what, (written, _) in ESTIMATORS.items() if "factory" not in written])
def test_the_same_may_stand_wherever_a_value_may(what: str) -> None:
    written, want = ESTIMATORS[what]
    literal = parse_literal(written, "p")
    assert as_told(materialise(literal, "p")) == as_told(want)
    assert parse_literal(to_json(literal), "p") == literal


@pytest.mark.slow
def test_a_search_of_columns_is_scikit_learns_to_the_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(
        {"a": rng.normal(size=60), "city": rng.choice(["Ulm", "Bonn"], 60), "x_b": rng.normal(size=60)}
    )
    frame["text"] = [" ".join(rng.choice(["good", "bad", "late"], 4)) for _ in range(60)]
    frame["y"] = (frame["a"] + rng.normal(size=60) > 0).astype(int)
    frame.loc[::7, "a"] = np.nan
    frame.to_csv(tmp_path / "t.csv", index=False)
    grid = {
        "model__C": [0.1, 1],
        "prep__numbers__fill__strategy": ["mean", "median"],
        "prep__words": ["drop", TfidfVectorizer()],
    }
    written = {**grid, "prep__words": ["drop", {"class": "sklearn.feature_extraction.text.TfidfVectorizer"}]}
    problem = prepare(
        load_spec(
            {
                "estimator": ESTIMATORS["columns as a step"][0],
                "search": {"grid": {"parameters": written}},
                "data": {"path": "t.csv", "target": "y"},
                "crossValidation": {"folds": 3},
            }
        ),
        tmp_path,
    )
    X = pd.read_csv(tmp_path / "t.csv")
    want = GridSearchCV(ESTIMATORS["columns as a step"][1], grid, cv=3).fit(X.drop(columns="y"), X["y"])

    assert problem.identities.estimator_digest == prepare(problem.spec, tmp_path).identities.estimator_digest

    with journal_in(tmp_path) as journal:
        opened(journal, problem)
        ours = worker(journal, problem)
        assert ours.evaluate_all()
        results, _, _ = ours.finish(tmp_path / "out")
    assert_equal_to_the_bit(results.cv_results, want.cv_results_)


REFUSALS: dict[str, tuple[dict[str, Any], str]] = {
    "a part without a name": ({"union": [{"name": "u", "union": [{**SCALER}]}]}, "spec.estimator.union[0].union[0].name: must be a name of letters"),
    "a step that is two": ({"pipeline": [{"name": "a", "pipeline": [{"name": "b", "union": [], **SCALER}]}]}, "spec.estimator.pipeline[0].pipeline[0]: must be with one of class, pipeline, columns, union"),
    "no columns": ({"pipeline": [{"name": "a", "columns": [{"name": "b", **SCALER}]}]}, "spec.estimator.pipeline[0].columns[0].columns: must be names of columns, {dtype: number}, or {pattern: TEXT}"),
    "columns by what there is not": ({"columns": [{"name": "b", "columns": {"type": "number"}, **SCALER}]}, "spec.estimator.columns[0].columns: must be names of columns"),
    "a name twice": ({"pipeline": [{"name": "a", "union": [{"name": "b", **SCALER}, {"name": "b", **SCALER}]}]}, "spec.estimator.pipeline[0].union[1].name: must be a name that is there once"),
    "a remainder of a pipeline": ({"pipeline": [{"name": "b", **SCALER}], "remainder": "drop"}, "spec.estimator: must be with remainder only beside columns"),
    "a class that is none, deep": ({"pipeline": [{"name": "a", "columns": [{"name": "b", "columns": ["x"], "class": "sklearn.preprocessing.StandardScalar"}]}]}, "spec.estimator.pipeline[0].columns[0].class: must be an estimator's class that sklearn.preprocessing has, but got 'sklearn.preprocessing.StandardScalar'. Did you mean 'StandardScaler'?"),
    "a parameter that is none, deep": ({"pipeline": [{"name": "a", "union": [{"name": "b", "class": "sklearn.decomposition.PCA", "params": {"components": 1}}]}]}, "spec.estimator.pipeline[0].union[0].params.components: must be a parameter of sklearn.decomposition.PCA"),
    "a parameter of another class": ({"class": "sklearn.svm.SVC", "params": {"C": {"class": "sklearn.compose.make_column_selector", "params": {"dtype": "number"}}}}, "spec.estimator.params.C.params.dtype: must be a parameter of sklearn.compose.make_column_selector"),
    "no transformer": ({"union": [{"name": "a", "class": "sklearn.svm.SVC"}]}, "spec.estimator.union: must be a union that scikit-learn accepts, but got ['a']. It says: All estimators should implement fit and transform."),
    "a function that is none": ({"class": "sklearn.preprocessing.FunctionTransformer", "params": {"func": {"function": "numpy.log1"}}}, "spec.estimator.params.func.function: must be a function that numpy has, but got 'numpy.log1'."),
    "a function as a class": ({"class": "sklearn.svm.SVC", "params": {"C": {"class": "numpy.log1p"}}}, "Write {function: numpy.log1p} for the thing itself."),
    "a factory that returns a class": ({"factory": "tests.search.own_models.make_class"}, "It returned the class LogisticRegression: let it return an object of it."),
    "a factory that returns anything": ({"factory": "tests.search.own_models.make_number"}, "spec.estimator.factory: must be a function that returns an estimator with get_params and set_params, but got 'tests.search.own_models.make_number'. It returned 3."),
    "a factory that raises": ({"factory": "tests.search.own_models.make_trouble"}, "RuntimeError: no licence was found (own_models.py, line"),
    "a factory that is none": ({"factory": "tests.search.own_models.NOT_CALLABLE"}, "It is of type int."),
    "an argument that it has not": ({"factory": "tests.search.own_models.make_model", "params": {"c": 1}}, "spec.estimator.params.c: must be a parameter of tests.search.own_models.make_model"),
    "a word for nothing in a pipeline": ({"pipeline": [{"name": "a", "class": "drop"}]}, "spec.estimator.pipeline[0].class: must be a dotted path"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_what_cannot_be_made_is_refused_where_it_stands(what: str) -> None:
    written, want = REFUSALS[what]
    with pytest.raises(ManifestRefused) as refused:
        estimator_of(written)
    assert any(want in str(problem) for problem in refused.value.problems), str(refused.value)


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "name": "a",
        "union": [{"name": "b", "class": "sklearn.svm.SVCs"}, {"name": "c", "class": "sklearn.svm.SVRs"}],
    }
    with pytest.raises(ManifestRefused) as refused:
        estimator_of({"pipeline": [wrong, {"name": "d", "class": "sklearn.svm.SVC", "params": {"c": 1}}]})
    assert [problem.field for problem in refused.value.problems] == [
        "spec.estimator.pipeline[0].union[0].class",
        "spec.estimator.pipeline[0].union[1].class",
        "spec.estimator.pipeline[1].params.c",
    ]


@pytest.mark.parametrize(
    ("params", "reason", "field"),
    [
        ({"max_features": 1}, "ParameterAmbiguous", "estimator.params.max_features"),
        ({"max_depth": "deep"}, "ParameterInvalid", "estimator.params.max_depth"),
        ({"criterion": "entropie"}, "ParameterInvalid", "estimator.params.criterion"),
    ],
)
def test_a_value_that_is_wrong_within_an_estimator_is_told_by_its_own_field(
    params: dict[str, Any], reason: str, field: str
) -> None:
    inner = {"class": "sklearn.ensemble.BaggingClassifier", "params": {"estimator": {**TREE, "params": params}}}
    steps: list[dict[str, Any]] = [{"name": "scale", **SCALER}, {"name": "bag", **inner}]
    with pytest.raises(ManifestRefused) as refused:
        small({"bag__n_estimators": [2]}, pipeline=steps)
    (problem,) = refused.value.problems
    assert (problem.reason, problem.field) == (reason, f"spec.estimator.pipeline[1].params.{field}")


def test_the_code_of_functions_and_factories_is_part_of_the_search() -> None:
    functions = small(
        {"f__validate": [False]},
        pipeline=[
            ESTIMATORS["functions of one's own"][0]["pipeline"][0],
            {"name": "m", **TREE},
        ],
    )
    made = prepare(
        load_spec(
            {
                "estimator": {"factory": "tests.search.own_models.make_model"},
                "search": {"grid": {"parameters": {"model__C": [1]}}},
                "data": IRIS,
            }
        ),
        Path(),
    )
    for problem in (functions, made):
        assert "tests/search/own_models.py" in problem.code.all.parts


def test_another_code_of_a_factory_or_a_function_is_another_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "helper_of_mine.py").write_text("DEPTH = 2\n")
    monkeypatch.syspath_prepend(tmp_path)
    tree = {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}}
    step = {
        "name": "f",
        "class": "sklearn.preprocessing.FunctionTransformer",
        "params": {"func": {"function": "models_of_mine.same"}},
    }
    written = [{"factory": "models_of_mine.make"}, {"pipeline": [step, {"name": "tree", **tree}]}]

    def keys(helper: str) -> list[str | None]:
        (tmp_path / "models_of_mine.py").write_text(
            "from sklearn.pipeline import Pipeline\nfrom sklearn.tree import DecisionTreeClassifier\n"
            f"def same(X):\n    return X{helper}\n"
            "def make():\n    return Pipeline([('tree', DecisionTreeClassifier(random_state=0))])\n"
        )
        found = []
        for estimator in written:
            sys.modules.pop("models_of_mine", None)
            problem = prepare(
                load_spec(
                    {"estimator": estimator, "search": {"grid": {"parameters": {"tree__max_depth": [2]}}}, "data": IRIS}
                ),
                Path(),
            )
            found.append(problem.identities.of(0, 0))
        return found

    before, again, after = keys(""), keys(""), keys(" + 0")
    assert before == again
    assert None not in before
    assert [one != other for one, other in zip(before, after, strict=True)] == [True, True]


@pytest.mark.parametrize("what", ESTIMATORS)
def test_a_fit_of_it_is_known_again(what: str) -> None:
    def digest() -> str:
        reader = CodeReader(library_versions())
        made = estimator_of(ESTIMATORS[what][0])
        return Identities(estimator=made, candidates=[{}], splits=[], setting={}, reader=reader).estimator_digest

    assert digest() == digest() != ""


def test_what_draws_within_another_and_has_no_seed_is_not_known_again() -> None:
    def digest(**params: Any) -> str:
        splitter = {"class": "sklearn.model_selection.StratifiedKFold", "params": params}
        made = estimator_of({"class": "sklearn.linear_model.LogisticRegressionCV", "params": {"cv": splitter}})
        reader = CodeReader(library_versions())
        return Identities(estimator=made, candidates=[{}], splits=[], setting={}, reader=reader).estimator_digest

    assert digest() == digest() != ""
    assert digest(shuffle=True) == ""
    assert digest(shuffle=True, random_state=0) == digest(shuffle=True, random_state=0) != ""
    assert digest(shuffle=True, random_state=0) != digest(shuffle=True, random_state=1)


def test_a_pipeline_of_imbalanced_learns_is_made_and_written() -> None:
    smote = SMOTE(random_state=0)
    made = imblearn.pipeline.Pipeline([("smote", smote), ("tree", DecisionTreeClassifier(max_depth=3, random_state=0))])
    steps = [
        {"tuple": ["smote", {"class": "imblearn.over_sampling.SMOTE", "params": {"random_state": 0}}]},
        {"tuple": ["tree", TREE]},
    ]
    written = {"class": "imblearn.pipeline.Pipeline", "params": {"steps": steps}}
    assert as_told(estimator_of(written)) == as_told(made)
    assert (
        tuningjob.to_manifest(GridSearchCV(made, {"tree__max_depth": [1]}), data=IRIS)["spec"]["estimator"] == written
    )


def test_a_manifest_of_before_is_what_it_was(iris_forest: dict[str, Any]) -> None:
    spec = dump_spec(load(iris_forest).spec)
    assert set(spec["estimator"]) == {"class", "params"}
    iris_forest["spec"]["estimator"] = {"pipeline": [{"name": "scale", **SCALER}, {"name": "tree", **TREE}]}
    written = dump_spec(load(iris_forest).spec)["estimator"]
    assert written == {"pipeline": [{"name": "scale", **SCALER, "params": {}}, {"name": "tree", **TREE}], "params": {}}
    # maps that have the words of the short forms, but not their shape
    plain: list[dict[str, Any]] = [
        {"function": "sigmoid"},
        {"columns": ["a", "b"]},
        {"pipeline": {"a": 1}},
        {"union": []},
    ]
    for value in plain:
        assert materialise(parse_literal(value, "p")) == value
