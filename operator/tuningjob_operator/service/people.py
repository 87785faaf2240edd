"""The routes of people and of the processes that serve models: the audit of a namespace, and its files.

They are thin over ``journal.audit``. The namespace of a request is the one for which the border has checked the rights.
"""

import hashlib
from collections.abc import Callable, Iterator
from typing import Annotated, Any, BinaryIO, Final, TypeVar

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Request, Security
from fastapi.responses import Response, StreamingResponse
from fastapi.security import HTTPBearer
from pydantic import Field, TypeAdapter

from tuningjob.artifacts.store import ArtifactStore
from tuningjob.journal.audit import SqlAudit
from tuningjob.manifest.fields import DNS_LABEL, MODEL_KEY
from tuningjob.protocol.audit import AuditRow, Blessing
from tuningjob.protocol.records import Artifact
from tuningjob_operator.service.bodies import Takes
from tuningjob_operator.service.border import Person
from tuningjob_operator.service.metrics import ServiceMetrics
from tuningjob_operator.service.room import Threads
from tuningjob_operator.service.wire import Body, FileAnswer, Why, as_json, file_answer, refusals

P = TypeVar("P", int, str)
R = TypeVar("R")
_ROW: Final = TypeAdapter(AuditRow)
# how many entries are in memory at a time
_PIECE_ROWS: Final = 10
_PIECE_BLESSINGS: Final = 100  # of 1 KiB each, most of it the reason that a person gave
_PIECE_KEYS: Final = 1_000
_KEYS: Final = TypeAdapter(list[str])
_ROWS: Final = TypeAdapter(list[AuditRow])
_BLESSING: Final = TypeAdapter(Blessing)
_BLESSINGS: Final = TypeAdapter(list[Blessing])
_ARTIFACTS: Final = TypeAdapter(list[Artifact])
_MAX_NAME: Final = 253  # of the person who blesses, as the audit keeps it
# The border has checked it; here it is for OpenAPI.
TOKEN: Final = HTTPBearer(
    scheme_name="kubernetes",
    description="A person's or a service account's Kubernetes token: what kubectl may do with tuningjobs, it may do here.",
    auto_error=False,
)

Key = Annotated[str, Path(pattern=MODEL_KEY, max_length=253, description="spec.modelKey, else the TuningJob's name.")]
After = Annotated[int, Query(ge=0, lt=2**31, description="Those of higher numbers.")]
MOST: Final = 2**31 - 1
Limit = Annotated[int, Query(ge=1, le=MOST)]
Version = Annotated[int, Path(ge=1, lt=2**31)]
FileName = Annotated[str, Path(max_length=253, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class Models(Body):
    """The model keys of a namespace."""

    models: list[str]


class Params(Body):
    """The parameters to build the model in use from."""

    model_key: str
    version: int
    params: dict[str, Any]


_PARAMS: Final = TypeAdapter(Params)


class BlessRequest(Body):
    """Asks to put a version into use, with the reason."""

    version: Annotated[int, Field(ge=1, lt=2**31)]
    why: Why = ""


class RollbackRequest(Body):
    """Asks to put the version before into use again, with the reason."""

    why: Why = ""


_BLESS: Final = Takes[BlessRequest](BlessRequest)
_ROLLBACK: Final = Takes[RollbackRequest](RollbackRequest)


def _person(
    request: Request,
    namespace: Annotated[str, Path(pattern=DNS_LABEL, max_length=63)],  # noqa: ARG001  for OpenAPI: the border's counts
) -> Person:
    person: Person = request.state.person
    return person


Caller = Annotated[Person, Depends(_person)]


def make_routes(audit: SqlAudit, artifacts: ArtifactStore, metrics: ServiceMetrics, threads: Threads) -> APIRouter:
    """The routes below /v1/namespaces."""
    router = APIRouter(
        prefix="/v1/namespaces/{namespace}/models",
        tags=["people"],
        dependencies=[Security(TOKEN)],
        responses=refusals(401, 403, 404, 408, 413, 422, 429, 503),
    )
    _add_history(router, audit)
    _add_blessings(router, audit)
    _add_artifacts(router, audit, artifacts, metrics, threads)
    return router


def _add_history(router: APIRouter, audit: SqlAudit) -> None:
    @router.get("", response_model=Models)
    def models(
        caller: Caller,
        after: Annotated[str, Query(max_length=253, description="Those that come after this one.")] = "",
        limit: Limit = MOST,
    ) -> Response:
        def keys(after: str, most: int) -> list[str]:
            return audit.models(caller.namespace, after=after, limit=min(most, _PIECE_KEYS))

        pieces = _pieces(keys, after, limit, last=str, dump=_KEYS.dump_json)
        return StreamingResponse(_wrapped(b'{"models":', pieces, b"}"), media_type="application/json")

    @router.get("/{key}/versions", response_model=list[AuditRow])
    def versions(caller: Caller, key: Key, after: After = 0, limit: Limit = MOST) -> Response:
        def rows(after: int, most: int) -> list[AuditRow]:
            most = min(most, _PIECE_ROWS)
            return audit.page(namespace=caller.namespace, model_key=key, after=after, limit=most)

        pieces = _pieces(rows, after, limit, last=lambda row: row.version, dump=_ROWS.dump_json)
        return StreamingResponse(pieces, media_type="application/json")

    @router.get("/{key}/versions/{version}", response_model=AuditRow)
    def version(caller: Caller, key: Key, version: Version) -> Response:
        return as_json(_ROW, audit.version(namespace=caller.namespace, model_key=key, version=version))

    @router.get(
        "/{key}/params",
        response_model=Params,
        responses={304: {"description": "Still the parameters of the ETag that was named."}},
    )
    def params(caller: Caller, key: Key, if_none_match: Annotated[str | None, Header()] = None) -> Response:
        row = audit.blessed(namespace=caller.namespace, model_key=key)
        answer = as_json(_PARAMS, Params(model_key=key, version=row.version, params=row.best_params))
        tag = f'"{hashlib.sha256(answer.body).hexdigest()[:32]}"'
        # clients ask anew every time, and get an answer without a body while nothing has changed
        answer.headers.update({"ETag": tag, "Cache-Control": "private, no-cache", "Vary": "Authorization"})
        if if_none_match is None or not _names(if_none_match, tag):
            return answer
        kept = {name: answer.headers[name] for name in ("ETag", "Cache-Control", "Vary")}
        return Response(status_code=304, headers=kept)


def _pieces(
    read: Callable[[P, int], list[R]], after: P, limit: int, *, last: Callable[[R], P], dump: Callable[[list[R]], bytes]
) -> Iterator[bytes]:
    """A list as JSON, read in pieces. The first piece is read at once, so that a refusal comes before the answer begins."""
    first = read(after, limit)

    def written() -> Iterator[bytes]:
        piece, left = first, limit
        yield b"["
        while piece:
            yield (b"," if left < limit else b"") + dump(piece)[1:-1]
            left -= len(piece)
            piece = read(last(piece[-1]), left) if left else []
        yield b"]"

    return written()


def _wrapped(begin: bytes, pieces: Iterator[bytes], end: bytes) -> Iterator[bytes]:
    yield begin
    yield from pieces
    yield end


def _names(if_none_match: str, tag: str) -> bool:
    """Whether the header names the tag (RFC 9110, 13.1.2): a list, or ``*``; compared weakly. Ours holds no comma."""
    given = [each.strip().removeprefix("W/") for each in if_none_match.split(",")]
    return "*" in given or tag in given


def _add_blessings(router: APIRouter, audit: SqlAudit) -> None:
    @router.get("/{key}/blessings", response_model=list[Blessing])
    def blessings(caller: Caller, key: Key, after: After = 0, limit: Limit = MOST) -> Response:
        def entries(after: int, most: int) -> list[Blessing]:
            most = min(most, _PIECE_BLESSINGS)
            return audit.page_of_blessings(namespace=caller.namespace, model_key=key, after=after, limit=most)

        pieces = _pieces(entries, after, limit, last=lambda entry: entry.number, dump=_BLESSINGS.dump_json)
        return StreamingResponse(pieces, media_type="application/json")

    @router.post("/{key}/bless", response_model=Blessing, responses=refusals(400), openapi_extra=_BLESS.openapi)
    def bless(caller: Caller, key: Key, body: Annotated[BlessRequest, Depends(_BLESS)]) -> Response:
        who = caller.name[:_MAX_NAME]
        made = audit.bless(namespace=caller.namespace, model_key=key, version=body.version, who=who, why=body.why)
        return as_json(_BLESSING, made)

    @router.post("/{key}/rollback", response_model=Blessing, responses=refusals(400), openapi_extra=_ROLLBACK.openapi)
    def rollback(caller: Caller, key: Key, body: Annotated[RollbackRequest, Depends(_ROLLBACK)]) -> Response:
        who = caller.name[:_MAX_NAME]
        return as_json(_BLESSING, audit.rollback(namespace=caller.namespace, model_key=key, who=who, why=body.why))


def _add_artifacts(
    router: APIRouter, audit: SqlAudit, artifacts: ArtifactStore, metrics: ServiceMetrics, threads: Threads
) -> None:
    # all of it runs on the threads for files: a disk or a bucket that does not answer holds up no claim
    def listed(caller: Person, key: str, version: int) -> list[Artifact]:
        return artifacts.list(audit.version(namespace=caller.namespace, model_key=key, version=version).search_id)

    def opened(caller: Person, key: str, version: int, name: str) -> tuple[Artifact, BinaryIO]:
        row = audit.version(namespace=caller.namespace, model_key=key, version=version)
        try:
            stored, content = artifacts.find(row.search_id, name), artifacts.open(row.search_id, name)
        except FileNotFoundError:
            advice = "Files go with their TuningJob unless the version was ever blessed."
            raise HTTPException(
                404, f"Version {version} of {key} must have the file {name}, but it has not. {advice}"
            ) from None
        if row.files is not None and stored not in row.files:
            content.close()
            raise HTTPException(
                409,
                f"{name} must be the file that version {version} of {key} was completed with, but somebody has changed it.",
            )
        return stored, content

    @router.get("/{key}/versions/{version}/artifacts", response_model=list[Artifact])
    async def files(caller: Caller, key: Key, version: Version) -> Response:
        return as_json(_ARTIFACTS, await threads.run(listed, caller, key, version))

    @router.get(
        "/{key}/versions/{version}/artifacts/{name}",
        response_class=StreamingResponse,
        responses={200: file_answer("The file; its digest is in the header X-Content-Sha256."), **refusals(409)},
    )
    async def file(caller: Caller, key: Key, version: Version, name: FileName) -> Response:
        stored, content = await threads.run(opened, caller, key, version, name)
        metrics.artifact_bytes.labels("out").inc(stored.size_bytes)
        told = {"X_Content_Sha256": stored.sha256, "Content_Length": str(stored.size_bytes)}
        return FileAnswer(content, threads, **told)
