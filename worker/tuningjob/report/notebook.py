"""The report of a search in memory, which a notebook shows."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from markupsafe import Markup

from tuningjob.report.judged import Judgement, judge
from tuningjob.report.page import Provenance, render_page
from tuningjob.report.table import Origin, table_of

# A notebook's file keeps what it shows, which must not be all of 20,000 candidates.
_MOST_SHOWN: Final = 1_000
_HEIGHT: Final = 780


@dataclass(frozen=True, eq=False)
class SearchReport:
    """The report of a search: as text, as a page, and as the output of a notebook's cell that ends with it."""

    judgement: Judgement
    provenance: Provenance

    def __str__(self) -> str:
        return self.judgement.text

    @property
    def html(self) -> str:
        """The whole page: ``report.html``."""
        return render_page(self.judgement, self.provenance)

    def save(self, path: str | Path) -> None:
        """Write the page to a file, which needs no other file."""
        Path(path).write_text(self.html, encoding="utf-8")

    def _repr_html_(self) -> str:
        # in a frame of its own, because its style must not reach the notebook, nor its script
        page = render_page(self.judgement, self.provenance, most=_MOST_SHOWN)
        return Markup(
            '<iframe srcdoc="{}" sandbox="allow-scripts" width="100%" height="{}" title="{}"></iframe>'
        ).format(str(page), _HEIGHT, "What came of the search")


def report_of(
    cv_results: Mapping[str, Any],
    best: int | None,
    *,
    metric: str,
    told: str,
    name: str,
    defaults: Mapping[str, Any],
    refit_seconds: float | None,
    may_be: Callable[[str, float], bool],
    provenance: Provenance,
) -> SearchReport:
    """The report of ``cv_results_``; ``best`` is None if the search chose none, and the highest mean then counts."""
    index = int(np.asarray(cv_results[f"rank_test_{metric}"]).argmin()) if best is None else best
    origin = Origin(name=name, defaults=defaults, refit_seconds=refit_seconds, may_be=may_be)
    return SearchReport(judge(table_of(cv_results, index, metric=metric, told=told, origin=origin)), provenance)
