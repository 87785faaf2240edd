"""Load X and y by a function: one of scikit-learn's loaders, or the user's own."""

import inspect
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from tuningjob.aliases import Anything
from tuningjob.manifest.data import Data
from tuningjob.search.build import load_attribute, materialise
from tuningjob.search.reasons import Reason, error_text, refused

_SEED: Final = "random_state"
_LOADER: Final = "spec.data.loader"
_FUNCTION: Final = "spec.data.function"


def from_loader(data: Data) -> tuple[Any, Any]:
    """X and y of one of scikit-learn's loaders. Raises ManifestRefused."""
    path = str(data.loader)
    loader = load_attribute(path, _LOADER, kind="a loader")
    arguments = {name: materialise(literal) for name, literal in data.arguments.items}
    if path.startswith("sklearn.datasets.make_"):
        _check_seed(data, arguments.get(_SEED))
    made = _called(loader, arguments, "spec.data", path, "a loader")
    return _parted(made, _LOADER, path, "a loader")


def from_function(data: Data) -> tuple[Any, Any]:
    """X and y of the user's own function. Raises ManifestRefused if the function fails in any way."""
    path = str(data.function)
    function = load_attribute(path, _FUNCTION, kind="a function")
    if not callable(function):
        advice = f"It is an object of type {type(function).__name__}."
        raise refused(Reason.DATA_LOAD, _FUNCTION, "a function that gives X and y", path, advice)
    arguments = {name: materialise(literal) for name, literal in data.arguments.items}
    parameters = _parameters(function)
    if _SEED in parameters:
        _check_seed(data, arguments.get(_SEED, parameters[_SEED].default))
    made = _called(function, arguments, _FUNCTION, path, "a function")
    return _parted(made, _FUNCTION, path, "a function")


def _parameters(function: Callable[..., Any]) -> Mapping[str, inspect.Parameter]:
    with suppress(Exception):  # a callable of the user's
        return inspect.signature(function).parameters
    return {}


def _check_seed(data: Data, seed: object) -> None:
    """Refuse a loader without a seed, because every pod makes the data anew and would search another data set."""
    if not isinstance(seed, int) or isinstance(seed, bool):
        got = None if seed is inspect.Parameter.empty else seed
        field, advice = data.arguments.field_of(_SEED), "Every worker must make the same data."
        raise refused(Reason.DATA_UNSEEDED, field, "an integer", got, advice)


def _called(function: Callable[..., Any], arguments: Mapping[str, Any], field: str, path: str, what: str) -> Anything:
    try:
        return function(**arguments)
    except (Exception, SystemExit) as error:
        advice = f"It says: {error_text(error)}."
        raise refused(Reason.DATA_LOAD, field, f"{what} that runs", path, advice) from error


def _parted(made: Anything, field: str, path: str, what: str) -> tuple[Any, Any]:
    if isinstance(made, tuple):
        if len(made) != 2:
            must_be = f"{what} that gives X and y"
            raise refused(Reason.DATA_LOAD, field, must_be, path, f"It gives {len(made)} things.")
        return made
    with suppress(Exception):  # an object of the user's
        return made.data, made.target
    advice = f"It gives a {type(made).__name__}: return X, y (or X, None where nothing is predicted)."
    advice = "" if what == "a loader" else advice
    must_be = f"{what} that gives {'data and target' if what == 'a loader' else 'X and y'}"
    raise refused(Reason.DATA_LOAD, field, must_be, path, advice)
