"""Rows that are cut once for all processes: the same as scikit-learn cuts, and once only."""

import gc
import mmap
import os
import re
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis.extra.numpy as numpy_strategies
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.utils import _safe_indexing

from tests.engine.fresh import in_a_fresh_process
from tuningjob.engine.slices import SharedRows

Array = np.ndarray[Any, Any]

MATRIX = np.arange(120.0).reshape(12, 10)
CUBE = np.arange(360.0).reshape(12, 5, 6)
ARRAYS = {
    "a matrix": MATRIX,
    "a matrix by columns": np.asfortranarray(MATRIX),
    "every other column": MATRIX[:, ::2],
    "columns backwards": MATRIX[:, ::-1],
    "rows backwards": MATRIX[::-1],
    "one column": MATRIX[:, :1],
    "one column of a matrix by columns": np.asfortranarray(MATRIX)[:, :1],
    "one row again and again": np.broadcast_to(np.arange(3.0), (12, 3)),
    "a vector": np.arange(12.0),
    "every other value": np.arange(24.0)[::2],
    "a cube": CUBE,
    "a cube, first axis fastest": np.asfortranarray(CUBE),
    "a cube with its last axes exchanged": CUBE.transpose(0, 2, 1),
    "a cube, turned": np.arange(360.0).reshape(5, 6, 12).transpose(2, 0, 1),
    "booleans": MATRIX > 50,
    "float32": MATRIX.astype(np.float32),
    "the other byte order": MATRIX.astype(">f8"),
    "integers": MATRIX.astype(np.int16),
    "complex numbers": MATRIX + 1j,
    "strings": MATRIX.astype(str),
    "dates": np.arange(12).astype("datetime64[D]"),
    "records": np.array([(row, "x") for row in range(12)], dtype=[("number", "f8"), ("name", "U3")]),
    "unaligned numbers": np.zeros(12, dtype=[("flag", "i1"), ("number", "f8")])["number"],
    "unaligned, without gaps": np.frombuffer(bytes(97), np.uint8)[1:].view(np.float64),
}
SELECTIONS = {
    "some": np.array([7, 2, 2, 11, 0]),
    "some from the end": np.array([-1, 3, -12]),
    "without a fold": np.r_[0:4, 8:12],
    "a fold": np.arange(4, 8),
    "all": np.arange(12),
    "one": np.array([5]),
    "none": np.array([], dtype=int),
    "a mask": np.arange(12) % 3 == 0,
    "small numbers": np.array([3, 1], dtype=np.uint8),
}


def assert_same(taken: Array, cut: Array) -> None:
    assert type(taken) is type(cut) is np.ndarray
    assert (taken.dtype, taken.shape, taken.strides) == (cut.dtype, cut.shape, cut.strides)
    assert taken.tobytes() == cut.tobytes()
    assert not taken.flags.writeable


# ---- the same as scikit-learn's ----


@pytest.mark.parametrize("name", ARRAYS)
def test_rows_are_what_scikit_learn_cuts_in_value_type_and_layout(name: str) -> None:
    X = ARRAYS[name]
    assert SharedRows.supports(X)
    rows = SharedRows(X, list(SELECTIONS.values()))
    for number, selection in enumerate(SELECTIONS.values()):
        assert_same(rows.take(number), _safe_indexing(X, selection))


@pytest.mark.slow
@given(st.data())
def test_rows_of_any_array_are_what_scikit_learn_cuts(data: st.DataObject) -> None:
    shape = data.draw(numpy_strategies.array_shapes(min_dims=1, max_dims=4, max_side=6))
    dtype = data.draw(st.sampled_from(["f8", "f4", ">f4", "i8", "u1", "?", "U3", "c16"]))
    X = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    X = X.transpose(data.draw(st.permutations(range(X.ndim))))
    steps = data.draw(st.tuples(*[st.sampled_from([1, 2, -1])] * X.ndim))
    X = X[tuple(slice(None, None, step) for step in steps)]
    selections = data.draw(st.lists(st.lists(st.integers(-len(X), len(X) - 1)).map(lambda rows: np.array(rows, int))))
    rows = SharedRows(X, selections)
    for number, selection in enumerate(selections):
        assert_same(rows.take(number), _safe_indexing(X, selection))


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_of_more_than_one_block_are_the_same_as_well(order: Any) -> None:
    X = np.asarray(np.random.default_rng(0).random((50_000, 12)), order=order)
    selection = np.flatnonzero(np.arange(len(X)) % 5)
    assert_same(SharedRows(X, [selection]).take(0), _safe_indexing(X, selection))


def test_rows_of_a_file_are_a_plain_array(tmp_path: Path) -> None:
    np.save(tmp_path / "X.npy", MATRIX)
    X = np.load(tmp_path / "X.npy", mmap_mode="r")
    rows = SharedRows(X, list(SELECTIONS.values()))
    for number, selection in enumerate(SELECTIONS.values()):
        assert_same(rows.take(number), _safe_indexing(MATRIX, selection))


@pytest.mark.parametrize(
    ("selection", "message"),
    [
        (np.array([12]), "rows 12 to 12"),
        (np.array([-13, 0]), "rows -13 to 0"),
        (np.ones(11, dtype=bool), r"\(11,\)"),
    ],
)
def test_rows_that_are_not_there_are_refused(selection: Array, message: str) -> None:
    with pytest.raises(IndexError, match=message):
        SharedRows(MATRIX, [selection])


@pytest.mark.parametrize(
    "X",
    [
        [[1.0]],
        np.array([[1, "a"]], dtype=object),
        np.zeros(3, dtype=[("any", object)]),
        np.array(["text"], dtype=np.dtypes.StringDType()),
        np.ma.masked_array([1.0]),
        np.float64(1),
        np.array(1.0),
        np.empty((0, 3)),
        np.empty((3, 0)),
    ],
    ids=["list", "objects", "records of objects", "text", "masked", "number", "scalar", "no rows", "no columns"],
)
def test_other_data_are_not_supported(X: Any) -> None:
    assert not SharedRows.supports(X)
    with pytest.raises(TypeError, match="numpy array"):
        SharedRows(X, [])


# ---- no copies ----


def aligned(values: Array) -> Array:
    """The same, at the beginning of a page."""
    copy: Array = np.ndarray(values.shape, values.dtype, mmap.mmap(-1, values.nbytes))
    copy[...] = values
    return copy


def test_rows_that_follow_each_other_are_a_view_of_x() -> None:
    X = aligned(MATRIX)
    rows = SharedRows(X, [np.arange(4, 8), np.arange(12)])
    assert all(np.shares_memory(rows.take(number), X) for number in range(2))


@pytest.mark.parametrize(
    ("X", "selection"),
    [
        (aligned(MATRIX), np.array([4, 5, 7])),
        (aligned(MATRIX), np.array([4, 3, 2])),
        (aligned(MATRIX), np.array([4, 4, 6])),
        (np.asfortranarray(MATRIX), np.arange(4, 8)),
        (aligned(MATRIX[:, :9]), np.arange(1, 4)),
    ],
    ids=["a gap", "backwards", "twice", "by columns", "at an odd address"],
)
def test_others_are_copied(X: Array, selection: Array) -> None:
    assert not np.shares_memory(SharedRows(X, [selection]).take(0), X)


def test_the_same_array_is_given_each_time() -> None:
    rows = SharedRows(MATRIX, list(SELECTIONS.values()))
    assert all(rows.take(number) is rows.take(number) for number in range(len(SELECTIONS)))


def test_a_copy_cannot_be_made_writeable() -> None:
    taken = SharedRows(MATRIX, [np.array([3, 1])]).take(0)
    with pytest.raises(ValueError, match="WRITEABLE"):
        taken.flags.writeable = True


def test_x_itself_stays_writeable() -> None:
    X = aligned(MATRIX)
    SharedRows(X, [np.arange(4)]).take(0)
    assert X.flags.writeable


@pytest.mark.slow
def test_nothing_is_left_open() -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    before = descriptors()
    closed, forgotten = (SharedRows(MATRIX, [np.array([3, 1])]) for _ in range(2))
    assert descriptors() == before + 2
    taken = closed.take(0)
    closed.close()
    del forgotten
    gc.collect()
    assert descriptors() == before
    assert taken[0, 0] == 30  # an array outlives what it was taken from


# ---- several processes ----


def resident_bytes(array: Array) -> int:
    """How much of the mapping that an array lies in is in memory, as this process sees it."""
    address = array.ctypes.data
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if bounds := re.match(r"([0-9a-f]+)-([0-9a-f]+) ", line):
            inside = int(bounds[1], 16) <= address < int(bounds[2], 16)
        elif inside and line.startswith("Rss:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such mapping")


class Child:
    """A forked process that takes orders, step by step."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        (steps_in, self._go), (self._answers, answers) = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid:
            os.close(steps_in)
            os.close(answers)
            return
        try:
            os.close(self._go)
            for step in steps:
                os.read(steps_in, 1)
                os.write(answers, str(step()).encode())
        finally:
            os._exit(0)

    def start(self) -> None:
        os.write(self._go, b".")

    def answer(self) -> str:
        """What the step that was started came to; empty if it was the end of the process."""
        return os.read(self._answers, 100).decode()

    def does(self) -> str:
        self.start()
        return self.answer()

    def exit_code(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.mark.slow
@in_a_fresh_process
def test_processes_that_ask_at_once_share_what_one_of_them_cut() -> None:
    X = np.zeros((200_000, 20))
    rows = SharedRows(X, [np.flatnonzero(np.arange(len(X)) % 2)])

    def take_from(own: int) -> str:
        X[...] = own  # its private copy of X now tells who has filled the rows
        return " ".join(str(int(value)) for value in np.unique(rows.take(0)))

    children = [Child(lambda own=own: take_from(own)) for own in (1, 2, 3)]  # type: ignore[misc]
    for child in children:
        child.start()
    answers = {child.answer() for child in children}
    assert len(answers) == 1
    assert answers < {"1", "2", "3"}
    assert rows.take(0).min() == rows.take(0).max() == int(answers.pop())


@in_a_fresh_process
def test_a_process_that_is_killed_while_it_cuts_leaves_nothing_that_counts_and_nobody_waiting() -> None:
    with tempfile.NamedTemporaryFile() as file:
        X = np.memmap(file.name, dtype=np.float64, mode="w+", shape=(100_000, 10))
        X[:] = np.arange(X.size).reshape(X.shape)
        values = bytes(X)
        rows = SharedRows(X, [np.flatnonzero(np.arange(len(X)) % 2)])

        def cut_a_file_that_has_lost_its_second_half() -> None:
            os.truncate(file.name, X.nbytes // 2)
            rows.take(0)

        child = Child(cut_a_file_that_has_lost_its_second_half)
        assert child.does() == ""
        assert child.exit_code() == -signal.SIGBUS
        Path(file.name).write_bytes(values)
        assert_same(rows.take(0), np.frombuffer(values).reshape(X.shape)[1::2].copy())


@in_a_fresh_process
def test_nothing_is_in_memory_before_it_is_asked_for_and_after_it_was_released() -> None:
    X = np.random.default_rng(0).random((102_400, 20))  # whole pages
    selection = np.flatnonzero(np.arange(len(X)) % 2)
    rows = SharedRows(X, [selection, selection])
    size = X.nbytes // 2
    touched = Child(
        lambda: rows.take(0).sum() and resident_bytes(rows.take(0)),
        lambda: resident_bytes(rows._selections[0].array),  # type: ignore[union-attr]
        lambda: rows.take(0).tobytes() == X[selection].tobytes(),
    )
    untouched = rows._selections[1].array  # type: ignore[union-attr]
    assert resident_bytes(untouched) == 0
    assert int(touched.does()) == size
    rows.release(0)
    assert int(touched.does()) == 0  # the system has it back, whoever had mapped it
    assert touched.does() == "True"
    assert_same(rows.take(0), X[selection])
    assert resident_bytes(untouched) == 0


def test_a_view_is_not_released() -> None:
    X = aligned(MATRIX)
    rows = SharedRows(X, [np.arange(4)])
    rows.release(0)
    assert_same(rows.take(0), MATRIX[:4])
