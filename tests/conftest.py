"""What all tests share: the thread caps and kernels, before anything imports numpy; and manifests to start from."""

import os

from tuningjob.threads import cap_threads

cap_threads()

# Pods let OpenBLAS choose its kernels by the processor. Tests hold them to scikit-learn in this process, to the bit: it must
# choose in the same way, so a shell's own choice (OPENBLAS_CORETYPE, OPENBLAS_L2_SIZE) does not count here.
for _name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(_name, None)

# ruff: noqa: E402
import copy
import functools
import gc
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest

from tests.memory import temporary_folder
from tuningjob.engine.processes import threads
from tuningjob.manifest.canonical import read_file

# the real servers, each started when the first test asks for it
pytest_plugins = ["tests.servers.postgres", "tests.servers.buckets"]

# How long an example takes is the machine's business: a busy one must not fail a test. The examples are the same in each run, so
# that what was green stays green; who asks for a number of them (TUNINGJOB_EXAMPLES) hunts, and gets others each time.
hypothesis.settings.register_profile(
    "tuningjob",
    deadline=None,
    derandomize="TUNINGJOB_EXAMPLES" not in os.environ,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("tuningjob")

ROOT = Path(__file__).parent.parent
EXAMPLES = ROOT / "examples"


@pytest.fixture(scope="session")
def examples() -> Path:
    """The folder of the example manifests."""
    return EXAMPLES


def example(name: str) -> dict[str, Any]:
    """A manifest of the examples, the caller's own."""
    return copy.deepcopy(_read(EXAMPLES / name))


_read: Final[Callable[[Path], dict[str, Any]]] = functools.cache(read_file)


@pytest.fixture
def iris_forest() -> dict[str, Any]:
    """examples/iris-forest.yaml as a document, to be changed; without a baseline, so that its fits are those of its grid."""
    document = example("iris-forest.yaml")
    document["spec"]["baseline"] = False
    return document


@pytest.fixture
def breast_cancer_svc() -> dict[str, Any]:
    """examples/breast-cancer-svc.yaml as a document, to be changed."""
    return example("breast-cancer-svc.yaml")


@pytest.fixture(scope="module", autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    """A module ends the threads that it started: in a process with threads, the engine forks nothing for the modules after it."""
    before = threads()
    yield
    # not imported here: what no test has used is not there to be ended
    if (loky := sys.modules.get("joblib.externals.loky.reusable_executor")) is not None and loky._executor is not None:
        loky._executor.shutdown(wait=True, kill_workers=True)
    deadline = time.monotonic() + 10
    # a thread that Python has joined is the kernel's for a moment longer
    while (left := {number: name for number, name in threads().items() if number not in before}) and (
        time.monotonic() < deadline
    ):
        time.sleep(0.01)
    assert not left, f"these threads were left behind (Python's: {threading.enumerate()}): {left}"


def pytest_configure(config: pytest.Config) -> None:
    """``tmp_path`` lies where no commit waits for the disk, unless ``--basetemp`` says another place.

    And Ctrl-C is heard, also by tests that a shell runs in the background, which has its children ignore it.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.option.basetemp is None:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(temporary_folder()))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of a test's cases that are ``alike`` all but the first are slow."""
    for item in items:
        if item.get_closest_marker("alike") is not None and not is_first_case(item):
            item.add_marker(pytest.mark.slow)


def is_first_case(item: pytest.Item) -> bool:
    """Whether a test has the first value of each of its parameters."""
    cases = getattr(item, "callspec", None)
    return cases is None or not any(cases.indices.values())


def pytest_collection_finish() -> None:
    """What is imported by now stays: to look through all of it for garbage, again and again, took a tenth of the time."""
    gc.collect()
    gc.freeze()
