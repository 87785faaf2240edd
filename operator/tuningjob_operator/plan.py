"""What is to be done for a TuningJob, from what was observed of it. Pure: data in, data out.

Level-triggered: the same answer whatever happened before, in whatever order, and however often it is asked. The guard
clauses of ``plan`` come in the order of a search's life. Nothing here knows an API, a clock or a thread.
"""

import datetime as dt
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from tuningjob.errors import ManifestRefused
from tuningjob.journal.records import NewSearch, Preflight, Progress, SearchState
from tuningjob.sizing import size_warning
from tuningjob.spec.grid import parse_grid
from tuningjob.spec.manifest import dump_spec, load
from tuningjob.spec.models import TuningJobSpec
from tuningjob.spec.status import TuningJobStatus
from tuningjob_operator import names
from tuningjob_operator import status as st
from tuningjob_operator.admission import Admission, admit, measure, size_of_refused
from tuningjob_operator.children import ResultFiles, build_results
from tuningjob_operator.conditions import Conditions, drop_condition, set_condition
from tuningjob_operator.failure import explain
from tuningjob_operator.job import build_job, sized
from tuningjob_operator.objects import (
    Body,
    clip,
    generation_of,
    has_condition,
    is_owned_by,
    timestamp,
    uid_of,
    was_left_by_namesake,
)
from tuningjob_operator.settings import Settings

# How soon to look again at a name that another object holds: garbage collection takes a moment, a person longer.
NAMESAKE_SECONDS: Final = 2.0
FOREIGN_SECONDS: Final = 30.0
_MAX_CREATOR: Final = 253  # as the audit keeps it


@dataclass(frozen=True, kw_only=True)
class Observed:
    """Everything that a plan may depend on."""

    tuningjob: Body
    job: Body | None = None
    progress: Progress | None = None  # None: not opened in the journal
    admitted: TuningJobSpec | None = None  # the journal's copy of the spec: what runs
    pods: tuple[Body, ...] = ()  # of a Job that failed
    files: ResultFiles | None = None  # of a search that is complete
    results_name_taken: bool = False  # somebody else's ConfigMap has our name


@dataclass(frozen=True)
class OpenSearch:
    """Open the search in the journal."""

    new: NewSearch


@dataclass(frozen=True)
class CreateToken:
    """Create the Secret with the search's token."""


@dataclass(frozen=True)
class CreateJob:
    """Create the Job."""

    body: Body


@dataclass(frozen=True)
class ScaleJob:
    """Let the Job have so many pods, and outlive so many deaths. See ``job.sized``."""

    uid: str
    pods: int
    deaths: int


@dataclass(frozen=True)
class PublishResults:
    """Create the ConfigMap with the answer."""

    body: Body


Step = OpenSearch | CreateToken | CreateJob | ScaleJob | PublishResults


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Steps in order, then the status that is true once they are done. ``wake_after``: look again, unasked."""

    status: TuningJobStatus
    steps: tuple[Step, ...] = ()
    wake_after: float | None = None


@dataclass(frozen=True, kw_only=True)
class _View:
    """One TuningJob in the making of its plan."""

    observed: Observed
    settings: Settings
    now: dt.datetime
    status: TuningJobStatus
    conditions: Conditions = field(default=())

    @property
    def generation(self) -> int:
        return generation_of(self.observed.tuningjob)

    def noted(self, kind: str, *, reason: str, message: str, is_true: bool = True, keep_end: bool = False) -> "_View":
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

    def showing(self, **fields: Any) -> "_View":  # noqa: ANN401  fields of a status
        return replace(self, status=self.status.model_copy(update=fields))

    def planned(self, *steps: Step, wake_after: float | None = None) -> Plan:
        status = self.status.model_copy(
            update={"conditions": list(self.conditions) or None, "observed_generation": self.generation}
        )
        return Plan(status=status, steps=steps, wake_after=wake_after)


def plan(observed: Observed, settings: Settings, now: dt.datetime) -> Plan:
    """What to do for one TuningJob now, and what its status says then."""
    old = st.read_status(observed.tuningjob)
    if observed.tuningjob["metadata"].get("deletionTimestamp"):
        return Plan(status=old)  # its children go with it; nothing is made for the dying
    if st.has_ended(old):
        return _after_the_end(observed, old)
    view = _View(observed=observed, settings=settings, now=now, status=old, conditions=st.conditions_of(old))
    try:
        admission = measure(observed.admitted) if observed.admitted else admit(observed.tuningjob, settings)
    except ManifestRefused as refused:
        return _refused(view, str(refused))
    view = _sized(view, admission)
    if observed.progress is None:
        return _run(view, admission, OpenSearch(_new_search(observed.tuningjob, admission, settings)))
    return _follow(_measured(view, observed.progress, admission), observed.progress, admission)


def _follow(view: _View, progress: Progress, admission: Admission) -> Plan:
    """The journal leads: where it says that the search is, there it is."""
    match progress.state:
        case SearchState.RUNNING:
            return _run(view, admission)
        case SearchState.COMPLETE:
            return _complete(view, progress)
        case SearchState.REFUSED:
            problems = progress.refusal.problems if progress.refusal else ()
            return _failed(view, names.MANIFEST_REFUSED, "\n".join(_problem_text(problem) for problem in problems))
        case SearchState.FAILED:
            return _failed(view, names.SEARCH_FAILED, progress.failure or "The search failed.", keep_end=True)


def _after_the_end(observed: Observed, old: TuningJobStatus) -> Plan:
    """What has ended stays as it is; only the pods still go home."""
    active = _active_pods(observed.job, observed.tuningjob)
    shown = active if old.active_pods is not None else None
    return Plan(status=old.model_copy(update={"active_pods": shown}))


def _new_search(tuningjob: Body, admission: Admission, settings: Settings) -> NewSearch:
    metadata = tuningjob["metadata"]
    creator = str((metadata.get("annotations") or {}).get(names.ANNOTATION_CREATED_BY, ""))
    return NewSearch(
        id=uid_of(tuningjob),
        namespace=metadata["namespace"],
        name=metadata["name"],
        model_key=admission.spec.model_key or metadata["name"],
        spec=dump_spec(admission.spec),
        candidates=admission.size.candidates,
        splits=admission.size.splits,
        pods=admission.pods,
        image=admission.spec.image or settings.worker_image,
        created_by=clip(creator, _MAX_CREATOR) if settings.records_creators else "",
    )


def _sized(view: _View, admission: Admission) -> _View:
    """What admission alone says: grid, plan, the condition, and whether the spec is still the one that was admitted."""
    size = admission.size
    warning = size_warning(size)
    text = f"{size.candidates} candidates × {size.splits} folds = {size.fits} fits.{f' {warning}' if warning else ''}"
    if _is_foreign(view.observed.job, view.observed.tuningjob):
        view = view.noted(names.ADMITTED, is_true=False, reason=names.NAME_TAKEN, message=_taken_text(view))
    else:
        view = view.noted(names.ADMITTED, reason=names.WITHIN_LIMITS, message=text)
    view = view.showing(
        grid=st.grid_status(size),
        plan=st.plan_status(admission.spec, pods=admission.pods, n_jobs=admission.n_jobs, fits=size.fits),
        progress=view.status.progress or st.progress_status(done=0, failed=0, total=size.fits),
        phase=view.status.phase or "Pending",
        active_pods=_active_pods(view.observed.job, view.observed.tuningjob),
        start_time=view.status.start_time or timestamp(view.now),
    )
    if view.observed.admitted is None or _asks_for(view.observed.tuningjob, view.observed.admitted):
        return replace(view, conditions=drop_condition(view.conditions, names.SPEC_ACCEPTED))
    return view.noted(
        names.SPEC_ACCEPTED,
        is_true=False,
        reason=names.FROZEN,
        message="The spec was changed after the search was admitted. It runs as it was admitted; "
        "delete the TuningJob and apply it again to run the new one.",
    )


def _is_foreign(job: Mapping[str, Any] | None, tuningjob: Mapping[str, Any]) -> bool:
    """Whether our Job's name is held by what neither we made nor garbage collection will take."""
    return job is not None and not is_owned_by(job, tuningjob) and not was_left_by_namesake(job, tuningjob)


def _taken_text(view: _View) -> str:
    name = names.job_name(view.observed.tuningjob["metadata"]["name"])
    return f"The Job {name} must be this TuningJob's, but got another owner's. Delete it, or rename the TuningJob."


def _asks_for(tuningjob: Mapping[str, Any], admitted: TuningJobSpec) -> bool:
    try:
        return load(tuningjob).spec == admitted
    except ManifestRefused:
        return False


def _measured(view: _View, progress: Progress, admission: Admission) -> _View:
    """What the journal says of a search that is open."""
    grid = parse_grid(admission.spec.search.grid.parameters)
    view = view.showing(
        progress=st.progress_status(
            done=progress.done, failed=progress.failed, total=progress.total, reused=progress.reused
        ),
        best=st.best_status(progress, grid),
        phase="Running" if progress.preflight is not None or progress.done else view.status.phase,
    )
    if progress.preflight is None:
        return view
    return view.noted(names.PREFLIGHT, reason=names.PASSED, message=_preflight_text(progress.preflight))


def _preflight_text(preflight: Preflight) -> str:
    found = f"{preflight.samples} samples × {preflight.features} features."
    if preflight.memory_bytes:
        held = math.ceil(preflight.memory_bytes / 2**20)
        found += f" Each pod holds up to {held} MiB of them, besides its libraries and what fits need for themselves."
    return "\n".join((found, *preflight.warnings))


def _run(view: _View, admission: Admission, *opening: Step) -> Plan:
    """A search that is to run: it has its Job, of its size."""
    job, tuningjob = view.observed.job, view.observed.tuningjob
    if job is None:
        body = build_job(tuningjob, admission, view.settings)
        return view.planned(*opening, CreateToken(), CreateJob(body))
    if not is_owned_by(job, tuningjob):
        is_foreign = _is_foreign(job, tuningjob)
        return view.planned(*opening, wake_after=FOREIGN_SECONDS if is_foreign else NAMESAKE_SECONDS)
    if has_condition(job, "Failed"):
        return _failed(view, *explain(job, view.observed.pods), keep_end=True)
    if has_condition(job, "Complete"):
        # the Job was read before the journal, and a pod that goes home has reported: nobody is left to do the rest
        return _failed(view, names.JOB_ENDED_EARLY, _missing_text(view.observed.progress))
    steps: list[Step] = [*opening]
    has = job["spec"]
    pods = max(_wanted_pods(view.observed.progress, admission), int(has.get("parallelism", 1)))
    deaths = view.observed.progress.deaths if view.observed.progress else 0
    if any(wanted > has.get(name, 0) for name, wanted in sized(pods, deaths=deaths).items()):
        steps.append(ScaleJob(uid_of(job), pods, deaths))
    return view.planned(*steps)


def _wanted_pods(progress: Progress | None, admission: Admission) -> int:
    """One until the preflight passed; then as planned, but no more than what is left can use."""
    if progress is None or progress.preflight is None:
        return 1
    return min(admission.pods, math.ceil((progress.total - progress.done) / admission.n_jobs))


def _missing_text(progress: Progress | None) -> str:
    missing = "its fits" if progress is None else f"{progress.total - progress.done} of {progress.total} fits"
    return f"Every pod of the Job ended well, but {missing} or the refit are missing."


def _complete(view: _View, progress: Progress) -> Plan:
    """An answer: published as an object, then said."""
    steps: list[Step] = []
    failed = progress.answer.failed_fits if progress.answer is not None else progress.failed
    asked_to_reuse = view.observed.admitted is not None and view.observed.admitted.reuse
    reused = f", {progress.reused} reused" if asked_to_reuse else ""
    message = f"{progress.total} fits{reused}{f', {failed} failed (scored NaN)' if failed else ''}."
    name = names.results_name(view.observed.tuningjob["metadata"]["name"])
    if view.observed.results_name_taken:
        message += f" The ConfigMap {name} is another owner's: the results are in the results service only."
    elif view.observed.files is not None:
        results = build_results(view.observed.tuningjob, view.observed.files)
        steps.append(PublishResults(results.configmap))
        view = view.showing(results=name)
        if results.left_out:
            message += f" Left out of the ConfigMap: {', '.join(results.left_out)}."
    view = view.showing(phase="Complete", model_version=progress.model_version, completion_time=timestamp(view.now))
    return view.noted(names.COMPLETE, reason=names.SEARCH_COMPLETE, message=message).planned(*steps)


def _refused(view: _View, message: str) -> Plan:
    """Refused before anything was made."""
    size = size_of_refused(view.observed.tuningjob)
    if size is not None:
        view = view.showing(grid=st.grid_status(size))
    return _failed(view, names.MANIFEST_REFUSED, message)


def _failed(view: _View, reason: str, message: str, *, keep_end: bool = False) -> Plan:
    view = view.showing(phase="Failed", completion_time=timestamp(view.now))
    return view.noted(names.FAILED, reason=reason, message=message, keep_end=keep_end).planned()


def _problem_text(problem: Mapping[str, str]) -> str:
    advice = f" {problem['advice']}" if problem.get("advice") else ""
    return f"{problem.get('field', 'spec')}: must be {problem.get('must_be', '?')}, but got {problem.get('got', '?')}.{advice}"


def _active_pods(job: Mapping[str, Any] | None, tuningjob: Mapping[str, Any]) -> int:
    if job is None or not is_owned_by(job, tuningjob):
        return 0
    return int((job.get("status") or {}).get("active") or 0)
