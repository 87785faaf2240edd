"""``spec.scoring`` and ``spec.refit``: what fits are scored by, and which of several metrics decides.

A map's metrics are taken in the order of their names, because an API server keeps no other order. So the columns of
``cv_results_`` are the same on a laptop and on a cluster.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field, ValidationError, WithJsonSchema

from tuningjob.aliases import Json
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.fields import UNTYPED, DottedPath
from tuningjob.manifest.literals import Arguments, parse_params, shown
from tuningjob.manifest.model import Constraint, Model, exactly_one_of, must_be
from tuningjob.manifest.refusals import nearest, problem_of
from tuningjob.manifest.spelling import to_json

SCORING: Final = "spec.scoring"
REFIT: Final = "spec.refit"
# What scikit-learn calls the score of a search with one metric: mean_test_score.
SCORE: Final = "score"
METRIC_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_]*$"
MOST_METRICS: Final = 32
LONGEST_NAME: Final = 63
RESPONSE_METHODS: Final = ("predict", "predict_proba", "decision_function")

# A structural schema has no unions: the keywords here hold for text, lists or maps, because each applies to one of them.
Scoring = Annotated[
    Any,
    WithJsonSchema(
        {
            **UNTYPED,
            "minLength": 1,
            "maxLength": LONGEST_NAME,
            "minItems": 1,
            "maxItems": MOST_METRICS,
            "minProperties": 1,
            "maxProperties": MOST_METRICS,
        }
    ),
]
MetricName = Annotated[str, Field(pattern=METRIC_NAME, max_length=LONGEST_NAME)]


def _methods(value: object) -> object:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed or not all(each in RESPONSE_METHODS for each in listed):
        raise must_be(
            f"one of {', '.join(RESPONSE_METHODS)}, or a list of them in which the first that there is counts"
        )
    return value


_OF_EACH: Final = frozenset({"scorer", "name", "sample_weight"})  # what a metric that is no function may have


class Measure(Model):
    """A metric of which more is said than a name: a function of y, a scorer of one's own, or one of scikit-learn's by name."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        exactly_one_of("function", "scorer", "name"),
        Constraint(
            "",
            lambda measure: measure.function is not None or measure.model_fields_set <= _OF_EACH,
            "without params, greaterIsBetter and responseMethod beside a scorer or a name",
            "They are those of a function.",
        ),
    )

    function: DottedPath | None = Field(
        default=None, description="Dotted path of a metric: function(y_true, y_pred, …)."
    )
    params: dict[str, Any] = Field(default_factory=dict, description="What else the function is called with.")
    greater_is_better: bool = Field(default=True, description="false: of a loss, whose sign is turned.")
    response_method: Annotated[Any, BeforeValidator(_methods)] = Field(
        default="predict", description="Of which method's answer it is a function."
    )
    scorer: DottedPath | None = Field(default=None, description="Dotted path of a scorer: scorer(estimator, X, y).")
    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)] | None = Field(
        default=None, description="One of scikit-learn's scorers."
    )
    sample_weight: bool | None = Field(
        default=None,
        description="Whether it is given the weights of data.sampleWeight: scikit-learn's set_score_request(sample_weight=…). "
        "Once a metric says it, those that do not are given none.",
    )


@dataclass(frozen=True)
class Metric:
    """One metric. ``key`` names its columns; ``field`` is where the manifest has it.

    It is scikit-learn's scorer of this ``name``, or a ``measure`` with the parameters ``arguments``. With neither it is the
    estimator's own score. ``weighted``: whether it asks for the weights of the samples; None if no metric says so.
    """

    key: str
    field: str
    name: str | None = None
    measure: Measure | None = None
    arguments: Arguments | None = None
    weighted: bool | None = None

    @property
    def identity(self) -> Json:
        """All that the manifest says of the metric, as JSON: the same for the same metric, however it is written."""
        return self._identity if self.weighted is None else {"metric": self._identity, "sampleWeight": self.weighted}

    @property
    def _identity(self) -> Json:
        if self.measure is None or self.measure.scorer is not None:
            return self.name if self.measure is None else {"scorer": self.measure.scorer}
        method = self.measure.response_method
        return {
            "function": self.measure.function,
            "params": {name: to_json(value) for name, value in self.arguments.items} if self.arguments else {},
            "greaterIsBetter": self.measure.greater_is_better,
            "responseMethod": [method] if isinstance(method, str) else method,
        }


@dataclass(frozen=True)
class Metrics:
    """All metrics, in the order of their columns. ``deciding``: the key of the one that ranks the candidates.

    ``several``: metrics have names, even if there is only one; scikit-learn then calls a mean ``mean_test_<key>`` instead of
    ``mean_test_score``. ``is_list``: they are given as a list of names.
    """

    all: tuple[Metric, ...]
    deciding: str
    several: bool
    is_list: bool = False

    @cached_property
    def keys(self) -> tuple[str, ...]:
        """The keys of the columns."""
        return tuple(metric.key for metric in self.all)

    @property
    def is_asking(self) -> bool:
        """Whether the metrics themselves say which of them get weights, as by scikit-learn's metadata routing."""
        return any(metric.weighted is not None for metric in self.all)

    @property
    def weighted(self) -> tuple[Metric, ...]:
        """The metrics that ask for weights."""
        return tuple(metric for metric in self.all if metric.weighted)

    @property
    def told(self) -> str:
        """The name of the deciding metric for people."""
        return self.deciding if self.several else self.all[0].name or SCORE

    @property
    def identity(self) -> Json:
        """What the scores of a fit depend on, as JSON. The deciding metric is not part of it, because the fits are the same."""
        return {metric.key: metric.identity for metric in self.all} if self.several else self.all[0].identity

    @property
    def paths(self) -> tuple[str, ...]:
        """Dotted paths of all functions and scorers."""
        measures = [metric.measure for metric in self.all if metric.measure is not None]
        return tuple(filter(None, (measure.function or measure.scorer for measure in measures)))


SINGLE: Final = Metrics((Metric(SCORE, SCORING),), SCORE, several=False)


def count_of(scoring: Json) -> int:
    """How many metrics a manifest names, as far as is known before they are parsed."""
    return len(scoring) if isinstance(scoring, list | Mapping) else 1


def parse_metrics(scoring: Json, refit: str | None) -> Metrics:
    """The metrics of ``spec.scoring`` and ``spec.refit``. Raises ManifestRefused with all their problems."""
    if scoring is None or isinstance(scoring, str):
        if scoring is not None and not 1 <= len(scoring) <= LONGEST_NAME:
            raise ManifestRefused([Problem(SCORING, "a scorer's name", shown(scoring))])
        metrics = Metrics((Metric(SCORE, SCORING, scoring),), SCORE, several=False)
        known = [] if scoring is None else [scoring]
    else:
        metrics = Metrics(tuple(_several(scoring)), "", several=True, is_list=isinstance(scoring, list))
        known = list(metrics.keys)
    if refit is not None and refit not in known:
        advice = nearest(refit, known) or "spec.scoring names none."
        raise ManifestRefused([Problem(REFIT, "one of the metrics in spec.scoring", shown(refit), advice)])
    return (
        Metrics(metrics.all, refit or known[0], several=True, is_list=metrics.is_list) if metrics.several else metrics
    )


def _several(scoring: Json) -> list[Metric]:
    must_be = "a scorer's name, a list of names, or a map from names of your own to metrics"
    if not isinstance(scoring, list | Mapping) or not 1 <= len(scoring) <= MOST_METRICS:
        got = f"{len(scoring)} of them" if isinstance(scoring, list | Mapping) else shown(scoring)
        bound = f" (from 1 to {MOST_METRICS})" if isinstance(scoring, list | Mapping) else ""
        raise ManifestRefused([Problem(SCORING, must_be + bound, got)])
    found: list[Metric] = []
    problems: list[Problem] = []
    entries = _listed(scoring) if isinstance(scoring, list) else _mapped(scoring)
    for each in entries:
        if isinstance(each, Metric):
            found.append(each)
        else:
            problems += each
    if problems:
        raise ManifestRefused(problems)
    if any(each.weighted is not None for each in found):
        return [replace(each, weighted=bool(each.weighted)) for each in found]
    return found


def _listed(scoring: list[Any]) -> Iterator[Metric | list[Problem]]:
    for i, name in enumerate(scoring):
        field = f"{SCORING}[{i}]"
        if not isinstance(name, str) or not 1 <= len(name) <= LONGEST_NAME:
            advice = (
                "Give a metric that has no name in scikit-learn a name of your own: write a map instead of the list."
            )
            yield [Problem(field, "a scorer's name", shown(name), advice if isinstance(name, Mapping) else "")]
        elif name in scoring[:i]:
            yield [Problem(field, "a name that is there once", shown(name))]
        else:
            yield Metric(name, field, name)


def _mapped(scoring: Mapping[str, Any]) -> Iterator[Metric | list[Problem]]:
    for key, value in sorted(scoring.items()):
        field = f"{SCORING}.{key}"
        if len(key) > LONGEST_NAME or re.fullmatch(METRIC_NAME, key) is None:
            must_be = f"a name of letters, digits and _, of at most {LONGEST_NAME}, that begins with a letter or _"
            yield [Problem(SCORING, must_be, shown(key), "Columns of cv_results_ are called by it.")]
        elif isinstance(value, str) and 1 <= len(value) <= LONGEST_NAME:
            yield Metric(key, field, value)
        elif isinstance(value, Mapping):
            yield _measured(key, field, value)
        else:
            must_be = "a scorer's name, {function: PATH}, {scorer: PATH}, or {name: NAME}"
            yield [Problem(field, must_be, shown(value))]


def _measured(key: str, field: str, value: Mapping[str, Any]) -> Metric | list[Problem]:
    try:
        measure = Measure.model_validate(value, by_alias=True, by_name=False)
        if measure.name is not None:
            return Metric(key, field, measure.name, weighted=measure.sample_weight)
        arguments = parse_params(measure.params, f"{field}.params")
        return Metric(key, field, measure=measure, arguments=arguments, weighted=measure.sample_weight)
    except ValidationError as error:
        return [problem_of(Measure, detail, field) for detail in error.errors()]
    except ManifestRefused as refused:
        return list(refused.problems)
