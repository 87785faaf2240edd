"""Repeats fits of a finished search: whether they come out the same to the bit, and if not, what is different now.

Each fit is scikit-learn's own, with nothing shared, so this checks the engine's rules as well as the surroundings.
"""

import math
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from threadpoolctl import threadpool_info

from tuningjob.engine import CellKey, Evaluated, one_thread
from tuningjob.engine.evaluate import PATCHES, Evaluator
from tuningjob.engine.processes import Died, Item, Processes, Raised, may_fork
from tuningjob.errors import ArtifactRefused, SearchFailed
from tuningjob.journal.sql import SqlJournal
from tuningjob.manifest import TuningJobSpec, load_spec
from tuningjob.manifest.wellknown import PRUNED_COLUMN
from tuningjob.protocol.code import other_code
from tuningjob.protocol.records import CellResult, Preflight
from tuningjob.search.beside import importable
from tuningjob.search.cells import result_of, with_warnings, work_of
from tuningjob.search.lost import lost_result
from tuningjob.search.problem import SearchProblem, prepare
from tuningjob.search.reasons import error_text
from tuningjob.search.stages import stage_with

_DIGITS: Final = 12


@dataclass(frozen=True)
class Recorded:
    """What a search left. ``cells(ordinals)`` gives these results, ``everything()`` all results in order.

    ``preflight`` is None if the data, the libraries and the code that it ran with are unknown.
    """

    name: str
    spec: TuningJobSpec
    candidates: int
    splits: int
    cells: Callable[[Sequence[int]], list[CellResult]]
    everything: Callable[[], Iterable[CellResult]]
    preflight: Preflight | None = None

    @property
    def size(self) -> int:
        """How many fits the search had."""
        return self.candidates * self.splits


@dataclass(frozen=True)
class Again:
    """One fit as it was, and as it is now. ``unseeded``: the parameters by which it draws unseeded random numbers."""

    before: CellResult
    now: CellResult
    params: str
    unseeded: tuple[str, ...] = ()

    @property
    def differing(self) -> dict[str, tuple[float, float]]:
        """The scores that are not the same to the bit, each as it was and as it is now."""
        names = ("test_scores", "train_scores")
        sides = [(name, getattr(self.before, name) or {}, getattr(self.now, name) or {}) for name in names]
        return {
            f"{name.removesuffix('_scores')} {key}": (before[key], now.get(key, math.nan))
            for name, before, now in sides
            for key in before
            if before[key].hex() != now.get(key, math.nan).hex()
        }

    @property
    def is_same(self) -> bool:
        """Whether every score is the same, and the fit fails now if it failed before."""
        return not self.differing and (self.before.error is None) == (self.now.error is None)


@dataclass(frozen=True)
class Verified:
    """What a verification found. ``surroundings``: a sentence for each thing that differs now, even if it does not matter."""

    again: tuple[Again, ...]
    surroundings: tuple[str, ...]

    @property
    def is_same(self) -> bool:
        """Whether every fit is the same."""
        return all(each.is_same for each in self.again)


def recorded_in(journal: SqlJournal, search_id: str) -> Recorded:
    """A search that a journal has. Raises UnknownSearch, ManifestRefused."""
    view = journal.view(search_id)
    found = view.search()

    def cells(ordinals: Sequence[int]) -> list[CellResult]:
        return [cell for ordinal in ordinals for cell in view.results(start=ordinal, limit=1)]

    return Recorded(
        found.name, load_spec(found.spec), found.candidates, found.splits, cells, view.results, found.preflight
    )


def recorded_as(name: str, spec: TuningJobSpec, table: Mapping[str, Sequence[Any]]) -> Recorded:
    """A search that left only a manifest and ``cv_results_``, and so only its candidates. Raises ArtifactRefused."""
    keys, splits = spec.metrics.keys, 0
    while f"split{splits}_test_{spec.metrics.deciding}" in table:
        splits += 1
    if not splits or any(f"split0_test_{key}" not in table for key in keys):
        raise ArtifactRefused(f"cv_results: must have the scores by {', '.join(keys)} of each split, but has not.")
    candidates = len(table["params"])

    def cell(ordinal: int) -> CellResult:
        candidate, split = divmod(ordinal, splits)

        def scores(kind: str) -> dict[str, float]:
            return {key: float(table[f"split{split}_{kind}_{key}"][candidate]) for key in keys}

        test = scores("test")
        is_nan = math.isnan(test[spec.metrics.deciding])
        is_pruned = PRUNED_COLUMN in table and str(table[PRUNED_COLUMN][candidate]) == "True"
        return CellResult(
            candidate=candidate,
            split=split,
            test_scores=test,
            train_scores=scores("train") if spec.return_train_score else None,
            fit_seconds=0.0,
            score_seconds=0.0,
            test_samples=0,
            # a table does not say why a score is missing, but which candidates have fits that were not needed
            error="there is no score" if is_nan and not is_pruned else None,
            pruned=is_nan and is_pruned,
        )

    return Recorded(
        name,
        spec,
        candidates,
        splits,
        lambda ordinals: [cell(ordinal) for ordinal in ordinals],
        lambda: map(cell, range(candidates * splits)),
    )


def fits_to_repeat(recorded: Recorded, count: int | None, seed: int) -> list[int]:
    """The fits to repeat, by their numbers (candidate × splits + split): ``count`` that the seed draws, or all that ran."""
    ran: Sequence[int] = range(recorded.size)
    if recorded.spec.prune is not None:
        ran = [ordinal for ordinal, cell in enumerate(recorded.everything()) if not cell.pruned]
    if count is None or count >= len(ran):
        return list(ran)
    return sorted(random.Random(seed).sample(ran, count))  # noqa: S311  no secret


def verify(recorded: Recorded, ordinals: Sequence[int], *, folder: Path, processes: int) -> Verified:
    """Repeat these fits; data files and modules are looked for in ``folder``.

    Raises ManifestRefused for a search that cannot be made here, SearchFailed for a fit that cannot even begin.
    """
    with importable(folder):
        problem = prepare(recorded.spec, folder)
        before = [cell for cell in recorded.cells(ordinals) if not cell.pruned]
        again = [each for at, cells in _stages(problem, recorded, before) for each in _again(at, cells, processes)]
        told = list(_surroundings(recorded.preflight, problem)) or list(_unexplained(recorded, again))
    return Verified(tuple(sorted(again, key=lambda each: each.before.cell)), tuple(told))


def _stages(
    problem: SearchProblem, recorded: Recorded, cells: Sequence[CellResult]
) -> Iterator[tuple[SearchProblem, list[CellResult]]]:
    """The cells by the stage in which they were evaluated; most searches have one stage."""
    begun = len(problem.candidates) + problem.beside
    first = [cell for cell in cells if problem.stage is None or cell.candidate < begun]
    if first:
        yield problem, first
    later = [cell for cell in cells if problem.stage is not None and cell.candidate >= begun]
    while later:
        at = stage_with(problem, later[0].candidate + 1, recorded.everything())
        end = at.rows.first + len(at.rows.candidates)
        yield at, [cell for cell in later if cell.candidate < end]
        later = [cell for cell in later if cell.candidate >= end]


def _again(problem: SearchProblem, cells: Sequence[CellResult], processes: int) -> Iterator[Again]:
    before = {problem.rows.key(cell.cell): cell for cell in cells}
    for key, now in _evaluated(problem, list(before), processes):
        params = str(dict(sorted(problem.rows.candidates[key.candidate].items())))
        yield Again(before[key], now, params, problem.identities.unseeded(key.candidate))


def _evaluated(problem: SearchProblem, keys: Sequence[CellKey], processes: int) -> Iterator[tuple[CellKey, CellResult]]:
    work, metrics, rows = work_of(problem), problem.spec.metrics, problem.rows

    def fit(key: CellKey) -> Iterator[CellResult]:
        with one_thread(), PATCHES.in_force():
            for step in with_warnings(Evaluator(work).evaluate(key.split, [key.candidate], plain=True)):
                if isinstance(step, Evaluated):
                    result = result_of(step, metrics, rows)
                    yield replace(result, identity=problem.identities.of(*key))

    if may_fork():
        yield from _in_processes(problem, keys, fit, max(1, min(processes, len(keys))))
    else:
        yield from ((key, result) for key in keys for result in fit(key))


def _in_processes(
    problem: SearchProblem, keys: Sequence[CellKey], fit: Callable[[CellKey], Iterator[CellResult]], count: int
) -> Iterator[tuple[CellKey, CellResult]]:
    with Processes(fit, count) as pool:
        tickets = {pool.submit(key): key for key in keys}
        while pool.outstanding:
            for event in pool.events():
                key = tickets[event.ticket]
                if isinstance(event, Item):
                    yield key, event.value
                elif isinstance(event, Raised):
                    raise SearchFailed(f"a fit could not even begin: {error_text(event.exception)}")
                elif isinstance(event, Died):
                    told = "TimeoutError: it took too long" if event.timed_out else f"its process {event}"
                    yield key, replace(lost_result(problem, problem.rows.cell(key)), error=told)


def _surroundings(before: Preflight | None, problem: SearchProblem) -> Iterator[str]:
    """Yield a sentence for each thing that is known to differ now."""
    if before is None:
        return
    now = problem.preflight
    if before.data_digest != now.data_digest:
        shape = f"{before.samples:,} × {before.features:,}", f"{now.samples:,} × {now.features:,}"
        sizes = f" ({shape[0]} then, {shape[1]} now)" if shape[0] != shape[1] else ""
        yield f"data: {_short(before.data_digest)} → {_short(now.data_digest)}{sizes}"
    if before.split_digest and before.split_digest != now.split_digest:
        yield f"splits: {_short(before.split_digest)} → {_short(now.split_digest)}"
    if before.estimator_digest and before.estimator_digest != now.estimator_digest:
        yield f"estimator: {_short(before.estimator_digest)} → {_short(now.estimator_digest)}"
    for change in other_code(before, now):
        is_version = change.name in before.versions
        yield f"{'version' if is_version else 'code'}: {change.exact}"


def _unexplained(recorded: Recorded, again: Sequence[Again]) -> Iterator[str]:
    """Yield possible reasons for different scores if no known difference explains them."""
    if recorded.preflight is None:
        if not all(each.is_same for each in again):
            yield "what it ran with is not told here: the journal alone has digests and versions"
        return
    # an identity covers all of the above, and the kernels
    pairs = [(each.before.identity, each.now.identity) for each in again]
    if any(before is not None and now is not None and before != now for before, now in pairs):
        kernels = sorted(
            {f"{each.get('internal_api')} {each.get('architecture') or ''}".strip() for each in threadpool_info()}
        )
        yield f"CPU: the kernels of its arithmetic are not those of then; here they are {', '.join(kernels)}"
    if any(not each.is_same and each.now.identity is None for each in again):
        names = sorted({name for each in again for name in each.unseeded})
        if names:
            yield f"random numbers: nobody seeded them ({', '.join(names)} is None)"


def _short(digest: str) -> str:
    return digest[:_DIGITS] or "nothing"
