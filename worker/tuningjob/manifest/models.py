"""The manifest: the one definition of a TuningJob. The CRD is generated from these models.

Only the border is pydantic: names are camelCase as in Kubernetes, unknown fields are refused, everything is bounded.
Values that have no type here (parameters) are parsed by ``literals`` and ``grid`` when they are first asked for, which is when a
manifest is loaded, and kept: nobody else reads them unparsed. What needs scikit-learn to be judged is
``tuningjob.search.problem``'s.

What is checked here, the API server checks too: by the schema, or by a rule in CEL beside the Python that says the same. The two
are held together by a differential test. Only what is inside of params and grid.parameters is the operator's alone to judge:
to CEL these values have no type, so no rule may stand on them or look into them. That they do not *change* it can see: the
equality of the object that they are in compares them as data (``crd.freeze``).
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Annotated, Any, Final, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    JsonValue,
    WithJsonSchema,
    model_validator,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest import quantity
from tuningjob.manifest.grid import Grid, Sample, parse_grid, parse_sample
from tuningjob.manifest.literals import Arguments, parse_params
from tuningjob.manifest.quantity import parse_quantity
from tuningjob.manifest.wellknown import (
    API_VERSION,
    ENV_COMPLETION_INDEX,
    ENV_JOBLIB_CPUS,
    KIND,
    MAX_NAME_LENGTH,
    THREAD_CAPS,
)

_UNTYPED: Final = {"x-kubernetes-preserve-unknown-fields": True}
_RULES: Final = "x-kubernetes-validations"
# Filled in by the API server, too, so that what is inside is always there: kubectl shows it, and CEL needs no has().
_FILLED_IN: Final[dict[str, JsonValue]] = {"default": {}}
DNS_LABEL: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
DNS_SUBDOMAIN: Final = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
DOTTED_PATH: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$"
STEP_CLASS: Final = r"^(passthrough|[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+)$"
MODEL_KEY: Final = r"^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
STEP_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_-]*$"
LABEL_KEY: Final = rf"^({DNS_SUBDOMAIN[1:-1]}/)?[A-Za-z0-9]([-A-Za-z0-9_.]{{0,61}}[A-Za-z0-9])?$"
LABEL_VALUE: Final = r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"
MAX_SECONDS: Final = 2**31 - 1
# Where the operator mounts what a worker needs, and the variables that it sets: see the operator's job.py.
TAKEN_PATHS: Final = ("/data", "/tmp", "/var/run/tuningjob", "/run/tuningjob")  # noqa: S108
TAKEN_PREFIX: Final = "TUNINGJOB_"
TAKEN_ENV: Final = frozenset(
    {*THREAD_CAPS, ENV_JOBLIB_CPUS, ENV_COMPLETION_INDEX, "HOME", "JOBLIB_TEMP_FOLDER", "PYTHONHASHSEED"}
)


def must_be(expected: str, advice: str = "", **of_field: object) -> PydanticCustomError:
    """A refusal in this project's voice: ``manifest.load`` turns it into a Problem.

    Of a model it may be about one ``field`` of it, of which was ``got`` something.
    """
    return PydanticCustomError("must_be", "must be {must_be}", {"must_be": expected, "advice": advice, **of_field})


class Model(BaseModel):
    """What every part of a manifest shares."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True, strict=True)


T = TypeVar("T")


@dataclass(frozen=True)
class _Checked:
    """A check that Python makes of a value, and what of it stands in the schema for the API server to make."""

    check: Callable[[Any], Any]
    schema: dict[str, Any] = field(hash=False)

    def __get_pydantic_core_schema__(self, source: type, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        found = handler(schema)
        rules = [*found.get(_RULES, ()), *self.schema.get(_RULES, ())]
        return {**found, **self.schema, **({_RULES: rules} if rules else {})}


def _rules(*rules: tuple[str, str]) -> dict[str, Any]:
    """Rules in CEL, each with its message."""
    return {_RULES: [{"rule": rule, "message": message} for rule, message in rules]}


def _cel(*rules: tuple[str, str], schema: dict[str, Any] | None = None) -> ConfigDict:
    """Rules of a model's, and what else stands in its schema."""
    return ConfigDict(json_schema_extra={**_rules(*rules), **(schema or {})})


def _matching(pattern: str, expected: str) -> _Checked:
    """Text of a pattern; the refusal says in words what is meant."""
    compiled = re.compile(pattern)

    def check(text: str) -> str:
        if compiled.fullmatch(text) is None:
            raise must_be(expected)
        return text

    return _Checked(check, {"pattern": pattern})


def _different(what: str, *names: str) -> _Checked:
    """A list in which no two items agree in all of these fields (in the items themselves, if none is named)."""
    expected = f"a list of {what}" if names else f"a list of different {what}"
    same = " && ".join(f"one.{to_camel(name)} == other.{to_camel(name)}" for name in names) or "one == other"

    def check(items: list[T]) -> list[T]:
        keys: list[Any] = [attrgetter(*names)(item) if names else item for item in items]
        for key in keys:
            if keys.count(key) > 1:
                raise must_be(expected, f"{key!r} is there twice.")
        return items

    return _Checked(check, _rules((f"self.all(one, self.exists_one(other, {same}))", f"must be {expected}")))


def _is_quantity(field: str) -> str:
    """In CEL, and to come before quantity() of it: isQuantity() lets any exponent pass (``quantity.PATTERN`` says what then)."""
    return f"string({field}).matches('{quantity.PATTERN}')"


def _quantity(what: str, low: str, high: str) -> tuple[BeforeValidator, WithJsonSchema]:
    expected = f"{what}, from {low} to {high}"

    def check(value: object) -> object:
        try:
            if isinstance(value, bool) or not isinstance(value, int | str) or len(str(value)) > 64:
                raise ValueError(value)
            if not parse_quantity(low) <= parse_quantity(value) <= parse_quantity(high):
                raise ValueError(value)
        except ValueError:
            raise must_be(expected) from None
        return value

    # CEL instead of a pattern: the refusal of the API server says what is meant, not a regular expression
    rule = (
        f"{_is_quantity('self')} && "
        f"quantity(string(self)).compareTo(quantity('{low}')) >= 0 && quantity(string(self)).compareTo(quantity('{high}')) <= 0"
    )
    schema = {
        "anyOf": [{"type": "integer"}, {"type": "string"}],
        "x-kubernetes-int-or-string": True,
        "maxLength": 64,
        **_rules((rule, f"must be {expected}")),
    }
    return BeforeValidator(check), WithJsonSchema(schema)


Cpu = Annotated[int | str, *_quantity("a positive Kubernetes quantity of CPU such as 2 or 500m", "1m", "10k")]
Memory = Annotated[int | str, *_quantity("a positive Kubernetes quantity of memory such as 512Mi or 2Gi", "1Mi", "1Pi")]
Untyped = Annotated[Any, WithJsonSchema(_UNTYPED)]
# A map of untyped values, not an untyped object: of the latter, CEL's equality does not compare the names of the keys.
Params = Annotated[dict[str, Any], WithJsonSchema({"type": "object", "additionalProperties": _UNTYPED})]
ObjectName = Annotated[
    str,
    Field(max_length=253),
    _matching(DNS_SUBDOMAIN, "the name of a Kubernetes object: lower-case words with - and ."),
]
DottedPath = Annotated[str, Field(pattern=DOTTED_PATH, max_length=253)]
# 253 of the 317 characters that Kubernetes allows: then no prefix can be too long
LabelKey = Annotated[
    str, Field(max_length=253), _matching(LABEL_KEY, "the key of a label, such as disk or example.com/disk")
]
LabelValue = Annotated[
    str, Field(max_length=63), _matching(LABEL_VALUE, "the value of a label: letters, digits, -, _ and .")
]


def _no_dunder(name: str) -> str:
    if "__" in name:
        raise must_be("a name without '__'", "scikit-learn parts a step's name from its parameter's by it.")
    return name


_NO_DUNDER: Final = _Checked(_no_dunder, _rules(("!self.contains('__')", "must be a name without '__'")))


class Step(Model):
    """One step of a pipeline."""

    name: Annotated[str, Field(pattern=STEP_NAME, max_length=63), _NO_DUNDER] = Field(
        description="Its name, as in scikit-learn's Pipeline; parameters are <name>__<parameter>."
    )
    class_: Annotated[
        str,
        Field(
            alias="class",
            pattern=STEP_CLASS,
            max_length=253,
        ),
    ] = Field(description="Dotted path of the estimator's class, or passthrough.")
    params: Params = Field(
        default_factory=dict, description="Parameters that stay as they are.", json_schema_extra=_FILLED_IN
    )


def _no_params_beside(name: str) -> dict[str, Any]:
    # by the schema, for to CEL params is not there. allOf, for pydantic has a meaning for anyOf
    return {"allOf": [{"anyOf": [{"not": {"required": [name]}}, {"properties": {"params": {"maxProperties": 0}}}]}]}


class Estimator(Model):
    """What is tuned: a pipeline, or one class."""

    model_config = _cel(
        (
            "has(self.pipeline) != has(self.class)",
            "must be either a pipeline or a class: give exactly one of the two",
        ),
        schema=_no_params_beside("pipeline"),
    )

    pipeline: (
        Annotated[list[Step], Field(min_length=1, max_length=32), _different("steps with different names", "name")]
        | None
    ) = Field(default=None, description="Steps of a scikit-learn Pipeline, in order.")
    class_: DottedPath | None = Field(
        default=None, alias="class", description="Dotted path of a single estimator's class."
    )
    params: Params = Field(
        default_factory=dict,
        description="Parameters of the class that stay as they are.",
        json_schema_extra=_FILLED_IN,
    )

    @model_validator(mode="after")
    def _one_of(self) -> "Estimator":
        if (self.pipeline is None) == (self.class_ is None):
            raise must_be("either a pipeline or a class", "Give exactly one of the two.")
        if self.pipeline is not None and self.params:
            raise must_be("without params beside a pipeline", "Give them to its steps.")
        return self

    @cached_property
    def arguments(self) -> Arguments:
        """What ``params`` say. Raises ManifestRefused."""
        return parse_params(self.params, "spec.estimator.params")

    @cached_property
    def steps(self) -> tuple["ParsedStep", ...]:
        """The steps of the pipeline; () of a single class. Raises ManifestRefused with the problems of all of them."""
        steps: list[ParsedStep] = []
        problems: list[Problem] = []
        for i, step in enumerate(self.pipeline or []):
            where = f"spec.estimator.pipeline[{i}]"
            try:
                arguments = parse_params(step.params, f"{where}.params")
            except ManifestRefused as refused:
                problems += refused.problems
            else:
                steps.append(ParsedStep(step.name, step.class_, where, arguments))
        if problems:
            raise ManifestRefused(problems)
        return tuple(steps)


@dataclass(frozen=True)
class ParsedStep:
    """A step of a pipeline; ``field`` is where the manifest has it."""

    name: str
    class_path: str
    field: str
    arguments: Arguments


class GridSearch(Model):
    """Every combination of the values: scikit-learn's GridSearchCV."""

    parameters: Untyped = Field(
        description="A map from a parameter's name to its list of values, or a list of such maps: scikit-learn's param_grid."
    )


# scipy draws some thousand values a second, and each pod draws all of them.
MOST_ITERATIONS: Final = 100_000


class RandomSearch(Model):
    """Combinations that are drawn at random: scikit-learn's RandomizedSearchCV."""

    parameters: Untyped = Field(
        description="A map from a parameter's name to its list of values or to a distribution, or a list of such maps: "
        "scikit-learn's param_distributions."
    )
    iterations: Annotated[int, Field(ge=1, le=MOST_ITERATIONS)] = Field(
        default=10, description="How many combinations are drawn: scikit-learn's n_iter."
    )
    random_state: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(
        default=0,
        description="The seed that they are drawn by. Never absent, as scikit-learn's may be: every pod must draw the same.",
    )


class Search(Model):
    """Which candidates are tried."""

    model_config = _cel(
        (
            "has(self.grid) != has(self.random)",
            "must be either a grid or random: give exactly one of the two",
        )
    )

    grid: GridSearch | None = Field(default=None, description="Try every combination.")
    random: RandomSearch | None = Field(default=None, description="Try so many combinations, drawn at random.")

    @model_validator(mode="after")
    def _one_of(self) -> "Search":
        if (self.grid is None) == (self.random is None):
            raise must_be("either a grid or random", "Give exactly one of the two.")
        return self

    @cached_property
    def space(self) -> Grid | Sample:
        """What is tried. Raises ManifestRefused."""
        if self.random is not None:
            return parse_sample(self.random.parameters, self.random.iterations)
        assert self.grid is not None  # noqa: S101  there is one of the two
        return parse_grid(self.grid.parameters)


class CrossValidation(Model):
    """How the data is divided."""

    folds: Annotated[int, Field(ge=2, le=1000)] = Field(
        default=5, description="scikit-learn's integer cv: stratified for classifiers, without shuffling."
    )


_LOADERS: Final = ("sklearn.datasets.load_", "sklearn.datasets.make_", "sklearn.datasets.fetch_")
_LOADERS_IN_CEL: Final = f"{list(_LOADERS)}.exists(prefix, self.loader.startsWith(prefix))"
_BELOW: Final = "Put the file, or a link to it, beside the manifest; on a laptop an absolute path is taken as well."
_OF_A_FILE: Final = ("format", "persistent_volume_claim", "config_map", "target", "features")


class Data(Model):
    """Where X and y come from: a loader of scikit-learn's, or a file."""

    model_config = _cel(
        (
            "has(self.loader) != has(self.path)",
            "must be either a loader or a path: give exactly one of the two",
        ),
        (
            "!has(self.path) || has(self.target)",
            "must be with a target beside a path: name the column to predict",
        ),
        (
            f"!has(self.loader) || {_LOADERS_IN_CEL}",
            "must be with a loader of sklearn.datasets: for your own data give a path",
        ),
        *(
            (f"!has(self.loader) || !has(self.{to_camel(name)})", f"must be without {to_camel(name)} beside a loader")
            for name in _OF_A_FILE
        ),
        (
            "!has(self.persistentVolumeClaim) || !has(self.configMap)",
            "must be with persistentVolumeClaim or configMap, not both",
        ),
        (
            "!has(self.path) || !self.path.split('/').exists(part, part == '..')",
            "must be with a path that stays below its folder",
        ),
        (
            (
                "!has(self.path) || has(self.format) || ['csv', 'parquet', 'pq'].exists(suffix, "
                "self.path.lowerAscii() == suffix || self.path.lowerAscii().endsWith('.' + suffix))"
            ),
            "must be with a path that ends in .csv or .parquet, or with a format",
        ),
        (
            "!has(self.features) || !has(self.target) || !(self.target in self.features)",
            "must be with a target that is not among the features: remove it from one of them",
        ),
        schema=_no_params_beside("path"),
    )

    loader: DottedPath | None = Field(
        default=None, description="A function of sklearn.datasets, e.g. sklearn.datasets.load_iris."
    )
    params: Params = Field(default_factory=dict, description="Arguments of the loader.", json_schema_extra=_FILLED_IN)
    path: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="A CSV or Parquet file: below the volume in a pod, below the manifest's folder on a laptop.",
    )
    format: Literal["csv", "parquet"] | None = Field(
        default=None, description="The file's format, where its name does not tell."
    )
    persistent_volume_claim: ObjectName | None = Field(
        default=None, description="The claim that holds the file, in a pod. A laptop does not read it."
    )
    config_map: ObjectName | None = Field(
        default=None,
        description="The ConfigMap that holds a small file, in a pod. A laptop does not read it.",
    )
    target: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        default=None, description="The column to predict."
    )
    features: (
        Annotated[list[Annotated[str, Field(min_length=1, max_length=253)]], Field(min_length=1, max_length=10_000)]
        | None
    ) = Field(default=None, description="The columns to predict from; every other column by default.")

    @model_validator(mode="after")
    def _one_of(self) -> "Data":
        if (self.loader is None) == (self.path is None):
            raise must_be("either a loader or a path", "Give exactly one of the two.")
        if self.loader is not None:
            self._check_loader(self.loader)
        if self.path is not None:
            self._check_file(self.path)
        return self

    def _check_loader(self, loader: str) -> None:
        if not loader.startswith(_LOADERS):
            raise must_be(
                "a function load_…, make_… or fetch_… of sklearn.datasets",
                "For your own data give a path.",
                field="loader",
                got=loader,
            )
        for name in _OF_A_FILE:
            if getattr(self, name) is not None:
                raise must_be(f"without {to_camel(name)} beside a loader")

    def _check_file(self, path: str) -> None:
        if self.params:
            raise must_be("without params beside a path")
        if self.target is None:
            raise must_be("given beside a path", "Name the column to predict.", field="target", got=None)
        if self.persistent_volume_claim is not None and self.config_map is not None:
            raise must_be("with persistentVolumeClaim or configMap, not both")
        if ".." in path.split("/"):
            raise must_be("a path that stays below its folder, without ..", _BELOW, field="path", got=path)
        if self.features is not None and self.target in self.features:
            advice = f"Remove {self.target!r} from one of them."
            raise must_be("a column that is not among the features", advice, field="target", got=self.target)

    @cached_property
    def arguments(self) -> Arguments:
        """What ``params`` say. Raises ManifestRefused."""
        return parse_params(self.params, "spec.data.params")

    @property
    def file_format(self) -> str | None:
        """``csv`` or ``parquet``: as given, or by the path's suffix; None if neither tells."""
        if self.format is not None or self.path is None:
            return self.format
        suffix = self.path.rsplit(".", 1)[-1].lower()
        return {"csv": "csv", "parquet": "parquet", "pq": "parquet"}.get(suffix)


class Resources(Model):
    """What each pod gets: requests and limits, always both, always equal."""

    model_config = _cel(
        (
            # nothing to add where one of the two is no quantity: it has been told
            (
                f"!has(self.memoryLimit) || !{_is_quantity('self.memoryLimit')} || !{_is_quantity('self.memory')} || "
                "quantity(string(self.memoryLimit)).compareTo(quantity(string(self.memory))) >= 0"
            ),
            "must be with a memoryLimit that is no less than memory: raise it, or leave it out",
        )
    )

    cpu: Cpu = Field(default="1", description="CPU of each pod. n_jobs is its floor, at least 1.")
    memory: Memory = Field(default="1Gi", description="Memory of each pod.")
    memory_limit: Memory | None = Field(
        default=None,
        description="The most that a pod may be given for candidates that ran out of memory alone: they are tried again "
        "with twice as much, up to this. By default never more than memory.",
    )

    @model_validator(mode="after")
    def _limit_is_no_less(self) -> "Resources":
        if self.memory_limit is not None and parse_quantity(self.memory_limit) < parse_quantity(self.memory):
            raise must_be("with a memoryLimit that is no less than memory", "Raise memoryLimit, or leave it out.")
        return self


class Limits(Model):
    """How far a search may go."""

    max_fits: Annotated[int, Field(ge=1, le=1_000_000_000)] = Field(
        default=10_000,
        description="A grid with more fits (candidates × folds) is refused before anything starts.",
    )
    max_failed_fits: Annotated[int, Field(ge=0, le=1_000_000_000)] | None = Field(
        default=None,
        description="The search ends as failed when more fits than this have failed. By default it goes on, as "
        "scikit-learn does, and scores them NaN.",
    )
    fit_timeout_seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS)] | None = Field(
        default=None, description="A fit that takes longer is ended and counts as failed: it is scored NaN."
    )


_EXISTS: Final = "has(self.operator) && self.operator == 'Exists'"


class Toleration(Model):
    """A core/v1 Toleration."""

    model_config = _cel(
        (
            f"has(self.key) || {_EXISTS}",
            "must be with a key, or with the operator Exists: it tolerates every taint",
        ),
        (f"!has(self.value) || !({_EXISTS})", "must be without a value beside the operator Exists"),
        (
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "must be with the effect NoExecute beside tolerationSeconds",
        ),
    )

    key: LabelKey | None = Field(default=None, description="The taint's key; without one every taint is meant.")
    operator: Literal["Exists", "Equal"] | None = Field(
        default=None, description="Exists: whatever the taint's value. Equal, the default: this value."
    )
    value: LabelValue | None = Field(default=None, description="The taint's value; none beside Exists.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        default=None, description="The taint's effect; without one every effect is meant."
    )
    toleration_seconds: Annotated[int, Field(ge=0, le=MAX_SECONDS)] | None = Field(
        default=None, description="For how long a taint that evicts (NoExecute) is tolerated; for ever by default."
    )

    @model_validator(mode="after")
    def _as_kubernetes_takes_it(self) -> "Toleration":
        if self.key is None and self.operator != "Exists":
            raise must_be("with a key", "Or with operator: Exists, which tolerates every taint.")
        if self.operator == "Exists" and self.value is not None:
            raise must_be("without a value beside the operator Exists", "Leave it out, or write operator: Equal.")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            raise must_be("with the effect NoExecute beside tolerationSeconds")
        return self


class TopologySpread(Model):
    """A core/v1 TopologySpreadConstraint over the pods of this search."""

    topology_key: LabelKey = Field(
        description="The label of nodes over whose values the pods are spread, such as topology.kubernetes.io/zone."
    )
    max_skew: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1, description="By how many pods two of these values may differ."
    )
    when_unsatisfiable: Literal["DoNotSchedule", "ScheduleAnyway"] = Field(
        default="ScheduleAnyway", description="DoNotSchedule: a pod waits rather than to stand unevenly."
    )


class KeyOf(Model):
    """One key of a Secret or a ConfigMap."""

    name: ObjectName = Field(description="The object's name, in the TuningJob's namespace.")
    key: Annotated[
        str,
        Field(max_length=253),
        _matching(
            r"^([-_a-zA-Z0-9]|\.[-_a-zA-Z0-9])[-._a-zA-Z0-9]*$",
            "a key: letters, digits, -, _ and ., not beginning with ..",
        ),
    ] = Field(description="The key in it.")


def _own_variable(name: str) -> str:
    if name.startswith(TAKEN_PREFIX) or name in TAKEN_ENV:
        raise must_be("a variable of your own", f"{name} is the operator's to set.")
    return name


_OWN_VARIABLE: Final = _Checked(
    _own_variable,
    _rules(
        (
            f"!self.startsWith('{TAKEN_PREFIX}') && !(self in {sorted(TAKEN_ENV)})",
            f"must be a variable of your own: {TAKEN_PREFIX}* and {', '.join(sorted(TAKEN_ENV))} are the operator's to set",
        )
    ),
)


def _count(*names: str) -> str:
    """How many of these fields are given, in CEL."""
    return f"[{', '.join(f'has(self.{to_camel(name)})' for name in names)}].filter(given, given).size()"


class EnvVar(Model):
    """A variable of the worker's environment: a value, or a key of a Secret or a ConfigMap."""

    model_config = _cel(
        (
            f"{_count('value', 'secret', 'config_map')} == 1",
            "must be with exactly one of value, secret and configMap",
        )
    )

    name: Annotated[
        str,
        Field(max_length=253),
        _matching(r"^[A-Za-z_][A-Za-z0-9_]*$", "a variable's name: letters, digits and _"),
        _OWN_VARIABLE,
    ] = Field(description="Its name; none of those that the operator sets.")
    value: Annotated[str, Field(max_length=4_096)] | None = Field(default=None, description="Its value, as it stands.")
    secret: KeyOf | None = Field(default=None, description="The key of a Secret that holds its value.")
    config_map: KeyOf | None = Field(default=None, description="The key of a ConfigMap that holds its value.")

    @model_validator(mode="after")
    def _one_of(self) -> "EnvVar":
        if sum(each is not None for each in (self.value, self.secret, self.config_map)) != 1:
            raise must_be("with exactly one of value, secret and configMap")
        return self


_MOUNT_PATH: Final = "an absolute path of letters, digits, -, _ and ., without . and .. as parts"
_FREE_PATH: Final = (
    f"a path beside {', '.join(TAKEN_PATHS[:-1])} and {TAKEN_PATHS[-1]}: not one of them, above or below it"
)


def _free_path(path: str) -> str:
    if any(f"{path}/".startswith(f"{taken}/") or taken.startswith(f"{path}/") for taken in TAKEN_PATHS):
        raise must_be(_FREE_PATH)
    return path


_FREE: Final = _Checked(
    _free_path,
    _rules(
        (
            f"!{list(TAKEN_PATHS)}.exists(taken, (self + '/').startsWith(taken + '/') || taken.startsWith(self + '/'))",
            f"must be {_FREE_PATH}",
        )
    ),
)


class Volume(Model):
    """A volume of the worker's: a Secret, a ConfigMap or a claim, read-only unless it says otherwise, or an emptyDir."""

    model_config = _cel(
        (
            f"{_count('secret', 'config_map', 'persistent_volume_claim', 'empty_dir')} == 1",
            "must be with exactly one of secret, configMap, persistentVolumeClaim and emptyDir",
        ),
        (
            "!has(self.readOnly) || has(self.persistentVolumeClaim)",
            "must be without readOnly where there is no persistentVolumeClaim",
        ),
    )

    name: Annotated[str, Field(max_length=50), _matching(DNS_LABEL, "a name of lower-case letters, digits and -")] = (
        Field(description="Its name; another one for each.")
    )
    mount_path: Annotated[
        str,
        Field(max_length=253),
        _matching(r"^(/(\.{0,2}[-A-Za-z0-9_][-A-Za-z0-9_.]*|\.{3,}[-A-Za-z0-9_.]*))+$", _MOUNT_PATH),
        _FREE,
    ] = Field(description="Where the worker finds it; another path for each.")
    secret: ObjectName | None = Field(default=None, description="A Secret, a file for each key.")
    config_map: ObjectName | None = Field(default=None, description="A ConfigMap, a file for each key.")
    persistent_volume_claim: ObjectName | None = Field(default=None, description="A PersistentVolumeClaim.")
    empty_dir: Memory | None = Field(
        default=None, description="An empty directory of the pod's own, on its node's disk: its size, such as 1Gi."
    )
    read_only: bool | None = Field(
        default=None, description="Of a persistentVolumeClaim alone: true by default. An emptyDir is always writable."
    )

    @model_validator(mode="after")
    def _one_of(self) -> "Volume":
        kinds = (self.secret, self.config_map, self.persistent_volume_claim, self.empty_dir)
        if sum(each is not None for each in kinds) != 1:
            raise must_be("with exactly one of secret, configMap, persistentVolumeClaim and emptyDir")
        if self.read_only is not None and self.persistent_volume_claim is None:
            raise must_be(
                "without readOnly where there is no persistentVolumeClaim",
                "Secrets and ConfigMaps are always read-only, an emptyDir never is.",
            )
        return self

    @property
    def is_writable(self) -> bool:
        """Whether the worker may write into it."""
        return self.empty_dir is not None or self.read_only is False


class PodOptions(Model):
    """What a manifest may ask of its pods besides resources and image. Anything that is not here cannot be expressed."""

    priority_class_name: ObjectName | None = Field(default=None, description="The PriorityClass of the pods.")
    service_account_name: ObjectName | None = Field(
        default=None, description="For a cloud's workload identity; its Kubernetes token is never mounted."
    )
    node_selector: (
        Annotated[
            dict[LabelKey, LabelValue],
            Field(max_length=32),
            WithJsonSchema(
                {
                    "type": "object",
                    "maxProperties": 32,
                    "additionalProperties": {"type": "string", "maxLength": 63, "pattern": LABEL_VALUE},
                    **_rules(
                        (
                            f"self.all(key, key.size() <= 253 && key.matches('{LABEL_KEY}'))".replace("\\", "\\\\"),
                            "must have keys of labels, such as disk or example.com/disk",
                        )
                    ),
                }
            ),
        ]
        | None
    ) = Field(default=None, description="Labels that a node must have.")
    tolerations: Annotated[list[Toleration], Field(max_length=32)] | None = Field(
        default=None, description="Taints of nodes that the pods tolerate."
    )
    topology_spread: (
        Annotated[
            list[TopologySpread],
            Field(max_length=8),
            _different(
                "constraints that differ in topologyKey or whenUnsatisfiable", "topology_key", "when_unsatisfiable"
            ),
        ]
        | None
    ) = Field(
        default=None,
        description="How the pods are spread; over nodes, as far as that goes, by default. An empty list: not at all.",
    )
    image_pull_secrets: Annotated[list[ObjectName], Field(max_length=8), _different("names")] | None = Field(
        default=None, description="Names of the Secrets with which the image is pulled."
    )
    env: Annotated[list[EnvVar], Field(max_length=64), _different("variables with different names", "name")] | None = (
        Field(default=None, description="Variables of the worker's environment.")
    )
    volumes: (
        Annotated[
            list[Volume],
            Field(max_length=16),
            _different("volumes with different names and mountPaths", "name"),
            _different("volumes with different names and mountPaths", "mount_path"),
        ]
        | None
    ) = Field(default=None, description="Volumes of the worker's, each with the path where it is mounted.")


class Artifacts(Model):
    """How the files of a finished search are kept."""

    # none is what `joblib.dump` writes: it loads wherever scikit-learn is (lz4 needs a package more), and only an
    # uncompressed file can be mapped into memory, so that the processes that serve a model share its pages
    compression: Literal["none", "lz4", "gzip", "xz"] = Field(
        default="none",
        description="Of the model and the fitted search object: gzip and xz are smaller, lz4 is fast and needs the "
        "package lz4 to load, none can be loaded memory-mapped.",
    )


class TuningJobSpec(Model):
    """GridSearchCV, as a manifest."""

    estimator: Estimator = Field(description="What is tuned.")
    search: Search = Field(description="Which candidates are tried.")
    cross_validation: CrossValidation = Field(
        default_factory=CrossValidation, json_schema_extra=_FILLED_IN, description="How the data is divided."
    )
    scoring: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None, description="A scorer's name, as in scikit-learn; the estimator's own score by default."
    )
    return_train_score: bool = Field(default=False, description="Score the training side of each split, too.")
    data: Data = Field(description="Where X and y come from.")
    resources: Resources = Field(
        default_factory=Resources,
        json_schema_extra=_FILLED_IN,
        description="CPU and memory of each pod: requests = limits.",
    )
    parallelism: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=1, description="Pods at the most. May change at any time, also by `kubectl scale`."
    )
    mode: Literal["Run", "Plan"] = Field(
        default="Run", description="Plan: size, check and estimate the search, leave the forecast in status, and end."
    )
    suspend: bool = Field(
        default=False, description="true: the pods go, what is finished is kept. false: the search goes on. May change."
    )
    cancel: bool = Field(default=False, description="true: the search ends, without an answer. For good.")
    queue_name: (
        Annotated[
            str, Field(max_length=63), _matching(DNS_LABEL, "the name of a queue: lower-case letters, digits and -")
        ]
        | None
    ) = Field(default=None, description="The Kueue LocalQueue that admits the pods.")
    active_deadline_seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS)] | None = Field(
        default=None,
        description="The search ends as failed when it has run for longer, not counting what was before a suspension. "
        "May change.",
    )
    start_deadline_seconds: Annotated[int, Field(ge=1, le=MAX_SECONDS)] | None = Field(
        default=None, description="The search ends as failed when no pod could begin within this time."
    )
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=MAX_SECONDS)] | None = Field(
        default=None,
        description="The TuningJob is deleted so long after its end; the audit keeps the result. May change.",
    )
    limits: Limits = Field(
        default_factory=Limits, json_schema_extra=_FILLED_IN, description="How far the search may go."
    )
    pod: PodOptions = Field(
        default_factory=PodOptions,
        json_schema_extra=_FILLED_IN,
        description="What the pods need besides resources and image.",
    )
    reuse: bool = Field(
        default=False,
        description="Take over finished cells of the namespace that are the same in estimator, parameters, data, split, "
        "scoring and library versions, instead of fitting them again.",
    )
    artifacts: Artifacts = Field(
        default_factory=Artifacts,
        json_schema_extra=_FILLED_IN,
        description="How the files of the finished search are kept.",
    )
    image: (
        Annotated[str, Field(max_length=512), _matching(r"^[!-~]+$", "an image, such as registry.example/mine:1")]
        | None
    ) = Field(
        default=None,
        description="A worker image of your own; the chart's by default. A laptop does not read it.",
    )
    model_key: Annotated[str, Field(pattern=MODEL_KEY, max_length=253)] | None = Field(
        default=None,
        description="The key under which the audit table versions the result; the object's name by default.",
    )


class Metadata(BaseModel):
    """The part of Kubernetes' metadata that matters here; the rest is Kubernetes' to judge."""

    model_config = ConfigDict(extra="allow", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=DNS_LABEL, min_length=1, max_length=MAX_NAME_LENGTH)]
    namespace: Annotated[str, Field(pattern=DNS_LABEL, max_length=63)] = "default"


class TuningJob(Model):
    """A TuningJob as a manifest writes it. What the cluster adds (status) is not read here."""

    api_version: Literal["tuningjob.dev/v1alpha1"]
    kind: Literal["TuningJob"]
    metadata: Metadata
    spec: TuningJobSpec
    status: Annotated[Any, Field(exclude=True)] = None


assert (API_VERSION, KIND) == ("tuningjob.dev/v1alpha1", "TuningJob")  # noqa: S101  Literal takes no names
