"""The records that workers and the journal exchange.

The same records are the bodies of the results service's HTTP API: pydantic reads and writes them at that border, with the
bounds given here. Floats cross JSON unharmed: Python's repr round-trips, and NaN and infinities travel as strings.

During an upgrade a worker and a service of two releases talk to each other. A release refuses a field that it does not know. So a
new field needs a default, and must not be sent while it has its default.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError, to_json

from tuningjob.protocol.parts import Parts

WIRE: Final = ConfigDict(ser_json_inf_nan="strings", extra="forbid")
MAX_INDEX: Final = 99_999
Index = Annotated[int, Field(ge=0, lt=MAX_INDEX + 1)]
Ordinal = Annotated[int, Field(ge=0, lt=2**63)]
# sums of a million of them stay finite, and any duration that a clock measures is less
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
# seconds or bytes, extrapolated
Amount = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Scores = Annotated[dict[Name, float], Field(max_length=64)]
MAX_CELLS_PER_REPORT: Final = 1_000
MAX_CELLS_PER_PAGE: Final = 5_000
MOST_KNOWN: Final = 10_000  # scores that a claimant is told
MAX_SLOTS: Final = 1_024  # cells that one index may evaluate at a time
MAX_ERROR_LENGTH: Final = 8_192
MOST_SPLITS: Final = 1_000_000  # each split is held in memory as row numbers
# characters of a refusal's problem, or of a warning: whole sentences, and the end of a traceback
MAX_TEXT_LENGTH: Final = 8_192
MAX_PARAMS_BYTES: Final = 64 * 2**10
Digest = Annotated[str, Field(max_length=128)]
Identity = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
Claimant = Annotated[str, Field(pattern=r"^[-A-Za-z0-9_.]*$", max_length=128)]


Text = Annotated[str, Field(max_length=MAX_TEXT_LENGTH)]


def _bounded_params(params: dict[str, Any]) -> dict[str, Any]:
    size = len(to_json(params, inf_nan_mode="constants"))
    if size > MAX_PARAMS_BYTES:
        raise PydanticCustomError("must_be", f"of at most {MAX_PARAMS_BYTES:,} bytes as JSON, but are {size:,}")
    if not _is_finite(params):
        raise PydanticCustomError("must_be", "of finite numbers, for Kubernetes' JSON has no others")
    return params


def _is_finite(value: object) -> bool:
    """Whether all numbers of parsed JSON are finite; its depth is bounded by the parser."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


Params = Annotated[dict[str, Any], AfterValidator(_bounded_params)]


class SearchState(StrEnum):
    """The state of a search. Only RUNNING changes."""

    RUNNING = "Running"
    COMPLETE = "Complete"
    FAILED = "Failed"
    REFUSED = "Refused"


@dataclass(frozen=True, order=True)
class Cell:
    """One candidate × one split."""

    __pydantic_config__ = WIRE
    candidate: Ordinal
    split: Ordinal


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """The result of one cell.

    ``test_scores`` and ``train_scores`` map each metric to its score (NaN if fitting or scoring failed), the deciding metric
    first. ``error`` is the traceback of a fit that failed, or of its scoring by the metric that decides. ``identity`` is a digest
    of all that decides the result; None if the result may differ from one fit to the next. ``process``: the number of its
    worker's process, from 0. ``pruned``: it was not evaluated, because its candidate cannot be the best (spec.prune), and has no
    scores.
    """

    __pydantic_config__ = WIRE
    candidate: Ordinal
    split: Ordinal
    test_scores: Scores
    train_scores: Scores | None = None
    fit_seconds: Seconds
    score_seconds: Seconds
    test_samples: Ordinal
    error: Annotated[str, Field(max_length=MAX_ERROR_LENGTH)] | None = None
    identity: Identity | None = None
    process: Annotated[int, Field(ge=0, lt=2**31, exclude_if=lambda process: not process)] = 0
    # left out if it is false, because older workers and services refuse a field that they do not know
    pruned: Annotated[bool, Field(exclude_if=lambda pruned: not pruned)] = False

    @property
    def cell(self) -> Cell:
        """The cell whose result this is."""
        return Cell(self.candidate, self.split)

    @classmethod
    def not_needed(cls, cell: Cell) -> "CellResult":
        """The journal's result for a pruned cell: nothing that could be ranked, taken over or counted."""
        return cls(
            candidate=cell.candidate,
            split=cell.split,
            test_scores={},
            fit_seconds=0.0,
            score_seconds=0.0,
            test_samples=0,
            pruned=True,
        )


@dataclass(frozen=True, kw_only=True)
class CellIdentity:
    """A cell that is about to be evaluated, and the identity that its result will have."""

    __pydantic_config__ = WIRE
    candidate: Ordinal
    split: Ordinal
    identity: Identity


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Cells to be evaluated by one claimant; only the unfinished ones, in the order in which they share most.

    ``alone``: a pod died with the unit. Its cells must then run one after the other in this order, each reported before the next
    begins, and nothing beside them. ``lost``: the cell that pods died of, although no pod can have more memory; it must be
    reported as failed, not evaluated.
    """

    __pydantic_config__ = WIRE
    id: int
    cells: tuple[Cell, ...]
    alone: bool = False
    lost: Cell | None = None


@dataclass(frozen=True, kw_only=True)
class KnownScore:
    """The score of one cell by the deciding metric; NaN if there is none, because the fit failed or was not needed."""

    __pydantic_config__ = WIRE
    candidate: Ordinal
    split: Ordinal
    score: float


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What a claimant that prunes is told besides its unit, to find which of its cells are still worth a fit.

    ``best``: the mean of the best candidate that has all its scores, and ``worst`` the least of these scores; None if there is
    none yet. ``scores``: the known scores of the unit's candidates, which may be left out.
    """

    __pydantic_config__ = WIRE
    best: float | None = None
    worst: float | None = None
    scores: Annotated[tuple[KnownScore, ...], Field(max_length=MOST_KNOWN)] = ()


class Next(StrEnum):
    """What a claimant is to do next."""

    EVALUATE = "Evaluate"  # evaluate the unit
    FINISH = "Finish"  # every cell is in: rank, refit, hand in the answer
    NOTHING = "Nothing"  # nothing is left to claim, or the search has ended: leave
    # the next two are only sent to a claimant that says how many rows it knows
    WAIT = "Wait"  # nothing is left to claim now, but another stage may come: ask again in a while
    STAGE = "Stage"  # there are more rows than the claimant knows: fetch the search again


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The answer to a claim."""

    __pydantic_config__ = WIRE
    next: Next
    unit: Unit | None = None
    # only for a claimant that asks for it, because an older one refuses a field that it does not know
    standing: Annotated[Standing | None, Field(exclude_if=lambda standing: standing is None)] = None


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One parameter of a grid: its number of values, and its stride: how many candidates neighbours along it are apart.

    ``together``: fits along it are done as one, and are best not split.
    """

    __pydantic_config__ = WIRE
    size: Annotated[int, Field(ge=1, lt=2**63)]
    stride: Annotated[int, Field(ge=1, lt=2**63)]
    together: bool = False


@dataclass(frozen=True, kw_only=True)
class Block:
    """One map of a grid, which begins at candidate ``start``.

    ``axes``: first those across which fits share the least, last those along which they are done together.
    """

    __pydantic_config__ = WIRE
    start: Ordinal
    axes: Annotated[tuple[Axis, ...], Field(max_length=256)]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """An estimate: the expected value, and the range that most likely holds it."""

    __pydantic_config__ = WIRE
    low: Amount
    expected: Amount
    high: Amount


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """The measured cost of a few fits before the search.

    ``cell_seconds``: fitting and scoring of one cell in one process. ``process_bytes``: what one process needs for its fits,
    besides ``pod_bytes``, which a pod holds in any case (libraries, data, shared rows). ``cells``: the number of measured fits,
    ``full`` of them on all rows of a split.
    """

    __pydantic_config__ = WIRE
    cell_seconds: Spread
    process_bytes: Spread
    pod_bytes: Ordinal
    cells: Ordinal
    full: Ordinal = 0


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """The findings of the first look at data and estimator; every worker of a search must find the same data, versions and code.

    ``data_digest`` is of X and y, ``split_digest`` of all train and test indices, ``estimator_digest`` of the estimator before
    any candidate's parameters are set; ``seed`` describes its random states. ``versions`` maps the libraries that decide the bits
    to their versions. ``code`` maps each of the user's own files and each distribution that the search runs to its digest or
    version (empty: there are none, or the worker's release does not report them). ``memory_bytes`` is the most that one worker
    holds for its search, besides the libraries and what fits need for themselves. ``blocks`` say how the candidates are best
    walked; (): in the grid's order. ``warnings`` begin with their reason: ``UnseededEstimator: …``. ``pilot`` is None if no fit
    could be measured. ``splits`` is their number if only the data determine it, else 0. ``ranked``: so many rows are candidates;
    rows after them are evaluated beside them and not ranked; 0: all rows are ranked. ``shared_with``: the candidate whose fits
    are also those of the row ``ranked``, which has none of its own. ``kernels``: the libraries that multiply matrices there, each
    with the processor that it detected. Other workers may have others.
    """

    __pydantic_config__ = WIRE
    data_digest: Digest
    split_digest: Digest = ""
    estimator_digest: Digest = ""
    seed: Annotated[str, Field(max_length=1_024)] = ""
    blocks: Annotated[tuple[Block, ...], Field(max_length=10_000)] = ()
    samples: Ordinal
    features: Ordinal
    memory_bytes: Ordinal = 0
    versions: Annotated[
        dict[Annotated[str, Field(max_length=128)], Annotated[str, Field(max_length=128)]], Field(max_length=32)
    ]
    warnings: Annotated[tuple[Text, ...], Field(max_length=32)] = ()
    pilot: Pilot | None = None
    # left out if it is empty, because older workers and services refuse a field that they do not know
    code: Annotated[Parts, Field(exclude_if=lambda code: not code)] = field(default_factory=dict)
    splits: Annotated[int, Field(ge=0, le=MOST_SPLITS, exclude_if=lambda splits: not splits)] = 0
    ranked: Annotated[int, Field(ge=0, lt=2**63, exclude_if=lambda ranked: not ranked)] = 0
    shared_with: Annotated[Ordinal | None, Field(exclude_if=lambda shared_with: shared_with is None)] = None
    kernels: Annotated[
        tuple[Annotated[str, Field(max_length=128)], ...],
        Field(max_length=8, exclude_if=lambda kernels: not kernels),
    ] = ()


@dataclass(frozen=True)
class Artifact:
    """One file of a search as it was stored or written. ``sha256`` is in lower-case hex."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class SearchRecord:
    """A search as a worker must know it. ``spec`` is canonical JSON; ``preflight`` is what the first worker found."""

    __pydantic_config__ = WIRE
    id: str
    namespace: str
    name: str
    spec: dict[str, Any]
    candidates: int
    splits: int
    state: SearchState
    preflight: Preflight | None = None


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The ``rule`` by which the answer was chosen, if that is not the highest mean.

    ``passed_over``: the candidate with the highest mean, if it was not chosen. ``score`` is that mean, ``why`` the reason. None
    if it was chosen.
    """

    __pydantic_config__ = WIRE
    rule: Annotated[str, Field(max_length=256)]
    passed_over: Ordinal | None = None
    score: float = math.nan
    why: Annotated[str, Field(max_length=512)] = ""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """What the best candidate is compared to: the estimator with its ``defaults``, and a ``dummy``.

    Both are mean test scores by the metric that decides, and NaN if there is none or a fit failed. ``gain`` is how far the best
    candidate is above the defaults on the same splits, ``uncertainty`` its standard error. ``told``: the same in sentences.
    """

    __pydantic_config__ = WIRE
    defaults: float
    dummy: float = math.nan
    gain: float = math.nan
    uncertainty: float = math.nan
    told: Annotated[tuple[Annotated[str, Field(max_length=512)], ...], Field(max_length=8)] = ()


@dataclass(frozen=True, kw_only=True)
class NestedEstimate:
    """The honest estimate by the metric that decides: for each outer fold, the score of the candidate that was chosen in it.

    It has their ``mean`` and population standard deviation. ``optimism``: how far the best score of the search is above the mean.
    ``told``: the same in sentences.
    """

    __pydantic_config__ = WIRE
    scores: Annotated[tuple[float, ...], Field(max_length=100)]
    mean: float
    std: float
    optimism: float
    told: Annotated[tuple[Annotated[str, Field(max_length=1_024)], ...], Field(max_length=8)] = ()


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The outcome of a complete search. ``best_score`` and ``best_std`` are by the ``metric`` that decides.

    ``scores``: the mean test score of the best candidate by each metric, if there are several. ``baseline`` and ``nested`` are
    set if the manifest asks for them. ``warnings`` begin with their reason.
    """

    __pydantic_config__ = WIRE
    best_index: Ordinal
    best_score: float
    best_std: float
    best_params: Params
    metric: Annotated[str, Field(max_length=64)]
    failed_fits: Ordinal
    refit_seconds: Seconds
    fit_seconds_total: Seconds
    # left out if they are empty, because older services refuse a field that they do not know
    scores: Annotated[Scores, Field(exclude_if=lambda scores: not scores)] = field(default_factory=dict)
    choice: Annotated[Choice | None, Field(exclude_if=lambda choice: choice is None)] = None
    baseline: Annotated[Baseline | None, Field(exclude_if=lambda baseline: baseline is None)] = None
    nested: Annotated[NestedEstimate | None, Field(exclude_if=lambda nested: nested is None)] = None
    warnings: Annotated[tuple[Text, ...], Field(max_length=32, exclude_if=lambda warnings: not warnings)] = ()


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a worker cannot search what the manifest names. Each problem has field, must_be, got and advice."""

    __pydantic_config__ = WIRE
    problems: Annotated[
        tuple[Annotated[dict[Name, Text], Field(max_length=16)], ...], Field(min_length=1, max_length=64)
    ]
