"""A table of searches: what a manifest says, and beside it what somebody writes in Python. ``test_sixty`` holds the one against the other.

A row leaves out of its manifest what most rows have: a tree of two depths, three folds, and the columns a, b and c of ``t.csv``.
"""
# Its lines are as long as what they say, so that both sides of a search stand beside each other.

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import scipy.stats
from sklearn import model_selection as ms
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector
from sklearn.datasets import load_wine, make_classification
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.feature_selection import SelectKBest, f_classif
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import brier_score_loss, fbeta_score, make_scorer, mean_pinball_loss, roc_auc_score
from sklearn.mixture import GaussianMixture
from sklearn.naive_bayes import GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from tests.search import own_data, own_metrics, own_models
from tests.search.splitters import EachGroup, Halves
from tuningjob.aliases import Estimator

ROWS: Final = 72
ABC: Final = ["a", "b", "c"]
USUAL: Final[dict[str, Any]] = {
    "estimator": {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}},
    "search": {"grid": {"parameters": {"max_depth": [1, 3]}}},
    "crossValidation": {"folds": 3},
    "data": {"path": "t.csv", "target": "sick", "features": ABC},
}


def table() -> pd.DataFrame:
    """Numbers, groups, folds, a day, a city, words, weights; targets of every kind."""
    draw = np.random.default_rng(5)
    rows = pd.DataFrame(draw.normal(size=(ROWS, 3)), columns=ABC)
    rows["day"] = pd.Timestamp("2025-01-01") + pd.to_timedelta(draw.permutation(ROWS), unit="D")
    rows["patient"] = [f"p{number}" for number in draw.integers(0, 9, ROWS)]
    rows["fold"] = draw.integers(-1, 3, ROWS)
    rows["city"] = draw.choice(["Ulm", "Bonn", "Kiel"], ROWS)
    rows["words"] = [" ".join(draw.choice(["good", "bad", "fine", "late", "cold"], 5)) for _ in range(ROWS)]
    rows["weight"] = draw.integers(1, 4, ROWS)
    rows["pressure"] = rows["b"] * 3 + draw.normal(size=ROWS)
    rows["high"] = (rows["pressure"] > 0).astype(int)
    rows["tall"] = (rows["c"] > 0).astype(int)
    rows["sick"] = np.where(rows["a"] + draw.normal(size=ROWS) > 0, "yes", "no")
    rows["ill"] = rows["sick"] == "yes"
    return rows


# as pandas reads them, and as they are written: a file of Germany and one of a spreadsheet without a header
GERMAN: Final[dict[str, Any]] = {
    "sep": ";", "decimal": ",", "thousands": ".", "encoding": "latin-1", "quotechar": "'", "doublequote": False, "escapechar": "\\",
    "comment": "#", "skipinitialspace": True, "skiprows": 1, "na_values": ["k.A."], "keep_default_na": False,
    "true_values": ["ja"], "false_values": ["nein"], "parse_dates": ["day"], "date_format": "%d.%m.%Y", "dayfirst": True, "index_col": "id", "quoting": 0,
    "header": 0, "names": ["id", "a", "b", "c", "day", "city", "ill"], "dtype": {"a": "float32", "city": "category"},
}  # fmt: skip
BARE: Final[dict[str, Any]] = {
    "sep": "|", "decimal": ",", "thousands": "_", "encoding": "cp1252", "quotechar": "~", "doublequote": False, "escapechar": "^",
    "comment": "%", "skipinitialspace": True, "skiprows": 2, "na_values": ["?"], "keep_default_na": False, "header": None,
    "true_values": ["oui"], "false_values": ["non"], "parse_dates": ["day"], "date_format": "%d/%m/%Y", "dayfirst": True, "index_col": "id", "quoting": 3,
    "names": ["id", "a", "b", "c", "day", "city", "ill"], "dtype": {"b": "float32", "city": "category"},
}  # fmt: skip


def write(folder: Path) -> None:
    """The table in each of its forms."""
    rows = table()
    rows.to_csv(folder / "t.csv", index=False)
    (folder / "parts").mkdir()
    arrow = pa.Table.from_pandas(rows, preserve_index=False, nthreads=1)
    pq.write_table(arrow, folder / "t.parquet")
    pq.write_table(arrow, folder / "t.dat")
    rows.to_csv(folder / "t.txt", index=False)
    for part, (first, last) in enumerate([(0, 30), (30, ROWS)]):
        pq.write_table(arrow.slice(first, last - first), folder / "parts" / f"{part}.parquet")
    with sqlite3.connect(folder / "t.db") as database:
        rows.assign(id=range(ROWS)).to_sql("t", database, index=False)
    database.close()
    for name, sep, said, before in (
        ("german.csv", ";", "ja nein", "of Köln\n"),
        ("bare.csv", "|", "oui non", "a\nb\n"),
    ):
        yes, no = said.split()
        some = rows.assign(
            id=[f"r{i}" for i in range(ROWS)],
            ill=np.where(rows["ill"], yes, no),
            day=rows["day"].dt.strftime("%d.%m.%Y" if sep == ";" else "%d/%m/%Y"),
            **{each: [f"{value:.6f}".replace(".", ",") for value in rows[each]] for each in ABC},
        )[["id", *ABC, "day", "city", "ill"]]
        some.loc[3, "c"] = "k.A." if sep == ";" else "?"
        text = some.to_csv(index=False, sep=sep, header=sep == ";")
        encoding = "latin-1" if sep == ";" else "cp1252"
        (folder / name).write_bytes((before + text).encode(encoding))


# --- what is written by hand


@dataclass(frozen=True)
class Hand:
    """A search of scikit-learn's, made and fitted by hand."""

    search: Any
    X: Any
    y: Any = None
    fit: dict[str, Any] = field(default_factory=dict)


Row = tuple[dict[str, Any], Callable[[Path], Hand]]


def tree(**params: Any) -> Estimator:
    return DecisionTreeClassifier(random_state=0, **params)


def grid(estimator: Any = None, parameters: Any = None, *, cv: Any = 3, **words: Any) -> ms.GridSearchCV:
    return ms.GridSearchCV(estimator or tree(), parameters or {"max_depth": [1, 3]}, cv=cv, **words)


def usual(
    search: Any, target: Any = "sick", columns: Any = ABC, rows: pd.DataFrame | None = None, **given: Any
) -> Callable[[Path], Hand]:
    """On these columns of the table, or of other rows."""

    def hand(_: Path) -> Hand:
        found = pd.read_csv(_ / "t.csv") if rows is None else rows
        return Hand(search, found[columns], found[target], {name: found[of] for name, of in given.items()})

    return hand


def of_file(
    search: Any, read: Callable[[Path], pd.DataFrame], target: str | None = "sick", columns: Any = ABC
) -> Callable[[Path], Hand]:
    def hand(folder: Path) -> Hand:
        found = read(folder)
        return Hand(search, found[columns], None if target is None else found[target])

    return hand


def by_day(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "t.csv").sort_values("day", kind="stable")


def parquet(folder: Path) -> pd.DataFrame:
    """As pandas.read_parquet, which leaves threads behind."""
    with pq.ParquetFile(folder / "t.parquet", pre_buffer=False) as file:
        return file.read(use_threads=False).to_pandas(use_threads=False)


def of_class(path: str, **params: Any) -> dict[str, Any]:
    return {"class": f"sklearn.{path}", "params": params} if params else {"class": f"sklearn.{path}"}


def splitter(name: str, **params: Any) -> dict[str, Any]:
    return {"splitter": of_class(f"model_selection.{name}", **params)}


def gridded(estimator: dict[str, Any], parameters: Any, **words: Any) -> dict[str, Any]:
    return {"estimator": estimator, "search": {"grid": {"parameters": parameters}}, **words}


def from_data(**data: Any) -> dict[str, Any]:
    return {"data": {"target": "sick", "features": ABC, **data}}


def rule(choose: Callable[[pd.DataFrame], int]) -> Callable[[dict[str, Any]], int]:
    """A refit callable."""
    return lambda results: choose(pd.DataFrame(results))


def position(label: Any) -> int:
    """Of a row of a frame that is numbered from 0 on."""
    return int(label)


def within_an_error(results: pd.DataFrame) -> pd.DataFrame:
    """Candidates within one standard error of the best one."""
    best = position(results["mean_test_score"].idxmax())
    scores = [results[f"split{i}_test_score"][best] for i in range(3)]
    return results[results["mean_test_score"] >= results["mean_test_score"][best] - np.std(scores, ddof=1) / np.sqrt(3)]


def shallowest(results: pd.DataFrame) -> int:
    return position(within_an_error(results)["param_max_depth"].astype(float).idxmin())


def largest_leaf(results: pd.DataFrame) -> int:
    return position(within_an_error(results)["param_min_samples_leaf"].astype(float).idxmax())


def stablest(deviations: float) -> Callable[[pd.DataFrame], int]:
    return lambda results: position((results["mean_test_score"] - deviations * results["std_test_score"]).idxmax())


def fastest(most: float) -> Callable[[pd.DataFrame], int]:
    def choose(results: pd.DataFrame) -> int:
        near = results[results["mean_test_score"] >= results["mean_test_score"].max() - most]
        return position(
            near.sort_values(["mean_fit_time", "mean_test_score"], ascending=[True, False], kind="stable").index[0]
        )

    return choose


def fastest_by_errors(count: float) -> Callable[[pd.DataFrame], int]:
    def choose(results: pd.DataFrame) -> int:
        best = position(results["mean_test_score"].idxmax())
        return fastest(count * results["std_test_score"][best] / np.sqrt(3 - 1))(results)

    return choose


def within_gap(most: float) -> Callable[[pd.DataFrame], int]:
    def choose(results: pd.DataFrame) -> int:
        gap = results["mean_train_score"] - results["mean_test_score"]
        near = results[gap <= most] if (gap <= most).any() else results[gap == gap.min()]
        return position(near["mean_test_score"].idxmax())

    return choose


LEAVES: Final = {"max_depth": [8, 4, 2, 1], "min_samples_leaf": [1, 9]}
DRAWN: Final = {"C": {"loguniform": [0.01, 100]}, "gamma": {"uniform": [0, 0.5]}, "degree": {"randint": [2, 5]}}
DRAWN_BY_HAND: Final = {
    "C": scipy.stats.loguniform(0.01, 100),
    "gamma": scipy.stats.uniform(0, 0.5),
    "degree": scipy.stats.randint(2, 5),
}
LOGISTIC: Final = of_class("linear_model.LogisticRegression")
SCALER: Final = of_class("preprocessing.StandardScaler")
CS: Final = [0.1, 10]
MINE: Final = "tests.search"
READ_GERMAN: Final = {
    "delimiter": ";", "decimal": ",", "thousands": ".", "encoding": "latin-1", "quoteChar": "'", "doubleQuote": False, "escapeChar": "\\",
    "comment": "#", "skipInitialSpace": True, "skipRows": 1, "naValues": ["k.A."], "keepDefaultNa": False,
    "trueValues": ["ja"], "falseValues": ["nein"], "parseDates": ["day"], "dateFormat": "%d.%m.%Y", "dayFirst": True, "indexColumn": "id", "quoting": "minimal",
    "header": True, "names": ["id", "a", "b", "c", "day", "city", "ill"], "dtypes": {"a": "float32"}, "categories": ["city"],
}  # fmt: skip
READ_BARE: Final = {
    "delimiter": "|", "decimal": ",", "thousands": "_", "encoding": "cp1252", "quoteChar": "~", "doubleQuote": False, "escapeChar": "^",
    "comment": "%", "skipInitialSpace": True, "skipRows": 2, "naValues": ["?"], "keepDefaultNa": False, "header": False,
    "trueValues": ["oui"], "falseValues": ["non"], "parseDates": ["day"], "dateFormat": "%d/%m/%Y", "dayFirst": True, "indexColumn": "id", "quoting": "none",
    "names": ["id", "a", "b", "c", "day", "city", "ill"], "dtypes": {"b": "float32"}, "categories": ["city"],
}  # fmt: skip
COLUMNS: Final[list[dict[str, Any]]] = [
    {"name": "numbers", "columns": {"pattern": "^[ab]$"}, **SCALER},
    {"name": "city", "columns": ["city"], **of_class("preprocessing.OneHotEncoder")},
    {"name": "words", "columns": "words", **of_class("feature_extraction.text.TfidfVectorizer")},
]
COLUMNS_BY_HAND: Final[list[Any]] = [
    ("numbers", StandardScaler(), make_column_selector(pattern="^[ab]$")),
    ("city", OneHotEncoder(), ["city"]),
    ("words", TfidfVectorizer(), "words"),
]
FEATURES: Final = ["a", "b", "city", "words"]
SQL: Final = "SELECT a, b, c, sick FROM t WHERE patient <> 'p0' ORDER BY id"
HIST: Final = ["c", "city"]

ROWS_OF_SPLITS: Final[dict[str, Row]] = {
    "folds": ({"crossValidation": {"folds": 4}}, usual(grid(cv=4))),
    "shuffled folds": ({"crossValidation": {"folds": 3, "shuffle": True, "randomState": 3}}, usual(grid(cv=ms.StratifiedKFold(3, shuffle=True, random_state=3)))),
    "repeated folds": ({"crossValidation": {"folds": 3, "repeats": 2, "randomState": 1}}, usual(grid(cv=ms.RepeatedStratifiedKFold(n_splits=3, n_repeats=2, random_state=1)))),
    "repeated folds of numbers": ({**gridded(of_class("linear_model.Ridge"), {"alpha": CS}), **from_data(path="t.csv", target="pressure"), "crossValidation": {"folds": 2, "repeats": 3, "randomState": 7}}, usual(grid(Ridge(), {"alpha": CS}, cv=ms.RepeatedKFold(n_splits=2, n_repeats=3, random_state=7)), "pressure")),
    "folds of groups": ({"crossValidation": {"folds": 3, "groups": "patient"}}, usual(grid(cv=ms.StratifiedGroupKFold(3)), groups="patient")),
    "shuffled groups of numbers": ({**gridded(of_class("linear_model.Ridge"), {"alpha": CS}), **from_data(path="t.csv", target="pressure"), "crossValidation": {"folds": 3, "groups": "patient", "shuffle": True, "randomState": 2}}, usual(grid(Ridge(), {"alpha": CS}, cv=ms.GroupKFold(3, shuffle=True, random_state=2)), "pressure", groups="patient")),
    "predefined folds": ({"crossValidation": {"predefined": "fold"}}, usual(grid(cv=ms.PredefinedSplit(table()["fold"])))),
    "predefined folds of numbers": ({**gridded(of_class("tree.DecisionTreeRegressor", random_state=1), {"max_depth": [2, 4]}), **from_data(path="t.csv", target="pressure"), "crossValidation": {"predefined": "fold"}}, usual(grid(DecisionTreeRegressor(random_state=1), {"max_depth": [2, 4]}, cv=ms.PredefinedSplit(table()["fold"])), "pressure")),
    "a time series": ({**from_data(path="t.csv", sort="day"), "crossValidation": splitter("TimeSeriesSplit", n_splits=3, gap=2)}, of_file(grid(cv=ms.TimeSeriesSplit(3, gap=2)), by_day)),
    "a time series of numbers": ({**gridded(of_class("linear_model.Ridge"), {"alpha": CS}), **from_data(path="t.csv", target="pressure", sort="day"), "crossValidation": splitter("TimeSeriesSplit", n_splits=4)}, of_file(grid(Ridge(), {"alpha": CS}, cv=ms.TimeSeriesSplit(4)), by_day, "pressure")),
    "one group left out": ({"crossValidation": {**splitter("LeaveOneGroupOut"), "groups": "patient"}}, usual(grid(cv=ms.LeaveOneGroupOut()), groups="patient")),
    "shuffle split": ({"crossValidation": splitter("ShuffleSplit", n_splits=3, test_size=0.3, random_state=7)}, usual(grid(cv=ms.ShuffleSplit(3, test_size=0.3, random_state=7)))),
    "a splitter of one's own": ({"crossValidation": {"splitter": {"class": f"{MINE}.splitters.Halves", "params": {"size": 9}}}}, usual(grid(cv=Halves(9)))),
    "groups of one's own": ({"crossValidation": {"splitter": {"class": f"{MINE}.splitters.EachGroup"}, "groups": "patient"}}, usual(grid(cv=EachGroup()), groups="patient")),
}  # fmt: skip

ROWS_OF_METRICS: Final[dict[str, Row]] = {
    "a scorer's name": ({"scoring": "balanced_accuracy", "returnTrainScore": True}, usual(grid(scoring="balanced_accuracy", return_train_score=True))),
    "several names": ({"scoring": ["accuracy", "roc_auc"], "refit": "roc_auc"}, usual(grid(scoring=["accuracy", "roc_auc"], refit="roc_auc"))),
    "names of one's own": ({"scoring": {"hits": "accuracy", "area": "roc_auc"}, "refit": "area", "returnTrainScore": True}, usual(grid(scoring={"area": "roc_auc", "hits": "accuracy"}, refit="area", return_train_score=True))),
    "a function with params": ({"scoring": {"f2": {"function": "sklearn.metrics.fbeta_score", "params": {"beta": 2, "pos_label": "yes"}}}}, usual(grid(scoring={"f2": make_scorer(fbeta_score, beta=2, pos_label="yes")}, refit="f2"))),
    "a loss of probabilities": ({"scoring": {"brier": {"function": "sklearn.metrics.brier_score_loss", "params": {"pos_label": "yes"}, "greaterIsBetter": False, "responseMethod": "predict_proba"}}}, usual(grid(scoring={"brier": make_scorer(brier_score_loss, greater_is_better=False, response_method="predict_proba", pos_label="yes")}, refit="brier"))),
    "methods of which the first counts": (gridded(of_class("svm.SVC"), {"C": CS}, scoring={"area": {"function": "sklearn.metrics.roc_auc_score", "responseMethod": ["decision_function", "predict_proba"]}}), usual(grid(SVC(), {"C": CS}, scoring={"area": make_scorer(roc_auc_score, response_method=("decision_function", "predict_proba"))}, refit="area"))),
    "a loss of numbers": ({**gridded(of_class("linear_model.Ridge"), {"alpha": CS}, scoring={"pinball": {"function": "sklearn.metrics.mean_pinball_loss", "params": {"alpha": 0.9}, "greaterIsBetter": False}, "r2": "r2"}, refit="pinball"), **from_data(path="t.csv", target="pressure")}, usual(grid(Ridge(), {"alpha": CS}, scoring={"pinball": make_scorer(mean_pinball_loss, greater_is_better=False, alpha=0.9), "r2": "r2"}, refit="pinball"), "pressure")),
    "a scorer of one's own": ({"scoring": {"cost": {"scorer": f"{MINE}.own_metrics.cost"}}}, usual(grid(scoring={"cost": own_metrics.cost}, refit="cost"))),
    "an object that scores": ({"scoring": {"acc": "accuracy", "priced": {"scorer": f"{MINE}.own_metrics.priced"}}, "refit": "priced"}, usual(grid(scoring={"acc": "accuracy", "priced": own_metrics.priced}, refit="priced"))),
}  # fmt: skip

ROWS_OF_CHOICES: Final[dict[str, Row]] = {
    "the best": ({"select": {"best": True}}, usual(grid())),
    "the best of several metrics": ({"select": {"best": True}, "scoring": ["accuracy", "roc_auc"], "refit": "accuracy"}, usual(grid(scoring=["accuracy", "roc_auc"], refit="accuracy"))),
    "the shallowest within an error": (gridded(USUAL["estimator"], LEAVES, select={"oneStandardError": {"simplest": [{"max_depth": "ascending"}]}}), usual(grid(parameters=LEAVES, refit=rule(shallowest)))),
    "the largest leaf within an error": (gridded(USUAL["estimator"], LEAVES, select={"oneStandardError": {"simplest": [{"min_samples_leaf": "descending"}]}}), usual(grid(parameters=LEAVES, refit=rule(largest_leaf)))),
    "the most stable": (gridded(USUAL["estimator"], LEAVES, select={"mostStable": {"deviations": 1.5}}), usual(grid(parameters=LEAVES, refit=rule(stablest(1.5))))),
    "the most stable by far": (gridded(USUAL["estimator"], LEAVES, select={"mostStable": {"deviations": 4}}), usual(grid(parameters=LEAVES, refit=rule(stablest(4))))),
    "the fastest near the best": (gridded(USUAL["estimator"], LEAVES, select={"fastestWithin": 0.05}), usual(grid(parameters=LEAVES, refit=rule(fastest(0.05))))),
    "the fastest of all": (gridded(USUAL["estimator"], LEAVES, select={"fastestWithin": 1}), usual(grid(parameters=LEAVES, refit=rule(fastest(1))))),
    "the fastest within an error": (gridded(USUAL["estimator"], LEAVES, select={"fastestWithinStandardErrors": 1}), usual(grid(parameters=LEAVES, refit=rule(fastest_by_errors(1))))),
    "the fastest within three errors": (gridded(USUAL["estimator"], LEAVES, select={"fastestWithinStandardErrors": 3}), usual(grid(parameters=LEAVES, refit=rule(fastest_by_errors(3))))),
    "the best that fits not too well": (gridded(USUAL["estimator"], LEAVES, select={"maxOverfitGap": 0.1}, returnTrainScore=True), usual(grid(parameters=LEAVES, refit=rule(within_gap(0.1)), return_train_score=True))),
    "the one that fits least too well": (gridded(USUAL["estimator"], LEAVES, select={"maxOverfitGap": 0}, returnTrainScore=True), usual(grid(parameters=LEAVES, refit=rule(within_gap(0)), return_train_score=True))),
}  # fmt: skip

ROWS_OF_ESTIMATORS: Final[dict[str, Row]] = {
    "a pipeline with steps that are tuned": (gridded({"pipeline": [{"name": "scale", **SCALER}, {"name": "svc", **of_class("svm.SVC")}]}, {"scale": ["passthrough", of_class("preprocessing.StandardScaler")], "svc__C": CS}), usual(grid(Pipeline([("scale", StandardScaler()), ("svc", SVC())]), {"scale": ["passthrough", StandardScaler()], "svc__C": CS}))),
    "a pipeline of columns": ({**gridded({"pipeline": [{"name": "prep", "columns": COLUMNS}, {"name": "model", **LOGISTIC}]}, {"model__C": CS, "prep__words__max_features": [2, None]}), **from_data(path="t.csv", features=FEATURES)}, usual(grid(Pipeline([("prep", ColumnTransformer(COLUMNS_BY_HAND)), ("model", LogisticRegression())]), {"model__C": CS, "prep__words__max_features": [2, None]}), columns=FEATURES)),
    "columns by type, and the others": ({**gridded({"pipeline": [{"name": "prep", "columns": [{"name": "n", "columns": {"dtype": "number"}, **SCALER}], "remainder": "drop"}, {"name": "model", **LOGISTIC}]}, {"model__C": CS}), **from_data(path="t.csv", features=FEATURES)}, usual(grid(Pipeline([("prep", ColumnTransformer([("n", StandardScaler(), make_column_selector(dtype_include="number"))], remainder="drop")), ("model", LogisticRegression())]), {"model__C": CS}), columns=FEATURES)),
    "columns and an estimator for the others": ({**gridded({"pipeline": [{"name": "prep", "columns": [{"name": "c", "columns": ["city"], **of_class("preprocessing.OneHotEncoder")}], "remainder": SCALER}, {"name": "model", **LOGISTIC}]}, {"model__C": CS}), **from_data(path="t.csv", features=["a", "b", "city"])}, usual(grid(Pipeline([("prep", ColumnTransformer([("c", OneHotEncoder(), ["city"])], remainder=StandardScaler())), ("model", LogisticRegression())]), {"model__C": CS}), columns=["a", "b", "city"])),
    "a union": (gridded({"pipeline": [{"name": "both", "union": [{"name": "same", "class": "passthrough"}, {"name": "pca", **of_class("decomposition.PCA", n_components=1)}]}, {"name": "model", **LOGISTIC}]}, {"both__pca__n_components": [1, 2]}), usual(grid(Pipeline([("both", FeatureUnion([("same", "passthrough"), ("pca", PCA(n_components=1))])), ("model", LogisticRegression())]), {"both__pca__n_components": [1, 2]}))),
    "a union with a choice of the best": (gridded({"pipeline": [{"name": "both", "union": [{"name": "pca", **of_class("decomposition.PCA")}, {"name": "k", **of_class("feature_selection.SelectKBest", score_func={"function": "sklearn.feature_selection.f_classif"}, k=2)}]}, {"name": "model", **LOGISTIC}]}, {"both__k__k": [1, 2]}), usual(grid(Pipeline([("both", FeatureUnion([("pca", PCA()), ("k", SelectKBest(f_classif, k=2))])), ("model", LogisticRegression())]), {"both__k__k": [1, 2]}))),
    "functions as values": ({**gridded({"class": "sklearn.compose.TransformedTargetRegressor", "params": {"regressor": of_class("linear_model.Ridge"), "func": {"function": "numpy.arcsinh"}, "inverse_func": {"function": "numpy.sinh"}}}, {"regressor__alpha": CS}), **from_data(path="t.csv", target="pressure")}, usual(grid(TransformedTargetRegressor(Ridge(), func=np.arcsinh, inverse_func=np.sinh), {"regressor__alpha": CS}), "pressure")),
    "a function of one's own as a step": (gridded({"pipeline": [{"name": "tame", **of_class("preprocessing.FunctionTransformer", func={"function": f"{MINE}.own_models.tamed"})}, {"name": "model", **LOGISTIC}]}, {"model__C": CS}), usual(grid(Pipeline([("tame", FunctionTransformer(own_models.tamed)), ("model", LogisticRegression())]), {"model__C": CS}))),
    "a vote": (gridded(of_class("ensemble.VotingClassifier", voting="soft", estimators=[{"tuple": ["bayes", of_class("naive_bayes.GaussianNB")]}, {"tuple": ["tree", of_class("tree.DecisionTreeClassifier", random_state=0)]}]), {"tree__max_depth": [1, 3], "weights": [None, [2, 1]]}), usual(grid(VotingClassifier([("bayes", GaussianNB()), ("tree", tree())], voting="soft"), {"tree__max_depth": [1, 3], "weights": [None, [2, 1]]}))),
    "a stack": (gridded(of_class("ensemble.StackingClassifier", estimators=[{"tuple": ["bayes", of_class("naive_bayes.GaussianNB")]}, {"tuple": ["near", of_class("neighbors.KNeighborsClassifier")]}], final_estimator=LOGISTIC, cv=2), {"final_estimator__C": CS}), usual(grid(StackingClassifier([("bayes", GaussianNB()), ("near", KNeighborsClassifier())], final_estimator=LogisticRegression(), cv=2), {"final_estimator__C": CS}))),
    "a calibrated classifier": (gridded(of_class("calibration.CalibratedClassifierCV", estimator=of_class("svm.LinearSVC", random_state=0), cv=2), {"method": ["sigmoid", "isotonic"]}), usual(grid(CalibratedClassifierCV(LinearSVC(random_state=0), cv=2), {"method": ["sigmoid", "isotonic"]}))),
    "weights of classes": (gridded(LOGISTIC, {"class_weight": [None, "balanced", {"yes": 3, "no": 1}]}), usual(grid(LogisticRegression(), {"class_weight": [None, "balanced", {"yes": 3, "no": 1}]}))),
    "a factory": (gridded({"factory": f"{MINE}.own_models.make_model"}, {"model__C": CS}), usual(grid(own_models.make_model(), {"model__C": CS}))),
    "a factory with params": (gridded({"factory": f"{MINE}.own_models.make_model", "params": {"scaled": False, "C": 3}}, {"model__fit_intercept": [True, False]}), usual(grid(own_models.make_model(C=3, scaled=False), {"model__fit_intercept": [True, False]}))),
}  # fmt: skip

ROWS_OF_DATA: Final[dict[str, Row]] = {
    "a loader": ({"data": {"loader": "sklearn.datasets.load_wine"}}, lambda _: Hand(grid(), *load_wine(return_X_y=True))),
    "a loader with params": ({"data": {"loader": "sklearn.datasets.make_classification", "params": {"n_samples": 60, "random_state": 3}}}, lambda _: Hand(grid(), *make_classification(n_samples=60, random_state=3))),
    "a function of one's own": ({"data": {"function": f"{MINE}.own_data.load", "params": {"rows": 60, "random_state": 4}}}, lambda _: Hand(grid(), *own_data.load(60, random_state=4))),
    "a function that gives sparse data": ({"data": {"function": f"{MINE}.own_data.sparse"}}, lambda _: Hand(grid(), *own_data.sparse())),
    "a file that the world wrote": (gridded(of_class("ensemble.HistGradientBoostingClassifier", random_state=0, max_iter=3, categorical_features="from_dtype"), {"max_leaf_nodes": [3, 5]}, data={"path": "german.csv", "target": "ill", "exclude": ["day"], "read": READ_GERMAN}), lambda folder: Hand(grid(HistGradientBoostingClassifier(random_state=0, max_iter=3, categorical_features="from_dtype"), {"max_leaf_nodes": [3, 5]}), (t := pd.read_csv(folder / "german.csv", **GERMAN)).drop(columns=["ill", "day"]), t["ill"])),
    "a file without a header": (gridded(of_class("ensemble.HistGradientBoostingClassifier", random_state=0, max_iter=3, categorical_features="from_dtype"), {"max_leaf_nodes": [3, 5]}, data={"path": "bare.csv", "target": "ill", "exclude": ["day"], "read": READ_BARE}), lambda folder: Hand(grid(HistGradientBoostingClassifier(random_state=0, max_iter=3, categorical_features="from_dtype"), {"max_leaf_nodes": [3, 5]}), (t := pd.read_csv(folder / "bare.csv", **BARE)).drop(columns=["ill", "day"]), t["ill"])),
    "Parquet": (from_data(path="t.parquet"), of_file(grid(), parquet)),
    "Parquet of another name": (from_data(path="t.dat", format="parquet"), of_file(grid(), parquet)),
    "CSV of another name": (from_data(path="t.txt", format="csv"), usual(grid())),
    "a folder of Parquet files": (from_data(path="parts/"), of_file(grid(), parquet)),
    "a query": (from_data(query={"sql": SQL, "urlFrom": "SIXTY_DB"}), lambda folder: Hand(grid(), *_asked(folder, SQL))),
    "a query that is sorted": (from_data(query={"sql": "SELECT day, a, b, c, sick FROM t", "urlFrom": "SIXTY_DB"}, sort="day"), of_file(grid(), by_day)),
    "a file of a web server": (from_data(url="{site}/t.csv", sha256="{sha256 of t.csv}"), usual(grid())),
    "Parquet of a web server": (from_data(url="{site}/t.parquet", sha256="{sha256 of t.parquet}"), of_file(grid(), parquet)),
    "columns that are no features": (from_data(path="t.csv", features=..., exclude=["day", "patient", "city", "words", "ill"]), lambda folder: Hand(grid(), (t := pd.read_csv(folder / "t.csv")).drop(columns=["day", "patient", "city", "words", "ill", "sick"]), t["sick"])),
    "weights": (from_data(path="t.csv", sampleWeight="weight"), usual(grid(), sample_weight="weight")),
    "weights of a pipeline's last step": ({**gridded({"pipeline": [{"name": "scale", **SCALER}, {"name": "model", **LOGISTIC}]}, {"model__C": CS}), **from_data(path="t.csv", sampleWeight="weight")}, usual(grid(Pipeline([("scale", StandardScaler()), ("model", LogisticRegression())]), {"model__C": CS}), model__sample_weight="weight")),
    "several targets": ({**gridded(of_class("linear_model.Ridge"), {"alpha": CS}), **from_data(path="t.csv", target=["pressure", "high"])}, usual(grid(Ridge(), {"alpha": CS}), ["pressure", "high"])),
    "several labels": (gridded(of_class("neighbors.KNeighborsClassifier"), {"n_neighbors": [1, 5]}, **from_data(path="t.csv", target=["high", "tall"])), usual(grid(KNeighborsClassifier(), {"n_neighbors": [1, 5]}), ["high", "tall"])),
    "true and false": (from_data(path="t.csv", target="ill"), usual(grid(), "ill")),
    "clusters": ({**gridded(of_class("cluster.KMeans", random_state=0, n_init=1), {"n_clusters": [2, 3]}), "data": {"path": "t.csv", "features": ABC}}, of_file(grid(KMeans(random_state=0, n_init=1), {"n_clusters": [2, 3]}), lambda folder: pd.read_csv(folder / "t.csv"), None)),
    "a density": ({**gridded(of_class("mixture.GaussianMixture", random_state=0), {"n_components": [1, 2]}), "data": {"path": "t.csv", "features": ABC}}, of_file(grid(GaussianMixture(random_state=0), {"n_components": [1, 2]}), lambda folder: pd.read_csv(folder / "t.csv"), None)),
    "documents": ({**gridded({"pipeline": [{"name": "words", **of_class("feature_extraction.text.TfidfVectorizer")}, {"name": "model", **LOGISTIC}]}, {"words__ngram_range": [{"tuple": [1, 1]}, {"tuple": [1, 2]}]}), **from_data(path="t.csv", features="words")}, usual(grid(Pipeline([("words", TfidfVectorizer()), ("model", LogisticRegression())]), {"words__ngram_range": [(1, 1), (1, 2)]}), columns="words")),
    "documents of numbers of words": ({**gridded({"pipeline": [{"name": "words", **of_class("feature_extraction.text.TfidfVectorizer", use_idf=False)}, {"name": "model", **of_class("naive_bayes.MultinomialNB")}]}, {"model__alpha": CS}), **from_data(path="t.csv", features="words")}, usual(grid(Pipeline([("words", TfidfVectorizer(use_idf=False)), ("model", MultinomialNB())]), {"model__alpha": CS}), columns="words")),
}  # fmt: skip

ROWS_OF_SEARCHES: Final[dict[str, Row]] = {
    "drawn at random": ({"estimator": of_class("svm.SVC"), "search": {"random": {"parameters": DRAWN, "iterations": 4, "randomState": 7}}}, usual(ms.RandomizedSearchCV(SVC(), DRAWN_BY_HAND, n_iter=4, random_state=7, cv=3))),
    "drawn from two maps": ({"estimator": of_class("svm.SVC"), "search": {"random": {"parameters": [DRAWN, {"kernel": ["linear"], "C": CS}], "iterations": 5, "randomState": 1}}}, usual(ms.RandomizedSearchCV(SVC(), [DRAWN_BY_HAND, {"kernel": ["linear"], "C": CS}], n_iter=5, random_state=1, cv=3))),
    "two grids, by ranges": (gridded(of_class("svm.SVC"), [{"C": {"logspace": [-1, 1, 3]}}, {"kernel": ["poly"], "degree": {"range": [2, 4]}, "coef0": {"linspace": [0, 1, 2]}}]), usual(grid(SVC(), [{"C": np.logspace(-1, 1, 3).tolist()}, {"kernel": ["poly"], "degree": [2, 3], "coef0": [0.0, 1.0]}]))),
    "halved": ({"estimator": USUAL["estimator"], "search": {"grid": {"parameters": LEAVES}, "halving": {"factor": 2, "resource": "n_samples", "minResources": 18, "maxResources": 72, "aggressiveElimination": False, "randomState": 3}}}, usual(ms.HalvingGridSearchCV(tree(), LEAVES, factor=2, min_resources=18, max_resources=72, random_state=3, cv=3, return_train_score=False))),
    "halved by another resource": ({"estimator": of_class("ensemble.RandomForestClassifier", random_state=0), "search": {"grid": {"parameters": {"max_depth": [1, 2, 4]}}, "halving": {"factor": 3, "resource": "n_estimators", "minResources": 1, "maxResources": 9, "aggressiveElimination": True, "randomState": 0}}}, usual(ms.HalvingGridSearchCV(RandomForestClassifier(random_state=0), {"max_depth": [1, 2, 4]}, factor=3, resource="n_estimators", min_resources=1, max_resources=9, aggressive_elimination=True, random_state=0, cv=3, return_train_score=False))),
    "beside a baseline": ({"baseline": True}, usual(grid())),
    "several metrics beside a baseline": ({"baseline": True, "scoring": ["accuracy", "f1_macro"], "refit": "f1_macro"}, usual(grid(scoring=["accuracy", "f1_macro"], refit="f1_macro"))),
}  # fmt: skip

TABLE: Final[dict[str, Row]] = {
    **ROWS_OF_SPLITS,
    **ROWS_OF_METRICS,
    **ROWS_OF_CHOICES,
    **ROWS_OF_ESTIMATORS,
    **ROWS_OF_DATA,
    **ROWS_OF_SEARCHES,
}


def _asked(folder: Path, sql: str) -> tuple[pd.DataFrame, pd.Series]:
    with sqlite3.connect(folder / "t.db") as database:
        rows = pd.read_sql_query(sql, database)
    database.close()
    return rows[ABC], rows["sick"]
