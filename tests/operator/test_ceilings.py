"""What no manifest can pass: the administrator's ceilings for one search, and names that its author may not use."""

from decimal import Decimal
from typing import Any

import pytest

from tests.operator.world import make_settings, manifest
from tuningjob.errors import ManifestRefused
from tuningjob_operator.ceilings import Ceilings
from tuningjob_operator.decide.admission import admission_of, admit, ceiling_pods, remeasure


def refusal(spec: dict[str, Any], **settings: Any) -> str:
    with pytest.raises(ManifestRefused) as refused:
        admit(manifest(**spec), make_settings(**settings))
    return str(refused.value)


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "too many pods": (
        {"parallelism": 21},
        {},
        (
            "spec.parallelism: must be at most 20 (this cluster's ceiling), but got 21. Lower it; the ceiling is the "
            "administrator's (chart value limits.maxPods)."
        ),
    ),
    "too much CPU in all": (
        {"parallelism": 5},
        {"max_cpu": Decimal(8)},
        (
            "spec.parallelism: must be at most 4 with 2 of cpu in each pod (this cluster's ceiling for one search is 8), but got 5. "
            "Lower it; the ceiling is the administrator's (chart value limits.maxCpu)."
        ),
    ),
    "too much CPU in one pod": (
        {"parallelism": 5},
        {"max_cpu": Decimal(1)},
        "spec.resources.cpu: must be at most 1 (this cluster's ceiling for one search), but got 2.",
    ),
    "too much memory in all": (
        {"parallelism": 5},
        {"max_memory": Decimal(4 * 2**30)},
        (
            "spec.parallelism: must be at most 4 with 1Gi of memory in each pod (this cluster's ceiling for one search is 4Gi), but "
            "got 5."
        ),
    ),
    "less of the CPU than the floor": (
        {"resources": {"cpu": "2", "cpuRequest": "499m"}},
        {"placement": Ceilings(least_cpu_request_percent=25)},
        (
            "spec.resources.cpuRequest: must be at least 500m with 2 of cpu (this cluster's floor is 25 % of it), but got 499m. "
            "Raise it; the floor is the administrator's (chart value limits.minCpuRequestPercent)."
        ),
    ),
    "a memory limit above all": (
        {"parallelism": 1, "resources": {"memory": "1Gi", "memoryLimit": "5Gi"}},
        {"max_memory": Decimal(4 * 2**30)},
        "spec.resources.memoryLimit: must be at most 4Gi (this cluster's ceiling for one search), but got 5Gi.",
    ),
    "too many fits": (
        {"limits": {"maxFits": 1_000_000}},
        {"max_fits": 17},
        (
            "spec.search.grid.parameters: must be a grid of at most 17 fits (this cluster's ceiling), but got 9 candidates × 2 folds "
            "= 18 fits."
        ),
    ),
}


@pytest.mark.parametrize(("spec", "settings", "want"), REFUSED.values(), ids=REFUSED.keys())
def test_a_manifest_is_refused_for(spec: dict[str, Any], settings: dict[str, Any], want: str) -> None:
    assert refusal(spec, **settings).startswith(want)


def test_every_ceiling_that_is_passed_is_told_at_once() -> None:
    told = refusal({"parallelism": 30}, max_cpu=Decimal(8), max_memory=Decimal(2**30), max_fits=3)

    assert len(told.splitlines()) == 4


def test_what_is_just_within_the_ceilings_is_admitted() -> None:
    within = make_settings(max_cpu=Decimal(6), max_memory=Decimal(3 * 2**30), max_pods=3, max_fits=18)

    assert admit(manifest(), within).pods == 3


def test_a_search_may_ask_for_the_floor_of_its_cpu_and_for_more() -> None:
    floor = make_settings(placement=Ceilings(least_cpu_request_percent=25))

    for request in ("500m", "1", "2"):
        assert (
            admit(manifest(resources={"cpu": "2", "cpuRequest": request}), floor).spec.resources.cpu_request == request
        )


def test_the_ceiling_of_cpu_counts_what_pods_may_use_and_not_what_they_are_promised() -> None:
    told = refusal({"parallelism": 5, "resources": {"cpu": "2", "cpuRequest": "1m"}}, max_cpu=Decimal(8))

    assert "at most 4 with 2 of cpu in each pod" in told


def test_a_ceiling_that_is_lowered_does_not_reach_what_runs_but_holds_for_what_is_asked_for_then() -> None:
    admitted = admit(manifest(parallelism=5), make_settings()).spec
    lowered = make_settings(max_pods=2)

    assert remeasure(admitted, admitted, lowered).pods == 5
    assert remeasure(admitted.model_copy(update={"parallelism": 9}), admitted, lowered).pods == 5
    assert remeasure(admitted.model_copy(update={"parallelism": 1}), admitted, lowered).pods == 1


def test_a_larger_pod_is_allowed_fewer_times() -> None:
    spec = admission_of(admit(manifest(), make_settings()).spec).spec
    settings = make_settings(max_memory=Decimal(8 * 2**30))

    assert ceiling_pods(spec, settings) == 8
    assert ceiling_pods(spec, settings, memory=Decimal(3 * 2**30)) == 2


NAMES: dict[str, dict[str, Any]] = {
    "spec.data.persistentVolumeClaim": {
        "data": {"path": "t.csv", "target": "y", "persistentVolumeClaim": "tables"},
    },
    "spec.code.persistentVolumeClaim": {"code": {"persistentVolumeClaim": "modules"}},
    "spec.pod.serviceAccountName": {"pod": {"serviceAccountName": "robot"}},
    "spec.pod.imagePullSecrets": {"pod": {"imagePullSecrets": ["registry"]}},
    "spec.pod.env[1].secret": {
        "pod": {"env": [{"name": "A", "value": "1"}, {"name": "B", "secret": {"name": "s", "key": "k"}}]}
    },
    "spec.pod.volumes[0].secret": {"pod": {"volumes": [{"name": "v", "mountPath": "/v", "secret": "s"}]}},
    "spec.pod.volumes[0].persistentVolumeClaim": {
        "pod": {"volumes": [{"name": "v", "mountPath": "/v", "persistentVolumeClaim": "c"}]}
    },
}


@pytest.mark.parametrize(("field", "spec"), NAMES.items(), ids=NAMES.keys())
def test_where_nobody_checks_its_author_a_manifest_may_not_name(field: str, spec: dict[str, Any]) -> None:
    assert refusal(spec, trusts_references=False).startswith(f"{field}: must be left out")
    assert admit(manifest(**spec), make_settings(trusts_references=True)).spec


def test_a_config_map_holds_no_secret_and_may_be_named_by_anybody() -> None:
    pod = {"env": [{"name": "A", "configMap": {"name": "c", "key": "k"}}]}

    assert admit(manifest(pod=pod), make_settings(trusts_references=False))
