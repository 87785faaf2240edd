"""The results service comes to speak TLS, or stops to, or gets another authority: no search is left with pods that it turns away."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.operator.world import KEYS, World, manifest
from tuningjob_operator import names
from tuningjob_operator.control.loops import AuthorityWatch
from tuningjob_operator.tokens import Keys

PLAIN: dict[str, Any] = {"results_url": "http://results:8080", "ca": None}
TLS: dict[str, Any] = {"results_url": "https://results:8080", "ca": b"one"}


async def begun(world: World, **settings: Any) -> str:
    """A search whose pods have found five cells with the service as these settings have it; the uid of its Job."""
    await upgraded(world, **settings)
    world.cluster.apply(manifest())
    await world.settle()
    world.preflight()
    await world.later(10)
    world.fit(5)
    return uid_of_job(world)


async def upgraded(world: World, **settings: Any) -> None:
    """The operator starts again, and finds these settings."""
    world.settings = replace(world.settings, **settings)
    await world.restart()
    await world.settle()


async def some_time(world: World) -> None:
    for _ in range(5):
        world.cluster.collect_garbage()
        await world.later(30)


def uid_of_job(world: World) -> str:
    return str(world.cluster.job("forest")["metadata"]["uid"])


def told_to_pods(world: World) -> dict[str, Any]:
    """Where the Job's pods look for the service, and whom they trust as that."""
    spec = world.cluster.job("forest")["spec"]["template"]["spec"]
    (mounted,) = [volume["secret"]["secretName"] for volume in spec["volumes"] if volume["name"] == "token"]
    (secret,) = [each for each in world.cluster.of_kind("Secret") if each["metadata"]["name"] == mounted]
    variables = {each["name"]: each.get("value") for each in spec["containers"][0]["env"]}
    ca = secret["data"].get("ca.crt")
    assert ("TUNINGJOB_CA_FILE" in variables) is (ca is not None)
    return {"results_url": variables["TUNINGJOB_RESULTS_URL"], "ca": None if ca is None else base64.b64decode(ca)}


@pytest.mark.alike
@pytest.mark.parametrize("ended", [None, "Failed"], ids=["running", "whose pods gave up before"])
@pytest.mark.parametrize(
    ("before", "after"),
    [(PLAIN, TLS), (TLS, PLAIN), (TLS, TLS | {"results_url": "https://other:8080"})],
    ids=["to TLS", "from TLS", "to another address"],
)
async def test_pods_that_look_for_it_where_it_is_not_are_made_again_and_what_they_found_is_kept(
    world: World, before: dict[str, Any], after: dict[str, Any], ended: str | None
) -> None:
    first = await begun(world, **before)
    assert told_to_pods(world) == before
    if ended is not None:
        world.cluster.end_jobs(ended, reason="BackoffLimitExceeded")

    await upgraded(world, **after)
    condition = world.condition(names.PODS_READY)
    await some_time(world)

    assert condition is not None
    assert condition["reason"] == names.SERVICE_MOVED
    assert uid_of_job(world) != first
    assert told_to_pods(world) == after
    assert world.journal.progress(world.uid()).done == 5


@pytest.mark.parametrize("settings", [PLAIN, TLS], ids=["plain", "TLS"])
async def test_an_upgrade_that_moves_nothing_makes_no_job_again(world: World, settings: dict[str, Any]) -> None:
    first = await begun(world, **settings)
    await upgraded(world, **settings)
    await some_time(world)
    assert uid_of_job(world) == first


async def test_with_tls_as_well_a_former_key_is_good_for_the_pods_that_have_it(world: World) -> None:
    first = await begun(world, **TLS)
    world.keys = Keys(b"n" * 32, former=(KEYS.current,))
    await upgraded(world, key_ids=world.keys.ids)
    await some_time(world)
    assert uid_of_job(world) == first


async def test_a_secret_from_before_keys_had_names_has_no_authority_in_it(world: World) -> None:
    first = await begun(world, **TLS)
    job = world.cluster.job("forest")
    for volume in job["spec"]["template"]["spec"]["volumes"]:
        if volume["name"] == "token":
            volume["secret"]["secretName"] = names.old_token_name("forest", world.uid())
    world.cluster.replace(job)
    await upgraded(world, takes_old_tokens=True)
    await some_time(world)
    assert uid_of_job(world) != first
    assert told_to_pods(world) == TLS


@pytest.mark.slow
async def test_another_authority_is_given_to_pods_that_are_made_again_while_the_operator_runs(
    world: World, tmp_path: Path
) -> None:
    file = tmp_path / "ca.crt"
    file.write_bytes(b"one")
    first = await begun(world, **TLS)

    def trust(ca: bytes) -> None:
        world.reconciler.trust(ca)
        world.queue.add_all(world.cache.tuningjobs.keys())

    watch = AuthorityWatch(file, known=b"one", on_change=trust)
    for unchanged in (b"one", b""):  # one that is being written, say
        file.write_bytes(unchanged)
        watch.look()
        await some_time(world)
        assert uid_of_job(world) == first
    file.unlink()
    watch.look()

    file.write_bytes(b"two")
    watch.look()
    await world.settle()
    condition = world.condition(names.PODS_READY)
    assert condition is not None
    assert condition["reason"] == names.TOKEN_REPLACED
    await some_time(world)
    second = uid_of_job(world)
    assert second != first
    assert told_to_pods(world) == TLS | {"ca": b"two"}
    assert world.journal.progress(world.uid()).done == 5
    # told once
    watch.look()
    await some_time(world)
    assert uid_of_job(world) == second
