"""Fitted estimators made from other fitted estimators: what the rules hand out."""

import copy
from collections.abc import Callable
from typing import Any, Final

from tuningjob.aliases import Anything, Estimator, Matrix

_KNOWN_INPUTS: Final = 2  # the test rows, and the training rows when those are scored too


def view(fitted: Estimator, unfitted: Estimator, **attributes: Anything) -> Estimator:
    """A copy of ``fitted`` that shares its state, with the parameters of ``unfitted`` and ``attributes`` of its own."""
    made = copy.copy(fitted)
    # LightGBM's constructor prepares what its fit will set, in names that are no parameters
    vars(made).update((name, value) for name, value in vars(unfitted).items() if not name.startswith("_"))
    vars(made).update(attributes)
    return made


def predicts(made: Estimator, method: str, function: Callable[[Any], Any]) -> Matrix:
    """Have a view answer ``method(X)`` by ``function``; scorers read its name."""
    function.__name__ = method
    setattr(made, method, function)
    return made


class ByInput:
    """Remembers what ``make`` made of the last inputs, compared by identity: the fold's rows come again and again."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        self._make = make
        self._known: list[tuple[Any, Any]] = []

    def __call__(self, X: Matrix) -> Anything:
        """The transformed X."""
        for given, result in self._known:
            if given is X:
                return result
        result = self._make(X)
        self._known.append((X, result))
        del self._known[:-_KNOWN_INPUTS]
        return result

    def forget(self) -> None:
        """Let go of the inputs and of what was made of them."""
        self._known.clear()
