"""Count the members of a target's classes, and warn of classes that cannot fill the folds."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.model_selection import RepeatedStratifiedKFold, StratifiedGroupKFold, StratifiedKFold

from tuningjob.aliases import AnySplitter, Estimator
from tuningjob.search.data import Dataset
from tuningjob.search.reasons import Reason


def rare_classes(cv: AnySplitter, estimator: Estimator, data: Dataset) -> Iterator[str]:
    """A warning about classes that have fewer members than there are folds."""
    folds = _folds_of(cv)
    counts = class_counts(estimator, data) if folds else Counter[Any]()
    rare = {label: count for label, count in counts.items() if count < folds}
    if rare:
        rarest = min(rare, key=lambda label: rare[label])
        others = {1: "", 2: ", and so has 1 other class"}.get(len(rare), f", and so have {len(rare) - 1} other classes")
        yield (
            f"{Reason.CLASS_COUNTS}: class {rarest!r} has {rare[rarest]} members, fewer than the {folds} folds{others}: some "
            "test folds have none of it, which makes their scores incomparable, or NaN. Use fewer folds, or join rare classes."
        )


def _folds_of(cv: AnySplitter) -> int:
    """The number of parts into which a splitter divides each class; 0 if it does not."""
    if isinstance(cv, StratifiedKFold | StratifiedGroupKFold):
        return int(cv.n_splits)
    if isinstance(cv, RepeatedStratifiedKFold):
        return int(cv.cvargs["n_splits"])
    return cv if isinstance(cv, int) else 0


def class_counts(estimator: Estimator, data: Dataset) -> Counter[Any]:
    """The number of members of each class; empty if there are no classes."""
    y = np.asarray(data.y)
    if not is_classifier(estimator) or y.ndim != 1 or pd.isna(y).any():
        return Counter()
    labels, counts = np.unique(y, return_counts=True)
    return Counter(dict(zip(labels.tolist(), counts.tolist(), strict=True)))
