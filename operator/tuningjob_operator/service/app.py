"""The results service's HTTP API, version 1. It is thin: the journal decides, these modules translate.

Bodies are the journal's own records. A refusal is a 4xx with one sentence in ``detail``; a journal that cannot answer
just now is a 503, which workers retry. Nothing is ever unpickled.
"""

import functools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute

from tuningjob.aliases import Json
from tuningjob.artifacts.store import ArtifactStore
from tuningjob.artifacts.uploads import Uploads
from tuningjob.journal.records import Shares
from tuningjob.journal.sql import SqlJournal
from tuningjob_operator.service import data, pages, people, probes, workers
from tuningjob_operator.service.bodies import hoisted
from tuningjob_operator.service.border import Border
from tuningjob_operator.service.identity import Nobody, People
from tuningjob_operator.service.metrics import Measured, ServiceMetrics
from tuningjob_operator.service.room import (
    FILES_AT_WORK,
    FILES_PATIENCE_SECONDS,
    FILES_PER_NAMESPACE,
    Desk,
    RequestRoom,
    Threads,
)
from tuningjob_operator.service.wire import add_errors
from tuningjob_operator.tokens import Keys


def make_app(
    journal: SqlJournal,
    artifacts: ArtifactStore,
    keys: Keys,
    *,
    persons: People | None = None,
    checks: Sequence[probes.Check] = (),
    writing: Sequence[probes.Check] = (),
    shares: Shares = Shares(),  # noqa: B008  frozen
    uploads: Uploads | None = None,
) -> FastAPI:
    """The service over a journal and a store.

    ``keys`` verify the tokens of searches, ``persons`` says who people are (by default it knows none), ``checks`` must pass for
    the service to be ready, ``uploads`` has the data that people send. ``app.state.metrics`` has the metrics.
    """
    known, metrics = persons or Nobody(), ServiceMetrics()
    uploads = uploads or Uploads(artifacts)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await known.close()

    app = FastAPI(
        title="tuningjob results",
        summary="The journal of searches for their workers, and the audit of a namespace for people.",
        version=version("tuningjob"),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        generate_unique_id_function=_operation_id,
    )
    app.state.metrics = metrics
    # one long body at a time, because while one is parsed Python does little else
    app.state.parsing = Threads(at_once=1, per_namespace=1)
    files = Threads(at_once=FILES_AT_WORK, per_namespace=FILES_PER_NAMESPACE, patience_seconds=FILES_PATIENCE_SECONDS)
    app.add_middleware(
        Border,
        keys=keys,
        people=known,
        max_artifact_bytes=artifacts.max_bytes,
        namespace_of=lambda search: journal.progress(search, words=False).namespace,
        room=RequestRoom(),
        desk=Desk(),
    )
    app.add_middleware(Measured, metrics=metrics)  # the last one added is the outermost
    add_errors(app, metrics)
    readiness = probes.Readiness(checks, writing=writing, is_writable=metrics.writable.set)
    app.include_router(probes.make_routes(readiness, metrics))
    app.include_router(workers.make_routes(journal, artifacts, metrics, shares, files))
    app.include_router(people.make_routes(journal.audit, artifacts, metrics, files))
    app.include_router(data.make_routes(uploads, metrics, files))
    app.include_router(data.make_environment_route(journal))
    app.include_router(data.make_worker_routes(journal, uploads, metrics, files))
    app.include_router(pages.make_routes(journal, artifacts, keys, files, known))
    generated = app.openapi
    app.openapi = functools.cache(lambda: _spelled(hoisted(generated())))  # type: ignore[method-assign]
    return app


def _operation_id(route: APIRoute) -> str:
    return route.name


def _spelled(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with numbers as they are sent: NaN and infinities are strings, because JSON has no such numbers."""
    for part in schema.get("components", {}).get("schemas", {}).values():
        _spell(part)
    return schema


def _spell(part: Json) -> None:
    if isinstance(part, dict):
        if part.get("type") == "number":
            bounds = {name: part.pop(name) for name in ("type", "minimum", "maximum") if name in part}
            words = ["Infinity"] if "minimum" in bounds else ["NaN", "Infinity", "-Infinity"]
            part["anyOf"] = [bounds, {"type": "string", "enum": words}]
        else:
            for value in part.values():
                _spell(value)
    elif isinstance(part, list):
        for value in part:
            _spell(value)
