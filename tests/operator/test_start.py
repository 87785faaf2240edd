"""The start of the process, and the settings of kopf."""

from pathlib import Path
from typing import Any

import kopf
import pytest

from tests.operator.world import World, make_settings
from tuningjob_operator import __main__ as operator_main
from tuningjob_operator.__main__ import CannotStart, check_access, check_settings, start
from tuningjob_operator.cluster.contract import NotFound
from tuningjob_operator.control import watch
from tuningjob_operator.control.loops import RESYNC_SECONDS, STALE_RESYNCS


async def test_a_forbidden_verb_is_named_with_its_place(world: World) -> None:
    world.cluster.forbidden = {("create jobs.batch", "team-a"), ("list pods", "team-b")}

    with pytest.raises(CannotStart) as raised:
        await check_access(world.cluster, ("team-a", "team-b"))
    assert str(raised.value) == (
        "The operator's service account must be allowed to: "
        "create jobs.batch in namespace team-a; list pods in namespace team-b."
    )


async def test_nodes_are_asked_for_only_where_they_are_looked_at(world: World) -> None:
    world.cluster.forbidden = {("list nodes", None)}
    await check_access(world.cluster, ())

    with pytest.raises(CannotStart, match="must be allowed to: list nodes in all namespaces"):
        await check_access(world.cluster, (), with_nodes=True)


def test_a_certificate_without_its_authority_is_told_before_any_search_begins(tmp_path: Path) -> None:
    settings = make_settings(tls_dir=tmp_path)
    with pytest.raises(
        CannotStart, match=r"ca\.crt must be the authority .* of its tls\.issuerRef, needs the key ca\.crt"
    ):
        check_settings(settings)
    (tmp_path / "ca.crt").touch()
    check_settings(settings)
    check_settings(make_settings(tls_dir=None))


async def test_a_crd_that_comes_late_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_main, "_START_PAUSE_SECONDS", 0)
    world.cluster.fail_next = [NotFound(404, "NotFound", "no such resource")]
    await start(world.cluster, world.resync, ())

    assert world.resync.age_seconds == 0


async def test_a_crd_that_never_comes_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(operator_main, "_START_PAUSE_SECONDS", 0)
    world.cluster.fail_next = [NotFound(404, "NotFound", "no such resource")] * 50

    with pytest.raises(CannotStart, match=r"the CRD tuningjobs\.tuningjob\.dev must be installed"):
        await start(world.cluster, world.resync, ())


def probes_of(world: World) -> Any:
    registry = watch.make_registry(cache=world.cache, queue=world.queue, resync=world.resync, beyond=world.beyond)
    (probe,) = [h for h in registry._activities.get_all_handlers() if h.id == "resync"]
    return probe.fn


async def test_the_probe_fails_once_the_resync_is_stale(world: World) -> None:
    probe = probes_of(world)
    world.clock.seconds = STALE_RESYNCS * RESYNC_SECONDS
    assert await probe() == world.clock.seconds
    world.clock.seconds += 1

    with pytest.raises(kopf.PermanentError):
        await probe()


def test_kopf_only_watches(world: World) -> None:
    registry = watch.make_registry(cache=world.cache, queue=world.queue, resync=world.resync, beyond=world.beyond)

    assert len(registry._watching.get_all_handlers()) == 2
    for others in (registry._changing, registry._spawning, registry._indexing, registry._webhooks):
        assert not others.get_all_handlers()
