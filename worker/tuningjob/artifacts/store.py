"""The files of finished searches: the model, the tables, the best parameters.

They are beside the journal, not in it, because a model may be larger than all rows together. A file is there whole and with the
digest that its sender promised, or not at all. The store never looks into a file, let alone unpickles it.

``ArtifactStore`` is the contract; ``artifacts.local`` keeps it on a volume, ``artifacts.buckets`` in S3 or Google Cloud Storage,
and ``artifacts.opening`` chooses by URL. One process writes (the results service); any number may read meanwhile.
"""

import hashlib
import os
import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from tuningjob.errors import ArtifactRefused, ArtifactsUnavailable, NoRoom
from tuningjob.manifest.wellknown import RESULT_FILES
from tuningjob.protocol.records import Artifact

# A TuningJob's uid or a hex digest. It has no dot, so it is neither ".." nor a hidden name.
_SEARCH_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
UNFINISHED: Final = ".part"
# How the folder of a namespace's data begins: no uid and no digest has this character.
DATA: Final = "data_"
_BLOCK_BYTES: Final = 1 << 20
# after how many bytes the volume's room is checked again, and the most that is kept free on a large volume
_BETWEEN_CHECKS: Final = 16 << 20
_MOST_RESERVED: Final = 10 << 30


class Upload:
    """A file on its way in, which no reader sees before ``commit``. Made by ``ArtifactStore.upload``."""

    def __init__(
        self,
        file: BinaryIO,
        name: str,
        *,
        max_bytes: int,
        sha256: str,
        place: Callable[[Artifact], None],
        check_room: Callable[[], None],
    ) -> None:
        self._file = file
        self._name = name
        self._max_bytes = max_bytes
        self._expected = sha256
        self._place = place
        self._digest = hashlib.sha256()
        self._size = 0
        self._check_room = check_room
        self._check_at = 0

    def write(self, chunk: bytes) -> None:
        """Append. Raises ArtifactRefused as soon as the file is longer than it may be, ArtifactsUnavailable for a full volume."""
        if self._size >= self._check_at:
            self._check_room()
            self._check_at = self._size + _BETWEEN_CHECKS
        self._size += len(chunk)
        if self._size > self._max_bytes:
            raise ArtifactRefused(
                f"{self._name}: must be of at most {self._max_bytes:,} bytes, but got more. "
                "A smaller estimator, a compression (spec.artifacts), or a higher limit is needed."
            )
        self._digest.update(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise no_room(self._name, error) from error

    def verify(self) -> Artifact:
        """Size and digest of the whole file, which is not in its place yet. Raises ArtifactRefused for another digest."""
        found = self._digest.hexdigest()
        if not secrets.compare_digest(found, self._expected):
            raise ArtifactRefused(
                f"{self._name}: must have the SHA-256 {self._expected}, but got {found}. Send it again."
            )
        return Artifact(self._name, self._size, found)

    def commit(self) -> Artifact:
        """Put the file in its place. Raises as ``verify``, and ArtifactsUnavailable."""
        artifact = self.verify()
        try:
            self._file.close()
        except OSError as error:
            raise no_room(self._name, error) from error
        self._place(artifact)
        return artifact


class Entry(NamedTuple):
    """A file of a folder: its size, and when it was stored (seconds of the epoch)."""

    size_bytes: int
    changed_at: float


class ArtifactStore(ABC):
    """Files by search and name, each of at most ``max_bytes``.

    Every method raises ArtifactRefused for a search id that is no plain word, or for a name that is not one of
    ``wellknown.RESULT_FILES``, so that neither can lead out of the store; and ArtifactsUnavailable if the store does not answer.
    """

    def __init__(self, *, max_bytes: int, reserve: float = 0.0) -> None:
        """``reserve`` is the share of the volume that files leave free for the journal, which is on it, too."""
        self.max_bytes = max_bytes
        self._reserve = reserve

    @contextmanager
    def upload(self, search_id: str, name: str, *, sha256: str) -> Iterator[Upload]:
        """An upload to be written and committed; without ``commit`` it is removed. ``sha256`` is the expected digest.

        A committed file replaces one of this name at once: a reader sees the one or the other, whole.
        """
        check_place(search_id, name)
        if not _SHA256.fullmatch(sha256):
            raise ArtifactRefused(f"sha256: must be 64 lower-case hex digits, but got {sha256[:80]!r}.")
        with self._incoming(search_id, name) as part:
            try:
                file = part.open("xb")
            except OSError as error:
                raise no_room(name, error) from error
            try:
                yield Upload(
                    file,
                    name,
                    max_bytes=self.max_bytes,
                    sha256=sha256,
                    place=lambda artifact: self._place(part, search_id, artifact),
                    check_room=lambda: self.check_room(name, part),
                )
            finally:
                with suppress(OSError):  # bytes that a full volume did not take are removed with the rest
                    file.close()

    def check_room(self, name: str, part: Path) -> None:
        """Raises NoRoom if the rest of the volume is reserved for the journal."""
        found = os.statvfs(part.parent)
        free, reserve = found.f_bavail * found.f_frsize, int(self._reserve * found.f_blocks * found.f_frsize)
        reserve = min(reserve, _MOST_RESERVED)
        if free < reserve:
            raise NoRoom(
                f"{name}: must leave {reserve:,} bytes of the volume to the journal, but it has {free:,} free. "
                "Delete TuningJobs, or give the service a larger volume or a bucket (artifacts.url)."
            )

    def put(self, search_id: str, name: str, chunks: Iterable[bytes], *, sha256: str) -> Artifact:
        """Store a file, replacing one of this name. Raises ArtifactRefused for a wrong digest or too many bytes."""
        with self.upload(search_id, name, sha256=sha256) as upload:
            for chunk in chunks:
                upload.write(chunk)
            return upload.commit()

    def read_bytes(self, search_id: str, name: str) -> bytes:
        """Read the whole file. Raises FileNotFoundError."""
        with self.open(search_id, name) as file:
            return file.read()

    def list(self, search_id: str) -> list[Artifact]:
        """The files of a search, by name."""
        check_search_id(search_id)
        found = []
        for name in sorted(RESULT_FILES):
            with suppress(FileNotFoundError):
                found.append(self.find(search_id, name))
        return found

    def adopt(self, part: Path, folder: str, artifact: Artifact) -> None:
        """Move a whole file below ``unfinished(folder)`` into the folder. Raises ArtifactsUnavailable."""
        check_place(folder, artifact.name)
        self._place(part, folder, artifact)
        part.unlink(missing_ok=True)

    @property
    def volume_bytes(self) -> int | None:
        """The size of the volume that keeps the files; None if they are not kept on a volume."""
        return None

    @abstractmethod
    def find(self, search_id: str, name: str) -> Artifact:
        """Size and digest of a file, which is read only if they are not known. Raises FileNotFoundError."""

    @abstractmethod
    def open(self, search_id: str, name: str) -> BinaryIO:
        """Open the file for reading. Raises FileNotFoundError.

        If another file takes its place meanwhile, the rest of the first is read, or an error raised: never parts of both.
        """

    @abstractmethod
    def delete(self, search_id: str) -> None:
        """Forget the files of a search; without effect if there are none."""

    @abstractmethod
    def remove(self, folder: str, name: str) -> None:
        """Forget one file; without effect if there is none."""

    @abstractmethod
    def folders(self, prefix: str) -> tuple[str, ...]:
        """The folders whose names begin with ``prefix``."""

    @abstractmethod
    def entries(self, folder: str) -> dict[str, Entry]:
        """The files in a folder by name, including those of other programs, but no unfinished ones."""

    @abstractmethod
    def unfinished(self, folder: str) -> Path:
        """A folder on a volume for files that grow; it need not be there yet. ``sweep`` leaves these files."""

    @abstractmethod
    def sweep(self) -> None:
        """Remove what uploads of dead processes left behind. Only the process that writes may call it, before it begins."""

    @abstractmethod
    def check(self) -> None:
        """Check the store. Raises ArtifactsUnavailable, with the reason, if files could not be stored now."""

    @abstractmethod
    def url(self, search_id: str) -> str:
        """Where the files of a search are, for people and for the audit, without credentials."""

    @abstractmethod
    def _incoming(self, search_id: str, name: str) -> AbstractContextManager[Path]:
        """A path on a volume to write a file to; at the end the file is removed if it is still there."""

    @abstractmethod
    def _place(self, part: Path, search_id: str, artifact: Artifact) -> None:
        """Put the whole file at ``part`` in its place. Raises ArtifactsUnavailable."""


def artifact_at(path: Path) -> Artifact:
    """Size and digest of the file as it is now. Raises OSError."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Artifact(path.name, file.tell(), digest)


def check_search_id(search_id: str) -> None:
    """Check a search id. Raises ArtifactRefused for one that is no plain word."""
    if not _SEARCH_ID.fullmatch(search_id):
        raise ArtifactRefused(
            f"search id: must be at most 128 letters, digits, '-' and '_', but got {search_id[:80]!r}."
        )


def check_name(name: str) -> None:
    """Check a file's name. Raises ArtifactRefused for one that is not in ``wellknown.RESULT_FILES``."""
    if name not in RESULT_FILES:
        raise ArtifactRefused(f"name: must be one of {', '.join(RESULT_FILES)}, but got {name[:80]!r}.")


def check_place(folder: str, name: str) -> None:
    """Check the name: a search's folder has result files, a data folder files named by their digests. Raises ArtifactRefused."""
    check_search_id(folder)
    if not folder.startswith(DATA):
        check_name(name)
    elif not _SHA256.fullmatch(name):
        raise ArtifactRefused(f"name: must be 64 lower-case hex digits, but got {name[:80]!r}.")


def blocks(file: BinaryIO) -> Iterator[bytes]:
    """Yield the rest of ``file``, a block at a time; closes it at the end."""
    with file:
        while block := file.read(_BLOCK_BYTES):
            yield block


@contextmanager
def part_below(directory: Path, name: str) -> Iterator[Path]:
    """A new path in ``directory`` for an unfinished file, which is removed at the end."""
    part = directory / f".{name}.{secrets.token_hex(8)}{UNFINISHED}"
    try:
        yield part
    finally:
        part.unlink(missing_ok=True)


def sweep_parts(directory: Path) -> None:
    """Remove unfinished files directly below ``directory``."""
    for part in directory.glob(f".*{UNFINISHED}"):
        part.unlink(missing_ok=True)


def no_room(name: str, error: OSError) -> ArtifactsUnavailable:
    """The error for a volume that does not take a file."""
    return ArtifactsUnavailable(f"{name}: must be written to the service's volume, but got {error}.")
