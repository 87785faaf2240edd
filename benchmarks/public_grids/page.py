"""The page of the public grids: a line for each, the means, and how the ratios are distributed."""

from collections.abc import Sequence
from statistics import geometric_mean, quantiles
from typing import Final

from benchmarks.public_grids.grids import FEW_ROWS, MOST_MEMBERS, Grid
from benchmarks.public_grids.rows import ENOUGH_SECONDS, LONG_SECONDS, Row
from benchmarks.public_grids.sides import FORKED, LOKY, PRUNED, SIDES

_HEADINGS: Final = (
    "", "grid", "fits", "scikit-learn", "forked", "joblib's", "pruned", "ratio, forked", "ratio, joblib's", "ratio, pruned",
    "first, forked", "first, joblib's", "oracle", "ratio ÷ oracle", "fits left by pruning", "exact",
)  # fmt: skip
_PATHS: Final = {FORKED: "forked", LOKY: "joblib's processes", PRUNED: "forked, prune='certain'"}
_HOW: Final = """\
How it was measured: `n_jobs=2` and `refit=False` on all sides, one BLAS and OpenMP thread; each grid on each side in a process of
its own, in turn (A B C D, D C B A, …). **forked** is ours in a process with one thread, **joblib's** in one with another thread,
as a notebook has; **pruned** is forked with `prune="certain"`. Seconds and ratios are medians of the searches after the first: of
five, or of three once scikit-learn's have taken {enough:.0f} s; where one takes so long, of that one; and where the first
took {long:.0f} s there is no other. **first** is the first search of a process, in which joblib's processes start. Data are
scikit-learn's, of a suitable kind; estimators have a seed. Where scikit-learn would fit more than {members} members of ensembles,
the table has {rows} rows, and only the first folds are searched.

**exact**: every column of `cv_results_` but the times was equal to scikit-learn's to the bit, in every repetition; where it is
pruned, the index, the score and the parameters of the best, and every score that was computed.

**oracle**: the candidates' work ÷ the work that differs, by a model that `benchmarks/worth.py` states: members of ensembles,
distinct fits; fits that fail cost nothing. It counts neither overhead nor scoring, nor depths that no tree reaches: a yardstick,
not a bound.
"""


def cells_of(grid: Grid, row: Row) -> list[str]:
    """A line of the table."""
    folds = f"{grid.folds}" if grid.folds == grid.cv else f"{grid.folds} of {grid.cv}"
    return [
        f"{grid.number}",
        grid.name,
        f"{len(grid.candidates)} × {folds}{', few rows' if grid.is_small else ''}",
        *(_number(row.of(side), " s") for side in SIDES),
        *(_number(row.ratio(side)) for side in (FORKED, LOKY, PRUNED)),
        *(_number(row.ratio(side, first=True)) for side in (FORKED, LOKY)),
        _number(row.oracle),
        _number(row.part),
        "refused" if row.refused else _number(row.ran),
        "no" if row.problems else "all fail" if row.error else "yes",
    ]


def summary(rows: Sequence[Row]) -> list[str]:
    """Means, the least, and how the ratios are distributed, for each path, later searches and first ones."""
    lines = []
    passing = [row for row in rows if not row.error]
    for first, when in ((False, "later searches"), (True, "the first search of a process")):
        for side, path in _PATHS.items():
            found = [ratio for row in passing if (ratio := row.ratio(side, first=first)) is not None]
            lines += _distribution(f"{path}, {when}", found)
    lines += _distribution("ratio ÷ oracle, forked", [part for row in passing if (part := row.part) is not None])
    failing, refused = len(rows) - len(passing), sum(row.refused is not None for row in rows)
    if failing:
        lines.append(
            f"Of {failing} grids every fit fails today, with scikit-learn's error on all sides; they count in no mean."
        )
    if refused:
        lines.append(
            f"The scores of {refused} grids have no upper bound that is known, so `prune` is refused for them."
        )
    problems = [f"{row.number}: {problem}" for row in rows for problem in row.problems]
    return [*lines, *(problems or ["Every result was equal to scikit-learn's to the bit."])]


def _distribution(name: str, ratios: Sequence[float]) -> list[str]:
    if len(ratios) < 2:
        return []
    tenths = quantiles(ratios, n=10, method="inclusive")  # these are all, and no sample
    spread = ", ".join(f"{tenths[at]:.2f}" for at in (0, 2, 4, 6, 8))
    below = sum(ratio < 1 for ratio in ratios)
    mean = f"geometric mean {geometric_mean(ratios):.2f} of {len(ratios)}, least {min(ratios):.2f}, below 1.0: {below}"
    return [f"{name}: {mean}; tenths 1, 3, 5, 7, 9: {spread}; most {max(ratios):.1f}."]


def markdown(grids: Sequence[Grid], rows: dict[int, Row]) -> str:
    """The page of all rows that there are."""
    shown = [grid for grid in grids if grid.number in rows]
    table = [
        list(_HEADINGS),
        ["---:", "---"] + ["---:"] * (len(_HEADINGS) - 2),
        *(cells_of(grid, rows[grid.number]) for grid in shown),
    ]
    whens = dict.fromkeys(rows[grid.number].when for grid in shown)
    parts = [
        "# Public grids against scikit-learn's search",
        (
            f"Made by `make bench-public-grids`; do not edit. {len(shown)} of {len(grids)} grids. Measured: "
            f"{'; '.join(whens)}. Their seconds are in public-grids.json."
        ),
        "\n".join(f"- {line}" for line in summary([rows[grid.number] for grid in shown])),
        "\n".join(f"| {' | '.join(cells)} |" for cells in table),
        _HOW.format(enough=ENOUGH_SECONDS, long=LONG_SECONDS, members=f"{MOST_MEMBERS:,}", rows=FEW_ROWS),
    ]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _number(value: float | None, unit: str = "") -> str:
    return "–" if value is None else f"{value:.2f}{unit}"
