"""The types that a plan is made of: what was observed, what may be done, and the status that is true then. Pure.

``plan.py`` decides on the life of a search, ``workforce.py`` on its Job; both use these types.
"""

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from tuningjob.aliases import Anything
from tuningjob.errors import ManifestRefused
from tuningjob.journal.records import NewSearch, Progress
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.status import TuningJobStatus
from tuningjob_operator.decide.conditions import Conditions, drop_condition, find, set_condition, summary
from tuningjob_operator.decide.owned_objects import ResultFiles
from tuningjob_operator.objects import Body, generation_of, timestamp
from tuningjob_operator.settings import Settings


class Look(StrEnum):
    """What a plan may ask to be observed before it can be made. Each costs a call that most passes need not make."""

    PODS = "pods"
    SURROUNDINGS = "surroundings"


@dataclass(frozen=True)
class Surroundings:
    """What surrounds a search: the namespace's quotas and limit ranges, and the nodes (None: they are not to be asked for).

    ``running`` has, by the uid of each Job, the pods that the quotas count, at the same moment: a later pod is in neither.
    """

    running: Mapping[str, int] = field(default_factory=dict)
    quotas: tuple[Body, ...] = ()
    limit_ranges: tuple[Body, ...] = ()
    nodes: tuple[Body, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Everything that a plan may depend on. The fields that a Look fills mean something only once that Look is in ``looked``."""

    tuningjob: Body
    job: Body | None = None
    progress: Progress | None = None  # None: not opened in the journal
    admitted: TuningJobSpec | None = None  # the journal's copy of the spec: what runs
    asked: TuningJobSpec | ManifestRefused | None = None  # the TuningJob's own spec, if it has been read
    files: ResultFiles | None = None  # of a search that is complete
    frozen_changes: tuple[str, ...] | None = (
        None  # the fields of the spec that differ from the admitted one; None: not compared yet
    )
    results_name_taken: bool = False  # a ConfigMap of another owner has our name
    results_refused: str | None = None  # why the API server does not take the ConfigMap
    service_trouble: str | None = None  # why the results service does not answer
    has_new_deaths: bool = False  # the journal has counted deaths since pods were last looked at
    looks_in: float | None = (
        None  # seconds until pods are looked at again for deaths; None: now, or there are no new ones
    )
    scales_in: float = 0.0  # seconds until the Job may be told again how many deaths it is to outlive
    unready_seconds: float = 0.0  # for how long fewer pods have been ready than the Job is to have
    looked: frozenset[Look] = frozenset()
    pods: tuple[Body, ...] = ()
    surroundings: Surroundings = field(default_factory=Surroundings)


@dataclass(frozen=True)
class OpenSearch:
    """Open the search in the journal; ``spec`` is what it is opened with."""

    new: NewSearch
    spec: TuningJobSpec


@dataclass(frozen=True)
class EndSearch:
    """End the search in the journal, which answers claims with nothing from then on."""

    text: str


@dataclass(frozen=True)
class GiveBack:
    """Let other indexes have what those from ``first`` on held, because they have no pods any more."""

    first: int


@dataclass(frozen=True)
class Release:
    """Let other indexes have what these hold, because their pods were on a node that is lost."""

    indexes: tuple[int, ...]


@dataclass(frozen=True)
class Pardon:
    """Take back the deaths of these pods, because they ended by no fit's fault."""

    pods: tuple[str, ...]


@dataclass(frozen=True)
class CreateToken:
    """Create the Secret with the search's token."""


@dataclass(frozen=True)
class CreateJob:
    """Create the Job."""

    body: Body


@dataclass(frozen=True)
class ScaleJob:
    """Scale the Job to ``pods``, and let it outlive ``deaths`` (see ``job.sized``). ``planned``: pods that units are cut for."""

    uid: str
    pods: int
    deaths: int
    planned: int


@dataclass(frozen=True)
class SuspendJob:
    """End the Job's pods and keep it, or let it go on."""

    uid: str
    suspend: bool


@dataclass(frozen=True)
class DeleteJob:
    """Delete the Job; it is gone once its pods are."""

    uid: str


@dataclass(frozen=True)
class PublishResults:
    """Create the ConfigMap with the answer."""

    body: Body


@dataclass(frozen=True)
class DeleteTuningJob:
    """Delete the TuningJob itself, because its time to live is over."""


Step = (
    OpenSearch
    | EndSearch
    | GiveBack
    | Release
    | Pardon
    | CreateToken
    | CreateJob
    | ScaleJob
    | SuspendJob
    | DeleteJob
    | PublishResults
    | DeleteTuningJob
)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Steps in order, then the status that is true once they are done. ``wake_after``: seconds until the next look.

    With ``look`` it is no plan yet: the caller observes that, and asks again.
    """

    status: TuningJobStatus
    steps: tuple[Step, ...] = ()
    wake_after: float | None = None
    look: Look | None = None


@dataclass(frozen=True, kw_only=True)
class PlanBuilder:
    """One TuningJob in the making of its plan."""

    observed: Observed
    settings: Settings
    now: dt.datetime
    status: TuningJobStatus
    conditions: Conditions = field(default=())
    wake_after: float | None = None

    @property
    def generation(self) -> int:
        """The TuningJob's generation."""
        return generation_of(self.observed.tuningjob)

    def noted(
        self, kind: str, *, reason: str, message: str, is_true: bool = True, keep_end: bool = False
    ) -> "PlanBuilder":
        """With this condition."""
        conditions = set_condition(
            self.conditions,
            kind,
            reason=reason,
            message=message,
            generation=self.generation,
            now=self.now,
            status="True" if is_true else "False",
            keep_end=keep_end,
        )
        return replace(self, conditions=conditions)

    def settled(self, kind: str, *, reason: str, message: str) -> "PlanBuilder":
        """With this condition as good news, if there was bad news of it before; else unchanged."""
        return self if find(self.conditions, kind) is None else self.noted(kind, reason=reason, message=message)

    def without(self, kind: str) -> "PlanBuilder":
        """Without this condition."""
        return replace(self, conditions=drop_condition(self.conditions, kind))

    def showing(self, **fields: Anything) -> "PlanBuilder":
        """With these fields in the status."""
        return replace(self, status=self.status.model_copy(update=fields))

    def waking(self, seconds: float | None) -> "PlanBuilder":
        """With another look after this many seconds, or sooner."""
        if seconds is None:
            return self
        seconds = max(seconds, 0.0)
        return replace(self, wake_after=seconds if self.wake_after is None else min(self.wake_after, seconds))

    def wanting(self, look: Look) -> Plan | None:
        """The plan that asks for this observation; None if it was made."""
        return None if look in self.observed.looked else Plan(status=self.status, look=look)

    def ended(self, phase: str) -> "PlanBuilder":
        """With this phase, at its end now."""
        status = self.status.model_copy(update={"phase": phase, "completion_time": timestamp(self.now)})
        if status.estimate is not None:
            status = status.model_copy(update={"estimate": status.estimate.model_copy(update={"completes_at": None})})
        return replace(self, status=status)

    def planned(self, *steps: Step) -> Plan:
        """The plan of these steps, with the status as built so far."""
        status = self.status.model_copy(
            update={
                "conditions": list(self.conditions) or None,
                "message": summary(self.conditions),
                "observed_generation": self.generation,
            }
        )
        return Plan(status=status, steps=steps, wake_after=self.wake_after)


@dataclass(frozen=True)
class End:
    """The search cannot go on. ``keep_end``: the end of the message says more than its beginning."""

    reason: str
    message: str
    keep_end: bool = False


def so_far(progress: Progress | None) -> str:
    """How far a search came, as a sentence."""
    return "Nothing was fitted." if progress is None else f"{progress.done} of {progress.total} fits were finished."
