"""Assign the columns of a file to their roles: features, target, weights, and those that other fields of the manifest name."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
import pandas as pd

from tuningjob.aliases import Matrix, Target
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.cross_validation import GROUPS
from tuningjob.manifest.data import Data
from tuningjob.manifest.literals import shown
from tuningjob.manifest.refusals import nearest
from tuningjob.search.reasons import Reason, refused
from tuningjob.search.tables import lacks_header

WEIGHT: Final = "spec.data.sampleWeight"
_MOST_NAMED: Final = 10


class Table:
    """The rows of a file in the manifest's order, divided into columns by their role.

    ``X`` has the features: a frame, or one column if the manifest gives a single name.
    ``y`` is the target: a column, a frame of several, or None.
    ``beside`` has the other columns, by the field that names them.

    Raises ManifestRefused for columns that are missing or do not suit their role.
    """

    def __init__(self, frame: pd.DataFrame, data: Data, beside: Mapping[str, str]) -> None:
        problems = list(_problems(frame, data, beside)) or list(_unusable(frame, data, beside))
        if problems:
            raise ManifestRefused(problems)
        frame = _sorted(frame, data)
        self.X = _features(frame, data, beside)
        self.y = None if data.target is None else frame[data.target]
        self.sample_weight = None if data.sample_weight is None else frame[data.sample_weight]
        self.beside = {field: frame[name] for field, name in beside.items()}


def _features(frame: pd.DataFrame, data: Data, beside: Mapping[str, str]) -> Matrix:
    if isinstance(data.features, str):
        return frame[data.features]
    X = frame[feature_columns(data, list(frame.columns), beside)]
    if X.shape[1] == 0:
        others = [str(name) for name in frame.columns if name not in data.targets]
        advice = f"{', '.join(map(repr, data.targets))} is the only column of the file."
        if others:
            advice = f"None of its other columns is a feature: {', '.join(map(repr, others[:_MOST_NAMED]))}."
        raise refused(Reason.DATA_LOAD, "spec.data.path", "a file with columns beside the target", data.source, advice)
    return X


def _unusable(frame: pd.DataFrame, data: Data, beside: Mapping[str, str]) -> Iterator[Problem]:
    """The problems of existing columns whose values do not suit their role."""
    if data.sample_weight is not None:
        yield from _weight_problems(frame[data.sample_weight])
    if GROUPS in beside:
        yield from missing_groups(frame[beside[GROUPS]], beside[GROUPS])


def _weight_problems(column: "pd.Series[Any]") -> Iterator[Problem]:
    """The problems of a column that cannot be weights of samples."""
    must_be, got = "a column of numbers, none of them missing, negative or infinite", shown(column.name)
    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_bool_dtype(column.dtype):
        yield Problem(WEIGHT, must_be, got, f"It is of type {column.dtype}.", Reason.DATA_LOAD)
        return
    values = column.to_numpy(dtype=np.float64, na_value=np.nan)
    for what, odd in {"missing": np.isnan(values), "negative": values < 0, "infinite": np.isinf(values)}.items():
        if odd.any():
            advice = f"{np.count_nonzero(odd):,} of {len(values):,} are {what}."
            yield Problem(WEIGHT, must_be, got, advice, Reason.DATA_LOAD)


def missing_groups(groups: Target, name: object) -> Iterator[Problem]:
    """The problem of a column that has no group for some rows."""
    missing = int(np.count_nonzero(pd.isna(groups)))
    if missing:
        advice = f"{missing:,} of its {len(groups):,} values are missing: nobody knows the groups of these rows."
        yield Problem(GROUPS, "a column that has a group for each row", shown(name), advice, Reason.GROUPS_INVALID)


def feature_columns(data: Data, known: Sequence[str], beside: Mapping[str, str]) -> list[str]:
    """The columns of X: those that the manifest names, or all without another role."""
    if data.features is not None:
        return [data.features] if isinstance(data.features, str) else data.features
    taken = {*beside.values(), *(data.exclude or ()), *data.targets, data.sort, data.sample_weight}
    return [column for column in known if column not in taken]


def _problems(frame: pd.DataFrame, data: Data, beside: Mapping[str, str]) -> Iterator[Problem]:
    """The problems of columns that are missing or have two roles."""
    known = [str(column) for column in frame.columns]
    named = [
        *_each("spec.data.target", data.target),
        *_each("spec.data.features", data.features),
        *_each("spec.data.exclude", data.exclude),
        *_each("spec.data.sort", data.sort),
        *_each(WEIGHT, data.sample_weight),
        *beside.items(),
    ]
    for field, name in named:
        if name not in known:
            yield Problem(field, f"a column of {data.source}", shown(name), _nearest(name, known), Reason.DATA_LOAD)
    features = dict(_each("spec.data.features", data.features)).values()
    for field, name in beside.items():
        if name in features:
            advice = "Remove it from spec.data.features."
            yield Problem(field, "a column that is no feature", shown(name), advice, Reason.DATA_LOAD)


def _each(field: str, names: "str | Sequence[str] | None") -> Iterator[tuple[str, str]]:
    """The column names in a field, each with its path in the manifest."""
    if isinstance(names, str):
        yield field, names
    else:
        yield from ((f"{field}[{i}]", name) for i, name in enumerate(names or ()))


def _nearest(name: str, known: list[str]) -> str:
    if lacks_header(known):
        return f"Is the header missing? The first line must hold the columns' names, but holds {shown(known)}."
    return nearest(name, known)


def _sorted(frame: pd.DataFrame, data: Data) -> pd.DataFrame:
    """The rows sorted by the named column, ascending; equal rows keep their order."""
    if data.sort is None:
        return frame
    missing = int(frame[data.sort].isna().sum())
    if missing:
        must_be = "a column without missing values"
        advice = f"{missing:,} of {len(frame):,} are missing: nobody knows where they belong."
        raise refused(Reason.DATA_LOAD, "spec.data.sort", must_be, data.sort, advice)
    try:
        return frame.sort_values(data.sort, kind="stable")
    except TypeError as error:  # values of several types
        must_be = "a column whose values can be compared with each other"
        raise refused(Reason.DATA_LOAD, "spec.data.sort", must_be, data.sort, f"pandas says: {error}.") from error
