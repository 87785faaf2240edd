"""The live page on a laptop: the searches of its journal, its models, and their reports."""

import hmac
import secrets
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, quote, unquote

from typing_extensions import override

from tuningjob.errors import NotBlessed, TuningJobError, UnknownModel
from tuningjob.journal.sql import SqlJournal
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
    stream_event,
)
from tuningjob.live.records import WatchedSearch
from tuningjob.loopback import LoopbackHandler, NotDone, Site
from tuningjob.manifest.wellknown import REPORT_FILE, SEARCHES_FOLDER
from tuningjob.protocol.audit import AuditRow

_PAUSE_SECONDS: Final = 1.0
_STREAM_SECONDS: Final = 300.0
_MOST_WHY: Final = 1_024


class LaptopSite(Site):
    """Pages over one journal. ``figures`` draws further figures of a search, as HTML."""

    def __init__(
        self, journal: SqlJournal, folder: Path, *, who: str, figures: Callable[[SqlJournal, WatchedSearch], str]
    ) -> None:
        super().__init__()
        self.journal = journal
        self.folder = folder
        self.who = who
        self.figures = figures
        self.csrf = secrets.token_urlsafe(32)
        self.frame = PageFrame("/", "this machine", self.csrf)

    @override
    def get(self, handler: LoopbackHandler, path: str, query: dict[str, list[str]]) -> None:
        parts = path.strip("/").split("/")
        if parts[-1] == "stream" and len(parts) in {1, 3}:
            self._stream(handler, path)
        elif len(parts) == 4 and parts[0] == "models" and parts[3] == "report":
            handler.send_page(200, self.report(unquote(parts[1]), parts[2]), REPORT_HEADERS)
        else:
            handler.send_page(200, self.page(path, query).encode())

    @override
    def post(self, handler: LoopbackHandler, path: str, body: bytes) -> None:
        form = parse_qs(body.decode(errors="replace"), max_num_fields=10)
        given = form.get("csrf", [""])[0]
        if not hmac.compare_digest(given.encode(), self.csrf.encode()):
            raise NotDone(403, "The form must be one of this page, but is not. Load the page again.")
        handler.send_page(303, b"", {"Location": self.act(path, form)})

    def _stream(self, handler: LoopbackHandler, path: str) -> None:
        part, is_over = self.part(path)  # a refusal comes before the stream begins
        handler.begin_stream({**security_headers(), "Content-Type": "text/event-stream"})
        until, told = time.monotonic() + _STREAM_SECONDS, ""
        try:
            while time.monotonic() < until:
                handler.wfile.write(stream_event(part) if part != told else b": still there\n\n")
                if is_over:
                    handler.wfile.write(b"event: over\ndata: 1\n\n")
                    return
                told = part
                if self.is_over.wait(_PAUSE_SECONDS):
                    return
                part, is_over = self.part(path)
        except (OSError, TuningJobError):
            return  # the browser is gone, or the journal is: the browser will ask again

    def namespace_of(self, key: str) -> str:
        """The namespace of a model key; a laptop's journal has few namespaces. Raises UnknownModel."""
        for namespace in sorted({namespace for namespace, _ in self.journal.places().values()}):
            if key in self.journal.audit.models(namespace):
                return namespace
        raise UnknownModel(f"There must be a model {key!r} here, but there is none.")

    def page(self, path: str, query: dict[str, list[str]]) -> str:
        """The page at a path, as HTML. Raises NotDone, and errors of the journal."""
        parts = [unquote(part) for part in path.strip("/").split("/") if part]
        match parts:
            case []:
                return list_page(self.frame, self.journal.live.lines(None))
            case ["searches", search]:
                watched = self.journal.live.watched(None, search)
                return search_page(self.frame, SearchView(watched, more=self.figures(self.journal, watched)))
            case ["models"]:
                spaces = sorted({namespace for namespace, _ in self.journal.places().values()})
                return models_page(self.frame, [key for space in spaces for key in self.journal.audit.models(space)])
            case ["models", key]:
                return self._model(key, query)
        raise NotDone(404, "There is no such page.")

    def part(self, path: str) -> tuple[str, bool]:
        """The part of a page that changes, and whether it has changed for the last time."""
        parts = [unquote(part) for part in path.strip("/").split("/") if part]
        if parts == ["stream"]:
            return list_part(self.frame, self.journal.live.lines(None)), False
        watched = self.journal.live.watched(None, parts[1])
        view = SearchView(watched, more=self.figures(self.journal, watched))
        return search_part(self.frame, view), view.is_over

    def _model(self, key: str, query: dict[str, list[str]]) -> str:
        audit, where = self.journal.audit, {"namespace": self.namespace_of(key), "model_key": key}
        rows = audit.history(**where)
        return model_page(
            self.frame, key, rows, audit.blessings(**where), in_use=self._in_use(where), compared=_compared(rows, query)
        )

    def _in_use(self, where: dict[str, str]) -> int | None:
        try:
            return self.journal.audit.blessed(**where).version
        except NotBlessed:
            return None

    def report(self, key: str, version: str) -> bytes:
        """The report of a version, as its search wrote it."""
        row = self.journal.audit.version(
            namespace=self.namespace_of(key), model_key=key, version=int(version) if version.isdigit() else 0
        )
        try:
            return (self.folder / SEARCHES_FOLDER / row.search_id / REPORT_FILE).read_bytes()
        except OSError:
            raise NotDone(404, f"Version {row.version} of {key} has no report.") from None

    def act(self, path: str, form: dict[str, list[str]]) -> str:
        """Bless or roll back; returns the address of the next page."""
        parts = [unquote(part) for part in path.strip("/").split("/")]
        why = form.get("why", [""])[0].strip()[:_MOST_WHY]
        if len(parts) != 3 or parts[0] != "models" or parts[2] not in {"bless", "rollback"}:
            raise NotDone(404, "There is no such page.")
        key, where = parts[1], {"namespace": self.namespace_of(parts[1]), "model_key": parts[1]}
        if not why:
            raise NotDone(422, "A reason must be given, but none was.")
        if parts[2] == "bless":
            version = form.get("version", [""])[0]
            self.journal.audit.bless(**where, version=int(version) if version.isdigit() else 0, who=self.who, why=why)
        else:
            self.journal.audit.rollback(**where, who=self.who, why=why)
        return f"/models/{quote(key, safe='')}"


def _compared(rows: list[AuditRow], query: dict[str, list[str]]) -> tuple[AuditRow, AuditRow] | None:
    by_number = {str(row.version): row for row in rows}
    sides = [by_number.get(query.get(name, [""])[0]) for name in ("before", "after")]
    return (sides[0], sides[1]) if sides[0] is not None and sides[1] is not None else None
