"""The files of finished searches, back in Python: parameters and ``cv_results_``.

Reading constructs what is written: a class that the parameters name is imported and constructed, as one in a manifest is. So
read only answers of people whose manifests you would run.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from tuningjob.aliases import Anything, Json
from tuningjob.errors import ManifestRefused
from tuningjob.manifest.wellknown import PRUNED_COLUMN
from tuningjob.search.parquet import parquet_frame
from tuningjob.search.written import from_literals

__all__ = ["from_literals", "read_results"]


def read_results(path: str | Path) -> pd.DataFrame:
    """A ``cv_results.csv`` or ``cv_results.parquet`` as a frame, each parameter with the value and the type that it had.

    ``params`` holds a dict in each row. In a ``param_…`` column None is None, and what a candidate does not set is ``pandas.NA``;
    numbers of one type are a column of that type. A value that cannot be made here (its class is not installed, say) stays as
    written.
    """
    path = Path(path)
    if path.suffix == ".parquet":
        frame = parquet_frame(path)
    else:
        # as text, because pandas' own reading of a number may be off by the last bit
        frame = pd.read_csv(path, dtype=str, keep_default_na=False)
        for column in frame.columns:
            if column != "params" and not column.startswith("param_"):
                texts = list(frame[column])
                frame[column] = [text == str(True) for text in texts] if column == PRUNED_COLUMN else _numbers(texts)
    written = [json.loads(text) for text in frame["params"]]
    candidates = [{name: _read(name, value) for name, value in each.items()} for each in written]
    frame["params"] = pd.Series(candidates, dtype=object, index=frame.index)
    for column in frame.columns:
        name = str(column).removeprefix("param_")
        if name != column:
            frame[column] = _column([each.get(name, pd.NA) for each in candidates], frame.index)
    return frame


def _read(name: str, value: Json) -> Json:
    try:
        return from_literals({name: value})[name]
    except ManifestRefused:
        return value


def _numbers(texts: list[str]) -> list[int] | list[float]:
    try:
        return [int(text) for text in texts]
    except ValueError:
        return [float(text or "nan") for text in texts]


def _column(values: list[Any], index: Anything) -> pd.Series:
    series = pd.Series([pd.NA] * len(values), dtype=object, index=index)
    for i, value in enumerate(values):
        series.iat[i] = value  # one by one: pandas would take a list of lists for a table
    kinds = {type(value) for value in values}
    dtype: Any = {int: "int64", float: "float64", bool: "bool"}.get(next(iter(kinds))) if len(kinds) == 1 else None
    try:
        return series if dtype is None else series.astype(dtype)
    except OverflowError:  # integers beyond 64 bits
        return series
