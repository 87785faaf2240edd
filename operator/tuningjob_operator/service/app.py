"""The results service's HTTP API, version 1. Thin: the journal decides, this module translates.

The search of a request is its token's; no path and no body names one, so there is none to get wrong. Bodies are the
journal's own records. A refusal is a 4xx with one sentence in ``detail``; a journal that cannot answer just now is a
503, which workers retry. Nothing is ever unpickled.
"""

import datetime as dt
import logging
from collections.abc import Callable, Set
from typing import Annotated, Final, TypeVar

from fastapi import FastAPI, Header, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter
from starlette.concurrency import run_in_threadpool

from tuningjob.errors import ArtifactRefused, JournalError, JournalMismatch, TuningJobError, UnknownSearch
from tuningjob.journal.artifacts import Artifact, ArtifactStore, blocks
from tuningjob.journal.contract import Journal, SearchJournal
from tuningjob.journal.records import (
    MAX_CELLS_PER_PAGE,
    MAX_CELLS_PER_REPORT,
    MAX_ERROR_LENGTH,
    MAX_SLOTS,
    Answer,
    CellResult,
    Claim,
    Index,
    Preflight,
    Refusal,
    Search,
    SearchState,
)
from tuningjob_operator.service.border import Border

_log = logging.getLogger(__name__)
_SEARCH: Final = TypeAdapter(Search)
_CLAIM: Final = TypeAdapter(Claim)
_CELLS: Final = TypeAdapter(list[CellResult])
_ARTIFACT: Final = TypeAdapter(Artifact)
R = TypeVar("R")


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ClaimRequest(_Body):
    """See Journal.claim."""

    index: Index
    slots: Annotated[int, Field(ge=1, le=MAX_SLOTS)]
    holding: Annotated[Set[int], Field(max_length=1_000)] = frozenset()


class Report(_Body):
    """See Journal.report."""

    index: Index
    results: Annotated[list[CellResult], Field(max_length=MAX_CELLS_PER_REPORT)]


class Failure(_Body):
    """See Journal.fail."""

    reason: Annotated[str, Field(max_length=MAX_ERROR_LENGTH)]


def make_app(journal: Journal, artifacts: ArtifactStore, key: bytes, clock: Callable[[], dt.datetime]) -> FastAPI:
    """The service over a journal and a store. ``key`` verifies tokens, ``clock`` tells when they have expired."""
    app = FastAPI(title="tuningjob results", openapi_url=None)
    app.add_middleware(Border, key=key, clock=clock, max_artifact_bytes=artifacts.max_bytes)
    _add_errors(app)
    _add_probes(app, journal)
    _add_search(app, journal)
    _add_cells(app, journal)
    _add_artifacts(app, journal, artifacts)
    return app


def _id(request: Request) -> str:
    return str(request.state.search_id)


def _json(kind: TypeAdapter[R], record: R) -> Response:
    """By pydantic's own serializer: FastAPI's would turn NaN into null."""
    return Response(kind.dump_json(record), media_type="application/json")


def _add_probes(app: FastAPI, journal: Journal) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/readyz")
    def readyz() -> dict[str, str]:
        journal.revisions()
        return {"status": "ready"}


def _add_search(app: FastAPI, journal: Journal) -> None:
    def mine(request: Request) -> SearchJournal:
        return journal.view(_id(request))

    @app.get("/v1/search")
    def search(request: Request) -> Response:
        return _json(_SEARCH, mine(request).search())

    @app.put("/v1/preflight", status_code=204)
    def preflight(request: Request, body: Preflight) -> None:
        mine(request).set_preflight(body)

    @app.post("/v1/complete")
    def complete(request: Request, body: Answer) -> dict[str, int]:
        return {"version": mine(request).complete(body)}

    @app.post("/v1/fail", status_code=204)
    def fail(request: Request, body: Failure) -> None:
        mine(request).fail(body.reason)

    @app.post("/v1/refuse", status_code=204)
    def refuse(request: Request, body: Refusal) -> None:
        mine(request).refuse(body)


def _add_cells(app: FastAPI, journal: Journal) -> None:
    @app.post("/v1/claims")
    def claim(request: Request, body: ClaimRequest) -> Response:
        found = journal.claim(_id(request), index=body.index, slots=body.slots, holding=body.holding)
        return _json(_CLAIM, found)

    @app.post("/v1/cells")
    def report(request: Request, body: Report) -> dict[str, int]:
        return {"new": journal.report(_id(request), index=body.index, results=body.results)}

    @app.get("/v1/cells")
    def cells(
        request: Request,
        start: Annotated[int, Query(ge=0, lt=2**63)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_CELLS_PER_PAGE)] = MAX_CELLS_PER_PAGE,
    ) -> Response:
        return _json(_CELLS, list(journal.results(_id(request), start=start, limit=limit)))


def _add_artifacts(app: FastAPI, journal: Journal, artifacts: ArtifactStore) -> None:
    def must_run(search_id: str) -> None:
        state = journal.search(search_id).state
        if state is not SearchState.RUNNING:
            raise JournalMismatch(f"the search must be running to take files in, but got {state.value}")

    @app.put("/v1/artifacts/{name}")
    async def put(request: Request, name: str, x_content_sha256: Annotated[str, Header()]) -> Response:
        search_id = _id(request)
        await run_in_threadpool(must_run, search_id)
        with artifacts.upload(search_id, name, sha256=x_content_sha256) as upload:
            async for chunk in request.stream():
                await run_in_threadpool(upload.write, chunk)
            return _json(_ARTIFACT, await run_in_threadpool(upload.commit))

    @app.get("/v1/artifacts/{name}")
    def get(request: Request, name: str) -> Response:
        try:
            file = artifacts.open(_id(request), name)
        except FileNotFoundError:
            raise HTTPException(404, f"The search must have the file {name} by now, but it has not.") from None
        return StreamingResponse(blocks(file), media_type="application/octet-stream")


_STATUS: Final[dict[type[TuningJobError], int]] = {
    UnknownSearch: 404,
    JournalMismatch: 409,
    ArtifactRefused: 422,
    JournalError: 503,
}


def _add_errors(app: FastAPI) -> None:
    for kind, status in _STATUS.items():

        def translate(_request: Request, error: Exception, status: int = status) -> Response:
            if status >= 500:
                _log.warning("the journal did not answer: %s", error)
            return JSONResponse({"detail": str(error)}, status)

        app.add_exception_handler(kind, translate)

    @app.exception_handler(RequestValidationError)
    async def refuse(_request: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"detail": _sentence(error)}, 422)


def _sentence(error: RequestValidationError) -> str:
    """The first problem: where, what it must be, what it got."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    message = str(first["msg"]).removeprefix("Input should be ").removesuffix(".")
    got = repr(first.get("input"))
    return f"{where}: must be {message}, but got {got if len(got) <= 80 else got[:79] + '…'}."
