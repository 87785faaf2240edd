"""Warn of columns that look as if they were no features (ids, weights, folds), and of rows that depend on each other.

The warnings are only for a file whose manifest does not name the features, and for columns that the estimator is given.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from tuningjob.aliases import Anything, Estimator
from tuningjob.manifest.cross_validation import CrossValidation
from tuningjob.search.reasons import Reason

_ID: Final = re.compile(r"(^|.*[_\W])(id|uuid|guid|key)$|^id[_\W].*", re.IGNORECASE)
_CAMEL: Final = re.compile(r".*[a-z](Id|ID)$")
_ROW: Final = re.compile(r"index|row|row_?(id|number)|unnamed: \d+|level_0", re.IGNORECASE)
_WEIGHT: Final = re.compile(r"(sample|case|survey)?_?weights?", re.IGNORECASE)
_FOLD: Final = re.compile(r"(cv_?)?folds?|split|is_?(train|test)", re.IGNORECASE)
_WHO: Final = re.compile(r"patient|customer|user|client|subject|person|household|session|group|site", re.IGNORECASE)
_ROWS: Final = 10_000  # the most that are examined
_FEW: Final = 20  # so few rows prove no column unique or ordered
_LAST: Final = 5


def roles(estimators: Sequence[Estimator], X: pd.DataFrame, cv: CrossValidation) -> Iterator[str]:
    """Warnings about the columns of a file that are given to estimators of ``representatives``."""
    rows = X.iloc[:_ROWS]
    rows = rows[[name for name, column in rows.items() if isinstance(name, str) and _can_be_compared(column)]]
    given = [name for name in rows.columns if any(_is_given(estimator, X, name) for estimator in estimators)]
    odd = {name: what for name in given if (what := _role_of(name, rows[name])) is not None}
    if odd:
        told = ", ".join(f"{name} ({what})" for name, what in list(odd.items())[:_LAST])
        more = ", …" if len(odd) > _LAST else ""
        yield (
            f"{Reason.LEFTOVER_COLUMN}: {len(odd)} of the features {'looks' if len(odd) == 1 else 'look'} as if it were none: "
            f"{told}{more}. Name the features in spec.data.features."
        )
    # a manifest with more than a number of folds has already considered how rows are related
    if cv.folds is not None and cv.groups is None:
        for name in rows.columns:
            yield from _related(name, rows[name])


def _can_be_compared(column: "pd.Series[Any]") -> bool:
    try:
        column.nunique()
    except TypeError:  # lists and maps, of a Parquet file
        return False
    return True


def _role_of(name: str, column: "pd.Series[Any]") -> str | None:
    if _ROW.fullmatch(name):
        return "a row's number"
    if _is_id(name) or (_WHO.fullmatch(name) and not pd.api.types.is_float_dtype(column) and column.nunique() > _FEW):
        return "an id"
    if _WEIGHT.fullmatch(name):
        return "a weight"
    if _FOLD.fullmatch(name):
        return "a fold"
    return "another value in each row" if _is_unique(column) else None


def _is_id(name: str) -> bool:
    return bool(_ID.fullmatch(name) or _CAMEL.fullmatch(name))


def _is_unique(column: "pd.Series[Any]") -> bool:
    """Whether the values are integers or single words; measures and texts naturally differ in each row."""
    if len(column) <= _FEW or pd.api.types.is_float_dtype(column) or not column.is_unique:
        return False
    if pd.api.types.is_integer_dtype(column):
        return True
    return all(isinstance(value, str) and len(value.split()) == 1 for value in column) and not _are_dates(column)


def _related(name: str, column: "pd.Series[Any]") -> Iterator[str]:
    distinct = int(column.nunique())
    if (_is_id(name) or _WHO.fullmatch(name)) and _FEW < distinct <= len(column) // 2:
        yield (
            f"{Reason.RELATED_ROWS}: {name} has {distinct:,} values in {len(column):,} rows: rows of the same {name} are "
            "trained on and tested with alike, and scores are too good where these resemble each other. "
            f"Write spec.crossValidation.groups: {name}."
        )
    elif len(column) > _FEW and distinct > len(column) // 2 and _are_dates(column):
        dates = pd.to_datetime(column, errors="coerce")
        if dates.notna().all() and (dates.is_monotonic_increasing or dates.is_monotonic_decreasing):
            yield (
                f"{Reason.RELATED_ROWS}: the rows are in the order of {name}: plain folds train on later rows than they test "
                "with, and scores are too good where the future is to be predicted. Give spec.crossValidation.splitter the "
                "class sklearn.model_selection.TimeSeriesSplit."
            )


def _are_dates(column: "pd.Series[Any]") -> bool:
    if pd.api.types.is_datetime64_any_dtype(column):
        return True
    first = column.dropna().head(_FEW)
    return len(first) > 0 and all(isinstance(value, str) and _DATE.match(value) for value in first)


_DATE: Final = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?$")


def _is_given(estimator: Estimator, X: pd.DataFrame, name: str) -> bool:
    """Whether the estimator uses a column, because a ColumnTransformer may drop it."""
    if isinstance(estimator, Pipeline):
        steps = [step for _, step in estimator.steps if step is not None and not isinstance(step, str)]
        return not steps or _is_given(steps[0], X, name)
    if not isinstance(estimator, ColumnTransformer):
        return True
    taken = [_names(columns, X) for _, _, columns in estimator.transformers]
    if (
        any(names is None for names in taken)
        or not isinstance(estimator.remainder, str)
        or estimator.remainder != "drop"
    ):
        return True
    return any(name in (names or ()) for names in taken)


def _names(columns: Anything, X: pd.DataFrame) -> list[str] | None:
    """The columns that a choice names; None if it does not choose by names or positions."""
    several = [columns] if isinstance(columns, str | int) else columns
    if not isinstance(several, list | tuple):
        return None
    places = [each for each in several if isinstance(each, int) and not isinstance(each, bool)]
    names = [each for each in several if isinstance(each, str)]
    if len(places) + len(names) < len(several):
        return None
    return names + [str(X.columns[each]) for each in places if -X.shape[1] <= each < X.shape[1]]
