"""Conditions, and how one follows from the one before. Pure; `now` is an argument.

A condition that says the same as before stays the same object, so that nothing is written; its transition time moves
only when its status does; and a terminal condition never flips.
"""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from tuningjob.manifest.status import Condition
from tuningjob_operator import names
from tuningjob_operator.objects import clip, timestamp

MAX_SUMMARY: Final = 256
MAX_MESSAGE: Final = 4_096  # the schema takes more, but an object is to stay under 10 KB

Conditions = tuple[Condition, ...]


def find(conditions: Iterable[Condition], kind: str) -> Condition | None:
    """The condition of this type, with any status."""
    return next((condition for condition in conditions if condition.type == kind), None)


def is_true(conditions: Iterable[Condition], kind: str) -> bool:
    """Whether the condition of this type is there and True."""
    found = find(conditions, kind)
    return found is not None and found.status == "True"


def is_terminal(conditions: Sequence[Condition]) -> bool:
    """Whether the TuningJob has ended."""
    return any(is_true(conditions, kind) for kind in names.TERMINAL)


def set_condition(
    conditions: Conditions,
    kind: str,
    *,
    reason: str,
    message: str,
    generation: int,
    now: dt.datetime,
    status: Literal["True", "False", "Unknown"] = "True",
    keep_end: bool = False,
) -> Conditions:
    """``conditions`` with this one in its place or at the end; unchanged after a terminal condition."""
    if is_terminal(conditions):
        return conditions
    message = clip(message, MAX_MESSAGE, keep_end=keep_end)
    old = find(conditions, kind)
    if old is not None and (old.status, old.reason, old.message) == (status, reason, message):
        return conditions
    new = Condition(
        type=kind,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=old.last_transition_time if old is not None and old.status == status else timestamp(now),
        observed_generation=generation,
    )
    if old is None:
        return (*conditions, new)
    return tuple(new if condition.type == kind else condition for condition in conditions)


def drop_condition(conditions: Conditions, kind: str) -> Conditions:
    """``conditions`` without this one; unchanged after a terminal condition."""
    if is_terminal(conditions):
        return conditions
    return tuple(condition for condition in conditions if condition.type != kind)


def summary(conditions: Iterable[Condition]) -> str | None:
    """The line that `kubectl get -o wide` shows: how the search ended, else what it waits for, else what was said last."""
    conditions = tuple(conditions)
    ended = [condition for condition in conditions if condition.type in names.TERMINAL and condition.status == "True"]
    waits = [
        each for kind in names.GOOD_NEWS if (each := find(conditions, kind)) is not None and each.status == "False"
    ]
    suspended = [
        condition for condition in conditions if condition.type == names.SUSPENDED and condition.status == "True"
    ]
    said = [
        condition for kind in (names.PREFLIGHT, names.ADMITTED) if (condition := find(conditions, kind)) is not None
    ]
    first = next(iter((*ended, *suspended, *waits, *said)), None)
    return None if first is None else clip(" ".join(first.message.split("\n", 1)[0].split()), MAX_SUMMARY)


def transitions(old: Iterable[Condition], new: Iterable[Condition]) -> tuple[Condition, ...]:
    """The conditions of ``new`` whose status is not what it was: each deserves one Event."""
    before = {condition.type: condition.status for condition in old}
    return tuple(condition for condition in new if before.get(condition.type) != condition.status)
