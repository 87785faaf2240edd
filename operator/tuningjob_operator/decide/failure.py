"""Why a Job gave up: from its condition and its pods' container states to a reason and a message. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from tuningjob.manifest.wellknown import ExitCode
from tuningjob_operator import names
from tuningjob_operator.objects import find_condition


def explain(job: Mapping[str, Any], pods: Sequence[Mapping[str, Any]]) -> tuple[str, str]:
    """Reason and message of a Job that failed by itself: the Job's own words, then those of the pod that ended last."""
    condition = find_condition(job, "Failed") or {}
    lines = [str(condition.get("message") or "The Job failed.")]
    reason = str(condition.get("reason") or names.JOB_FAILED)
    last = _last(pods)
    if last is not None:
        terminated = terminated_of(last)
        lines.append(_story(last, terminated))
        if terminated.get("reason") == "OOMKilled":
            reason = names.OUT_OF_MEMORY
            lines.append("Raise spec.resources.memory, or lower spec.resources.cpu: fewer fits then share it.")
        if terminated.get("message"):
            lines.append(str(terminated["message"]).strip())
    return reason, "\n".join(lines)


def lacked_the_service(pods: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the pod that ended last had waited in vain for the results service."""
    last = _last(pods)
    return last is not None and terminated_of(last).get("exitCode") == ExitCode.SERVICE_UNAVAILABLE


def terminated_of(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    """How the worker's container of a pod ended; empty while it has not."""
    terminated: Mapping[str, Any] = _container_state(pod).get("terminated") or {}
    return terminated


def _last(pods: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    return max(pods, key=_ended_at, default=None)


def _story(pod: Mapping[str, Any], terminated: Mapping[str, Any]) -> str:
    name = pod["metadata"]["name"]
    if terminated:
        return f"Pod {name} ended with exit code {terminated.get('exitCode')} ({terminated.get('reason', 'no reason given')})."
    status = pod.get("status") or {}
    said = " ".join(str(status[field]) for field in ("reason", "message") if status.get(field))
    waiting = _waiting(pod)
    if waiting:
        said = f"{waiting.get('reason', '')} {waiting.get('message', '')}".strip()
    return f"Pod {name} was {status.get('phase', 'Unknown')}{f': {said}' if said else ''}."


def _container_state(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    statuses: list[Mapping[str, Any]] = (pod.get("status") or {}).get("containerStatuses") or []
    found = next((status for status in statuses if status.get("name") == names.CONTAINER), {})
    state: Mapping[str, Any] = found.get("state") or {}
    return state


def _waiting(pod: Mapping[str, Any]) -> Mapping[str, Any]:
    waiting: Mapping[str, Any] = _container_state(pod).get("waiting") or {}
    return waiting


def _ended_at(pod: Mapping[str, Any]) -> tuple[bool, str]:
    """A sort key: a failed pod comes after one that runs or succeeded, and the one that failed last comes last."""
    terminated = terminated_of(pod)
    return bool(terminated and terminated.get("exitCode") != 0), str(terminated.get("finishedAt", ""))
