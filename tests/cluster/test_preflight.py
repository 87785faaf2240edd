"""What the first pod finds on a real cluster: each refusal and each warning with its reason, in status, before any fit."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tests.cluster.harness.client import Cluster
from tests.cluster.harness.release import Release
from tests.cluster.tuningjobs import TuningJobs, all_at_once, named, small_pod

pytestmark = pytest.mark.cluster

Document = dict[str, Any]

# The user's own code, mounted from a ConfigMap and found by PYTHONPATH.
MINE = """
import threading
from sklearn.linear_model import LogisticRegression

class Locked(LogisticRegression):
    def __init__(self, C=1.0):
        super().__init__(C=C)
        self._lock = threading.Lock()
"""
BROKEN = "import no_such_library\n"


def code() -> Document:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "code"},
        "data": {"mine.py": MINE, "broken.py": BROKEN},
    }


def tables() -> Document:
    rng = np.random.default_rng(0)
    raw = pd.DataFrame({"width": rng.normal(size=60), "mass": 1_000 * rng.normal(size=60)})
    standard = (raw - raw.mean()) / raw.std(ddof=0)
    holes = raw.mask(rng.random(raw.shape) < 0.1)
    label = [0, 1] * 30
    files = {
        "raw.csv": raw.assign(label=label),
        "standard.csv": standard.assign(label=label),
        "holes.csv": holes.assign(label=label),
        "words.csv": raw.assign(colour=["red", "blue"] * 30, label=label),
        "few.csv": raw.assign(label=["a"] * 30 + ["b"] * 27 + ["rare"] * 3),
        "tiny.csv": raw.head(4).assign(label=[0, 0, 1, 1]),
    }
    data = {name: frame.to_csv(index=False) for name, frame in files.items()}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "tables"}, "data": data}


def on(file: str, target: str = "label") -> Document:
    return {"data": {"path": file, "target": target, "configMap": "tables"}}


SVC = {"class": "sklearn.svm.SVC"}
TREE = {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}}
GRID_C = {"grid": {"parameters": {"C": [1, 10]}}}
GRID_DEPTH = {"grid": {"parameters": {"max_depth": [1, 2]}}}
OWN_CODE = {
    "pod": {
        "volumes": [{"name": "code", "mountPath": "/code", "configMap": "code"}],
        "env": [{"name": "PYTHONPATH", "value": "/code"}],
    }
}

# name: (change of the spec, reason, what the message holds)
REFUSED: dict[str, tuple[Document, str, str]] = {
    "import": ({"estimator": {"class": "broken.Anything"}, **OWN_CODE}, "CodeImport", "no_such_library"),
    "lock": (
        {"estimator": {"class": "mine.Locked"}, "search": GRID_C, **OWN_CODE},
        "NotPicklable",
        "_lock: cannot pickle '_thread.lock' object",
    ),
    "data": (on("raw.csv", target="lable"), "DataLoad", "Did you mean 'label'?"),
    "folds": ({**on("tiny.csv"), "crossValidation": {"folds": 5}}, "", "spec.crossValidation.folds"),
    "name": ({"search": {"grid": {"parameters": {"max_dept": [1]}}}}, "ParameterUnknown", "Did you mean 'max_depth'?"),
    "value": (
        {"search": {"grid": {"parameters": {"max_depth": [-1, -2]}}}},
        "ParameterInvalid",
        "spec.search.grid.parameters.max_depth",
    ),
    "scorer": (
        {
            "estimator": {"class": "sklearn.linear_model.RidgeClassifier"},
            "search": {"grid": {"parameters": {"alpha": [1]}}},
        }
        | {"scoring": "neg_log_loss"},
        "ScorerMismatch",
        "neg_log_loss needs predict_proba",
    ),
    "holes": ({"estimator": SVC, "search": GRID_C, **on("holes.csv")}, "EveryFitFails", "NaN"),
    "words": (on("words.csv"), "EveryFitFails", "could not convert string to float"),
}
WARNED: dict[str, tuple[Document, str]] = {
    "unseeded": ({"estimator": {"class": "sklearn.tree.DecisionTreeClassifier"}}, "UnseededEstimator"),
    "unscaled": ({"estimator": SVC, "search": GRID_C, **on("raw.csv")}, "ScaleSensitiveUnscaled"),
    "standardised": ({"estimator": SVC, "search": GRID_C, **on("standard.csv")}, "AlreadyStandardised"),
    "some-invalid": ({"search": {"grid": {"parameters": {"max_depth": [-1, 2]}}}}, "ParameterInvalid"),
    "rare": (on("few.csv"), "ClassCounts"),
}


def document(name: str, change: Document) -> Document:
    mine = {"estimator": TREE, "search": GRID_DEPTH, "mode": "Plan", "parallelism": 1, "baseline": False}
    return named(name, "iris-forest", **{**mine, "resources": small_pod("200m"), **on("raw.csv"), **change})


@pytest.fixture(scope="module")
def jobs(cluster: Cluster, release: Release) -> Iterator[TuningJobs]:
    """With all of them begun at once."""
    refused = {name: change for name, (change, _, _) in REFUSED.items()}
    warned = {name: change for name, (change, _) in WARNED.items()}
    asked = (document(name, change) for name, change in (refused | warned).items())
    with all_at_once(cluster, release, "preflight", tables(), code(), *asked) as found:
        yield found


def test_each_finding_that_no_search_can_live_with_is_refused_with_its_reason(jobs: TuningJobs) -> None:
    for name, (_, reason, holds) in REFUSED.items():
        failed = jobs.wait_for_failure(name)
        assert failed["reason"] == "ManifestRefused", (name, failed)
        assert holds in failed["message"], (name, failed)
        found = jobs.condition(name, "Preflight")
        assert found["status"] == "False", (name, found)
        assert found["reason"] == (reason or found["reason"]), (name, found)
        assert jobs.status(name)["progress"]["done"] == 0


def test_each_finding_that_is_only_odd_is_a_warning_with_its_reason_and_advice(jobs: TuningJobs) -> None:
    for name, (_, reason) in WARNED.items():
        jobs.wait_for(name, lambda status: status.get("phase") == "Planned")
        found = jobs.condition(name, "Preflight")
        assert (found["status"], found["reason"]) == ("True", "PassedWithWarnings"), (name, found)
        assert f"{reason}: " in found["message"], (name, found)
        assert found["message"].startswith("60 samples × "), (name, found)
