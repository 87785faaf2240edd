"""The parameters of fits besides X and y (sample weights), and checks of a search without y."""

import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from sklearn.pipeline import Pipeline
from sklearn.utils import get_tags

from tuningjob.aliases import AnyScorer, Estimator
from tuningjob.engine.sklearn_private import metric_of, routed_params, tells_of_weights
from tuningjob.errors import Problem
from tuningjob.manifest.literals import shown
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.search.columns import WEIGHT
from tuningjob.search.data import Dataset
from tuningjob.search.findings import representatives
from tuningjob.search.reasons import Reason
from tuningjob.search.scoring import SAMPLE_WEIGHT, scorers
from tuningjob.search.space import Space


def given_params(
    spec: TuningJobSpec,
    estimator: Estimator,
    space: Space,
    scorer: AnyScorer,
    data: Dataset,
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """The parameters of fits and of scorings besides X and y, for all samples, as scikit-learn's search passes them.

    If metrics say whether they are weighted, this is a search with metadata routing, in which the last step requests weights.
    """
    weights = data.sample_weight
    if weights is None:
        return {}, {}
    name = weight_name(estimator)
    if not spec.metrics.is_asking:
        return routed_params(space.search_cv(estimator, scoring=scorer), {name: weights})
    takes_them = any(map(_takes_weights, [estimator, *representatives(estimator, space.tried)]))
    return {name: weights} if takes_them else {}, {SAMPLE_WEIGHT: weights} if spec.metrics.weighted else {}


def data_problems(
    spec: TuningJobSpec,
    estimator: Estimator,
    tried: Sequence[Any],
    scorer: AnyScorer,
) -> Iterator[Problem]:
    """The problems of data fields that the estimator does not support. ``tried`` has estimators of a few candidates."""
    weight = spec.data.weights
    if weight is not None and not spec.metrics.weighted and not any(map(_takes_weights, [estimator, *tried])):
        name = type(_weight_of(estimator)[1]).__name__
        advice = (
            f"The fit of {name} takes no sample_weight: choose another, name the column in spec.data.exclude, or weight the "
            "scores alone (sampleWeight: true of a metric)."
        )
        must_be = "left out for an estimator that takes no weights"
        yield Problem(WEIGHT, must_be, shown(weight), advice, Reason.ESTIMATOR_INVALID)
    if weight is not None and weight_name(estimator) == SAMPLE_WEIGHT and not spec.metrics.is_asking:
        yield from _silent_scorers(spec, scorer)
    if not spec.data.is_table or spec.data.target is not None:
        return
    if all(_needs_y(each) for each in tried or [estimator]):
        advice = "Name the column to predict."
        yield Problem("spec.data.target", f"given for {_name(estimator)}", "nothing", advice, Reason.ESTIMATOR_INVALID)
        return
    if any(metric_of(each) is not None for each in scorers(spec, scorer).values()):
        must_be = "one that needs no y, if spec.data.target is not given"
        advice = "Leave it out: the score is then the estimator's own. Or name a target, which fit is given as well."
        yield Problem("spec.scoring", must_be, shown(spec.scoring), advice, Reason.SCORER_MISMATCH)


def _silent_scorers(spec: TuningJobSpec, scorer: AnyScorer) -> Iterator[Problem]:
    """The problems of user-made scorers among several that scikit-learn's search cannot ask whether they take weights."""
    if not spec.metrics.several:
        return
    made = scorers(spec, scorer)
    for metric in spec.metrics.all:
        if not tells_of_weights(made[metric.key]):
            must_be = "beside sampleWeight, true or false, in one metric at least"
            advice = "scikit-learn cannot tell whether this scorer takes weights: say sampleWeight: false here."
            yield Problem(metric.field, must_be, "a scorer of your own", advice, Reason.SCORER_MISMATCH)


def _weight_of(estimator: Estimator) -> tuple[str, Estimator]:
    """The name of the weights among the parameters of ``fit``, and the estimator that gets them."""
    if not isinstance(estimator, Pipeline):
        return SAMPLE_WEIGHT, estimator
    name, last = estimator.steps[-1]
    inner, whose = _weight_of(last)
    return f"{name}__{inner}", whose


def weighted_step(estimator: Estimator) -> Estimator:
    """The estimator that gets the weights: a pipeline's last step, or the estimator itself."""
    return _weight_of(estimator)[1]


def weight_name(estimator: Estimator) -> str:
    """The keyword for weights in a search's ``fit``: for a pipeline, that of its last step."""
    return _weight_of(estimator)[0]


def _takes_weights(estimator: Estimator) -> bool:
    _, last = _weight_of(estimator)
    try:
        parameters = inspect.signature(last.fit).parameters
    except (AttributeError, TypeError, ValueError):  # no step at all, or one that raises
        return not isinstance(last, str) and last is not None
    return SAMPLE_WEIGHT in parameters or any(each.kind is each.VAR_KEYWORD for each in parameters.values())


def _needs_y(estimator: Estimator) -> bool:
    try:
        return bool(get_tags(estimator).target_tags.required)
    except Exception:  # noqa: BLE001  a class may lack tags, or make them by its own code
        return False


def _name(estimator: Estimator) -> str:
    last = estimator.steps[-1][1] if isinstance(estimator, Pipeline) else estimator
    return type(last).__name__
