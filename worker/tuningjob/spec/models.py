"""The manifest: the one definition of a TuningJob. The CRD is generated from these models.

Only the border is pydantic: names are camelCase as in Kubernetes, unknown fields are refused, everything is bounded.
Untyped values (parameters) are parsed by ``literals`` and ``grid``; what needs scikit-learn to be judged is
``tuningjob.search.problem``'s.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from tuningjob.spec import quantity
from tuningjob.spec.wellknown import API_VERSION, KIND, MAX_NAME_LENGTH

_UNTYPED: Final = {"x-kubernetes-preserve-unknown-fields": True}
DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"
DOTTED_PATH: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$"
STEP_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_-]*$"


def must_be(expected: str, advice: str = "") -> PydanticCustomError:
    """A refusal in this project's voice: ``manifest.load`` turns it into a Problem."""
    return PydanticCustomError("must_be", "must be {must_be}", {"must_be": expected, "advice": advice})


class Model(BaseModel):
    """What every part of a manifest shares."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True)


def _quantity(expected: str) -> BeforeValidator:
    def check(value: object) -> object:
        try:
            if isinstance(value, bool) or not isinstance(value, int | str) or len(str(value)) > 64:
                raise ValueError(value)
            if quantity.parse_quantity(value) <= 0:
                raise ValueError(value)
        except ValueError:
            raise must_be(expected) from None
        return value

    return BeforeValidator(check)


def _quantity_schema(expected: str) -> WithJsonSchema:
    # CEL instead of a pattern: the refusal of the API server says what is meant, not a regular expression
    rule = "isQuantity(string(self)) && quantity(string(self)).isGreaterThan(quantity('0'))"
    return WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "maxLength": 64,
            "x-kubernetes-validations": [{"rule": rule, "message": f"must be {expected}"}],
        }
    )


_CPU: Final = "a positive Kubernetes quantity of CPU such as 2 or 500m"
_MEMORY: Final = "a positive Kubernetes quantity of memory such as 512Mi or 2Gi"
Cpu = Annotated[int | str, _quantity(_CPU), _quantity_schema(_CPU)]
Memory = Annotated[int | str, _quantity(_MEMORY), _quantity_schema(_MEMORY)]
Untyped = Annotated[Any, WithJsonSchema(_UNTYPED)]
Params = Annotated[dict[str, Any], WithJsonSchema({"type": "object", **_UNTYPED})]
DottedPath = Annotated[str, Field(pattern=DOTTED_PATH, max_length=253)]


class Step(Model):
    """One step of a pipeline."""

    name: Annotated[str, Field(pattern=STEP_NAME, max_length=63)] = Field(
        description="Its name, as in scikit-learn's Pipeline; parameters are <name>__<parameter>."
    )
    class_: Annotated[
        str,
        Field(
            alias="class",
            pattern=r"^(passthrough|[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+)$",
            max_length=253,
        ),
    ] = Field(description="Dotted path of the estimator's class, or passthrough.")
    params: Params = Field(default_factory=dict, description="Parameters that stay as they are.")


def _unique_names(steps: list[Step]) -> list[Step]:
    names = [step.name for step in steps]
    for name in names:
        if names.count(name) > 1:
            raise must_be("a list of steps with different names", f"{name!r} is there twice.")
        if "__" in name:
            raise must_be("a list of steps whose names have no '__'", f"Rename {name!r}.")
    return steps


def _cel(*rules: tuple[str, str]) -> ConfigDict:
    """Rules that the API server checks too, each with its message."""
    return ConfigDict(
        json_schema_extra={"x-kubernetes-validations": [{"rule": rule, "message": message} for rule, message in rules]}
    )


class Estimator(Model):
    """What is tuned: a pipeline, or one class."""

    model_config = _cel(
        (
            "has(self.pipeline) != has(self.class)",
            "must be either a pipeline or a class: give exactly one of the two",
        )
    )

    pipeline: Annotated[list[Step], Field(min_length=1, max_length=32), AfterValidator(_unique_names)] | None = Field(
        default=None, description="Steps of a scikit-learn Pipeline, in order."
    )
    class_: DottedPath | None = Field(
        default=None, alias="class", description="Dotted path of a single estimator's class."
    )
    params: Params = Field(default_factory=dict, description="Parameters of the class that stay as they are.")

    @model_validator(mode="after")
    def _one_of(self) -> "Estimator":
        if (self.pipeline is None) == (self.class_ is None):
            raise must_be("either a pipeline or a class", "Give exactly one of the two.")
        if self.pipeline is not None and self.params:
            raise must_be("without params beside a pipeline", "Give them to its steps.")
        return self


class GridSearch(Model):
    """Every combination of the values."""

    parameters: Untyped = Field(
        description="A map from a parameter's name to its list of values, or a list of such maps: scikit-learn's param_grid."
    )


class Search(Model):
    """Which candidates are tried."""

    grid: GridSearch = Field(description="Try every combination.")


class CrossValidation(Model):
    """How the data is divided."""

    folds: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=5, description="scikit-learn's integer cv: stratified for classifiers, without shuffling."
    )


class Data(Model):
    """Where X and y come from: a loader of scikit-learn's, or a file."""

    model_config = _cel(
        (
            "has(self.loader) != has(self.path)",
            "must be either a loader or a path: give exactly one of the two",
        ),
        (
            "!has(self.path) || has(self.target)",
            "must be with a target beside a path: name the column to predict",
        ),
    )

    loader: DottedPath | None = Field(
        default=None, description="A function of sklearn.datasets, e.g. sklearn.datasets.load_iris."
    )
    params: Params = Field(default_factory=dict, description="Arguments of the loader.")
    path: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="A CSV or Parquet file: below the volume in a pod, below the manifest's folder on a laptop.",
    )
    format: Literal["csv", "parquet"] | None = Field(
        default=None, description="The file's format, where its name does not tell."
    )
    persistent_volume_claim: Annotated[str, Field(pattern=DNS_SUBDOMAIN, max_length=253)] | None = Field(
        default=None, description="The claim that holds the file, in a pod. A laptop does not read it."
    )
    config_map: Annotated[str, Field(pattern=DNS_SUBDOMAIN, max_length=253)] | None = Field(
        default=None,
        description="The ConfigMap that holds a small file, in a pod. A laptop does not read it.",
    )
    target: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="The column to predict."
    )
    features: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=253)]], Field(min_length=1, max_length=10_000)]
        | None
    ) = Field(default=None, description="The columns to predict from; every other column by default.")

    @model_validator(mode="after")
    def _one_of(self) -> "Data":
        if (self.loader is None) == (self.path is None):
            raise must_be("either a loader or a path", "Give exactly one of the two.")
        if self.loader is not None:
            self._check_loader(self.loader)
        if self.path is not None:
            self._check_file(self.path)
        return self

    def _check_loader(self, loader: str) -> None:
        if not loader.startswith(("sklearn.datasets.load_", "sklearn.datasets.make_", "sklearn.datasets.fetch_")):
            raise must_be("with a loader of sklearn.datasets", f"Got {loader!r}; for your own data give a path.")
        for name in ("format", "persistent_volume_claim", "config_map", "target", "features"):
            if getattr(self, name) is not None:
                raise must_be(f"without {to_camel(name)} beside a loader")

    def _check_file(self, path: str) -> None:
        if self.params:
            raise must_be("without params beside a path")
        if self.target is None:
            raise must_be("with a target beside a path", "Name the column to predict.")
        if self.persistent_volume_claim is not None and self.config_map is not None:
            raise must_be("with persistentVolumeClaim or configMap, not both")
        if ".." in path.split("/"):
            raise must_be("with a path that stays below its folder", f"Got {path!r}.")
        if self.features is not None and self.target in self.features:
            raise must_be("with a target that is not among the features", f"Remove {self.target!r} from one of them.")

    @property
    def file_format(self) -> str | None:
        """``csv`` or ``parquet``: as given, or by the path's suffix; None if neither tells."""
        if self.format is not None or self.path is None:
            return self.format
        suffix = self.path.rsplit(".", 1)[-1].lower()
        return {"csv": "csv", "parquet": "parquet", "pq": "parquet"}.get(suffix)


class Resources(Model):
    """What each pod gets: requests and limits, always both, always equal."""

    cpu: Cpu = Field(default="1", description="CPU of each pod. n_jobs is its floor, at least 1.")
    memory: Memory = Field(default="1Gi", description="Memory of each pod.")


class Limits(Model):
    """How far a search may go."""

    max_fits: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        default=10_000,
        description="A grid with more fits (candidates × folds) is refused before anything starts.",
    )


class Artifacts(Model):
    """How the files of a finished search are kept."""

    # none is what `joblib.dump` writes: it loads wherever scikit-learn is (lz4 needs a package more), and only an
    # uncompressed file can be mapped into memory, so that the processes that serve a model share its pages
    compression: Literal["none", "lz4", "gzip", "xz"] = Field(
        default="none",
        description="Of the model and the fitted search object: gzip and xz are smaller, lz4 is fast and needs the "
        "package lz4 to load, none can be loaded memory-mapped.",
    )


class TuningJobSpec(Model):
    """GridSearchCV, as a manifest."""

    estimator: Estimator = Field(description="What is tuned.")
    search: Search = Field(description="Which candidates are tried.")
    cross_validation: CrossValidation = Field(default_factory=CrossValidation, description="How the data is divided.")
    scoring: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None, description="A scorer's name, as in scikit-learn; the estimator's own score by default."
    )
    return_train_score: bool = Field(default=False, description="Score the training side of each split, too.")
    data: Data = Field(description="Where X and y come from.")
    resources: Resources = Field(
        default_factory=Resources, description="CPU and memory of each pod: requests = limits."
    )
    parallelism: Annotated[int, Field(ge=1, le=10_000)] = Field(default=1, description="Pods at the most.")
    limits: Limits = Field(default_factory=Limits, description="How far the search may go.")
    reuse: bool = Field(
        default=False,
        description="Take over finished cells of the namespace that are the same in estimator, parameters, data, split, "
        "scoring and library versions, instead of fitting them again.",
    )
    artifacts: Artifacts = Field(
        default_factory=Artifacts, description="How the files of the finished search are kept."
    )
    image: Annotated[str, Field(min_length=1, max_length=512)] | None = Field(
        default=None,
        description="A worker image of your own; the chart's by default. A laptop does not read it.",
    )
    model_key: Annotated[str, Field(pattern=r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$", max_length=253)] | None = (
        Field(
            default=None,
            description="The key under which the audit table versions the result; the object's name by default.",
        )
    )


class Metadata(BaseModel):
    """The part of Kubernetes' metadata that matters here; the rest is Kubernetes' to judge."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=DNS_LABEL, min_length=1, max_length=MAX_NAME_LENGTH)]
    namespace: Annotated[str, Field(pattern=DNS_LABEL, max_length=63)] = "default"


class TuningJob(Model):
    """A TuningJob as a manifest writes it. What the cluster adds (status) is not read here."""

    api_version: Literal["tuningjob.dev/v1alpha1"]
    kind: Literal["TuningJob"]
    metadata: Metadata
    spec: TuningJobSpec
    status: Annotated[Any, Field(exclude=True)] = None


assert (API_VERSION, KIND) == ("tuningjob.dev/v1alpha1", "TuningJob")  # noqa: S101  Literal takes no names
