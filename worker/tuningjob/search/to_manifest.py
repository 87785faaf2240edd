"""Write the manifest of a search object in Python: of scikit-learn's four search classes, or this project's two.

If a manifest cannot express something, the search is refused, with the path to it in Python and advice; nothing is left out.
Settings of where and how fast a search runs (``n_jobs``, ``verbose``, ``pre_dispatch``) do not affect its answer and are omitted.
"""

import inspect
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import numpy as np
from sklearn.model_selection import GridSearchCV, PredefinedSplit, RandomizedSearchCV

from tuningjob.aliases import AnyScorer, Anything, Estimator, ParamValue
from tuningjob.engine.search_cv import GridSearchCV as SharedGridSearchCV
from tuningjob.engine.search_cv import RandomizedSearchCV as SharedRandomizedSearchCV
from tuningjob.engine.sklearn_private import (
    METADATA_REQUEST,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    metadata_asked,
    metric_arguments,
    metric_of,
    response_methods,
    sign_of,
)
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.canonical import canonical
from tuningjob.manifest.halving import EXHAUST, SAMPLES
from tuningjob.manifest.literals import (
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
from tuningjob.manifest.loading import load
from tuningjob.manifest.spelling import params_to_json, to_json
from tuningjob.manifest.wellknown import API_VERSION, KIND, MAX_NAME_LENGTH
from tuningjob.search.build import keywords_of
from tuningjob.search.fit_params import weighted_step
from tuningjob.search.parameters import means_two_things, owners_of
from tuningjob.search.reasons import ADDRESS
from tuningjob.search.scoring import SAMPLE_WEIGHT
from tuningjob.search.shortened import shortened
from tuningjob.search.splitters import draws, is_seed, takes_groups
from tuningjob.search.written import attribute_of, function_path, json_of, literal_of, public_path

_HALVED: Final = (HalvingGridSearchCV, HalvingRandomSearchCV)
_GRIDS: Final = (GridSearchCV, SharedGridSearchCV, HalvingGridSearchCV)
_DRAWN: Final = (RandomizedSearchCV, SharedRandomizedSearchCV, HalvingRandomSearchCV)
_SAYABLE: Final = "what a manifest can say"
_FACTORY: Final = "Build the estimator in a function of a module, and name that: estimator: {factory: PATH}."
_MAIN: Final = "Move it into a module of its own that lies beside the manifest, and import it from there."
_FOLDS: Final = (
    "Give the data a column with the number of each row's test fold, and name it: crossValidation: {predefined: COLUMN}; or "
    "write a class with split and get_n_splits."
)
_WEIGHTS: Final = "sampleWeight"  # the manifest's name for them, in the data and in a metric
_TEST_FOLD: Final = "test_fold"  # scikit-learn's name
# The attributes that clone keeps besides an estimator's parameters, and the method that sets each.
_BESIDE_PARAMS: Final = {
    "_sklearn_output_config": "set_output",
    METADATA_REQUEST: "set_fit_request or one of its kind",
    "_skl_callbacks": "set_callbacks",
}
_DISTRIBUTIONS: Final = {
    "uniform": ("loc", "scale"),
    "loguniform": ("a", "b", "loc", "scale"),
    "reciprocal": ("a", "b", "loc", "scale"),
    "randint": ("low", "high", "loc"),
}
_KNOWN_DISTRIBUTIONS: Final = "Of scipy's distributions a manifest has uniform, loguniform and randint; or give a list."


def to_manifest(
    search: Estimator, *, data: Mapping[str, Any], name: str = "search", groups: str | None = None
) -> dict[str, Any]:
    """The manifest of a search object as a document, which is a file for `tuningjob run` and `kubectl apply` when dumped as JSON.

    `tuningjob manifest script.py:search` prints it as YAML.

    ``search`` is a GridSearchCV or RandomizedSearchCV of scikit-learn or of this package, or a halving search of scikit-learn.
    ``data`` is ``spec.data``, for example ``{"path": "churn.csv", "target": "churned"}``. ``name`` is that of the TuningJob.
    ``groups`` is the column that ``fit`` would be given as groups.

    Raises ManifestRefused with everything that a manifest cannot express: the path to it in Python, and advice.
    """
    if type(search) not in (*_GRIDS, *_DRAWN):
        must_be = "a GridSearchCV or RandomizedSearchCV of scikit-learn's or tuningjob's, or scikit-learn's that halve"
        advice = "A class that is derived from one may do anything." if isinstance(search, _GRIDS + _DRAWN) else ""
        raise ManifestRefused([Problem("search", must_be, shown(search), advice)])
    sent = (data.get("uploaded") or {}) if isinstance(data, Mapping) else {}
    sent = sent if isinstance(sent, Mapping) else {}
    writer = _Writer(
        search,
        groups,
        has_groups=groups is not None or "groups" in sent,
        has_folds="predefined" in sent,
        has_weights=_WEIGHTS in sent or (isinstance(data, Mapping) and _WEIGHTS in data),
    )
    document = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": _kubernetes_name(name)},
        "spec": {**writer.spec(), "data": dict(data)},
    }
    if writer.problems:
        raise ManifestRefused(writer.problems)
    written: dict[str, Any] = canonical(document)
    load(written)
    return written


def _kubernetes_name(name: str) -> str:
    """A valid name of a Kubernetes object, close to a given name."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:MAX_NAME_LENGTH].strip("-") or "search"


class _Writer:
    """Writes one search; ``problems`` collects what it could not write."""

    def __init__(
        self, search: Estimator, groups: str | None, *, has_groups: bool, has_folds: bool, has_weights: bool
    ) -> None:
        self.problems: list[Problem] = []
        self._search = search
        self._groups = groups
        self._has_groups = has_groups  # in a named column, or sent as data
        self._has_folds = has_folds  # the folds of a PredefinedSplit, which are sent
        self._has_weights = has_weights
        self._weighted: Any = None  # the estimator that gets weights, which may request them

    def spec(self) -> dict[str, Any]:
        """All of ``spec`` except the data."""
        search = self._search
        written = {
            "estimator": self._estimator(search.estimator),
            "search": self._space(),
            "crossValidation": self._cross_validation(search.cv),
            "scoring": self._scoring(search.scoring),
            "refit": self._refit(search.refit),
            "prune": getattr(search, "prune", None),
            "returnTrainScore": True if search.return_train_score else None,
        }
        if not (isinstance(search.error_score, float) and math.isnan(search.error_score)):
            self._refuse("error_score", "nan", search.error_score, "A fit that fails is scored NaN.")
        return {name: value for name, value in written.items() if value is not None}

    def _refuse(self, path: str, must_be: str, got: object, advice: str = "") -> None:
        told = got if isinstance(got, _Told) else ADDRESS.sub("", shown(got))
        self.problems.append(Problem(path, must_be, told, advice))

    def _value(self, value: ParamValue, path: str) -> Value:
        """The literal of a value; each part without a literal becomes a problem."""
        literal = literal_of(value)
        self.problems += _unsayable(literal, path)
        self.problems += _set_beside_params(value, path, self._weighted)
        return shortened(literal)

    # --- what is tuned

    def _estimator(self, estimator: Estimator) -> Any:  # noqa: ANN401  JSON
        if not callable(attribute_of(estimator, "get_params")) or inspect.isclass(estimator):
            self._refuse("estimator", "an estimator", estimator)
            return None
        self._weighted = weighted_step(estimator)
        self._check_requests()
        return to_json(self._value(estimator, "estimator"))

    def _check_requests(self) -> None:
        """Refuse metadata requests of the estimator that a manifest would not make."""
        asked = _asked_of(self._weighted)
        got = _Told(f"a {type(self._weighted).__name__} with set_fit_request(sample_weight=False)")
        if self._has_weights and asked.get(("fit", SAMPLE_WEIGHT)) is False:
            advice = "A manifest gives weights to each fit that takes them: set_fit_request(sample_weight=True)."
            self._refuse("estimator", "one whose fit is given the weights of the data", got, advice)
        if self._search.scoring is None and ("score", SAMPLE_WEIGHT) in asked:
            advice = (
                "Name the metric, and let it ask: scoring=get_scorer('accuracy').set_score_request(sample_weight=True)."
            )
            self._refuse("scoring", "given where scores ask for weights", None, advice)

    # --- what is tried

    def _space(self) -> dict[str, Any]:
        search, halving = self._search, self._halving()
        if type(search) in _GRIDS:
            return {"grid": {"parameters": self._maps(search.param_grid, "param_grid", drawn=False)}, **halving}
        seed = _number(search.random_state)
        if not is_seed(seed):
            advice = "Every pod must draw the same candidates."
            self._refuse("random_state", "an integer", search.random_state, advice)
        return {
            "random": {
                "parameters": self._maps(search.param_distributions, "param_distributions", drawn=True),
                "iterations": self._iterations(),
                "randomState": seed if is_seed(seed) else 0,
            },
            **halving,
        }

    def _iterations(self) -> Any:  # noqa: ANN401  JSON
        if type(self._search) is not HalvingRandomSearchCV:
            return _number(self._search.n_iter)
        found = _number(self._search.n_candidates)
        if found == EXHAUST:
            advice = "A manifest says how many are drawn; n_candidates_ of a search that was fitted has the number."
            self._refuse("n_candidates", "a number", found, advice)
            return 1
        return found

    def _halving(self) -> dict[str, Any]:
        """The settings of a halving search in the manifest's form; {} for any other search."""
        search = self._search
        if type(search) not in _HALVED:
            return {}
        written = {
            "factor": _number(search.factor),
            "resource": search.resource,
            "minResources": _number(search.min_resources),
            "aggressiveElimination": search.aggressive_elimination,
        }
        if search.max_resources != "auto":
            written["maxResources"] = _number(search.max_resources)
        if type(search) is HalvingGridSearchCV and search.resource == SAMPLES:
            seed = _number(search.random_state)
            if not is_seed(seed):
                self._refuse("random_state", "an integer", search.random_state, "Every pod must take the same samples.")
            written["randomState"] = seed if is_seed(seed) else 0
        return {"halving": written}

    def _maps(self, given: Anything, path: str, *, drawn: bool) -> Any:  # noqa: ANN401  JSON
        maps = [given] if isinstance(given, Mapping) else given
        if not isinstance(maps, list | tuple) or not maps or not all(isinstance(each, Mapping) for each in maps):
            self._refuse(path, "a dict of parameters, or a list of them", given)
            return {}
        written = [
            self._map(each, path if isinstance(given, Mapping) else f"{path}[{i}]", drawn=drawn)
            for i, each in enumerate(maps)
        ]
        return written[0] if isinstance(given, Mapping) else written

    def _map(self, given: Mapping[Any, Any], path: str, *, drawn: bool) -> dict[str, Any]:
        listed = {str(name): _listed(values) for name, values in given.items()}
        known = {name: values for name, values in listed.items() if values}
        written: dict[str, Any] = {}
        for name, values in given.items():
            where = f"{path}[{name!r}]"
            found = listed[str(name)]
            if drawn and attribute_of(values, "rvs") is not None:
                written[str(name)] = self._distribution(values, where)
            elif isinstance(values, range) and values:
                written[str(name)] = {"range": [values.start, values.stop, values.step]}
            elif found is None:
                self._refuse(where, "a list of values", values)
            else:
                owners = self._owners(known, str(name))
                written[str(name)] = [
                    to_json(self._tried(value, f"{where}[{i}]", owners, str(name))) for i, value in enumerate(found)
                ]
        return written

    def _owners(self, values: Mapping[str, Sequence[Any]], name: str) -> list[Any]:
        with suppress(Exception):  # the user's own
            return owners_of(self._search.estimator, values, name)
        return []

    def _tried(self, value: ParamValue, path: str, owners: Sequence[Any], name: str) -> Value:
        literal = self._value(value, path)
        leaf = name.rpartition("__")[2]
        if isinstance(literal, Scalar) and any(means_two_things(owner, leaf, literal) for owner in owners):
            return replace(literal, tagged=True)
        return literal

    def _distribution(self, frozen: Anything, path: str) -> dict[str, Any]:
        kind = getattr(getattr(frozen, "dist", None), "name", "")
        names = _DISTRIBUTIONS.get(kind)
        if names is None or len(frozen.args) > len(names) or not set(frozen.kwds) <= set(names):
            self._refuse(path, "a list, or one of scipy.stats' uniform, loguniform and randint", frozen)
            return {}
        given = {"loc": 0, "scale": 1, **dict(zip(names, frozen.args, strict=False)), **frozen.kwds}
        bounds = _bounds_of(kind, given)
        if bounds is None:
            self._refuse(path, "a distribution between two bounds", _Told(f"{kind}({given})"), _KNOWN_DISTRIBUTIONS)
            return {}
        return {{"reciprocal": "loguniform"}.get(kind, kind): [_number(bound) for bound in bounds]}

    # --- how the data are divided

    def _cross_validation(self, cv: Anything) -> dict[str, Any] | None:
        if cv is None or is_seed(_number(cv)):
            if self._has_groups:
                advice = "scikit-learn makes no use of groups beside a number of folds: give cv=GroupKFold(…)."
                self._refuse("groups", "left out", self._groups or _Told("groups"), advice)
            return None if cv is None else {"folds": int(cv)}
        if isinstance(cv, PredefinedSplit):
            if self._has_folds and type(cv) is PredefinedSplit:
                return {"predefined": _TEST_FOLD}
            self._refuse("cv", _SAYABLE, _Told("a PredefinedSplit"), _FOLDS)
            return None
        if not all(callable(attribute_of(cv, method)) for method in ("split", "get_n_splits")):
            self._refuse("cv", "a number of folds, or a splitter", _Told(f"a {type(cv).__name__}"), _FOLDS)
            return None
        return self._splitter(cv)

    def _splitter(self, cv: Anything) -> dict[str, Any] | None:
        cls = type(cv)
        path, arguments = public_path(cls), _arguments_of(cv)
        if path is None or arguments is None:
            advice = "Its class must be one that can be imported, and keep its arguments under their names."
            self._refuse("cv", _SAYABLE, cv, advice)
            return None
        self.problems += _from_main(path, "cv")
        if draws(cls, arguments) and not is_seed(arguments.get("random_state")):
            advice = "Every pod divides the data by itself, and all of them must do it alike."
            self._refuse(
                "cv.random_state", "an integer for a splitter that draws", arguments.get("random_state"), advice
            )
            arguments.pop("random_state", None)
        if takes_groups(cv, otherwise=False) and not self._has_groups:
            advice = "Name the column: groups=COLUMN."
            self._refuse("groups", f"given for {cls.__name__}, which divides by groups", None, advice)
        params = params_to_json((name, self._value(value, f"cv.{name}")) for name, value in sorted(arguments.items()))
        splitter = {"class": path, **({"params": params} if params else {})}
        return {"splitter": splitter, **({"groups": self._groups} if self._groups is not None else {})}

    # --- what fits are scored by

    def _scoring(self, scoring: Anything) -> Any:  # noqa: ANN401  JSON
        if scoring is None or isinstance(scoring, str):
            return scoring
        if isinstance(scoring, Mapping):
            return {str(key): self._metric(each, f"scoring[{key!r}]") for key, each in scoring.items()}
        if isinstance(scoring, list | tuple | set | frozenset):
            return [self._name(each, f"scoring[{i}]") for i, each in enumerate(scoring)]
        # the columns of a single scorer are called mean_test_score
        return {"score": self._metric(scoring, "scoring")}

    def _name(self, given: Anything, path: str) -> str:
        if not isinstance(given, str):
            self._refuse(path, "a scorer's name", given, "Give a scorer in a dict, under a name of your own.")
        return str(given)

    def _metric(self, given: AnyScorer | str, path: str) -> Any:  # noqa: ANN401  JSON
        if isinstance(given, str):
            return given
        metric = metric_of(given)
        found = self._function(given if metric is None else metric, path if metric is None else f"{path}._score_func")
        asked = self._asked(given, path)
        if metric is None:
            return {"scorer": found, **asked}
        method = response_methods(given)
        params = params_to_json(
            (name, self._value(value, f"{path}._kwargs[{name!r}]"))
            for name, value in sorted(metric_arguments(given).items())
        )
        return {
            "function": found,
            **({"params": params} if params else {}),
            **({} if sign_of(given) > 0 else {"greaterIsBetter": False}),
            **({} if method == ("predict",) else {"responseMethod": method[0] if len(method) == 1 else list(method)}),
            **asked,
        }

    def _asked(self, scorer: AnyScorer, path: str) -> dict[str, bool]:
        """Whether a scorer requests weights, by its set_score_request."""
        asked = _asked_of(scorer)
        weighted = asked.pop(("score", SAMPLE_WEIGHT), None)
        others = [f"{name}={how!r}" for (_, name), how in asked.items() if how is not False]
        if not isinstance(weighted, bool | None):
            others.append(f"{SAMPLE_WEIGHT}={weighted!r}")
        if others:
            got = _Told(f"set_score_request({', '.join(others)})")
            self._refuse(path, "a scorer that asks for sample_weight by that name, or for nothing", got)
        return {_WEIGHTS: weighted} if isinstance(weighted, bool) else {}

    def _function(self, function: Callable[..., Any], path: str) -> str:
        found = function_path(function)
        if found is None:
            literal = literal_of(function)
            told = literal.text if isinstance(literal, Unwritten) else shown(function)
            advice = "Put a named function at the top of a module in its place."
            self._refuse(path, "a function that can be imported", _Told(told), advice)
            return ""
        self.problems += _from_main(found, path)
        return found

    def _refit(self, refit: Anything) -> str | None:
        if isinstance(refit, str):
            several = not (self._search.scoring is None or isinstance(self._search.scoring, str))
            return refit if several else None
        if callable(refit):
            advice = (
                "A manifest chooses by a rule: select: {oneStandardError: …}, {fastestWithin: …} or {mostStable: …}."
            )
            self._refuse("refit", "True, or the name of the metric that decides", refit, advice)
        return None


class _Told(str):
    """A description of the refused value, which messages show without quotes."""

    __slots__ = ()


def _unsayable(literal: Value, path: str) -> Iterator[Problem]:
    """Every part of a literal that cannot be read again, with the path to it in Python."""
    match literal:
        case Unwritten(text=text, advice=advice):
            yield Problem(path, _SAYABLE, ADDRESS.sub("", text), advice)
        case FunctionOf(path=function):
            yield from _from_main(function, path)
        case ListOf(items=items) | TupleOf(items=items) | ArrayOf(items=items):
            for i, item in enumerate(items):
                yield from _unsayable(item, f"{path}[{i}]")
        case DictOf(pairs=pairs):
            for key, value in pairs:
                yield from _unsayable(key, f"{path}.keys()")
                yield from _unsayable(value, f"{path}[{key.value if isinstance(key, Scalar) else '…'!r}]")
        case ObjectOf(class_path=class_path, params=params):
            yield from _from_main(class_path, path)
            for name, value in params:
                yield from _unsayable(value, f"{path}.{name}")
        case Composed() | Scalar():
            return


def _from_main(found: str, path: str) -> Iterator[Problem]:
    if found.startswith("__main__."):
        yield Problem(path, "of a module that can be imported", found, _MAIN)


def _asked_of(consumer: Anything) -> dict[tuple[str, str], Any]:
    with suppress(Exception):  # the user's own
        return metadata_asked(consumer)
    return {}


def _set_beside_params(value: ParamValue, path: str, weighted: Anything) -> Iterator[Problem]:
    """The problems of attributes that ``clone`` keeps and a manifest cannot express; ``weighted`` may request weights."""
    if inspect.isclass(value) or not callable(attribute_of(value, "get_params")):
        return
    try:
        within = {"": value, **value.get_params(deep=True)}
    except Exception:  # noqa: BLE001  the user's own code, whose fault is already a problem
        return
    for name, each in within.items():
        for attribute in () if inspect.isclass(each) else _BESIDE_PARAMS:
            with suppress(Exception):  # the user's own
                if attribute in vars(each) and vars(each)[attribute]:
                    if attribute == METADATA_REQUEST and _is_as_in_a_manifest(each, is_weighted=each is weighted):
                        continue
                    where = f"{path}.get_params()[{name!r}]" if name else path
                    got = f"a {type(each).__name__} with {_BESIDE_PARAMS[attribute]}"
                    yield Problem(where, "an estimator that is no more than its parameters", got, _FACTORY)


def _is_as_in_a_manifest(consumer: Anything, *, is_weighted: bool) -> bool:
    """Whether a consumer requests what a manifest gives it: weights if they are given, and nothing else."""
    wanted = {asked: how for asked, how in _asked_of(consumer).items() if how is not False}
    known = {("fit", SAMPLE_WEIGHT), ("score", SAMPLE_WEIGHT)} if is_weighted else set()
    return set(wanted) <= known and all(how is True for how in wanted.values())


def _listed(values: Anything) -> list[Any] | None:
    """The values of one parameter, as ParameterGrid takes them; None if it would refuse them."""
    if isinstance(values, np.ndarray):
        return list(values) if values.ndim == 1 and len(values) else None
    with suppress(Exception):  # a sequence of the user's
        if isinstance(values, Sequence) and not isinstance(values, str | bytes):
            return list(values) or None
    return None


def _bounds_of(kind: str, given: Mapping[str, Any]) -> tuple[Any, Any] | None:
    """The ``low`` and ``high`` by which a manifest gives the same distribution, to the bit; None if there are none."""
    if not all(isinstance(value, int | float | np.number) for value in given.values()):
        return None
    loc, scale = given["loc"], given["scale"]
    if kind != "uniform":
        low, high = (given.get("low"), given.get("high")) if kind == "randint" else (given.get("a"), given.get("b"))
        return None if low is None or high is None or (loc, scale) != (0, 1) else (low, high)
    low, near = float(loc), float(loc) + float(scale)
    tried = (near, math.nextafter(near, math.inf), math.nextafter(near, -math.inf))
    return next(((low, high) for high in tried if high - low == scale), None)


def _number(value: Anything) -> Anything:
    """A numpy number as a Python number; any other value unchanged."""
    return value.item() if isinstance(value, np.generic) else value


def _arguments_of(splitter: Anything) -> dict[str, Any] | None:
    """The arguments of a splitter without defaults; None if a splitter made with them would differ."""
    try:
        beside = vars(splitter).get("cvargs", {})  # scikit-learn's repeated splitters have it
        given = {}
        for name in keywords_of(type(splitter)) or ():
            value = getattr(splitter, name) if hasattr(splitter, name) else beside[name]
            default = inspect.signature(type(splitter)).parameters[name].default
            if not (type(value) is type(default) and value == default):
                given[name] = value
        again = vars(type(splitter)(**given))
        kept = vars(splitter)
    except Exception:  # noqa: BLE001  the user's own
        return None
    is_same = set(again) == set(kept) and all(_are_same(again[name], kept[name]) for name in kept)
    return given if is_same else None


def _are_same(one: Anything, other: Anything) -> bool:
    return one is other or (type(one) is type(other) and json_of(literal_of(one)) == json_of(literal_of(other)))
