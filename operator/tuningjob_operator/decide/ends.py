"""How a TuningJob ends: complete, refused, failed or ended by its manifest; and what becomes of it afterwards. Pure."""

import datetime as dt
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from tuningjob.journal.records import TOO_MANY_FAILED_FITS, Progress
from tuningjob.manifest.status import TuningJobStatus
from tuningjob_operator import names
from tuningjob_operator.decide import job_state, suspension
from tuningjob_operator.decide.decision import DeleteTuningJob, End, EndSearch, Plan, PlanBuilder, PublishResults, Step
from tuningjob_operator.decide.owned_objects import build_results
from tuningjob_operator.decide.words import condition_reason, printable
from tuningjob_operator.objects import Body, parse_timestamp
from tuningjob_operator.settings import Settings

# The pods of a search that has ended leave by themselves; a pod that never came to work is removed.
GRACE_SECONDS: Final = 30.0


def complete(view: PlanBuilder, progress: Progress) -> Plan:
    """Publish the answer as an object, then report it in the status."""
    steps: list[Step] = []
    failed = progress.answer.failed_fits if progress.answer is not None else progress.failed
    asked_to_reuse = view.observed.admitted is not None and view.observed.admitted.reuse
    reused = f", {progress.reused} reused" if asked_to_reuse else ""
    pruned = f", {progress.pruned} of them not needed (pruned)" if progress.pruned else ""
    message = f"{progress.total} fits{pruned}{reused}{f', {failed} failed (scored NaN)' if failed else ''}."
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


def refused_late(view: PlanBuilder, message: str) -> Plan:
    """Refuse the search after its first pod has looked. It ends in the journal first, as every search does."""
    ended = ended_by_manifest(view, End(names.MANIFEST_REFUSED, message))
    return replace(ended, steps=(EndSearch(f"{names.MANIFEST_REFUSED}: {message}"), *ended.steps))


def refused_by_worker(view: PlanBuilder, progress: Progress) -> Plan:
    """Report a refusal of the first worker, with each problem that it found."""
    problems = progress.refusal.problems if progress.refusal else ()
    message = "\n".join(_problem_text(problem) for problem in problems)
    told = next((problem["reason"] for problem in problems if problem.get("reason")), None)
    reason = condition_reason(told, names.MANIFEST_REFUSED)
    view = view.noted(names.PREFLIGHT, is_true=False, reason=reason, message=message)
    return failed(view, End(names.MANIFEST_REFUSED, message))


def failed_in_journal(view: PlanBuilder, progress: Progress) -> Plan:
    """Report a failure that the journal has: a limit of the manifest, or a worker that could not rank or refit."""
    text = printable(progress.failure or "") or "The search failed."
    # a worker's text may begin with anything, so it is not read as a reason
    if progress.end_reason in {*names.ENDED_BY_MANIFEST, names.MANIFEST_REFUSED}:
        return ended_by_manifest(view, End(progress.end_reason, text.removeprefix(f"{progress.end_reason}: ")))
    return failed(view, End(names.SEARCH_FAILED, text, keep_end=True))


def ended_by_manifest(view: PlanBuilder, end: End) -> Plan:
    """End the TuningJob because its manifest, or the journal on its behalf, has ended the search."""
    view = view.waking(0.0)  # its pods are to be removed
    if end.reason == names.PLAN_READY:
        return view.ended("Planned").noted(names.COMPLETE, reason=end.reason, message=end.message).planned()
    keep_end = end.reason == TOO_MANY_FAILED_FITS
    return failed(view, replace(end, keep_end=keep_end))


def failed(view: PlanBuilder, end: End) -> Plan:
    """End the TuningJob as failed."""
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


def after_the_end(view: PlanBuilder, old: TuningJobStatus) -> Plan:
    """A TuningJob that has ended stays as it is. Its pods are still removed, and it is deleted when its time to live is over."""
    tuningjob, job = view.observed.tuningjob, view.observed.job
    active = job_state.active_pods(job, tuningjob)
    status = old.model_copy(update={"active_pods": active if old.active_pods is not None else None})
    ended = parse_timestamp(old.completion_time) if old.completion_time else view.now
    age = (view.now - ended).total_seconds()
    left = seconds_to_live(tuningjob, old, view.settings, view.now)
    if left is not None and left <= 0:
        return Plan(status=old, steps=(DeleteTuningJob(),))
    view = view.waking(left)
    steps: tuple[Step, ...] = ()
    if job_state.is_to_be_stopped(job, tuningjob):
        was_ended = any(
            each.reason in names.ENDED_BY_MANIFEST for each in view.conditions if each.type in names.TERMINAL
        )
        grace = 0.0 if was_ended else GRACE_SECONDS
        steps = suspension.stop(view) if age >= grace else ()
        view = view.waking(None if steps else grace - age)
    return Plan(status=status, steps=steps, wake_after=view.wake_after)
