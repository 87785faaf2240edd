"""What a TuningJob says of itself. Written by the operator, read by people; never grows with the search.

Every field must be declared here: the API server prunes what the CRD's schema does not know, without a word.
"""

from typing import Annotated, Literal

from pydantic import Field

from tuningjob.manifest.fields import Params
from tuningjob.manifest.model import Model


class Condition(Model):
    """metav1.Condition."""

    type: Annotated[str, Field(max_length=316)]
    status: Literal["True", "False", "Unknown"]
    reason: Annotated[str, Field(min_length=1, max_length=1024)]
    message: Annotated[str, Field(max_length=32768)]
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    observed_generation: int = 0


class GridStatus(Model):
    """The size of the search. A grid of more than 64 bits is refused, with its size in the message.

    ``splits`` and ``fits`` are absent until the first pod has looked, if only the data tell them.
    """

    candidates: int
    splits: int | None = None
    fits: int | None = None


class SpreadStatus(Model):
    """An expected value, and the range that it will most likely be in."""

    low: float
    expected: float
    high: float


class EstimateStatus(Model):
    """What the whole search will take, from the pilot first, then from the fits that are in.

    ``cpu_hours`` and ``wall_seconds`` (at the planned pods) are of all of its fits; ``memory_mib_per_process`` is what one
    process needs besides ``memory_mib_per_pod``. ``completes_at`` is when the last fit is expected to end.
    """

    cpu_hours: SpreadStatus
    wall_seconds: SpreadStatus
    memory_mib_per_process: SpreadStatus | None = None
    memory_mib_per_pod: int | None = None
    seconds_per_fit: SpreadStatus
    measured_fits: int
    basis: Annotated[str, Field(max_length=256)]
    completes_at: Annotated[str, Field(max_length=64)] | None = None


class PlanStatus(Model):
    """What the operator decided, and why."""

    pods: int
    n_jobs: int
    inner_threads: int
    cpu: str
    memory: str
    reason: Annotated[str, Field(max_length=1024)]


class ProgressStatus(Model):
    """How far the search is; of ``done`` some were ``reused``, or not needed (``pruned``). ``text`` is for `kubectl get`."""

    done: int
    failed: int
    reused: int = 0
    pruned: int = 0
    total: int
    text: Annotated[str, Field(max_length=64)]


class ChoiceStatus(Model):
    """By which rule of spec.select the answer was chosen; the candidate with the highest mean, if that was passed over."""

    rule: Annotated[str, Field(max_length=256)]
    passed_over: int | None = None
    score: float | None = None
    why: Annotated[str, Field(max_length=512)] | None = None


class BaselineStatus(Model):
    """What tuning has gained: mean test scores of the estimator with its defaults, and of a dummy; and sentences."""

    defaults: float | None = None
    dummy: float | None = None
    gain: float | None = None
    uncertainty: float | None = None
    told: Annotated[list[Annotated[str, Field(max_length=512)]], Field(max_length=8)] | None = None


class NestedStatus(Model):
    """What outer folds around the search have scored: their mean and deviation, and how far the best score is above."""

    mean: float | None = None
    std: float | None = None
    optimism: float | None = None
    told: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=8)] | None = None


class BestStatus(Model):
    """The best candidate so far; the answer once the search is complete.

    ``score`` is its mean by the metric that decides; ``scores``, where there are several, those by all. ``warnings`` are about
    the answer.
    """

    index: int
    score: float
    scores: dict[str, float] | None = None
    choice: ChoiceStatus | None = None
    baseline: BaselineStatus | None = None
    nested: NestedStatus | None = None
    warnings: Annotated[list[Annotated[str, Field(max_length=1024)]], Field(max_length=8)] | None = None
    # of a random search only pods know what was drawn: not before the answer
    params: Params | None = None


class TuningJobStatus(Model):
    """The status subresource."""

    observed_generation: int | None = None
    phase: Literal["Pending", "Queued", "Running", "Suspended", "Complete", "Planned", "Failed"] | None = None
    message: Annotated[str, Field(max_length=512)] | None = None
    conditions: (
        Annotated[
            list[Condition],
            Field(
                max_length=16,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
            ),
        ]
        | None
    ) = None
    grid: GridStatus | None = None
    plan: PlanStatus | None = None
    estimate: EstimateStatus | None = None
    progress: ProgressStatus | None = None
    best: BestStatus | None = None
    active_pods: int | None = None
    selector: Annotated[str, Field(max_length=512)] | None = None
    results: Annotated[str, Field(max_length=253)] | None = None
    model_version: int | None = None
    start_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    completion_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
