"""A search as runs of MLflow: a parent run with the answer, its files and its model, and the best candidates as its children."""

import math
import os
import re
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")


from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from tuningjob import __version__
from tuningjob.artifacts.downloads import Sidecar, load_model
from tuningjob.errors import ServiceUnavailable
from tuningjob.exports.values import texts
from tuningjob.manifest.wellknown import MODEL_FILE, RESULT_FILES, SEARCH_FILE, SIDECAR_FILE
from tuningjob.report.table import ResultTable

# what MLflow's REST API takes in one call, and as one value
_MOST_PARAMS: Final = 100
_MOST_METRICS: Final = 1_000
_LONGEST_VALUE: Final = 6_000
_LONGEST_KEY: Final = 250
_NOT_IN_KEYS: Final = re.compile(r"[^\w\-./ ]", re.ASCII)
_PARENT: Final = "mlflow.parentRunId"


def log_search(table: ResultTable, folder: Path, uri: str, *, experiment: str, children: int, model: bool) -> str:
    """Log a search to the tracking server, or the store, at ``uri``; returns the parent run's id.

    Its files are those in ``folder``. Raises ServiceUnavailable with what MLflow says, ArtifactRefused for a model other than the
    stored one.
    """
    try:
        return _written(MlflowClient(tracking_uri=uri), table, folder, experiment, children=children, model=model)
    except MlflowException as error:
        raise ServiceUnavailable(
            f"{_without_password(uri)}: MLflow did not take it: {str(error).splitlines()[0][:500]}"
        ) from None


def _written(
    client: MlflowClient, table: ResultTable, folder: Path, experiment: str, *, children: int, model: bool
) -> str:
    found = client.get_experiment_by_name(experiment)
    there = client.create_experiment(experiment) if found is None else found.experiment_id
    name = table.origin.name or "search"
    parent = client.create_run(
        there, run_name=name, tags={"tuningjob": __version__, "metric": table.metric.told}
    ).info.run_id
    status = "FAILED"
    try:
        _log(client, parent, table, table.best)
        order = sorted(range(table.size), key=lambda row: (-_of(table, row), row))[:children]
        for row in order:
            child = client.create_run(
                there, run_name=f"{name} {row}", tags={_PARENT: parent, "candidate": str(row)}
            ).info.run_id
            _log(client, child, table, row)
            client.set_terminated(child, _status(table, row))
        for each in RESULT_FILES:
            if (folder / each).is_file() and each not in {MODEL_FILE, SEARCH_FILE}:
                client.log_artifact(parent, str(folder / each))
        if model and (folder / MODEL_FILE).is_file():
            _log_model(client, parent, folder)
        status = "FINISHED"
    finally:
        client.set_terminated(parent, status)
    return str(parent)


def _status(table: ResultTable, row: int) -> str:
    if table.pruned[row]:
        return "KILLED"
    return "FAILED" if table.failed[row] else "FINISHED"


def _of(table: ResultTable, row: int) -> float:
    mean = float(table.means[row])
    return mean if math.isfinite(mean) else -math.inf


def _log(client: MlflowClient, run: str, table: ResultTable, row: int) -> None:
    """Log a candidate's parameters and scores: means, and for each metric its splits as steps."""
    now = int(time.time() * 1000)
    params = [Param(key, value[:_LONGEST_VALUE]) for key, value in _keyed(texts(table, row))]
    metrics = [Metric(key, value, now, step) for key, value, step in _numbers(table, row) if math.isfinite(value)]
    for start in range(0, len(params), _MOST_PARAMS):
        client.log_batch(run, params=params[start : start + _MOST_PARAMS])
    for start in range(0, len(metrics), _MOST_METRICS):
        client.log_batch(run, metrics=metrics[start : start + _MOST_METRICS])
    client.log_batch(run, tags=[RunTag("candidate", str(row))])


def _numbers(table: ResultTable, row: int) -> Iterator[tuple[str, float, int]]:
    for metric in table.metrics:
        yield _key(f"mean_test_{metric.told}"), float(metric.means[row]), 0
        for split, score in enumerate(metric.folds[row].tolist()):
            yield _key(f"test_{metric.told}"), score, split
    yield "standard_error", float(table.metric.errors[row]), 0
    if table.train is not None:
        yield _key(f"mean_train_{table.metric.told}"), float(table.train[row]), 0
    yield "fit_seconds", float(table.fit_seconds[row]), 0


def _keyed(params: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """The parameters under keys that MLflow takes, each key once."""
    seen: set[str] = set()
    for name, value in params:
        key = _key(name)
        while key in seen:
            key = f"{key[: _LONGEST_KEY - 1]}_"
        seen.add(key)
        yield key, value


def _key(name: str) -> str:
    return _NOT_IN_KEYS.sub("_", name)[:_LONGEST_KEY].strip("./ ") or "_"


def _log_model(client: MlflowClient, run: str, folder: Path) -> None:
    """Log the model in MLflow's format, which its own tools load and serve: `runs:/…/model`."""
    from mlflow import sklearn as flavor  # noqa: PLC0415  it imports scikit-learn

    sidecar = Sidecar.loads((folder / SIDECAR_FILE).read_bytes()) if (folder / SIDECAR_FILE).is_file() else None
    needs = _requirements(sidecar.versions if sidecar else {})
    with tempfile.TemporaryDirectory() as place, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own deprecations
        path = Path(place) / "model"
        flavor.save_model(
            load_model(folder / MODEL_FILE),
            str(path),
            pip_requirements=needs,
            # the default format needs skops, which mlflow-skinny does not bring, and takes no class of the user's own
            serialization_format=flavor.SERIALIZATION_FORMAT_CLOUDPICKLE,
        )
        client.log_artifacts(run, str(path), "model")


def _requirements(versions: Mapping[str, str]) -> Sequence[str]:
    return [f"{name}=={number}" for name, number in sorted(versions.items()) if name != "python"] or ["scikit-learn"]


def _without_password(uri: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", uri)
