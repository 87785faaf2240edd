"""Estimators and scorers that draw, count, write and keep: what nobody can tell from looking at them."""

import pickle
import warnings
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, TransformerMixin, clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from sklearn.utils import Tags, TargetTags, TransformerTags

# what Centroids does besides fitting
ODD_WAYS = [
    "",
    "draws",
    "writes",
    "writes when fitted",
    "warns",
    "raises",
    "keeps its data",
    "scales weights",
    "int64",
    "float",
    "object",
    "a column",
    "a list",
]


class DrawingTransform(TransformerMixin, BaseEstimator):
    """Adds noise to whatever it transforms: of a generator of its own that goes on, or of numpy's global one."""

    def __init__(self, seed: int | None = 0, scale: float = 0.5) -> None:
        self.seed = seed
        self.scale = scale

    def fit(self, X: Any, y: Any = None) -> "DrawingTransform":
        self.rng_ = None if self.seed is None else np.random.RandomState(self.seed)
        return self

    def transform(self, X: Any) -> Any:
        rng: Any = np.random if self.rng_ is None else self.rng_
        return np.asarray(X) + self.scale * rng.normal(size=np.shape(X))


class CountingTransform(TransformerMixin, BaseEstimator):
    """Shifts whatever it transforms by how often its class was fitted."""

    fits: ClassVar[int] = 0

    def fit(self, X: Any, y: Any = None) -> "CountingTransform":
        type(self).fits += 1
        self.shift_ = type(self).fits % 7
        return self

    def transform(self, X: Any) -> Any:
        return np.asarray(X) * (1 + self.shift_)


class WritingTransform(TransformerMixin, BaseEstimator):
    """Centres its data in place, when it is fitted and whenever it transforms."""

    def fit(self, X: Any, y: Any = None) -> "WritingTransform":
        self.mean_ = np.asarray(X).mean(axis=0)
        return self

    def transform(self, X: Any) -> Any:
        X -= self.mean_
        return X


class Centroids(ClassifierMixin, BaseEstimator):
    """Nearest class mean. ``how`` it misbehaves is its parameter; what it does is counted by its class."""

    predictions: ClassVar[int] = 0

    def __init__(self, how: str = "", shrink: float = 0.0, extra: Any = None) -> None:
        self.how = how
        self.shrink = shrink
        self.extra = extra

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "Centroids":
        if sample_weight is not None and self.how == "scales weights":
            sample_weight *= 1.5
            sample_weight[: len(sample_weight) // 2] **= 1.5
        if self.how == "writes when fitted":
            X *= 1 + np.arange(X.shape[1])
        X = np.asarray(X)
        self.classes_ = np.unique(y)
        self.means_ = np.array(
            [
                np.average(
                    X[y == label],
                    axis=0,
                    weights=None if sample_weight is None else np.asarray(sample_weight)[y == label],
                )
                for label in self.classes_
            ]
        ) * (1 - self.shrink)
        self.rng_ = np.random.RandomState(0)
        if self.how == "keeps its data":
            self.X_ = X
        return self

    def predict(self, X: Any) -> Any:
        type(self).predictions += 1
        if self.how == "writes":
            X[:, 0] = self.rng_.normal(size=len(X)).round(1)
        elif self.how == "warns":
            warnings.warn("predict was called", UserWarning, stacklevel=1)
        elif self.how == "raises":
            raise RuntimeError("not today")
        elif self.how == "keeps its data":
            self.X_ -= self.X_.mean(axis=0)
            return self.classes_[np.argsort(np.resize(self.X_[:, 0], len(X))) % len(self.classes_)]
        X = np.asarray(X)
        found = self.classes_[np.argmin([((X - mean) ** 2).sum(axis=1) for mean in self.means_], axis=0)]
        return ANSWERS.get(self.how, lambda _, found: found)(self, found)


# What the centroids that misbehave make of the labels that they found.
ANSWERS: dict[str, Callable[[Centroids, Any], Any]] = {
    "draws": lambda self, found: self.rng_.choice(self.classes_, size=len(found)),
    "draws globally": lambda self, found: np.random.choice(self.classes_, size=len(found)),
    "int64": lambda _, found: found.astype(np.int64),
    "float": lambda _, found: found.astype(np.float64),
    "object": lambda _, found: found.astype(object),
    "a column": lambda _, found: found.reshape(-1, 1),
    "a list": lambda _, found: found.tolist(),
}


def scorer_that_fits_again(estimator: Any, X: Any, y: Any) -> float:
    estimator.fit(X, y)
    return float(np.mean(estimator.predict(X) == y))


def scorer_that_spoils_a_step(estimator: Any, X: Any, y: Any) -> float:
    score = float(np.mean(estimator.predict(X) == y))
    estimator.steps[0][1].mean_ += 1.0
    return score


def scorer_that_writes(estimator: Any, X: Any, y: Any) -> float:
    X *= 0.5
    y[:3] = y[0]
    return float(np.mean(estimator.predict(X) == y))


def scorer_that_pickles(estimator: Any, X: Any, y: Any) -> float:
    return float(np.mean(pickle.loads(pickle.dumps(estimator)).predict(X) == y))


def scorer_that_clones(estimator: Any, X: Any, y: Any) -> float:
    return float(np.mean(clone(estimator).fit(X, y).predict(X) == y))


def scorer_that_scores_twice(estimator: Any, X: Any, y: Any) -> float:
    return float(estimator.score(X, y)) + float(estimator.score(X, y))


def scorer_that_draws(estimator: Any, X: Any, y: Any) -> float:
    return float(estimator.score(X, y)) + float(np.random.normal())


def metric_that_writes(y: Any, predicted: Any) -> float:
    score = float(accuracy_score(y, predicted))
    y[:2] = y[-1]
    predicted[:2] = predicted[-1]
    return score


def metric_that_draws(y: Any, predicted: Any) -> float:
    return float(accuracy_score(y, predicted)) + float(np.random.normal())


class Large:
    """Something that knows how many copies of it there are, and how many there were at most."""

    alive: ClassVar[int] = 0
    most: ClassVar[int] = 0
    made: ClassVar[int] = 0

    def __init__(self) -> None:
        kind = type(self)
        kind.alive += 1
        kind.made += 1
        kind.most = max(kind.most, kind.alive)

    def __deepcopy__(self, memo: Any) -> "Large":
        return Large()

    def __del__(self) -> None:
        type(self).alive -= 1


class Slotted:
    """A transformer that has no ``__dict__``."""

    __slots__ = ("factor", "mean_")

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor

    def __sklearn_tags__(self) -> Tags:
        return Tags(estimator_type=None, target_tags=TargetTags(required=False), transformer_tags=TransformerTags())

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"factor": self.factor}

    def set_params(self, **params: Any) -> "Slotted":
        self.factor = params.get("factor", self.factor)
        return self

    def fit(self, X: Any, y: Any = None) -> "Slotted":
        self.mean_ = np.asarray(X).mean()
        return self

    def transform(self, X: Any) -> Any:
        return (np.asarray(X) - self.mean_) * self.factor


class Part(BaseEstimator):
    """Knows its owner."""

    def __init__(self, owner: Any = None) -> None:
        self.owner = owner


class Cyclic(TransformerMixin, BaseEstimator):
    """A transformer of which a part refers back to it."""

    def __init__(self, factor: float = 1.0) -> None:
        self.factor = factor
        self.part = Part(self)

    def fit(self, X: Any, y: Any = None) -> "Cyclic":
        return self

    def transform(self, X: Any) -> Any:
        return np.asarray(X) * self.factor


def shifted(X: Any) -> Any:
    X = np.array(X, dtype=float)
    X[:, 0] += 1.0
    return X


class Owner(LogisticRegression):
    """A subclass that does nothing of its own."""
