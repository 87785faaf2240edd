"""An estimator that takes its time and tells when a fit has ended, with a rule: one fit serves all its widths."""

import importlib
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin

FIT_SECONDS: Final = "TUNINGJOB_TEST_FIT_SECONDS"
LOG: Final = "TUNINGJOB_TEST_LOG"
# A finished cell is reported within a second; the rest is for a machine with other work.
LATEST_SECONDS: Final = 2.5


class Nearest(ClassifierMixin, BaseEstimator):
    """The class whose mean is nearest, in the first ``width`` columns; ``power`` is that of the distance."""

    def __init__(self, width: int = 1, power: float = 2.0) -> None:
        self.width = width
        self.power = power

    def fit(self, X: Any, y: Any) -> "Nearest":
        """Of all columns: the width matters in predict alone."""
        self._learn(X, y)
        told(self.power, 1)
        return self

    def _learn(self, X: Any, y: Any) -> None:
        time.sleep(float(os.environ.get(FIT_SECONDS, "0")))
        self.classes_ = np.unique(y)
        self.means_ = np.array([X[y == label].mean(axis=0) for label in self.classes_])

    def predict(self, X: Any) -> Any:
        """See ClassifierMixin."""
        distances = [(np.abs(X - mean)[:, : self.width] ** self.power).sum(axis=1) for mean in self.means_]
        return self.classes_[np.argmin(distances, axis=0)]


def told(power: float, cells: int) -> None:
    """Write into the log of the test that a fit which serves so many cells has ended."""
    if LOG in os.environ:
        line = json.dumps({"at": time.monotonic(), "pid": os.getpid(), "power": power, "cells": cells})
        with Path(os.environ[LOG]).open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")


@dataclass(frozen=True)
class Log:
    """What the processes of one life of a worker told; ``main`` is its own process, which tries the search before it begins."""

    path: Path
    main: int

    def finished(self, until: float) -> int:
        """How many cells had been finished by a moment, and were believed: of those that share a fit, one was also fitted alone."""
        if not self.path.exists():
            return 0
        lines = [json.loads(line) for line in self.path.read_text(encoding="utf-8").splitlines()]
        ended = [line for line in lines if line["at"] <= until and line["pid"] != self.main]
        alone = [line["power"] for line in ended if line["cells"] == 1]
        shared = [line for line in ended if line["cells"] > 1]
        if shared:
            return sum(line["cells"] for line in shared if line["power"] in alone)
        return max(0, len(alone) - 1)  # one of them for the guard


def search(**parameters: Any) -> dict[str, Any]:
    """A manifest."""
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": "nearest"},
        "spec": {
            "estimator": {"class": "tests.search.nearest.Nearest"},
            "search": {"grid": {"parameters": parameters}},
            "data": {"loader": "sklearn.datasets.load_wine"},
            "resources": {"cpu": "2", "memory": "1Gi"},
            "baseline": False,
        },
    }


POWERS: Final = [0.5 + 0.05 * number for number in range(30)]
# 30 x 4 x 5 cells, 150 fits and the guard's 30; and 30 x 5 cells of which each is fitted alone
SEARCHES: Final = {"a nested axis": search(width=[1, 2, 4, 8], power=POWERS), "no nested axis": search(power=POWERS)}

# Its rule is imported by a name that nobody finds by reading this file: with the rule, the code that an estimator of here runs would be
# all of this project, and each life of its search would take 1.6 s to read that.
importlib.import_module(f"{__name__}_rule")
