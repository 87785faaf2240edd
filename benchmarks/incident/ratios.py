"""Quantiles of latencies, and how an arm compares with the quiet neighbour, block by block. Pure: randomness is given."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

UNCHANGED = 1.10
"""A quantile counts as unchanged if the upper bound of its ratio's interval is below this (non-inferiority)."""


@dataclass(frozen=True)
class Ratio:
    """An arm's quantile ÷ the quiet neighbour's: the geometric mean over blocks, and a 95 % bootstrap interval of it."""

    mean: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """In a word: ``unchanged``, ``worse``, or ``open`` where the interval allows both."""
        if self.high < UNCHANGED:
            return "unchanged"
        return "worse" if self.low > 1 else "open"

    def __str__(self) -> str:
        return f"{self.mean:.2f} [{self.low:.2f}, {self.high:.2f}]"


def quantile(latencies: Sequence[float], q: float) -> float:
    """The least latency that at least the part ``q`` of all does not pass; infinite if there is none."""
    if not latencies:
        return math.inf
    return sorted(latencies)[max(0, math.ceil(q * len(latencies)) - 1)]


def compare(arm: Sequence[float], quiet: Sequence[float], draws: random.Random, *, repeats: int = 10_000) -> Ratio:
    """The ratio of two quantiles, of the same block in each place: paired logarithms, resampled by block."""
    logs = [math.log(beside / alone) for beside, alone in zip(arm, quiet, strict=True)]
    means = sorted(sum(draws.choices(logs, k=len(logs))) / len(logs) for _ in range(repeats))
    low, high = means[round(0.025 * (repeats - 1))], means[round(0.975 * (repeats - 1))]
    return Ratio(math.exp(sum(logs) / len(logs)), math.exp(low), math.exp(high))
