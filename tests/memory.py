"""Where the tests keep their files: in memory, if there is room. A commit waits until the disk has it, and the tests make
tens of thousands: on an ordinary disk they waited for three quarters of the journal's time. What they see is the same. A
process that is killed loses nothing that it has written, on a disk or in memory, and a power cut is no test's business.
"""

import shutil
import tempfile
from pathlib import Path
from typing import Final

_SHARED_MEMORY: Final = Path("/dev/shm")
_ENOUGH_BYTES: Final = 4 * 2**30  # a container has 64 MiB, if nobody asks for more


def temporary_folder() -> Path:
    """A folder that every user may write to, as ``/tmp`` is one."""
    if _SHARED_MEMORY.is_dir() and shutil.disk_usage(_SHARED_MEMORY).free >= _ENOUGH_BYTES:
        return _SHARED_MEMORY
    return Path(tempfile.gettempdir())
