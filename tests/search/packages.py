"""Modules and installed distributions as a user has them: made in a folder, changed, and changed back."""

import base64
import hashlib
import json
import os
from itertools import count
from pathlib import Path

# A tree that grows no deeper than it is told here, whatever its parameters say.
TREE = """
from sklearn.tree import DecisionTreeClassifier

class {name}(DecisionTreeClassifier):
    def fit(self, X, y):
        self.max_depth = {depth}
        return super().fit(X, y)
"""


# Every file is a second newer than the one before, because Python uses the compiled code of a file again if its second and size are
# the same.
_seconds = count(1_700_000_000)


def _save(path: Path, source: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(source)
    second = next(_seconds)
    os.utime(path, (second, second))


def write(folder: Path, **files: str) -> None:
    """Sources by their dotted names: ``pkg.core`` is pkg/core.py, ``pkg.__init__`` makes pkg a package."""
    for name, source in files.items():
        _save(folder / f"{name.replace('.', '/')}.py", source)


def own_module(folder: Path, depth: int) -> None:
    """``mine.T`` in one file."""
    write(folder, mine=TREE.format(name="T", depth=depth))


def helper(folder: Path, depth: int) -> None:
    """``mine.T`` is told its depth by another file."""
    write(folder, mine="import helper" + TREE.format(name="T", depth="helper.DEPTH"), helper=f"DEPTH = {depth}")


def base_class(folder: Path, depth: int) -> None:
    """``mine.T`` inherits its fit."""
    write(folder, mine="from base import Base\nclass T(Base): pass", base=TREE.format(name="Base", depth=depth))


def installed_package(folder: Path, depth: int) -> None:
    """``mine.T`` is of an installed distribution, each version of which has a depth of its own."""
    install(folder, "my-trees", f"{depth}.0", {"mine/__init__.py": TREE.format(name="T", depth=depth)})


# How code comes to be other, and what is told of it when the depth was 1 and is 5.
STALE = {
    "own module": (own_module, "mine.py changed"),
    "helper": (helper, "helper.py changed"),
    "base class": (base_class, "base.py changed"),
    "installed package": (installed_package, "my-trees 1.0 → 5.0"),
}


def install(
    folder: Path,
    name: str,
    version: str,
    files: dict[str, str],
    *,
    requires: tuple[str, ...] = (),
    direct_url: str = "",
) -> None:
    """A distribution as an installer leaves it below ``folder``: its files, and what it writes about them."""
    for old in folder.glob(f"{name.replace('-', '_')}-*.dist-info"):
        for path in old.iterdir():
            path.unlink()
        old.rmdir()
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata + "".join(f"Requires-Dist: {each}\n" for each in requires))
    if direct_url:
        (info / "direct_url.json").write_text(json.dumps({"url": direct_url, "dir_info": {}}))
    record = []
    for name_of_file, content in files.items():
        _save(folder / name_of_file, content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
        record.append(f"{name_of_file},sha256={digest},{len(content)}\n")
    record += [f"{info.name}/{path.name},,\n" for path in sorted(info.iterdir())]
    (info / "RECORD").write_text("".join([*record, f"{info.name}/RECORD,,\n"]))
