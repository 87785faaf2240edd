"""`tuningjob verify` repeats fits of a finished search, and names each result, file and version that differs."""

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.local.commands import Ended, written
from tuningjob.manifest.canonical import read_file

pytestmark = pytest.mark.slow

Ask = Callable[..., Ended]


def small(**spec: Any) -> dict[str, Any]:
    """Six candidates on three splits of iris."""
    estimator = {"class": "sklearn.tree.DecisionTreeClassifier", "params": {"random_state": 0}}
    parameters = {"max_depth": [1, 2, 3], "min_samples_leaf": [1, 5]}
    return {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": "small"},
        "spec": {
            "estimator": estimator,
            "search": {"grid": {"parameters": parameters}},
            "crossValidation": {"folds": 3},
            "data": {"loader": "sklearn.datasets.load_iris"},
            "baseline": False,
            **spec,
        },
    }


@pytest.fixture
def searched(tmp_path: Path, inside: Ask) -> Callable[[dict[str, Any]], Path]:
    def run(document: dict[str, Any]) -> Path:
        assert inside("run", written(document, tmp_path), "--output", "out").returncode == 0
        return tmp_path / "out"

    return run


@contextmanager
def changed(folder: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(folder / "tuning.db")
    with connection:
        yield connection
    connection.close()


def with_cells(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    with changed(folder) as journal:
        for ordinal, text in journal.execute("SELECT ordinal, result FROM cells").fetchall():
            result = json.loads(text)
            change(result)
            journal.execute("UPDATE cells SET result = ? WHERE ordinal = ?", (json.dumps(result), ordinal))


EVERY_KIND: dict[str, Callable[[], dict[str, Any]]] = {
    "grid": lambda: small(returnTrainScore=True, scoring=["accuracy", "f1_macro"], refit="accuracy", baseline=True),
    "some fail": lambda: small(
        estimator={"class": "sklearn.linear_model.LogisticRegression", "params": {"solver": "lbfgs"}},
        search={"grid": {"parameters": {"l1_ratio": [0.0, 1.0]}}},
    ),
    "halving": lambda: small(search={"grid": small()["spec"]["search"]["grid"], "halving": {"factor": 2}}),
    "refine": lambda: small(
        search={"grid": {"parameters": {"ccp_alpha": [0.0001, 0.01, 0.1]}}, "refine": {"rounds": 2}}
    ),
    "nested": lambda: small(search={"grid": small()["spec"]["search"]["grid"], "nested": {"folds": 2}}),
}


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_fit_of_every_kind_of_search_is_the_same_to_the_bit(kind: str, searched: Any, inside: Ask) -> None:
    folder = searched(EVERY_KIND[kind]())
    done = inside("verify", folder, "--all")
    assert done.returncode == 0, done
    assert done.stdout.startswith("small: ")
    assert done.stdout.endswith(" again: the same to the bit.\n")
    page = (folder / "report.html").read_text()
    assert ("<h3>Rounds</h3>" in page or ">Rounds</h3>" in page) == (kind in {"halving", "refine"})
    assert ("tuningjob verify small --cell " in page) == (kind != "halving")


def test_a_seed_draws_the_same_fits_and_one_can_be_named(searched: Any, inside: Ask) -> None:
    folder = searched(small())
    first = [inside("verify", folder, "--seed", "3").stdout for _ in range(2)]
    assert first == ["small: 5 fits of 18 again: the same to the bit.\n"] * 2
    assert inside("verify", folder, "--cell", "5,2").stdout == "small: 1 fit of 18 again: the same to the bit.\n"
    for wrong in ("6,0", "0,3", "x", "-1,0"):
        refused = inside("verify", folder, f"--cell={wrong}")
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"--cell: must be CANDIDATE,SPLIT below 6,3, but got '{wrong}'." in refused.stderr


def test_a_score_that_is_another_is_told_with_both_numbers(searched: Any, inside: Ask) -> None:
    folder = searched(small())

    def change(result: dict[str, Any]) -> None:
        if (result["candidate"], result["split"]) == (4, 1):
            result["test_scores"]["score"] += 2**-52

    with_cells(folder, change)
    done = inside("verify", folder, "--all")
    assert done.returncode == 3
    told = done.stdout.splitlines()
    assert told[0] == "small: 18 fits of 18 again: 1 came out otherwise."
    assert told[1].startswith("  candidate 4, split 1 ({'max_depth': 3, 'min_samples_leaf': 1}): test score 0.9")
    assert told[2] == "Nothing that was recorded is different: the fits themselves do not give the same twice."


def test_other_data_and_other_versions_are_named(searched: Any, inside: Ask, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,b,label\n" + "".join(f"{i % 7},{i * i % 11},{i % 2}\n" for i in range(60)))
    folder = searched(small(data={"path": "d.csv", "target": "label"}))
    assert inside("verify", folder).returncode == 0
    with changed(folder) as journal:
        journal.execute("UPDATE searches SET preflight = json_set(preflight, '$.versions.numpy', '1.0.0')")
    (tmp_path / "d.csv").write_text("a,b,label\n" + "".join(f"{i % 5},{i * i % 13},{i % 2}\n" for i in range(66)))
    done = inside("verify", folder, "--all")
    assert done.returncode == 3
    assert "Different: data: " in done.stdout
    assert "(60 × 2 then, 66 × 2 now)" in done.stdout
    assert "Different: version: numpy 1.0.0 → " in done.stdout


def test_a_processor_with_other_kernels_is_named_if_nothing_else_is_different(searched: Any, inside: Ask) -> None:
    folder = searched(small())
    with_cells(folder, lambda result: result.update(identity="0" * 32))
    done = inside("verify", folder)
    assert done.returncode == 0
    assert "Different: CPU: the kernels of its arithmetic are not those of then; here they are " in done.stdout


def test_random_numbers_that_nobody_seeded_are_named(searched: Any, inside: Ask) -> None:
    forest = {"class": "sklearn.ensemble.RandomForestClassifier", "params": {"n_estimators": 3}}
    folder = searched(small(estimator=forest, scoring="neg_log_loss"))
    done = inside("verify", folder, "--all")
    assert done.returncode == 3
    assert "Different: random numbers: nobody seeded them (random_state is None)\n" in done.stdout


def test_downloaded_files_are_held_to_a_new_fit_by_their_manifest(searched: Any, inside: Ask, tmp_path: Path) -> None:
    document = small(returnTrainScore=True)
    folder = searched(document)
    (tmp_path / "got").mkdir()
    (tmp_path / "got" / "cv_results.csv").write_bytes((folder / "cv_results.csv").read_bytes())
    assert "--manifest: must be named where a folder has no tuning.db" in inside("verify", "got").stderr
    done = inside("verify", "got", "--all", "--manifest", "job.yaml")
    assert done == Ended(0, "small: 18 fits of 18 again: the same to the bit.\n", "")
    document["spec"]["estimator"]["params"]["criterion"] = "entropy"
    (tmp_path / "other.yaml").write_text(yaml.safe_dump(document))
    done = inside("verify", "got", "--all", "--manifest", "other.yaml")
    assert done.returncode == 3
    assert "what it ran with is not told here: the journal alone has digests and versions" in done.stdout


def test_data_that_are_elsewhere_are_asked_for_in_a_sentence(searched: Any, inside: Ask, tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_text("a,label\n" + "".join(f"{i % 7},{i % 2}\n" for i in range(60)))
    folder = searched(small(data={"path": "d.csv", "target": "label"}))
    (tmp_path / "there").mkdir()
    (tmp_path / "d.csv").rename(tmp_path / "there" / "d.csv")
    refused = inside("verify", folder)
    assert refused.returncode == 2
    assert "name a folder that has them by --data." in refused.stderr
    assert inside("verify", folder, "--data", "there").returncode == 0


def test_where_nothing_has_finished_there_is_nothing_to_hold_it_to(inside: Ask, tmp_path: Path, examples: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "--manifest: must be named" in inside("verify", "empty").stderr
    manifest = tmp_path / "job.yaml"
    manifest.write_text(yaml.safe_dump(read_file(examples / "iris-forest.yaml")))
    assert "cv_results.csv" in inside("verify", "empty", "--manifest", manifest).stderr
