"""The pages as HTML. Jinja2 escapes all that comes from a search; script and style are ours, named by their digests."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from tuningjob.live.figures import progress_of, timeline_of
from tuningjob.live.maps import MapSoFar, map_figure
from tuningjob.live.records import SearchLine, WatchedSearch
from tuningjob.live.story import ObjectStory
from tuningjob.protocol.audit import AuditRow, Blessing

_LONGEST: Final = 400
_DIGEST: Final = 12


@dataclass(frozen=True)
class PageFrame:
    """The surroundings of a page. ``root`` is the address of all pages, with a slash at its end.

    ``csrf`` is the token that a form must carry; it is empty if the reader may change nothing. ``everywhere``: the address of the
    list of all namespaces, if there is one; without a ``namespace`` the page is that list.
    """

    root: str
    namespace: str
    csrf: str = ""
    everywhere: str = ""

    def root_of(self, namespace: str) -> str:
        """The address of the pages of another namespace."""
        return self.root if self.namespace else f"/v1/namespaces/{namespace}/ui/"


@dataclass(frozen=True)
class SearchView:
    """One search, and what is known of it besides its journal: the TuningJob's ``story``, a map, and ``more`` figures as HTML."""

    search: WatchedSearch
    story: ObjectStory | None = None
    so_far: MapSoFar | None = None
    more: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing of the search will change any more."""
        return self.search.line.is_over and (self.story is None or self.story.is_over)


def list_page(frame: PageFrame, lines: Sequence[SearchLine]) -> str:
    """The searches of a namespace, or of all namespaces that the reader may see; the newest first."""
    title = f"Searches in {frame.namespace}" if frame.namespace else "Searches in all namespaces"
    return _page("list", frame, title, lines=lines, stream=f"{frame.root}stream")


def list_part(frame: PageFrame, lines: Sequence[SearchLine]) -> str:
    """The part of the list's page that changes."""
    return _part("list", frame, lines=lines)


def search_page(frame: PageFrame, view: SearchView) -> str:
    """The page of one search."""
    line = view.search.line
    stream = "" if view.is_over else f"{frame.root}searches/{line.id}/stream"
    return _page("search", frame, line.name, stream=stream, **_of(view))


def search_part(frame: PageFrame, view: SearchView) -> str:
    """The part of a search's page that changes."""
    return _part("search", frame, **_of(view))


def _of(view: SearchView) -> dict[str, Any]:
    search = view.search
    found = None if view.so_far is None else map_figure(view.so_far)
    figures = [figure for figure in (found, progress_of(search), timeline_of(search)) if figure is not None]
    return {
        "search": search,
        "story": view.story,
        "figures": figures,
        "more": Markup(view.more),  # noqa: S704  drawn by tuningjob.report
        "left": _told_time(search.seconds_left),
        "params": [f"{name}={_shown(value)}" for name, value in sorted(search.best_params.items())],
    }


def models_page(frame: PageFrame, keys: Sequence[str]) -> str:
    """The model keys of a namespace."""
    return _page("models", frame, f"Models of {frame.namespace}", keys=keys, stream="")


def model_page(
    frame: PageFrame,
    key: str,
    rows: Sequence[AuditRow],
    blessings: Sequence[Blessing],
    *,
    in_use: int | None,
    compared: tuple[AuditRow, AuditRow] | None = None,
) -> str:
    """The versions of a model key, the one in use and who blessed it; and two versions side by side."""
    return _page(
        "model",
        frame,
        key,
        key=key,
        rows=list(reversed(rows)),
        blessings=list(reversed(blessings)),
        in_use=in_use,
        compared=compared,
        differences=[] if compared is None else _differences(*compared),
        stream="",
        shown=lambda params: ", ".join(f"{name}={_shown(value)}" for name, value in sorted(params.items())),
    )


def refusal_page(sentence: str) -> str:
    """The page that says why something was not done."""
    return _page("refusal", PageFrame("", ""), "Not done", sentence=sentence, stream="")


def security_headers() -> dict[str, str]:
    """The headers of every page: only its own script and style, no frame around it, no caching."""
    policy = (
        f"default-src 'none'; script-src '{_digest(_script())}'; style-src '{_digest(_style())}'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cache-Control": "no-store",
        "Cross-Origin-Opener-Policy": "same-origin",
    }


# a file that a search wrote: its script runs, but as one of another origin, with no access to this site
REPORT_HEADERS: Final = {
    "Content-Security-Policy": "sandbox allow-scripts; default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def stream_event(part: str) -> bytes:
    """A part as a server-sent event."""
    return b"".join(b"data: " + line.encode() + b"\n" for line in part.splitlines()) + b"\n"


def _differences(before: AuditRow, after: AuditRow) -> list[tuple[str, str, str]]:
    sides = [_flat(row) for row in (before, after)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    return [
        (name, sides[0].get(name, "—"), sides[1].get(name, "—"))
        for name in names
        if sides[0].get(name) != sides[1].get(name)
    ]


def _flat(row: AuditRow) -> dict[str, str]:
    found = {f"params.{name}": _shown(value) for name, value in sorted(row.best_params.items())}
    found |= {
        "score": repr(row.score),
        "metric": row.metric,
        "fits": f"{row.fits:,}",
        "failed fits": f"{row.failed_fits:,}",
        **({"pruned fits": f"{row.pruned_fits:,}"} if row.pruned_fits else {}),
    }
    digests = {"data": row.data_digest, "splits": row.split_digest, "estimator": row.estimator_digest}
    found |= {name: digest[:_DIGEST] for name, digest in digests.items() if digest}
    found |= {"image": row.image, "by": row.created_by, "seconds": f"{row.duration_seconds:.1f}"}
    return found | {f"versions.{name}": number for name, number in sorted(row.versions.items())}


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, default=str)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _told_time(seconds: float | None) -> str:
    return "" if seconds is None else str(timedelta(seconds=round(min(seconds, 1e8))))


def _page(kind: str, frame: PageFrame, title: str, **found: object) -> str:
    style, script = Markup(_style()), Markup(_script())  # noqa: S704  our own files
    return _template().render(kind=kind, frame=frame, title=title, style=style, script=script, is_whole=True, **found)


def _part(kind: str, frame: PageFrame, **found: object) -> str:
    return _template().render(kind=kind, frame=frame, is_whole=False, **found)


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _style() -> str:
    # the report's own, so that both look the same
    shared = (files("tuningjob.report") / "assets" / "report.css").read_text(encoding="utf-8")
    return shared + (files("tuningjob.live") / "assets" / "live.css").read_text(encoding="utf-8")


@cache
def _script() -> str:
    return (files("tuningjob.live") / "assets" / "live.js").read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["when"] = lambda at: "" if at is None else at.strftime("%Y-%m-%d %H:%M:%S")
    environment.filters["moment"] = lambda at: at[:19].replace("T", " ")
    return environment.from_string((files("tuningjob.live") / "assets" / "live.html.j2").read_text(encoding="utf-8"))
