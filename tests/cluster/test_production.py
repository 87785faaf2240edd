"""The chart as a team would run it: Postgres, a bucket, TLS; and each of them goes away in the middle of a search."""

import base64
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.cluster.harness import release as chart
from tests.cluster.harness.client import Cluster
from tests.cluster.harness.layout import HOST_ADDRESS
from tests.cluster.harness.release import Release
from tests.cluster.people import person, port_forward
from tests.cluster.test_search import assert_equal_to_scikit_learn, half_done, is_complete
from tests.cluster.tuningjobs import TuningJobs
from tests.servers import buckets, postgres
from tests.servers.buckets import BucketServer
from tests.servers.certificates import make_authority, make_certificate
from tests.servers.postgres import Postgres
from tuningjob.artifacts.downloads import load_model

pytestmark = pytest.mark.cluster

Document = dict[str, Any]
TLS, CREDENTIALS, DATABASE = "tls", "bucket", "database"


def test_files_may_be_on_a_claim_of_their_own(
    cluster: Cluster, jobs: TuningJobs, release: Release, iris_forest: Document, tmp_path: Path
) -> None:
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "models"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    cluster.apply(claim, namespace=release.namespace)
    iris_forest["spec"]["search"]["grid"]["parameters"] = {"n_estimators": [5], "max_depth": [1, 2]}
    try:
        chart.install(cluster, "artifacts.existingClaim=models")
        jobs.apply(iris_forest)
        jobs.wait_for("iris-forest", is_complete)
        with port_forward(cluster, release) as server:
            alice = person(cluster, jobs.namespace, "alice", role="view", server=server)
            (row,) = json.loads(alice.runs("history", "iris-forest", "--json", cwd=tmp_path).stdout)
            assert row["artifacts"] == f"file:///artifacts/{jobs.get('iris-forest')['metadata']['uid']}"
            ended = alice.runs("download", "iris-forest", "--version", 1, cwd=tmp_path)
            assert ended.returncode == 0, ended.stderr
        assert load_model(tmp_path / "iris-forest-v1" / "model.joblib").n_estimators == 5
    finally:
        chart.install(cluster)
        cluster.kubectl("delete", "pvc", "models", "--wait=false", namespace=release.namespace)


@dataclass(frozen=True)
class Production:
    """What the release stands on."""

    cluster: Cluster
    postgres: Postgres
    database: str
    bucket: BucketServer
    authority: Path

    def install(self, *settings: str) -> None:
        """Upgrade the release to it, with two replicas of which one operator works, and to the other values that are set."""
        chart.install(
            self.cluster,
            f"databaseSecret={DATABASE}",
            f"artifacts.url={self.bucket.url}/team",
            f"artifacts.credentialsSecret={CREDENTIALS}",
            f"tls.secretName={TLS}",
            "replicas=2",
            *settings,
        )

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Past the journal."""
        with psycopg.connect(self.postgres.url(self.database)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture(scope="module")
def production(
    own_nodes: None,  # noqa: ARG001  pods reach servers on this machine
    cluster: Cluster,
    release: Release,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Production]:
    """The session's release, upgraded to it; and back at the end."""
    folder = tmp_path_factory.mktemp("production")
    make_authority(folder, f"DNS:{release.name}-results.{release.namespace}.svc", "IP:127.0.0.1")
    make_certificate(folder)
    with (
        postgres.running(addresses=("127.0.0.1", HOST_ADDRESS)) as database_server,
        buckets.s3(folder / "s3", host=HOST_ADDRESS) as bucket,
    ):
        database = database_server.create_database()
        url = database_server.url(database, address=HOST_ADDRESS)
        pair = {name: (folder / name).read_bytes() for name in ("tls.crt", "tls.key", "ca.crt")}
        credentials = {name: value.encode() for name, value in bucket.environment.items()}
        for name, data in ((TLS, pair), (CREDENTIALS, credentials), (DATABASE, {"url": url.encode()})):
            cluster.apply(secret(name, data), namespace=release.namespace)
        try:
            found = Production(cluster, database_server, database, bucket, folder / "ca.crt")
            found.install()
            yield found
        finally:
            chart.install(cluster)
            cluster.kubectl("delete", "secret", TLS, CREDENTIALS, DATABASE, namespace=release.namespace)


def secret(name: str, data: dict[str, bytes]) -> Document:
    packed = {key: base64.b64encode(value).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": packed}


@pytest.fixture
def forest(slow_forest: Document) -> Document:
    """90 fits for one pod on each node."""
    slow_forest["spec"].update(resources={"cpu": "1", "memory": "512Mi"}, parallelism=2)
    return slow_forest


def test_a_search_outlives_its_database_its_bucket_and_its_service(
    production: Production, jobs: TuningJobs, release: Release, forest: Document, tmp_path: Path
) -> None:
    jobs.apply(forest)
    jobs.wait_for("forest", half_done)
    production.bucket.kill()
    production.postgres.kill()
    time.sleep(3)  # an outage has a length: pods find nobody, and go on
    production.postgres.start()
    jobs.cluster.kubectl("delete", "pod", "-l", jobs.operator_pods, "--wait=false", namespace=release.namespace)

    def all_cells_are_in() -> bool:
        told.update(jobs.hurry("forest", told))
        return production.ask("SELECT done FROM searches") == [(90,)]

    told: set[str] = set()
    jobs.cluster.wait_for("all cells are in", all_cells_are_in, namespace=jobs.namespace)
    # the answer cannot be handed in: it is waited for
    assert jobs.status("forest").get("phase") == "Running"
    production.bucket.start()
    jobs.finish("forest")

    assert jobs.report_counts("forest") == {1: 90}
    assert_equal_to_scikit_learn(jobs, forest)
    uid = jobs.get("forest")["metadata"]["uid"]
    assert [(row[0], row[1]) for row in production.ask("SELECT search_id, artifacts FROM hyperparameter_audit")] == [
        (uid, f"s3://models/team/{uid}")
    ]
    assert {name.rpartition("/")[2] for name in production.bucket.objects()} >= {"model.joblib", "search.joblib"}

    # the service hands out the stored bytes, over TLS, to a client that knows the authority
    with port_forward(jobs.cluster, release) as server:
        alice = person(jobs.cluster, jobs.namespace, "alice", role="edit", server=server)
        untrusting = alice.runs("history", "forest", cwd=tmp_path)
        assert untrusting.returncode == 4
        assert "certificate" in untrusting.stderr
        words = ("--version", 1, "--ca-file", production.authority)
        ended = alice.runs("download", "forest", *words, cwd=tmp_path)
        assert ended.returncode == 0, ended.stderr
    best = load_model(tmp_path / "forest-v1" / "model.joblib").get_params()
    assert {name: best[name] for name in ("n_estimators", "max_leaf_nodes")} == jobs.status("forest")["best"]["params"]


def test_no_log_tells_a_credential(production: Production, jobs: TuningJobs) -> None:
    said = jobs.cluster.system_logs(lines=10_000)
    assert len(said.splitlines()) > 5
    assert postgres.PASSWORD not in said
    assert buckets.SECRET_KEY not in said
    assert production.postgres.url(production.database, address=HOST_ADDRESS) not in said


def worker(cluster: Cluster, release: Release) -> str:
    """The pod whose operator works."""
    lease = cluster.get("lease", release.name, namespace=release.namespace) or {}
    return str(lease.get("spec", {}).get("holderIdentity", "")).rpartition("/")[2]


def test_a_standby_takes_over_within_15_seconds_and_an_upgrade_with_a_new_key_leaves_no_gap(
    production: Production, jobs: TuningJobs, release: Release, forest: Document
) -> None:
    cluster = jobs.cluster
    jobs.apply(forest)
    jobs.wait_for("forest", lambda status: (status.get("progress") or {}).get("done", 0) >= 10)

    first = worker(cluster, release)
    cluster.kubectl("delete", "pod", first, "--grace-period=0", "--force", namespace=release.namespace)
    killed = time.monotonic()
    cluster.wait_for(
        "another one works", lambda: worker(cluster, release) not in {"", first}, namespace=release.namespace
    )
    # 8 s in which the Lease was not renewed, a look each 2 s, and kubectl's own time
    assert time.monotonic() - killed < 15

    production.install("signingKey.generation=another")
    jobs.finish("forest")
    assert jobs.report_counts("forest") == {1: 90}
    assert_equal_to_scikit_learn(jobs, forest)
    # those that had begun kept their token, of the former key
    (secret,) = [
        found["metadata"]["name"]
        for found in cluster.items("secrets", namespace=jobs.namespace)
        if "-token-" in found["metadata"]["name"]
    ]
    forest["metadata"]["name"] = "later"
    forest["spec"]["search"]["grid"]["parameters"] = {"n_estimators": [5], "max_depth": [1, 2]}
    jobs.apply(forest)
    jobs.wait_for("later", is_complete)
    made = {found["metadata"]["name"] for found in cluster.items("secrets", namespace=jobs.namespace)}
    (later,) = [name for name in made if name.startswith("later-token-")]
    assert later.split("-")[2] != secret.removeprefix("forest-token-").split("-")[0]
