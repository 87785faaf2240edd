"""A manifest that is too deep, too long, or too large is refused by every command, in bounded time and without a traceback."""

import resource
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.local.commands import TUNINGJOB, Ended

MANIFEST = """apiVersion: tuningjob.dev/v1alpha1
kind: TuningJob
metadata: {name: hostile}
spec:
  estimator: {class: sklearn.svm.SVC}
  data: {loader: sklearn.datasets.load_iris}
  search: {grid: {parameters: {C: VALUE}}}
"""
ALIASES = "\n".join(["a0: &a0 [1]", *(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 9)}]" for i in range(12)), ""])
MANIFESTS = {
    "400 digits": (MANIFEST.replace("VALUE", f"[{'9' * 400}]"), "spec.search.grid.parameters.C[0]: must be a number of at most 308 digits, but got one of 400."),
    "5,000 digits": (MANIFEST.replace("VALUE", f"[{'9' * 5_000}]"), "line 7, column 36: must be a number of at most 308 digits, but got one of 5,000."),
    "400 digits in a literal": (MANIFEST.replace("VALUE", f"[{{int: '{'9' * 400}'}}]"), "must be an integer of at most 308 digits, but got '9999"),
    "2,000 deep": (MANIFEST.replace("VALUE", "[" * 2_000 + "]" * 2_000), "lists and maps are more than 64 deep inside each other"),
    "aliases": (ALIASES + MANIFEST.replace("VALUE", "*a12"), "the file: must be of at most 200,000 values, but got more. YAML's aliases count as what they stand for."),
    "a megabyte": (f"{MANIFEST}{'#' * 2**20}", "must be a file of at most 1 MiB, but got a longer one."),
}  # fmt: skip


@pytest.mark.alike
@pytest.mark.parametrize("what", MANIFESTS)
def test_every_command_refuses_it(what: str, tmp_path: Path, inside: Callable[..., Ended]) -> None:
    text, message = MANIFESTS[what]
    (tmp_path / "job.yaml").write_text(text)
    for command in ("size", "validate", "run"):
        done = inside(command, "job.yaml")
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1


@pytest.mark.slow
def test_what_multiplies_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(MANIFESTS["aliases"][0])
    limit = 256 * 2**20
    done = subprocess.run(
        [*TUNINGJOB, "size", "job.yaml"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (limit, limit)),
    )
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert MANIFESTS["aliases"][1] in done.stderr
