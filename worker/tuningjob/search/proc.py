"""What the kernel says of this process."""

from pathlib import Path
from typing import Final

KIB: Final = 1024


def numbers_of(path: str) -> dict[str, int]:
    """The lines of a file of the kernel's that count kB."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    parts = (line.split() for line in lines)
    return {part[0].rstrip(":"): int(part[1]) for part in parts if len(part) == 3 and part[2] == "kB"}


def resident_bytes() -> int:
    """What this process has in memory."""
    return numbers_of("/proc/self/status").get("VmRSS", 0) * KIB
