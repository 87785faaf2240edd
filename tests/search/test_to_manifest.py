"""A search written in Python, as a manifest: read back it is the same search, and what cannot be said is refused with its place."""

import importlib
import json
import math
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest import SkipTest

import numpy as np
import pytest
import scipy.stats
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.ensemble import RandomForestClassifier
from sklearn.exceptions import SkipTestWarning
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import brier_score_loss, fbeta_score, get_scorer, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    LeaveOneOut,
    PredefinedSplit,
    RandomizedSearchCV,
    RepeatedStratifiedKFold,
    ShuffleSplit,
    StratifiedKFold,
    TimeSeriesSplit,
)
from sklearn.model_selection._search_successive_halving import HalvingGridSearchCV, HalvingRandomSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.utils._test_common.instance_generator import _construct_instances
from sklearn.utils.discovery import all_estimators

import tuningjob
from tests.search import own_metrics
from tests.search.own_models import tamed
from tests.search.splitters import Halves
from tests.search.test_written import as_told
from tuningjob.cli import main
from tuningjob.errors import ManifestRefused
from tuningjob.manifest import load
from tuningjob.manifest.canonical import read_yaml, to_yaml
from tuningjob.search.build import build_estimator, load_attribute
from tuningjob.search.problem import prepare_estimator
from tuningjob.search.scoring import scoring_of
from tuningjob.search.space import space_of
from tuningjob.search.splitters import made_splitter

IRIS = {"loader": "sklearn.datasets.load_iris"}
FOREST = RandomForestClassifier(n_estimators=5, random_state=0)
DEPTHS = {"max_depth": [1, None]}
HALVED = ("factor", "resource", "min_resources", "max_resources", "aggressive_elimination")


def spec_of(search: Any, **settings: Any) -> Any:
    """By way of a file, as a person would."""
    document = tuningjob.to_manifest(search, data=IRIS, **settings)
    assert read_yaml(to_yaml(document)) == document
    return load(read_yaml(to_yaml(document))).spec


def assert_the_same(search: Any, spec: Any) -> None:
    """The search that scikit-learn would be given for the manifest is the one that it was written from."""
    assert as_told(build_estimator(spec.estimator)) == as_told(search.estimator)
    made = space_of(spec.search).search_cv(search.estimator)
    assert type(made) is type(search)
    for name in ("param_grid", "param_distributions", "n_iter", "n_candidates", *HALVED):
        if hasattr(search, name):
            assert told(getattr(made, name)) == told(getattr(search, name))
    # of what draws nothing it does not matter
    assert (search.random_state if getattr(search, "random_state", None) is not None else 0) == getattr(
        made, "random_state", 0
    )
    assert spec.return_train_score == search.return_train_score


def told(space: Any) -> Any:
    """A space for a comparison: a dict is a list of one, and whatever has values a list of them."""
    if not isinstance(space, dict | list):
        return as_told(space)
    maps = [space] if isinstance(space, dict) else space
    return [{name: told_values(values) for name, values in sorted(each.items())} for each in maps]


def told_values(values: Any) -> Any:
    if hasattr(values, "rvs"):
        return as_told(values.rvs(size=20, random_state=0).tolist())
    return as_told([value.item() if isinstance(value, np.generic) else value for value in values])


# --- all of scikit-learn, and what people published


def instances(cls: type[Any]) -> Iterator[Any]:
    try:
        yield from _construct_instances(cls)
    except (SkipTest, SkipTestWarning):  # scikit-learn's own tests make none
        assert cls.__name__ == "FrozenEstimator"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_a_search_of_every_estimator_of_scikit_learn_is_read_back_as_it_was() -> None:
    looked_at = 0
    for _, cls in all_estimators():
        for estimator in instances(cls):
            grid = {name: [value] for name, value in estimator.get_params(deep=False).items()} or {"a": [1]}
            search = GridSearchCV(estimator, grid)
            assert_the_same(search, load(tuningjob.to_manifest(search, data=IRIS)).spec)
            looked_at += 1
    assert looked_at > 200


@pytest.mark.slow
@pytest.mark.parametrize("package", ["xgboost", "lightgbm"])
def test_a_search_of_every_estimator_of_xgboost_and_lightgbm_is_read_back_as_it_was(package: str) -> None:
    found = [each for each in vars(importlib.import_module(package)).values() if isinstance(each, type)]
    estimators = [cls for cls in found if issubclass(cls, BaseEstimator)]
    assert len(estimators) >= 4
    for cls in estimators:
        for estimator in (cls(), cls(n_estimators=7, learning_rate=0.5, monotone_constraints=[1, 0], subsample=0.9)):
            grid = {name: [value] for name, value in estimator.get_params(deep=False).items()}
            search = GridSearchCV(estimator, grid)
            assert_the_same(search, load(tuningjob.to_manifest(search, data=IRIS)).spec)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_every_search_that_people_published_can_be_said() -> None:
    published = json.loads((Path(__file__).parents[1] / "data" / "published_searches.json").read_text())["searches"]
    for each in published:
        steps = each["steps"]
        if any(find_spec(path.partition(".")[0]) is None for _, path in steps):
            continue
        made = [(name, load_attribute(path, "", kind="a class")()) for name, path in steps]
        search = GridSearchCV(
            made[0][1] if len(made) == 1 else Pipeline(made), each["grid"], cv=each["cv"], scoring=each["scoring"]
        )
        spec = load(tuningjob.to_manifest(search, data=IRIS)).spec
        assert_the_same(search, spec)
        assert (spec.cross_validation.folds, spec.scoring) == (each["cv"], each["scoring"])
    assert len(published) == 87


# --- each word


SEARCHES: dict[str, Any] = {
    "a pipeline of columns": GridSearchCV(
        Pipeline(
            [
                (
                    "prep",
                    ColumnTransformer(
                        [
                            ("num", make_pipeline(StandardScaler(), FunctionTransformer(np.log1p)), make_column_selector(dtype_include="number")),
                            ("city", OneHotEncoder(), ["city"]),
                            ("odd", "drop", make_column_selector(pattern="^x", dtype_exclude=object)),
                            ("own", FunctionTransformer(tamed), [0]),
                        ],
                        remainder=StandardScaler(),
                    ),
                ),
                ("both", FeatureUnion([("same", "passthrough"), ("s", StandardScaler())])),
                ("clf", LogisticRegression()),
            ]
        ),
        [{"clf__C": np.logspace(-2, 2, 3)}, {"clf": [FOREST, SVC()], "prep__num": ["drop", Pipeline([("s", StandardScaler())])]}],
    ),
    "numbers that mean two things": GridSearchCV(FOREST, {"max_features": [1, 1.0, "sqrt", None], "min_samples_leaf": [1, 0.5]}),
    "of an estimator that is tried": GridSearchCV(Pipeline([("m", SVC())]), {"m": [FOREST], "m__max_features": [1, 1.0]}),
    "a range, a tuple, booleans of numpy's": GridSearchCV(
        FOREST, {"max_depth": range(1, 9, 2), "bootstrap": np.array([True]), "max_samples": (0.5, None)}
    ),
    "train scores": GridSearchCV(FOREST, DEPTHS, return_train_score=True),
    "arrays": GridSearchCV(RidgeCV(alphas=np.logspace(-1, 1, 3)), {"alphas": [np.array([1.0, 2.5]), (1, 2)]}),
    "distributions": RandomizedSearchCV(
        SVC(),
        {"C": scipy.stats.loguniform(1e-2, 1e3), "gamma": scipy.stats.uniform(0.1, 0.7), "degree": scipy.stats.randint(low=1, high=5), "kernel": ["rbf"]},
        n_iter=7,
        random_state=3,
    ),
    "several maps that are drawn from": RandomizedSearchCV(
        SVC(), [{"C": scipy.stats.uniform()}, {"C": [1, 2], "gamma": scipy.stats.reciprocal(a=1, b=2)}], random_state=1
    ),
    "ours": tuningjob.GridSearchCV(FOREST, DEPTHS),
    "halved": HalvingGridSearchCV(FOREST, DEPTHS, random_state=3, factor=2, max_resources=90, min_resources=30, return_train_score=False),
    "halved by a parameter, which needs no seed": HalvingGridSearchCV(SVC(), {"C": [1, 2]}, resource="max_iter", max_resources=90, cv=3),
    "halved of what is drawn": HalvingRandomSearchCV(SVC(), {"C": scipy.stats.uniform(0, 2)}, n_candidates=8, factor=1.5, random_state=1, aggressive_elimination=True),
}  # fmt: skip


@pytest.mark.parametrize("what", SEARCHES)
def test_a_search_is_read_back_as_it_was(what: str) -> None:
    search, spec = SEARCHES[what], spec_of(SEARCHES[what])
    prepare_estimator(spec)
    if isinstance(search, tuningjob.GridSearchCV):
        search = GridSearchCV(FOREST, DEPTHS)
    assert_the_same(search, spec)


def test_what_has_a_short_form_is_written_in_it() -> None:
    estimator = SEARCHES["a pipeline of columns"].estimator
    written = tuningjob.to_manifest(GridSearchCV(estimator, {"clf__C": [1]}), data=IRIS)["spec"]["estimator"][
        "pipeline"
    ]
    assert written[0]["columns"][0] == {
        "name": "num",
        "columns": {"dtype": "number"},
        "pipeline": [
            {"name": "standardscaler", "class": "sklearn.preprocessing.StandardScaler"},
            {
                "name": "functiontransformer",
                "class": "sklearn.preprocessing.FunctionTransformer",
                "params": {"func": {"function": "numpy.log1p"}},
            },
        ],
    }
    assert written[1]["union"][0] == {"name": "same", "class": "passthrough"}


SPLITTERS = [
    KFold(3),
    StratifiedKFold(4, shuffle=True, random_state=1),
    RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=0),
    ShuffleSplit(5, test_size=0.3, random_state=2),
    TimeSeriesSplit(4, gap=2, max_train_size=9),
    LeaveOneOut(),
    GroupKFold(3),
    Halves(),
]


@pytest.mark.parametrize("cv", SPLITTERS, ids=lambda cv: type(cv).__name__)
def test_a_splitter_divides_the_data_as_it_did(cv: Any) -> None:
    groups = np.arange(20) % 5 if isinstance(cv, GroupKFold) else None
    spec = spec_of(GridSearchCV(FOREST, DEPTHS, cv=cv)) if not isinstance(cv, GroupKFold) else None
    if spec is None:
        document = tuningjob.to_manifest(
            GridSearchCV(FOREST, DEPTHS, cv=cv), data={"path": "t.csv", "target": "y"}, groups="who"
        )
        spec = load(document).spec
        assert spec.cross_validation.groups == "who"
    made = made_splitter(spec.cross_validation)
    X, y = np.zeros((20, 1)), np.arange(20) % 2
    found, want = ([(list(train), list(test)) for train, test in each.split(X, y, groups)] for each in (made, cv))
    assert (type(made), found) == (type(cv), want)


def test_numbers_of_numpys_are_numbers() -> None:
    search = RandomizedSearchCV(FOREST, DEPTHS, n_iter=np.int32(2), random_state=np.int64(1))
    assert (spec_of(search).search.random.iterations, spec_of(search).search.random.random_state) == (2, 1)


def test_a_number_of_folds_and_none_are_what_they_were() -> None:
    assert spec_of(GridSearchCV(FOREST, DEPTHS, cv=np.int64(7))).cross_validation.folds == 7
    assert spec_of(GridSearchCV(FOREST, DEPTHS)).cross_validation.folds == 5


SCORINGS: dict[str, tuple[Any, Any]] = {
    "a name": ("f1_macro", True),
    "a list": (["accuracy", "f1_macro"], "accuracy"),
    "a tuple": (("accuracy", "f1_macro"), "f1_macro"),
    "names of one's own": ({"a": "accuracy", "b": "f1_macro"}, "b"),
    "functions": (
        {
            "f2": make_scorer(fbeta_score, average="macro", beta=2),
            "loss": make_scorer(brier_score_loss, greater_is_better=False, response_method="predict_proba"),
            "own": own_metrics.cost,
        },
        "f2",
    ),
    "a scorer of scikit-learn's by its object": ({"a": get_scorer("roc_auc_ovr")}, "a"),
}


@pytest.mark.parametrize("what", SCORINGS)
def test_metrics_are_what_they_were(what: str) -> None:
    scoring, refit = SCORINGS[what]
    spec = spec_of(GridSearchCV(RandomForestClassifier(n_estimators=2), DEPTHS, scoring=scoring, refit=refit))
    _, _, scorer = prepare_estimator(spec)
    found = scoring_of(spec, scorer)
    if isinstance(scoring, dict):
        assert {key: repr(each) for key, each in found.items()} == {key: repr(each) for key, each in scoring.items()}
    else:
        assert found == (list(scoring) if isinstance(scoring, tuple) else scoring)
    assert spec.refit == (refit if refit is not True else None)


def test_a_scorer_alone_keeps_the_names_of_the_columns() -> None:
    spec = spec_of(GridSearchCV(FOREST, DEPTHS, scoring=make_scorer(fbeta_score, beta=2, average="macro")))
    assert spec.metrics.keys == ("score",)


# --- what cannot be said


class Closed(BaseEstimator):
    """Keeps something that no literal has."""

    def __init__(self, lock: Any = None) -> None:
        self.lock = lock


REFUSED: dict[str, tuple[Any, str]] = {
    "a lambda": (
        GridSearchCV(make_pipeline(FunctionTransformer(lambda X: X), SVC()), {"svc__C": [1]}),
        "estimator.steps[0][1].func: must be what a manifest can say, but got tests.search.test_to_manifest.<lambda>. Put a named",
    ),
    "a generator of random numbers": (
        GridSearchCV(FOREST, {"random_state": [0, np.random.RandomState(0)]}),
        "param_grid['random_state'][1]: must be what a manifest can say, but got RandomState(MT19937). Give an integer as seed.",
    ),
    "an array of objects": (GridSearchCV(OneHotEncoder(categories=[np.array(["a"], dtype=object)]), {"drop": [None]}), "estimator.categories[0]: must be what a manifest can say, but got array(['a'], dtype=object). Write a list: its tolist()."),
    "a slice": (GridSearchCV(ColumnTransformer([("a", "drop", slice(0, 2))]), {"n_jobs": [1]}), "estimator.transformers[0][2]: must be what a manifest can say, but got slice(0, 2, None). Write a list of what it selects."),
    "anything": (GridSearchCV(Closed(object()), DEPTHS), "estimator.lock: must be what a manifest can say, but got <object object>. A manifest says objects"),
    "what set_output did": (
        GridSearchCV(make_pipeline(StandardScaler(), SVC()).set_output(transform="pandas"), {"svc__C": [1]}),
        "estimator.get_params()['standardscaler']: must be an estimator that is no more than its parameters, but got a StandardScaler with set_output",
    ),
    "splits in a list": (GridSearchCV(FOREST, DEPTHS, cv=[([0, 1], [2])]), "cv: must be a number of folds, or a splitter, but got a list. Give the data a column"),
    "a generator of splits": (GridSearchCV(FOREST, DEPTHS, cv=iter([])), "cv: must be a number of folds, or a splitter, but got a list_iterator"),
    "folds of each row": (GridSearchCV(FOREST, DEPTHS, cv=PredefinedSplit([0, 1])), "crossValidation: {predefined: COLUMN}"),
    "a splitter without a seed": (GridSearchCV(FOREST, DEPTHS, cv=ShuffleSplit(3)), "cv.random_state: must be an integer for a splitter that draws, but got None"),
    "groups that nobody named": (GridSearchCV(FOREST, DEPTHS, cv=GroupKFold(3)), "groups: must be given for GroupKFold, which divides by groups, but got None. Name the column: groups=COLUMN."),
    "a random search without a seed": (RandomizedSearchCV(FOREST, DEPTHS), "random_state: must be an integer, but got None. Every pod must draw the same candidates."),
    "another distribution": (RandomizedSearchCV(FOREST, {"max_depth": scipy.stats.norm()}, random_state=0), "param_distributions['max_depth']: must be a list, or one of scipy.stats' uniform, loguniform and randint"),
    "one that is shifted": (RandomizedSearchCV(FOREST, {"max_depth": scipy.stats.randint(1, 3, loc=1)}, random_state=0), "must be a distribution between two bounds"),
    "a rule in Python": (GridSearchCV(FOREST, DEPTHS, refit=lambda _: 0), "refit: must be True, or the name of the metric that decides"),
    "a scorer of nowhere": (GridSearchCV(FOREST, DEPTHS, scoring=lambda *_: 0), "scoring: must be a function that can be imported, but got tests.search.test_to_manifest.<lambda>"),
    "a metric of nowhere": (GridSearchCV(FOREST, DEPTHS, scoring={"a": make_scorer(lambda *_: 0)}), "scoring['a']._score_func: must be a function that can be imported"),
    "an error that ends the search": (GridSearchCV(FOREST, DEPTHS, error_score="raise"), "error_score: must be nan, but got 'raise'. A fit that fails is scored NaN."),
    "no search": (FOREST, "search: must be a GridSearchCV or RandomizedSearchCV"),
    "samples that nobody seeded": (HalvingGridSearchCV(FOREST, DEPTHS), "random_state: must be an integer, but got None. Every pod must take the same samples."),
    "so many candidates as the data allow": (HalvingRandomSearchCV(FOREST, DEPTHS, random_state=0), "n_candidates: must be a number, but got 'exhaust'. A manifest says how many are drawn"),
    "several metrics of which none decides": (GridSearchCV(FOREST, DEPTHS, scoring=["accuracy", "f1"], refit=False), "spec.refit: must be given where spec.scoring has several metrics"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_a_manifest_cannot_say_is_refused_with_its_place_and_the_remedy(what: str) -> None:
    search, want = REFUSED[what]
    with pytest.raises(ManifestRefused) as refused:
        tuningjob.to_manifest(search, data=IRIS)
    assert want in str(refused.value)


class Trouble:
    """Whoever looks at it has it."""

    def __getattribute__(self, name: str) -> Any:
        if name != "__class__":
            raise RuntimeError(name)
        return Trouble

    def __repr__(self) -> str:
        raise RuntimeError("nothing to be seen")


def test_what_raises_when_it_is_looked_at_is_refused_as_anything_is() -> None:
    trouble: Any = Trouble()
    for search in (
        GridSearchCV(Closed(trouble), {"lock": [trouble]}),
        GridSearchCV(FOREST, {"max_depth": trouble}),
        GridSearchCV(FOREST, DEPTHS, cv=trouble),
        RandomizedSearchCV(FOREST, {"max_depth": trouble}, random_state=0),
    ):
        with pytest.raises(ManifestRefused, match="Trouble"):
            tuningjob.to_manifest(search, data=IRIS)


def test_all_of_it_is_told_at_once() -> None:
    search = GridSearchCV(
        FunctionTransformer(lambda X: X), {"a": 3, "b": [print, tamed, lambda: 0]}, cv=ShuffleSplit(3)
    )
    with pytest.raises(ManifestRefused) as refused:
        tuningjob.to_manifest(search, data=IRIS)
    assert [problem.field for problem in refused.value.problems] == [
        "estimator.func",
        "param_grid['a']",
        "param_grid['b'][2]",
        "cv.random_state",
    ]


def test_the_bounds_of_a_uniform_distribution_are_found_to_the_bit() -> None:
    rng = np.random.default_rng(0)
    for loc, scale in rng.uniform(0, 1, size=(50, 2)):
        search = RandomizedSearchCV(SVC(), {"C": scipy.stats.uniform(loc, scale)}, random_state=0)
        near = [math.nextafter(loc + scale, way) for way in (-math.inf, loc + scale, math.inf)]
        if any(high - loc == scale for high in near):
            assert_the_same(search, load(tuningjob.to_manifest(search, data=IRIS)).spec)
            continue
        with pytest.raises(ManifestRefused, match="must be a distribution between two bounds"):
            tuningjob.to_manifest(search, data=IRIS)


# --- from a script

SCRIPT = """
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

class Mine(LogisticRegression):
    pass

churn_search = GridSearchCV(Mine(max_iter=200), {"C": [0.1, 1.0]}, cv=3)

if __name__ == "__main__":
    raise SystemExit("it was run")
"""


def test_a_script_is_written_as_a_manifest_that_runs_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my_script.py").write_text(SCRIPT)
    data = "{path: t.csv, target: 'y'}"
    with pytest.raises(SystemExit) as ended:
        main(["manifest", f"{tmp_path / 'my_script.py'}:churn_search", "--data", data])
    told = capsys.readouterr()
    assert (ended.value.code, told.err) == (0, "")
    assert read_yaml(told.out) == {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": "churn-search"},
        "spec": {
            "estimator": {"class": "my_script.Mine", "params": {"max_iter": 200}},
            "search": {"grid": {"parameters": {"C": [0.1, {"float": 1}]}}},
            "crossValidation": {"folds": 3},
            "data": {"path": "t.csv", "target": "y"},
        },
    }


@pytest.mark.parametrize(
    ("script", "target", "want"),
    [
        (SCRIPT, "my_script.py:churn_serch", "must be a name that my_script.py has, but got 'churn_serch'. Did you mean 'churn_search'?"),
        ("1 / 0", "my_script.py:search", "ZeroDivisionError: division by zero (my_script.py, line 1, in <module>)"),
        (SCRIPT, "my_script.py", "must be a script and a name in it, such as script.py:search"),
        (SCRIPT, "other.py:search", "must be a script that is there"),
        (SCRIPT, "my_script.py:Mine", "search: must be a GridSearchCV or RandomizedSearchCV"),
    ],
)  # fmt: skip
def test_a_script_that_has_no_search_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], script: str, target: str, want: str
) -> None:
    (tmp_path / "my_script.py").write_text(script)
    with pytest.raises(SystemExit) as ended:
        main(["manifest", f"{tmp_path}/{target}", "--data", "{path: t.csv, target: label}"])
    assert (ended.value.code, want in capsys.readouterr().err.replace("\n", " ")) == (2, True)
