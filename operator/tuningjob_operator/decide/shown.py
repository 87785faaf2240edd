"""The status of a TuningJob that goes on: its size, its progress, its estimate, and whether its spec has changed. Pure."""

import math
from typing import Final

from tuningjob.errors import ManifestRefused
from tuningjob.journal.records import Progress
from tuningjob.manifest.live import frozen_changes
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.status import EstimateStatus
from tuningjob.protocol.records import Preflight, SearchState
from tuningjob.sizing import is_left_out, size_warning
from tuningjob_operator import names
from tuningjob_operator.decide import job_state
from tuningjob_operator.decide import status as st
from tuningjob_operator.decide.admission import Admission, read_spec
from tuningjob_operator.decide.decision import Observed, PlanBuilder
from tuningjob_operator.decide.estimate import Estimate, estimate_status, has_passed, seconds_left
from tuningjob_operator.decide.words import warnings_of
from tuningjob_operator.objects import Body, timestamp, worker_selector

_END_IS_TOLD_TO: Final = 60.0  # seconds


def sized_up(view: PlanBuilder, admission: Admission) -> PlanBuilder:
    """Show what admission decided: grid, plan, the condition, and whether the spec is still the one that was admitted."""
    tuningjob, job = view.observed.tuningjob, view.observed.job
    size = admission.size
    warning = size_warning(size)
    text = f"{size}{': the first pod tells how many.' if size.splits is None else '.'}"
    if is_left_out(admission.spec, cluster_max_fits=view.settings.max_fits):
        text += " The defaults are not scored beside them, because their fits would be too many."
    text += f" {warning}" if warning else ""
    if job_state.is_foreign(job, tuningjob):
        name = names.job_name(tuningjob["metadata"]["name"])
        text = f"A Job {name} is there already, and belongs to another owner. Delete it, or rename the TuningJob."
        view = view.noted(names.ADMITTED, is_true=False, reason=names.NAME_TAKEN, message=text)
    else:
        view = view.noted(names.ADMITTED, reason=names.WITHIN_LIMITS, message=text)
    view = view.showing(
        grid=st.grid_status(size),
        plan=st.plan_status(admission),
        progress=view.status.progress or st.progress_status(done=0, failed=0, total=size.fits or 0),
        phase=view.status.phase if view.status.phase not in {None, "Suspended", "Queued"} else "Pending",
        active_pods=job_state.active_pods(job, tuningjob),
        selector=worker_selector(tuningjob),
        start_time=view.status.start_time or timestamp(view.now),
    )
    changed = _frozen_changes(view.observed)
    if not changed:
        return view.without(names.SPEC_ACCEPTED)
    return view.noted(
        names.SPEC_ACCEPTED,
        is_true=False,
        reason=names.FROZEN,
        message=f"{', '.join(changed)} must stay as the search was admitted, but got changed. It runs as it was admitted; "
        "delete the TuningJob and apply it again to run the new one.",
    )


def _frozen_changes(observed: Observed) -> list[str]:
    """The fields that changed although they must not: values without a type, which the API server cannot protect."""
    if observed.admitted is None:
        return []
    if observed.frozen_changes is not None:
        return list(observed.frozen_changes)
    return list(changes_of(observed.admitted, observed.tuningjob))


def changes_of(admitted: TuningJobSpec, tuningjob: Body) -> tuple[str, ...]:
    """The fields of a TuningJob that differ from what was admitted, and must not."""
    try:
        wanted = read_spec(tuningjob)
    except ManifestRefused:
        return ("spec",)
    if wanted.baseline is None:  # it was decided when the search began
        wanted = wanted.model_copy(update={"baseline": admitted.baseline})
    return tuple(frozen_changes(admitted, wanted))


def with_service(view: PlanBuilder, trouble: str | None) -> PlanBuilder:
    """With the condition on the results service; without one if it has always been there."""
    if trouble is None:
        return view.settled(
            names.RESULTS_SERVICE, reason=names.AVAILABLE, message="The results service takes results in again."
        )
    message = f"{trouble} Pods keep what they finish, and hand it in when the service is back."
    return view.noted(names.RESULTS_SERVICE, is_true=False, reason=names.UNAVAILABLE, message=message)


def with_counts(view: PlanBuilder, progress: Progress) -> PlanBuilder:
    """Show the counts that the journal has of an open search."""
    begun = progress.preflight is not None or progress.done > 0
    return view.showing(
        progress=st.progress_status(
            done=progress.done,
            failed=progress.failed,
            total=progress.total,
            reused=progress.reused,
            pruned=progress.pruned,
        ),
        phase="Running" if begun else view.status.phase,
    )


def with_reports(view: PlanBuilder, progress: Progress, admission: Admission, found: Estimate | None) -> PlanBuilder:
    """Show what workers have reported of the search."""
    view = view.showing(best=st.best_status(progress, admission.spec.search.space))
    if found is not None:
        view = _estimated(view, progress, admission, found)
    if progress.preflight is None:
        return view
    reason = names.PASSED_WITH_WARNINGS if progress.preflight.warnings else names.PASSED
    return view.noted(names.PREFLIGHT, reason=reason, message=_preflight_text(progress.preflight))


def _estimated(view: PlanBuilder, progress: Progress, admission: Admission, found: Estimate) -> PlanBuilder:
    """Show how long the search will take. A foretold end that has passed was wrong: it is unknown until more is measured."""
    told = view.status.estimate.completes_at if view.status.estimate is not None else None
    runs = bool(view.status.active_pods) and progress.state is SearchState.RUNNING
    is_overdue = told is not None and has_passed(told, view.now)
    shown = estimate_status(
        found, pods=admission.pods, n_jobs=admission.n_jobs, now=view.now, runs=runs and not is_overdue
    )
    view = view.showing(estimate=shown)
    if shown.completes_at is None:
        return view
    # the estimate may be the only change until then
    return view.waking(seconds_left(found, admission.pods * admission.n_jobs) + _END_IS_TOLD_TO)


def _preflight_text(preflight: Preflight) -> str:
    found = f"{preflight.samples} samples × {preflight.features} features."
    if preflight.memory_bytes:
        held = math.ceil(preflight.memory_bytes / 2**20)
        found += f" Each pod holds up to {held} MiB of them, besides its libraries and what fits need for themselves."
    return "\n".join((found, *warnings_of(preflight)))


def forecast_text(found: EstimateStatus | None, progress: Progress, view: PlanBuilder) -> str:
    """A sentence on what a search would take."""
    if found is None:
        return f"{progress.total} fits; what they take could not be measured."
    plan_ = view.status.plan
    pods = f" on {plan_.pods} pods with {plan_.n_jobs} processes each" if plan_ is not None else ""
    hours, wall, memory = found.cpu_hours, found.wall_seconds, found.memory_mib_per_process
    text = (
        f"{progress.total} fits{pods}: about {hours.expected:g} CPU-hours ({hours.low:g} to {hours.high:g}), "
        f"{wall.expected:g} s ({wall.low:g} to {wall.high:g})"
    )
    if memory is not None:
        text += f", {memory.expected:g} MiB in each process ({memory.low:g} to {memory.high:g})"
    return f"{text}. From {found.basis}."
