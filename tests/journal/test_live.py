"""What people look at while a search runs, as the journal tells it: bounded lists, means, and which fits were retried."""

import math

import pytest

from tests.journal.makers import NOON, Clock, Pod, a_preflight, a_result, a_search, pod
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Cell
from tuningjob.protocol.requests import ClaimRequest, Report


def test_searches_are_listed_by_namespace_and_namespaces_by_their_newest_search(journal: SqlJournal) -> None:
    for search, namespace in (("a", "team"), ("b", "other"), ("c", "team"), ("d", "third")):
        journal.open_search(a_search(search, namespace=namespace))
    assert {line.id for line in journal.live.lines(["team"])} == {"a", "c"}
    assert {line.id for line in journal.live.lines(["other", "third"])} == {"b", "d"}
    assert [line.id for line in journal.live.lines([])] == []
    assert len(journal.live.lines(None)) == 4
    assert set(journal.live.namespaces(limit=10)) == {"team", "other", "third"}
    assert len(journal.live.namespaces(limit=2)) == 2


def test_a_candidate_has_a_mean_once_all_of_its_splits_are_in_and_none_if_one_failed(journal: SqlJournal) -> None:
    journal.open_search(a_search())
    whole = [a_result(Cell(0, split), test_scores={"accuracy": split / 10}) for split in range(5)]
    failed = [a_result(Cell(1, split), test_scores={"accuracy": math.nan if split else 0.5}) for split in range(5)]
    started = [a_result(Cell(2, split)) for split in range(4)]
    worker = pod(journal)
    while worker.claim() is not None:
        pass
    journal.view("search-a").report(Report(index=0, results=[*whole, *failed, *started]))
    means = journal.live.means("search-a", 5)
    assert means.keys() == {0, 1}
    assert means[0] is not None
    assert math.isclose(means[0], 0.2)
    assert means[1] is None


def test_the_fits_of_a_unit_that_a_pod_died_with_are_marked(journal: SqlJournal) -> None:
    journal.open_search(a_search())
    view = journal.view("search-a")

    def claim(claimant: str) -> tuple[Cell, ...]:
        unit = view.claim(ClaimRequest(index=0, slots=4, holding=set(), claimant=claimant)).unit
        assert unit is not None
        return unit.cells

    died = claim("pod-1")
    assert claim("pod-2") == died
    view.report(Report(index=0, results=[a_result(cell, fit_seconds=0.0) for cell in died]))
    Pod(view, index=1).work()
    marks = journal.live.watched("team", "search-a").marks
    assert {Cell(mark.candidate, mark.split) for mark in marks if mark.is_retried} == set(died)
    assert {Cell(mark.candidate, mark.split) for mark in marks if mark.is_shared} == set(died)
    assert len(marks) == 30


@pytest.mark.slow
def test_a_death_has_its_moment_which_is_when_its_successor_asked(journal: SqlJournal, clock: Clock) -> None:
    journal.open_search(a_search())
    view = journal.view("search-a")

    def claim(claimant: str, index: int = 1, holding: frozenset[int] = frozenset()) -> int:
        unit = view.claim(ClaimRequest(index=index, slots=4, claimant=claimant, holding=set(holding))).unit
        assert unit is not None
        return unit.id

    def died() -> list[tuple[int, float]]:
        return [
            (each.index, (each.at - NOON).total_seconds()) for each in journal.live.watched("team", "search-a").died
        ]

    first = claim("pod-1.a")
    second = claim("pod-1.a", holding=frozenset({first}))
    clock.pass_time(seconds=20)
    claim("pod-2.b")
    clock.pass_time(seconds=5)
    assert claim("pod-2.b", holding=frozenset({first})) == second, "it held two, and died once"
    claim("other.c", index=0)
    clock.pass_time(seconds=5)
    claim("pod-3.d")
    # of the second death its unit forgets all but the cell that is lost
    assert died() == [(1, 20), (1, 30)]
    journal.pardon("search-a", ["pod-1"])
    assert died() == [(1, 30)]
    for number in range(202):
        claim(f"made up.{number}")
    assert len(died()) == 200
    journal.delete("search-a")
    journal.open_search(a_search())
    assert died() == []


def test_what_the_latest_pods_of_a_namespace_multiplied_matrices_by_is_known(journal: SqlJournal, clock: Clock) -> None:
    assert journal.live.kernels("team") == ()
    for number, (namespace, kernels) in enumerate(
        [
            ("team", ("mkl 1",)),
            ("other", ("blis 2",)),
            *[("team", ("openblas 3 Zen", "openblas 4 Zen"))] * 4,
            ("team", ("openblas 3 Haswell",)),
        ]
    ):
        clock.pass_time(seconds=1)
        journal.open_search(a_search(f"s{number}", namespace=namespace))
        journal.view(f"s{number}").set_preflight(a_preflight(kernels=kernels))
    journal.open_search(a_search("just begun"))
    assert journal.live.kernels("team") == ("openblas 3 Haswell", "openblas 3 Zen", "openblas 4 Zen")
