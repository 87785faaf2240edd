"""The export of a finished search by ``spec.exports``, besides its own files: a failed export does not fail the search."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, TypeVar

from tuningjob.errors import ArtifactRefused, TuningJobError
from tuningjob.manifest.exports import MlflowExport, OptunaExport
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.wellknown import CV_RESULTS_CSV_FILE, CV_RESULTS_PARQUET_FILE
from tuningjob.search.reasons import Reason, error_text

T = TypeVar("T")
_RETRIES: Final = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


def hand_out(spec: TuningJobSpec, name: str, folder: Path) -> list[str]:
    """Export the files in ``folder`` to where the manifest says; the failures, each as a warning with its reason."""
    exports = spec.exports
    if exports is None:
        return []
    warnings: list[str] = []
    if exports.mlflow is not None:
        warnings += _tried("mlflow", _to_mlflow, exports.mlflow, name, folder)
    if exports.optuna is not None:
        warnings += _tried("optuna", _to_optuna, exports.optuna, name, folder)
    if exports.table is not None:
        warnings += _tried("table", _to_bucket, exports.table.url, name, folder)
    return warnings


def _tried(field: str, export: Callable[[T, str, Path], object], to: T, name: str, folder: Path) -> list[str]:
    try:
        export(to, name, folder)
    except TuningJobError as error:
        return [f"{Reason.NOT_EXPORTED}: spec.exports.{field}: {error}"]
    except Exception as error:  # noqa: BLE001  a search of hours must not be lost because an export fails
        return [f"{Reason.NOT_EXPORTED}: spec.exports.{field}: {error_text(error)}"]
    return []


def _to_mlflow(mlflow: MlflowExport, name: str, folder: Path) -> None:
    with _fewer_retries():
        from tuningjob.exports.to_mlflow import log_search  # noqa: PLC0415  only an export to mlflow waits for its import
        from tuningjob.reread import table_again  # noqa: PLC0415

        log_search(
            table_again(folder / CV_RESULTS_CSV_FILE, name=name),
            folder,
            mlflow.uri,
            experiment=mlflow.experiment or name,
            children=mlflow.children,
            model=mlflow.model,
        )


@contextmanager
def _fewer_retries() -> Iterator[None]:
    """Lower MLflow's 7 retries, which take four minutes while a pod holds its work; restored at the end for a notebook."""
    is_ours = _RETRIES not in os.environ
    if is_ours:
        os.environ[_RETRIES] = "3"
    try:
        yield
    finally:
        if is_ours:
            os.environ.pop(_RETRIES, None)


def _to_optuna(optuna: OptunaExport, name: str, folder: Path) -> None:
    from tuningjob.exports.to_optuna import add_study  # noqa: PLC0415
    from tuningjob.reread import table_again  # noqa: PLC0415

    url = os.environ.get(optuna.url_from)
    if not url:
        raise ArtifactRefused(
            f"{optuna.url_from}: must be a variable that is set, but is not. In a pod set it in spec.pod.env, from a Secret."
        )
    add_study(table_again(folder / CV_RESULTS_CSV_FILE, name=name), url, optuna.study or name)


def _to_bucket(url: str, _name: str, folder: Path) -> None:
    from tuningjob.exports.to_bucket import put_file  # noqa: PLC0415

    put_file(folder / (CV_RESULTS_CSV_FILE if url.endswith(".csv") else CV_RESULTS_PARQUET_FILE), url)
