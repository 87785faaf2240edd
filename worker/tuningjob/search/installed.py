"""Installed distributions: which one a file belongs to, which version it is, and what else it needs."""

import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import PurePath
from typing import Final

from tuningjob.protocol.code import digest_of

# Where the name of the module tells nothing about that of the distribution, and who asks is in a hurry.
_KNOWN: Final = {"sklearn": "scikit-learn", "imblearn": "imbalanced-learn", "yaml": "PyYAML"}
_REQUIRED: Final = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_SEPARATORS: Final = re.compile(r"[-_.]+")


@dataclass(frozen=True)
class Installed:
    """One distribution. ``digest``: of its files, where its version does not vouch for them; else empty."""

    name: str
    version: str
    digest: str
    requires: tuple[str, ...]


def normalized(name: str) -> str:
    """A distribution's name as names are compared."""
    return _SEPARATORS.sub("-", name).lower()


def named(name: str) -> Installed | None:
    """The distribution of this name; None if it is not installed, or does not tell its version."""
    with suppress(Exception):  # a broken one may raise anything
        return _described(metadata.distribution(name))
    return None


def owner(file: PurePath, relative: str) -> Installed | None:
    """The distribution that ``file``, found as ``relative`` to a folder of the path, was installed with.

    None if there is none: a file of the user's own, and one of an editable install, which is in no list of what was installed.
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
    """The likely ones first: to look through all takes some 50 ms."""
    yield from metadata.distributions(name=_KNOWN.get(top, top), path=[root])
    yield from metadata.distributions(path=[root])


def _described(distribution: metadata.Distribution) -> Installed:
    digest = ""
    if distribution.read_text("direct_url.json"):
        # installed from a folder, a file or a repository: its version stays the same while its code changes
        digest = _digest_of_files(distribution.read_text("RECORD") or "")
    return Installed(
        distribution.metadata["Name"], distribution.version, digest, tuple(_names(distribution.requires or ()))
    )


def _digest_of_files(record: str) -> str:
    """Of the list of what was installed, which has each file's digest; without what the installer wrote about itself."""
    lines = sorted(line for line in record.splitlines() if ".dist-info/" not in line and "__pycache__/" not in line)
    return digest_of("\n".join(lines).encode())


def _names(requirements: Iterable[str]) -> Iterator[str]:
    """Of what is needed in any case: what an extra brings is not."""
    for text in requirements:
        found = _REQUIRED.match(text)
        if found and "extra" not in text.partition(";")[2]:
            yield found[1]
