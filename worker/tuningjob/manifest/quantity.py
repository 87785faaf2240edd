"""Kubernetes quantities: ``500m`` of CPU, ``1Gi`` of memory.

The rules are those of k8s.io/apimachinery/pkg/api/resource: a decimal number and a suffix, binary (Ki, Mi, …),
decimal (k, M, …; m, u, n below one) or an exponent.
"""

import re
from decimal import Decimal
from typing import Final

_BINARY: Final = {
    suffix: Decimal(1024) ** power for power, suffix in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)
}
_DECIMAL: Final = {
    suffix: Decimal(10) ** power
    for suffix, power in {
        "n": -9,
        "u": -6,
        "m": -3,
        "": 0,
        "k": 3,
        "M": 6,
        "G": 9,
        "T": 12,
        "P": 15,
        "E": 18,
    }.items()
}
_SUFFIXES: Final = _BINARY | _DECIMAL
# Exponents have at most two digits, unlike in Kubernetes: an API server that compared 1e99999999999 to 0 gave up the request
# after 34 s, and went on computing.
PATTERN: Final = r"^[+]?([0-9]+[.]?[0-9]*|[.][0-9]+)([eE][-+]?[0-9]{1,2}|[KMGTPE]i|[numkMGTPE])?$"
_QUANTITY: Final = re.compile(PATTERN)


def parse_quantity(text: str | int) -> Decimal:
    """The value of a quantity, in cores or bytes. Raises ValueError for what is none."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity")
    number, suffix = Decimal(match[1]), match[2] or ""
    return number * (_SUFFIXES[suffix] if suffix in _SUFFIXES else Decimal(f"1{suffix}"))


def cpu_cores(text: str | int) -> Decimal:
    """CPU cores, e.g. ``Decimal("0.5")`` for ``500m``."""
    return parse_quantity(text)


def memory_bytes(text: str | int) -> int:
    """Bytes, rounded up as Kubernetes does."""
    value = parse_quantity(text)
    return int(value.to_integral_value(rounding="ROUND_CEILING"))
