"""What may go wrong around a TuningJob: deletions, names that are taken, errors, crashes, lost and doubled events."""

import pytest

from tests.operator.controllers import TRACKED
from tests.operator.fake_cluster import Crash
from tests.operator.world import NOON, World, manifest
from tuningjob.errors import UnknownSearch
from tuningjob_operator import names
from tuningjob_operator.cluster.contract import ApiError, Conflict
from tuningjob_operator.decide.triage import HELD_FOR
from tuningjob_operator.objects import timestamp


@pytest.mark.slow
async def test_deleting_a_tuningjob_deletes_what_it_made(world: World) -> None:
    await world.live()
    uid = world.uid()
    world.cluster.delete("TuningJob", "forest")
    await world.settle()

    assert [world.cluster.of_kind(kind) for kind in ("Job", "Secret", "ConfigMap")] == [[], [], []]
    with pytest.raises(UnknownSearch):
        world.journal.progress(uid)
    assert world.artifacts.list(uid) == []
    assert len(world.journal.audit.history(namespace="default", model_key="forest")) == 1


@pytest.mark.slow
async def test_a_tuningjob_deleted_while_the_operator_was_down_leaves_no_search(world: World) -> None:
    await world.live()
    uid = world.uid()
    world.cluster.delete("TuningJob", "forest")
    await world.restart()
    await world.settle()

    with pytest.raises(UnknownSearch):
        world.journal.progress(uid)


@pytest.mark.slow
async def test_another_namespaces_search_is_not_touched_by_an_operator_that_does_not_watch_it(world: World) -> None:
    await world.live()
    uid = world.uid()
    world.settings = type(world.settings)(**{**vars(world.settings), "watch_namespaces": ("elsewhere",)})
    await world.restart()
    await world.settle()

    assert world.journal.progress(uid).done == 18


@pytest.mark.slow
async def test_a_tuningjob_made_again_under_its_name_starts_anew(world: World) -> None:
    await world.live()
    world.cluster.delete("TuningJob", "forest")
    world.cluster.apply(manifest())
    await world.settle()

    assert world.journal.progress(world.uid()).done == 0
    assert world.cluster.job("forest")["metadata"]["ownerReferences"][0]["uid"] == world.uid()


async def test_a_namesakes_job_is_waited_for(world: World) -> None:
    old = {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "name": "forest",
        "uid": "old",
        "controller": True,
    }
    world.cluster.put(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "forest", "namespace": "default", "ownerReferences": [old]},
            "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}},
        }
    )
    world.cluster.watch.clear()
    world.cluster.apply(manifest())
    await world.settle()
    assert world.status()["phase"] == "Pending"
    world.cluster.collect_garbage()
    world.cluster.watch.clear()
    await world.restart()
    await world.settle()

    assert world.cluster.job("forest")["metadata"]["ownerReferences"][0]["uid"] == world.uid()


async def test_somebody_elses_job_of_our_name_is_left_alone_and_said(world: World) -> None:
    foreign = world.cluster.put(
        {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": "forest", "namespace": "default"},
            "spec": {"template": {"spec": {"containers": [{"name": "c"}]}}},
        }
    )
    world.cluster.watch.clear()
    world.cluster.apply(manifest())
    await world.settle()

    admitted = world.condition("Admitted")
    assert admitted is not None
    assert (admitted["status"], admitted["reason"]) == ("False", "NameTaken")
    assert world.cluster.job("forest") == foreign
    calls = len(world.cluster.calls)
    await world.later(31)
    assert len(world.cluster.calls) == calls


@pytest.mark.slow
async def test_somebody_elses_configmap_of_our_name_is_left_alone_and_said(world: World) -> None:
    theirs = world.cluster.put(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "forest-results", "namespace": "default"}}
    )
    await world.live()

    assert world.cluster.of_kind("ConfigMap") == [theirs]
    complete = world.condition("Complete")
    assert complete is not None
    assert "forest-results is another owner's" in complete["message"]
    assert "results" not in world.status()


async def test_a_job_deleted_by_hand_is_made_again_and_nothing_is_lost(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.fit(4)
    world.cluster.delete("Job", "forest")
    await world.settle()

    assert world.cluster.job("forest")["spec"]["parallelism"] == 1
    assert world.journal.progress(world.uid()).done == 4


@pytest.mark.parametrize("comes", ["Kubernetes lets go of them", "it never does"])
async def test_a_job_deleted_by_hand_is_made_again_once_kubernetes_has_let_go_of_its_pods(
    world: World, comes: str
) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.fit(4)
    killed = {"name": names.CONTAINER, "state": {"terminated": {"exitCode": 137, "finishedAt": timestamp(NOON)}}}
    metadata = {
        "name": "forest-0-held",
        "namespace": "default",
        "labels": {names.LABEL_UID: world.uid()},
        "finalizers": [TRACKED],
    }
    world.cluster.pods = [{"metadata": metadata, "status": {"phase": "Failed", "containerStatuses": [killed]}}]
    world.cluster.delete("Job", "forest")
    await world.settle()

    assert world.cluster.of_kind("Job") == []
    told = world.condition("PodsReady")
    assert told is not None
    assert told["message"].startswith("Waiting for Kubernetes to let go of 1 pods of the Job before")

    if comes == "it never does":
        await world.later(HELD_FOR.total_seconds())
    else:
        world.cluster.pods = []
        await world.later(5)
    assert world.cluster.job("forest")["spec"]["parallelism"] == 1
    assert world.journal.progress(world.uid()).done == 4


async def test_a_conflict_is_tried_again(world: World) -> None:
    world.cluster.apply(manifest())
    world.deliver()
    world.cluster.apply(manifest(parallelism=2))
    world.cluster.watch.clear()
    await world.settle()
    assert world.status() == {}
    await world.resync.resync()
    await world.later(1)

    assert world.status()["phase"] == "Pending"


@pytest.mark.parametrize("status", [0, 403, 429, 500], ids=["unreachable", "forbidden", "throttled", "broken"])
async def test_an_api_error_is_tried_again_later(world: World, status: int) -> None:
    world.cluster.apply(manifest())
    world.cluster.fail_next = [ApiError(status, "Reason", "message")]
    await world.settle()
    assert world.cluster.of_kind("Job") == []
    await world.later(1)

    assert len(world.cluster.of_kind("Job")) == 1


async def test_an_event_that_is_not_taken_costs_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.preflight()
    # scale, status, and then the event
    world.cluster.fail_next = []

    async def refuse(_body: object) -> None:
        raise ApiError(403, "Forbidden", "no")

    with monkeypatch.context() as patched:
        patched.setattr(world.cluster, "create_event", refuse)
        await world.settle()

    assert world.condition("Preflight") is not None


async def test_a_deletion_that_overtakes_our_write_leaves_no_ghost(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    uid = world.uid()
    world.preflight()
    world.cluster.delete("TuningJob", "forest")
    world.cluster.watch.clear()  # the event is lost
    await world.later(5)

    assert len(world.cache.tuningjobs) == 0
    with pytest.raises(UnknownSearch):
        world.journal.progress(uid)


async def test_nothing_is_made_for_a_tuningjob_that_is_being_deleted(world: World) -> None:
    body = world.cluster.apply(manifest())
    body["metadata"]["deletionTimestamp"] = timestamp(world.clock.now())
    world.cluster.watch = [("MODIFIED", body)]
    await world.settle()

    assert world.cluster.calls == []


async def crash_and_recover(world: World, after: int) -> bool:
    """Live with a crash after so many calls, then go on in a new process. Whether there was a crash."""
    world.cluster.crash_after = after
    crashed = False

    async def settle() -> None:
        nonlocal crashed
        try:
            await world.later(10)
        except Crash:
            crashed = True
            await world.restart()
            await world.later(10)

    world.cluster.apply(manifest())
    await settle()
    world.preflight()
    await settle()
    world.cluster.run_pods()
    while world.fit(1):
        await settle()
    world.answer()
    await settle()
    world.cluster.end_jobs()
    await settle()
    return crashed


@pytest.mark.slow
@pytest.mark.parametrize("after", range(18))
async def test_a_crash_after_any_call_ends_in_the_same_state(world: World, after: int) -> None:
    crashed = await crash_and_recover(world, after)

    assert crashed == (after < len(world.cluster.calls)), "the crash comes before the next call"
    assert world.status()["phase"] == "Complete"
    assert world.status()["activePods"] == 0
    assert [len(world.cluster.of_kind(kind)) for kind in ("Job", "Secret", "ConfigMap")] == [1, 1, 1]
    assert world.cluster.calls.count("scale job") == 1
    assert world.cluster.job("forest")["spec"]["parallelism"] == 3


async def test_events_lost_doubled_and_out_of_order_change_nothing(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.cluster.run_pods()
    world.cluster.run_pods()
    world.preflight()
    events = [*world.cluster.watch, *reversed(world.cluster.watch)]
    world.cluster.watch = events
    await world.settle()
    world.cluster.watch = list(reversed(events))
    calls = len(world.cluster.calls)
    await world.settle()

    assert len(world.cluster.calls) == calls
    assert world.cluster.job("forest")["spec"]["parallelism"] == 3


async def test_a_scale_of_a_job_that_was_made_again_looks_at_the_new_one(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.preflight()
    world.cluster.fail_next = [Conflict(409, "Conflict", "the uid is another")]
    await world.settle()

    assert world.cluster.job("forest")["spec"]["parallelism"] == 3
