"""What a search waits for, and says so: room in a quota, pods that do not come to work, a results service, more memory."""

from typing import Any

import pytest

from tests.operator.controllers import Controllers, has_ended, index_of
from tests.operator.test_live_control import size
from tests.operator.world import World, manifest
from tuningjob.errors import JournalError
from tuningjob.manifest.quantity import parse_quantity
from tuningjob.manifest.wellknown import ExitCode
from tuningjob.protocol.records import Cell, CellResult, Next, Unit
from tuningjob.protocol.requests import ClaimRequest, Report
from tuningjob_operator.control.loops import work_on
from tuningjob_operator.objects import Body, Key


@pytest.fixture
def controllers(world: World) -> Controllers:
    return Controllers(world.cluster, world.clock.now)


async def step(world: World, controllers: Controllers, seconds: float = 1.0) -> None:
    """Kubernetes moves, the operator looks, Kubernetes moves."""
    for after in (seconds, 0.0):
        controllers.sync_jobs()
        world.cluster.collect_garbage()
        for pod in controllers.pods():
            if has_ended(pod) and pod["metadata"].get("deletionTimestamp"):
                controllers.delete_pod(pod)  # its kubelet says so
        await world.later(after)


async def applied(world: World, controllers: Controllers, **spec: Any) -> None:
    world.cluster.apply(manifest(**spec))
    await world.settle()
    await step(world, controllers)


def told(world: World, kind: str) -> tuple[str, str, str]:
    found = world.condition(kind)
    assert found is not None, world.status()
    return found["status"], found["reason"], found["message"]


# --- room


async def test_a_full_quota_is_waited_for_and_its_numbers_are_told(world: World, controllers: Controllers) -> None:
    controllers.put_quota("team", {"requests.cpu": "4"}, others={"requests.cpu": "3"})
    await applied(world, controllers)

    assert told(world, "Capacity") == (
        "False",
        "QuotaExceeded",
        "Waiting for room. ResourceQuota team: requests.cpu 3 of 4 used, a pod needs 2",
    )
    assert world.status()["phase"] == "Pending"
    assert "requests.cpu" in world.status()["message"]
    assert world.cluster.of_kind("Job") == []
    world.cluster.delete("ResourceQuota", "team")
    controllers.put_quota("team", {"requests.cpu": "8"}, others={"requests.cpu": "3"})
    await step(world, controllers, 15)

    assert size(world) == (1, 1)
    assert told(world, "Capacity")[0] == "True"


async def test_parallelism_is_cut_to_the_quota_and_grows_with_it(world: World, controllers: Controllers) -> None:
    controllers.put_quota("team", {"requests.cpu": "4"})
    await applied(world, controllers)
    world.journal_preflight()
    await step(world, controllers, 15)

    assert size(world) == (2, 2)
    status, reason, message = told(world, "Capacity")
    assert (status, reason) == ("True", "CutToFit")
    assert message.startswith("Room for 2 of 3 pods. ResourceQuota team: requests.cpu")
    world.cluster.delete("ResourceQuota", "team")
    controllers.put_quota("team", {"requests.cpu": "6"})
    await step(world, controllers, 15)
    assert size(world) == (3, 3)


async def test_a_pod_above_the_limit_range_is_refused(world: World, controllers: Controllers) -> None:
    limits = [{"type": "Container", "max": {"cpu": "1"}}]
    world.cluster.put(
        {
            "apiVersion": "v1",
            "kind": "LimitRange",
            "metadata": {"name": "small", "namespace": "default"},
            "spec": {"limits": limits},
        }
    )
    await applied(world, controllers)

    _, reason, message = told(world, "Failed")
    assert reason == "ManifestRefused"
    assert message.startswith(
        "spec.resources.cpu: must be at most 1 (LimitRange small of namespace default), but got 2."
    )
    assert world.cluster.of_kind("Job") == []


def node(name: str, cpu: str, memory: str) -> Body:
    metadata = {"name": name, "namespace": "", "labels": {"kubernetes.io/hostname": name}}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": {},
        "status": {"allocatable": {"cpu": cpu, "memory": memory}},
    }


async def test_a_pod_that_is_larger_than_every_node_is_refused_with_the_largest_one(
    world: World, controllers: Controllers
) -> None:
    world.cluster.put(node("small", "1", "64Gi"))
    world.cluster.put(node("large", "1500m", "64Gi"))
    await applied(world, controllers)

    _, reason, message = told(world, "Failed")
    assert reason == "ManifestRefused"
    assert "spec.resources.cpu" in message
    assert "large" in message


# --- pods that do not come


async def test_pods_that_are_not_ready_after_30_seconds_are_told_of_in_kubernetes_words(
    world: World, controllers: Controllers
) -> None:
    await applied(world, controllers)
    (pod,) = controllers.pods()
    controllers.keep_waiting(pod, "ImagePullBackOff", 'Back-off pulling image "no/such:1"')
    await step(world, controllers, 10)
    assert world.condition("PodsReady") is None
    await step(world, controllers, 30)
    assert told(world, "PodsReady")[:2] == ("False", "ImagePullBackOff")
    assert "no/such:1" in told(world, "PodsReady")[2]
    controllers.start(controllers.pods()[0])
    await step(world, controllers)

    assert told(world, "PodsReady")[:2] == ("True", "Ready")


async def test_a_search_whose_pods_are_ready_looks_at_no_pod(world: World, controllers: Controllers) -> None:
    await applied(world, controllers)
    controllers.start(controllers.pods()[0])
    for _ in range(10):
        await step(world, controllers, 30)

    assert "list pods" not in world.cluster.calls


@pytest.mark.slow
async def test_the_work_of_a_pod_whose_node_is_lost_is_given_to_others(world: World, controllers: Controllers) -> None:
    await applied(world, controllers)
    controllers.start(controllers.pods()[0])
    world.journal_preflight()
    await step(world, controllers)
    for pod in controllers.pods():
        controllers.start(pod)
    await step(world, controllers)
    lost = world.journal.view(world.uid()).claim(ClaimRequest(index=2, slots=1, holding=set(), claimant="lost"))
    assert lost.unit is not None
    world.cluster.replace(gone(controllers, index=2, world=world))
    for _ in range(5):
        await step(world, controllers, 31)

    assert told(world, "PodsReady")[:2] == ("False", "NodeLost")
    assert world.journal.progress(world.uid()).last_holder is None
    assert world.fit(18, index=0) == 18
    assert world.journal.progress(world.uid()).deaths == 0


def gone(controllers: Controllers, *, index: int, world: World) -> Body:
    """The pod of an index, on a node from which nothing is heard any more: to be deleted, and never gone."""
    (pod,) = [pod for pod in controllers.pods() if pod["metadata"]["name"].startswith(f"forest-{index}-")]
    moment = world.clock.now().strftime("%Y-%m-%dT%H:%M:%SZ")
    ready = {"type": "Ready", "status": "False", "reason": "NodeStatusUnknown"}
    status = {**pod["status"], "conditions": [ready]}
    return {**pod, "metadata": {**pod["metadata"], "deletionTimestamp": moment}, "status": status}


# --- the results service


async def test_a_results_service_that_stays_away_is_told_of_and_its_return_too(
    world: World, controllers: Controllers
) -> None:
    await applied(world, controllers)
    world.service.note("it does not answer")
    await world.later(10)
    world.service.note("it does not answer")
    await world.settle()
    assert world.condition("ResultsService") is None
    await world.later(6)
    world.service.note("it does not answer")
    await world.settle()
    assert told(world, "ResultsService")[:2] == ("False", "Unavailable")
    assert "it does not answer. Pods keep what they finish" in told(world, "ResultsService")[2]
    world.service.note(None)
    await world.settle()

    assert told(world, "ResultsService")[:2] == ("True", "Available")


async def test_pods_that_wait_for_the_service_in_vain_are_made_anew_and_no_fit_is_suspected(
    world: World, controllers: Controllers
) -> None:
    await applied(world, controllers, parallelism=1)
    world.journal_preflight()
    await step(world, controllers)
    first = str(world.cluster.job("forest")["metadata"]["uid"])
    retries = int(world.cluster.job("forest")["spec"]["backoffLimit"])
    (pod,) = controllers.pods()
    held = claimed_by(pod, world)

    for _ in range(retries + 1):
        (pod,) = (each for each in controllers.pods() if not has_ended(each))
        controllers.start(pod)
        controllers.exit(pod, ExitCode.SERVICE_UNAVAILABLE)
        controllers.sync_jobs()
    await world.settle()
    status, reason, message = told(world, "PodsReady")
    assert (status, reason) == ("False", "ResultsServiceUnreachable")
    assert "NetworkPolicy" in message
    assert world.condition("Failed") is None
    await step(world, controllers)

    assert world.cluster.job("forest")["metadata"]["uid"] != first
    (pod,) = controllers.pods()
    controllers.start(pod)
    again = claimed_by(pod, world)
    assert set(held.cells) & set(again.cells)
    assert not again.alone, "nobody died of it"


async def test_a_pod_that_could_not_say_goodbye_has_died_of_nothing(world: World, controllers: Controllers) -> None:
    await applied(world, controllers, parallelism=1)
    world.journal_preflight()
    await step(world, controllers)
    held = claimed_by(controllers.pods()[0], world)
    controllers.exit(controllers.pods()[0], ExitCode.SERVICE_UNAVAILABLE)
    await step(world, controllers)
    (pod,) = (each for each in controllers.pods() if not has_ended(each))
    again = claimed_by(pod, world)
    assert again.alone, "nobody has looked at the pod yet"
    await step(world, controllers)

    world.journal.view(world.uid()).report(Report(index=0, results=[result(again.cells[0])]))
    later = claimed_by(pod, world)
    assert not later.alone
    assert set(later.cells) <= set(held.cells)


def claimed_by(pod: Body, world: World) -> Unit:
    """A unit for the worker in a pod, which holds nothing that it knows of."""
    claimant = f"{pod['metadata']['name']}.0"
    unit = (
        world.journal.view(world.uid())
        .claim(ClaimRequest(index=index_of(pod), slots=1, holding=set(), claimant=claimant))
        .unit
    )
    assert unit is not None
    return unit


def result(cell: Cell) -> CellResult:
    return CellResult(
        candidate=cell.candidate,
        split=cell.split,
        test_scores={"score": 0.5},
        fit_seconds=1.0,
        score_seconds=0.1,
        test_samples=75,
    )


async def test_a_journal_that_does_not_answer_is_told_of(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.cluster.apply(manifest())
    await world.settle()

    def fail(_: str) -> None:
        raise JournalError("the database is locked")

    with monkeypatch.context() as patched:
        patched.setattr(world.journal, "progress", fail)
        world.queue.add(Key("default", "forest"))
        key = world.queue.take_nowait()
        assert key is not None
        await work_on(world.queue, key, world.reconciler.reconcile)
    assert told(world, "ResultsService")[0] == "False"
    assert "the database is locked" in told(world, "ResultsService")[2]
    await world.later(60)

    assert told(world, "ResultsService")[0] == "True"


# --- more memory


def die(world: World, claimant: str, memory: int) -> None:
    """A pod claims, and is killed with what it was given."""
    claim = world.journal.view(world.uid()).claim(
        ClaimRequest(index=0, slots=1, holding=set(), claimant=claimant, memory=memory)
    )
    assert claim.next is Next.EVALUATE


async def test_what_dies_alone_for_memory_gets_a_job_of_larger_pods_once_the_rest_is_done(
    world: World, controllers: Controllers
) -> None:
    gib = 2**30
    await applied(world, controllers, parallelism=1, resources={"cpu": "1", "memory": "1Gi", "memoryLimit": "3Gi"})
    controllers.start(controllers.pods()[0])
    world.journal_preflight()
    first = world.cluster.job("forest")["metadata"]["uid"]
    die(world, "a", gib)
    die(world, "b", gib)
    while (
        claim := world.journal.view(world.uid()).claim(
            ClaimRequest(index=0, slots=1, holding=set(), claimant="c", memory=gib)
        )
    ).unit:
        report(world, claim.unit.cells)
    assert world.journal.progress(world.uid()).starved == 1
    controllers.exit(controllers.pods()[0], 0)
    for _ in range(6):
        await step(world, controllers)

    job = world.cluster.job("forest")
    assert job["metadata"]["uid"] != first
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert parse_quantity(container["resources"]["limits"]["memory"]) == 2 * gib
    assert container["resources"]["requests"] == container["resources"]["limits"] | {"ephemeral-storage": "0"}
    while (
        claim := world.journal.view(world.uid()).claim(
            ClaimRequest(index=0, slots=1, holding=set(), claimant="d", memory=2 * gib)
        )
    ).unit:
        report(world, claim.unit.cells)
    assert world.journal.progress(world.uid()).done == 18
    assert world.journal.progress(world.uid()).failed == 0


def report(world: World, cells: Any) -> None:
    world.journal.view(world.uid()).report(Report(index=0, results=list(map(result, cells))))


@pytest.mark.slow
async def test_a_new_index_takes_the_work_of_a_lost_one_when_every_other_has_ended(
    world: World, controllers: Controllers
) -> None:
    await applied(world, controllers, parallelism=2)
    controllers.start(controllers.pods()[0])
    world.journal_preflight()
    await step(world, controllers)
    for pod in controllers.pods():
        controllers.start(pod)
    await step(world, controllers)
    world.journal.view(world.uid()).claim(ClaimRequest(index=1, slots=1, holding=set(), claimant="lost"))
    world.fit(14, index=0)
    world.cluster.replace(gone(controllers, index=1, world=world))
    (other,) = [pod for pod in controllers.pods() if pod["metadata"]["name"].startswith("forest-0-")]
    controllers.exit(other, 0)
    for _ in range(5):
        await step(world, controllers, 31)

    assert size(world) == (3, 3)
    assert any(pod["metadata"]["name"].startswith("forest-2-") for pod in controllers.pods())
    for _ in range(3):
        await step(world, controllers, 31)
    assert size(world) == (3, 3), "it stays so"
