"""If an extra is not installed, the package names it, and pyproject.toml has that extra."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tuningjob.extras import advice_for

# As in an image without the library's dependencies, or after `pip install --no-deps`: what manifests need, and no more.
ALWAYS = ("pydantic", "pydantic_core", "annotated_types", "typing_extensions.py", "typing_inspection", "yaml", "_yaml")
BROUGHT_BY_OTHERS = {"scipy"}  # scikit-learn's own dependency


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages of such an installation, and no others: links to the ones that are installed here."""
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


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["run", "job.yaml"], ["models"]], ids=" ".join)
def test_the_command_tells_what_to_install(plain: Path, arguments: list[str]) -> None:
    want = "The command needs click, which is not installed: pip install tuningjob brings it\n"
    assert python(plain, "-m", "tuningjob.cli", *arguments) == (2, "", want)
    script = ["-c", "import sys; from tuningjob.cli import main; main(sys.argv[1:])", *arguments]
    assert python(plain, *script) == (2, "", want)


@pytest.mark.alike
@pytest.mark.parametrize("name", ["GridSearchCV", "RandomizedSearchCV", "params", "from_literals", "read_results"])
def test_an_import_tells_what_to_install(plain: Path, name: str) -> None:
    code, _, stderr = python(plain, "-c", f"from tuningjob import {name}")
    assert code == 1
    assert stderr.splitlines()[-1].startswith(f"ImportError: tuningjob.{name} needs ")
    assert stderr.endswith(", which is not installed: pip install tuningjob brings it\n")


@pytest.mark.slow
def test_where_scikit_learn_is_and_no_command_line_files_are_read_and_the_audit_is_not(plain: Path) -> None:
    installed = Path(yaml.__file__).parent.parent
    code = (
        f"import sys; sys.path.append({str(installed)!r}); sys.modules['click'] = None; import tuningjob\n"
        "print(tuningjob.from_literals({'a': {'tuple': [1]}}))\ntuningjob.params('forest')"
    )
    status, stdout, stderr = python(plain, "-c", code)
    assert (status, stdout) == (1, "{'a': (1,)}\n")
    assert stderr.splitlines()[-1] == (
        "ImportError: tuningjob.params needs click, which is not installed: pip install tuningjob brings it"
    )


@pytest.mark.slow
def test_the_manifest_is_read_all_the_same(plain: Path) -> None:
    code = f"from tuningjob.manifest import load_file; print(load_file(__import__('pathlib').Path({str(ROOT / 'examples/iris-forest.yaml')!r})).metadata.name)"
    assert python(plain, "-c", code) == (0, "iris-forest\n", "")


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9_-]+", requirement)
    assert found is not None
    return found[0]


def test_whatever_is_brought_is_known() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    modules = {"scikit-learn": "sklearn"}
    brought = {name_of(each) for each in project["dependencies"]} - {"pydantic", "pyyaml", "typing-extensions"}
    for name in brought | BROUGHT_BY_OTHERS:
        module = modules.get(name, name)
        told = advice_for(ModuleNotFoundError(name=f"{module}.part"), "It")
        assert told == f"It needs {module}, which is not installed: pip install tuningjob brings it"
    for extra, requirements in project["optional-dependencies"].items():
        for name in (name_of(each).removesuffix("-skinny") for each in requirements):
            told = advice_for(ModuleNotFoundError(name=name), "It")
            assert told == f"It needs the extra '{extra}' ({name} is not installed): pip install 'tuningjob[{extra}]'"
    assert advice_for(ModuleNotFoundError(name="mytools"), "It") is None


def test_the_images_have_what_the_library_asks_for() -> None:
    """The images have the same bounds as the tests, so that the tested versions are those that run."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text())
    said = {name_of(each): each for each in pyproject["project"]["dependencies"]}
    said |= {name_of(each): each for each in pyproject["project"]["optional-dependencies"]["cluster"]}
    for group in pyproject["dependency-groups"].values():
        for each in group:
            if isinstance(each, str) and name_of(each) in said:
                assert each == said[name_of(each)]
