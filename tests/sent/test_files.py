"""Whatever is sent comes back as it was: its values to the bit, its types, its order in memory; and has one digest everywhere."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tuningjob.errors import ArtifactRefused, ManifestRefused
from tuningjob.sent import files

RNG = np.random.default_rng(0)
TEXTS = ["a", "", "ü", None, "\N{SNOWMAN}" * 3]
DTYPES = [
    "?",
    "i1",
    "u1",
    "<i4",
    ">i4",
    "i8",
    "u8",
    "f2",
    "f4",
    "f8",
    ">f8",
    "c16",
    "M8[ns]",
    "M8[D]",
    "m8[s]",
    "S3",
    "U4",
]


def there_and_back(value: Any, folder: Path) -> Any:
    sent = files.write_sent(value, folder / "sent")
    assert sent.sha256 == hashlib.sha256((folder / "sent").read_bytes()).hexdigest()
    back = files.read_sent(folder / "sent")
    assert files.write_sent(back, folder / "again").sha256 == sent.sha256, "the same object has the same digest"
    return back


def same_array(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> None:
    assert type(other) is np.ndarray
    assert (one.dtype, one.shape) == (other.dtype, other.shape)
    assert one.tobytes() == other.tobytes()
    # what a fold's rows lie like is what decides the bits of a product
    rows = np.arange(len(one))
    assert one[rows].flags.c_contiguous == other[rows].flags.c_contiguous
    assert other.flags.writeable


@st.composite
def arrays(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=5))
    array = draw(hnp.arrays(dtype, shape))
    array = np.asarray(array, order=draw(st.sampled_from(["C", "F"])))
    step = draw(st.sampled_from([1, 2, -1]))
    return array[..., ::step] if draw(st.booleans()) else array[::step]


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(arrays())
def test_an_array_comes_back_whatever_its_type_and_order(tmp_path_factory: Any, array: np.ndarray[Any, Any]) -> None:
    same_array(array, there_and_back(array, tmp_path_factory.mktemp("array")))


def columns(rows: int, seed: int) -> dict[str, Any]:
    """A column of every type that pandas has, with what is missing where it may be."""
    rng = np.random.default_rng(seed)
    numbers, missing = rng.normal(size=rows), rng.random(rows) < 0.3
    texts = [TEXTS[i] for i in rng.integers(0, len(TEXTS), rows)]
    times = pd.Series(pd.to_datetime(rng.integers(0, 2**40, rows), unit="us")).mask(missing)
    whole = pd.Series(rng.integers(-100, 100, rows), dtype="Int32").mask(missing)
    return {
        "float64": np.where(missing, np.nan, numbers),
        "float32": numbers.astype("f4"),
        "int8": rng.integers(-5, 5, rows).astype("i1"),
        "uint64": rng.integers(0, 2**63, rows, dtype="u8"),
        "bool": missing,
        "object": pd.Series([None, 1, 2.5, "x", True, np.nan, pd.NA, pd.NaT, -0.0, 10**30] * rows, dtype=object)[:rows],
        "str": pd.Series(texts, dtype="str"),
        "string": pd.Series(texts, dtype=pd.StringDtype("python")),
        "string[pyarrow]": pd.Series(texts, dtype=pd.StringDtype("pyarrow")),
        "Int32": whole,
        "Float64": pd.Series(numbers, dtype="Float64").mask(missing),
        "boolean": pd.Series(missing, dtype="boolean").mask(missing),
        "category": pd.Categorical(
            [text if text in {"a", "ü"} else None for text in texts], categories=["ü", "a", "", "unused"]
        ),
        "ordered": pd.Categorical.from_codes(
            rng.integers(-1, 3, rows), categories=pd.Index([30, 10, 20]), ordered=True
        ),
        "dates as categories": pd.Categorical(times),
        "datetime": times,
        "datetime[s]": times.astype("M8[s]"),
        "zoned": times.dt.tz_localize("UTC").dt.tz_convert("Europe/Berlin"),
        "zoned by an offset": times.dt.tz_localize("UTC").dt.tz_convert("+05:30"),
        "timedelta": times - times.min(),
        "period": times.dt.to_period("M"),
        "arrow": pd.Series(whole.astype("int64[pyarrow]")),
        "arrow's list": pd.Series([[1, 2]] * rows, dtype=pd.ArrowDtype(pa.list_(pa.int8()))),
    }


INDEXES: dict[str, Callable[[int], Any]] = {
    "numbers": lambda rows: pd.RangeIndex(5, 5 + 2 * rows, 2, name="row"),
    "texts": lambda rows: pd.Index([f"r{i}" for i in range(rows)]),
    "days": lambda rows: pd.date_range("2020-01-01", periods=rows, freq="D", tz="UTC"),
    "two levels": lambda rows: pd.MultiIndex.from_arrays([list("abcdefghi")[:rows], ["x"] * rows], names=["i", None]),
}


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    names=st.lists(st.sampled_from(sorted(columns(1, 0))), max_size=8),
    rows=st.integers(0, 9),
    seed=st.integers(0, 9),
    index=st.sampled_from(sorted(INDEXES)),
    labels=st.sampled_from(["texts", "numbers", "objects"]),
)
def test_a_frame_comes_back_with_every_type_that_pandas_has(  # noqa: PLR0917
    tmp_path_factory: Any, names: list[str], rows: int, seed: int, index: str, labels: str
) -> None:
    made = columns(rows, seed)
    frame = pd.DataFrame({f"{name} {i}": list_of(made[name]) for i, name in enumerate(names)}, index=range(rows))
    frame = frame.set_axis(INDEXES[index](rows))
    if labels == "numbers":
        frame.columns = pd.RangeIndex(len(names))
    if labels == "objects":
        frame.columns = pd.Index([i if i % 2 else f"c{i}" for i in range(len(names))], dtype=object, name="of")
    back = there_and_back(frame, tmp_path_factory.mktemp("frame"))
    pd.testing.assert_frame_equal(
        frame, back, check_freq=True, check_exact=True, check_column_type=True, check_index_type=True
    )
    assert list(frame.dtypes) == list(back.dtypes)
    assert [repr(frame.iloc[:, i].tolist()) for i in range(len(names))] == [
        repr(back.iloc[:, i].tolist()) for i in range(len(names))
    ]
    for name in range(min(1, len(names))):
        series = there_and_back(frame.iloc[:, name], tmp_path_factory.mktemp("series"))
        pd.testing.assert_series_equal(frame.iloc[:, name], series, check_freq=True, check_index_type=True)


def list_of(column: Any) -> Any:
    return column.array if isinstance(column, pd.Series) else column


@pytest.mark.parametrize(
    "frame",
    [
        pd.DataFrame(np.ascontiguousarray(RNG.normal(size=(7, 4)))),
        pd.DataFrame(np.asfortranarray(RNG.normal(size=(7, 4)))),
        pd.DataFrame({name: RNG.normal(size=7) for name in "abcd"}),
        pd.DataFrame({name: RNG.normal(size=7) for name in "abcd"})[["d", "a"]],
        pd.DataFrame(RNG.normal(size=(7, 8))).iloc[::2, ::3],
    ],
    ids=["by rows", "by columns", "of columns", "some columns", "with gaps"],
)
def test_what_a_fold_of_a_frame_is_as_an_array_has_the_same_order(tmp_path: Path, frame: pd.DataFrame) -> None:
    back = there_and_back(frame, tmp_path)
    assert frame.to_numpy().tobytes() == back.to_numpy().tobytes()
    one, other = frame.iloc[[3, 0, 1]].to_numpy(), back.iloc[[3, 0, 1]].to_numpy()
    assert one.tobytes() == other.tobytes()
    assert (one.flags.c_contiguous, one.flags.f_contiguous) == (other.flags.c_contiguous, other.flags.f_contiguous)


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csc_matrix", "csc_array", "coo_matrix", "lil_array"])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i8", "?"])
def test_a_sparse_matrix_comes_back_as_scikit_learn_would_divide_it(tmp_path: Path, kind: str, dtype: str) -> None:
    made = getattr(sp, kind)(sp.random_array((9, 5), density=0.4, rng=1).astype(dtype))
    want = made if kind.startswith("cs") else made.tocsr()
    back = there_and_back(made, tmp_path)
    assert type(back) is type(want)
    for part in ("data", "indices", "indptr"):
        same_array(getattr(want, part), getattr(back, part))
    assert want.shape == back.shape
    assert kind[:2] != "cs" or joblib.hash(want) == joblib.hash(back)


@pytest.mark.parametrize(
    "value",
    [
        ["a text", "another", "ü"],
        [1, 2, 1],
        np.array(["yes", "no", None, float("nan")], dtype=object),
        np.array([["a", 1], ["b", 2]], dtype=object),
    ],
    ids=["documents", "labels", "objects", "a table of objects"],
)
def test_texts_and_objects_come_back(tmp_path: Path, value: Any) -> None:
    back = there_and_back(value, tmp_path)
    assert type(back) is type(value)
    assert repr(back) == repr(value)


POLARS = """
import sys
from pathlib import Path
import polars as pl
from tuningjob.sent import files
frame = pl.DataFrame({
    "x": [1.5, None, float("nan")],
    "text": ["a", None, "ü"],
    "kind": pl.Series(["u", "v", "u"], dtype=pl.Categorical),
    "few": pl.Series(["u", "v", None], dtype=pl.Enum(["v", "u"])),
    "when": pl.Series([0, 1, None], dtype=pl.Datetime("us", "Europe/Berlin")),
})
for made in (frame, frame["x"], frame["text"]):
    files.write_sent(made, Path(sys.argv[1]))
    back = files.read_sent(Path(sys.argv[1]))
    assert type(back) is type(made)
    assert back.equals(made, null_equal=True)
    assert (back.schema == made.schema) if made is frame else (back.dtype, back.name) == (made.dtype, made.name)
print("they came back")
"""


@pytest.mark.slow
def test_frames_and_series_of_polars_come_back(tmp_path: Path) -> None:
    """In a process of its own: polars has threads for as long as its process lives."""
    ended = subprocess.run(
        [sys.executable, "-c", POLARS, tmp_path / "sent"], capture_output=True, text=True, check=False
    )
    assert (ended.stdout, ended.stderr) == ("they came back\n", "")


class Odd:
    pass


@pytest.mark.parametrize(
    ("value", "got"),
    [
        (np.ma.masked_array([1.0]), "a MaskedArray"),
        (np.zeros(2, dtype=[("a", "i4")]), "an array of [('a', '<i4')]"),
        (np.array([Odd()], dtype=object), "an object of type Odd in a column of objects"),
        (pd.DataFrame({"a": [Odd()]}), "an object of type Odd in a column of objects, in column 'a'"),
        (pd.DataFrame({"a": pd.arrays.SparseArray([0, 1])}), "Sparse[int64, 0], in column 'a'"),
        (pd.DataFrame([[1]], columns=[Odd]), "columns whose names are no texts"),
        (sp.csr_array(np.array([[1j]])), "a csr_array of complex128"),
        ([[1, 2], [3, 4]], "an object of type list in a column of objects"),
        (Odd(), f"a {__name__}.Odd"),
        (lambda: None, "a builtins.function"),
    ],
    ids=lambda value: None if isinstance(value, str) else type(value).__name__,
)
def test_what_would_not_come_back_is_refused_with_what_to_do(tmp_path: Path, value: Any, got: str) -> None:
    with pytest.raises(ManifestRefused) as refused:
        files.write_sent(value, tmp_path / "sent", what="y")
    (problem,) = refused.value.problems
    assert (problem.field, problem.got) == ("y", got)
    assert problem.advice.endswith(".")


@pytest.mark.slow
def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    """With other hashes of texts and addresses: on both sides the digest is the same number."""
    script = f"""
import sys
from pathlib import Path
from tests.sent.test_files import columns, list_of
import pandas as pd
from tuningjob.sent import files
frame = pd.DataFrame({{name: list_of(column) for name, column in columns(50, 3).items()}})
print(files.write_sent(frame, Path({str(tmp_path / "there")!r})).sha256)
"""
    frame = pd.DataFrame({name: list_of(column) for name, column in columns(50, 3).items()})
    here = files.write_sent(frame, tmp_path / "here").sha256
    root = Path(__file__).resolve().parents[2]
    there = subprocess.run([sys.executable, "-c", script], cwd=root, capture_output=True, text=True, check=True)
    assert there.stdout.strip() == here


@pytest.mark.parametrize("made", ["nothing", "npy", "arrow", "another kind", "cut"])
def test_bytes_of_somebody_else_are_refused_in_one_sentence(tmp_path: Path, made: str) -> None:
    path = tmp_path / "X"
    files.write_sent(pd.DataFrame({"a": [1.5] * 100}), path)
    whole = path.read_bytes()
    schema = pa.schema([], metadata={b"tuningjob": json.dumps({"kind": "pickle", "version": 1}).encode()})
    with pa.ipc.new_file(tmp_path / "other", schema):
        pass
    path.write_bytes(
        {
            "nothing": b"",
            "npy": b"\x93NUMPY\x01\x00\x46\x00{'descr': '|O', 'fortran_order': False, 'shape': (1,)}" + b" " * 99,
            "arrow": b"ARROW1\x00\x00" + b"\xff" * 99,
            "another kind": (tmp_path / "other").read_bytes(),
            "cut": whole[: len(whole) // 2],
        }[made]
    )
    with pytest.raises(ArtifactRefused, match="X: must be "):
        files.read_sent(path)
