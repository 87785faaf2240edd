"""From literals to Python: classes by their dotted path, parameters, the estimator, scikit-learn's param_grid."""

import importlib
import inspect
from collections.abc import Iterable
from typing import Any, Final

import numpy as np
from sklearn.pipeline import Pipeline

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.spec.grid import Grid
from tuningjob.spec.literals import (
    DictOf,
    ListOf,
    Literal,
    ObjectOf,
    Scalar,
    Spaced,
    TupleOf,
    Values,
    parse_params,
    refuse,
    shown,
)
from tuningjob.spec.manifest import nearest
from tuningjob.spec.models import Estimator

_PASSTHROUGH: Final = "passthrough"


def load_attribute(path: str, field: str, *, kind: str) -> Any:  # noqa: ANN401  whatever stands there
    """What a dotted path names. Raises ManifestRefused with the nearest name; an error inside the module is told as it is."""
    module_path, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(module_path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_path}.".startswith(f"{error.name}."):
            raise refuse(field, f"{kind} that can be imported", path, f"Importing it says: {error}.") from error
        advice = f"There is no module {error.name!r} here. {_nearest_module(module_path)}".strip()
        raise refuse(field, f"{kind} that can be imported", path, advice) from error
    except Exception as error:
        raise refuse(field, f"{kind} that can be imported", path, f"Importing it says: {error!r}.") from error
    try:
        return getattr(module, name)
    except AttributeError:
        known = [other for other in dir(module) if not other.startswith("_")]
        close = nearest(name, known)
        advice = close if close.startswith("Did") else f"{module_path} has no {name!r}."
        raise refuse(field, f"{kind} that {module_path} has", path, advice) from None


def _nearest_module(path: str) -> str:
    parent, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(parent)
    except (ImportError, ValueError):
        return ""
    known = [*getattr(module, "__all__", ()), *(other for other in dir(module) if not other.startswith("_"))]
    close = nearest(name, known)
    return close if close.startswith("Did") else ""


def load_estimator_class(path: str, field: str) -> type[Any]:
    """A class with scikit-learn's estimator interface. Raises ManifestRefused."""
    found = load_attribute(path, field, kind="an estimator's class")
    if not inspect.isclass(found) or not all(
        callable(getattr(found, name, None)) for name in ("get_params", "set_params")
    ):
        raise refuse(field, "a class with scikit-learn's get_params and set_params", path)
    return found


def make_estimator(class_path: str, params: Iterable[tuple[str, Literal]], field: str, params_field: str) -> Any:  # noqa: ANN401
    """An instance. Raises ManifestRefused for a parameter that it lacks, with the nearest name."""
    if class_path == _PASSTHROUGH:
        return _PASSTHROUGH
    cls = load_estimator_class(class_path, field)
    values = {name: materialise(literal, f"{params_field}.{name}") for name, literal in params}
    try:
        estimator = cls()
    except TypeError:
        # a meta-estimator: its first argument has no default
        return _construct(cls, class_path, values, field)
    known = list(estimator.get_params())
    problems = [
        Problem(f"{params_field}.{name}", f"a parameter of {class_path}", shown(name), nearest(name, known))
        for name in values
        if name not in known and name.split("__", 1)[0] not in known
    ]
    if problems:
        raise ManifestRefused(problems)
    return estimator.set_params(**values)


def _construct(cls: type[Any], class_path: str, values: dict[str, Any], field: str) -> Any:  # noqa: ANN401  an estimator
    try:
        return cls(**values)
    except TypeError as error:
        raise refuse(field, "a class that takes these params", class_path, f"It says: {error}.") from error


def build_estimator(spec: Estimator) -> Any:  # noqa: ANN401  an estimator of any class
    """``spec.estimator`` as a scikit-learn estimator. Raises ManifestRefused with every problem."""
    if spec.class_ is not None:
        params = parse_params(spec.params, "spec.estimator.params")
        return make_estimator(spec.class_, params, "spec.estimator.class", "spec.estimator.params")
    steps: list[tuple[str, Any]] = []
    problems: list[Problem] = []
    for i, step in enumerate(spec.pipeline or []):
        field = f"spec.estimator.pipeline[{i}]"
        try:
            params = parse_params(step.params, f"{field}.params")
            steps.append((step.name, make_estimator(step.class_, params, f"{field}.class", f"{field}.params")))
        except ManifestRefused as refused:
            problems += refused.problems
    if problems:
        raise ManifestRefused(problems)
    pipeline = Pipeline(steps)
    try:
        pipeline._validate_steps()
    except (TypeError, ValueError) as error:
        raise refuse(
            "spec.estimator.pipeline",
            "a pipeline that scikit-learn accepts",
            [name for name, _ in steps],
            f"It says: {error}",
        ) from error
    return pipeline


def materialise(literal: Literal, field: str = "") -> Any:  # noqa: ANN401  any value
    """The Python value of a literal. Raises ManifestRefused for an object that cannot be made."""
    match literal:
        case Scalar(value=value):
            return value
        case ListOf(items=items):
            return [materialise(item, f"{field}[{i}]") for i, item in enumerate(items)]
        case TupleOf(items=items):
            return tuple(materialise(item, f"{field}[{i}]") for i, item in enumerate(items))
        case DictOf(pairs=pairs):
            return {materialise(key, field): materialise(value, field) for key, value in pairs}
        case ObjectOf(class_path=class_path, params=params):
            return make_estimator(class_path, params, f"{field}.class", f"{field}.params")


def materialise_values(values: Values, field: str) -> list[Any]:
    """The values of one parameter, ranges written out as numpy makes them (Python floats of the same bits)."""
    result: list[Any] = []
    for i, entry in enumerate(values):
        if isinstance(entry, Spaced):
            make = np.logspace if entry.kind == "logspace" else np.linspace
            result += make(entry.start, entry.stop, entry.num).tolist()
        elif isinstance(entry, range):
            result += entry
        else:
            result.append(materialise(entry, f"{field}[{i}]"))
    return result


def build_param_grid(grid: Grid, field: str = "spec.search.grid.parameters") -> list[dict[str, list[Any]]]:
    """scikit-learn's param_grid. Raises ManifestRefused for objects that cannot be made."""
    many = len(grid.subgrids) > 1
    return [
        {
            name: materialise_values(values, f"{field}[{i}].{name}" if many else f"{field}.{name}")
            for name, values in zip(subgrid.names, subgrid.values, strict=True)
        }
        for i, subgrid in enumerate(grid.subgrids)
    ]
