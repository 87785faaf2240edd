"""The modules beside a manifest: found as ``python script.py`` finds those beside a script."""

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
    """What lies in ``folder`` can be imported, before anything of the same name elsewhere; in processes that are forked, too.

    Afterwards the path is as it was, and modules from the folder are dropped from ``sys.modules``: the next manifest that this
    process runs gets the modules beside it, as they are then.
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
    """Whether a module, or a package, lies in a folder itself: not in a virtual environment below it."""
    with suppress(Exception):
        spec = module.__spec__
        places = [Path(path) for path in spec.submodule_search_locations or []] or [Path(spec.origin)]
        return any(str(place.parent.resolve()) == folder for place in places)
    return False


def looked_in() -> str:
    """Where modules are looked for, besides what is installed and what is Python's."""
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
