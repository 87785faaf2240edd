"""A folder of Parquet parts is one table, if its parts agree."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.data import Data
from tuningjob.search.data import Dataset, load_data
from tuningjob.search.proc import resident_bytes

FRAME = pd.DataFrame({
    "a": range(12), "c": pd.Categorical(list("xyzxyzxyzxyz")), "when": pd.date_range("2026-01-01", periods=12), "y": [0, 1] * 6
})  # fmt: skip


def write(frame: pd.DataFrame, path: Path) -> None:
    path.parent.mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False, nthreads=1), path)


def data_of(path: str = "parts/", **spec: Any) -> Data:
    return Data.model_validate({"path": path, "target": "y", **spec})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The frame in three parts, written in another order than that of their names, beside what such folders have as well."""
    for i in (2, 0, 1):
        write(FRAME[4 * i : 4 * i + 4], tmp_path / "parts" / f"part-{i}.parquet")
    (tmp_path / "parts" / "_SUCCESS").touch()
    (tmp_path / "parts" / ".part-0.parquet.crc").touch()
    return tmp_path


def refusal(folder: Path, data: Data, **options: Any) -> Problem:
    with pytest.raises(ManifestRefused) as refused:
        load_data(data, folder, **options)
    (problem,) = refused.value.problems
    return problem


@pytest.mark.parametrize("data", [data_of(), data_of("parts", format="parquet"), data_of("parts/", configMap="any")])
def test_the_parts_are_read_in_the_order_of_their_names(folder: Path, data: Data) -> None:
    for found in (load_data(data, folder), load_data(data, folder, in_pod=True)):
        pd.testing.assert_frame_equal(found.X, FRAME.drop(columns="y"))
        pd.testing.assert_series_equal(found.y, FRAME["y"])


def test_the_parts_are_the_same_data_as_one_file(folder: Path) -> None:
    write(FRAME, folder / "whole.parquet")

    def same(one: Dataset, other: Dataset) -> bool:
        return one.digest == other.digest

    assert same(load_data(data_of(), folder), load_data(data_of("whole.parquet"), folder))


def test_parts_whose_categories_differ_are_one_column(folder: Path) -> None:
    odd = pd.DataFrame({**FRAME[:4], "c": pd.Categorical(["w", "x", "w", "x"])})
    write(odd, folder / "parts" / "part-3.parquet")
    assert [*load_data(data_of(), folder).X["c"][-4:]] == ["w", "x", "w", "x"]


@pytest.mark.parametrize(
    ("change", "want"),
    [
        ({"a": FRAME["a"].astype(float)}, "part-0.parquet and part-3.parquet differ in a (int64 and double)."),
        ({"b": 1}, "part-0.parquet and part-3.parquet differ in b (missing and int64)."),
    ],
)
def test_parts_that_do_not_agree_are_refused_with_both_names(folder: Path, change: dict[str, Any], want: str) -> None:
    write(FRAME.assign(**change), folder / "parts" / "part-3.parquet")
    problem = refusal(folder, data_of())
    assert (problem.field, problem.reason) == ("spec.data.path", "DataLoad")
    assert problem.advice == want


def test_columns_in_another_order_are_refused_as_well(folder: Path) -> None:
    write(FRAME[["y", "c", "a", "when"]], folder / "parts" / "part-3.parquet")
    advice = refusal(folder, data_of()).advice
    assert "The order of columns in part-0.parquet begins with a, c, when, y, and in part-3.parquet with y, c" in advice


def test_what_is_no_parquet_file_in_the_folder_is_named(folder: Path) -> None:
    (folder / "parts" / "year=2026").mkdir()
    assert refusal(folder, data_of()).advice == "In there 'year=2026' is a folder."
    (folder / "parts" / "notes.txt").touch()
    assert refusal(folder, data_of()).advice == "In there 'notes.txt' is none."


def test_a_part_that_cannot_be_read_is_named(folder: Path) -> None:
    (folder / "parts" / "part-1.parquet").write_bytes(b"PAR1")
    assert refusal(folder, data_of()).got == "'parts/ (part-1.parquet)'"


def test_in_a_pod_no_part_is_a_link_that_leads_out(folder: Path) -> None:
    write(FRAME, folder / "secret" / "x.parquet")
    volume = folder / "parts"
    (volume / "x.parquet").symlink_to(folder / "secret" / "x.parquet")
    problem = refusal(volume, data_of("/", configMap="any"), in_pod=True)
    assert problem.advice == "In there 'x.parquet' is a link that leads out."


def test_all_parts_together_must_fit_in_the_pods_memory(folder: Path) -> None:
    big = pd.DataFrame({"a": range(100_000), "y": 1})
    for i in range(4):
        write(big, folder / "big" / f"{i}.parquet")
    problem = refusal(folder, data_of("big/"), memory_bytes=resident_bytes() + 2**20)
    assert problem.reason == "DataTooLarge"
    assert "its rows take 7 MiB" in problem.advice
