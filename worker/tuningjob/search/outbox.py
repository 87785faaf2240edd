"""The outbox: finished cells on their way to the journal, some in memory, the rest in a file, both of bounded size.

During an outage of the results service a worker goes on computing, and its results must neither be lost nor fill its memory.
The file has no name, so it disappears with the process, however that ends.
"""

import os
import tempfile
import threading
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import IO, Final

from pydantic import TypeAdapter

from tuningjob.protocol.records import CellResult

# A result takes about a kilobyte in memory, ten if its fit failed, and a quarter of a kilobyte as a line of the file.
MEMORY_CELLS: Final = 2_000
# A part of the 4 GiB of a pod's scratch volume. At a thousand cells a second this lasts for half an hour.
FILE_BYTES: Final = 512 * 2**20
# More bytes than the longest line, in which an error's 8,192 characters take at most six bytes each.
_BLOCK_BYTES: Final = 2**20
_CELL: Final = TypeAdapter(CellResult)


class Outbox:
    """A thread-safe queue of cells: ``put`` adds them, ``first`` shows the next, ``removed`` drops those that have arrived.

    Cells beyond ``memory_cells`` are lines of JSON in a file below ``folder`` (by default the system's for temporary files).
    Their order is kept only roughly.
    """

    def __init__(
        self, *, memory_cells: int = MEMORY_CELLS, file_bytes: int = FILE_BYTES, folder: str | None = None
    ) -> None:
        self._memory_cells = memory_cells
        self._file_bytes = file_bytes
        self._folder = folder
        self._memory: deque[CellResult] = deque()
        self._file: IO[bytes] | None = None
        self._read = 0  # the file is read up to _read, and written up to _written
        self._written = 0
        self._cells_in_file = 0
        self._refused = False
        self._lock = threading.Lock()
        self.spilled = 0  # cells that have ever been written to the file

    def __len__(self) -> int:
        with self._lock:
            return len(self._memory) + self._cells_in_file

    @property
    def is_full(self) -> bool:
        """Whether nothing more should be put in for now, because memory and file, or the file's disk, are full."""
        with self._lock:
            no_file = self._refused or self._written >= self._file_bytes
            return no_file and len(self._memory) >= self._memory_cells

    def put(self, results: Sequence[CellResult]) -> None:
        """Add cells, even to a full outbox, so that none is ever dropped."""
        with self._lock:
            room = max(0, self._memory_cells - len(self._memory))
            self._memory.extend(results[:room])
            rest = results[room:]
            if rest and not self._spill(rest):
                self._memory.extend(rest)

    def first(self, limit: int) -> list[CellResult]:
        """Up to ``limit`` cells, which stay in the outbox; none only if it is empty."""
        with self._lock:
            if not self._memory and self._cells_in_file:
                self._fetch()
            return list(islice(self._memory, limit))

    def remove(self, count: int) -> None:
        """Drop so many of the ``first`` cells, which have arrived. Only the thread that read them may call this."""
        with self._lock:
            for _ in range(count):
                self._memory.popleft()

    def close(self) -> None:
        """Close the file, if there is one."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _spill(self, results: Sequence[CellResult]) -> bool:
        """Append cells to the file; returns False and leaves it unchanged if the disk has no room for all of them."""
        lines = b"".join(_CELL.dump_json(result) + b"\n" for result in results)
        try:
            if self._file is None:
                # unbuffered, because closing must not try again to write what a full disk has refused
                self._file = tempfile.TemporaryFile(  # noqa: SIM115  open as long as this is
                    "w+b", buffering=0, prefix="tuningjob-", dir=self._folder
                )
            _write_at(self._file.fileno(), lines, self._written)
        except OSError:
            self._refused = True
            return False
        self._refused = False
        self._written += len(lines)
        self._cells_in_file += len(results)
        self.spilled += len(results)
        return True

    def _fetch(self) -> None:
        """Read the next lines into the empty memory, and give back the space of a file that was read to its end."""
        assert self._file is not None  # noqa: S101  there are cells in it
        block = os.pread(self._file.fileno(), min(_BLOCK_BYTES, self._written - self._read), self._read)
        *whole, _cut = block.split(b"\n", max(1, self._memory_cells))
        self._memory.extend(map(_CELL.validate_json, whole))
        self._cells_in_file -= len(whole)
        self._read += sum(len(line) + 1 for line in whole)
        if not self._cells_in_file:
            os.ftruncate(self._file.fileno(), 0)
            self._read = self._written = 0


def _write_at(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        count = os.pwrite(descriptor, view, offset)
        view, offset = view[count:], offset + count
