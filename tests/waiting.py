"""Waiting for what another process brings about, and nothing tells of."""

import time
from collections.abc import Callable


def wait_for(is_so: Callable[[], bool], *, seconds: float, what: str = "", pause: float = 0.02) -> float:
    """How long it took. Raises AssertionError after so many seconds."""
    began = time.monotonic()
    while not is_so():
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s{f': {what}' if what else ''}"
        time.sleep(pause)
    return time.monotonic() - began
