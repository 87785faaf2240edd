"""Data and code that people have sent, by namespace and SHA-256: on the same store as the files of searches.

A file comes in by parts, one after the other, and may go on after a lost connection or a restart of the service. No reader sees
it before its last byte is in and its digest is the one that it is named by. One process writes.
"""

import hashlib
import re
import threading
import time
from collections import Counter
from collections.abc import Iterator, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from tuningjob.artifacts.store import DATA, ArtifactStore, Entry, no_room
from tuningjob.errors import ArtifactRefused, JournalMismatch, NoRoom
from tuningjob.protocol.records import Artifact
from tuningjob.protocol.uploads import MOST_PART_BYTES, UploadState

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_UNFINISHED: Final = ".sent"
MOST_FILES: Final = 10_000


@dataclass(frozen=True)
class IncomingPart:
    """A part on its way in."""

    file: BinaryIO
    most: int
    name: str

    def write(self, chunk: bytes) -> None:
        """Append a chunk. Raises ArtifactRefused for more than was announced, ArtifactsUnavailable for a full volume."""
        if self.file.tell() + len(chunk) > self.most:
            raise ArtifactRefused(f"{self.name}: must be sent in parts as they were announced, but got more.")
        try:
            self.file.write(chunk)
        except OSError as error:
            raise no_room(self.name, error) from error


class Uploads:
    """The files that were sent. ``namespace_bytes``: the most bytes of one namespace's files together; 0: any number."""

    def __init__(self, store: ArtifactStore, *, namespace_bytes: int = 0) -> None:
        self._store = store
        self.namespace_bytes = namespace_bytes
        self.max_bytes = store.max_bytes
        self._lock = threading.Lock()
        self._sizes: dict[str, dict[str, int]] = {}
        self._busy: set[tuple[str, str]] = set()
        self._announced: Counter[str] = Counter()
        self._asked: dict[tuple[str, str], float] = {}

    def used_bytes(self, namespace: str) -> int:
        """The bytes that the namespace has, including the parts of files that are not whole yet."""
        with self._lock:
            return self._used(namespace)

    def state(self, namespace: str, sha256: str) -> UploadState:
        """How much of a file is there. Raises ArtifactRefused for what is no digest.

        A client that is told that it is whole will name it in a search soon, so it is kept for a day from now.
        """
        _check(sha256)
        with self._lock:
            found = self._state(namespace, sha256)
            if found.is_complete:
                self._asked[namespace, sha256] = time.time()
            return found

    @contextmanager
    def part(
        self, namespace: str, sha256: str, *, offset: int, part_bytes: int, size_bytes: int
    ) -> Iterator[IncomingPart]:
        """The next part of a file, to be written; what was written of it stays. Call ``commit`` after the last part.

        Raises JournalMismatch if it is not the next part (``state`` says which is) or if another is on its way; also NoRoom and
        ArtifactRefused.
        """
        _check(sha256)
        self._check_sizes(sha256, offset, part_bytes, size_bytes)
        path = self._unfinished(namespace, sha256)
        with self._lock:
            if (namespace, sha256) in self._busy:
                raise JournalMismatch(f"{sha256}: must be sent by one at a time, but another part of it is on its way.")
            found = self._state(namespace, sha256)
            if found.is_complete or found.received_bytes != offset:
                raise JournalMismatch(
                    f"{sha256}: must go on at byte {found.received_bytes:,}, but got a part from byte {offset:,} on."
                )
            self._check_room(namespace, sha256, size_bytes - offset, part_bytes, path)
            self._busy.add((namespace, sha256))
            self._announced[namespace] += part_bytes
        try:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = path.open("ab")
            except OSError as error:
                raise no_room(sha256, error) from error
            try:
                yield IncomingPart(file, offset + part_bytes, sha256)
            finally:
                with suppress(OSError):  # what a full volume did not take is sent again
                    file.close()
        finally:
            with self._lock:
                self._busy.discard((namespace, sha256))
                self._announced[namespace] -= part_bytes

    def commit(self, namespace: str, sha256: str, size_bytes: int) -> UploadState:
        """Publish the file if it is whole and has the digest that it is named by. Raises ArtifactRefused for another digest."""
        path = self._unfinished(namespace, sha256)
        with self._lock:
            found = self._state(namespace, sha256)
            if found.is_complete or found.received_bytes < size_bytes or (namespace, sha256) in self._busy:
                return found
            self._busy.add((namespace, sha256))
        try:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != sha256:
                path.unlink()
                raise ArtifactRefused(
                    f"{sha256}: must be the SHA-256 of what was sent, but that has {digest}. Nothing of it was kept: "
                    "send it again."
                )
            self._store.adopt(path, DATA + namespace, Artifact(sha256, size_bytes, sha256))
            with self._lock:
                self._known(namespace)[sha256] = size_bytes
                return self._state(namespace, sha256)
        finally:
            with self._lock:
                self._busy.discard((namespace, sha256))

    def open(self, namespace: str, sha256: str) -> tuple[int, BinaryIO]:
        """Size and bytes of a file. Raises FileNotFoundError, ArtifactRefused."""
        _check(sha256)
        folder = DATA + namespace
        return self._store.find(folder, sha256).size_bytes, self._store.open(folder, sha256)

    def remove_unused(self, in_use: Set[tuple[str, str]], *, before: float) -> int:
        """Remove files that no search names and that are untouched since ``before`` (epoch seconds); returns how many."""
        removed = 0
        for folder in self._store.folders(DATA):
            namespace = folder.removeprefix(DATA)
            for sha256, entry in self._store.entries(folder).items():
                removed += self._remove_one(namespace, sha256, entry, in_use, before)
            for path in self._partials(namespace):
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime < before:
                        path.unlink()
                        removed += 1
        return removed

    def _remove_one(
        self, namespace: str, sha256: str, entry: Entry, in_use: Set[tuple[str, str]], before: float
    ) -> int:
        with self._lock:  # no caller may learn that it is there while it is removed
            touched = max(entry.changed_at, self._asked.get((namespace, sha256), 0.0))
            if (namespace, sha256) in in_use or touched >= before:
                return 0
            self._store.remove(DATA + namespace, sha256)
            self._known(namespace).pop(sha256, None)
            self._asked.pop((namespace, sha256), None)
        return 1

    # --- which files are known; under the lock

    def _known(self, namespace: str) -> dict[str, int]:
        """The whole files of a namespace, looked up once, because no other process writes."""
        if namespace not in self._sizes:
            entries = self._store.entries(DATA + namespace)
            self._sizes[namespace] = {name: entry.size_bytes for name, entry in entries.items()}
        return self._sizes[namespace]

    def _state(self, namespace: str, sha256: str) -> UploadState:
        size = self._known(namespace).get(sha256)
        if size is not None:
            return UploadState(sha256=sha256, received_bytes=size, is_complete=True)
        received = 0
        with suppress(FileNotFoundError):
            received = self._unfinished(namespace, sha256).stat().st_size
        return UploadState(sha256=sha256, received_bytes=received, is_complete=False)

    def _used(self, namespace: str) -> int:
        unfinished = 0
        for path in self._partials(namespace):
            with suppress(FileNotFoundError):
                unfinished += path.stat().st_size
        return sum(self._known(namespace).values()) + unfinished

    def _check_room(self, namespace: str, sha256: str, left: int, part_bytes: int, path: Path) -> None:
        count = len(self._known(namespace)) + len(list(self._partials(namespace)))
        if count >= MOST_FILES and not path.exists():
            raise NoRoom(f"{sha256}: must leave at most {MOST_FILES:,} files of data in namespace {namespace}.")
        used = self._used(namespace)
        if (
            self.namespace_bytes
            and max(used + left, used + self._announced[namespace] + part_bytes) > self.namespace_bytes
        ):
            raise NoRoom(
                f"{sha256}: must leave the data of namespace {namespace} at {self.namespace_bytes:,} bytes at most, but they "
                f"would be {used + left:,}. Delete TuningJobs whose data nobody needs, or raise limits.maxDataBytes."
            )
        with suppress(FileNotFoundError):
            self._store.check_room(sha256, path)

    def _check_sizes(self, sha256: str, offset: int, part_bytes: int, size_bytes: int) -> None:
        if size_bytes > self.max_bytes:
            raise ArtifactRefused(f"{sha256}: must be of at most {self.max_bytes:,} bytes, but has {size_bytes:,}.")
        if not 0 <= part_bytes <= MOST_PART_BYTES or offset + part_bytes > size_bytes:
            raise ArtifactRefused(
                f"{sha256}: must come in parts of at most {MOST_PART_BYTES:,} bytes within its {size_bytes:,}, but got one of "
                f"{part_bytes:,} from {offset:,} on."
            )

    def _unfinished(self, namespace: str, sha256: str) -> Path:
        return self._store.unfinished(DATA + namespace) / f".{sha256}{_UNFINISHED}"

    def _partials(self, namespace: str) -> Iterator[Path]:
        return self._store.unfinished(DATA + namespace).glob(f".*{_UNFINISHED}")


def _check(sha256: str) -> None:
    if not _SHA256.fullmatch(sha256):
        raise ArtifactRefused(f"sha256: must be 64 lower-case hex digits, but got {sha256[:80]!r}.")


def a_day_ago() -> float:
    """The time a day ago, in epoch seconds: a client that sends data names them in a search within a day."""
    return time.time() - 86_400
