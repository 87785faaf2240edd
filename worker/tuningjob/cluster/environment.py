"""Is what is here what pods have? Said before anything is sent: results are the same to the bit only where the libraries are."""

import platform
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from typing import Final

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.protocol.environment import WorkerEnvironment

_DECIDING: Final = ("numpy", "scipy", "pandas", "joblib")
_IMAGE: Final = "Name an image of your own that has it: Cluster(image=…)."
_warned: Final[set[str]] = set()


def check_environment(there: WorkerEnvironment, packages: Iterable[str]) -> None:
    """``packages``: those that the search names. Warns once of what differs a little. Raises ManifestRefused for the rest."""
    if not there.packages:
        return
    known = {_normal(name): found for name, found in there.packages.items()}
    problems = [*_minor_problems(known), *_missing_problems(known, packages)]
    if problems:
        raise ManifestRefused(problems)
    differing = ", ".join(_differences(there, known))
    if differing and differing not in _warned:
        _warned.add(differing)
        told = f"pods have other versions than this process, so a score may differ by a bit: {differing}."
        warnings.warn(told, UserWarning, stacklevel=6)


def _minor_problems(known: Mapping[str, str]) -> Iterator[Problem]:
    here, there = version("scikit-learn"), known.get("scikit-learn")
    if there is not None and _minor(here) != _minor(there):
        advice = "Another minor version may search other candidates and give other scores: install that one."
        yield Problem("scikit-learn", f"{_minor(there)}, as pods have it", here, advice)


def _missing_problems(known: Mapping[str, str], packages: Iterable[str]) -> Iterator[Problem]:
    distributions = packages_distributions()
    for package in sorted(set(packages) - sys.stdlib_module_names):
        owners = [_normal(name) for name in distributions.get(package, ())]
        # what is in no distribution is a module of one's own, which goes along, or is for pods to judge
        if owners and "tuningjob" not in owners and not any(owner in known for owner in owners):
            yield Problem(package, "a package that the worker image has", owners[0], _IMAGE)


def _differences(there: WorkerEnvironment, known: Mapping[str, str]) -> Iterator[str]:
    here = platform.python_version()
    if _minor(here) != _minor(there.python):
        yield f"Python {there.python} (here {here})"
    for name in _DECIDING:
        try:
            mine = version(name)
        except PackageNotFoundError:
            continue
        if known.get(name, mine) != mine:
            yield f"{name} {known[name]} (here {mine})"


def _minor(text: str) -> str:
    return ".".join(text.split(".")[:2])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
