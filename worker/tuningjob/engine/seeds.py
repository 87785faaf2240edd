"""Find fits that draw random numbers without a seed: their bits are not repeatable, so they share nothing."""

import pickle
import random
import sys
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from tuningjob.aliases import Estimator
from tuningjob.engine.fingerprint import estimators_within, is_integer
from tuningjob.engine.named import public_name

_Draws = Callable[[Any, "tuple[int, ...] | None"], bool]


def _pca_draws(pca: Estimator, shape: "tuple[int, ...] | None") -> bool:
    return pca_solver(pca, shape) in {"randomized", "arpack"}


def pca_solver(pca: Estimator, shape: "tuple[int, ...] | None") -> str:
    """The solver that ``PCA._fit`` of scikit-learn 1.9 chooses for dense data of a shape if ``svd_solver="auto"``."""
    if pca.svd_solver != "auto":
        return str(pca.svd_solver)
    if shape is None or len(shape) != 2:
        return "randomized"
    wanted = min(shape) if pca.n_components is None else pca.n_components
    if shape[1] <= 1_000 and shape[0] >= 10 * shape[1]:
        return "covariance_eigh"
    if max(shape) <= 500 or wanted == "mle":
        return "full"
    return "randomized" if 1 <= wanted < 0.8 * min(shape) else "full"


def _more_rows_than_its_subsample(transformer: Estimator, shape: "tuple[int, ...] | None") -> bool:
    return transformer.subsample is not None and (shape is None or shape[0] > transformer.subsample)


def _histogram_boosting_draws(boosting: Estimator, shape: "tuple[int, ...] | None") -> bool:
    # validation rows, features of each split, and rows for the bins' edges (_BinMapper's subsample) where there are many
    early = boosting.early_stopping is True or (
        boosting.early_stopping == "auto" and (shape is None or shape[0] > 10_000)
    )
    return early or boosting.max_features != 1.0 or shape is None or shape[0] > 200_000


# Estimators with a random_state that some of their settings never use: True if the settings at hand use it.
_DRAWS: Final[dict[str, _Draws]] = {
    "sklearn.decomposition.PCA": _pca_draws,
    "sklearn.linear_model.LogisticRegression": lambda e, _: e.solver not in {"lbfgs", "newton-cg", "newton-cholesky"},
    "sklearn.linear_model.Ridge": lambda e, _: e.solver in {"sag", "saga"},
    "sklearn.linear_model.RidgeClassifier": lambda e, _: e.solver in {"sag", "saga"},
    "sklearn.linear_model.Lasso": lambda e, _: e.selection != "cyclic",
    "sklearn.linear_model.ElasticNet": lambda e, _: e.selection != "cyclic",
    "sklearn.svm.SVC": lambda e, _: e.probability is True,
    "sklearn.svm.NuSVC": lambda e, _: e.probability is True,
    "sklearn.svm.OneClassSVM": lambda _e, _s: False,
    "sklearn.svm.SVR": lambda _e, _s: False,
    "sklearn.svm.NuSVR": lambda _e, _s: False,
    "sklearn.svm.LinearSVC": lambda e, _: e.dual is not False,
    "sklearn.preprocessing.QuantileTransformer": _more_rows_than_its_subsample,
    "sklearn.preprocessing.KBinsDiscretizer": _more_rows_than_its_subsample,
    "sklearn.ensemble.HistGradientBoostingClassifier": _histogram_boosting_draws,
    "sklearn.ensemble.HistGradientBoostingRegressor": _histogram_boosting_draws,
    "sklearn.ensemble.StackingClassifier": lambda _e, _s: False,
    "sklearn.ensemble.StackingRegressor": lambda _e, _s: False,
    **dict.fromkeys(
        (
            *("xgboost.sklearn.XGBClassifier", "xgboost.sklearn.XGBRegressor", "xgboost.sklearn.XGBRanker"),
            *("lightgbm.sklearn.LGBMClassifier", "lightgbm.sklearn.LGBMRegressor", "lightgbm.sklearn.LGBMRanker"),
        ),
        lambda e, _: e.random_state is not None,  # without a seed these use a fixed one
    ),
}


def is_repeatable(estimator: Estimator, shape: "tuple[int, ...] | None" = None) -> bool:
    """Whether a fit on data of ``shape`` gives the same bits each time: all draws come from integer seeds.

    ``shape`` is that of the estimator's own input; estimators within it are judged as if the shape were unknown.
    """
    try:
        return _is_repeatable(estimator, shape, set())
    except Exception:  # noqa: BLE001  its own code may raise anything when it is read
        return False


def _is_repeatable(estimator: Estimator, shape: "tuple[int, ...] | None", seen: set[int]) -> bool:
    if id(estimator) in seen:  # a part may refer back to its owner
        return True
    seen.add(id(estimator))
    if not is_seeded(estimator, shape):
        return False
    if _is_an_ensemble(estimator) and is_integer(getattr(estimator, "random_state", None)):
        return True  # it seeds what is within (_set_random_states)
    return all(_is_repeatable(each, None, seen) for each in estimators_within(estimator))


def _is_an_ensemble(estimator: Estimator) -> bool:
    base = getattr(
        sys.modules.get("sklearn.ensemble"), "BaseEnsemble", None
    )  # if it is not imported, nothing is an instance of it
    return base is not None and isinstance(estimator, base)


def is_seeded(estimator: Estimator, shape: "tuple[int, ...] | None") -> bool:
    """Whether the estimator itself, without those within it, draws random numbers only by an integer seed."""
    if not hasattr(estimator, "random_state") or is_integer(estimator.random_state):
        return True
    draws = _DRAWS.get(public_name(type(estimator)) or "")
    return draws is not None and not draws(estimator, shape)


class GlobalGenerators:
    """numpy's global generator and Python's, as they are now: their state tells whether anything has drawn from them."""

    def __init__(self) -> None:
        self._numpy, self._python = np.random.get_state(legacy=False), random.getstate()
        self._state = self._pickled()

    def have_moved(self) -> bool:
        """Whether anything was drawn from them since this object was made."""
        return self._pickled() != self._state

    def restore(self) -> None:
        """Set both global generators back to the states that they had."""
        np.random.set_state(self._numpy)
        random.setstate(self._python)

    @staticmethod
    def _pickled() -> bytes:
        return pickle.dumps((np.random.get_state(legacy=False), random.getstate()))
