"""What finished searches answered comes back to Python: `tuningjob.params`, `from_literals`, `read_results`."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import tuningjob
from tests.engine.fresh import in_a_fresh_process
from tests.local.commands import Ended, written
from tests.local.makers import Place, a_journal
from tests.truth import sklearn_search_of
from tuningjob.engine.processes import may_fork
from tuningjob.errors import JournalError, NotBlessed, UnknownModel
from tuningjob.manifest import load

BEST: dict[str, Any] = {
    "ngram_range": {"tuple": [1, 1]},
    "missing": {"float": "nan"},
    "model": {"class": "sklearn.svm.SVC", "params": {"C": {"float": 10}}},
    "depth": {"none": True},
}


def is_as_it_was(found: dict[str, Any]) -> bool:
    assert np.isnan(found.pop("missing"))
    assert repr(found.pop("model")) == "SVC(C=10.0)"
    return found == {"ngram_range": (1, 1), "depth": None}


@pytest.mark.slow
def test_parameters_come_back_from_a_journal_and_from_a_service(place: Place) -> None:
    place.add(best_params=BEST)
    place.add(best_params={"C": 1})
    where = place.options[1]
    with pytest.raises(NotBlessed):
        tuningjob.params("forest", where=where, namespace="team")
    place.journal.audit.bless(namespace="team", model_key="forest", version=1, who="ada")
    assert is_as_it_was(tuningjob.params("forest", where=where, namespace="team"))
    assert tuningjob.params("forest", where=where, namespace="team", version=2) == {"C": 1}
    with pytest.raises(UnknownModel):
        tuningjob.params("tree", where=where, namespace="team")


def test_parameters_come_back_from_folders_of_results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_journal(tmp_path / "results/forest") as place:
        place.add(namespace="default", best_params=BEST)
    monkeypatch.chdir(tmp_path)
    for where in (None, "results", Path("results/forest"), tmp_path / "results/forest/tuning.db"):
        assert is_as_it_was(tuningjob.params("forest", where=where, version=1))
    with pytest.raises(JournalError, match="must be a journal that is there, but got elsewhere, where there is none"):
        tuningjob.params("forest", where="elsewhere")


@pytest.fixture
def choice(iris_forest: dict[str, Any]) -> dict[str, Any]:
    """A search among models, whose values are of every kind."""
    iris_forest["metadata"]["name"] = "choice"
    iris_forest["spec"] |= {
        "estimator": {
            "pipeline": [
                {"name": "scale", "class": "sklearn.preprocessing.StandardScaler"},
                {"name": "model", "class": "passthrough"},
            ]
        },
        "search": {
            "grid": {
                "parameters": [
                    {
                        "model": [{"class": "sklearn.svm.SVC", "params": {"random_state": 0}}],
                        "model__C": [{"float": 1}, 10],
                        "model__gamma": ["scale", 0.1],
                    },
                    {
                        "model": [
                            {
                                "class": "sklearn.neural_network.MLPClassifier",
                                "params": {"max_iter": 5, "random_state": 0},
                            }
                        ],
                        "model__hidden_layer_sizes": [{"tuple": [3, 2]}],
                        "scale": ["passthrough"],
                    },
                    {
                        "model": [{"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}}],
                        "model__max_depth": [None, 2],
                    },
                ]
            }
        },
        "returnTrainScore": True,
        "scoring": "accuracy",
    }
    return iris_forest


@pytest.fixture
def run(choice: dict[str, Any], tmp_path: Path, inside: Callable[..., Ended]) -> Callable[..., Ended]:
    return lambda: inside("run", written(choice, tmp_path))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.filterwarnings("ignore:A worker stopped")
def test_what_a_search_leaves_behind_is_read_back_as_scikit_learn_has_it(
    choice: dict[str, Any], run: Callable[[], Ended], tmp_path: Path
) -> None:
    done = run()
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "results/choice"
    _, want = sklearn_search_of(load(choice).spec)

    best = tuningjob.from_literals(json.loads((folder / "best_params.json").read_text()))
    assert repr(best) == repr(dict(sorted(want.best_params_.items())))
    pipeline = Pipeline([("scale", StandardScaler()), ("model", SVC())]).set_params(**clone(best, safe=False))
    assert repr(pipeline) == repr(want.best_estimator_)
    assert repr(tuningjob.params("choice", where=tmp_path / "results", version=1)) == repr(best)

    for name in ("cv_results.csv", "cv_results.parquet"):
        found = tuningjob.read_results(folder / name)
        assert [repr(params) for params in found["params"]] == [repr(params) for params in want.cv_results_["params"]]
        for column, values in want.cv_results_.items():
            if column.startswith("param_"):
                for value, params in zip(found[column], want.cv_results_["params"], strict=True):
                    assert repr(value) == repr(params.get(column.removeprefix("param_"), pd.NA))
            elif column.endswith("_score"):
                np.testing.assert_array_equal(found[column].to_numpy(), np.asarray(values))


@pytest.mark.slow
@in_a_fresh_process
def test_results_are_read_without_threads_so_that_a_search_after_it_may_fork() -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "cv_results.parquet"
        pd.DataFrame({"params": ['{"C": 1}'], "param_C": [1], "mean_test_score": [0.5]}).to_parquet(path)
        before = may_fork()
        tuningjob.read_results(path)
        assert (before, may_fork()) == (True, True)
