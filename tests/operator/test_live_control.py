"""What a user may do to a search that runs: scale, suspend, cancel, set deadlines; and what becomes of it when it has ended."""

from typing import Any

import pytest

from tests.operator.fake_cluster import Crash
from tests.operator.world import World, manifest
from tuningjob.protocol.records import SearchState
from tuningjob.protocol.requests import ClaimRequest
from tuningjob_operator.objects import Body


async def begun(world: World, **spec: Any) -> None:
    world.cluster.apply(manifest(**spec))
    await world.settle()
    world.preflight()
    await world.settle()
    world.cluster.run_pods()
    await world.settle()


async def change(world: World, **spec: Any) -> None:
    world.cluster.apply(manifest(**spec))
    await world.settle()


def size(world: World) -> tuple[int, int]:
    spec = world.cluster.job("forest")["spec"]
    return spec["completions"], spec["parallelism"]


async def failure(world: World) -> Body:
    await world.settle()
    found = world.condition("Failed")
    assert found is not None
    return found


# --- scale


async def test_more_parallelism_makes_the_same_job_larger(world: World) -> None:
    await begun(world, parallelism=2)
    uid = world.cluster.job("forest")["metadata"]["uid"]
    await change(world, parallelism=5)

    assert size(world) == (5, 5)
    assert world.cluster.job("forest")["metadata"]["uid"] == uid
    assert world.status()["plan"]["pods"] == 5


async def test_less_parallelism_gives_back_what_the_pods_that_went_had_held(world: World) -> None:
    await begun(world, parallelism=3)
    held = [
        world.journal.view(world.uid()).claim(ClaimRequest(index=index, slots=1, holding=set())) for index in range(3)
    ]
    assert all(claim.unit for claim in held)
    await change(world, parallelism=1)
    assert size(world) == (1, 1)
    assert world.journal.progress(world.uid()).last_holder == 2, "not while the pods may still be there"
    world.cluster.set_job_status(world.cluster.job("forest"), active=1, ready=1, terminating=2)
    await world.settle()
    assert world.journal.progress(world.uid()).last_holder == 2
    world.cluster.set_job_status(world.cluster.job("forest"), active=1, ready=1, terminating=0)
    await world.settle()

    assert world.journal.progress(world.uid()).last_holder == 0
    assert world.fit(18) == 18
    assert world.journal.progress(world.uid()).deaths == 0


async def test_a_job_that_is_made_smaller_outlives_as_many_deaths_as_before(world: World) -> None:
    await begun(world, parallelism=3)
    before = world.cluster.job("forest")["spec"]["backoffLimit"]
    await change(world, parallelism=1)

    assert size(world) == (1, 1)
    assert world.cluster.job("forest")["spec"]["backoffLimit"] == before


@pytest.mark.slow
async def test_nobody_scales_above_the_ceiling(world: World) -> None:
    await begun(world, parallelism=2)
    await change(world, parallelism=9_999)

    assert size(world)[0] <= world.settings.max_pods
    assert world.condition("Failed") is None


async def test_a_ceiling_of_cpu_holds_for_all_pods_together(tmp_path: Any) -> None:
    world = World(tmp_path, max_cpu=8)
    await begun(world, parallelism=3)
    await change(world, parallelism=9)

    assert size(world) == (4, 4)
    assert "this cluster's ceilings allow 4 pods" in world.status()["plan"]["reason"]
    world.journal.close()


async def test_a_job_that_was_scaled_by_hand_gets_its_size_back(world: World) -> None:
    await begun(world)
    job = world.cluster.job("forest")
    await world.cluster.scale_job("default", "forest", uid=job["metadata"]["uid"], pods=9, deaths=0)
    await world.settle()

    assert size(world) == (3, 3)


# --- suspend


async def test_a_suspended_search_has_no_pods_and_goes_on_where_it_was(world: World) -> None:
    await begun(world)
    world.fit(4)
    await change(world, suspend=True)

    assert world.cluster.job("forest")["spec"]["suspend"] is True
    assert world.status()["phase"] == "Suspended"
    told = world.condition("Suspended")
    assert told is not None
    assert (told["status"], told["reason"]) == ("True", "SuspendRequested")
    world.cluster.run_pods()
    await change(world, suspend=False)

    assert world.cluster.job("forest")["spec"]["suspend"] is False
    assert world.status()["phase"] == "Running"
    assert world.journal.progress(world.uid()).done == 4
    resumed = world.condition("Suspended")
    assert resumed is not None
    assert resumed["status"] == "False"


@pytest.mark.parametrize("meanwhile", ["it watches", "it is started anew"])
async def test_the_status_of_a_suspended_search_says_when_its_last_pod_has_gone(world: World, meanwhile: str) -> None:
    await begun(world)
    await change(world, suspend=True)
    assert world.status()["activePods"] == 3
    for left in (2, 1, 0):
        world.cluster.set_job_status(world.cluster.job("forest"), active=left, ready=left, terminating=0)
        await (world.later(0.1) if meanwhile == "it watches" else world.restart())
        await world.settle()

    assert (world.status()["phase"], world.status()["activePods"]) == ("Suspended", 0)


async def test_what_killed_pods_of_a_suspended_search_had_held_is_no_death(world: World) -> None:
    await begun(world)
    world.journal.view(world.uid()).claim(ClaimRequest(index=2, slots=1, holding=set(), claimant="killed"))
    await change(world, suspend=True)
    assert world.journal.progress(world.uid()).last_holder == 2
    world.cluster.set_job_status(world.cluster.job("forest"), active=0, ready=0, terminating=0)
    await world.settle()

    assert world.journal.progress(world.uid()).last_holder is None
    await change(world, suspend=False)
    world.journal.view(world.uid()).claim(ClaimRequest(index=2, slots=1, holding=set(), claimant="the next"))
    assert world.journal.progress(world.uid()).deaths == 0


async def test_a_search_that_is_suspended_from_the_start_makes_no_pod(world: World) -> None:
    world.cluster.apply(manifest(suspend=True))
    await world.settle()
    assert world.cluster.of_kind("Job") == []
    assert world.status()["phase"] == "Suspended"
    await change(world, suspend=False)

    assert size(world) == (1, 1)


# --- ends that the manifest asks for


async def test_a_cancelled_search_ends_and_its_pods_go(world: World) -> None:
    await begun(world)
    world.fit(4)
    await change(world, cancel=True)

    found = await failure(world)
    assert found["reason"] == "Cancelled"
    assert "4 of 18 fits were finished" in found["message"]
    assert world.journal.progress(world.uid()).state is SearchState.FAILED
    assert world.cluster.job("forest")["spec"]["suspend"] is True


async def test_a_search_is_cancelled_before_it_began(world: World) -> None:
    world.cluster.apply(manifest(cancel=True))

    assert (await failure(world))["message"] == "spec.cancel is true. Nothing was fitted."
    assert world.cluster.of_kind("Job") == []


async def test_the_active_deadline_counts_from_the_start(world: World) -> None:
    await begun(world, activeDeadlineSeconds=100)
    await world.later(99)
    assert world.condition("Failed") is None
    await world.later(1)

    found = await failure(world)
    assert found["reason"] == "DeadlineExceeded"
    assert "spec.activeDeadlineSeconds" in found["message"]


async def test_the_active_deadline_begins_anew_after_a_suspension(world: World) -> None:
    await begun(world, activeDeadlineSeconds=100)
    await world.later(60)
    await change(world, activeDeadlineSeconds=100, suspend=True)
    await world.later(1_000)
    assert world.condition("Failed") is None
    await change(world, activeDeadlineSeconds=100, suspend=False)
    await world.later(99)
    assert world.condition("Failed") is None
    await world.later(1)

    assert (await failure(world))["reason"] == "DeadlineExceeded"


async def test_a_search_that_nothing_began_of_in_time_ends(world: World) -> None:
    world.cluster.apply(manifest(startDeadlineSeconds=50))
    await world.settle()
    await world.later(50)

    assert (await failure(world))["reason"] == "StartDeadlineExceeded"


async def test_a_search_that_has_begun_has_met_its_start_deadline(world: World) -> None:
    await begun(world, startDeadlineSeconds=50)
    await world.later(1_000)

    assert world.condition("Failed") is None


async def test_too_many_failed_fits_end_the_search_with_an_error_of_theirs(world: World) -> None:
    await begun(world, limits={"maxFailedFits": 2})
    world.fit(2, error="Traceback\nValueError: early")
    await world.settle()
    assert world.condition("Failed") is None
    world.fit(1, error="Traceback\nValueError: third")

    found = await failure(world)
    assert found["reason"] == "TooManyFailedFits"
    assert "3 fits failed, and spec.limits.maxFailedFits is 2." in found["message"]
    assert "ValueError: third" in found["message"]


async def test_too_many_failed_fits_end_a_search_whose_last_cells_they_were(world: World) -> None:
    await begun(world, limits={"maxFailedFits": 2})
    total = world.status()["progress"]["total"]
    world.fit(total - 3)
    world.fit(3, error="Traceback\nValueError: at the very end")

    assert (await failure(world))["reason"] == "TooManyFailedFits"
    assert world.status()["progress"]["done"] == total


async def test_a_plan_ends_with_its_forecast(world: World) -> None:
    world.cluster.apply(manifest(mode="Plan"))
    await world.settle()
    world.preflight()
    await world.settle()

    assert world.status()["phase"] == "Planned"
    complete = world.condition("Complete")
    assert complete is not None
    assert complete["reason"] == "PlanReady"
    assert size(world) == (1, 1)


@pytest.mark.parametrize("crash_after", range(6))
async def test_a_crash_while_a_search_is_ended_forgets_no_reason(world: World, crash_after: int) -> None:
    await begun(world)
    world.cluster.apply(manifest(cancel=True))
    world.cluster.crash_after = len(world.cluster.calls) + crash_after
    try:
        await world.settle()
    except Crash:
        await world.restart()
    world.cluster.crash_after = None

    assert (await failure(world))["reason"] == "Cancelled"
    assert world.cluster.job("forest")["spec"]["suspend"] is True


# --- afterwards


@pytest.mark.slow
async def test_the_tuningjob_goes_when_its_time_is_over(world: World) -> None:
    await world.live()
    world.cluster.apply({**manifest(ttlSecondsAfterFinished=60)})
    await world.settle()
    uid = world.uid()
    await world.later(30)
    assert world.cluster.of_kind("TuningJob") != []
    await world.later(60)

    assert world.cluster.of_kind("TuningJob") == []
    assert world.journal.audit.history(namespace="default", model_key="forest")[0].search_id == uid


async def test_pods_that_never_came_to_work_are_sent_home_after_the_end(world: World) -> None:
    await begun(world)
    world.fit(18)
    world.answer()
    await world.settle()
    assert world.status()["phase"] == "Complete"
    assert not world.cluster.job("forest")["spec"].get("suspend")
    await world.later(31)

    assert world.cluster.job("forest")["spec"]["suspend"] is True


# --- Kueue


async def test_under_kueue_the_job_has_its_size_from_the_start_and_waits(world: World) -> None:
    world.cluster.apply(manifest(queueName="team-a"))
    await world.settle()

    job = world.cluster.job("forest")
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert job["spec"]["suspend"] is True
    assert size(world) == (3, 3)
    assert world.status()["phase"] == "Queued"
    assert "team-a" in world.status()["message"]


async def test_under_kueue_a_suspension_deletes_the_job_and_a_resumption_makes_it_again(world: World) -> None:
    world.cluster.apply(manifest(queueName="team-a"))
    await world.settle()
    first = world.cluster.job("forest")
    await world.cluster.suspend_job("default", "forest", uid=first["metadata"]["uid"], suspend=False)
    world.preflight()
    await world.settle()
    assert world.status()["phase"] == "Running"
    world.cluster.set_job_status(world.cluster.job("forest"), active=0, ready=0)
    await change(world, queueName="team-a", suspend=True)
    assert world.cluster.of_kind("Job") == []
    await change(world, queueName="team-a", suspend=False)

    assert world.cluster.job("forest")["metadata"]["uid"] != first["metadata"]["uid"]
    assert world.status()["phase"] == "Queued"


async def test_under_kueue_a_job_of_one_pod_is_made_too(world: World) -> None:
    world.cluster.apply(manifest(queueName="team-a", parallelism=1))
    await world.settle()

    assert size(world) == (1, 1)
    assert world.status()["phase"] == "Queued"


async def test_under_kueue_a_job_that_somebody_made_too_large_is_made_again(world: World) -> None:
    world.cluster.apply(manifest(queueName="team-a"))
    await world.settle()
    first = world.cluster.job("forest")
    world.cluster.patch_job("forest", {"completions": 99, "parallelism": 99})
    # what Kueue has started is not scaled any more: it refuses that
    world.cluster.patch_job("forest", {"suspend": False})
    await world.settle()

    job = world.cluster.job("forest")
    assert job["metadata"]["uid"] != first["metadata"]["uid"]
    assert size(world) == (3, 3)
    assert world.status()["phase"] == "Queued"


async def test_what_kueue_sent_home_without_a_word_has_died_of_nothing(world: World) -> None:
    await begun(world, queueName="team-a")
    job = world.cluster.job("forest")
    await world.cluster.suspend_job("default", "forest", uid=job["metadata"]["uid"], suspend=False)
    world.cluster.run_pods()
    await world.settle()
    assert (
        world.journal.view(world.uid()).claim(ClaimRequest(index=2, slots=1, holding=set(), claimant="forest-2-a")).unit
    )
    await world.cluster.suspend_job("default", "forest", uid=job["metadata"]["uid"], suspend=True)
    world.cluster.set_job_status(world.cluster.job("forest"), active=0, ready=0, terminating=1)
    await world.settle()
    assert world.status()["phase"] == "Queued"
    assert world.journal.progress(world.uid()).last_holder == 2, "not while its pod may still be there"
    world.cluster.set_job_status(world.cluster.job("forest"), terminating=0)
    await world.settle()

    assert world.journal.progress(world.uid()).last_holder is None
    assert (
        world.journal.view(world.uid()).claim(ClaimRequest(index=2, slots=1, holding=set(), claimant="forest-2-b")).unit
    )
    assert world.journal.progress(world.uid()).deaths == 0


@pytest.mark.parametrize("what", [{"suspend": True}, {"cancel": True}], ids=["suspended", "cancelled"])
async def test_a_search_that_no_longer_waits_leaves_kueues_queue(world: World, what: dict[str, bool]) -> None:
    world.cluster.apply(manifest(queueName="team-a"))
    await world.settle()
    assert world.status()["phase"] == "Queued"
    await change(world, queueName="team-a", **what)

    # Kueue would start a Job that is still there, suspended or not
    assert world.cluster.of_kind("Job") == []


async def test_what_kueue_put_into_a_default_queue_waits_there_and_leaves_it(world: World) -> None:
    world.cluster.has_default_queue = True
    world.cluster.apply(manifest())
    await world.settle()
    assert size(world) == (1, 1), "the preflight"
    assert world.status()["phase"] == "Queued"
    assert "queue default " in world.status()["message"]
    assert world.cluster.job("forest")["spec"]["suspend"], "or Kueue would suspend it again, and so on"

    await change(world, suspend=True)
    assert world.cluster.of_kind("Job") == []
