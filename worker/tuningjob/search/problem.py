"""A search made ready: everything that evaluating a cell needs, checked.

What can be said of a manifest only with scikit-learn and the data at hand is said here, before anything starts: unknown
classes and parameters, numbers that mean two things, scorers that the estimator cannot serve, folds that the data
cannot fill.
"""

import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.util import find_spec
from itertools import islice
from numbers import Integral
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
import pandas as pd
import scipy
import sklearn
from sklearn.base import clone, is_classifier
from sklearn.metrics import check_scoring, get_scorer, get_scorer_names
from sklearn.model_selection import ParameterGrid, check_cv
from sklearn.utils._param_validation import Interval, RealNotInt

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.journal.records import Preflight
from tuningjob.search.build import build_estimator, build_param_grid
from tuningjob.search.data import Dataset, load_data
from tuningjob.search.identity import Identities, digest_of_splits
from tuningjob.search.order import blocks_of
from tuningjob.spec.grid import Grid, parse_grid
from tuningjob.spec.literals import Literal, Scalar, parse_params, shown
from tuningjob.spec.manifest import nearest
from tuningjob.spec.models import TuningJobSpec

_GRID: Final = "spec.search.grid.parameters"
# An image of the user's own may lack lz4, and some builds of Python lack _lzma.
_COMPRESSORS: Final = {"lz4": "lz4", "gzip": "zlib", "xz": "_lzma"}
# Candidates that the scorer's check looks at: enough to see every kind of final step in a grid made by hand.
_SCORER_SAMPLE: Final = 1_000
_SEED_SAMPLE: Final = 1_000

Split = tuple["np.ndarray[Any, Any]", "np.ndarray[Any, Any]"]


@dataclass(frozen=True)
class SearchProblem:
    """What a worker searches. ``splits`` are the (train, test) indices, computed once."""

    spec: TuningJobSpec
    estimator: Any
    candidates: ParameterGrid
    scorer: Any
    data: Dataset
    splits: Sequence[Split]

    @cached_property
    def metric(self) -> str:
        """What the score is called."""
        return self.spec.scoring or "score"

    @cached_property
    def identities(self) -> Identities:
        """What each cell is, whichever search it is in."""
        return Identities(
            estimator=self.estimator,
            candidates=self.candidates,
            splits=self.splits,
            setting={
                "data": self.data.digest,
                "scoring": self.spec.scoring,
                "train scores": self.spec.return_train_score,
                "versions": library_versions(),
            },
        )

    @property
    def preflight(self) -> Preflight:
        """What every worker of the search must find the same."""
        return Preflight(
            data_digest=self.data.digest,
            split_digest=digest_of_splits(self.splits),
            estimator_digest=self.identities.estimator_digest,
            seed=self.identities.seed,
            blocks=blocks_of(self.estimator, self.candidates.param_grid),
            samples=self.data.samples,
            features=self.data.features,
            versions=library_versions(),
            warnings=tuple(self._warnings()),
        )

    def _warnings(self) -> Iterator[str]:
        if not self.spec.reuse:
            return
        looked_at = min(len(self.candidates), _SEED_SAMPLE)
        unseeded = [candidate for candidate in range(looked_at) if self.identities.unseeded(candidate)]
        if unseeded:
            names = ", ".join(self.identities.unseeded(unseeded[0]))
            yield (
                f"{len(unseeded)} of {looked_at} candidates draw random numbers that nobody seeded ({names} is None): "
                "they are fitted anew in each search, whatever spec.reuse says. Give it a number."
            )


def library_versions() -> dict[str, str]:
    """The libraries that decide the bits of a score."""
    modules = {"scikit-learn": sklearn, "numpy": np, "scipy": scipy, "pandas": pd, "joblib": joblib}
    return {
        "python": platform.python_version(),
        **{name: str(module.__version__) for name, module in modules.items()},
    }


def prepare(spec: TuningJobSpec, folder: Path) -> SearchProblem:
    """Everything that the search needs; data files are looked for below ``folder``. Raises ManifestRefused with what is wrong."""
    estimator, candidates, scorer = prepare_estimator(spec)
    data = load_data(spec.data, folder)
    return SearchProblem(spec, estimator, candidates, scorer, data, _splits(spec, estimator, data))


def prepare_estimator(spec: TuningJobSpec) -> tuple[Any, ParameterGrid, Any]:
    """Estimator, candidates and scorer: all that can be checked without the data. Raises ManifestRefused."""
    estimator = build_estimator(spec.estimator)
    grid = parse_grid(spec.search.grid.parameters)
    param_grid = build_param_grid(grid)
    problems = [
        *_fixed_problems(spec, estimator),
        *_grid_problems(estimator, grid, param_grid),
        *_compression_problems(spec),
    ]
    if problems:
        raise ManifestRefused(problems)
    candidates = ParameterGrid(param_grid)
    return estimator, candidates, _scorer(spec, estimator, candidates)


def _fixed_problems(spec: TuningJobSpec, estimator: Any) -> Iterator[Problem]:  # noqa: ANN401  an estimator
    if spec.estimator.class_ is not None:
        params = parse_params(spec.estimator.params, "spec.estimator.params")
        yield from _ambiguous(estimator, "", params, "spec.estimator.params")
    for i, step in enumerate(spec.estimator.pipeline or []):
        field = f"spec.estimator.pipeline[{i}].params"
        yield from _ambiguous(estimator, f"{step.name}__", parse_params(step.params, field), field)


def _compression_problems(spec: TuningJobSpec) -> Iterator[Problem]:
    """What the model could not be written with: to be known before the first fit, not after the last."""
    compression = spec.artifacts.compression
    module = _COMPRESSORS.get(compression)
    if module is not None and find_spec(module) is None:
        field, must_be = "spec.artifacts.compression", "a compression that is installed where the search runs"
        yield Problem(
            field, must_be, shown(compression), f"There is no module {module}: install it, or choose another."
        )


def _ambiguous(estimator: Any, prefix: str, params: Sequence[tuple[str, Literal]], field: str) -> Iterator[Problem]:  # noqa: ANN401
    for name, literal in params:
        owners = _owners(estimator, {}, prefix + name)
        if any(_means_two_things(owner, name.rpartition("__")[2], literal) for owner in owners):
            yield _ambiguity(f"{field}.{name}", literal)


def _grid_problems(estimator: Any, grid: Grid, param_grid: Sequence[dict[str, list[Any]]]) -> Iterator[Problem]:  # noqa: ANN401
    """Names that the estimator lacks, and numbers that mean two things."""
    many = len(grid.subgrids) > 1
    for i, (subgrid, values) in enumerate(zip(grid.subgrids, param_grid, strict=True)):
        for name, literals in zip(subgrid.names, subgrid.values, strict=True):
            field = f"{_GRID}[{i}].{name}" if many else f"{_GRID}.{name}"
            owners, leaf = _owners(estimator, values, name), name.rpartition("__")[2]
            if not all(_has_parameter(owner, leaf) for owner in owners):
                yield _unknown_parameter(estimator, owners, name, field)
                continue
            for j, literal in enumerate(literals):
                if isinstance(literal, Scalar) and any(_means_two_things(owner, leaf, literal) for owner in owners):
                    yield _ambiguity(f"{field}[{j}]", literal)


def _owners(estimator: Any, values: Mapping[str, list[Any]], name: str) -> list[Any]:  # noqa: ANN401  estimators
    """Whose own parameter a nested name is: of the estimator that stands there, or of each that the grid puts there.

    ``set_params`` of a candidate that lacks the parameter would end scikit-learn's search, so all of them count.
    """
    *above, _ = name.split("__")
    for depth in range(len(above), 0, -1):
        tried = values.get("__".join(above[:depth]))
        if tried is not None:
            return [_below(value, above[depth:]) for value in tried]
    return [_below(estimator, above)]


def _below(value: Any, path: Sequence[str]) -> Any:  # noqa: ANN401  an estimator, or whatever stands there
    return value.get_params().get("__".join(path)) if path and hasattr(value, "get_params") else value


def _has_parameter(value: Any, name: str) -> bool:  # noqa: ANN401  an estimator, or whatever stands there
    return hasattr(value, "get_params") and name in value.get_params()


def _unknown_parameter(estimator: Any, owners: Sequence[Any], name: str, field: str) -> Problem:  # noqa: ANN401
    known = list(estimator.get_params())
    lacking = [owner for owner in owners if not _has_parameter(owner, name.rpartition("__")[2])]
    if len(lacking) < len(owners):
        names = ", ".join(owner if isinstance(owner, str) else type(owner).__name__ for owner in lacking)
        advice = f"{names} lacks it: give it a map of its own in the list."
        return Problem(field, "a parameter of each estimator that is tried there", shown(name), advice)
    return Problem(field, "a parameter of the estimator", shown(name), nearest(name, known))


def _means_two_things(owner: Any, name: str, literal: Literal) -> bool:  # noqa: ANN401  an estimator
    """Whether a bare 0 or 1 would be another thing as a float: scikit-learn's own constraints tell.

    ``max_features=1`` is one feature, ``max_features=1.0`` all of them, and an API server turns ``1.0`` into ``1``.
    """
    if (
        not isinstance(literal, Scalar)
        or literal.tagged
        or isinstance(literal.value, bool)
        or literal.value not in {0, 1}
    ):
        return False
    constraints = getattr(type(owner), "_parameter_constraints", {}).get(name, ())
    intervals = (
        [constraint for constraint in constraints if isinstance(constraint, Interval)]
        if isinstance(constraints, list)
        else []
    )
    as_integer = any(interval.type is Integral for interval in intervals)
    return as_integer and any(
        interval.type is RealNotInt and float(literal.value) in interval for interval in intervals
    )


def _ambiguity(field: str, literal: Literal) -> Problem:
    value = literal.value if isinstance(literal, Scalar) else literal
    return Problem(
        field,
        "a number that can mean only one thing",
        shown(value),
        f"Write {{int: {value}}} for a count, or {{float: {value}}} for a fraction.",
    )


def _scorer(spec: TuningJobSpec, estimator: Any, candidates: ParameterGrid) -> Any:  # noqa: ANN401  a scorer
    if spec.scoring is None:
        if not hasattr(estimator, "score"):
            raise ManifestRefused([Problem("spec.scoring", "given for an estimator without a score method", "nothing")])
        return check_scoring(estimator)
    names = get_scorer_names()
    if spec.scoring not in names:
        raise ManifestRefused(
            [
                Problem(
                    "spec.scoring",
                    "the name of one of scikit-learn's scorers",
                    shown(spec.scoring),
                    nearest(spec.scoring, names),
                )
            ]
        )
    wanted = getattr(get_scorer(spec.scoring), "_response_method", "predict")
    methods = (wanted,) if isinstance(wanted, str) else tuple(wanted)
    if methods != ("default",) and not any(
        hasattr(clone(estimator).set_params(**clone(params, safe=False)), method)
        for params in islice(candidates, _SCORER_SAMPLE)
        for method in methods
    ):
        needs = " or ".join(methods)
        raise ManifestRefused(
            [
                Problem(
                    "spec.scoring",
                    f"a scorer that the estimator can serve ({spec.scoring} needs {needs})",
                    f"an estimator without {needs}",
                    "Choose another scorer or estimator; some have it behind a parameter (SVC: probability: true).",
                )
            ]
        )
    return check_scoring(estimator, spec.scoring)


def _splits(spec: TuningJobSpec, estimator: Any, data: Dataset) -> list[Split]:  # noqa: ANN401  an estimator
    folds = spec.cross_validation.folds
    try:
        return list(check_cv(folds, data.y, classifier=is_classifier(estimator)).split(data.X, data.y))
    except ValueError as error:
        raise ManifestRefused(
            [
                Problem(
                    "spec.crossValidation.folds",
                    f"a number of folds that the {data.samples} samples can fill",
                    str(folds),
                    f"scikit-learn says: {error}",
                )
            ]
        ) from error
