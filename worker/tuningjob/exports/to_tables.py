"""``cv_results_`` as a file of its own: a row for each candidate, with every digit of each score."""

import shutil
from pathlib import Path

import pandas as pd

from tuningjob.manifest.wellknown import PRUNED_COLUMN
from tuningjob.search.parquet import parquet_frame


def write_csv(source: Path, target: Path) -> None:
    """Write ``target`` as CSV from a ``cv_results.csv`` or ``.parquet``."""
    if source.suffix == ".csv":
        shutil.copyfile(source, target)
    else:
        parquet_frame(source).to_csv(target, index=False)


def write_parquet(source: Path, target: Path) -> None:
    """Write ``target`` as Parquet from a ``cv_results.parquet``, or a ``.csv``, whose parameters then are text."""
    if source.suffix == ".parquet":
        shutil.copyfile(source, target)
        return
    # as text first: pandas' own reading of a number may be off by the last bit
    frame = pd.read_csv(source, dtype=str, keep_default_na=False)
    for name in frame.columns:
        if name == PRUNED_COLUMN:
            frame[name] = frame[name] == str(True)
        elif name != "params" and not str(name).startswith("param_"):
            frame[name] = [float(text or "nan") for text in frame[name]]
    frame.to_parquet(target, index=False)
