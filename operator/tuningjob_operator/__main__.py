"""`python -m tuningjob_operator`: the operator's process. It assembles the parts and runs them until one ends."""

import asyncio
import contextlib
import datetime as dt
import gc
import logging
import operator
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import kopf

from tuningjob.artifacts.opening import open_store
from tuningjob.errors import JournalError
from tuningjob.journal.sql import SqlJournal
from tuningjob_operator import logs, tokens
from tuningjob_operator.cluster.cache import Cache
from tuningjob_operator.cluster.client import KubeCluster
from tuningjob_operator.cluster.contract import (
    LEASES_ACCESS,
    NODES_ACCESS,
    REQUIRED_ACCESS,
    ApiError,
    ClusterApi,
    NotFound,
    Permission,
    lease_access,
)
from tuningjob_operator.control import loops, watch
from tuningjob_operator.control.beyond import Beyond
from tuningjob_operator.control.lease import (
    SCOPE_NAME,
    Leadership,
    LeadershipLost,
    healthy_while_standing_by,
    where_allowed,
)
from tuningjob_operator.control.queue import WorkQueue
from tuningjob_operator.control.reconcile import Reconciler
from tuningjob_operator.control.service_watch import ServiceWatch
from tuningjob_operator.control.telemetry import Telemetry, serving
from tuningjob_operator.objects import Key
from tuningjob_operator.settings import Settings, read_settings

logger = logging.getLogger("tuningjob_operator")

_START_ATTEMPTS: Final = 12
_START_PAUSE_SECONDS: Final = 5.0
_THREADS: Final = 4


class _SystemClock:
    def now(self) -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    def monotonic(self) -> float:
        return time.monotonic()


class CannotStart(Exception):
    """The operator cannot start; the message names for the administrator what is missing."""


async def check_access(cluster: ClusterApi, namespaces: tuple[str, ...], *, with_nodes: bool = False) -> None:
    """Check the operator's rights. Raises CannotStart if RBAC forbids one of them, ApiError if the check itself fails."""
    missing = [f"{NODES_ACCESS} in all namespaces"] if with_nodes and not await cluster.may(NODES_ACCESS, None) else []
    missing += [
        f"{access} {f'in namespace {namespace}' if namespace else 'in all namespaces'}"
        for namespace in namespaces or (None,)
        for access in REQUIRED_ACCESS
        if not await cluster.may(access, namespace)
    ]
    if missing:
        raise CannotStart(f"The operator's service account must be allowed to: {'; '.join(missing)}.")


async def check_leases(cluster: ClusterApi, settings: Settings) -> None:
    """Check the rights to the Leases by which operators agree. Raises CannotStart without them, ApiError if the check fails."""
    if not settings.release:
        return
    own, _, name = settings.release.partition("/")
    scopes = settings.watch_namespaces or (settings.lease_namespace,)
    wanted: list[tuple[Permission, str | None]] = [(access, own) for access in lease_access(name)]
    wanted += [(access, namespace) for namespace in scopes for access in lease_access(SCOPE_NAME)]
    if not settings.watch_namespaces:
        wanted.append((LEASES_ACCESS, None))
    missing = [
        f"{access} {f'in namespace {namespace}' if namespace else 'in all namespaces'}"
        for access, namespace in wanted
        if not await cluster.may(access, namespace)
    ]
    if missing:
        raise CannotStart(f"The operator's service account must be allowed to: {'; '.join(missing)}.")


async def until_answered(ask: Callable[[], Awaitable[None]]) -> None:
    """Ask until the API server answers. It may be away for longer than this container would be started again for."""
    while True:
        try:
            await ask()
        except ApiError as error:
            logger.warning("the API server does not answer", extra={"error": str(error)})
            await asyncio.sleep(_START_PAUSE_SECONDS)
        else:
            return


async def start(
    cluster: ClusterApi, resync: loops.Resync, namespaces: tuple[str, ...], *, with_nodes: bool = False
) -> None:
    """Look at everything once, before kopf does: it would never notice a CRD that comes later. Raises CannotStart."""
    reason = ""
    for attempt in range(_START_ATTEMPTS):
        if attempt:
            await asyncio.sleep(_START_PAUSE_SECONDS)
        try:
            await check_access(cluster, namespaces, with_nodes=with_nodes)
            await resync.resync()
        except NotFound:
            reason = "the CRD tuningjobs.tuningjob.dev must be installed"
        except ApiError as error:
            reason = f"the API server must answer, but got {error}"
        except JournalError as error:
            reason = str(error)
        except CannotStart:
            raise
        except Exception as error:  # the next look may succeed where this one failed; the log says where it was
            reason = f"the first look at the cluster must succeed, but got {type(error).__name__}"
            logger.exception("the first look failed")
        else:
            return
        logger.warning("not started yet", extra={"reason": reason})
    raise CannotStart(reason)


def check_settings(settings: Settings) -> None:
    """Check what would otherwise be missed only when the first search begins. Raises CannotStart."""
    if settings.ca_file is not None and not settings.ca_file.is_file():
        raise CannotStart(
            f"{settings.ca_file} must be the authority that signed the results service's certificate, but is not there. "
            "The Secret of the chart's tls.secretName, or of its tls.issuerRef, needs the key ca.crt."
        )


def end_early() -> None:
    """Heed SIGTERM until kopf does: the first process of a container ignores it, and a stand-by may be one for days."""
    task = asyncio.current_task()
    assert task is not None  # noqa: S101  called from a coroutine
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


@dataclass(frozen=True)
class _Parts:
    """The parts of the operator; each part knows those that it needs."""

    cache: Cache
    queue: WorkQueue[Key]
    telemetry: Telemetry
    service: ServiceWatch
    reconciler: Reconciler
    beyond: Beyond
    resync: loops.Resync
    poller: loops.JournalPoller
    purger: loops.Purger
    leadership: Leadership

    def look_at_all(self) -> None:
        """Have every TuningJob looked at again."""
        self.queue.add_all(self.cache.tuningjobs.keys())


async def run_operator(settings: Settings) -> None:
    """Run until SIGTERM, or until one of the parts ends. Raises what that part raised; CancelledError for an early SIGTERM."""
    end_early()
    _settle_memory()
    # A fixed number, on a node of 64 CPUs too: each thread has a connection and an arena of its own, and only one can write.
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(_THREADS, thread_name_prefix="journal"))
    keys = tokens.read_keys(settings.signing_key_dir, settings.signing_key_file)
    settings = replace(
        settings,
        key_ids=keys.ids,
        takes_old_tokens=settings.signing_key_file.exists(),
        ca=None if settings.ca_file is None else settings.ca_file.read_bytes(),
    )
    cache = Cache(settings.bounds)
    telemetry = Telemetry(cache)
    # each write of the results service voids this process's cache, so a larger one would take memory and save no time
    journal = SqlJournal(settings.database_url, cache_kib=256)
    served = serving(telemetry.registry, settings.metrics_port)
    async with served, KubeCluster(on_call=telemetry.called) as cluster:
        parts = _assembled(settings, keys, cluster=cluster, journal=journal, cache=cache, telemetry=telemetry)
        async with healthy_while_standing_by(settings.liveness_port):
            await until_answered(lambda: check_leases(cluster, settings))
            await parts.leadership.acquire()
        await start(cluster, parts.resync, settings.watch_namespaces, with_nodes=settings.checks_nodes)
        namespaces = settings.watch_namespaces or "all"
        logger.info("started", extra={"namespaces": namespaces, "tuningjobs": len(cache.tuningjobs)})
        try:
            await _until_one_ends([asyncio.create_task(part) for part in _at_work(settings, parts)])
        finally:
            await parts.leadership.give_back()
    journal.close()


def _settle_memory() -> None:
    """Exempt what the imports made from garbage collection.

    Otherwise the collector counts it and so runs for little garbage (kopf's bodies have cycles). The second collection makes the
    collector count anew.
    """
    gc.collect()
    gc.freeze()
    gc.collect()


def _assembled(
    settings: Settings,
    keys: tokens.Keys,
    *,
    cluster: KubeCluster,
    journal: SqlJournal,
    cache: Cache,
    telemetry: Telemetry,
) -> _Parts:
    """The parts, put together; none of them runs yet."""
    clock = _SystemClock()
    queue: WorkQueue[Key] = WorkQueue(
        clock=clock.monotonic, on_take=telemetry.waited, lane=operator.attrgetter("namespace")
    )
    cache.on_room = queue.add
    service = ServiceWatch(
        settings.own_results_url,
        clock=clock.monotonic,
        on_change=lambda: queue.add_all(cache.tuningjobs.keys()),
    )
    reconciler = Reconciler(
        cluster=cluster,
        journal=journal,
        # the operator never uploads: only the results service needs a real limit
        artifacts=open_store(settings.artifacts_url, max_bytes=0, scratch=settings.scratch_dir),
        cache=cache,
        settings=settings,
        keys=keys,
        clock=clock,
        service=service,
        on_progress=telemetry.progressed,
    )
    beyond = Beyond(cluster=cluster, cache=cache, settings=settings, clock=clock, look=reconciler.look_beyond)
    resync = loops.Resync(
        cluster=cluster,
        journal=journal,
        cache=cache,
        queue=queue,
        clock=clock,
        namespaces=settings.watch_namespaces,
        seconds=settings.resync_seconds,
        on_beyond=beyond.notice,
    )
    leadership = Leadership(
        cluster,
        release=settings.release,
        pod=settings.pod_name,
        watched=settings.watch_namespaces,
        cluster_namespace=settings.lease_namespace,
        clock=clock,
    )
    telemetry.show(queue=queue, resync_age=lambda: resync.age_seconds, leads=lambda: leadership.leads)
    return _Parts(
        cache=cache,
        queue=queue,
        telemetry=telemetry,
        service=service,
        reconciler=reconciler,
        beyond=beyond,
        resync=resync,
        poller=loops.JournalPoller(journal=journal, cache=cache, queue=queue),
        purger=loops.Purger(journal=journal, clock=clock, retention=settings.retention),
        leadership=leadership,
    )


def _at_work(settings: Settings, parts: _Parts) -> Iterator[Coroutine[None, None, None]]:
    """Everything that runs until the operator ends: the workers, the loops, the Leases, and kopf."""
    reconcile = where_allowed(parts.leadership, parts.reconciler.reconcile)
    for _ in range(loops.WORKERS):
        yield loops.work_on_keys(parts.queue, reconcile, on_pass=parts.telemetry.passed)
    for part in (parts.poller, parts.resync, parts.purger, parts.service, parts.beyond):
        yield part.run()
    yield parts.leadership.hold(parts.look_at_all)
    yield from _followed_authority(settings, parts)
    yield _watching(settings, parts)


def _followed_authority(settings: Settings, parts: _Parts) -> Iterator[Coroutine[None, None, None]]:
    """With TLS, the watch that has all TuningJobs looked at again when the service's certificate has another authority."""
    if settings.ca_file is None or settings.ca is None:
        return

    def trust(ca: bytes) -> None:
        parts.reconciler.trust(ca)
        parts.look_at_all()

    yield loops.AuthorityWatch(settings.ca_file, known=settings.ca, on_change=trust).run()


async def _watching(settings: Settings, parts: _Parts) -> None:
    """Run kopf, which fills the cache and the queue, answers the liveness probe, and ends on SIGTERM."""
    await kopf.operator(
        registry=watch.make_registry(cache=parts.cache, queue=parts.queue, resync=parts.resync, beyond=parts.beyond),
        memories=watch.NoMemories(),
        settings=watch.make_settings(),
        # without it kopf asks for the user's name, and the image's user has none
        identity=watch.IDENTITY,
        standalone=True,
        clusterwide=not settings.watch_namespaces,
        namespaces=settings.watch_namespaces,
        liveness_endpoint=f"http://0.0.0.0:{settings.liveness_port}/healthz",
    )


async def _until_one_ends(tasks: list[asyncio.Task[None]]) -> None:
    """Run until a task ends: kopf on SIGTERM. If another one ends, all do, because a pod is better restarted than half alive."""
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        task.result()


def main() -> int:
    """Run the operator; returns the exit code."""
    logs.configure()
    try:
        settings = read_settings()
        logs.set_level(settings.log_level)
        check_settings(settings)
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(run_operator(settings))
    except LeadershipLost as lost:
        logger.critical("standing back", extra={"reason": str(lost)})
        return 1
    except (CannotStart, JournalError, ValueError) as error:
        logger.critical("cannot start", extra={"reason": str(error)})
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
