"""What a search is measured against: the defaults and a dummy, as ``cross_validate`` scores them, and what is said of it."""

import math
import sqlite3
import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import AdaBoostClassifier, RandomForestClassifier
from sklearn.feature_selection import SelectFromModel
from sklearn.linear_model import Ridge
from sklearn.model_selection import cross_validate
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.discovery import all_estimators

from tests.local.commands import written
from tests.search import estimators
from tests.search.searches import journal_in, opened, small, worker
from tests.search.test_metrics import job, spec
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob import local
from tuningjob.cli.command import main
from tuningjob.errors import ManifestRefused, SearchFailed
from tuningjob.manifest import dump_spec
from tuningjob.protocol.records import CellResult
from tuningjob.resume import identity
from tuningjob.search.baseline import BaselineGain, dummy_of, gain, measured
from tuningjob.search.problem import prepare
from tuningjob.search.rows import Defaults, defaults_of
from tuningjob.search.same import takes_reals_alone
from tuningjob.search.stop import Stop
from tuningjob.sizing import is_left_out, with_baseline

SCORES = st.lists(st.floats(-1, 1), min_size=2, max_size=10)
DOCUMENT = {"apiVersion": "tuningjob.dev/v1alpha1", "kind": "TuningJob", "metadata": {"name": "measured"}}
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
    outcome = ended({**asked, "baseline": None}, tmp_path)
    found, results = outcome.answer.baseline, outcome.results

    want, least = (
        cross_validate(each, X, y, cv=3, scoring=scoring)["test_score"].tolist() for each in (defaults, dummy)
    )
    best = [results.cv_results[f"split{split}_test_{results.metric}"][results.best_index] for split in range(3)]
    assert found is not None
    assert results.defaults is not None
    assert results.defaults.scores == want
    assert (found.defaults, found.dummy) == (math.fsum(want) / 3, math.fsum(least) / 3)
    assert found.gain == pytest.approx(np.subtract(best, want).mean())
    assert found.told[0] == f"{BaselineGain(found.gain, found.uncertainty).told('the defaults').capitalize()}."
    assert found.told[1].endswith("over a dummy.")
    # and nothing else of the search knows of it
    assert outcome.size.fits == (len(results.cv_results["params"]) + 1) * 3
    assert_equal_to_the_bit(results.cv_results, sklearn_search_of(job(asked).spec)[1].cv_results_)


@pytest.mark.parametrize(
    ("changes", "ceiling", "baseline"),
    [
        ({}, None, True),
        ({"baseline": True}, None, True),
        ({"baseline": False}, None, False),
        # six candidates on three folds are 18 fits, and 21 with the defaults
        ({"limits": {"maxFits": 21}}, 21, True),
        ({"limits": {"maxFits": 20}}, None, None),
        ({}, 20, None),
        ({"limits": {"maxFits": 17}}, None, None),
        ({"search": {**TUNED, "halving": {}}}, None, None),
        ({"crossValidation": {"splitter": {"class": "sklearn.model_selection.LeaveOneOut"}}}, None, True),
    ],
)
def test_a_search_is_measured_unless_it_says_no_or_that_alone_is_too_much(
    changes: dict[str, Any], ceiling: int | None, baseline: bool | None
) -> None:
    asked = job({**spec(search=TUNED, baseline=None), **changes}).spec
    begun = with_baseline(asked, cluster_max_fits=ceiling)
    assert begun.baseline is baseline
    assert with_baseline(begun, cluster_max_fits=ceiling) == begun
    assert is_left_out(begun, cluster_max_fits=ceiling) == (baseline is None and asked.search.halving is None)


def test_where_the_defaults_alone_are_too_much_they_are_left_out_and_said_or_refused_where_they_were_asked_for() -> (
    None
):
    limits = {"maxFits": 10}
    (warning,) = small({"max_depth": [1, 2]}, limits=limits).warnings
    assert warning == (
        "Baseline: the defaults are not scored, because their 5 fits would be too many (spec.limits.maxFits). Raise it to know "
        "what tuning has gained."
    )
    with pytest.raises(ManifestRefused, match=r"15 fits\. Give baseline: false, or fewer values or folds, or "):
        small({"max_depth": [1, 2]}, limits=limits, baseline=True)


@pytest.mark.slow
def test_a_search_that_a_release_without_a_baseline_has_begun_is_gone_on_with_as_it_is(tmp_path: Path) -> None:
    asked = spec(search=TUNED)
    first = ended(asked, tmp_path)
    open_to_both = {**asked, "baseline": None}
    # who has said no, and says nothing any more, is told
    assert (found := ended(open_to_both, tmp_path)).answer.baseline is not None
    assert (found.version, found.kept) == (2, 0)

    other = tmp_path / "other"
    other.mkdir()
    ended(asked, other)
    with closing(sqlite3.connect(other / "results/tuning.db")) as database, database:
        database.execute("UPDATE searches SET spec = json_remove(spec, '$.baseline')")
    again = ended(open_to_both, other)
    assert (again.version, again.kept, again.size.fits) == (1, 18, 18)
    assert (again.answer.baseline, again.answer.best_score) == (None, first.answer.best_score)
    # unless it is asked for
    assert ended({**asked, "baseline": True}, other).version == 2
    assert ended(open_to_both, other).version == 2


def test_a_manifest_without_one_is_the_search_that_it_was() -> None:
    plain = small({"max_depth": [1]})
    without, with_one = (small({"max_depth": [1]}, baseline=baseline) for baseline in (False, True))
    assert "baseline" not in dump_spec(plain.spec)
    assert identity(plain) == identity(without) != identity(with_one)
    assert plain.preflight.ranked == without.preflight.ranked == 0
    assert with_one.preflight.ranked == 1


@pytest.mark.slow
def test_defaults_that_are_better_than_all_candidates_are_no_answer(tmp_path: Path) -> None:
    asked = job(spec(search={"grid": {"parameters": {"min_samples_leaf": [180]}}}, baseline=True))
    outcome = local.run(asked, folder=tmp_path, output=tmp_path / "results", stop=Stop())
    assert outcome.answer.baseline is not None
    assert outcome.answer.baseline.told[0].startswith("Tuning lost ")
    assert outcome.answer.best_index == 0

    # what they cost is told, if that is more than any candidate did
    assert outcome.results.defaults is not None
    dear = replace(outcome.results, defaults=replace(outcome.results.defaults, seconds=99.5))
    found = measured(prepare(asked.spec, tmp_path), dear)
    assert found is not None
    assert found.told[2].startswith("The defaults took 99.5 s for a split, longer than any candidate (0.0 s).")


@pytest.mark.slow
def test_defaults_that_cannot_be_fitted_say_so_and_the_search_has_its_answer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(
        estimator={"class": "tests.search.estimators.DefaultIsWrong"},
        search={"grid": {"parameters": {"depth": [1, 2]}}},
        # of theirs none counts
        limits={"maxFailedFits": 0},
        baseline=None,
    )
    written({**DOCUMENT, "spec": asked}, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "job.yaml"]) == 0
    out, err = (" ".join(text.split()) for text in capsys.readouterr())
    assert "over the defaults is not known, because some of the fits failed: ValueError: a depth of 0." in out
    assert "3 fits failed; their scores are NaN. 3 with ValueError: a depth of 0. They are those of the defaults" in err
    assert "6 fits, beside 3 fits of the defaults;" in out


@pytest.mark.slow
def test_rounds_of_which_every_fit_fails_end_the_search_although_the_defaults_can_be_fitted(tmp_path: Path) -> None:
    problem = small(
        estimator="tests.search.estimators.FailsBeyond",
        params={},
        search={"grid": {"parameters": {"size": [4, 6]}}, "refine": {"rounds": 1}},
        baseline=True,
    )
    with journal_in(tmp_path) as journal:
        opened(journal, problem)
        with pytest.raises(SearchFailed, match="all 10 fits failed"):
            worker(journal, problem).evaluate_all()


# the manifest, and the candidate that is the estimator with its defaults
SHARED: dict[str, tuple[dict[str, Any], int | None]] = {
    "a grid": ({"search": {"grid": {"parameters": {"max_depth": [1, None, 3], "min_samples_leaf": [5, 1]}}}}, 3),
    "an integer for a real number": ({"search": {"grid": {"parameters": {"ccp_alpha": [0.1, 0]}}}}, 1),
    "another type": ({"search": {"grid": {"parameters": {"min_samples_leaf": [{"float": "0.1"}, 2]}}}}, None),
    "of the second map": (
        {"search": {"grid": {"parameters": [{"max_depth": [1, 2]}, {"criterion": ["entropy", "gini"]}]}}},
        3,
    ),
    "of a map that lacks what another tunes": (
        {
            "estimator": {
                "class": "sklearn.tree.DecisionTreeClassifier",
                "params": {"max_depth": 2, "random_state": 0},
            },
            "search": {"grid": {"parameters": [{"criterion": ["gini"]}, {"max_depth": [4, None]}]}},
        },
        2,
    ),
    "drawn": (
        {"search": {"random": {"parameters": {"max_depth": [1, None, 3]}, "iterations": 3, "randomState": 0}}},
        None,
    ),
    "in outer folds, too": (
        {"search": {"grid": {"parameters": {"max_depth": [1, None]}}, "nested": {"folds": 2}}},
        1,
    ),
    "in a first round": (
        {
            "estimator": {"class": "sklearn.linear_model.RidgeClassifier"},
            "search": {"grid": {"parameters": {"alpha": [0.1, {"float": 1}, 10]}}, "refine": {"rounds": 1}},
        },
        1,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARED)
def test_a_candidate_that_is_the_estimator_with_its_defaults_is_fitted_once(name: str, tmp_path: Path) -> None:
    changes, candidate = SHARED[name]
    asked = {**spec(**changes), "data": {"loader": "sklearn.datasets.load_iris"}, "baseline": True}
    finished: list[CellResult] = []
    gone_by: list[int] = []
    outcome = local.run(
        job(asked),
        folder=tmp_path,
        output=tmp_path / "results",
        stop=Stop(),
        watcher=local.Watcher(cells=finished.extend, reused=gone_by.append),
    )
    if name == "drawn":
        candidate = [params["max_depth"] for params in outcome.results.cv_results["params"]].index(None)
    shared = 0 if candidate is None else 3
    size = outcome.size.fits
    assert (len(finished), sum(gone_by)) == (size - shared, shared)
    assert len({cell.cell for cell in finished}) == len(finished)
    results = outcome.results
    assert results.defaults is not None
    assert results.defaults.is_shared == (candidate is not None)
    text = " ".join((tmp_path / "results" / "verdict.txt").read_text().split())
    alone = ended({**asked, "baseline": False}, tmp_path)
    assert_equal_to_the_bit(results.cv_results, alone.results.cv_results)
    if candidate is not None:
        scores = [results.cv_results[f"split{split}_test_{results.metric}"][candidate] for split in range(3)]
        assert results.defaults.scores == scores
        assert f"those of the defaults among them (candidate {candidate});" in text


def reals() -> Iterator[tuple[str, Any, str, int]]:
    """Every estimator of scikit-learn's with a parameter that takes reals alone and whose default is a whole number."""
    for name, kind in all_estimators():
        try:
            estimator = kind()
        except (TypeError, FutureWarning):
            continue  # a meta-estimator, or one that is deprecated
        for parameter, value in estimator.get_params(deep=False).items():
            if type(value) is float and value.is_integer() and takes_reals_alone(kind, parameter):
                yield name, estimator, parameter, int(value)


def outcome(estimator: Any, X: Any, y: Any) -> bytes:
    """All that a fit has learnt, as far as its class tells, and what it says of the data."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        fitted = estimator.fit(X, y)
        said = [
            getattr(fitted, way)(X) for way in ("predict", "transform", "decision_function") if hasattr(fitted, way)
        ]
    learnt = [
        value for name, value in sorted(vars(fitted).items()) if name.endswith("_") and isinstance(value, np.ndarray)
    ]
    arrays = [np.asarray(each.toarray() if hasattr(each, "toarray") else each) for each in (*said, *learnt)]
    return b"".join(each.tobytes() for each in arrays if not each.dtype.hasobject)


@pytest.mark.slow
def test_an_integer_is_the_float_of_its_value_to_every_estimator_of_scikit_learns_that_takes_reals() -> None:
    X, y = load_iris(return_X_y=True)
    X, y = np.abs(X[::3]), (y[::3] > 0).astype(int)
    held: list[str] = []
    known: dict[tuple[str, int], bytes | None] = {}  # many an estimator has several such parameters
    for name, estimator, parameter, whole in reals():
        seeded = {"random_state": 0} if "random_state" in estimator.get_params() else {}
        for kind, data in enumerate(((X, y), (X[:, 0], y.astype(float)))):
            if (name, kind) not in known:
                try:
                    known[name, kind] = outcome(clone(estimator).set_params(**seeded), *data)
                except (ValueError, TypeError):
                    known[name, kind] = None  # data of another kind
            if (want := known[name, kind]) is None:
                continue
            assert outcome(clone(estimator).set_params(**seeded, **{parameter: whole}), *data) == want, (
                name,
                parameter,
            )
            held.append(f"{name}.{parameter}")
            break
    assert len(held) > 80, held
    assert {"SVC.C", "Ridge.alpha", "LogisticRegression.C", "GradientBoostingClassifier.subsample"} <= set(held)


def test_a_large_grid_is_not_walked_to_find_the_defaults() -> None:
    ranges = {
        "max_depth": {"range": [1, 1001]},
        "min_samples_leaf": {"range": [1, 1001]},
        "ccp_alpha": [0.1, {"float": 0}],
    }
    asked = {"grid": {"parameters": {**ranges, "max_leaf_nodes": [None, 5]}}}
    problem = small(search=asked, baseline=True, limits={"maxFits": 10**9})
    assert len(problem.candidates) == 4_000_000
    assert problem.shared_with is None, "no depth of the list is the default"
    asked["grid"]["parameters"]["max_depth"] = [3, None]
    problem = small(search=asked, baseline=True, limits={"maxFits": 10**9})
    found = problem.shared_with
    assert found is not None
    assert problem.candidates[found] == {
        "ccp_alpha": 0.0,
        "max_depth": None,
        "max_leaf_nodes": None,
        "min_samples_leaf": 1,
    }


@pytest.mark.slow
def test_defaults_that_end_their_process_end_no_search_on_a_laptop(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = spec(
        estimator={"class": "tests.search.estimators.DefaultIsLethal"},
        search={"grid": {"parameters": {"depth": [1, 2, 3]}}},
        baseline=None,
    )
    written({**DOCUMENT, "spec": asked}, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "job.yaml"]) == 0
    out, err = (" ".join(text.split()) for text in capsys.readouterr())
    assert (
        "over the defaults is not known, because some of the fits failed: WorkerDied: a process of this worker ended"
        in out
    )
    assert "3 fits failed; their scores are NaN." in err
    assert "They are those of the defaults" in err
    # a candidate's are another matter: who runs it is to know
    asked["search"] = {"grid": {"parameters": {"depth": [1, 0]}}}
    written({**DOCUMENT, "spec": asked}, tmp_path)
    assert main(["run", "job.yaml"]) not in {0, 2}
    assert "ended in the middle of a fit" in capsys.readouterr().err


@pytest.mark.slow
def test_the_command_says_what_tuning_has_gained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    written({**DOCUMENT, "spec": spec(search=TUNED, baseline=None)}, tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["run", "job.yaml"]) == 0
    out, err = (" ".join(text.split()) for text in capsys.readouterr())
    assert "(6 candidates + the defaults) × 3 splits = 21 fits" in err
    assert " over the defaults" in out
    assert " over a dummy." in out
    assert main(["size", "job.yaml"]) == 0
    assert "fits        21 (and the refit)" in capsys.readouterr().out


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
    own = ["svc__C", "svc__random_state", "svc__nobody"]
    tuned = ["select__estimator", "select__max_features", "svc", *own, "other__C"]
    assert defaults_of(pipeline, tuned) == Defaults({"select__max_features": None, "svc__C": 1.0})
    assert pipeline["svc"].C == 7


def test_parameters_of_what_is_replaced_by_a_default_are_nobodys() -> None:
    boosted = AdaBoostClassifier(DecisionTreeClassifier(max_depth=3))
    assert defaults_of(boosted, ["estimator", "estimator__max_depth"]) == Defaults({"estimator": None})
    assert defaults_of(boosted, ["estimator__max_depth"]) == Defaults({"estimator__max_depth": None})


def test_a_class_of_the_users_own_may_take_anything() -> None:
    class Odd(BaseEstimator):
        def __init__(self, given: Any) -> None:
            self.given = given

    assert defaults_of(Odd(3), ["given"]) == Defaults({})


def test_an_estimator_that_does_not_take_its_defaults_is_measured_as_it_is_written() -> None:
    (warning,) = small(
        {"max_depth": [1, 2]},
        estimator="tests.search.estimators.Conscious",
        params={"max_depth": 3, "random_state": 0},
        baseline=True,
    ).warnings
    assert warning == (
        "Baseline: the estimator cannot be given the defaults of all that is tuned (ValueError: too deep (estimators.py, line "
        f"{line_of('too deep')}, in set_params)), so what tuning has gained is measured over the estimator as it is written."
    )


def line_of(text: str) -> int:
    lines = Path(str(estimators.__file__)).read_text(encoding="utf-8").splitlines()
    return next(number for number, line in enumerate(lines, 1) if text in line)


@given(best=SCORES, share=st.floats(0.01, 1))
def test_nothing_is_gained_over_oneself(best: list[float], share: float) -> None:
    assert gain(best, best, share) == BaselineGain(0.0, 0.0)


@pytest.mark.slow
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
