"""What pods have: by a release's worker image, whose locks the results service knows, and by what the last ones have told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ConfigDict


@dataclass(frozen=True, kw_only=True)
class WorkerEnvironment:
    """The version of Python and of each distribution, by its normalized name; empty where the service was not built with it.

    ``kernels``: what the pods of the namespace's latest searches multiplied matrices by, each with its processor; empty before
    there was one. The node that a pod will be on is unknown.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    kernels: tuple[str, ...] = ()
