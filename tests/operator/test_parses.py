"""How often the operator parses a manifest: never while a search runs."""

import pytest

from tests.manifest.calls import parses
from tests.operator.world import World, manifest


@pytest.mark.slow
async def test_a_pass_of_a_search_that_runs_parses_nothing(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.preflight()
    await world.settle()
    with parses() as seen:
        while world.fit(1):
            await world.later(10)

    assert seen == {}


async def test_a_field_that_may_change_is_followed_without_parsing_what_may_not(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.preflight()
    await world.settle()
    world.cluster.apply(manifest(suspend=True))
    await world.settle()
    with parses() as seen:
        await world.later(10)
        world.fit(1)
        await world.later(10)

    assert world.status()["phase"] == "Suspended"
    assert seen == {}


async def test_a_search_is_opened_with_one_parse(world: World) -> None:
    world.cluster.apply(manifest())
    with parses() as seen:
        await world.settle()
        world.preflight()
        await world.settle()

    assert world.status()["phase"] == "Running"
    assert seen == {"validated": 1, "space": 1, "params spec.data.params": 1, "estimator": 1}
