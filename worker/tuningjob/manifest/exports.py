"""``spec.exports``: the tools that a finished search is handed to, besides its own files."""

from typing import Annotated

from pydantic import Field

from tuningjob.manifest.fields import matching
from tuningjob.manifest.model import Model

_URL = matching(
    r"^https?://[!-?A-~]+$", "an http:// or https:// URL without a password: put that into a Secret of pod.env"
)


class MlflowExport(Model):
    """Runs on an MLflow tracking server: the answer with files and model, and the best candidates below it."""

    uri: Annotated[str, Field(max_length=1_024), _URL] = Field(
        description="Of the tracking server. Who the pod is there, its environment says: MLFLOW_TRACKING_TOKEN, or "
        "MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, by a Secret in pod.env."
    )
    experiment: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None, description="The experiment that the runs belong to; the search's name by default."
    )
    children: Annotated[int, Field(ge=0, le=1_000)] = Field(
        default=20, description="How many of the best candidates get a run each."
    )
    model: bool = Field(default=True, description="Whether the model is logged, too.")


class Exports(Model):
    """The tools that a finished search is handed to. If one does not take it, that is a warning: the search is complete."""

    mlflow: MlflowExport | None = Field(default=None, description="A tracking server. Needs mlflow in the image.")
