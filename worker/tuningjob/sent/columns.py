"""One column of a table as an Arrow array and back: with pandas' own type, and every value to the bit.

A type that Arrow lacks is described beside the array, in JSON. A type that would not come back is refused.
"""

from collections.abc import Callable, Iterable
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa

from tuningjob.aliases import Anything
from tuningjob.errors import ArtifactRefused, ManifestRefused, Problem

Described = dict[str, Any]
_NUMBERS: Final = "biuf"
_TIMES: Final = "mM"
_MASKED: Final = (pd.arrays.IntegerArray, pd.arrays.FloatingArray, pd.arrays.BooleanArray)
# scalars of an object column: the tag of each type, its text, and how it is read again
_NONE, _NAN, _NA, _NAT, _TEXT, _BOOL, _INT, _FLOAT = range(8)
_SINGLE: Final[dict[int, Any]] = {_NONE: None, _NAN: float("nan"), _NA: pd.NA, _NAT: pd.NaT}
_READ: Final[dict[int, Callable[[str], Any]]] = {_TEXT: str, _BOOL: "True".__eq__, _INT: int, _FLOAT: float.fromhex}


class Unsendable(Exception):
    """What is wrong with a value, as the end of the sentence ``must be data that can be sent, but got …``."""

    def __init__(self, got: str, advice: str) -> None:
        super().__init__(got)
        self.got, self.advice = got, advice

    def of(self, what: str) -> ManifestRefused:
        """The refusal, which names the thing that has the value."""
        return ManifestRefused([Problem(what, "data that can be sent", self.got, self.advice)])


def to_arrow(values: Anything) -> tuple[pa.Array, Described]:
    """A column's values as an Arrow array, and what Arrow does not say of them. Raises Unsendable."""
    dtype = values.dtype
    try:
        array, described = _written(values, dtype)
        again = from_arrow(array.slice(0, 0), described).dtype
    except (pa.ArrowException, UnicodeError, TypeError, ValueError) as error:
        raise Unsendable(f"{dtype} ({' '.join(str(error).split())})", "Convert it to another type.") from error
    if again != dtype:
        raise Unsendable(str(dtype), f"It would come back as {again}: convert it to another type.")
    return array, described


def from_arrow(array: pa.Array, described: Described) -> Anything:
    """Undo ``to_arrow``. Raises ArtifactRefused, and what pandas and Arrow raise, for what that has not written."""
    kind, detail = next(iter(described.items()), ("", None))
    read = _READERS.get(kind)
    if read is None:
        raise ArtifactRefused(f"column: must be of a kind that this release knows, but got {kind[:40]!r}.")
    return read(array, detail)


def tagged(values: Iterable[Any]) -> tuple[list[int], list[str]]:
    """Each scalar as its tag and its text. Raises Unsendable for anything else."""
    found = [_tagged(value) for value in values]
    return [tag for tag, _ in found], [text for _, text in found]


def untagged(tags: Iterable[int], texts: Iterable[str]) -> list[Any]:
    """The scalars from their tags and texts."""
    return [_SINGLE[tag] if tag in _SINGLE else _READ[tag](text) for tag, text in zip(tags, texts, strict=True)]


def objects(values: Iterable[Any], length: int) -> "np.ndarray[Any, Any]":
    """A flat array of objects; numpy by itself would make sequences among them further dimensions."""
    made = np.empty(length, dtype=object)
    made[:] = list(values)
    return made


def object_array(values: Iterable[Any]) -> pa.Array:
    """Scalars of any kind as a struct of tag and text."""
    tags, texts = tagged(values)
    return pa.StructArray.from_arrays(
        [pa.array(tags, pa.uint8()), pa.array(texts, pa.large_string())], names=["tag", "text"]
    )


def scalars_of(array: pa.Array) -> list[Any]:
    """Undo ``object_array``: the scalars of the array."""
    return untagged(array.field("tag").to_pylist(), array.field("text").to_pylist())


def _tagged(value: object) -> tuple[int, str]:
    if value is None or value is pd.NA or value is pd.NaT:
        return (_NONE if value is None else _NA if value is pd.NA else _NAT), ""
    if type(value) is str:
        return _TEXT, value
    if type(value) is bool:
        return _BOOL, str(value)
    if type(value) is int:
        return _INT, str(value)
    if type(value) is float:
        return (_NAN, "") if value != value else (_FLOAT, value.hex())  # noqa: PLR0124  NaN alone is not itself
    advice = "Of Python's objects texts, numbers, booleans and None are sent: give it a type (astype), or leave it out."
    raise Unsendable(f"an object of type {type(value).__qualname__} in a column of objects", advice)


def _written(values: Anything, dtype: Anything) -> tuple[pa.Array, Described]:  # noqa: PLR0911  a kind each
    if isinstance(values, np.ndarray):
        return _numpy(values, dtype)
    if isinstance(dtype, pd.CategoricalDtype):
        codes = np.ascontiguousarray(values.codes)
        names, described = to_arrow(unwrapped(dtype.categories))
        made = pa.DictionaryArray.from_arrays(pa.array(np.where(codes < 0, 0, codes), mask=codes < 0), names)
        return made, {"category": {"of": described, "ordered": bool(dtype.ordered)}}
    if isinstance(values, _MASKED):
        missing = np.asarray(values.isna())
        plain = values.to_numpy(dtype=dtype.numpy_dtype, na_value=dtype.numpy_dtype.type(0))
        return pa.array(plain, mask=missing, from_pandas=False), {"masked": str(dtype.numpy_dtype)}
    if isinstance(dtype, pd.StringDtype):
        plain = values.to_numpy(dtype=object, na_value=None)
        na = "NA" if dtype.na_value is pd.NA else "nan"
        return pa.array(plain, pa.large_string()), {"string": [str(dtype.storage), na]}
    if isinstance(dtype, pd.DatetimeTZDtype):
        plain = values.tz_convert("UTC").tz_localize(None).to_numpy()
        return pa.array(plain.view("i8")), {"zoned": [dtype.unit, str(dtype.tz)]}
    if isinstance(dtype, pd.PeriodDtype):
        return pa.array(np.ascontiguousarray(values.asi8)), {
            "period": str(dtype).removeprefix("period[").removesuffix("]")
        }
    if isinstance(dtype, pd.ArrowDtype):
        whole = (
            pa.chunked_array(pa.array(values))
            if not isinstance(pa.array(values), pa.ChunkedArray)
            else pa.array(values)
        )
        return whole.combine_chunks(), {"arrow": None}
    raise Unsendable(str(dtype), "Convert it to another type, or leave it out.")


def _numpy(values: "np.ndarray[Any, Any]", dtype: "np.dtype[Any]") -> tuple[pa.Array, Described]:
    if dtype.kind == "O":
        return object_array(values.tolist() if values.ndim == 1 else values), {"object": None}
    plain = np.ascontiguousarray(values, dtype=dtype.newbyteorder("="))
    if dtype.kind in _TIMES:
        return pa.array(plain.view("i8")), {"numpy": dtype.str}
    if dtype.kind in _NUMBERS and dtype.itemsize <= 8:
        return pa.array(plain, from_pandas=False), {"numpy": dtype.str}
    raise Unsendable(str(dtype), "Convert it to another type.")


def unwrapped(index: "pd.Index[Any]") -> Anything:
    """The array of an index: a numpy array if it has one."""
    return index.to_numpy() if isinstance(index.dtype, np.dtype) else index.array


def _plain(array: pa.Array, detail: Any) -> "np.ndarray[Any, Any]":  # noqa: ANN401  JSON
    dtype = np.dtype(detail)
    found: Any = array.to_numpy(zero_copy_only=False)
    if dtype.kind in _TIMES:
        found = found.view(dtype.newbyteorder("=")).astype(dtype)
    made: np.ndarray[Any, Any] = found.astype(dtype)
    return made


def _object(array: pa.Array, _detail: object) -> "np.ndarray[Any, Any]":
    return objects(scalars_of(array), len(array))


def _category(array: pa.Array, detail: Any) -> Anything:  # noqa: ANN401  JSON
    names = from_arrow(array.dictionary, detail["of"])
    dtype = pd.CategoricalDtype(pd.Index(names, dtype=names.dtype), ordered=detail["ordered"])
    codes = array.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return pd.Categorical.from_codes(codes, dtype=dtype)


def _masked(array: pa.Array, detail: Any) -> Anything:  # noqa: ANN401  JSON
    dtype = np.dtype(detail)
    missing = np.array(array.is_null().to_numpy(zero_copy_only=False))
    zero = pa.scalar(False if dtype.kind == "b" else 0, array.type)
    plain = array.fill_null(zero).to_numpy(zero_copy_only=False).astype(dtype)
    kind: Any = {"b": _MASKED[2], "f": _MASKED[1]}.get(dtype.kind, _MASKED[0])
    return kind(plain, missing)


def _string(array: pa.Array, detail: Any) -> Anything:  # noqa: ANN401  JSON
    storage, na = detail
    dtype: Any = pd.StringDtype(storage, na_value=pd.NA if na == "NA" else np.nan)
    return pd.array(objects(array.to_pylist(), len(array)), dtype=dtype)


def _zoned(array: pa.Array, detail: Any) -> Anything:  # noqa: ANN401  JSON
    unit, zone = detail
    plain: Any = array.to_numpy().astype("i8").view(f"M8[{unit}]")
    return pd.DatetimeIndex(plain).tz_localize("UTC").tz_convert(zone).array


def _period(array: pa.Array, detail: Any) -> Anything:  # noqa: ANN401  JSON
    index: Any = pd.PeriodIndex
    return index.from_ordinals(array.to_numpy().astype("i8"), freq=detail).array


def _arrow(array: pa.Array, _detail: object) -> Anything:
    return pd.arrays.ArrowExtensionArray(array)


_READERS: Final[dict[str, Callable[[pa.Array, Any], Any]]] = {
    "numpy": _plain,
    "object": _object,
    "category": _category,
    "masked": _masked,
    "string": _string,
    "zoned": _zoned,
    "period": _period,
    "arrow": _arrow,
}
