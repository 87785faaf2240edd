"""What each kind of search comes to on a laptop, by `tuningjob run`, held to scikit-learn where that has the same search."""

import contextlib
import csv
import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold

from benchmarks.soak import kinds
from benchmarks.soak.counted import rows_of
from tests.search.sixty import table
from tests.truth import sklearn_search_of
from tuningjob import local
from tuningjob.manifest import load
from tuningjob.search.stop import Stop

_ROOT: Final = Path(__file__).parents[2]
_TIME: Final = "_time"
# of data that any process has, and without stages
_OF_SCIKIT_LEARN: Final = ("grid", "forest", "random", "failing", kinds.COUNTED)


def digest_of(cv_results: str) -> str:
    """Of all columns of a cv_results.csv but the times."""
    rows = csv.reader(io.StringIO(cv_results))
    kept = [index for index, name in enumerate(next(rows)) if not name.endswith(_TIME)]
    rows = csv.reader(io.StringIO(cv_results))
    found = hashlib.sha256()
    for row in rows:
        found.update(json.dumps([row[index] for index in kept]).encode())
    return found.hexdigest()[:16]


@contextlib.contextmanager
def being_found(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that finds them, below the folder, beside whatever else there is to do; ``told`` has what it found."""
    (folder / "t.csv").write_text(table().to_csv(index=False), encoding="utf-8")
    words = [sys.executable, "-W", "ignore", "-m", __name__, str(folder)]
    with subprocess.Popen(words, cwd=_ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def told(process: "subprocess.Popen[str]") -> dict[str, str]:
    """The digest of each kind's results. Raises AssertionError with what the process said."""
    out, said = process.communicate()
    assert process.returncode == 0, said[-3_000:]
    found: dict[str, str] = json.loads(out)
    return found


def _wanted(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind in kinds.SPECS:
        document = kinds.on_a_laptop(kind)
        local.run(load(document), folder=folder, output=folder / kind, stop=Stop())
        text = (folder / kind / "cv_results.csv").read_text(encoding="utf-8")
        if kind in _OF_SCIKIT_LEARN:
            _hold_to_scikit_learn(document, text)
        found[kind] = digest_of(text)
    return found


def _hold_to_scikit_learn(document: kinds.Document, text: str) -> None:
    _, want = sklearn_search_of(load(document).spec)
    found = pd.read_csv(io.StringIO(text))
    for column, values in want.cv_results_.items():
        if "_test_" in column or "_train_" in column:
            np.testing.assert_array_equal(found[column].to_numpy(), np.asarray(values), err_msg=column)


def splits_of_counted() -> dict[int, int]:
    """Which split of the kind that counts its fits has these training rows."""
    X, y = load_digits(return_X_y=True)
    splits = StratifiedKFold(kinds.FOLDS).split(X, y)
    return {rows_of(X[train]): number for number, (train, _) in enumerate(splits)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_wanted(Path(sys.argv[1]))))
