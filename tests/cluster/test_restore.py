"""The restore drill on a real cluster: the commands of docs/database.md, typed; the release is destroyed, and a new one goes on."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import patient
from tests.cluster.harness import release as chart
from tests.cluster.harness.client import Cluster
from tests.cluster.harness.layout import ROOT
from tests.cluster.harness.release import Release
from tests.cluster.people import Person, person, port_forward
from tests.cluster.shells import types
from tests.cluster.test_audit import a_search
from tests.cluster.test_search import assert_equal_to_scikit_learn, is_complete
from tests.cluster.tuningjobs import TuningJobs
from tests.documents import commands_of

pytestmark = pytest.mark.cluster

Document = dict[str, Any]
COMMANDS = [line for line in commands_of("database.md", "Backup and restore") if not line.startswith("pg_")]
BACKUP, RESTORE = COMMANDS[:-7], COMMANDS[-7:]
SECRETS = ("tuningjob-signing-key", "tuningjob-ca")


def known(alice: Person, folder: Path) -> tuple[list[Document], list[Document], dict[str, bytes]]:
    """Of the model key flowers: its versions, its blessings, and the files of its version 1, whose digests hold."""
    folder.mkdir()
    history, blessings = (
        json.loads(alice.runs(what, "flowers", "--json", cwd=folder).stdout) for what in ("history", "blessings")
    )
    ended = alice.runs("download", "flowers", "--version", 1, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    return history, blessings, {file.name: file.read_bytes() for file in (folder / "flowers-v1").iterdir()}


@pytest.mark.usefixtures("own_nodes")
def test_a_release_that_was_destroyed_goes_on_from_its_backup(
    cluster: Cluster, jobs: TuningJobs, release: Release, slow_forest: Document, tmp_path: Path
) -> None:
    trees = a_search("trees", depths=[1, 2, 3, 4], reuse=True)
    slow_forest["spec"].update(patient.forest(pause_seconds=1))
    jobs.apply(trees, slow_forest)
    jobs.wait_for("trees", is_complete)
    with port_forward(cluster, release) as server:
        alice = person(cluster, jobs.namespace, "alice", role="edit", server=server)
        assert alice.runs("bless", "flowers", 1, cwd=tmp_path).returncode == 0
        before = known(alice, tmp_path / "before")
    example = Path("examples", "operations", "restore.yaml")
    (tmp_path / example).parent.mkdir(parents=True)
    text = (ROOT / example).read_text(encoding="utf-8")
    (tmp_path / example).write_text(text.replace("localhost/tuningjob-operator:0.1.0", cluster.operator_image))
    jobs.wait_for_fits("forest", 10)
    types(cluster, tmp_path, *BACKUP)
    known_fits = sum(jobs.report_counts("forest").values())
    jobs.wait_for_fits("forest", known_fits + 3)  # what the backup does not know
    job = cluster.get("job", "forest", namespace=jobs.namespace)

    # all of it is gone: the data, the keys, the release, and a TuningJob with its uid
    deployment = f"deployment/{release.name}"
    wipe = ("sh", "-c", "rm -rf /data/* /data/.[!.]*")
    cluster.kubectl("exec", deployment, "-c", "results", "--", *wipe, namespace=release.namespace)
    chart.uninstall(cluster)
    cluster.kubectl("delete", "secret", *SECRETS, namespace=release.namespace)
    cluster.kubectl("delete", "pvc", f"{release.name}-data", namespace=release.namespace)
    cluster.kubectl("delete", "tj", "trees", namespace=jobs.namespace)
    try:
        assert RESTORE[-1].startswith("helm install tuningjob charts/tuningjob -n tuningjob-system --set ")
        types(cluster, tmp_path, *RESTORE[:-1])
        chart.install(cluster, RESTORE[-1].rpartition("--set ")[2])
        saved = (tmp_path / "tuningjobs.yaml").read_text()
        assert "name: trees" in saved
        # the one that is there is there already
        cluster.kubectl("create", "-f", str(tmp_path / "tuningjobs.yaml"), check=False)

        jobs.finish("forest")
        assert jobs.report_counts("forest") == {1: 90}, "each cell once, as the restored journal counts"
        assert_equal_to_scikit_learn(jobs, slow_forest)
        again = cluster.get("job", "forest", namespace=jobs.namespace)
        assert (again or {})["metadata"]["uid"] == (job or {})["metadata"]["uid"], "its pods were never made again"

        jobs.wait_for("trees", is_complete)
        assert jobs.report_counts("trees") == {0: 25}, "all of it was known, the defaults, too"
        with port_forward(cluster, release) as server:
            after = known(Person(cluster, jobs.namespace, "alice", alice.token, server), tmp_path / "after")
        (first,) = before[0]
        assert first in after[0]
        assert {row["version"] for row in after[0]} == {1, 2}
        assert after[1:] == before[1:]
    finally:
        chart.install(cluster)
        cluster.kubectl("delete", "pvc", "tuningjob-restored", "--wait=false", namespace=release.namespace)
