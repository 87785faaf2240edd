"""Read the memory of this process from the kernel's files."""

from pathlib import Path
from typing import Final

KIB: Final = 1024


def numbers_of(path: str) -> dict[str, int]:
    """The entries of a kernel file that are counted in kB, by their names; {} if it cannot be read."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    parts = (line.split() for line in lines)
    return {part[0].rstrip(":"): int(part[1]) for part in parts if len(part) == 3 and part[2] == "kB"}


def resident_bytes() -> int:
    """The resident memory of this process, in bytes."""
    return numbers_of("/proc/self/status").get("VmRSS", 0) * KIB
