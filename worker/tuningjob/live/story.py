"""What the API server says of a TuningJob: its plan, its conditions and its Events, read from objects for the page of a search.

The objects come as JSON from outside: a field that is not what it should be is left out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tuningjob.aliases import Json

_MOST_CONDITIONS: Final = 16
_MOST_EVENTS: Final = 50
_LONGEST: Final = 4_096
_ENDS: Final = frozenset({"Complete", "Failed"})


@dataclass(frozen=True)
class ToldCondition:
    """One condition of a TuningJob. ``since``: when it became what it is, as the API server writes it."""

    type: str
    status: str
    reason: str
    message: str
    since: str


@dataclass(frozen=True)
class ToldEvent:
    """One Event. ``at``: the last time that it happened; ``count``: how often it did."""

    at: str
    count: int
    is_warning: bool
    reason: str
    message: str


@dataclass(frozen=True)
class ObjectStory:
    """A TuningJob as its reader may see it. ``missing``: a sentence for each thing that is not shown, with its reason.

    ``plan`` and ``why``: what the operator decided, and its reason.
    """

    phase: str = ""
    plan: str = ""
    why: str = ""
    conditions: tuple[ToldCondition, ...] = ()
    events: tuple[ToldEvent, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether the story is at its end: the TuningJob has ended, or nothing of it is shown."""
        return not self.conditions or any(each.type in _ENDS and each.status == "True" for each in self.conditions)


def story_of(tuningjob: Json, events: Json, missing: Iterable[str] = ()) -> ObjectStory:
    """The story of a TuningJob and a list of its Events; the newest Event comes last."""
    status = _map(_map(tuningjob).get("status"))
    plan = _map(status.get("plan"))
    conditions = tuple(map(_condition, _maps(status.get("conditions"))))[:_MOST_CONDITIONS]
    told = sorted(map(_event, _maps(_map(events).get("items"))), key=lambda event: event.at)
    return ObjectStory(
        phase=_text(status, "phase"),
        plan=_plan(plan, status.get("activePods")),
        why=_text(plan, "reason"),
        conditions=conditions,
        events=tuple(told[-_MOST_EVENTS:]),
        missing=tuple(missing),
    )


def _plan(plan: Mapping[str, Json], active: Json) -> str:
    numbers = [_number(plan, name) for name in ("pods", "nJobs", "innerThreads")]
    if not numbers[0]:
        return ""
    pods, jobs, threads = (_counted(number, name) for number, name in zip(numbers, _COUNTED, strict=True))
    each = f"{_text(plan, 'cpu')} CPU and {_text(plan, 'memory')} of memory each"
    now = f"; {active} of them now" if isinstance(active, int) and 0 < active != numbers[0] else ""
    return f"{pods}{now}, {each}: {jobs} of {threads} in a pod."


_COUNTED: Final = ("pod", "process", "thread")


def _counted(number: int, name: str) -> str:
    plural = "es" if name.endswith("s") else "s"
    return f"{number:,} {name}{plural if number != 1 else ''}"


def _condition(found: Mapping[str, Json]) -> ToldCondition:
    return ToldCondition(
        _text(found, "type"),
        _text(found, "status"),
        _text(found, "reason"),
        _text(found, "message"),
        _text(found, "lastTransitionTime"),
    )


def _event(found: Mapping[str, Json]) -> ToldEvent:
    times = (_text(found, name) for name in ("lastTimestamp", "eventTime", "firstTimestamp"))
    return ToldEvent(
        at=next(filter(None, times), ""),
        count=_number(found, "count") or 1,
        is_warning=found.get("type") == "Warning",
        reason=_text(found, "reason"),
        message=_text(found, "message"),
    )


def _map(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, dict) else {}


def _maps(value: Json) -> list[Mapping[str, Json]]:
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else []


def _text(found: Mapping[str, Json], name: str) -> str:
    value = found.get(name)
    return value[:_LONGEST] if isinstance(value, str) else ""


def _number(found: Mapping[str, Json], name: str) -> int:
    value = found.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
