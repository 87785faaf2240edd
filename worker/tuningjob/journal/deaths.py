"""What a unit's deaths mean for who is given it next. Pure."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

# deaths
ALONE_FROM: Final = 1
LOST_FROM: Final = 2


@dataclass(frozen=True)
class Victim:
    """A claimant that died of a unit, and the bytes that its pod had; "" and 0 if they are no longer known."""

    claimant: str
    memory: int


@dataclass(frozen=True)
class DeathCount:
    """``deaths`` at the most memory that is known to be too little (``starved``; 0: none): what decides over a unit."""

    deaths: int = 0
    starved: int = 0


def verdict(victims: Sequence[Victim], memory_limit: int) -> DeathCount:
    """From the first death on alone. The second one starves it, and leaves one, as long as a pod may have more memory."""
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
    """Whether a claimant was in one of these pods. A pod's name may have dots, what comes after it in a claimant's has none."""
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


# Once its lost cell is told, the rest of a unit is as after one death, which is nobody's any more.
AFTER_A_LOSS: Final = (Victim("", 0),)
