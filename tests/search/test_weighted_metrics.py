"""Metrics that ask for the weights of the samples: what a search finds is that of scikit-learn's metadata routing, to the bit."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import fbeta_score, get_scorer, make_scorer
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from tests.search import own_metrics
from tests.truth import assert_equal_to_the_bit
from tuningjob import local
from tuningjob.cluster.sending import given_to_fit, named_to_fit, not_yet_sent
from tuningjob.engine.sklearn_private import HalvingGridSearchCV, RoutedScorer
from tuningjob.errors import ManifestRefused
from tuningjob.manifest import load
from tuningjob.search.problem import prepare
from tuningjob.search.stop import Stop
from tuningjob.search.to_manifest import to_manifest

ROWS = 120
FEATURES = ["a", "b", "c"]
OWN = "tests.search.own_metrics"
LOGISTIC = {"class": "sklearn.linear_model.LogisticRegression", "params": {"random_state": 0}}
CS = {"grid": {"parameters": {"C": [0.01, 0.1, 10]}}}
AREA = {"name": "roc_auc", "sampleWeight": True}
F2 = {"function": "sklearn.metrics.fbeta_score", "params": {"beta": 2}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table in which half of the rows count far more than the others."""
    draw = np.random.default_rng(0)
    rows = pd.DataFrame(draw.normal(size=(ROWS, 3)), columns=FEATURES)
    rows["y"] = (rows["a"] + draw.normal(size=ROWS) > 0).astype(int)
    rows["w"] = draw.choice([1, 9], ROWS)
    folder = tmp_path_factory.mktemp("weighted")
    rows.to_csv(folder / "t.csv", index=False)
    return folder


@pytest.fixture
def routing() -> Iterator[None]:
    with sklearn.config_context(enable_metadata_routing=True):
        yield


def manifest(**changes: Any) -> Any:
    head = {"apiVersion": "tuningjob.dev/v1alpha1", "kind": "TuningJob", "metadata": {"name": "weighted"}}
    usual = {
        "estimator": LOGISTIC,
        "search": CS,
        "data": {"path": "t.csv", "target": "y", "features": FEATURES, "sampleWeight": "w"},
        "crossValidation": {"folds": 3},
        "resources": {"cpu": 2},
        "baseline": False,
    }
    spec = {name: value for name, value in {**usual, **changes}.items() if value is not None}
    return load({**head, "spec": spec})


def rows_of(folder: Path) -> tuple[Any, Any, Any]:
    rows = pd.read_csv(folder / "t.csv")
    return rows[FEATURES], rows["y"], rows["w"]


def asking(scorer: Any, *, weights: bool | str = True) -> Any:
    return (get_scorer(scorer) if isinstance(scorer, str) else scorer).set_score_request(sample_weight=weights)


def weighted(estimator: Any) -> Any:
    return estimator.set_fit_request(sample_weight=True)


@dataclass
class Case:
    """A manifest, and the search that is written by hand where routing is enabled."""

    changes: dict[str, Any]
    search: Callable[[], Any]


def scaled(last: Any) -> Pipeline:
    return Pipeline([("scale", StandardScaler().set_fit_request(sample_weight=False)), ("model", last)])


PIPELINE = {
    "pipeline": [{"name": "scale", "class": "sklearn.preprocessing.StandardScaler"}, {"name": "model", **LOGISTIC}]
}
SEARCHES = {
    "one of two metrics, of a pipeline whose last step is weighted": Case(
        {
            "estimator": PIPELINE,
            "search": {"grid": {"parameters": {"model__C": [0.01, 0.1, 10]}}},
            "scoring": {"area": AREA, "hits": "accuracy"},
            "refit": "area",
            "returnTrainScore": True,
        },
        lambda: GridSearchCV(
            scaled(weighted(LogisticRegression())),
            {"model__C": [0.01, 0.1, 10]},
            scoring={"area": asking("roc_auc"), "hits": asking("accuracy", weights=False)},
            refit="area",
            return_train_score=True,
        ),
    ),
    "a function with parameters, beside a scorer of one's own that takes none": Case(
        {"scoring": {"f2": {**F2, "sampleWeight": True}, "own": {"scorer": f"{OWN}.wrong"}}, "refit": "f2"},
        lambda: GridSearchCV(
            weighted(LogisticRegression()),
            {"C": [0.01, 0.1, 10]},
            scoring={"f2": asking(make_scorer(fbeta_score, beta=2)), "own": own_metrics.wrong},
            refit="f2",
        ),
    ),
    "no metric, where all would be weighted otherwise": Case(
        {"scoring": {"hits": {"name": "accuracy", "sampleWeight": False}}},
        lambda: GridSearchCV(
            weighted(LogisticRegression()),
            {"C": [0.01, 0.1, 10]},
            scoring={"hits": asking("accuracy", weights=False)},
            refit="hits",
        ),
    ),
    "scores alone, of an estimator that takes no weights": Case(
        {
            "estimator": {"class": "sklearn.neighbors.KNeighborsClassifier"},
            "search": {"grid": {"parameters": {"n_neighbors": [1, 5, 9]}}},
            "scoring": {"hits": {"scorer": f"{OWN}.made", "sampleWeight": True}, "area": "roc_auc"},
            "refit": "hits",
        },
        lambda: GridSearchCV(
            KNeighborsClassifier(),
            {"n_neighbors": [1, 5, 9]},
            scoring={"area": asking("roc_auc", weights=False), "hits": asking(own_metrics.made_anew())},
            refit="hits",
        ),
    ),
    "fits that serve several candidates": Case(
        {
            "estimator": {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"random_state": 0}},
            "search": {"grid": {"parameters": {"n_estimators": [2, 5, 9], "max_depth": [1, 3]}}},
            "scoring": {"loss": {"name": "neg_log_loss", "sampleWeight": True}, "hits": "accuracy"},
            "refit": "loss",
        },
        lambda: GridSearchCV(
            weighted(RandomForestClassifier(random_state=0)),
            {"n_estimators": [2, 5, 9], "max_depth": [1, 3]},
            scoring={"hits": asking("accuracy", weights=False), "loss": asking("neg_log_loss")},
            refit="loss",
        ),
    ),
    "one that halving decides by": Case(
        {
            "search": {**CS, "halving": {"resource": "n_samples", "minResources": 30}},
            "scoring": {"score": AREA},
        },
        lambda: HalvingGridSearchCV(
            weighted(LogisticRegression()), {"C": [0.01, 0.1, 10]}, min_resources=30, return_train_score=False, scoring=asking("roc_auc"), random_state=0
        ),
    ),
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.usefixtures("routing")
def test_metrics_that_ask_for_weights_give_what_scikit_learn_gives_with_routing(
    name: str, folder: Path, tmp_path: Path
) -> None:
    X, y, weights = rows_of(folder)
    case = SEARCHES[name]
    want = case.search().set_params(cv=3).fit(X, y, sample_weight=weights)

    with sklearn.config_context(enable_metadata_routing=False):
        outcome = local.run(manifest(**case.changes), folder=folder, output=tmp_path / "out", stop=Stop())
        found = joblib.load(tmp_path / "out/search.joblib")

    assert_equal_to_the_bit(outcome.results.cv_results, want.cv_results_)
    assert (outcome.results.best_index, outcome.results.best_score) == (want.best_index_, want.best_score_)
    assert found.predict(X).tobytes() == want.predict(X).tobytes(), "the refit is weighted as it is there"
    given = {"sample_weight": weights} if "True" in str(case.changes["scoring"]) else {}
    assert found.score(X, y, **given) == want.score(X, y, **given), "it asks as its scorer did"


def test_weights_change_the_scores_of_the_metric_that_asks_and_of_no_other(folder: Path) -> None:
    def scores(*, weights: bool) -> Any:
        problem = prepare(
            manifest(scoring={"area": {**AREA, "sampleWeight": weights}, "hits": "accuracy"}, refit="area").spec, folder
        )
        fitted = problem.estimator.fit(problem.data.X, problem.data.y)
        return problem.scorer(fitted, problem.data.X, problem.data.y, **problem.params[1])

    with_weights, without = scores(weights=True), scores(weights=False)
    assert with_weights["area"] != without["area"]
    assert with_weights["hits"] == without["hits"]


@pytest.mark.slow
@pytest.mark.usefixtures("routing")
def test_an_outer_fold_is_scored_by_the_weights_of_its_rows(folder: Path, tmp_path: Path) -> None:
    X, y, weights = rows_of(folder)
    search = GridSearchCV(weighted(LogisticRegression()), {"C": [0.01, 0.1, 10]}, scoring=asking("roc_auc"), cv=3)
    want = cross_validate(search, X, y, cv=4, params={"sample_weight": weights}, scoring=asking("roc_auc"))

    nested = manifest(search={**CS, "nested": {"folds": 4}}, scoring={"area": AREA}, baseline=True)
    with sklearn.config_context(enable_metadata_routing=False):
        outcome = local.run(nested, folder=folder, output=tmp_path / "out", stop=Stop())

    assert outcome.answer.nested is not None
    assert list(outcome.answer.nested.scores) == list(want["test_score"])
    assert outcome.answer.baseline is not None
    assert np.isfinite([outcome.answer.baseline.defaults, outcome.answer.baseline.dummy]).all()


def test_whether_a_metric_is_weighted_is_part_of_a_fits_identity(folder: Path) -> None:
    def identity(**area: Any) -> str | None:
        return prepare(manifest(scoring={"area": {"name": "roc_auc", **area}}).spec, folder).identities.of(0, 0)

    assert len({identity(), identity(sampleWeight=True), identity(sampleWeight=False)}) == 3
    plain = prepare(manifest(scoring={"area": "roc_auc"}).spec, folder).identities.of(0, 0)
    assert identity() == plain, "a name in a map is the same metric"


def test_all_metrics_that_ask_are_of_scikit_learns_own_scorer_where_none_is_given_weights(folder: Path) -> None:
    problem = prepare(manifest(scoring={"area": {**AREA, "sampleWeight": False}}).spec, folder)
    assert not isinstance(problem.scorer, RoutedScorer)
    assert problem.params[1] == {}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scoring": {"a": AREA}, "data": {"path": "t.csv", "target": "y"}}, "spec.scoring.a.sampleWeight: must be left out or false without spec.data.sampleWeight, but got true. Name the column"),
        ({"scoring": {"a": {"name": "roc_auc", "params": {"max_fpr": 1}}}}, "spec.scoring.a: must be without params, greaterIsBetter and responseMethod beside a scorer or a name"),
        ({"scoring": {"a": {"name": "roc_auc", "scorer": "a.b"}}}, "spec.scoring.a: must be with exactly one of function, scorer and name"),
        ({"scoring": {"a": {"name": "roc", "sampleWeight": True}}}, "spec.scoring.a: must be the name of one of scikit-learn's scorers, but got 'roc'."),
        ({"scoring": {"a": {"name": "roc_auc", "sampleWeight": "yes"}}}, "spec.scoring.a.sampleWeight: must be true or false, but got 'yes'."),
        ({"scoring": {"a": {"name": "neg_max_error", "sampleWeight": True}}}, "spec.scoring.a.sampleWeight: must be false for a metric that takes no weights, but got True. max_error(y_true, y_pred) has no sample_weight."),
        ({"scoring": {"a": {"scorer": f"{OWN}.wrong", "sampleWeight": True}}}, "spec.scoring.a.sampleWeight: must be false for a scorer that cannot ask for weights, but got True. Write {function: PATH}"),
        ({"scoring": {"a": "roc_auc", "b": {"scorer": f"{OWN}.wrong"}}, "refit": "a"}, "spec.scoring.b: must be beside sampleWeight, true or false, in one metric at least, but got a scorer of your own. scikit-learn cannot tell"),
        ({"estimator": {"class": "sklearn.neighbors.KNeighborsClassifier"}, "search": {"grid": {"parameters": {"n_neighbors": [1]}}}, "scoring": {"a": {**AREA, "sampleWeight": False}}}, "spec.data.sampleWeight: must be left out for an estimator that takes no weights, but got 'w'."),
    ],
)  # fmt: skip
def test_weights_that_no_metric_can_have_are_refused_with_their_field(
    changes: dict[str, Any], told: str, folder: Path
) -> None:
    with pytest.raises(ManifestRefused) as refused:
        prepare(manifest(**changes).spec, folder)
    assert told in str(refused.value)


# --- from a script

DATA = {"path": "t.csv", "target": "y", "features": FEATURES, "sampleWeight": "w"}


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.usefixtures("routing")
def test_a_search_with_routing_is_written_as_the_manifest_that_says_the_same(name: str, folder: Path) -> None:
    search = SEARCHES[name].search()
    again = prepare(load(to_manifest(search, data=DATA)).spec, folder)
    by_hand = prepare(manifest(**SEARCHES[name].changes).spec, folder)
    assert [list(params) for params in again.params] == [list(params) for params in by_hand.params]
    assert [each.weighted for each in again.spec.metrics.all] == [each.weighted for each in by_hand.spec.metrics.all]


def of_logistic(estimator: Any, scoring: Any) -> GridSearchCV:
    return GridSearchCV(estimator, {"C": [0.1]}, scoring=scoring, refit=False)


@pytest.mark.parametrize(
    ("search", "told"),
    [
        (lambda: of_logistic(weighted(LogisticRegression()), {"a": asking("roc_auc", weights="trust")}), "scoring['a']: must be a scorer that asks for sample_weight by that name, or for nothing, but got set_score_request(sample_weight='trust')."),
        (lambda: of_logistic(LogisticRegression().set_fit_request(sample_weight=False), {"a": asking("roc_auc")}), "estimator: must be one whose fit is given the weights of the data, but got a LogisticRegression with set_fit_request(sample_weight=False)."),
        (lambda: of_logistic(weighted(LogisticRegression()).set_score_request(sample_weight=True), None), "scoring: must be given where scores ask for weights, but got"),
        (lambda: of_logistic(LogisticRegression().set_fit_request(sample_weight="trust"), {"a": asking("roc_auc")}), "estimator: must be an estimator that is no more than its parameters, but got a LogisticRegression with set_fit_request"),
        (lambda: GridSearchCV(Pipeline([("scale", weighted(StandardScaler())), ("model", weighted(LogisticRegression()))]), {"model__C": [1.0]}, scoring={"a": asking("roc_auc")}, refit=False), "estimator.get_params()['scale']: must be an estimator that is no more than its parameters"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("routing")
def test_what_is_asked_for_otherwise_is_refused_with_its_path(search: Callable[[], Any], told: str) -> None:
    with pytest.raises(ManifestRefused) as refused:
        to_manifest(search(), data=DATA)
    assert told in str(refused.value)


def test_weights_that_a_script_has_not_named_are_refused_where_a_metric_asks_for_them() -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        search = of_logistic(weighted(LogisticRegression()), {"a": asking("roc_auc")})
    with pytest.raises(ManifestRefused, match=r"spec\.scoring\.a\.sampleWeight: must be left out or false without"):
        to_manifest(search, data={"path": "t.csv", "target": "y"})


def test_with_routing_fit_of_a_pipeline_is_given_weights_by_their_own_name(folder: Path) -> None:
    X, y, weights = rows_of(folder)
    with sklearn.config_context(enable_metadata_routing=True):
        search = SEARCHES["one of two metrics, of a pipeline whose last step is weighted"].search()
        assert set(given_to_fit(search, X, y, {"sample_weight": weights})) == {"X", "y", "sample_weight"}
        assert named_to_fit(search, "s3://b/t.csv", "y", {"sample_weight": "w"})["data"]["sampleWeight"] == "w"
        to_manifest(search, data=not_yet_sent(search, {"sample_weight": weights}))
    with pytest.raises(ManifestRefused, match="model__sample_weight"):
        given_to_fit(search, X, y, {"sample_weight": weights})
