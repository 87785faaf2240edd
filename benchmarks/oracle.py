"""How much there is to gain: the sum of the candidates' work ÷ the work that differs, counted from simple models.

Each model counts one thing (members of an ensemble, fits of steps, distinct fits) and no overhead and no scoring, so it
is a yardstick and not a bound: an engine that also saves overhead may pass it.
"""

from collections.abc import Callable, Sequence
from typing import Any

Candidate = dict[str, Any]
Oracle = Callable[[list[Candidate]], float]
# What a candidate comes to once the parameters that do nothing for it are made alike.
Canonical = Callable[[Candidate], Candidate]


def nothing_shared(candidates: list[Candidate]) -> float:  # noqa: ARG001
    """Every fit differs; only overhead can be saved."""
    return 1.0


def nested(axis: str, *, canonical: Canonical = dict) -> Oracle:
    """The first k members of an ensemble are the ensemble of k: the largest of those alike but for `axis` serves all."""

    def ratio(candidates: list[Candidate]) -> float:
        largest: dict[str, int] = {}
        for candidate in candidates:
            rest = canonical(candidate)
            size = rest.pop(axis)
            key = _key(rest, list(rest))
            largest[key] = max(size, largest.get(key, 0))
        total: int = sum(candidate[axis] for candidate in candidates)
        return total / sum(largest.values())

    return ratio


def distinct(canonical: Canonical) -> Oracle:
    """Candidates ÷ those left when parameters that do nothing are made alike."""

    def ratio(candidates: list[Candidate]) -> float:
        return len(candidates) / len({_key(rest, list(rest)) for rest in map(canonical, candidates)})

    return ratio


def pieces(*pieces: tuple[float, Sequence[str]]) -> Oracle:
    """A fit in pieces, such as a pipeline's steps: what each costs beside the others, and the parameters it depends on.

    A piece is done once for all candidates that agree in these.
    """

    def ratio(candidates: list[Candidate]) -> float:
        work = sum(cost * len(candidates) for cost, _ in pieces)
        return work / sum(cost * len({_key(one, names) for one in candidates}) for cost, names in pieces)

    return ratio


def _key(candidate: Candidate, names: Sequence[str]) -> str:
    """Equal for candidates that agree in these parameters (estimators among them have no equality but their text)."""
    return repr([(name, candidate.get(name)) for name in sorted(names)])
