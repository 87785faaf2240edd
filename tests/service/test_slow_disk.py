"""A disk that does not answer: the files on it are pipes that nobody has written to.

They hold the threads for files of their namespace, and nothing else: neither claims, also of that namespace, nor another's files.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import pytest

from tests.journal.makers import Pod, a_preflight, a_search, an_answer
from tests.service.conftest import calling
from tests.service.server import Service
from tests.service.test_api import sha256
from tests.waiting import wait_for
from tuningjob_operator.service.room import FILES_AT_WORK, FILES_PER_NAMESPACE, PER_NAMESPACE, PER_SEARCH

pytestmark = pytest.mark.slow

NAME: Final = "model.joblib"
# Far more than a claim takes on a busy machine, and less than a request waits for its turn (PATIENCE_SECONDS).
PROMPT_SECONDS: Final = 5.0
# More than there are turns of any kind.
READERS: Final = PER_NAMESPACE + PER_SEARCH + FILES_AT_WORK


def finish(service: Service, search: str, namespace: str) -> None:
    """A search with one file, and its version."""
    service.journal.open_search(a_search(search, namespace=namespace))
    journal = service.journal.view(search)
    journal.set_preflight(a_preflight())
    Pod(journal).work()
    with httpx.Client(base_url=service.url, trust_env=False, timeout=60) as http:
        headers = {**sha256(b"model"), "Authorization": f"Bearer {service.token(search)}"}
        assert http.put(f"/v1/artifacts/{NAME}", content=b"model", headers=headers).status_code == 200
    journal.complete(an_answer())


@contextmanager
def not_answering(file: Path, http: httpx.Client, path: str) -> Iterator[None]:
    """The disk does not give this file, for which many ask at once; until it gives nothing of it."""
    file.rename(file.with_suffix(".kept"))
    os.mkfifo(file)
    writers: list[int] = []

    def is_waited_for() -> bool:
        with suppress(OSError):  # nobody reads it
            writers.append(os.open(file, os.O_WRONLY | os.O_NONBLOCK))
        return bool(writers)

    with ThreadPoolExecutor(READERS) as threads:
        asked = [threads.submit(http.get, path) for _ in range(READERS)]
        try:
            wait_for(is_waited_for, seconds=30)
            yield
        finally:
            # in this order: nobody opens a pipe that has no writer any more
            file.with_suffix(".kept").rename(file)
            for writer in writers:
                os.close(writer)
    assert {each.result().status_code for each in asked} <= {200, 409, 503}


@pytest.mark.parametrize("who", ["a worker", "a person"])
def test_a_disk_that_does_not_answer_holds_the_files_of_a_namespace_and_nothing_else(
    service: Service, tmp_path: Path, who: str
) -> None:
    assert FILES_PER_NAMESPACE < FILES_AT_WORK
    finish(service, "search-slow", "team")
    finish(service, "search-other", "other")
    person = service.register.enter("bob", "get"), service.register.enter("eve", "get", namespace="other")
    path = "/v1/namespaces/{}/models/forest/versions/1/artifacts/" + NAME
    file = tmp_path / "artifacts" / "search-slow" / NAME
    for asker in calling(service, service.token("search-slow") if who == "a worker" else person[0]):
        with not_answering(file, asker, f"/v1/artifacts/{NAME}" if who == "a worker" else path.format("team")):
            for neighbour in calling(service, person[1]):
                assert neighbour.get(path.format("other"), timeout=PROMPT_SECONDS).content == b"model"
            for own in calling(service, service.token("search-a")):
                for _ in range(PER_NAMESPACE + 1):
                    answer = own.post("/v1/claims", json={"index": 0, "slots": 1}, timeout=PROMPT_SECONDS)
                    assert answer.status_code == 200
