"""The key that tokens are signed with: replaced, lost, or of a release before. No search is left with pods that nobody lets in."""

from dataclasses import replace
from typing import Any

import pytest

from tests.operator.world import KEYS, World, manifest
from tuningjob_operator import names
from tuningjob_operator.tokens import Keys

NEW = Keys(b"n" * 32)


def secret_of(job: dict[str, Any]) -> str:
    volumes = job["spec"]["template"]["spec"]["volumes"]
    return str(next(volume["secret"]["secretName"] for volume in volumes if volume["name"] == "token"))


async def with_keys(world: World, keys: Keys, *, takes_old_tokens: bool = False) -> None:
    """The operator starts again, and finds these keys."""
    world.keys = keys
    world.settings = replace(world.settings, key_ids=keys.ids, takes_old_tokens=takes_old_tokens)
    await world.restart()
    await world.settle()


async def begun(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    world.preflight()
    await world.later(10)
    world.fit(5)


@pytest.mark.alike
@pytest.mark.parametrize("ended", [None, "Failed"], ids=["running", "whose pods were turned away until it failed"])
async def test_a_job_with_a_token_of_a_key_that_is_gone_is_made_again_and_keeps_what_it_found(
    world: World, ended: str | None
) -> None:
    await begun(world)
    before = world.cluster.job("forest")["metadata"]["uid"]
    if ended is not None:
        world.cluster.end_jobs(ended, reason="BackoffLimitExceeded")

    await with_keys(world, NEW)
    condition = world.condition(names.PODS_READY)
    for _ in range(5):
        world.cluster.collect_garbage()
        await world.later(30)

    job = world.cluster.job("forest")
    assert condition is not None
    assert condition["reason"] == names.TOKEN_REPLACED
    assert job["metadata"]["uid"] != before
    assert secret_of(job) == f"forest-token-{NEW.ids[0]}-{world.uid()}"
    assert secret_of(job) in {secret["metadata"]["name"] for secret in world.cluster.of_kind("Secret")}
    assert world.journal.progress(world.uid()).done == 5


async def test_a_job_goes_on_while_the_former_key_is_kept_and_new_searches_get_the_new_one(world: World) -> None:
    await begun(world)
    before = world.cluster.job("forest")["metadata"]["uid"]

    await with_keys(world, Keys(NEW.current, former=(KEYS.current,)))
    world.cluster.apply(manifest("later"))
    await world.settle()

    assert world.cluster.job("forest")["metadata"]["uid"] == before
    assert secret_of(world.cluster.job("later")) == f"later-token-{NEW.ids[0]}-{world.uid('later')}"


@pytest.mark.parametrize("takes_old_tokens", [True, False])
async def test_a_job_of_a_release_whose_secrets_named_no_key_goes_on_if_its_key_is_there(
    world: World, *, takes_old_tokens: bool
) -> None:
    await begun(world)
    job = world.cluster.job("forest")
    for volume in job["spec"]["template"]["spec"]["volumes"]:
        if volume["name"] == "token":
            volume["secret"]["secretName"] = names.old_token_name("forest", world.uid())
    world.cluster.replace(job)

    await with_keys(world, KEYS, takes_old_tokens=takes_old_tokens)

    condition = world.condition(names.PODS_READY)
    assert (condition is not None and condition["reason"] == names.TOKEN_REPLACED) is not takes_old_tokens


async def test_a_search_of_whatever_age_gets_the_token_of_its_first_day(world: World) -> None:
    world.cluster.apply(manifest(suspend=True))
    await world.settle()
    await world.later(400 * 86_400)
    world.cluster.edit("forest", suspend=False)
    await world.settle()

    assert secret_of(world.cluster.job("forest")) == f"forest-token-{KEYS.ids[0]}-{world.uid()}"
