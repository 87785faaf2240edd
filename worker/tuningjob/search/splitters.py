"""Make scikit-learn's splitter from ``spec.crossValidation``, and refuse one that would differ from pod to pod."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import pandas as pd
from sklearn.base import is_classifier
from sklearn.model_selection import (
    GroupKFold,
    PredefinedSplit,
    RepeatedKFold,
    RepeatedStratifiedKFold,
    StratifiedGroupKFold,
    StratifiedKFold,
    check_cv,
)

from tuningjob.aliases import AnySplitter, Estimator
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.cross_validation import PREDEFINED, CrossValidation
from tuningjob.manifest.literals import shown
from tuningjob.manifest.refusals import nearest
from tuningjob.search.build import load_attribute, materialise
from tuningjob.search.data import Dataset
from tuningjob.search.reasons import Reason, error_text, refused

UNSEEDED: Final = "Every pod divides the data by itself, and all of them must do it alike."


def made_splitter(cv: CrossValidation) -> AnySplitter:
    """The object that ``splitter`` names, made anew; None without one. Raises ManifestRefused."""
    if cv.splitter is None:
        return None
    path, place = cv.splitter.class_, f"{cv.place}.splitter"
    field = f"{place}.class"
    cls = load_attribute(path, field, kind="a splitter's class")
    if not inspect.isclass(cls) or not all(callable(getattr(cls, name, None)) for name in ("split", "get_n_splits")):
        advice = "It is a class, such as sklearn.model_selection.ShuffleSplit, of which an object is made."
        raise refused(
            Reason.SPLITTER_INVALID, field, "a class with scikit-learn's split and get_n_splits", path, advice
        )
    values = {name: materialise(literal, cv.arguments.field_of(name)) for name, literal in cv.arguments.items}
    problems = list(_unknown_arguments(cls, values, cv))
    if problems:
        raise ManifestRefused(problems)
    try:
        splitter = cls(**values)
    except (Exception, SystemExit) as error:
        advice = f"It says: {error_text(error)}."
        raise refused(Reason.SPLITTER_INVALID, place, "a class that takes these params", path, advice) from error
    seed = _defaults(cls).get("random_state", 0) if "random_state" not in values else values["random_state"]
    if draws(cls, values) and not is_seed(seed):
        field = cv.arguments.field_of("random_state")
        raise refused(Reason.SPLITTER_UNSEEDED, field, "an integer for a splitter that draws", seed, UNSEEDED)
    return splitter


def _defaults(cls: type[Any]) -> dict[str, Any]:
    """The arguments of a class by name, with their defaults; empty for one without a signature."""
    try:
        return {name: each.default for name, each in inspect.signature(cls).parameters.items()}
    except Exception:  # noqa: BLE001  the user's own
        return {}


def _unknown_arguments(cls: type[Any], values: Mapping[str, Any], cv: CrossValidation) -> Iterator[Problem]:
    try:
        parameters = inspect.signature(cls).parameters
    except Exception:  # noqa: BLE001  the user's own
        return
    if any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return
    path = cv.splitter.class_ if cv.splitter is not None else ""
    for name in values:
        if name not in parameters:
            field, must_be = cv.arguments.field_of(name), f"a parameter of {path}"
            advice = nearest(name, list(parameters)) or "It takes none."
            yield Problem(field, must_be, shown(name), advice, Reason.PARAMETER_UNKNOWN)


def draws(cls: type[Any], values: Mapping[str, Any]) -> bool:
    """Whether a splitter with these arguments draws random numbers, by scikit-learn's arguments random_state and shuffle."""
    defaults = _defaults(cls)
    if "random_state" not in defaults:
        return False
    return bool(values.get("shuffle", defaults["shuffle"])) if "shuffle" in defaults else True


def is_seed(value: object) -> bool:
    """Whether a value is an integer, with which every pod draws the same."""
    return isinstance(value, int) and not isinstance(value, bool)


def given_cv(cv: CrossValidation, estimator: Estimator, data: Dataset) -> AnySplitter:
    """The ``cv`` argument: an integer for plain folds, else a splitter. Folds are stratified if ``check_cv`` would do so."""
    if cv.splitter is not None:
        return made_splitter(cv)
    if cv.predefined is not None:
        return PredefinedSplit(_test_folds(data.beside[PREDEFINED], cv.predefined))
    folds = cv.folds
    plain = check_cv(folds, data.y, classifier=is_classifier(estimator))
    is_stratified = isinstance(plain, StratifiedKFold)
    drawn = {"shuffle": True, "random_state": cv.random_state} if cv.shuffle else {}
    if cv.groups is not None:
        return (StratifiedGroupKFold if is_stratified else GroupKFold)(folds, **drawn)
    if cv.repeats is not None:
        repeated = RepeatedStratifiedKFold if is_stratified else RepeatedKFold
        return repeated(n_splits=folds, n_repeats=cv.repeats, random_state=cv.random_state)
    return type(plain)(folds, **drawn) if drawn else folds


def _test_folds(column: "pd.Series[Any]", name: str) -> "np.ndarray[Any, Any]":
    missing = int(column.isna().sum())
    must_be = "a column of integers, -1 for rows that are always trained on"
    if missing:
        advice = f"{missing:,} of its {len(column):,} values are missing."
        raise refused(Reason.PREDEFINED_INVALID, PREDEFINED, must_be, name, advice)
    if not pd.api.types.is_integer_dtype(column):
        odd = next((value for value in column.tolist() if not is_seed(value)), None)
        raise refused(Reason.PREDEFINED_INVALID, PREDEFINED, must_be, name, f"It has {shown(odd)} in it.")
    folds: np.ndarray[Any, Any] = column.to_numpy(dtype=np.int64)
    if folds.min() < -1 or folds.max() < 0:
        advice = "It has less than -1 in it." if folds.min() < -1 else "No row is ever tested with."
        raise refused(Reason.PREDEFINED_INVALID, PREDEFINED, must_be, name, advice)
    return folds


def takes_groups(splitter: AnySplitter, *, otherwise: bool = True) -> bool:
    """Whether a splitter of scikit-learn uses groups; ``otherwise`` is the answer for any other splitter."""
    if not type(splitter).__module__.startswith("sklearn."):
        return otherwise
    return bool(splitter.get_metadata_routing().split.requests.get("groups"))
