"""The files of finished searches, on a volume: the model, the tables, the best parameters.

They live beside the journal, not in it: a model may be larger than all rows together. A file is there whole and with the
digest that its sender promised, or it is not there at all. What a file holds is never looked at, let alone unpickled.

One process writes (the results service, or a laptop's run); any number may read meanwhile.
"""

import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from tuningjob.errors import ArtifactRefused
from tuningjob.spec.wellknown import RESULT_FILES

# A TuningJob's uid or a hex digest. No dot: neither "..", nor a name that hides.
_SEARCH_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_UNFINISHED: Final = ".part"
_BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Artifact:
    """One stored file. ``sha256`` is in lower-case hex."""

    name: str
    size_bytes: int
    sha256: str


class Upload:
    """A file on its way in: nobody sees it before ``commit``. Made by ``ArtifactStore.upload``."""

    def __init__(self, target: Path, *, max_bytes: int, sha256: str) -> None:
        self._target = target
        self._part = target.with_name(f".{target.name}.{secrets.token_hex(8)}{_UNFINISHED}")
        self._max_bytes = max_bytes
        self._expected = sha256
        self._digest = hashlib.sha256()
        self._size = 0
        self._file = self._part.open("xb")

    def write(self, chunk: bytes) -> None:
        """Append. Raises ArtifactRefused as soon as the file is longer than it may be."""
        self._size += len(chunk)
        if self._size > self._max_bytes:
            raise ArtifactRefused(
                f"{self._target.name}: must be of at most {self._max_bytes:,} bytes, but got more. "
                "A smaller estimator, or a higher limit, is needed."
            )
        self._digest.update(chunk)
        self._file.write(chunk)

    def commit(self) -> Artifact:
        """Put the file in its place. Raises ArtifactRefused if its digest is not the expected one."""
        found = self._digest.hexdigest()
        if not secrets.compare_digest(found, self._expected):
            raise ArtifactRefused(
                f"{self._target.name}: must have the SHA-256 {self._expected}, but got {found}. Send it again."
            )
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._part.replace(self._target)
        _sync_directory(self._target.parent)
        return Artifact(self._target.name, self._size, found)

    def discard(self) -> None:
        """Leave nothing of an upload that was not committed; without effect after ``commit``."""
        self._file.close()
        self._part.unlink(missing_ok=True)


class ArtifactStore:
    """Files by search and name, below ``root``; each of at most ``max_bytes``.

    Every method raises ArtifactRefused for a search id that is no plain word, or for a name that is not one of
    ``wellknown.RESULT_FILES``: neither can lead out of ``root``.
    """

    def __init__(self, root: Path, *, max_bytes: int) -> None:
        self._root = root
        self.max_bytes = max_bytes

    @contextmanager
    def upload(self, search_id: str, name: str, *, sha256: str) -> Iterator[Upload]:
        """An upload to be written and committed; what is not committed is gone. ``sha256`` is the expected digest."""
        target = self.path(search_id, name)
        if not _SHA256.fullmatch(sha256):
            raise ArtifactRefused(f"sha256: must be 64 lower-case hex digits, but got {sha256[:80]!r}.")
        target.parent.mkdir(parents=True, exist_ok=True)
        upload = Upload(target, max_bytes=self.max_bytes, sha256=sha256)
        try:
            yield upload
        finally:
            upload.discard()
            with suppress(OSError):  # goes only if it is empty: nothing was ever stored
                target.parent.rmdir()

    def put(self, search_id: str, name: str, chunks: Iterable[bytes], *, sha256: str) -> Artifact:
        """Store a file, replacing one of this name. Raises ArtifactRefused for a wrong digest or too many bytes."""
        with self.upload(search_id, name, sha256=sha256) as upload:
            for chunk in chunks:
                upload.write(chunk)
            return upload.commit()

    def path(self, search_id: str, name: str) -> Path:
        """Where the file is, or would be."""
        if name not in RESULT_FILES:
            raise ArtifactRefused(f"name: must be one of {', '.join(RESULT_FILES)}, but got {name[:80]!r}.")
        return self._directory(search_id) / name

    def open(self, search_id: str, name: str) -> BinaryIO:
        """The file, for reading; it stays the same file when another takes its place. Raises FileNotFoundError."""
        return self.path(search_id, name).open("rb")

    def read_bytes(self, search_id: str, name: str) -> bytes:
        """All of the file. Raises FileNotFoundError."""
        return self.path(search_id, name).read_bytes()

    def list(self, search_id: str) -> list[Artifact]:
        """The files of a search, by name. Reads them all, for their digests."""
        directory = self._directory(search_id)
        found = []
        for name in sorted(RESULT_FILES):
            with suppress(FileNotFoundError), (directory / name).open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
                found.append(Artifact(name, file.tell(), digest))
        return found

    def delete(self, search_id: str) -> None:
        """Forget the files of a search; without effect if there are none."""
        with suppress(FileNotFoundError):
            shutil.rmtree(self._directory(search_id))

    def sweep(self) -> None:
        """Remove what uploads left behind whose process died. Only for the one that writes, before it begins."""
        for part in self._root.glob(f"*/.*{_UNFINISHED}"):
            part.unlink(missing_ok=True)
            with suppress(OSError):
                part.parent.rmdir()

    def _directory(self, search_id: str) -> Path:
        if not _SEARCH_ID.fullmatch(search_id):
            raise ArtifactRefused(
                f"search id: must be at most 128 letters, digits, '-' and '_', but got {search_id[:80]!r}."
            )
        return self._root / search_id


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """What is left of ``file``, a block at a time; closes it at the end."""
    with file:
        while block := file.read(_BLOCK_BYTES):
            yield block


def _sync_directory(directory: Path) -> None:
    """A rename survives a power cut once its directory is on the disk."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
