"""The files of a finished search: what they hold, how they are compressed, and what is said of them when they are loaded."""

import hashlib
import json
import platform
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV

from tests.conftest import ROOT
from tests.truth import assert_equal_to_the_bit, sklearn_search
from tuningjob import __version__, local
from tuningjob.artifacts.downloads import Sidecar, check_files, load_model
from tuningjob.errors import ArtifactRefused, ManifestRefused
from tuningjob.manifest import load
from tuningjob.manifest.wellknown import RESULT_FILES
from tuningjob.search.problem import SearchProblem, prepare
from tuningjob.search.stop import Stop

pytestmark = pytest.mark.slow

NEIGHBORS = {
    "estimator": {"class": "sklearn.neighbors.KNeighborsClassifier"},
    "search": {"grid": {"parameters": {"n_neighbors": [1, 5]}}},
    "crossValidation": {"folds": 3},
    "data": {"loader": "sklearn.datasets.load_wine"},
}
SEARCHES: dict[str, dict[str, Any]] = {
    "the estimator's own score": NEIGHBORS,
    "a scorer, and scores of the training side": {**NEIGHBORS, "scoring": "neg_log_loss", "returnTrainScore": True},
    "a regressor": {
        "estimator": {"class": "sklearn.linear_model.Ridge"},
        "search": {"grid": {"parameters": {"alpha": [0.1, 1, 10]}}},
        "data": {"loader": "sklearn.datasets.load_diabetes"},
    },
    "a pipeline, on columns with names": {
        "estimator": {
            "pipeline": [
                {"name": "scale", "class": "sklearn.preprocessing.StandardScaler"},
                {"name": "svc", "class": "sklearn.svm.SVC"},
            ]
        },
        "search": {"grid": {"parameters": [{"svc__C": [0.1, 1]}, {"svc__gamma": ["auto"], "scale": ["passthrough"]}]}},
        "data": {"path": "wine.csv", "target": "target"},
    },
}


def searched(spec: dict[str, Any], folder: Path) -> SearchProblem:
    """Run the search; its files are in ``folder``, and so is its data."""
    load_wine(as_frame=True).frame.to_csv(folder / "wine.csv", index=False)
    job = load(
        {
            "apiVersion": "tuningjob.dev/v1alpha1",
            "kind": "TuningJob",
            "metadata": {"name": "wine"},
            "spec": {"baseline": False, **spec},
        }
    )
    local.run(job, folder=folder, output=folder, stop=Stop())
    return prepare(job.spec, folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished search; not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    searched(NEIGHBORS, folder)
    return folder


@pytest.fixture
def downloaded(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, as a download makes one."""
    for name in RESULT_FILES:
        (tmp_path / name).write_bytes((finished / name).read_bytes())
    return tmp_path


def sidecar_of(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "artifacts.json").read_text())
    return document


def change_sidecar(folder: Path, **changes: Any) -> None:
    (folder / "artifacts.json").write_text(json.dumps({**sidecar_of(folder), **changes}))


# --- the fitted search object ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SEARCHES)
def test_the_stored_search_is_as_scikit_learns_fit_leaves_it(name: str, tmp_path: Path) -> None:
    problem = searched(SEARCHES[name], tmp_path)
    want = sklearn_search(problem)

    found = load_model(tmp_path / "search.joblib")

    assert type(found) is GridSearchCV
    assert vars(found).keys() == vars(want).keys()
    assert repr(found) == repr(want)
    assert_equal_to_the_bit(found.cv_results_, want.cv_results_)
    for attribute in ("best_index_", "best_score_", "n_splits_", "multimetric_"):
        assert (type(getattr(found, attribute)), getattr(found, attribute)) == (
            type(getattr(want, attribute)),
            getattr(want, attribute),
        )
    for attribute in ("best_params_", "best_estimator_", "scorer_", "_checked_cv_orig"):
        assert repr(getattr(found, attribute)) == repr(getattr(want, attribute))
    if hasattr(want, "feature_names_in_"):
        np.testing.assert_array_equal(found.feature_names_in_, want.feature_names_in_)
    assert found.refit_time_ > 0


@pytest.mark.parametrize("name", SEARCHES)
def test_the_stored_search_predicts_and_scores_as_scikit_learns(name: str, tmp_path: Path) -> None:
    problem = searched(SEARCHES[name], tmp_path)
    X, y = problem.data.X, problem.data.y
    want = sklearn_search(problem)

    found = load_model(tmp_path / "search.joblib")

    np.testing.assert_array_equal(found.predict(X), want.predict(X))
    assert found.score(X, y) == want.score(X, y)
    assert hasattr(found, "predict_proba") == hasattr(want, "predict_proba")
    np.testing.assert_array_equal(load_model(tmp_path / "model.joblib").predict(X), want.predict(X))
    # and it can be fitted again, as any search can
    assert_equal_to_the_bit(clone(found).fit(X, y).cv_results_, want.cv_results_)


# --- compression, and what stands beside the files -------------------------------------------------------------------

MAGIC = {"lz4": b"\x04\x22\x4d\x18", "gzip": b"\x1f\x8b", "xz": b"\xfd7zXZ\x00", "none": b"\x80"}


@pytest.mark.parametrize("compression", MAGIC)
def test_the_model_and_the_search_are_compressed_as_the_manifest_says(compression: str, tmp_path: Path) -> None:
    problem = searched({**NEIGHBORS, "artifacts": {"compression": compression}}, tmp_path)
    for name in ("model.joblib", "search.joblib"):
        assert (tmp_path / name).read_bytes().startswith(MAGIC[compression])
        np.testing.assert_array_equal(
            load_model(tmp_path / name).predict(problem.data.X),
            sklearn_search(problem).predict(problem.data.X),
        )
    assert sidecar_of(tmp_path)["compression"] == compression
    assert ("lz4" in sidecar_of(tmp_path)["versions"]) == (compression == "lz4")


@pytest.mark.parametrize(("compression", "module"), [("lz4", "lz4"), ("xz", "_lzma")])
def test_a_compression_that_is_not_installed_is_refused_before_anything_is_fitted(
    compression: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(
        ManifestRefused, match=rf"spec\.artifacts\.compression: must be .* but got '{compression}'.*{module}:"
    ):
        searched({**NEIGHBORS, "artifacts": {"compression": compression}}, tmp_path)
    assert not (tmp_path / "tuning.db").exists()


def test_beside_the_files_stand_their_sizes_and_digests_and_the_versions_that_made_them(finished: Path) -> None:
    sidecar = sidecar_of(finished)
    assert [entry["name"] for entry in sidecar["files"]] == [name for name in RESULT_FILES if name != "artifacts.json"]
    for entry in sidecar["files"]:
        data = (finished / entry["name"]).read_bytes()
        assert (entry["size_bytes"], entry["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
    assert sidecar["tuningjob"] == __version__
    assert sidecar["versions"]["python"] == platform.python_version()
    for name in ("scikit-learn", "numpy", "scipy", "joblib"):
        assert sidecar["versions"][name] == version(name)


def test_nothing_unfinished_is_left(finished: Path) -> None:
    assert not [path for path in finished.rglob("*") if path.name.endswith(".part")]


# --- checking a download ---------------------------------------------------------------------------------------------


def test_files_as_they_were_stored_with_the_versions_that_are_here_need_no_word(downloaded: Path) -> None:
    assert check_files(downloaded) == []


def test_a_file_that_was_not_asked_for_may_be_missing(downloaded: Path) -> None:
    (downloaded / "search.joblib").unlink()
    assert check_files(downloaded) == []


@pytest.mark.parametrize("name", [name for name in RESULT_FILES if name != "artifacts.json"])
def test_a_file_that_is_not_what_was_stored_is_refused(downloaded: Path, name: str) -> None:
    with (downloaded / name).open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(ArtifactRefused, match=rf"{name}: must be of [\d,]+ bytes with the SHA-256 .*Download it again"):
        check_files(downloaded)


def test_a_changed_model_is_refused_before_it_is_unpickled(downloaded: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (pytest.fail, ("it was unpickled",))

    joblib.dump(Trap(), downloaded / "model.joblib")
    with pytest.raises(ArtifactRefused):
        load_model(downloaded / "model.joblib")


def test_a_file_that_the_sidecar_does_not_list_is_not_loaded(downloaded: Path) -> None:
    other = downloaded / "other.joblib"
    other.write_bytes((downloaded / "model.joblib").read_bytes())
    with pytest.raises(ArtifactRefused, match=r"other\.joblib: must be one of the files that"):
        load_model(other)


def test_a_library_of_another_version_is_told_and_the_model_is_loaded(downloaded: Path) -> None:
    change_sidecar(downloaded, versions={**sidecar_of(downloaded)["versions"], "scikit-learn": "1.2.3"})
    want = (
        f"scikit-learn: the files were written with 1.2.3, {version('scikit-learn')} is installed here. "
        "Install scikit-learn==1.2.3 if they do not load."
    )
    assert check_files(downloaded) == [want]
    with pytest.warns(UserWarning, match="scikit-learn: the files were written with 1.2.3") as told:
        model = load_model(downloaded / "model.joblib")
    assert told[0].filename == __file__
    assert model.n_features_in_ == 13


def test_a_library_that_is_not_here_is_told(downloaded: Path) -> None:
    change_sidecar(downloaded, versions={"no-such-library": "1.0"})
    assert check_files(downloaded) == [
        "no-such-library: the files were written with 1.0, and it is not installed here."
    ]


def test_another_python_is_told_but_not_another_patch_of_it(downloaded: Path) -> None:
    major, minor, _ = platform.python_version_tuple()
    change_sidecar(downloaded, versions={"python": f"{major}.{minor}.99"})
    assert check_files(downloaded) == []
    change_sidecar(downloaded, versions={"python": "3.1.4"})
    assert check_files(downloaded) == [
        f"Python: the files were written with 3.1.4, this is {platform.python_version()}."
    ]


def test_files_without_a_sidecar_are_loaded_with_a_warning(downloaded: Path) -> None:
    (downloaded / "artifacts.json").unlink()
    with pytest.warns(
        UserWarning, match=r"artifacts\.json is not there: neither digests nor versions could be checked"
    ):
        load_model(downloaded / "model.joblib")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"tuningjob": "0", "compression": "none", "versions": {}, "files": [{"name": "model.joblib"}]}',
        '{"tuningjob": "0", "compression": "none", "versions": 1, "files": []}',
        '{"tuningjob": "0", "compression": "none", "versions": {}, "files": 3}',
        '{"tuningjob": "0", "compression": "none", "versions": {}, "files": [{"name": 3, "size_bytes": 1, "sha256": ""}]}',
        '{"tuningjob": "0", "compression": "none", "versions": {}, "files": [{"name": "a", "size_bytes": "one", "sha256": ""}]}',
        '{"tuningjob": "0", "compression": "none", "versions": {"numpy": 2}, "files": []}',
        "\xff",
    ],
)
def test_a_sidecar_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "artifacts.json").write_text(text, encoding="latin-1")
    with pytest.raises(ArtifactRefused, match=r"artifacts\.json: must be the JSON that a search writes"):
        check_files(tmp_path)


@pytest.mark.parametrize("name", ["../model.joblib", "/etc/passwd", "", "model.joblib/../../x"])
def test_a_sidecar_does_not_lead_out_of_its_folder(tmp_path: Path, name: str) -> None:
    entry = {"name": name, "size_bytes": 1, "sha256": "0" * 64}
    sidecar = {"tuningjob": "0", "compression": "none", "versions": {}, "files": [entry]}
    (tmp_path / "artifacts.json").write_text(json.dumps(sidecar))
    with pytest.raises(ArtifactRefused, match="must list best_params"):
        check_files(tmp_path)


def test_a_sidecar_comes_back_as_it_was_written(finished: Path) -> None:
    text = (finished / "artifacts.json").read_text()
    assert Sidecar.loads(text).dumps() == text


# --- what the documentation shows ------------------------------------------------------------------------------------

SHOWN = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / "artifacts.md").read_text(encoding="utf-8"), re.DOTALL)


def test_what_the_documentation_shows_works(
    downloaded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The blocks, one after the other, as a reader would run them."""
    (downloaded / "forest-v3").mkdir()
    for name in RESULT_FILES:
        (downloaded / name).rename(downloaded / "forest-v3" / name)
    monkeypatch.chdir(downloaded)
    names: dict[str, Any] = {"X": load_wine().data}
    assert len(SHOWN) == 3
    for block in SHOWN:
        exec(block, names)
    assert names["frame"]["param_n_neighbors"].tolist() == [1, 5]
    assert "{'n_neighbors': 1}" in capsys.readouterr().out
    assert isinstance(names["model"]._fit_X, np.memmap)
    np.testing.assert_array_equal(names["model"].predict(names["X"]), names["search"].predict(names["X"]))


def test_a_mapped_model_shares_the_files_pages_and_cannot_be_written_to(downloaded: Path) -> None:
    mapped = load_model(downloaded / "model.joblib", mmap_mode="r")
    assert Path(mapped._fit_X.filename) == downloaded / "model.joblib"
    with pytest.raises(ValueError, match="read-only"):
        mapped._fit_X[0, 0] = 1


def test_a_compressed_model_cannot_be_mapped_and_is_read_with_a_warning(tmp_path: Path) -> None:
    searched({**NEIGHBORS, "artifacts": {"compression": "gzip"}}, tmp_path)
    with pytest.warns(UserWarning, match="mmap_mode .* is not compatible with compressed file"):
        model = load_model(tmp_path / "model.joblib", mmap_mode="r")
    assert not isinstance(model._fit_X, np.memmap)


@pytest.mark.slow
def test_checking_a_download_imports_no_library_that_could_unpickle_it(downloaded: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tuningjob.artifacts.downloads import check_files; "
        f"check_files(Path({str(downloaded)!r})); "
        "print(sorted({'joblib', 'sklearn', 'numpy', 'pickle'} & sys.modules.keys()))"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told.strip() == "[]"
