"""Make scikit-learn's scorers from ``spec.scoring``, and check each against the estimator before anything is fitted."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

from sklearn.base import clone
from sklearn.metrics import check_scoring, get_scorer, get_scorer_names, make_scorer

from tuningjob.aliases import AnyScorer, Anything, Estimator, ParamValue
from tuningjob.engine.sklearn_private import (
    metric_arguments,
    metric_of,
    response_methods,
    routed,
    scorers_of,
    with_score_request,
)
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.literals import shown
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.refusals import nearest
from tuningjob.manifest.scoring import Measure, Metric
from tuningjob.search.build import load_attribute, materialise
from tuningjob.search.reasons import Reason, refused
from tuningjob.search.written import attribute_of

SAMPLE_WEIGHT: Final = "sample_weight"
# The candidates by which scorers are checked: enough for every kind of final step in a grid made by hand.
_SCORER_SAMPLE: Final = 1_000
# Common names of scorers that have other names in scikit-learn.
_SCORERS_MEANT: Final = {
    "acc": "accuracy", "auc": "roc_auc", "log_loss": "neg_log_loss", "logloss": "neg_log_loss", "mae": "neg_mean_absolute_error",
    "mape": "neg_mean_absolute_percentage_error", "mcc": "matthews_corrcoef", "mse": "neg_mean_squared_error",
    "rmse": "neg_root_mean_squared_error", "rmsle": "neg_root_mean_squared_log_error",
}  # fmt: skip


def scorer_of(spec: TuningJobSpec, estimator: Estimator, candidates: Sequence[Mapping[str, Any]]) -> AnyScorer:
    """The scorer of the engine. Raises ManifestRefused with every unknown metric, and every one unsuitable for the estimator."""
    if spec.scoring is None:
        if not hasattr(estimator, "score"):
            raise ManifestRefused(
                [
                    Problem(
                        "spec.scoring",
                        "given for an estimator without a score method",
                        "nothing",
                        "",
                        Reason.SCORER_MISMATCH,
                    )
                ]
            )
        return check_scoring(estimator)
    made: dict[str, Any] = {}
    problems: list[Problem] = []
    for metric in spec.metrics.all:
        try:
            made[metric.key] = _served(metric, _made(metric), estimator, candidates)
        except ManifestRefused as problem:
            problems += problem.problems
    if problems:
        raise ManifestRefused(problems)
    if not spec.metrics.several:
        return made[spec.metrics.deciding]
    scorer = check_scoring(estimator, made, raise_exc=False)
    return routed(scorer) if spec.metrics.weighted else scorer


def metric_problems(spec: TuningJobSpec) -> Iterator[Problem]:
    """The problems of metrics that are unknown for every estimator."""
    for metric in spec.metrics.all if spec.scoring is not None else ():
        try:
            _made(metric)
        except ManifestRefused as refusal:
            yield from refusal.problems


def scorers(spec: TuningJobSpec, scorer: AnyScorer) -> dict[str, Any]:
    """The scorer of each metric, by its key."""
    return dict(scorers_of(scorer)) if spec.metrics.several else {spec.metrics.deciding: scorer}


def scoring_of(spec: TuningJobSpec, scorer: AnyScorer) -> Anything:
    """The ``scoring`` argument of scikit-learn's search."""
    metrics = spec.metrics
    if not metrics.several:
        return spec.scoring if isinstance(spec.scoring, str | None) else scorer
    if metrics.is_list:
        return list(metrics.keys)
    made = scorers_of(scorer)
    return {metric.key: metric.name if _is_name(metric) else made[metric.key] for metric in metrics.all}


def _is_name(metric: Metric) -> bool:
    """Whether a metric consists only of the name of one of scikit-learn's scorers."""
    return metric.name is not None and metric.weighted is None


def code_in(spec: TuningJobSpec, scorer: AnyScorer) -> Iterator[Any]:
    """All objects whose code runs during scoring."""
    for each in scorers(spec, scorer).values():
        yield each
        metric = metric_of(each)
        if metric is not None:
            yield metric
            yield dict(metric_arguments(each))


def _made(metric: Metric) -> AnyScorer:
    scorer = _unasked(metric)
    return scorer if metric.weighted is None else _asking(metric, scorer)


def _asking(metric: Metric, scorer: AnyScorer) -> AnyScorer:
    """A copy of the scorer that requests weights, or requests none."""
    field, weighted = f"{metric.field}.sampleWeight", bool(metric.weighted)
    if not callable(attribute_of(scorer, "set_score_request")):
        if not weighted:
            return scorer
        advice = "Write {function: PATH} of a metric that takes sample_weight, or make the scorer by make_scorer."
        raise refused(Reason.SCORER_MISMATCH, field, "false for a scorer that cannot ask for weights", True, advice)  # noqa: FBT003
    if weighted and not _takes_weights(scorer):
        advice = f"{metric_of(scorer).__name__}{_signature(metric_of(scorer))} has no sample_weight."
        raise refused(Reason.SCORER_MISMATCH, field, "false for a metric that takes no weights", True, advice)  # noqa: FBT003
    return with_score_request(scorer, weighted)


def _takes_weights(scorer: AnyScorer) -> bool:
    known = _keywords(metric_of(scorer))
    return known is None or SAMPLE_WEIGHT in known


def _unasked(metric: Metric) -> AnyScorer:
    measure = metric.measure
    if measure is None:
        return _named(metric)
    if measure.scorer is not None:
        return _own_scorer(measure.scorer, f"{metric.field}.scorer")
    return _of_function(metric, measure, f"{metric.field}.function")


def _named(metric: Metric) -> AnyScorer:
    name, names = metric.name or "", get_scorer_names()
    if name in names:
        return get_scorer(name)
    must_be = "the name of one of scikit-learn's scorers"
    raise refused(Reason.SCORER_UNKNOWN, metric.field, must_be, name, _scorer_meant(name, names))


def _scorer_meant(name: str, names: Sequence[str]) -> str:
    meant = _SCORERS_MEANT.get(name.lower().removeprefix("neg_"))
    if meant is not None:
        return f"Did you mean {meant!r}?"
    if "." in name:
        return f"Write a map: {{{name.rpartition('.')[2]}: {{function: {name}}}}}, or {{scorer: {name}}} of a scorer."
    if name.startswith("fbeta"):
        return "It needs a beta: write a map, {fbeta: {function: sklearn.metrics.fbeta_score, params: {beta: 2}}}."
    return nearest(name, names) or f"Known: {', '.join(sorted(names))}."


def _own_scorer(path: str, field: str) -> AnyScorer:
    found = load_attribute(path, field, kind="a scorer")
    must_be = "a scorer: scorer(estimator, X, y)"
    if inspect.isclass(found) or not callable(found):
        raise refused(Reason.SCORER_UNKNOWN, field, must_be, path, f"It is {_kind_of(found)}.")
    if not _is_made_scorer(found):
        try:
            check_scoring(scoring=found)
        except ValueError as error:  # scikit-learn's own metrics are recognized by their module
            advice = f"It is a metric: write {{function: {path}}}."
            raise refused(Reason.SCORER_UNKNOWN, field, must_be, path, advice) from error
        if not _can_be_called(found, 3):
            advice = "It does not take an estimator, X and y. A metric is written {function: PATH}."
            raise refused(Reason.SCORER_UNKNOWN, field, must_be, path, advice)
    return found


def _of_function(metric: Metric, measure: Measure, field: str) -> AnyScorer:
    path = str(measure.function)
    found = load_attribute(path, field, kind="a metric")
    must_be = "a metric: function(y_true, y_pred)"
    if _is_made_scorer(found):
        raise refused(Reason.SCORER_UNKNOWN, field, must_be, path, f"It is a scorer: write {{scorer: {path}}}.")
    if inspect.isclass(found) or not callable(found):
        raise refused(Reason.SCORER_UNKNOWN, field, must_be, path, f"It is {_kind_of(found)}.")
    given = metric.arguments.items if metric.arguments is not None else ()
    known = _keywords(found)
    unknown = [name for name, _ in given if known is not None and name not in known]
    if unknown and metric.arguments is not None:
        raise ManifestRefused(
            [
                Problem(
                    metric.arguments.field_of(name),
                    f"a parameter of {path}",
                    shown(name),
                    nearest(name, known or []),
                    Reason.PARAMETER_UNKNOWN,
                )
                for name in unknown
            ]
        )
    params = {name: materialise(value, f"{metric.field}.params.{name}") for name, value in given}
    if not _can_be_called(found, 2, **params):
        advice = f"Its arguments are {_signature(found)}."
        raise refused(Reason.SCORER_UNKNOWN, field, must_be, path, advice)
    method = measure.response_method
    return make_scorer(
        found,
        response_method=method if isinstance(method, str) else tuple(method),
        greater_is_better=measure.greater_is_better,
        **params,
    )


def _kind_of(found: Anything) -> str:
    return "a class" if inspect.isclass(found) else f"of type {type(found).__name__}"


def _is_made_scorer(found: Anything) -> bool:
    """Whether scikit-learn has made a scorer, from a name or by make_scorer."""
    return not inspect.isclass(found) and type(found).__module__ == "sklearn.metrics._scorer"


def _signature(found: Anything) -> inspect.Signature | None:
    try:
        return inspect.signature(found)
    except Exception:  # noqa: BLE001  compiled code has none, and the user's own may raise anything
        return None


def _can_be_called(found: Anything, positional: int, **params: ParamValue) -> bool:
    signature = _signature(found)
    if signature is None:
        return True
    try:
        signature.bind(*[None] * positional, **params)
    except TypeError:
        return False
    return True


def _keywords(found: Anything) -> list[str] | None:
    """The names of a metric's arguments besides y_true and y_pred; None if it takes any name."""
    signature = _signature(found)
    if signature is None:
        return None
    parameters = list(signature.parameters.values())
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    first_two = [each.name for each in parameters if each.kind is each.POSITIONAL_OR_KEYWORD][:2]
    by_name = {inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY}
    return [each.name for each in parameters if each.kind in by_name and each.name not in first_two]


def _served(
    metric: Metric, scorer: AnyScorer, estimator: Estimator, candidates: Sequence[Mapping[str, Any]]
) -> AnyScorer:
    """The scorer, if some candidate has a method that it calls. Raises ManifestRefused."""
    if not _is_made_scorer(scorer):
        return scorer
    methods = response_methods(scorer)
    if methods == ("default",) or any(
        hasattr(clone(estimator).set_params(**clone(params, safe=False)), method)
        for params in islice(candidates, _SCORER_SAMPLE)
        for method in methods
    ):
        return scorer
    needs = " or ".join(methods)
    raise ManifestRefused(
        [
            Problem(
                metric.field,
                f"a scorer that the estimator can serve ({metric.name or metric.key} needs {needs})",
                f"an estimator without {needs}",
                "Choose another scorer or estimator; some have it behind a parameter (SVC: probability: true).",
                Reason.SCORER_MISMATCH,
            )
        ]
    )
