"""``spec.search.nested``: the whole search again in each outer fold, for an estimate on rows that did not choose."""

from typing import Annotated, ClassVar, Final

from pydantic import Field

from tuningjob.manifest.cross_validation import DRAWN_CONSTRAINTS, CrossValidation, Splitter
from tuningjob.manifest.model import Constraint, Model, not_both

NESTED: Final = "spec.search.nested"
PLAIN_FOLDS: Final = 5


class OuterFolds(CrossValidation):
    """What divides the data around the search, as ``crossValidation`` would say it."""

    place: ClassVar[str] = NESTED


class Nested(Model):
    """Outer folds around the search: scikit-learn's cross_validate of it."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        not_both("folds", "splitter"),
        Constraint(
            "!has(self.splitter) || !has(self.shuffle) && !has(self.randomState) && !has(self.repeats)",
            lambda nested: nested.splitter is None or nested.shuffle is nested.random_state is nested.repeats is None,
            "with shuffle, randomState and repeats beside folds alone",
            "A splitter has its own in its params.",
        ),
        *DRAWN_CONSTRAINTS,
    )

    folds: Annotated[int, Field(ge=2, le=100)] | None = Field(
        default=None,
        description="How many outer folds: stratified for classifiers, of groups if crossValidation has them. "
        "5 by default, without a splitter.",
    )
    shuffle: bool | None = Field(
        default=None, description="Whether rows are shuffled before they are put into folds; needs a randomState."
    )
    random_state: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = Field(
        default=None, description="The seed that outer folds are shuffled by."
    )
    repeats: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None, description="How often the data are divided into shuffled outer folds. Needs a randomState."
    )
    splitter: Splitter | None = Field(
        default=None,
        description="One of scikit-learn's splitters that tell how many splits they make, in the place of folds.",
    )

    def around(self, inner: CrossValidation) -> OuterFolds:
        """The outer folds, with the groups of the search."""
        return OuterFolds(
            folds=self.folds if self.splitter is not None else self.folds or PLAIN_FOLDS,
            shuffle=self.shuffle,
            random_state=self.random_state,
            repeats=self.repeats,
            splitter=self.splitter,
            groups=inner.groups,
        )
