"""The user's own modules as an archive: sorted, without times and owners, so that the same files give the same bytes."""

import os
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.sent.files import SentFile, known_file

MOST_CODE_BYTES: Final = 16 * 2**20
_MOST_FILES: Final = 10_000
_LEFT_OUT: Final = frozenset({"__pycache__", "node_modules", "site-packages", "dist-packages"})
_OUR_OWN: Final = frozenset({"tuningjob", "tuningjob_operator", "__main__"})


def write_code(files: Mapping[str, Path], path: Path, *, what: str = "code") -> SentFile:
    """Write the archive of these files, by their names in it. Raises ManifestRefused if they are too many or too large."""
    _check_size(files, what)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in sorted(files):
            entry = tarfile.TarInfo(name)
            entry.size = files[name].stat().st_size
            entry.mode = 0o644
            with files[name].open("rb") as file:
                archive.addfile(entry, file)
    return known_file(path)


def files_below(folder: Path, *, what: str = "code") -> dict[str, Path]:
    """Every file below a folder except hidden ones, caches and installed packages. Raises ManifestRefused."""
    if not folder.is_dir():
        raise ManifestRefused([Problem(what, "a folder with modules", str(folder))])
    found: dict[str, Path] = {}
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if _is_code(Path(root, name)))
        for name in names:
            path = Path(root, name)
            if not name.startswith(".") and path.suffix != ".pyc" and path.is_file():
                found[path.relative_to(folder).as_posix()] = path
                if len(found) > _MOST_FILES:
                    raise ManifestRefused([Problem(what, f"a folder of at most {_MOST_FILES:,} files", str(folder))])
    return found


def loaded_files(folder: Path) -> dict[str, Path]:
    """The modules that this process has imported from below a folder, by the names under which a pod imports them."""
    found: dict[str, Path] = {}
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)
        origin = getattr(spec, "origin", None)
        if name.partition(".")[0] in _OUR_OWN or not isinstance(origin, str) or not origin.endswith(".py"):
            continue
        path = Path(origin)
        if not path.is_file() or not path.is_relative_to(folder) or not _is_below_code(path, folder):
            continue
        is_package = getattr(spec, "submodule_search_locations", None) is not None
        found[name.replace(".", "/") + ("/__init__.py" if is_package else ".py")] = path
    return found


def _is_below_code(path: Path, folder: Path) -> bool:
    return all(_is_code(parent) for parent in path.parents if parent != folder and parent.is_relative_to(folder))


def _is_code(folder: Path) -> bool:
    """Whether a folder may have the user's own modules: it is no cache, no hidden folder and no environment."""
    return not (folder.name.startswith(".") or folder.name in _LEFT_OUT or (folder / "pyvenv.cfg").exists())


def _check_size(files: Mapping[str, Path], what: str) -> None:
    sizes = {name: path.stat().st_size for name, path in files.items()}
    if sum(sizes.values()) > MOST_CODE_BYTES:
        largest = max(sizes, key=lambda name: sizes[name])
        must_be = f"at most {MOST_CODE_BYTES / 2**20:.0f} MiB of modules"
        advice = f"The largest is {largest}, {sizes[largest]:,} bytes: data are given to fit, or are on a volume."
        raise ManifestRefused([Problem(what, must_be, f"{sum(sizes.values()):,} bytes", advice)])
    if not files:
        raise ManifestRefused([Problem(what, "a folder with modules", "one without a file")])
