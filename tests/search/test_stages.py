"""Searches by stages are scikit-learn's, to the bit: on a laptop, by several workers, and resumed."""

from pathlib import Path
from typing import Any

import joblib
import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.metrics import fbeta_score, make_scorer
from sklearn.model_selection import HalvingGridSearchCV
from sklearn.tree import DecisionTreeClassifier

from tests.search.coming_back import assert_comes_back
from tests.search.test_metrics import job, spec
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob import local
from tuningjob.errors import ManifestRefused, SearchFailed
from tuningjob.manifest import load_file
from tuningjob.search.stop import Stop
from tuningjob.search.to_manifest import to_manifest
from tuningjob.sizing import size_of

TREES = {"max_depth": [1, 2, 3, None], "min_samples_leaf": [5, 20, 60]}
FOREST = {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"random_state": 0}}
HALVINGS: dict[str, dict[str, Any]] = {
    "a grid": spec(search={"grid": {"parameters": TREES}, "halving": {}}, returnTrainScore=True),
    "drawn at random": spec(
        search={
            "random": {
                "parameters": {"max_depth": {"randint": [1, 9]}, "min_samples_leaf": [1, 5]},
                "iterations": 7,
                "randomState": 3,
            },
            "halving": {"factor": 2, "minResources": "smallest"},
        },
        scoring="f1",
    ),
    "a parameter is the resource": spec(
        estimator=FOREST,
        search={
            "grid": {"parameters": {"max_depth": [1, 2, 3], "min_samples_leaf": [1, 9]}},
            "halving": {"resource": "n_estimators", "maxResources": 12, "minResources": 2},
        },
    ),
    "aggressively, by another seed": spec(
        search={
            "grid": {"parameters": TREES},
            "halving": {"aggressiveElimination": True, "minResources": 150, "factor": 2.5, "randomState": 7},
        },
        crossValidation={"folds": 3, "shuffle": True, "randomState": 1},
    ),
}


def ended(asked: dict[str, Any], folder: Path) -> local.FinishedSearch:
    return local.run(job(asked), folder=folder, output=folder / "results", stop=Stop())


@pytest.mark.slow
def test_halving_by_a_metric_with_parameters_is_scikit_learns_with_that_scorer(tmp_path: Path) -> None:
    f2 = {"function": "sklearn.metrics.fbeta_score", "params": {"beta": 2}}
    asked = spec(search={"grid": {"parameters": TREES}, "halving": {}}, scoring={"score": f2})
    outcome = ended(asked, tmp_path)
    settings = {"random_state": 0, "cv": 3, "return_train_score": False}
    want = HalvingGridSearchCV(
        DecisionTreeClassifier(random_state=0), TREES, scoring=make_scorer(fbeta_score, beta=2), **settings
    ).fit(*load_breast_cancer(return_X_y=True))
    assert_equal_to_the_bit(outcome.results.cv_results, want.cv_results_)
    assert (outcome.answer.best_index, outcome.answer.best_score) == (want.best_index_, want.best_score_)
    assert repr(joblib.load(tmp_path / "results/search.joblib").scoring) == repr(want.scoring)
    # and the manifest of that search is this one
    written = to_manifest(want, data={"loader": "sklearn.datasets.load_breast_cancer"})["spec"]
    assert written["scoring"] == asked["scoring"]


@pytest.mark.slow
@pytest.mark.parametrize("name", HALVINGS)
def test_halving_is_scikit_learns(name: str, tmp_path: Path) -> None:
    outcome = ended(HALVINGS[name], tmp_path)
    _, want = sklearn_search_of(job(HALVINGS[name]).spec)
    assert_equal_to_the_bit(outcome.results.cv_results, want.cv_results_)
    found = joblib.load(tmp_path / "results/search.joblib")
    assert type(found) is type(want)
    others = {"cv_results_", "refit_time_", "param_distributions", "best_estimator_", "scorer_", "_checked_cv_orig"}
    for attribute in sorted(vars(want)):
        if attribute not in others:
            assert repr(getattr(found, attribute)) == repr(getattr(want, attribute)), attribute
    assert outcome.answer.best_index == want.best_index_
    assert_comes_back(job(HALVINGS[name]).spec, tmp_path / "results", found)
    size = size_of(job(HALVINGS[name]).spec)
    assert size.candidates < outcome.size.candidates <= size.candidates + size.later


@pytest.mark.slow
def test_the_example_is_what_the_manual_says_of_it(examples: Path, tmp_path: Path) -> None:
    manifest = load_file(examples / "halving-svc.yaml")
    outcome = local.run(manifest, folder=examples, output=tmp_path, stop=Stop())
    assert (size_of(manifest.spec).candidates, outcome.size.fits) == (30, 46 * 5)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "several metrics": (
        {"scoring": ["accuracy", "f1"], "refit": "f1"},
        "spec.scoring: must be the name of one scorer, a map with the one key score, or left out, beside spec.search.halving, but got 'several metrics or a map'.",
    ),
    "a selection": (
        {"select": {"fastestWithin": 0.1}},
        "spec: must be without select and baseline beside search.halving",
    ),
    "a resource that is no parameter": (
        {"search": {"halving": {"resource": "trees", "maxResources": 5}}},
        "spec.search.halving: must be settings that scikit-learn's halving search takes, but got",
    ),
    "a resource that is tuned": (
        {"search": {"halving": {"resource": "max_depth", "maxResources": 5}}},
        "Cannot use parameter max_depth as the resource since it is part of the searched parameters.",
    ),
    "a parameter without its most": (
        {"search": {"halving": {"resource": "max_leaf_nodes"}}},
        "spec.search.halving: must be with maxResources where the resource is a parameter",
    ),
    "a least above the most": (
        {"search": {"halving": {"minResources": 500, "maxResources": 100}}},
        "min_resources_=500 is greater than max_resources_=100.",
    ),
    "more fits than are allowed, with those of later rounds": (
        {"search": {"halving": {}}, "limits": {"maxFits": 40}},
        "12 candidates × 3 folds = 36 fits, and at most 18 in later rounds",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_no_halving_search_is_is_refused(name: str, tmp_path: Path) -> None:
    changes, sentence = REFUSED[name]
    search = {"grid": {"parameters": TREES}, "halving": {}, **changes.get("search", {})}
    with pytest.raises(ManifestRefused) as refused:
        ended(spec(**{**changes, "search": search}), tmp_path)
    assert sentence in str(refused.value)
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_it_ends_where_every_fit_of_a_round_fails(tmp_path: Path) -> None:
    # the first round has a resource with which the estimator can be fitted, the second has none
    asked = spec(
        estimator={"class": "tests.search.estimators.FailsBeyond"},
        search={
            "grid": {"parameters": {"depth": [1, 2, 3, 4]}},
            "halving": {"factor": 2, "resource": "size", "minResources": 2, "maxResources": 8},
        },
    )
    with pytest.raises(SearchFailed, match="all 6 fits failed"):
        ended(asked, tmp_path)
    # and the same command does it anew, for what is mended by then
    with pytest.raises(SearchFailed, match="all 6 fits failed"):
        ended(asked, tmp_path)


@pytest.mark.slow
def test_the_same_command_has_the_answer_of_before(tmp_path: Path) -> None:
    asked = spec(search={"grid": {"parameters": TREES}, "halving": {}})
    first, second = ended(asked, tmp_path), ended(asked, tmp_path)
    assert (second.version, second.kept) == (first.version, first.size.fits)
    assert_equal_to_the_bit(second.results.cv_results, first.results.cv_results)
