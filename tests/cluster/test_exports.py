"""`exports:` of a manifest, done by the pod that finishes the search: MLflow's own server has it before the TuningJob is complete."""

import hashlib
import importlib.metadata
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

from tests.cluster.harness.layout import HOST_ADDRESS, ROOT
from tests.cluster.tuningjobs import TuningJobs, small_pod
from tests.servers import files, mlflow

pytestmark = pytest.mark.cluster


def its_client(archive: Path) -> str:
    """An archive with MLflow's client and what of its packages the worker's image lacks, as `code` for pods; its digest."""
    site = next((Path(mlflow.python()).parents[1] / "lib").glob("python*/site-packages"))
    there = {canonicalize_name(each.name): each for each in importlib.metadata.distributions(path=[str(site)])}
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for name in lacking("mlflow-skinny", there):
            for file in there[name].files or ():
                if ".." not in file.parts and file.suffix != ".pyc":
                    tar.add(file.locate(), str(file))
    return hashlib.sha256(archive.read_bytes()).hexdigest()


def lacking(name: str, there: Mapping[NormalizedName, importlib.metadata.Distribution]) -> Iterator[NormalizedName]:
    """A package, and all that it needs in turn, without those that the image has."""
    image = (ROOT / "requirements" / "worker.txt").read_text()
    left, seen = (
        [canonicalize_name(name)],
        {canonicalize_name(each) for each in re.findall(r"^[\w.-]+", image, re.MULTILINE)},
    )
    while left:
        if (found := left.pop()) not in seen:
            seen.add(found)
            yield found
            asked = map(Requirement, there[found].requires or ())
            left += [canonicalize_name(each.name) for each in asked if each.marker is None or each.marker.evaluate({"extra": ""})]  # fmt: skip


@pytest.mark.usefixtures("own_nodes")
def test_a_pod_gives_its_finished_search_to_mlflows_own_server(jobs: TuningJobs, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    with (
        files.https(tmp_path / "site", host=HOST_ADDRESS) as site,
        mlflow.tracking_server(tmp_path, host=HOST_ADDRESS) as server,
    ):
        sha256 = its_client(site.folder / "mlflow.tar.gz")
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}}
        document = {
            "apiVersion": "tuningjob.dev/v1alpha1",
            "kind": "TuningJob",
            "metadata": {"name": "exported"},
            "spec": {
                "estimator": {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}},
                "search": {"grid": {"parameters": {"max_depth": [1, 2, 3]}}},
                "crossValidation": {"folds": 3},
                "data": {"loader": "sklearn.datasets.load_iris"},
                "scoring": "accuracy",
                "code": {"url": f"{site.url}/mlflow.tar.gz", "sha256": sha256},
                "exports": {"mlflow": {"uri": server.url, "experiment": "from a pod", "children": 2}},
                "pod": {
                    "env": [{"name": "SSL_CERT_FILE", "value": "/etc/keys/ca.crt"}],
                    "volumes": [{"name": "keys", "mountPath": "/etc/keys", "secret": "keys"}],
                },
                "resources": small_pod("500m", "700Mi"),
            },
        }
        jobs.apply({**secret, "stringData": {"ca.crt": site.authority.read_text()}}, document)
        status = jobs.wait_for("exported", lambda status: status.get("phase") == "Complete")
        assert "NotExported" not in str(status)

        (parent,) = [run for run in server.runs("from a pod") if parent_of(run) is None]
        assert parent["info"]["status"] == "FINISHED"
        params = {each["key"]: each["value"] for each in parent["data"]["params"]}
        assert params == {name: str(value) for name, value in status["best"]["params"].items()}
        scores = {each["key"]: each["value"] for each in parent["data"]["metrics"]}
        assert scores["mean_test_score"] == status["best"]["score"]
        children = [run for run in server.runs("from a pod") if parent_of(run) == parent["info"]["run_id"]]
        assert len(children) == 2
        names = {each["path"] for each in server.ask(f"artifacts/list?run_id={parent['info']['run_id']}")["files"]}
        assert names >= {"report.html", "verdict.txt", "cv_results.csv", "model"}


def parent_of(run: dict[str, Any]) -> str | None:
    tags = {each["key"]: each["value"] for each in run["data"]["tags"]}
    return tags.get("mlflow.parentRunId")
