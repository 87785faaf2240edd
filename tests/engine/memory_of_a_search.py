"""A program for test_memory: four processes search on so many bytes of X, with a grid whose fits need little themselves."""

import sys

import numpy as np
from sklearn.metrics import check_scoring
from sklearn.model_selection import KFold
from sklearn.naive_bayes import MultinomialNB

from tuningjob.engine import CellKey, Engine, Work

COLUMNS = 1_000  # × 8 bytes
SPLITTERS = {
    "halves": KFold(2),
    "fifths": KFold(5, shuffle=True, random_state=0),
}


def main() -> None:
    rng = np.random.default_rng(0)
    rows = int(float(sys.argv[2])) // (8 * COLUMNS)
    X = rng.random((rows, COLUMNS))
    splits = list(SPLITTERS[sys.argv[1]].split(X))
    candidates = [{"alpha": alpha} for alpha in (0.01, 0.1, 1.0, 10.0)]
    work = Work(
        estimator=MultinomialNB(),
        candidates=candidates,
        X=X,
        y=rng.integers(0, 2, rows),
        splits=splits,
        scorer=check_scoring(MultinomialNB()),
    )
    evaluated = 0
    with Engine(work, 4) as engine:
        engine.add(CellKey(candidate, split) for candidate in range(len(candidates)) for split in range(len(splits)))
        while not engine.is_done:
            evaluated += len(engine.wait())
    sys.stdout.write(f"{evaluated}\n")


if __name__ == "__main__":
    main()
