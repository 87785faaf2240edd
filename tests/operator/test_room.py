"""However many TuningJobs there are, the operator looks after so many; the others are told, wait, and have their turn."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.operator.world import World, manifest
from tuningjob_operator.ceilings import Bounds, Lifetimes
from tuningjob_operator.cluster.cache import JOB_BYTES, Cache
from tuningjob_operator.cluster.room import Rank, TuningJobRoom, Waiting
from tuningjob_operator.objects import Key

BOUNDS = Bounds(in_namespace=3, in_all=5)
KEYS = st.builds(Key, st.sampled_from("abc"), st.sampled_from("123456"))
STEPS = st.lists(st.tuples(KEYS, st.sampled_from([None, *Rank]), st.integers(1, 4)), max_size=60)


@pytest.mark.slow
@given(steps=STEPS)
def test_no_more_are_in_than_there_is_room_for_and_what_gives_way_is_of_a_lower_rank(
    steps: list[tuple[Key, Rank | None, int]],
) -> None:
    held: dict[Key, tuple[Rank, int]] = {}
    out: list[Key] = []
    room = TuningJobRoom(BOUNDS, on_out=out.append)
    for key, rank, slots in steps:
        out.clear()
        if rank is None:
            room.leave(key)
            held.pop(key, None)
        else:
            was_welcome = key in held or room.could_enter(key.namespace, rank, slots)
            held.pop(key, None)
            is_in = room.enter(key, rank, slots)
            assert is_in or not was_welcome or slots > 1
            assert all(held.pop(each)[0] < rank for each in out)
            if is_in:
                held[key] = rank, min(slots, BOUNDS.in_namespace)
        assert {key for key in (Key(a, b) for a in "abc" for b in "123456") if key in room} == set(held)
        for namespace in "abc":
            taken = sum(slots for each, (_, slots) in held.items() if each.namespace == namespace)
            assert taken <= BOUNDS.in_namespace
        assert sum(slots for _, slots in held.values()) <= BOUNDS.in_all


@pytest.mark.slow
@given(keys=st.lists(KEYS, max_size=60), gone=st.lists(KEYS, max_size=20))
def test_no_more_keys_wait_than_there_is_room_for_and_every_one_of_them_has_its_turn(
    keys: list[Key], gone: list[Key]
) -> None:
    waiting = Waiting(BOUNDS)
    for key in keys:
        waiting.put(key, 1)
        assert len(waiting) <= BOUNDS.in_all
    for key in gone:
        waiting.discard(key)
    there = set(waiting.versions())
    assert len(waiting) == len(there)
    assert {waiting.first(lambda _: True) for _ in range(len(there) * 3)} == (there or set())


@pytest.fixture
def small(tmp_path: Path) -> Any:
    made = World(tmp_path, bounds=Bounds(in_namespace=2, in_all=3), lifetimes=Lifetimes(most_seconds=3_600))
    yield made
    made.journal.close()


def reason(world: World, name: str) -> str | None:
    told = world.condition("Admitted", name)
    return None if told is None else str(told["reason"])


async def test_those_beyond_are_told_so_once_and_nothing_is_made_for_them(small: World) -> None:
    for number in range(5):
        small.cluster.apply(manifest(f"job-{number}"))
    await small.settle()
    assert [reason(small, f"job-{number}") for number in range(5)] == ["WithinLimits"] * 2 + ["TooManyTuningJobs"] * 3
    assert [small.status(f"job-{number}")["phase"] for number in range(5)] == ["Pending"] * 5
    assert len(small.journal.places()) == 2

    before = small.cluster.calls.count("replace status")
    for _ in range(3):
        await small.resync.resync()
        await small.settle()
    assert small.cluster.calls.count("replace status") == before
    assert small.cache.beyond == 3


async def test_when_one_ends_or_goes_the_next_is_taken_and_the_one_that_ended_stays(small: World) -> None:
    for number in range(5):
        small.cluster.apply(manifest(f"job-{number}"))
    await small.settle()
    small.cluster.edit("job-0", cancel=True)
    await small.settle()
    assert small.condition("Failed", "job-0") is not None
    small.cluster.delete("TuningJob", "job-1")
    await small.later(60)

    assert [reason(small, f"job-{number}") for number in (2, 3, 4)] == ["WithinLimits"] * 2 + ["TooManyTuningJobs"]
    assert small.cluster.job("job-2")
    assert small.uid("job-0") in small.journal.places()


@pytest.mark.slow
async def test_one_that_ended_and_gave_way_goes_when_its_time_is_over(small: World) -> None:
    for number in range(3):
        small.cluster.apply(manifest(f"job-{number}"))
    await small.settle()
    for number in range(3):
        small.cluster.edit(f"job-{number}", cancel=True)
        await small.later(60)
        small.cluster.apply(manifest(f"later-{number}"))
        await small.later(60)
    assert all(small.cache.tuningjobs.uid(Key("default", f"job-{number}")) is None for number in range(3))
    small.clock.seconds += 3_600
    await small.resync.resync()
    await small.settle()
    small.deliver()

    left = [body["metadata"]["name"] async for page in small.cluster.list_tuningjobs(None) for body in page.items]
    assert sorted(left) == ["later-0", "later-1", "later-2"]
    assert len(small.journal.places()) == 2


async def test_after_a_restart_the_same_ones_are_looked_after_and_no_search_of_another_is_buried(small: World) -> None:
    for number in (3, 4, 0, 1, 2):
        small.cluster.apply(manifest(f"job-{number}"))
        await small.settle()
    searches = small.journal.places()
    assert [reason(small, f"job-{number}") for number in (3, 4)] == ["WithinLimits"] * 2
    await small.restart()
    await small.settle()

    assert set(small.cache.tuningjobs.keys()) == {Key("default", "job-3"), Key("default", "job-4")}
    assert small.journal.places() == searches


async def test_a_lower_limit_ends_no_search_and_buries_none(tmp_path: Path) -> None:
    world = World(tmp_path)
    for number in range(4):
        world.cluster.apply(manifest(f"job-{number}"))
        await world.settle()
    world.settings = World(tmp_path, bounds=Bounds(in_namespace=2, in_all=3)).settings
    await world.restart()
    await world.settle()
    world.journal.close()

    assert len(world.journal.places()) == 4
    assert all(world.cluster.job(f"job-{number}") for number in range(4))
    assert sorted(reason(world, f"job-{number}") or "" for number in range(4)) == [
        *["TooManyTuningJobs"] * 2,
        *["WithinLimits"] * 2,
    ]


async def test_a_job_that_is_larger_than_ours_can_be_is_another_owners(small: World) -> None:
    small.cluster.apply(manifest())
    await small.settle()
    job = small.cluster.job("forest")
    version = str(int(job["metadata"]["resourceVersion"]) + 1)
    metadata = {**job["metadata"], "resourceVersion": version, "annotations": {"a": "x" * 3 * JOB_BYTES}}
    small.cache.put_job({**job, "metadata": metadata})
    small.queue.add(Key("default", "forest"))
    await small.settle()

    assert reason(small, "forest") == "NameTaken"


@settings(max_examples=20, deadline=None)
@given(number=st.integers(0, 30))
def test_a_job_without_a_tuningjob_that_is_looked_after_is_not_kept(number: int) -> None:
    cache = Cache(BOUNDS)
    for each in range(number):
        metadata = {"namespace": "a", "name": f"{each}", "uid": f"{each}", "resourceVersion": "1"}
        cache.put_job({"metadata": metadata, "spec": {}})
    assert not len(cache.jobs)
