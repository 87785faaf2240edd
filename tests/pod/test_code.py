"""Pods that start with other code than the first one, as after an image's tag was moved: refused, with what differs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.pod.pods import SEARCH, Pods
from tests.search.packages import STALE, own_module, write
from tests.truth import assert_equal_to_the_bit, sklearn_search
from tuningjob.manifest import load
from tuningjob.protocol.records import SearchState
from tuningjob.search.beside import importable
from tuningjob.search.problem import prepare
from tuningjob.search.results import gather

pytestmark = pytest.mark.slow


@pytest.fixture
def trees(iris_forest: dict[str, Any]) -> dict[str, Any]:
    """A search of ``mine.T``, of more fits than a pod does before it is stopped."""
    iris_forest["spec"]["estimator"] = {"class": "mine.T", "params": {"random_state": 0}}
    iris_forest["spec"]["search"]["grid"]["parameters"] = {
        "min_samples_leaf": {"range": [1, 500]},
        "ccp_alpha": {"linspace": [0, 0.1, 4]},
    }
    iris_forest["spec"]["data"] = {"loader": "sklearn.datasets.load_iris"}
    return iris_forest


def image(folder: Path, kind: str, depth: int) -> Path:
    """What is on the path of an image's Python."""
    change, _ = STALE[kind]
    (folder / str(depth)).mkdir()
    change(folder / str(depth), depth)
    return folder / str(depth)


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("own module", "mine.py sha256:"),
        ("helper", "helper.py sha256:"),
        ("base class", "base.py sha256:"),
        ("installed package", "my-trees 1.0 → 5.0"),
    ],
)
def test_a_pod_of_another_image_than_the_first_is_refused(
    pods: Pods, trees: dict[str, Any], tmp_path: Path, kind: str, told: str
) -> None:
    old, new = image(tmp_path, kind, 1), image(tmp_path, kind, 5)
    pods.open(trees)
    first = pods.start(0, PYTHONPATH=str(old))
    pods.until("the preflight", lambda: pods.service.journal.progress(SEARCH).preflight is not None)
    first.terminate()  # the search goes on without it
    assert pods.wait(first)[0] == 143
    code, said = pods.wait(pods.start(1, PYTHONPATH=str(new)))
    assert code == 2, said
    assert "spec.image: must be the same for every worker, but got " in said
    assert told in said
    progress = pods.service.journal.progress(SEARCH)
    assert progress.state is SearchState.REFUSED
    assert progress.refusal is not None
    assert progress.refusal.problems[0]["reason"] == "CodeChanged"
    assert set(pods.service.journal.reporters(SEARCH)) <= {0}, "no cell is of the other code"


def test_pods_of_the_same_code_share_a_search_wherever_it_lies(
    pods: Pods, trees: dict[str, Any], tmp_path: Path
) -> None:
    trees["spec"]["search"]["grid"]["parameters"] = {"min_samples_leaf": [1, 2]}
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        own_module(tmp_path / name, 5)
    write(tmp_path / "b", stranger="# of no search")
    pods.open(trees)
    running = [pods.start(index, PYTHONPATH=str(tmp_path / name)) for index, name in enumerate(("a", "b"))]
    assert [pods.wait(pod)[0] for pod in running] == [0, 0]
    spec = load(trees).spec
    with importable(tmp_path / "a"):
        problem = prepare(spec, tmp_path)
        want = sklearn_search(problem).cv_results_
    assert_equal_to_the_bit(gather(problem, pods.service.journal.view(SEARCH).results()).cv_results, want)


def test_a_search_that_a_pod_of_an_older_release_began_is_joined(
    pods: Pods, trees: dict[str, Any], tmp_path: Path
) -> None:
    """One that told no code, and only the versions of the libraries that were known by name."""
    trees["spec"]["search"]["grid"]["parameters"] = {"min_samples_leaf": [1, 2]}
    folder = image(tmp_path, "installed package", 5)
    pods.open(trees)
    with importable(folder):
        preflight = prepare(load(trees).spec, tmp_path).preflight
    known = {name: version for name, version in preflight.versions.items() if name != "my-trees"}
    assert len(known) == len(preflight.versions) - 1
    assert preflight.code == {"my-trees": "5.0"}
    pods.service.journal.view(SEARCH).set_preflight(replace(preflight, versions=known, code={}))
    assert pods.wait(pods.start(1, PYTHONPATH=str(folder)))[0] == 0


def test_modules_of_a_volume_are_the_searchs_code(pods: Pods, trees: dict[str, Any], tmp_path: Path) -> None:
    trees["spec"]["code"] = {"configMap": "mine"}
    for name, depth in (("one", 1), ("other", 5)):
        (tmp_path / name).mkdir()
        own_module(tmp_path / name, depth)
    pods.open(trees)
    first = pods.start(0, TUNINGJOB_CODE_DIR=str(tmp_path / "one"))
    pods.until("a cell", lambda: pods.service.journal.progress(SEARCH).done > 0)
    first.terminate()
    assert pods.wait(first)[0] == 143
    code, said = pods.wait(pods.start(1, TUNINGJOB_CODE_DIR=str(tmp_path / "other")))
    assert code == 2, said
    assert "mine.py sha256:" in said
