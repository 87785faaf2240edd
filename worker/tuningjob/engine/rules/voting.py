"""The members of a vote are the same for all weights of their votes."""

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from sklearn.ensemble import VotingClassifier, VotingRegressor

from tuningjob.aliases import Estimator, Matrix, ParamValue, Target
from tuningjob.engine.rules.base import NestedFit, register
from tuningjob.engine.rules.values import as_number, is_valid
from tuningjob.engine.rules.views import ByInput, predicts, view

_METHODS: Final = ("predict", "predict_proba")


@register
class Votes(NestedFit):
    """Shares ``weights``, ``voting`` and ``flatten_transform`` of a vote, which it uses only to count votes.

    Each member's answers to the fold's rows are remembered.
    """

    estimators = (VotingClassifier, VotingRegressor)
    parameters = ("weights", "voting", "flatten_transform")
    proof = "tests/engine/rules/test_voting.py::test_members_are_fitted_once"

    def applies(self, estimator: Estimator, X: Matrix, y: Target) -> bool:  # noqa: ARG002
        return np.ndim(y) == 1

    def accepts(self, estimator: Estimator) -> bool:
        return _are_weights(estimator.weights, len(estimator.estimators)) and all(
            is_valid(estimator, name) for name in self.parameters[1:] if hasattr(estimator, name)
        )

    def fit(
        self, estimators: Sequence[Estimator], X: Matrix, y: Target, fit_params: Mapping[str, Any]
    ) -> Iterator[Any]:
        vote = estimators[0].fit(X, y, **fit_params)
        members = [_remembering(member) for member in vote.estimators_]
        for estimator in estimators:
            yield view(vote, estimator, estimators_=members)


def _are_weights(weights: ParamValue, members: int) -> bool:
    if weights is None:
        return True
    if type(weights) not in {list, tuple, np.ndarray} or np.ndim(weights) != 1:
        return False
    return len(weights) == members and all(as_number(weight) is not None for weight in weights)


def _remembering(member: Estimator) -> Estimator:
    made = copy.copy(member)
    for method in _METHODS:
        if hasattr(member, method):
            predicts(made, method, ByInput(getattr(member, method)))
    return made
