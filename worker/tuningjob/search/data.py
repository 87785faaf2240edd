"""X and y: from one of scikit-learn's loaders, or from a CSV or Parquet file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import pandas as pd
import pyarrow.parquet as pq
from sklearn.utils.validation import _num_samples

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.search.build import load_attribute, materialise
from tuningjob.search.reasons import Reason, refused, told
from tuningjob.spec.literals import parse_params, shown
from tuningjob.spec.manifest import nearest
from tuningjob.spec.models import Data


@dataclass(frozen=True)
class Dataset:
    """``X`` of shape (samples, features), ``y`` of shape (samples,), and a digest of both."""

    X: Any
    y: Any
    digest: str

    @property
    def samples(self) -> int:
        """Rows of X."""
        return int(_num_samples(self.X))

    @property
    def features(self) -> int:
        """Columns of X."""
        shape: tuple[int, ...] = getattr(self.X, "shape", ())
        return int(shape[1]) if len(shape) > 1 else 1


def load_data(data: Data, folder: Path) -> Dataset:
    """The data of a spec; files are looked for below ``folder``. Raises ManifestRefused."""
    X, y = _from_loader(data) if data.loader is not None else _from_file(data, folder)
    _check_lengths(X, y, data)
    return Dataset(X, y, str(joblib.hash((X, y), hash_name="sha1")))


def _check_lengths(X: Any, y: Any, data: Data) -> None:  # noqa: ANN401  whatever a loader gives
    field = "spec.data.loader" if data.loader is not None else "spec.data.path"
    source = data.loader if data.loader is not None else data.path
    try:
        rows, targets = _num_samples(X), _num_samples(y)
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
    arguments = {name: materialise(literal) for name, literal in parse_params(data.params, "spec.data.params")}
    if data.loader.startswith("sklearn.datasets.make_") and not isinstance(arguments.get("random_state"), int):
        # every pod makes the data anew: without a seed each would search another data set
        raise refused(
            Reason.DATA_UNSEEDED,
            "spec.data.params.random_state",
            "an integer",
            arguments.get("random_state"),
            "Every worker must make the same data.",
        )
    try:
        made = loader(**arguments)
    except (Exception, SystemExit) as error:
        raise refused(
            Reason.DATA_LOAD, "spec.data", "a loader that runs", data.loader, f"It says: {told(error)}."
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


def _from_file(data: Data, folder: Path) -> tuple[Any, Any]:
    if data.path is None:
        raise ValueError("no path")
    # in a pod the volume is the root: an absolute path means the same as a relative one there
    path = folder / data.path.lstrip("/") if data.persistent_volume_claim or data.config_map else folder / data.path
    if not path.is_file() and Path(data.path).is_absolute():
        path = Path(data.path)
    if not path.is_file():
        raise refused(
            Reason.DATA_LOAD,
            "spec.data.path",
            f"a file below {folder}",
            data.path,
            _files_there(path.parent, path.name),
        )
    try:
        frame = pd.read_csv(path) if data.file_format == "csv" else _read_parquet(path)
    except Exception as error:
        raise refused(
            Reason.DATA_LOAD,
            "spec.data.path",
            f"a {data.file_format} file that can be read",
            data.path,
            f"Reading it says: {error}.",
        ) from error
    return _columns(frame, data)


def _read_parquet(path: Path) -> pd.DataFrame:
    # as pandas.read_parquet, without the threads that Arrow would start: after these nothing may be forked
    with pq.ParquetFile(path, pre_buffer=False) as file:
        frame: pd.DataFrame = file.read(use_threads=False).to_pandas(use_threads=False)
        return frame


def _columns(frame: pd.DataFrame, data: Data) -> tuple[Any, Any]:
    known = [str(column) for column in frame.columns]
    problems: list[Problem] = []
    if data.target not in known:
        problems.append(
            Problem(
                "spec.data.target",
                f"a column of {data.path}",
                shown(data.target),
                nearest(str(data.target), known),
                Reason.DATA_LOAD,
            )
        )
    for i, name in enumerate(data.features or []):
        if name not in known:
            problems.append(
                Problem(
                    f"spec.data.features[{i}]",
                    f"a column of {data.path}",
                    shown(name),
                    nearest(name, known),
                    Reason.DATA_LOAD,
                )
            )
    if problems:
        raise ManifestRefused(problems)
    X = frame[data.features] if data.features is not None else frame.drop(columns=[data.target])
    return X, frame[data.target]


def _files_there(folder: Path, name: str) -> str:
    if not folder.is_dir():
        return ""
    return nearest(name, [entry.name for entry in folder.iterdir() if entry.is_file()])
