"""What pods leave as text, made a search again: as `tuningjob.cluster` does with the files of a finished search."""

from pathlib import Path
from typing import Any

import pandas as pd

from tests.truth import assert_equal_to_the_bit
from tuningjob.artifacts.downloads import FIT_ATTRIBUTES, Sidecar
from tuningjob.cluster.answer import PublishedAnswer, fitted
from tuningjob.manifest.models import TuningJobSpec

_OF_FIT = ("best_index_", "best_params_", "best_score_", "n_splits_", "multimetric_", *FIT_ATTRIBUTES)


def assert_comes_back(spec: TuningJobSpec, folder: Path, want: Any) -> None:
    """From the files below ``folder`` comes the search ``want``, but its model, which nobody fetches."""
    sidecar = Sidecar.loads((folder / "artifacts.json").read_bytes())
    found = fitted(spec, PublishedAnswer((folder / "cv_results.csv").read_bytes(), sidecar, fetch=_never))
    assert isinstance(found, type(want))
    assert_equal_to_the_bit(found.cv_results_, want.cv_results_)
    for name in _OF_FIT:
        assert repr(getattr(found, name, None)) == repr(getattr(want, name, None)), name


def forged_answer(folder: Path, params: str) -> PublishedAnswer:
    """With other parameters in the last row."""
    frame = pd.read_csv(folder / "cv_results.csv", dtype=str, keep_default_na=False)
    frame.loc[len(frame) - 1, "params"] = params
    return PublishedAnswer(frame.to_csv(index=False).encode(), None, fetch=_never)


def _never() -> Any:
    raise AssertionError("the model is for those who ask for it")
