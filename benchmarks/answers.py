"""What a side's process answers: light, so that every environment can read it."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Ran:
    """One search.

    oracle: the candidates' work ÷ the work that differs, by the workload's model.
    results: cv_results_ without its times, as text that is equal exactly where the bits are.
    """

    wall_seconds: float
    candidates: int
    folds: int
    oracle: float | None
    results: dict[str, list[str]]


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The search raised, or its process died or took too long."""

    reason: str


# None: this way of searching has nothing to say about that workload
Answer = Ran | Failed | None
