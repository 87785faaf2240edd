"""What a unit's deaths mean for how, and to which claimant, it is given next. Pure."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

# from how many deaths on
ALONE_FROM: Final = 1
LOST_FROM: Final = 2


@dataclass(frozen=True)
class Victim:
    """A claimant that died of a unit, and the bytes that its pod had; "" and 0 if they are no longer known."""

    claimant: str
    memory: int


@dataclass(frozen=True)
class DeathCount:
    """What decides over a unit: its ``deaths`` at the most memory that is known to be too little (``starved``; 0: none)."""

    deaths: int = 0
    starved: int = 0


def verdict(victims: Sequence[Victim], memory_limit: int) -> DeathCount:
    """What the deaths come to: as long as a pod may have more memory, a second one counts as one death of a starved unit."""
    deaths = starved = 0
    for victim in victims:
        deaths += 1
        if deaths != LOST_FROM:
            continue
        if 0 < victim.memory < memory_limit:
            deaths, starved = ALONE_FROM, victim.memory
        else:
            starved = 0  # any claimant may report that its cell is lost
    return DeathCount(deaths, starved)


def pardoned(victims: Sequence[Victim], pods: Collection[str]) -> list[Victim]:
    """The victims that were in none of these pods."""
    return [victim for victim in victims if not is_of(victim.claimant, pods)]


def is_of(claimant: str, pods: Collection[str]) -> bool:
    """Whether a claimant was in one of these pods. A pod's name may have dots; what follows it in a claimant has none."""
    pod, dot, _ = claimant.rpartition(".")
    return bool(dot) and pod in pods


def dump_victims(victims: Sequence[Victim]) -> str | None:
    """The victims as JSON; None if there are none."""
    if not victims:
        return None
    return json.dumps([[victim.claimant, victim.memory] for victim in victims], separators=(",", ":"))


def load_victims(text: str | None) -> list[Victim]:
    """The victims that ``dump_victims`` has written."""
    return [Victim(claimant, memory) for claimant, memory in json.loads(text or "[]")]


# Once the lost cell is reported, the rest of its unit is as after one death, whose claimant is no longer known.
AFTER_A_LOSS: Final = (Victim("", 0),)
