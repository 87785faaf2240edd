"""Compares the libraries here to those of pods before anything is sent, because results to the bit need the same ones."""

import platform
import re
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.protocol.environment import WorkerEnvironment

_DECIDING: Final = ("numpy", "scipy", "pandas", "joblib")
_BLAS_OF_WHEELS: Final = "scipy-openblas"
_PATH: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+")
_IMAGE: Final = "Name an image of your own that has it: Cluster(image=…)."
_warned: Final[set[str]] = set()


def check_environment(there: WorkerEnvironment, packages: Iterable[str]) -> None:
    """Warn once of versions that differ a little. Raises ManifestRefused for the rest. ``packages``: those of the search."""
    if not there.packages:
        return
    known = {_normal(name): found for name, found in there.packages.items()}
    problems = [*_minor_problems(known), *_missing_problems(known, packages)]
    if problems:
        raise ManifestRefused(problems)
    differing = ", ".join(_differences(there, known))
    if differing:
        _warn_once(f"pods have other versions than this process, so a score may differ by a bit: {differing}.")


def check_kernels(there: Sequence[str]) -> None:
    """Warn once if the libraries for matrices differ. ``there``: those of the pods, each with its processor."""
    from tuningjob.search.kernels import kernels_in_use  # noqa: PLC0415  only results need numpy

    here = kernels_in_use()
    lacking = sorted({*there} - {*here})
    if lacking:
        _warn_once(
            f"pods multiply matrices by {_printable(', '.join(lacking))}, and this process by "
            f"{', '.join(here) or 'another library'}: "
            "a score that is computed here may differ by a bit."
        )


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "?" for each in text)


def _warn_once(told: str) -> None:
    if told not in _warned:
        _warned.add(told)
        warnings.warn(told, UserWarning, stacklevel=7)


def named_packages(value: object) -> Iterator[str]:
    """The packages of all texts that look like the path of a class or a function; the manifest's depth is bounded."""
    if isinstance(value, str) and _PATH.fullmatch(value):
        yield value.partition(".")[0]
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from named_packages(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from named_packages(each)


def is_beside(packages: Iterable[str], folder: Path) -> bool:
    """Whether one of these is a module or a package in a folder."""
    return any((folder / f"{name}.py").is_file() or (folder / name).is_dir() for name in packages)


def _minor_problems(known: Mapping[str, str]) -> Iterator[Problem]:
    here, there = version("scikit-learn"), known.get("scikit-learn")
    if there is not None and _minor(here) != _minor(there):
        advice = "Another minor version may search other candidates and give other scores: install that one."
        yield Problem("scikit-learn", f"{_minor(there)}, as pods have it", here, advice)


def _missing_problems(known: Mapping[str, str], packages: Iterable[str]) -> Iterator[Problem]:
    distributions = packages_distributions()
    for package in sorted(set(packages) - sys.stdlib_module_names):
        owners = [_normal(name) for name in distributions.get(package, ())]
        # a module in no distribution is the user's own, which is sent along, or which only pods can judge
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
    blas = _blas_of_numpy()
    if blas not in {"", _BLAS_OF_WHEELS}:
        yield f"BLAS {_BLAS_OF_WHEELS} (here {blas})"


def _blas_of_numpy() -> str:
    """The BLAS that numpy was built with; the image has that of PyPI's wheels, by its lock file."""
    if find_spec("numpy") is None:
        return ""
    import numpy as np  # noqa: PLC0415

    # the dict that it prints, for which numpy's own types have no name
    told: Any = np.show_config(mode="dicts")  # type: ignore[call-overload,unused-ignore]
    return str(((told or {}).get("Build Dependencies") or {}).get("blas", {}).get("name", ""))


def _minor(text: str) -> str:
    return ".".join(text.split(".")[:2])


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
