"""What a Job's body says: who owns it, whether it goes on, its pods, its queue, its memory. Pure."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tuningjob.manifest.quantity import parse_quantity
from tuningjob_operator import names
from tuningjob_operator.decide.admission import Admission
from tuningjob_operator.decide.job import LABEL_QUEUE
from tuningjob_operator.objects import has_condition, is_owned_by, was_left_by_namesake


def is_foreign(job: Mapping[str, Any] | None, tuningjob: Mapping[str, Any]) -> bool:
    """Whether a Job of that name exists that is not ours and will not be garbage-collected."""
    return job is not None and not is_owned_by(job, tuningjob) and not was_left_by_namesake(job, tuningjob)


def active_pods(job: Mapping[str, Any] | None, tuningjob: Mapping[str, Any]) -> int:
    """Pods of our Job that have not ended."""
    return status_number(job, "active") if job is not None and is_owned_by(job, tuningjob) else 0


def is_live(job: Mapping[str, Any] | None, tuningjob: Mapping[str, Any]) -> bool:
    """Whether the Job is ours and may still make or have pods."""
    return job is not None and _is_unfinished(job, tuningjob) and not job["spec"].get("suspend")


def is_to_be_stopped(job: Mapping[str, Any] | None, tuningjob: Mapping[str, Any]) -> bool:
    """Whether the Job is ours and will make or have pods unless it is stopped: Kueue starts one that waits in a queue."""
    if job is None or not _is_unfinished(job, tuningjob):
        return False
    return not job["spec"].get("suspend") or queue_of(job) is not None


def _is_unfinished(job: Mapping[str, Any], tuningjob: Mapping[str, Any]) -> bool:
    return (
        is_owned_by(job, tuningjob)
        and not job["metadata"].get("deletionTimestamp")
        and not has_condition(job, "Complete")
        and not has_condition(job, "Failed")
    )


def is_short_of_pods(job: Mapping[str, Any] | None, tuningjob: Mapping[str, Any]) -> bool:
    """Whether fewer pods are ready than the Job is to have now."""
    if job is None or not is_live(job, tuningjob):
        return False
    return status_number(job, "ready") < expected_pods(job)


def status_number(job: Mapping[str, Any], field: str) -> int:
    """A number of a Job's status; 0 if it is not there."""
    return int((job.get("status") or {}).get(field) or 0)


def completions_of(job: Mapping[str, Any]) -> int:
    """How many completion indexes a Job has."""
    return int(job["spec"].get("completions", 1))


def queue_of(job: Mapping[str, Any]) -> str | None:
    """The queue from which Kueue starts the Job: the manifest's, or the namespace's default one, which Kueue itself writes."""
    labels: Mapping[str, str] = job["metadata"].get("labels") or {}
    return labels.get(LABEL_QUEUE)


def expected_pods(job: Mapping[str, Any]) -> int:
    """Pods that a Job is to have now."""
    return min(int(job["spec"].get("parallelism", 1)), completions_of(job) - status_number(job, "succeeded"))


def memory_of(job: Mapping[str, Any], admission: Admission) -> Decimal:
    """Bytes of memory of each pod of an existing Job."""
    pod: Mapping[str, Any] = (job["spec"].get("template") or {}).get("spec") or {}
    containers: list[Mapping[str, Any]] = pod.get("containers") or []
    told: Mapping[str, Any] = next((each for each in containers if each["name"] == names.CONTAINER), {})
    limit = ((told.get("resources") or {}).get("limits") or {}).get("memory")
    return Decimal(admission.memory_bytes) if limit is None else parse_quantity(limit)
