"""Several metrics, and metrics that have no name: what a search finds by them is scikit-learn's, to the bit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, fbeta_score, make_scorer, mean_pinball_loss
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from tests.search import own_metrics
from tests.search.searches import journal_in, opened, small, worker
from tests.truth import assert_equal_to_the_bit, quietly_fitted
from tuningjob import local
from tuningjob.errors import ManifestRefused
from tuningjob.journal.sql import open_sqlite
from tuningjob.manifest import load
from tuningjob.search.problem import prepare
from tuningjob.search.results import SearchCV, leaderboard
from tuningjob.search.stop import Stop

TREE = {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}}
CANCER = {"loader": "sklearn.datasets.load_breast_cancer"}
DIABETES = {"loader": "sklearn.datasets.load_diabetes"}
DEPTHS = {"grid": {"parameters": {"max_depth": [1, 2, None]}}}
F2 = {"function": "sklearn.metrics.fbeta_score", "params": {"beta": 2}}
OWN = "tests.search.own_metrics"


def spec(**changes: Any) -> dict[str, Any]:
    """Without a baseline, unless that is asked for."""
    usual = {"estimator": TREE, "search": DEPTHS, "data": CANCER, "crossValidation": {"folds": 3}, "baseline": False}
    return {**usual, **changes}


# the manifest, and what is written by hand in Python: scoring and refit
SEARCHES: dict[str, tuple[dict[str, Any], Any, Any]] = {
    "a list of names": (spec(scoring=["accuracy", "f1"], refit="f1"), ["accuracy", "f1"], "f1"),
    "a list of one name": (spec(scoring=["recall"]), ["recall"], "recall"),
    "names of one's own": (
        spec(scoring={"hits": "accuracy", "area": "roc_auc"}, refit="area", returnTrainScore=True),
        {"area": "roc_auc", "hits": "accuracy"},
        "area",
    ),
    "a function with parameters": (spec(scoring={"f2": F2}), {"f2": make_scorer(fbeta_score, beta=2)}, "f2"),
    "a loss": (
        spec(
            scoring={"brier": {"function": "sklearn.metrics.brier_score_loss", "greaterIsBetter": False, "responseMethod": "predict_proba"}}
        ),
        {"brier": make_scorer(brier_score_loss, greater_is_better=False, response_method="predict_proba")},
        "brier",
    ),
    "methods of which the first counts": (
        spec(
            estimator={"class": "sklearn.svm.SVC"},
            search={"grid": {"parameters": {"C": [1, 100]}}},
            scoring={
                "f1": "f1",
                "precisions": {
                    "function": "sklearn.metrics.average_precision_score",
                    "responseMethod": ["decision_function", "predict_proba"],
                },
            },
            refit="precisions",
        ),
        {
            "f1": "f1",
            "precisions": make_scorer(average_precision_score, response_method=("decision_function", "predict_proba")),
        },
        "precisions",
    ),
    "a scorer of one's own": (
        spec(scoring={"cost": {"scorer": f"{OWN}.cost"}, "f1": "f1"}, refit="cost", returnTrainScore=True),
        {"cost": own_metrics.cost, "f1": "f1"},
        "cost",
    ),
    "an object as scorer": (
        spec(scoring={"priced": {"scorer": f"{OWN}.priced"}, "made": {"scorer": f"{OWN}.made"}}, refit="priced"),
        {"made": own_metrics.made, "priced": own_metrics.priced},
        "priced",
    ),
    "a function of one's own on a regression": (
        spec(
            estimator={"class": "sklearn.linear_model.Ridge"},
            search={"grid": {"parameters": {"alpha": [0.1, 1, 10]}}},
            data=DIABETES,
            scoring={
                "loss": {"function": f"{OWN}.asymmetric", "params": {"weight": 3}, "greaterIsBetter": False},
                "pinball": {"function": "sklearn.metrics.mean_pinball_loss", "params": {"alpha": 0.9}, "greaterIsBetter": False},
                "r2": "r2",
            },
            refit="loss",
        ),
        {
            "loss": make_scorer(own_metrics.asymmetric, greater_is_better=False, weight=3),
            "pinball": make_scorer(mean_pinball_loss, greater_is_better=False, alpha=0.9),
            "r2": "r2",
        },
        "loss",
    ),
    "a metric that fails for a candidate": (
        spec(scoring={"f1": "f1", "moody": {"scorer": f"{OWN}.against_depth"}}, refit="f1", returnTrainScore=True),
        {"f1": "f1", "moody": own_metrics.against_depth},
        "f1",
    ),
    "a deciding metric that fails for a candidate": (
        spec(scoring={"f1": "f1", "moody": {"scorer": f"{OWN}.against_depth"}}, refit="moody"),
        {"f1": "f1", "moody": own_metrics.against_depth},
        "moody",
    ),
    "candidates that cannot be fitted": (
        spec(
            estimator={"class": "sklearn.linear_model.LogisticRegression", "params": {"max_iter": 50}},
            search={"grid": {"parameters": {"solver": ["lbfgs", "liblinear"], "C": [-1, 1]}}},
            scoring=["roc_auc", "neg_log_loss"],
            refit="neg_log_loss",
            returnTrainScore=True,
        ),
        ["roc_auc", "neg_log_loss"],
        "neg_log_loss",
    ),
    "drawn candidates": (
        spec(
            search={"random": {"parameters": {"max_depth": {"randint": [1, 9]}, "min_samples_leaf": [1, 5, 9]}, "iterations": 6}},
            scoring=["balanced_accuracy", "neg_log_loss", "jaccard"],
            refit="jaccard",
        ),
        ["balanced_accuracy", "neg_log_loss", "jaccard"],
        "jaccard",
    ),
    "a pipeline, several classes and averages": (
        spec(
            estimator={
                "pipeline": [
                    {"name": "scale", "class": "sklearn.preprocessing.StandardScaler"},
                    {"name": "model", "class": "sklearn.neighbors.KNeighborsClassifier"},
                ]
            },
            search={"grid": {"parameters": {"model__n_neighbors": [1, 5, 15], "scale": ["passthrough", {"class": "sklearn.preprocessing.MinMaxScaler"}]}}},
            data={"loader": "sklearn.datasets.load_wine"},
            scoring={
                "half": {"function": "sklearn.metrics.fbeta_score", "params": {"beta": 0.5, "average": "macro"}},
                "ovr": "roc_auc_ovr",
            },
            refit="half",
        ),
        {"half": make_scorer(fbeta_score, beta=0.5, average="macro"), "ovr": "roc_auc_ovr"},
        "half",
    ),
}  # fmt: skip


def job(spec: Mapping[str, Any]) -> Any:
    head = {"apiVersion": "tuningjob.dev/v1alpha1", "kind": "TuningJob", "metadata": {"name": "metrics"}}
    return load({**head, "spec": {"resources": {"cpu": 2}, **spec}})


def by_hand(spec: Mapping[str, Any], folder: Path, scoring: Any, refit: Any) -> SearchCV:
    """scikit-learn's own search with this ``scoring`` and ``refit``."""
    problem = prepare(job({**spec, "scoring": None, "refit": None, "select": None}).spec, folder)
    search: GridSearchCV | RandomizedSearchCV = problem.space.search_cv(
        problem.estimator,
        scoring=scoring,
        refit=refit,
        cv=problem.cv,
        return_train_score=problem.spec.return_train_score,
    )
    return quietly_fitted(search, problem)


# of the others each takes seconds, and is like one of these to a search that is written anew
QUICK = {"names of one's own", "a scorer of one's own", "a deciding metric that fails for a candidate"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in SEARCHES]
)
def test_a_search_by_several_metrics_is_equal_to_scikit_learns(name: str, tmp_path: Path) -> None:
    document, scoring, refit = SEARCHES[name]
    want = by_hand(document, tmp_path, scoring, refit)

    outcome = local.run(job(document), folder=tmp_path, output=tmp_path / "results", stop=Stop())

    assert_equal_to_the_bit(outcome.results.cv_results, want.cv_results_)
    assert (outcome.results.best_index, outcome.results.best_score) == (want.best_index_, want.best_score_)
    assert repr(outcome.results.best_params) == repr(want.best_params_)
    found = joblib.load(tmp_path / "results/search.joblib")
    assert (found.multimetric_, found.refit, found.best_score_) == (True, refit, want.best_score_)
    assert list(found.scorer_) == list(want.scorer_)
    assert found.score(*prepared(document, tmp_path)) == want.score(*prepared(document, tmp_path))
    assert outcome.answer.metric == refit
    assert outcome.answer.scores == {
        key: pytest.approx(want.cv_results_[f"mean_test_{key}"][want.best_index_], abs=0, nan_ok=True)
        for key in want.scorer_
    }
    deciding = [want.cv_results_[f"split{i}_test_{refit}"] for i in range(want.n_splits_)]
    assert outcome.answer.failed_fits == int(np.isnan(deciding).sum())


def prepared(spec: Mapping[str, Any], folder: Path) -> tuple[Any, Any]:
    data = prepare(job(spec).spec, folder).data
    return data.X, data.y


def test_one_name_has_the_columns_and_the_identity_that_it_always_had() -> None:
    single, listed = small({"max_depth": [1]}, scoring="accuracy"), small({"max_depth": [1]}, scoring=["accuracy"])
    assert single.spec.metrics.identity == "accuracy"
    assert small({"max_depth": [1]}).spec.metrics.identity is None
    assert single.identities.of(0, 0) != listed.identities.of(0, 0), "their results are called otherwise"


def test_how_metrics_are_written_and_which_one_decides_is_no_part_of_a_fits_identity() -> None:
    def identity(scoring: Any, refit: str) -> str | None:
        return small({"max_depth": [1]}, params={"random_state": 0}, scoring=scoring, refit=refit).identities.of(0, 0)

    first = identity(["accuracy", "f1_macro"], "accuracy")
    assert first is not None
    assert identity(["f1_macro", "accuracy"], "f1_macro") == first
    assert identity({"f1_macro": "f1_macro", "accuracy": "accuracy"}, "accuracy") == first
    assert identity({"f1": "f1_macro", "accuracy": "accuracy"}, "accuracy") != first


@pytest.mark.parametrize(
    "other",
    [
        {**F2, "params": {"beta": 3, "average": "macro"}},
        {**F2, "params": {"beta": 2, "average": "micro"}},
        {**F2, "params": {"beta": 2, "average": "macro"}, "greaterIsBetter": False},
        {"function": f"{OWN}.asymmetric"},
        {"scorer": f"{OWN}.cost"},
    ],
)
def test_all_that_makes_a_metric_is_part_of_a_fits_identity(other: dict[str, Any]) -> None:
    def identity(metric: dict[str, Any]) -> str | None:
        return small({"max_depth": [1]}, params={"random_state": 0}, scoring={"m": metric}).identities.of(0, 0)

    assert identity(other) != identity({**F2, "params": {"beta": 2, "average": "macro"}})


def test_the_code_of_metrics_of_ones_own_is_part_of_the_search() -> None:
    for metric in ({"function": f"{OWN}.asymmetric"}, {"scorer": f"{OWN}.cost"}, {"scorer": f"{OWN}.priced"}):
        assert "tests/search/own_metrics.py" in small({"max_depth": [1]}, scoring={"m": metric}).code.beside.parts


@pytest.mark.slow
def test_journal_audit_and_leaderboard_are_ordered_by_the_metric_that_decides(tmp_path: Path) -> None:
    scoring = {"a": "accuracy", "loss": "neg_log_loss"}
    problem = small({"max_depth": [1, 3, None]}, scoring=scoring, refit="loss", returnTrainScore=True)
    with journal_in(tmp_path) as journal:
        opened(journal, problem)
        work = worker(journal, problem)
        work.evaluate_all()
        results, answer, _ = work.finish(tmp_path / "files")
        progress = journal.progress("s")
        assert progress.best is not None
        assert progress.best.index == results.best_index
        assert progress.best.score == pytest.approx(results.best_score)
        assert answer.scores.keys() == {"loss", "a"}
        row = journal.audit.version(namespace="default", model_key="small", version=1)
        assert (row.metric, row.score, row.scores) == ("loss", answer.best_score, answer.scores)
    board = leaderboard(results)
    assert list(board.columns) == [
        "rank_test_loss", "candidate", "mean_test_loss", "std_test_loss", "mean_test_a",
        "mean_train_loss", "gap", "risky", "mean_fit_time", "param_max_depth",
    ]  # fmt: skip
    assert board["mean_test_loss"].is_monotonic_decreasing


@pytest.mark.slow
def test_fits_are_taken_over_where_another_of_their_metrics_decides(tmp_path: Path) -> None:
    def searched(refit: str) -> Any:
        document = spec(scoring=["neg_log_loss", "accuracy"], refit=refit, reuse=True)
        return local.run(job(document), folder=tmp_path, output=tmp_path / "results", stop=Stop())

    first, second = searched("accuracy"), searched("neg_log_loss")
    assert (first.reused, second.reused, second.version) == (0, 9, 2)
    assert second.answer.metric == "neg_log_loss"
    assert second.answer.best_score == second.results.cv_results["mean_test_neg_log_loss"].max()
    journal = open_sqlite(tmp_path / "results/tuning.db")
    try:
        best = [journal.progress(search).best for search in journal.revisions()]
    finally:
        journal.close()
    assert sorted(round(each.score, 9) for each in best if each) == sorted(
        round(each.answer.best_score, 9) for each in (first, second)
    )


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"scoring": ["accuracy", "acuracy"], "refit": "accuracy"}, "spec.scoring[1]: must be the name of one of scikit-learn's scorers, but got 'acuracy'. Did you mean 'accuracy'?"),
    ({"scoring": {"a": "acuracy"}}, "spec.scoring.a: must be the name of one of scikit-learn's scorers, but got 'acuracy'. Did you mean 'accuracy'?"),
    ({"scoring": {"m": {"function": "sklearn.metrics.fbeta_scor"}}}, "spec.scoring.m.function: must be a metric that sklearn.metrics has, but got 'sklearn.metrics.fbeta_scor'. Did you mean 'fbeta_score'?"),
    ({"scoring": {"m": {"function": "sklearn.metrics.fbeta_score", "params": {"bta": 2}}}}, "spec.scoring.m.params.bta: must be a parameter of sklearn.metrics.fbeta_score, but got 'bta'. Did you mean 'beta'?"),
    ({"scoring": {"m": {"function": "sklearn.metrics.fbeta_score"}}}, "spec.scoring.m.function: must be a metric: function(y_true, y_pred), but got 'sklearn.metrics.fbeta_score'. Its arguments are (y_true, y_pred, *, beta"),
    ({"scoring": {"m": {"function": "sklearn.tree.DecisionTreeClassifier"}}}, "spec.scoring.m.function: must be a metric: function(y_true, y_pred), but got 'sklearn.tree.DecisionTreeClassifier'. It is a class."),
    ({"scoring": {"m": {"function": f"{OWN}.LIMIT"}}}, f"spec.scoring.m.function: must be a metric: function(y_true, y_pred), but got '{OWN}.LIMIT'. It is of type int."),
    ({"scoring": {"m": {"function": f"{OWN}.made"}}}, f"It is a scorer: write {{scorer: {OWN}.made}}."),
    ({"scoring": {"m": {"scorer": "sklearn.metrics.f1_score"}}}, "It is a metric: write {function: sklearn.metrics.f1_score}."),
    ({"scoring": {"m": {"scorer": f"{OWN}.always_raises"}}}, "It does not take an estimator, X and y. A metric is written {function: PATH}."),
    ({"scoring": {"m": {"scorer": f"{OWN}.Cost"}}}, "It is a class."),
    ({"scoring": ["accuracy", "f1_macro"]}, "spec.refit: must be given where spec.scoring has several metrics, but got None. Name the one that decides."),
    ({"scoring": ["accuracy", "f1_macro"], "refit": "f1"}, "spec.refit: must be one of the metrics in spec.scoring, but got 'f1'. Known: accuracy, f1_macro."),
    ({"scoring": {"my metric": "accuracy"}}, "spec.scoring: must be a name of letters, digits and _, of at most 63, that begins with a letter or _, but got 'my metric'."),
    ({"scoring": ["accuracy", "accuracy"], "refit": "accuracy"}, "spec.scoring[1]: must be a name that is there once, but got 'accuracy'."),
    ({"scoring": [F2]}, "spec.scoring[0]: must be a scorer's name, but got {'function': 'sklearn.metrics.fbeta_score'"),
    ({"scoring": {}}, "spec.scoring: must be a scorer's name, a list of names, or a map from names of your own to metrics (from 1 to 32), but got 0 of them."),
    ({"scoring": 3}, "spec.scoring: must be a scorer's name, a list of names, or a map from names of your own to metrics, but got 3."),
    ({"scoring": {"m": {"scorer": f"{OWN}.cost", "params": {"a": 1}}}}, "spec.scoring.m: must be without params, greaterIsBetter and responseMethod beside a scorer or a name"),
    ({"scoring": {"m": {"function": f"{OWN}.asymmetric", "responseMethod": "predict_log"}}}, "spec.scoring.m.responseMethod: must be one of predict, predict_proba, decision_function"),
    ({"select": {"oneStandardError": {"simplest": [{"max_dept": "ascending"}]}}}, "spec.select.oneStandardError.simplest[0]: must be a parameter that is searched, but got 'max_dept'. Did you mean 'max_depth'?"),
    ({"select": {"maxOverfitGap": 0.1}}, "spec.select.maxOverfitGap: must be beside returnTrainScore: true, but got 0.1."),
    ({"select": {"best": True, "fastestWithin": 0.1}}, "spec.select: must be with one rule of best, oneStandardError, fastestWithin, fastestWithinStandardErrors and mostStable"),
    ({"select": {"mostStable": {"metric": "f1"}}}, "spec.select.mostStable.metric: must be a known field"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "told"), REFUSED)
def test_what_is_no_metric_or_no_rule_is_refused_with_its_field(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ManifestRefused) as refused:
        small({"max_depth": [1, 2]}, **change)
    assert told in str(refused.value)


def test_all_problems_of_the_metrics_are_told_at_once() -> None:
    with pytest.raises(ManifestRefused) as refused:
        small({"max_depth": [1]}, scoring={"a": "acuracy", "b": {"function": "numpy.meen"}, "c": "accuracy"}, refit="c")
    assert [problem.field for problem in refused.value.problems] == ["spec.scoring.a", "spec.scoring.b.function"]


def test_a_metric_that_the_estimator_cannot_serve_is_refused_with_its_field() -> None:
    with pytest.raises(
        ManifestRefused, match=r"spec\.scoring\[1\]: must be a scorer that the estimator can serve"
    ) as refused:
        small({"C": [1]}, estimator="sklearn.svm.LinearSVC", scoring=["accuracy", "neg_log_loss"], refit="accuracy")
    assert [problem.reason for problem in refused.value.problems] == ["ScorerMismatch"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("metric", "field", "told"),
    [
        ({"function": f"{OWN}.always_raises"}, "spec.scoring.m", "ValueError: no use for"),
        ({"function": f"{OWN}.matrix"}, "spec.scoring.m", "scoring must return a number"),
        (
            "f1",
            "spec.scoring.m",
            "f1 is for two classes, and the target has 3. Write scoring: f1_macro or f1_weighted.",
        ),
        (F2, "spec.scoring.m", "Say in spec.scoring.m.params which class counts (pos_label)"),
    ],
)
def test_a_metric_by_which_nothing_can_be_scored_is_refused_before_the_search(
    metric: Any, field: str, told: str, tmp_path: Path
) -> None:
    document = spec(data={"loader": "sklearn.datasets.load_iris"}, scoring={"a": "accuracy", "m": metric}, refit="a")
    with pytest.raises(ManifestRefused) as refused:
        local.run(job(document), folder=tmp_path, output=tmp_path / "results", stop=Stop())
    (problem,) = refused.value.problems
    assert (problem.field, problem.reason) == (field, "EveryFitFails")
    assert told in problem.advice


@pytest.mark.slow
def test_what_does_not_decide_and_cannot_be_scored_is_a_warning_with_its_name(tmp_path: Path) -> None:
    document, _, _ = SEARCHES["a metric that fails for a candidate"]
    outcome = local.run(job(document), folder=tmp_path, output=tmp_path / "results", stop=Stop())
    assert outcome.answer.failed_fits == 0
    assert {text: count for text, count in outcome.warnings.items() if text.startswith("moody")} == {
        "moody is NaN, because scoring failed: ValueError: two is too few": 3
    }
