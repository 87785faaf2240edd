"""Read Parquet files as frames: one file, or the parts in a folder.

Arrow must not start threads here, because a process with threads may not fork.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tuningjob.errors import ManifestRefused
from tuningjob.manifest.literals import shown
from tuningjob.search.reasons import PATH, Reason, abridged, refused
from tuningjob.search.room import check_room, parquet_frame_bytes

_MOST_PARTS: Final = 10_000
_MOST_SHOWN: Final = 5


def parquet_frame(path: Path) -> pd.DataFrame:
    """The rows of one Parquet file, as pandas.read_parquet gives them."""
    frame: pd.DataFrame = _table(path).to_pandas(use_threads=False)
    return frame


def read_parquet(files: Sequence[Path], *, name: str, memory_bytes: int = 0) -> pd.DataFrame:
    """The rows of Parquet files, one below the other, if they have the same columns. ``name`` is the path in the manifest.

    Raises ManifestRefused before reading if they do not, or if they do not fit in a pod's memory (0: it is not known).
    """
    first, frame_bytes = files[0], 0
    schema = None
    for path in files:
        told, its_bytes = _told(path, name)
        schema = told if schema is None else schema
        if not told.equals(schema):
            must_be = "a folder whose Parquet files have the same columns, of the same types and in one order"
            raise refused(Reason.DATA_LOAD, PATH, must_be, name, _difference(first.name, schema, path.name, told))
        frame_bytes += its_bytes
    file_bytes = sum(path.stat().st_size for path in files)
    check_room(frame_bytes, file_bytes, name=name, memory_bytes=memory_bytes)
    try:
        frame: pd.DataFrame = pa.concat_tables(map(_table, files)).to_pandas(use_threads=False)
    except Exception as error:
        raise _unreadable(name, error) from error
    return frame


def parts_of(folder: Path, name: str) -> list[Path]:
    """The Parquet files of a folder, ordered by name, without names that begin with _ or a dot. Raises ManifestRefused."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith(("_", ".")))
    must_be = f"a file, or a folder of Parquet files (.parquet, .pq), at most {_MOST_PARTS:,}"
    if not entries or len(entries) > _MOST_PARTS:
        raise refused(Reason.DATA_LOAD, PATH, must_be, name, f"The folder has {len(entries):,} files.")
    for entry in entries:
        if not entry.is_file() or entry.suffix.lower() not in {".parquet", ".pq"}:
            what = "a folder" if entry.is_dir() else "none"
            raise refused(Reason.DATA_LOAD, PATH, must_be, name, f"In there {shown(entry.name)} is {what}.")
    return entries


def _table(path: Path) -> pa.Table:
    with pq.ParquetFile(path, pre_buffer=False) as file:
        return file.read(use_threads=False)


def _told(path: Path, name: str) -> tuple[pa.Schema, int]:
    """What a file's metadata say: its columns, and the bytes that they will take."""
    try:
        with pq.ParquetFile(path, pre_buffer=False) as file:
            return file.schema_arrow, parquet_frame_bytes(file)
    except Exception as error:
        raise _unreadable(name if path.name in name else f"{name} ({path.name})", error) from error


def _unreadable(name: str, error: Exception) -> ManifestRefused:
    advice = f"Reading it says: {abridged(str(error))}."
    return refused(Reason.DATA_LOAD, PATH, "a parquet file that can be read", name, advice)


def _difference(one: str, of_one: pa.Schema, other: str, of_other: pa.Schema) -> str:
    """The first difference between the schemas of two files, with the names of both."""
    mine, its = ({field.name: str(field.type) for field in schema} for schema in (of_one, of_other))
    odd = [column for column in {**mine, **its} if mine.get(column) != its.get(column)]
    if not odd:
        order = ", ".join(of_one.names[:_MOST_SHOWN]), ", ".join(of_other.names[:_MOST_SHOWN])
        return f"The order of columns in {one} begins with {order[0]}, and in {other} with {order[1]}."
    told = [f"{column} ({_kind(mine, column)} and {_kind(its, column)})" for column in odd[:_MOST_SHOWN]]
    return f"{one} and {other} differ in {abridged(', '.join(told))}."


def _kind(columns: dict[str, str], name: str) -> str:
    return columns.get(name, "missing")
