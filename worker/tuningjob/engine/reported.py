"""Make the report of a fitted search object with scikit-learn's attributes."""

import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import sklearn
from sklearn.utils.validation import check_is_fitted

from tuningjob.aliases import Estimator
from tuningjob.engine.sklearn_private import constraints_of, make_constraint

if TYPE_CHECKING:
    from tuningjob.report.notebook import SearchReport


def report_of_search(search: Estimator) -> "SearchReport":
    """The report of a fitted search. Raises NotFittedError."""
    from tuningjob.report.notebook import report_of  # noqa: PLC0415  templates load only if a report is made
    from tuningjob.report.page import Provenance  # noqa: PLC0415

    check_is_fitted(search, "cv_results_")
    metric = _metric_of(search)
    scoring = search.scoring
    versions = [("scikit-learn", sklearn.__version__), ("NumPy", np.__version__), ("Python", platform.python_version())]
    return report_of(
        search.cv_results_,
        getattr(search, "best_index_", None),
        metric=metric,
        told=scoring if metric == "score" and isinstance(scoring, str) else metric,
        name=type(search.estimator).__name__,
        defaults=_params_of(search.estimator),
        refit_seconds=getattr(search, "refit_time_", None),
        may_be=_allowed(search.estimator),
        provenance=Provenance("in a notebook", versions),
    )


def _metric_of(search: Estimator) -> str:
    """The metric that decides, by its name in the columns; the first of several if none decides."""
    if isinstance(search.refit, str):
        return search.refit
    names = [name.removeprefix("mean_test_") for name in search.cv_results_ if name.startswith("mean_test_")]
    return "score" if "score" in names else names[0]


def _params_of(estimator: Estimator) -> dict[str, Any]:
    try:
        return dict(estimator.get_params())
    except Exception:  # noqa: BLE001  a user's class may do anything
        return {}


def _allowed(estimator: Estimator) -> Callable[[str, float], bool]:
    """A function that says whether a number may be a parameter's value, by scikit-learn's own constraints."""

    def may_be(name: str, value: float) -> bool:
        try:
            above, _, own = name.rpartition("__")
            owner = estimator.get_params()[above] if above else estimator
            constraints = constraints_of(type(owner)).get(own, "no_validation")
            if isinstance(constraints, str):
                return True
            return any(make_constraint(each).is_satisfied_by(value) for each in constraints)
        except Exception:  # noqa: BLE001  a user's class may do anything
            return True

    return may_be
