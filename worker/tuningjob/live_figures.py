"""The report's figures for a search that still runs, of what is in by now."""

import math
from collections import OrderedDict
from typing import Any, Final

import numpy as np

from tuningjob.aliases import Json
from tuningjob.errors import ManifestRefused
from tuningjob.journal.sql import SqlJournal
from tuningjob.live.records import WatchedSearch
from tuningjob.manifest import load_spec
from tuningjob.manifest.grid import Grid
from tuningjob.manifest.wellknown import PRUNED_COLUMN
from tuningjob.protocol.records import SearchRecord
from tuningjob.report.page import render_figures
from tuningjob.report.table import ResultTable, table_of

_MOST_CANDIDATES: Final = 5_000
_MOST_KEPT: Final = 16
_kept: "OrderedDict[str, tuple[int, str]]" = OrderedDict()


def figures_while_it_runs(journal: SqlJournal, search: WatchedSearch) -> str:
    """The figures as HTML; empty if there is no grid, if it is too large, or if no results are in. New results redraw them."""
    kept = _kept.get(search.line.id)
    if kept is not None and kept[0] == search.line.done:
        return kept[1]
    table = table_so_far(journal, search)
    drawn = "" if table is None else render_figures(table)
    _kept[search.line.id] = (search.line.done, drawn)
    while len(_kept) > _MOST_KEPT:
        _kept.popitem(last=False)
    return drawn


def table_so_far(journal: SqlJournal, search: WatchedSearch) -> ResultTable | None:
    """The results by now. A candidate has a score once all its splits are in; None if no candidate has one."""
    view = journal.view(search.line.id)
    record = view.search()
    grid = _grid_of(record)
    if grid is None or not search.line.done:
        return None
    size, splits = grid.size, record.splits
    columns: dict[str, Any] = {}
    pruned = np.zeros(size, dtype=bool)
    for cell in view.results():
        if cell.candidate < size:
            pruned[cell.candidate] |= cell.pruned
            scores = {f"split{cell.split}_test_{key}": score for key, score in cell.test_scores.items()}
            for name, value in {
                **scores,
                f"fit{cell.split}": cell.fit_seconds,
                f"score{cell.split}": cell.score_seconds,
            }.items():
                columns.setdefault(name, np.full(size, np.nan))[cell.candidate] = value
    keys = [name.removeprefix("split0_test_") for name in columns if name.startswith("split0_test_")]
    whole = {key: [columns.get(f"split{split}_test_{key}") for split in range(splits)] for key in keys}
    known = {key: np.asarray(folds) for key, folds in whole.items() if all(fold is not None for fold in folds)}
    if not known or not any(np.isfinite(folds.mean(axis=0)).any() for folds in known.values()):
        return None
    params = [{name: _plain(value) for name, value in grid.json_at(i).items()} for i in range(size)]
    results: dict[str, Any] = {"params": params}
    results |= {f"param_{name}": None for name in sorted({name for each in params for name in each})}
    for key, folds in known.items():
        results |= {f"split{split}_test_{key}": fold for split, fold in enumerate(folds)}
        results[f"mean_test_{key}"] = folds.mean(axis=0)
    for told, name in (("fit", "mean_fit_time"), ("score", "mean_score_time")):
        times = [columns[f"{told}{split}"] for split in range(splits) if f"{told}{split}" in columns]
        results[name] = np.asarray(times).mean(axis=0)
    if pruned.any():
        results[PRUNED_COLUMN] = pruned
    first = next(iter(known))
    means = results[f"mean_test_{first}"]
    return table_of(
        results, int(np.where(np.isnan(means), -math.inf, means).argmax()), metric=first, told=search.metric
    )


def _grid_of(record: SearchRecord) -> Grid | None:
    try:
        spec = load_spec(record.spec)
        space = spec.search.space
    except ManifestRefused:  # the spec is of another release
        return None
    if not isinstance(space, Grid) or spec.search.has_stages or not 0 < space.size <= _MOST_CANDIDATES:
        return None
    return space


def _plain(value: Json) -> Json:
    """A literal for display: a number or a text as itself, anything else as the manifest writes it."""
    if isinstance(value, dict) and value == {"none": True}:
        return None
    return value if isinstance(value, bool | int | float | str) or value is None else str(value)
