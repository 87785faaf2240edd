"""``python -m benchmarks.soak --minutes 60 --seed 1``. As root: it brings the two-node cluster up, and takes it down.

Exits with 1 and the timeline of what was done if anything does not hold. The same seed does the same things in the same order.
"""

import contextlib
import datetime as dt
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import click

from benchmarks.soak import checks, kinds, plan, truth
from benchmarks.soak.hands import Hands
from benchmarks.soak.page import Found, page_of
from benchmarks.soak.stage import IN_FLIGHT, LIMITS, TABLES, TENANTS, Stage, search_of, standing
from tests.cluster.harness import bringup, controlplane, teardown
from tests.cluster.harness.client import Cluster
from tests.cluster.harness.shell import HarnessError
from tuningjob.journal.sql import SqlJournal

_RESULTS: Final = Path(__file__).parents[1] / "results" / "soak.md"
_SAMPLE_SECONDS: Final = 4.0
_LOOK_SECONDS: Final = 1.0
_FIT_SECONDS: Final = 0.5
# After the last deed all that is there must come to its end.
_PATIENCE_SECONDS: Final = 300.0
_GONE_SECONDS: Final = 90.0
# From a pod's datagram to the ledger, and from the journal's clock to its commit.
_SLACK_SECONDS: Final = 2.0
_OURS: Final = frozenset({kinds.TABLE, kinds.CODE, "kube-root-ca.crt"})


def _chaos(stage: Stage, hands: Hands, seed: int, over: threading.Event, found: Found) -> None:
    for act in plan.acts(seed):
        if over.wait(act.pause):
            return
        try:
            if hands.do(act):
                found.deeds[act.deed] += 1
        except Exception as error:  # noqa: BLE001  whatever it was, the run goes on, and the timeline says it
            text = f"{act.number}. {act.deed}: could not be done: {type(error).__name__}: {str(error)[:300]}"
            stage.say(text)
            found.misfires.append(text)


def _tenants(stage: Stage, orders: Iterator[plan.Order], until: float) -> None:
    """Keep some searches in flight until then; every second one that has ended is deleted at once."""
    sampled = 0.0
    while time.monotonic() < until:
        while len(stage.flying) < IN_FLIGHT:
            stage.send(next(orders))
        _watch(stage)
        if time.monotonic() - sampled > _SAMPLE_SECONDS:
            stage.sample()
            sampled = time.monotonic()
        time.sleep(_LOOK_SECONDS)


def _watch(stage: Stage) -> None:
    for flight in stage.look():
        if flight.order.number % 2 == 0:
            stage.delete(flight.order)


def _come_to_an_end(stage: Stage, found: Found) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while stage.flying and time.monotonic() < deadline:
        _watch(stage)
        stage.sample()
        time.sleep(_LOOK_SECONDS)
    for flight in stage.flying.values():
        found.faults.append(
            f"{flight.order.name}: still {flight.phase or 'without a phase'}, {_PATIENCE_SECONDS:.0f} s after the last deed\n"
            f"{stage.cluster.state(flight.order.tenant)}"
        )


def _check(stage: Stage, wanted: dict[str, str], found: Found) -> None:
    """Everything that must hold; TuningJobs are deleted on the way."""
    there = stage.cells()
    found.cells = len(there)
    found.sent_again = stage.ask("SELECT count(*) FROM cells WHERE reports > 1")[0][0]
    found.faults += checks.wrong_ends(stage.ended, wanted)
    found.faults += checks.lost(stage.acknowledged.values(), there)
    found.faults += checks.fitted_again(_fits(stage), there, slack_seconds=_SLACK_SECONDS)
    found.faults += checks.grown(stage.lives.values(), LIMITS)
    found.fits_heard = len(stage.ledger.fits)
    found.database_bytes = stage.ask(f"SELECT pg_database_size('{stage.database}')")[0][0]

    for tenant in TENANTS:
        stage.cluster.kubectl("delete", "tj", "--all", "--timeout=120s", namespace=tenant)
    left = _left_after(stage, _GONE_SECONDS)
    if left and (ending := stage.pods_that_end()):
        # Kubernetes' Job controller lets go of the pods of a deleted Job once, when it sees it go. It does not see that while the
        # API server is away (decide/triage.py, is_held), and only logs it if letting go fails (syncOrphanPodsBySelector, 1.34).
        # One that starts finds all such pods.
        stage.say(
            f"the controller manager is started anew, because these are deleted and do not end: {', '.join(ending)}"
        )
        controlplane.restart_controller_manager()
        found.ended_late = len(ending)
        left = _left_after(stage, _GONE_SECONDS)
    found.faults += [f"left behind: {text}" for text in left]
    found.faults += _tables(stage)


def _left_after(stage: Stage, seconds: float) -> list[str]:
    deadline = time.monotonic() + seconds
    while (left := _left(stage)) and time.monotonic() < deadline:
        time.sleep(1)
    return left


def _left(stage: Stage) -> list[str]:
    deleted = stage.ask("SELECT name FROM searches WHERE deleted_at IS NULL")
    of_journal = [f"the journal still has {name} as a search" for (name,) in deleted]
    return [*checks.left_behind(stage.objects(), ours=_OURS), *of_journal]


def _tables(stage: Stage) -> list[str]:
    """After what the operator does each hour: the cells of deleted searches are purged. The audit's rows are for good."""
    journal = SqlJournal(stage.server.url(stage.database))
    try:
        journal.purge(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=1))
    finally:
        journal.close()
    rows = {table: int(stage.ask(f"SELECT count(*) FROM {table}")[0][0]) for table in TABLES}
    versions = sum(each.phase == "Complete" or each.was_deleted or each.was_cancelled for each in stage.ended)
    return checks.not_emptied(rows, kept={"hyperparameter_audit": versions})


def _fits(stage: Stage) -> list[checks.Fit]:
    splits = truth.splits_of_counted()
    return [
        checks.Fit(search_of(fit.pod), (fit.leaves - 1) * kinds.FOLDS + splits[fit.rows], fit.moment)
        for fit in stage.ledger.fits
        if fit.rows in splits  # the refit has all rows
    ]


def _soak(
    cluster: Cluster,
    folder: Path,
    truths: "subprocess.Popen[str]",
    *,
    minutes: float,
    seed: int,
    say: Callable[[str], None],
) -> tuple[Stage, Found]:
    found = Found()
    with standing(cluster, folder, fit_seconds=_FIT_SECONDS) as stage:
        say("what each kind comes to on this machine …")
        wanted = truth.told(truths)
        hands = Hands(stage)
        over = threading.Event()
        chaos = threading.Thread(target=_chaos, args=(stage, hands, seed, over, found))
        say(f"{minutes:g} minutes, seed {seed} …")
        stage.began = time.monotonic()
        try:
            chaos.start()
            orders = plan.orders(seed, kinds.WEIGHTS, TENANTS)
            _tenants(stage, orders, stage.began + 60 * minutes)
        except Exception as error:  # noqa: BLE001  what was done so far is told, and everything that must hold is looked at
            found.faults.append(f"the soak itself failed: {type(error).__name__}: {error}")
        finally:
            over.set()
            chaos.join()
        stage.say("the last deed is done")
        try:
            hands.put_right()
            _come_to_an_end(stage, found)
            _check(stage, wanted, found)
        except (HarnessError, AssertionError) as error:
            found.faults.append(f"{type(error).__name__}: {error}")
        found.faults += hands.faults
        if found.faults:
            stage.say(stage.cluster.system_logs(lines=60))
        return stage, found


@contextlib.contextmanager
def _cluster(say: Callable[[str], None]) -> Iterator[Cluster]:
    with bringup.lock():
        cluster = bringup.up(say, keep=False)
        try:
            yield cluster
        finally:
            teardown.down()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", default=60.0, show_default=True)
@click.option(
    "--seed", default=1, show_default=True, help="Of what is done, in which order, and of which searches are sent."
)
@click.option("--date", default="", help="Write benchmarks/results/soak.md with it. By default nothing is written.")
def main(*, minutes: float, seed: int, date: str) -> None:
    """Search while everything around is killed, cut off, filled, edited and deleted; then see what is left."""

    def say(text: str) -> None:
        click.echo(text, err=True)

    with (
        tempfile.TemporaryDirectory(prefix="tuningjob-soak-") as folder,
        truth.being_found(Path(folder)) as truths,
        _cluster(say) as cluster,
    ):
        stage, found = _soak(cluster, Path(folder), truths, minutes=minutes, seed=seed, say=say)
        if found.faults:
            click.echo("\n".join(stage.timeline))
            click.echo(f"\nThe soak failed; --minutes {minutes:g} --seed {seed} does the same again:")
            click.echo("\n".join(f"- {fault}" for fault in found.faults))
        else:
            page = page_of(stage, found, minutes=minutes, seed=seed, date=date)
            click.echo(page)
            if date:
                _RESULTS.write_text(page, encoding="utf-8")
    sys.exit(1 if found.faults else 0)


if __name__ == "__main__":
    main()
