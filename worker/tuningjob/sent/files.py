"""X, y, groups and weights as files: the same object gives the same bytes, and the bytes give the same object.

Arrays of numbers are numpy's own files (.npy), which pods map into memory. Everything else is one Arrow file with a description
in its metadata. Bits, types, categories and the order in memory stay as they are. Nothing is pickled.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import scipy.sparse as sp

from tuningjob.aliases import Anything
from tuningjob.errors import ArtifactRefused
from tuningjob.sent.columns import Described, Unsendable, object_array, objects, scalars_of
from tuningjob.sent.frames import frame_of, of_frame, of_series, series_of

_NPY: Final = b"\x93NUMPY"
_ABOUT: Final = b"tuningjob"
_KINDS: Final = "biufcmMSU"
_SPARSE: Final[dict[str, Any]] = {
    each.__name__: each for each in (sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.csc_array)
}


@dataclass(frozen=True)
class SentFile:
    """A file that was written: its digest, by which it is named, and its size."""

    path: Path
    sha256: str
    size_bytes: int


def write_sent(value: Anything, path: Path, *, what: str = "X") -> SentFile:
    """Write an object's file. ``what`` is its name in messages. Raises ManifestRefused for what cannot be sent."""
    try:
        with path.open("wb") as file:
            if isinstance(value, np.ndarray) and value.dtype.kind in _KINDS:
                np.lib.format.write_array(file, _dense(value), version=(1, 0), allow_pickle=False)
            else:
                _write_arrow(file, value)
    except Unsendable as error:
        raise error.of(what) from error
    return known_file(path)


def known_file(path: Path) -> SentFile:
    """The digest and the size of a file that was written."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return SentFile(path, digest, path.stat().st_size)


def read_sent(path: Path) -> Anything:
    """The object of a file. An array of numbers is mapped from the file; what is written to it stays in this process.

    Raises ArtifactRefused for what is no file of ``write_sent``.
    """
    try:
        with path.open("rb") as file:
            is_array = file.read(len(_NPY)) == _NPY
        if is_array:
            return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))
        return _read_arrow(path)
    except ArtifactRefused:
        raise
    except Exception as error:  # the errors of numpy's, pandas' and Arrow's readers have no common base class
        said = " ".join(str(error).split())[:500]
        raise ArtifactRefused(
            f"{path.name}: must be data that tuningjob has written, but reading it says: {said}."
        ) from error


def _dense(value: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    if type(value) not in {np.ndarray, np.memmap}:
        raise Unsendable(f"a {type(value).__name__}", "Give a plain array of numpy's.")
    if value.ndim == 0:
        raise Unsendable("an array without a dimension", "Give an array with rows.")
    # a slice with gaps keeps the order of its axes in memory, as fancy indexing does
    return value if value.flags.forc else value.copy(order="K")


def _write_arrow(file: Anything, value: Anything) -> None:
    kind, (arrays, told) = _described(value)
    about = json.dumps({"kind": kind, "version": 1, **told}, sort_keys=True, separators=(",", ":"))
    names = [str(i) for i in range(len(arrays))]
    fields = [pa.field(name, array.type) for name, array in zip(names, arrays, strict=True)]
    schema = pa.schema(fields, metadata={_ABOUT: about.encode()})
    alone = pa.ipc.IpcWriteOptions(use_threads=False)
    with pa.ipc.new_file(file, schema, options=alone) as writer:
        if arrays:
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))


def _described(value: Anything) -> tuple[str, tuple[list[pa.Array], Described]]:  # noqa: PLR0911  a kind each
    if type(value) is pd.DataFrame:
        return "frame", of_frame(value)
    if type(value) is pd.Series:
        return "series", of_series(value)
    if isinstance(value, pd.Index):
        return "series", of_series(value.to_series(index=pd.RangeIndex(len(value))))
    if type(value) is np.ndarray and value.dtype.kind == "O":
        return "objects", ([object_array(value.ravel().tolist())], {"shape": list(value.shape)})
    if isinstance(value, np.ndarray):
        raise Unsendable(f"an array of {value.dtype}", "Convert it to another type.")
    if type(value) is list:
        return "list", ([object_array(value)], {})
    if sp.issparse(value):
        return _sparse(value)
    module = type(value).__module__.partition(".")[0]
    if module == "polars" and type(value).__name__ in {"DataFrame", "Series"}:
        return _polars(value)
    advice = "Give an array of numpy's, a frame or series of pandas' or polars', a sparse matrix of scipy's, or a list."
    raise Unsendable(f"a {type(value).__module__}.{type(value).__qualname__}", advice)


def _sparse(value: Anything) -> tuple[str, tuple[list[pa.Array], Described]]:
    """A sparse matrix by rows as it is; another layout as scikit-learn's search would convert it before it splits it."""
    matrix = value if type(value).__name__ in _SPARSE else value.tocsr()
    if matrix.data.dtype.kind not in "biuf" or matrix.data.dtype.itemsize > 8 or type(matrix).__name__ not in _SPARSE:
        raise Unsendable(f"a {type(value).__name__} of {value.dtype}", "Give a sparse matrix of real numbers.")
    parts = [np.ascontiguousarray(part) for part in (matrix.data, matrix.indices, matrix.indptr)]
    told = {
        "class": type(matrix).__name__,
        "shape": [int(size) for size in matrix.shape],
        "dtypes": [part.dtype.str for part in parts],
    }
    native = [part.astype(part.dtype.newbyteorder("=")) for part in parts]
    listed = [
        pa.LargeListArray.from_arrays(pa.array([0, len(part)], pa.int64()), pa.array(part, from_pandas=False))
        for part in native
    ]
    return "sparse", (listed, told)


def _polars(value: Anything) -> tuple[str, tuple[list[pa.Array], Described]]:
    import polars as pl  # type: ignore[import-not-found, unused-ignore]  # noqa: PLC0415  a process with such a frame has polars

    frame = value.to_frame() if isinstance(value, pl.Series) else value
    table = frame.to_arrow().combine_chunks()
    again: Any = pl.from_arrow(table.slice(0, 0))
    for name, dtype in frame.schema.items():
        if again.schema[name] != dtype:
            raise Unsendable(f"polars' {dtype}, in column {name!r}", "Cast it to another type.")
    whole = [column.chunk(0) if column.num_chunks else pa.array([], column.type) for column in table.columns]
    about = [{key.decode(): text.decode() for key, text in (field.metadata or {}).items()} for field in table.schema]
    return "polars", (whole, {"names": list(frame.columns), "about": about, "series": isinstance(value, pl.Series)})


def _read_arrow(path: Path) -> Anything:
    alone = pa.ipc.IpcReadOptions(use_threads=False)  # an engine forks only if there are no threads
    mapped = pa.py_buffer(np.memmap(path, dtype="u1", mode="r"))  # Arrow's own maps are read ahead by threads
    with pa.ipc.open_file(mapped, options=alone) as opened:
        about = json.loads((opened.schema.metadata or {})[_ABOUT])
        batches = [opened.get_batch(i) for i in range(opened.num_record_batches)]
        for batch in batches:
            batch.validate(full=True)
        arrays = list(batches[0].columns) if batches else []
        kind = about.pop("kind")
        if about.pop("version") != 1 or kind not in _READERS:
            raise ArtifactRefused(f"{path.name}: must be of a kind that this release knows, but got {kind!r:.40}.")
        return _READERS[kind](arrays, about)


def _objects_of(arrays: Sequence[pa.Array], told: Described) -> "np.ndarray[Any, Any]":
    return objects(scalars_of(arrays[0]), len(arrays[0])).reshape(told["shape"])


def _list_of(arrays: Sequence[pa.Array], _told: Described) -> list[Any]:
    return scalars_of(arrays[0])


def _sparse_of(arrays: Sequence[pa.Array], told: Described) -> Anything:
    parts = [
        array.values.to_numpy(zero_copy_only=False).astype(
            np.dtype(dtype)
        )  # a copy, because some estimators write to it
        for array, dtype in zip(arrays, told["dtypes"], strict=True)
    ]
    made = _SPARSE[told["class"]]((parts[0], parts[1], parts[2]), shape=tuple(told["shape"]))
    made.indices, made.indptr = parts[1], parts[2]  # with the integer width that they had
    made.check_format(full_check=True)
    return made


def _polars_of(arrays: Sequence[pa.Array], told: Described) -> Anything:
    import polars as pl  # noqa: PLC0415

    fields = [
        pa.field(name, array.type, metadata=about or None)
        for name, array, about in zip(told["names"], arrays, told["about"], strict=True)
    ]
    frame: Any = pl.from_arrow(pa.Table.from_arrays(list(arrays), schema=pa.schema(fields)))
    return frame.to_series() if told["series"] else frame


_READERS: Final[dict[str, Callable[[Sequence[pa.Array], Described], Any]]] = {
    "frame": frame_of,
    "series": series_of,
    "objects": _objects_of,
    "list": _list_of,
    "sparse": _sparse_of,
    "polars": _polars_of,
}
