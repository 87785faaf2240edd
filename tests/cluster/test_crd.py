"""The CRD, before a real API server: accepted, structural, and a manifest comes back meaning the same."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.harness.client import Cluster
from tests.cluster.harness.release import Release
from tests.cluster.tuningjobs import TuningJobs, all_at_once
from tests.conftest import EXAMPLES
from tests.manifest.test_canonical import SCALARS
from tuningjob.manifest import load
from tuningjob.manifest.canonical import read_file

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def jobs(cluster: Cluster, release: Release) -> Iterator[TuningJobs]:
    """Of one namespace: nothing is made there."""
    with all_at_once(cluster, release, "crd") as found:
        yield found


def test_the_crd_is_established_and_structural(cluster: Cluster, release: Release) -> None:  # noqa: ARG001  it brings the CRD
    crd = cluster.get("crd", "tuningjobs.tuningjob.dev")
    assert crd is not None
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions["Established"] == "True"
    assert "NonStructuralSchema" not in conditions


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_every_example_comes_back_from_the_api_server_meaning_the_same(jobs: TuningJobs, path: Path) -> None:
    text = jobs.cluster.kubectl(
        "create", "--dry-run=server", "--validate=strict", "--output=json", "-f", str(path), namespace=jobs.namespace
    )
    assert load(json.loads(text)).spec == load(read_file(path)).spec


def test_literals_come_back_from_the_api_server_meaning_the_same(jobs: TuningJobs, tmp_path: Path) -> None:
    values = "".join(f"          - {written}\n" for written in SCALARS)
    text = f"""
apiVersion: tuningjob.dev/v1alpha1
kind: TuningJob
metadata: {{name: literals}}
spec:
  estimator:
    class: sklearn.svm.SVC
    params: {{gone: null, class_weight: {{a: null, b: 1.0}}}}
  search:
    grid:
      parameters:
        values:
{values}
        tagged: [{{float: 1.0}}, {{float: "1.0"}}, {{int: 1}}, {{none: true}}, {{tuple: [1, null, 2.0]}}, {{dict: [[0, 1], [1, 1e1]]}}]
        spaced: {{logspace: [-3, 3.0, 7]}}
        objects: [{{class: sklearn.svm.SVC, params: {{C: 1.0, gamma: null}}}}]
  data: {{loader: sklearn.datasets.load_iris}}
  resources: {{cpu: 2, memory: 1Gi}}
"""
    path = tmp_path / "literals.yaml"
    path.write_text(text)
    returned = jobs.cluster.kubectl(
        "create", "--dry-run=server", "--output=json", "-f", str(path), namespace=jobs.namespace
    )
    found = load(json.loads(returned)).spec
    assert found == load(read_file(path)).spec
    assert found.search.grid is not None
    values = found.search.grid.parameters["values"]
    assert [(type(value), value) for value in values] == [(type(want), want) for want in SCALARS.values()]
