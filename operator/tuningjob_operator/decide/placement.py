"""Where a manifest's pods may run, with which image, and how much disk they may fill: the administrator's ceilings. Pure.

``admission`` judges CPU and memory. These rules keep a tenant who may create nothing but TuningJobs from preempting others, from
nodes that are not for them, and from filling a node's disk.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tuningjob.errors import Problem
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.pod_options import Toleration
from tuningjob.manifest.quantity import parse_quantity
from tuningjob_operator.ceilings import ANY, Ceilings

# Nodes that "any" in the ceilings leaves out: only a list that names them lets a search run there.
CONTROL_PLANE: Final = frozenset({"node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"})
# joblib's memory maps of X and the pipeline caches go here; on disk, so it does not count as the pod's memory.
SCRATCH_BYTES: Final = 4 * 2**30
# Room for a container's log, and for files that its image lets it write.
_LOG_BYTES: Final = 256 * 2**20


def disk_of(spec: TuningJobSpec) -> int:
    """Bytes of its node's disk that a pod may fill: its limit of ephemeral-storage."""
    own = sum(parse_quantity(volume.empty_dir) for volume in spec.pod.volumes or [] if volume.empty_dir is not None)
    return SCRATCH_BYTES + int(own) + _LOG_BYTES


def placement_problems(spec: TuningJobSpec, ceilings: Ceilings) -> Iterator[Problem]:
    """The problems of what the manifest asks for its pods and this cluster's administrator does not allow."""
    pod = spec.pod
    name = pod.priority_class_name
    if name is not None and not _is_allowed(name, ceilings.priority_classes):
        yield _not_allowed("spec.pod.priorityClassName", name, ceilings.priority_classes, "priorityClasses")
    for i, toleration in enumerate(pod.tolerations or []):
        if not _is_tolerable(toleration, ceilings.taints):
            got = "a toleration of every taint" if toleration.key is None else toleration.key
            yield _not_allowed(f"spec.pod.tolerations[{i}].key", got, ceilings.taints, "taints", but=CONTROL_PLANE)
    labels: Mapping[str, str] = pod.node_selector or {}
    for label in labels:
        if not _is_allowed(label, ceilings.node_labels, but=CONTROL_PLANE):
            yield _not_allowed("spec.pod.nodeSelector", label, ceilings.node_labels, "nodeLabels", but=CONTROL_PLANE)
    if spec.image is not None and ceilings.images and not spec.image.startswith(ceilings.images):
        wanted = f"an image whose reference begins with {_or(ceilings.images)} (this cluster's ceiling)"
        yield Problem("spec.image", wanted, spec.image, _advice("images"))
    if ceilings.disk_bytes is not None and disk_of(spec) > ceilings.disk_bytes:
        room = max(0, int(ceilings.disk_bytes) - SCRATCH_BYTES - _LOG_BYTES)
        whole = f"this cluster's ceiling for a pod's disk is {_gib(int(ceilings.disk_bytes))}"
        got = _gib(disk_of(spec) - SCRATCH_BYTES - _LOG_BYTES)
        yield Problem(
            "spec.pod.volumes", f"emptyDirs of at most {_gib(room)} in all ({whole})", got, _advice("maxDisk")
        )
    if ceilings.queue_required and spec.queue_name is None:
        wanted = "the name of a queue, because this cluster runs no search outside of one"
        yield Problem("spec.queueName", wanted, "nothing", _advice("queueRequired"))


def _is_allowed(name: str, allowed: Sequence[str], *, but: frozenset[str] = frozenset()) -> bool:
    return name in allowed or (ANY in allowed and name not in but)


def _is_tolerable(toleration: Toleration, allowed: Sequence[str]) -> bool:
    """Whether the ceilings allow a toleration. One without a key tolerates the control plane's taint as well."""
    if toleration.key is None:
        return ANY in allowed and set(allowed) >= CONTROL_PLANE
    return _is_allowed(toleration.key, allowed, but=CONTROL_PLANE)


def _not_allowed(
    field: str, got: str, allowed: Sequence[str], value: str, *, but: frozenset[str] = frozenset()
) -> Problem:
    wanted = _or(allowed) or "left out"
    if ANY in allowed:
        wanted = f"another one than {_or(sorted(but - set(allowed)))}"
    return Problem(field, f"{wanted} (this cluster's ceiling)", got, _advice(value))


def _advice(value: str) -> str:
    return f"The ceiling is the administrator's (chart value limits.{value})."


def _or(names: Sequence[str]) -> str:
    return " or ".join(names)


def _gib(size: int) -> str:
    return f"{size / 2**30:.4g}Gi"
