"""Frames and series of pandas: their columns, the labels of rows and columns, and how the numbers lie in memory.

The order in memory decides bits: scikit-learn's array from a frame of floats has the order of the frame's block, and a matrix
product in another order rounds otherwise.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from tuningjob.aliases import Anything
from tuningjob.sent.columns import Described, Unsendable, from_arrow, objects, tagged, to_arrow, untagged, unwrapped

Columns = tuple[list[pa.Array], Described]


def of_frame(frame: pd.DataFrame) -> Columns:
    """The frame's columns as Arrow arrays, then those of its index, and a description of the rest. Raises Unsendable."""
    arrays, described = [], []
    for i in range(frame.shape[1]):
        column = frame.iloc[:, i]
        try:
            array, detail = to_arrow(unwrapped_series(column))
        except Unsendable as error:
            raise Unsendable(f"{error.got}, in column {frame.columns[i]!r}", error.advice) from error
        arrays.append(array)
        described.append(detail)
    beside, index = _of_index(frame.index)
    told = {"columns": described, "labels": _labels(frame.columns), "index": index, "blocks": list(_blocks(frame))}
    return [*arrays, *beside], told


def frame_of(arrays: Sequence[pa.Array], told: Described) -> pd.DataFrame:
    """Undo ``of_frame``."""
    import pandas.api.internals as since_pandas_3  # type: ignore[import-not-found]  # noqa: PLC0415  the pods' own

    width = len(told["columns"])
    values = [from_arrow(array, detail) for array, detail in zip(arrays[:width], told["columns"], strict=True)]
    index = _index_of(arrays[width:], told["index"])
    blocks: list[Any] = []
    for block in told["blocks"]:
        places = np.array(block["at"], dtype=np.intp)
        if block["order"] is None:
            alone = values[places[0]]
            # dates with a time zone have two dimensions, too
            blocks.append((alone.reshape(1, -1) if isinstance(alone, pd.arrays.DatetimeArray) else alone, places))
            continue
        joined = np.empty((len(places), len(index)), dtype=values[places[0]].dtype, order=block["order"])
        for row, place in enumerate(places):
            joined[row] = values[place]
        blocks.append((joined, places))
    made: pd.DataFrame = since_pandas_3.create_dataframe_from_blocks(
        blocks, index=index, columns=_labels_of(told["labels"])
    )
    return made


def of_series(series: "pd.Series[Any]") -> Columns:
    """The series' values and index as Arrow arrays, and a description of the rest. Raises Unsendable."""
    array, detail = to_arrow(unwrapped_series(series))
    beside, index = _of_index(series.index)
    return [array, *beside], {"columns": [detail], "name": _name(series.name), "index": index}


def series_of(arrays: Sequence[pa.Array], told: Described) -> "pd.Series[Any]":
    """Undo ``of_series``."""
    values = from_arrow(arrays[0], told["columns"][0])
    index = _index_of(arrays[1:], told["index"])
    made: pd.Series[Any] = pd.Series(values, index=index, name=told["name"], dtype=values.dtype, copy=False)
    return made


def unwrapped_series(series: "pd.Series[Any]") -> Anything:
    """The array of a column: a numpy array if it has one."""
    return series.to_numpy() if isinstance(series.dtype, np.dtype) else series.array


def _blocks(frame: pd.DataFrame) -> Iterator[Described]:
    """The columns that share one array, and its order in memory; a column that is no numpy array comes by itself."""
    for block in frame._mgr.blocks:  # noqa: SLF001  pandas tells it nowhere else
        places = [int(place) for place in block.mgr_locs.as_array]
        values = block.values
        if isinstance(values, np.ndarray):
            is_across = values.ndim > 1 and abs(values.strides[0]) < abs(values.strides[1])
            yield {"at": places, "order": "F" if is_across and min(values.shape) > 1 else "C"}
        elif values.ndim > 1 and isinstance(values.dtype, np.dtype):  # dates without a zone
            yield {"at": places, "order": "C"}
        else:
            yield from ({"at": [place], "order": None} for place in places)


def _of_index(index: "pd.Index[Any]") -> Columns:
    if isinstance(index, pd.RangeIndex):
        return [], {"range": [index.start, index.stop, index.step], "name": _name(index.name)}
    if isinstance(index, pd.MultiIndex):
        levels = [to_arrow(unwrapped(index.get_level_values(i))) for i in range(index.nlevels)]
        names = [_name(name) for name in index.names]
        return [array for array, _ in levels], {"levels": [detail for _, detail in levels], "names": names}
    array, detail = to_arrow(unwrapped(index))
    freq = getattr(index, "freqstr", None) if isinstance(index, pd.DatetimeIndex | pd.TimedeltaIndex) else None
    return [array], {"of": detail, "name": _name(index.name), "freq": freq}


def _index_of(arrays: Sequence[pa.Array], told: Described) -> "pd.Index[Any]":
    if "range" in told:
        start, stop, step = told["range"]
        return pd.RangeIndex(start, stop, step, name=told["name"])
    if "levels" in told:
        levels = [from_arrow(array, detail) for array, detail in zip(arrays, told["levels"], strict=True)]
        return pd.MultiIndex.from_arrays([pd.Index(level, dtype=level.dtype) for level in levels], names=told["names"])
    values = from_arrow(arrays[0], told["of"])
    index: Any = pd.Index(values, dtype=values.dtype, name=told["name"], copy=False)
    if told["freq"] is not None:
        index.freq = told["freq"]
    made: pd.Index[Any] = index
    return made


def _labels(columns: "pd.Index[Any]") -> Described:
    """The columns' names. Raises Unsendable for names other than texts and numbers."""
    told: Described
    if isinstance(columns, pd.RangeIndex):
        told = {"range": [columns.start, columns.stop, columns.step], "name": _name(columns.name)}
    else:
        try:
            tags, texts = tagged(columns.tolist())
        except Unsendable:
            raise Unsendable("columns whose names are no texts", "Name the columns by texts.") from None
        told = {"tags": tags, "texts": texts, "dtype": str(columns.dtype), "name": _name(columns.name)}
    try:
        again = _labels_of(told)
    except (TypeError, ValueError):
        again = pd.Index([])
    if not (type(again) is type(columns) and again.dtype == columns.dtype and again.equals(columns)):
        raise Unsendable(f"columns whose names are of the type {columns.dtype}", "Name the columns by texts.")
    return told


def _labels_of(told: Described) -> "pd.Index[Any]":
    if "range" in told:
        start, stop, step = told["range"]
        return pd.RangeIndex(start, stop, step, name=told["name"])
    found = objects(untagged(told["tags"], told["texts"]), len(told["tags"]))
    made: pd.Index[Any] = pd.Index(found, dtype=told["dtype"], name=told["name"])
    return made


def _name(name: object) -> Any:  # noqa: ANN401  JSON
    if name is None or type(name) in {str, int}:
        return name
    raise Unsendable(f"the name {name!r:.60} of rows, columns or a series", "Give it a text.")
