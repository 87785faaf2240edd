"""Bodies and answers: the journal's own records, by pydantic; refusals, as one sentence in ``detail``."""

import logging
import re
import reprlib
from collections.abc import Mapping
from typing import Annotated, Any, BinaryIO, Final, TypeVar

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter
from pydantic_core import PydanticCustomError
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send
from typing_extensions import override

from tuningjob.artifacts.store import blocks
from tuningjob.errors import (
    ArtifactRefused,
    ArtifactsUnavailable,
    JournalError,
    JournalMismatch,
    NoRoom,
    NotBlessed,
    TuningJobError,
    UnknownModel,
    UnknownSearch,
)
from tuningjob_operator.service.metrics import ServiceMetrics
from tuningjob_operator.service.room import COME_AGAIN, NoTurn, Threads

# nginx's code for a client that left before it was answered; for the metrics alone
GONE: Final = 499
_log = logging.getLogger(__name__)
R = TypeVar("R")


class Body(BaseModel):
    """The base of every body that is no record of the journal."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ErrorBody(Body):
    """Why a request was not answered: one sentence."""

    detail: str


def _without_nul(value: R) -> R:
    if _has_nul(value):
        raise PydanticCustomError("must_be", "without NUL characters in its texts")
    return value


def _has_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any(_has_nul(item) for pair in value.items() for item in pair)
    if isinstance(value, list | tuple):
        return any(map(_has_nul, value))
    return hasattr(value, "__dict__") and _has_nul(vars(value))


# Postgres' texts cannot hold a NUL. Only for what is kept as text: JSON spells it as an escape.
NoNul: Final = AfterValidator(_without_nul)
Why = Annotated[str, Field(max_length=1_024), NoNul]

_SENTENCES: Final = {
    400: "The body is no JSON.",
    401: "The token gives no right here.",
    403: "This person may not do this in this namespace.",
    404: "There is no such thing.",
    409: "The journal holds something else than what is offered.",
    408: "The body did not go on, or did not end in time.",
    413: "The body is too long.",
    422: "Something has the wrong type or is out of bounds.",
    429: "Too many tokens that nobody knows came from this address: try again later.",
    503: "The journal, the artifact store or the API server does not answer just now: try again later.",
    507: "The volume, or the namespace's share of it, has no room for the file.",
}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals, described for OpenAPI."""
    return {status: {"model": ErrorBody, "description": _SENTENCES[status]} for status in statuses}


class FileAnswer(StreamingResponse):
    """The rest of a file, read on the threads for files. It is closed even if the answer fails or its reader leaves."""

    def __init__(
        self, file: BinaryIO, threads: Threads, *, kind: str = "application/octet-stream", **headers: str
    ) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        super().__init__(threads.stream(blocks(file)), media_type=kind, headers=named)
        self._file = file

    @override
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:  # not read any more at the end; a block that is being read is waited for
            await super().__call__(scope, receive, send)


def as_json(kind: TypeAdapter[R], record: R, **headers: str) -> Response:
    """A record as JSON by pydantic's own serializer, because FastAPI's would turn NaN into null."""
    return Response(kind.dump_json(record), media_type="application/json", headers=headers)


def file_answer(description: str) -> dict[str, Any]:
    """An answer, or a body, that is a file's bytes, described for OpenAPI."""
    schema = {"type": "string", "format": "binary"}
    return {"description": description, "content": {"application/octet-stream": {"schema": schema}}}


_STATUS: Final[dict[type[TuningJobError], int]] = {
    UnknownSearch: 404,
    UnknownModel: 404,
    NotBlessed: 404,
    JournalMismatch: 409,
    ArtifactRefused: 422,
    ArtifactsUnavailable: 503,
    NoRoom: 507,
    JournalError: 503,
}


def add_errors(app: FastAPI, metrics: ServiceMetrics) -> None:
    """Turn the errors of our tree into refusals."""
    for kind, status in _STATUS.items():

        def translate(_request: Request, error: Exception, status: int = status) -> Response:
            if status >= 500:
                metrics.unavailable.labels(type(error).__name__).inc()
                _log.warning("not answered: %s", error)
            return JSONResponse({"detail": str(error)}, status)

        app.add_exception_handler(kind, translate)

    @app.exception_handler(ClientDisconnect)
    async def forget(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=GONE)  # the client has left, because a pod was drained while it sent

    @app.exception_handler(NoTurn)
    async def come_again(_request: Request, _error: NoTurn) -> Response:
        # the rest of the body is not read
        return JSONResponse({"detail": COME_AGAIN}, 503, {"Retry-After": "2", "Connection": "close"})

    @app.exception_handler(RequestValidationError)
    async def refuse(_request: Request, error: RequestValidationError) -> Response:
        return JSONResponse({"detail": problem_sentence(error.errors()[0])}, 422)


# bounds what is shown of a value, which may be of any size
_REPR: Final = reprlib.Repr()
_REPR.maxlevel, _REPR.maxstring, _REPR.maxlong = 3, 80, 80
# pydantic's messages for problems without a value to show, in this project's words
_WORDS: Final = {
    "missing": ("must be given", "nothing"),
    "extra_forbidden": ("must not be there", ""),
    "unexpected_keyword_argument": ("must not be there", ""),  # the same, of a record
}


def problem_sentence(first: Mapping[str, Any], *within: str) -> str:
    """One of pydantic's problems as a sentence: where it is, what it must be, what it got."""
    where = ".".join(str(part)[:64] for part in (*within, *first["loc"]))
    message = str(first["msg"]).removesuffix(".")
    # "Input should be …", "String should match …", "List should have …"
    must, told = re.subn(r"^[A-Z][a-z]+ should ", "must ", message)
    must, got = _WORDS.get(first["type"], (must if told else f"must be {message}", ""))
    if first["type"] == "json_invalid":
        must, got = "must be JSON", message.removeprefix("Invalid JSON: ")
    got = got or _REPR.repr(first.get("input"))
    sentence = f"{where}: {must}, but got {got if len(got) <= 80 else got[:79] + '…'}."
    # a name in the body may be anything, and an answer is UTF-8
    return " ".join(sentence.encode(errors="replace").decode().split())
