"""The plan for a TuningJob, from what was observed of it. Pure: data in, data out, with no API, clock or thread.

It is level-triggered: neither the order of events nor the number of calls changes the answer. The guard clauses of ``plan`` come
in the order of a search's life; ``workforce.py`` decides what its Job needs.
"""

import contextlib
import datetime as dt
from dataclasses import replace
from typing import Final

from tuningjob.errors import ManifestRefused
from tuningjob.journal.records import UNKNOWN_SPLITS, NewSearch, Progress
from tuningjob.manifest.live import with_live_fields
from tuningjob.manifest.loading import dump_spec
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.quantity import parse_quantity
from tuningjob.manifest.status import TuningJobStatus
from tuningjob.protocol.records import SearchState
from tuningjob.sizing import check_limit, size_of, with_baseline
from tuningjob_operator import names
from tuningjob_operator.decide import status as st
from tuningjob_operator.decide import suspension, workforce
from tuningjob_operator.decide.admission import Admission, admit_spec, read_spec, remeasure
from tuningjob_operator.decide.deadlines import overdue, until_deadline
from tuningjob_operator.decide.decision import (
    End,
    EndSearch,
    Observed,
    OpenSearch,
    Plan,
    PlanBuilder,
    Step,
    so_far,
)
from tuningjob_operator.decide.ends import (
    after_the_end,
    complete,
    ended_by_manifest,
    failed,
    failed_in_journal,
    refused_by_worker,
    refused_late,
)
from tuningjob_operator.decide.estimate import Estimate, estimate
from tuningjob_operator.decide.job import image_of
from tuningjob_operator.decide.shown import forecast_text, sized_up, with_counts, with_reports, with_service
from tuningjob_operator.decide.suspension import resumed
from tuningjob_operator.decide.words import heard
from tuningjob_operator.objects import (
    Body,
    clip,
    uid_of,
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
        return Plan(status=old)  # garbage collection takes its children; nothing more is made for it
    if st.has_ended(old):
        return after_the_end(view, old)
    try:
        admission = _admitted(observed, settings)
    except ManifestRefused as refused:
        return _refused(view, str(refused))
    progress = None if observed.progress is None else heard(observed.progress)
    admission = admission.within_memory(progress.preflight.pilot if progress and progress.preflight else None)
    if progress is not None:
        admission = admission.with_splits(progress.splits)
    view = replace(view, observed=replace(observed, progress=progress))
    view = with_service(sized_up(view, admission), observed.service_trouble)
    if progress is None:
        opening = OpenSearch(_new_search(observed.tuningjob, admission, settings), admission.spec)
        return _run(view, admission, None, opening)
    view = with_counts(view, progress)
    # before anything that workers report is read, because no report may keep a search from being cancelled
    if progress.state is SearchState.RUNNING:
        view = resumed(view, admission.spec)
        ended = _ended_now(view, admission.spec, _found_too_large(old, admission, settings))
        if ended is not None:
            return ended
    found = estimate(progress)
    return _follow(with_reports(view, progress, admission, found), progress, admission, found)


def _admitted(observed: Observed, settings: Settings) -> Admission:
    """The spec that runs, and its size. Raises ManifestRefused for a spec that is not admitted, and was not before."""
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
    """The plan for the state that the search has in the journal."""
    match progress.state:
        case SearchState.RUNNING:
            return _run(view, admission, found)
        case SearchState.COMPLETE:
            return complete(view, progress)
        case SearchState.REFUSED:
            return refused_by_worker(view, progress)
        case SearchState.FAILED:
            return failed_in_journal(view, progress)


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
        # if the first pod counts the fits, units are cut before it is known how many pods the search can use
        pods=admission.most_pods if admission.size.splits is None else admission.pods,
        memory_limit=0 if limit is None else int(parse_quantity(limit)),
        image=image_of(admission.spec, settings),
        created_by=clip(creator, _MAX_CREATOR) if settings.records_creators else "",
    )


# --- the middle


def _run(view: PlanBuilder, admission: Admission, found: Estimate | None, *opening: Step) -> Plan:
    """Let the search go on, unless there is a reason to end it."""
    spec = admission.spec
    view = resumed(view, spec)
    end = _order_to_end(view, spec) or _plan_is_ready(view, spec)
    if end is None and spec.suspend:
        view = view.noted(
            names.SUSPENDED,
            reason=names.SUSPENDED_BY_SPEC,
            message="spec.suspend is true: no pods, and what is finished is kept.",
        )
        return suspension.suspended(until_deadline(view, spec), *opening)
    if end is None:
        decided = workforce.running(until_deadline(view, spec), admission, found, *opening)
        if isinstance(decided, Plan):
            return decided
        end = decided
    return _end(view, end, *opening)


def _end(view: PlanBuilder, end: End, *opening: Step) -> Plan:
    if end.reason not in names.ENDED_BY_MANIFEST:
        return failed(view, end)
    # the journal first: no pod is given anything more, and the pass after a crash comes to the same end
    ended = ended_by_manifest(view, end)
    return replace(ended, steps=(*opening, EndSearch(f"{end.reason}: {end.message}"), *ended.steps))


def _ended_now(view: PlanBuilder, spec: TuningJobSpec, too_large: str | None) -> Plan | None:
    """The plan that ends a search which is to go no further; None: it goes on."""
    ordered = _order_to_end(view, spec)
    if ordered is not None:
        return _end(view, ordered)
    return None if too_large is None else refused_late(view, too_large)


def _order_to_end(view: PlanBuilder, spec: TuningJobSpec) -> End | None:
    """Why the search is to end now, by its manifest."""
    if spec.cancel:
        return End(names.CANCELLED, f"spec.cancel is true. {so_far(view.observed.progress)}")
    return overdue(view, spec)


def _plan_is_ready(view: PlanBuilder, spec: TuningJobSpec) -> End | None:
    """The end of a search that was only to be planned."""
    progress = view.observed.progress
    if spec.mode == "Plan" and progress is not None and progress.preflight is not None:
        return End(names.PLAN_READY, forecast_text(view.status.estimate, progress, view))
    return None


# --- the end


def _refused(view: PlanBuilder, message: str) -> Plan:
    """Refuse the manifest before anything was made."""
    with contextlib.suppress(ManifestRefused):
        asked = with_baseline(_asked(view.observed), cluster_max_fits=view.settings.max_fits)
        view = view.showing(grid=st.grid_status(size_of(asked)))
    return failed(view, End(names.MANIFEST_REFUSED, message))


def _found_too_large(old: TuningJobStatus, admission: Admission, settings: Settings) -> str | None:
    """The problems, as one message, of a search whose number of splits was unknown when it was admitted.

    They are looked for once, when the splits are first known: ceilings that are lowered later do not matter.
    """
    was_known = old.grid is not None and old.grid.splits is not None
    if was_known or admission.size.splits is None:
        return None
    try:
        check_limit(admission.size, admission.spec, cluster_max_fits=settings.max_fits)
    except ManifestRefused as refused:
        return str(refused)
    return None


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
