"""Forecast from a part of a file how much of a pod's memory it takes: one that is too large is refused, so the pod is not killed.

The forecast errs low: a refused file would never have fitted, but an accepted one may still be too large.
"""

import math
import warnings
from collections.abc import Mapping
from io import StringIO
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tuningjob.manifest.read import ReadOptions
from tuningjob.search.lines import beginning_of
from tuningjob.search.proc import resident_bytes
from tuningjob.search.reasons import PATH, Reason, refused

_MIB: Final = 2**20
_SAMPLE: Final = _MIB  # characters
# While a file is read, memory has its rows at least twice: parsed, and as the frame. Measured were 2.8 to 4.9 times.
_COPIES: Final = 2


def check_room(frame_bytes: int | None, file_bytes: int, *, name: str, memory_bytes: int) -> None:
    """Raise ManifestRefused if a frame of so many bytes cannot be read within a pod's memory.

    An unknown ``frame_bytes`` is None, an unknown ``memory_bytes`` is 0.
    """
    if frame_bytes is None or memory_bytes <= 0:
        return
    taken, needed = resident_bytes(), _COPIES * frame_bytes
    if taken + needed <= memory_bytes:
        return
    must_be = f"data that fit in the pod's memory ({_mib(memory_bytes)}, of which {_mib(taken)} are taken)"
    advice = (
        f"The file has {_mib(file_bytes)}, and to read it takes about {_mib(needed)}: its rows take {_mib(frame_bytes)}, and are "
        f"there twice for a while. Raise spec.resources.memory above {_mib(taken + needed)}, with room for fits beside, or leave "
        "columns or rows out of the file."
    )
    raise refused(Reason.DATA_TOO_LARGE, PATH, must_be, name, advice)


def _mib(size: int) -> str:
    return f"{math.ceil(size / _MIB):,} MiB"


def csv_frame_bytes(path: Path, read: ReadOptions, options: Mapping[str, Any]) -> int | None:
    """The bytes of the frame that pandas makes of a CSV file, by its size and first lines; None if these are not enough."""
    try:
        text, share = beginning_of(path, _SAMPLE, read.encoding)
        whole = text if share == 1 else _whole_rows(text, read)
        if not whole:
            return None
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            frame = pd.read_csv(StringIO(whole), **{**options, "encoding": None})
    except Exception:  # noqa: BLE001  reading the whole file will report the fault
        return None
    return math.ceil(
        sum(_column_bytes(frame.iloc[:, i]) for i in range(frame.shape[1])) / (share * len(whole) / len(text))
    )


def _whole_rows(text: str, read: ReadOptions) -> str:
    """The part of a text up to the last line end outside quotes."""
    lines = text.splitlines(keepends=True)[:-1]
    if read.quoting == "none":
        return "".join(lines)
    quotes = accumulate(line.count(read.quote_char) for line in lines)
    rows = max((i for i, seen in enumerate(quotes, 1) if seen % 2 == 0), default=0)
    return "".join(lines[:rows])


def _column_bytes(column: "pd.Series[Any]") -> int:
    if isinstance(column.dtype, pd.CategoricalDtype):  # its categories do not grow with the rows
        return int(column.cat.codes.nbytes)
    return int(column.memory_usage(index=False, deep=True))


def parquet_frame_bytes(file: pq.ParquetFile) -> int:
    """The least bytes of the frame that is made of a Parquet file, by the file's metadata."""
    metadata = file.metadata
    widths = {field.name: width for field in file.schema_arrow if (width := _width(field.type)) is not None}
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    columns = (group.column(j) for group in groups for j in range(group.num_columns))
    # for text only the written size is known; it includes 4 bytes for each length, which takes 8 in memory
    texts = sum(column.total_uncompressed_size for column in columns if column.path_in_schema not in widths)
    others = len(file.schema_arrow) - len(widths)
    return int(metadata.num_rows * (sum(widths.values()) + 4 * others) + texts)


def _width(kind: pa.DataType) -> int | None:
    """The bytes of a value of this type; None if they differ."""
    if pa.types.is_dictionary(kind):
        return _width(kind.index_type)
    if pa.types.is_boolean(kind):
        return 1
    return int(kind.bit_width) // 8 if pa.types.is_primitive(kind) else None
