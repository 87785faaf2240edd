"""The manifest: the one definition of a TuningJob. The CRD is generated from these models, and from one file for each section.

Only the border is pydantic: names are camelCase as in Kubernetes, unknown fields are refused, everything is bounded.
Values that have no type here (parameters) are parsed by ``literals`` and ``grid`` when a manifest is loaded, and kept:
no other module reads them unparsed. What needs scikit-learn to be judged is ``tuningjob.search.problem``'s.

What is checked here, the API server checks too: by the schema, or by a rule in CEL beside the Python that says the same
(``model.Constraint``, ``fields.Checked``). A differential test holds the two together. The operator alone can judge what is
inside of params and grid.parameters: these values have no type in CEL, so no rule may stand on them or look into them. CEL can
still detect a change: comparing the enclosing object compares these values as data (``crd.forbid_changes``).

A new field is a line in the model of its section, with its description. If it is tied to other fields, add a ``Constraint``.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.code import CODE_PATH, Code
from tuningjob.manifest.cross_validation import CrossValidation
from tuningjob.manifest.data import Data
from tuningjob.manifest.estimator import Estimator
from tuningjob.manifest.exports import Exports
from tuningjob.manifest.fields import DNS_LABEL, FILLED_IN, MAX_SECONDS, MODEL_KEY, matching
from tuningjob.manifest.model import Constraint, Model, must_be
from tuningjob.manifest.pod_options import PodOptions
from tuningjob.manifest.resources import Limits, Resources
from tuningjob.manifest.scoring import SCORE, Metric, MetricName, Metrics, Scoring, count_of, parse_metrics
from tuningjob.manifest.search import Search
from tuningjob.manifest.select import Select
from tuningjob.manifest.wellknown import API_VERSION, KIND, MAX_NAME_LENGTH


class Artifacts(Model):
    """How the files of a finished search are kept."""

    # none is what `joblib.dump` writes: it loads wherever scikit-learn is (lz4 needs a package more), and only an
    # uncompressed file can be mapped into memory, so that the processes that serve a model share its pages
    compression: Literal["none", "lz4", "gzip", "xz"] = Field(
        default="none",
        description="Of the model and the fitted search object: gzip and xz are smaller, lz4 is fast and needs the "
        "package lz4 to load, none can be loaded memory-mapped.",
    )


def _no_feature(name: str) -> Constraint:
    """A column that crossValidation names is neither a target nor a feature. In Python alone: to CEL these have no type."""

    def named(spec: "TuningJobSpec") -> str | None:
        given: str | None = getattr(spec.cross_validation, name)
        return given

    def holds(spec: "TuningJobSpec") -> bool:
        features = spec.data.features
        others = {*spec.data.targets, *([features] if isinstance(features, str) else features or ())}
        return named(spec) is None or named(spec) not in others

    return Constraint(
        "",
        holds,
        f"with a column in crossValidation.{name} that is neither a target nor a feature",
        closer=lambda spec: must_be(
            "a column that is neither the target nor a feature",
            "Remove it from spec.data.features.",
            field=f"crossValidation.{name}",
            got=named(spec),
        ),
    )


def _is_one_metric(scoring: Any) -> bool:  # noqa: ANN401  whatever stands there
    return isinstance(scoring, Mapping) and [*scoring] == [SCORE]


def _weights_of_none(metric: Metric) -> Problem:
    advice = "Name the column of weights there, or take it out here."
    return Problem(f"{metric.field}.sampleWeight", "left out or false without spec.data.sampleWeight", "true", advice)


def _has_its_columns(data: Data, cv: CrossValidation) -> bool:
    """Whether the columns that a division names are there: in a file, or sent beside X and y."""
    sent = data.uploaded
    if sent is None:
        return (data.loader is None and data.function is None) or not cv.columns
    has_groups = cv.groups is None or sent.groups is not None
    return has_groups and (cv.predefined is None or sent.predefined is not None)


_CONSTRAINTS: Final = (
    Constraint(
        "!has(self.data.loader) && !has(self.data.__function__) && (!has(self.data.uploaded) || "
        "(!has(self.crossValidation.groups) || has(self.data.uploaded.groups)) && "
        "(!has(self.crossValidation.predefined) || has(self.data.uploaded.predefined))) || "
        "!has(self.crossValidation.groups) && !has(self.crossValidation.predefined)",
        lambda spec: _has_its_columns(spec.data, spec.cross_validation),
        "without crossValidation.groups and crossValidation.predefined beside a loader, a function or uploaded data without them",
        "They name columns of a file: give a path.",
    ),
    Constraint(
        "!has(self.data.uploaded) || !has(self.data.uploaded.predefined) || has(self.crossValidation.predefined)",
        lambda spec: (
            spec.data.uploaded is None
            or spec.data.uploaded.predefined is None
            or spec.cross_validation.predefined is not None
        ),
        "with crossValidation.predefined beside data.uploaded.predefined",
        "It says which column the folds of each row were in.",
    ),
    Constraint(
        "!has(self.code) || !has(self.pod) || !has(self.pod.volumes) || "
        f"self.pod.volumes.all(volume, !(volume.mountPath + '/').startsWith('{CODE_PATH}/'))",
        lambda spec: (
            spec.code is None
            or not any(f"{volume.mount_path}/".startswith(f"{CODE_PATH}/") for volume in spec.pod.volumes or [])
        ),
        f"without a volume of spec.pod at {CODE_PATH} or below it beside spec.code",
        "That is where the code is mounted.",
    ),
    Constraint(
        "",
        lambda spec: (
            spec.search.halving is None
            or spec.scoring is None
            or isinstance(spec.scoring, str)
            or _is_one_metric(spec.scoring)
        ),
        "with one scorer in scoring, or none, beside search.halving",
        closer=lambda _: must_be(
            f"the name of one scorer, a map with the one key {SCORE}, or left out, beside spec.search.halving",
            "scikit-learn's halving search takes one scorer alone, by which its rounds are decided.",
            field="scoring",
            got="several metrics or a map",
        ),
    ),
    Constraint(
        "!has(self.search.halving) || !has(self.select) && !(has(self.baseline) && self.baseline)",
        lambda spec: spec.search.halving is None or (spec.select is None and not spec.baseline),
        "without select and baseline beside search.halving",
        "As in scikit-learn the best of the last round is the answer, whatever refit says, and its scores are on samples of "
        "their own, which the defaults' would not be.",
    ),
    Constraint(
        "!has(self.prune) || !has(self.search.halving) && !has(self.search.refine) && !has(self.search.nested)",
        lambda spec: (
            spec.prune is None
            or (spec.search.halving is None and spec.search.refine is None and spec.search.nested is None)
        ),
        "without search.halving, search.refine and search.nested beside prune",
        "Each of them looks at the scores of more candidates than the best.",
    ),
    Constraint(
        "!has(self.prune) || !has(self.select) || !has(self.select.oneStandardError) && !has(self.select.fastestWithin) && "
        "!has(self.select.fastestWithinStandardErrors) && !has(self.select.mostStable) && !has(self.select.maxOverfitGap)",
        lambda spec: spec.prune is None or spec.select is None or spec.select.is_best,
        "without a rule of select but best beside prune",
        "Another rule may choose a candidate that was not evaluated.",
    ),
    Constraint(
        "!has(self.search.nested) || !has(self.crossValidation.predefined)",
        lambda spec: spec.search.nested is None or spec.cross_validation.predefined is None,
        "without crossValidation.predefined beside search.nested",
        "Folds that a column tells are of the whole data.",
    ),
    Constraint(
        "!has(self.search.nested) || !has(self.search.nested.repeats) || !has(self.crossValidation.groups)",
        lambda spec: (
            spec.search.nested is None or spec.search.nested.repeats is None or spec.cross_validation.groups is None
        ),
        "without search.nested.repeats beside crossValidation.groups",
        "scikit-learn repeats no folds of groups.",
    ),
    _no_feature("groups"),
    _no_feature("predefined"),
)


class TuningJobSpec(Model):
    """GridSearchCV, as a manifest."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        Constraint(
            "",
            lambda spec: spec.refit is not None or count_of(spec.scoring) <= 1,
            "with a refit where scoring has several metrics",
            closer=lambda _: must_be(
                "given where spec.scoring has several metrics", "Name the one that decides.", field="refit", got=None
            ),
            # in the schema, because to CEL scoring has no type; wrapped in allOf, because pydantic rewrites anyOf
            schema={
                "allOf": [
                    {
                        "anyOf": [
                            {"required": ["refit"]},
                            {"properties": {"scoring": {"maxItems": 1, "maxProperties": 1}}},
                        ]
                    }
                ]
            },
        ),
        Constraint(
            "!has(self.select) || !has(self.select.maxOverfitGap) || self.returnTrainScore",
            lambda spec: spec.select is None or spec.select.max_overfit_gap is None or spec.return_train_score,
            "with returnTrainScore: true where select has a maxOverfitGap",
            "The gap is that between train and test scores.",
            closer=lambda spec: must_be(
                "beside returnTrainScore: true",
                "The gap is that between train and test scores.",
                field="select.maxOverfitGap",
                got=spec.select.max_overfit_gap,
            ),
        ),
        *_CONSTRAINTS,
    )

    estimator: Estimator = Field(description="The estimator to tune.")
    search: Search = Field(description="Which candidates are tried.")
    cross_validation: CrossValidation = Field(
        default_factory=CrossValidation,
        json_schema_extra={"default": {"folds": 5}},
        description="How the data is divided.",
    )
    scoring: Scoring | None = Field(
        default=None,
        description="A scorer's name, as in scikit-learn; a list of names; or a map from names of your own to names, to "
        "{function, params, greaterIsBetter, responseMethod}, to {scorer}, or to {name}; each map with sampleWeight where the "
        "metric is given weights. The estimator's own score by default.",
    )
    refit: MetricName | None = Field(
        default=None, description="The metric that decides. Required where scoring has several."
    )
    select: Select | None = Field(
        default=None, description="The rule by which the best candidate is chosen; the highest mean by default."
    )
    # no default in the schema: an API server would put it into TuningJobs whose searches have begun without
    baseline: bool | None = Field(
        default=None,
        description="Also score the estimator with the defaults of what is tuned, and a dummy, and say what tuning gained. True "
        "by default, but not beside halving, nor where its fits alone would be above limits.maxFits. false: leave them out.",
    )
    prune: Literal["certain", "forgiving"] | None = Field(
        default=None,
        description="Leave out fits of candidates that are not the best one any more. certain: those that provably cannot be, "
        "which needs scores with an upper bound. forgiving: those whose mean so far is below the worst split of the best so "
        "far, which may lose the winner. What was left out has no scores.",
    )
    return_train_score: bool = Field(default=False, description="Score the training side of each split, too.")
    data: Data = Field(description="Where X and y come from.")
    resources: Resources = Field(
        default_factory=Resources,
        json_schema_extra=FILLED_IN,
        description="CPU and memory of each pod: requests = limits.",
    )
    parallelism: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1, description="Pods at the most. May change at any time, also by `kubectl scale`."
    )
    mode: Literal["Run", "Plan"] = Field(
        default="Run", description="Plan: size, check and estimate the search, leave the forecast in status, and end."
    )
    suspend: bool = Field(
        default=False, description="true: the pods go, what is finished is kept. false: the search goes on. May change."
    )
    cancel: bool = Field(default=False, description="true: the search ends, without an answer. For good.")
    queue_name: (
        Annotated[
            str, Field(max_length=63), matching(DNS_LABEL, "the name of a queue: lower-case letters, digits and -")
        ]
        | None
    ) = Field(default=None, description="The Kueue LocalQueue that admits the pods.")
    active_deadline_seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS)] | None = Field(
        default=None,
        description="The search ends as failed when it has run for longer, not counting what was before a suspension. "
        "May change.",
    )
    start_deadline_seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS)] | None = Field(
        default=None, description="The search ends as failed when no pod could begin within this time."
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=MAX_SECONDS)] | None = Field(
        default=None,
        description="The TuningJob is deleted this many seconds after its end; the audit keeps the result. May change.",
    )
    limits: Limits = Field(
        default_factory=Limits, json_schema_extra=FILLED_IN, description="How far the search may go."
    )
    pod: PodOptions = Field(
        default_factory=PodOptions,
        json_schema_extra=FILLED_IN,
        description="What the pods need besides resources and image.",
    )
    reuse: bool = Field(
        default=False,
        description="Take over finished cells of the namespace that are the same in estimator, parameters, data, split, "
        "scoring and library versions, instead of fitting them again.",
    )
    artifacts: Artifacts = Field(
        default_factory=Artifacts,
        json_schema_extra=FILLED_IN,
        description="How the files of the finished search are kept.",
    )
    exports: Exports | None = Field(
        default=None, description="What the finished search is handed to besides its own files."
    )
    image: (
        Annotated[str, Field(max_length=512), matching(r"^[!-~]+$", "an image, such as registry.example/mine:1")] | None
    ) = Field(
        default=None,
        description="A worker image of your own; the chart's by default. A laptop does not read it.",
    )
    code: Code | None = Field(
        default=None,
        description="Modules of your own, for pods. A laptop does not read it: there they lie beside the manifest.",
    )
    model_key: Annotated[str, Field(pattern=MODEL_KEY, max_length=253)] | None = Field(
        default=None,
        description="The key under which the audit table versions the result; the object's name by default.",
    )

    @cached_property
    def metrics(self) -> Metrics:
        """What fits are scored by. Raises ManifestRefused."""
        found = parse_metrics(self.scoring, self.refit)
        if found.weighted and self.data.weights is None:
            raise ManifestRefused([_weights_of_none(metric) for metric in found.weighted])
        # scikit-learn's halving search is given the scorer itself
        is_one = self.search.halving is not None and _is_one_metric(self.scoring)
        return replace(found, several=False) if is_one else found


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
