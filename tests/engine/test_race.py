"""What is pruned for certain is never the winner: against scikit-learn's own table and choice, whatever the scores are."""

import math
import os
import warnings
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from tuningjob.engine.pruned import families_of, not_run, with_pruned
from tuningjob.engine.race import MARGIN, Leader, Race
from tuningjob.engine.sklearn_private import best_index, results_table
from tuningjob.engine.work import CellKey

EXAMPLES = int(os.environ.get("TUNINGJOB_EXAMPLES", "50"))
# few values make ties; some differ in the last bit alone, some are so large that one is lost in them
UP_TO_ONE = st.sampled_from([1.0, 1.0, 0.75, 0.5, 0.1, 0.1 + 0.2, 0.3, 0.0, -1e3, -1e300, -math.inf, math.nan])
UP_TO_ZERO = st.sampled_from(
    [0.0, -0.0, -1e-300, -0.1, -0.3, -0.1 - 0.2, -1.0, -1e16, -1e16 - 2, -1e17, -1e308, math.nan]
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[float, list[list[float]]]:
    """A bound, and the scores of some candidates on some splits that are not above it."""
    bound = draw(st.sampled_from([1.0, 0.0]))
    score = st.one_of(UP_TO_ONE if bound else UP_TO_ZERO, st.floats(-2, bound))
    candidates, splits = draw(st.integers(1, 12)), draw(st.integers(1, 10))
    return bound, [[draw(score) for _ in range(splits)] for _ in range(candidates)]


def outcome(score: float) -> dict[str, Any]:
    return {"fit_error": None, "test_scores": score, "n_test_samples": 1, "fit_time": 1.0, "score_time": 0.0}


def winner(scores: list[list[float]], ran: set[CellKey] | None = None) -> tuple[int, dict[str, Any]]:
    """scikit-learn's choice, by its own code; of what ran, if not all did."""
    search = GridSearchCV(BaseEstimator(), {})
    splits = len(scores[0])
    outcomes = [
        outcome(score) if ran is None or CellKey(candidate, split) in ran else not_run(outcome(0.0), 1)
        for candidate, row in enumerate(scores)
        for split, score in enumerate(row)
    ]

    def make() -> dict[str, Any]:
        return results_table(search, [{"a": candidate} for candidate in range(len(scores))], splits, outcomes)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        table = make() if ran is None else with_pruned(outcomes, splits, make)
    return best_index(search, "score", table), table


def run(race: Race, scores: list[list[float]], random: Random, *, processes: int = 1) -> set[CellKey]:
    """Run a race with so many cells under way at a time, which arrive in any order: what ran."""
    race.add(CellKey(candidate, split) for candidate, row in enumerate(scores) for split in range(len(row)))
    under_way: list[CellKey] = []
    ran: set[CellKey] = set()
    while True:
        if len(under_way) < processes:
            under_way += race.due(processes)
        if not under_way:
            break
        cell = under_way.pop(random.randrange(len(under_way)))
        assert cell not in ran
        ran.add(cell)
        race.arrived(cell, scores[cell.candidate][cell.split])
    gone = race.withdrawn()
    assert race.is_over
    assert ran.isdisjoint(gone)
    assert len(ran) + len(gone) == sum(map(len, scores))
    return ran


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(tables(), st.integers(1, 4), st.integers(1, 5), st.randoms())
def test_the_winner_of_what_ran_is_that_of_all(
    drawn: tuple[float, list[list[float]]], processes: int, families: int, random: Random
) -> None:
    bound, scores = drawn
    race = Race(len(scores[0]), bound=bound, family=lambda candidate: candidate % families)
    ran = run(race, scores, random, processes=processes)
    (wanted, whole), (got, table) = winner(scores), winner(scores, ran)
    assert got == wanted
    assert not table["pruned"][got]
    for name in ("mean_test_score", "std_test_score"):
        assert table[name][got].tobytes() == whole[name][wanted].tobytes()
    for cell in ran:
        column = f"split{cell.split}_test_score"
        assert table[column][cell.candidate].tobytes() == whole[column][cell.candidate].tobytes()


@pytest.mark.slow
@settings(max_examples=EXAMPLES)
@given(tables(), st.randoms())
def test_the_winner_is_the_same_where_others_lead_and_scores_are_known(
    drawn: tuple[float, list[list[float]]], random: Random
) -> None:
    """As in the journal: each worker has some of the candidates, and hears of the best that others have come to."""
    bound, scores = drawn
    splits = len(scores[0])
    ran: set[CellKey] = set()
    lead: Leader | None = None
    cells = [CellKey(candidate, split) for candidate in range(len(scores)) for split in range(splits)]
    random.shuffle(cells)
    while cells:
        mine, cells = cells[:7], cells[7:]
        race = Race(splits, bound=bound)
        if lead is not None:
            race.lead(lead)
        ours = {cell.candidate for cell in mine}
        race.add(mine, {cell: scores[cell.candidate][cell.split] for cell in ran if cell.candidate in ours})
        while due := race.due():
            for cell in due:
                ran.add(cell)
                race.arrived(cell, scores[cell.candidate][cell.split])
        race.withdrawn()
        assert race.is_over
        lead = race.leader if race.leader is None else Leader(race.leader.mean, race.leader.worst)
    assert winner(scores, ran)[0] == winner(scores)[0]


@pytest.mark.slow
def test_a_mean_that_was_added_up_in_another_order_prunes_no_candidate_of_the_same_scores() -> None:
    """The journal adds up one score after the other, scikit-learn by pairs: of many splits the sums differ."""
    scores = np.random.default_rng(0).uniform(-1e6, 0, 40_000)
    mean = float(np.average(scores))
    another = next(told for each in range(50) if (told := _one_after_the_other(scores, each)) > mean)
    race = Race(len(scores), bound=0.0)
    race.add(CellKey(0, split) for split in range(len(scores)))
    race.lead(Leader(another, float(scores.min())))
    for cell in race.due():
        race.arrived(cell, float(scores[cell.split]))
    assert race.withdrawn() == []
    known = {CellKey(1, split): float(scores[split]) for split in range(1, len(scores))}
    race.add([CellKey(1, 0)], known)
    assert race.withdrawn() == []


def _one_after_the_other(scores: Any, seed: int) -> float:
    return sum(np.random.default_rng(seed).permutation(scores).tolist()) / len(scores)


@pytest.mark.parametrize("place", [0, 1])
def test_a_failed_candidate_may_be_the_best_of_means_so_large_that_one_less_is_the_same(place: int) -> None:
    """As scikit-learn ranks them; whether it is depends on all means, so nothing may be left out."""
    rows = [[-1e300, -1e300, 0.5, 0.5], [math.nan, 1.0, 1.0, 1.0], [-1e17, 1.0, 1.0, 1.0], [-1e300, math.nan, 0.5, 0.5]]
    scores = rows[2 * place :] + rows[: 2 * place]
    ran = run(Race(4, bound=1.0), scores, Random(0))
    assert winner(scores, ran)[0] == winner(scores)[0]
    race = Race(4, bound=1.0)
    race.add(CellKey(0, split) for split in range(4))
    race.lead(Leader(-1e16, -4e16))
    race.arrived(CellKey(0, 0), math.nan)
    assert race.withdrawn() == []


def test_a_leader_above_the_bound_prunes_nothing() -> None:
    race = Race(2, bound=1.0)
    race.lead(Leader(1.5, 1.5))
    race.add([CellKey(0, 0), CellKey(0, 1)])
    assert race.withdrawn() == []
    assert not race.is_sound


def test_what_cannot_reach_the_best_mean_is_not_run() -> None:
    scores = [[0.9, 0.9, 0.9, 0.9], [0.2, 1.0, 1.0, 1.0], [0.7, 0.6, 1.0, 1.0], [0.8, 0.9, 0.9, 0.9]]
    ran = run(Race(4, bound=1.0), scores, Random(0))
    assert {cell for cell in ran if cell.candidate == 1} == {CellKey(1, 0)}
    assert {cell for cell in ran if cell.candidate == 2} == {CellKey(2, 0), CellKey(2, 1)}
    assert {cell for cell in ran if cell.candidate == 0} == {CellKey(0, split) for split in range(4)}


@pytest.mark.parametrize("place", [0, 1], ids=["before it", "after it"])
def test_a_candidate_that_may_come_to_the_same_mean_is_run(place: int) -> None:
    rows = [[1.0, 0.5], [0.5, 1.0]]
    scores = [rows[place], rows[1 - place]]
    assert len(run(Race(2, bound=1.0), scores, Random(0))) == 4
    assert winner(scores)[0] == 0


def test_a_candidate_that_has_failed_is_not_run_any_more_once_another_has_a_mean() -> None:
    scores = [[math.nan, 1.0, 1.0], [0.5, 0.5, 0.5]]
    assert run(Race(3, bound=1.0), scores, Random(0)) == {CellKey(0, 0), *(CellKey(1, split) for split in range(3))}


def test_every_candidate_is_run_where_all_fail() -> None:
    scores = [[math.nan] * 3 for _ in range(4)]
    assert len(run(Race(3, bound=1.0), scores, Random(0))) == 12


def test_nothing_is_pruned_any_more_once_a_score_is_above_the_bound() -> None:
    scores = [[1.5, 1.0, 1.0], [0.1, 0.1, 0.1]]
    race = Race(3, bound=1.0)
    assert len(run(race, scores, Random(0))) == 6
    assert not race.is_sound


def test_the_last_bits_of_a_score_at_its_bound_say_nothing_against_it() -> None:
    race = Race(3, bound=1.0)
    run(race, [[1.0 + MARGIN / 100] * 3, [0.1, 0.1, 0.1]], Random(0))
    assert race.is_sound


def test_a_family_goes_on_together() -> None:
    race = Race(3, bound=1.0, family=lambda candidate: candidate // 2)
    race.add(CellKey(candidate, split) for candidate in range(4) for split in range(3))
    for cell in race.due():
        race.arrived(cell, [0.6, 0.9, 0.2, 0.3][cell.candidate])
    assert sorted(race.due()) == [CellKey(candidate, split) for candidate in (0, 1) for split in (1, 2)]


def test_the_forgiving_rule_leaves_out_what_is_in_the_mean_below_the_worst_split_of_the_best() -> None:
    scores = [[0.9, 0.7, 0.8], [0.69, 1.0, 1.0], [0.71, 0.71, 0.71]]
    ran = run(Race(3, bound=None), scores, Random(0))
    assert {cell for cell in ran if cell.candidate == 1} == {CellKey(1, 0)}
    assert {cell for cell in ran if cell.candidate == 2} == {CellKey(2, split) for split in range(3)}


def test_the_forgiving_rule_may_lose_the_winner() -> None:
    scores = [[0.9, 0.7, 0.8], [0.69, 1.0, 1.0]]
    ran = run(Race(3, bound=None), scores, Random(0))
    assert winner(scores)[0] == 1
    assert winner(scores, ran)[0] == 0


def test_what_one_fit_serves_is_a_family_and_what_only_looks_alike_is_none() -> None:
    trees = families_of(RandomForestClassifier(), [{"n_estimators": n, "max_depth": d} for n in (1, 2) for d in (1, 2)])
    assert trees(0) == trees(2) != trees(1)
    pipeline = Pipeline([("pca", PCA()), ("svc", SVC())])
    machines = families_of(pipeline, [{"pca__n_components": n, "svc__gamma": g} for n in (1, 2) for g in (0.1, 1.0)])
    assert len({machines(candidate) for candidate in range(4)}) == 4


def test_parameters_without_effect_make_no_other_family() -> None:
    """On one nested axis (``ccp_alpha``), with names of one criterion and numbers of rows that both mean ten."""
    grid = [
        {"ccp_alpha": alpha, "criterion": criterion, "min_samples_split": rows}
        for alpha in (0.0, 0.1) for criterion in ("gini", "entropy", "log_loss") for rows in (2, 4)
    ]  # fmt: skip
    trees = families_of(DecisionTreeClassifier(min_samples_leaf=5), grid)
    assert len({trees(candidate) for candidate in range(12)}) == 2, "one for each criterion"


def test_a_race_may_hear_of_the_leader_before_its_first_cell() -> None:
    """As a pod does that is started while others are under way."""
    race = Race(3, bound=1.0)
    race.lead(Leader(0.9, 0.8))
    assert (race.left, race.due(), race.withdrawn(), race.is_over) == (0, [], [], True)
    race.add([CellKey(0, 1), CellKey(1, 1)], known={CellKey(0, 0): 0.1})
    assert race.withdrawn() == [CellKey(0, 1)]
    assert race.left == 1


@pytest.mark.parametrize(("others", "at_once"), [(0.85, True), (0.1, False)])
def test_the_rest_is_evaluated_at_once_if_pruning_promises_to_save_nothing(others: float, *, at_once: bool) -> None:
    """Five splits; at 0.85 a candidate would be out after four of them at the earliest, at 0.1 after its first."""
    race = Race(5, bound=1.0)
    race.add(CellKey(candidate, split) for candidate in range(4) for split in range(5))
    for _ in range(2):  # the first split of all, then all of the best
        for cell in race.due():
            race.arrived(cell, others if cell.candidate else 0.87)
    assert race.leader is not None
    assert race.leader.worst == 0.87
    assert len(race.due()) == (12 if at_once else 0)
