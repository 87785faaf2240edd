"""Estimators that end the processes in which they are fitted."""

import os
import signal
from typing import Any

from sklearn.tree import DecisionTreeClassifier

# Of the iris data set: in the training side of every split but the first.
_FIRST_ROW = (5.1, 3.5, 1.4, 0.2)


class Lethal(DecisionTreeClassifier):
    """A tree whose ``deadly`` fit of the first split ends its whole pod, or its process: as one that takes all memory does."""

    def __init__(self, deadly: str = "", max_depth: int | None = None, random_state: int | None = None) -> None:
        super().__init__(max_depth=max_depth, random_state=random_state)
        self.deadly = deadly

    def fit(self, X: Any, y: Any) -> "Lethal":
        """See DecisionTreeClassifier."""
        if self.deadly and tuple(X[0]) != _FIRST_ROW:
            if self.deadly == "pod":
                os.killpg(0, signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        fitted: Lethal = super().fit(X, y)
        return fitted
