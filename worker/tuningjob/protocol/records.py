"""What the journal holds and hands out, as plain records.

The same records are the bodies of the results service's HTTP API: pydantic reads and writes them at that border, with the
bounds given here. Floats cross JSON unharmed: Python's repr round-trips, and NaN and infinities travel as strings.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import AfterValidator, ConfigDict, Field
from pydantic_core import PydanticCustomError, to_json

from tuningjob.artifacts.store import Artifact
from tuningjob.protocol.code import Parts

_WIRE: Final = ConfigDict(ser_json_inf_nan="strings", extra="forbid")
MAX_INDEX: Final = 99_999
Index = Annotated[int, Field(ge=0, lt=MAX_INDEX + 1)]
Ordinal = Annotated[int, Field(ge=0, lt=2**63)]
# what sums of a million of them can hold, and a clock can tell
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
# seconds or bytes, extrapolated
Amount = Annotated[float, Field(ge=0, le=1e18, allow_inf_nan=False)]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Scores = Annotated[dict[Name, float], Field(max_length=64)]
MAX_CELLS_PER_REPORT: Final = 1_000
MAX_CELLS_PER_PAGE: Final = 5_000
MAX_SLOTS: Final = 1_024  # cells that one index may evaluate at a time
MAX_ERROR_LENGTH: Final = 8_192
# of each problem of a refusal and each warning: whole sentences, and the end of a traceback
MAX_TEXT_LENGTH: Final = 8_192
MAX_PARAMS_BYTES: Final = 64 * 2**10
# How the failure of a search begins that passed its spec's limits.maxFailedFits; the reason of its condition, too.
TOO_MANY_FAILED_FITS: Final = "TooManyFailedFits"
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
    """Of JSON that was parsed: it is no deeper than its parser lets it be."""
    if isinstance(value, dict):
        return all(map(_is_finite, value.values()))
    if isinstance(value, list):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


Params = Annotated[dict[str, Any], AfterValidator(_bounded_params)]


class SearchState(StrEnum):
    """Where a search is. Only RUNNING changes."""

    RUNNING = "Running"
    COMPLETE = "Complete"
    FAILED = "Failed"
    REFUSED = "Refused"


class EndedBy(StrEnum):
    """Whose word it is that a search has ended; only the operator and the journal have words of their own for why."""

    WORKER = "Worker"
    OPERATOR = "Operator"
    JOURNAL = "Journal"


@dataclass(frozen=True, kw_only=True)
class Shares:
    """How many bytes the files of one search, and of one namespace, may have; 0: any number."""

    search_bytes: int = 0
    namespace_bytes: int = 0


@dataclass(frozen=True, kw_only=True)
class NewSearch:
    """A search to be opened. ``id`` is the TuningJob's uid, or a digest of what is searched on a laptop.

    ``image``, ``created_by`` and ``artifacts`` (where its files are kept) are for the audit; empty where nobody knows.
    ``memory_limit``: the most bytes that a pod of it may ever have; 0 where pods never get more than they began with.
    """

    id: str
    namespace: str
    name: str
    model_key: str
    spec: dict[str, Any]
    candidates: int
    splits: int
    pods: int = 1
    image: str = ""
    created_by: str = ""
    artifacts: str = ""
    memory_limit: int = 0


@dataclass(frozen=True, order=True)
class Cell:
    """One candidate × one split."""

    __pydantic_config__ = _WIRE
    candidate: Ordinal
    split: Ordinal


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What came of one cell.

    ``test_scores`` and ``train_scores`` map a metric to its score (NaN where fitting or scoring failed); ``error`` is the
    traceback of a fit that failed. ``identity`` is a digest of all that decides the result; None where it may differ from
    one fit to the next.
    """

    __pydantic_config__ = _WIRE
    candidate: Ordinal
    split: Ordinal
    test_scores: Scores
    train_scores: Scores | None = None
    fit_seconds: Seconds
    score_seconds: Seconds
    test_samples: Ordinal
    error: Annotated[str, Field(max_length=MAX_ERROR_LENGTH)] | None = None
    identity: Identity | None = None

    @property
    def cell(self) -> Cell:
        """Which cell this is of."""
        return Cell(self.candidate, self.split)


@dataclass(frozen=True, kw_only=True)
class CellIdentity:
    """A cell that is about to be evaluated, and the identity that its result will have."""

    __pydantic_config__ = _WIRE
    candidate: Ordinal
    split: Ordinal
    identity: Identity


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Cells to be evaluated by one claimant; only the ones that are not finished, in the order in which they share most.

    ``alone``: a pod died with it. One cell after the other then, in this order, each reported before the next begins, and
    nothing beside them. ``lost``: the cell that pods died of, and no pod can have more memory: it is to be reported as failed,
    not evaluated.
    """

    __pydantic_config__ = _WIRE
    id: int
    cells: tuple[Cell, ...]
    alone: bool = False
    lost: Cell | None = None


class Next(StrEnum):
    """What a claimant is to do next."""

    EVALUATE = "Evaluate"  # evaluate the unit
    FINISH = "Finish"  # every cell is in: rank, refit, hand in the answer
    NOTHING = "Nothing"  # nothing is left to claim, or the search has ended: go home


@dataclass(frozen=True, kw_only=True)
class Claim:
    """The answer to a claim."""

    __pydantic_config__ = _WIRE
    next: Next
    unit: Unit | None = None


@dataclass(frozen=True, kw_only=True)
class Axis:
    """One parameter of a grid: how many values, and how far apart in the grid's order two candidates are that differ by one.

    ``together``: fits along it are done as one, and are best not parted.
    """

    __pydantic_config__ = _WIRE
    size: Annotated[int, Field(ge=1, lt=2**63)]
    stride: Annotated[int, Field(ge=1, lt=2**63)]
    together: bool = False


@dataclass(frozen=True, kw_only=True)
class Block:
    """One map of a grid, which begins at candidate ``start``. ``axes``: first the ones across which fits share the least,
    last the ones that are done together.
    """

    __pydantic_config__ = _WIRE
    start: Ordinal
    axes: Annotated[tuple[Axis, ...], Field(max_length=256)]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """An estimate: what is expected, and between what it will most likely be."""

    __pydantic_config__ = _WIRE
    low: Amount
    expected: Amount
    high: Amount


@dataclass(frozen=True, kw_only=True)
class Pilot:
    """What a few fits before the search have cost.

    ``cell_seconds``: fitting and scoring of one cell in one process. ``process_bytes``: what one process needs for its fits,
    besides ``pod_bytes``, which a pod holds in any case (libraries, data, shared rows). ``cells``: fits that were measured,
    ``full`` of them on all the rows of a split.
    """

    __pydantic_config__ = _WIRE
    cell_seconds: Spread
    process_bytes: Spread
    pod_bytes: Ordinal
    cells: Ordinal
    full: Ordinal = 0


@dataclass(frozen=True, kw_only=True)
class Preflight:
    """What the first look at data and estimator found; every worker of a search must find the same data, versions and code.

    ``data_digest`` is of X and y, ``split_digest`` of all train and test indices, ``estimator_digest`` of the estimator before
    any candidate's parameters are set; ``seed`` tells the random states that it has. ``versions`` maps the libraries that
    decide the bits to their versions. ``code`` maps each file of the user's own and each distribution that the search runs to
    its digest or version (empty: there are none, or the worker is of a release that does not tell). ``memory_bytes`` is the most
    that one worker holds for its search, besides the libraries and what fits need for themselves. ``blocks`` say how the
    candidates are best walked; () in the grid's order. ``warnings`` begin with their reason: ``UnseededEstimator: …``. ``pilot``
    is None where no fit could be measured.
    """

    __pydantic_config__ = _WIRE
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
    # left out where it is empty: workers and services of before it take no field that they do not know
    code: Annotated[Parts, Field(exclude_if=lambda code: not code)] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Search:
    """What a worker must know to take part. ``spec`` is canonical JSON; ``preflight`` what the first worker found."""

    __pydantic_config__ = _WIRE
    id: str
    namespace: str
    name: str
    spec: dict[str, Any]
    candidates: int
    splits: int
    state: SearchState
    preflight: Preflight | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The outcome of a complete search."""

    __pydantic_config__ = _WIRE
    best_index: Ordinal
    best_score: float
    best_std: float
    best_params: Params
    metric: Annotated[str, Field(max_length=64)]
    failed_fits: Ordinal
    refit_seconds: Seconds
    fit_seconds_total: Seconds


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why a worker cannot search what the manifest names. Each problem: field, must_be, got, advice."""

    __pydantic_config__ = _WIRE
    problems: Annotated[
        tuple[Annotated[dict[Name, Text], Field(max_length=16)], ...], Field(min_length=1, max_length=64)
    ]


@dataclass(frozen=True)
class Whereabouts:
    """Of which TuningJob a search is; ``revision`` grows with every change."""

    namespace: str
    name: str
    revision: int


@dataclass(frozen=True)
class Best:
    """The best of the candidates whose every split is in. ``score`` is the mean over splits."""

    index: int
    score: float


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A search as the operator sees it. ``revision`` grows with every change; ``deaths`` counts units that lost a claimant.

    ``ended_by`` says who ended it, if it has ended; ``end_reason`` is that one's own word for why, always empty of a worker,
    and then ``failure`` is ``<reason>: <message>``. What a worker's ``failure`` begins with means nothing.

    ``measured`` cells took ``cell_seconds`` in all. ``last_holder`` is the highest index that holds something unfinished (a unit,
    or the right to finish the search). ``starved`` units killed pods of at most ``starved_bytes``, and wait for one with more.
    None and 0 once the search has ended.
    """

    id: str
    namespace: str
    name: str
    state: SearchState
    revision: int
    done: int
    failed: int
    total: int
    reused: int = 0
    deaths: int = 0
    cell_seconds: float = 0.0
    measured: int = 0
    last_holder: int | None = None
    starved: int = 0
    starved_bytes: int = 0
    preflight: Preflight | None = None
    best: Best | None = None
    answer: Answer | None = None
    model_version: int | None = None
    refusal: Refusal | None = None
    failure: str | None = None
    ended_by: EndedBy | None = None
    end_reason: str = ""


@dataclass(frozen=True, kw_only=True)
class AuditRow:
    """One version of a model key in the audit table. ``finished_at`` is ISO 8601, in UTC.

    ``files`` are the ones of the search as they were when it was completed; ``reused_from`` maps searches to how many cells were
    taken over from them. None: of a release that did not keep it.
    """

    __pydantic_config__ = _WIRE
    namespace: str
    model_key: str
    version: int
    search_id: str
    best_params: dict[str, Any]
    score: float
    metric: str
    std: float
    fits: int
    failed_fits: int
    duration_seconds: float
    finished_at: str
    data_digest: str
    split_digest: str = ""
    estimator_digest: str = ""
    image: str = ""
    versions: dict[str, str] = field(default_factory=dict)
    seed: str = ""
    created_by: str = ""
    artifacts: str = ""
    files: tuple[Artifact, ...] | None = None
    reused_from: dict[str, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Erasure:
    """A person's name that gave way to a pseudonym, in so many versions and blessings."""

    pseudonym: str
    versions: int
    blessings: int


class Act(StrEnum):
    """How a version came to be the blessed one."""

    BLESS = "bless"
    ROLLBACK = "rollback"


@dataclass(frozen=True, kw_only=True)
class Blessing:
    """One entry of a model key's history of blessings: ``to_version`` is the one in use from ``at`` (ISO 8601, UTC) on."""

    __pydantic_config__ = _WIRE
    namespace: str
    model_key: str
    number: int
    act: Act
    from_version: int | None
    to_version: int
    who: str
    why: str
    at: str
