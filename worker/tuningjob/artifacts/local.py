"""The store of artifacts on a volume: a folder for each search."""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from typing_extensions import override

from tuningjob.artifacts.store import (
    UNFINISHED,
    ArtifactStore,
    Entry,
    check_place,
    check_search_id,
    no_room,
    part_below,
)
from tuningjob.errors import ArtifactsUnavailable
from tuningjob.protocol.records import Artifact

# The digest stays with the file through renames if the file system has such attributes; elsewhere it is computed again.
_DIGEST_ATTRIBUTE: Final = "user.tuningjob.sha256"


class LocalStore(ArtifactStore):
    """Files below the folder ``root``, which is made when it is needed."""

    def __init__(self, root: Path, *, max_bytes: int, reserve: float = 0.0) -> None:
        super().__init__(max_bytes=max_bytes, reserve=reserve)
        self._root = root

    @property
    @override
    @override
    def volume_bytes(self) -> int:
        there = next(folder for folder in (self._root, *self._root.absolute().parents) if folder.exists())
        found = os.statvfs(there)
        return found.f_blocks * found.f_frsize

    def path(self, search_id: str, name: str) -> Path:
        """The path of the file, which need not be there."""
        check_place(search_id, name)
        return self._directory(search_id) / name

    @override
    def find(self, search_id: str, name: str) -> Artifact:
        """Size and digest of a file; one without the attribute (from a backup, say) is read for its digest."""
        with self.path(search_id, name).open("rb") as file:
            try:
                digest = os.getxattr(file.fileno(), _DIGEST_ATTRIBUTE).decode()
            except OSError:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            return Artifact(name, os.fstat(file.fileno()).st_size, digest)

    @override
    def open(self, search_id: str, name: str) -> BinaryIO:
        return self.path(search_id, name).open("rb")

    @override
    def delete(self, search_id: str) -> None:
        with suppress(FileNotFoundError):
            shutil.rmtree(self._directory(search_id))

    @override
    def remove(self, folder: str, name: str) -> None:
        self.path(folder, name).unlink(missing_ok=True)

    @override
    def folders(self, prefix: str) -> tuple[str, ...]:
        return tuple(sorted(path.name for path in self._root.glob(f"{prefix}*") if path.is_dir()))

    @override
    def entries(self, folder: str) -> dict[str, Entry]:
        found = {}
        with suppress(FileNotFoundError), os.scandir(self._directory(folder)) as there:
            for each in there:
                if not each.name.startswith("."):
                    found[each.name] = Entry(each.stat().st_size, each.stat().st_mtime)
        return found

    @override
    def unfinished(self, folder: str) -> Path:
        return self._directory(folder)

    @override
    def sweep(self) -> None:
        for part in self._root.glob(f"*/.*{UNFINISHED}"):
            part.unlink(missing_ok=True)
            with suppress(OSError):
                part.parent.rmdir()

    @override
    def check(self) -> None:
        try:
            self._root.mkdir(parents=True, exist_ok=True)
            os.statvfs(self._root)
        except OSError as error:
            raise ArtifactsUnavailable(f"{self._root}: must be a folder for artifacts, but got {error}.") from error
        if not os.access(self._root, os.W_OK | os.X_OK):
            raise ArtifactsUnavailable(f"{self._root}: must be a folder that this process may write to, but is not.")

    @override
    def url(self, search_id: str) -> str:
        return self._directory(search_id).absolute().as_uri()

    @contextmanager
    def _incoming(self, search_id: str, name: str) -> Iterator[Path]:
        directory = self._directory(search_id)
        try:
            directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise no_room(name, error) from error
        try:
            with part_below(directory, name) as part:
                yield part
        finally:
            with suppress(OSError):  # it is removed only if it is empty: then nothing was ever stored
                directory.rmdir()

    def _place(self, part: Path, search_id: str, artifact: Artifact) -> None:
        target = self.path(search_id, artifact.name)
        try:
            with part.open("rb") as file:
                with suppress(OSError):
                    os.setxattr(file.fileno(), _DIGEST_ATTRIBUTE, artifact.sha256.encode())
                os.fsync(file.fileno())
            part.replace(target)
            _sync_directory(target.parent)
        except OSError as error:
            raise no_room(artifact.name, error) from error

    def _directory(self, search_id: str) -> Path:
        check_search_id(search_id)
        return self._root / search_id


def _sync_directory(directory: Path) -> None:
    """Sync a directory to disk, after which a rename in it survives a power cut."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
