"""What an administrator lets manifests ask for: settings of the chart, which ``decide.placement`` holds manifests to."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

ANY: Final = "*"


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """Lists of what may be named, in which ``ANY`` is everything; an empty list allows nothing, of ``images`` everything.

    ``taints`` are the keys that tolerations may have, ``node_labels`` those of node selectors, ``images`` beginnings of
    references. ``disk_bytes``: of one pod, scratch and emptyDirs together; None: no ceiling. Of its CPU a pod is promised
    ``default_cpu_request_percent`` if the manifest does not say, and ``least_cpu_request_percent`` in any case.
    """

    priority_classes: tuple[str, ...] = ()
    taints: tuple[str, ...] = (ANY,)
    node_labels: tuple[str, ...] = (ANY,)
    images: tuple[str, ...] = ()
    disk_bytes: Decimal | None = None
    queue_required: bool = False
    default_cpu_request_percent: int = 100
    least_cpu_request_percent: int = 0


@dataclass(frozen=True, kw_only=True)
class Lifetimes:
    """How long a finished TuningJob stays, in seconds: if it says nothing, and at the most. None: for ever."""

    default_seconds: int | None = None
    most_seconds: int | None = None

    def of(self, asked: int | None) -> int | None:
        """What becomes of ``spec.ttlSecondsAfterFinished``."""
        bounds = [
            bound
            for bound in (self.default_seconds if asked is None else asked, self.most_seconds)
            if bound is not None
        ]
        return min(bounds, default=None)


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """How many TuningJobs are looked after at a time. One with a large manifest counts as several."""

    in_namespace: int = 1_000
    in_all: int = 4_000


DEFAULT_BOUNDS: Final = Bounds()
