"""Views: fitted estimators that rules make from other fitted estimators."""

import copy
from collections.abc import Callable
from typing import Any, Final

from tuningjob.aliases import Anything, Estimator, Matrix

_KNOWN_INPUTS: Final = 2  # the test rows, and the training rows if those are scored, too


def view(fitted: Estimator, unfitted: Estimator, **attributes: Anything) -> Estimator:
    """A copy of ``fitted`` that shares its state, with the parameters of ``unfitted`` and ``attributes`` of its own."""
    made = copy.copy(fitted)
    # LightGBM's constructor prepares attributes of its fit, which are no parameters
    vars(made).update((name, value) for name, value in vars(unfitted).items() if not name.startswith("_"))
    vars(made).update(attributes)
    return made


def predicts(made: Estimator, method: str, function: Callable[[Any], Any]) -> Matrix:
    """Make ``function`` the ``method`` of a view, with its name, which scorers read; returns the view."""
    function.__name__ = method
    setattr(made, method, function)
    return made


class ByInput:
    """Calls ``make`` and keeps its results for the last inputs, compared by identity, because a fold's rows repeat."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make
        self._known: list[tuple[Any, Any]] = []

    def __call__(self, X: Matrix) -> Anything:
        """The result for X, which is made or remembered."""
        for given, result in self._known:
            if given is X:
                return result
        result = self._make(X)
        self._known.append((X, result))
        del self._known[:-_KNOWN_INPUTS]
        return result

    def forget(self) -> None:
        """Forget the inputs and their results."""
        self._known.clear()
