"""What a release's worker image has: told by the results service, whose image is built from the same locks."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ConfigDict


@dataclass(frozen=True, kw_only=True)
class WorkerEnvironment:
    """The version of Python and of each distribution, by its normalized name; empty where the service was not built with it."""

    __pydantic_config__ = ConfigDict(extra="forbid")
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
