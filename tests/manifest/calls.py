"""How often functions are called, in all threads and under every name by which they were imported."""

import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from tuningjob.manifest.grid import parse_grid, parse_sample
from tuningjob.manifest.literals import parse_estimator, parse_params
from tuningjob.manifest.loading import load, load_spec

# The whole of a spec is validated; its estimator, its space, and the parameters of one of its maps are parsed.
VALIDATED = "validated"
SPACE = "space"
ESTIMATOR = "estimator"
PARAMS = "params"
_WHAT: dict[Callable[..., Any], str] = {
    load: VALIDATED,
    load_spec: VALIDATED,
    parse_grid: SPACE,
    parse_sample: SPACE,
    parse_estimator: ESTIMATOR,
    parse_params: PARAMS,
}


@contextmanager
def parses() -> Iterator[Counter[str]]:
    """How often a manifest is validated and what of it is parsed while the block runs; params by the field that they are of."""
    seen: Counter[str] = Counter()
    names = {function.__code__: what for function, what in _WHAT.items()}

    def called(frame: FrameType, event: str, _argument: object) -> None:
        if event != "call" or frame.f_code not in names:
            return
        what = names[frame.f_code]
        seen[f"{what} {frame.f_locals['field']}" if what == PARAMS else what] += 1

    threading.setprofile(called)
    sys.setprofile(called)
    try:
        yield seen
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
