"""The export of a finished search by ``spec.exports``, besides its own files: a failed export does not fail the search."""

import os
from pathlib import Path
from typing import Final

from tuningjob.errors import TuningJobError
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.wellknown import CV_RESULTS_CSV_FILE
from tuningjob.search.reasons import Reason, error_text

_RETRIES: Final = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"


def hand_out(spec: TuningJobSpec, name: str, folder: Path) -> list[str]:
    """Export the files in ``folder`` to where the manifest says; the failures, each as a warning with its reason."""
    mlflow = None if spec.exports is None else spec.exports.mlflow
    if mlflow is None:
        return []
    # MLflow's own 7 take four minutes, in which a pod holds what it was given; a notebook's process is left as it was
    is_ours = _RETRIES not in os.environ
    if is_ours:
        os.environ[_RETRIES] = "3"
    try:
        from tuningjob.exports.to_mlflow import log_search  # noqa: PLC0415  nobody else waits for mlflow
        from tuningjob.reread import table_again  # noqa: PLC0415

        table = table_again(folder / CV_RESULTS_CSV_FILE, name=name)
        log_search(
            table,
            folder,
            mlflow.uri,
            experiment=mlflow.experiment or name,
            children=mlflow.children,
            model=mlflow.model,
        )
    except TuningJobError as error:
        return [f"{Reason.NOT_EXPORTED}: spec.exports.mlflow: {error}"]
    except Exception as error:  # noqa: BLE001  no search of hours is lost because of who else is told of it
        return [f"{Reason.NOT_EXPORTED}: spec.exports.mlflow: {error_text(error)}"]
    finally:
        if is_ours:
            os.environ.pop(_RETRIES, None)
    return []
