"""The life of a TuningJob of which only the data tell how many splits it has."""

from pathlib import Path
from typing import Any, Final

import pytest

from tests.operator.world import World, manifest

SPLITTER: Final = {"splitter": {"class": "sklearn.model_selection.LeaveOneOut"}}


def unknown(**spec: Any) -> dict[str, Any]:
    """Nine candidates, on three pods of two CPUs."""
    return manifest(crossValidation=SPLITTER, **spec)


async def test_one_pod_is_planned_until_the_first_has_told_and_then_as_many_as_there_is_work_for(world: World) -> None:
    world.cluster.apply(unknown())
    await world.settle()

    status = world.status()
    assert status["grid"] == {"candidates": 9}
    assert status["progress"]["text"] == "0/?"
    assert status["plan"]["pods"] == 1
    assert status["plan"]["reason"].startswith("one pod, which tells how many splits there are")
    admitted = world.condition("Admitted")
    assert admitted is not None
    assert admitted["message"] == "9 candidates × ? splits: the first pod tells how many."
    assert world.cluster.job("forest")["spec"]["parallelism"] == 1

    world.preflight(splits=70)
    await world.settle()

    status = world.status()
    assert status["grid"] == {"candidates": 9, "splits": 70, "fits": 630}
    assert status["progress"]["text"] == "0/630"
    assert status["plan"]["pods"] == 3
    assert world.cluster.job("forest")["spec"]["parallelism"] == 3
    admitted = world.condition("Admitted")
    assert admitted is not None
    assert admitted["message"].startswith("9 candidates × 70 folds = 630 fits. 630 fits are more than 500")


async def test_it_ends_with_its_answer_also_by_an_operator_that_comes_anew(world: World) -> None:
    world.cluster.apply(unknown())
    await world.settle()
    world.preflight(splits=2)
    await world.restart()
    await world.settle()
    assert world.fit(99) == 18
    world.answer()
    await world.settle()

    assert world.status()["phase"] == "Complete"
    assert world.status()["progress"]["text"] == "18/18"


@pytest.mark.parametrize("restarts", [False, True])
async def test_above_the_clusters_ceiling_it_is_refused_once_that_is_known(tmp_path: Path, *, restarts: bool) -> None:
    world = World(tmp_path, max_fits=100)
    world.cluster.apply(unknown())
    await world.settle()
    world.preflight(splits=12)
    if restarts:
        await world.restart()
    await world.settle()

    assert world.status()["phase"] == "Failed"
    failed = world.condition("Failed")
    assert failed is not None
    assert failed["reason"] == "ManifestRefused"
    assert failed["message"].startswith(
        "spec.search.grid.parameters: must be a grid of at most 100 fits (this cluster's ceiling), but got "
        "9 candidates × 12 folds = 108 fits."
    )
    assert world.fit(1) == 0, "nothing is handed out any more"


async def test_a_ceiling_that_is_lowered_later_does_not_reach_it(tmp_path: Path) -> None:
    world = World(tmp_path, max_fits=108)
    world.cluster.apply(unknown())
    await world.settle()
    world.preflight(splits=12)
    await world.settle()
    world.settings = world.settings.__class__(**{**vars(world.settings), "max_fits": 100})
    await world.restart()
    await world.settle()

    assert world.status()["phase"] == "Running"


async def test_under_kueue_all_pods_are_asked_for_at_once_as_a_queued_job_keeps_its_size(world: World) -> None:
    world.cluster.apply(unknown(queueName="team"))
    await world.settle()

    assert world.status()["plan"]["pods"] == 3
    assert world.cluster.job("forest")["spec"]["parallelism"] == 3
