"""The routes of worker pods.

The search of a request is its token's: no path and no body names one, so a request cannot name a wrong one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Security
from fastapi.responses import Response, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import TypeAdapter

from tuningjob.artifacts.store import ArtifactStore, Upload
from tuningjob.journal.records import Shares
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.contract import SearchJournal
from tuningjob.protocol.records import (
    MAX_CELLS_PER_PAGE,
    MAX_CELLS_PER_REPORT,
    Answer,
    Artifact,
    Block,
    Cell,
    CellIdentity,
    CellResult,
    Claim,
    Preflight,
    Refusal,
    SearchRecord,
)
from tuningjob.protocol.requests import (
    ClaimRequest,
    Completed,
    Failure,
    Leaving,
    NewStage,
    Report,
    ReportReply,
    ReuseRequest,
)
from tuningjob_operator.service.bodies import Listed, Takes
from tuningjob_operator.service.metrics import ServiceMetrics
from tuningjob_operator.service.room import Threads
from tuningjob_operator.service.wire import FileAnswer, NoNul, as_json, file_answer, refusals

_SEARCH: Final = TypeAdapter(SearchRecord)
_CLAIM: Final = TypeAdapter(Claim)
# How many cells one transaction takes in, which keeps others from writing for some 15 ms. If one piece of a report fails, the
# pieces before it are sent again with it.
_CELLS_AT_ONCE: Final = 100
# how much of a page is in memory at a time
_PIECE_BYTES: Final = 2**17
_CELLS: Final = TypeAdapter(list[CellResult])
_PLACES: Final = TypeAdapter(tuple[Cell, ...])
_ARTIFACT: Final = TypeAdapter(Artifact)
_REPORT_REPLY: Final = TypeAdapter(ReportReply)
_COMPLETED: Final = TypeAdapter(Completed)
# The border has checked the token; here it is for OpenAPI.
TOKEN: Final = HTTPBearer(
    scheme_name="search", description="The token of one search, from its Secret.", auto_error=False
)


_PREFLIGHT: Final = Takes[Preflight](Annotated[Preflight, NoNul], Listed("blocks", Annotated[Block, NoNul], 10_000))
_ANSWER: Final = Takes[Answer](Annotated[Answer, NoNul])
_FAILURE: Final = Takes[Failure](Failure)
_REFUSAL: Final = Takes[Refusal](Refusal)
_CLAIM_REQUEST: Final = Takes[ClaimRequest](ClaimRequest)
_NEW_STAGE: Final = Takes[NewStage](NewStage)
_LEAVING: Final = Takes[Leaving](Leaving)
_REUSE_REQUEST: Final = Takes[ReuseRequest](ReuseRequest, Listed("cells", CellIdentity, MAX_CELLS_PER_REPORT))
_REPORT: Final = Takes[Report](Report, Listed("results", CellResult, MAX_CELLS_PER_REPORT))


def make_routes(
    journal: SqlJournal, artifacts: ArtifactStore, metrics: ServiceMetrics, shares: Shares, threads: Threads
) -> APIRouter:
    """The routes below /v1 that need a search's token."""
    router = APIRouter(
        prefix="/v1",
        tags=["workers"],
        dependencies=[Security(TOKEN)],
        responses=refusals(401, 404, 408, 413, 422, 503),
    )
    _add_search(router, journal)
    _add_cells(router, journal, metrics)
    _add_artifacts(router, journal, artifacts, metrics, shares, threads)
    return router


def _id(request: Request) -> str:
    return str(request.state.search_id)


def _add_search(router: APIRouter, journal: SqlJournal) -> None:
    def mine(request: Request) -> SearchJournal:
        return journal.view(_id(request))

    @router.get("/search", response_model=SearchRecord)
    def search(request: Request) -> Response:
        return as_json(_SEARCH, mine(request).search())

    @router.put("/preflight", status_code=204, responses=refusals(400, 409), openapi_extra=_PREFLIGHT.openapi)
    def preflight(request: Request, body: Annotated[Preflight, Depends(_PREFLIGHT)]) -> None:
        mine(request).set_preflight(body)

    @router.post("/complete", response_model=Completed, responses=refusals(400, 409), openapi_extra=_ANSWER.openapi)
    def complete(request: Request, body: Annotated[Answer, Depends(_ANSWER)]) -> Response:
        return as_json(_COMPLETED, Completed(version=mine(request).complete(body)))

    @router.post("/fail", status_code=204, responses=refusals(400, 409), openapi_extra=_FAILURE.openapi)
    def fail(request: Request, body: Annotated[Failure, Depends(_FAILURE)]) -> None:
        # a traceback may show bytes of anything, and is wanted all the same
        mine(request).fail(body.reason.replace("\0", "\N{REPLACEMENT CHARACTER}"))

    @router.post("/refuse", status_code=204, responses=refusals(400, 409), openapi_extra=_REFUSAL.openapi)
    def refuse(request: Request, body: Annotated[Refusal, Depends(_REFUSAL)]) -> None:
        mine(request).refuse(body)


def _add_cells(router: APIRouter, journal: SqlJournal, metrics: ServiceMetrics) -> None:
    @router.post("/claims", response_model=Claim, responses=refusals(400, 409), openapi_extra=_CLAIM_REQUEST.openapi)
    def claim(request: Request, body: Annotated[ClaimRequest, Depends(_CLAIM_REQUEST)]) -> Response:
        found = journal.view(_id(request)).claim(body)
        metrics.claims.labels(found.next.value).inc()
        # pods of the previous release, which still work during an upgrade, do not know `alone`: it is sent only when true
        return Response(_CLAIM.dump_json(found, exclude_defaults=True), media_type="application/json")

    @router.post("/leave", status_code=204, responses=refusals(400, 409), openapi_extra=_LEAVING.openapi)
    def leave(request: Request, body: Annotated[Leaving, Depends(_LEAVING)]) -> None:
        journal.view(_id(request)).leave(index=body.index)

    @router.post("/stages", status_code=204, responses=refusals(400, 409), openapi_extra=_NEW_STAGE.openapi)
    def open_stage(request: Request, body: Annotated[NewStage, Depends(_NEW_STAGE)]) -> None:
        journal.view(_id(request)).open_stage(body)

    @router.post(
        "/reuse", response_model=list[Cell], responses=refusals(400, 409), openapi_extra=_REUSE_REQUEST.openapi
    )
    def reuse(request: Request, body: Annotated[ReuseRequest, Depends(_REUSE_REQUEST)]) -> Response:
        known = journal.view(_id(request)).reuse(body)
        metrics.reused.inc(len(known))
        return as_json(_PLACES, known)

    @router.post("/cells", response_model=ReportReply, responses=refusals(400, 409), openapi_extra=_REPORT.openapi)
    def report(request: Request, body: Annotated[Report, Depends(_REPORT)]) -> Response:
        mine, new = journal.view(_id(request)), 0
        for start in range(0, max(1, len(body.results)), _CELLS_AT_ONCE):
            piece = replace(body, results=body.results[start : start + _CELLS_AT_ONCE])
            taken = mine.take_in(piece)
            metrics.take_in(taken.new)
            metrics.repeated.inc(len(piece.results) - len(taken.new))
            new += len(taken.new)
        return as_json(_REPORT_REPLY, ReportReply(new=new, state=taken.state, standing=taken.standing))

    @router.get("/cells", response_model=list[CellResult])
    def cells(
        request: Request,
        start: Annotated[int, Query(ge=0, lt=2**63)] = 0,
        limit: Annotated[int, Query(ge=1, le=MAX_CELLS_PER_PAGE)] = MAX_CELLS_PER_PAGE,
    ) -> Response:
        def pieces(piece: list[CellResult]) -> Iterator[bytes]:
            left, begin = limit, start
            yield b"["
            while piece:
                yield (b"," if begin > start else b"") + _json(piece)[1:-1]
                left, begin = left - len(piece), begin + len(piece)
                # each in a transaction of its own: a slow reader holds none
                piece = journal.view(_id(request)).page(start=begin, limit=left, max_bytes=_PIECE_BYTES) if left else []
            yield b"]"

        first = journal.view(_id(request)).page(start=start, limit=limit, max_bytes=_PIECE_BYTES)
        return StreamingResponse(pieces(first), media_type="application/json")


def _json(page: Sequence[CellResult]) -> bytes:
    """A page as JSON without identities: ranking does not need them, and pods of the previous release do not know them."""
    return _CELLS.dump_json([replace(result, identity=None) for result in page], exclude_none=True)


def _add_artifacts(  # noqa: PLR0917  parts of the app, each once
    router: APIRouter,
    journal: SqlJournal,
    artifacts: ArtifactStore,
    metrics: ServiceMetrics,
    shares: Shares,
    threads: Threads,
) -> None:
    def place(search_id: str, upload: Upload) -> Artifact:
        # ordered with `complete`, because the search may have ended while the file came in
        with journal.placing(search_id, upload.verify(), shares):
            return upload.commit()

    @router.put(
        "/artifacts/{name}",
        response_model=Artifact,
        responses=refusals(409, 507),
        openapi_extra={"requestBody": {"required": True, **file_answer("The file.")}},
    )
    async def put_artifact(request: Request, name: str, x_content_sha256: Annotated[str, Header()]) -> Response:
        search_id = _id(request)
        announced = request.headers.get("content-length", "")
        size = int(announced) if announced.isdigit() else 0
        await threads.run(journal.check_room, search_id, name, size, shares)
        with artifacts.upload(search_id, name, sha256=x_content_sha256) as upload:
            async for chunk in request.stream():
                await threads.run(upload.write, chunk)
            stored = await threads.run(place, search_id, upload)
        metrics.artifact_bytes.labels("in").inc(stored.size_bytes)
        return as_json(_ARTIFACT, stored)

    @router.get(
        "/artifacts/{name}",
        response_class=StreamingResponse,
        responses={200: file_answer("The file."), **refusals(404)},
    )
    async def get_artifact(request: Request, name: str) -> Response:
        try:
            file = await threads.run(artifacts.open, _id(request), name)
        except FileNotFoundError:
            raise HTTPException(404, f"The search must have the file {name} by now, but it has not.") from None
        return FileAnswer(file, threads)
