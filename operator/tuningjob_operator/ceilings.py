"""What an administrator lets manifests ask for: settings of the chart, which ``decide.placement`` enforces."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Final

ANY: Final = "*"


@dataclass(frozen=True, kw_only=True)
class Ceilings:
    """Lists of what a manifest may name. ``ANY`` in a list allows everything; an empty list allows nothing, or every image.

    ``taints`` are the keys that tolerations may have, ``node_labels`` those of node selectors, ``images`` prefixes of
    references. ``disk_bytes`` bounds the scratch volume and the emptyDirs of one pod together; None: no ceiling. A pod requests
    ``default_cpu_request_percent`` of its CPU if the manifest does not say, and never less than ``least_cpu_request_percent``.
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
    """How long a finished TuningJob stays, in seconds: by default, and at the most. None: for ever."""

    default_seconds: int | None = None
    most_seconds: int | None = None

    def of(self, asked: int | None) -> int | None:
        """The time to live in seconds, from ``spec.ttlSecondsAfterFinished`` and these bounds; None: for ever."""
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
