"""Import the modules beside a manifest, as ``python script.py`` imports those beside a script."""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from tuningjob.aliases import Anything

_MOST_TOLD: Final = 6


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Have the modules in ``folder`` importable before any others of the same name, also in forked processes.

    Afterwards the path is restored, and modules from the folder are dropped from ``sys.modules``, so that the next manifest that
    this process runs imports its own modules anew.
    """
    entry = str(folder.resolve())
    before = set(sys.modules)
    sys.path.insert(0, entry)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        with suppress(ValueError):  # the user's code may have changed the path
            sys.path.remove(entry)
        tops = {name for name in set(sys.modules) - before if "." not in name and _is_in(sys.modules[name], entry)}
        for name in set(sys.modules) - before:
            if name.partition(".")[0] in tops:
                del sys.modules[name]


def _is_in(module: Anything, folder: str) -> bool:
    """Whether a module or a package lies directly in a folder, not in a virtual environment below it."""
    with suppress(Exception):
        spec = module.__spec__
        places = [Path(path) for path in spec.submodule_search_locations or []] or [Path(spec.origin)]
        return any(str(place.parent.resolve()) == folder for place in places)
    return False


def looked_in() -> str:
    """The folders of the path besides those of installed packages and Python's own."""
    own = [entry or "." for entry in sys.path if not _is_pythons(entry)]
    more = f" and {len(own) - _MOST_TOLD} more" if len(own) > _MOST_TOLD else ""
    shown = ", ".join(str(Path(entry).absolute()) for entry in own[:_MOST_TOLD])
    return (
        f"It was looked for in {shown}{more}, and in what is installed."
        if own
        else "It was looked for in what is installed."
    )


def _is_pythons(entry: str) -> bool:
    return any(part in entry for part in ("site-packages", "dist-packages", "lib-dynload")) or entry.startswith(
        (f"{sys.base_prefix}/lib", f"{sys.base_exec_prefix}/lib")
    )
