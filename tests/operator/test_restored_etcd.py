"""Etcd is restored to an earlier day while the operator works, on a real API server with a real etcd.

Objects are older than the operator knows them then, their versions are smaller than the ones that it has seen, and some that it
looks after were never created.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.operator.process import OperatorProcess, prepare, running
from tests.operator.world import manifest
from tests.servers import apiserver
from tests.servers.apiserver import ApiServer, Refused
from tests.waiting import wait_for
from tuningjob.journal.sql import SqlJournal

ROOT: Final = Path(__file__).parents[2]
TUNINGJOBS: Final = "/apis/tuningjob.dev/v1alpha1/namespaces/default/tuningjobs"
JOBS: Final = "/apis/batch/v1/namespaces/default/jobs"
RESYNC_SECONDS: Final = 3

pytestmark = pytest.mark.slow


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with apiserver.running("operator") as found:
        prepare(found)
        yield found


@pytest.fixture
def operator(server: ApiServer, tmp_path: Path) -> Iterator[OperatorProcess]:
    with running(server, tmp_path, "operator", TUNINGJOB_RESYNC_SECONDS=str(RESYNC_SECONDS)) as process:
        wait_for(process.is_healthy, seconds=60)
        yield process


def found_at(server: ApiServer, path: str) -> dict[str, Any] | None:
    with contextlib.suppress(Refused):
        return server.call("GET", path)
    return None


def created(server: ApiServer, name: str, **spec: Any) -> str:
    """A TuningJob whose Job the operator has made; returns its uid."""
    uid: str = server.create_object(TUNINGJOBS, manifest(name, **spec))["metadata"]["uid"]
    wait_for(lambda: found_at(server, f"{JOBS}/{name}") is not None, seconds=30, what=f"a Job of {name}")
    return uid


def is_suspended(server: ApiServer, name: str) -> bool:
    job = found_at(server, f"{JOBS}/{name}")
    return job is not None and bool(job["spec"].get("suspend"))


def suspend(server: ApiServer, name: str, *, suspended: bool) -> None:
    wait_for(lambda: is_told(server, name, suspended=suspended), seconds=30)
    wait_for(lambda: is_suspended(server, name) == suspended, seconds=60, what=f"its Job to be suspended: {suspended}")


def is_told(server: ApiServer, name: str, *, suspended: bool) -> bool:
    """Whether the change was taken; the operator may have written the status since the object was read."""
    body = server.call("GET", f"{TUNINGJOBS}/{name}")
    body["spec"]["suspend"] = suspended
    with contextlib.suppress(Refused):
        server.call("PUT", f"{TUNINGJOBS}/{name}", body)
        return True
    return False


def searches(operator: OperatorProcess) -> set[str]:
    """Those that the journal holds open for a TuningJob, by its uid."""
    with contextlib.closing(SqlJournal(f"sqlite:///{operator.folder / 'tuning.db'}")) as journal:
        return set(journal.places(after="", most=1_000))


def test_the_operator_believes_what_it_finds_and_goes_on(server: ApiServer, operator: OperatorProcess) -> None:
    kept, doomed = created(server, "kept"), created(server, "doomed")
    backup = server.back_up()
    wait_for(lambda: found_at(server, f"{TUNINGJOBS}/kept") is not None, seconds=30)

    late = created(server, "late")
    suspend(server, "kept", suspended=True)
    server.call("DELETE", f"{TUNINGJOBS}/doomed")
    # nobody here deletes a Job because its TuningJob goes
    server.call("DELETE", f"{JOBS}/doomed?propagationPolicy=Background")
    wait_for(lambda: doomed not in searches(operator), seconds=30, what="its search to be ended")
    assert {kept, late} <= searches(operator)

    server.go_back_to(backup)

    wait_for(
        lambda: late not in searches(operator), seconds=60, what="the search of a TuningJob that never was to be ended"
    )
    # a change of what is older than what was known is seen, and so is one that was deleted before
    suspend(server, "kept", suspended=True)
    suspend(server, "kept", suspended=False)
    wait_for(lambda: doomed in searches(operator), seconds=30, what="the deleted one to be looked after again")
    # and a TuningJob whose version is below those that were seen
    again = created(server, "late")
    assert again != late
    assert {kept, doomed, again} <= searches(operator)
    assert operator.exit_code is None
