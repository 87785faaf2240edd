"""Searches of files as people have them, by manifest, are equal to the bit to what scikit-learn and pandas do by hand."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.neighbors import KernelDensity, KNeighborsClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.search import own_data
from tests.truth import assert_equal_to_the_bit
from tuningjob import local
from tuningjob.errors import ManifestRefused
from tuningjob.manifest import load
from tuningjob.search.problem import prepare
from tuningjob.search.stop import Stop

ROWS = 120


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One table, as CSV in two ways and as Parquet: numbers, a city, a day, a text, weights; targets of each kind."""
    folder = tmp_path_factory.mktemp("tables")
    rng = np.random.default_rng(7)
    a, b = rng.normal(size=ROWS), rng.normal(size=ROWS)
    score = a + 0.5 * b + rng.normal(scale=0.7, size=ROWS)
    frame = pd.DataFrame(
        {
            "id": [f"c{i}" for i in range(ROWS)],
            "day": pd.Timestamp("2025-01-01") + pd.to_timedelta(rng.permutation(ROWS) // 2, unit="D"),
            "a": a,
            "b": b,
            "city": rng.choice(["Ulm", "Bonn", "Kiel"], size=ROWS),
            "text": [" ".join(rng.choice(["good", "bad", "fine", "late", "cold"], size=6)) for _ in range(ROWS)],
            "weight": rng.integers(0, 4, size=ROWS),
            "churn": np.where(score > 0, "yes", "no"),
            "left": score > 0.3,
            "price": score,
            "cost": score**2 + b,
            "tag0": (score > 0).astype(int),
            "tag1": (b > 0).astype(int),
        }
    )
    frame.to_csv(folder / "t.csv", index=False)
    frame.to_csv(folder / "de.csv", index=False, sep=";", decimal=",", encoding="latin-1", date_format="%d.%m.%Y")
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False, nthreads=1), folder / "t.parquet")
    return folder


@dataclass
class Case:
    """A manifest's part of the spec, and the same by hand: a search, and what its fit is given."""

    spec: dict[str, Any]
    search: Any
    given: Callable[[Path], tuple[Any, ...]]
    weight: Callable[[Path], dict[str, Any]] = lambda _: {}


def of(path: str = "t.csv", **data: Any) -> dict[str, Any]:
    return {"path": path, **data}


def grid(estimator: Any, params: dict[str, Any], **others: Any) -> GridSearchCV:
    return GridSearchCV(estimator, params, cv=3, **others)


def parquet(folder: Path) -> pd.DataFrame:
    """As pandas.read_parquet, which leaves threads behind."""
    with pq.ParquetFile(folder / "t.parquet", pre_buffer=False) as file:
        return file.read(use_threads=False).to_pandas(use_threads=False)


def csv(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "t.csv")


def parted(frame: pd.DataFrame, target: str, *more: str) -> tuple[Any, Any]:
    frame = frame.sort_values("day", kind="stable")
    return frame[["a", "b", *more]], frame[target]


def tree(**spec: Any) -> dict[str, Any]:
    return {
        "estimator": {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}},
        "search": {"grid": {"parameters": {"max_depth": [1, 3]}}},
        **spec,
    }


TREE = DecisionTreeClassifier(random_state=0)
DE: dict[str, Any] = {
    "sep": ";",
    "decimal": ",",
    "encoding": "latin-1",
    "parse_dates": ["day"],
    "date_format": "%d.%m.%Y",
}
CASES: dict[str, Case] = {
    "text as labels": Case(
        tree(data=of(target="churn", features=["a", "b"]), scoring="f1_macro"),
        grid(TREE, {"max_depth": [1, 3]}, scoring="f1_macro"),
        lambda folder: (csv(folder)[["a", "b"]], csv(folder)["churn"]),
    ),
    "true and false as labels": Case(
        tree(data=of(target="left", features=["a", "b"]), scoring="f1"),
        grid(TREE, {"max_depth": [1, 3]}, scoring="f1"),
        lambda folder: (csv(folder)[["a", "b"]], csv(folder)["left"]),
    ),
    "a file of another country, with categories and an index, sorted by its dates": Case(
        {
            "estimator": {
                "class": "sklearn.ensemble.HistGradientBoostingClassifier",
                "params": {"random_state": 0, "categorical_features": "from_dtype", "max_iter": 10},
            },
            "search": {"grid": {"parameters": {"max_leaf_nodes": [3, 5]}}},
            "data": of(
                "de.csv",
                target="churn",
                exclude=["text", "weight", "left", "price", "cost", "tag0", "tag1"],
                sort="day",
                read={
                    "delimiter": ";",
                    "decimal": ",",
                    "encoding": "latin-1",
                    "parseDates": ["day"],
                    "dateFormat": "%d.%m.%Y",
                    "categories": ["city"],
                    "indexColumn": "id",
                },
            ),
        },
        grid(
            HistGradientBoostingClassifier(random_state=0, categorical_features="from_dtype", max_iter=10),
            {"max_leaf_nodes": [3, 5]},
        ),
        lambda folder: parted(
            pd.read_csv(folder / "de.csv", **DE, dtype={"city": "category"}, index_col="id"), "churn", "city"
        ),
    ),
    "a category by one-hot, a date as a feature left out": Case(
        {
            "estimator": {
                "pipeline": [
                    {
                        "name": "columns",
                        "class": "sklearn.compose.ColumnTransformer",
                        "params": {
                            "transformers": [
                                ["city", {"class": "sklearn.preprocessing.OneHotEncoder"}, ["city"]],
                                ["rest", {"class": "sklearn.preprocessing.StandardScaler"}, ["a", "b"]],
                            ]
                        },
                    },
                    {"name": "svc", "class": "sklearn.svm.SVC"},
                ]
            },
            "search": {"grid": {"parameters": {"svc__C": [0.1, 1]}}},
            "data": of(target="churn", features=["a", "b", "city"], sort="day"),
        },
        grid(
            Pipeline(
                [
                    (
                        "columns",
                        ColumnTransformer(
                            [("city", OneHotEncoder(), ["city"]), ("rest", StandardScaler(), ["a", "b"])]
                        ),
                    ),
                    ("svc", SVC()),
                ]
            ),
            {"svc__C": [0.1, 1]},
        ),
        lambda folder: parted(csv(folder), "churn", "city"),
    ),
    "weights": Case(
        {
            "estimator": {"class": "sklearn.linear_model.LogisticRegression"},
            "search": {"grid": {"parameters": {"C": [0.01, 1]}}},
            "data": of(target="churn", features=["a", "b"], sampleWeight="weight"),
            "returnTrainScore": True,
        },
        grid(LogisticRegression(), {"C": [0.01, 1]}, return_train_score=True),
        lambda folder: (csv(folder)[["a", "b"]], csv(folder)["churn"]),
        lambda folder: {"sample_weight": csv(folder)["weight"]},
    ),
    "weights for the last step of a pipeline": Case(
        {
            "estimator": {
                "pipeline": [
                    {"name": "scale", "class": "sklearn.preprocessing.StandardScaler"},
                    {"name": "svc", "class": "sklearn.svm.SVC"},
                ]
            },
            "search": {"grid": {"parameters": {"svc__C": [0.1, 1], "scale__with_mean": [True, False]}}},
            "data": of("t.parquet", target="tag0", features=["a", "b"], sampleWeight="weight", sort="day"),
        },
        grid(
            Pipeline([("scale", StandardScaler()), ("svc", SVC())]),
            {"svc__C": [0.1, 1], "scale__with_mean": [True, False]},
        ),
        lambda folder: parted(parquet(folder), "tag0"),
        lambda folder: {
            "svc__sample_weight": parquet(folder).sort_values("day", kind="stable")["weight"]
        },
    ),
    "weights where one fit serves several candidates": Case(
        {
            "estimator": {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"random_state": 0}},
            "search": {"grid": {"parameters": {"n_estimators": [3, 6, 9]}}},
            "data": of(target="churn", exclude=["id", "day", "city", "text", "left", "price", "cost", "tag0", "tag1"], sampleWeight="weight"),
        },
        grid(RandomForestClassifier(random_state=0), {"n_estimators": [3, 6, 9]}),
        lambda folder: (csv(folder)[["a", "b"]], csv(folder)["churn"]),
        lambda folder: {"sample_weight": csv(folder)["weight"]},
    ),
    "weights through a meta-estimator": Case(
        {
            "estimator": {
                "class": "sklearn.compose.TransformedTargetRegressor",
                "params": {"regressor": {"class": "sklearn.linear_model.Ridge"}, "transformer": {"class": "sklearn.preprocessing.StandardScaler"}},
            },
            "search": {"grid": {"parameters": {"regressor__alpha": [0.1, 10]}}},
            "data": of(target="price", features=["a", "b"], sampleWeight="weight"),
        },
        grid(TransformedTargetRegressor(regressor=Ridge(), transformer=StandardScaler()), {"regressor__alpha": [0.1, 10]}),
        lambda folder: (csv(folder)[["a", "b"]], csv(folder)["price"]),
        lambda folder: {"sample_weight": csv(folder)["weight"]},
    ),
    "several targets": Case(
        {
            "estimator": {"class": "sklearn.tree.DecisionTreeRegressor", "params": {"random_state": 0}},
            "search": {"grid": {"parameters": {"max_depth": [1, 3, None]}}},
            "data": of(target=["price", "cost"], features=["a", "b"]),
            "scoring": "neg_mean_absolute_error",
        },
        grid(DecisionTreeRegressor(random_state=0), {"max_depth": [1, 3, None]}, scoring="neg_mean_absolute_error"),
        lambda folder: (csv(folder)[["a", "b"]], csv(folder)[["price", "cost"]]),
    ),
    "several labels": Case(
        {
            "estimator": {"class": "sklearn.neighbors.KNeighborsClassifier"},
            "search": {"grid": {"parameters": {"n_neighbors": [1, 5]}}},
            "data": of(target=["tag0", "tag1"], features=["a", "b"]),
            "scoring": "f1_macro",
        },
        grid(KNeighborsClassifier(), {"n_neighbors": [1, 5]}, scoring="f1_macro"),
        lambda folder: (csv(folder)[["a", "b"]], csv(folder)[["tag0", "tag1"]]),
    ),
    "documents": Case(
        {
            "estimator": {
                "pipeline": [
                    {"name": "tfidf", "class": "sklearn.feature_extraction.text.TfidfVectorizer"},
                    {"name": "model", "class": "sklearn.linear_model.LogisticRegression"},
                ]
            },
            "search": {"grid": {"parameters": {"tfidf__ngram_range": [{"tuple": [1, 1]}, {"tuple": [1, 2]}], "model__C": [1, 10]}}},
            "data": of(target="churn", features="text"),
        },
        grid(
            Pipeline([("tfidf", TfidfVectorizer()), ("model", LogisticRegression())]),
            {"tfidf__ngram_range": [(1, 1), (1, 2)], "model__C": [1, 10]},
        ),
        lambda folder: (csv(folder)["text"], csv(folder)["churn"]),
    ),
    "clusters": Case(
        {
            "estimator": {"class": "sklearn.cluster.KMeans", "params": {"random_state": 0, "n_init": 2}},
            "search": {"grid": {"parameters": {"n_clusters": [2, 3]}}},
            "data": of(features=["a", "b"]),
        },
        grid(KMeans(random_state=0, n_init=2), {"n_clusters": [2, 3]}),
        lambda folder: (csv(folder)[["a", "b"]],),
    ),
    "weighted clusters after a step": Case(
        {
            "estimator": {
                "pipeline": [
                    {"name": "pca", "class": "sklearn.decomposition.PCA"},
                    {"name": "kmeans", "class": "sklearn.cluster.KMeans", "params": {"random_state": 0, "n_init": 2}},
                ]
            },
            "search": {"grid": {"parameters": {"kmeans__n_clusters": [2, 3]}}},
            "data": of(features=["a", "b"], sampleWeight="weight"),
        },
        grid(Pipeline([("pca", PCA()), ("kmeans", KMeans(random_state=0, n_init=2))]), {"kmeans__n_clusters": [2, 3]}),
        lambda folder: (csv(folder)[["a", "b"]],),
        lambda folder: {"kmeans__sample_weight": csv(folder)["weight"]},
    ),
    "a density": Case(
        {
            "estimator": {"class": "sklearn.neighbors.KernelDensity"},
            "search": {"grid": {"parameters": {"bandwidth": [0.1, 1]}}},
            "data": of(exclude=["id", "day", "city", "text", "weight", "churn", "left", "price", "cost", "tag0", "tag1"]),
            "returnTrainScore": True,
        },
        grid(KernelDensity(), {"bandwidth": [0.1, 1]}, return_train_score=True),
        lambda folder: (csv(folder)[["a", "b"]],),
    ),
    "a mixture, drawn": Case(
        {
            "estimator": {"class": "sklearn.mixture.GaussianMixture", "params": {"random_state": 0}},
            "search": {"random": {"parameters": {"n_components": {"range": [1, 6]}}, "iterations": 3, "randomState": 1}},
            "data": of(features=["a", "b"]),
        },
        RandomizedSearchCV(GaussianMixture(random_state=0), {"n_components": list(range(1, 6))}, n_iter=3, random_state=1, cv=3),
        lambda folder: (csv(folder)[["a", "b"]],),
    ),
    "a function of one's own": Case(
        tree(data={"function": "tests.search.own_data.load", "params": {"rows": 60, "random_state": 2}}),
        grid(TREE, {"max_depth": [1, 3]}),
        lambda _: own_data.load(60, random_state=2),
    ),
    "a function that gives nothing to predict": Case(
        {
            "estimator": {"class": "sklearn.cluster.KMeans", "params": {"random_state": 0}},
            "search": {"grid": {"parameters": {"n_clusters": [2, 3]}}},
            "data": {"function": "tests.search.own_data.nothing_to_predict"},
        },
        grid(KMeans(random_state=0), {"n_clusters": [2, 3]}),
        lambda _: own_data.nothing_to_predict()[:1],
    ),
    "components, by their own score": Case(
        {
            "estimator": {"class": "sklearn.decomposition.PCA"},
            "search": {"grid": {"parameters": {"n_components": [1, 2]}}},
            "data": of(features=["a", "b"]),
        },
        grid(PCA(), {"n_components": [1, 2]}),
        lambda folder: (csv(folder)[["a", "b"]],),
    ),
}  # fmt: skip


def manifest(spec: dict[str, Any]) -> Any:
    return load(
        {
            "apiVersion": "tuningjob.dev/v1alpha1",
            "kind": "TuningJob",
            "metadata": {"name": "file"},
            "spec": {"crossValidation": {"folds": 3}, "baseline": False, **spec},
        }
    )


QUICK = {"true and false as labels", "weights", "clusters"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in CASES]
)
def test_a_search_of_a_file_is_equal_to_scikit_learns_by_hand(name: str, folder: Path, tmp_path: Path) -> None:
    case = CASES[name]
    want = case.search.fit(*case.given(folder), **case.weight(folder))

    outcome = local.run(manifest(case.spec), folder=folder, output=tmp_path, stop=Stop())

    assert outcome.results.failed_fits == 0
    assert_equal_to_the_bit(outcome.results.cv_results, want.cv_results_)
    assert (outcome.results.best_index, outcome.results.best_score) == (want.best_index_, want.best_score_)
    # and fitted on all the data as scikit-learn refits
    X = case.given(folder)[0]
    method = next(each for each in ("predict", "transform", "score_samples") if hasattr(want, each))
    found = getattr(joblib.load(tmp_path / "model.joblib"), method)(X)
    np.testing.assert_array_equal(found, getattr(want, method)(X))


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"data": of(target="churn", features=["a"], sampleWeight="wait")}, "spec.data.sampleWeight: must be a column of t.csv, but got 'wait'. Did you mean 'weight'?"),
        ({"data": of(target="churn", features=["b"], sampleWeight="a")}, "spec.data.sampleWeight: must be a column of numbers, none of them missing, negative or infinite, but got 'a'."),
        ({"data": of(target="churn", features=["b"], sampleWeight="city")}, "but got 'city'. It is of type"),
        ({"data": of(target="churn", features=["b"], sampleWeight="left")}, "but got 'left'. It is of type bool."),
        ({"data": of(target="churn", sampleWeight="weight"), "estimator": {"class": "sklearn.neighbors.KNeighborsClassifier"}, "search": {"grid": {"parameters": {"n_neighbors": [1]}}}}, "spec.data.sampleWeight: must be left out for an estimator that takes no weights, but got 'weight'. The fit of KNeighborsClassifier takes no sample_weight"),
        ({"data": of(features=["a"])}, "spec.data.target: must be given for DecisionTreeClassifier, but got nothing. Name the column to predict."),
        ({"data": of(features=["a"]), "estimator": {"class": "sklearn.cluster.KMeans"}, "search": {"grid": {"parameters": {"n_clusters": [2]}}}, "scoring": "adjusted_rand_score"}, "spec.scoring: must be one that needs no y, if spec.data.target is not given, but got 'adjusted_rand_score'."),
        ({"data": of(target=["tag0", "tag2"], features=["a"])}, "spec.data.target[1]: must be a column of t.csv, but got 'tag2'."),
        ({"data": of(target="churn", features="txt")}, "spec.data.features: must be a column of t.csv, but got 'txt'. Did you mean 'text'?"),
    ],
)  # fmt: skip
def test_what_cannot_be_so_is_refused_before_anything_runs(folder: Path, change: dict[str, Any], want: str) -> None:
    with pytest.raises(ManifestRefused) as refused:
        prepare(manifest(tree(**change)).spec, folder)
    assert want in str(refused.value)


@pytest.mark.parametrize(
    ("values", "want"),
    [("1,,2", "1 of 3 are missing."), ("1,-1,-2", "2 of 3 are negative."), ("1,inf,2", "1 of 3 are infinite.")],
)
def test_weights_that_count_for_nothing_known_are_refused(tmp_path: Path, values: str, want: str) -> None:
    rows = [f"{i},{i % 2},{weight}" for i, weight in enumerate(values.split(","))]
    (tmp_path / "t.csv").write_text("\n".join(["a,y,w", *rows, ""]))
    with pytest.raises(ManifestRefused, match=want):
        prepare(manifest(tree(data=of(target="y", sampleWeight="w"))).spec, tmp_path)


def test_weights_decide_the_identity_and_their_absence_leaves_it_as_it_was(folder: Path) -> None:
    data = of(target="churn", features=["a", "b"])
    plain = prepare(manifest(tree(data=data)).spec, folder)
    weighted = prepare(manifest(tree(data={**data, "sampleWeight": "weight"})).spec, folder)
    frame = csv(folder)
    assert plain.data.digest == joblib.hash((frame[["a", "b"]], frame["churn"]), hash_name="sha1")
    assert weighted.data.digest != plain.data.digest
    assert weighted.identities.of(0, 0) != plain.identities.of(0, 0)
