"""Turns pydantic's refusals into this project's words: which field, what it must be, what it is, and what to do."""

import difflib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic_core import ErrorDetails

from tuningjob.aliases import Anything
from tuningjob.errors import Problem
from tuningjob.manifest import fields
from tuningjob.manifest.literals import shown
from tuningjob.manifest.model import Model

# Names that people know from scikit-learn or elsewhere, without _ and in lower case, and the fields that replace them here.
_ELSEWHERE: Final = {
    "cv": "scikit-learn's cv is spec.crossValidation.folds here.",
    "nsplits": "scikit-learn's n_splits is spec.crossValidation.folds here, or stands in the params of a splitter.",
    "niter": "scikit-learn's n_iter is spec.search.random.iterations here.",
    "njobs": "Processes follow from spec.resources.cpu, one for each CPU of a pod, and pods from spec.parallelism.",
    "paramgrid": "scikit-learn's param_grid is spec.search.grid.parameters here.",
    "paramdistributions": "scikit-learn's param_distributions is spec.search.random.parameters here.",
    "errorscore": "A fit that fails is scored NaN; with spec.limits.maxFailedFits: 0 the first one ends the search.",
    "randomstate": "An estimator's stands in its params, that of a random search in spec.search.random.randomState.",
    "seed": "An estimator's random_state stands in its params, that of a random search in spec.search.random.randomState.",
    "verbose": "There is none: leave it out.",
    "predispatch": "There is none: leave it out.",
    "metric": "It is spec.scoring here.",
    "scorer": "It is spec.scoring here.",
    "splitter": "It is spec.crossValidation.splitter here.",
    "shuffle": "It is spec.crossValidation.shuffle here.",
    "nrepeats": "scikit-learn's n_repeats is spec.crossValidation.repeats here.",
    "groups": "It is spec.crossValidation.groups here.",
    "testfold": "scikit-learn's PredefinedSplit is spec.crossValidation.predefined here, which names a column.",
    "sampleweight": "A column of weights is spec.data.sampleWeight here.",
    "fitparams": "A manifest gives fit X, y and spec.data.sampleWeight: tuningjob.GridSearchCV takes fit parameters.",
    "url": "It is spec.data.url here.",
    "sep": "pandas' sep is spec.data.read.delimiter here.",
    "delimiter": "It is spec.data.read.delimiter here.",
    "csv": "How a CSV file is written is spec.data.read here.",
    "encoding": "It is spec.data.read.encoding here.",
    "indexcol": "pandas' index_col is spec.data.read.indexColumn here.",
    "dtype": "pandas' dtype is spec.data.read.dtypes here.",
    "orderby": "It is spec.data.sort here.",
}
_PATTERNS: Final = {
    fields.DNS_LABEL: "a name of lower-case letters, digits and -, with a letter or a digit at both ends",
    fields.DOTTED_PATH: "a dotted path, such as sklearn.svm.SVC",
    fields.STEP_CLASS: "a dotted path, such as sklearn.svm.SVC, or passthrough",
    fields.PART_CLASS: "a dotted path, such as sklearn.svm.SVC, passthrough, or drop",
    fields.STEP_NAME: "a name of letters, digits, _ and -, beginning with a letter or _",
    fields.MODEL_KEY: "a key of letters, digits, -, _ and ., with a letter or a digit at both ends",
}
_MAPS: Final = frozenset({"model_type", "model_attributes_type", "dict_type", "mapping_type"})
_BOOLEANS: Final = frozenset({"bool_type", "bool_parsing"})
_INTEGERS: Final = frozenset({"int_type", "int_parsing", "int_from_float"})
# The field that a single value probably means, if it is in the place of a map of fields.
_MEANT: Final = {"CrossValidation": "folds", "Data": "path", "Estimator": "class", "Splitter": "class"}


def problem_of(model: type[Model], detail: ErrorDetails, prefix: str) -> Problem:
    """The Problem of one of pydantic's errors about ``model``; ``prefix`` is the model's path."""
    location = detail["loc"][:-2] if detail["loc"][-1:] == ("[key]",) else detail["loc"]  # an error in a key of a map
    field = field_path([part for part in (prefix, *location) if part != ""])
    context: Mapping[str, Any] = detail.get("ctx", {})
    got = detail["input"]
    match detail["type"]:
        case "must_be":
            inner = f".{context['field']}" if context.get("field") else ""
            told = shown(context["got"]) if "got" in context else shown(got)
            return Problem((field or prefix) + inner, context["must_be"], told, context["advice"])
        case "missing":
            return Problem(field, "given", "nothing")
        case "extra_forbidden":
            return Problem(field, "a known field", "an unknown one", _known_field(model, detail["loc"]))
        case kind:
            must_be, advice = _of_kind(kind, field, got, _model_at(model, location))
            if not must_be:
                pattern = context.get("pattern", "")
                plain = re.sub(r"^have ", "one with ", detail["msg"].split(" should ", 1)[-1].removeprefix("be "))
                must_be = _PATTERNS.get(pattern, f"text that matches {pattern}" if pattern else plain)
                advice = _in_pattern(pattern, str(got))
            return Problem(field, must_be, shown(got), advice)


def _of_kind(kind: str, field: str, got: object, model: type[Model] | None) -> tuple[str, str]:
    """What a value of the wrong type must be, and what to write; empty for other errors."""
    write_bare = "Write it without quotes."
    if kind in _MAPS:
        return "a map", _as_map(model, got)
    if kind == "list_type":
        return "a list", "" if isinstance(got, Mapping) else f"Write [{got}]."
    if kind == "string_type":
        return "a string", _as_string(field, got)
    if kind in _INTEGERS:
        return "an integer", write_bare if isinstance(got, str) and got.isdigit() else ""
    if kind in _BOOLEANS:
        return "true or false", write_bare if isinstance(got, str) else ""
    return "", ""


def field_path(parts: Sequence[str | int]) -> str:
    """``("spec", "steps", 0, "name")`` as ``spec.steps[0].name``."""
    path = ""
    for part in parts:
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path


def nearest(name: str, known: Sequence[str]) -> str:
    """``Did you mean 'max_depth'?`` for the nearest known name; else the names if they are few; else an empty text."""
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean {close[0]!r}?"
    return f"Known: {', '.join(sorted(known))}." if 0 < len(known) <= 30 else ""


def _known_field(model: type[Model], location: Sequence[str | int]) -> str:
    """The field that an unknown one probably means: another spelling, its name elsewhere, or the nearest."""
    current = _model_at(model, location[:-1])
    if current is None:
        return ""
    name, known = str(location[-1]), _fields(current)
    spelt = {_plain(each): each for each in known}
    if _plain(name) in spelt:
        return f"Did you mean {spelt[_plain(name)]!r}?"
    return _ELSEWHERE.get(_plain(name)) or nearest(name, known)


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _fields(model: type[Model]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _as_map(model: type[Model] | None, got: object) -> str:
    if model is None:
        return ""
    if model.__name__ in _MEANT and isinstance(got, int | str) and not isinstance(got, bool):
        return f"Write {{{_MEANT[model.__name__]}: {got}}}."
    return f"Its fields: {', '.join(_fields(model))}."


def _as_string(field: str, got: object) -> str:
    if field == "spec.refit":
        return "The best candidate is always fitted on all the data: name the metric that decides, or leave it out."
    if isinstance(got, bool):
        return "Put it in quotes: to kubectl a bare y, n, yes, no, on or off is true or false."
    if isinstance(got, int | float):
        return f'Put it in quotes: "{got}".'
    return ""


def _in_pattern(pattern: str, got: str) -> str:
    if pattern in {fields.DOTTED_PATH, fields.STEP_CLASS, fields.PART_CLASS}:
        return "Write the whole path: module and class."
    plain = re.sub(r"[^a-z0-9]+", "-", got.lower()).strip("-")
    return f"Write {plain}." if pattern == fields.DNS_LABEL and plain else ""


def _model_at(model: type[Model], location: Sequence[str | int]) -> type[Model] | None:
    current: Any = model
    for part in location:
        if isinstance(part, str) and isinstance(current, type) and issubclass(current, Model):
            current = next((field.annotation for field in current.model_fields.values() if field.alias == part), None)
            current = _inner_model(current)
    return current if isinstance(current, type) and issubclass(current, Model) else None


def _inner_model(annotation: Anything) -> Anything:
    """The model inside ``X | None``, ``list[X]`` and ``Annotated[X, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _inner_model(inner)
        if found is not None:
            return found
    return None
