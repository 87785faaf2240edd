"""The team's memory on a real cluster: who made a version, who may see it, bless it, download it; and cells are reused."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_iris

from tests.cluster.harness.client import Cluster
from tests.cluster.harness.release import Release
from tests.cluster.people import Person, person, port_forward, write_authority
from tests.cluster.test_search import assert_equal_to_scikit_learn, is_complete
from tests.cluster.tuningjobs import TuningJobs, all_at_once, small_pod
from tests.truth import sklearn_search_of
from tuningjob.artifacts.downloads import load_model
from tuningjob.manifest import load

pytestmark = pytest.mark.cluster

Document = dict[str, Any]
Introduce = Callable[..., Person]


@pytest.fixture(scope="module")
def jobs(cluster: Cluster, release: Release) -> Iterator[TuningJobs]:
    """Of one namespace for all of these tests: each has a search and a model key of its own there."""
    with all_at_once(cluster, release, "audit") as found:
        yield found


@pytest.fixture(scope="module")
def server(cluster: Cluster, release: Release) -> Iterator[str]:
    """The results service, as docs/audit.md says that one reaches it."""
    with port_forward(cluster, release) as url:
        yield url


@pytest.fixture(scope="module")
def introduce(jobs: TuningJobs, server: str) -> Introduce:
    """Somebody of the namespace, in a role. Who edits has a token that is good for the results service alone."""
    audiences = {"edit": "tuningjob"}
    return lambda name, *, role: person(
        jobs.cluster, jobs.namespace, name, role=role, server=server, audience=audiences.get(role)
    )


@pytest.fixture(scope="module")
def alice(introduce: Introduce) -> Person:
    """An editor of the namespace."""
    return introduce("alice", role="edit")


@pytest.fixture(scope="module")
def begun(alice: Person, request: pytest.FixtureRequest) -> Iterator[Document]:
    """What Alice searches, for each of the tests that are run, all at once: their pods would be waited for one after the other."""
    mine = [item for item in request.session.items if item.path == request.path]
    asking = [item for item in mine if "trees" in getattr(item, "fixturenames", ())]
    documents = [
        a_search(f"trees-{number}", depths=[1, 2, 3, 4], modelKey=f"flowers-{number}") for number in range(len(asking))
    ]
    alice.applies({"apiVersion": "v1", "kind": "List", "items": documents})
    return iter(documents)


@pytest.fixture
def trees(begun: Iterator[Document], jobs: TuningJobs) -> Document:
    """A search of four candidates, which Alice has made and which is complete; its model key is not its name."""
    document = next(begun)
    jobs.wait_for(name_of(document), is_complete)
    return document


def name_of(document: Document) -> str:
    return str(document["metadata"]["name"])


def key_of(document: Document) -> str:
    return str(document["spec"]["modelKey"])


def a_search(name: str, *, depths: list[int], **more: Any) -> Document:
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": name},
        "spec": {
            "estimator": {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}},
            "search": {"grid": {"parameters": {"max_depth": depths}}},
            "data": {"loader": "sklearn.datasets.load_iris"},
            "resources": small_pod("500m", "512Mi"),
            "parallelism": 1,
            "modelKey": "flowers",
            **more,
        },
    }


def test_a_version_has_its_maker_its_blessings_and_its_files_from_the_first_to_the_last(
    jobs: TuningJobs, trees: Document, alice: Person, introduce: Introduce, tmp_path: Path
) -> None:
    bob, flowers = introduce("bob", role="view"), key_of(trees)
    problem, want = sklearn_search_of(load(trees).spec)

    # who may look sees who made it, and may do no more
    ended = bob.runs("history", flowers, "--json", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    (row,) = json.loads(ended.stdout)
    assert (row["version"], row["created_by"]) == (1, alice.username)
    assert (row["score"], row["best_params"]) == (want.best_score_, want.best_params_)
    assert row["image"] == jobs.cluster.worker_image
    ended = bob.runs("bless", flowers, 1, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (3, "")
    assert "update" in ended.stderr
    assert bob.username in ended.stderr

    # who may change what is there, puts it into use, under her own name
    assert bob.runs("params", flowers, cwd=tmp_path).returncode == 2
    ended = alice.runs("bless", flowers, 1, "--why", "the first", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert json.loads(bob.runs("params", flowers, cwd=tmp_path).stdout) == want.best_params_
    (blessing,) = json.loads(bob.runs("blessings", flowers, "--json", cwd=tmp_path).stdout)
    assert (blessing["to_version"], blessing["who"], blessing["why"]) == (1, alice.username, "the first")

    # its files outlive the TuningJob, because it was blessed; they are what scikit-learn would have made
    jobs.cluster.kubectl("delete", "tj", name_of(trees), "--timeout=120s", namespace=jobs.namespace)
    ended = bob.runs("download", flowers, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    model = load_model(tmp_path / f"{flowers}-v1" / "model.joblib")
    X = load_iris(return_X_y=True)[0]
    assert model.predict_proba(X).tobytes() == want.best_estimator_.predict_proba(X).tobytes()
    search = load_model(tmp_path / f"{flowers}-v1" / "search.joblib")
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], want.cv_results_["mean_test_score"])
    assert problem.data.samples == len(X)


def test_an_extended_grid_reuses_what_is_known_and_the_one_before_it_may_be_rolled_back_to(
    jobs: TuningJobs, trees: Document, alice: Person, tmp_path: Path
) -> None:
    flowers = key_of(trees)
    more = a_search("more-trees", depths=[1, 2, 3, 4, 5, 6], modelKey=flowers, reuse=True)
    alice.applies(more)
    jobs.wait_for("more-trees", is_complete)

    assert jobs.status("more-trees")["progress"] == {
        "done": 35,
        "failed": 0,
        "total": 35,
        "reused": 25,
        "pruned": 0,
        "text": "35/35",
    }
    assert "25 reused" in jobs.condition("more-trees", "Complete")["message"], "the defaults are the same, too"
    assert jobs.report_counts("more-trees") == {0: 25, 1: 10}
    assert " over the defaults" in jobs.status("more-trees")["best"]["baseline"]["told"][0]
    assert_equal_to_scikit_learn(jobs, more)
    assert [jobs.status(name)["modelVersion"] for name in (name_of(trees), "more-trees")] == [1, 2]

    for version in (1, 2):
        assert alice.runs("bless", flowers, version, cwd=tmp_path).returncode == 0
    ended = alice.runs("rollback", flowers, "--why", "too deep", cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert "version 1 is in use instead of 2" in ended.stdout
    acts = json.loads(alice.runs("blessings", flowers, "--json", cwd=tmp_path).stdout)
    assert [(each["act"], each["from_version"], each["to_version"]) for each in acts] == [
        ("bless", None, 1),
        ("bless", 1, 2),
        ("rollback", 2, 1),
    ]


def test_the_files_of_a_version_that_nobody_blessed_go_with_its_tuningjob_and_the_version_stays(
    jobs: TuningJobs, trees: Document, alice: Person, tmp_path: Path
) -> None:
    assert alice.runs("download", key_of(trees), "--version", 1, "--output", "before", cwd=tmp_path).returncode == 0
    jobs.cluster.kubectl("delete", "tj", name_of(trees), "--timeout=120s", namespace=jobs.namespace)

    def is_gone() -> bool:
        ended = alice.runs("download", key_of(trees), "--version", 1, "--output", "after", cwd=tmp_path)
        return ended.returncode == 2 and "must have files, but got none" in ended.stderr

    jobs.cluster.wait_for("the files are gone", is_gone)
    (row,) = json.loads(alice.runs("history", key_of(trees), "--json", cwd=tmp_path).stdout)
    assert row["created_by"] == alice.username


def test_nobody_sees_or_changes_what_is_in_another_namespace(
    jobs: TuningJobs, trees: Document, alice: Person, tmp_path: Path, server: str
) -> None:
    flowers = key_of(trees)
    assert alice.runs("history", flowers, cwd=tmp_path).returncode == 0
    stranger = person(jobs.cluster, "default", f"mallory-{jobs.namespace[-6:]}", role="edit", server=server)
    for words in (
        ["models"],
        ["history", flowers],
        ["params", flowers],
        ["bless", flowers, 1],
        ["download", flowers],
    ):
        ended = Person(jobs.cluster, jobs.namespace, stranger.name, stranger.token, server).runs(*words, cwd=tmp_path)
        assert (ended.returncode, ended.stdout) == (3, ""), words
        assert "tuningjobs" in ended.stderr
    # in a namespace of one's own the key is simply not there
    assert stranger.runs("history", flowers, cwd=tmp_path).returncode == 2
    nobody = Person(jobs.cluster, jobs.namespace, "nobody", "no-token", server)
    assert nobody.runs("history", flowers, cwd=tmp_path).returncode == 3


def test_a_process_that_serves_is_told_what_is_blessed_once(
    jobs: TuningJobs, trees: Document, alice: Person, tmp_path: Path, server: str
) -> None:
    flowers = key_of(trees)
    assert alice.runs("bless", flowers, 1, cwd=tmp_path).returncode == 0
    url = f"{server}/v1/namespaces/{jobs.namespace}/models/{flowers}/params"

    def ask(*headers: str) -> tuple[str, str]:
        words = [
            "curl",
            "--silent",
            "--show-error",
            "--cacert",
            str(write_authority(jobs.cluster, tmp_path / "ca.crt")),
        ]
        words += ["--dump-header", "-", "-H", f"Authorization: Bearer {alice.token}"]
        for header in headers:
            words += ["-H", header]
        said = subprocess.run([*words, url], capture_output=True, text=True, check=True, timeout=30).stdout
        head, _, body = said.partition("\n\n" if "\r" not in said else "\r\n\r\n")
        return head, body

    head, body = ask()
    assert json.loads(body)["params"] == json.loads(alice.runs("params", flowers, cwd=tmp_path).stdout)
    (tag,) = [line.partition(": ")[2] for line in head.splitlines() if line.lower().startswith("etag:")]
    head, body = ask(f"If-None-Match: {tag}")
    assert (head.split()[1], body) == ("304", "")
