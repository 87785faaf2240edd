"""The operator's words about a search in the audit, and the rows that outlive a deleted search, and for how long."""

import base64
import datetime as dt
from pathlib import Path
from typing import Any

import pytest

from tests.operator.world import World, manifest
from tuningjob.errors import UnknownSearch
from tuningjob.protocol.audit import AuditRow
from tuningjob.protocol.records import CellIdentity, CellResult
from tuningjob.protocol.requests import ClaimRequest, Report, ReuseRequest
from tuningjob_operator.control.loops import Purger
from tuningjob_operator.names import ANNOTATION_CREATED_BY
from tuningjob_operator.objects import Body

IDENTITY = "0123456789abcdef0123456789abcdef"


def by(creator: str, **spec: Any) -> Body:
    body = manifest(**spec)
    body["metadata"]["annotations"] = {ANNOTATION_CREATED_BY: creator}
    return body


async def finished(world: World, body: Body) -> AuditRow:
    """The audit row of a whole search."""
    world.cluster.apply(body)
    await world.settle()
    world.preflight()
    while world.fit(1):
        pass
    world.answer()
    await world.later(10)
    (row,) = world.journal.audit.history(namespace="default", model_key="forest")
    return row


async def test_the_audit_is_told_who_created_the_search_its_image_and_where_its_files_are(world: World) -> None:
    row = await finished(world, by("alice", image="registry.example/mine:1"))
    assert (row.created_by, row.image) == ("alice", "registry.example/mine:1")
    assert row.artifacts == world.artifacts.url(world.uid())


async def test_without_an_image_of_its_own_it_is_the_operators(world: World) -> None:
    row = await finished(world, manifest())
    assert (row.created_by, row.image) == ("", world.settings.worker_image)


@pytest.mark.slow
async def test_a_creator_that_nobody_vouches_for_is_not_told(tmp_path: Path) -> None:
    world = World(tmp_path, records_creators=False)
    row = await finished(world, by("mallory"))
    assert row.created_by == ""
    world.journal.close()


async def test_a_creators_long_name_is_cut_to_what_the_audit_takes(world: World) -> None:
    row = await finished(world, by("a" * 1_000))
    assert row.created_by == "a" * 252 + "…"


# --- reused ----------------------------------------------------------------------------------------------------------


def report_with_identity(world: World, name: str) -> None:
    """One cell of the search, with the identity that another search may have in common."""
    uid = world.uid(name)
    unit = world.journal.view(uid).claim(ClaimRequest(index=0, slots=1, holding=set())).unit
    assert unit is not None
    cell = unit.cells[0]
    result = CellResult(
        candidate=cell.candidate,
        split=cell.split,
        test_scores={"score": 0.5},
        fit_seconds=1.0,
        score_seconds=0.1,
        test_samples=75,
        identity=IDENTITY,
    )
    world.journal.view(uid).report(Report(index=0, results=[result]))


@pytest.mark.slow
async def test_status_and_the_end_say_how_many_fits_were_reused(world: World) -> None:
    world.cluster.apply(manifest("first"))
    await world.settle()
    world.preflight("first")
    report_with_identity(world, "first")
    world.cluster.apply(manifest(reuse=True))
    await world.settle()
    world.preflight()
    uid = world.uid()
    unit = world.journal.view(uid).claim(ClaimRequest(index=0, slots=1, holding=set())).unit
    assert unit is not None
    cells = [CellIdentity(candidate=cell.candidate, split=cell.split, identity=IDENTITY) for cell in unit.cells[:1]]
    assert len(world.journal.view(uid).reuse(ReuseRequest(index=0, cells=cells))) == 1
    while world.fit(1):
        pass
    world.answer()
    await world.later(10)
    assert world.status()["progress"] == {
        "done": 18,
        "failed": 0,
        "reused": 1,
        "pruned": 0,
        "total": 18,
        "text": "18/18",
    }
    complete = world.condition("Complete")
    assert complete is not None
    assert complete["message"] == "18 fits, 1 reused."


async def test_a_search_that_asked_for_no_reuse_says_nothing_of_it(world: World) -> None:
    await finished(world, manifest())
    complete = world.condition("Complete")
    assert complete is not None
    assert complete["message"] == "18 fits."


# --- kept ------------------------------------------------------------------------------------------------------------


async def test_the_files_of_a_version_that_was_ever_blessed_outlive_its_tuningjob(world: World) -> None:
    await finished(world, manifest())
    uid = world.uid()
    world.journal.audit.bless(namespace="default", model_key="forest", version=1, who="alice")
    world.cluster.delete("TuningJob", "forest")
    await world.settle()
    with pytest.raises(UnknownSearch):
        world.journal.progress(uid)
    assert [file.name for file in world.artifacts.list(uid)] == [
        "best_params.json",
        "cv_results.csv",
        "leaderboard.csv",
    ]


async def test_the_files_of_any_other_version_go_with_it(world: World) -> None:
    await finished(world, manifest())
    uid = world.uid()
    world.cluster.delete("TuningJob", "forest")
    await world.settle()
    assert world.artifacts.list(uid) == []


@pytest.mark.parametrize(("days", "kept"), [(30, True), (31, False)])
async def test_the_cells_of_a_deleted_search_are_purged_after_their_time(
    world: World, days: int, *, kept: bool
) -> None:
    world.cluster.apply(manifest("first"))
    await world.settle()
    world.preflight("first")
    report_with_identity(world, "first")
    world.cluster.delete("TuningJob", "first")
    await world.settle()
    world.clock.seconds += dt.timedelta(days=days).total_seconds()
    purger = Purger(journal=world.journal, clock=world.clock, retention=dt.timedelta(days=30))
    assert await purger.purge() == (0 if kept else 1)
    assert await purger.purge() == 0


async def test_without_retention_they_are_purged_at_the_next_pass(world: World) -> None:
    await finished(world, manifest())
    world.cluster.delete("TuningJob", "forest")
    await world.later(1)
    world.clock.seconds += 1
    assert await Purger(journal=world.journal, clock=world.clock, retention=dt.timedelta(0)).purge() == 1


# --- TLS -------------------------------------------------------------------------------------------------------------


async def test_worker_pods_are_given_the_authority_of_the_services_certificate(tmp_path: Path) -> None:
    world = World(tmp_path, ca=b"the authority", results_url="https://results:8080")
    world.cluster.apply(manifest())
    await world.settle()
    (secret,) = world.cluster.of_kind("Secret")
    assert base64.b64decode(secret["data"]["ca.crt"]) == b"the authority"
    (job,) = world.cluster.of_kind("Job")
    environment = {
        entry["name"]: entry.get("value") for entry in job["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert environment["TUNINGJOB_CA_FILE"] == "/var/run/tuningjob/ca.crt"
    assert environment["TUNINGJOB_RESULTS_URL"] == "https://results:8080"
    world.journal.close()


async def test_without_tls_there_is_no_authority_to_give(world: World) -> None:
    world.cluster.apply(manifest())
    await world.settle()
    (secret,) = world.cluster.of_kind("Secret")
    assert secret["data"].keys() == {"token"}
    (job,) = world.cluster.of_kind("Job")
    assert "TUNINGJOB_CA_FILE" not in str(job)
