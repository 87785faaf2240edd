"""What a file takes of a pod's memory is told before it is read, and too large a one is refused with both numbers."""

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.data import Data
from tuningjob.manifest.read import ReadOptions
from tuningjob.search.data import load_data
from tuningjob.search.proc import resident_bytes
from tuningjob.search.room import csv_frame_bytes, parquet_frame_bytes
from tuningjob.search.tables import csv_options, read_csv

MIB = 2**20
ROWS = 60_000


def numbers() -> pd.DataFrame:
    draws = np.random.default_rng(0)
    return pd.DataFrame(draws.normal(size=(ROWS, 3)).round(6), columns=["a", "b", "y"])


def documents() -> pd.DataFrame:
    return pd.DataFrame({"text": [f'He said "no",\nand line {i:05}\nended' for i in range(ROWS)], "y": 1})


def told(path: Path, **options: Any) -> tuple[int | None, int]:
    """Forecast and truth."""
    read = ReadOptions.model_validate(options)
    frame = read_csv(path, path.name, read)
    columns = [frame[name] for name in frame.columns]
    whole = sum(int(each.memory_usage(index=False, deep=True)) for each in columns)
    return csv_frame_bytes(path, read, csv_options(read)), whole


@pytest.mark.alike
@pytest.mark.parametrize(
    ("frame", "options"),
    [
        (numbers, {}),
        (documents, {}),
        (numbers, {"dtypes": {"a": "float32"}}),
        (documents, {"categories": ["y"]}),
        (numbers, {"encoding": "utf-16"}),
    ],
)
def test_the_frame_of_a_csv_file_is_told_by_its_size_and_first_lines(
    tmp_path: Path, frame: Any, options: dict[str, Any]
) -> None:
    path = tmp_path / "t.csv"
    frame().to_csv(path, index=False, encoding=options.get("encoding"))
    assert path.stat().st_size > 1.1 * MIB  # more than is looked at
    forecast, truth = told(path, **options)
    assert forecast == pytest.approx(truth, rel=0.05)


@pytest.mark.slow
def test_of_a_compressed_file_the_bytes_on_the_disk_tell_how_much_there_is(tmp_path: Path) -> None:
    path = tmp_path / "t.csv.gz"
    path.write_bytes(gzip.compress(numbers().to_csv(index=False).encode(), mtime=0))
    forecast, truth = told(path)
    assert forecast == pytest.approx(truth, rel=0.25)
    assert forecast is not None
    assert forecast <= 1.05 * truth  # it errs low


@pytest.mark.slow
@given(text=st.text(st.sampled_from('ab,"\n\r1é'), max_size=60))
def test_whatever_the_file_is_a_forecast_raises_nothing(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("odd") / "t.csv"
    path.write_bytes(text.encode())
    csv_frame_bytes(path, ReadOptions(), csv_options(ReadOptions()))


@pytest.mark.parametrize("frame", [numbers, documents])
def test_the_frame_of_a_parquet_file_is_told_by_its_metadata(tmp_path: Path, frame: Any) -> None:
    whole = frame().assign(flag=True, kind=pd.Categorical(["x", "y"] * (ROWS // 2)), small=np.int8(1))
    written = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pandas(whole, preserve_index=False, nthreads=1), written)
    with pq.ParquetFile(written, pre_buffer=False) as file:
        forecast = parquet_frame_bytes(file)
    assert forecast == pytest.approx(int(whole.memory_usage(index=False, deep=True).sum()), rel=0.1)


# --- refused before it is read


def refusal(folder: Path, path: str, memory_bytes: int) -> Problem:
    data = Data.model_validate({"path": path, "target": "y"})
    with pytest.raises(ManifestRefused) as refused:
        load_data(data, folder, in_pod=True, memory_bytes=memory_bytes)
    (problem,) = refused.value.problems
    return problem


@pytest.mark.slow
def test_a_csv_file_that_does_not_fit_is_not_even_read(tmp_path: Path) -> None:
    # it ends in what is no UTF-8: its reader hears of that
    (tmp_path / "t.csv").write_bytes(numbers().to_csv(index=False).encode() + b"\xff\xff,\xff,1\n")
    problem = refusal(tmp_path, "t.csv", resident_bytes() + MIB // 2)
    assert (problem.reason, problem.field, problem.got) == ("DataTooLarge", "spec.data.path", "'t.csv'")
    assert "must be data that fit in the pod's memory (" in str(problem)
    assert "The file has 2 MiB, and to read it takes about 3 MiB: its rows take 2 MiB" in problem.advice
    assert "UTF-8" in str(refusal(tmp_path, "t.csv", 2**40))


def test_a_parquet_file_that_does_not_fit_is_refused_by_what_it_says_of_itself(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pandas(numbers(), preserve_index=False, nthreads=1), tmp_path / "t.parquet")
    problem = refusal(tmp_path, "t.parquet", resident_bytes() + MIB // 2)
    assert problem.reason == "DataTooLarge"
    assert "its rows take 2 MiB" in problem.advice


@pytest.mark.slow
def test_where_the_memory_is_not_known_or_enough_the_file_is_read(tmp_path: Path) -> None:
    numbers().to_csv(tmp_path / "t.csv", index=False)
    data = Data.model_validate({"path": "t.csv", "target": "y"})
    assert load_data(data, tmp_path).samples == ROWS
    assert load_data(data, tmp_path, memory_bytes=resident_bytes() + 64 * MIB).samples == ROWS
