"""Make Python objects from literals: classes by their dotted path, parameters, estimators, and arguments of searches."""

import importlib
import inspect
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import numpy as np
import scipy.stats
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import FeatureUnion, Pipeline

from tuningjob.aliases import Anything, Estimator, ParamValue
from tuningjob.engine.sklearn_private import check_steps
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.estimator import ESTIMATOR
from tuningjob.manifest.estimator import Estimator as EstimatorSpec
from tuningjob.manifest.literals import (
    Arguments,
    ArrayOf,
    Composed,
    DictOf,
    FunctionOf,
    ListOf,
    ObjectOf,
    Scalar,
    TupleOf,
    Unwritten,
    Value,
    shown,
)
from tuningjob.manifest.ranges import Distribution, Spaced, Values
from tuningjob.manifest.refusals import nearest
from tuningjob.search.beside import looked_in
from tuningjob.search.paths import whole_path
from tuningjob.search.reasons import Reason, error_text, refused

_TOLD: Final = {"pipeline": "a pipeline", "columns": "a column transformer", "union": "a union"}
_SAMPLERS: Final = (
    ". scikit-learn's Pipeline takes no samplers: in the place of pipeline write class: imblearn.pipeline.Pipeline, "
    "params: {steps: [[name, {class: …}], …]}."
)
_EXPERIMENTAL: Final = re.compile(r"from sklearn\.experimental import (enable_\w+)")


def load_attribute(path: str, field: str, *, kind: str) -> Anything:
    """The object that a dotted path names. Raises ManifestRefused with the nearest name, or with the module's own error."""
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
    """Import the module that enables scikit-learn's experimental class, which the error of its import names."""
    try:
        return getattr(module, name)
    except ImportError as error:
        switch = _EXPERIMENTAL.search(str(error))
        if switch is None:
            raise
        importlib.import_module(f"sklearn.experimental.{switch[1]}")
        return getattr(module, name)


def _in_scikit_learn(path: str) -> str:
    """Advice for a path that looks like scikit-learn's; other packages have classes of the same names."""
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
    if not is_estimator_class(found):
        advice = "Another object may be the value of a parameter, but not stand in the place of an estimator."
        raise refused(Reason.CODE_IMPORT, field, "a class with scikit-learn's get_params and set_params", path, advice)
    kind: type[Any] = found
    return kind


def is_estimator_class(found: Anything) -> bool:
    """Whether the object is a class with scikit-learn's estimator interface."""
    return inspect.isclass(found) and all(callable(getattr(found, name, None)) for name in ("get_params", "set_params"))


def make_estimator(class_path: str, params: Iterable[tuple[str, Value]], field: str, params_field: str) -> Estimator:
    """An instance of a class with these parameters. Raises ManifestRefused for one that it lacks, with the nearest name."""
    cls = load_estimator_class(class_path, field)
    return _made_estimator(cls, class_path, _materialised(params, params_field), field, params_field)


def _materialised(params: Iterable[tuple[str, Value]], field: str) -> dict[str, Any]:
    """The values of parameters by their names. Raises ManifestRefused with the problems of all of them."""
    values: dict[str, Any] = {}
    problems: list[Problem] = []
    for name, literal in params:
        try:
            values[name] = materialise(literal, f"{field}.{name}")
        except ManifestRefused as problem:
            problems += problem.problems
    if problems:
        raise ManifestRefused(problems)
    return values


def _made_estimator(
    cls: type[Any], class_path: str, values: dict[str, Any], field: str, params_field: str
) -> Estimator:
    try:
        estimator = cls()
    except TypeError:
        # a meta-estimator: its first argument has no default
        return _construct(cls, class_path, values, field, params_field)
    except Exception as error:
        raise _not_made(class_path, field, error) from error
    known = list(_params_of(estimator, class_path, field))
    problems = [
        _unknown(class_path, name, known, params_field)
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


def _unknown(class_path: str, name: str, known: Sequence[str], params_field: str) -> Problem:
    must_be = f"a parameter of {class_path}"
    return Problem(f"{params_field}.{name}", must_be, shown(name), nearest(name, known), Reason.PARAMETER_UNKNOWN)


def make_object(class_path: str, params: Iterable[tuple[str, Value]], field: str) -> Anything:
    """The value of an object literal: an estimator, or the result of calling another class. Raises ManifestRefused."""
    where, params_field = f"{field}.class", f"{field}.params"
    cls = load_attribute(class_path, where, kind="a class")
    if not inspect.isclass(cls):
        advice = f"It is of type {type(cls).__name__}. Write {{function: {class_path}}} for the thing itself."
        raise refused(Reason.CODE_IMPORT, where, "a class", class_path, advice)
    values = _materialised(params, params_field)
    if is_estimator_class(cls):
        return _made_estimator(cls, class_path, values, where, params_field)
    return _construct(cls, class_path, values, where, params_field)


def takes(estimator: Estimator, name: str, value: ParamValue) -> bool:
    """Whether an estimator has a parameter of this name, or takes it although it does not list it.

    ``get_params`` lists extra parameters of LightGBM and CatBoost, and skorch's ``module__…``, only once they are set, so setting
    one is the only test. scikit-learn's own ``set_params`` refuses a name that ``get_params`` does not list.
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


def _construct(cls: type[Any], class_path: str, values: dict[str, Any], field: str, params_field: str) -> Anything:
    known = keywords_of(cls)
    problems = [
        _unknown(class_path, name, known, params_field) for name in values if known is not None and name not in known
    ]
    # the names of other estimators' parameters belong to an instance: estimator__C
    if problems and not any("__" in name for name in values):
        raise ManifestRefused(problems)
    own = {name: value for name, value in values.items() if "__" not in name or name in (known or ())}
    nested = {name: value for name, value in values.items() if name not in own}
    try:
        made = cls(**own)
        return made.set_params(**nested) if nested else made
    except (Exception, SystemExit) as error:
        raise _not_made(class_path, field, error) from error


def keywords_of(thing: Anything) -> list[str] | None:
    """The names of the arguments that a class or a function takes; None if it takes any name or has no signature."""
    try:
        parameters = inspect.signature(thing).parameters.values()
    except Exception:  # noqa: BLE001  compiled code has none, and the user's own may raise anything
        return None
    if any(each.kind is each.VAR_KEYWORD for each in parameters):
        return None
    return [each.name for each in parameters if each.kind not in {each.POSITIONAL_ONLY, each.VAR_POSITIONAL}]


def _not_made(class_path: str, field: str, error: Exception | SystemExit) -> ManifestRefused:
    must_be = "a class that takes these params"
    return refused(Reason.ESTIMATOR_INVALID, field, must_be, class_path, f"It says: {error_text(error)}.")


def build_estimator(spec: EstimatorSpec) -> Estimator:
    """``spec.estimator`` as a scikit-learn estimator. Raises ManifestRefused with every problem."""
    if spec.factory is not None:
        return _from_factory(spec.factory, spec.arguments)
    assert spec.literal is not None  # noqa: S101  there is no factory
    return estimator_of(spec.literal, ESTIMATOR)


def _from_factory(path: str, arguments: Arguments) -> Estimator:
    """The estimator that the user's function returns. Raises ManifestRefused if the result is no estimator."""
    field = f"{ESTIMATOR}.factory"
    factory = load_attribute(path, field, kind="a function")
    if not callable(factory):
        must_be = "a function that returns an estimator"
        raise refused(Reason.CODE_IMPORT, field, must_be, path, f"It is of type {type(factory).__name__}.")
    values = _materialised(arguments.items, arguments.field)
    known = keywords_of(factory)
    problems = [
        _unknown(path, name, known, arguments.field) for name in values if known is not None and name not in known
    ]
    if problems:
        raise ManifestRefused(problems)
    try:
        made = factory(**values)
    except (Exception, SystemExit) as error:
        must_be = "a function that takes these params"
        raise refused(Reason.ESTIMATOR_INVALID, field, must_be, path, f"It says: {error_text(error)}.") from error
    if inspect.isclass(made) or not is_estimator_class(type(made)):
        what = f"the class {made.__name__}: let it return an object of it" if inspect.isclass(made) else shown(made)
        must_be = "a function that returns an estimator with get_params and set_params"
        raise refused(Reason.ESTIMATOR_INVALID, field, must_be, path, f"It returned {what}.")
    return made


def estimator_of(literal: Value, field: str) -> Estimator:
    """An object in the place of an estimator: one of a class, one composed of others, or a word for none."""
    match literal:
        case ObjectOf(class_path=class_path, params=params):
            return make_estimator(class_path, params, f"{field}.class", f"{field}.params")
        case Composed():
            return _composed(literal, field)
        case _:
            return materialise(literal, field)


def _composed(literal: Composed, field: str) -> Estimator:
    """An object of scikit-learn's class for a short form. Raises ManifestRefused with the problems of all its parts."""
    parts: list[tuple[Any, ...]] = []
    problems: list[Problem] = []
    remainder: Any = "drop"
    for i, part in enumerate(literal.parts):
        where = f"{field}.{literal.kind}[{i}]"
        try:
            columns = () if part.columns is None else (materialise(part.columns, f"{where}.columns"),)
            parts.append((part.name, estimator_of(part.value, where), *columns))
        except ManifestRefused as problem:
            problems += problem.problems
    if literal.remainder is not None:
        try:
            remainder = estimator_of(literal.remainder, f"{field}.remainder")
        except ManifestRefused as problem:
            problems += problem.problems
    if problems:
        raise ManifestRefused(problems)
    if literal.kind == "columns":
        return _checked(ColumnTransformer(parts, remainder=remainder), field, literal)
    if literal.kind == "union":
        return _checked(FeatureUnion(parts), field, literal)
    return _checked(Pipeline(parts), field, literal)


def _checked(made: Estimator, field: str, literal: Composed) -> Estimator:
    """Return the composed object if scikit-learn accepts its parts. Raises ManifestRefused if not."""
    try:
        check_steps(made)
    except (TypeError, ValueError) as error:
        samplers = literal.kind == "pipeline" and any(hasattr(step, "fit_resample") for _, step in made.steps)
        raise refused(
            Reason.ESTIMATOR_INVALID,
            f"{field}.{literal.kind}",
            f"{_TOLD[literal.kind]} that scikit-learn accepts",
            [part.name for part in literal.parts],
            f"It says: {error}{_SAMPLERS if samplers else ''}",
        ) from error
    return made


def materialise(literal: Value, field: str = "") -> Anything:  # noqa: PLR0911  one for each kind
    """The Python value of a literal. Raises ManifestRefused for an object that cannot be made."""
    match literal:
        case Scalar(value=value):
            return value
        case ListOf(items=items):
            return [materialise(item, f"{field}[{i}]") for i, item in enumerate(items)]
        case TupleOf(items=items):
            return tuple(materialise(item, f"{field}[{i}]") for i, item in enumerate(items))
        case ArrayOf(items=items):
            return _array_of(items, field)
        case DictOf(pairs=pairs):
            return _dict_of(pairs, field)
        case ObjectOf(class_path=class_path, params=params):
            return make_object(class_path, params, field)
        case FunctionOf(path=path):
            return load_attribute(path, f"{field}.function", kind="a function")
        case Composed():
            return _composed(literal, field)
        case Unwritten(text=text):
            raise refused(Reason.PARAMETER_INVALID, field, "a value that a manifest can write", text)


def _array_of(items: Iterable[Value], field: str) -> "np.ndarray[Any, Any]":
    listed = [materialise(item, f"{field}.array[{i}]") for i, item in enumerate(items)]
    try:
        made = np.array(listed)
    except (ValueError, OverflowError) as error:
        must_be = "lists of numbers, of one length"
        raise refused(Reason.PARAMETER_INVALID, f"{field}.array", must_be, listed, f"It says: {error}.") from error
    if made.dtype.kind not in "biufU":
        raise refused(Reason.PARAMETER_INVALID, f"{field}.array", "numbers, text, or true and false", listed)
    return made


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
    """The values of one parameter, with ranges as the values that numpy makes (as Python floats of the same bits)."""
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
    """The scipy distribution with the bounds of the literal."""
    low, high = distribution.low, distribution.high
    match distribution.kind:
        case "uniform":
            return scipy.stats.uniform(low, high - low)
        case "loguniform":
            return scipy.stats.loguniform(low, high)
        case _:
            return scipy.stats.randint(low, high)
