"""The answer is scikit-learn's, to the bit."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import scipy.stats
from sklearn.model_selection import ParameterSampler, RandomizedSearchCV
from sklearn.preprocessing import MinMaxScaler

from tests.conftest import example
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob import local
from tuningjob.manifest import TuningJob, load
from tuningjob.search.problem import SearchProblem, prepare
from tuningjob.search.stop import Stop
from tuningjob.search.written import from_literals

# each of another kind: regression without a scorer, a step replaced, failing candidates, sparse text-like counts, ties, NaN scores
SEARCHES: dict[str, dict[str, Any]] = {
    "ridge on diabetes": {
        "estimator": {"class": "sklearn.linear_model.Ridge"},
        "search": {"grid": {"parameters": {"alpha": {"logspace": [-3, 3, 7]}, "fit_intercept": [True, False]}}},
        "data": {"loader": "sklearn.datasets.load_diabetes"},
    },
    "logistic regression or a tree as the last step": {
        "estimator": {
            "pipeline": [
                {"name": "scale", "class": "sklearn.preprocessing.StandardScaler"},
                {"name": "model", "class": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 300}},
            ]
        },
        "search": {
            "grid": {
                "parameters": [
                    {"model__C": [0.01, 1, 100], "scale": ["passthrough", {"class": "sklearn.preprocessing.MinMaxScaler"}]},
                    {"model": [{"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 3}}], "model__max_depth": [None, 2]},
                ]
            }
        },
        "data": {"loader": "sklearn.datasets.load_wine"},
        "scoring": "f1_macro",
        "returnTrainScore": True,
        "crossValidation": {"folds": 3},
    },
    "a grid with candidates that cannot be fitted": {
        "estimator": {"class": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 200}},
        "search": {"grid": {"parameters": {"solver": ["lbfgs", "liblinear"], "C": [-1, 1, 10]}}},
        "data": {"loader": "sklearn.datasets.load_breast_cancer"},
        "returnTrainScore": True,
    },
    "nearest neighbours with a scorer on probabilities": {
        "estimator": {"class": "sklearn.neighbors.KNeighborsClassifier"},
        "search": {"grid": {"parameters": {"n_neighbors": {"range": [1, 20, 3]}, "weights": ["uniform", "distance"]}}},
        "data": {"loader": "sklearn.datasets.load_digits"},
        "scoring": "neg_log_loss",
        "crossValidation": {"folds": 4},
    },
    "drawn from distributions and lists": {
        "estimator": {
            "pipeline": [
                {"name": "scale", "class": "sklearn.preprocessing.StandardScaler"},
                {"name": "svc", "class": "sklearn.svm.SVC"},
            ]
        },
        "search": {
            "random": {
                "parameters": {
                    "svc__C": {"loguniform": [0.01, 100]},
                    "svc__gamma": {"uniform": [0, 0.1]},
                    "svc__degree": {"randint": [2, 5]},
                    "svc__kernel": ["rbf", "poly", "linear"],
                    "scale": ["passthrough", {"class": "sklearn.preprocessing.MinMaxScaler"}],
                },
                "iterations": 15,
                "randomState": 7,
            }
        },
        "data": {"loader": "sklearn.datasets.load_wine"},
        "scoring": "accuracy",
    },
    "drawn from lists without replacement": {
        "estimator": {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"random_state": 0}},
        "search": {
            "random": {
                "parameters": {"n_estimators": [5, 10, 20], "max_depth": {"range": [1, 9]}, "max_features": [{"float": 1}, "sqrt"]},
                "iterations": 20,
            }
        },
        "data": {"loader": "sklearn.datasets.load_iris"},
        "returnTrainScore": True,
        "crossValidation": {"folds": 3},
    },
    "drawn from two maps and not always valid": {
        "estimator": {"class": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 200}},
        "search": {
            "random": {
                "parameters": [{"solver": ["lbfgs"], "C": {"uniform": [-1, 1]}}, {"solver": ["liblinear"], "tol": [0.1, 0.01]}],
                "iterations": 12,
                "randomState": 1,
            }
        },
        "data": {"loader": "sklearn.datasets.load_breast_cancer"},
    },
    "an empty grid": {
        "estimator": {"class": "sklearn.naive_bayes.GaussianNB"},
        "search": {"grid": {"parameters": {}}},
        "data": {"loader": "sklearn.datasets.load_iris"},
    },
}  # fmt: skip

QUICK = {
    "ridge on diabetes",
    "a grid with candidates that cannot be fitted",
    "drawn from two maps and not always valid",
    "an empty grid",
}


def manifest(name: str, spec: dict[str, Any]) -> Any:
    return load(
        {
            "apiVersion": "tuningjob.dev/v1alpha1",
            "kind": "TuningJob",
            "metadata": {"name": "-".join(name.split())},
            "spec": {"resources": {"cpu": 2}, "baseline": False, **spec},
        }
    )


@dataclass(frozen=True)
class Searched:
    """The same search by scikit-learn, and on this machine, where its files are in ``folder``."""

    problem: SearchProblem
    want: Any
    outcome: local.FinishedSearch
    folder: Path


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Callable[[TuningJob], Searched]:
    """Each search once, whatever the tests ask of it."""
    found: dict[str, Searched] = {}

    def search(job: TuningJob) -> Searched:
        name = job.metadata.name
        if name not in found:
            folder = tmp_path_factory.mktemp(name)
            problem, want = sklearn_search_of(job.spec)
            outcome = local.run(job, folder=folder, output=folder, stop=Stop())
            found[name] = Searched(problem, want, outcome, folder)
        return found[name]

    return search


Search = Callable[[TuningJob], Searched]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iris-forest", "breast-cancer-svc"])
def test_the_examples_on_this_machine_are_equal_to_scikit_learns(name: str, searched: Search) -> None:
    """The two searches that the cluster's tests run, too: there with all of the trees, here with a tenth, which share as many fits."""
    document = example(f"{name}.yaml")
    if name == "iris-forest":
        document["spec"]["search"]["grid"]["parameters"]["n_estimators"] = [5, 10, 20]
    found = searched(load(document))
    want, outcome = found.want, found.outcome

    assert_equal_to_the_bit(outcome.results.cv_results, want.cv_results_)
    assert (outcome.results.best_index, outcome.results.best_score) == (want.best_index_, want.best_score_)
    assert outcome.results.best_params == want.best_params_


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in SEARCHES]
)
def test_a_search_on_this_machine_is_equal_to_scikit_learns(name: str, searched: Search) -> None:
    found = searched(manifest(name, SEARCHES[name]))
    want, outcome = found.want, found.outcome

    assert_equal_to_the_bit(outcome.results.cv_results, want.cv_results_)
    assert outcome.results.best_index == want.best_index_
    assert repr(outcome.results.best_params) == repr(want.best_params_)
    assert outcome.results.best_score == want.best_score_
    assert outcome.results.failed_fits == int(
        np.isnan([want.cv_results_[f"split{i}_test_score"] for i in range(want.n_splits_)]).sum()
    )


def test_what_is_drawn_is_what_scikit_learn_draws_from_scipys_distributions(tmp_path: Path) -> None:
    """Written out by hand, for the other tests have their distributions from the code that they test."""
    problem = prepare(manifest("drawn", SEARCHES["drawn from distributions and lists"]).spec, tmp_path)
    by_hand = {
        "svc__C": scipy.stats.loguniform(0.01, 100),
        "svc__gamma": scipy.stats.uniform(0, 0.1),
        "svc__degree": scipy.stats.randint(2, 5),
        "svc__kernel": ["rbf", "poly", "linear"],
        "scale": ["passthrough", MinMaxScaler()],
    }
    assert repr(list(problem.candidates)) == repr(list(ParameterSampler(by_hand, 15, random_state=7)))

    problem = prepare(manifest("drawn", SEARCHES["drawn from lists without replacement"]).spec, tmp_path)
    lists = {"n_estimators": [5, 10, 20], "max_depth": list(range(1, 9)), "max_features": [1.0, "sqrt"]}
    assert repr(list(problem.candidates)) == repr(list(ParameterSampler(lists, 20, random_state=0)))


@pytest.mark.slow
def test_a_random_search_leaves_a_fitted_randomized_search_behind(searched: Search) -> None:
    name = "drawn from lists without replacement"
    done = searched(manifest(name, SEARCHES[name]))
    want = done.want

    found = joblib.load(done.folder / "search.joblib")
    assert isinstance(found, RandomizedSearchCV)
    assert (found.n_iter, found.random_state) == (20, 0)
    assert repr(found.param_distributions) == repr(want.param_distributions)
    assert_equal_to_the_bit(found.cv_results_, want.cv_results_)
    best = from_literals(json.loads((done.folder / "best_params.json").read_text(encoding="utf-8")))
    assert repr(best) == repr(dict(sorted(want.best_params_.items())))


@pytest.mark.slow
def test_the_files_hold_the_same_numbers_and_the_model_predicts_the_same(
    breast_cancer_svc: dict[str, Any], searched: Search
) -> None:
    done = searched(load(breast_cancer_svc))
    problem, want = done.problem, done.want

    csv = pd.read_csv(done.folder / "cv_results.csv")
    with pq.ParquetFile(done.folder / "cv_results.parquet", pre_buffer=False) as file:
        parquet = file.read(use_threads=False).to_pandas(use_threads=False)
    for name, values in want.cv_results_.items():
        if "score" in name and not name.endswith("_time"):
            np.testing.assert_array_equal(csv[name].to_numpy(), values, err_msg=name)
            np.testing.assert_array_equal(parquet[name].to_numpy(), values, err_msg=name)
    assert list(csv["param_svc__C"]) == [0.1, 1, 10, 0.1, 0.1, 1, 1, 10, 10]
    model = joblib.load(done.folder / "model.joblib")
    np.testing.assert_array_equal(model.decision_function(problem.data.X), want.decision_function(problem.data.X))
