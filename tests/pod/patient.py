"""Estimators that take their time where a test says so."""

import os
import time
from typing import Any, Final

from sklearn.ensemble import RandomForestClassifier
from sklearn.tree import DecisionTreeClassifier

FIT_SECONDS: Final = "TUNINGJOB_TEST_FIT_SECONDS"


class Patient(DecisionTreeClassifier):
    """A tree whose fit takes so many seconds longer; its bits are those of any tree."""

    def fit(self, X: Any, y: Any) -> "Patient":
        """See DecisionTreeClassifier."""
        time.sleep(float(os.environ.get(FIT_SECONDS, "0")))
        fitted: Patient = super().fit(X, y)
        return fitted


class PatientForest(RandomForestClassifier):
    """The same of a forest."""

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> "PatientForest":
        """See RandomForestClassifier."""
        time.sleep(float(os.environ.get(FIT_SECONDS, "0")))
        fitted: PatientForest = super().fit(X, y, sample_weight)
        return fitted
