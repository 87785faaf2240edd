"""Whether a manifest may run on this cluster, and how big. Pure: the manifest and the administrator's ceilings in, a verdict out.

The manifest's own rules are in ``tuningjob.manifest.loading``, the same as on a laptop. Here is only what a cluster adds.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import ROUND_CEILING, Decimal
from typing import Any

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.loading import load
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.quantity import parse_quantity
from tuningjob.protocol.records import Pilot
from tuningjob.sizing import Size, check_limit, n_jobs_of, n_jobs_within, size_of, with_baseline
from tuningjob_operator.decide.capacity import PodSize, cpu_text
from tuningjob_operator.decide.placement import placement_problems
from tuningjob_operator.reading import as_written, unreadable
from tuningjob_operator.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Admission:
    """An admitted search: what runs, and how big it is.

    ``most_pods`` is spec.parallelism within the ceilings, ``pods`` how many of these there is work for.
    """

    spec: TuningJobSpec
    size: Size
    most_pods: int
    n_jobs: int

    @property
    def pods(self) -> int:
        """Pods that the search can use. While its number of fits is unknown this is one pod, which finds that out; under Kueue
        it is all of them, because a Job keeps its size there.
        """
        if self.size.fits is None:
            return self.most_pods if self.spec.queue_name is not None else 1
        return max(1, min(self.most_pods, math.ceil(self.size.fits / self.n_jobs)))

    @property
    def memory_bytes(self) -> int:
        """The memory of each pod, in bytes."""
        return int(parse_quantity(self.spec.resources.memory))

    def with_splits(self, splits: int) -> "Admission":
        """With the number of splits that the first pod has found, if the manifest does not tell; 0: it has not looked yet."""
        if self.size.splits is not None or not splits:
            return self
        return replace(self, size=replace(self.size, splits=splits))

    def within_memory(self, pilot: Pilot | None) -> "Admission":
        """With no more processes in a pod than its memory holds, by what the pilot measured."""
        return replace(self, n_jobs=n_jobs_within(self.n_jobs, self.memory_bytes, pilot))


def admit(body: Mapping[str, Any], settings: Settings) -> Admission:
    """Judge a TuningJob. Raises ManifestRefused with every problem that can be told at once."""
    return admit_spec(read_spec(body), settings)


def admit_spec(spec: TuningJobSpec, settings: Settings) -> Admission:
    """Judge a TuningJob whose spec has been read. This decides, once, whether it has a baseline."""
    spec = with_baseline(spec, cluster_max_fits=settings.max_fits)
    admission = admission_of(spec)
    problems = list(_cluster_problems(spec, settings))
    try:
        check_limit(admission.size, spec, cluster_max_fits=settings.max_fits)
    except ManifestRefused as refused:
        problems += refused.problems
    if problems:
        raise ManifestRefused(problems)
    return admission


def read_spec(body: Mapping[str, Any]) -> TuningJobSpec:
    """The spec of a TuningJob. Raises ManifestRefused, and nothing else, for a spec that cannot be read."""
    problem = unreadable(body)
    if problem is not None:
        raise ManifestRefused([problem])
    try:
        return load(as_written(body)).spec
    except ManifestRefused:
        raise
    except Exception as error:
        # a fault of ours must cost this TuningJob alone; its text is left out, because it may be as large as the value
        got = f"one that ends in {type(error).__name__}"
        raise ManifestRefused(
            [Problem("spec", "one that the operator can read", got, "Simplify its values, and report this.")]
        ) from error


def admission_of(spec: TuningJobSpec) -> Admission:
    """The size of a spec, before any ceiling is applied."""
    return Admission(spec=spec, size=size_of(spec), most_pods=spec.parallelism, n_jobs=n_jobs_of(spec))


def remeasure(spec: TuningJobSpec, admitted: TuningJobSpec, settings: Settings) -> Admission:
    """The size that is wanted now of a search that was admitted as ``admitted``.

    Ceilings that were lowered since do not shrink it, but it cannot be scaled above them.
    """
    return replace(
        admission_of(spec), most_pods=min(spec.parallelism, max(ceiling_pods(spec, settings), admitted.parallelism))
    )


def cpu_request_of(spec: TuningJobSpec, settings: Settings) -> Decimal:
    """Cores that each pod is promised: what the manifest says, else the part of its CPU that the administrator has set."""
    cpu, asked = parse_quantity(spec.resources.cpu), spec.resources.cpu_request
    return parse_quantity(asked) if asked is not None else _percent(cpu, settings.placement.default_cpu_request_percent)


def pod_size(spec: TuningJobSpec, settings: Settings, *, memory: Decimal) -> PodSize:
    """What each pod of a search asks for, with ``memory`` in bytes."""
    return PodSize(cpu_request_of(spec, settings), parse_quantity(spec.resources.cpu), memory)


def _percent(cpu: Decimal, percent: int) -> Decimal:
    """A share of the CPU in whole thousandths of a core, rounded up, because Kubernetes knows no smaller ones."""
    return min(cpu, (cpu * percent * 10).to_integral_value(ROUND_CEILING) / 1000)


def ceiling_pods(spec: TuningJobSpec, settings: Settings, *, memory: Decimal | None = None) -> int:
    """How many pods of its size one search may have on this cluster; 0 if one alone is too large."""
    cpu = parse_quantity(spec.resources.cpu)
    memory = parse_quantity(spec.resources.memory) if memory is None else memory
    by_cpu = math.inf if settings.max_cpu is None else settings.max_cpu // cpu
    by_memory = math.inf if settings.max_memory is None else settings.max_memory // memory
    return int(min(settings.max_pods, by_cpu, by_memory))


def _cluster_problems(spec: TuningJobSpec, settings: Settings) -> Iterator[Problem]:
    data = spec.data
    if data.path is not None and data.persistent_volume_claim is None and data.config_map is None:
        yield Problem(
            "spec.data",
            "with persistentVolumeClaim or configMap beside a path, on a cluster",
            f"the path {data.path!r} alone",
            "Name the volume that holds the file.",
        )
    if spec.parallelism > settings.max_pods:
        yield Problem(
            "spec.parallelism",
            f"at most {settings.max_pods} (this cluster's ceiling)",
            str(spec.parallelism),
            "Lower it; the ceiling is the administrator's (chart value limits.maxPods).",
        )
    yield from _ceiling_problems(spec, "cpu", spec.resources.cpu, settings.max_cpu, "limits.maxCpu")
    yield from _ceiling_problems(spec, "memory", spec.resources.memory, settings.max_memory, "limits.maxMemory")
    yield from _request_problems(spec, settings)
    most = spec.resources.memory_limit
    if most is not None and settings.max_memory is not None and parse_quantity(most) > settings.max_memory:
        yield Problem(
            "spec.resources.memoryLimit",
            f"at most {_plain(settings.max_memory)} (this cluster's ceiling for one search)",
            str(most),
            "Lower it; the ceiling is the administrator's (chart value limits.maxMemory).",
        )
    if not settings.trusts_references:
        for field in _references(spec):
            yield Problem(
                field,
                "left out, as nothing on this cluster checks that its author may use it",
                "a name",
                "The administrator can install the chart's admission policy, or trust authors (chart value references).",
            )
    yield from placement_problems(spec, settings.placement)
    if spec.image is None and not settings.worker_image:
        yield Problem(
            "spec.image",
            "given, as this operator has no worker image of its own",
            "nothing",
            "Or have the administrator set the chart's worker image.",
        )


def _ceiling_problems(
    spec: TuningJobSpec, what: str, each: int | str, ceiling: Decimal | None, value: str
) -> Iterator[Problem]:
    """The problems of a search whose pods, each or all together, are above the ceilings."""
    if ceiling is None or parse_quantity(each) * spec.parallelism <= ceiling:
        return
    pods = int(ceiling // parse_quantity(each))
    if pods == 0:
        field, must_be, got = (
            f"spec.resources.{what}",
            f"at most {_plain(ceiling)} (this cluster's ceiling for one search)",
            str(each),
        )
    else:
        field, got = "spec.parallelism", str(spec.parallelism)
        must_be = f"at most {pods} with {each} of {what} in each pod (this cluster's ceiling for one search is {_plain(ceiling)})"
    yield Problem(field, must_be, got, f"Lower it; the ceiling is the administrator's (chart value {value}).")


def _request_problems(spec: TuningJobSpec, settings: Settings) -> Iterator[Problem]:
    """The problem of a search whose CPU request is below the administrator's share of its CPU; a node is filled by requests."""
    percent, cpu = settings.placement.least_cpu_request_percent, parse_quantity(spec.resources.cpu)
    least, asked = _percent(cpu, percent), cpu_request_of(spec, settings)
    if asked < least:
        yield Problem(
            "spec.resources.cpuRequest",
            f"at least {cpu_text(least)} with {cpu_text(cpu)} of cpu (this cluster's floor is {percent} % of it)",
            cpu_text(asked),
            "Raise it; the floor is the administrator's (chart value limits.minCpuRequestPercent).",
        )


def _plain(value: Decimal) -> str:
    """Bytes in Gi if they are large; else the number."""
    return f"{value / 2**30:.4g}Gi" if value >= 2**30 else f"{value.normalize():f}"


def _references(spec: TuningJobSpec) -> Iterator[str]:
    """Fields that name what otherwise needs the right to create pods: Secrets, claims, service accounts."""
    if spec.data.persistent_volume_claim is not None:
        yield "spec.data.persistentVolumeClaim"
    if spec.code is not None and spec.code.persistent_volume_claim is not None:
        yield "spec.code.persistentVolumeClaim"
    pod = spec.pod
    if pod.service_account_name is not None:
        yield "spec.pod.serviceAccountName"
    if pod.image_pull_secrets:
        yield "spec.pod.imagePullSecrets"
    for i, variable in enumerate(pod.env or []):
        if variable.secret is not None:
            yield f"spec.pod.env[{i}].secret"
    for i, volume in enumerate(pod.volumes or []):
        if volume.secret is not None:
            yield f"spec.pod.volumes[{i}].secret"
        if volume.persistent_volume_claim is not None:
            yield f"spec.pod.volumes[{i}].persistentVolumeClaim"
