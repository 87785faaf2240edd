"""The operator's metrics for Prometheus, in a registry of their own, so that two operators in one process have separate ones.

No label has values that a user could make up, such as TuningJobs or namespaces, so their number does not change that of the
series. Counters begin at 0 with the process. The calls of kopf's two watches are not counted.
"""

import asyncio
import contextlib
from collections import Counter as Tally
from collections.abc import AsyncIterator, Callable, Iterator, Sized
from dataclasses import dataclass
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    start_http_server,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from tuningjob.journal.records import Progress
from tuningjob.protocol.records import SearchState
from tuningjob_operator.cluster.cache import Cache
from tuningjob_operator.control.loops import PassOutcome
from tuningjob_operator.decide.words import heard

_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_NEW: Final = "Pending"  # a TuningJob that no pass has seen has no phase yet
_PHASES: Final = (_NEW, "Queued", "Running", "Suspended", "Complete", "Planned", "Failed")


@dataclass(frozen=True, kw_only=True)
class _Counted:
    """How much of a search is in the counters already."""

    fits: int = 0
    failed: int = 0
    reused: int = 0
    cell_seconds: float = 0.0


class Telemetry:
    """The metrics, and the callbacks of the operator's parts that count them. Scrapes run on a thread of the server's."""

    def __init__(self, cache: Cache) -> None:
        self.registry = CollectorRegistry()
        self._cache = cache
        self._counted: dict[str, _Counted] = {}
        ProcessCollector(registry=self.registry)
        self.registry.register(_Cluster(cache, self._forget_the_gone))
        self._waits = self._histogram("queue_latency", "How long keys that were ready waited for a worker.")
        self._passes = self._histogram("reconcile", "How long passes took, by how they ended.", "outcome")
        self._calls = self._counter(
            "api_calls", "Calls to the API server; code 0: no answer.", "verb", "resource", "code"
        )
        self._call_seconds = self._histogram("api_call", "How long calls to the API server took.", "verb", "resource")
        self._fits = self._counter(
            "fits", "Fits that searches had done, failed ones included, reused and pruned ones not."
        )
        self._failed = self._counter("failed_fits", "Fits that raised an error, or whose process died.")
        self._reused = self._counter("reused_fits", "Fits that were taken over from an earlier search.")
        self._fit_seconds = self._counter(
            "fit_seconds", "Seconds that fits and their scoring took, in their processes."
        )

    def _histogram(self, name: str, text: str, *labels: str) -> Histogram:
        return Histogram(f"tuningjob_{name}_seconds", text, labels, buckets=_BUCKETS, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"tuningjob_{name}", text, labels, registry=self.registry)

    def show(self, *, queue: Sized, resync_age: Callable[[], float], leads: Callable[[], bool]) -> None:
        """Add the metrics of the queue, the resync and the Lease. To be called once."""
        depth = Gauge("tuningjob_queue_depth", "Keys that are ready, and wait for a worker.", registry=self.registry)
        depth.set_function(lambda: len(queue))
        age = Gauge("tuningjob_resync_age_seconds", "Since the last full look that succeeded.", registry=self.registry)
        # a stand-by makes no resync, and must cause no alert
        age.set_function(lambda: resync_age() if leads() else 0.0)
        beyond = Gauge("tuningjob_beyond", "TuningJobs for which there was no room.", registry=self.registry)
        beyond.set_function(lambda: self._cache.beyond)
        leading = Gauge("tuningjob_leading", "1 if this operator works, 0 while it stands by.", registry=self.registry)
        leading.set_function(leads)

    def waited(self, seconds: float) -> None:
        """Count a key that a worker took after it had been ready for this many seconds."""
        self._waits.observe(seconds)

    def passed(self, outcome: PassOutcome, seconds: float) -> None:
        """Count a pass that ended."""
        self._passes.labels(outcome).observe(seconds)

    def called(self, verb: str, resource: str, status: int, seconds: float) -> None:
        """Count a call to the API server."""
        self._calls.labels(verb, resource, str(status)).inc()
        self._call_seconds.labels(verb, resource).observe(seconds)

    def progressed(self, search: str, progress: Progress | None) -> None:
        """Count what is new in a search's progress; None: it is not opened yet, so that all its progress will be new.

        A search that this process finds half done counts from there.
        """
        if progress is None:
            self._counted[search] = _Counted()
            return
        progress = heard(progress)
        now = _Counted(
            fits=progress.done - progress.reused - progress.pruned,
            failed=progress.failed,
            reused=progress.reused,
            cell_seconds=progress.cell_seconds,
        )
        before = self._counted.get(search, now)
        self._fits.inc(max(0, now.fits - before.fits))
        self._failed.inc(max(0, now.failed - before.failed))
        self._reused.inc(max(0, now.reused - before.reused))
        self._fit_seconds.inc(max(0.0, now.cell_seconds - before.cell_seconds))
        if progress.state is SearchState.RUNNING:
            self._counted[search] = now
        else:
            self._counted.pop(search, None)

    def _forget_the_gone(self) -> None:
        for search in tuple(self._counted):
            if self._cache.key_of_uid(search) is None:
                self._counted.pop(search, None)


class _Cluster(Collector):
    """What the cache holds, counted at each scrape, so that the numbers cannot drift from it."""

    def __init__(self, cache: Cache, before: Callable[[], None]) -> None:
        self._cache = cache
        self._before = before

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Count the TuningJobs by phase. The cache changes on another thread, so `keys` copies them at one moment."""
        self._before()
        phases: Tally[str] = Tally()
        for key in self._cache.tuningjobs.keys():  # noqa: SIM118  a Store is no dict
            body = self._cache.tuningjobs.get(key)
            if body is not None:
                phases[(body.get("status") or {}).get("phase") or _NEW] += 1
        tuningjobs = GaugeMetricFamily("tuningjob_tuningjobs", "TuningJobs that are there, by phase.", labels=["phase"])
        for phase in _PHASES:
            tuningjobs.add_metric([phase], phases[phase])
        yield tuningjobs
        jobs = (self._cache.jobs.get(key) for key in self._cache.jobs.keys())  # noqa: SIM118  a Store is no dict
        active = sum(int((job.get("status") or {}).get("active") or 0) for job in jobs if job is not None)
        yield GaugeMetricFamily("tuningjob_active_pods", "Worker pods that are pending or running.", value=active)


@contextlib.asynccontextmanager
async def serving(registry: CollectorRegistry, port: int) -> AsyncIterator[int]:
    """Serve ``/metrics`` on a thread; yields the port, a free one for 0. Raises ValueError for a port that is taken."""
    try:
        server, thread = start_http_server(port, registry=registry)
    except OSError as error:
        raise ValueError(f"TUNINGJOB_METRICS_PORT: must be a port that is free, but got {port} ({error})") from error
    try:
        yield server.server_port
    finally:
        await asyncio.to_thread(server.shutdown)
        server.server_close()
        await asyncio.to_thread(thread.join)
