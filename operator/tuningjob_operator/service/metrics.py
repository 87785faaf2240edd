"""The service's metrics for Prometheus, in a registry of their own, so that two services in one process have separate ones.

No label has values that a caller could make up: routes are templates, methods and states come from lists.
"""

import logging
import time
from collections.abc import Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tuningjob.protocol.records import CellResult
from tuningjob_operator.service.border import OPEN_PATHS

logger = logging.getLogger(__name__)

_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_CELL_BUCKETS: Final = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 180.0, 600.0, 1800.0, 3600.0)


class ServiceMetrics:
    """The service's metrics. Counters begin at 0 with the process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Histogram(
            "tuningjob_http_request_seconds",
            "How long requests took, by route template and status; refused: before any route, at the border.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.cells = self._counter("tuningjob_cells_taken_in", "Cells whose first result was taken in.")
        self.cell_seconds = Histogram(
            "tuningjob_cell_seconds",
            "How long fitting and scoring took, of cells whose first result was taken in.",
            buckets=_CELL_BUCKETS,
            registry=self.registry,
        )
        self.failed_cells = self._counter("tuningjob_failed_cells", "Cells that were taken in as failed.")
        self.repeated = self._counter("tuningjob_cells_repeated", "Cells that were reported though they had a result.")
        self.reused = self._counter("tuningjob_cells_reused", "Cells that were answered from what was known.")
        self.claims = self._counter("tuningjob_claims", "Claims, by what the claimant was told to do.", "next")
        self.artifact_bytes = self._counter("tuningjob_artifact_bytes", "Bytes of files, by direction.", "direction")
        self.writable = Gauge(
            "tuningjob_journal_writable",
            "1 if the journal could be written to when the service was last asked whether it is ready, else 0.",
            registry=self.registry,
        )
        self.writable.set(1)
        self.unavailable = self._counter(
            "tuningjob_unavailable", "Times that the journal or the artifact store could not answer.", "error"
        )

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def take_in(self, results: Sequence[CellResult]) -> None:
        """Count cells whose first result was taken in."""
        self.cells.inc(len(results))
        self.failed_cells.inc(sum(result.error is not None for result in results))
        for result in results:
            if result.pruned:  # nothing ran
                continue
            self.cell_seconds.observe(result.fit_seconds + result.score_seconds)

    def text(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class Measured:
    """Times every request, refused ones too, as the outermost middleware."""

    def __init__(self, app: ASGIApp, *, metrics: ServiceMetrics) -> None:
        self._app = app
        self._requests = metrics.requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle and time one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(
                scope.get("route"), "path", "refused" if status in {401, 403, 408, 413, 429, 503} else "none"
            )
            # starlette's own routes (OpenAPI's) leave no trace
            route = scope["path"] if scope["path"] in OPEN_PATHS else route
            method = scope["method"] if scope["method"] in _METHODS else "other"
            seconds = time.perf_counter() - begun
            self._requests.labels(method, route, str(status)).observe(seconds)
            if logger.isEnabledFor(logging.DEBUG):
                told = {"method": method, "route": route, "status": status, "seconds": round(seconds, 4)}
                search = scope.get("state", {}).get("search_id")
                logger.debug("answered", extra=told if search is None else {**told, "search": search})
