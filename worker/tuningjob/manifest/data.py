"""``spec.data``: where X and y come from."""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from tuningjob.manifest.fields import FILLED_IN, ColumnName, DottedPath, ObjectName, Params, names_or_one
from tuningjob.manifest.literals import Arguments, parse_params
from tuningjob.manifest.model import (
    Constraint,
    Model,
    exactly_one_of,
    must_be,
    never_beside,
    no_params_beside,
    not_both,
    not_both_untyped,
)
from tuningjob.manifest.query import ORDERED_IN_CEL, Query
from tuningjob.manifest.read import ReadOptions
from tuningjob.manifest.urls import FileUrl, Sha256, shown_url

_LOADERS: Final = ("sklearn.datasets.load_", "sklearn.datasets.make_", "sklearn.datasets.fetch_")
_LOADERS_IN_CEL: Final = f"{list(_LOADERS)}.exists(prefix, self.loader.startsWith(prefix))"
_BELOW: Final = "Put the file, or a link to it, beside the manifest; on a laptop an absolute path is taken as well."
_OF_A_FILE: Final = ("format", "persistent_volume_claim", "config_map", "exclude", "sort", "sample_weight", "read")


def _is_below(data: "Data") -> bool:
    return data.path is None or ".." not in data.path.split("/")


def _is_loader(data: "Data") -> bool:
    return data.loader is None or data.loader.startswith(_LOADERS)


def _listed(names: str | list[str] | None) -> list[str]:
    return [names] if isinstance(names, str) else names or []


def _apart(name: str, what: str, of: "Callable[[Data], list[str]]") -> Constraint:
    """No column of the field has another role. It is checked only in Python, because target and features have no type in CEL."""

    def both(data: "Data") -> set[str]:
        return {*_listed(getattr(data, name))} & {*of(data)}

    def refusal(data: "Data") -> PydanticCustomError:
        must_be_apart, advice = f"a column that is not among {what}", f"Remove {min(both(data))!r} from one of them."
        return must_be(must_be_apart, advice, field=to_camel(name), got=getattr(data, name))

    return Constraint("", lambda data: not both(data), f"with another column as {to_camel(name)}", closer=refusal)


_CONSTRAINTS: Final = (
    exactly_one_of("loader", "path", "url", "query", "function", "uploaded"),
    no_params_beside("uploaded"),
    no_params_beside("path"),
    no_params_beside("url"),
    no_params_beside("query"),
    *(never_beside(name, "query") for name in ("format", "persistent_volume_claim", "config_map", "read")),
    Constraint(
        f"!has(self.query) || has(self.sort) || self.query.sql.matches('{ORDERED_IN_CEL}')",
        lambda data: data.query is None or data.sort is not None or data.query.is_ordered,
        "with an ORDER BY in the query, or with a sort",
        "A database gives rows in any order, and every pod must have the same.",
    ),
    Constraint(
        f"!has(self.loader) || {_LOADERS_IN_CEL}",
        _is_loader,
        "with a loader of sklearn.datasets",
        "For your own data give a path or a function.",
        closer=lambda data: must_be(
            "a function load_…, make_… or fetch_… of sklearn.datasets",
            "For your own data give a path or a function.",
            field="loader",
            got=data.loader,
        ),
    ),
    *(never_beside(name, source) for source in ("loader", "function") for name in _OF_A_FILE),
    *(
        replace(never_beside(name, "uploaded"), expected=f"without {to_camel(name)} beside uploaded data")
        for name in _OF_A_FILE
    ),
    *(
        not_both_untyped(name, source, f"without {name} beside {what}")
        for source, what in (("loader", "a loader"), ("function", "a function"), ("uploaded", "uploaded data"))
        for name in ("target", "features")
    ),
    not_both("persistent_volume_claim", "config_map"),
    never_beside("persistent_volume_claim", "url"),
    never_beside("config_map", "url"),
    Constraint(
        "!has(self.sha256) || has(self.url)",
        lambda data: data.sha256 is None or data.url is not None,
        "with a sha256 beside a url alone",
    ),
    Constraint(
        "!has(self.url) || has(self.format) || ['.csv', '.parquet', '.pq'].exists(suffix, "
        "self.url.split('?')[0].lowerAscii().endsWith(suffix))",
        lambda data: data.url is None or data.file_format is not None,
        "with a url that ends in .csv or .parquet, or with a format",
        closer=lambda data: must_be(
            "the URL of a file that ends in .csv or .parquet",
            "Or say which by spec.data.format.",
            field="url",
            got=data.source,
        ),
    ),
    Constraint(
        "!has(self.path) || !self.path.split('/').exists(part, part == '..')",
        _is_below,
        "with a path that stays below its folder",
        closer=lambda data: must_be(
            "a path that stays below its folder, without ..", _BELOW, field="path", got=data.path
        ),
    ),
    Constraint(
        "!has(self.path) || has(self.format) || self.path.endsWith('/') || ['csv', 'parquet', 'pq'].exists(suffix, "
        "self.path.lowerAscii() == suffix || self.path.lowerAscii().endsWith('.' + suffix))",
        lambda data: data.path is None or data.file_format is not None,
        "with a path that ends in .csv or .parquet, or in / for a folder of Parquet files, or with a format",
        closer=lambda data: must_be(
            "a file that ends in .csv or .parquet, or a folder that ends in /",
            "Or say which by spec.data.format.",
            field="path",
            got=data.path,
        ),
    ),
    not_both_untyped("features", "exclude", "with features or exclude, not both"),
    _apart("target", "the features", lambda data: _listed(data.features)),
    _apart("target", "what is excluded", lambda data: _listed(data.exclude)),
    _apart("sample_weight", "the features", lambda data: _listed(data.features)),
    _apart("sample_weight", "the targets", lambda data: data.targets),
    Constraint(
        "!has(self.read) || !has(self.path) && !has(self.url) || "
        "(has(self.format) ? self.format == 'csv' : has(self.path) ? "
        "self.path.lowerAscii() == 'csv' || self.path.lowerAscii().endsWith('.csv') : "
        "self.url.split('?')[0].lowerAscii().endsWith('.csv'))",
        lambda data: data.read is None or not data.is_table or data.file_format == "csv",
        "without read beside a Parquet file",
        "A Parquet file says itself how it is to be read.",
    ),
)


class Uploaded(Model):
    """What a Python process has sent to the results service, by the SHA-256 of each file (``tuningjob.sent``)."""

    # not X and y, because an unquoted y means true in YAML as kubectl reads it
    features: Sha256 = Field(description="X: the samples.")
    target: Sha256 | None = Field(default=None, description="y: what is predicted.")
    groups: Sha256 | None = Field(
        default=None, description="The group of each row, for splitters that divide by groups."
    )
    sample_weight: Sha256 | None = Field(
        default=None,
        description="A weight for each row: given to fit as sample_weight (in a pipeline to the last step).",
    )
    predefined: Sha256 | None = Field(
        default=None,
        description="The test fold of each row, as the column that crossValidation.predefined names had it.",
    )


class Data(Model):
    """Where X and y come from: a loader of scikit-learn's, a file, a function, or what was sent from Python."""

    constraints: ClassVar[tuple[Constraint, ...]] = _CONSTRAINTS

    loader: DottedPath | None = Field(
        default=None, description="A function of sklearn.datasets, e.g. sklearn.datasets.load_iris."
    )
    params: Params = Field(
        default_factory=dict, description="Arguments of the loader or function.", json_schema_extra=FILLED_IN
    )
    path: Annotated[str, Field(min_length=1, max_length=1024)] | None = Field(
        default=None,
        description="A CSV or Parquet file, or a folder of Parquet files: below the volume in a pod, below the manifest's "
        "folder on a laptop.",
    )
    format: Literal["csv", "parquet"] | None = Field(
        default=None, description="The file's format, where its name does not tell."
    )
    url: FileUrl | None = Field(
        default=None,
        description="A CSV or Parquet file of a web server or a bucket: https://, s3://, gs:// or abfs://. Credentials are "
        "taken from the environment, not from here.",
    )
    sha256: Sha256 | None = Field(default=None, description="The SHA-256 of the URL's file: another one is refused.")
    query: Query | None = Field(default=None, description="Rows of a database.")
    function: DottedPath | None = Field(
        default=None,
        description="A function of your own that returns X and y, such as mymodule.load; if it has a random_state, that must "
        "be an integer.",
    )
    uploaded: Uploaded | None = Field(
        default=None,
        description="What a Python process has sent to the cluster (tuningjob.Cluster), by the SHA-256 of each file. A laptop "
        "does not read it.",
    )
    persistent_volume_claim: ObjectName | None = Field(
        default=None, description="The claim that holds the file, in a pod. A laptop does not read it."
    )
    config_map: ObjectName | None = Field(
        default=None,
        description="The ConfigMap that holds a small file, in a pod. A laptop does not read it.",
    )
    target: Annotated[str | list[str], *names_or_one("the column to predict", 1_000)] | None = Field(
        default=None,
        description="The column to predict; a list of several for a y of several columns; none where nothing is predicted "
        "(clusters, outliers).",
    )
    features: Annotated[str | list[str], *names_or_one("a column", 10_000)] | None = Field(
        default=None,
        description="The columns to predict from, in a list; every other column by default. A name alone: X is that one "
        "column, such as of documents.",
    )
    exclude: Annotated[list[ColumnName], Field(min_length=1, max_length=10_000)] | None = Field(
        default=None, description="Columns that are no features, where all others are."
    )
    sort: ColumnName | None = Field(
        default=None,
        description="The column by which the rows are sorted, such as a date: ascending, rows of one value as they stand. No "
        "feature, unless features names it.",
    )
    sample_weight: ColumnName | None = Field(
        default=None,
        description="The column of weights: given to fit as sample_weight (in a pipeline to the last step), and no feature.",
    )
    read: ReadOptions | None = Field(default=None, description="How the CSV file is written.")

    @cached_property
    def arguments(self) -> Arguments:
        """The arguments in ``params``. Raises ManifestRefused."""
        return parse_params(self.params, "spec.data.params")

    @property
    def targets(self) -> list[str]:
        """The columns of y."""
        return _listed(self.target)

    @property
    def weights(self) -> str | None:
        """The column of weights, or the digest by which they were sent."""
        return self.sample_weight or (self.uploaded.sample_weight if self.uploaded is not None else None)

    @property
    def is_table(self) -> bool:
        """Whether its columns have names."""
        return self.path is not None or self.url is not None or self.query is not None

    @property
    def source(self) -> str:
        """The place or the loader that the data come from. A URL is without its query, which may be a signature."""
        sent = "what was sent" if self.uploaded is not None else "the query"
        return str(self.loader or self.path or shown_url(self.url or "") or self.function or sent)

    @property
    def source_field(self) -> str:
        """The field that says so."""
        named = {
            "loader": self.loader,
            "path": self.path,
            "url": self.url,
            "query": self.query,
            "uploaded": self.uploaded,
        }
        return f"spec.data.{next((name for name, given in named.items() if given is not None), 'function')}"

    @property
    def file_format(self) -> str | None:
        """``csv`` or ``parquet``: as given, or else by the path's suffix; None if both are missing."""
        if self.format is not None or (self.path is None and self.url is None):
            return self.format
        if self.source.endswith("/"):  # a folder
            return "parquet"
        suffix = self.source.rsplit(".", 1)[-1].lower()
        return {"csv": "csv", "parquet": "parquet", "pq": "parquet"}.get(suffix)
