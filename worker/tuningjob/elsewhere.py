"""What fits a search instead of this process: a cluster, within its ``with``. ``search`` and ``cluster`` both import this."""

from collections.abc import Callable, Mapping
from contextvars import ContextVar
from typing import Any, Final

# it is called with the search, X, y and the other arguments of fit
ELSEWHERE: Final[ContextVar[Callable[[Any, Any, Any, Mapping[str, Any]], object] | None]] = ContextVar(
    "tuningjob_elsewhere", default=None
)
FETCH_BEST: Final = "_fetch_best_estimator"  # the attribute of a search that gets its model when it is asked for
