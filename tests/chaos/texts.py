"""Hostile JSON as recipes: small to draw and to print, and as large as anybody takes when they are written."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hypothesis import strategies as st

SCALARS: Final[dict[str, bytes]] = {
    "zero": b"0",
    "null": b"null",
    "true": b"true",
    "empty text": b'""',
    "the largest float": b"1.7976931348623157e308",
    "beyond any float": b"1e999",
    "minus zero": b"-0.0",
    "NaN that is no JSON": b"NaN",
    "NaN as a text": b'"NaN"',
    "infinity as a text": b'"-Infinity"',
    "400 digits": b"9" * 400,
    "5,000 digits": b"9" * 5_000,
    "half a character": b'"\\ud800"',
    "the other half": b'"\\udfff"',
    "NUL": b'"\\u0000"',
    "no UTF-8": b'"\xff\xfe"',
    "a bracket in a text": b'"}]"',
    "an accent": b'"\xc3\xa9"',
    "escape codes": b'"\\u001b[31m"',
    "a path": b'"../../../../proc/self/environ"',
    "a negative": b"-9223372036854775809",
    "10 KB of text": b'"' + b"x" * 10_000 + b'"',
}


def _wide(item: bytes, size: int) -> bytes:
    return b"[" + b",".join([item] * (size // (len(item) + 1) + 1)) + b"]"


def _keys(scalar: bytes, size: int) -> bytes:
    return b"{" + b",".join(b'"%d":%b' % (key, scalar) for key in range(size // (len(scalar) + 9) + 1)) + b"}"


SHAPES: Final[dict[str, Callable[[bytes, int], bytes]]] = {
    "alone": lambda scalar, _: scalar,
    "deep lists": lambda scalar, size: b"[" * (size // 2) + scalar + b"]" * (size // 2),
    "deep maps": lambda scalar, size: b'{"a":' * (size // 6) + scalar + b"}" * (size // 6),
    "deep lists of maps": lambda scalar, size: b'[{"a":' * (size // 8) + scalar + b"}]" * (size // 8),
    "not closed": lambda _, size: b"[" * size,
    "a wide list": _wide,
    "a list of maps": lambda scalar, size: _wide(b'{"a":%b}' % scalar, size),
    "a list of lists": lambda scalar, size: _wide(b"[%b]" % scalar, size),
    "many keys": _keys,
    "one key again and again": lambda scalar, size: (
        b"{" + b",".join([b'"a":' + scalar] * (size // (len(scalar) + 5) + 1)) + b"}"
    ),
    "a long key": lambda scalar, size: b'{"%b":%b}' % (b"k" * size, scalar),
    "a long text": lambda _, size: b'"' + b"x" * size + b'"',
    "escapes": lambda _, size: b'"' + b"\\u0001" * (size // 6) + b'"',
}
# At the edges of what is read (128, 64 and 985 levels; 256 KB of a spec; etcd's 1.5 MB; bodies of 64 KB, 1, 4 and 8 MiB), and between.
_EDGES: Final = [120, 130, 254, 260, 1_970, 11_800, 65_000, 66_000, 249_000, 262_144, 263_000]
SIZES: Final = st.sampled_from(
    [st.integers(0, 300)] * 3
    + [st.integers(0, 12_000)] * 3
    + [st.sampled_from(_EDGES)] * 2
    + [st.integers(0, 1_450_000)]  # the API server alone is at some of these for seconds
).flatmap(lambda chosen: chosen)


@dataclass(frozen=True)
class Text:
    """``scalar`` in the shape ``shape``, of about ``size`` bytes; then cut after ``cut`` per mille, if that is less than all."""

    shape: str
    scalar: str
    size: int
    cut: int = 1_000

    def written(self, *, times: int = 1) -> bytes:
        """``times`` as long as it says: some take more than others."""
        whole = SHAPES[self.shape](SCALARS[self.scalar], self.size * times)
        return whole if self.cut >= 1_000 else whole[: len(whole) * self.cut // 1_000]


TEXTS: Final = st.builds(
    Text,
    shape=st.sampled_from(sorted(SHAPES)),
    scalar=st.sampled_from(sorted(SCALARS)),
    size=SIZES,
    cut=st.one_of(st.just(1_000), st.just(1_000), st.just(1_000), st.integers(0, 999)),
)
