"""What the worker image of this release has, from the lock that it was built from, which is in this image, too."""

import platform
import re
import sys
from pathlib import Path
from typing import Final

from tuningjob.protocol.environment import WorkerEnvironment

_LOCK: Final = Path(sys.prefix) / "share" / "tuningjob" / "worker.txt"  # see the Dockerfile
# with the marker by which the lock is for several releases of Python
_PINNED: Final = re.compile(
    r"^([A-Za-z0-9][-A-Za-z0-9_.]*)==([^\s;\\]+)(?: ; python_full_version (<|>=) '(\d+)\.(\d+)')?", re.MULTILINE
)


def worker_environment(lock: Path = _LOCK) -> WorkerEnvironment:
    """The worker image's Python, which is ours, and its packages; nothing without a lock, as for a service run from sources."""
    try:
        pinned = _PINNED.findall(lock.read_text(encoding="utf-8"))
    except OSError:
        return WorkerEnvironment()
    packages = {name: found for name, found, *marker in pinned if _holds(*marker)}
    return WorkerEnvironment(python=platform.python_version(), packages=packages)


def _holds(than: str, major: str, minor: str) -> bool:
    return not than or (than == "<") == (sys.version_info[:2] < (int(major), int(minor)))
