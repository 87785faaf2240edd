"""Whether a manifest may run on this cluster, and how big. Pure: the manifest and the administrator's ceilings in, a verdict out.

The manifest's own rules are ``tuningjob.spec.manifest``'s, the same as on a laptop. Here is only what a cluster adds.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.sizing import Size, check_limit, n_jobs_of, pods_of, size_of
from tuningjob.spec.manifest import load
from tuningjob.spec.models import TuningJobSpec
from tuningjob_operator.settings import Settings


@dataclass(frozen=True, kw_only=True)
class Admission:
    """An admitted search: what runs, and how big it is."""

    spec: TuningJobSpec
    size: Size
    pods: int
    n_jobs: int


def admit(body: Mapping[str, Any], settings: Settings) -> Admission:
    """Judge a TuningJob. Raises ManifestRefused with every problem that can be told at once."""
    spec = load(body).spec
    admission = measure(spec)
    problems = list(_cluster_problems(spec, settings))
    try:
        check_limit(admission.size, spec, cluster_max_fits=settings.max_fits)
    except ManifestRefused as refused:
        problems += refused.problems
    if problems:
        raise ManifestRefused(problems)
    return admission


def measure(spec: TuningJobSpec) -> Admission:
    """The size of a spec that was admitted before: ceilings that were lowered since do not reach it."""
    size = size_of(spec)
    return Admission(spec=spec, size=size, pods=pods_of(spec, size), n_jobs=n_jobs_of(spec))


def size_of_refused(body: Mapping[str, Any]) -> Size | None:
    """The size of a TuningJob that was refused, if it can be told."""
    try:
        return size_of(load(body).spec)
    except ManifestRefused:
        return None


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
    if spec.image is None and not settings.worker_image:
        yield Problem(
            "spec.image",
            "given, as this operator has no worker image of its own",
            "nothing",
            "Or have the administrator set the chart's worker image.",
        )
