"""The fake cluster is held to what a real one does: what the tests over it are worth depends on that."""

from typing import Any

import pytest

from tests.operator.controllers import KILLED, Controllers, has_ended, index_of, is_going
from tests.operator.fake_cluster import FakeCluster
from tests.operator.world import Clock, make_settings, manifest
from tuningjob_operator.cluster.contract import AlreadyExists, ApiError, Conflict, NotFound
from tuningjob_operator.decide.admission import admit
from tuningjob_operator.decide.job import build_job, sized
from tuningjob_operator.objects import Body, find_condition, uid_of


class Scene:
    """A Job of so many pods in a cluster, and its controllers."""

    def __init__(self, pods: int = 3, **spec: Any) -> None:
        clock = Clock()
        self.cluster = FakeCluster(clock.now)
        self.controllers = Controllers(self.cluster, clock.now)
        owner = self.cluster.apply(manifest(**spec))
        self.cluster.put(build_job(owner, admit(owner, make_settings()), make_settings(), pods=pods))

    def sync(self, **how: Any) -> None:
        self.controllers.sync_jobs(**how)

    @property
    def job(self) -> Body:
        return self.cluster.job("forest")

    @property
    def pods(self) -> list[Body]:
        return self.controllers.pods()

    def alive(self) -> list[int]:
        return [index_of(pod) for pod in self.pods if not has_ended(pod) and not is_going(pod)]

    def going(self) -> list[int]:
        return [index_of(pod) for pod in self.pods if is_going(pod)]

    def pod(self, index: int) -> Body:
        """The last one of its index."""
        return [pod for pod in self.pods if index_of(pod) == index][-1]

    def counts(self, *fields: str) -> tuple[int, ...]:
        return tuple(self.job["status"][field] for field in fields)

    def end(self, index: int, code: int = 0, **how: Any) -> None:
        self.controllers.exit(self.pod(index), code, **how)


class TestJobs:
    def test_pods_come_a_few_at_a_time_the_lowest_indexes_first(self) -> None:
        scene = Scene()
        scene.sync(batch=2)
        assert scene.alive() == [0, 1]
        assert scene.counts("active", "ready") == (2, 0)
        scene.controllers.start(scene.pod(0))
        scene.sync(batch=2)
        assert scene.alive() == [0, 1, 2]
        assert scene.counts("active", "ready") == (3, 1)

    def test_a_pod_that_is_going_is_replaced_once_it_is_gone(self) -> None:
        scene = Scene(2)
        scene.sync()
        scene.controllers.delete_pod(scene.pod(1))
        scene.sync()
        assert (scene.alive(), scene.going()) == ([0], [1])
        assert scene.counts("active", "terminating") == (1, 1)
        scene.end(1, 143)
        scene.sync()
        assert (scene.alive(), scene.going()) == ([0, 1], [])

    def test_a_job_that_is_made_smaller_loses_its_highest_indexes_and_counts_no_failure(self) -> None:
        scene = Scene()
        scene.sync()
        scene.cluster.patch_job("forest", sized(1))
        scene.sync()
        assert (scene.alive(), scene.going()) == ([0], [1, 2])
        for index in (1, 2):
            scene.end(index, KILLED)
        scene.sync()
        assert [index_of(pod) for pod in scene.pods] == [0]
        assert scene.counts("active", "terminating", "failed") == (1, 0, 0)

    def test_a_job_that_is_made_larger_gets_more_indexes(self) -> None:
        scene = Scene(1)
        scene.sync()
        scene.cluster.patch_job("forest", sized(3))
        scene.sync()
        assert scene.alive() == [0, 1, 2]

    def test_completions_change_only_together_with_parallelism(self) -> None:
        with pytest.raises(ApiError, match="422"):
            Scene().cluster.patch_job("forest", {"completions": 5})

    def test_a_suspended_job_loses_its_pods_without_a_failure_and_gets_them_back(self) -> None:
        scene = Scene(2)
        scene.sync()
        scene.cluster.patch_job("forest", {"suspend": True})
        scene.sync()
        assert (scene.alive(), scene.going()) == ([], [0, 1])
        assert find_condition(scene.job, "Suspended") is not None
        scene.cluster.patch_job("forest", {"suspend": False})
        scene.sync()
        assert scene.alive() == [], "the old ones are not gone"
        for index in (0, 1):
            scene.end(index, KILLED)
        scene.sync()
        assert scene.alive() == [0, 1]
        assert scene.counts("failed") == (0,)
        assert find_condition(scene.job, "Suspended") is None

    def test_it_is_complete_once_every_index_is(self) -> None:
        scene = Scene(2)
        scene.sync()
        scene.end(0)
        scene.sync()
        assert scene.alive() == [1]
        assert scene.job["status"]["completedIndexes"] == "0"
        scene.end(1)
        scene.sync()
        assert find_condition(scene.job, "Complete") is not None
        assert scene.counts("active", "succeeded") == (0, 2)

    def test_a_crash_is_tried_again_until_the_limit_is_passed(self) -> None:
        scene = Scene(1)
        for _ in range(3):
            scene.sync()
            scene.end(0, 1)
        scene.sync()
        assert scene.counts("failed", "active") == (3, 1)
        scene.end(0, 1)
        scene.sync()
        failed = find_condition(scene.job, "Failed")
        assert failed is not None
        assert failed["reason"] == "BackoffLimitExceeded"
        assert scene.alive() == []

    def test_a_limit_that_was_raised_in_time_saves_the_job(self) -> None:
        scene = Scene(1)
        for _ in range(4):
            scene.sync()
            scene.end(0, KILLED)
        scene.cluster.patch_job("forest", sized(1, deaths=4))
        scene.sync()
        assert scene.alive() == [0]

    @pytest.mark.parametrize(("code", "disrupted"), [(143, False), (KILLED, True)])
    def test_a_pod_that_was_asked_to_go_or_was_evicted_counts_as_no_failure(
        self, code: int, *, disrupted: bool
    ) -> None:
        scene = Scene(1)
        for _ in range(5):
            scene.sync()
            scene.end(0, code, disrupted=disrupted)
        scene.sync()
        assert scene.counts("failed", "active") == (0, 1)

    def test_a_workers_verdict_ends_the_job_once_the_other_pods_are_gone(self) -> None:
        scene = Scene(2)
        scene.sync()
        scene.end(0, 2)
        scene.sync()
        assert find_condition(scene.job, "FailureTarget") is not None
        assert find_condition(scene.job, "Failed") is None
        assert scene.going() == [1]
        scene.end(1, 143)
        scene.sync()
        failed = find_condition(scene.job, "Failed")
        assert failed is not None
        assert failed["reason"] == "PodFailurePolicy"

    def test_no_pod_is_made_that_a_quota_has_no_room_for(self) -> None:
        scene = Scene(3)
        scene.controllers.put_quota("q", {"requests.cpu": "5"}, others={"requests.cpu": "1"})
        scene.sync()
        assert scene.alive() == [0, 1]
        (quota,) = scene.cluster.of_kind("ResourceQuota")
        assert quota["status"]["used"] == {"requests.cpu": "5"}
        assert "exceeded quota: q" in scene.controllers.refusals[0]
        scene.end(0)
        scene.sync()
        assert scene.alive() == [1, 2]


class TestKueue:
    def test_a_job_is_started_with_fewer_pods_than_it_asks_for(self) -> None:
        scene = Scene(3, queueName="team")
        scene.sync()
        assert scene.alive() == []
        scene.controllers.admit(scene.job, pods=2)
        scene.sync()
        assert scene.alive() == [0, 1]
        scene.controllers.preempt(scene.job)
        scene.sync()
        assert scene.going() == [0, 1]
        assert scene.job["spec"]["parallelism"] == 3

    def test_a_job_that_runs_is_not_scaled(self) -> None:
        scene = Scene(3, queueName="team")
        scene.cluster.patch_job("forest", sized(4))
        scene.controllers.admit(scene.job, pods=2)
        for pods in (1, 3):
            with pytest.raises(ApiError, match="cannot change when partial admission is enabled"):
                scene.cluster.patch_job("forest", sized(pods))

    def test_of_one_pod_there_are_no_fewer(self) -> None:
        body = Scene(2, queueName="team").job
        with pytest.raises(ApiError, match="should be between 0 and 0"):
            Scene().cluster.put(
                {**body, "metadata": {**body["metadata"], "name": "b"}, "spec": {**body["spec"], **sized(1)}}
            )


class TestDeletion:
    def test_in_the_foreground_a_job_stays_until_its_pods_are_gone(self) -> None:
        scene = Scene(2)
        scene.sync()
        scene.end(0)
        scene.cluster.delete("Job", "forest", foreground=True)
        assert scene.job["metadata"]["deletionTimestamp"]
        assert scene.going() == [1]
        scene.sync()
        assert scene.alive() == [], "nothing is made for what is being deleted"
        scene.end(1, 143)
        with pytest.raises(NotFound):
            scene.cluster.job("forest")
        assert scene.pods == []

    def test_in_the_background_its_pods_follow(self) -> None:
        scene = Scene(1)
        scene.sync()
        scene.cluster.delete("Job", "forest", collect=False)
        assert scene.alive() == [0]
        scene.cluster.collect_garbage()
        assert scene.going() == [0]
        scene.end(0, 143)
        assert scene.pods == []

    def test_what_a_tuningjob_owns_goes_with_it(self) -> None:
        scene = Scene(1)
        scene.cluster.delete("TuningJob", "forest")
        assert scene.cluster.of_kind("Job") == []

    async def test_another_ones_uid_or_an_old_version_deletes_nothing(self) -> None:
        scene = Scene(1)
        body = scene.cluster.tuningjob("forest")
        uid, version = uid_of(body), body["metadata"]["resourceVersion"]
        scene.cluster.edit("forest", parallelism=2)
        with pytest.raises(Conflict):
            await scene.cluster.delete_job("default", "forest", uid="another")
        with pytest.raises(Conflict):
            await scene.cluster.delete_tuningjob("default", "forest", uid=uid, resource_version=version)
        assert scene.cluster.of_kind("Job")


async def listed(scene: Scene) -> list[Body]:
    """The Jobs as a list has them."""
    return [body async for page in scene.cluster.list_jobs(None) for body in page.items]


class TestServer:
    def test_an_update_that_changes_nothing_is_none(self) -> None:
        scene = Scene(1)
        before = scene.cluster.set_status(scene.cluster.tuningjob("forest"), phase="Pending")
        scene.cluster.watch.clear()
        scene.cluster.apply(manifest())
        scene.cluster.set_status(scene.cluster.tuningjob("forest"), phase="Pending")
        assert scene.cluster.tuningjob("forest") == before
        assert scene.cluster.watch == []

    def test_a_generation_grows_with_the_spec_and_not_with_the_status(self) -> None:
        scene = Scene(1)
        scene.cluster.set_status(scene.cluster.tuningjob("forest"), phase="Pending")
        assert scene.cluster.tuningjob("forest")["metadata"]["generation"] == 1
        scene.cluster.edit("forest", parallelism=2)
        assert scene.cluster.tuningjob("forest")["metadata"]["generation"] == 2

    async def test_a_lost_answer_is_of_a_call_that_took_effect(self) -> None:
        scene = Scene(1)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}}
        scene.cluster.lose_next = [ApiError(0, "Unreachable", "")]
        with pytest.raises(ApiError, match="Unreachable"):
            await scene.cluster.create_secret(secret)
        with pytest.raises(AlreadyExists):
            await scene.cluster.create_secret(secret)

    async def test_an_error_is_of_a_call_that_did_nothing(self) -> None:
        scene = Scene(1)
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "default"}}
        scene.cluster.fail_next = [ApiError(500, "InternalError", "")]
        with pytest.raises(ApiError, match="500"):
            await scene.cluster.create_secret(secret)
        await scene.cluster.create_secret(secret)

    async def test_a_read_from_the_past_shows_what_was_then_at_the_version_of_then(self) -> None:
        scene = Scene(1)
        before = await listed(scene)
        scene.cluster.patch_job("forest", sized(2))
        scene.cluster.delete("Job", "forest")
        scene.cluster.behind = 2
        assert await listed(scene) == before
        assert (await scene.cluster.get_job("default", "forest"))["spec"]["parallelism"] == 1
        scene.cluster.behind = 0
        assert not await listed(scene)
