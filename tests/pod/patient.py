"""An estimator that takes its time where a test says so."""

import os
import time
from typing import Any, Final

from sklearn.tree import DecisionTreeClassifier

FIT_SECONDS: Final = "TUNINGJOB_TEST_FIT_SECONDS"


class Patient(DecisionTreeClassifier):
    """A tree whose fit takes so many seconds longer; its bits are those of any tree."""

    def fit(self, X: Any, y: Any) -> "Patient":
        """See DecisionTreeClassifier."""
        time.sleep(float(os.environ.get(FIT_SECONDS, "0")))
        fitted: Patient = super().fit(X, y)
        return fitted
