"""What a namespace's quotas and limit ranges, and the cluster's nodes, leave for the pods of a search. Pure.

The rules are the API server's and the scheduler's own (ResourceQuota and LimitRanger admission; NodeResourcesFit, NodeAffinity,
TaintToleration), as far as they concern a pod of ours: one container, no deadline, no affinity. They are applied
before pods are made, so that a wait is reported with its reason and numbers; the servers' own verdict stays the one that holds.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from tuningjob.errors import Problem
from tuningjob.manifest.pod_options import Toleration
from tuningjob.manifest.quantity import parse_quantity

# Pods that nothing bounds: more than a Job can have.
UNBOUNDED: Final = 2**31 - 1

_CPU: Final = ("requests.cpu", "cpu")  # cpu and memory in a quota are other names of the requests
_CPU_LIMIT: Final = "limits.cpu"
_MEMORY: Final = ("requests.memory", "memory", "limits.memory")
_PODS: Final = ("pods", "count/pods")
_JOBS: Final = "count/jobs.batch"
_PRIORITY_CLASS: Final = "PriorityClass"
# Of the scopes that only ask what kind a pod is of, those that our pods match.
_SCOPES_OF_OURS: Final = frozenset({"NotTerminating", "NotBestEffort"})

_MIB: Final = 2**20
_UNITS: Final = {
    "": 1,
    **{f"{suffix}i": 1024**power for power, suffix in enumerate("KMGTPE", 1)},
    **{suffix: 1000**power for power, suffix in enumerate("kMGTPE", 1)},
}
# Taints by which Kubernetes itself marks a passing state of a node: not ready, cordoned, short of disk, being set up.
_PASSING_TAINTS: Final = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "ToBeDeletedByClusterAutoscaler")
_REPELLING: Final = frozenset({"NoSchedule", "NoExecute"})
_SHOWN: Final = 3  # taints or labels that a message names


@dataclass(frozen=True)
class PodSize:
    """What one pod of a search asks for: its CPU request and limit in cores, and bytes of memory for both."""

    cpu_request: Decimal
    cpu: Decimal
    memory: Decimal

    @property
    def cpu_field(self) -> str:
        """The field of a manifest that sets the pod's CPU request."""
        return "cpu" if self.cpu_request == self.cpu else "cpuRequest"


@dataclass(frozen=True)
class QuotaVerdict:
    """How many pods of a search may live at a time, and which quota says so (empty: none does).

    ``pods`` includes those that live already; it is UNBOUNDED if no quota counts them.
    """

    pods: int
    why: str = ""


def quota_allows(
    quotas: Sequence[Mapping[str, Any]],
    size: PodSize,
    *,
    running: int,
    has_job: bool,
    priority_class: str | None,
) -> QuotaVerdict:
    """What the quotas of a namespace leave for pods of this size.

    ``running``: this search's living pods, including those that are ending, because each is in `used`. ``has_job``: whether its
    Job is in `used`. A pod without a priority class counts as having none, although the cluster may have a default. A quota that
    was lowered below what is used may leave fewer pods than run.
    """
    verdict = QuotaVerdict(UNBOUNDED)
    for quota in sorted(quotas, key=_name):
        if not _counts_ours(quota, priority_class):
            continue
        for resource, hard, used in _entries(quota):
            room = _room(resource, hard, used, size, running=running, has_job=has_job)
            if room is not None and room < verdict.pods:
                need = _needs(size).get(resource)
                text = None if need is None else memory_text(need) if resource in _MEMORY else cpu_text(need)
                needs = "" if text is None else f", a pod needs {text}"
                verdict = QuotaVerdict(room, f"ResourceQuota {_name(quota)}: {resource} {used} of {hard} used{needs}")
    return verdict


def only_jobs(quota: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a quota that counts Jobs, for a search whose pods Kueue bounds."""
    status: Mapping[str, Any] = quota.get("status") or {}
    told = {part: {k: v for k, v in (status.get(part) or {}).items() if k == _JOBS} for part in ("hard", "used")}
    spec: Mapping[str, Any] = quota.get("spec") or {}
    hard = {k: v for k, v in (spec.get("hard") or {}).items() if k == _JOBS}
    return {**quota, "spec": {**spec, "hard": hard}, "status": told}


def limit_range_problems(limit_ranges: Sequence[Mapping[str, Any]], size: PodSize) -> list[Problem]:
    """Why a pod of this size would be refused by the limit ranges of its namespace; [] if it would not be.

    Their defaults do not reach a container that names requests and limits.
    """
    problems: list[Problem] = []
    for limit_range in sorted(limit_ranges, key=_name):
        owner = f"LimitRange {_name(limit_range)} of namespace {limit_range['metadata'].get('namespace', '')}"
        for limit in (limit_range.get("spec") or {}).get("limits") or []:
            if limit.get("type") in {"Container", "Pod"}:
                problems += _limit_problems(limit, owner, size)
    return list(dict.fromkeys(problems))


def node_problem(
    nodes: Sequence[Mapping[str, Any]],
    size: PodSize,
    *,
    node_selector: Mapping[str, str] | None,
    tolerations: Sequence[Toleration] | None,
) -> Problem | None:
    """Why no node of the cluster could ever take such a pod; None if one could, or if there is no node at all (yet).

    What else runs on a node does not matter, nor whether it is ready or cordoned, because that passes.
    """
    selected = [node for node in nodes if _is_selected(node, node_selector or {})]
    if not nodes:
        return None
    if not selected:
        return _unselected(nodes, node_selector or {})
    open_ones = [node for node in selected if not _repelling_taints(node, tolerations or ())]
    if not open_ones:
        return _untolerated(selected, tolerations or ())
    cpu, memory = size.cpu_request, size.memory  # the scheduler counts requests
    sizes = [(_name(node), _allocatable(node, "cpu"), _allocatable(node, "memory")) for node in open_ones]
    # the node that comes nearest shows best what to change
    name, its_cpu, its_memory = max(
        sorted(sizes), key=lambda has: (min(has[1] / cpu, Decimal(1)) + min(has[2] / memory, Decimal(1)), has[1:])
    )
    if its_cpu >= cpu and its_memory >= memory:
        return None
    return _too_large(name, size, its_cpu=its_cpu, its_memory=its_memory)


def cpu_text(cores: Decimal) -> str:
    """Cores as Kubernetes writes them: ``2``, ``500m``."""
    return str(int(cores)) if cores == cores.to_integral_value() else f"{math.ceil(cores * 1000)}m"


def memory_text(size: Decimal) -> str:
    """Bytes in the unit that takes the fewest characters: ``2Gi``, ``1536Mi``, ``2G``."""
    whole = math.ceil(size)
    return min((f"{whole // unit}{suffix}" for suffix, unit in _UNITS.items() if whole % unit == 0), key=len)


def _name(body: Mapping[str, Any]) -> str:
    return str(body["metadata"]["name"])


# --- quotas


def _counts_ours(quota: Mapping[str, Any], priority_class: str | None) -> bool:
    """Whether every scope of a quota is one of our pods'."""
    spec = quota.get("spec") or {}
    selectors: list[Mapping[str, Any]] = [
        {"scopeName": scope, "operator": "Exists"} for scope in spec.get("scopes") or []
    ]
    selectors += (spec.get("scopeSelector") or {}).get("matchExpressions") or []
    return all(_is_in_scope(selector, priority_class) for selector in selectors)


def _is_in_scope(selector: Mapping[str, Any], priority_class: str | None) -> bool:
    if selector.get("scopeName") != _PRIORITY_CLASS:
        return selector.get("scopeName") in _SCOPES_OF_OURS
    values = selector.get("values") or []
    match selector.get("operator"):
        case "In":
            return priority_class in values
        case "NotIn":
            return priority_class not in values
        case "Exists":
            return priority_class is not None
        case "DoesNotExist":
            return priority_class is None
    return False


def _entries(quota: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield resource, allowed and used quantity. The allowed one is the status's, because admission goes by that."""
    status = quota.get("status") or {}
    hard = status.get("hard") or (quota.get("spec") or {}).get("hard") or {}
    used = status.get("used") or {}
    for resource in sorted(hard):
        yield resource, str(hard[resource]), str(used.get(resource, "0"))


def _needs(size: PodSize) -> dict[str, Decimal]:
    """What one pod takes of each resource that a quota may count."""
    cpu = {**dict.fromkeys(_CPU, size.cpu_request), _CPU_LIMIT: size.cpu}
    return {**cpu, **dict.fromkeys(_MEMORY, size.memory)}


def _room(resource: str, hard: str, used: str, size: PodSize, *, running: int, has_job: bool) -> int | None:
    """Pods that this entry of a quota leaves, those that run included; None if it counts nothing of ours."""
    if resource == _JOBS:
        return 0 if not has_job and parse_quantity(hard) - parse_quantity(used) < 1 else None
    needs = {**_needs(size), **dict.fromkeys(_PODS, Decimal(1))}
    if resource not in needs:
        return None
    # fractions: decimals would round a quotient of 28 digits up
    left = Fraction(parse_quantity(hard)) - Fraction(parse_quantity(used))
    return max(0, running + math.floor(left / Fraction(needs[resource])))


# --- limit ranges


def _limit_problems(limit: Mapping[str, Any], owner: str, size: PodSize) -> Iterator[Problem]:
    """The problems with one limit: min is compared with the request, which is never above the limit, and max with the limit."""
    bounds = {bound: limit.get(bound) or {} for bound in ("min", "max", "maxLimitRequestRatio")}
    for resource, least_field, low, high in (
        ("cpu", size.cpu_field, size.cpu_request, size.cpu),
        ("memory", "memory", size.memory, size.memory),
    ):
        written = cpu_text if resource == "cpu" else memory_text
        most, least = bounds["max"].get(resource), bounds["min"].get(resource)
        if most is not None and high > parse_quantity(most):
            field, must_be, got = resource, f"at most {most} ({owner})", written(high)
            advice = f"Lower it to {most} or less."
        elif least is not None and low < parse_quantity(least):
            field, must_be, got = least_field, f"at least {least} ({owner})", written(low)
            advice = f"Raise it to {least} or more."
        else:
            continue
        yield Problem(f"spec.resources.{field}", must_be, got, advice, reason="LimitRange")
    ratio = bounds["maxLimitRequestRatio"].get("cpu")
    if ratio is not None and size.cpu > size.cpu_request * parse_quantity(ratio):
        yield Problem(
            "spec.resources.cpuRequest",
            f"no less than cpu divided by {ratio} ({owner}: maxLimitRequestRatio)",
            f"{cpu_text(size.cpu_request)} of {cpu_text(size.cpu)}",
            "Raise it.",
            reason="LimitRange",
        )


# --- nodes


def _is_selected(node: Mapping[str, Any], selector: Mapping[str, str]) -> bool:
    labels = node["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in selector.items())


def _repelling_taints(node: Mapping[str, Any], tolerations: Sequence[Toleration]) -> list[Mapping[str, Any]]:
    """Taints of the node that would keep the pod away for good."""
    taints: list[Mapping[str, Any]] = (node.get("spec") or {}).get("taints") or []
    return [
        taint
        for taint in taints
        if taint.get("effect") in _REPELLING
        and not str(taint.get("key", "")).startswith(_PASSING_TAINTS)
        and not any(_tolerates(toleration, taint) for toleration in tolerations)
    ]


def _tolerates(toleration: Toleration, taint: Mapping[str, Any]) -> bool:
    if toleration.effect is not None and toleration.effect != taint.get("effect"):
        return False
    if toleration.operator == "Exists":
        return not toleration.key or toleration.key == taint.get("key")
    return toleration.key == taint.get("key") and (toleration.value or "") == (taint.get("value") or "")


def _allocatable(node: Mapping[str, Any], resource: str) -> Decimal:
    status = node.get("status") or {}
    return parse_quantity((status.get("allocatable") or status.get("capacity") or {}).get(resource, "0"))


def _unselected(nodes: Sequence[Mapping[str, Any]], selector: Mapping[str, str]) -> Problem:
    """The problem that no node has the labels that are asked for."""
    asked = {f"{key}={value}": {key: value} for key, value in sorted(selector.items())}
    lacking = [text for text, label in asked.items() if not any(_is_selected(node, label) for node in nodes)]
    return Problem(
        "spec.pod.nodeSelector",
        "labels that a node of this cluster has",
        _some(list(asked)),
        f"None of {len(nodes)} nodes has {_some(lacking) if lacking else 'them all'}: see `kubectl get nodes --show-labels`.",
        reason="NoNodeMatches",
    )


def _untolerated(nodes: Sequence[Mapping[str, Any]], tolerations: Sequence[Toleration]) -> Problem:
    """The problem that every node that the selector leaves has a taint that the pod does not tolerate."""
    taints = dict.fromkeys(_taint_text(taint) for node in nodes for taint in _repelling_taints(node, tolerations))
    return Problem(
        "spec.pod.tolerations",
        f"tolerations of the taints of a node that spec.pod.nodeSelector leaves (not tolerated: {_some(list(taints))})",
        _some([_toleration_text(toleration) for toleration in tolerations]) or "none",
        "Tolerate the taint, if those nodes are meant for such work, or select others.",
        reason="NoNodeMatches",
    )


def _toleration_text(toleration: Toleration) -> str:
    value = f"={toleration.value}" if toleration.value else ""
    return f"{toleration.key or '*'}{value}:{toleration.effect or '*'}"


def _taint_text(taint: Mapping[str, Any]) -> str:
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"{taint.get('key')}{value}:{taint.get('effect')}"


def _some(texts: Sequence[str]) -> str:
    return ", ".join([*texts[:_SHOWN], *(["…"] if len(texts) > _SHOWN else [])])


def _too_large(name: str, size: PodSize, *, its_cpu: Decimal, its_memory: Decimal) -> Problem:
    """The problem that even the nearest node, ``name``, is too small."""
    cpu, memory = size.cpu_request, size.memory
    pairs = ((size.cpu_field, cpu, its_cpu), ("memory", memory, its_memory))
    fields = [field for field, asked, has in pairs if asked > has]
    return Problem(
        f"spec.resources.{fields[0]}" if len(fields) == 1 else "spec.resources",
        f"no more than a node of this cluster has for pods (the largest that may take them, {name}: "
        f"cpu {cpu_text(its_cpu)}, memory {_rounded(its_memory)})",
        f"cpu {cpu_text(cpu)}, memory {memory_text(memory)}",
        "Lower it, and raise spec.parallelism instead: smaller pods, more of them.",
        reason="NoNodeFits",
    )


def _rounded(size: Decimal) -> str:
    """A node's memory, which is no round number, in MiB and rounded down, so that a manifest can ask for it."""
    return f"{math.floor(size / _MIB)}Mi" if size >= _MIB else memory_text(size)
