from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.pod.patient import FIT_SECONDS
from tests.pod.pods import Pods
from tests.service.server import Service


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[Pods]:
    service = Service(tmp_path, max_artifact_bytes=50_000_000)
    service.start()
    pods = Pods(service, tmp_path)
    yield pods
    for process in pods.processes:
        process.kill()
        process.communicate()
    service.close()


@pytest.fixture
def forest(iris_forest: dict[str, Any]) -> dict[str, Any]:
    """Ninety fits that have nothing in common and take some seconds."""
    iris_forest["spec"]["data"] = {"loader": "sklearn.datasets.load_wine"}
    iris_forest["spec"]["search"]["grid"]["parameters"] = {
        "n_estimators": [80],
        # from above zero, because an answer spells a whole float as {float: 0}
        "min_impurity_decrease": {"linspace": [0.001, 0.018, 18]},
    }
    return iris_forest


@pytest.fixture
def small_forest(forest: dict[str, Any]) -> dict[str, Any]:
    """The same of four trees, which take next to no CPU, and the time that a process is told by ``FIT_SECONDS``."""
    forest["spec"]["estimator"] = {"class": "tests.pod.patient.PatientForest", "params": {"random_state": 0}}
    forest["spec"]["search"]["grid"]["parameters"]["n_estimators"] = [4]
    return forest


@pytest.fixture
def patient_forest(pods: Pods, small_forest: dict[str, Any]) -> dict[str, Any]:
    """Ninety fits that have nothing in common, take some seconds, and next to no CPU: there is time to interfere."""
    pods.environment[FIT_SECONDS] = "0.1"
    return small_forest
