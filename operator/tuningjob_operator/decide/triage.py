"""What keeps pods from working, in Kubernetes' own words. Pure: pods in, a reason and a message out.

Jobs are watched and pods are not: pods are read only when a Job's status has shown for a while that something is wrong.
"""

import datetime as dt
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tuningjob.manifest.wellknown import ExitCode
from tuningjob_operator import names
from tuningjob_operator.decide.failure import terminated_of
from tuningjob_operator.objects import Body, has_condition, parse_timestamp

# How long pods may take to become ready before a condition says why they are not.
PATIENCE_SECONDS: Final = 30.0
# A pod that is deleted has ended by its deletionTimestamp; one that is still there so much later has lost its node.
LOST_AFTER: Final = dt.timedelta(seconds=30)
# How long after its end a pod may be held by the Job controller: its watch comes back within half a minute of an outage.
HELD_FOR: Final = dt.timedelta(minutes=2)
_TRACKED: Final = "batch.kubernetes.io/job-tracking"
_OF_ITS_OWN_WILL: Final = frozenset({ExitCode.SERVICE_UNAVAILABLE, ExitCode.TERMINATED})
_INDEX: Final = re.compile(r"[0-9]{1,6}", re.ASCII)
_SLOW_IS_FINE: Final = frozenset({"ContainerCreating", "PodInitializing"})


@dataclass(frozen=True)
class Trouble:
    """Why pods are not at work: ``reason`` is Kubernetes' own, one word; ``message`` names the pods."""

    reason: str
    message: str


def find_trouble(pods: Sequence[Body], now: dt.datetime) -> Trouble | None:
    """Why pods are not at work: the first reason found, with how many pods have it. None if no pod says why."""
    found: dict[str, list[tuple[str, str]]] = {}
    for pod in sorted(pods, key=lambda pod: str(pod["metadata"]["name"])):
        reason, message = _trouble_of(pod, now)
        if reason:
            found.setdefault(reason, []).append((pod["metadata"]["name"], message))
    if not found:
        return None
    reason, told = max(found.items(), key=lambda item: len(item[1]))
    name, message = told[0]
    others = f" ({len(told)} pods)" if len(told) > 1 else ""
    return Trouble(reason, f"Pod {name}{others}: {message}")


def lost_indexes(pods: Sequence[Body], now: dt.datetime) -> tuple[int, ...]:
    """Completion indexes whose pod should be gone by now and is not: its node is lost, so other pods may have its work."""
    lost = {index_of(pod) for pod in pods if _is_lost(pod, now)}
    alive = {index_of(pod) for pod in pods if not pod["metadata"].get("deletionTimestamp") and not _has_ended(pod)}
    return tuple(sorted(index for index in lost - alive if index is not None))


def is_living(pod: Body) -> bool:
    """Whether the pod's containers may still run."""
    return not _has_ended(pod)


def is_held(pod: Body, now: dt.datetime) -> bool:
    """Whether a pod that ended a short while ago still has the finalizer of Kubernetes' Job controller.

    The controller takes it off once it has seen the Job go. If its watch was away, and there is another Job of that name when it
    comes back, the controller sees a Job that was changed and none that is gone, and holds the pod for as long as it lives itself
    (``updateJob`` in pkg/controller/job of Kubernetes 1.34).
    """
    metadata = pod["metadata"]
    if not _has_ended(pod) or _TRACKED not in (metadata.get("finalizers") or []):
        return False
    told = (metadata.get("deletionTimestamp"), terminated_of(pod).get("finishedAt"), metadata.get("creationTimestamp"))
    moments = [parse_timestamp(moment) for moment in told if moment]
    return not moments or now - max(moments) < HELD_FOR


def are_being_set_up(pods: Sequence[Body]) -> bool:
    """Whether a container has not begun on its node: its image is pulled, or something that it mounts is missing."""
    return any(
        ((container.get("state") or {}).get("waiting") or {}).get("reason") in _SLOW_IS_FINE
        for pod in pods
        if not _has_ended(pod) and not pod["metadata"].get("deletionTimestamp")
        for container in (pod.get("status") or {}).get("containerStatuses") or []
    )


def blameless_pods(pods: Sequence[Body]) -> tuple[str, ...]:
    """Names of pods whose end was no fit's fault.

    Kubernetes itself ended them (evicted, preempted, lost with their node), or the worker left because it was asked to or had
    waited in vain for the results service, maybe without telling the journal.
    """
    return tuple(
        str(pod["metadata"]["name"])
        for pod in pods
        if (pod.get("status") or {}).get("phase") == "Failed"
        and (has_condition(pod, "DisruptionTarget") or terminated_of(pod).get("exitCode") in _OF_ITS_OWN_WILL)
    )


def index_of(pod: Mapping[str, Any]) -> int | None:
    """The completion index of a pod of an Indexed Job; None for any other pod with our label."""
    metadata = pod["metadata"]
    told = str((metadata.get("annotations") or {}).get(names.ANNOTATION_INDEX, ""))
    return int(told) if _INDEX.fullmatch(told) else None


def _trouble_of(pod: Body, now: dt.datetime) -> tuple[str, str]:
    if _has_ended(pod):
        return "", ""
    status: Mapping[str, Any] = pod.get("status") or {}
    if _is_lost(pod, now):
        node = (pod.get("spec") or {}).get("nodeName", "unknown")
        return names.NODE_LOST, (
            f"was to end by {pod['metadata']['deletionTimestamp']}, but its node {node} does not say so. Its work is given to "
            "others. If the node is lost for good, delete it."
        )
    for condition in status.get("conditions") or []:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return str(condition.get("reason") or "Unschedulable"), str(condition.get("message") or "not scheduled")
    for container in status.get("containerStatuses") or []:
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason", "")
        if reason and reason not in _SLOW_IS_FINE:
            return reason, str(waiting.get("message") or reason)
    ready: Mapping[str, Any] = next((c for c in status.get("conditions") or [] if c.get("type") == "Ready"), {})
    if (status.get("phase") == "Running" and ready.get("reason") == "NodeStatusUnknown") or status.get(
        "reason"
    ) == "NodeLost":
        node = (pod.get("spec") or {}).get("nodeName", "unknown")
        return names.NODE_LOST, f"its node {node} does not answer; Kubernetes moves the pod when that lasts"
    return "", ""


def _has_ended(pod: Body) -> bool:
    """Whether no container of it runs, and none will: one that is deleted before it is on a node is given none any more."""
    phase = (pod.get("status") or {}).get("phase")
    is_nowhere = phase == "Pending" and not (pod.get("spec") or {}).get("nodeName")
    return phase in {"Succeeded", "Failed"} or (is_nowhere and bool(pod["metadata"].get("deletionTimestamp")))


def _is_lost(pod: Body, now: dt.datetime) -> bool:
    until = pod["metadata"].get("deletionTimestamp")
    return bool(until) and not _has_ended(pod) and now > parse_timestamp(until) + LOST_AFTER
