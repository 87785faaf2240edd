"""What rules keep from one fold to the next: as long as the search that a thread is in, and no longer."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

# what was made, by what made it
Kept = dict[Callable[[], Any], Any]
_here = threading.local()
_T = TypeVar("_T")


@contextmanager
def keeping(kept: Kept | None) -> Iterator[None]:
    """Have rules keep their things in here; None: nothing is kept."""
    before = getattr(_here, "kept", None)
    _here.kept = kept
    try:
        yield
    finally:
        _here.kept = before


def kept_for_the_search(make: Callable[[], _T]) -> _T:
    """What ``make`` made for an earlier fold of the search that this thread is in, if it is in one; else something new."""
    kept: Kept | None = getattr(_here, "kept", None)
    if kept is None:
        return make()
    if make not in kept:
        kept[make] = make()
    made: _T = kept[make]
    return made
