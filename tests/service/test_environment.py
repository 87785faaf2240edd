"""What pods have is told before anything is sent: by the lock of the worker's image."""

import platform
import warnings
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.service.server import Service
from tuningjob.cluster import environment
from tuningjob.cluster.environment import check_environment, check_kernels
from tuningjob.errors import JournalError, ManifestRefused
from tuningjob.protocol.environment import WorkerEnvironment
from tuningjob.remote.data import HttpData
from tuningjob.search.kernels import kernels_in_use
from tuningjob_operator.service.environment import worker_environment

LOCK = Path(__file__).resolve().parents[2] / "requirements" / "worker.txt"
HERE = {name: version(name) for name in ("scikit-learn", "numpy", "scipy", "pandas", "joblib")}


def there(**packages: str) -> WorkerEnvironment:
    changed = {name.replace("_", "-"): found for name, found in packages.items()}
    return WorkerEnvironment(python=platform.python_version(), packages=HERE | changed)


def test_the_lock_of_the_workers_image_is_what_pods_have() -> None:
    told = worker_environment(LOCK)
    assert told.python == platform.python_version()
    assert told.packages.items() >= HERE.items(), "this environment and the worker's image have one lock"
    assert worker_environment(Path("/nowhere")) == WorkerEnvironment()


@pytest.mark.slow
def test_the_same_versions_and_unknown_ones_pass_without_a_word() -> None:
    check_environment(there(), ["sklearn", "numpy", "collections", "my_own_module"])
    check_environment(WorkerEnvironment(), ["sklearn", "xgboost"])


@pytest.mark.slow
def test_another_minor_of_scikit_learn_and_a_missing_package_are_refused() -> None:
    with pytest.raises(ManifestRefused) as refused:
        check_environment(there(scikit_learn="1.8.2"), ["sklearn", "xgboost"])
    sklearns, xgboosts = map(str, refused.value.problems)
    assert sklearns.startswith(f"scikit-learn: must be 1.8, as pods have it, but got {HERE['scikit-learn']}")
    assert xgboosts.startswith("xgboost: must be a package that the worker image has, but got xgboost-cpu")
    assert "Cluster(image=…)" in xgboosts
    check_environment(there(xgboost_cpu="3.0"), ["xgboost"])


@pytest.mark.slow
def test_what_differs_a_little_is_warned_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_warned", set())
    other = there(numpy="2.0.0")
    with pytest.warns(UserWarning, match=rf"numpy 2\.0\.0 \(here {HERE['numpy']}\)"):
        check_environment(other, [])
    check_environment(other, [])  # warnings are errors


@pytest.mark.slow
def test_another_library_for_matrices_is_warned_of_once_before_and_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment, "_warned", set())
    here = kernels_in_use()
    assert here
    check_kernels([])
    check_kernels(here)
    other = "openblas 0.3.99 Zen"
    for _ in range(2):
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            check_kernels([other, *here])
            monkeypatch.setattr(environment, "_blas_of_numpy", lambda: "mkl-sdl")
            check_environment(there(), [])
        texts = [str(each.message) for each in told]
        assert len(texts) in {0, 2}
        if texts:
            assert texts[0].startswith(f"pods multiply matrices by {other}, and this process by {here[0]}")
            assert "BLAS scipy-openblas (here mkl-sdl)" in texts[1]
    assert texts == []


@pytest.mark.slow
def test_a_person_of_the_namespace_is_told(tmp_path: Path) -> None:
    service = Service(tmp_path)
    service.register.enter("alice", "get")
    service.start()
    try:
        with HttpData(service.url, "token-of-alice", namespace="team") as data:
            assert data.environment() == WorkerEnvironment()  # this service has no image
        with HttpData(service.url, "token-of-alice", namespace="other") as data, pytest.raises(JournalError):
            data.environment()
    finally:
        service.close()
