"""Who fits a search in the place of this process: a cluster, within its ``with``. Known to the search and to the cluster."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

# is given the search, X, y and what else fit was given
ELSEWHERE: Final[ContextVar[Callable[[Any, Any, Any, Mapping[str, Any]], object] | None]] = ContextVar(
    "tuningjob_elsewhere", default=None
)
FETCH_BEST: Final = "_fetch_best_estimator"  # the attribute of a search that gets its model when it is asked for
