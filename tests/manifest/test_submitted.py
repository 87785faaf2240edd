"""Searches that are submitted from Python and by the command line, to a real API server.

No operator runs there: what it would write, the status and the answer's ConfigMap, is written here by its own code, from the files
of a search that ran on this machine.
"""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import tuningjob
from tests.manifest.conftest import JOBS
from tests.servers.apiserver import ApiServer
from tests.truth import assert_equal_to_the_bit, quietly_fitted
from tuningjob import Cluster
from tuningjob.cli.command import main
from tuningjob.cluster.run import RunProgress
from tuningjob.errors import ArtifactRefused, ClusterRefused, ClusterUnavailable, ManifestRefused, SearchFailed
from tuningjob.local import run as run_here
from tuningjob.manifest import load
from tuningjob.manifest.canonical import read_yaml, to_yaml
from tuningjob.search.problem import prepare
from tuningjob.search.stop import Stop
from tuningjob_operator.decide.owned_objects import build_results, read_files

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

IRIS = {"loader": "sklearn.datasets.load_iris"}
SEARCH = GridSearchCV(
    make_pipeline(StandardScaler(), SVC()), {"svc__C": [0.1, 1, 1.0], "svc__kernel": ["rbf", "linear"]}, cv=3
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


@pytest.fixture
def kubeconfig(server: ApiServer) -> Path:
    return server.kubeconfig()


@pytest.fixture
def cluster(server: ApiServer, kubeconfig: Path) -> Iterator[Cluster]:
    with Cluster(kubeconfig=kubeconfig, pods=3, cpu=2, memory="1Gi") as cluster:
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
    tell_status(server, name, {"phase": "Complete", "results": f"{name}-results", "modelVersion": 1})


def test_a_search_object_becomes_a_tuning_job_and_the_same_again_is_the_same_run(
    server: ApiServer, cluster: Cluster, kubeconfig: Path
) -> None:
    run = cluster.submit(SEARCH, data=IRIS)
    (stored,) = server.call("GET", JOBS)["items"]
    want = tuningjob.to_manifest(SEARCH, data=IRIS)["spec"] | {
        "parallelism": 3,
        "resources": {"cpu": 2, "memory": "1Gi"},
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
@pytest.mark.parametrize("search", [SEARCH, DRAWN], ids=["grid", "random"])
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
    assert [str(each) for each in told] == ["Pending", "Running, 3/18 fits", "Complete"]

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
            assert str(found.scorer_) == str(want.scorer_)
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
        code, out, _ = command(*words)
        assert (code, "".join(out.split())) == (0, "".join(verdict.split()))
    assert (tmp_path / "found/cv_results.csv").read_bytes() == (tmp_path / "results/cv_results.csv").read_bytes()
    assert json.loads((tmp_path / "found/best_params.json").read_text()) == json.loads(
        (tmp_path / "results/best_params.json").read_text()
    )
    code, _, err = command("watch", "churn")
    assert (code, "there is none" in err) == (2, True)
