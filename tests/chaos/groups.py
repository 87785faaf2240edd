"""A memory control group of one container: so many bytes for all of its processes, no swap, and the kernel kills beyond."""

import contextlib
import os
import time
from typing import Final

from tests.cluster.harness.cgroups import MOUNT, unified
from tests.servers.missing import missing

_SECONDS: Final = 10


class MemoryGroup:
    """Made at once, gone with ``remove``. Skips (in CI: fails) where this machine lets nobody make one."""

    def __init__(self, name: str, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self._folder = (MOUNT if unified() else MOUNT / "memory") / f"tuningjob-{name}-{os.getpid()}"
        try:
            if unified():
                (MOUNT / "cgroup.subtree_control").write_text("+memory")
            self._folder.mkdir()
            self._limit(limit_bytes)
        except OSError as error:
            missing(f"a memory control group cannot be made here: {error}. It takes root")

    def _limit(self, limit_bytes: int) -> None:
        if unified():
            (self._folder / "memory.max").write_text(str(limit_bytes))
            with contextlib.suppress(FileNotFoundError):  # a kernel without swap
                (self._folder / "memory.swap.max").write_text("0")
            return
        (self._folder / "memory.limit_in_bytes").write_text(str(limit_bytes))
        (self._folder / "memory.swappiness").write_text("0")

    def entering(self, *command: str) -> list[str]:
        """``command``, to be run within."""
        return ["sh", "-c", 'echo $$ >"$0"/cgroup.procs && exec "$@"', str(self._folder), *command]

    @property
    def killed(self) -> int:
        """How many processes the kernel has killed for want of memory."""
        events = self._folder / ("memory.events" if unified() else "memory.oom_control")
        return next(int(line.split()[1]) for line in events.read_text().splitlines() if line.startswith("oom_kill "))

    @property
    def own_bytes(self) -> int:
        """What its processes hold themselves: without files that the kernel may forget."""
        key = "anon" if unified() else "total_rss"
        found = (self._folder / "memory.stat").read_text().splitlines()
        return next(int(line.split()[1]) for line in found if line.startswith(f"{key} "))

    def remove(self) -> None:
        """Its processes must have ended."""
        deadline = time.monotonic() + _SECONDS
        while self._folder.exists():  # the kernel lets go of it a moment after the last process
            with contextlib.suppress(OSError):
                self._folder.rmdir()
            assert time.monotonic() < deadline, f"{self._folder} has processes"
            time.sleep(0.02)
