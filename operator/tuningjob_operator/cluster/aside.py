"""Work that takes longer than the event loop can wait, on a thread beside it.

The thread does one piece at a time, so that only one large object is in memory. While it computes, Python gives the loop its turn
every few milliseconds. The threads that wait for the journal are others, because that may take half a minute.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, ParamSpec, TypeVar

# A text of up to this many bytes is read, and planned for, in a few milliseconds; a thread would take as long.
LARGE_BYTES: Final = 16 * 2**10

P = ParamSpec("P")
R = TypeVar("R")


class Aside:
    """One thread, which does one computation after another."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._thread: ThreadPoolExecutor | None = None

    async def run(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Run ``work`` on the thread; returns what it returns, and raises what it raises."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix=self._name)
        return await asyncio.get_running_loop().run_in_executor(self._thread, lambda: work(*args, **kwargs))

    def close(self) -> None:
        """End the thread; the next ``run`` starts another."""
        if self._thread is not None:
            self._thread.shutdown()
            self._thread = None


# Incoming objects have a thread of their own, so that slow plans do not keep them from being seen.
READING: Final = Aside("reading")
PLANNING: Final = Aside("planning")
