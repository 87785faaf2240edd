"""However the data are divided, pods divide them alike: the answer on a real cluster is scikit-learn's with the same cv and groups."""

import base64
import gzip
import io
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import GridSearchCV, LeaveOneGroupOut, StratifiedGroupKFold
from sklearn.tree import DecisionTreeClassifier

from tests.cluster.tuningjobs import TuningJobs

pytestmark = pytest.mark.cluster

Document = dict[str, Any]
FEATURES: Final = ["width", "noise"]
DEPTHS: Final = [1, 2, 3, 4]
PATIENTS: Final = 7
SHUFFLED: Final = StratifiedGroupKFold(3, shuffle=True, random_state=4)


def patients() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"width": rng.normal(size=84), "noise": rng.normal(size=84)})
    sick = np.where(frame["width"] + rng.normal(size=84) > 0, "yes", "no")
    return frame.assign(patient=np.arange(84) % PATIENTS, sick=sick)


def grouped(name: str, cv: Document) -> Document:
    """A tree on two pods, of a file whose rows belong to patients."""
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": name},
        "spec": {
            "estimator": {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}},
            "search": {"grid": {"parameters": {"max_depth": DEPTHS}}},
            "data": {"path": "t.csv", "target": "sick", "features": FEATURES, "configMap": "patients"},
            "crossValidation": {**cv, "groups": "patient"},
            "resources": {"cpu": "1", "memory": "512Mi"},
            "parallelism": 2,
            "baseline": False,
        },
    }


def test_groups_are_kept_together_by_all_pods_and_their_number_is_what_the_first_pod_tells(jobs: TuningJobs) -> None:
    """Two searches beside each other: one whose splits the manifest tells, one whose splits only its data tell."""
    table = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "patients"},
        "data": {"t.csv": patients().to_csv(index=False)},
    }
    known = grouped("folds", {"folds": 3, "shuffle": True, "randomState": 4})
    told = grouped("each-out", {"splitter": {"class": "sklearn.model_selection.LeaveOneGroupOut"}})
    jobs.apply(table, known, told)
    for name, cv, splits in (("folds", SHUFFLED, 3), ("each-out", LeaveOneGroupOut(), PATIENTS)):
        status = jobs.wait_for(name, lambda found: found.get("phase") == "Complete")
        assert status["grid"] == {"candidates": len(DEPTHS), "splits": splits, "fits": len(DEPTHS) * splits}
        assert jobs.report_counts(name) == {1: len(DEPTHS) * splits}
        frame = patients()
        want = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": DEPTHS}, cv=cv)
        want.fit(frame[FEATURES], frame["sick"], groups=frame["patient"])
        found = results_of(jobs, name)
        for column, values in want.cv_results_.items():
            if column.endswith("_score"):
                np.testing.assert_array_equal(found[column].to_numpy(), np.asarray(values), err_msg=column)
        assert status["best"]["params"] == want.best_params_


def results_of(jobs: TuningJobs, name: str) -> pd.DataFrame:
    configmap = jobs.cluster.get("configmap", f"{name}-results", namespace=jobs.namespace)
    assert configmap is not None
    return pd.read_csv(io.BytesIO(gzip.decompress(base64.b64decode(configmap["binaryData"]["cv_results.csv.gz"]))))
