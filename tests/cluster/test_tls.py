"""TLS comes to a release that had none, as by an upgrade, in the middle of a search; and certificates are renewed under it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster import patient
from tests.cluster.harness import release as chart
from tests.cluster.harness.client import Cluster
from tests.cluster.harness.release import Release
from tests.cluster.test_search import assert_equal_to_scikit_learn
from tests.cluster.tuningjobs import TuningJobs

pytestmark = pytest.mark.cluster


@pytest.fixture
def in_clear(cluster: Cluster, release: Release) -> Iterator[Release]:
    """The session's release, without TLS; and back at the end."""
    chart.install(cluster, "tls.enabled=false")
    yield release
    chart.install(cluster)


def test_a_search_that_began_in_clear_goes_on_with_tls_and_lives_through_renewals(
    in_clear: Release, jobs: TuningJobs, slow_forest: dict[str, Any]
) -> None:
    slow_forest["spec"].update(patient.forest(most_leaves=34, pause_seconds=1))
    jobs.apply(slow_forest)
    jobs.wait_for_fits("forest", 4)
    (before,) = jobs.cluster.items("jobs", namespace=jobs.namespace)
    # certificates of 15 seconds, another one each 10
    chart.install(jobs.cluster, "tls.days=0.000175")

    def renewals() -> int:
        words = ("logs", f"deployment/{in_clear.name}", "-c", "results")
        logs = jobs.cluster.kubectl(*words, namespace=in_clear.namespace)
        return logs.count("made a certificate that is good until") - 1

    jobs.cluster.wait_for("the second renewal", lambda: renewals() >= 2, namespace=in_clear.namespace)
    jobs.wait_for_fits("forest", sum(jobs.report_counts("forest").values()) + 1)
    status = jobs.finish("forest")

    assert status["progress"]["failed"] == 0
    # nothing that was finished before was fitted again
    assert jobs.report_counts("forest") == {1: 150}
    assert_equal_to_scikit_learn(jobs, slow_forest)
    events = jobs.cluster.items("events", namespace=jobs.namespace)
    assert "ServiceMoved" in {event["reason"] for event in events}
    (after,) = jobs.cluster.items("jobs", namespace=jobs.namespace)
    assert after["metadata"]["uid"] != before["metadata"]["uid"]
