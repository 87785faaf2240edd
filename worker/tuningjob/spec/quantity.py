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
_QUANTITY: Final = re.compile(
    r"\+?(?P<number>[0-9]+\.?[0-9]*|\.[0-9]+)(?:(?P<exponent>[eE][-+]?[0-9]+)|(?P<suffix>[KMGTPE]i|[numkMGTPE]?))",
    re.ASCII,
)


def parse_quantity(text: str | int) -> Decimal:
    """The value of a quantity, in cores or bytes. Raises ValueError for what is none."""
    match = _QUANTITY.fullmatch(str(text))
    if match is None:
        raise ValueError(f"{text!r} is not a Kubernetes quantity")
    number = Decimal(match["number"])
    if match["exponent"]:
        return number * Decimal(10) ** int(match["exponent"][1:])
    return number * _SUFFIXES[match["suffix"]]


def cpu_cores(text: str | int) -> Decimal:
    """CPU cores, e.g. ``Decimal("0.5")`` for ``500m``."""
    return parse_quantity(text)


def memory_bytes(text: str | int) -> int:
    """Bytes, rounded up as Kubernetes does."""
    value = parse_quantity(text)
    return int(value.to_integral_value(rounding="ROUND_CEILING"))
