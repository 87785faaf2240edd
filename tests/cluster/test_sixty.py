"""Of the table of searches, some on the real cluster: data and code from wherever they may come, and the answer scikit-learn's to the bit.

All of them run beside each other, each in one small pod, on servers of this machine: S3, Google's objects, Azure's blobs, https with an
authority of its own, and Postgres.
"""

import base64
import dataclasses
import gzip
import hashlib
import io
import json
import tarfile
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pytest
import sqlalchemy
from imblearn.over_sampling import SMOTE
from imblearn.pipeline import Pipeline
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_validate

from tests.cluster.harness.client import Cluster, temporary_namespace
from tests.cluster.harness.layout import HOST_ADDRESS, ROOT
from tests.cluster.harness.release import Release
from tests.cluster.tuningjobs import TuningJobs, small_pod
from tests.search import sixty
from tests.servers import buckets, files, postgres
from tuningjob.search.written import to_literals

pytestmark = pytest.mark.cluster

Document = dict[str, Any]

# where the table's file, or its code, is for pods; "query" asks Postgres, whatever it is asked
PLACES: Final[dict[str, str]] = {
    "folds of groups": "s3",
    "a time series": "https",
    "groups of one's own": "https, code by https",
    "several names": "s3",
    "a scorer of one's own": "s3, code by configMap",
    "the shallowest within an error": "abfs",
    "the best that fits not too well": "configMap",
    "a pipeline of columns": "gs",
    "a union with a choice of the best": "https",
    "a factory": "configMap, code by s3",
    "Parquet of a web server": "https",
    "a query that is sorted": "query",
    "weights": "https",
    "a file that the world wrote": "configMap",
    "several metrics beside a baseline": "s3",
    "halved": "gs",
}
SECRET: Final = "keys"
OWN: Final = [
    ROOT / "tests" / "search" / f"{name}.py" for name in ("own_data", "own_metrics", "own_models", "splitters")
]
TREE: Final = sixty.USUAL["estimator"]
NESTED: Final = {"folds": 3, "shuffle": True, "randomState": 1}
SAMPLED: Final = {
    "class": "imblearn.pipeline.Pipeline",
    "params": {
        "steps": [
            {"tuple": ["smote", {"class": "imblearn.over_sampling.SMOTE", "params": {"random_state": 0}}]},
            {"tuple": ["tree", TREE]},
        ]
    },
}
SAMPLED_BY_HAND: Final = sixty.grid(
    Pipeline([("smote", SMOTE(random_state=0)), ("tree", sixty.tree())]), {"smote__k_neighbors": [2, 4]}
)
# what has a truth of more than a line, or a library of its own, is not in the table
BESIDE: Final[dict[str, sixty.Row]] = {
    "sampled": (sixty.gridded(SAMPLED, {"smote__k_neighbors": [2, 4]}), sixty.usual(SAMPLED_BY_HAND)),
    "nested": (
        {"search": {"grid": {"parameters": sixty.LEAVES}, "nested": NESTED}},
        sixty.usual(sixty.grid(parameters=sixty.LEAVES)),
    ),
    "refined": (
        {"search": {"grid": {"parameters": {"min_samples_leaf": [1, 9, 17]}}, "refine": {"rounds": 2}}},
        sixty.usual(sixty.grid()),
    ),
}
SEARCHES: Final = {**{name: sixty.TABLE[name] for name in PLACES}, **BESIDE}


@dataclass(frozen=True)
class Asked:
    """What runs on the cluster, and the folder with the table's files."""

    jobs: TuningJobs
    folder: Path

    def results_of(self, name: str) -> pd.DataFrame:
        found = self.jobs.cluster.get("configmap", f"{job_name(name)}-results", namespace=self.jobs.namespace)
        assert found is not None
        text = gzip.decompress(base64.b64decode(found["binaryData"]["cv_results.csv.gz"]))
        return pd.read_csv(io.BytesIO(text))


@dataclass(frozen=True)
class Servers:
    """What pods reach on this machine."""

    site: files.FileServer
    stores: Mapping[str, buckets.BucketServer]
    database: str

    @property
    def environment(self) -> dict[str, str]:
        """What pods need to reach the buckets and the database."""
        of_stores = {name: value for store in self.stores.values() for name, value in store.environment.items()}
        return {**of_stores, "SIXTY_DB": self.database}

    def secret(self) -> Document:
        values = {**self.environment, "ca.crt": self.site.authority.read_text()}
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": values}

    def pod(self) -> Document:
        """Each credential by its name, and the authority as a file."""
        return {
            "env": [
                *({"name": name, "secret": {"name": SECRET, "key": name}} for name in self.environment),
                {"name": "SSL_CERT_FILE", "value": "/etc/keys/ca.crt"},
            ],
            "volumes": [{"name": "keys", "mountPath": "/etc/keys", "secret": SECRET}],
        }

    def spec_of(self, name: str) -> Document:
        """As the table has it, with its file and its code where ``PLACES`` says."""
        row, _ = SEARCHES[name]
        where, _, code = PLACES.get(name, "s3").partition(", code by ")
        data = {key: value for key, value in {**sixty.USUAL, **row}["data"].items() if value is not ...}
        if where != "query":
            file = data.pop("path", None) or data.pop("url").rpartition("/")[2]
            data |= {"path": file, "configMap": "table"} if where == "configMap" else self._at(where, file)
        spec = {**sixty.USUAL, **row, "data": data, "pod": self.pod()}
        if code == "configMap":
            # a module for each key: no packages
            text = json.dumps(spec).replace(f"{sixty.MINE}.", "")
            return {**json.loads(text), "code": {"configMap": "own"}}
        return {**spec, "code": self._at(code, "own.tar.gz")} if code else spec

    def _at(self, scheme: str, file: str) -> Document:
        base = self.site.url if scheme == "https" else self.stores[scheme].url
        return {"url": f"{base}/{file}", "sha256": hashlib.sha256((self.site.folder / file).read_bytes()).hexdigest()}


def job_name(name: str) -> str:
    return name.replace(" ", "-").replace("'", "").lower()


def config_map(name: str, paths: list[Path]) -> Document:
    data = {path.name: base64.b64encode(path.read_bytes()).decode() for path in paths}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "binaryData": data}


@pytest.fixture(scope="module")
def servers(
    own_nodes: None,  # noqa: ARG001  pods reach servers on this machine
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Servers]:
    folder = tmp_path_factory.mktemp("sixty")
    with (
        files.https(folder, host=HOST_ADDRESS) as site,
        buckets.s3(folder / "s3", host=HOST_ADDRESS) as s3,
        buckets.gcs(folder / "gs", host=HOST_ADDRESS) as gs,
        buckets.azure(folder / "abfs", host=HOST_ADDRESS) as abfs,
        postgres.running(addresses=("127.0.0.1", HOST_ADDRESS), durable=False) as database,
    ):
        sixty.write(site.folder)
        with tarfile.open(site.folder / "own.tar.gz", "w:gz") as archive:
            for path in OWN:
                archive.add(path, path.relative_to(ROOT))
        for path in site.folder.iterdir():
            if path.is_file():
                for bucket in (s3, gs, abfs):
                    bucket.put(path.name, path.read_bytes())
        name = database.create_database()
        engine = sqlalchemy.create_engine(driven(database.url(name)), poolclass=sqlalchemy.pool.NullPool)
        sixty.table().assign(id=range(sixty.ROWS)).to_sql("t", engine, index=False)
        yield Servers(site, {"s3": s3, "gs": gs, "abfs": abfs}, driven(database.url(name, address=HOST_ADDRESS)))


def driven(url: str) -> str:
    """As SQLAlchemy takes it, with its driver."""
    return url.replace("postgresql://", "postgresql+psycopg://")


@pytest.fixture(scope="module")
def asked(servers: Servers, cluster: Cluster, release: Release) -> Iterator[Asked]:
    """All of them, applied at once, each in a pod that is small."""
    folder = servers.site.folder
    with temporary_namespace(cluster, "sixty") as namespace:
        jobs = TuningJobs(cluster, release, namespace)
        tables = config_map("table", [folder / "t.csv", folder / "german.csv"])
        jobs.apply(servers.secret(), tables, config_map("own", OWN))
        small = {"resources": small_pod(), "parallelism": 1}
        documents = [
            {
                "apiVersion": "tuningjob.dev/v1alpha1",
                "kind": "TuningJob",
                "metadata": {"name": job_name(name)},
                "spec": {**servers.spec_of(name), **small},
            }
            for name in SEARCHES
        ]
        jobs.apply({"apiVersion": "v1", "kind": "List", "items": documents})
        yield Asked(jobs, folder)


@pytest.mark.parametrize("name", SEARCHES)
def test_pods_find_what_is_found_by_hand(name: str, asked: Asked) -> None:
    status = asked.jobs.wait_for(job_name(name), lambda status: status.get("phase") == "Complete")
    found = asked.results_of(name)
    want, hand = by_hand(name, asked.folder, found)

    assert status["progress"]["failed"] == 0
    params = [to_literals(params) for params in want.cv_results_["params"]]
    assert [json.loads(text) for text in found["params"]] == params
    scores = [column for column in want.cv_results_ if column.endswith("_score") or column in {"iter", "n_resources"}]
    assert set(scores) <= set(found)
    for column in scores:
        np.testing.assert_array_equal(found[column].to_numpy(), np.asarray(want.cv_results_[column]), err_msg=column)
    # a rule may look at the times, which are its own search's
    best = hand.search.refit(found) if callable(hand.search.refit) else want.best_index_
    deciding = "score" if "mean_test_score" in found else want.refit
    assert (status["best"]["index"], status["best"]["params"]) == (best, params[best])
    assert status["best"]["score"] == want.cv_results_[f"mean_test_{deciding}"][best]


def by_hand(name: str, folder: Path, found: pd.DataFrame) -> tuple[Any, sixty.Hand]:
    """scikit-learn's search. A refined one is held to a grid search of all its candidates."""
    hand = SEARCHES[name][1](folder)
    if name == "refined":
        assert found["round"].max() > 0
        points = [{key: [value] for key, value in json.loads(text).items()} for text in found["params"]]
        hand = dataclasses.replace(hand, search=GridSearchCV(sixty.tree(), points, cv=3))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return hand.search.fit(hand.X, hand.y, **hand.fit), hand


def test_the_honest_estimate_is_that_of_cross_validate(asked: Asked) -> None:
    nested = asked.jobs.wait_for("nested", lambda status: status.get("phase") == "Complete")["best"]["nested"]
    hand = SEARCHES["nested"][1](asked.folder)
    outer = StratifiedKFold(3, shuffle=True, random_state=1)
    scores = cross_validate(hand.search, hand.X, hand.y, cv=outer)["test_score"]
    assert (nested["mean"], nested["std"]) == (scores.mean(), scores.std())


def test_tuning_is_measured_against_the_defaults(asked: Asked) -> None:
    name = "several metrics beside a baseline"
    status = asked.jobs.wait_for(job_name(name), lambda status: status.get("phase") == "Complete")
    hand = SEARCHES[name][1](asked.folder)
    scores = cross_validate(sixty.tree(), hand.X, hand.y, cv=3, scoring="f1_macro")["test_score"]
    assert status["best"]["baseline"]["defaults"] == pytest.approx(scores.mean(), abs=1e-15)
