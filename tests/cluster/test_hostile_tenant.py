"""What took the product from all tenants before, case by case, on a real cluster, with the operator's pod deleted in the midst.

Meanwhile an honest search of another namespace goes on, and its results are scikit-learn's to the bit. The same without nodes, many
more of them and made up: tests/operator/test_hostile.py and tests/chaos.
"""

import base64
import contextlib
import hashlib
import hmac
import http.client
import itertools
import json
import os
import ssl
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import pytest

from tests.cluster import patient
from tests.cluster.harness import release as chart
from tests.cluster.harness.client import Cluster, temporary_namespace
from tests.cluster.harness.release import Release
from tests.cluster.people import person, port_forward, write_authority
from tests.cluster.test_search import assert_equal_to_scikit_learn, is_complete
from tests.cluster.tuningjobs import TuningJobs, small_pod
from tests.journal.makers import Pod, a_preflight, an_answer
from tests.operator.test_hostile import wide
from tuningjob.protocol.records import Answer
from tuningjob.remote.worker import HttpSearchJournal
from tuningjob_operator import tokens

pytestmark = pytest.mark.cluster

Document = dict[str, Any]
TUNINGJOBS: Final = "/apis/tuningjob.dev/v1alpha1/namespaces/{}/tuningjobs"
# An honest TuningJob has its first status within this, kubectl's own second among it; after a restart, when the pod is ready.
PROMPT_SECONDS: Final = 5.0
NUMBERS: Final = itertools.count()
SMALL: Final[Document] = {
    "estimator": {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}},
    "search": {"grid": {"parameters": {"max_depth": [1, 2]}}},
    "crossValidation": {"folds": 2},
    "data": {"loader": "sklearn.datasets.load_iris"},
    "resources": {"cpu": "100m", "memory": "400Mi"},
    "baseline": False,
}


@dataclass
class Tenants:
    """A hostile one and an honest one, each in a namespace of their own."""

    cluster: Cluster
    release: Release
    evil: TuningJobs
    honest: TuningJobs
    folder: Path

    # --- the hostile one ---

    def posts(self, value: bytes) -> str:
        """Create a TuningJob with this JSON as a parameter of its estimator; its name."""
        name = f"case-{next(NUMBERS)}"
        body = document(name, estimator={"class": "sklearn.svm.SVC", "params": {"class_weight": "HERE"}})
        text = json.dumps(body).replace('"HERE"', value.decode())
        self.cluster.kubectl("create", "--raw", TUNINGJOBS.format(self.evil.namespace), "-f", "-", stdin=text)
        return name

    def opens(self) -> tuple[str, str]:
        """Name, and token, of a search of the hostile one's that waits for its pods: what they would say can be said for them."""
        name = f"case-{next(NUMBERS)}"
        self.evil.apply(document(name, suspend=True))
        self.evil.wait_for(name, lambda status: status.get("phase") == "Suspended")
        return name, self.token(name)

    def token(self, name: str) -> str:
        """That of a search, by the key that the release has now."""
        return tokens.issue(tokens.Keys(self.key()), self.evil.get(name)["metadata"]["uid"])

    def key(self) -> bytes:
        """The signing key of the release."""
        found = self.cluster.get("secret", f"{self.release.name}-signing-key", namespace=self.release.namespace)
        assert found is not None
        return base64.b64decode(found["data"][tokens.CURRENT_KEY_FILE])

    @contextlib.contextmanager
    def worker(self, token: str) -> Iterator[HttpSearchJournal]:
        """A worker with this token, who does not wait for a service that is not there."""
        ca_file = write_authority(self.cluster, self.folder / "ca.crt")
        with (
            port_forward(self.cluster, self.release) as server,
            HttpSearchJournal(server, token, ca_file=ca_file, patience_seconds=30) as client,
        ):
            yield client

    def says(self, token: str, path: str, body: bytes, **headers: str) -> int:
        """POST of what no worker of ours would send; the status of the answer."""
        with self.plain(token) as client:
            return client.post(path, content=body, headers=headers).status_code

    def announces(self, token: str, path: str, size_bytes: int) -> int:
        """The head of a PUT, and no body; the status of the answer."""
        context = ssl.create_default_context(cafile=write_authority(self.cluster, self.folder / "ca.crt"))
        with port_forward(self.cluster, self.release) as server:
            address = server.removeprefix("https://")
            with contextlib.closing(http.client.HTTPSConnection(address, timeout=60, context=context)) as connection:
                connection.putrequest("PUT", path)
                connection.putheader("Authorization", f"Bearer {token}")
                connection.putheader("X-Content-Sha256", "0" * 64)
                connection.putheader("Content-Length", str(size_bytes))
                connection.endheaders()
                return connection.getresponse().status

    @contextlib.contextmanager
    def plain(self, token: str) -> Iterator[httpx.Client]:
        """A plain client with this token."""
        with (
            port_forward(self.cluster, self.release) as server,
            httpx.Client(
                base_url=server,
                headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
                verify=False,  # this machine's own port
                trust_env=False,
                timeout=60,
            ) as client,
        ):
            yield client

    def is_refused(self, name: str) -> None:
        """Wait until the hostile one is told."""
        self.evil.wait_for_failure(name)
        assert self.evil.condition(name, "Failed")["reason"] == "ManifestRefused"

    # --- everybody else ---

    def restart(self) -> None:
        """Delete the operator's pod, and wait for the next one."""
        self.look_at_containers()
        selector = ("-l", self.evil.operator_pods)
        before = {pod["metadata"]["uid"] for pod in self.operator_pods()}
        self.cluster.kubectl("delete", "pod", *selector, namespace=self.release.namespace)

        def is_back() -> bool:
            new = [pod for pod in self.operator_pods() if pod["metadata"]["uid"] not in before]
            ready = [each for pod in new for each in pod["status"].get("conditions", []) if each["type"] == "Ready"]
            return [each["status"] for each in ready] == ["True"]

        self.cluster.wait_for("the operator's next pod", is_back, namespace=self.release.namespace)

    def operator_pods(self) -> list[Document]:
        return self.cluster.items("pods", "-l", self.evil.operator_pods, namespace=self.release.namespace)

    def look_at_containers(self) -> None:
        """No container of the release has ended by itself."""
        for pod in self.operator_pods():
            for container in pod["status"].get("containerStatuses", []):
                assert (container["restartCount"], container.get("lastState", {})) == (0, {}), container

    def are_served(self) -> None:
        """The honest one's next TuningJob has its status soon, and nothing has ended."""
        name = f"served-{next(NUMBERS)}"
        began = time.monotonic()
        self.honest.apply(document(name, suspend=True))
        self.honest.wait_for(name, lambda status: status.get("phase") == "Suspended")
        # a machine that runs other tests, too, is as many times slower as it has more to do than it can
        busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        assert time.monotonic() - began < PROMPT_SECONDS * busy
        self.look_at_containers()


def document(name: str, **spec: Any) -> Document:
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": name},
        "spec": {**SMALL, **spec},
    }


def complete(worker: HttpSearchJournal, files: Path | None = None, answer: Answer | None = None) -> int:
    """Do a search's work as its pods would; the version that it has become."""
    worker.set_preflight(a_preflight())
    Pod(worker).work()
    if files is not None:
        worker.upload_all(files)
    return worker.complete(answer or an_answer(best_index=0, best_params={"max_depth": 1}))


@pytest.fixture(scope="module")
def tenants(cluster: Cluster, release: Release, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tenants]:
    """With an honest search that goes on through all of the cases, and is looked at when they are over."""
    with (
        temporary_namespace(cluster, f"evil-{os.getpid()}") as evil,
        temporary_namespace(cluster, f"honest-{os.getpid()}") as honest,
    ):
        folder = tmp_path_factory.mktemp("tenants")
        found = Tenants(
            cluster, release, TuningJobs(cluster, release, evil), TuningJobs(cluster, release, honest), folder
        )
        yield found


@pytest.fixture(scope="module", autouse=True)
def through_it_all(tenants: Tenants) -> Iterator[None]:
    jobs = tenants.honest
    search = document(
        "forest",
        crossValidation={"folds": 5},
        resources=small_pod(),
        parallelism=1,
        # ten minutes: longer than all of the cases
        **patient.forest(most_leaves=44, pause_seconds=3),
    )
    jobs.apply(patient.code(), search)
    jobs.wait_for_fits("forest", 3)
    yield
    assert not is_complete(jobs.status("forest")), "it ended before the cases did"
    jobs.finish("forest")
    assert jobs.report_counts("forest") == {1: 200}
    assert_equal_to_scikit_learn(jobs, search)
    tenants.look_at_containers()


# --- what the hostile one does before the operator's pod is deleted -----------------------------------------------------


EVIL: Final = b"EVIL PICKLE"


def empties_and_names() -> Iterator[bytes]:
    """Reports that are many times larger in memory."""
    yield b'{"index":0,"results":[' + b",".join([b'{"":0}'] * 1_100_000) + b"]}"
    yield b'{"index":0,"results":[' + b",".join([b"[]"] * 2_500_000) + b"]}"
    cell = {"candidate": 0, "split": 0, "fit_seconds": 0, "score_seconds": 0, "test_samples": 1}
    yield json.dumps({"index": 0, "results": [{**cell, "test_scores": {"x" * 7_000_000: 0}}]}).encode()


def reports(tenants: Tenants, token: str) -> list[int]:
    return [tenants.says(token, "/v1/cells", body) for body in empties_and_names()]


def fills(tenants: Tenants, token: str) -> int:
    # what is announced is believed: not a byte of it is waited for
    return tenants.announces(token, "/v1/artifacts/model.joblib", 9 * 2**30)


def replaces_a_model(tenants: Tenants, token: str) -> httpx.Response:
    """All of it but the last byte, which comes when the search is complete with another one."""
    honest = tenants.folder / "model.joblib"
    honest.write_bytes(b"honest")
    with tenants.plain(token) as client, tenants.worker(token) as worker:

        def all_but_the_last_byte_and_then_that() -> Iterator[bytes]:
            yield EVIL[:-1]
            worker.set_preflight(a_preflight())
            Pod(worker).work()
            worker.upload("model.joblib", honest)
            worker.complete(an_answer(best_index=0, best_params={"max_depth": 1}))
            yield EVIL[-1:]

        return client.put(
            "/v1/artifacts/model.joblib",
            content=all_but_the_last_byte_and_then_that(),
            headers={"X-Content-Sha256": hashlib.sha256(EVIL).hexdigest()},
        )


def old_token(tenants: Tenants, name: str) -> str:
    """As it was issued 31 days ago, to end a day before today."""
    uid = tenants.evil.get(name)["metadata"]["uid"]
    claims = json.dumps({"search": uid, "expires": int(time.time()) - 86_400}).encode()
    payload = base64.urlsafe_b64encode(claims).rstrip(b"=").decode()
    signature = hmac.digest(tenants.key(), f"tj1.{payload}".encode(), hashlib.sha256)
    return f"tj1.{payload}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def hands_in_150_megabytes(tenants: Tenants) -> list[str]:
    """24 MB of result files for each of six searches; their names."""
    folder = tenants.folder / "files"
    folder.mkdir()
    for file in ("best_params.json", "leaderboard.csv", "cv_results.csv"):
        (folder / file).write_bytes(os.urandom(8 * 2**20))
    names = []
    for _ in range(6):
        name, token = tenants.opens()
        with tenants.worker(token) as worker:
            complete(worker, folder)
        names.append(name)
    return names


@dataclass(frozen=True)
class Sent:
    """What the hostile one has sent, by the names of its TuningJobs, and how the service has answered."""

    nested: str
    wide: list[str]
    answered: int
    version: int
    late: str
    refused_late: httpx.Response
    reporter: str
    reported: list[int]
    filler: str
    filled: int
    old: str
    large: list[str]


@pytest.fixture(scope="module")
def sent(tenants: Tenants) -> Sent:
    """All of it, and the operator's pod is deleted in the midst: the next one meets it all at once, and serves.

    Another one meets what is left when the TuningJob with the large answer is gone.
    """
    nested = tenants.posts(b"[" * 985 + b"1" + b"]" * 985)
    of_a_megabyte = [tenants.posts(wide(item, 1_000_000)) for item in (b'{"a":0}', b"[]", b"0")]

    answering, token = tenants.opens()
    answer = json.dumps({"best_params": {"a": [0] * 6_000_000}}).encode()
    answered = tenants.says(token, "/v1/complete", answer)
    # as much as is taken is no more than can be shown
    with tenants.worker(token) as worker:
        version = complete(worker, answer=an_answer(best_index=0, best_params={"a": ["x" * 1_000] * 60}))

    late, token = tenants.opens()
    refused_late = replaces_a_model(tenants, token)
    reporter, token = tenants.opens()
    reported = reports(tenants, token)
    filler, token = tenants.opens()
    filled = fills(tenants, token)
    old, _ = tenants.opens()
    with tenants.worker(old_token(tenants, old)) as worker:
        worker.set_preflight(a_preflight())
    large = hands_in_150_megabytes(tenants)

    tenants.restart()
    tenants.are_served()
    tenants.evil.wait_for(answering, is_complete)
    tenants.cluster.kubectl("delete", "tj", answering, namespace=tenants.evil.namespace)
    tenants.restart()
    tenants.are_served()
    return Sent(
        nested=nested,
        wide=of_a_megabyte,
        answered=answered,
        version=version,
        late=late,
        refused_late=refused_late,
        reporter=reporter,
        reported=reported,
        filler=filler,
        filled=filled,
        old=old,
        large=large,
    )


# --- and what comes of it -----------------------------------------------------------------------------------------------


def test_a_manifest_that_is_nested_985_deep(tenants: Tenants, sent: Sent) -> None:
    tenants.is_refused(sent.nested)


def test_a_manifest_of_a_megabyte(tenants: Tenants, sent: Sent) -> None:
    for name in sent.wide:
        tenants.is_refused(name)


def test_an_answer_of_twelve_megabytes(sent: Sent) -> None:
    assert sent.answered in {413, 422}
    assert sent.version == 1


def test_a_model_that_is_replaced_when_it_is_blessed(tenants: Tenants, sent: Sent, tmp_path: Path) -> None:
    assert sent.refused_late.status_code == 409, sent.refused_late.text
    tenants.evil.wait_for(sent.late, is_complete)
    with port_forward(tenants.cluster, tenants.release) as server:
        alice = person(tenants.cluster, tenants.evil.namespace, "alice", role="view", server=server)
        ended = alice.runs("download", sent.late, "--version", 1, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / f"{sent.late}-v1" / "model.joblib").read_bytes() == b"honest"


def test_a_report_that_is_many_times_larger_in_memory(tenants: Tenants, sent: Sent) -> None:
    assert set(sent.reported) <= {413, 422}
    assert set(reports(tenants, tenants.token(sent.reporter))) <= {413, 422}
    tenants.are_served()


def test_files_that_would_fill_the_volume(tenants: Tenants, sent: Sent) -> None:
    assert sent.filled in {413, 507}
    assert fills(tenants, tenants.token(sent.filler)) in {413, 507}
    tenants.are_served()


def test_a_signing_key_that_is_lost(tenants: Tenants) -> None:
    before = tenants.key()
    # another pod of the operator's comes with it. The release is left so: whose key signs is no matter to other tests
    chart.install(tenants.cluster, "signingKey.generation=lost", "signingKey.keepFormer=false")
    assert tenants.key() != before
    tenants.honest.wait_for_fits("forest", sum(tenants.honest.report_counts("forest").values()) + 2)
    tenants.are_served()


def test_a_token_older_than_those_of_former_releases_lived(tenants: Tenants, sent: Sent) -> None:
    with tenants.worker(old_token(tenants, sent.old)) as worker:
        Pod(worker).work()
        assert worker.complete(an_answer(best_index=0, best_params={"max_depth": 1})) == 1
    tenants.evil.wait_for(sent.old, is_complete)
    tenants.are_served()


def test_result_files_of_150_megabytes_at_once(tenants: Tenants, sent: Sent) -> None:
    for name in sent.large:
        tenants.evil.wait_for(name, is_complete)
