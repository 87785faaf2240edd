"""The pictures of a search that runs: the map says what is in, what failed and what is to come; a fit's story is on its bar."""

import datetime as dt
import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from tests.journal.makers import NOON
from tuningjob.live.figures import progress_of, timeline_of
from tuningjob.live.maps import FAILED_OR_PRUNED, MapCell, map_figure, map_so_far
from tuningjob.live.pages import PageFrame, SearchView, search_part
from tuningjob.live.records import CellMark, NotedDeath, SearchLine, WatchedSearch
from tuningjob.manifest.grid import parse_grid

HOSTILE = "</title><script>alert(1)</script>\"'&"
GRID: dict[str, Any] = {"C": [1, 10, 100], "gamma": [0.1, "scale"], "kernel": [{"none": True}]}


def texts(picture: Markup) -> list[str]:
    """The titles of a picture, which must be XML that stands alone."""
    return [each.text or "" for each in ET.fromstring(str(picture)).iter("title")]


def test_a_map_tells_what_is_in_what_failed_and_what_is_still_to_come() -> None:
    grid = parse_grid({**GRID, "tol": [1, 2]})
    means = {0: 0.5, 1: 0.7, 2: None, 3: None, 4: 0.9}
    found = map_so_far(grid, means)
    assert found is not None
    assert found.down is not None
    assert (found.down.name, found.down.values) == ("gamma", ("0.1", "scale"))
    assert (found.across.name, found.across.values) == ("C", ("1", "10", "100"))
    assert [[str(cell) for cell in row] for row in found.cells] == [
        ["0.7", "0.9 (1 of 2 in)", "still to come"],
        ["failed", "still to come", "still to come"],
    ]
    assert "gamma=0.1, C=10: 0.9 (1 of 2 in)" in texts(map_figure(found).picture)


def test_a_map_of_a_search_that_prunes_says_so_where_there_is_no_mean() -> None:
    found = map_so_far(parse_grid({"C": [1, 2]}), {0: 0.5, 1: None})
    assert found is not None
    figure = map_figure(replace(found, lacking=FAILED_OR_PRUNED))
    assert "C=2: failed or were pruned" in texts(figure.picture)
    assert "hatched cells failed or were pruned" in figure.told


def test_the_map_is_of_the_part_of_the_grid_that_has_the_best_by_now() -> None:
    grid = parse_grid([{"kernel": ["linear", "poly"]}, {"C": [1, 2], "gamma": [3, 4]}])
    found = map_so_far(grid, {0: 0.5, 2: 0.6, 5: 0.4})
    assert found is not None
    assert found.down is not None
    assert {found.down.name, found.across.name} == {"C", "gamma"}
    alone = map_so_far(grid, {0: 0.5, 1: 0.4, 2: 0.3})
    assert alone is not None
    assert (alone.down, alone.across.name) == (None, "kernel")
    assert texts(map_figure(alone).picture)[1:] == ["kernel=linear: 0.5", "kernel=poly: 0.4"]


@pytest.mark.parametrize(
    ("parameters", "means"),
    [({"C": [1, 2]}, {}), ({"C": [1, 2]}, {0: None}), ({"C": [1]}, {0: 1.0}), ({"C": list(range(6_000))}, {0: 1.0})],
)
def test_what_no_map_can_be_drawn_of_has_none(parameters: dict[str, Any], means: dict[int, float | None]) -> None:
    assert map_so_far(parse_grid(parameters), means) is None


@pytest.mark.slow
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=4),
    st.dictionaries(st.integers(0, 300), st.none() | st.floats(-1, 1)),
)
def test_each_cell_is_the_best_of_all_its_candidates_that_are_in(
    sizes: list[int], means: dict[int, float | None]
) -> None:
    grid = parse_grid({f"p{i}": list(range(size)) for i, size in enumerate(sizes)})
    found = map_so_far(grid, means)
    if found is None:
        return
    axes = [axis.name for axis in (found.down, found.across) if axis is not None]
    want: dict[tuple[str, ...], list[float | None]] = {}
    for number in range(grid.size):
        params = grid.json_at(number)
        cell = want.setdefault(tuple(str(params[name]) for name in axes), [])
        if number in means:
            cell.append(means[number])
    of = grid.size // len(want)
    for r, row in enumerate(found.cells):
        for c, cell_found in enumerate(row):
            down = () if found.down is None else (found.down.values[r],)
            inside = want[(*down, found.across.values[c])]
            known = [mean for mean in inside if mean is not None]
            assert cell_found == MapCell(max(known, default=None), len(inside), of)
    texts(map_figure(found).picture)


def test_hostile_names_and_values_are_text() -> None:
    found = map_so_far(parse_grid({HOSTILE: [HOSTILE, "b"], "ключ": ["é", "日本"]}), {0: 0.5, 3: 0.6})
    assert found is not None
    assert any(HOSTILE in text for text in texts(map_figure(found).picture))


def mark(at: float, **changes: Any) -> CellMark:
    fields: dict[str, Any] = {"candidate": 0, "split": 0, "score": 0.5, "index": 0, "seconds": 1.0}
    told = {"is_reused": False, "is_shared": False, "is_retried": False, "has_failed": False}
    return CellMark(**{**fields, **told, "at": NOON + dt.timedelta(seconds=at), **changes})


def watched(*marks: CellMark, died: Sequence[NotedDeath] = ()) -> WatchedSearch:
    line = SearchLine(
        id="a", namespace="team", name="a", model_key="a", state="Running", done=len(marks), failed=0, total=30,
        best_score=None, opened_at=NOON, finished_at=None, version=None,
    )  # fmt: skip
    known: dict[str, Any] = {"splits": 5, "pods": 2, "deaths": 1, "reused": 0, "started_at": NOON, "now": NOON}
    return WatchedSearch(line=line, marks=marks, died=tuple(died), **known)


def test_the_page_says_how_many_fits_were_not_needed() -> None:
    page = search_part(PageFrame("/", "team"), SearchView(replace(watched(mark(1)), pruned=3)))
    assert "<small>of 30, 3 pruned</small>" in page
    assert "pruned" not in search_part(PageFrame("/", "team"), SearchView(watched(mark(1))))


def test_a_bar_tells_what_became_of_its_fit() -> None:
    figure = timeline_of(
        watched(
            mark(1, is_reused=True, seconds=60.0),
            mark(2, candidate=1, is_shared=True, seconds=0.0),
            mark(3, candidate=2, index=4, is_retried=True),
            mark(4, candidate=3, has_failed=True),
            died=[
                NotedDeath(index=index, at=NOON + dt.timedelta(seconds=at))
                for index, at in ((4, 2.5), (7, 5), (0, -99))
            ],
        )
    )
    assert figure is not None
    picture = figure.picture
    told = texts(picture)
    assert "candidate 0, split 0: 60 s (reused)" in told
    assert "candidate 1, split 0: 0 s (shared)" in told
    assert told.count("candidate 2, split 0: 1 s (retried)") == 2, "the bar and its mark"
    assert "candidate 3, split 0: 1 s (failed)" in told
    lanes = [each.text for each in ET.fromstring(str(picture)).iter("text")]
    assert lanes[:4] == ["index 0", "index 4", "index 7", "taken over"]
    assert figure.rows == (
        ("index 0", "2", "1", "1", "0", "0", "1"),
        ("index 4", "1", "0", "0", "1", "1", "1"),
        ("index 7", "0", "0", "0", "0", "1", "0"),
        ("taken over", "1", "0", "0", "0", "0", "60"),
    )
    # each death on its lane, at its moment; one of before what is shown is not
    assert [text for text in told if "died" in text] == ["a pod had died: 12:00:02 UTC", "a pod had died: 12:00:05 UTC"]
    crosses = [each.attrib["d"] for each in ET.fromstring(str(picture)).iter("path") if each.attrib["class"] == "died"]
    assert [cross.split()[0] for cross in crosses] == sorted(
        (cross.split()[0] for cross in crosses), key=lambda at: float(at[1:])
    )
    # what another search has taken long ago does not stretch the time of this one
    widths = [float(each.attrib["width"]) for each in ET.fromstring(str(picture)).iter("rect")]
    assert math.isclose(min(widths), 2.0)


def test_each_process_of_a_pod_has_a_lane_of_its_own_where_there_are_several() -> None:
    marks = [mark(at, index=index, process=process) for at, (index, process) in enumerate([(0, 0), (0, 1), (2, 1)])]
    figure = timeline_of(watched(*marks, died=[NotedDeath(index=2, at=NOON)]))
    assert figure is not None
    assert [(row[0], row[1], row[5]) for row in figure.rows] == [
        ("index 0 · 0", "1", "0"),
        ("index 0 · 1", "1", "0"),
        ("index 2 · 1", "1", "1"),
    ]


def test_the_line_of_the_best_so_far_rises_where_a_candidate_was_better() -> None:
    scores = [0.5, 0.7, 0.6, 0.9]
    marks = [
        mark(60 * number + split, candidate=number, split=split, score=score)
        for number, score in enumerate(scores)
        for split in range(5)
    ]
    figure = progress_of(watched(*marks))
    assert figure is not None
    assert figure.rows == (("12:00:04", "0.5"), ("12:01:04", "0.7"), ("12:03:04", "0.9"))
    assert progress_of(watched(*marks[:5])) is None
