"""What the journal holds and reports to the operator: none of these records are sent over HTTP."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from tuningjob.protocol.records import Answer, Preflight, Refusal, SearchState

# How the failure of a search begins that exceeded its spec's limits.maxFailedFits; also the reason of its condition.
TOO_MANY_FAILED_FITS: Final = "TooManyFailedFits"

# For a search whose data decide how many splits it has: its first worker reports the number in its preflight.
UNKNOWN_SPLITS: Final = 0


class EndedBy(StrEnum):
    """Who says that a search has ended. Only the operator and the journal also give a reason of one word."""

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
    """A search to be opened. ``id`` is the TuningJob's uid or, on a laptop, a digest of what is searched.

    ``splits`` may be UNKNOWN_SPLITS. ``image``, ``created_by`` and ``artifacts`` (where its files are kept) are for the audit,
    and empty if they are not known. ``memory_limit``: the most bytes that one of its pods may ever have; 0 if pods never get more
    than they began with.
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
    """The TuningJob that a search belongs to; ``revision`` grows with every change."""

    namespace: str
    name: str
    revision: int


@dataclass(frozen=True)
class Best:
    """The best of the candidates whose splits are all in. ``score`` is the mean over splits."""

    index: int
    score: float


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A search as the operator sees it. ``revision`` grows with every change; ``deaths`` counts units that lost a claimant.
    ``splits`` and ``total`` are 0 until they are known.

    ``ended_by`` says who ended it, if it has ended. ``end_reason`` is the one-word reason of the operator or the journal, and
    ``failure`` is then ``<reason>: <message>``. It is empty if a worker ended it: the beginning of its ``failure`` means nothing.

    ``measured`` cells took ``cell_seconds`` in all. ``last_holder`` is the highest index that holds something unfinished (a unit,
    or the right to finish the search). ``starved`` units killed pods of at most ``starved_bytes``, and wait for a pod with more.
    They are None and 0 once the search has ended.
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
    """A person's name that was replaced by a pseudonym, and in how many versions and blessings."""

    pseudonym: str
    versions: int
    blessings: int
