"""What a search is measured against: the defaults and a dummy, as ``cross_validate`` scores them, and what is said of it."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from tests.local.commands import tuningjob, written
from tests.search.searches import small
from tests.search.test_metrics import job, spec
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob import local
from tuningjob.manifest import dump_spec
from tuningjob.resume import identity
from tuningjob.search.baseline import BaselineGain, dummy_of, gain
from tuningjob.search.rows import defaults_of
from tuningjob.search.stop import Stop

SCORES = st.lists(st.floats(-1, 1), min_size=2, max_size=10)
TUNED = {"grid": {"parameters": {"max_depth": [1, 2, 3], "min_samples_leaf": [5, 20]}}}
RIDGE = {"class": "sklearn.linear_model.Ridge", "params": {"alpha": 50, "tol": 1e-3}}


def ended(spec: dict[str, Any], folder: Path) -> local.FinishedSearch:
    return local.run(job(spec), folder=folder, output=folder / "results", stop=Stop())


# the manifest, the estimator with its defaults, its dummy, the scoring
SEARCHES: dict[str, tuple[dict[str, Any], Any, Any, Any]] = {
    "a grid": (
        spec(search=TUNED, scoring="f1"),
        DecisionTreeClassifier(random_state=0),
        DummyClassifier(strategy="prior"),
        "f1",
    ),
    "drawn at random, with what is not tuned as the manifest has it": (
        spec(
            estimator=RIDGE,
            search={"random": {"parameters": {"alpha": {"loguniform": [0.01, 10]}}, "iterations": 4}},
            data={"loader": "sklearn.datasets.load_diabetes"},
        ),
        Ridge(tol=1e-3),
        DummyRegressor(),
        None,
    ),
    "several metrics, of which one decides": (
        spec(search=TUNED, scoring=["accuracy", "roc_auc"], refit="roc_auc", returnTrainScore=True),
        DecisionTreeClassifier(random_state=0),
        DummyClassifier(strategy="prior"),
        "roc_auc",
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_the_defaults_and_the_dummy_have_the_scores_of_cross_validate(name: str, tmp_path: Path) -> None:
    asked, defaults, dummy, scoring = SEARCHES[name]
    X, y = (load_diabetes if isinstance(defaults, Ridge) else load_breast_cancer)(return_X_y=True)
    outcome = ended({**asked, "baseline": True}, tmp_path)
    found, results = outcome.answer.baseline, outcome.results

    want, least = (
        cross_validate(each, X, y, cv=3, scoring=scoring)["test_score"].tolist() for each in (defaults, dummy)
    )
    best = [results.cv_results[f"split{split}_test_{results.metric}"][results.best_index] for split in range(3)]
    assert found is not None
    assert results.defaults == want
    assert (found.defaults, found.dummy) == (math.fsum(want) / 3, math.fsum(least) / 3)
    assert found.gain == pytest.approx(np.subtract(best, want).mean())
    assert found.told[0] == f"{BaselineGain(found.gain, found.uncertainty).told('the defaults').capitalize()}."
    assert found.told[1].endswith("over a dummy.")
    # and nothing else of the search knows of it
    assert outcome.size.fits == (len(results.cv_results["params"]) + 1) * 3
    assert_equal_to_the_bit(results.cv_results, sklearn_search_of(job(asked).spec)[1].cv_results_)


def test_a_manifest_without_one_is_the_search_that_it_was() -> None:
    plain = small({"max_depth": [1]})
    without, with_one = (small({"max_depth": [1]}, baseline=baseline) for baseline in (False, True))
    assert "baseline" not in dump_spec(plain.spec)
    assert identity(plain) == identity(without) != identity(with_one)
    assert plain.preflight.ranked == without.preflight.ranked == 0
    assert with_one.preflight.ranked == 1


@pytest.mark.slow
def test_defaults_that_are_better_than_all_candidates_are_no_answer(tmp_path: Path) -> None:
    asked = spec(search={"grid": {"parameters": {"min_samples_leaf": [180]}}}, baseline=True)
    outcome = ended(asked, tmp_path)
    assert outcome.answer.baseline is not None
    assert outcome.answer.baseline.told[0].startswith("Tuning lost ")
    assert outcome.answer.best_index == 0


@pytest.mark.slow
def test_defaults_that_cannot_be_fitted_say_so_and_the_search_has_its_answer(tmp_path: Path) -> None:
    asked = spec(
        estimator={"class": "tests.search.estimators.DefaultIsWrong"},
        search={"grid": {"parameters": {"depth": [1, 2]}}},
        baseline=True,
    )
    outcome = ended(asked, tmp_path)
    assert outcome.answer.baseline is not None
    assert outcome.answer.baseline.told[0] == (
        "What tuning gained over the defaults is not known, because some of the fits failed."
    )
    assert outcome.answer.failed_fits == 3
    assert outcome.answer.best_score > 0.8


def test_the_command_says_what_tuning_has_gained(tmp_path: Path) -> None:
    document = {"apiVersion": "tuningjob.dev/v1alpha1", "kind": "TuningJob", "metadata": {"name": "measured"}}
    written({**document, "spec": spec(search=TUNED, baseline=True)}, tmp_path)
    done = tuningjob("run", "job.yaml", cwd=tmp_path)
    assert "(6 candidates + 1 beside) × 3 splits = 21 fits" in done.stderr
    assert " over the defaults" in done.stdout
    assert " over a dummy." in done.stdout
    assert "fits        21 (and the refit)" in tuningjob("size", "job.yaml", cwd=tmp_path).stdout


# --- its parts


@pytest.mark.parametrize(
    ("estimator", "kind"),
    [
        (SVC(), DummyClassifier),
        (Pipeline([("scale", StandardScaler()), ("ridge", Ridge())]), DummyRegressor),
        (KMeans(), type(None)),
    ],
)
def test_a_dummy_is_of_the_estimators_kind(estimator: Any, kind: type) -> None:
    assert type(dummy_of(estimator)) is kind


def test_tuned_parameters_have_their_defaults_and_steps_and_required_arguments_stay() -> None:
    pipeline = Pipeline([("select", SelectFromModel(RandomForestClassifier())), ("svc", SVC(C=7, gamma=0.1))])
    tuned = ["select__estimator", "select__max_features", "svc", "svc__C", "svc__nobody", "other__C"]
    assert defaults_of(pipeline, tuned) == {"select__max_features": None, "svc__C": 1.0}
    assert pipeline["svc"].C == 7


def test_a_class_of_the_users_own_may_take_anything() -> None:
    class Odd(BaseEstimator):
        def __init__(self, given: Any) -> None:
            self.given = given

    assert defaults_of(Odd(3), ["given"]) == {}


@given(best=SCORES, share=st.floats(0.01, 1))
def test_nothing_is_gained_over_oneself(best: list[float], share: float) -> None:
    assert gain(best, best, share) == BaselineGain(0.0, 0.0)


@given(pairs=st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1)), min_size=2, max_size=10), share=st.floats(0, 1))
def test_the_uncertainty_is_the_corrected_standard_error_of_the_differences(
    pairs: list[tuple[float, float]], share: float
) -> None:
    best, baseline = zip(*pairs, strict=True)
    found = gain(best, baseline, share)
    differences = np.subtract(best, baseline)
    assert found.mean == pytest.approx(differences.mean(), abs=1e-12)
    plain = differences.std(ddof=1) / math.sqrt(len(pairs))
    assert found.uncertainty == pytest.approx(plain * math.sqrt(1 + len(pairs) * share), abs=1e-12)


@pytest.mark.parametrize(
    ("found", "sentence"),
    [
        (BaselineGain(0.012, 0.004), "tuning gained 0.012 ± 0.004 over the defaults"),
        (BaselineGain(0.003, 0.004), "tuning gained 0.003 ± 0.004 over the defaults, which may be chance"),
        (BaselineGain(-0.02, 0.001), "tuning lost 0.020 ± 0.001 over the defaults"),
        (BaselineGain(0.0, 0.0), "tuning gained 0.000 ± 0.000 over the defaults"),
        (BaselineGain(0.00004, 0.00001), "tuning gained 0.00004 ± 0.00001 over the defaults"),
        (BaselineGain(0.25, math.nan), "tuning gained 0.25 over the defaults, on a single split"),
        (
            BaselineGain(math.nan, math.nan),
            "what tuning gained over the defaults is not known, because some of the fits failed",
        ),
    ],
)
def test_a_gain_in_words(found: BaselineGain, sentence: str) -> None:
    assert found.told("the defaults") == sentence
