"""What a pod is told by its environment."""

from pathlib import Path

import pytest

from tuningjob.pod import Environment


@pytest.fixture
def given(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "token").write_text("tj1.token\n")
    return {
        "TUNINGJOB_RESULTS_URL": "https://results:8443",
        "TUNINGJOB_TOKEN_FILE": str(tmp_path / "token"),
        "JOB_COMPLETION_INDEX": "3",
        "TUNINGJOB_N_JOBS": "2",
    }


def test_the_authority_that_vouches_for_the_service_is_a_file(given: dict[str, str]) -> None:
    told = Environment.read(given | {"TUNINGJOB_CA_FILE": "/var/run/ca/ca.crt"})
    assert told == Environment("https://results:8443", "tj1.token", 3, 2, Path("/data"), Path("/var/run/ca/ca.crt"))


@pytest.mark.parametrize("nothing", [{}, {"TUNINGJOB_CA_FILE": ""}], ids=["unset", "empty"])
def test_without_one_it_is_the_systems(given: dict[str, str], nothing: dict[str, str]) -> None:
    assert Environment.read(given | nothing).ca_file is None


def test_the_containers_memory_and_the_pods_name_are_told_where_somebody_knows_them(given: dict[str, str]) -> None:
    told = Environment.read(given | {"TUNINGJOB_MEMORY_BYTES": "419430400", "TUNINGJOB_POD_NAME": "job-3-x7k2p"})
    assert (told.memory_bytes, told.pod_name) == (419_430_400, "job-3-x7k2p")
    assert (Environment.read(given).memory_bytes, Environment.read(given).pod_name) == (0, "")


def test_a_worker_is_named_by_its_pod_and_by_its_life(given: dict[str, str]) -> None:
    told = Environment.read(given | {"TUNINGJOB_POD_NAME": "job-3-x7k2p"})
    one, other = told.claimant(), told.claimant()
    assert one != other
    assert {one.partition(".")[0], other.partition(".")[0]} == {"job-3-x7k2p"}
