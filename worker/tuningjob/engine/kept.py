"""Objects that rules keep from one fold to the next, for the duration of a thread's search."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

# the objects by the function that made them
Kept = dict[Callable[[], Any], Any]
_here = threading.local()
_T = TypeVar("_T")


@contextmanager
def keeping(kept: Kept | None) -> Iterator[None]:
    """Have rules keep their objects in ``kept`` within this block; with None nothing is kept."""
    before = getattr(_here, "kept", None)
    _here.kept = kept
    try:
        yield
    finally:
        _here.kept = before


def kept_for_the_search(make: Callable[[], _T]) -> _T:
    """The object that ``make`` made for an earlier fold of this thread's search; a new one if there is none."""
    kept: Kept | None = getattr(_here, "kept", None)
    if kept is None:
        return make()
    if make not in kept:
        kept[make] = make()
    made: _T = kept[make]
    return made
