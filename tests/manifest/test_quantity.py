"""Quantities are Kubernetes' own."""

from decimal import Decimal

import pytest

from tuningjob.manifest.quantity import cpu_cores, memory_bytes, parse_quantity


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("2", 2),
        (2, 2),
        ("500m", "0.5"),
        ("1.5", "1.5"),
        (".5", "0.5"),
        ("5.", 5),
        ("1e3", 1000),
        ("1E3", 1000),
        ("25e-2", "0.25"),
        ("+2", 2),
        ("100u", "0.0001"),
    ],
)
def test_cpu_is_read(text: str | int, want: str | int) -> None:
    assert cpu_cores(text) == Decimal(want)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("1Gi", 2**30),
        ("512Mi", 2**29),
        ("1G", 10**9),
        ("1.5Ki", 1536),
        ("123", 123),
        ("100m", 1),
        ("1E", 10**18),
        ("1k", 1000),
    ],
)
def test_memory_is_read_in_bytes_rounded_up(text: str, want: int) -> None:
    assert memory_bytes(text) == want


@pytest.mark.parametrize(
    "text", ["", "lots", "1gi", "1 Gi", "Gi", "1GiB", "--1", "1e", "1K", "٣", "1\n", "1e100", "1E-999999999"]
)
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a Kubernetes quantity"):
        parse_quantity(text)
