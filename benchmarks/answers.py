"""What a side's process answers: light, so that every environment can read it."""

from dataclasses import dataclass
from typing import Any

import numpy as np


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


def as_text(values: Any) -> list[str]:  # noqa: ANN401
    """An array, or a list, as text that is equal exactly where the bits are, and that any process can compare.

    repr of a float keeps every bit; it tells -0.0 from 0.0, and a NaN equals a NaN. The kind and shape of an array come first.
    What a masked array holds under its mask is left out: scikit-learn does not set it.
    """
    if isinstance(values, list):
        return [repr(value) for value in values]
    array = np.ma.asarray(values)
    entries = zip(array.data.ravel().tolist(), np.ma.getmaskarray(array).ravel().tolist(), strict=True)
    kind = f"{type(values).__name__} {array.dtype} {array.shape}"
    return [kind, *("masked" if masked else repr(value) for value, masked in entries)]
