"""Unpack an untrusted wheel, zip or tar: plain files and folders below one folder, within bounds.

An entry is refused by name if it is no plain file (but a link, a device or a pipe), has an absolute path or one with .., occurs
twice, or exceeds the bounds. Sizes are counted in unpacked bytes, because an archive's own numbers may be false.
"""

import bz2
import gzip
import lzma
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final, Protocol

MOST_FILES: Final = 10_000
MOST_BYTES: Final = 512 * 2**20
_LONGEST_PATH: Final = 1_024
_LONGEST_NAME: Final = 255
_DEEPEST: Final = 64
_CHUNK: Final = 2**16
_TAR_MARK, _TAR_MARK_AT = b"ustar", 257
_PACKED: Final[dict[bytes, Callable[..., Any]]] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}
_ENCRYPTED: Final = 1


class ArchiveRefused(Exception):
    """The fault of an archive, as a sentence without its point."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Room:
    """The files and bytes that may still be unpacked."""

    def __init__(self, most_files: int, most_bytes: int) -> None:
        self.files, self.bytes = most_files, most_bytes
        self._most_files, self._most_bytes = most_files, most_bytes

    def take_entry(self) -> None:
        self.files -= 1
        if self.files < 0:
            raise ArchiveRefused(f"it has more than {self._most_files:,} entries")

    def take(self, size: int) -> None:
        self.bytes -= size
        if self.bytes < 0:
            raise ArchiveRefused(f"it has more than {self._most_bytes / 2**20:,.0f} MiB when it is unpacked")


class _Counted:
    """A source that counts all bytes of a decompressed tar, headers included, before tarfile reads them."""

    def __init__(self, source: _Readable, room: _Room) -> None:
        self._source, self._room = source, room

    def read(self, size: int) -> bytes:
        found = self._source.read(size)
        self._room.take(len(found))
        return found


def unpack(archive: Path, folder: Path, *, most_files: int = MOST_FILES, most_bytes: int = MOST_BYTES) -> None:
    """Unpack an archive's files below an empty ``folder``, read-only. After ArchiveRefused the folder's content is of no use."""
    room = _Room(most_files, most_bytes)
    try:
        if zipfile.is_zipfile(archive):
            _unpack_zip(archive, folder, room)
        else:
            _unpack_tar(archive, folder, room)
    except ArchiveRefused:
        raise
    except Exception as error:  # tarfile, zipfile, four decompressors and the disk have no common base class
        said = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise ArchiveRefused(f"unpacking it says: {said}") from error


def parts_below(name: str) -> tuple[str, ...]:
    """The parts of an entry's path. Raises ArchiveRefused if one leads out of the folder."""
    if (
        not name
        or len(name) > _LONGEST_PATH
        or "\0" in name
        or "\\" in name
        or name.startswith("/")
        or name[1:2] == ":"
    ):
        raise ArchiveRefused(
            f"the path {name[:80]!r} in it is absolute, too long, or none that can be unpacked anywhere"
        )
    parts = tuple(part for part in name.split("/") if part not in {"", "."})
    if ".." in parts:
        raise ArchiveRefused(f"the path {name[:80]!r} in it leads out of its folder")
    if len(parts) > _DEEPEST or any(len(part.encode(errors="surrogateescape")) > _LONGEST_NAME for part in parts):
        raise ArchiveRefused(f"the path {name[:80]!r} in it is too long")
    return parts


def _unpack_zip(archive: Path, folder: Path, room: _Room) -> None:
    with zipfile.ZipFile(archive) as opened:
        for entry in opened.infolist():
            room.take_entry()
            parts = parts_below(entry.filename)
            kind = stat.S_IFMT(entry.external_attr >> 16)
            if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or entry.flag_bits & _ENCRYPTED:
                raise ArchiveRefused(f"{entry.filename[:80]!r} in it is a link, encrypted, or no plain file")
            if entry.is_dir():
                folder.joinpath(*parts).mkdir(parents=True, exist_ok=True)
            else:
                with opened.open(entry) as source:
                    _write(_chunks(source), folder, parts, room)


def _unpack_tar(archive: Path, folder: Path, room: _Room) -> None:
    with archive.open("rb") as raw:
        head = raw.read(_TAR_MARK_AT + len(_TAR_MARK))
        raw.seek(0)
        opener = next((opened for mark, opened in _PACKED.items() if head.startswith(mark)), None)
        if opener is None and head[_TAR_MARK_AT:] != _TAR_MARK:
            raise ArchiveRefused("it is no wheel, no zip and no tar (plain, or packed by gzip, bzip2 or xz)")
        source: Any = raw if opener is None else opener(raw, "rb")
        # r| reads a stream without seeking, so no member can stand for another one
        with tarfile.open(fileobj=_Counted(source, room), mode="r|") as opened:  # type: ignore[call-overload]
            for entry in opened:
                room.take_entry()
                parts = parts_below(entry.name)
                if entry.isdir():
                    folder.joinpath(*parts).mkdir(parents=True, exist_ok=True)
                elif entry.isreg() and not entry.issparse():
                    _write(_chunks(opened.extractfile(entry)), folder, parts)  # counted by _Counted
                else:
                    raise ArchiveRefused(f"{entry.name[:80]!r} in it is a link, a device, or no plain file")


def _chunks(source: IO[bytes] | None) -> Iterator[bytes]:
    while source is not None and (chunk := source.read(_CHUNK)):
        yield chunk


def _write(chunks: Iterator[bytes], folder: Path, parts: tuple[str, ...], room: _Room | None = None) -> None:
    if not parts:
        raise ArchiveRefused("a file in it has no name")
    path = folder.joinpath(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:  # never replaces a file
            for chunk in chunks:
                if room is not None:
                    room.take(len(chunk))
                file.write(chunk)
    except FileExistsError as error:
        raise ArchiveRefused(f"{'/'.join(parts)[:80]!r} is there twice") from error
    path.chmod(0o444)
