"""The probes of Kubernetes and Prometheus, without a token: alive, ready, and the metrics. They name no search.

Ready means that the journal can be read: processes that serve models ask for their parameters even when the disk is full.
Whether it can be written to is a metric (tuningjob_journal_writable) and a line in the log; a worker that reports gets a 503, and
retries. A worker that uploads a file gets a 503 if the bucket is away, and a metric says so.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from starlette.concurrency import run_in_threadpool

from tuningjob_operator.service.metrics import ServiceMetrics
from tuningjob_operator.service.wire import Body, refusals

_log = logging.getLogger(__name__)
# The database is asked at most this often, because any client may call the probes.
GOOD_FOR_SECONDS: Final = 4.0
# A probe's own patience is 5 seconds (charts/tuningjob/templates/deployment.yaml).
PATIENCE_SECONDS: Final = 4.0

Check = Callable[[], None]


def room_in(folder: Path, *, least_bytes: int = 4 * 2**20) -> Check:
    """A check that a volume has room.

    It supplements the database's own check: one small row may still fit into an emptied log when no report would.
    """

    def check() -> None:
        found = os.statvfs(folder)
        free = found.f_bavail * found.f_frsize
        if free < least_bytes:
            raise OSError(f"{folder}: must have {least_bytes:,} bytes free at least, but got {free:,}")

    return check


class Readiness:
    """Whether all checks pass, asked seldom and never twice at a time, because a check may hang as long as its driver does."""

    def __init__(
        self,
        checks: Sequence[Check],
        *,
        writing: Sequence[Check] = (),
        is_writable: Callable[[bool], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``is_writable`` is called at each look with whether the checks in ``writing`` pass, too."""
        self._checks = checks
        self._writing = writing
        self._is_writable = is_writable
        self._clock = clock
        self._told: str | None = None
        self._told_at: float | None = None
        self._running: asyncio.Task[str | None] | None = None

    async def problem(self) -> str | None:
        """One sentence on the fault; None if all checks pass."""
        if self._told_at is not None and self._clock() - self._told_at < GOOD_FOR_SECONDS:
            return self._told
        if self._running is None:
            self._running = asyncio.create_task(self._look())
        try:
            return await asyncio.wait_for(asyncio.shield(self._running), PATIENCE_SECONDS)
        except TimeoutError:
            return f"the database must answer within {PATIENCE_SECONDS:.0f} seconds, but did not"

    async def _look(self) -> str | None:
        try:
            self._told = await run_in_threadpool(self._first_problem)
        finally:
            self._told_at, self._running = self._clock(), None
        return self._told

    def _first_problem(self) -> str | None:
        problem = _problem_of(self._checks)
        if problem is not None:
            _log.warning("not ready: %s", problem)
        cannot_write = problem or _problem_of(self._writing)
        if cannot_write is not None and problem is None:
            _log.warning("nothing can be written: %s", cannot_write)
        self._is_writable(cannot_write is None)
        return problem


def _problem_of(checks: Sequence[Check]) -> str | None:
    for check in checks:
        try:
            check()
        except Exception as error:  # noqa: BLE001  any exception is the reason
            return str(error) or type(error).__name__
    return None


class Status(Body):
    """The answer to a probe."""

    status: str


def make_routes(readiness: Readiness, metrics: ServiceMetrics) -> APIRouter:
    """The routes that need no token."""
    router = APIRouter(tags=["probes"], responses=refusals(413))

    @router.get("/healthz")
    async def healthz() -> Status:
        return Status(status="alive")

    @router.get("/readyz", response_model=Status, responses=refusals(503))
    async def readyz() -> Status | JSONResponse:
        problem = await readiness.problem()
        if problem is not None:
            return JSONResponse({"detail": problem}, 503)
        return Status(status="ready")

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def numbers() -> Response:
        return Response(metrics.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    return router
