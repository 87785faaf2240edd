"""The routes of data and code that people send and pods fetch, by SHA-256, each in its namespace.

The contents are never looked into. A person's token is checked as for the audit; a pod gets what its search's namespace has.
"""

from dataclasses import replace
from typing import Annotated, BinaryIO, Final

from fastapi import APIRouter, HTTPException, Path, Query, Request, Security
from fastapi.responses import Response, StreamingResponse
from pydantic import TypeAdapter

from tuningjob.artifacts.uploads import Uploads
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.environment import WorkerEnvironment
from tuningjob.protocol.uploads import DataRoom, UploadState
from tuningjob_operator.service import people, workers
from tuningjob_operator.service.environment import worker_environment
from tuningjob_operator.service.metrics import ServiceMetrics
from tuningjob_operator.service.room import Threads
from tuningjob_operator.service.wire import FileAnswer, as_json, file_answer, refusals

_STATE: Final = TypeAdapter(UploadState)
_ROOM: Final = TypeAdapter(DataRoom)
_ENVIRONMENT: Final = TypeAdapter(WorkerEnvironment)
_MOST: Final = 2**53
Sha256 = Annotated[str, Path(pattern="^[0-9a-f]{64}$", max_length=64, description="Of the whole file.")]


def make_routes(uploads: Uploads, metrics: ServiceMetrics, threads: Threads) -> APIRouter:
    """The routes below /v1/namespaces/{namespace}/data."""
    router = APIRouter(
        prefix="/v1/namespaces/{namespace}/data",
        tags=["people"],
        dependencies=[Security(people.TOKEN)],
        responses=refusals(401, 403, 404, 408, 413, 422, 429, 503),
    )

    @router.get("", response_model=DataRoom)
    def data_room(caller: people.Caller) -> Response:
        used = uploads.used_bytes(caller.namespace)
        told = DataRoom(used_bytes=used, namespace_bytes=uploads.namespace_bytes, file_bytes=uploads.max_bytes)
        return as_json(_ROOM, told)

    @router.get("/{sha256}", response_model=UploadState)
    def data_state(caller: people.Caller, sha256: Sha256) -> Response:
        return as_json(_STATE, uploads.state(caller.namespace, sha256))

    @router.put(
        "/{sha256}",
        response_model=UploadState,
        responses=refusals(409, 507),
        openapi_extra={"requestBody": {"required": True, **file_answer("The next part of the file.")}},
    )
    async def put_data(
        request: Request,
        caller: people.Caller,
        sha256: Sha256,
        offset: Annotated[int, Query(ge=0, lt=_MOST, description="Where in the file the part begins.")],
        size: Annotated[int, Query(ge=0, lt=_MOST, description="Of the whole file.")],
    ) -> Response:
        announced = request.headers.get("content-length", "")
        if not announced.isdecimal():
            raise HTTPException(422, "The part must say how long it is by the header Content-Length, but does not.")
        part_bytes = int(announced)
        coming = uploads.part(caller.namespace, sha256, offset=offset, part_bytes=part_bytes, size_bytes=size)
        part = await threads.run(coming.__enter__)
        try:
            async for chunk in request.stream():
                await threads.run(part.write, chunk)
        finally:
            coming.__exit__(None, None, None)  # closes the file; what has come in is kept
        metrics.artifact_bytes.labels("in").inc(part_bytes)
        return as_json(_STATE, await threads.run(uploads.commit, caller.namespace, sha256, size))

    return router


def make_environment_route(journal: SqlJournal) -> APIRouter:
    """The route that tells a person who is about to send a search what pods have."""
    router = APIRouter(
        prefix="/v1/namespaces/{namespace}",
        tags=["people"],
        dependencies=[Security(people.TOKEN)],
        responses=refusals(401, 403, 404, 408, 413, 422, 429, 503),
    )
    known = worker_environment()

    @router.get("/environment", response_model=WorkerEnvironment)
    def environment(caller: people.Caller) -> Response:
        return as_json(_ENVIRONMENT, replace(known, kernels=journal.live.kernels(caller.namespace)))

    return router


def make_worker_routes(journal: SqlJournal, uploads: Uploads, metrics: ServiceMetrics, threads: Threads) -> APIRouter:
    """The route below /v1/data that needs a search's token."""
    router = APIRouter(
        prefix="/v1/data",
        tags=["workers"],
        dependencies=[Security(workers.TOKEN)],
        responses=refusals(401, 404, 408, 413, 422, 503),
    )

    def opened(search_id: str, sha256: str) -> tuple[int, BinaryIO]:
        namespace = journal.progress(search_id, words=False).namespace
        try:
            return uploads.open(namespace, sha256)
        except FileNotFoundError:
            raise HTTPException(
                404, f"The data {sha256} must have been sent to {namespace}, but are not there."
            ) from None

    @router.get("/{sha256}", response_class=StreamingResponse, responses={200: file_answer("The file.")})
    async def get_data(request: Request, sha256: Sha256) -> Response:
        size, file = await threads.run(opened, str(request.state.search_id), sha256)
        metrics.artifact_bytes.labels("out").inc(size)
        return FileAnswer(file, threads, Content_Length=str(size))

    return router
