"""The operator's memory does not grow with what a cluster holds: the real one, on a real API server.

By small limits, so that a few hundred TuningJobs are far beyond them; benchmarks/memory.py has twenty thousand.
"""

from pathlib import Path

import pytest

from benchmarks.memory import create
from tests.operator.process import OperatorProcess, prepare, running
from tests.servers import apiserver
from tests.waiting import wait_for

pytestmark = pytest.mark.slow

LIMITS = {"TUNINGJOB_MAX_TUNINGJOBS_PER_NAMESPACE": "10", "TUNINGJOB_MAX_TUNINGJOBS": "15"}
TUNINGJOBS = "/apis/tuningjob.dev/v1alpha1/namespaces/evil/tuningjobs"
# Of a process that has seen one page of a list more than another.
NOISE_BYTES = 12 * 2**20


def life(process: OperatorProcess, *, beyond: int) -> int:
    """Until it has looked at all of them; returns the most bytes that it held."""
    wait_for(lambda: process.metric("tuningjob_beyond") == beyond, seconds=120)
    wait_for(lambda: process.metric("tuningjob_queue_depth") == 0, seconds=120)
    assert process.exit_code is None
    return process.peak_bytes


def test_the_operator_needs_no_more_memory_for_many_more_tuningjobs_than_it_looks_after(tmp_path: Path) -> None:
    with apiserver.running("operator") as server:
        prepare(server, "evil")
        create(server, range(10), namespaces=("evil",), kib=7)
        with running(server, tmp_path, "operator", **LIMITS) as process:
            few = life(process, beyond=0)
        create(server, range(10, 600), namespaces=("evil",), kib=7)
        with running(server, tmp_path, "operator", **LIMITS) as process:
            many = life(process, beyond=590)
            # those that were admitted before still are, and another has its turn when one of them goes
            server.call("DELETE", f"{TUNINGJOBS}/job-000003")
            wait_for(lambda: any(line["message"] == "deleted the search" for line in process.lines()), seconds=30)
            wait_for(lambda: process.metric('tuningjob_tuningjobs{phase="Pending"}') == 10, seconds=30)
        assert many < few + NOISE_BYTES, (many, few)
