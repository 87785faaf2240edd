"""kill -9 of the results service, again and again, under a whole search of real pods: the answer is scikit-learn's."""

import os
import random
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from tests.pod.patient import FIT_SECONDS
from tests.pod.pods import SEARCH, Pods
from tests.service.process import Process
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob.journal.sql import SqlJournal
from tuningjob.manifest import load
from tuningjob.protocol.records import SearchState
from tuningjob.search.results import gather
from tuningjob_operator import tokens

if TYPE_CHECKING:
    from tests.service.server import Service

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("TUNINGJOB_KILLS", "6")) // 2  # test_crashes has the rest: here it is about the pods
PODS = 2


@dataclass
class Killable:
    """What ``Pods`` wants of a service, of one in a process of its own."""

    process: Process
    data: Path
    journal: SqlJournal

    @property
    def url(self) -> str:
        return self.process.url

    def token(self, search: str) -> str:
        key = tokens.read_keys(None, self.data / "signing.key")
        return tokens.issue(key, search)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Killable]:
    with (
        closing(SqlJournal(f"sqlite:///{tmp_path / 'tuning.db'}")) as journal,
        Process(tmp_path) as process,
    ):
        yield Killable(process, tmp_path, journal)


def test_a_search_through_kills_of_the_service_ends_with_scikit_learns_bits(
    service: Killable, tmp_path: Path, iris_forest: dict[str, Any]
) -> None:
    iris_forest["spec"]["estimator"] = {"class": "tests.pod.patient.Patient", "params": {"random_state": 0}}
    iris_forest["spec"]["search"]["grid"]["parameters"] = {
        "max_depth": {"range": [1, 9]},
        "min_samples_leaf": {"range": [1, 6]},
    }
    iris_forest["spec"]["returnTrainScore"] = True
    pods = Pods(cast("Service", service), tmp_path)
    pods.open(iris_forest, pods=PODS)
    service.process.start()
    at_work = [pods.start(index, **{FIT_SECONDS: "0.4"}) for index in range(PODS)]
    try:
        chance, kills = random.Random(8), 0
        pods.until("the first cells", lambda: service.journal.progress(SEARCH).done > 0)
        while kills < KILLS:
            done = service.journal.progress(SEARCH).done
            # every third time it lives until something is taken in; else it dies at any moment of its start or its work
            if kills % 3 == 0:
                pods.until("it takes more in", lambda done=done: service.journal.progress(SEARCH).done > done)
            time.sleep(chance.uniform(0, 0.6))
            assert service.journal.view(SEARCH).search().state is SearchState.RUNNING, (
                "all was done before the last kill"
            )
            service.process.kill()
            service.process.start()
            kills += 1
        pods.hurry()
        for code, said in map(pods.wait, at_work):
            assert code == 0, said
    finally:
        for each in at_work:
            each.kill()
            each.communicate()
    problem, want = sklearn_search_of(load(iris_forest).spec)
    assert service.journal.view(SEARCH).search().state is SearchState.COMPLETE
    assert_equal_to_the_bit(gather(problem, service.journal.view(SEARCH).results()).cv_results, want.cv_results_)
    # a report whose reply was lost is sent again; nothing is fitted again, and no pod was taken for dead
    assert service.journal.progress(SEARCH).failed == 0
    assert len(service.journal.audit.history(namespace="team", model_key="job")) == 1
