"""A search on this machine that is killed at any moment keeps every cell that it had finished a second before."""

import copy
import fcntl
import random
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.local.commands import begun, written
from tests.search.nearest import FIT_SECONDS, LATEST_SECONDS, LOG, POWERS, SEARCHES, Log, search
from tests.truth import assert_equal_to_the_bit, sklearn_search_of
from tuningjob import local
from tuningjob.journal.sql import open_sqlite
from tuningjob.manifest import load
from tuningjob.search.stop import Stop

pytestmark = pytest.mark.slow

SIZES = {"a nested axis": 600, "no nested axis": 150}
CODES = {signal.SIGKILL: -signal.SIGKILL, signal.SIGINT: 130, signal.SIGTERM: 143}


def kept(folder: Path) -> dict[int, int]:
    """How many cells the journal has, by how often each was reported."""
    journal = open_sqlite(folder / "results/nearest/tuning.db")
    try:
        (search,) = journal.revisions()
        return journal.report_counts(search)
    finally:
        journal.close()


def is_held(folder: Path) -> bool:
    """Whether a run is at work there."""
    with (folder / "results/nearest/.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def killed(folder: Path, how: signal.Signals, *, after: float, log: Path) -> tuple[Log, float, str]:
    """A life of the search that ends so many seconds after its first fit, or once the journal has a cell of it.

    Returns its log, its end and what it said.
    """
    before = sum(kept(folder).values()) if (folder / "results").exists() else 0
    own = {LOG: str(log), FIT_SECONDS: "0.08", "PYTHONPATH": str(Path.cwd())}
    process = begun("run", "job.yaml", cwd=folder, **own)
    told = Log(log, process.pid)
    until = time.monotonic() + 60
    while not told.finished(time.monotonic()):
        assert time.monotonic() < until, "waited a minute for a fit"
        time.sleep(0.05)
    time.sleep(after)
    while sum(kept(folder).values()) <= before:  # the baseline comes first, and a busy machine is slow
        assert time.monotonic() < until, "waited a minute for a cell"
        time.sleep(0.05)
    moment = time.monotonic()
    process.send_signal(how)
    process.wait(timeout=30)
    assert not is_held(folder), "the lock of a run dies with it, and not with the last of its processes"
    _, said = process.communicate(timeout=30)
    assert process.returncode == CODES[how], said
    return told, moment, said


# by these, either is killed, and one each is interrupted and asked to end
@pytest.mark.parametrize(("name", "seed"), [("a nested axis", 4), ("no nested axis", 6)])
def test_killed_at_random_it_keeps_what_was_finished_a_second_before_and_ends_as_scikit_learn(
    name: str, seed: int, tmp_path: Path
) -> None:
    document: dict[str, Any] = SEARCHES[name]
    written(document, tmp_path)
    chance = random.Random(seed)
    before = 0
    for life, how in enumerate(chance.sample(list(CODES), 2)):
        log, moment, said = killed(tmp_path, how, after=chance.uniform(0.5, 3.0), log=tmp_path / f"{life}.log")
        counts = kept(tmp_path)
        assert set(counts) <= {1}, "no cell was fitted twice"
        done = counts.get(1, 0)
        # asked to stop it hands in all that is believed; killed, what is older than a report may be late
        latest = moment - (LATEST_SECONDS if how is signal.SIGKILL else 0.1)
        assert done - before >= log.finished(latest)
        before = done
        if how is not signal.SIGKILL:
            assert f"Stopped. {done} of {SIZES[name]} fits are kept: the same command goes on from there." in said

    job = load(document)
    outcome = local.run(job, folder=tmp_path, output=tmp_path / "results/nearest", stop=Stop())
    assert outcome.kept == before > 0
    assert_equal_to_the_bit(outcome.results.cv_results, sklearn_search_of(job.spec)[1].cv_results_)


STAGED = {
    "halving": {"halving": {"factor": 3, "minResources": 40}},
    "refine": {"refine": {"rounds": 2, "scales": {"power": "linear"}}},
    "nested": {"nested": {"folds": 2}},
}


@pytest.mark.parametrize("name", STAGED)
def test_killed_in_one_of_its_stages_or_outer_folds_it_goes_on_there(name: str, tmp_path: Path) -> None:
    document: dict[str, Any] = copy.deepcopy(SEARCHES["no nested axis"])
    search = document["spec"]["search"]
    # 18 of 30 candidates, 90 fits in the first stage: 3.6 s
    search["grid"]["parameters"]["power"] = search["grid"]["parameters"]["power"][:18]
    search |= STAGED[name]
    written(document, tmp_path)
    before = 0
    for life, seconds in enumerate((1.5, 3.5)):
        killed(tmp_path, signal.SIGKILL, after=seconds, log=tmp_path / f"{life}.log")
        counts = kept(tmp_path)
        assert set(counts) == {1}, "no cell was fitted twice"
        assert counts[1] > before
        before = counts[1]

    job = load(document)
    outcome = local.run(job, folder=tmp_path, output=tmp_path / "results/nearest", stop=Stop())
    assert outcome.kept == before
    whole = local.run(job, folder=tmp_path, output=tmp_path / "results/at once", stop=Stop())
    assert_equal_to_the_bit(outcome.results.cv_results, whole.results.cv_results)
    assert outcome.results.best_index == whole.results.best_index
    assert outcome.answer.nested == whole.answer.nested
    assert (outcome.answer.nested is not None) == (name == "nested")
    if name == "halving":
        assert_equal_to_the_bit(outcome.results.cv_results, sklearn_search_of(job.spec)[1].cv_results_)


def test_killed_while_several_metrics_score_it_goes_on_with_all_of_their_scores(tmp_path: Path) -> None:
    document: dict[str, Any] = copy.deepcopy(SEARCHES["no nested axis"])
    document["spec"] |= {
        "scoring": ["accuracy", "f1_macro"],
        "refit": "f1_macro",
        "returnTrainScore": True,
        "baseline": True,
        "select": {"mostStable": {}, "maxOverfitGap": 0.5},
    }
    written(document, tmp_path)
    killed(tmp_path, signal.SIGKILL, after=1.5, log=tmp_path / "log")
    before = kept(tmp_path)
    assert set(before) == {1}, "no cell was fitted twice"

    job = load(document)
    outcome = local.run(job, folder=tmp_path, output=tmp_path / "results/nearest", stop=Stop())

    want = sklearn_search_of(job.spec)[1].cv_results_
    assert outcome.kept == before[1]
    assert outcome.answer.baseline is not None, "killed before its row, it is measured by the life after"
    assert_equal_to_the_bit(outcome.results.cv_results, want)
    assert outcome.results.best_index == (want["mean_test_f1_macro"] - want["std_test_f1_macro"]).argmax()


def test_killed_while_it_prunes_it_goes_on_by_what_it_knew_and_the_answer_is_that_of_all(tmp_path: Path) -> None:
    document: dict[str, Any] = search(width=[1, 2, 4], power=POWERS[:16])
    document["spec"] |= {
        "data": {"loader": "sklearn.datasets.load_iris"},
        "crossValidation": {"folds": 10},
        "prune": "certain",
    }
    written(document, tmp_path)
    before = 0
    for life, seconds in enumerate((2.0, 2.0)):
        killed(tmp_path, signal.SIGKILL, after=seconds, log=tmp_path / f"{life}.log")
        counts = kept(tmp_path)
        assert set(counts) == {1}, "no cell was fitted twice"
        assert counts[1] > before
        before = counts[1]

    job = load(document)
    outcome = local.run(job, folder=tmp_path, output=tmp_path / "results/nearest", stop=Stop())
    want = sklearn_search_of(job.spec)[1]
    assert outcome.kept == before
    assert outcome.results.pruned_fits > 0
    assert (outcome.answer.best_index, outcome.answer.best_score) == (want.best_index_, want.best_score_)
    for name, scores in want.cv_results_.items():
        if name.startswith("split"):
            ran = ~np.isnan(outcome.results.cv_results[name])
            assert outcome.results.cv_results[name][ran].tobytes() == scores[ran].tobytes(), name
