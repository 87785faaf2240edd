"""``spec.search.halving``: all candidates with little of a resource first, then the best of them with more of it."""

import math
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field, WithJsonSchema

from tuningjob.manifest.model import Constraint, Model, cel_rules, must_be

HALVING: Final = "spec.search.halving"
SAMPLES: Final = "n_samples"
EXHAUST: Final = "exhaust"
_WORDS: Final = (EXHAUST, "smallest")
_MOST: Final = 10**12
_LEAST: Final = f"a number from 1 to 10^12, or one of {' and '.join(_WORDS)}"


def _checked(value: Any) -> Any:  # noqa: ANN401  whatever stands there
    is_number = isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= _MOST
    if not is_number and value not in _WORDS:
        raise must_be(_LEAST)
    return value


_Least = Annotated[
    int | str,
    BeforeValidator(_checked),
    WithJsonSchema(
        {
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "x-kubernetes-int-or-string": True,
            "maxLength": 64,
            **cel_rules(
                (
                    f"type(self) == int ? self >= 1 && self <= {_MOST} : self in {list(_WORDS)}",
                    f"must be {_LEAST}",
                )
            ),
        }
    ),
]


class Halving(Model):
    """scikit-learn's HalvingGridSearchCV of a grid, and its HalvingRandomSearchCV of what is drawn."""

    constraints: ClassVar[tuple[Constraint, ...]] = (
        Constraint(
            f"self.resource == '{SAMPLES}' || has(self.maxResources)",
            lambda halving: halving.resource == SAMPLES or halving.max_resources is not None,
            "with maxResources where the resource is a parameter",
            "Of samples there are as many as the data have.",
        ),
    )

    factor: Annotated[float, Field(ge=1.1, le=1_000)] = Field(
        default=3, description="One candidate of so many goes on to the next round, with so many times the resource."
    )
    resource: Annotated[str, Field(min_length=1, max_length=253)] = Field(
        default=SAMPLES,
        description="What grows from round to round: n_samples, or a parameter of the estimator that takes positive integers.",
    )
    max_resources: Annotated[int, Field(ge=1, le=_MOST)] | None = Field(
        default=None, description="The most of the resource; of n_samples all of them by default."
    )
    min_resources: _Least = Field(
        default=EXHAUST,
        description="Of the first round: exhaust (so much that the last round has the most that it can), smallest, or a number.",
    )
    aggressive_elimination: bool = Field(
        default=False,
        description="Repeat the first round until so few candidates are left that the last one ends with the most.",
    )
    random_state: Annotated[int, Field(ge=0, le=2**32 - 1)] | None = Field(
        default=None,
        description="The seed that samples are drawn by, of a grid; 0 by default. What is drawn at random has its own.",
    )

    def later(self, candidates: int) -> int:
        """The most candidates that the rounds after the first may have in all; the data may make them fewer."""
        factor = Fraction(self.factor)
        total = 0
        for _ in range(math.floor(math.log(candidates, self.factor))):
            candidates = math.ceil(candidates / factor)
            total += candidates
        return total
