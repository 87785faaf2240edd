"""What the journal holds and tells the operator: nothing of this is sent over HTTP."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from tuningjob.protocol.records import Answer, Preflight, Refusal, SearchState

# How the failure of a search begins that passed its spec's limits.maxFailedFits; the reason of its condition, too.
TOO_MANY_FAILED_FITS: Final = "TooManyFailedFits"

# Of a search whose data decide how many splits it has: its first worker tells, by its preflight.
UNKNOWN_SPLITS: Final = 0


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

    ``splits`` may be UNKNOWN_SPLITS. ``image``, ``created_by`` and ``artifacts`` (where its files are kept) are for the audit;
    empty if they are not known. ``memory_limit``: the most bytes that a pod of it may ever have; 0 where pods never get more than
    they began with.
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
    ``splits`` and ``total`` are 0 until they are known.

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
    splits: int = UNKNOWN_SPLITS
    reused: int = 0
    pruned: int = 0
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
class Erasure:
    """A person's name that gave way to a pseudonym, in so many versions and blessings."""

    pseudonym: str
    versions: int
    blessings: int
