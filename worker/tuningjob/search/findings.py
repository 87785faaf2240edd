"""Warn of oddities of estimator and data that are no reason to refuse the search, each with advice.

To bound the cost, at most 10,000 rows of the data and a few dozen candidates are examined.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pandas as pd
import scipy.sparse
from sklearn.base import clone
from sklearn.ensemble import BaseEnsemble
from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from tuningjob.aliases import Anything, Estimator, Matrix, ParamValue
from tuningjob.engine.fingerprint import estimators_within, is_estimator, nested_estimators
from tuningjob.engine.seeds import is_seeded
from tuningjob.search.data import Dataset
from tuningjob.search.reasons import Reason

_MOST_CANDIDATES: Final = 32
_MOST_ROWS: Final = 10_000
_MOST_NUMBERS: Final = 10_000_000  # the most that are examined; many features mean fewer rows
_MOST_SUMMED: Final = 200_000_000  # the most numbers whose exact mean is worth its time
_SPREAD: Final = 10.0
_LAST: Final = 5  # the most names in a warning

_SCALE_SENSITIVE: Final = frozenset({
    "ElasticNet", "KMeans", "KNeighborsClassifier", "KNeighborsRegressor", "KernelPCA", "Lasso", "LinearSVC", "LinearSVR",
    "LogisticRegression", "LogisticRegressionCV", "MLPClassifier", "MLPRegressor", "MiniBatchKMeans", "NearestCentroid", "NuSVC",
    "NuSVR", "OneClassSVM", "PCA", "PassiveAggressiveClassifier", "PassiveAggressiveRegressor", "Perceptron",
    "RadiusNeighborsClassifier", "RadiusNeighborsRegressor", "Ridge", "RidgeClassifier", "SGDClassifier", "SGDRegressor", "SVC",
    "SVR",
})  # fmt: skip
# Transformers that hand on features with their scales, or with their missing values.
_KEEP_SCALE: Final = ("sklearn.impute.", "sklearn.feature_selection.")
_KEEP_MISSING: Final = frozenset({
    "MaxAbsScaler", "MinMaxScaler", "PowerTransformer", "QuantileTransformer", "RobustScaler", "StandardScaler",
    "VarianceThreshold",
})  # fmt: skip
_TAKE_ANYTHING: Final = ("sklearn.compose.", "sklearn.feature_extraction.")
_ENCODERS: Final = frozenset({
    "FunctionTransformer", "LabelBinarizer", "MultiLabelBinarizer", "OneHotEncoder", "OrdinalEncoder", "TargetEncoder",
})  # fmt: skip


def representatives(estimator: Estimator, param_grid: Sequence[Mapping[str, Sequence[Any]]]) -> list[Any]:
    """Unfitted estimators of a few candidates that cover every value of every short list in the grid.

    Candidates that cannot be made are left out, because their fits will report it.
    """
    made = []
    for values in param_grid[:_MOST_CANDIDATES]:
        longest = max(map(len, values.values()), default=1)
        looked_at = max(1, min(longest, _MOST_CANDIDATES // min(len(param_grid), _MOST_CANDIDATES)))
        for i in range(looked_at):
            chosen = {name: _at(tried, i, looked_at) for name, tried in values.items()}
            try:
                made.append(clone(estimator).set_params(**clone(chosen, safe=False)))
            except Exception:  # noqa: BLE001, S112  the estimator's own code
                continue
    return made


def _at(tried: Sequence[Any], i: int, of: int) -> Anything:
    return tried[i % len(tried)] if len(tried) <= of else tried[i * len(tried) // of]


def findings(estimators: Sequence[Estimator], data: Dataset) -> Iterator[str]:
    """Warnings about the estimators ``representatives`` and the data that they will be fitted on."""
    table = _Table.of(data.X)
    yield from _missing(estimators, data, table)
    yield from _not_numbers(estimators, data)
    if table is not None and table.rows.shape[0] > 1:
        yield from _unscaled(estimators, table)
        yield from _standardised(data.X, table)


def unseeded(estimator: Estimator, shape: "tuple[int, ...] | None") -> Iterator[str]:
    """The parameters by which an estimator, or one within it, draws random numbers without a seed."""
    named = {"": estimator, **estimator.get_params()}
    # an ensemble seeds what is within it
    seeding = [f"{path}__" if path else "" for path, each in named.items() if _seeds_within(each)]
    for path, each in named.items():
        if (
            is_estimator(each)
            and not is_seeded(each, shape)
            and not any(path.startswith(prefix) and path != prefix.removesuffix("__") for prefix in seeding)
        ):
            yield f"{path}__random_state" if path else "random_state"


def _seeds_within(value: ParamValue) -> bool:
    return isinstance(value, BaseEnsemble) and getattr(value, "random_state", None) is not None


# --- estimators that see the original features


def _receivers(estimator: Estimator, keeps: Callable[[Any], bool]) -> Iterator[Any]:
    """The estimators within one that see the features before any step changes them."""
    if not isinstance(estimator, Pipeline):
        yield estimator
        if not _module(estimator).startswith(_TAKE_ANYTHING):
            for inner in estimators_within(estimator):
                yield from _receivers(inner, keeps)
        return
    for _, step in estimator.steps:
        if is_estimator(step):
            yield from _receivers(step, keeps)
            if not keeps(step):
                return


def _module(estimator: Estimator) -> str:
    return f"{type(estimator).__module__}."


def _named(estimator: Estimator, names: frozenset[str]) -> str | None:
    """The first of these names of scikit-learn's classes of which the estimator is an instance."""
    kinds = (kind for kind in type(estimator).__mro__ if kind.__module__.startswith("sklearn."))
    return next((kind.__name__ for kind in kinds if kind.__name__ in names), None)


# --- the data


@dataclass(frozen=True)
class _Table:
    """Evenly spaced sample rows of numbers, of shape (rows, features), dense or sparse, with the names of the features."""

    rows: Any
    names: Sequence[str]

    @classmethod
    def of(cls, X: Matrix) -> "_Table | None":
        """A sample of the data; None if they are no table of numbers."""
        shape: tuple[int, ...] = getattr(X, "shape", ())
        if len(shape) != 2 or 0 in shape:
            return None
        looked_at = max(1, min(shape[0], _MOST_ROWS, max(100, _MOST_NUMBERS // shape[1])))
        rows = np.linspace(0, shape[0] - 1, looked_at).astype(int)
        if isinstance(X, pd.DataFrame):
            numbers = X.select_dtypes(["number", "bool"])
            if numbers.shape[1] == 0:
                return None
            names = [str(name) for name in numbers.columns]
            return cls(numbers.iloc[rows].to_numpy(dtype=np.float64, na_value=np.nan), names)
        names = [f"feature {i}" for i in range(shape[1])]
        if scipy.sparse.issparse(X):
            return cls(X.tocsr()[rows].astype(np.float64), names) if X.nnz <= _MOST_SUMMED else None
        if isinstance(X, np.ndarray) and X.dtype.kind in "biuf":
            return cls(X[rows].astype(np.float64), names)
        return None

    @property
    def missing(self) -> "np.ndarray[Any, Any]":
        """The number of missing values of each feature."""
        if scipy.sparse.issparse(self.rows):
            return np.asarray([np.isnan(self.rows.data).sum()])
        return np.asarray(np.isnan(self.rows).sum(axis=0))

    @property
    def moments(self) -> "tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]":
        """Mean and standard deviation of each feature."""
        if scipy.sparse.issparse(self.rows):
            mean = np.asarray(self.rows.mean(axis=0)).ravel()
            square = np.asarray(self.rows.multiply(self.rows).mean(axis=0)).ravel()
            return mean, np.sqrt(np.maximum(square - mean**2, 0.0))
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")  # for features with no value at all
            return np.nanmean(self.rows, axis=0), np.nanstd(self.rows, axis=0)


def _missing(estimators: Sequence[Estimator], data: Dataset, table: _Table | None) -> Iterator[str]:
    targets = int(np.count_nonzero(pd.isna(data.y))) if np.ndim(data.y) == 1 else 0
    if targets:
        yield (
            f"{Reason.MISSING_VALUES}: {targets:,} of {data.samples:,} targets are missing: most estimators refuse that, "
            "and every fit would be scored NaN. Leave these rows out of the data."
        )
    if table is None or not (missing := table.missing).any():
        return
    refusing = _first(
        each
        for estimator in estimators
        for each in _receivers(estimator, lambda step: _named(step, _KEEP_MISSING) is not None)
        if _module(each).startswith("sklearn.")
        and not _module(each).startswith(_TAKE_ANYTHING)
        and not any(True for _ in estimators_within(each))
        and not get_tags(each).input_tags.allow_nan
    )
    if refusing is not None:
        features = [name for name, count in zip(table.names, missing, strict=False) if count]
        told = ", ".join(features[:_LAST]) + (", …" if len(features) > _LAST else "")
        rows = table.rows.shape[0]
        looked_at = "" if rows == data.samples else f" of {rows:,} rows looked at"
        yield (
            f"{Reason.MISSING_VALUES}: {int(missing.sum()):,} values are missing in {len(features)} features "
            f"({told}){looked_at}, and {type(refusing).__name__} does not take them: its fits would fail, scored NaN. Put "
            "sklearn.impute.SimpleImputer before it in spec.estimator.pipeline."
        )


def _not_numbers(estimators: Sequence[Estimator], data: Dataset) -> Iterator[str]:
    features = list(_texts(data.X))
    if not features or any(map(_takes_anything, estimators)):
        return
    told = ", ".join(features[:_LAST]) + (", …" if len(features) > _LAST else "")
    yield (
        f"{Reason.NON_NUMERIC_DATA}: {len(features)} features are no numbers ({told}), and no step makes numbers of them: fits "
        "would fail, scored NaN. Put an encoder before the estimator in spec.estimator.pipeline (sklearn.preprocessing."
        "OneHotEncoder), or name the numeric columns in spec.data.features."
    )


def _texts(X: Matrix) -> Iterator[str]:
    """The names of the features with values that are neither numbers nor text of numbers."""
    if isinstance(X, pd.DataFrame):
        for name in X.columns:
            column = X[name]
            if not pd.api.types.is_numeric_dtype(column.dtype) and not _are_numbers(column.iloc[:1_000].to_numpy()):
                yield str(name)
    elif isinstance(X, np.ndarray) and X.dtype.kind not in "biufc" and X.ndim == 2:
        yield from (f"feature {i}" for i in range(X.shape[1]) if not _are_numbers(X[:1_000, i]))
    elif isinstance(X, list) and X and isinstance(X[0], str):
        yield "texts"


def _are_numbers(values: Anything) -> bool:
    try:
        np.asarray(values, dtype=object).astype(np.float64)
    except (TypeError, ValueError):
        return False
    return True


def _takes_anything(estimator: Estimator) -> bool:
    return any(
        _module(each).startswith(_TAKE_ANYTHING)
        or not _module(each).startswith("sklearn.")
        or _named(each, _ENCODERS) is not None
        or getattr(each, "categorical_features", None) is not None
        for each in nested_estimators(estimator)
    )


def _unscaled(estimators: Sequence[Estimator], table: _Table) -> Iterator[str]:
    _, deviations = table.moments
    varying = np.flatnonzero(np.isfinite(deviations) & (deviations > 0))
    if len(varying) < 2:
        return
    least, most = (varying[pick(deviations[varying])] for pick in (np.argmin, np.argmax))
    spread = deviations[most] / deviations[least]
    if spread <= _SPREAD:
        return
    sensitive = _first(
        each
        for estimator in estimators
        for each in _receivers(estimator, lambda step: _module(step).startswith(_KEEP_SCALE))
        if _named(each, _SCALE_SENSITIVE) is not None and not _is_unpenalised(each)
    )
    if sensitive is not None:
        yield (
            f"{Reason.SCALE_SENSITIVE_UNSCALED}: {type(sensitive).__name__} depends on the features' scales, and nothing before "
            f"it scales them: the standard deviation of {table.names[most]} is {spread:,.0f} times that of {table.names[least]}. "
            "Put sklearn.preprocessing.StandardScaler before it in spec.estimator.pipeline: there it learns from each split's "
            "training rows alone."
        )


def _is_unpenalised(estimator: Estimator) -> bool:
    return getattr(estimator, "penalty", "") is None or bool(getattr(estimator, "C", None) == math.inf)


def _standardised(X: Matrix, table: _Table) -> Iterator[str]:
    if scipy.sparse.issparse(X) or len(table.rows) < _LAST:
        return
    mean, deviation = table.moments
    rows = len(table.rows)
    whole = rows == X.shape[0]
    # the mean of some rows only approximates that of all
    near = np.isfinite(deviation) & (deviation > 0)
    near &= np.abs(mean) <= deviation * (1e-5 if whole else 6 / math.sqrt(rows))
    near &= np.array([len(np.unique(column[:1_000])) > 3 for column in table.rows.T])
    varying = int(np.count_nonzero(deviation > 0))
    if not _is_common(near, deviation, varying, 0.02 if whole else 0.5):
        return
    if not whole:
        exact = _moments_of_all(X, table.names)
        if exact is None:
            return
        mean, deviation = exact
        near &= np.abs(mean) <= 1e-5 * deviation
        if not _is_common(near, deviation, varying, 0.02):
            return
    yield (
        f"{Reason.ALREADY_STANDARDISED}: {int(near.sum())} of {len(table.names)} features have mean 0 and one standard deviation "
        "over all rows: they were scaled before they were split, so the training rows of each split know of its test rows, and "
        "scores are too good. Give the data as they were measured, and put sklearn.preprocessing.StandardScaler into "
        "spec.estimator.pipeline."
    )


def _is_common(near: Anything, deviation: Anything, varying: int, tolerance: float) -> bool:
    """Whether most features have means near 0 and standard deviations near 1."""
    if not near.any() or 2 * int(near.sum()) < varying:
        return False
    middle = float(np.median(deviation[near]))
    return bool(np.all(np.abs(deviation[near] / middle - 1) <= tolerance))


def _moments_of_all(X: Matrix, names: Sequence[str]) -> "tuple[Any, Any] | None":
    if X.shape[0] * X.shape[1] > _MOST_SUMMED:
        return None
    if isinstance(X, pd.DataFrame):
        numbers = X.select_dtypes(["number", "bool"])
        return numbers.mean().to_numpy(dtype=np.float64), numbers.std(ddof=0).to_numpy(dtype=np.float64)
    mean = np.nanmean(X, axis=0, dtype=np.float64)
    return mean, np.array([np.nanstd(X[:, i], dtype=np.float64) for i in range(len(names))])


def _first(found: Iterator[Any]) -> Anything:
    return next(found, None)
