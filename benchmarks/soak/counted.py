"""An estimator whose fits take their time and next to no CPU, and that says to whom it may concern when one begins.

Pods have this module from a ConfigMap, by the same name as here. What it says is one datagram, which nothing waits for.
"""

import contextlib
import json
import os
import socket
import time
import zlib
from typing import Final

import numpy as np
from sklearn.tree import DecisionTreeClassifier

from tuningjob.aliases import Anything, Matrix

PAUSE: Final = "SOAK_FIT_SECONDS"
LEDGER: Final = "SOAK_LEDGER"  # host:port
_POD: Final = "TUNINGJOB_POD_NAME"


class CountedTree(DecisionTreeClassifier):  # type: ignore[misc]
    """A decision tree that tells of each fit, and pauses before it for as many seconds as its environment says."""

    def fit(self, X: Matrix, y: Anything, sample_weight: Anything = None) -> "CountedTree":
        _tell(os.environ.get(LEDGER, ""), [os.environ.get(_POD, ""), self.min_samples_leaf, rows_of(X)])
        time.sleep(float(os.environ.get(PAUSE, "0")))
        super().fit(X, y, sample_weight)
        return self


def rows_of(X: Matrix) -> int:
    """By which a split's training rows are known again."""
    return zlib.crc32(np.ascontiguousarray(X).tobytes())


def _tell(where: str, said: list[object]) -> None:
    host, _, port = where.rpartition(":")
    if host:
        # a network that is cut costs the ledger a line, and the fit nothing
        with contextlib.suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
            out.sendto(json.dumps(said).encode(), (host, int(port)))
