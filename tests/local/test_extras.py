"""Without the extra `local` the package says what to install; and it is what pyproject says that the extra brings."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tuningjob.extras import advice_for

# As `pip install .` without an extra: the package, and what it depends on.
ALWAYS = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions.py", "typing_inspection", "yaml", "_yaml")
BROUGHT_BY_OTHERS = {"scipy"}  # scikit-learn's own dependency


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of an installation without extras, and no others: links to the ones that are installed here."""
    installed, folder = Path(yaml.__file__).parent.parent, tmp_path_factory.mktemp("plain")
    for name in ALWAYS:
        (folder / name).symlink_to(installed / name)
    (folder / "tuningjob").symlink_to(ROOT / "worker/tuningjob")
    return folder


def python(plain: Path, *arguments: str) -> tuple[int, str, str]:
    # -S: no site-packages but what PYTHONPATH names
    done = subprocess.run(
        [sys.executable, "-S", *arguments],
        cwd=plain,
        env={"PYTHONPATH": str(plain), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["run", "job.yaml"], ["models"]], ids=" ".join)
def test_the_command_tells_what_to_install(plain: Path, arguments: list[str]) -> None:
    want = "The command needs the extra 'local' (click is not installed): pip install 'tuningjob[local]'\n"
    assert python(plain, "-m", "tuningjob.cli", *arguments) == (2, "", want)
    script = ["-c", "import sys; from tuningjob.cli import main; main(sys.argv[1:])", *arguments]
    assert python(plain, *script) == (2, "", want)


@pytest.mark.parametrize("name", ["GridSearchCV", "RandomizedSearchCV", "params", "from_literals", "read_results"])
def test_an_import_tells_what_to_install(plain: Path, name: str) -> None:
    code, _, stderr = python(plain, "-c", f"from tuningjob import {name}")
    assert code == 1
    assert stderr.splitlines()[-1].startswith(f"ImportError: tuningjob.{name} needs the extra 'local' (")
    assert stderr.endswith("is not installed): pip install 'tuningjob[local]'\n")


def test_where_scikit_learn_is_and_no_command_line_files_are_read_and_the_audit_is_not(plain: Path) -> None:
    installed = Path(yaml.__file__).parent.parent
    code = (
        f"import sys; sys.path.append({str(installed)!r}); sys.modules['click'] = None; import tuningjob\n"
        "print(tuningjob.from_literals({'a': {'tuple': [1]}}))\ntuningjob.params('forest')"
    )
    status, stdout, stderr = python(plain, "-c", code)
    assert (status, stdout) == (1, "{'a': (1,)}\n")
    assert stderr.splitlines()[-1] == (
        "ImportError: tuningjob.params needs the extra 'local' (click is not installed): pip install 'tuningjob[local]'"
    )


def test_the_manifest_is_read_all_the_same(plain: Path) -> None:
    code = f"from tuningjob.manifest import load_file; print(load_file(__import__('pathlib').Path({str(ROOT / 'examples/iris-forest.yaml')!r})).metadata.name)"
    assert python(plain, "-c", code) == (0, "iris-forest\n", "")


def test_whatever_the_extra_brings_is_known() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    brought = {each.split("[")[0].split(">")[0] for name in ("search", "local") for each in extras[name]} - {
        "tuningjob"
    }
    modules = {"scikit-learn": "sklearn"}
    for name in brought | BROUGHT_BY_OTHERS:
        module = modules.get(name, name)
        assert advice_for(ModuleNotFoundError(name=f"{module}.part"), "It") is not None, name
    assert advice_for(ModuleNotFoundError(name="mytools"), "It") is None
