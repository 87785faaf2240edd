"""The workloads: the prototype's eighteen, with its data and grids, and ten more that users run every day.

A step's cost in an oracle's pieces is beside the others' in plain fits and scores of a dozen of the workload's candidates,
measured once and rounded.
"""

import numpy as np
from scipy.stats import loguniform
from sklearn.compose import ColumnTransformer
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    make_classification,
    make_friedman1,
    make_regression,
)
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    AdaBoostClassifier,
    BaggingClassifier,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.feature_selection import SelectKBest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import OneHotEncoder, PolynomialFeatures, StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from benchmarks.datasets import customers, documents
from benchmarks.oracle import Candidate, distinct, nested, nothing_shared, pieces
from benchmarks.problem import Problem, workload

# ---- the prototype's first fourteen


@workload("random forest × n_estimators", oracle=nested("n_estimators"), is_of_the_first_14=True)
def random_forest_n_estimators() -> Problem:
    X, y = load_digits(return_X_y=True)
    grid = {"n_estimators": [10, 25, 50, 100, 150, 200], "max_depth": [4, 8, None], "max_features": ["sqrt", 0.3]}
    return Problem(estimator=RandomForestClassifier(random_state=0), grid=grid, X=X, y=y, cv=3)


@workload("histogram gradient boosting × max_iter", oracle=nested("max_iter"), is_of_the_first_14=True)
def histogram_boosting_max_iter() -> Problem:
    X, y = make_classification(3000, 20, n_informative=10, random_state=0)
    grid = {"max_iter": [25, 50, 100, 150, 200], "learning_rate": [0.03, 0.1], "max_leaf_nodes": [15, 31]}
    estimator = HistGradientBoostingClassifier(random_state=0, early_stopping=False)
    return Problem(estimator=estimator, grid=grid, X=X, y=y, cv=3)


@workload("gradient boosting × n_estimators", oracle=nested("n_estimators"), is_of_the_first_14=True)
def gradient_boosting_n_estimators() -> Problem:
    X, y = make_regression(1500, 15, noise=10, random_state=0)
    grid = {"n_estimators": [25, 50, 100, 150, 200], "learning_rate": [0.05, 0.2], "max_depth": [2, 3, 4]}
    return Problem(estimator=GradientBoostingRegressor(random_state=0, subsample=0.8), grid=grid, X=X, y=y, cv=3)


@workload(
    "text: counts → tf-idf → SGD",
    oracle=pieces(
        (23, ["vect__ngram_range"]),
        (1, ["vect__ngram_range", "tfidf__norm"]),
        (7, ["vect__ngram_range", "tfidf__norm", "clf__alpha", "clf__penalty"]),
    ),
    is_of_the_first_14=True,
)
def text_counts_sgd() -> Problem:
    X, y = documents()
    sgd = SGDClassifier(random_state=0, max_iter=20, tol=None)
    grid = {
        "vect__ngram_range": [(1, 1), (1, 2)],
        "tfidf__norm": ["l1", "l2"],
        "clf__alpha": [1e-3, 1e-4, 1e-5, 1e-6],
        "clf__penalty": ["l2", "elasticnet"],
    }
    estimator = Pipeline([("vect", CountVectorizer()), ("tfidf", TfidfTransformer()), ("clf", sgd)])
    return Problem(estimator=estimator, grid=grid, X=X, y=y, cv=3)


@workload(
    "text: tf-idf → SGD, dask-ml's grid",
    oracle=pieces(
        (4, ["tfidf__norm", "tfidf__binary"]),
        (1, ["tfidf__norm", "tfidf__binary", "clf__alpha", "clf__loss", "clf__penalty"]),
    ),
    is_of_the_first_14=True,
)
def text_tfidf_sgd() -> Problem:
    X, y = documents()
    grid = {
        "tfidf__norm": ["l1", "l2"],
        "tfidf__binary": [True, False],
        "clf__alpha": list(np.logspace(-6, -3, 4)),
        "clf__loss": ["hinge", "log_loss", "modified_huber"],
        "clf__penalty": ["l1", "l2"],
    }
    estimator = Pipeline([("tfidf", TfidfVectorizer()), ("clf", SGDClassifier(random_state=0, tol=1e-3))])
    return Problem(estimator=estimator, grid=grid, X=X, y=y, cv=3)


@workload(
    "scale → PCA → SVC",
    # the widths of a PCA are one decomposition; nearly all the work is the SVC's
    oracle=pieces((1, []), (2, []), (25, ["pca__n_components", "svc__C", "svc__gamma"])),
    is_of_the_first_14=True,
)
def pca_svc() -> Problem:
    X, y = load_digits(return_X_y=True)
    grid = {
        "pca__n_components": [8, 16, 24, 32, 40, 48],
        "svc__C": [0.1, 1, 10],
        "svc__gamma": ["scale", 0.01],
    }
    estimator = Pipeline([("sc", StandardScaler()), ("pca", PCA(svd_solver="full")), ("svc", SVC())])
    return Problem(estimator=estimator, grid=grid, X=X, y=y, cv=3)


@workload(
    "scale → polynomials → scale → ridge × alpha",
    oracle=pieces((1, []), (1, ["poly__degree"]), (1, ["poly__degree"]), (3, ["poly__degree", "r__alpha"])),
    is_of_the_first_14=True,
)
def polynomial_ridge() -> Problem:
    X, y = load_diabetes(return_X_y=True)
    steps = [
        ("sc", StandardScaler()),
        ("poly", PolynomialFeatures()),
        ("sc2", StandardScaler()),
        ("r", Ridge()),
    ]
    grid = {"poly__degree": [2, 3], "r__alpha": list(np.logspace(-3, 5, 40))}
    return Problem(estimator=Pipeline(steps), grid=grid, X=X, y=y, cv=5)


@workload(
    "k neighbours × k × weights",
    # one query of the most neighbours serves every k and both weights
    oracle=pieces((1, ["p"])),
    is_of_the_first_14=True,
)
def neighbours() -> Problem:
    X, y = make_classification(6000, 24, n_informative=12, n_classes=4, random_state=0)
    grid = {"n_neighbors": list(range(1, 40, 3)), "weights": ["uniform", "distance"], "p": [1, 2]}
    return Problem(estimator=KNeighborsClassifier(), grid=grid, X=X, y=y, cv=3)


@workload("logistic regression on iris, 1,000 candidates", oracle=nothing_shared, is_of_the_first_14=True)
def logistic_regression_iris() -> Problem:
    X, y = load_iris(return_X_y=True)
    grid = {
        "C": list(np.logspace(-4, 4, 100)),
        "tol": [1e-4, 1e-3, 1e-2, 1e-1, 1],
        "fit_intercept": [True, False],
    }
    return Problem(estimator=LogisticRegression(max_iter=50), grid=grid, X=X, y=y, cv=5)


def _one_tree(candidate: Candidate) -> Candidate:
    """A node is split only with 2 × min_samples_leaf samples; no tree of iris' folds is deeper than 6 (measured)."""
    leaf = candidate["min_samples_leaf"]
    return {
        "max_depth": min(candidate["max_depth"], 6),
        "min_samples_leaf": leaf,
        "min_samples_split": max(candidate["min_samples_split"], 2 * leaf),
    }


@workload("decision tree on iris, 1,000 candidates", oracle=distinct(_one_tree), is_of_the_first_14=True)
def decision_tree_iris() -> Problem:
    X, y = load_iris(return_X_y=True)
    grid = {
        "max_depth": list(range(1, 11)),
        "min_samples_leaf": list(range(1, 11)),
        "min_samples_split": list(range(2, 12)),
    }
    return Problem(estimator=DecisionTreeClassifier(random_state=0), grid=grid, X=X, y=y, cv=5)


@workload("SVC × C × gamma", oracle=nothing_shared, is_of_the_first_14=True)
def svc_c_gamma() -> Problem:
    X, y = load_breast_cancer(return_X_y=True)
    grid = {"C": list(np.logspace(-2, 5, 12)), "gamma": list(np.logspace(-5, 1, 10))}
    return Problem(estimator=SVC(), grid=grid, X=StandardScaler().fit_transform(X), y=y, cv=5)


@workload(
    "scale → select k best → logistic regression",
    # the scores of the features do not depend on how many are kept
    oracle=pieces((2, []), (3, []), (10, ["kb__k", "lr__C"])),
    is_of_the_first_14=True,
)
def select_k_best() -> Problem:
    X, y = load_breast_cancer(return_X_y=True)
    steps = [("sc", StandardScaler()), ("kb", SelectKBest()), ("lr", LogisticRegression(max_iter=500))]
    grid = {"kb__k": [5, 10, 15, 20, 30], "lr__C": list(np.logspace(-3, 3, 20))}
    return Problem(estimator=Pipeline(steps), grid=grid, X=X, y=y, cv=5)


@workload("AdaBoost × n_estimators", oracle=nested("n_estimators"), is_of_the_first_14=True)
def adaboost_n_estimators() -> Problem:
    X, y = load_breast_cancer(return_X_y=True)
    grid = {"n_estimators": [10, 25, 50, 100, 150, 200], "learning_rate": [0.1, 0.5, 1.0]}
    return Problem(estimator=AdaBoostClassifier(random_state=0), grid=grid, X=X, y=y, cv=3)


@workload(
    "decision tree × ccp_alpha",
    # a tree is grown once and pruned for each alpha
    oracle=pieces((1, ["criterion"])),
    is_of_the_first_14=True,
)
def decision_tree_ccp_alpha() -> Problem:
    X, y = make_classification(3000, 30, n_informative=15, n_classes=3, random_state=0)
    grid = {"ccp_alpha": list(np.logspace(-5, -1, 30)), "criterion": ["gini", "entropy"]}
    return Problem(estimator=DecisionTreeClassifier(random_state=0), grid=grid, X=X, y=y, cv=5)


# ---- the prototype's other four


@workload("naive Bayes on iris, 2,000 candidates", oracle=nothing_shared)
def naive_bayes_iris() -> Problem:
    X, y = load_iris(return_X_y=True)
    return Problem(estimator=GaussianNB(), grid={"var_smoothing": list(np.logspace(-12, 0, 2000))}, X=X, y=y, cv=5)


_KERNEL_READS = {
    "linear": {"kernel", "C"},
    "rbf": {"kernel", "C", "gamma"},
    "sigmoid": {"kernel", "C", "gamma"},
    "poly": {"kernel", "C", "gamma", "degree"},
}


def _read_by_its_kernel(candidate: Candidate) -> Candidate:
    return {name: value for name, value in candidate.items() if name in _KERNEL_READS[candidate["kernel"]]}


@workload("SVC × kernels, parameters that some ignore", oracle=distinct(_read_by_its_kernel))
def svc_kernels() -> Problem:
    X, y = load_breast_cancer(return_X_y=True)
    grid = {
        "kernel": ["linear", "rbf", "poly", "sigmoid"],
        "C": [0.1, 1, 10, 100],
        "gamma": ["scale", 0.001, 0.01, 0.1],
        "degree": [2, 3, 4],
    }
    return Problem(estimator=SVC(), grid=grid, X=StandardScaler().fit_transform(X), y=y, cv=5)


def _one_forest(candidate: Candidate) -> Candidate:
    """As for one tree; no tree of breast cancer's folds is deeper than 11 (measured)."""
    leaf = candidate["min_samples_leaf"]
    return candidate | {
        "max_depth": min(candidate["max_depth"] or 11, 11),
        "min_samples_split": max(candidate["min_samples_split"], 2 * leaf),
    }


@workload("random forest, a typical grid", oracle=nested("n_estimators", canonical=_one_forest))
def random_forest_typical() -> Problem:
    X, y = load_breast_cancer(return_X_y=True)
    grid = {
        "n_estimators": [50, 100, 200],
        "max_depth": [5, 10, 20, 30, None],
        "min_samples_split": [2, 5, 10],
        "min_samples_leaf": [1, 2, 4],
    }
    return Problem(estimator=RandomForestClassifier(random_state=0), grid=grid, X=X, y=y, cv=3)


@workload(
    "text: tf-idf → logistic regression",
    oracle=pieces(
        (1, ["tfidf__ngram_range", "tfidf__min_df", "tfidf__sublinear_tf"]),
        (1, ["tfidf__ngram_range", "tfidf__min_df", "tfidf__sublinear_tf", "clf__C"]),
    ),
)
def text_tfidf_logistic_regression() -> Problem:
    X, y = documents()
    grid = {
        "tfidf__ngram_range": [(1, 1), (1, 2)],
        "tfidf__min_df": [1, 2],
        "tfidf__sublinear_tf": [True, False],
        "clf__C": [0.1, 1, 10],
    }
    estimator = Pipeline([("tfidf", TfidfVectorizer()), ("clf", LogisticRegression(max_iter=200))])
    return Problem(estimator=estimator, grid=grid, X=X, y=y, cv=3)


# ---- ten more, written and sized before the engine was tried on them

_PREPARE = ["prep__num__impute__strategy", "prep__num__scale"]


@workload(
    "table of numbers and categories → two models, three metrics",
    oracle=pieces((1, _PREPARE), (9, [*_PREPARE, "clf", "clf__C", "clf__learning_rate", "clf__max_leaf_nodes"])),
)
def table_two_models() -> Problem:
    X, y = customers()
    numbers = list(X.select_dtypes("number").columns)
    categories = [name for name in X.columns if name not in numbers]
    number_steps = Pipeline([("impute", SimpleImputer()), ("scale", StandardScaler())])
    category_steps = Pipeline(
        [
            ("impute", SimpleImputer(strategy="most_frequent")),
            ("encode", OneHotEncoder(handle_unknown="ignore", sparse_output=False)),
        ]
    )
    prepare = ColumnTransformer([("num", number_steps, numbers), ("cat", category_steps, categories)])
    strategies = ["mean", "median"]
    grid = [
        {
            "prep__num__impute__strategy": strategies,
            "prep__num__scale": [StandardScaler(), "passthrough"],
            "clf": [LogisticRegression(max_iter=1000)],
            "clf__C": [0.01, 0.1, 1, 10],
        },
        {
            "prep__num__impute__strategy": strategies,
            "prep__num__scale": ["passthrough"],
            "clf": [HistGradientBoostingClassifier(random_state=0)],
            "clf__learning_rate": [0.05, 0.1, 0.2],
            "clf__max_leaf_nodes": [15, 31],
        },
    ]
    return Problem(
        estimator=Pipeline([("prep", prepare), ("clf", LogisticRegression())]),
        grid=grid,
        X=X,
        y=y,
        cv=5,
        scoring=["roc_auc", "average_precision", "accuracy"],
        return_train_score=True,
    )


@workload("neural network, nothing to share", oracle=nothing_shared)
def neural_network() -> Problem:
    X, y = load_digits(return_X_y=True)
    grid = {"hidden_layer_sizes": [(32,), (64,), (64, 32)], "alpha": [1e-4, 1e-2], "learning_rate_init": [1e-3, 1e-2]}
    return Problem(estimator=MLPClassifier(max_iter=100, random_state=0), grid=grid, X=X / 16, y=y, cv=3)


@workload("extra trees × n_estimators, mean absolute error", oracle=nested("n_estimators"))
def extra_trees() -> Problem:
    X, y = make_friedman1(2000, 10, noise=1, random_state=0)
    return Problem(
        estimator=ExtraTreesRegressor(random_state=0),
        grid={"n_estimators": [50, 100, 200], "max_features": [0.5, 1.0], "min_samples_leaf": [1, 3, 5]},
        X=X,
        y=y,
        cv=5,
        scoring="neg_mean_absolute_error",
    )


@workload("AdaBoost of deeper trees, area under the curve", oracle=nested("n_estimators"))
def adaboost_deeper() -> Problem:
    X, y = make_classification(1000, 20, n_informative=8, flip_y=0.05, random_state=0)
    grid = {"n_estimators": [50, 100, 200], "learning_rate": [0.1, 0.5, 1.0], "estimator__max_depth": [1, 2]}
    estimator = AdaBoostClassifier(DecisionTreeClassifier(), random_state=0)
    return Problem(estimator=estimator, grid=grid, X=X, y=y, cv=3, scoring="roc_auc")


@workload("bagging × n_estimators", oracle=nested("n_estimators"))
def bagging() -> Problem:
    X, y = load_digits(return_X_y=True)
    grid = {"n_estimators": [10, 25, 50, 100], "max_samples": [0.5, 1.0], "max_features": [0.5, 1.0]}
    return Problem(estimator=BaggingClassifier(random_state=0), grid=grid, X=X, y=y, cv=3)


@workload(
    "ridge classifier × 30 alphas, more columns than rows",
    # the Gram matrix once, a factorisation for each alpha
    oracle=pieces((1, []), (1, ["alpha"])),
)
def ridge_classifier() -> Problem:
    X, y = make_classification(400, 1000, n_informative=30, n_classes=3, random_state=0)
    return Problem(estimator=RidgeClassifier(), grid={"alpha": list(np.logspace(-3, 4, 30))}, X=X, y=y, cv=5)


@workload(
    "scale → k neighbours regression",
    # one query of the most neighbours serves every k and both weights
    oracle=pieces((1, [])),
)
def neighbours_regression() -> Problem:
    X, y = make_friedman1(4000, 8, noise=1, random_state=0)
    grid = {"knn__n_neighbors": [2, 5, 10, 20, 30, 50], "knn__weights": ["uniform", "distance"]}
    estimator = Pipeline([("scale", StandardScaler()), ("knn", KNeighborsRegressor())])
    return Problem(estimator=estimator, grid=grid, X=X, y=y, cv=5)


@workload("random search of an SVC, nothing to share", oracle=nothing_shared)
def random_search_svc() -> Problem:
    X, y = load_digits(return_X_y=True)
    distributions = {"C": loguniform(1e-2, 1e3), "gamma": loguniform(1e-5, 1e-1)}
    return Problem(estimator=SVC(), grid=distributions, X=X, y=y, cv=3, n_iter=40)


@workload(
    "union of PCA and select k best → logistic regression",
    # the decomposition and the features' scores once, whatever the widths
    oracle=pieces((1, []), (4, []), (12, ["union__pca__n_components", "union__best__k", "lr__C"])),
)
def feature_union() -> Problem:
    X, y = load_digits(return_X_y=True)
    union = FeatureUnion([("pca", PCA(svd_solver="full")), ("best", SelectKBest())])
    steps = [("scale", StandardScaler()), ("union", union), ("lr", LogisticRegression(max_iter=300))]
    grid = {
        "union__pca__n_components": [5, 10, 20],
        "union__best__k": [5, 10, 20],
        "lr__C": [0.01, 0.1, 1, 10],
    }
    return Problem(estimator=Pipeline(steps), grid=grid, X=X, y=y, cv=3)


def _one_iris_forest(candidate: Candidate) -> Candidate:
    """No tree of iris' folds is deeper than 9 (measured), so the three depths are one."""
    return {name: value for name, value in candidate.items() if name != "max_depth"}


@workload("random forest on iris, the tutorials' grid", oracle=nested("n_estimators", canonical=_one_iris_forest))
def random_forest_iris() -> Problem:
    X, y = load_iris(return_X_y=True)
    grid = {"n_estimators": [50, 100, 200], "max_depth": [None, 10, 20], "min_samples_split": [2, 5]}
    return Problem(estimator=RandomForestClassifier(random_state=0), grid=grid, X=X, y=y, cv=5)
