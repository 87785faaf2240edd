"""Code as workers report it to the journal: a map from each file or distribution to its digest or version; and changes of it."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tuningjob.protocol.parts import MAX_MARK, MAX_NAME, MAX_PARTS
from tuningjob.protocol.records import Preflight

SHA256: Final = "sha256:"
_SHOWN_DIGITS: Final = len(SHA256) + 8
_MOST_TOLD: Final = 5


def digest_of(content: bytes) -> str:
    """The digest that stands for a file."""
    return f"{SHA256}{hashlib.sha256(content).hexdigest()[:32]}"


def bounded(parts: Mapping[str, str]) -> dict[str, str]:
    """The same code within the bounds of ``parts.Parts``: one digest stands for all parts beyond them."""
    short = {_short(name, MAX_NAME): _short(mark, MAX_MARK) for name, mark in sorted(parts.items())}
    if len(short) <= MAX_PARTS:
        return short
    kept = dict(list(short.items())[: MAX_PARTS - 1])
    rest = [item for item in short.items() if item[0] not in kept]
    return kept | {f"{len(rest):,} more": digest_of(repr(rest).encode())}


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 40]}…{digest_of(text.encode())}"


@dataclass(frozen=True)
class Change:
    """A file or a distribution that has changed; ``before`` or ``after`` is empty if it was not there."""

    name: str
    before: str
    after: str

    @property
    def told(self) -> str:
        """The change as a person says it: mine.py changed, lightgbm 4.6.0 → 4.7.0."""
        if not self.before:
            return f"{self.name} is new"
        if not self.after:
            return f"{self.name} is gone"
        versions = self.before.partition(SHA256)[0].strip(), self.after.partition(SHA256)[0].strip()
        return f"{self.name} changed" if versions[0] == versions[1] else f"{self.name} {versions[0]} → {versions[1]}"

    @property
    def exact(self) -> str:
        """The change with both versions, or the beginnings of both digests."""
        sides = (
            " ".join(word[:_SHOWN_DIGITS] if word.startswith(SHA256) else word for word in mark.split()) or "nothing"
            for mark in (self.before, self.after)
        )
        return f"{self.name} {' → '.join(sides)}"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The parts that differ between the two, by name."""
    names = sorted(before.keys() | after.keys())
    found = (Change(name, str(before.get(name, "")), str(after.get(name, ""))) for name in names)
    return [change for change in found if change.before != change.after]


def other_code(first: Preflight, now: Preflight) -> list[Change]:
    """The changes between two workers of a search. A part that a worker of another release does not report is not compared."""
    both = first.versions.keys() & now.versions.keys()
    other = changes({name: first.versions[name] for name in both}, {name: now.versions[name] for name in both})
    if first.code and now.code:
        told = {each.name for each in other}
        other += [each for each in changes(first.code, now.code) if each.name not in told]
    return other


def first_few(texts: list[str]) -> str:
    """The first few texts, and how many more there are."""
    more = len(texts) - _MOST_TOLD
    return ", ".join(texts[:_MOST_TOLD]) + (f" and {more:,} more" if more > 0 else "")
