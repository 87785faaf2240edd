"""The best order for the candidates of a grid: those that share work follow each other.

The parameters that share most turn fastest: first those that one nested fit covers (``n_estimators`` of a forest), then the other
parameters of the final estimator, then those of the step before it, and so on to the first step. A parameter that is a step
itself turns more slowly than the step's parameters. No result depends on the order.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.pipeline import Pipeline

from tuningjob.aliases import Estimator
from tuningjob.engine.rules.base import rules_for
from tuningjob.protocol.records import Axis, Block

_Key = tuple[int, int, int, str]


def blocks_of(estimator: Estimator, param_grid: Sequence[Mapping[str, Sequence[Any]]]) -> tuple[Block, ...]:
    """A block for each map of a param_grid, which is in ParameterGrid's order: names sorted, the last one turning fastest."""
    blocks = []
    start = 0
    for parameters in param_grid:
        axes: dict[str, Axis] = {}
        stride = 1
        for name in sorted(parameters, reverse=True):
            size = len(parameters[name])
            axes[name] = Axis(size=size, stride=stride, together=_is_nested(estimator, parameters, name))
            stride *= size
        ordered = sorted(axes, key=lambda name: _rank(estimator, name, together=axes[name].together))
        blocks.append(Block(start=start, axes=tuple(axes[name] for name in ordered)))
        start += stride
    return tuple(blocks)


def _rank(estimator: Estimator, name: str, *, together: bool) -> _Key:
    """The sort key of a parameter, slowest first: those that one fit covers last, then by step, a step first, then by name."""
    step, _, rest = name.partition("__")
    names = [each for each, _ in estimator.steps] if isinstance(estimator, Pipeline) else []
    return (int(together), names.index(step) if step in names else -1, int(bool(rest)), name)


def _is_nested(estimator: Estimator, parameters: Mapping[str, Any], name: str) -> bool:
    """Whether one fit of the final estimator serves all values of the parameter."""
    final = ""
    while type(estimator) is Pipeline:
        step, estimator = estimator.steps[-1]
        final += f"{step}__"
        if final[:-2] in parameters:
            return False  # the step may be another estimator
    rule = rules_for(type(estimator)).nested
    return rule is not None and name.startswith(final) and name[len(final) :] in rule.parameters
