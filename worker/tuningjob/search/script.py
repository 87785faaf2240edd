"""Import the search object that a script makes at its top level."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tuningjob.aliases import Anything
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.literals import shown
from tuningjob.manifest.refusals import nearest
from tuningjob.search.beside import importable
from tuningjob.search.reasons import error_text


@contextmanager
def object_of(target: str) -> Iterator[Anything]:
    """The object that ``script.py:search`` names. Raises ManifestRefused.

    The script is imported under its own name, not as ``__main__``, so that a run of the manifest beside it finds its classes.
    """
    file, _, name = target.rpartition(":")
    path = Path(file)
    if not file or path.suffix != ".py" or not path.stem.isidentifier() or not name.isidentifier():
        raise ManifestRefused(
            [Problem("the search", "a script and a name in it, such as script.py:search", shown(target))]
        )
    if not path.is_file():
        raise ManifestRefused([Problem("the search", "a script that is there", shown(file))])
    with importable(path.parent):
        yield _named(path, name)


def _named(path: Path, name: str) -> Anything:
    try:
        module = importlib.import_module(path.stem)
    except (Exception, SystemExit) as error:
        problem = Problem(
            "the search", "a script that can be imported", shown(str(path)), f"It says: {error_text(error)}."
        )
        raise ManifestRefused([problem]) from error
    if Path(str(module.__file__)).resolve() != path.resolve():
        must_be = "a script whose name no other module has"
        raise ManifestRefused([Problem("the search", must_be, shown(str(path)), f"{path.stem} is {module.__file__}.")])
    if name not in vars(module):
        known = [other for other in vars(module) if not other.startswith("_")]
        advice = (
            nearest(name, known) or "It must be made at the top of the script, not under `if __name__ == '__main__'`."
        )
        raise ManifestRefused([Problem("the search", f"a name that {path.name} has", shown(name), advice)])
    return vars(module)[name]
