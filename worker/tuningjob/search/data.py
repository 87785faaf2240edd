"""Load X and y by one of scikit-learn's loaders or the user's function, or from a CSV or Parquet file, here or behind a URL."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import joblib
import pandas as pd

from tuningjob.aliases import Anything, Matrix, Target
from tuningjob.engine.sklearn_private import num_samples
from tuningjob.errors import ManifestRefused
from tuningjob.manifest.cross_validation import GROUPS, PREDEFINED
from tuningjob.manifest.data import Data, Uploaded
from tuningjob.manifest.refusals import nearest
from tuningjob.search.columns import Table
from tuningjob.search.loaders import from_function, from_loader
from tuningjob.search.parquet import parts_of, read_parquet
from tuningjob.search.queries import read_query
from tuningjob.search.reasons import PATH, Reason, error_text, refused
from tuningjob.search.sent_data import UPLOADED, Fetch, from_uploads
from tuningjob.search.tables import read_csv
from tuningjob.search.urls import Remote, fetched

_IS_URL: Final = re.compile(r"[A-Za-z][-+.A-Za-z0-9]*://")


@dataclass(frozen=True)
class Dataset:
    """The data of a search, with their digest.

    ``X`` has the shape (samples, features) or is a list of documents; ``y`` has the shape (samples,) or (samples, targets), or is
    None. ``sample_weight`` is a number for each sample, or None. ``beside`` has columns in neither, by the field that names them.
    """

    X: Any
    y: Any
    digest: str
    sample_weight: Any = None
    beside: Mapping[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """The number of rows of X."""
        return int(num_samples(self.X))

    @property
    def features(self) -> int:
        """The number of columns of X."""
        shape: tuple[int, ...] = getattr(self.X, "shape", ())
        return int(shape[1]) if len(shape) > 1 else 1


def load_data(
    data: Data,
    folder: Path,
    *,
    in_pod: bool = False,
    beside: Mapping[str, str] = MappingProxyType({}),
    memory_bytes: int = 0,
    fetch: Fetch | None = None,
) -> Dataset:
    """Load the data of a spec. Files are found below ``folder``, and in a pod nowhere else. Raises ManifestRefused.

    ``beside`` names columns that are neither target nor feature, by the field. ``memory_bytes`` is the pod's, 0 if unknown.
    ``fetch`` gets data that were sent from Python.
    """
    if data.uploaded is not None:
        return _sent(data, data.uploaded, fetch)
    if data.loader is not None or data.function is not None:
        X, y = from_loader(data) if data.loader is not None else from_function(data)
        _check_lengths(X, y, data)
        return Dataset(X, y, _digest(X, y))
    with _named_as_in(data):
        table = Table(_from_file(data, folder, in_pod=in_pod, memory_bytes=memory_bytes), data, beside)
        X, y, weight = table.X, table.y, table.sample_weight
        _check_lengths(X, y, data)
    digest = _digest(X, y) if weight is None else _digest(X, y, weight)
    return Dataset(X, y, digest, weight, table.beside)


def _sent(data: Data, uploaded: Uploaded, fetch: Fetch | None) -> Dataset:
    sent = from_uploads(uploaded, fetch)
    _check_lengths(sent.X, sent.y, data)
    beside = {"groups": sent.groups, "sampleWeight": sent.sample_weight, "predefined": sent.predefined}
    for name, given in beside.items():
        if given is not None and num_samples(given) != num_samples(sent.X):
            advice = f"It has {num_samples(given):,} values for {num_samples(sent.X):,} rows."
            raise refused(Reason.DATA_LOAD, f"{UPLOADED}.{name}", "one value for each row", uploaded.features, advice)
    parts = (sent.X, sent.y) if sent.sample_weight is None else (sent.X, sent.y, sent.sample_weight)
    folds = None if sent.predefined is None else pd.Series(sent.predefined)
    columns = {name: column for name, column in ((GROUPS, sent.groups), (PREDEFINED, folds)) if column is not None}
    return Dataset(sent.X, sent.y, _digest(*parts), sent.sample_weight, columns)


@contextmanager
def _named_as_in(data: Data) -> Iterator[None]:
    """Turn errors of reading a file into problems of the field that names it."""
    try:
        yield
    except ManifestRefused as error:
        if data.path is not None:
            raise
        fields = (data.source_field if problem.field == PATH else problem.field for problem in error.problems)
        renamed = [replace(problem, field=field) for problem, field in zip(error.problems, fields, strict=True)]
        raise ManifestRefused(renamed) from error.__cause__


def _digest(*parts: Anything) -> str:
    try:
        return str(joblib.hash(parts, hash_name="sha1"))
    except Exception as error:  # an object of the user's
        must_be = "data that can be pickled, because pods must tell that they have the same"
        raise refused(Reason.DATA_LOAD, "spec.data", must_be, error_text(error)) from error


def _check_lengths(X: Matrix, y: Target, data: Data) -> None:
    field, source = data.source_field, data.source
    try:
        rows = num_samples(X)
        targets = rows if y is None else num_samples(y)
    except TypeError as error:
        raise refused(
            Reason.DATA_LOAD, field, "data whose X and y have rows", source, f"scikit-learn says: {error}."
        ) from error
    if rows != targets:
        raise refused(
            Reason.DATA_LOAD,
            field,
            "data with one target for each row",
            source,
            f"It has {rows} rows and {targets} targets.",
        )
    if rows == 0:
        raise refused(Reason.DATA_LOAD, field, "data with rows", source, "It has none.")


def _from_file(data: Data, folder: Path, *, in_pod: bool, memory_bytes: int) -> pd.DataFrame:
    if data.url is not None:
        with fetched(Remote(data.url, data.sha256), in_pod=in_pod) as file:
            return _read([file], data, memory_bytes)
    if data.query is not None:
        return read_query(data.query, memory_bytes=memory_bytes)
    if data.path is None:
        raise ValueError("no path")
    path = _place_of(data, data.path, folder, in_pod=in_pod)
    files = parts_of(path, data.path) if path.is_dir() else [path]
    if in_pod:
        for file in files:
            _check_below(file, folder, data.path)
    return _read(files, data, memory_bytes)


def _read(files: Sequence[Path], data: Data, memory_bytes: int) -> pd.DataFrame:
    if data.file_format == "csv":
        return read_csv(files[0], data.source, data.read, memory_bytes=memory_bytes)
    return read_parquet(files, name=data.source, memory_bytes=memory_bytes)


def _place_of(data: Data, path: str, folder: Path, *, in_pod: bool) -> Path:
    """The path of the file, or of the folder with its parts.

    In a pod the volume is the root of all paths, and nothing outside it is read or named.
    """
    if _IS_URL.match(path):
        advice = (
            "A URL is named by spec.data.url: https://, s3://, gs:// and abfs:// are read. Put any other file on a "
            "volume, and name that by spec.data.persistentVolumeClaim."
        )
        raise refused(Reason.DATA_LOAD, PATH, "the path of a file", path, advice)
    below = folder / path.lstrip("/")
    is_volume = data.persistent_volume_claim is not None or data.config_map is not None
    file = below if in_pod or (is_volume and below.exists()) else folder / path
    if in_pod:
        _check_below(file, folder, path)
    if file.is_file() or (file.is_dir() and data.file_format == "parquet"):
        return file
    if file.is_dir():
        advice = "It is a folder, and of parts only Parquet files are read: join them, or name one of them."
    elif in_pod and not is_volume:
        advice = "Name the volume that holds it by spec.data.persistentVolumeClaim or spec.data.configMap."
    else:
        advice = _files_there(file.parent, file.name)
    raise refused(Reason.DATA_LOAD, PATH, f"a file below {folder}", path, advice)


def _check_below(file: Path, folder: Path, path: str) -> None:
    if not file.resolve().is_relative_to(folder.resolve()):  # a link may lead out of it
        advice = (
            "It is a link that leads out." if file.name in path else f"In there {file.name!r} is a link that leads out."
        )
        raise refused(Reason.DATA_LOAD, PATH, f"a file below {folder}", path, advice)


def _files_there(folder: Path, name: str) -> str:
    if not folder.is_dir():
        return ""
    return nearest(name, [entry.name for entry in folder.iterdir() if entry.is_file()])
