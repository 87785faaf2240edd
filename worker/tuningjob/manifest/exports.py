"""``spec.exports``: the tools that a finished search is handed to, besides its own files."""

from typing import Annotated, Final

from pydantic import Field

from tuningjob.manifest.fields import matching
from tuningjob.manifest.model import Model
from tuningjob.manifest.query import VariableName
from tuningjob.manifest.urls import BUCKET_URL

_TABLE: Final = rf"^({BUCKET_URL})[.](csv|parquet)$"
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


class OptunaExport(Model):
    """A study in a storage of optuna's, with a trial for each candidate."""

    url_from: VariableName = Field(
        description="The variable that has the database's URL, as SQLAlchemy takes it: of a Secret, in pod.env."
    )
    study: Annotated[str, Field(min_length=1, max_length=256)] | None = Field(
        default=None,
        description="What the study is called; as the search by default. If there is one of this name, it gets a number, too.",
    )


class TableExport(Model):
    """``cv_results_`` as an object of a bucket."""

    url: Annotated[
        str,
        Field(max_length=2048),
        matching(
            _TABLE,
            "the URL of an object that ends in .csv or .parquet: s3://BUCKET/NAME, gs://BUCKET/NAME or "
            "abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/NAME",
        ),
    ] = Field(description="Where it is put, in the place of what is there. Credentials are those of data.url.")


class Exports(Model):
    """The tools that a finished search is handed to. If one does not take it, that is a warning: the search is complete."""

    mlflow: MlflowExport | None = Field(default=None, description="A tracking server. Needs mlflow in the image.")
    optuna: OptunaExport | None = Field(default=None, description="A database of studies. Needs optuna in the image.")
    table: TableExport | None = Field(default=None, description="cv_results_ as a CSV or Parquet file in a bucket.")
