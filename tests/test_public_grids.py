"""The benchmark of published grids: what it compares, what it keeps, and what its page says."""

from pathlib import Path

import pytest

from benchmarks.public_grids.grids import read
from benchmarks.public_grids.page import markdown, summary
from benchmarks.public_grids.rows import Row, differing, is_enough, part_run, read_rows, write_rows
from benchmarks.public_grids.sides import FORKED, LOKY, PRUNED, STOCK, Found


def found(*scores: str, best: str = "1") -> Found:
    return Found(seconds=1.0, best=[best], results={"split0_test_score": ["ndarray float64", *scores]})


def row(number: int, **seconds: float) -> Row:
    names = {"stock": STOCK, "forked": FORKED, "loky": LOKY, "pruned": PRUNED}
    return Row(
        number=number, when="today", oracle=2.0, seconds={side: [seconds[name]] * 2 for name, side in names.items()}
    )


def test_what_is_pruned_may_lack_scores_and_differ_in_nothing_else() -> None:
    want = found("0.5", "0.75")
    assert differing(want, found("0.5", "0.75")) == []
    assert differing(want, found("nan", "0.75"), is_pruned=True) == []
    assert len(differing(want, found("nan", "0.75"))) == 1
    assert differing(want, found("0.25", "0.75"), is_pruned=True) == ["score: 0.25, not 0.5"]
    assert differing(want, found("nan", "0.75", best="0"), is_pruned=True) == ["best: 0, not 1"]
    assert differing(want, Found(seconds=1.0, error="too much")) == ["raised 'too much', not None"]


def test_a_fit_that_fails_was_run_and_is_not_counted_as_pruned() -> None:
    want = found("0.5", "0.75", "nan", "0.25")
    assert part_run(want, found("0.5", "nan", "nan", "0.25")) == 0.75


def test_the_first_search_is_told_apart_from_the_later_ones() -> None:
    measured = row(0, stock=2.0, forked=1.0, loky=2.0, pruned=0.5)
    measured.seconds[STOCK] = [6.0, 2.0, 3.0, 4.0]
    assert measured.ratio(FORKED) == 3.0
    assert measured.ratio(FORKED, first=True) == 6.0
    measured.seconds[PRUNED] = []
    assert measured.ratio(PRUNED) is None


def test_a_short_search_is_repeated_until_its_processes_are_there_and_a_long_one_once() -> None:
    assert is_enough([100.0])
    assert not is_enough([10.0])
    assert is_enough([10.0, 6.0])
    assert not is_enough([3.0, 2.0, 2.0])
    assert is_enough([3.0, 2.0, 2.0, 2.0])
    assert not is_enough([0.1, 0.1, 0.1, 0.1])


def test_rows_are_kept_from_one_run_to_the_next_and_the_page_has_all_of_them(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    assert read_rows(file) == {}
    rows = {number: row(number, stock=2.0, forked=1.0, loky=4.0, pruned=0.5) for number in (3, 0)}
    write_rows(rows, file)
    assert read_rows(file) == rows
    page = markdown(read(), read_rows(file))
    assert "2 of 87 grids. Measured: today." in page
    assert "forked, later searches: geometric mean 2.00 of 2, least 2.00, below 1.0: 0" in page
    assert "joblib's processes, later searches: geometric mean 0.50 of 2, least 0.50, below 1.0: 2" in page
    assert "Every result was equal to scikit-learn's to the bit." in page


@pytest.mark.parametrize("what", ["error", "refused"])
def test_grids_whose_fits_fail_or_whose_scores_have_no_bound_are_counted_apart(what: str) -> None:
    other = row(1, stock=1.0, forked=1.0, loky=1.0, pruned=1.0)
    setattr(other, what, "no")
    said = summary([row(0, stock=2.0, forked=1.0, loky=1.0, pruned=1.0), other])
    assert any(("Of 1 grids every fit fails" if what == "error" else "The scores of 1 grids") in line for line in said)
