"""``fit`` on a cluster, from a Python process: what is given to it is sent, pods search, and the search is what fit leaves.

The API server, the results service and the pods are real; what the operator does between them is done here by its own code.
"""

import base64
import gzip
import importlib
import io
import json
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn.model_selection
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GroupKFold, PredefinedSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.manifest.conftest import JOBS
from tests.pod.pods import Pods
from tests.servers.apiserver import ApiServer
from tests.service.server import Service
from tests.truth import assert_equal_to_the_bit, scikit_learns
from tuningjob import Cluster, GridSearchCV, to_manifest
from tuningjob.cluster import environment
from tuningjob.cluster.access import Access, Login
from tuningjob.cluster.again import verify_in_pod
from tuningjob.cluster.service import Service as ResultsService
from tuningjob.errors import ClusterRefused, ManifestRefused
from tuningjob.journal.records import UNKNOWN_SPLITS, NewSearch
from tuningjob.manifest import dump_spec, load
from tuningjob.manifest.canonical import read_yaml, to_yaml
from tuningjob.protocol.records import SearchState
from tuningjob.sizing import size_of
from tuningjob_operator.decide.owned_objects import build_results, read_files

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

MIB = 2**20
EXAMPLE = Path(__file__).parents[2] / "examples" / "from-python.ipynb"
PLAN = {"pods": 1, "nJobs": 1, "innerThreads": 1, "cpu": "1", "memory": "1Gi", "reason": "parallelism is 1"}


class Operator:
    """Does for each TuningJob what the operator does: opens the search, starts a pod, publishes the answer."""

    def __init__(self, server: ApiServer, service: Service, folder: Path) -> None:
        self.server, self.service, self.folder = server, service, folder
        self.seen: list[str] = []

    def look_after(self, name: str) -> None:
        found = self.server.call("GET", f"{JOBS}/{name}")
        spec = load({key: found[key] for key in ("apiVersion", "kind", "metadata", "spec")}).spec
        size, uid = size_of(spec), found["metadata"]["uid"]
        journal = self.service.journal
        journal.open_search(
            NewSearch(
                id=uid, namespace="default", name=name, model_key=spec.model_key or name, spec=dump_spec(spec),
                candidates=size.candidates, splits=size.splits or UNKNOWN_SPLITS, pods=1,
            )
        )  # fmt: skip
        pods = Pods(self.service, self.folder, search=uid)
        _, said = pods.wait(pods.start(0))
        state = journal.view(uid).search().state
        if state is not SearchState.COMPLETE:
            self.tell(name, {"phase": "Failed", "message": said[-500:]})
            return
        files = read_files(lambda file: self.service.artifacts.open(uid, file))
        self.server.create_object("/api/v1/namespaces/default/configmaps", build_results(found, files).configmap)
        progress = journal.progress(uid)
        counts = {"done": progress.done, "failed": progress.failed, "total": progress.total, "text": "all"}
        self.tell(
            name,
            {"phase": "Complete", "results": f"{name}-results", "modelVersion": 1, "progress": counts, "plan": PLAN},
        )

    def tell(self, name: str, status: dict[str, Any]) -> None:
        found = self.server.call("GET", f"{JOBS}/{name}")
        self.server.call("PUT", f"{JOBS}/{name}/status", {**found, "status": status})

    def names(self) -> list[str]:
        return [each["metadata"]["name"] for each in self.server.call("GET", JOBS)["items"]]

    def run(self, until: threading.Event) -> None:
        while not until.is_set():
            for name in self.names():
                if name not in self.seen:
                    self.seen.append(name)
                    self.look_after(name)
            until.wait(0.1)


@pytest.fixture(scope="module")
def operator(server: ApiServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    folder = tmp_path_factory.mktemp("fit")
    service = Service(folder, max_artifact_bytes=64 * MIB)
    service.register.enter("alice", "get", "update", namespace="default")
    service.start()
    operator, end = Operator(server, service, folder), threading.Event()
    thread = threading.Thread(target=operator.run, args=(end,))
    thread.start()
    yield operator
    end.set()
    thread.join()
    service.close()
    for each in server.call("GET", JOBS)["items"]:
        server.call("DELETE", f"{JOBS}/{each['metadata']['name']}")


@pytest.fixture
def connect(operator: Operator) -> Callable[..., Cluster]:
    def connected(namespace: str = "default", **changes: Any) -> Cluster:
        settings: dict[str, Any] = {
            "kubeconfig": operator.server.kubeconfig(),
            "service": operator.service.url,
            "service_token": "token-of-alice",
            "cpu": 1,
        }
        return Cluster(namespace, **{**settings, **changes})

    return connected


def mixed() -> tuple[pd.DataFrame, "pd.Series[Any]"]:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "age": rng.integers(20, 70, 60),
            "income": np.where(rng.random(60) < 0.1, np.nan, rng.normal(size=60)),
            "town": pd.Categorical(rng.choice(["Ulm", "Köln", "Bonn"], 60)),
            "text": pd.Series(rng.choice(["a b", "b c", "c a a"], 60), dtype="str"),
        },
        index=[f"row {i}" for i in range(60)],
    )
    frame["income"] = frame["income"].fillna(0.0)
    return frame, pd.Series(rng.choice(["yes", "no"], 60), index=frame.index, name="churned")


def searches() -> dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    iris = load_iris()
    frame, churned = mixed()
    words = TfidfVectorizer().fit_transform([f"w{i % 7} w{i % 3} w{i % 5}" for i in range(90)])
    columns = make_column_transformer(
        (StandardScaler(), ["age", "income"]), (OneHotEncoder(handle_unknown="ignore"), ["town", "text"])
    )
    rng = np.random.default_rng(1)
    return {
        "an array in Fortran's order": (
            GridSearchCV(
                make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)),
                {"logisticregression__C": [0.1, 1]},
                cv=3,
            ),
            (np.asfortranarray(iris.data), iris.target),
            {},
        ),
        "columns of all kinds, two metrics": (
            GridSearchCV(
                make_pipeline(columns, LogisticRegression()),
                {"logisticregression__C": [0.5, 5.0]},
                cv=3,
                scoring={"acc": "accuracy", "loss": "neg_log_loss"},
                refit="loss",
                return_train_score=True,
            ),
            (frame, churned),
            {},
        ),
        "sparse text with groups and weights": (
            GridSearchCV(Ridge(solver="sparse_cg"), {"alpha": [0.1, 1.0, 10.0]}, cv=GroupKFold(3)),
            (words, rng.normal(size=90)),
            {"groups": np.arange(90) // 9, "sample_weight": rng.random(90)},
        ),
        "folds that are told row by row": (
            GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=PredefinedSplit(np.arange(150) % 4 - 1)),
            (iris.data, iris.target),
            {},
        ),
    }


@pytest.mark.parametrize("name", sorted(searches()))
def test_fit_on_a_cluster_leaves_what_scikit_learns_fit_leaves(
    connect: Callable[..., Cluster], name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    search, given, params = searches()[name]
    theirs = scikit_learns(search).fit(*given, **params)
    with connect():
        assert search.fit(*given, **params) is search
    assert_equal_to_the_bit(search.cv_results_, theirs.cv_results_)
    for told in ("best_index_", "best_params_", "best_score_", "n_splits_", "multimetric_"):
        assert getattr(search, told) == getattr(theirs, told)
    assert search.refit_time_ > 0.0
    assert "sk-top-container" in search._repr_html_()
    assert "best_estimator_" not in vars(search), "nothing that a pod pickled is loaded unasked"
    again = pickle.loads(pickle.dumps(search))
    assert not hasattr(again, "best_estimator_")
    assert "is loaded" not in capsys.readouterr().err
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.array_equal(search.predict(given[0]), theirs.predict(given[0]))
    assert "is loaded: that runs what its file says" in capsys.readouterr().err
    assert search.n_features_in_ == theirs.n_features_in_
    assert list(getattr(search, "feature_names_in_", [])) == list(getattr(theirs, "feature_names_in_", []))


def test_the_same_content_is_the_same_run_and_is_sent_once(
    connect: Callable[..., Cluster], operator: Operator, capsys: pytest.CaptureFixture[str]
) -> None:
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(LogisticRegression(max_iter=300), {"C": [2.0, 3.0]}, cv=3, n_jobs=7)
    with connect(), connect():  # within each other: the inner one counts, and then the outer one again
        search.fit(X, y)
    before = len(operator.seen)
    taken_in = operator.service.app.state.metrics.artifact_bytes.labels("in")  # type: ignore[union-attr]
    sent = taken_in._value.get()
    with connect() as cluster:
        run = cluster.submit(search.__class__(**{**search.get_params(deep=False), "n_jobs": 1}), X.copy(), y.copy())
        run.wait()
    assert (len(operator.seen), taken_in._value.get()) == (before, sent)
    assert "Complete" in capsys.readouterr().err
    # and outside of `with` it is fitted here
    assert "best_estimator_" in vars(GridSearchCV(LogisticRegression(max_iter=300), {"C": [1.0]}).fit(X, y))


KERNEL = """
import sys
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from tuningjob import Cluster, GridSearchCV

step, kubeconfig, service = sys.argv[1:]

def stay(progress=None):
    if progress is None or progress.is_over:
        print(step, flush=True)
        sys.stdin.read()

with Cluster("default", kubeconfig=kubeconfig, service=service, service_token="token-of-alice", cpu=1) as cluster:
    run = cluster.submit(GridSearchCV(LogisticRegression(max_iter=300), {"C": [0.3, 0.7]}, cv=3), *load_iris(return_X_y=True))
    if step == "created":
        stay()
    run.wait(tell=stay)
"""


@pytest.mark.parametrize("step", ["created", "finishing"])
def test_a_kernel_that_is_killed_leaves_a_search_that_another_comes_back_to(
    connect: Callable[..., Cluster], operator: Operator, step: str
) -> None:
    given = (str(operator.server.kubeconfig()), operator.service.url)
    kernel = subprocess.Popen(
        [sys.executable, "-c", KERNEL, step, *given], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert kernel.stdout is not None
    assert kernel.stdout.readline() == f"{step}\n"
    kernel.kill()
    kernel.communicate()
    taken_in = operator.service.app.state.metrics.artifact_bytes.labels("in")  # type: ignore[union-attr]
    before, sent = set(operator.names()), taken_in._value.get()
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(LogisticRegression(max_iter=300), {"C": [0.3, 0.7]}, cv=3)
    theirs = scikit_learns(search).fit(X, y)
    with connect():
        search.fit(X, y)
    assert set(operator.names()) == before
    if step == "finishing":  # before that, pods hand in what they found
        assert taken_in._value.get() == sent
    assert_equal_to_the_bit(search.cv_results_, theirs.cv_results_)
    assert np.array_equal(search.predict(X), theirs.predict(X))


def test_a_pod_fits_again_what_a_search_has_fitted_and_tells_what_is_other(
    connect: Callable[..., Cluster], operator: Operator
) -> None:
    X, y = load_iris(return_X_y=True)
    metrics = {"acc": "accuracy", "loss": "neg_log_loss"}
    grid = [{"C": [0.2, 0.4, 0.8]}, {"fit_intercept": [False]}]
    search = GridSearchCV(
        LogisticRegression(max_iter=300), grid, cv=3, scoring=metrics, refit="loss", return_train_score=True
    )
    with connect() as cluster:
        run = cluster.submit(search, X, y).wait()
        before = set(operator.names())
        found, recorded = verify_in_pod(cluster, run, lambda recorded: [1, 10, recorded.size - 1])
        assert (recorded.size, len(found.again), found.is_same, found.surroundings) == (12, 6, True, ())
        assert {each.before.candidate for each in found.again} == {0, 3}
        assert set(operator.names()) == before, "the search that did it is gone"
        assert all(set(each.before.test_scores) == {"acc", "loss"} and each.before.train_scores for each in found.again)

        where = f"/api/v1/namespaces/default/configmaps/{run.name}-results"
        published = operator.server.call("GET", where)
        table = gzip.decompress(base64.b64decode(published["binaryData"]["cv_results.csv.gz"])).decode()
        frame = pd.read_csv(io.StringIO(table), dtype=str)
        frame.loc[3, "split1_test_loss"] = "-0.5"
        packed = base64.b64encode(gzip.compress(frame.to_csv(index=False).encode())).decode()
        operator.server.call(
            "PUT", where, {**published, "binaryData": {**published["binaryData"], "cv_results.csv.gz": packed}}
        )
        ended = subprocess.run(
            [sys.executable, "-m", "tuningjob.cli", "verify", run.name, "--in-pod", "--cell", "3,0"],
            env=os.environ | {
                "KUBECONFIG": str(operator.server.kubeconfig()),
                "TUNINGJOB_SERVER": operator.service.url,
                "TUNINGJOB_TOKEN": "token-of-alice",
            },
            capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
        assert ended.returncode == 3, ended.stderr
        assert f"{run.name}: 3 fits of 12 again: 1 came out otherwise." in ended.stdout
        assert "candidate 3, split 1 ({'fit_intercept': False}): test loss -0.5 → -" in ended.stdout


def test_another_processor_than_the_latest_pods_had_is_warned_of_before_anything_is_sent(
    connect: Callable[..., Cluster], operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(LogisticRegression(max_iter=300), {"C": [0.15]}, cv=3)
    monkeypatch.setattr(environment, "_warned", set())
    with connect() as cluster:
        cluster.submit(search, X, y).wait()  # on this machine, as this process is
        monkeypatch.setattr("tuningjob.search.kernels.kernels_in_use", lambda: ("openblas 0.0 Elsewhere",))
        before = operator.names()
        # a warning is an error here: it comes before the data go, and before the search begins
        told = r"pods multiply matrices by openblas .*, and this process by openblas 0\.0 Elsewhere"
        with pytest.raises(UserWarning, match=told):
            cluster.submit(search, X + 1, y)
        assert operator.names() == before


def test_modules_of_ones_own_go_with_the_search(
    connect: Callable[..., Cluster], operator: Operator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clean").mkdir()
    (tmp_path / "clean" / "__init__.py").write_text("FACTOR = 3.0\n")
    (tmp_path / "clean" / "tripling.py").write_text(
        "from sklearn.base import BaseEstimator, TransformerMixin\n"
        "from clean import FACTOR\n"
        "class Tripler(TransformerMixin, BaseEstimator):\n"
        "    def __init__(self, power=1):\n        self.power = power\n"
        "    def fit(self, X, y=None):\n        self.n_features_in_ = X.shape[1]\n        return self\n"
        "    def transform(self, X):\n        return X * FACTOR**self.power\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    Tripler = importlib.import_module("clean.tripling").Tripler

    X, y = load_iris(return_X_y=True)
    search = GridSearchCV(make_pipeline(Tripler(), LogisticRegression(max_iter=500)), {"tripler__power": [1, -1]}, cv=3)
    try:
        with connect():
            search.fit(X, y)
        theirs = scikit_learns(search).fit(X, y)
        assert_equal_to_the_bit(search.cv_results_, theirs.cv_results_)
        with connect() as cluster:
            run = cluster.submit(search, X, y)
            assert set(read_yaml(run.manifest())["spec"]["code"]) == {"uploaded"}
        # also beside data that pods read; nobody looks after that namespace
        operator.server.create_object("/api/v1/namespaces", {"metadata": {"name": "unwatched"}})
        operator.service.register.enter("alice", "get", "update", namespace="unwatched")
        there = {"loader": "sklearn.datasets.load_iris"}
        (tmp_path / "job.yaml").write_text(to_yaml(to_manifest(search, data=there, name="of-a-file")))
        with connect("unwatched") as cluster:
            for run in (cluster.submit(search, data=there), cluster.submit(tmp_path / "job.yaml")):
                found = read_yaml(run.manifest())["spec"]
                assert (found["data"]["loader"], set(found["code"])) == (there["loader"], {"uploaded"})
    finally:
        for name in ("clean", "clean.tripling"):
            sys.modules.pop(name, None)


def test_what_cannot_be_said_or_sent_is_refused_before_anything_is_sent(connect: Callable[..., Cluster]) -> None:
    X, y = load_iris(return_X_y=True)
    nowhere = {"service": "http://127.0.0.1:1"}
    grid = {"C": [1.0]}
    for search, given, params, told in (
        (GridSearchCV(LogisticRegression(), grid, scoring=lambda *_: 0), (X, y), {}, "scoring"),
        (GridSearchCV(LogisticRegression(), grid), (X, y[:-1]), {}, "y: must be of as many rows as X, which has 150"),
        (GridSearchCV(LogisticRegression(), grid), ([[1, 2], [3, 4]], [0, 1]), {}, "X: must be data that can be sent"),
        (
            GridSearchCV(LogisticRegression(), grid),
            (X, y),
            {"callback": 1},
            "callback: must be groups or sample_weight",
        ),
        (GridSearchCV(LogisticRegression(), grid), (X, y), {"groups": y}, "groups: must be left out"),
        (GridSearchCV(Ridge(), {"alpha": [1.0]}, cv=GroupKFold(2)), (X, y), {}, "groups: must be given for GroupKFold"),
    ):
        with connect(**nowhere) as cluster, pytest.raises(ManifestRefused, match=told):
            cluster.submit(search, *given, **params)


def test_who_has_no_token_is_told_how_to_get_one_and_a_service_account_gives_one(operator: Operator) -> None:
    server = operator.server
    access = Access(Login(kubeconfig=server.kubeconfig()), "default")
    try:
        by_certificate = type("ByCertificate", (Access,), {"bearer": lambda _, **__: None})
        nobody = ResultsService(by_certificate(Login(kubeconfig=server.kubeconfig()), "default"), operator.service.url)
        with pytest.raises(ClusterRefused, match=r"`kubectl create token SERVICEACCOUNT --audience tuningjob`"):
            nobody.environment()
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "ann"}}
        server.create_object("/api/v1/namespaces/default/serviceaccounts", account)
        payload = access.token_of("ann", audience="tuningjob").split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        assert (claims["aud"], claims["sub"]) == (["tuningjob"], "system:serviceaccount:default:ann")
        with pytest.raises(ClusterRefused, match=r'serviceaccounts "nobody" not found'):
            access.token_of("nobody", audience="tuningjob")
        # and who may nothing is told what, by the API server itself
        hers = access.token_of("ann", audience="https://kubernetes.default.svc")
        with Cluster("default", server=server.url, token=hers, ca_file=server.ca_file) as cluster:
            iris = {"loader": "sklearn.datasets.load_iris"}
            search = GridSearchCV(Ridge(), {"alpha": [1.0]})
            for ask in (lambda: cluster.attach("a"), lambda: cluster.submit(search, data=iris)):
                with pytest.raises(ClusterRefused, match=r"User .*:ann. cannot (get|create) resource .tuningjobs."):
                    ask()
        # nothing is installed here
        lost = ResultsService(access)
        with pytest.raises(ClusterRefused, match=r'services "tuningjob-results" not found.*release=.NAMESPACE/NAME'):
            lost.environment()
    finally:
        access.close()


def test_the_notebook_of_the_examples_goes_from_a_fit_here_to_the_parameters_in_use(
    operator: Operator, tmp_path: Path
) -> None:
    mine = {
        "KUBECONFIG": str(operator.server.kubeconfig()),
        "TUNINGJOB_SERVER": operator.service.url,
        "TUNINGJOB_TOKEN": "token-of-alice",
        "JUPYTER_PLATFORM_DIRS": "1",
        "HOME": str(tmp_path),
    }
    done = tmp_path / "done.ipynb"
    words = [str(Path(sys.executable).parent / "jupyter-execute"), str(EXAMPLE), f"--output={done}"]
    ended = subprocess.run(words, check=False, env=os.environ | mine, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr[-3000:]
    cells = [each for each in json.loads(done.read_text())["cells"] if each["cell_type"] == "code"]
    outputs = {"".join(each["source"]): each["outputs"] for each in cells}

    def shown(beginning: str, kind: str = "text/plain") -> str:
        (found,) = (value for source, value in outputs.items() if source.startswith(beginning))
        return "".join(
            "".join(each.get("data", {}).get(kind, each.get("text", "") if kind == "text/plain" else ""))
            for each in found
        )

    assert "sk-top-container" in shown("search.fit", "text/html")
    bar = shown("cluster =", "text/html")
    assert bar.count("<progress") == 1, "one output that changes, not one after the other"
    assert 'value="40" max="40"' in bar
    assert "Complete, 40/40 fits" in bar
    assert "plan: 1 pod of 1 CPU and 1Gi" in bar
    assert shown("bool(") == "True"
    assert "is loaded: that runs what its file says" in shown("search.predict")
    assert "array([0, 0, 0, 0, 0])" in shown("search.predict")
    assert "Complete, 40/40 fits" in shown("run = ")
    assert "logisticregression__C" in shown("run.bless")
    assert float(shown("pipeline.set_params")) > 0.9


@pytest.mark.parametrize(
    ("divided", "column"), [({"folds": 3, "groups": "farm"}, "farm"), ({"predefined": "fold"}, "fold")]
)
def test_a_manifest_is_submitted_with_the_file_beside_it_and_its_modules(
    connect: Callable[..., Cluster], tmp_path: Path, divided: dict[str, Any], column: str
) -> None:
    X, y = load_iris(return_X_y=True, as_frame=True)
    rows = np.arange(150)
    beside = {"trust": np.linspace(0.5, 1, 150), column: rows % 4 - 1 if column == "fold" else rows % 6}
    X.assign(kind=y, **beside).to_csv(tmp_path / "iris.csv", index=False)
    (tmp_path / "ridges.py").write_text("from sklearn.linear_model import Ridge\nclass Mine(Ridge):\n    pass\n")
    document: dict[str, Any] = {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": f"of-a-file-{column}"},
        "spec": {
            "estimator": {"class": "ridges.Mine"},
            "search": {"grid": {"parameters": {"alpha": [0.1, 1.0]}}},
            "crossValidation": divided,
            "data": {"path": "iris.csv", "target": "kind", "sampleWeight": "trust"},
        },
    }
    (tmp_path / "job.yaml").write_text(to_yaml(document))
    with connect() as cluster:
        run = cluster.submit(tmp_path / "job.yaml").wait()
        spec = read_yaml(run.manifest())["spec"]
        table = run.leaderboard()
    sent = {"fold": "predefined", "farm": "groups"}[column]
    assert set(spec["data"]["uploaded"]) == {"features", "target", sent, "sampleWeight"}
    assert set(spec["code"]) == {"uploaded"}
    frame = pd.read_csv(tmp_path / "iris.csv")
    cv = GroupKFold(3) if column == "farm" else PredefinedSplit(frame["fold"])
    theirs = sklearn.model_selection.GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=cv).fit(
        frame[X.columns], frame["kind"], groups=frame.get("farm"), sample_weight=frame["trust"]
    )
    assert table["mean_test_score"].max() == theirs.best_score_
