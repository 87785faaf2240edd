"""What a manifest may ask of its pods besides CPU and memory: within the administrator's ceilings, and of the disk never without a limit."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.operator.world import World, make_settings, manifest
from tuningjob.errors import ManifestRefused
from tuningjob_operator.ceilings import Ceilings, Lifetimes
from tuningjob_operator.decide.admission import admit
from tuningjob_operator.decide.job import build_job

GI = 2**30
EVERYTHING: dict[str, Any] = {
    "priorityClassName": "batch",
    "tolerations": [{"key": "gpu", "operator": "Exists"}],
    "nodeSelector": {"disk": "ssd"},
    "volumes": [{"name": "cache", "mountPath": "/cache", "emptyDir": "2Gi"}],
}


def problems(ceilings: Ceilings, *, image: str | None = None, queue: str | None = None, **pod: Any) -> str:
    body = manifest(pod=pod, **({"image": image} if image else {}), **({"queueName": queue} if queue else {}))
    body["metadata"] |= {"uid": "u", "namespace": "team"}
    try:
        admit(body, make_settings(placement=ceilings))
    except ManifestRefused as refused:
        return str(refused)
    return ""


REFUSED: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a priority class by default": (
        {},
        {"priorityClassName": "system-node-critical"},
        (
            "spec.pod.priorityClassName: must be left out (this cluster's ceiling), but got system-node-critical. The ceiling is the "
            "administrator's (chart value limits.priorityClasses)."
        ),
    ),
    "another priority class": (
        {"priority_classes": ("low", "batch")},
        {"priorityClassName": "high"},
        "spec.pod.priorityClassName: must be low or batch (this cluster's ceiling), but got high.",
    ),
    "the control plane's taint by default": (
        {},
        {"tolerations": [{"key": "node-role.kubernetes.io/control-plane", "operator": "Exists"}]},
        (
            "spec.pod.tolerations[0].key: must be another one than node-role.kubernetes.io/control-plane or "
            "node-role.kubernetes.io/master (this cluster's ceiling), but got node-role.kubernetes.io/control-plane."
        ),
    ),
    "every taint": (
        {},
        {"tolerations": [{"key": "gpu", "operator": "Exists"}, {"operator": "Exists"}]},
        (
            "spec.pod.tolerations[1].key: must be another one than node-role.kubernetes.io/control-plane or "
            "node-role.kubernetes.io/master (this cluster's ceiling), but got a toleration of every taint."
        ),
    ),
    "a taint that is not listed": (
        {"taints": ("gpu",)},
        {"tolerations": [{"key": "spot", "operator": "Exists"}]},
        "spec.pod.tolerations[0].key: must be gpu (this cluster's ceiling), but got spot.",
    ),
    "the control plane's nodes": (
        {},
        {"nodeSelector": {"node-role.kubernetes.io/control-plane": ""}},
        "spec.pod.nodeSelector: must be another one than node-role.kubernetes.io/control-plane",
    ),
    "a petabyte of a node's disk": (
        {"disk_bytes": Decimal(20 * GI)},
        {"volumes": [{"name": "a", "mountPath": "/a", "emptyDir": "1Pi"}]},
        (
            "spec.pod.volumes: must be emptyDirs of at most 15.75Gi in all (this cluster's ceiling for a pod's disk is 20Gi), but got "
            "1.049e+06Gi."
        ),
    ),
    "many emptyDirs that are too much together": (
        {"disk_bytes": Decimal(20 * GI)},
        {"volumes": [{"name": f"v{i}", "mountPath": f"/v{i}", "emptyDir": "4Gi"} for i in range(4)]},
        "spec.pod.volumes: must be emptyDirs of at most 15.75Gi in all",
    ),
}


@pytest.mark.parametrize(("ceilings", "pod", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_a_manifest_is_refused_for(ceilings: dict[str, Any], pod: dict[str, Any], told: str) -> None:
    assert told in problems(Ceilings(**ceilings), **pod)


def test_an_image_is_held_to_the_beginnings_that_are_allowed() -> None:
    ceilings = Ceilings(images=("registry.example/team/", "registry.example/base:"))
    told = "spec.image: must be an image whose reference begins with registry.example/team/ or registry.example/base:"
    assert told in problems(ceilings, image="docker.io/miner")
    assert problems(ceilings, image="registry.example/team/worker:7") == ""
    assert problems(ceilings) == ""  # the installation's own


def test_a_queue_may_be_required() -> None:
    assert "spec.queueName: must be the name of a queue" in problems(Ceilings(queue_required=True))
    assert problems(Ceilings(queue_required=True), queue="team") == ""


def test_what_is_allowed_is_taken() -> None:
    assert problems(Ceilings(priority_classes=("batch",), disk_bytes=Decimal(20 * GI)), **EVERYTHING) == ""
    listed = ("*", "node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")
    assert problems(Ceilings(taints=listed), tolerations=[{"operator": "Exists"}]) == ""


@pytest.mark.parametrize(
    ("volumes", "limit"),
    [([], "4352Mi"), ([{"name": "a", "mountPath": "/a", "emptyDir": "2Gi"}], "6400Mi")],
    ids=["scratch alone", "with an emptyDir"],
)
def test_a_pod_has_a_limit_of_the_disk_that_its_volumes_can_fill(volumes: list[dict[str, Any]], limit: str) -> None:
    body = manifest(pod={"volumes": volumes})
    body["metadata"] |= {"uid": "u", "namespace": "team"}
    settings = make_settings()
    (container,) = build_job(body, admit(body, settings), settings)["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"]["ephemeral-storage"] == limit
    assert container["resources"]["requests"]["ephemeral-storage"] == "0"


SECONDS = st.none() | st.integers(0, 1000)


@given(default=SECONDS, most=SECONDS, asked=SECONDS)
def test_no_finished_tuningjob_stays_longer_than_the_ceiling_or_than_it_asks(
    default: int | None, most: int | None, asked: int | None
) -> None:
    stays = Lifetimes(default_seconds=default, most_seconds=most).of(asked)
    wanted = asked if asked is not None else default
    assert (stays is None) is (wanted is None and most is None)
    for bound in (wanted, most):
        assert bound is None or (stays is not None and stays <= bound)
    assert stays in {wanted, most}


@pytest.mark.slow
async def test_a_finished_tuningjob_goes_after_the_default_of_the_cluster(tmp_path: Any) -> None:
    world = World(tmp_path, lifetimes=Lifetimes(default_seconds=100))
    try:
        await world.live()
        await world.later(50)
        assert world.status()["phase"] == "Complete"
        await world.later(100)
        assert world.cluster.of_kind("TuningJob") == []
    finally:
        world.journal.close()
