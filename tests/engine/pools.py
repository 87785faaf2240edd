"""What tasks of a pool do in its tests, and what is asked of the events that it tells."""

import hashlib
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

from tuningjob.engine.processes import (
    Event,
    Item,
    Processes,
    flush,
)


def all_events(pool: Processes[Any, Any]) -> list[Event[Any]]:
    events: list[Event[Any]] = []
    while pool.outstanding:
        events += pool.events()
    return events


def first_items(pool: Processes[Any, Any], count: int) -> list[Any]:
    """What so many tasks yielded first."""
    values: list[Any] = []
    while len(values) < count:
        values += [event.value for event in pool.events() if isinstance(event, Item)]
    return values


def values_of(events: Sequence[Event[Any]], ticket: int) -> list[Any]:
    return [event.value for event in events if isinstance(event, Item) and event.ticket == ticket]


def endings(events: Sequence[Event[Any]]) -> dict[int, Event[Any]]:
    return {event.ticket: event for event in events if not isinstance(event, Item)}


def descriptors() -> set[str]:
    return {f"{fd.name} {fd.readlink()}" for fd in Path("/proc/self/fd").iterdir() if fd.exists() or fd.is_symlink()}


def busy_in_c() -> None:
    """Decades in one call of C."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", 2**31 - 1)
    sum(range(10**15))


def spin() -> None:
    """For ever, in Python."""
    while True:
        pass


def tell_and_hang(task: object) -> Iterator[int]:
    """Tell who is at work, then never end; a task of None says so and ends."""
    yield os.getpid()
    if task is not None:
        flush()
        while True:
            signal.pause()


class Unpicklable(Exception):
    def __reduce__(self) -> NoReturn:
        raise TypeError("no")


class TwoArguments(Exception):
    """Can be pickled, but not made again."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} {second}")
