"""Gradient boosting with 50 stages is the beginning of one with 200, because no stage depends on their number."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from sklearn.ensemble import GradientBoostingClassifier, GradientBoostingRegressor

from tuningjob.aliases import Estimator, Matrix, Target
from tuningjob.engine.fingerprint import is_integer
from tuningjob.engine.rules.base import FROM_1_8, NestedFit, register
from tuningjob.engine.rules.views import view

_BY_STAGE: Final = ("estimators_", "train_score_", "oob_improvement_", "oob_scores_")


@register
class BoostingStages(NestedFit):
    """Shares ``n_estimators`` of gradient boosting: it boosts once with the largest value, and cuts the result for each value.

    A stage depends on the raw predictions so far and on random numbers drawn in order. Early stopping depends on the losses so
    far, so for an ``n_estimators`` above the existing stages the result is all of them.
    Predictions are scikit-learn's own, by the remaining stages: compared with a fit they cost nothing.
    """

    estimators = (GradientBoostingClassifier, GradientBoostingRegressor)
    parameters = ("n_estimators",)
    proof = "tests/engine/rules/test_gradient_boosting.py::test_the_first_stages_are_the_smaller_boosting"
    proved_on = FROM_1_8

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        init = estimator.init
        return not estimator.warm_start and (init is None or (isinstance(init, str) and init == "zero"))

    def accepts(self, estimator: Estimator) -> bool:
        return is_integer(estimator.n_estimators) and estimator.n_estimators >= 1

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        if set(fit_params) - {"sample_weight"}:
            # a monitor sees the unfinished estimator with its n_estimators, and may end the fit
            raise ValueError(
                f"only sample_weight leaves the stages independent of their number, but got {set(fit_params)}"
            )
        limits = [int(estimator.n_estimators) for estimator in estimators]
        boosting = estimators[limits.index(max(limits))].fit(X, y, **fit_params)
        for estimator, limit in zip(estimators, limits, strict=True):
            size = min(limit, boosting.n_estimators_)
            kept = {name: getattr(boosting, name)[:size] for name in _BY_STAGE if hasattr(boosting, name)}
            if "oob_scores_" in kept:
                kept["oob_score_"] = kept["oob_scores_"][-1]
            yield view(boosting, estimator, n_estimators_=size, **kept)
