"""Makes the report of a search from its files, if a release wrote them that made no reports."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tuningjob import __version__
from tuningjob.answers import read_results
from tuningjob.manifest.wellknown import BEST_PARAMS_FILE, LEADERBOARD_FILE, PRUNED_COLUMN
from tuningjob.report.judged import judge
from tuningjob.report.page import Provenance, render_page
from tuningjob.report.table import Origin, ResultTable, table_of
from tuningjob.search.judgement import in_manifest
from tuningjob.search.results import ResultTexts
from tuningjob.search.written import to_literals


def judged_again(path: Path) -> ResultTexts:
    """The report on ``cv_results.csv`` or ``.parquet``, with the files beside it."""
    found = judge(table_again(path))
    return ResultTexts(found.text, render_page(found, Provenance(__version__, [("from", path.name)])))


def table_again(path: Path, *, name: str = "") -> ResultTable:
    """The results in ``cv_results.csv`` or ``.parquet``; the files beside it give the answer and the metric that decides.

    ``name`` is the search's; by default the folder's.
    """
    frame = read_results(path)
    table: dict[str, Any] = {
        str(name): _masked(frame[name]) if str(name).startswith("param_") else frame[name].to_numpy()
        for name in frame.columns
    }
    table["params"] = list(frame["params"])
    metric = _metric_of(path.with_name(LEADERBOARD_FILE), table)
    best = _best_of(path.with_name(BEST_PARAMS_FILE), table, metric)
    ran = ~table[PRUNED_COLUMN] if PRUNED_COLUMN in table else np.ones(len(frame), dtype=bool)
    failed = int(
        sum(
            np.isnan(table[name][ran]).sum()
            for name in table
            if name.startswith("split") and name.endswith(f"_test_{metric}")
        )
    )
    origin = Origin(name=name or path.absolute().parent.name, failed_fits=failed)
    return table_of(table, best, metric=metric, origin=origin, speller=in_manifest)


def _masked(column: "pd.Series[Any]") -> "np.ma.MaskedArray[Any, Any]":
    """A column of parameters, masked for candidates that do not set one, as in scikit-learn's own."""
    values = np.empty(len(column), dtype=object)
    absent = np.zeros(len(column), dtype=bool)
    for i, value in enumerate(column):
        values[i], absent[i] = value, value is pd.NA
    return np.ma.MaskedArray(values, mask=absent)


def _metric_of(leaderboard: Path, table: dict[str, Any]) -> str:
    """The metric that decides, because the leaderboard begins with its rank."""
    names = [name.removeprefix("rank_test_") for name in table if name.startswith("rank_test_")]
    try:
        with leaderboard.open(encoding="utf-8") as file:
            told = file.readline().partition(",")[0].removeprefix("rank_test_")
    except OSError:
        told = ""
    return told if told in names else names[0]


def _best_of(best_params: Path, table: dict[str, Any], metric: str) -> int:
    """The candidate that was chosen; if that is unknown, the one with the highest mean."""
    try:
        wanted = json.loads(best_params.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        wanted = None
    by_rank = int(table[f"rank_test_{metric}"].argmin())
    others = (i for i, params in enumerate(table["params"]) if to_literals(params) == wanted)
    return by_rank if to_literals(table["params"][by_rank]) == wanted else next(others, by_rank)
