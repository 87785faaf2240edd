"""Data that scikit-learn does not bring: seeded, so that every process makes the same."""

import string
from typing import Any

import numpy as np
import pandas as pd


def documents(
    *, documents: int = 1200, words_each: int = 120, vocabulary: int = 20000
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Texts of four classes: words drawn by Zipf's law, eight places of each text taken by words of its class."""
    rng = np.random.RandomState(0)
    letters = list(string.ascii_lowercase)
    words = np.array(["".join(rng.choice(letters, size=rng.randint(3, 11))) for _ in range(vocabulary)])
    frequency = 1 / np.arange(1, vocabulary + 1) ** 1.05
    frequency /= frequency.sum()
    y = np.arange(documents) % 4
    texts = []
    for label in y:
        drawn = rng.choice(vocabulary, size=rng.randint(words_each // 2, 2 * words_each), p=frequency)
        places = rng.randint(0, len(drawn), size=8)
        drawn[places] = 200 + label * 30 + rng.randint(0, 30, size=8)
        texts.append(" ".join(words[drawn]))
    return np.array(texts, dtype=object), y


def customers(*, rows: int = 2000) -> tuple[pd.DataFrame, np.ndarray[Any, Any]]:
    """A table as it comes from a business: numbers of unlike scales, categories, one value in twenty missing."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(18, 90, rows).astype(float),
            "income": rng.lognormal(10, 0.7, rows),
            "visits": rng.poisson(4, rows).astype(float),
            "months": rng.exponential(30, rows),
            "balance": rng.normal(0, 2000, rows),
            "region": rng.choice([f"region-{number}" for number in range(12)], rows),
            "job": rng.choice([f"job-{number}" for number in range(30)], rows),
            "plan": rng.choice(["basic", "plus", "pro"], rows, p=[0.6, 0.3, 0.1]),
        }
    )
    score = (
        0.03 * (frame["age"] - 50)
        + 0.8 * (np.log(frame["income"]) - 10)
        - 0.2 * (frame["visits"] - 4)
        + 0.5 * (frame["plan"] == "pro")
        + 0.3 * frame["region"].isin(["region-1", "region-5", "region-7"])
    )
    y = (score + rng.logistic(0, 0.7, rows) > 0.5).to_numpy().astype(int)
    return frame.mask(rng.random(frame.shape) < 0.05), y
