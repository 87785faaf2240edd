"""``report.html``: verdict, advice, figures and candidates as one file, with a policy that lets nothing else in.

All that comes from a search is escaped by Jinja2, or is in JSON that cannot end an element. Script and style are this package's
own files, and the policy names them by their digests.
"""

import base64
import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Final

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from tuningjob.report.candidates import MOST_WHOLE, chosen_of, data_of
from tuningjob.report.drawing.all import figures_of
from tuningjob.report.drawing.svg import Figure
from tuningjob.report.judged import Judgement
from tuningjob.report.spelling import one_line
from tuningjob.report.table import ResultTable
from tuningjob.report.words import assigned, counted, cut, duration, params_in_words, score

_ASSETS: Final = "assets"
_MOST_DATA: Final = 6_000_000  # letters: parameters may be long
_WITHOUT_SCRIPT: Final = 50  # candidates that are there if no script runs, and on paper


@dataclass(frozen=True)
class Provenance:
    """The origin of results. ``about``: names and texts; ``manifest``: the spec, as text."""

    version: str = ""
    about: Sequence[tuple[str, str]] = ()
    manifest: str = ""


@dataclass(frozen=True)
class Tile:
    """One number of the verdict, shown large."""

    name: str
    value: str
    note: str = ""


def render_page(judgement: Judgement, provenance: Provenance | None = None, *, most: int = MOST_WHOLE) -> str:
    """The page. Its table has the best and a sample if there are more than ``most`` candidates."""
    table, verdict = judgement.table, judgement.verdict
    provenance = provenance or Provenance()
    script, style = _asset("report.js"), _asset("report.css")
    chosen = chosen_of(table, most)
    data = data_of(table, chosen)
    while len(data) > _MOST_DATA and chosen.rows.size > _WITHOUT_SCRIPT:
        chosen = chosen.half(table.size)
        data = data_of(table, chosen)
    few = [
        (
            str(row),
            score(float(table.means[row]), table.error) if not table.failed[row] else table.why_no_mean(row),
            params_in_words(table, row),
        )
        for row in chosen.rows[:_WITHOUT_SCRIPT].tolist()
    ]
    return _template().render(
        policy=_policy(script, style),
        title=cut(table.origin.name, 200) or "Search",
        subtitle=f"{counted(table.size, 'candidate')} × {counted(table.splits, 'split')}, by {cut(table.metric.told)}",
        style=Markup(style),  # noqa: S704  our own file
        script=Markup(script),  # noqa: S704  our own file
        tiles=_tiles(judgement),
        best_params=[assigned(axis, code) for axis, code in table.params(table.best)],
        verdict=verdict,
        advice=judgement.advice,
        figures=figures_of(table),
        chosen=chosen,
        few=few,
        data=Markup(data),  # noqa: S704  JSON without < > &
        about=[(one_line(name), one_line(value)) for name, value in provenance.about],
        manifest="\n".join(map(one_line, provenance.manifest.splitlines())),
        version=provenance.version,
    )


def render_figures(table: ResultTable) -> str:
    """Only the figures, each with its table, for a page with this one's style and without its script for maps."""
    return _template("figures.html.j2").render(figures=figures_of(table))


def render_plain(title: str, told: Sequence[str], figures: Sequence[Figure] = ()) -> str:
    """A page of sentences, for results without a verdict."""
    style = _asset("report.css")
    drawn = _template("figures.html.j2").render(figures=figures)
    return _template("plain.html.j2").render(
        policy=f"default-src 'none'; style-src '{_digest(style)}'; base-uri 'none'; form-action 'none'",
        title=cut(title, 200) or "No verdict",
        told=[one_line(each) for each in told],
        style=Markup(style),  # noqa: S704  our own file
        figures=Markup(drawn) if figures else "",  # noqa: S704  escaped where it was drawn
    )


def _tiles(judgement: Judgement) -> list[Tile]:
    table, verdict = judgement.table, judgement.verdict
    tiles = []
    if math.isfinite(verdict.mean):
        error = verdict.error if table.splits > 1 else math.nan
        tiles.append(
            Tile(
                cut(table.metric.told),
                score(verdict.mean, error),
                f"± {error:.2g} standard error" if math.isfinite(error) else "",
            )
        )
    for gain in verdict.gains[:2]:
        if math.isfinite(gain.mean):
            note = "surely better" if gain.is_sure else "not surely better"
            tiles.append(
                Tile(
                    f"gain over {cut(gain.over)}",
                    f"{'+' if gain.mean > 0 else ''}{score(gain.mean, gain.error)}",
                    f"± {gain.error:.2g}; {note}" if math.isfinite(gain.error) else note,
                )
            )
    if table.splits > 1 and verdict.near:
        tiles.append(Tile("within one standard error", f"{verdict.near:,}", f"of {counted(table.size, 'candidate')}"))
    failed = f", {verdict.failed_fits:,} failed" if verdict.failed_fits else ""
    failed += f", {table.pruned_fits:,} pruned" if table.pruned_fits else ""
    tiles.append(Tile("cost", duration(verdict.seconds), f"{verdict.fits:,} fits, summed{failed}"))
    return tiles


def _policy(script: str, style: str) -> str:
    """The policy that allows this script and this style, by their digests, and no requests."""
    ours = f"script-src '{_digest(script)}'; style-src '{_digest(style)}'"
    return f"default-src 'none'; {ours}; base-uri 'none'; form-action 'none'"


def _digest(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@cache
def _asset(name: str) -> str:
    return (files("tuningjob.report") / _ASSETS / name).read_text(encoding="utf-8")


@cache
def _template(name: str = "report.html.j2") -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    return environment.from_string(_asset(name))
