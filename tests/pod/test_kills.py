"""A pod that is killed at any moment, with the real results service: every cell finished a second before is kept."""

import os
import random
import signal
import time
from typing import Any

import pytest

from tests.pod.pods import SEARCH, Pods
from tests.search.nearest import FIT_SECONDS, LATEST_SECONDS, LOG, SEARCHES, Log
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob.manifest import load
from tuningjob.manifest.wellknown import ENV_POD_NAME
from tuningjob.search.results import gather

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", SEARCHES)
def test_a_pod_killed_at_random_loses_a_second_and_what_it_had_in_flight(pods: Pods, name: str) -> None:
    document: dict[str, Any] = SEARCHES[name]
    pods.open(document, pods=1)
    chance = random.Random(name)
    journal = pods.service.journal
    before = 0
    for life in range(2):
        path = pods.folder / f"{life}.log"
        pod = pods.start(0, TUNINGJOB_N_JOBS="2", **{FIT_SECONDS: "0.08", LOG: str(path), ENV_POD_NAME: f"pod-{life}"})
        log = Log(path, pod.pid)
        pods.until("a fit", lambda log=log: log.finished(time.monotonic()))
        time.sleep(chance.uniform(0.5, 3.0))
        moment = time.monotonic()
        os.killpg(pod.pid, signal.SIGKILL)
        pods.wait(pod)
        journal.pardon(
            SEARCH, [f"pod-{life}"]
        )  # as the operator does: it was deleted, and died of nothing that it was at
        counts = journal.report_counts(SEARCH)
        done = counts.get(1, 0)
        assert sum(counts.values()) == done, "no cell was fitted twice"
        assert done - before >= log.finished(moment - LATEST_SECONDS)
        before = done
    assert pods.wait(pods.start(0, TUNINGJOB_N_JOBS="2"))[0] == 0
    problem, want = sklearn_search_of(load(document).spec)
    assert_equal_to_the_bit(gather(problem, journal.view(SEARCH).results()).cv_results, want.cv_results_)
