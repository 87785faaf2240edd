"""What pods have: by the release's worker image, whose lock files the results service knows, and by reports of the last pods."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import ConfigDict


@dataclass(frozen=True, kw_only=True)
class WorkerEnvironment:
    """The version of Python and of each distribution, by its normalized name; empty if the service was built without them.

    ``kernels``: the libraries that the pods of the namespace's latest searches multiplied matrices with, each with its processor;
    empty before the first search. The node that a pod will be on is unknown.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")
    python: str = ""
    packages: Mapping[str, str] = field(default_factory=dict)
    kernels: tuple[str, ...] = ()
