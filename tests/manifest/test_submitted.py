"""Searches that are submitted from Python and by the command line, to a real API server.

No operator runs there: what it would write, the status and the answer's ConfigMap, is written here by its own code, from the files
of a search that ran on this machine.
"""

import base64
import gzip
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold, HalvingGridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import tuningjob
from tests.manifest.conftest import JOBS, wait_until_served
from tests.servers.apiserver import ApiServer
from tests.service.server import Register, Service
from tests.truth import assert_equal_to_the_bit, quietly_fitted
from tuningjob import Cluster
from tuningjob.artifacts.downloads import FIT_ATTRIBUTES
from tuningjob.cli.command import main
from tuningjob.cluster.access import Access, Login
from tuningjob.cluster.display import progress_display
from tuningjob.cluster.run import Run, RunProgress
from tuningjob.errors import ArtifactRefused, ClusterRefused, ClusterUnavailable, ManifestRefused, SearchFailed
from tuningjob.local import run as run_here
from tuningjob.manifest import load
from tuningjob.manifest.canonical import read_yaml, to_yaml
from tuningjob.protocol.environment import WorkerEnvironment
from tuningjob.search.problem import prepare
from tuningjob.search.stop import Stop
from tuningjob.sent.files import SentFile
from tuningjob_operator.decide.owned_objects import build_results, read_files

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

IRIS = {"loader": "sklearn.datasets.load_iris"}
SEARCH = GridSearchCV(
    make_pipeline(StandardScaler(), SVC()), {"svc__C": [0.1, 1, 1.0], "svc__kernel": ["rbf", "linear"]}, cv=3
)
HALVED = HalvingGridSearchCV(
    make_pipeline(StandardScaler(), SVC()),
    {"svc__C": [0.1, 1, 10.0], "svc__kernel": ["rbf", "linear"]},
    cv=3,
    factor=2,
    random_state=0,
    min_resources=30,
)
DRAWN = RandomizedSearchCV(
    LogisticRegression(max_iter=200),
    {"C": [0.1, 1.0, 10.0]},
    n_iter=2,
    random_state=0,
    cv=3,
    scoring=["accuracy", "f1_macro"],
    refit="f1_macro",
    return_train_score=True,
)


PLAN = {
    "pods": 3,
    "nJobs": 2,
    "innerThreads": 1,
    "cpu": "2",
    "memory": "1Gi",
    "reason": "parallelism is 3; nJobs is the floor of the CPU limit",
}


@pytest.fixture
def kubeconfig(server: ApiServer) -> Path:
    return server.kubeconfig()


@pytest.fixture
def cluster(server: ApiServer, kubeconfig: Path) -> Iterator[Cluster]:
    with Cluster(kubeconfig=kubeconfig, pods=3, cpu=2, cpu_request="500m", memory="1Gi") as cluster:
        yield cluster
    for each in server.call("GET", JOBS)["items"]:
        server.call("DELETE", f"{JOBS}/{each['metadata']['name']}")


def tell_status(server: ApiServer, name: str, status: dict[str, Any]) -> None:
    found = server.call("GET", f"{JOBS}/{name}")
    server.call("PUT", f"{JOBS}/{name}/status", {**found, "status": status})


def complete(server: ApiServer, name: str, folder: Path) -> None:
    """Run the search here, and publish it as the operator does."""
    found = server.call("GET", f"{JOBS}/{name}")
    document = {key: found[key] for key in ("apiVersion", "kind", "metadata", "spec")}
    manifest = load({**document, "spec": {**document["spec"], "resources": {"cpu": 1, "memory": "1Gi"}}})
    run_here(manifest, folder=folder, output=folder / "results", stop=Stop())
    files = read_files(lambda file: (folder / "results" / file).open("rb"))
    server.create_object("/api/v1/namespaces/default/configmaps", build_results(found, files).configmap)
    status = {"phase": "Complete", "results": f"{name}-results", "modelVersion": 1, "plan": PLAN}
    tell_status(server, name, status)


def test_a_search_object_becomes_a_tuning_job_and_the_same_again_is_the_same_run(
    server: ApiServer, cluster: Cluster, kubeconfig: Path
) -> None:
    run = cluster.submit(SEARCH, data=IRIS)
    (stored,) = server.call("GET", JOBS)["items"]
    want = tuningjob.to_manifest(SEARCH, data=IRIS)["spec"] | {
        "parallelism": 3,
        "resources": {"cpu": 2, "cpuRequest": "500m", "memory": "1Gi"},
    }
    assert load(stored).spec == load({**tuningjob.to_manifest(SEARCH, data=IRIS), "spec": want}).spec
    assert stored["metadata"]["name"] == run.name
    assert cluster.submit(SEARCH, data=IRIS).name == run.name
    assert len(server.call("GET", JOBS)["items"]) == 1
    # as after a restart of the kernel, by what the handle says of itself
    with Cluster("default", kubeconfig=kubeconfig) as another:
        again = another.attach(run.name)
        assert (repr(again), again.progress().phase) == (f"Cluster('default').attach('{run.name}')", "Pending")
        assert load(read_yaml(again.manifest())).spec == load(stored).spec
        # and the manifest of the run, submitted, is that run
        assert another.submit(read_yaml(again.manifest())).name == run.name
    with pytest.raises(ClusterRefused, match=r"another search has it \(spec\.crossValidation\.folds differ\)"):
        cluster.submit(SEARCH.__class__(**{**SEARCH.get_params(deep=False), "cv": 4}), data=IRIS, name=run.name)
    run.cancel()
    assert server.call("GET", f"{JOBS}/{run.name}")["spec"]["cancel"] is True


@pytest.mark.filterwarnings("ignore:.*small:UserWarning")
@pytest.mark.parametrize("search", [DRAWN, HALVED], ids=["random", "halving"])
def test_the_result_is_what_fit_leaves(
    server: ApiServer, cluster: Cluster, kubeconfig: Path, tmp_path: Path, search: Any
) -> None:
    run = cluster.submit(search, data=IRIS)
    told: list[RunProgress] = []

    def tell(progress: RunProgress) -> None:
        """What the status becomes while somebody watches."""
        told.append(progress)
        if len(told) == 1:
            tell_status(
                server,
                run.name,
                {"phase": "Running", "progress": {"done": 3, "failed": 0, "total": 18, "text": "3/18"}},
            )
        elif len(told) == 2:
            complete(server, run.name, tmp_path)

    with pytest.raises(ClusterRefused, match=r"must be complete, but it is not yet: Pending\. Wait for it"):
        run.result()
    assert run.wait(tell=tell, timeout=120) is run
    plan = "3 pods of 2 CPU and 1Gi, 2 fits at once in each: parallelism is 3; nJobs is the floor of the CPU limit"
    assert run.plan() == plan
    # tell=print shows the plan, too
    assert [str(each) for each in told] == ["Pending", "Running, 3/18 fits", f"plan: {plan}\nComplete"]
    assert str(run.progress()) == "Complete"

    spec = load(server.call("GET", f"{JOBS}/{run.name}")).spec
    want = quietly_fitted(search.__class__(**search.get_params(deep=False)), prepare(spec, Path()))
    with Cluster(kubeconfig=kubeconfig) as another:
        for found in (run.result(), another.attach(run.name).result()):
            assert_equal_to_the_bit(found.cv_results_, want.cv_results_)
            for name in ("best_index_", "best_params_", "best_score_", "n_splits_", "multimetric_"):
                assert (getattr(found, name), type(getattr(found, name))) == (
                    getattr(want, name),
                    type(getattr(want, name)),
                )
            assert found.refit_time_ > 0.0
            for name in FIT_ATTRIBUTES[1:]:  # of halving
                assert repr(getattr(found, name, None)) == repr(getattr(want, name, None)), name
            assert str(found.scorer_) == str(want.scorer_)
            # to be looked at is not to be asked for the model, which nobody could fetch here
            assert "sk-top-container" in found._repr_html_()
            assert isinstance(found, type(search))
        assert repr(run.result().get_params()) == repr(search.get_params())
    assert run.leaderboard()["candidate"].iloc[0] == want.best_index_
    assert run.verdict() == (tmp_path / "results/verdict.txt").read_text()
    assert (
        main(["verify", run.name, "--all", "--kubeconfig", str(kubeconfig)]) == 0
    )  # from the manifest and the answer alone
    # nothing was loaded by then, and nobody has said where the results service is
    with pytest.raises(ClusterRefused, match="service: must be the URL of the results service"):
        _ = run.result().best_estimator_


def test_results_of_another_search_are_refused(server: ApiServer, cluster: Cluster, tmp_path: Path) -> None:
    run = cluster.submit(SEARCH, data=IRIS, name="forged")
    complete(server, "forged", tmp_path)
    path = "/api/v1/namespaces/default/configmaps/forged-results"
    answer = server.call("GET", path)
    for content, want in ((b"params\n1\n", ArtifactRefused), (b"\0" * 10, ArtifactRefused)):
        packed = base64.b64encode(gzip.compress(content)).decode()
        server.call(
            "PUT", path, {**answer, "metadata": {"name": "forged-results"}, "binaryData": {"cv_results.csv.gz": packed}}
        )
        with pytest.raises(want, match=r"cv_results\.csv: must be"):
            run.result()
    packed = base64.b64encode(b"no gzip").decode()
    server.call(
        "PUT", path, {**answer, "metadata": {"name": "forged-results"}, "binaryData": {"cv_results.csv.gz": packed}}
    )
    with pytest.raises(ClusterRefused, match="must be packed by gzip"):
        run.result()


def test_what_fails_says_why(server: ApiServer, cluster: Cluster) -> None:
    run = cluster.submit(SEARCH, data=IRIS, name="failing")
    condition = {
        "type": "Failed",
        "status": "True",
        "reason": "OutOfMemory",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    tell_status(server, "failing", {"phase": "Failed", "conditions": [condition | {"message": "a pod had too little"}]})
    for ask in (run.wait, run.result, run.leaderboard):
        with pytest.raises(SearchFailed, match="failing: OutOfMemory: a pod had too little"):
            ask()
    run.delete()
    with pytest.raises(
        ClusterRefused, match="failing: must be a TuningJob in the namespace default, but there is none"
    ):
        run.progress()


def test_who_waits_too_long_is_told_how_far_it_is(cluster: Cluster) -> None:
    with pytest.raises(TimeoutError, match="must be over within 1 seconds, but is not: Pending"):
        cluster.submit(SEARCH, data=IRIS).wait(timeout=1)


def test_ctrl_c_leaves_it_running_and_a_second_one_cancels_it(
    server: ApiServer, cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = cluster.submit(SEARCH, data=IRIS)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tuningjob.cluster.run._AGAIN_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        run.wait(tell=interrupt)
    assert f"{run.name} goes on. Back to it: Cluster('default').attach('{run.name}')" in capsys.readouterr().err
    assert not server.call("GET", f"{JOBS}/{run.name}")["spec"].get("cancel")
    monkeypatch.setattr("tuningjob.cluster.run.time.sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run.wait(tell=interrupt)
    assert server.call("GET", f"{JOBS}/{run.name}")["spec"]["cancel"] is True


def test_an_api_server_that_is_away_for_a_while_is_waited_for_and_the_progress_comes_back(
    server: ApiServer, cluster: Cluster, capsys: pytest.CaptureFixture[str]
) -> None:
    run = cluster.submit(SEARCH, data=IRIS)
    show = progress_display(run.name)
    told: list[str] = []

    def come_back() -> None:
        server.start()
        wait_until_served(server)
        tell_status(server, run.name, {"phase": "Complete", "plan": PLAN})

    coming = Thread(target=come_back)

    def tell(progress: RunProgress) -> None:
        show(progress)
        told.append(progress.phase)
        if len(told) == 1:
            server.stop()
            coming.start()

    try:
        run.wait(tell=tell, timeout=120)
    finally:
        coming.join()
    assert (told[0], told[-1]) == ("Pending", "Complete")
    assert f"{run.name}: plan: 3 pods of 2 CPU and 1Gi" in capsys.readouterr().err


PLUG_IN = """
import datetime, json, pathlib, sys
told = pathlib.Path(sys.argv[1])
said = told.read_text().split()
(token, seconds), left = said[0].split(","), said[1:]
told.write_text(" ".join(left or said))
if token == "fails":
    sys.exit("you have to log in first")
end = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=float(seconds))
status = {"token": token, "expirationTimestamp": end.strftime("%Y-%m-%dT%H:%M:%SZ")}
print(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status}))
"""


def plugged_in(server: ApiServer, folder: Path, *answers: str) -> Path:
    """A kubeconfig whose plug-in gives these tokens one after the other, each with the seconds until it ends."""
    (folder / "plug_in.py").write_text(PLUG_IN)
    (folder / "answers").write_text(" ".join(answers))
    document = json.loads(server.kubeconfig().read_text())
    command = {"command": sys.executable, "args": [str(folder / "plug_in.py"), str(folder / "answers")]}
    plug_in = {"apiVersion": "client.authentication.k8s.io/v1", "interactiveMode": "Never", **command}
    document["users"][0]["user"] = {"exec": plug_in}
    path = folder / "plugged-in"
    path.write_text(json.dumps(document))
    return path


def test_who_a_plug_in_says_one_is_may_end_and_is_asked_for_again(server: ApiServer, tmp_path: Path) -> None:
    # the first one has ended before it is used
    with Cluster(kubeconfig=plugged_in(server, tmp_path, "ended,-1", f"{server.token_of('admin')},3600")) as cluster:
        run = cluster.submit(SEARCH, data=IRIS)
        assert run.progress().phase == "Pending"
        # nobody has said that it ends, and then the API server does not know it any more
        known = f"{server.token_of('admin')},3600"
        for answers, error, told in (
            (("nobodys,3600", known), TimeoutError, "but is not: Pending"),
            (("nobodys,3600",), ClusterRefused, "must know who you are, but does not"),
        ):
            with Cluster(kubeconfig=plugged_in(server, tmp_path, *answers)) as it, pytest.raises(error, match=told):
                Run(it._access, run.name, service=it._service).wait(timeout=4)
        run.delete()
    with pytest.raises(
        ClusterRefused, match=r"a kubeconfig whose plug-in says who you are, .*you have to log in first"
    ):
        Cluster(kubeconfig=plugged_in(server, tmp_path, "fails,0"))


def test_a_token_that_the_service_takes_no_more_is_renewed_in_the_midst_of_an_upload(
    server: ApiServer, tmp_path: Path
) -> None:
    first, second = server.token_of("admin"), "another"

    class Forgetful(Register):
        """Knows the first token until it has taken two parts."""

        parts = 0

        async def name(self, token: str, *, verb: str, namespace: str, peer: str = "") -> str:
            self.parts += verb == "update" and token == first
            if self.parts > 2:
                self.names.pop(first, None)
            return await super().name(token, verb=verb, namespace=namespace, peer=peer)

    register = Forgetful()
    register.enter("ann", "get", "update", namespace="default")
    register.names = {first: "ann", second: "ann"}
    service = Service(tmp_path / "service", max_artifact_bytes=2**26, persons=lambda: register)
    service.start()
    try:
        kubeconfig = plugged_in(server, tmp_path, f"{first},3600", f"{second},3600")
        path = tmp_path / "data"
        path.write_bytes(os.urandom(20 * 2**20))
        file = SentFile(path, hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_size)
        said: list[str] = []
        with Cluster(kubeconfig=kubeconfig, service=service.url) as cluster:
            cluster._service.send({"X": file}, said.append)
            cluster._service.send({"X": file}, said.append)
    finally:
        service.close()
    assert first not in register.names, "it was renewed before it had to be"
    assert said == [f"X: {part} of 20 MiB sent" for part in (0, 4, 8, 12, 16)], "a part was sent twice"


def test_each_connection_through_the_api_server_goes_to_a_pod_that_is_ready_then(
    server: ApiServer, kubeconfig: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pods, opened = "/api/v1/namespaces/default/pods", []
    labels = {"app": "results"}
    ports = [{"name": "http", "port": 8080}]
    service = {"metadata": {"name": "tuningjob-results"}, "spec": {"selector": labels, "ports": ports}}
    server.create_object("/api/v1/namespaces/default/services", service)

    def replace(before: str, name: str) -> None:
        if before:
            server.call("DELETE", f"{pods}/{before}?gracePeriodSeconds=0")
        if name:
            container = {"name": "a", "image": "a", "ports": [{"name": "results", "containerPort": 8080 + len(name)}]}
            body = {"metadata": {"name": name, "labels": labels}, "spec": {"containers": [container]}}
            made = server.create_object(pods, body)
            ready = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
            server.call("PUT", f"{pods}/{name}/status", {**made, "status": ready})

    class Opened:
        def __init__(self, _: object, pod: str, __: str, *, ports: str) -> None:
            opened.append((pod, ports))

        def socket(self, port: int) -> int:
            return port

    monkeypatch.setattr("kubernetes.stream.portforward", Opened)
    access = Access(Login(kubeconfig=kubeconfig), "default")
    try:
        scheme, connect = access.dial("tuningjob", "default")
        for before, name in (("", "one"), ("one", "other"), ("other", "")):
            replace(before, name)
            if name:
                assert (scheme, connect()) == ("http", 8080 + len(name))
        with pytest.raises(ClusterUnavailable, match="must have a pod that is ready, but has none"):
            connect()
        assert opened == [("one", "8083"), ("other", "8085")]
    finally:
        access.close()
        server.call("DELETE", "/api/v1/namespaces/default/services/tuningjob-results")


def test_data_that_pods_read_are_named_in_the_place_of_x(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    run = cluster.submit(SEARCH, data=IRIS)
    assert cluster.submit(SEARCH, IRIS).name == run.name
    by_groups = SEARCH.__class__(**{**SEARCH.get_params(deep=False), "cv": GroupKFold(3)})
    weights: dict[str, Any] = {"svc__sample_weight": "trust"}
    url = "s3://bucket/churn.parquet"
    spec = read_yaml(cluster.submit(by_groups, url, "churned", groups="who", **weights).manifest())["spec"]
    filled_in: dict[str, Any] = {"params": {}}  # by the API server
    assert spec["data"] == {"url": url, "target": "churned", "sampleWeight": "trust", **filled_in}
    assert spec["crossValidation"]["groups"] == "who"
    claim = {"path": "a.csv", "persistentVolumeClaim": "data", "target": "churned"}
    assert read_yaml(cluster.submit(SEARCH, claim).manifest())["spec"]["data"] == {**claim, **filled_in}
    for X, y, params, said in (
        (url, [0, 1], {}, None),
        (url, (0, 1), {}, "y: must be the name of a column, where X names data that pods read, but got (0, 1)"),
        (claim, "other", {}, "y: must be left out beside a target in X, but got 'other'"),
        (url, "y", {"groups": 3}, "groups: must be the name of a column"),
        (url, "y", {"callback": "a"}, "callback: must be groups or svc__sample_weight"),
        ("churn.csv", "y", {}, "spec.data.url: must be the URL of a file"),
    ):
        with pytest.raises(ManifestRefused) as refused:
            cluster.submit(SEARCH, X, y, **params)
        assert said is None or said in str(refused.value)
    # nothing is sent, but if the service can be asked what pods have, that is told
    other = WorkerEnvironment(python="3.11.2", packages={"scikit-learn": "1.8.0"})
    monkeypatch.setattr("tuningjob.cluster.service.Service.environment", lambda _: other)
    with pytest.raises(ManifestRefused, match=r"scikit-learn: must be 1\.8, as pods have it"):
        cluster.submit(DRAWN, data=IRIS, name="another")


REFUSED: dict[str, tuple[Callable[[ApiServer, Path], object], type[Exception], str]] = {
    "a token of nobody": (
        lambda server, _: Cluster(server=server.url, token="nobodys", ca_file=server.ca_file).attach("a"),
        ClusterRefused,
        "must know who you are, but does not",
    ),
    "no token": (lambda server, _: Cluster(server=server.url), ClusterRefused, "token: must be given beside server"),
    "no kubeconfig": (lambda _, folder: Cluster(kubeconfig=folder / "none"), ClusterRefused, "kubeconfig: must be a file that is there"),
    "a kubeconfig that is none": (
        lambda _, folder: Cluster(kubeconfig=written(folder / "bad", "{contexts: 3")),
        ClusterRefused,
        "must be a kubeconfig that can be used",
    ),
    "another context": (
        lambda server, _: Cluster(kubeconfig=server.kubeconfig(), context="prod"),
        ClusterRefused,
        r"context: must be one of .* \(test\), but got 'prod'",
    ),
    "an API server that is away": (
        lambda _, __: Cluster(server="https://127.0.0.1:9", token="a").attach("a"),
        ClusterUnavailable,
        "https://127.0.0.1:9: must be an API server that answers",
    ),
    "a namespace that is not there": (
        lambda server, _: Cluster("nowhere", kubeconfig=server.kubeconfig()).submit(SEARCH, data=IRIS),
        ClusterRefused,
        'namespaces "nowhere" not found',
    ),
    "a search that is not there": (
        lambda server, _: Cluster(kubeconfig=server.kubeconfig()).attach("churn"),
        ClusterRefused,
        "churn: must be a TuningJob in the namespace default, but there is none",
    ),
    "no data": (
        lambda server, _: Cluster(kubeconfig=server.kubeconfig()).submit(SEARCH),
        ManifestRefused,
        "X: must be given, or data in its place, but got none",
    ),
    "a lambda": (
        lambda server, _: Cluster(kubeconfig=server.kubeconfig()).submit(GridSearchCV(SVC(), {"C": [lambda: 0]}), data=IRIS),
        ManifestRefused,
        r"param_grid\['C'\]\[0\]: must be what a manifest can say",
    ),
    "a manifest that is none": (
        lambda server, _: Cluster(kubeconfig=server.kubeconfig()).submit({"kind": "Pod"}),
        ManifestRefused,
        "must be",
    ),
}  # fmt: skip


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_is_one_sentence(server: ApiServer, tmp_path: Path, what: str) -> None:
    ask, error, sentence = REFUSED[what]
    with pytest.raises(error, match=sentence):
        ask(server, tmp_path)


@pytest.mark.usefixtures("cluster")
def test_the_command_submits_watches_shows_and_cancels(
    server: ApiServer, kubeconfig: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "job.yaml"
    file.write_text(to_yaml(tuningjob.to_manifest(SEARCH, data=IRIS, name="flowers")))

    def command(*arguments: object) -> tuple[int, str, str]:
        code = main([*map(str, arguments), "--kubeconfig", str(kubeconfig)])
        told = capsys.readouterr()
        return int(code), told.out, told.err

    assert command("submit", file) == (0, "", "flowers is in the namespace default.\n")
    code, _, err = command("results", "flowers")
    assert (code, "flowers: must be complete, but it is not yet: Pending." in err.replace("\n", " ")) == (2, True)
    assert command("cancel", "flowers")[0] == 0
    assert server.call("GET", f"{JOBS}/flowers")["spec"]["cancel"] is True
    complete(server, "flowers", tmp_path)
    verdict = (tmp_path / "results/verdict.txt").read_text()
    for words in (("watch", "flowers"), ("results", "flowers", "--output", tmp_path / "found")):
        code, out, err = command(*words)
        assert (code, "".join(out.split())) == (0, "".join(verdict.split()))
        assert ("plan: 3 pods of 2 CPU and 1Gi" in " ".join(err.split())) == (words[0] == "watch")
    assert (tmp_path / "found/cv_results.csv").read_bytes() == (tmp_path / "results/cv_results.csv").read_bytes()
    assert json.loads((tmp_path / "found/best_params.json").read_text()) == json.loads(
        (tmp_path / "results/best_params.json").read_text()
    )
    code, _, err = command("watch", "churn")
    assert (code, "there is none" in err) == (2, True)
