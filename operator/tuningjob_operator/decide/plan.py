"""What is to be done for a TuningJob, from what was observed of it. Pure: data in, data out.

Level-triggered: the answer is the same whatever order things happened in, and however often it is asked. The guard
clauses of ``plan`` come in the order of a search's life; what its Job needs is decided in ``workforce.py``. Nothing here knows an
API, a clock or a thread.
"""

import contextlib
import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from tuningjob.errors import ManifestRefused
from tuningjob.journal.records import TOO_MANY_FAILED_FITS, UNKNOWN_SPLITS, NewSearch, Progress
from tuningjob.manifest.live import frozen_changes, with_live_fields
from tuningjob.manifest.loading import dump_spec
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.quantity import parse_quantity
from tuningjob.manifest.status import EstimateStatus, TuningJobStatus
from tuningjob.protocol.records import Preflight, SearchState
from tuningjob.sizing import check_limit, size_of, size_warning
from tuningjob_operator import names
from tuningjob_operator.decide import status as st
from tuningjob_operator.decide import workforce
from tuningjob_operator.decide.admission import Admission, admit_spec, read_spec, remeasure
from tuningjob_operator.decide.conditions import find, is_true
from tuningjob_operator.decide.decision import (
    DeleteTuningJob,
    EndSearch,
    Observed,
    OpenSearch,
    Plan,
    PlanBuilder,
    PublishResults,
    Step,
)
from tuningjob_operator.decide.estimate import Estimate, estimate, estimate_status, has_passed, seconds_left
from tuningjob_operator.decide.owned_objects import build_results
from tuningjob_operator.decide.words import condition_reason, heard, printable, warnings_of
from tuningjob_operator.decide.workforce import End
from tuningjob_operator.objects import (
    Body,
    clip,
    parse_timestamp,
    timestamp,
    uid_of,
    worker_selector,
)
from tuningjob_operator.settings import Settings

# The pods of a search that has ended leave by themselves; a pod that never came to work is removed.
GRACE_SECONDS: Final = 30.0
_MAX_CREATOR: Final = 253  # as the audit keeps it
_END_IS_TOLD_TO: Final = 60.0  # seconds


def plan(observed: Observed, settings: Settings, now: dt.datetime) -> Plan:
    """What to do for one TuningJob now, and what its status says then."""
    old = st.read_status(observed.tuningjob)
    view = PlanBuilder(observed=observed, settings=settings, now=now, status=old, conditions=st.conditions_of(old))
    if observed.tuningjob["metadata"].get("deletionTimestamp"):
        return Plan(status=old)  # its children go with it; nothing is made for the dying
    if st.has_ended(old):
        return _after_the_end(view, old)
    try:
        admission = _admitted(observed, settings)
    except ManifestRefused as refused:
        return _refused(view, str(refused))
    progress = None if observed.progress is None else heard(observed.progress)
    admission = admission.within_memory(progress.preflight.pilot if progress and progress.preflight else None)
    if progress is not None:
        admission = admission.with_splits(progress.splits)
    view = replace(view, observed=replace(observed, progress=progress))
    view = with_service(_sized(view, admission), observed.service_trouble)
    if progress is None:
        opening = OpenSearch(_new_search(observed.tuningjob, admission, settings), admission.spec)
        return _run(view, admission, None, opening)
    view = _counted(view, progress)
    # before anything that workers report, because none of it may keep a search from being cancelled
    if progress.state is SearchState.RUNNING:
        view = _resumed(view, admission.spec)
        ended = _ended_now(view, admission.spec, _found_too_large(old, admission, settings))
        if ended is not None:
            return ended
    found = estimate(progress)
    return _follow(_measured(view, progress, admission, found), progress, admission, found)


def _admitted(observed: Observed, settings: Settings) -> Admission:
    """The spec that runs, and its size. Raises ManifestRefused for one that was not admitted before and may not be."""
    if observed.admitted is None:
        return admit_spec(_asked(observed), settings)
    spec = with_live_fields(observed.admitted, observed.tuningjob.get("spec") or {})
    return remeasure(spec, observed.admitted, settings)


def _asked(observed: Observed) -> TuningJobSpec:
    """The spec of the TuningJob as it is now. Raises ManifestRefused."""
    if isinstance(observed.asked, ManifestRefused):
        raise observed.asked
    return observed.asked or read_spec(observed.tuningjob)


def _follow(view: PlanBuilder, progress: Progress, admission: Admission, found: Estimate | None) -> Plan:
    """Follow the journal: the search is in the state that the journal says."""
    match progress.state:
        case SearchState.RUNNING:
            return _run(view, admission, found)
        case SearchState.COMPLETE:
            return _complete(view, progress)
        case SearchState.REFUSED:
            return _refused_by_worker(view, progress)
        case SearchState.FAILED:
            return _failed_in_journal(view, progress)


# --- the beginning


def _new_search(tuningjob: Body, admission: Admission, settings: Settings) -> NewSearch:
    metadata, limit = tuningjob["metadata"], admission.spec.resources.memory_limit
    creator = str((metadata.get("annotations") or {}).get(names.ANNOTATION_CREATED_BY, ""))
    return NewSearch(
        id=uid_of(tuningjob),
        namespace=metadata["namespace"],
        name=metadata["name"],
        model_key=admission.spec.model_key or metadata["name"],
        spec=dump_spec(admission.spec),
        candidates=admission.size.rows,
        splits=UNKNOWN_SPLITS if admission.size.splits is None else admission.size.splits,
        # units are cut before it is known how many pods a search can use, if its first pod counts the fits
        pods=admission.most_pods if admission.size.splits is None else admission.pods,
        memory_limit=0 if limit is None else int(parse_quantity(limit)),
        image=admission.spec.image or settings.worker_image,
        created_by=clip(creator, _MAX_CREATOR) if settings.records_creators else "",
    )


def _sized(view: PlanBuilder, admission: Admission) -> PlanBuilder:
    """Show what admission decided: grid, plan, the condition, and whether the spec is still the one that was admitted."""
    tuningjob, job = view.observed.tuningjob, view.observed.job
    size = admission.size
    warning = size_warning(size)
    text = (
        f"{size}{': the first pod tells how many.' if size.splits is None else '.'}{f' {warning}' if warning else ''}"
    )
    if workforce.is_foreign(job, tuningjob):
        name = names.job_name(tuningjob["metadata"]["name"])
        text = f"The Job {name} must be this TuningJob's, but got another owner's. Delete it, or rename the TuningJob."
        view = view.noted(names.ADMITTED, is_true=False, reason=names.NAME_TAKEN, message=text)
    else:
        view = view.noted(names.ADMITTED, reason=names.WITHIN_LIMITS, message=text)
    view = view.showing(
        grid=st.grid_status(size),
        plan=st.plan_status(admission),
        progress=view.status.progress or st.progress_status(done=0, failed=0, total=size.fits or 0),
        phase=view.status.phase if view.status.phase not in {None, "Suspended", "Queued"} else "Pending",
        active_pods=workforce.active_pods(job, tuningjob),
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
    """The fields of a TuningJob that must not differ from what was admitted, and do."""
    try:
        wanted = read_spec(tuningjob)
    except ManifestRefused:
        return ("spec",)
    return tuple(frozen_changes(admitted, wanted))


def with_service(view: PlanBuilder, trouble: str | None) -> PlanBuilder:
    """The condition on the results service; none if it has always been there."""
    if trouble is None:
        return view.settled(
            names.RESULTS_SERVICE, reason=names.AVAILABLE, message="The results service takes results in again."
        )
    message = f"{trouble} Pods keep what they finish, and hand it in when the service is back."
    return view.noted(names.RESULTS_SERVICE, is_true=False, reason=names.UNAVAILABLE, message=message)


def _counted(view: PlanBuilder, progress: Progress) -> PlanBuilder:
    """Show what the journal has counted of a search that is open."""
    begun = progress.preflight is not None or progress.done > 0
    return view.showing(
        progress=st.progress_status(
            done=progress.done, failed=progress.failed, total=progress.total, reused=progress.reused
        ),
        phase="Running" if begun else view.status.phase,
    )


def _measured(view: PlanBuilder, progress: Progress, admission: Admission, found: Estimate | None) -> PlanBuilder:
    """Show what workers have reported of it."""
    view = view.showing(best=st.best_status(progress, admission.spec.search.space))
    if found is not None:
        view = _estimated(view, progress, admission, found)
    if progress.preflight is None:
        return view
    reason = names.PASSED_WITH_WARNINGS if progress.preflight.warnings else names.PASSED
    return view.noted(names.PREFLIGHT, reason=reason, message=_preflight_text(progress.preflight))


def _estimated(view: PlanBuilder, progress: Progress, admission: Admission, found: Estimate) -> PlanBuilder:
    """Show how long the search will take. An end that has passed was wrong, so it is unknown until more was measured."""
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


# --- the middle


def _run(view: PlanBuilder, admission: Admission, found: Estimate | None, *opening: Step) -> Plan:
    """Let the search go on, unless there is a reason to end it."""
    spec = admission.spec
    view = _resumed(view, spec)
    end = _order_to_end(view, spec) or _plan_is_ready(view, spec)
    if end is None and spec.suspend:
        view = view.noted(
            names.SUSPENDED,
            reason=names.SUSPENDED_BY_SPEC,
            message="spec.suspend is true: no pods, and what is finished is kept.",
        )
        return workforce.suspended(_until_deadline(view, spec), *opening)
    if end is None:
        decided = workforce.running(_until_deadline(view, spec), admission, found, *opening)
        if isinstance(decided, Plan):
            return decided
        end = decided
    return _end(view, end, *opening)


def _resumed(view: PlanBuilder, spec: TuningJobSpec) -> PlanBuilder:
    if spec.suspend or not is_true(view.conditions, names.SUSPENDED):
        return view
    # as with a Job, the time before a suspension does not count
    return view.showing(start_time=timestamp(view.now)).noted(
        names.SUSPENDED, is_true=False, reason=names.RESUMED, message="spec.suspend is false: the search goes on."
    )


def _end(view: PlanBuilder, end: End, *opening: Step) -> Plan:
    if end.reason not in names.ENDED_BY_MANIFEST:
        return _failed(view, end)
    # the journal first: no pod is given anything more, and the pass after a crash comes to the same end
    ended = _ended_by_manifest(view, end)
    return replace(ended, steps=(*opening, EndSearch(f"{end.reason}: {end.message}"), *ended.steps))


def _ended_now(view: PlanBuilder, spec: TuningJobSpec, too_large: str | None) -> Plan | None:
    """The end of a search that is to go no further; None: it goes on."""
    ordered = _order_to_end(view, spec)
    if ordered is not None:
        return _end(view, ordered)
    return None if too_large is None else _refused_late(view, too_large)


def _order_to_end(view: PlanBuilder, spec: TuningJobSpec) -> End | None:
    """Why the search is to end now, by its manifest."""
    if spec.cancel:
        return End(names.CANCELLED, f"spec.cancel is true. {_so_far(view.observed.progress)}")
    return _overdue(view, spec)


def _plan_is_ready(view: PlanBuilder, spec: TuningJobSpec) -> End | None:
    """The end of a search that was to be planned, and no more."""
    progress = view.observed.progress
    if spec.mode == "Plan" and progress is not None and progress.preflight is not None:
        return End(names.PLAN_READY, _forecast_text(view.status.estimate, progress, view))
    return None


def _so_far(progress: Progress | None) -> str:
    return "Nothing was fitted." if progress is None else f"{progress.done} of {progress.total} fits were finished."


def _overdue(view: PlanBuilder, spec: TuningJobSpec) -> End | None:
    progress = view.observed.progress
    start_in, end_in = _deadlines(view, spec)
    if start_in is not None and start_in <= 0:
        waits = [
            found.message
            for kind in names.GOOD_NEWS
            if (found := find(view.conditions, kind)) and found.status == "False"
        ]
        told = f"No pod had begun after {spec.start_deadline_seconds} s (spec.startDeadlineSeconds). {' '.join(waits)}"
        return End(names.START_DEADLINE_EXCEEDED, told.strip())
    if end_in is not None and end_in <= 0 and not spec.suspend:
        told = f"The search ran for {spec.active_deadline_seconds} s (spec.activeDeadlineSeconds)."
        return End(names.DEADLINE_EXCEEDED, f"{told} {_so_far(progress)}")
    return None


def _until_deadline(view: PlanBuilder, spec: TuningJobSpec) -> PlanBuilder:
    """Have the TuningJob looked at again when its next deadline is over."""
    start_in, end_in = _deadlines(view, spec)
    return view.waking(start_in).waking(None if spec.suspend else end_in)


def _deadlines(view: PlanBuilder, spec: TuningJobSpec) -> tuple[float | None, float | None]:
    """How long until the search must have begun, and until it must have ended, in seconds."""
    progress = view.observed.progress
    created = parse_timestamp(view.observed.tuningjob["metadata"]["creationTimestamp"])
    has_begun = progress is not None and (progress.preflight is not None or progress.done > 0)
    start, active = spec.start_deadline_seconds, spec.active_deadline_seconds
    start_in = None if start is None or has_begun else start - (view.now - created).total_seconds()
    since = parse_timestamp(view.status.start_time) if view.status.start_time else view.now
    end_in = None if active is None else active - (view.now - since).total_seconds()
    return start_in, end_in


def _forecast_text(found: EstimateStatus | None, progress: Progress, view: PlanBuilder) -> str:
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


# --- the end


def _complete(view: PlanBuilder, progress: Progress) -> Plan:
    """Publish the answer as an object, then report it in the status."""
    steps: list[Step] = []
    failed = progress.answer.failed_fits if progress.answer is not None else progress.failed
    asked_to_reuse = view.observed.admitted is not None and view.observed.admitted.reuse
    reused = f", {progress.reused} reused" if asked_to_reuse else ""
    message = f"{progress.total} fits{reused}{f', {failed} failed (scored NaN)' if failed else ''}."
    name = names.results_name(view.observed.tuningjob["metadata"]["name"])
    if view.observed.results_name_taken:
        message += f" The ConfigMap {name} is another owner's: the results are in the results service only."
    elif view.observed.results_refused is not None:
        message += f" The API server refused the ConfigMap {name}: the results are in the results service only."
    elif view.observed.files is not None:
        results = build_results(view.observed.tuningjob, view.observed.files)
        steps.append(PublishResults(results.configmap))
        view = view.showing(results=name)
        if results.left_out:
            message += f" Left out of the ConfigMap: {', '.join(results.left_out)}."
    view = view.showing(model_version=progress.model_version).ended("Complete")
    return (
        view.waking(GRACE_SECONDS).noted(names.COMPLETE, reason=names.SEARCH_COMPLETE, message=message).planned(*steps)
    )


def _refused(view: PlanBuilder, message: str) -> Plan:
    """Refuse the manifest before anything was made."""
    with contextlib.suppress(ManifestRefused):
        view = view.showing(grid=st.grid_status(size_of(_asked(view.observed))))
    return _failed(view, End(names.MANIFEST_REFUSED, message))


def _found_too_large(old: TuningJobStatus, admission: Admission, settings: Settings) -> str | None:
    """Problems of a search whose number of splits was unknown when it was admitted.

    Asked when they are first seen: ceilings that are lowered later do not reach it.
    """
    was_known = old.grid is not None and old.grid.splits is not None
    if was_known or admission.size.splits is None:
        return None
    try:
        check_limit(admission.size, admission.spec, cluster_max_fits=settings.max_fits)
    except ManifestRefused as refused:
        return str(refused)
    return None


def _refused_late(view: PlanBuilder, message: str) -> Plan:
    """Refuse it once its first pod has looked. The journal ends first, as with everything that ends a search."""
    ended = _ended_by_manifest(view, End(names.MANIFEST_REFUSED, message))
    return replace(ended, steps=(EndSearch(f"{names.MANIFEST_REFUSED}: {message}"), *ended.steps))


def _refused_by_worker(view: PlanBuilder, progress: Progress) -> Plan:
    problems = progress.refusal.problems if progress.refusal else ()
    message = "\n".join(_problem_text(problem) for problem in problems)
    told = next((problem["reason"] for problem in problems if problem.get("reason")), None)
    reason = condition_reason(told, names.MANIFEST_REFUSED)
    view = view.noted(names.PREFLIGHT, is_true=False, reason=reason, message=message)
    return _failed(view, End(names.MANIFEST_REFUSED, message))


def _failed_in_journal(view: PlanBuilder, progress: Progress) -> Plan:
    """Report a failure that the journal has: by the manifest's own limits, or of a worker that could not rank or refit."""
    text = printable(progress.failure or "") or "The search failed."
    # a worker's text may begin with anything, so it is not read as a reason
    if progress.end_reason in {*names.ENDED_BY_MANIFEST, names.MANIFEST_REFUSED}:
        return _ended_by_manifest(view, End(progress.end_reason, text.removeprefix(f"{progress.end_reason}: ")))
    return _failed(view, End(names.SEARCH_FAILED, text, keep_end=True))


def _ended_by_manifest(view: PlanBuilder, end: End) -> Plan:
    view = view.waking(0.0)  # its pods are to be removed
    if end.reason == names.PLAN_READY:
        return view.ended("Planned").noted(names.COMPLETE, reason=end.reason, message=end.message).planned()
    keep_end = end.reason == TOO_MANY_FAILED_FITS
    return _failed(view, replace(end, keep_end=keep_end))


def _failed(view: PlanBuilder, end: End) -> Plan:
    view = view.ended("Failed").waking(GRACE_SECONDS)
    return view.noted(names.FAILED, reason=end.reason, message=end.message, keep_end=end.keep_end).planned()


def _problem_text(problem: Mapping[str, str]) -> str:
    advice = f" {problem['advice']}" if problem.get("advice") else ""
    text = f"{problem.get('field', 'spec')}: must be {problem.get('must_be', '?')}, but got {problem.get('got', '?')}.{advice}"
    return printable(text)


def seconds_to_live(tuningjob: Body, status: TuningJobStatus, settings: Settings, now: dt.datetime) -> float | None:
    """How long a TuningJob stays after its end, by its manifest and the administrator's ceilings; None: for ever."""
    ended = parse_timestamp(status.completion_time) if status.completion_time else now
    spec: Mapping[str, Any] = tuningjob.get("spec") or {}
    ttl = settings.lifetimes.of(spec.get("ttlSecondsAfterFinished"))
    return None if ttl is None else ttl - (now - ended).total_seconds()


def beyond(tuningjob: Body, settings: Settings, now: dt.datetime) -> Plan:
    """The plan for a TuningJob without room: its status says so, and nothing is made for it."""
    status = st.read_status(tuningjob)
    view = PlanBuilder(
        observed=Observed(tuningjob=tuningjob),
        settings=settings,
        now=now,
        status=status,
        conditions=st.conditions_of(status),
    )
    bounds = settings.bounds
    message = (
        f"The operator looks after {bounds.in_namespace} TuningJobs of a namespace at a time, and {bounds.in_all} in all, and "
        "this one is beyond them (a large manifest counts as several). It is taken as soon as others have ended or are deleted: "
        "cancel or delete what is not needed. The limits are the administrator's (chart values "
        "limits.maxTuningJobsPerNamespace and limits.maxTuningJobs)."
    )
    view = view.showing(phase=status.phase or "Pending")
    return view.noted(names.ADMITTED, is_true=False, reason=names.TOO_MANY, message=message).planned()


def _after_the_end(view: PlanBuilder, old: TuningJobStatus) -> Plan:
    """A TuningJob that has ended stays as it is. Its pods are still removed, and it is deleted when its time to live is over."""
    tuningjob, job = view.observed.tuningjob, view.observed.job
    active = workforce.active_pods(job, tuningjob)
    status = old.model_copy(update={"active_pods": active if old.active_pods is not None else None})
    ended = parse_timestamp(old.completion_time) if old.completion_time else view.now
    age = (view.now - ended).total_seconds()
    left = seconds_to_live(tuningjob, old, view.settings, view.now)
    if left is not None and left <= 0:
        return Plan(status=old, steps=(DeleteTuningJob(),))
    view = view.waking(left)
    steps: tuple[Step, ...] = ()
    if workforce.is_to_be_stopped(job, tuningjob):
        was_ended = any(
            each.reason in names.ENDED_BY_MANIFEST for each in view.conditions if each.type in names.TERMINAL
        )
        grace = 0.0 if was_ended else GRACE_SECONDS
        steps = workforce.stop(view) if age >= grace else ()
        view = view.waking(None if steps else grace - age)
    return Plan(status=status, steps=steps, wake_after=view.wake_after)
