"""What is written down of every answer that the hostile tenant got, and what must never be in one."""

import json
import re
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.attacks import Attack

_LAST: int = 8
# Of a request that was answered in a sentence, to be sent again.
_SENTENCE = re.compile(rb'"detail":\s*"')


@dataclass
class Witness:
    """``secrets`` are in everything of the honest tenant's, and in nothing that the hostile one sends."""

    seed: int
    file: Path
    secrets: set[str]
    last: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST))
    statuses: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    inputs: int = 0
    # how many times more this machine had to do than it can at once
    busiest: float = 0.0
    seconds: defaultdict[str, float] = field(default_factory=lambda: defaultdict(float))

    @contextmanager
    def noting(self, attack: Attack) -> Iterator[None]:
        """One input. It is in ``file`` before it is sent."""
        self.inputs += 1
        kind = type(attack).__name__
        self.kinds[kind] += 1
        self.last.append(f"{self.inputs}: {attack!r}"[:1_000])
        with self.file.open("a") as file:
            file.write(f"{self.inputs}: {attack!r}")
            file.flush()
            began = time.monotonic()
            try:
                yield
            finally:
                took = time.monotonic() - began
                self.seconds[kind] += took
                file.write(f" took {took:.1f} s\n")

    def heard_of_the_service(self, what: str, status: int, text: bytes) -> None:
        """An answer of the results service; status 0: none came."""
        self.statuses[f"results {status or 'nothing'}"] += 1
        if status >= 500 and status != 503:
            self.fault(f"{what} was answered with {status}: {text[:300]!r}")
        if status == 503 and not _SENTENCE.search(text):
            self.fault(f"{what} was answered with a 503 that does not say why: {text[:300]!r}")
        self.read_nothing_of_the_victims(what, text)

    def heard_of_kubernetes(self, what: str, status: int, text: bytes) -> None:
        """Judge an answer of the API server. Only the part that the operator wrote is ours."""
        self.statuses[f"kubernetes {status}"] += 1
        self.read_nothing_of_the_victims(what, text)

    def read_nothing_of_the_victims(self, what: str, text: bytes) -> None:
        for secret in self.secrets:
            if secret.encode() in text:
                at = text.index(secret.encode())
                self.fault(f"{what} told {secret!r} of the honest tenant: {text[max(0, at - 100) : at + 100]!r}")

    def fault(self, sentence: str) -> None:
        if len(self.faults) < 20:
            self.faults.append(f"{sentence}\n  after input {self.inputs}: {self.last[-1] if self.last else ''}")

    @property
    def account(self) -> str:
        """Whatever is needed to see it again."""
        last = "\n".join(self.last)
        return f"TUNINGJOB_CHAOS_SEED={self.seed}, all inputs in {self.file}; the last ones:\n{last}"

    @property
    def tally(self) -> str:
        """How many of which kind, in how many seconds, and what they were answered."""
        kinds = {kind: f"{count} in {self.seconds[kind]:.0f} s" for kind, count in sorted(self.kinds.items())}
        return json.dumps({"inputs": self.inputs, **kinds, **dict(sorted(self.statuses.items()))})
