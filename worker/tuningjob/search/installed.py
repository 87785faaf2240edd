"""Find the installed distribution of a file, its version, and its requirements."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import PurePath
from typing import Final

from tuningjob.protocol.code import digest_of

# Distributions whose names differ from their modules', listed because a search through all is slow.
_KNOWN: Final = {"sklearn": "scikit-learn", "imblearn": "imbalanced-learn", "yaml": "PyYAML"}
_REQUIRED: Final = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_SEPARATORS: Final = re.compile(r"[-_.]+")


@dataclass(frozen=True)
class Installed:
    """An installed distribution. ``digest`` is that of its files if its version does not determine them; else it is empty."""

    name: str
    version: str
    digest: str
    requires: tuple[str, ...]


def normalized(name: str) -> str:
    """A distribution's name in the form in which names are compared."""
    return _SEPARATORS.sub("-", name).lower()


def named(name: str) -> Installed | None:
    """The distribution of this name; None if it is not installed or has no version."""
    with suppress(Exception):  # a broken one may raise anything
        return _described(metadata.distribution(name))
    return None


def owner(file: PurePath, relative: str) -> Installed | None:
    """The distribution that installed ``file``, whose path below a folder of the path is ``relative``.

    None for the user's own file, and for one of an editable install, which is in no list of installed files.
    """
    depth = relative.count("/") + 1
    root = str(file.parents[depth - 1])
    top = relative.partition("/")[0].partition(".")[0]
    with suppress(Exception):  # a broken one may raise anything
        for distribution in _candidates(root, top):
            record = distribution.read_text("RECORD") or ""
            if f"\n{relative}," in f"\n{record}":
                return _described(distribution)
    return None


def _candidates(root: str, top: str) -> Iterator[metadata.Distribution]:
    """The installed distributions, likely ones first, because a search through all takes some 50 ms."""
    yield from metadata.distributions(name=_KNOWN.get(top, top), path=[root])
    yield from metadata.distributions(path=[root])


def _described(distribution: metadata.Distribution) -> Installed:
    digest = ""
    if distribution.read_text("direct_url.json"):
        # if installed from a folder, a file or a repository, the code may change without the version
        digest = _digest_of_files(distribution.read_text("RECORD") or "")
    return Installed(
        distribution.metadata["Name"], distribution.version, digest, tuple(_names(distribution.requires or ()))
    )


def _digest_of_files(record: str) -> str:
    """The digest of the list of installed files, which has theirs, without the files that the installer wrote for itself."""
    lines = sorted(line for line in record.splitlines() if ".dist-info/" not in line and "__pycache__/" not in line)
    return digest_of("\n".join(lines).encode())


def _names(requirements: Iterable[str]) -> Iterator[str]:
    """The names of required distributions, without those that only an extra needs."""
    for text in requirements:
        found = _REQUIRED.match(text)
        if found and "extra" not in text.partition(";")[2]:
            yield found[1]
