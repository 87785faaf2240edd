"""A fit that takes so many seconds and no CPU. Needs nothing but scikit-learn; pods have it from a ConfigMap."""

import time
from typing import Any

from sklearn.base import BaseEstimator, ClassifierMixin


class Sleeper(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """``number`` is the candidate's, and decides nothing but the score."""

    def __init__(self, seconds: float = 1.0, number: int = 0) -> None:
        self.seconds = seconds
        self.number = number

    def fit(self, X: Any, y: Any) -> "Sleeper":  # noqa: ANN401, ARG002  scikit-learn's names
        """Sleep."""
        time.sleep(self.seconds)
        self.classes_ = [0, 1]
        return self

    def score(self, X: Any, y: Any) -> float:  # noqa: ANN401, ARG002
        """Another for each candidate."""
        return float(self.number % 97)
