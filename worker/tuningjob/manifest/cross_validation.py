"""``spec.crossValidation``: on which splits of the data each candidate is tried."""

from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, model_validator

from tuningjob.manifest.fields import FILLED_IN, DottedPath, Params
from tuningjob.manifest.literals import Arguments, parse_params
from tuningjob.manifest.model import Constraint, Model, must_be, not_both

SPLITTER: Final = "spec.crossValidation.splitter"
GROUPS: Final = "spec.crossValidation.groups"
PREDEFINED: Final = "spec.crossValidation.predefined"

_WAYS: Final = ("folds", "splitter", "predefined")
_PLAIN: Final = 5  # scikit-learn's cv=None
_SEED: Final = "Every pod must divide the data alike."
_ColumnName = Annotated[str, Field(min_length=1, max_length=253)]


class Splitter(Model):
    """A splitter of scikit-learn's, or of one's own: a class with ``split`` and ``get_n_splits``."""

    class_: DottedPath = Field(
        alias="class", description="Dotted path of the splitter's class, e.g. sklearn.model_selection.TimeSeriesSplit."
    )
    params: Params = Field(
        default_factory=dict,
        description="Arguments of the splitter. One that draws must be given a random_state.",
        json_schema_extra=FILLED_IN,
    )


def _is_drawn(cv: Any) -> bool:  # noqa: ANN401  whatever has folds
    return bool(cv.shuffle) or cv.repeats is not None


def _has_seed_if_drawn(cv: Any) -> bool:  # noqa: ANN401
    return (cv.random_state is not None) == _is_drawn(cv)


def _without_options_of_folds(cv: "CrossValidation") -> bool:
    return cv.folds is not None or (cv.shuffle is None and cv.random_state is None and cv.repeats is None)


# The rule for shuffled or repeated folds, within a search and around it.
DRAWN_CONSTRAINTS: Final = (
    Constraint(
        "!has(self.repeats) || !has(self.shuffle) || self.shuffle",
        lambda cv: cv.repeats is None or cv.shuffle is not False,
        "with shuffle: true beside repeats",
        "Folds that are repeated are shuffled.",
    ),
    Constraint(
        "has(self.randomState) == (has(self.repeats) || has(self.shuffle) && self.shuffle)",
        _has_seed_if_drawn,
        "with a randomState if folds are shuffled or repeated, and only then",
        _SEED,
        closer=lambda cv: (
            must_be("an integer where folds are shuffled or repeated", _SEED, field="randomState", got=None)
            if _is_drawn(cv)
            else must_be(
                "left out where folds are not shuffled",
                "Or add shuffle: true.",
                field="randomState",
                got=cv.random_state,
            )
        ),
    ),
)
_CONSTRAINTS: Final = (
    Constraint(
        f"[{', '.join(f'has(self.{name})' for name in _WAYS)}].filter(given, given).size() <= 1",
        lambda cv: sum(getattr(cv, name) is not None for name in _WAYS) == 1,
        "with one of folds, splitter and predefined",
        "Remove the others.",
    ),
    Constraint(
        "!has(self.splitter) && !has(self.predefined) || "
        "!has(self.shuffle) && !has(self.randomState) && !has(self.repeats)",
        _without_options_of_folds,
        "with shuffle, randomState and repeats beside folds alone",
        "A splitter has its own in its params.",
    ),
    not_both("groups", "predefined"),
    Constraint(
        "!has(self.groups) || !has(self.repeats)",
        lambda cv: cv.groups is None or cv.repeats is None,
        "with groups or repeats, not both",
        "scikit-learn repeats no folds of groups.",
    ),
    *DRAWN_CONSTRAINTS,
)


class CrossValidation(Model):
    """How the data is divided: in folds, by a splitter, or as a column says."""

    constraints: ClassVar[tuple[Constraint, ...]] = _CONSTRAINTS
    place: ClassVar[str] = "spec.crossValidation"

    folds: Annotated[int, Field(ge=2, le=1000)] | None = Field(
        default=None,
        description="scikit-learn's integer cv: stratified for classifiers. 5 by default, without splitter and predefined.",
    )
    shuffle: bool | None = Field(
        default=None, description="Whether rows are shuffled before they are put into folds; needs a randomState."
    )
    random_state: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = Field(
        default=None, description="The seed that folds are shuffled by."
    )
    repeats: Annotated[int, Field(ge=1, le=1000)] | None = Field(
        default=None,
        description="How often the data are divided into shuffled folds: scikit-learn's RepeatedKFold and "
        "RepeatedStratifiedKFold, and their n_repeats. Needs a randomState.",
    )
    splitter: Splitter | None = Field(default=None, description="A splitter in the place of folds.")
    groups: _ColumnName | None = Field(
        default=None,
        description="A column of the file: rows of one value are never divided between training and testing. No feature.",
    )
    predefined: _ColumnName | None = Field(
        default=None,
        description="A column of the file that numbers the test fold of each row, -1 for rows that are always trained on: "
        "scikit-learn's PredefinedSplit. No feature.",
    )

    @model_validator(mode="before")
    @classmethod
    def _in_folds_by_default(cls, written: Any) -> Any:  # noqa: ANN401  whatever stands there
        if isinstance(written, Mapping) and all(written.get(name) is None for name in _WAYS):
            return {**written, "folds": _PLAIN}
        return written

    @cached_property
    def arguments(self) -> Arguments:
        """The arguments in the splitter's ``params``. Raises ManifestRefused."""
        field = f"{self.place}.splitter.params"
        return Arguments(field, ()) if self.splitter is None else parse_params(self.splitter.params, field)

    @property
    def columns(self) -> Mapping[str, str]:
        """The columns of the file that the splits need, by the field that names them; they are no features."""
        named = {GROUPS: self.groups, PREDEFINED: self.predefined}
        return {field: column for field, column in named.items() if column is not None}
