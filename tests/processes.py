"""Processes as the kernel sees them."""

from pathlib import Path


def children_of(pid: int) -> list[int]:
    """The processes that a process has started. A pool's workers are children of its zygote, which is a child of its owner."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
