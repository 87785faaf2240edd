"""Pages for people: the searches of a namespace while they run, and its models. Thin: ``tuningjob.live`` writes them.

They lie below /v1/namespaces, so who sees what is the border's word, as for the rest; what another header says of a person is not
read. A page that watches has one stream: all of them together cost one look at the journal for each search, every two seconds.
"""

import asyncio
import hashlib
import hmac
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Final
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse
from starlette.concurrency import run_in_threadpool

from tuningjob.artifacts.store import ArtifactStore
from tuningjob.errors import NotBlessed
from tuningjob.journal.sql import SqlJournal
from tuningjob.live.pages import (
    REPORT_HEADERS,
    PageFrame,
    list_page,
    list_part,
    model_page,
    models_page,
    search_page,
    search_part,
    security_headers,
    stream_event,
)
from tuningjob.manifest.fields import DNS_LABEL
from tuningjob.manifest.wellknown import REPORT_FILE
from tuningjob_operator.service.border import Person
from tuningjob_operator.service.people import Key, Version
from tuningjob_operator.service.room import Threads
from tuningjob_operator.service.wire import FileAnswer
from tuningjob_operator.tokens import Keys

PAUSE_SECONDS: Final = 2.0
# a stream ends after so long; the browser comes again, with a token that is looked at again. Less than what a request may take
# while the service ends
STREAM_SECONDS: Final = 15.0
MOST_STREAMS: Final = 200
MOST_OF_A_NAMESPACE: Final = 100
_MOST_PARTS: Final = 200
_MOST_VERSIONS: Final = 200
_MOST_WHY: Final = 1_024
_MAX_NAME: Final = 253

SearchId = Annotated[str, Path(max_length=128, pattern=r"^[-A-Za-z0-9_.]+$")]
MaybeVersion = Annotated[int | None, Query(ge=1, lt=2**31)]


@dataclass
class Feed:
    """What pages that watch are fed: each part is made once, however many watch it."""

    pause_seconds: float = PAUSE_SECONDS
    clock: Callable[[], float] = time.monotonic
    watching: Counter[str] = field(default_factory=Counter)
    _made: "OrderedDict[str, tuple[float, asyncio.Task[tuple[str, bool]]]]" = field(default_factory=OrderedDict)

    async def part(self, key: str, make: Callable[[], tuple[str, bool]]) -> tuple[str, bool]:
        """What a page shows now, and whether that is the last of it; no older than a pause."""
        found = self._made.get(key)
        if found is None or self.clock() - found[0] >= self.pause_seconds:
            found = self.clock(), asyncio.create_task(run_in_threadpool(make))
            self._made[key] = found
            self._made.move_to_end(key)
            while len(self._made) > _MOST_PARTS:
                self._made.popitem(last=False)
        return await asyncio.shield(found[1])

    @contextmanager
    def watched(self, namespace: str) -> Iterator[None]:
        """One stream more. Raises HTTPException where there are too many."""
        self.check(namespace)
        self.watching[namespace] += 1
        try:
            yield
        finally:
            self.watching[namespace] -= 1
            self.watching += Counter()  # without zeros

    def check(self, namespace: str) -> None:
        """Raises HTTPException where there are too many streams."""
        if self.watching.total() >= MOST_STREAMS or self.watching[namespace] >= MOST_OF_A_NAMESPACE:
            raise HTTPException(503, "Too many pages watch just now: load this one again later.", {"Retry-After": "30"})


def _person(
    request: Request,
    namespace: Annotated[str, Path(pattern=DNS_LABEL, max_length=63)],  # noqa: ARG001  the border's counts
) -> Person:
    person: Person = request.state.person
    return person


Caller = Annotated[Person, Depends(_person)]


def make_routes(journal: SqlJournal, artifacts: ArtifactStore, keys: Keys, threads: Threads) -> APIRouter:
    """The routes below /v1/namespaces/{namespace}/ui. They are no API: a page may change with every release."""
    router = APIRouter(prefix="/v1/namespaces/{namespace}/ui", include_in_schema=False)
    feed = Feed()
    _add_searches(router, journal, feed)
    _add_models(router, journal, artifacts, keys, threads)
    return router


def _root(person: Person) -> str:
    return f"/v1/namespaces/{person.namespace}/ui/"


def _frame(person: Person, keys: Keys | None = None) -> PageFrame:
    return PageFrame(_root(person), person.namespace, "" if keys is None else _form_secret(keys.current, person))


def _html(page: str) -> Response:
    return HTMLResponse(page, headers=security_headers())


def _add_searches(router: APIRouter, journal: SqlJournal, feed: Feed) -> None:
    @router.get("/")
    def searches_page(caller: Caller) -> Response:
        return _html(list_page(_frame(caller), journal.live.lines(caller.namespace)))

    @router.get("/stream")
    async def searches_stream(caller: Caller) -> Response:
        def make() -> tuple[str, bool]:
            return list_part(_frame(caller), journal.live.lines(caller.namespace)), False

        return await _stream(feed, caller.namespace, f"{caller.namespace}/", make)

    @router.get("/searches/{search}")
    def one_search_page(caller: Caller, search: SearchId) -> Response:
        return _html(search_page(_frame(caller), journal.live.watched(caller.namespace, search)))

    @router.get("/searches/{search}/stream")
    async def one_search_stream(caller: Caller, search: SearchId) -> Response:
        def make() -> tuple[str, bool]:
            watched = journal.live.watched(caller.namespace, search)
            return search_part(_frame(caller), watched), watched.line.is_over

        return await _stream(feed, caller.namespace, f"{caller.namespace}/{search}", make)


async def _stream(feed: Feed, namespace: str, key: str, make: Callable[[], tuple[str, bool]]) -> Response:
    feed.check(namespace)
    part, is_over = await feed.part(key, make)  # what is refused is refused before the answer begins

    async def events(part: str, is_over: bool) -> AsyncIterator[bytes]:  # noqa: FBT001
        with feed.watched(namespace):
            told, until = "", feed.clock() + STREAM_SECONDS
            yield b"retry: 1000\n\n"
            while True:
                yield stream_event(part) if part != told else b": still there\n\n"
                if is_over:
                    yield b"event: over\ndata: 1\n\n"
                    return
                told = part
                await asyncio.sleep(feed.pause_seconds)
                if feed.clock() >= until:
                    return
                part, is_over = await feed.part(key, make)

    headers = {**security_headers(), "X-Accel-Buffering": "no"}
    return StreamingResponse(events(part, is_over), media_type="text/event-stream", headers=headers)


def _add_models(router: APIRouter, journal: SqlJournal, artifacts: ArtifactStore, keys: Keys, threads: Threads) -> None:
    audit = journal.audit

    @router.get("/models")
    def keys_page(caller: Caller) -> Response:
        return _html(models_page(_frame(caller), audit.models(caller.namespace, limit=1_000)))

    @router.get("/models/{key}")
    def one_model_page(caller: Caller, key: Key, before: MaybeVersion = None, after: MaybeVersion = None) -> Response:
        where = {"namespace": caller.namespace, "model_key": key}
        rows = audit.page(**where, after=max(0, audit.newest(**where) - _MOST_VERSIONS), limit=_MOST_VERSIONS)
        sides = None
        if before is not None and after is not None:
            sides = (audit.version(**where, version=before), audit.version(**where, version=after))
        blessings = audit.blessings(**where)[-_MOST_VERSIONS:]
        try:
            in_use: int | None = audit.blessed(**where).version
        except NotBlessed:
            in_use = None
        return _html(model_page(_frame(caller, keys), key, rows, blessings, in_use=in_use, compared=sides))

    @router.get("/models/{key}/{version}/report")
    def version_report(caller: Caller, key: Key, version: Version) -> Response:
        row = audit.version(namespace=caller.namespace, model_key=key, version=version)
        try:
            content = artifacts.open(row.search_id, REPORT_FILE)
        except FileNotFoundError:
            raise HTTPException(404, f"Version {version} of {key} has no report.") from None
        return FileAnswer(content, threads, kind="text/html", **REPORT_HEADERS)

    @router.post("/models/{key}/bless")
    async def bless_by_form(request: Request, caller: Caller, key: Key) -> Response:
        form = await _form(request, keys, caller)
        version = form.get("version", "")
        if not version.isascii() or not version.isdigit() or len(version) > 9:
            raise HTTPException(422, "version: must be the number of a version, but is not.")
        who, why = caller.name[:_MAX_NAME], _why(form)
        act = {"namespace": caller.namespace, "model_key": key, "who": who, "why": why}
        await run_in_threadpool(audit.bless, version=int(version), **act)
        return _back(caller, key)

    @router.post("/models/{key}/rollback")
    async def rollback_by_form(request: Request, caller: Caller, key: Key) -> Response:
        form = await _form(request, keys, caller)
        act = {"namespace": caller.namespace, "model_key": key, "who": caller.name[:_MAX_NAME], "why": _why(form)}
        await run_in_threadpool(audit.rollback, **act)
        return _back(caller, key)


def _back(caller: Person, key: str) -> Response:
    return RedirectResponse(f"{_root(caller)}models/{quote(key, safe='')}", 303, headers=security_headers())


async def _form(request: Request, keys: Keys, person: Person) -> dict[str, str]:
    """The fields of a form of ours, sent from a page of ours. Raises HTTPException for another's."""
    body = (await request.body()).decode(errors="replace")
    try:
        fields = parse_qs(body, max_num_fields=10)
    except ValueError:
        raise HTTPException(422, "The form must be one of this page, but is not.") from None
    form = {name: values[0] for name, values in fields.items()}
    given = form.get("csrf", "").encode()
    wanted = [_form_secret(key, person).encode() for key in (keys.current, *keys.former)]
    if not any(hmac.compare_digest(given, each) for each in wanted) or not _is_from_here(request):
        raise HTTPException(403, "The form must be one of this page, but is not. Load the page again.")
    return form


def _is_from_here(request: Request) -> bool:
    """As the browser says it, which no page can change: a proxy that logs people in adds its right to what others send, too."""
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _form_secret(key: bytes, person: Person) -> str:
    """What a form of this person carries: nobody else's page knows it, and a restart changes nothing."""
    told = f"{person.namespace}\0{person.name}".encode()
    return hmac.new(key, b"tuningjob form\0" + told, hashlib.sha256).hexdigest()


def _why(form: dict[str, str]) -> str:
    why = form.get("why", "").strip().replace("\0", "")[:_MOST_WHY]
    if not why:
        raise HTTPException(422, "why: must be a reason, but none was given.")
    return why
