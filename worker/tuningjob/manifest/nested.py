"""``spec.search.nested``: the whole search once more in each of some outer folds, for an estimate that did not choose."""

from typing import Annotated, ClassVar, Final

from pydantic import Field

from tuningjob.manifest.cross_validation import CrossValidation
from tuningjob.manifest.model import Constraint, Model, must_be

NESTED: Final = "spec.search.nested"
_SEED: Final = "Every pod must divide the data alike."


class Nested(Model):
    """Outer folds around the search: scikit-learn's cross_validate of it."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        Constraint(
            "has(self.randomState) == (has(self.shuffle) && self.shuffle)",
            lambda nested: (nested.random_state is not None) == bool(nested.shuffle),
            "with a randomState if folds are shuffled, and only then",
            _SEED,
            closer=lambda nested: must_be(
                "an integer where folds are shuffled" if nested.shuffle else "left out where folds are not shuffled",
                _SEED if nested.shuffle else "Or add shuffle: true.",
                field="randomState",
                got=nested.random_state,
            ),
        ),
    )

    folds: Annotated[int, Field(ge=2, le=100)] = Field(
        default=5,
        description="How many outer folds: stratified for classifiers, of groups if crossValidation has them.",
    )
    shuffle: bool | None = Field(
        default=None, description="Whether rows are shuffled before they are put into folds; needs a randomState."
    )
    random_state: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = Field(
        default=None, description="The seed that outer folds are shuffled by."
    )

    def division(self, inner: CrossValidation) -> CrossValidation:
        """As ``crossValidation`` would say it, with the groups of the search."""
        return CrossValidation(
            folds=self.folds, shuffle=self.shuffle, random_state=self.random_state, groups=inner.groups
        )
