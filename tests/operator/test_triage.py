"""Why pods do not work, in Kubernetes' own words; and whose work may be given to others."""

import datetime as dt
from typing import Any

from tests.operator.controllers import TRACKED
from tests.operator.world import NOON
from tuningjob.manifest.wellknown import ExitCode
from tuningjob_operator import names
from tuningjob_operator.decide.triage import (
    HELD_FOR,
    Trouble,
    blameless_pods,
    find_trouble,
    is_held,
    is_living,
    lost_indexes,
)
from tuningjob_operator.objects import Body, timestamp


def pod(index: int = 0, *, deleted: dt.timedelta | None = None, name: str = "", **status: Any) -> Body:
    metadata: Body = {"name": name or f"forest-{index}-abc", "annotations": {names.ANNOTATION_INDEX: str(index)}}
    if deleted is not None:
        metadata["deletionTimestamp"] = timestamp(NOON - deleted)
    return {"metadata": metadata, "spec": {"nodeName": "node-1"}, "status": status}


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    state = {"waiting": {"reason": reason, **({"message": message} if message else {})}}
    return {"phase": "Pending", "containerStatuses": [{"name": names.CONTAINER, "state": state}]}


def ended(code: int, *conditions: str) -> dict[str, Any]:
    return {
        "phase": "Succeeded" if code == 0 else "Failed",
        "conditions": [{"type": kind, "status": "True"} for kind in conditions],
        "containerStatuses": [{"name": names.CONTAINER, "state": {"terminated": {"exitCode": code}}}],
    }


def unschedulable(message: str) -> dict[str, Any]:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {"phase": "Pending", "conditions": [condition]}


def test_an_image_that_cannot_be_pulled_is_told_with_its_name() -> None:
    pods = [pod(**waiting("ImagePullBackOff", 'Back-off pulling image "no/such:1"'))]

    want = Trouble("ImagePullBackOff", 'Pod forest-0-abc: Back-off pulling image "no/such:1"')
    assert find_trouble(pods, NOON) == want


def test_a_pod_that_fits_nowhere_is_told_in_the_schedulers_words() -> None:
    pods = [pod(index, **unschedulable("0/2 nodes are available: 2 Insufficient cpu.")) for index in range(3)]

    want = Trouble("Unschedulable", "Pod forest-0-abc (3 pods): 0/2 nodes are available: 2 Insufficient cpu.")
    assert find_trouble(pods, NOON) == want


def test_what_most_pods_suffer_from_is_told() -> None:
    pods = [pod(0, **waiting("ErrImagePull")), pod(1, **unschedulable("full")), pod(2, **unschedulable("full"))]

    found = find_trouble(pods, NOON)
    assert found is not None
    assert found.reason == "Unschedulable"


def test_a_pod_that_is_being_started_or_works_or_has_ended_is_no_trouble() -> None:
    pods = [pod(**waiting("ContainerCreating")), pod(1, phase="Running"), pod(2, phase="Failed")]

    assert find_trouble(pods, NOON) is None
    assert find_trouble([], NOON) is None


def test_a_pod_that_should_be_gone_long_ago_has_lost_its_node() -> None:
    lost = pod(1, deleted=dt.timedelta(seconds=31), phase="Running")

    found = find_trouble([lost], NOON)
    assert found is not None
    assert found.reason == "NodeLost"
    assert "node-1" in found.message
    assert lost_indexes([lost, pod(0, phase="Running")], NOON) == (1,)


def test_a_pod_that_is_about_to_go_is_not_lost() -> None:
    assert lost_indexes([pod(deleted=dt.timedelta(seconds=29), phase="Running")], NOON) == ()
    assert lost_indexes([pod(deleted=dt.timedelta(hours=1), phase="Succeeded")], NOON) == ()


def test_an_index_that_has_another_pod_by_now_is_not_lost() -> None:
    pods = [pod(deleted=dt.timedelta(hours=1), phase="Running"), pod(name="forest-0-new", phase="Running")]

    assert lost_indexes(pods, NOON) == ()


def test_a_pod_that_has_ended_is_held_until_the_job_controller_lets_go_but_not_for_ever() -> None:
    held = pod(deleted=dt.timedelta(seconds=20), **ended(137))
    held["metadata"]["finalizers"] = [TRACKED]

    assert is_held(held, NOON)
    assert not is_held(held, NOON + HELD_FOR)
    assert not is_held(pod(deleted=dt.timedelta(seconds=20), **ended(137)), NOON), "it was let go of"
    held["status"] = {"phase": "Running"}
    assert not is_held(held, NOON), "it lives"


def test_a_pod_that_was_deleted_before_it_was_on_a_node_has_ended() -> None:
    nowhere = pod(deleted=dt.timedelta(hours=1), phase="Pending")
    assert is_living(nowhere)
    assert lost_indexes([nowhere], NOON) == (0,)
    nowhere["spec"] = {}

    assert not is_living(nowhere)
    assert lost_indexes([nowhere], NOON) == ()
    assert find_trouble([nowhere], NOON) is None


def test_no_fit_is_to_blame_for_a_pod_that_was_evicted_or_went_of_its_own_will() -> None:
    pods = {
        "evicted": pod(name="evicted", **ended(137, "DisruptionTarget")),
        "asked to go": pod(name="asked to go", **ended(ExitCode.TERMINATED)),
        "without its service": pod(name="without its service", **ended(ExitCode.SERVICE_UNAVAILABLE)),
        "killed": pod(name="killed", **ended(137)),
        "crashed": pod(name="crashed", **ended(ExitCode.CRASHED)),
        "done": pod(name="done", **ended(0, "DisruptionTarget")),
        "about to be evicted": pod(name="about to be evicted", phase="Running"),
    }

    assert blameless_pods(list(pods.values())) == ("evicted", "asked to go", "without its service")


def test_a_node_that_does_not_answer_is_told() -> None:
    condition = {"type": "Ready", "status": "False", "reason": "NodeStatusUnknown"}

    found = find_trouble([pod(phase="Running", conditions=[condition])], NOON)
    assert found is not None
    assert (found.reason, "node-1" in found.message) == ("NodeLost", True)
