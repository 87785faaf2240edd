"""Read CSV files as pandas does, but refuse files that pandas would silently misread."""

import codecs
import contextlib
import csv
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

import pandas as pd

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.literals import shown
from tuningjob.manifest.read import WHITESPACE, ReadOptions
from tuningjob.manifest.refusals import nearest
from tuningjob.search.lines import lines_of
from tuningjob.search.reasons import PATH, Reason, abridged, refused
from tuningjob.search.room import check_room, csv_frame_bytes

_READ: Final = "spec.data.read"
_OTHER_SEPARATORS: Final = {";": "';'", "\t": "tabs", "|": "'|'"}
_UTF_16: Final = (b"\xff\xfe", b"\xfe\xff")
# The names that pandas gives to columns with an empty or a repeated name.
_NOT_A_NAME: Final = re.compile(r"[-+]?[\d.]+([eE][-+]?\d+)?|Unnamed: \d+")
_NUMBERED: Final = re.compile(r"\.\d+$")
_PLAIN: Final = ReadOptions()


def csv_options(read: ReadOptions) -> dict[str, Any]:
    """The arguments of ``pandas.read_csv`` for ``spec.data.read``."""
    dtypes = {**(read.dtypes or {}), **dict.fromkeys(read.categories or (), "category")}
    return {
        "sep": read.delimiter,
        "decimal": read.decimal,
        "thousands": read.thousands,
        "encoding": read.encoding,
        "quotechar": read.quote_char,
        "quoting": csv.QUOTE_NONE if read.quoting == "none" else csv.QUOTE_MINIMAL,
        "doublequote": read.double_quote,
        "escapechar": read.escape_char,
        "comment": read.comment,
        "skipinitialspace": read.skip_initial_space,
        "skiprows": read.skip_rows,
        "header": 0 if read.header else None,
        "names": read.names,
        "na_values": read.na_values,
        "keep_default_na": read.keep_default_na,
        "true_values": read.true_values,
        "false_values": read.false_values,
        "parse_dates": read.parse_dates,
        "date_format": read.date_format,
        "dayfirst": read.day_first,
        "dtype": dtypes or None,
        "index_col": read.index_column,
    }


def read_csv(path: Path, name: str, read: ReadOptions | None = None, *, memory_bytes: int = 0) -> pd.DataFrame:
    """The frame of a CSV file, as ``pandas.read_csv`` reads it. ``name`` is the path in the manifest.

    Raises ManifestRefused, before reading if the file does not fit in a pod's memory (0: it is not known).
    """
    options = csv_options(_PLAIN if read is None else read)
    if read is not None:
        _check_options(path, name, read, options)
    if memory_bytes > 0:
        told = csv_frame_bytes(path, _PLAIN if read is None else read, options)
        check_room(told, path.stat().st_size, name=name, memory_bytes=memory_bytes)
    frame, said = _frame(path, name, options)
    read = _PLAIN if read is None else read
    _check_separator(frame, name, read)
    _check_rows(path, frame, name, read)
    _check_dates(frame, read, said)
    return frame


def lacks_header(columns: list[str]) -> bool:
    """Whether most column names are numbers, as if they were the first row of a file without a header."""
    odd = sum(_NOT_A_NAME.fullmatch(_NUMBERED.sub("", column)) is not None for column in columns)
    return 2 * odd > len(columns)


def _frame(path: Path, name: str, options: dict[str, Any]) -> tuple[pd.DataFrame, list[str]]:
    """The frame, and pandas' warnings about its dates."""
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            frame = pd.read_csv(path, **options)
    except UnicodeError as error:
        encoding = options["encoding"] or "UTF-8"
        raise _unreadable(f"a csv file in {encoding}", name, _how_to_encode(path, encoding)) from error
    except Exception as error:
        advice = f"Reading it says: {abridged(' '.join(str(error).split()))}."
        if "Expected 1 fields" in str(error):
            advice += " Is there a line before the header? The columns' names must be the first (or say spec.data.read.skipRows)."
        raise _unreadable("a csv file that can be read", name, advice) from error
    return frame, [str(warning.message) for warning in caught]


def _unreadable(must_be: str, name: str, advice: str) -> ManifestRefused:
    return refused(Reason.DATA_LOAD, PATH, must_be, name, advice)


def _how_to_encode(path: Path, encoding: str) -> str:
    with path.open("rb") as file:
        is_utf_16 = file.read(2) in _UTF_16
    looks = "It looks like UTF-16" if is_utf_16 else "It may be Latin-1 or Windows-1252"
    meant = "utf-16" if is_utf_16 else "cp1252"
    if encoding != "UTF-8":
        return f"{looks}: write spec.data.read.encoding: {meant}, or leave it out where it is UTF-8."
    code, excel = ("UTF-16" if is_utf_16 else "WINDOWS-1252"), "in Excel: CSV UTF-8"
    return f"{looks}: save it as UTF-8 (iconv -f {code} -t UTF-8; {excel}), or write spec.data.read.encoding: {meant}."


def _check_options(path: Path, name: str, read: ReadOptions, options: dict[str, Any]) -> None:
    """Refuse named columns that do not exist, which pandas would ignore, and encodings that Python does not know."""
    if read.encoding is not None and not _is_text_encoding(read.encoding):
        must_be = "an encoding that Python knows"
        raise refused(
            Reason.DATA_LOAD, f"{_READ}.encoding", must_be, read.encoding, "Such as latin-1, cp1252 or utf-16."
        )
    twice = [column for column, times in Counter(read.names or ()).items() if times > 1]
    if twice:  # checking a thousand names for this is too much for the API server
        raise refused(Reason.DATA_LOAD, f"{_READ}.names", "a list of different names", twice[0], "It is there twice.")
    named = [
        *((f"{_READ}.parseDates[{i}]", column) for i, column in enumerate(read.parse_dates or [])),
        *((f"{_READ}.categories[{i}]", column) for i, column in enumerate(read.categories or [])),
        *((f"{_READ}.dtypes.{column}", column) for column in read.dtypes or ()),
        *([(f"{_READ}.indexColumn", read.index_column)] if read.index_column is not None else []),
    ]
    if not named:
        return
    unnamed = {"parse_dates": None, "dtype": None, "index_col": None, "nrows": 0}
    known = [str(column) for column in _frame(path, name, {**options, **unnamed})[0].columns]
    problems = [
        Problem(field, f"a column of {name}", shown(column), nearest(column, known), Reason.DATA_LOAD)
        for field, column in named
        if column not in known
    ]
    if problems:
        raise ManifestRefused(problems)


def _is_text_encoding(name: str) -> bool:
    try:
        "".encode(name)
    except (LookupError, UnicodeError):  # not for text, or unknown
        return False
    return codecs.lookup(name).name != "undefined"


def _check_separator(frame: pd.DataFrame, name: str, read: ReadOptions) -> None:
    """Refuse a frame of one column whose name has another separator in it."""
    if frame.shape[1] == 1:
        header = str(frame.columns[0])
        used = "commas" if read.delimiter == "," else shown(read.delimiter)
        for separator, told in {",": "commas", **_OTHER_SEPARATORS}.items():
            if separator in header and separator != read.delimiter:
                advice = f"One column was found, {abridged(header, 60)!r}: its fields look separated by {told}."
                advice += " Say so by spec.data.read.delimiter."
                raise _unreadable(f"a csv file whose fields are separated by {used}", name, advice)


def _check_rows(path: Path, frame: pd.DataFrame, name: str, read: ReadOptions) -> None:
    """Refuse a file in which a row has more or fewer fields than the header.

    If the first row has more, pandas takes the first column for an index, and every name is that of the wrong column. If a later
    row has more, pandas raises. If a row has fewer, its last fields become missing values. The whole file is read again only if
    the last column has missing values.
    """
    may_be_short = not frame.empty and bool(frame.iloc[:, -1:].isna().any(axis=None))
    may_be_short = may_be_short or (read.index_column is not None and bool(pd.isna(frame.index).any()))
    for line, fields, wanted in _uneven_rows(path, None if may_be_short else 1, read):
        fault = f"The header has {wanted} fields, and line {line} has {fields}."
        if read.names is not None:
            fault = f"There are {wanted} names, and line {line} has {fields} fields."
        elif wanted == 1:
            fault += " Is there a line before the header? The columns' names must be the first."
        raise _unreadable("a csv file whose every row has as many fields as the header", name, fault)


def _uneven_rows(path: Path, looked_at: int | None, read: ReadOptions) -> Iterator[tuple[int, int, int]]:
    """The line number, the fields, and the header's fields of each uneven row; empty lines, which pandas skips, do not count."""
    with (
        lines_of(path, read.encoding) as file,
        contextlib.suppress(csv.Error),
    ):  # a field longer than the csv module takes
        lines: Iterator[str] = islice(file, read.skip_rows, None)
        if read.comment is not None:
            lines = (line if read.quote_char in line else line.split(read.comment, 1)[0] for line in lines)
        in_blanks = read.delimiter == WHITESPACE
        reader = csv.reader(
            (f"{' '.join(line.split())}\n" for line in lines) if in_blanks else lines,
            delimiter=" " if in_blanks else read.delimiter,
            quotechar=read.quote_char,
            quoting=csv.QUOTE_NONE if read.quoting == "none" else csv.QUOTE_MINIMAL,
            doublequote=read.double_quote,
            escapechar=read.escape_char,
            skipinitialspace=read.skip_initial_space,
        )
        rows = ((reader.line_num + read.skip_rows, row) for row in reader if len(row) > 1 or "".join(row).strip())
        wanted = 0
        if read.header:
            wanted = len(next(rows, (0, []))[1])
        wanted = wanted if read.names is None else len(read.names)
        for line, row in islice(rows, looked_at):
            if len(row) != wanted:
                yield line, len(row), wanted


def _check_dates(frame: pd.DataFrame, read: ReadOptions, said: list[str]) -> None:
    """Refuse date columns that pandas left as text, or whose format it guessed row by row."""
    guessed = any(text.startswith("Could not infer format") for text in said)
    for i, column in enumerate(read.parse_dates or []):
        values = frame.index if column == read.index_column else frame[column]
        if guessed or not pd.api.types.is_datetime64_any_dtype(values.dtype):
            must_be = f"a column whose every value is a date, written as {shown(read.date_format or 'the first')}"
            odd = next((value for value in values if isinstance(value, str)), None)
            advice = "" if odd is None else f"It has {abridged(str(odd), 60)!r}. "
            advice += "Say by spec.data.read.dateFormat how they are written, such as %d.%m.%Y."
            raise refused(Reason.DATA_LOAD, f"{_READ}.parseDates[{i}]", must_be, column, advice)
