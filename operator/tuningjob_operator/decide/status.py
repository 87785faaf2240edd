"""The status of a TuningJob: how it is read and built, and when a change of it is worth an API call. Pure.

Writes are rationed, because an API server serves many, and a person who watches a search wants its steps, not its every cell.
A TuningJob costs at most MAX_STEPS status writes for progress, however many cells it has.
"""

import datetime as dt
import math
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from tuningjob.aliases import Json
from tuningjob.journal.records import Progress
from tuningjob.manifest.grid import Grid, Sample
from tuningjob.manifest.quantity import parse_quantity
from tuningjob.manifest.status import (
    BaselineStatus,
    BestStatus,
    ChoiceStatus,
    GridStatus,
    NestedStatus,
    PlanStatus,
    ProgressStatus,
    TuningJobStatus,
)
from tuningjob.protocol.records import Answer, Baseline, NestedEstimate
from tuningjob.sizing import Size, n_jobs_of
from tuningjob_operator import names
from tuningjob_operator.decide.admission import Admission
from tuningjob_operator.decide.conditions import Conditions, find, is_terminal, summary
from tuningjob_operator.decide.estimate import has_passed
from tuningjob_operator.decide.words import printable, showable
from tuningjob_operator.objects import clip

MAX_STEPS: Final = 8
MIN_INTERVAL_SECONDS: Final = 3.0
FIRST_FITS_SECONDS: Final = 60.0
_INT64: Final = 2**63
# While a TuningJob is in one of these phases, its search has no pods but those that are ending.
_WITHOUT_PODS: Final = frozenset({"Suspended", "Queued"})
_LEAST_MESSAGE: Final = 200
_MOST_WARNINGS: Final = 8
_LONGEST_WARNING: Final = 1_024


def read_status(body: Mapping[str, Any]) -> TuningJobStatus:
    """The status of a TuningJob. A status that no operator can have written counts as none."""
    try:
        return TuningJobStatus.model_validate(body.get("status") or {})
    except ValidationError:
        return TuningJobStatus()


def dump_status(status: TuningJobStatus) -> dict[str, Any]:
    """The status as the API server takes it."""
    return status.model_dump(mode="json", by_alias=True, exclude_none=True)


def least(status: TuningJobStatus) -> TuningJobStatus:
    """The least status, for an object without room for more: the end, or else one sentence on what is wrong."""
    conditions = conditions_of(status)
    said = [each for kind in (*names.TERMINAL, *names.GOOD_NEWS) if (each := find(conditions, kind)) is not None][:1]
    short = [each.model_copy(update={"message": clip(each.message, _LEAST_MESSAGE)}) for each in said]
    return TuningJobStatus(
        phase=status.phase,
        conditions=short or None,
        message=summary(short),
        observed_generation=status.observed_generation,
        completion_time=status.completion_time,
    )


def conditions_of(status: TuningJobStatus) -> Conditions:
    """The conditions, in order."""
    return tuple(status.conditions or ())


def has_ended(status: TuningJobStatus) -> bool:
    """Whether a terminal condition is there."""
    return is_terminal(conditions_of(status))


def grid_status(size: Size) -> GridStatus | None:
    """The size of the search, if 64 bits hold it."""
    if size.rows * (size.splits or 1) >= _INT64:
        return None
    return GridStatus(candidates=size.candidates, splits=size.splits, fits=size.fits)


def plan_status(admission: Admission) -> PlanStatus:
    """The size that was decided on, and why."""
    spec, fits, pods = admission.spec, admission.size.fits, admission.pods
    if fits is None and pods < admission.most_pods:
        why = (
            f"one pod, which tells how many splits there are; then as many of {spec.parallelism} as their fits can use"
        )
    elif pods < admission.most_pods:
        why = f"{fits} fits, {admission.n_jobs} at a time in each pod, can use no more than {pods} of {spec.parallelism} pods"
    elif pods < spec.parallelism:
        why = f"parallelism is {spec.parallelism}, but this cluster's ceilings allow {pods} pods of this size"
    else:
        why = f"parallelism is {spec.parallelism}"
    most = n_jobs_of(spec)
    if admission.n_jobs < most:
        room = "1 process fits" if admission.n_jobs == 1 else f"{admission.n_jobs} processes fit"
        jobs = f"nJobs would be {most} by the CPU limit, but only {room} the memory of a pod"
    else:
        jobs = "nJobs is the floor of the CPU limit, at least 1"
    request = spec.resources.cpu_request
    if request is not None and parse_quantity(request) < parse_quantity(spec.resources.cpu):
        jobs += f"; {request} of the CPU is promised, the rest is used while it is idle"
    return PlanStatus(
        pods=pods,
        n_jobs=admission.n_jobs,
        inner_threads=1,
        cpu=str(spec.resources.cpu),
        memory=str(spec.resources.memory),
        reason=f"{why}; {jobs}",
    )


def progress_status(*, done: int, failed: int, total: int, reused: int = 0, pruned: int = 0) -> ProgressStatus:
    """How far the search is; ``total`` is 0 until it is known."""
    text = f"{done}/{total or '?'}"
    return ProgressStatus(done=done, failed=failed, reused=reused, pruned=pruned, total=total, text=text)


def best_status(progress: Progress, tried: Grid | Sample) -> BestStatus | None:
    """The answer, else the best so far. A random search's best so far has no parameters, because only pods know them."""
    answer = progress.answer
    if answer is not None:
        best = _best(answer.best_index, answer.best_score, answer.best_params)
        return best and best.model_copy(update=_beside(answer))
    if progress.best is None or progress.best.index >= tried.size:
        return None
    params = None if isinstance(tried, Sample) else tried.json_at(progress.best.index)
    return _best(progress.best.index, progress.best.score, params)


def _beside(answer: Answer) -> dict[str, Any]:
    """The other fields of the best candidate that an answer has."""
    scores = {printable(name): score for name, score in answer.scores.items() if math.isfinite(score)}
    choice = None
    if answer.choice is not None:
        passed, score, why = answer.choice.passed_over, answer.choice.score, printable(answer.choice.why)
        choice = ChoiceStatus(
            rule=printable(answer.choice.rule),
            passed_over=passed,
            score=score if math.isfinite(score) else None,
            why=why or None,
        )
    warnings = [printable(warning)[:_LONGEST_WARNING] for warning in answer.warnings[:_MOST_WARNINGS]]
    found: dict[str, Any] = {"scores": scores or None, "choice": choice, "warnings": warnings or None}
    if answer.baseline is not None:
        found["baseline"] = _baseline(answer.baseline)
    if answer.nested is not None:
        found["nested"] = _nested(answer.nested)
    return found


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None


def _baseline(baseline: Baseline) -> BaselineStatus:
    return BaselineStatus(
        defaults=_finite(baseline.defaults),
        dummy=_finite(baseline.dummy),
        gain=_finite(baseline.gain),
        uncertainty=_finite(baseline.uncertainty),
        told=list(map(printable, baseline.told)) or None,
    )


def _nested(nested: NestedEstimate) -> NestedStatus:
    return NestedStatus(
        mean=_finite(nested.mean),
        std=_finite(nested.std),
        optimism=_finite(nested.optimism),
        told=list(map(printable, nested.told)) or None,
    )


def _best(index: int, score: float, params: Mapping[str, Any] | None) -> BestStatus | None:
    # JSON has no NaN; a search whose best is none has failed anyway
    if not math.isfinite(score):
        return None
    if params is not None and not showable(params):
        params = None  # the ConfigMap has the answer, whole
    return BestStatus(index=index, score=score, params=None if params is None else _spell_nulls(params))


def _spell_nulls(value: Json) -> Json:
    """Spell a null under a key as the manifest's own literal, because the API server silently drops the key otherwise."""
    if isinstance(value, Mapping):
        return {key: {"none": True} if item is None else _spell_nulls(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_spell_nulls(item) for item in value]
    return value


def publication_delay(
    old: TuningJobStatus, new: TuningJobStatus, *, seconds_since_last: float, now: dt.datetime
) -> float | None:
    """In how many seconds ``new`` is to be written over ``old``: 0 for now, None for never.

    These are written at once: phase, conditions, plan, results and the end; that a foretold end has passed and is unknown now;
    and that the last pod of a search that has ended, is suspended or is queued has gone. Progress, with the best and the pods of
    that moment, is written in steps, at most every MIN_INTERVAL_SECONDS. The first fits are the first step, if they take long.
    """
    if old == new:
        return None
    told = old.estimate.completes_at if old.estimate is not None else None
    if _lasting(old) != _lasting(new) or (told is not None and has_passed(told, now)):
        return 0.0
    # pods were ending, and the last has gone
    if old.active_pods and not new.active_pods and (has_ended(new) or new.phase in _WITHOUT_PODS):
        return 0.0
    if has_ended(new):
        return None
    before = old.progress.done if old.progress is not None else 0
    done = new.progress.done if new.progress is not None else before
    is_first = not before and done > 0 and seconds_since_last >= FIRST_FITS_SECONDS
    if new.progress is None or (done - before < math.ceil(new.progress.total / (MAX_STEPS - 1)) and not is_first):
        return None
    return max(0.0, MIN_INTERVAL_SECONDS - seconds_since_last)


def _lasting(status: TuningJobStatus) -> TuningJobStatus:
    return status.model_copy(update={"progress": None, "best": None, "active_pods": None, "estimate": None})
