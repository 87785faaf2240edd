"""A metric that stands beside its manifest, as a user's own modules do."""

import numpy as np
import pandas as pd
from sklearn.base import ClassifierMixin


def saved(estimator: ClassifierMixin, X: pd.DataFrame, y: pd.Series) -> float:
    """What it is worth to call those who are predicted to leave: 50 for each who would have left, less 10 a call."""
    called = estimator.predict(X) == "yes"
    return float(np.sum(called & (np.asarray(y) == "yes")) * 50 - np.sum(called) * 10) / len(y)
