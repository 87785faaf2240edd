"""CSV and Parquet files as frames, read as pandas reads them; what pandas would read as something else is refused."""

import contextlib
import csv
import gzip
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final, TextIO

import pandas as pd
import pyarrow.parquet as pq

from tuningjob.errors import ManifestRefused
from tuningjob.search.reasons import Reason, refused, shortened

_PATH: Final = "spec.data.path"
_OTHER_SEPARATORS: Final = {";": "';'", "\t": "tabs", "|": "'|'"}
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
# What pandas calls a column whose name is empty, or there already.
_NOT_A_NAME: Final = re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?|Unnamed: \d+")
_NUMBERED: Final = re.compile(r"\.\d+$")


def read_csv(path: Path, name: str) -> pd.DataFrame:
    """A CSV file, as ``pandas.read_csv`` reads it. ``name`` is the path in the manifest. Raises ManifestRefused."""
    try:
        frame = pd.read_csv(path)
    except UnicodeDecodeError as error:
        raise _unreadable("a csv file in UTF-8", name, _how_to_encode(path)) from error
    except Exception as error:
        advice = f"Reading it says: {shortened(' '.join(str(error).split()))}."
        if "Expected 1 fields" in str(error):
            advice += " Is there a line before the header? The columns' names must be the first."
        raise _unreadable("a csv file that can be read", name, advice) from error
    _check_separator(frame, name)
    _check_rows(path, frame, name)
    return frame


def read_parquet(path: Path, name: str) -> pd.DataFrame:
    """A Parquet file. ``name`` is the path in the manifest. Raises ManifestRefused."""
    try:
        return parquet_frame(path)
    except Exception as error:
        raise _unreadable("a parquet file that can be read", name, f"Reading it says: {error}.") from error


def parquet_frame(path: Path) -> pd.DataFrame:
    """As pandas.read_parquet, without the threads that Arrow would start: after these nothing may be forked."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        frame: pd.DataFrame = file.read(use_threads=False).to_pandas(use_threads=False)
        return frame


def lacks_header(columns: list[str]) -> bool:
    """Whether most of what stands for columns' names are no names but numbers: the first row of a file without a header."""
    odd = sum(_NOT_A_NAME.fullmatch(_NUMBERED.sub("", column)) is not None for column in columns)
    return 2 * odd > len(columns)


def _unreadable(must_be: str, name: str, advice: str) -> ManifestRefused:
    return refused(Reason.DATA_LOAD, _PATH, must_be, name, advice)


def _how_to_encode(path: Path) -> str:
    with path.open("rb") as file:
        is_utf_16 = file.read(2) in _UTF_16
    looks = "It looks like UTF-16" if is_utf_16 else "It may be Latin-1 or Windows-1252"
    return f"{looks}: save it as UTF-8 (iconv -f {'UTF-16' if is_utf_16 else 'WINDOWS-1252'} -t UTF-8; in Excel: CSV UTF-8)."


def _check_separator(frame: pd.DataFrame, name: str) -> None:
    """One column, and another separator in its name: nobody names a column so."""
    if frame.shape[1] == 1:
        header = str(frame.columns[0])
        for separator, told in _OTHER_SEPARATORS.items():
            if separator in header:
                advice = f"One column was found, {shortened(header, 60)!r}: its fields look separated by {told}."
                raise _unreadable("a csv file whose fields are separated by commas", name, advice)


def _check_rows(path: Path, frame: pd.DataFrame, name: str) -> None:
    """Every row has as many fields as the header.

    Where the first row has more, pandas takes the first column for an index, and every name then stands for the column before its
    own; where a later one has more it raises; where one has fewer it makes missing values of the last fields. The file is read to
    its end again only where the last column has missing values.
    """
    may_be_short = not frame.empty and bool(frame.iloc[:, -1].isna().any())
    for line, fields, wanted in _uneven_rows(path, None if may_be_short else 1):
        fault = f"The header has {wanted} fields, and line {line} has {fields}."
        if wanted == 1:
            fault += " Is there a line before the header? The columns' names must be the first."
        raise _unreadable("a csv file whose every row has as many fields as the header", name, fault)


def _uneven_rows(path: Path, looked_at: int | None) -> Iterator[tuple[int, int, int]]:
    """Line, fields, and fields of the header, of so many rows; empty lines, which pandas leaves out, are none."""
    with _opened(path) as file, contextlib.suppress(csv.Error):  # of a field longer than the module takes
        reader = csv.reader(file)
        rows = ((reader.line_num, row) for row in reader if len(row) > 1 or "".join(row).strip())
        _, header = next(rows, (0, []))
        for line, row in islice(rows, looked_at):
            if len(row) != len(header):
                yield line, len(row), len(header)


def _opened(path: Path) -> TextIO:
    if path.suffix == ".gz":
        return gzip.open(path, "rt", encoding="utf-8", newline="")
    return path.open(encoding="utf-8", newline="")
