"""X and y: from one of scikit-learn's loaders, or from a CSV or Parquet file."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import joblib
import pandas as pd

from tuningjob.aliases import Matrix, Target
from tuningjob.engine.sklearn_private import num_samples
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.data import Data
from tuningjob.manifest.literals import shown
from tuningjob.manifest.refusals import nearest
from tuningjob.search.build import load_attribute, materialise
from tuningjob.search.reasons import Reason, error_text, refused
from tuningjob.search.tables import lacks_header, read_csv, read_parquet

_MOST_NAMED: Final = 10
_URL: Final = re.compile(r"[A-Za-z][-+.A-Za-z0-9]*://")


@dataclass(frozen=True)
class Dataset:
    """``X`` of shape (samples, features), ``y`` of shape (samples,), and a digest of both. ``beside``: columns that are in
    neither, by the field of the manifest that names them.
    """

    X: Any
    y: Any
    digest: str
    beside: Mapping[str, Any] = field(default_factory=dict)

    @property
    def samples(self) -> int:
        """Rows of X."""
        return int(num_samples(self.X))

    @property
    def features(self) -> int:
        """Columns of X."""
        shape: tuple[int, ...] = getattr(self.X, "shape", ())
        return int(shape[1]) if len(shape) > 1 else 1


def load_data(
    data: Data, folder: Path, *, in_pod: bool = False, beside: Mapping[str, str] = MappingProxyType({})
) -> Dataset:
    """The data of a spec; files are looked for below ``folder``, and in a pod nowhere else. Raises ManifestRefused.

    ``beside``: columns of a file that are neither target nor feature, by the field that names them.
    """
    others: dict[str, Any] = {}
    if data.loader is not None:
        X, y = _from_loader(data)
    else:
        frame = _from_file(data, folder, beside, in_pod=in_pod)
        X, y = _columns(frame, data, beside)
        others = {where: frame[name] for where, name in beside.items()}
    _check_lengths(X, y, data)
    return Dataset(X, y, str(joblib.hash((X, y), hash_name="sha1")), others)


def feature_columns(data: Data, known: Sequence[str], beside: Mapping[str, str]) -> list[str]:
    """The columns of a file that are X: those that are named, or all that have no part of their own."""
    if data.features is not None:
        return data.features
    taken = {*beside.values(), *(data.exclude or ()), data.target, data.sort}
    return [column for column in known if column not in taken]


def _check_lengths(X: Matrix, y: Target, data: Data) -> None:
    field = "spec.data.loader" if data.loader is not None else "spec.data.path"
    source = data.loader if data.loader is not None else data.path
    try:
        rows, targets = num_samples(X), num_samples(y)
    except TypeError as error:
        raise refused(
            Reason.DATA_LOAD, field, "a loader whose X and y have rows", source, f"scikit-learn says: {error}."
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


def _from_loader(data: Data) -> tuple[Any, Any]:
    if data.loader is None:
        raise ValueError("no loader")
    loader = load_attribute(data.loader, "spec.data.loader", kind="a loader")
    arguments = {name: materialise(literal) for name, literal in data.arguments.items}
    if data.loader.startswith("sklearn.datasets.make_") and not isinstance(arguments.get("random_state"), int):
        # every pod makes the data anew: without a seed each would search another data set
        raise refused(
            Reason.DATA_UNSEEDED,
            data.arguments.field_of("random_state"),
            "an integer",
            arguments.get("random_state"),
            "Every worker must make the same data.",
        )
    try:
        made = loader(**arguments)
    except (Exception, SystemExit) as error:
        raise refused(
            Reason.DATA_LOAD, "spec.data", "a loader that runs", data.loader, f"It says: {error_text(error)}."
        ) from error
    if isinstance(made, tuple):
        if len(made) != 2:
            raise refused(
                Reason.DATA_LOAD,
                "spec.data.loader",
                "a loader that gives X and y",
                data.loader,
                f"It gives {len(made)} things.",
            )
        return made
    if not hasattr(made, "data") or not hasattr(made, "target"):
        raise refused(Reason.DATA_LOAD, "spec.data.loader", "a loader that gives data and target", data.loader)
    return made.data, made.target


def _from_file(data: Data, folder: Path, beside: Mapping[str, str], *, in_pod: bool) -> pd.DataFrame:
    """The file's rows, in their order."""
    if data.path is None:
        raise ValueError("no path")
    path = _file_of(data, data.path, folder, in_pod=in_pod)
    frame = read_csv(path, data.path, data.read) if data.file_format == "csv" else read_parquet(path, data.path)
    _check_columns(frame, data, beside)
    return _sorted(frame, data)


def _sorted(frame: pd.DataFrame, data: Data) -> pd.DataFrame:
    """By the column that is named: ascending, and rows of one value as they stand."""
    if data.sort is None:
        return frame
    missing = int(frame[data.sort].isna().sum())
    if missing:
        must_be, advice = (
            "a column without missing values",
            f"{missing:,} of {len(frame):,} are missing: nobody knows where they belong.",
        )
        raise refused(Reason.DATA_LOAD, "spec.data.sort", must_be, data.sort, advice)
    try:
        return frame.sort_values(data.sort, kind="stable")
    except TypeError as error:  # of several kinds
        must_be = "a column whose values can be compared with each other"
        raise refused(Reason.DATA_LOAD, "spec.data.sort", must_be, data.sort, f"pandas says: {error}.") from error


def _file_of(data: Data, path: str, folder: Path, *, in_pod: bool) -> Path:
    """Where the file is. In a pod the volume is the root of all paths, and nothing outside of it is looked at or named."""
    if _URL.match(path):
        advice = (
            "URLs are not read. Fetch it beside the manifest; for a cluster put it on a volume, and name that by "
            "spec.data.persistentVolumeClaim (such as a bucket that is mounted)."
        )
        raise refused(Reason.DATA_LOAD, "spec.data.path", "the path of a file", path, advice)
    below = folder / path.lstrip("/")
    is_volume = data.persistent_volume_claim is not None or data.config_map is not None
    file = below if in_pod or (is_volume and below.is_file()) else folder / path
    if in_pod and not file.resolve().is_relative_to(folder.resolve()):  # by a link
        raise refused(
            Reason.DATA_LOAD, "spec.data.path", f"a file below {folder}", path, "It is a link that leads out."
        )
    if file.is_file():
        return file
    if file.is_dir():
        advice = "It is a folder, and one file is read: join its parts, or name one of them."
    elif in_pod and not is_volume:
        advice = "Name the volume that holds it by spec.data.persistentVolumeClaim or spec.data.configMap."
    else:
        advice = _files_there(file.parent, file.name)
    raise refused(Reason.DATA_LOAD, "spec.data.path", f"a file below {folder}", path, advice)


def _check_columns(frame: pd.DataFrame, data: Data, beside: Mapping[str, str]) -> None:
    """All columns that are named are there, and none has two parts."""
    known = [str(column) for column in frame.columns]
    named = {"spec.data.target": data.target, "spec.data.sort": data.sort, **beside}
    named |= {f"spec.data.features[{i}]": name for i, name in enumerate(data.features or [])}
    named |= {f"spec.data.exclude[{i}]": name for i, name in enumerate(data.exclude or [])}
    problems = [
        Problem(where, f"a column of {data.path}", shown(name), _nearest_column(name, known), Reason.DATA_LOAD)
        for where, name in named.items()
        if name is not None and name not in known
    ]
    problems += [
        Problem(
            where, "a column that is no feature", shown(name), "Remove it from spec.data.features.", Reason.DATA_LOAD
        )
        for where, name in beside.items()
        if name in (data.features or ())
    ]
    if problems:
        raise ManifestRefused(problems)


def _columns(frame: pd.DataFrame, data: Data, beside: Mapping[str, str]) -> tuple[Any, Any]:
    X = frame[feature_columns(data, list(frame.columns), beside)]
    if X.shape[1] == 0:
        others = [name for name in frame.columns if name != data.target]
        advice = f"{data.target!r} is the only column of the file."
        if others:
            advice = f"None of its other columns is a feature: {', '.join(map(repr, others[:_MOST_NAMED]))}."
        raise refused(Reason.DATA_LOAD, "spec.data.path", "a file with columns beside the target", data.path, advice)
    return X, frame[data.target]


def _nearest_column(name: str, known: list[str]) -> str:
    if lacks_header(known):
        return f"Is the header missing? The first line must hold the columns' names, but holds {shown(known)}."
    return nearest(name, known)


def _files_there(folder: Path, name: str) -> str:
    if not folder.is_dir():
        return ""
    return nearest(name, [entry.name for entry in folder.iterdir() if entry.is_file()])
