"""``spec.suspend``: how a search pauses, and goes on again. Under Kueue, which suspends Jobs itself, a Job is deleted. Pure."""

from typing import Final

from tuningjob.manifest.models import TuningJobSpec
from tuningjob_operator import names
from tuningjob_operator.decide.conditions import is_true
from tuningjob_operator.decide.decision import DeleteJob, GiveBack, Look, Plan, PlanBuilder, Step, SuspendJob
from tuningjob_operator.decide.job_state import is_to_be_stopped, queue_of
from tuningjob_operator.decide.triage import is_living
from tuningjob_operator.objects import Body, living_pods, timestamp, uid_of

# How soon to look again at pods that are ending, or at a name that garbage collection frees.
MOMENT_SECONDS: Final = 2.0


def stop(view: PlanBuilder) -> tuple[Step, ...]:
    """End the pods. Under Kueue, which would let a suspended Job go on, the Job is deleted and so leaves the queue."""
    job = view.observed.job
    if job is None or not is_to_be_stopped(job, view.observed.tuningjob):
        return ()
    return (DeleteJob(uid_of(job)),) if queue_of(job) is not None else (SuspendJob(uid_of(job), suspend=True),)


def suspended(view: PlanBuilder, *opening: Step) -> Plan:
    """Pause the search: its pods are removed, and nothing that it has found is lost."""
    job = view.observed.job
    view = view.showing(phase="Suspended").without(names.CAPACITY).without(names.PODS_READY)
    steps = (*opening, *stop(view))
    return view.planned(*(steps or (giving_back(view) if not (0 if job is None else living_pods(job)) else ())))


def giving_back(view: PlanBuilder) -> tuple[Step, ...]:
    """Give back the work of pods that were killed at the end of their grace period. We ended them, so no cell is blamed."""
    progress = view.observed.progress
    return (GiveBack(0),) if progress is not None and progress.last_holder is not None else ()


def resume(view: PlanBuilder, job: Body, *opening: Step) -> Plan:
    """Start a suspended Job again, or wait until Kueue does."""
    queue = queue_of(job)
    if queue is not None:
        message = f"Kueue's queue {queue} has not admitted the pods yet."
        view = view.showing(phase="Queued").noted(names.PODS_READY, is_true=False, reason=names.QUEUED, message=message)
        leftovers = () if living_pods(job) else giving_back(view)
        # Kueue starts it at any time, and our copy of the Job may be old, so the pods themselves are looked at
        if leftovers and (asked := view.wanting(Look.PODS)):
            return asked
        if leftovers and any(is_living(pod) for pod in view.observed.pods):
            return view.waking(MOMENT_SECONDS).planned(*opening)
        return view.planned(*opening, *leftovers)
    if living_pods(job):
        return view.waking(MOMENT_SECONDS).planned(*opening)
    return view.planned(*opening, *giving_back(view), SuspendJob(uid_of(job), suspend=False))


def resumed(view: PlanBuilder, spec: TuningJobSpec) -> PlanBuilder:
    """Show that the search goes on, if it was suspended."""
    if spec.suspend or not is_true(view.conditions, names.SUSPENDED):
        return view
    # as for a Job, the time before a suspension does not count
    return view.showing(start_time=timestamp(view.now)).noted(
        names.SUSPENDED, is_true=False, reason=names.RESUMED, message="spec.suspend is false: the search goes on."
    )
