"""`tuningjob export`: what came of a search, read back by those whom it was written for."""

import json
import math
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest

import tuningjob
from tests.local.commands import Ended, begun, written
from tests.servers import buckets, mlflow

pytestmark = pytest.mark.slow

Ask = Callable[..., Ended]
SMALL = {
    "apiVersion": "tuningjob.dev/v1alpha1",
    "kind": "TuningJob",
    "metadata": {"name": "small"},
    "spec": {
        "estimator": {
            "pipeline": [
                {"name": "scaler", "class": "sklearn.preprocessing.StandardScaler"},
                {"name": "m", "class": "sklearn.linear_model.LogisticRegression"},
            ]
        },
        "search": {
            "grid": {
                "parameters": [
                    {"m__C": [0.01, 0.1, 1.0], "m__max_iter": [50, 100], "m__class_weight": [None, "balanced"]},
                    {"scaler__with_mean": [True, False], "m__l1_ratio": [0.0, 1.0]},
                ]
            }
        },
        "crossValidation": {"folds": 3},
        "scoring": ["accuracy", "f1_macro"],
        "refit": "accuracy",
        "baseline": False,
        "data": {"loader": "sklearn.datasets.load_iris"},
    },
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A search of two maps: 16 candidates, two of which fail."""
    place = tmp_path_factory.mktemp("searched")
    search = begun("run", written(SMALL, place), "--output", "small", cwd=place, HOME=str(place))
    _, said = search.communicate(timeout=120)
    assert search.returncode == 0, said
    return place / "small"


def results(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "cv_results.csv")


def test_tables_are_the_search_s_own_or_made_of_each_other(folder: Path, inside: Ask, tmp_path: Path) -> None:
    assert inside("export", folder, "--csv", "a.csv", "--parquet", "a.parquet").returncode == 0
    assert (tmp_path / "a.csv").read_bytes() == (folder / "cv_results.csv").read_bytes()
    assert (tmp_path / "a.parquet").read_bytes() == (folder / "cv_results.parquet").read_bytes()
    for name in ("csv", "parquet"):
        other = tmp_path / name
        other.mkdir()
        (other / f"cv_results.{name}").write_bytes((tmp_path / f"a.{name}").read_bytes())
        assert inside("export", name, "--csv", "b.csv", "--parquet", "b.parquet").returncode == 0
        pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "b.csv"), results(folder))
        scores = [each for each in results(folder) if "test" in str(each)]
        made = tuningjob.read_results(tmp_path / "b.parquet")[scores]
        pd.testing.assert_frame_equal(made, results(folder)[scores], check_dtype=False)


@pytest.mark.parametrize("name", ["study.db", "study.journal"])
def test_optuna_reads_every_candidate_back_to_the_bit(folder: Path, inside: Ask, tmp_path: Path, name: str) -> None:
    done = inside("export", folder, "--optuna", name)
    assert done == Ended(0, f"{name}: a study of 16 trials\n", "")
    path = str(tmp_path / name)
    storage: Any = (
        optuna.storages.RDBStorage(f"sqlite:///{path}")
        if name.endswith(".db")
        else optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(path))
    )
    (summary,) = optuna.get_all_study_summaries(storage)
    assert (summary.study_name, summary.n_trials) == ("small", 16)
    study, frame = optuna.load_study(study_name="small", storage=storage), results(folder)
    best = json.loads((folder / "best_params.json").read_text())
    assert study.best_trial.params == tuningjob.from_literals(best)
    for row, trial in enumerate(study.trials):
        mean = frame["mean_test_accuracy"][row]
        assert trial.number == row
        assert trial.params == tuningjob.from_literals(json.loads(frame["params"][row]))
        if math.isnan(mean):
            assert trial.state is optuna.trial.TrialState.FAIL
        else:
            assert trial.value == mean
            assert trial.user_attrs["splits"] == [frame[f"split{k}_test_accuracy"][row] for k in range(3)]
            assert trial.user_attrs["mean f1_macro"] == frame["mean_test_f1_macro"][row]
    kinds = {name: type(each).__name__ for trial in study.trials for name, each in trial.distributions.items()}
    assert kinds["m__C"] == "FloatDistribution"
    assert kinds["m__max_iter"] == "IntDistribution"
    assert kinds["m__class_weight"] == kinds["scaler__with_mean"] == "CategoricalDistribution"
    if name.endswith(".db"):
        storage.remove_session()
        storage.engine.dispose()
    again = inside("export", folder, "--optuna", name)
    assert (again.returncode, again.stdout) == (3, "")
    assert again.stderr == f"{name}: must not have a study 'small' yet, but has one. Name another file.\n"


def test_a_version_of_a_key_is_exported_as_its_folder_is(folder: Path, inside: Ask, tmp_path: Path) -> None:
    options = ["--journal", folder / "tuning.db", "--version", "1"]
    assert inside("export", "small", "--csv", "a.csv", "--optuna", "a.db", *options).returncode == 0
    assert (tmp_path / "a.csv").read_bytes() == (folder / "cv_results.csv").read_bytes()


def test_what_cannot_be_done_is_a_sentence(
    folder: Path, inside: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "must be given, at least one of them" in inside("export", folder).stderr
    assert "a file must be one that can be written" in inside("export", folder, "--csv", "no/such/a.csv").stderr
    (tmp_path / "empty").mkdir()
    assert "FOLDER: must be a folder with a cv_results.csv" in inside("export", "empty", "--csv", "a.csv").stderr
    for extra, options in {"mlflow": ["--mlflow", "http://127.0.0.1:9"], "optuna": ["--optuna", "b.db"]}.items():
        monkeypatch.setitem(sys.modules, extra, None)
        monkeypatch.delitem(sys.modules, f"tuningjob.exports.to_{extra}", raising=False)
        monkeypatch.delattr(f"tuningjob.exports.to_{extra}", raising=False)
        done = inside("export", folder, *options)
        told = (
            f"Error: --{extra} needs the extra '{extra}' ({extra} is not installed): pip install 'tuningjob[{extra}]'\n"
        )
        assert (done.returncode, done.stderr) == (2, told)


def test_a_search_that_is_to_be_exported_where_no_mlflow_is_installed_is_refused_before_its_first_fit(
    inside: Ask, tmp_path: Path
) -> None:
    spec = {**SMALL["spec"], "exports": {"mlflow": {"uri": "http://127.0.0.1:9"}}}  # type: ignore[dict-item]
    done = inside("run", written({**SMALL, "spec": spec}, tmp_path))
    assert done.returncode == 2
    assert "spec.exports.mlflow: must be beside an mlflow that is installed where the search runs" in done.stderr


def test_a_manifest_s_study_and_table_are_written_as_its_search_ends_and_what_does_not_take_them_is_a_warning(
    inside: Ask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(name: str, exports: dict[str, Any]) -> str:
        place = tmp_path / name
        place.mkdir()
        spec = {**SMALL["spec"], "exports": exports}  # type: ignore[dict-item]
        document = {**SMALL, "metadata": {"name": "small"}, "spec": spec}
        done = inside("run", written(document, place), "--output", place / "out")
        assert done.returncode == 0, done.stderr
        return " ".join(done.stderr.split())

    studies = f"sqlite:///{tmp_path / 'studies.db'}"
    monkeypatch.setenv("STUDIES", studies)
    with buckets.s3(tmp_path / "s3") as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        exports = {"optuna": {"urlFrom": "STUDIES"}, "table": {"url": "s3://models/small.parquet"}}
        assert "NotExported" not in run("one", exports)
        assert "NotExported" not in run("two", {**exports, "table": {"url": "s3://models/team/small.csv"}})
        files = [server.bucket / name for name in ("small.parquet", "team/small.csv")]
        wanted = [tmp_path / "one/out/cv_results.parquet", tmp_path / "two/out/cv_results.csv"]
        assert [file.read_bytes() for file in files] == [file.read_bytes() for file in wanted]
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-and-not-to-be-told")
        monkeypatch.setenv("STUDIES", "postgresql+psycopg://ada:secret-of-ada@127.0.0.1:9/studies")
        said = run("away", exports)
    assert (
        "NotExported: spec.exports.table: s3://models/small.parquet: must be an object that may be written, but: "
        in said
    )
    assert "NotExported: spec.exports.optuna: the database did not take the study 'small': " in said
    assert "wrong-and" not in said
    assert "secret-of" not in said
    assert "STUDIES: must be a variable that is set, but is not" in run(
        "unset", {"optuna": {"urlFrom": "NOBODYS"}}
    ).replace("NOBODYS", "STUDIES")
    storage = optuna.storages.RDBStorage(studies)
    # the second search of this name has a study of its own
    assert sorted(each.study_name for each in optuna.get_all_study_summaries(storage)) == ["small", "small-2"]
    study = optuna.load_study(study_name="small-2", storage=storage)
    means = results(tmp_path / "two/out")["mean_test_accuracy"]
    assert [trial.value for trial in study.trials] == [None if math.isnan(mean) else mean for mean in means]
    storage.remove_session()
    storage.engine.dispose()


# --- MLflow, whose server and client are in an environment of their own, which the first of these tests may have to bring

with_mlflow = pytest.mark.timeout(1_200)
AWAY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mlflow.TrackingServer]:
    with mlflow.tracking_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


def by_its_python(script: str, *words: str, cwd: Path) -> "subprocess.CompletedProcess[str]":
    """One process for all that a test asks, because it imports MLflow for seconds."""
    environment = {**mlflow.environment(), "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}
    return subprocess.run(
        [mlflow.python(), "-c", script, *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        env=environment,
        timeout=600,
        check=False,
    )


# mlflow-skinny, which is what the extra brings, comes without skops
EXPORTED = """
import sys
sys.modules["skops"] = None
from tuningjob.cli.command import main
folder, url, away = sys.argv[1:]
for uri in (away, url):
    print(int(main(["export", folder, "--children", "16", "--mlflow", uri])), flush=True)
import mlflow
from sklearn.datasets import load_iris
mlflow.set_tracking_uri(url)
(run,) = mlflow.search_runs(experiment_names=["small"], filter_string="tags.metric = 'accuracy'", output_format="list")
print(mlflow.pyfunc.load_model(f"runs:/{run.info.run_id}/model").predict(load_iris().data[:2]))
"""


@with_mlflow
def test_mlflow_s_own_server_has_the_parent_the_best_as_children_the_files_and_the_model(
    folder: Path, server: mlflow.TrackingServer, tmp_path: Path
) -> None:
    done = by_its_python(EXPORTED, str(folder), server.url, AWAY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    away, told, code, predicted = done.stdout.splitlines()
    assert (away, code, predicted) == ("4", "0", "[0 0]"), done.stderr
    assert done.stderr.startswith(f"{AWAY}: MLflow did not take it: ")
    assert "Traceback" not in done.stderr
    parent = told.removeprefix("small: run ")

    run = server.ask(f"runs/get?run_id={parent}")["run"]
    best, frame = json.loads((folder / "best_params.json").read_text()), results(folder)
    assert {each["key"]: each["value"] for each in run["data"]["params"]} == {
        key: str(value) for key, value in tuningjob.from_literals(best).items()
    }
    assert run["info"]["status"] == "FINISHED"
    scores = {each["key"]: each["value"] for each in run["data"]["metrics"]}
    assert scores["mean_test_accuracy"] == frame["mean_test_accuracy"].max()
    assert scores["mean_test_f1_macro"] in set(frame["mean_test_f1_macro"])
    children = server.runs("small", filter=f"tags.mlflow.parentRunId = '{parent}'")
    assert len(children) == 16
    failed = [each for each in children if each["info"]["status"] == "FAILED"]
    assert len(failed) == int(frame["mean_test_accuracy"].isna().sum())
    names = {each["path"] for each in server.ask(f"artifacts/list?run_id={parent}")["files"]}
    assert names >= {"report.html", "verdict.txt", "cv_results.csv", "best_params.json", "model"}


RUN = """
import sys
from tuningjob.cli.command import main
for name in sys.argv[1:]:
    assert main(["run", f"{name}/job.yaml", "--output", f"{name}/out"]) == 0
    print(f"{name} is over", file=sys.stderr, flush=True)
"""


@with_mlflow
def test_a_manifest_s_exports_are_done_as_its_search_ends_and_a_server_that_is_away_is_a_warning(
    server: mlflow.TrackingServer, tmp_path: Path
) -> None:
    for name, uri in (("there", server.url), ("away", AWAY)):
        (tmp_path / name).mkdir()
        exported = {"uri": uri, "experiment": "exported", "children": 2, "model": False}
        spec = {**SMALL["spec"], "exports": {"mlflow": exported}}  # type: ignore[dict-item]
        written({**SMALL, "spec": spec}, tmp_path / name)
    done = by_its_python(RUN, "there", "away", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    there, away = (" ".join(part.split()) for part in done.stderr.split("there is over"))
    assert "NotExported" not in there
    assert f"NotExported: spec.exports.mlflow: {AWAY}: MLflow did not take it: " in away
    assert len(server.runs("exported")) == 3
