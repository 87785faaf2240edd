"""A TuningJob's life over a fake API server and a real journal."""

import base64
import gzip

import pytest

from tests.operator.world import KEYS, World, manifest
from tuningjob.errors import UnknownSearch
from tuningjob.protocol.records import Refusal
from tuningjob_operator.objects import timestamp


async def test_a_new_tuningjob_gets_a_search_a_token_and_a_job_of_one_pod(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()

    assert world.journal.progress(world.uid()).total == 18
    assert [secret["metadata"]["name"] for secret in world.cluster.of_kind("Secret")] == [
        f"forest-token-{KEYS.ids[0]}-uid-0001"
    ]
    assert world.cluster.job("forest")["spec"]["parallelism"] == 1
    status = world.status()
    assert status["phase"] == "Pending"
    assert status["grid"] == {"candidates": 9, "splits": 2, "fits": 18}
    assert status["plan"]["pods"] == 3
    assert status["progress"]["text"] == "0/18"
    assert status["startTime"] == timestamp(world.clock.now())
    assert world.condition("Admitted") is not None


async def test_the_order_of_making_lets_no_pod_start_without_its_search_and_token(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()

    around = ["list ResourceQuota", "list LimitRange", "list Node"]
    assert world.cluster.calls == [*around, "create secret", "create job", "replace status", "create event"]


async def test_the_job_is_scaled_once_the_preflight_passed(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.preflight()
    await world.settle()

    spec = world.cluster.job("forest")["spec"]
    assert (spec["completions"], spec["parallelism"]) == (3, 3)
    assert world.status()["phase"] == "Running"
    assert world.condition("Preflight") is not None


async def test_the_job_is_not_scaled_beyond_the_work_that_is_left(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.preflight()
    world.fit(17)
    await world.settle()

    assert world.cluster.job("forest")["spec"]["parallelism"] == 1


@pytest.mark.slow
async def test_a_complete_search_ends_with_its_answer_as_an_object(world: World) -> None:
    await world.live()

    status = world.status()
    assert status["phase"] == "Complete"
    assert status["best"] == {"index": 8, "score": 0.96, "params": {"max_depth": {"none": True}, "n_estimators": 200}}
    assert status["progress"]["text"] == "18/18"
    assert (status["modelVersion"], status["activePods"], status["results"]) == (1, 0, "forest-results")
    complete = world.condition("Complete")
    assert complete is not None
    assert complete["message"] == "18 fits."
    (configmap,) = world.cluster.of_kind("ConfigMap")
    assert configmap["data"] == {"best_params.json": "{}", "leaderboard.csv": "rank\n1\n"}
    assert gzip.decompress(base64.b64decode(configmap["binaryData"]["cv_results.csv.gz"])) == b"a\n1\n"


@pytest.mark.slow
async def test_a_whole_life_costs_at_most_20_calls(world: World) -> None:
    await world.live()

    assert len(world.cluster.calls) <= 20, world.cluster.calls


@pytest.mark.slow
async def test_a_fast_search_costs_fewer_calls_still(world: World) -> None:
    await world.live(seconds=0.1)

    assert len(world.cluster.calls) <= 15, world.cluster.calls


@pytest.mark.slow
async def test_each_condition_is_told_by_one_event(world: World) -> None:
    await world.live()

    reasons = [event["reason"] for event in world.cluster.of_kind("Event")]
    assert reasons == ["WithinLimits", "Passed", "SearchComplete"]


@pytest.mark.slow
async def test_nothing_is_written_when_nothing_changed(world: World) -> None:
    await world.live()
    before = len(world.cluster.calls)
    await world.restart()
    await world.later(3_600)

    assert [call for call in world.cluster.calls[before:] if not call.startswith("list")] == []


@pytest.mark.slow
async def test_some_failed_fits_are_counted_in_the_end(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.preflight()
    world.fit(4, error="Traceback")
    world.fit(14)
    world.answer(failed_fits=4)
    await world.settle()

    complete = world.condition("Complete")
    assert complete is not None
    assert complete["message"] == "18 fits, 4 failed (scored NaN)."
    assert world.status()["progress"]["failed"] == 4


async def test_progress_waits_for_its_interval(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.preflight()
    await world.settle()
    world.fit(9)
    await world.later(1.0)
    assert world.status()["progress"]["text"] == "0/18"
    await world.later(2.0)

    assert world.status()["progress"]["text"] == "9/18"
    assert world.status()["best"]["params"] == {"max_depth": 10, "n_estimators": 50}


async def test_a_refused_manifest_is_a_terminal_condition_with_every_problem(world: World) -> None:
    world.cluster.apply(manifest(parallelism=21, data={"path": "iris.csv", "target": "species"}))
    await world.settle()

    failed = world.condition("Failed")
    assert failed is not None
    assert failed["reason"] == "ManifestRefused"
    assert "spec.parallelism: must be at most 20 (this cluster's ceiling), but got 21." in failed["message"]
    assert "spec.data: must be with persistentVolumeClaim or configMap" in failed["message"]
    assert world.cluster.of_kind("Job") == world.cluster.of_kind("Secret") == []
    with pytest.raises(UnknownSearch):
        world.journal.progress(world.uid())


async def test_a_grid_beyond_the_ceiling_is_refused_with_its_size(world: World) -> None:
    world.cluster.apply(manifest(search={"grid": {"parameters": {"max_depth": {"range": [1, 100_001]}}}}))
    await world.settle()

    failed = world.condition("Failed")
    assert failed is not None
    assert failed["message"].startswith("spec.search.grid.parameters: must be a grid of at most 10,000 fits")
    assert world.status()["grid"]["fits"] == 200_000


async def test_what_a_worker_refuses_is_said_in_its_words(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    problem = {"field": "spec.estimator.class", "must_be": "importable", "got": "'sklearn.Nope'", "advice": ""}
    world.journal.view(world.uid()).refuse(Refusal(problems=(problem,)))
    await world.settle()

    failed = world.condition("Failed")
    assert failed is not None
    assert failed["reason"] == "ManifestRefused"
    assert failed["message"] == "spec.estimator.class: must be importable, but got 'sklearn.Nope'."


async def test_a_failed_search_keeps_the_end_of_its_traceback(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.journal.fail(world.uid(), "x" * 10_000 + "ValueError: no")
    await world.settle()

    failed = world.condition("Failed")
    assert failed is not None
    assert failed["reason"] == "SearchFailed"
    assert failed["message"].endswith("ValueError: no")
    assert len(failed["message"]) == 4_096


async def test_a_job_that_gave_up_is_explained_by_its_last_pod(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    terminated = {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T12:00:00Z"}
    world.cluster.pods = [
        {
            "metadata": {
                "name": "forest-0-abcde",
                "namespace": "default",
                "labels": {"tuningjob.dev/uid": world.uid()},
            },
            "status": {"containerStatuses": [{"name": "worker", "state": {"terminated": terminated}}]},
        }
    ]
    world.cluster.end_jobs(
        "Failed", reason="BackoffLimitExceeded", message="Job has reached the specified backoff limit"
    )
    await world.settle()

    failed = world.condition("Failed")
    assert failed is not None
    assert failed["reason"] == "OutOfMemory"
    assert "Pod forest-0-abcde ended with exit code 137 (OOMKilled)." in failed["message"]


async def test_a_job_that_ends_before_its_search_is_made_again_once_and_fails_it_when_that_brings_nothing(
    world: World,
) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    first = world.cluster.job("forest")["metadata"]["uid"]
    world.fit(4)
    world.cluster.end_jobs()
    await world.settle()
    assert world.cluster.job("forest")["metadata"]["uid"] != first
    assert world.condition("Failed") is None
    world.cluster.end_jobs()
    await world.settle()

    failed = world.condition("Failed")
    assert failed is not None
    assert failed["reason"] == "JobEndedEarly"
    assert "14 of 18 fits" in failed["message"]


async def test_an_edit_after_admission_changes_nothing_and_is_said(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.cluster.apply(manifest(crossValidation={"folds": 5}))
    await world.settle()

    assert world.status()["grid"]["fits"] == 18
    accepted = world.condition("SpecAccepted")
    assert accepted is not None
    assert accepted["status"] == "False"
    world.cluster.apply(manifest())
    await world.settle()
    assert world.condition("SpecAccepted") is None


@pytest.mark.slow
async def test_an_edit_after_the_end_changes_nothing(world: World) -> None:
    await world.live()
    before = world.status()
    world.cluster.apply(manifest(crossValidation={"folds": 5}, parallelism=99))
    await world.later(60)

    assert world.status() == before
