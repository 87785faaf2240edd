"""From literals to Python: classes by their dotted path, parameters, the estimator, what scikit-learn's searches are given."""

import importlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import scipy.stats
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from tuningjob.aliases import Anything, Estimator, ParamValue
from tuningjob.engine.sklearn_private import check_steps
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.estimator import Estimator as EstimatorSpec
from tuningjob.manifest.literals import (
    DictOf,
    Distribution,
    ListOf,
    ObjectOf,
    Scalar,
    Spaced,
    TupleOf,
    Unwritten,
    Value,
    Values,
    shown,
)
from tuningjob.manifest.refusals import nearest
from tuningjob.search.beside import looked_in
from tuningjob.search.paths import whole_path
from tuningjob.search.reasons import Reason, error_text, refused

_PASSTHROUGH: Final = "passthrough"
_SAMPLERS: Final = (
    ". scikit-learn's Pipeline takes no samplers: in the place of pipeline write class: imblearn.pipeline.Pipeline, "
    "params: {steps: [[name, {class: …}], …]}."
)
_EXPERIMENTAL: Final = re.compile(r"from sklearn\.experimental import (enable_\w+)")


def load_attribute(path: str, field: str, *, kind: str) -> Anything:
    """What a dotted path names. Raises ManifestRefused with the nearest name; an error inside the module is told as it is."""
    module_path, _, name = path.rpartition(".")
    can_be_imported = f"{kind} that can be imported"
    try:
        module = importlib.import_module(module_path)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_path}.".startswith(f"{error.name}."):
            raise refused(
                Reason.CODE_IMPORT, field, can_be_imported, path, f"Importing it says: {error_text(error)}."
            ) from error
        close = _nearest_module(module_path) or _in_scikit_learn(path) or looked_in()
        advice = f"There is no module {error.name!r} here. {close}"
        raise refused(Reason.CODE_IMPORT, field, can_be_imported, path, advice) from error
    except (Exception, SystemExit) as error:
        raise refused(
            Reason.CODE_IMPORT, field, can_be_imported, path, f"Importing it says: {error_text(error)}."
        ) from error
    try:
        return _attribute(module, name)
    except AttributeError:
        known = [other for other in dir(module) if not other.startswith("_")]
        close = nearest(name, known)
        advice = (
            close if close.startswith("Did") else f"{module_path} has no {name!r}. {_in_scikit_learn(path)}".rstrip()
        )
        raise refused(Reason.CODE_IMPORT, field, f"{kind} that {module_path} has", path, advice) from None
    except (Exception, SystemExit) as error:  # the module's own __getattr__
        raise refused(
            Reason.CODE_IMPORT, field, can_be_imported, path, f"Importing it says: {error_text(error)}."
        ) from error


def _attribute(module: Anything, name: str) -> Anything:
    """scikit-learn's experimental classes are there once a module is imported that their error names."""
    try:
        return getattr(module, name)
    except ImportError as error:
        switch = _EXPERIMENTAL.search(str(error))
        if switch is None:
            raise
        importlib.import_module(f"sklearn.experimental.{switch[1]}")
        return getattr(module, name)


def _in_scikit_learn(path: str) -> str:
    """Of what looks like scikit-learn's: others have classes of the same names."""
    return whole_path(path) if path.startswith(("sk", "scikit")) else ""


def _nearest_module(path: str) -> str:
    parent, _, name = path.rpartition(".")
    try:
        module = importlib.import_module(parent)
    except (Exception, SystemExit):  # noqa: BLE001  the module's own code
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
        advice = "A manifest makes estimators, and no other objects."
        if getattr(found, "__name__", "") == "make_column_selector":
            advice = "A manifest cannot choose columns by their type: name them in a list."
        raise refused(Reason.CODE_IMPORT, field, "a class with scikit-learn's get_params and set_params", path, advice)
    return found


def make_estimator(class_path: str, params: Iterable[tuple[str, Value]], field: str, params_field: str) -> Estimator:
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
    except Exception as error:
        raise _not_made(class_path, field, error) from error
    known = list(_params_of(estimator, class_path, field))
    problems = [
        Problem(
            f"{params_field}.{name}",
            f"a parameter of {class_path}",
            shown(name),
            nearest(name, known),
            Reason.PARAMETER_UNKNOWN,
        )
        for name, value in values.items()
        if name not in known and name.split("__", 1)[0] not in known and not takes(estimator, name, value)
    ]
    if problems:
        raise ManifestRefused(problems)
    try:
        return estimator.set_params(**values)
    except Exception as error:  # a nested name, or a class that checks its parameters at once
        raise refused(
            Reason.PARAMETER_INVALID,
            params_field,
            f"parameters that {class_path} takes",
            values,
            f"It says: {error_text(error)}.",
        ) from error


def takes(estimator: Estimator, name: str, value: ParamValue) -> bool:
    """Whether an estimator has a parameter of this name, or takes it all the same.

    Those of LightGBM and CatBoost, and skorch's ``module__…``, are listed by ``get_params`` only once they are set: who takes any
    name is known by asking. scikit-learn's own ``set_params`` refuses what ``get_params`` does not list.
    """
    if name in estimator.get_params():
        return True
    try:
        clone(estimator).set_params(**{name: value})
    except Exception:  # noqa: BLE001  the estimator's own
        return False
    return True


def _params_of(estimator: Estimator, class_path: str, field: str) -> dict[str, Any]:
    try:
        return dict(estimator.get_params())
    except Exception as error:
        raise _not_made(class_path, field, error) from error


def _construct(cls: type[Any], class_path: str, values: dict[str, Any], field: str) -> Anything:
    try:
        return cls(**values)
    except Exception as error:
        raise _not_made(class_path, field, error) from error


def _not_made(class_path: str, field: str, error: Exception) -> ManifestRefused:
    must_be = "a class that takes these params"
    return refused(Reason.ESTIMATOR_INVALID, field, must_be, class_path, f"It says: {error_text(error)}.")


def build_estimator(spec: EstimatorSpec) -> Estimator:
    """``spec.estimator`` as a scikit-learn estimator. Raises ManifestRefused with every problem."""
    if spec.class_ is not None:
        return make_estimator(spec.class_, spec.arguments.items, "spec.estimator.class", spec.arguments.field)
    steps: list[tuple[str, Any]] = []
    problems: list[Problem] = []
    for step in spec.steps:
        given = step.arguments
        try:
            steps.append((step.name, make_estimator(step.class_path, given.items, f"{step.field}.class", given.field)))
        except ManifestRefused as problem:
            problems += problem.problems
    if problems:
        raise ManifestRefused(problems)
    pipeline = Pipeline(steps)
    try:
        check_steps(pipeline)
    except (TypeError, ValueError) as error:
        raise refused(
            Reason.ESTIMATOR_INVALID,
            "spec.estimator.pipeline",
            "a pipeline that scikit-learn accepts",
            [name for name, _ in steps],
            f"It says: {error}{_SAMPLERS if any(hasattr(step, 'fit_resample') for _, step in steps) else ''}",
        ) from error
    return pipeline


def materialise(literal: Value, field: str = "") -> Anything:
    """The Python value of a literal. Raises ManifestRefused for an object that cannot be made."""
    match literal:
        case Scalar(value=value):
            return value
        case ListOf(items=items):
            return [materialise(item, f"{field}[{i}]") for i, item in enumerate(items)]
        case TupleOf(items=items):
            return tuple(materialise(item, f"{field}[{i}]") for i, item in enumerate(items))
        case DictOf(pairs=pairs):
            return _dict_of(pairs, field)
        case ObjectOf(class_path=class_path, params=params):
            return make_estimator(class_path, params, f"{field}.class", f"{field}.params")
        case Unwritten(text=text):
            raise refused(Reason.PARAMETER_INVALID, field, "a value that a manifest can write", text)


def _dict_of(pairs: Iterable[tuple[Value, Value]], field: str) -> dict[Any, Any]:
    made: dict[Any, Any] = {}
    for key, value in pairs:
        name = materialise(key, f"{field}.dict")
        try:
            made[name] = materialise(value, field)
        except TypeError:
            raise refused(Reason.PARAMETER_INVALID, f"{field}.dict", "keys that a dict can have", name) from None
    return made


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


def build_space(maps: Sequence[Mapping[str, Values | Distribution]], field: str) -> list[dict[str, Any]]:
    """scikit-learn's param_grid, or its param_distributions. Raises ManifestRefused for objects that cannot be made."""
    return [
        {
            name: frozen(values)
            if isinstance(values, Distribution)
            else materialise_values(values, f"{field}[{i}].{name}" if len(maps) > 1 else f"{field}.{name}")
            for name, values in each.items()
        }
        for i, each in enumerate(maps)
    ]


def frozen(distribution: Distribution) -> Anything:
    """Scipy's own, with its bounds."""
    low, high = distribution.low, distribution.high
    match distribution.kind:
        case "uniform":
            return scipy.stats.uniform(low, high - low)
        case "loguniform":
            return scipy.stats.loguniform(low, high)
        case _:
            return scipy.stats.randint(low, high)
