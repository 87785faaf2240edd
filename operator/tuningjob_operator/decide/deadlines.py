"""``spec.startDeadlineSeconds`` and ``spec.activeDeadlineSeconds``: when a search is overdue. Pure."""

from tuningjob.manifest.models import TuningJobSpec
from tuningjob_operator import names
from tuningjob_operator.decide.conditions import find
from tuningjob_operator.decide.decision import End, PlanBuilder, so_far
from tuningjob_operator.objects import parse_timestamp


def overdue(view: PlanBuilder, spec: TuningJobSpec) -> End | None:
    """The end of a search that has passed one of its deadlines; None if it has passed none."""
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
        return End(names.DEADLINE_EXCEEDED, f"{told} {so_far(progress)}")
    return None


def until_deadline(view: PlanBuilder, spec: TuningJobSpec) -> PlanBuilder:
    """Look at the TuningJob again when its next deadline is over."""
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
