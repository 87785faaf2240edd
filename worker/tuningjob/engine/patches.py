"""Replacements of scikit-learn's functions by the engine, in force only during a search.

``import tuningjob`` replaces nothing. A search enters ``Patches.in_force()`` for as long as it evaluates, and so does each of its
worker processes. The first search that enters puts the replacements in place. The last one that leaves restores the functions
that were there before, also when a fit raises or Ctrl-C comes in between.

A module belongs to the whole process, and other threads go on while one is in a search. So each replacement does what its
original does unless its own thread is in a search (``inside``; ``memo`` has its own flag). A function that scikit-learn compares
by *identity* must not be replaced, because a thread may read it before the replacement and compare it after.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from tuningjob.engine.interrupts import to_the_end
from tuningjob.engine.sklearn_private import PatchedName


class Patch(NamedTuple):
    """A replacement for a function while a search is in force; ``forget`` is called when the original is restored."""

    place: PatchedName
    replacement: Any
    forget: Callable[[], object] = lambda: None


class _Thread(threading.local):
    def __init__(self) -> None:
        self.searches: set[object] = set()


_here = _Thread()


def inside() -> bool:
    """Whether this thread is in a search, or in a worker process of one."""
    return bool(_here.searches)


class Patches:
    """A set of patches that any number of searches enter and leave, in any number of threads."""

    def __init__(self, patches: Sequence[Patch]) -> None:
        self._patches = patches
        self._lock = threading.RLock()
        self._searches: set[object] = set()
        self._originals: dict[int, Any] = {}  # by the patch's place in the sequence
        self._heeds_forks = False

    @contextmanager
    def in_force(self) -> Iterator[None]:
        """Have the replacements in force for this thread's search within this block."""
        search, own = object(), _here.searches
        try:
            with self._lock:
                self._heed_forks()
                own.add(search)
                self._searches.add(search)
                self._put()
            yield
        finally:
            to_the_end(lambda: self._leave(search, own))

    def _leave(self, search: object, own: set[object]) -> None:
        with self._lock:
            own.discard(search)
            self._searches.discard(search)
            if not self._searches:
                self._put_back()

    def _put(self) -> None:
        for number, patch in enumerate(self._patches):
            if number not in self._originals:
                self._originals[number] = patch.place.now
                patch.place.put(patch.replacement)

    def _put_back(self) -> None:
        for number, patch in enumerate(self._patches):
            # other code may have wrapped it meanwhile, and then has to unwrap it
            if number in self._originals and patch.place.now is patch.replacement:
                patch.place.put(self._originals[number])
            patch.forget()
            self._originals.pop(number, None)

    def _heed_forks(self) -> None:
        if not self._heeds_forks:
            self._heeds_forks = True
            os.register_at_fork(
                before=self._lock.acquire, after_in_parent=self._lock.release, after_in_child=self._go_on_alone
            )

    def _go_on_alone(self) -> None:
        """Forget other threads' searches in a forked child, which does not have them; the forking thread's goes on for good."""
        self._searches &= _here.searches
        if not self._searches:
            self._put_back()
        self._lock.release()
