"""A manifest that prunes: the answer of the search without it, to the bit, for fewer fits; on a laptop, by several workers, resumed."""

from pathlib import Path
from typing import Any

import joblib
import numpy as np
import optuna
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier

from tests.search.coming_back import assert_comes_back
from tests.search.searches import journal_in, opened, small, worker
from tests.search.test_metrics import job, spec
from tests.truth import assert_equal_to_the_bit, sklearn_search, sklearn_search_of
from tuningjob import GridSearchCV, local, read_results
from tuningjob.errors import ManifestRefused, SearchFailed
from tuningjob.exports.to_optuna import write_study
from tuningjob.exports.to_tables import write_parquet
from tuningjob.manifest import load_file
from tuningjob.protocol.records import CellResult
from tuningjob.reread import table_again
from tuningjob.search.results import gather, leaderboard
from tuningjob.search.stop import Stop, Terminated
from tuningjob.search.to_manifest import to_manifest
from tuningjob.verify import fits_to_repeat, recorded_in, verify

TREES = {"max_depth": [1, 2, 3, 5, None], "min_samples_leaf": [1, 20, 60, 300]}
FOREST = {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"random_state": 0}}
SEARCHES: dict[str, dict[str, Any]] = {
    "a grid": spec(search={"grid": {"parameters": TREES}}, crossValidation={"folds": 8}),
    "with the defaults beside it": spec(search={"grid": {"parameters": TREES}}, baseline=True),
    "several metrics": spec(
        search={"grid": {"parameters": TREES}}, scoring=["accuracy", "f1"], refit="f1", returnTrainScore=True
    ),
    "a nested axis, drawn at random": spec(
        estimator=FOREST,
        search={
            "random": {
                "parameters": {"n_estimators": [1, 3, 9], "max_depth": [1, 2, 8], "min_samples_leaf": [1, 200]},
                "iterations": 12,
                "randomState": 0,
            }
        },
        scoring="neg_log_loss",
    ),
    "fits that fail": spec(search={"grid": {"parameters": {"max_depth": [-1, 1, 3], "min_samples_leaf": [1, 0, 300]}}}),
}


def run(asked: dict[str, Any], folder: Path) -> local.FinishedSearch:
    return local.run(job(asked), folder=folder, output=folder / "results", stop=Stop())


def assert_same_answer(found: dict[str, Any], want: Any, key: str) -> None:
    best = int(np.argmin(found[f"rank_test_{key}"]))
    assert best == want.best_index_
    for name, values in want.cv_results_.items():
        if name.startswith("split"):
            ran = ~np.isnan(found[name])
            assert found[name][ran].tobytes() == values[ran].tobytes(), name
            assert ran[best]
    assert found[f"mean_test_{key}"][best].tobytes() == want.cv_results_[f"mean_test_{key}"][best].tobytes()


Run = tuple[local.FinishedSearch, Path]


@pytest.fixture(scope="module")
def pruned_grid(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """ "a grid", pruned, and the folder of its results, for tests that only read them."""
    folder = tmp_path_factory.mktemp("pruned")
    return run({**SEARCHES["a grid"], "prune": "certain"}, folder), folder / "results"


@pytest.mark.slow
@pytest.mark.parametrize("name", SEARCHES)
def test_the_answer_is_that_of_the_search_without_it(name: str, pruned_grid: Run, tmp_path: Path) -> None:
    asked = SEARCHES[name]
    outcome, folder = (
        pruned_grid if name == "a grid" else (run({**asked, "prune": "certain"}, tmp_path), tmp_path / "results")
    )
    _, want = sklearn_search_of(job({**asked, "baseline": False}).spec)
    table = outcome.results.cv_results
    assert_same_answer(table, want, outcome.results.metric)
    assert outcome.answer.best_index == want.best_index_
    assert outcome.answer.best_score == want.best_score_
    key = outcome.results.metric
    missing = sum(int(np.isnan(table[f"split{i}_test_{key}"][table["pruned"]]).sum()) for i in range(want.n_splits_))
    assert outcome.pruned == outcome.results.pruned_fits
    assert outcome.pruned <= missing
    assert outcome.pruned > 0
    if name != "fits that fail":
        assert outcome.pruned == missing
    assert outcome.answer.baseline is not None or "baseline" not in name
    if name != "fits that fail":  # of which a search that comes back warns
        found = joblib.load(folder / "search.joblib")
        assert_comes_back(job({**asked, "prune": "certain"}).spec, folder, found)
    verdict = " ".join((folder / "verdict.txt").read_text().split())
    assert f"{missing:,} were not needed (pruned)" in verdict
    assert " pruned" in (folder / "report.html").read_text()


@pytest.mark.slow
def test_a_pruned_candidate_is_told_as_such_in_the_leaderboard_and_the_table(pruned_grid: Run) -> None:
    outcome, folder = pruned_grid
    board = leaderboard(outcome.results)
    assert board["pruned"].any()
    assert board[board["pruned"]]["mean_test_score"].isna().all()
    assert not board["pruned"].iloc[0]
    written = pd.read_csv(folder / "cv_results.csv")
    assert written["pruned"].tolist() == outcome.results.cv_results["pruned"].tolist()


@pytest.mark.slow
def test_the_example_prunes_and_has_the_answer_of_all(examples: Path, tmp_path: Path) -> None:
    manifest = load_file(examples / "pruned-svc.yaml")
    outcome = local.run(manifest, folder=examples, output=tmp_path, stop=Stop())
    problem, want = sklearn_search_of(manifest.spec)
    assert outcome.answer.best_score == want.best_score_
    assert outcome.pruned > 0.1 * problem.size.fits  # how many depends on the size of units, and that on seconds


@pytest.mark.slow
def test_workers_that_come_and_go_share_what_they_know(tmp_path: Path) -> None:
    problem = small(TREES, prune="certain", crossValidation={"folds": 6})
    with journal_in(tmp_path) as journal:
        opened(journal, problem, pods=3)
        for index in (0, 1, 0, 2):  # an index comes again, as a new pod does
            stop = Stop()

            def after_some(_: list[CellResult], stop: Stop = stop, most: int = journal.progress("s").done + 15) -> None:
                if journal.progress("s").done >= most:
                    stop.request()

            ours = worker(journal, problem, index=index, stop=stop)
            ours.clock = iter(float(i) for i in range(1_000_000)).__next__  # everything is due at once
            ours.on_cells = after_some
            try:
                if ours.evaluate_all():
                    break
            except Terminated:
                pass
        else:
            assert worker(journal, problem, index=0).evaluate_all()
        progress = journal.progress("s")
        assert progress.done == progress.total
        assert progress.pruned > 0
        results = gather(problem, journal.view("s").results())
    assert_same_answer(results.cv_results, sklearn_search(problem), "score")


@pytest.mark.slow
def test_another_rule_is_another_search(tmp_path: Path) -> None:
    asked = SEARCHES["a grid"]
    assert run(asked, tmp_path).kept == 0
    pruned = run({**asked, "prune": "certain"}, tmp_path)
    assert pruned.kept == 0
    again = run({**asked, "prune": "certain"}, tmp_path)
    assert (again.kept, again.answer) == (pruned.size.fits, pruned.answer)


@pytest.mark.slow
def test_what_was_pruned_is_fitted_by_the_search_that_needs_it(tmp_path: Path) -> None:
    """A search in the same journal takes over what was computed, and nothing of what was left out."""
    pruned = run({**SEARCHES["a grid"], "prune": "certain"}, tmp_path)
    assert pruned.pruned > 0
    extended = {**TREES, "min_samples_leaf": [1, 20, 60, 300, 5]}
    whole = run({**SEARCHES["a grid"], "search": {"grid": {"parameters": extended}}, "reuse": True}, tmp_path)
    assert whole.reused == pruned.size.fits - pruned.pruned
    _, want = sklearn_search_of(job({**SEARCHES["a grid"], "search": {"grid": {"parameters": extended}}}).spec)
    assert_equal_to_the_bit(whole.results.cv_results, want.cv_results_)
    # and the other way round: all is known, so nothing is left out
    again = run({**SEARCHES["a grid"], "prune": "forgiving", "reuse": True}, tmp_path)
    assert (again.reused, again.pruned) == (again.size.fits, 0)
    assert again.answer.best_score == pruned.answer.best_score


@pytest.mark.slow
def test_forgiving_says_that_it_may_have_lost_the_winner(tmp_path: Path) -> None:
    outcome = run({**SEARCHES["a grid"], "prune": "forgiving"}, tmp_path)
    assert outcome.pruned > 0
    told = " ".join((tmp_path / "results/verdict.txt").read_text().split())
    assert "Whether it is the best of all is not certain, because prune: forgiving may lose the winner." in told


def test_a_score_above_the_bound_of_its_scorer_fails_the_search(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No metric of the table has one: it would be a fault of this package's, and must not pass for an answer."""
    monkeypatch.setattr("tuningjob.engine.bounds._own_bound", lambda _: 0.5)
    problem = small(TREES, prune="certain")
    with journal_in(tmp_path) as journal:
        opened(journal, problem)
        ours = worker(journal, problem)
        assert ours.evaluate_all()
        with pytest.raises(SearchFailed, match=r"spec.prune: must be left out, because a score is .*, above 0.5"):
            ours.finish(tmp_path / "files")
        assert "spec.prune" in (journal.progress("s").failure or "")


@pytest.mark.slow
def test_files_of_a_search_that_pruned_are_read_back_and_say_what_was_left_out(
    pruned_grid: Run, tmp_path: Path
) -> None:
    outcome, folder = pruned_grid
    pruned = outcome.results.cv_results["pruned"]
    for name in ("cv_results.csv", "cv_results.parquet"):
        table = table_again(folder / name)
        assert (table.pruned == pruned).all(), name
        assert table.origin.failed_fits == 0
        assert table.pruned_fits == outcome.pruned
    write_parquet(folder / "cv_results.csv", tmp_path / "made.parquet")
    assert read_results(tmp_path / "made.parquet")["pruned"].tolist() == pruned.tolist()
    assert write_study(table, tmp_path / "study.db") == len(pruned)
    study = optuna.load_study(study_name="results", storage=f"sqlite:///{tmp_path / 'study.db'}")
    states = [trial.state is optuna.trial.TrialState.PRUNED for trial in study.trials]
    assert states == pruned.tolist()


@pytest.mark.slow
def test_what_was_pruned_is_not_verified(tmp_path: Path) -> None:
    problem = small(TREES, prune="certain")
    with journal_in(tmp_path) as journal:
        opened(journal, problem)
        assert worker(journal, problem).evaluate_all()
        recorded = recorded_in(journal, "s")
        chosen = fits_to_repeat(recorded, None, 0)
        assert not any(cell.pruned for cell in recorded.cells(chosen))
        assert len(fits_to_repeat(recorded, 5, 0)) == 5
        verified = verify(recorded, chosen, folder=tmp_path, processes=2)
        assert verified.is_same
        assert len(verified.again) == recorded.size - journal.progress("s").pruned < recorded.size


UNBOUNDED = spec(prune="certain", scoring={"own": {"function": "tests.search.own_metrics.asymmetric"}})


def test_scores_without_a_known_bound_are_refused_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(ManifestRefused) as refused:
        run(UNBOUNDED, tmp_path)
    (problem,) = refused.value.problems
    assert (problem.field, problem.reason) == ("spec.prune", "ScoresUnbounded")
    assert "accuracy" in problem.must_be


@pytest.mark.slow
def test_scores_without_a_known_bound_are_pruned_by_the_rule_that_needs_none(tmp_path: Path) -> None:
    assert run({**UNBOUNDED, "prune": "forgiving"}, tmp_path).pruned >= 0


def test_the_manifest_of_a_search_object_says_it() -> None:
    search = GridSearchCV(DecisionTreeClassifier(random_state=0), TREES, cv=8, prune="forgiving")
    assert to_manifest(search, data={"loader": "sklearn.datasets.load_breast_cancer"})["spec"]["prune"] == "forgiving"
