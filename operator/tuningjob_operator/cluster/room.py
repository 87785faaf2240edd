"""Which TuningJobs are known whole: a bounded number in each namespace and in all, because a cluster may hold any number. Pure.

A TuningJob that has ended makes room for one that is to run, and one that was never admitted for one that runs already. So the
operator looks after the same searches as before a restart. Of the others it knows only the keys, a bounded number of these too; a
later listing shows the rest.
"""

import enum
from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Final, NamedTuple

from tuningjob_operator.ceilings import Bounds
from tuningjob_operator.objects import Key

Keys = OrderedDict[Key, None]


class Rank(enum.IntEnum):
    """How much a TuningJob needs its room: a lower rank gives way to a higher one."""

    ENDED = 0
    NEW = 1
    ADMITTED = 2


class _Place(NamedTuple):
    rank: Rank
    slots: int


class TuningJobRoom:
    """The TuningJobs that have room. ``on_out`` is called with each key that has to give way."""

    def __init__(self, bounds: Bounds, *, on_out: Callable[[Key], None]) -> None:
        self._bounds = bounds
        self._on_out: Final = on_out
        self._places: dict[Key, _Place] = {}
        self._of: defaultdict[str, dict[Rank, Keys]] = defaultdict(lambda: {rank: OrderedDict() for rank in Rank})
        self._all: dict[Rank, Keys] = {rank: OrderedDict() for rank in Rank}
        self._taken: dict[str, int] = {}
        self._taken_in_all = 0

    def __contains__(self, key: Key) -> bool:
        return key in self._places

    def enter(self, key: Key, rank: Rank, slots: int = 1) -> bool:
        """Take a key in at this rank if there is room, or if keys of a lower rank can give way; returns whether it is in."""
        slots = min(slots, self._bounds.in_namespace, self._bounds.in_all)
        self.leave(key)
        out = self._to_give_way(key.namespace, rank, slots)
        if out is None:
            return False
        for each in out:
            self.leave(each)
            self._on_out(each)
        self._places[key] = _Place(rank, slots)
        self._of[key.namespace][rank][key] = None
        self._all[rank][key] = None
        self._taken[key.namespace] = self._taken.get(key.namespace, 0) + slots
        self._taken_in_all += slots
        return True

    def leave(self, key: Key) -> None:
        """Free the room of a key."""
        place = self._places.pop(key, None)
        if place is None:
            return
        own = self._of[key.namespace]
        del own[place.rank][key], self._all[place.rank][key]
        self._taken[key.namespace] -= place.slots
        self._taken_in_all -= place.slots
        if not self._taken[key.namespace]:
            del self._taken[key.namespace], self._of[key.namespace]

    def slots(self, key: Key) -> int:
        """How many slots a key takes; 0 if it is not in."""
        place = self._places.get(key)
        return 0 if place is None else place.slots

    def could_enter(self, namespace: str, rank: Rank = Rank.NEW, slots: int = 1) -> bool:
        """Whether there is room for one more key of the namespace."""
        return self._to_give_way(namespace, rank, slots) is not None

    def _to_give_way(self, namespace: str, rank: Rank, slots: int) -> list[Key] | None:
        """The keys that have to give way; None if there are too few of them."""
        out: dict[Key, int] = {}
        own = self._of.get(namespace)
        lacking = self._taken.get(namespace, 0) + slots - self._bounds.in_namespace
        if lacking > 0 and not (own and self._choose(own, rank, lacking, out)):
            return None
        lacking = self._taken_in_all + slots - self._bounds.in_all - sum(out.values())
        if lacking > 0 and not self._choose(self._all, rank, lacking, out):
            return None
        return list(out)

    def _choose(self, ranks: dict[Rank, Keys], rank: Rank, lacking: int, out: dict[Key, int]) -> bool:
        for lower in Rank:
            if lower >= rank:
                break
            # the one that ended first, or came last
            for key in reversed(ranks[lower]) if lower is Rank.NEW else ranks[lower]:
                if lacking <= 0:
                    break
                if key not in out:
                    out[key] = self._places[key].slots
                    lacking -= out[key]
        return lacking <= 0


class Waiting:
    """Keys for which there was no room, by namespace and in order of arrival, each with the version that it was seen in."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._of: OrderedDict[str, OrderedDict[Key, int]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, key: Key) -> bool:
        return key in self._of.get(key.namespace, {})

    def put(self, key: Key, version: int) -> None:
        """Remember a key, if there is room for that."""
        own = self._of.get(key.namespace, OrderedDict())
        if key in own:
            own[key] = version
        elif len(own) < self._bounds.in_namespace and self._count < self._bounds.in_all:
            self._of.setdefault(key.namespace, own)[key] = version
            self._count += 1

    def discard(self, key: Key) -> None:
        """Forget a key."""
        own = self._of.get(key.namespace)
        if own is not None and own.pop(key, None) is not None:
            self._count -= 1
            if not own:
                del self._of[key.namespace]

    def versions(self) -> dict[Key, int]:
        """All keys, with the version that each was seen in."""
        return {key: version for own in self._of.values() for key, version in own.items()}

    def first(self, is_welcome: Callable[[str], bool]) -> Key | None:
        """The first key of the next welcome namespace; both then go to the end of their queues."""
        for namespace, own in self._of.items():
            if is_welcome(namespace):
                key = next(iter(own))
                self._of.move_to_end(namespace)
                own.move_to_end(key)
                return key
        return None
