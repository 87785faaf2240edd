"""What is done to the cluster, and which searches are sent, in an order that a seed repeats. Pure.

Both come as packs of cards: each card of a pack once, in an order drawn anew for each pack. So even a short run does each thing,
and nothing is done three times in a row.
"""

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

T = TypeVar("T")

Deed = Literal[
    "kill a worker",
    "delete a worker",
    "kill the operator",
    "kill the results service",
    "delete the control plane's pod",
    "kill Postgres",
    "fill Postgres' disk",
    "stop a kubelet",
    "stop the API server",
    "cut a node off",
    "lose a node",
    "drain a node",
    "scale a search",
    "edit what is frozen",
    "suspend and resume a search",
    "cancel a search",
    "delete a search",
    "delete a Job",
    "delete a token",
]

HOLDS: Final[Mapping[Deed, tuple[float, float]]] = {
    "kill a worker": (0, 0),
    "delete a worker": (0, 0),
    "kill the operator": (0, 0),
    "kill the results service": (0, 0),
    "delete the control plane's pod": (0, 0),
    "kill Postgres": (1, 8),
    "fill Postgres' disk": (3, 8),
    "stop a kubelet": (5, 12),
    "stop the API server": (3, 10),
    # below the 20 s after which a node counts as lost
    "cut a node off": (4, 12),
    # above the 35 s after which its pods are given up
    "lose a node": (45, 50),
    "drain a node": (0, 3),
    "scale a search": (0, 0),
    "edit what is frozen": (0, 0),
    "suspend and resume a search": (2, 8),
    "cancel a search": (0, 0),
    "delete a search": (0, 0),
    "delete a Job": (0, 0),
    "delete a token": (0, 0),
}
"""For how many seconds each lasts, at least and at most."""

_PAUSE_SECONDS: Final = (1.0, 6.0)


@dataclass(frozen=True)
class Act:
    """One deed: after ``pause`` seconds, for ``holds`` seconds; ``draw`` in [0, 1) says to which of those that are there."""

    number: int
    deed: Deed
    pause: float
    holds: float
    draw: float

    def choose(self, among: Sequence[T]) -> T | None:
        """The one of these, in their order, that the draw falls on; None if there is none."""
        return among[int(self.draw * len(among))] if among else None


@dataclass(frozen=True)
class Order:
    """One search: its number, its kind and its tenant."""

    number: int
    kind: str
    tenant: str

    @property
    def name(self) -> str:
        """Of its TuningJob: no two of a run have the same, in whatever namespaces."""
        return f"s{self.number:04}-{self.kind}"


def acts(seed: int) -> Iterator[Act]:
    """What is done, one after the other, without an end."""
    draws = random.Random(f"acts {seed}")
    numbers = itertools.count(1)
    while True:
        pack: list[Deed] = [*HOLDS]
        draws.shuffle(pack)
        for deed in pack:
            yield Act(next(numbers), deed, draws.uniform(*_PAUSE_SECONDS), draws.uniform(*HOLDS[deed]), draws.random())


def orders(seed: int, kinds: Mapping[str, int], tenants: Sequence[str]) -> Iterator[Order]:
    """Which searches are sent, without an end: each kind as often in a pack as its weight says, the tenants in turn."""
    draws = random.Random(f"orders {seed}")
    numbers = itertools.count(1)
    while True:
        pack = [kind for kind, weight in kinds.items() for _ in range(weight)]
        draws.shuffle(pack)
        for kind in pack:
            number = next(numbers)
            yield Order(number, kind, tenants[number % len(tenants)])
