"""The candidates of the page's table, as columns, so that a file with 20,000 of them opens at once."""

import json
import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from tuningjob.aliases import Json
from tuningjob.report.axes import ParameterAxis
from tuningjob.report.spelling import Spelled
from tuningjob.report.table import Floats, Ints, ResultTable
from tuningjob.report.words import cut

MOST_WHOLE: Final = 20_000
_LONGEST: Final = 300


@dataclass(frozen=True)
class Chosen:
    """The candidates of the table, the best first, and a sentence about those that it leaves out."""

    rows: Ints
    told: str

    def half(self, size: int) -> "Chosen":
        """The better half of the candidates; ``size`` is the number of all."""
        rows = self.rows[: len(self.rows) // 2]
        return Chosen(
            rows,
            f"Of {size:,} candidates these are the best {len(rows):,} of a file that was too large. cv_results.csv has all.",
        )


def chosen_of(table: ResultTable, most: int = MOST_WHOLE) -> Chosen:
    """All candidates; of more than ``most``, the best quarter of that number and an equal sample of the others, by a seed."""
    means = np.where(table.failed, -np.inf, table.means)
    order = np.argsort(-means, kind="stable")
    if order.size <= most:
        return Chosen(order, "")
    some = most // 4
    rest = np.sort(np.random.default_rng(0).choice(np.arange(some, order.size), some, replace=False))
    told = f"Of {order.size:,} candidates these are the best {some:,} and a sample of {some:,} others. cv_results.csv has all."
    return Chosen(order[np.concatenate([np.arange(some), rest])], told)


def data_of(table: ResultTable, chosen: Chosen) -> str:
    """The candidates as JSON that cannot end an element of HTML: ``<``, ``>`` and ``&`` are escaped."""
    rows = chosen.rows
    axes = [_axis(axis, rows) for axis in table.axes]
    columns: list[dict[str, Any]] = [
        {"name": f"mean {metric.told}", "values": _numbers(metric.means[rows])} for metric in table.metrics
    ]
    columns.append({"name": "standard error", "values": _numbers(table.metric.errors[rows], digits=3)})
    if table.gaps is not None:
        columns.append({"name": "train − test", "values": _numbers(table.gaps[rows], digits=3)})
    columns.append({"name": "fit seconds", "values": _numbers(table.fit_seconds[rows], digits=3)})
    near = set(table.near.tolist())
    data = {
        "best": table.best,
        "rows": rows.tolist(),
        "near": [row for row in rows.tolist() if row in near],
        "axes": axes,
        "columns": columns,
    }
    written = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return written.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _axis(axis: ParameterAxis, rows: Ints) -> dict[str, Json]:
    """The values that these candidates have, and the code of each candidate; -1: not set."""
    used, codes = np.unique(axis.codes[rows], return_inverse=True)
    unset = int((used < 0).sum())  # not set is the first code, if there is one
    levels = [_level(axis.levels[code]) for code in used[unset:].tolist()]
    return {"name": axis.name, "levels": levels, "codes": (codes.reshape(-1) - unset).tolist()}


def _level(level: Spelled) -> list[str]:
    """The value as Python, and as YAML if that differs."""
    texts = cut(level.python, _LONGEST), cut(level.yaml, _LONGEST)
    return list(dict.fromkeys(texts))


def _numbers(values: Floats, digits: int = 5) -> list[float | None]:
    """The numbers with five digits, for people; cv_results.csv has all digits."""
    return [float(f"{value:.{digits}g}") if math.isfinite(value) else None for value in values.tolist()]
