"""Prepare a search: make and check everything that the evaluation of a cell needs.

Before anything starts, this module finds all faults of a manifest that need scikit-learn and the data: unknown classes and
parameters, ambiguous numbers, scorers that the estimator cannot serve, and folds that the data cannot fill.
"""

import platform
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Final

import joblib
import numpy as np
import pandas as pd
import scipy
import sklearn

from tuningjob.aliases import AnyScorer, Estimator
from tuningjob.engine.replay import Stage
from tuningjob.errors import ManifestRefused, Problem, TuningJobError
from tuningjob.manifest import dump_spec
from tuningjob.manifest.literals import shown
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.protocol.code import bounded, first_few
from tuningjob.protocol.records import Axis, Block, Preflight
from tuningjob.search.build import build_estimator
from tuningjob.search.classes import rare_classes
from tuningjob.search.code_identity import SearchCode, code_of_search, named_classes
from tuningjob.search.data import Dataset, load_data
from tuningjob.search.findings import findings, representatives, unseeded
from tuningjob.search.fit_params import data_problems, given_params
from tuningjob.search.given import build_without
from tuningjob.search.identity import Identities, digest_of_splits
from tuningjob.search.kernels import kernels_in_use
from tuningjob.search.outer_folds import OuterFold, outer_folds
from tuningjob.search.parameters import doubtful_values, fixed_problems, misspelt_names, refused_values, space_problems
from tuningjob.search.picklable import unpicklable
from tuningjob.search.pruning import prune_problems
from tuningjob.search.reasons import Reason
from tuningjob.search.roles import roles
from tuningjob.search.rows import Appended, Defaults, Rows, defaults_of
from tuningjob.search.same import same_as_defaults
from tuningjob.search.scoring import code_in, metric_problems, scorer_of, scorers
from tuningjob.search.selection import select_problems
from tuningjob.search.sent_data import Fetch
from tuningjob.search.space import DrawnSpace, Space, space_of
from tuningjob.search.splits import Split, divide
from tuningjob.search.splitters import made_splitter
from tuningjob.search.stages import first_stage
from tuningjob.sizing import KnownSize, is_left_out, size_of

# The journal's limits of Preflight.warnings and Preflight.versions.
_MOST_WARNINGS: Final = 30
_MOST_VERSIONS: Final = 32
# The most blocks that the journal walks.
_MOST_BLOCKS: Final = 256
# A user's own image may lack lz4, and some builds of Python lack _lzma.
_COMPRESSORS: Final = {"lz4": "lz4", "gzip": "zlib", "xz": "_lzma"}
_SEED_SAMPLE: Final = 1_000
_MOST_KERNELS: Final = 8  # Preflight.kernels


@dataclass(frozen=True)
class SearchProblem:
    """The problem that a worker searches.

    ``splits`` are the (train, test) indices, computed once; ``cv`` is the argument by which a scikit-learn search makes them.
    ``code`` is that of all classes and functions named by estimator, space, scorer and loader, as it was when they were made.
    ``stage`` is the current one of a search in stages. ``folds`` are the outer folds of a nested search.
    """

    spec: TuningJobSpec
    estimator: Any
    space: Space
    scorer: Any
    data: Dataset
    cv: Any
    splits: Sequence[Split]
    code: SearchCode
    stage: Stage | None = None
    folds: Sequence[OuterFold] = ()

    @property
    def candidates(self) -> Sequence[Mapping[str, Any]]:
        """The combinations of parameters, in scikit-learn's order."""
        return self.space.candidates

    @property
    def size(self) -> KnownSize:
        """The size of the search, which is known once its data are loaded."""
        size = size_of(self.spec)
        return KnownSize(size.candidates, len(self.splits), defaults=size.defaults, outer=size.outer, later=size.later)

    @cached_property
    def beside(self) -> int:
        """The number of rows of the journal, after the first candidates, that are no candidates."""
        return size_of(self.spec).beside

    def is_beside(self, row: int) -> bool:
        """Whether this row of the journal is no candidate."""
        first = len(self.candidates)
        return first <= row < first + self.beside

    @property
    def whole(self) -> "SearchProblem":
        """The problem with all of its data, even if its stage uses a part of them."""
        return replace(self, stage=None)

    @cached_property
    def rows(self) -> Rows:
        """The open rows of the journal, and the fits for which they stand."""
        stage = self.stage or Stage(0, self.candidates, self.splits)
        if stage.first:
            return Rows(stage.candidates, stage.splits, stage.first + self.beside)
        candidates, splits = stage.candidates, [*stage.splits, *(split for fold in self.folds for split in fold.inner)]
        if self.spec.baseline:
            candidates = Appended(candidates, [self.defaults.params])
        repeated = len(self.candidates) if self.folds else 0
        return Rows(candidates, splits, repeated=repeated, width=len(self.splits))

    @cached_property
    def defaults(self) -> Defaults:
        """The defaults of the tuned parameters."""
        return defaults_of(self.estimator, {name for each in self.space.listed for name in each})

    @cached_property
    def shared_with(self) -> int | None:
        """The candidate equal to the estimator with its defaults, so that both share their fits; None if there is none.

        It is also None in a search that prunes, because the defaults are scored on each split, but the candidate may not be.
        """
        if not self.spec.baseline or self.spec.prune is not None or len(self.folds) + 2 > _MOST_BLOCKS:
            return None
        return same_as_defaults(self.estimator, self.space, self.defaults, self.identities)

    def is_of_defaults(self, row: int) -> bool:
        """Whether this row of the journal is that of the defaults, which is the first after the candidates."""
        return bool(self.spec.baseline) and row == len(self.candidates)

    def at(self, stage: Stage) -> "SearchProblem":
        """The same problem at one of its stages."""
        return replace(self, stage=stage)

    @cached_property
    def params(self) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """The parameters of ``fit`` and of the scorer besides X and y, for all samples."""
        return given_params(self.spec, self.estimator, self.space, self.scorer, self.data)

    @cached_property
    def metric(self) -> str:
        """The name of the deciding score."""
        return self.spec.metrics.told

    @cached_property
    def identities(self) -> Identities:
        """The identities of cells, which are equal in all searches that have the same cell."""
        return Identities(
            estimator=self.estimator,
            candidates=self.rows.candidates,
            splits=self.rows.splits,
            setting={
                "data": self.data.digest,
                "scoring": self.spec.metrics.identity,
                "train scores": self.spec.return_train_score,
                "versions": library_versions(),
                # each estimator's identity has its code, so that another model in the grid does not change it
                **({"code": self.code.beside.digest} if self.code.beside.parts else {}),
            },
            reader=self.code.reader,
        )

    @property
    def versions(self) -> dict[str, str]:
        """The versions of the libraries that decide the bits, and of the distributions that have the search's code."""
        known = library_versions()
        return known | dict(list(self.code.all.versions.items())[: _MOST_VERSIONS - len(known)])

    @property
    def preflight(self) -> Preflight:
        """The facts that must be the same for every worker of the search."""
        return Preflight(
            data_digest=self.data.digest,
            split_digest=digest_of_splits(
                [*self.splits, *(each for fold in self.folds for each in (fold.outer, *fold.inner))]
            ),
            estimator_digest=self.identities.estimator_digest,
            seed=self.identities.seed,
            blocks=self._blocks(),
            ranked=len(self.candidates) if self.beside else 0,
            shared_with=self.shared_with,
            samples=self.data.samples,
            features=self.data.features,
            versions=self.versions,
            warnings=self.warnings,
            code=bounded(self.code.all.parts),
            splits=len(self.splits) if size_of(self.spec).splits is None else 0,
            kernels=kernels_in_use()[:_MOST_KERNELS],
        )

    def _blocks(self) -> tuple[Block, ...]:
        """The blocks by which the rows are best walked; () for their own order."""
        blocks, first = self.space.blocks(self.estimator), len(self.candidates)
        if not blocks or (len(blocks) + 1) * (len(self.folds) + 1) > _MOST_BLOCKS:
            if self.shared_with is None:
                return blocks if not self.beside else ()
            blocks = (Block(start=0, axes=(Axis(size=first, stride=1),)),)  # the row of the defaults must be one
        each, starts = blocks, range(first, first + len(self.folds) * first, first)
        if self.spec.baseline:
            each, starts = (*blocks, Block(start=first, axes=())), range(starts.start + 1, starts.stop + 1, first)
        return (*each, *(replace(block, start=start + block.start) for start in starts for block in blocks))

    @cached_property
    def warnings(self) -> tuple[str, ...]:
        """Warnings of the search; each begins with its reason."""
        return tuple(islice(self._warnings(), _MOST_WARNINGS))

    def _warnings(self) -> Iterator[str]:
        yield from self._unknown_code()
        tried = representatives(self.estimator, self.space.tried)
        yield from rare_classes(self.cv, self.estimator, self.data)
        yield from self._unseeded(tried)
        yield from findings(tried, self.data)
        if self.spec.data.is_table and self.spec.data.features is None:
            yield from roles(tried, self.data.X, self.spec.cross_validation)
        yield from doubtful_values(self.spec, self.estimator, self.space)
        yield from misspelt_names(self.spec, self.estimator, self.space)
        yield from self._small_space()
        yield from self._without_defaults()

    def _without_defaults(self) -> Iterator[str]:
        if self.spec.baseline and self.defaults.refused:
            yield (
                f"{Reason.BASELINE}: the estimator cannot be given the defaults of all that is tuned "
                f"({self.defaults.refused}), so what tuning has gained is measured over the estimator as it is written."
            )
        elif is_left_out(self.spec):
            yield (
                f"{Reason.BASELINE}: the defaults are not scored, because their {len(self.splits):,} fits would be too many "
                "(spec.limits.maxFits). Raise it to know what tuning has gained."
            )

    def _unknown_code(self) -> Iterator[str]:
        unknown = sorted(self.code.all.unknown)
        if unknown:
            modules = first_few([name or "?" for name in unknown])
            yield (
                f"{Reason.CODE_UNKNOWN}: there is no file to tell the code of {modules} by, so "
                "nobody could say later whether it is the same: nothing of this search is reused, and on a laptop none of it is "
                "resumed. Put it into a file that is imported."
            )

    def _small_space(self) -> Iterator[str]:
        space = self.space
        if isinstance(space, DrawnSpace) and len(self.candidates) < space.iterations:
            yield (
                f"{Reason.SPACE_SMALL}: spec.search.random.iterations is {space.iterations:,}, but there are no more than "
                f"{len(self.candidates):,} combinations. Each is tried once, as by spec.search.grid."
            )

    def _unseeded(self, tried: Sequence[Any]) -> Iterator[str]:
        looked_at = min(len(self.candidates), _SEED_SAMPLE) if self.spec.reuse else 0
        unnamed = [candidate for candidate in range(looked_at) if self.identities.unseeded(candidate)]
        if unnamed:
            names = ", ".join(self.identities.unseeded(unnamed[0]))
            yield (
                f"{Reason.UNSEEDED_ESTIMATOR}: {len(unnamed)} of {looked_at} candidates draw random numbers that nobody seeded "
                f"({names} is None): they are fitted anew in each search, whatever spec.reuse says. Give it a number."
            )
            return
        shape = (self.data.samples, self.data.features)
        drawing = next(filter(None, (tuple(unseeded(estimator, shape)) for estimator in tried)), ())
        if drawing:
            yield (
                f"{Reason.UNSEEDED_ESTIMATOR}: fits draw random numbers that nobody seeded ({', '.join(drawing)} is None): the "
                "same search gives other scores each time, and what is best may be so by luck. Give it a number."
            )


def library_versions() -> dict[str, str]:
    """The libraries that decide the bits of a score."""
    modules = {"scikit-learn": sklearn, "numpy": np, "scipy": scipy, "pandas": pd, "joblib": joblib}
    return {
        "python": platform.python_version(),
        **{name: str(module.__version__) for name, module in modules.items()},
    }


def prepare(
    spec: TuningJobSpec, folder: Path, *, in_pod: bool = False, memory_bytes: int = 0, fetch: Fetch | None = None
) -> SearchProblem:
    """Make everything that the search needs. Data files are found below ``folder``, and in a pod nowhere else.

    ``memory_bytes`` is the pod's memory, 0 if it is not known. ``fetch`` gets data and code that were sent from Python.
    Raises ManifestRefused with all faults, unless one hides another.
    """
    beside = spec.cross_validation.columns
    options: dict[str, Any] = {"in_pod": in_pod, "beside": beside, "memory_bytes": memory_bytes, "fetch": fetch}
    reading = partial(load_data, spec.data, folder, **options)
    try:
        estimator, space, scorer = prepare_estimator(spec)
    except ManifestRefused as refusal:
        # the same run should also report wrong columns and splitters
        more = [
            *metric_problems(spec),
            *_problems_of(partial(made_splitter, spec.cross_validation)),
            *_problems_of(reading),
        ]
        raise ManifestRefused(list(dict.fromkeys([*refusal.problems, *more]))) from refusal
    # read now, because the code imported just now is what runs, and its file may change while data are read
    code = _code(spec, estimator, space, scorer)
    if problems := list(data_problems(spec, estimator, representatives(estimator, space.tried), scorer)):
        raise ManifestRefused([*problems, *_problems_of(reading)])
    data = reading()
    division = divide(spec, estimator, data)
    folds = outer_folds(spec, estimator, data, len(division.splits))
    problem = SearchProblem(spec, estimator, space, scorer, data, division.cv, division.splits, code, folds=folds)
    if problems := list(prune_problems(problem)):
        raise ManifestRefused(problems)
    return first_stage(problem) if spec.search.has_stages else problem


def _problems_of(make: Callable[[], object]) -> Sequence[Problem]:
    """The problems of an object that is made only to find them."""
    try:
        make()
    except ManifestRefused as refusal:
        return refusal.problems
    except TuningJobError:  # a passing error, such as a server's outage, is no fault of the manifest
        return ()
    return ()


def _code(spec: TuningJobSpec, estimator: Estimator, space: Space, scorer: AnyScorer) -> SearchCode:
    written = dump_spec(spec)
    paths = [
        *named_classes([written[name] for name in ("estimator", "search", "crossValidation")]),
        *filter(None, [spec.data.loader, spec.data.function, spec.estimator.factory]),
        *spec.metrics.paths,
    ]
    return code_of_search(
        estimators=[estimator, *(values for each in space.listed for values in each.values())],
        others=[*code_in(spec, scorer), made_splitter(spec.cross_validation)],
        paths=paths,
        told=library_versions(),
    )


def prepare_estimator(spec: TuningJobSpec) -> tuple[Any, Space, Any]:
    """Make estimator, space and scorer, and check all that needs no data. Raises ManifestRefused."""
    try:
        estimator = build_estimator(spec.estimator)
    except ManifestRefused as refusal:
        more = _problems_of(partial(_refuse_space, spec, refusal.problems))
        raise ManifestRefused([*refusal.problems, *more]) from refusal
    space = space_of(spec.search)
    problems = [
        *_parameter_problems(spec, estimator, space),
        *_compression_problems(spec),
        *_export_problems(spec),
        *select_problems(spec.select, [values.keys() for values in space.listed]),
    ]
    problems = problems or list(_pickling_problems(spec, estimator, space))
    if problems:
        raise ManifestRefused(problems)
    scorer = scorer_of(spec, estimator, space.candidates)
    if problems := list(_unpicklable_scorers(spec, scorer)):
        raise ManifestRefused(problems)
    return estimator, space, scorer


def _refuse_space(spec: TuningJobSpec, known: Sequence[Problem]) -> None:
    """Raise ManifestRefused with a refused estimator's problems and those of names and values that can still be found."""
    space = space_of(spec.search)
    estimator = build_without(spec.estimator, known)
    if estimator is None:
        return
    if problems := _parameter_problems(spec, estimator, space):
        raise ManifestRefused(problems)


def _parameter_problems(spec: TuningJobSpec, estimator: Estimator, space: Space) -> list[Problem]:
    """The problems of names that the estimator lacks, of ambiguous numbers, and of other values that scikit-learn refuses."""
    problems = [*fixed_problems(spec, estimator), *space_problems(estimator, space)]
    # a list with an ambiguous number has a field for each value
    told = {re.sub(r"\[\d+\]$", "", problem.field) for problem in problems}
    return [*problems, *(each for each in refused_values(spec, estimator, space) if each.field not in told)]


def _compression_problems(spec: TuningJobSpec) -> Iterator[Problem]:
    """The problems that would prevent writing the model, found before the first fit instead of after the last."""
    compression = spec.artifacts.compression
    module = _COMPRESSORS.get(compression)
    if module is not None and find_spec(module) is None:
        field, must_be = "spec.artifacts.compression", "a compression that is installed where the search runs"
        advice = f"There is no module {module}: install it, or choose another."
        yield Problem(field, must_be, shown(compression), advice, Reason.COMPRESSION_MISSING)


def _export_problems(spec: TuningJobSpec) -> Iterator[Problem]:
    """The problems of the place to which the finished search would be handed."""
    exports = spec.exports
    wanted = {} if exports is None else {"mlflow": exports.mlflow, "optuna": exports.optuna}
    for name, export in wanted.items():
        if export is not None and find_spec(name) is None:
            field, must_be = f"spec.exports.{name}", f"beside an {name} that is installed where the search runs"
            advice = f"Run pip install 'tuningjob[{name}]', in a pod's image too, or remove the field and use `tuningjob export`."
            yield Problem(field, must_be, shown(export.model_dump(by_alias=True)), advice, Reason.EXPORTER_MISSING)


def _pickling_problems(
    spec: TuningJobSpec,
    estimator: Estimator,
    space: Space,
) -> Iterator[Problem]:
    """The problems that would prevent writing the fitted search, found before the first fit instead of after the last."""
    parts: list[tuple[str, Any, str]] = [("spec.estimator", estimator, "estimator")]
    parts += [
        (f"{space.field(at)}.{name}", value, f"{name}[{i}]")
        for at, values in enumerate(space.listed)
        for name, tried in values.items()
        for i, value in enumerate(tried)
    ]
    parts.append(("spec.crossValidation", made_splitter(spec.cross_validation), "splitter"))
    yield from _unpicklable(parts)


def _unpicklable_scorers(spec: TuningJobSpec, scorer: AnyScorer) -> Iterator[Problem]:
    made = scorers(spec, scorer)
    return _unpicklable([(metric.field, made[metric.key], "scorer") for metric in spec.metrics.all])


def _unpicklable(parts: Sequence[tuple[str, Any, str]]) -> Iterator[Problem]:
    for field, value, name in parts:
        found = unpicklable(value, name)
        if found is not None:
            yield Problem(field, "what can be pickled", str(found), found.advice, Reason.NOT_PICKLABLE)
