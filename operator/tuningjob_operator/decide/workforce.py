"""The Job of a search that is to run: when it is made, scaled, suspended and made again. Pure.

There is one Job at a time, under the TuningJob's own name, and it is scaled in place. It is deleted and made again, once the last
of its pods is gone, only for a change that a Job cannot take (its pods' memory), or if it has ended before the search.
"""

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

from tuningjob.journal.records import Progress
from tuningjob.manifest.quantity import parse_quantity
from tuningjob_operator import names
from tuningjob_operator.decide.admission import Admission, ceiling_pods, pod_size
from tuningjob_operator.decide.capacity import limit_range_problems, memory_text, node_problem, only_jobs, quota_allows
from tuningjob_operator.decide.decision import (
    CreateJob,
    CreateToken,
    DeleteJob,
    End,
    GiveBack,
    Look,
    Pardon,
    Plan,
    PlanBuilder,
    Release,
    ScaleJob,
    Step,
)
from tuningjob_operator.decide.estimate import Estimate, useful_pods
from tuningjob_operator.decide.failure import explain, lacked_the_service
from tuningjob_operator.decide.job import RETRIES_PER_POD, build_job, has_address, has_good_token, sized
from tuningjob_operator.decide.job_state import (
    completions_of,
    expected_pods,
    is_foreign,
    is_short_of_pods,
    memory_of,
    status_number,
)
from tuningjob_operator.decide.suspension import MOMENT_SECONDS, giving_back, resume
from tuningjob_operator.decide.triage import (
    PATIENCE_SECONDS,
    are_being_set_up,
    blameless_pods,
    find_trouble,
    is_held,
    is_living,
    lost_indexes,
)
from tuningjob_operator.objects import (
    Body,
    find_condition,
    has_condition,
    is_owned_by,
    uid_of,
)

# How soon to look again at a name that a person's object holds; garbage collection takes a moment.
FOREIGN_SECONDS: Final = 30.0
# How soon to look again whether a quota has room.
QUOTA_SECONDS: Final = 15.0
# An event says that a deleted Job has gone with its last pod. This is how soon to look again in case the event gets lost.
DELETION_SECONDS: Final = 30.0
# The most deaths of pods that a Job outlives: without a bound it might never end.
MAX_DEATHS: Final = 1_000
_GAVE_UP: Final = "BackoffLimitExceeded"


@dataclass(frozen=True)
class PodAllowance:
    """How many pods there may be, and why no more."""

    pods: int
    why: str


def running(view: PlanBuilder, admission: Admission, found: Estimate | None, *opening: Step) -> Plan | End:
    """The plan for a search that runs: it has one Job, of the right size. An End if it cannot go on."""
    job, tuningjob = view.observed.job, view.observed.tuningjob
    if job is None:
        return _begin(view, admission, found, *opening)
    if wait := _until_the_name_is_free(job, tuningjob):
        return view.waking(wait).planned(*opening)
    if not has_address(job, view.settings) or not has_good_token(job, tuningjob, view.settings):
        return _made_again(view, job, *opening)
    if has_condition(job, "Failed") or has_condition(job, "Complete"):
        return _after_failure(view, job) if has_condition(job, "Failed") else _after_completion(view, job)
    if job["spec"].get("suspend"):
        return resume(view, job, *opening)
    return _size(view, job, admission, found, *opening)


def _until_the_name_is_free(job: Body, tuningjob: Body) -> float | None:
    """Seconds until the next look, if another owner's Job or one that is being deleted has our Job's name; else None."""
    if not is_owned_by(job, tuningjob):
        return FOREIGN_SECONDS if is_foreign(job, tuningjob) else MOMENT_SECONDS
    return DELETION_SECONDS if job["metadata"].get("deletionTimestamp") else None


_MOVED: Final = (
    "The results service is at another address, or was turned to or from TLS. The pods are made again with the new one, and what "
    "they finished is kept."
)
_REPLACED: Final = (
    "The key that tokens of searches are signed with was replaced, or the authority of the results service's certificate, and "
    "the pods had the old one. They are made again with the new one, and what they finished is kept."
)


def _made_again(view: PlanBuilder, job: Body, *opening: Step) -> Plan:
    """The plan to make a Job again, because its pods cannot be given another Secret or another address."""
    reason, message = (
        (names.TOKEN_REPLACED, _REPLACED) if has_address(job, view.settings) else (names.SERVICE_MOVED, _MOVED)
    )
    view = view.noted(names.PODS_READY, is_true=False, reason=reason, message=message)
    return view.planned(*opening, DeleteJob(uid_of(job)))


# --- a Job is made


def _begin(view: PlanBuilder, admission: Admission, found: Estimate | None, *opening: Step) -> Plan | End:
    if view.observed.progress is not None and (wait := _without_pods(view, *opening)):
        return wait
    opening += giving_back(view)
    memory = _memory(view.observed.progress, admission)
    wanted = _wanted(view, admission, found, memory)
    if asked := view.wanting(Look.SURROUNDINGS):
        return asked
    spec, around = admission.spec, view.observed.surroundings
    size = pod_size(spec, view.settings, memory=memory)
    problems = limit_range_problems(around.limit_ranges, size)
    if around.nodes is not None:
        too_large = node_problem(
            around.nodes,
            size,
            node_selector=spec.pod.node_selector,
            tolerations=spec.pod.tolerations,
        )
        problems += [too_large] if too_large is not None else []
    if problems:
        text = "\n".join(str(problem) for problem in problems)
        if view.observed.progress is None:
            return End(names.MANIFEST_REFUSED, text)
        return _waiting(view, text, *opening)
    room = _room(view, admission, memory=memory, wanted=wanted)
    if room.pods == 0:
        return _waiting(view, room.why, *opening)
    view = _with_room(view, room, wanted)
    pods = min(wanted, room.pods)
    body = build_job(
        view.observed.tuningjob,
        admission,
        view.settings,
        pods=pods,
        memory=None if memory == admission.memory_bytes else memory_text(memory),
    )
    body["metadata"].setdefault("annotations", {})[names.ANNOTATION_BEGAN_AT] = _mark(view.observed.progress)
    return view.planned(*opening, CreateToken(), CreateJob(body))


def _without_pods(view: PlanBuilder, *opening: Step) -> Plan | None:
    """The plan to wait until the pods of the Job before have ended and Kubernetes has let go of them; None if they have."""
    if asked := view.wanting(Look.PODS):
        return asked
    living = sum(is_living(pod) for pod in view.observed.pods)
    held = sum(is_held(pod, view.now) for pod in view.observed.pods)
    if living:
        message = f"Waiting for {living} pods of the Job before to end: no index may have two."
    elif held:
        message = f"Waiting for Kubernetes to let go of {held} pods of the Job before, so that it knows the next one from that."
    else:
        return None
    view = view.noted(names.PODS_READY, is_true=False, reason=names.NOT_CREATED, message=message)
    return view.waking(MOMENT_SECONDS).planned(*opening)


def _memory(progress: Progress | None, admission: Admission) -> Decimal:
    """Bytes of each pod: doubled for units that ran out of memory, but no more than the manifest allows."""
    limit = admission.spec.resources.memory_limit
    if progress is None or not progress.starved or limit is None:
        return Decimal(admission.memory_bytes)
    return min(parse_quantity(limit), Decimal(2 * max(progress.starved_bytes, admission.memory_bytes)))


def _wanted(view: PlanBuilder, admission: Admission, found: Estimate | None, memory: Decimal) -> int:
    """Pods that the search can use now: one until the preflight passed, all of them under Kueue, which admits them together."""
    progress = view.observed.progress
    most = admission.pods
    if progress is not None and progress.starved and memory > admission.memory_bytes:
        return max(1, min(most, progress.starved, ceiling_pods(admission.spec, view.settings, memory=memory)))
    if admission.spec.queue_name is not None:
        return most
    if progress is None or progress.preflight is None:
        return 1
    useful = useful_pods(found, admission.n_jobs)
    by_cells = max(1, math.ceil((progress.total - progress.done) / admission.n_jobs))
    return min(most, by_cells, most if useful is None else useful)


# --- a Job is there


def _size(view: PlanBuilder, job: Body, admission: Admission, found: Estimate | None, *opening: Step) -> Plan:
    """Keep a running Job at its size and its pods at work."""
    progress, has = view.observed.progress, int(job["spec"].get("parallelism", 1))
    deaths = _deaths(progress, job)
    target, steps = has, [*opening]
    is_ours_to_size = admission.spec.queue_name is None
    if is_ours_to_size:
        if _is_short_for_long(view, job) and (asked := view.wanting(Look.PODS)):
            return asked
        target = _target(view, job, admission, found)
        if target > has:
            if asked := view.wanting(Look.SURROUNDINGS):
                return asked
            room = _room(view, admission, memory=memory_of(job, admission), wanted=target)
            view = _with_room(view, room, target)
            target = max(has, min(target, room.pods))
    elif has > max(ceiling_pods(admission.spec, view.settings, memory=memory_of(job, admission)), admission.pods):
        # its size is Kueue's, but within the ceilings even if a person changed it; a Job that Kueue has started cannot be changed
        return view.planned(*steps, DeleteJob(uid_of(job)))
    # never lowered: more pods may have died already than a smaller Job outlives
    limit = int(job["spec"].get("backoffLimit", 0))
    deaths = max(deaths, limit - RETRIES_PER_POD * target)
    is_outgrown = limit < sized(target, deaths=deaths)["backoffLimit"]
    if is_outgrown and view.observed.scales_in > 0 and status_number(job, "failed") < limit:
        # one more death is outlived anyway, so several are written at once
        is_outgrown, view = False, view.waking(view.observed.scales_in)
    if is_ours_to_size and (target != has or is_outgrown or completions_of(job) != target):
        steps.append(ScaleJob(uid_of(job), target, deaths, planned=max(target, admission.pods)))
    elif _left_behind(progress, job):
        steps.append(GiveBack(completions_of(job)))
    return _watched(view, job, admission, *steps)


def _deaths(progress: Progress | None, job: Body) -> int:
    """Deaths that the Job is to outlive: those that the journal counts, but no more than the pods that Kubernetes saw die.

    The journal counts claimants, whose names a worker chooses.
    """
    return min(progress.deaths if progress else 0, status_number(job, "failed"), MAX_DEATHS)


def _target(view: PlanBuilder, job: Body, admission: Admission, found: Estimate | None) -> int:
    """Pods that a Job is to have. A pod that is lost with its node counts as none, although Kubernetes still counts it."""
    progress, has = view.observed.progress, int(job["spec"].get("parallelism", 1))
    memory = memory_of(job, admission)
    lost = len(lost_indexes(view.observed.pods, view.now))
    wanted = _wanted(view, admission, found, memory)
    is_whole = progress is not None and progress.preflight is not None and memory <= admission.memory_bytes
    most = (admission.pods if is_whole else wanted) + lost
    # a succeeded index takes no more work: if all others are lost, the Job needs a new one
    needed = status_number(job, "succeeded") + lost + 1 if lost else 0
    # no pod is removed when little work is left, because it leaves by itself
    return min(most, max(wanted, has, needed))


def _is_short_for_long(view: PlanBuilder, job: Body) -> bool:
    is_short = is_short_of_pods(job, view.observed.tuningjob)
    return is_short and view.observed.unready_seconds >= PATIENCE_SECONDS


def _left_behind(progress: Progress | None, job: Body) -> bool:
    """Whether something is held by an index that the Job does not have any more, and whose pod is gone."""
    if progress is None or progress.last_holder is None or progress.last_holder < completions_of(job):
        return False
    return status_number(job, "active") <= int(job["spec"].get("parallelism", 1)) and not status_number(
        job, "terminating"
    )


def _watched(view: PlanBuilder, job: Body, admission: Admission, *steps: Step) -> Plan:
    """Report why pods are not at work, once that lasts, and which pods died through no fit's fault."""
    view = view.waking(view.observed.looks_in)
    if view.observed.has_new_deaths:
        asked = view.wanting(Look.PODS)
        if asked is not None:
            return asked
        steps += _pardons(view)
    if not is_short_of_pods(job, view.observed.tuningjob):
        view = view.settled(names.PODS_READY, reason=names.READY, message="Every pod that is to be there is at work.")
        return view.planned(*steps)
    if view.observed.unready_seconds < PATIENCE_SECONDS:
        return view.waking(PATIENCE_SECONDS - view.observed.unready_seconds).planned(*steps)
    asked = view.wanting(Look.PODS)
    if asked is not None:
        return asked
    view = view.waking(PATIENCE_SECONDS)
    trouble = find_trouble(view.observed.pods, view.now)
    if trouble is None and are_being_set_up(view.observed.pods):
        # the Secret that pods mount may have been deleted; it cannot be read, so it is created again
        steps += (CreateToken(),)
    lost = lost_indexes(view.observed.pods, view.now)
    if trouble is not None:
        view = view.noted(names.PODS_READY, is_true=False, reason=trouble.reason, message=trouble.message)
    elif status_number(job, "active") + status_number(job, "terminating") < expected_pods(job):
        asked = view.wanting(Look.SURROUNDINGS)
        if asked is not None:
            return asked
        room = _room(view, admission, memory=memory_of(job, admission), wanted=expected_pods(job))
        made = f"Kubernetes has made {status_number(job, 'active')} of {expected_pods(job)} pods."
        message = f"{made} {room.why}".strip()
        view = view.noted(names.PODS_READY, is_true=False, reason=names.NOT_CREATED, message=message)
    return view.planned(*steps, *([Release(lost)] if lost else []))


# --- a Job has ended before the search


def _after_failure(view: PlanBuilder, job: Body) -> Plan | End:
    progress = view.observed.progress
    condition = find_condition(job, "Failed") or {}
    enough = sized(completions_of(job), deaths=_deaths(progress, job))["backoffLimit"]
    if condition.get("reason") == _GAVE_UP and job["spec"].get("backoffLimit", 0) < enough:
        # it died of candidates that the journal can deal with, while no operator was there to raise its limit
        return view.planned(DeleteJob(uid_of(job)))
    asked = view.wanting(Look.PODS)
    if asked is not None:
        return asked
    if condition.get("reason") == _GAVE_UP and lacked_the_service(view.observed.pods):
        message = (
            "Pod after pod has waited for the results service in vain, for ten minutes each. They are made anew, and what is "
            "finished is kept. If the service is well, see whether a NetworkPolicy keeps the pods of this namespace from it."
        )
        view = view.noted(names.PODS_READY, is_true=False, reason=names.NO_SERVICE, message=message)
        return view.planned(*_pardons(view), DeleteJob(uid_of(job)))
    return End(*explain(job, view.observed.pods), keep_end=True)


def _pardons(view: PlanBuilder) -> tuple[Step, ...]:
    """The step that pardons the pods whose end does not count as a death of the unit that they held."""
    blameless = blameless_pods(view.observed.pods)
    return (Pardon(blameless),) if blameless else ()


def _after_completion(view: PlanBuilder, job: Body) -> Plan | End:
    progress = view.observed.progress
    annotations = job["metadata"].get("annotations") or {}
    if annotations.get(names.ANNOTATION_BEGAN_AT) != _mark(progress):
        # what is left was given back too late for these pods, or wants more memory
        return view.planned(DeleteJob(uid_of(job)))
    # the Job was read before the journal, and a pod reports before it leaves: no pod is left to do the rest
    missing = "its fits" if progress is None else f"{progress.total - progress.done} of {progress.total} fits"
    return End(names.JOB_ENDED_EARLY, f"Every pod of the Job ended well, but {missing} or the refit are missing.")


def _mark(progress: Progress | None) -> str:
    """How far a search is. A Job that ends at the mark that it began at is not made again."""
    if progress is None:
        return "nothing"
    return f"{progress.done} done, {progress.starved} starved at {progress.starved_bytes}"


# --- room


def _room(view: PlanBuilder, admission: Admission, *, memory: Decimal, wanted: int) -> PodAllowance:
    spec, job = admission.spec, view.observed.job
    quotas = view.observed.surroundings.quotas
    if spec.queue_name is not None:
        quotas = tuple(only_jobs(quota) for quota in quotas)  # the rest is Kueue's decision
    ours = job if job is not None and is_owned_by(job, view.observed.tuningjob) else None
    verdict = quota_allows(
        quotas,
        pod_size(spec, view.settings, memory=memory),
        running=0 if ours is None else view.observed.surroundings.running.get(uid_of(ours), 0),
        has_job=ours is not None,
        priority_class=spec.pod.priority_class_name,
    )
    return PodAllowance(min(wanted, verdict.pods), verdict.why if verdict.pods < wanted else "")


def _with_room(view: PlanBuilder, room: PodAllowance, wanted: int) -> PlanBuilder:
    if room.pods >= wanted:
        return view.settled(names.CAPACITY, reason=names.SUFFICIENT, message="There is room for every pod.")
    message = f"Room for {room.pods} of {wanted} pods. {room.why}"
    return view.noted(names.CAPACITY, reason=names.CUT_TO_FIT, message=message).waking(QUOTA_SECONDS)


def _waiting(view: PlanBuilder, why: str, *opening: Step) -> Plan:
    view = view.noted(names.CAPACITY, is_true=False, reason=names.QUOTA_EXCEEDED, message=f"Waiting for room. {why}")
    return view.waking(QUOTA_SECONDS).planned(*opening)


# --- what a Job says
