"""Estimators that take their time where a test says so, and as long as it says."""

import os
import time
from pathlib import Path
from typing import Any, Final

from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

FIT_SECONDS: Final = "TUNINGJOB_TEST_FIT_SECONDS"
# The path of a file: once it is there, a test has seen what it needed the time for, and the other fits take none.
HURRY: Final = "TUNINGJOB_TEST_HURRY"


def take_time() -> None:
    """So many seconds, unless there is a hurry."""
    hurry = os.environ.get(HURRY)
    if hurry is None or not Path(hurry).exists():
        time.sleep(float(os.environ.get(FIT_SECONDS, "0")))


class Patient(DecisionTreeClassifier):
    """A tree whose fit takes so many seconds longer; its bits are those of any tree."""

    def fit(self, X: Any, y: Any) -> "Patient":
        """See DecisionTreeClassifier."""
        take_time()
        fitted: Patient = super().fit(X, y)
        return fitted


class PatientForest(RandomForestClassifier):
    """The same of a forest."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "PatientForest":
        """See RandomForestClassifier."""
        take_time()
        fitted: PatientForest = super().fit(X, y, sample_weight)
        return fitted
