"""What all tests share: the thread caps, before anything imports numpy; and manifests to start from."""

from tuningjob.threads import cap_threads

cap_threads()

# ruff: noqa: E402
import copy
import gc
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tuningjob.spec.canonical import read_file

# the real servers, each started when the first test asks for it
pytest_plugins = ["tests.servers.postgres", "tests.servers.buckets"]

# how long an example takes is the machine's business: a busy one must not fail a test
hypothesis.settings.register_profile(
    "tuningjob", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tuningjob")

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the example manifests."""
    return EXAMPLES


@pytest.fixture
def iris_forest() -> dict[str, Any]:
    """examples/iris-forest.yaml as a document, to be changed."""
    return copy.deepcopy(read_file(EXAMPLES / "iris-forest.yaml"))


@pytest.fixture
def breast_cancer_svc() -> dict[str, Any]:
    """examples/breast-cancer-svc.yaml as a document, to be changed."""
    return copy.deepcopy(read_file(EXAMPLES / "breast-cancer-svc.yaml"))


def pytest_collection_finish() -> None:
    """What is imported by now stays: to look through all of it for garbage, again and again, took a tenth of the time."""
    gc.collect()
    gc.freeze()
