"""Pages for people: the searches of a namespace while they run, and its models. Thin: ``tuningjob.live`` writes them.

They are below /v1/namespaces, so the border decides who sees what, as for the rest; other headers on a person are not read. A
page that watches has one stream; all pages of a search together cost one look at the journal every two seconds. The list of all
namespaces is beside them, and has only those that the API server lets its reader see.
"""

import hashlib
import hmac
from collections import OrderedDict
from dataclasses import replace
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

from fastapi import APIRouter, Depends, HTTPException, Path, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.concurrency import run_in_threadpool

from tuningjob.artifacts.store import ArtifactStore
from tuningjob.errors import ManifestRefused, NotBlessed
from tuningjob.journal.sql import SqlJournal
from tuningjob.live.maps import FAILED_OR_PRUNED, MOST_CANDIDATES, MapSoFar, map_so_far
from tuningjob.live.pages import (
    REPORT_HEADERS,
    PageFrame,
    SearchView,
    list_page,
    list_part,
    model_page,
    models_page,
    search_page,
    search_part,
    security_headers,
)
from tuningjob.live.records import WatchedSearch
from tuningjob.live.story import ObjectStory
from tuningjob.manifest import load_spec
from tuningjob.manifest.fields import DNS_LABEL
from tuningjob.manifest.grid import Grid
from tuningjob.manifest.wellknown import REPORT_FILE
from tuningjob_operator.service.border import EVERYWHERE, Person
from tuningjob_operator.service.feed import Feed, Part
from tuningjob_operator.service.identity import MOST_NAMESPACES, IdentityUnavailable, People, PersonRefused
from tuningjob_operator.service.people import Key, Version
from tuningjob_operator.service.room import Threads
from tuningjob_operator.service.stories import ObjectName
from tuningjob_operator.service.wire import FileAnswer
from tuningjob_operator.tokens import Keys

# of the pages of a namespace
_WITHIN: Final = "/v1/namespaces/{namespace}/ui"
_MOST_VERSIONS: Final = 200
_MOST_WHY: Final = 1_024
_MAX_NAME: Final = 253
_MOST_GRIDS: Final = 64

SearchId = Annotated[str, Path(max_length=128, pattern=r"^[-A-Za-z0-9_.]+$")]
T = TypeVar("T")
MaybeVersion = Annotated[int | None, Query(ge=1, lt=2**31)]


def _person(
    request: Request,
    namespace: Annotated[str, Path(pattern=DNS_LABEL, max_length=63)],  # noqa: ARG001  the border's counts
) -> Person:
    person: Person = request.state.person
    return person


def _anybody(request: Request) -> Person:
    person: Person = request.state.person
    return person


Caller = Annotated[Person, Depends(_person)]
Anybody = Annotated[Person, Depends(_anybody)]


def make_routes(
    journal: SqlJournal, artifacts: ArtifactStore, keys: Keys, threads: Threads, persons: People
) -> APIRouter:
    """The routes below /v1/namespaces/{namespace}/ui. They are no API, because a page may change with every release."""
    router, feed = APIRouter(include_in_schema=False), Feed()
    _add_everywhere(router, journal, persons, feed)  # before those that have a namespace in its place
    _add_list(router, journal, feed)
    _add_search(router, Watching(journal, persons), feed)
    _add_models(router, journal, artifacts, keys, threads)
    return router


def _root(person: Person) -> str:
    return f"/v1/namespaces/{person.namespace}/ui/"


def _frame(person: Person, keys: Keys | None = None) -> PageFrame:
    secret = "" if keys is None else _form_secret(keys.current, person)
    return PageFrame(_root(person), person.namespace, secret, everywhere=EVERYWHERE)


def _html(page: str) -> Response:
    return HTMLResponse(page, headers=security_headers())


def _add_list(router: APIRouter, journal: SqlJournal, feed: Feed) -> None:
    @router.get(f"{_WITHIN}/")
    def searches_page(caller: Caller) -> Response:
        return _html(list_page(_frame(caller), journal.live.lines([caller.namespace])))

    @router.get(f"{_WITHIN}/stream")
    async def searches_stream(caller: Caller) -> Response:
        def make() -> Part:
            return list_part(_frame(caller), journal.live.lines([caller.namespace])), False

        return await feed.stream(caller.namespace, lambda: feed.part(f"{caller.namespace}/", make))


def _add_everywhere(router: APIRouter, journal: SqlJournal, persons: People, feed: Feed) -> None:
    frame = PageFrame(EVERYWHERE, "")

    async def seen_by(caller: Person) -> list[str] | None:
        among = await run_in_threadpool(journal.live.namespaces, limit=MOST_NAMESPACES)
        try:
            seen = await persons.namespaces(caller.token, among, peer=caller.peer)
        except PersonRefused as refused:
            raise HTTPException(refused.status, str(refused)) from None
        except IdentityUnavailable as away:
            raise HTTPException(503, str(away), {"Retry-After": "2"}) from None
        return None if seen is None else sorted(seen)

    @router.get(EVERYWHERE)
    async def everywhere_page(caller: Anybody) -> Response:
        seen = await seen_by(caller)
        return _html(await run_in_threadpool(lambda: list_page(frame, journal.live.lines(seen))))

    @router.get(f"{EVERYWHERE}stream")
    async def everywhere_stream(caller: Anybody) -> Response:
        seen = await seen_by(caller)  # for as long as a stream lasts

        def make() -> Part:
            return list_part(frame, journal.live.lines(seen)), False

        key = "/*" if seen is None else f"/{','.join(seen)}"
        return await feed.stream("", lambda: feed.part(key, make))


class Watching:
    """One search as a page shows it, from the journal and from what the API server tells the person who looks."""

    def __init__(self, journal: SqlJournal, persons: People) -> None:
        self._journal = journal
        self._persons = persons
        self._grids: OrderedDict[str, Grid | None] = OrderedDict()
        self._maps: OrderedDict[str, tuple[int, MapSoFar | None]] = OrderedDict()

    async def name(self, caller: Person, search: str) -> ObjectName:
        """The TuningJob of a search. Raises UnknownSearch."""
        line = await run_in_threadpool(self._journal.live.line, caller.namespace, search)
        return ObjectName(line.namespace, line.name, line.id)

    async def story(self, caller: Person, name: ObjectName) -> ObjectStory | None:
        """What the API server has told the person of the TuningJob by now."""
        return await self._persons.story(caller.token, name)

    def view(self, name: ObjectName, story: ObjectStory | None) -> SearchView:
        """The search as it is now. Raises UnknownSearch."""
        watched = self._journal.live.watched(name.namespace, name.uid)
        return SearchView(watched, story, self._map_of(watched))

    def _map_of(self, watched: WatchedSearch) -> MapSoFar | None:
        """The map as it is now, made again only if there are new results."""
        line = watched.line
        grid = self._grid_of(line.id)
        if grid is None or not line.done:
            return None
        kept = self._maps.get(line.id)
        if kept is not None and kept[0] == line.done:
            return kept[1]
        found = map_so_far(grid, self._journal.live.means(line.id, watched.splits))
        if found is not None and watched.pruned:
            found = replace(found, lacking=FAILED_OR_PRUNED)
        _keep(self._maps, line.id, (line.done, found))
        return found

    def _grid_of(self, search: str) -> Grid | None:
        """The grid, if a map can be drawn of it."""
        if search not in self._grids:
            _keep(self._grids, search, _small_grid(self._journal.view(search).search().spec))
        return self._grids.get(search)


def _keep(kept: "OrderedDict[str, T]", search: str, found: T) -> None:
    kept[search] = found
    kept.move_to_end(search)
    while len(kept) > _MOST_GRIDS:
        kept.popitem(last=False)


def _small_grid(spec: dict[str, Any]) -> Grid | None:
    try:
        search = load_spec(spec).search
        space = search.space
    except ManifestRefused:  # of another release
        return None
    is_one = isinstance(space, Grid) and not search.has_stages and 0 < space.size <= MOST_CANDIDATES
    return space if isinstance(space, Grid) and is_one else None


def _add_search(router: APIRouter, watching: Watching, feed: Feed) -> None:
    @router.get(f"{_WITHIN}/searches/{{search}}")
    async def one_search_page(caller: Caller, search: SearchId) -> Response:
        name = await watching.name(caller, search)
        story = await watching.story(caller, name)
        return _html(await run_in_threadpool(lambda: search_page(_frame(caller), watching.view(name, story))))

    @router.get(f"{_WITHIN}/searches/{{search}}/stream")
    async def one_search_stream(caller: Caller, search: SearchId) -> Response:
        name = await watching.name(caller, search)

        async def look() -> Part:
            story = await watching.story(caller, name)

            def make() -> Part:
                view = watching.view(name, story)
                return search_part(_frame(caller), view), view.is_over

            # people to whom the API server tells the same share one part
            return await feed.part(f"{caller.namespace}/{search}/{hash(story)}", make)

        return await feed.stream(caller.namespace, look)


def _add_models(router: APIRouter, journal: SqlJournal, artifacts: ArtifactStore, keys: Keys, threads: Threads) -> None:
    audit = journal.audit

    @router.get(f"{_WITHIN}/models")
    def keys_page(caller: Caller) -> Response:
        return _html(models_page(_frame(caller), audit.models(caller.namespace, limit=1_000)))

    @router.get(f"{_WITHIN}/models/{{key}}")
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

    @router.get(f"{_WITHIN}/models/{{key}}/{{version}}/report")
    def version_report(caller: Caller, key: Key, version: Version) -> Response:
        row = audit.version(namespace=caller.namespace, model_key=key, version=version)
        try:
            content = artifacts.open(row.search_id, REPORT_FILE)
        except FileNotFoundError:
            raise HTTPException(404, f"Version {version} of {key} has no report.") from None
        return FileAnswer(content, threads, kind="text/html", **REPORT_HEADERS)

    @router.post(f"{_WITHIN}/models/{{key}}/bless")
    async def bless_by_form(request: Request, caller: Caller, key: Key) -> Response:
        form = await _form(request, keys, caller)
        version = form.get("version", "")
        if not version.isascii() or not version.isdigit() or len(version) > 9:
            raise HTTPException(422, "version: must be the number of a version, but is not.")
        who, why = caller.name[:_MAX_NAME], _why(form)
        act = {"namespace": caller.namespace, "model_key": key, "who": who, "why": why}
        await run_in_threadpool(audit.bless, version=int(version), **act)
        return _back(caller, key)

    @router.post(f"{_WITHIN}/models/{{key}}/rollback")
    async def rollback_by_form(request: Request, caller: Caller, key: Key) -> Response:
        form = await _form(request, keys, caller)
        act = {"namespace": caller.namespace, "model_key": key, "who": caller.name[:_MAX_NAME], "why": _why(form)}
        await run_in_threadpool(audit.rollback, **act)
        return _back(caller, key)


def _back(caller: Person, key: str) -> Response:
    return RedirectResponse(f"{_root(caller)}models/{quote(key, safe='')}", 303, headers=security_headers())


async def _form(request: Request, keys: Keys, person: Person) -> dict[str, str]:
    """The fields of a form of ours, sent from a page of ours. Raises HTTPException for any other form or page."""
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
    """Whether a request comes from our own page, by headers that no page can change.

    A proxy that logs people in adds their right to requests of other pages, too.
    """
    if request.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        return False
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == request.headers.get("host")


def _form_secret(key: bytes, person: Person) -> str:
    """The secret in this person's forms, which no other page knows, and which stays the same after a restart."""
    told = f"{person.namespace}\0{person.name}".encode()
    return hmac.new(key, b"tuningjob form\0" + told, hashlib.sha256).hexdigest()


def _why(form: dict[str, str]) -> str:
    why = form.get("why", "").strip().replace("\0", "")[:_MOST_WHY]
    if not why:
        raise HTTPException(422, "why: must be a reason, but none was given.")
    return why
