"""The code that a class runs: every file of the user's and every version that it leads to, and nothing that it does not."""

import functools
import importlib.machinery
import inspect
import sys
import types
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC
from sklearn.utils import all_estimators

from tests.search.packages import install, write
from tuningjob.search.beside import importable
from tuningjob.search.code_identity import CodeIdentity, CodeReader, code_of_search, named_classes, things_in

TOLD = ("python", "scikit-learn", "numpy", "scipy", "pandas", "joblib")


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """The user's own folder, on the path."""
    with importable(tmp_path):
        yield tmp_path


def code_of(path: str) -> CodeIdentity:
    module, _, name = path.rpartition(".")
    return CodeReader(TOLD).of(getattr(importlib.import_module(module), name))


def names(code: CodeIdentity) -> set[str]:
    return set(code.parts)


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_what_is_scikit_learns_is_told_by_its_version_alone() -> None:
    reader = CodeReader(TOLD)
    for _, estimator in all_estimators():
        assert reader.of(estimator) == CodeIdentity()
        if not inspect.signature(estimator).parameters.keys() & {"estimator", "estimators", "steps", "transformers"}:
            with suppress(TypeError):  # others that need arguments
                assert {reader.of(thing).digest for thing in things_in(estimator())} == {""}


def test_a_module_counts_with_all_that_it_imports_below_the_users_folder(folder: Path) -> None:
    write(
        folder,
        mine="import helper\nfrom pkg.core import Base\nclass T(Base): pass",
        helper="import os, numpy, deeper",
        deeper="",
        stranger="",
        **{"pkg.__init__": "from . import side", "pkg.core": "class Base: pass", "pkg.side": "", "pkg.other": ""},
    )
    code = code_of("mine.T")
    assert names(code) == {"mine.py", "helper.py", "deeper.py", "pkg/__init__.py", "pkg/core.py", "pkg/side.py"}
    assert not code.unknown


@pytest.mark.parametrize("changed", ["mine", "helper", "late", "pkg.core"])
def test_a_change_of_any_of_them_is_a_change_of_the_code(folder: Path, changed: str) -> None:
    write(
        folder,
        mine="import helper\nfrom pkg.core import Base\nclass T(Base):\n    def fit(self):\n        import late",
        helper="",
        late="",
        **{"pkg.core": "class Base: pass"},  # no __init__: a namespace
    )
    before = code_of("mine.T")
    with (folder / f"{changed.replace('.', '/')}.py").open("a") as file:
        file.write("\n# other")
    after = code_of("mine.T")
    assert {name for name in names(before) if before.parts[name] != after.parts[name]} == {
        f"{changed.replace('.', '/')}.py"
    }
    assert before.digest != after.digest


def test_it_does_not_matter_what_has_been_imported_by_now(folder: Path) -> None:
    write(folder, mine="class T:\n    def fit(self):\n        import pkg.late", **{"pkg.late": "", "pkg.__init__": ""})
    before = code_of("mine.T")
    assert "pkg" not in sys.modules, "nothing is imported to be looked at"
    importlib.import_module("pkg.late")
    assert code_of("mine.T") == before


def test_the_classes_that_a_class_inherits_from_count_wherever_they_were_put_together(folder: Path) -> None:
    write(folder, base="class Base: pass", mine="class T: pass")
    T, Base = (importlib.import_module(name) for name in ("mine", "base"))
    assert names(CodeReader().of(type("Made", (T.T, Base.Base), {"__module__": "mine"}))) == {"mine.py", "base.py"}


def test_an_import_that_may_fail_counts_from_when_it_does_not(folder: Path) -> None:
    write(folder, mine="try:\n    import fast\nexcept ImportError:\n    fast = None\nclass T: pass")
    assert names(code_of("mine.T")) == {"mine.py"}
    write(folder, fast="")
    assert names(code_of("mine.T")) == {"mine.py", "fast.py"}


def test_modules_that_import_each_other_are_looked_at_once(folder: Path) -> None:
    write(folder, one="import two", two="import one\nclass T: pass")
    assert names(code_of("two.T")) == {"one.py", "two.py"}


def test_a_file_of_the_users_may_have_the_name_of_one_of_pythons(folder: Path) -> None:
    write(folder, mine="import turtle\nclass T: pass", turtle="")
    assert names(code_of("mine.T")) == {"mine.py", "turtle.py"}


def test_a_compiled_file_of_the_users_counts_by_its_bytes(folder: Path) -> None:
    name = f"fast{importlib.machinery.EXTENSION_SUFFIXES[0]}"
    write(folder, mine="class T:\n    def fit(self):\n        import fast")
    (folder / name).write_bytes(b"\x7fELF one")
    before = code_of("mine.T")
    (folder / name).write_bytes(b"\x7fELF other")
    after = code_of("mine.T")
    assert [name for name in names(before) if before.parts[name] != after.parts[name]] == [name]


# --- distributions


def test_an_installed_distribution_is_its_version_and_those_of_what_it_requires(folder: Path) -> None:
    requires = ("numpy>=1", "below-it (>=2) ; python_version > '3'", "not-here", 'extra-one; extra == "all"')
    install(folder, "boosted-trees", "1.0", {"boosted/__init__.py": "class T: pass"}, requires=requires)
    install(folder, "below-it", "2.1", {"below/__init__.py": ""})
    install(folder, "extra-one", "1.0", {"extra.py": ""})
    code = code_of("boosted.T")
    assert code.parts == {"boosted-trees": "1.0", "below-it": "2.1"}
    assert code.versions == {"boosted-trees": "1.0"}
    install(folder, "below-it", "2.2", {"below/__init__.py": ""})
    assert code_of("boosted.T").parts == {"boosted-trees": "1.0", "below-it": "2.2"}


def test_a_distribution_that_the_users_module_imports_counts_as_well(folder: Path) -> None:
    install(folder, "boosted", "1.0", {"boosted/core.py": "", "boosted/__init__.py": ""})
    write(folder, mine="from boosted.core import nothing_yet\nclass T: pass".replace("from", "if 0: from"))
    code = code_of("mine.T")
    assert names(code) == {"mine.py", "boosted"}
    assert code.versions == {"boosted": "1.0"}


def test_of_what_was_installed_from_a_folder_the_files_count_too_because_its_version_stays(folder: Path) -> None:
    def installed(source: str) -> CodeIdentity:
        install(folder, "local", "1.0", {"local.py": source}, direct_url="file:///src")
        return code_of("local.T")

    before = installed("class T: pass")
    assert before.parts["local"].startswith("1.0 sha256:")
    assert installed("class T: pass  # other").parts["local"] != before.parts["local"]
    assert before.versions == {"local": "1.0"}


def test_what_lies_beside_an_installed_distribution_and_is_none_of_it_is_the_users(folder: Path) -> None:
    install(folder, "mine", "1.0", {"other.py": ""})
    write(folder, mine="class T: pass")
    assert names(code_of("mine.T")) == {"mine.py"}


def test_distributions_that_share_a_namespace_are_told_apart(folder: Path) -> None:
    for name in ("one", "two"):
        install(folder, f"shared-{name}", "1.0", {f"shared/{name}/__init__.py": "class T: pass"})
    write(folder, **{"shared.mine": "import shared.two\nclass T: pass"})
    assert names(code_of("shared.one.T")) == {"shared-one"}
    assert names(code_of("shared.mine.T")) == {"shared/mine.py", "shared-two"}


def test_a_library_that_is_known_by_its_version_does_not_hide_the_users_own_below_its_name(folder: Path) -> None:
    write(folder, numpy_of_mine="class T: pass")
    assert names(code_of("numpy_of_mine.T")) == {"numpy_of_mine.py"}


# --- what cannot be told


def test_code_without_a_file_is_told_as_unknown(folder: Path) -> None:
    made = types.ModuleType("made")
    exec("class T: pass", made.__dict__)
    made.T.__module__ = "made"
    sys.modules["made"] = made
    try:
        write(folder, mine="import made\nclass T: pass")
        assert code_of("made.T").unknown == {"made"}
        assert code_of("mine.T").unknown == {"made"}
    finally:
        del sys.modules["made"]
    assert CodeReader().of(type("T", (), {"__module__": "__main__"})).unknown == {"__main__"}
    assert CodeReader().of(type("T", (), {"__module__": "never_was"})).unknown == {"never_was"}
    assert CodeReader().of(type("T", (), {"__module__": 7})).unknown == {""}


def test_a_file_that_is_gone_is_unknown(folder: Path) -> None:
    write(folder, mine="class T: pass")
    importlib.import_module("mine")
    (folder / "mine.py").unlink()
    assert code_of("mine.T").unknown == {"mine"}


def test_a_module_in_a_zip_is_known_by_its_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with zipfile.ZipFile(folder / "lib.zip", "w") as file:
        file.writestr("zipped.py", "import mine\nclass T: pass")
    write(folder, mine="")
    monkeypatch.syspath_prepend(folder / "lib.zip")
    try:
        assert names(code_of("zipped.T")) == {"zipped.py", "mine.py"}
    finally:
        sys.modules.pop("zipped", None)


# --- functions, and objects of the user's


def test_functions_lead_to_what_they_wrap(folder: Path) -> None:
    write(
        folder,
        wrap="import functools\ndef wrapper(f):\n    @functools.wraps(f)\n    def inner(*a): return f(*a)\n    inner.__module__ = 'wrap'\n    return inner",
        mine="from wrap import wrapper\nclass T:\n    @classmethod\n    def made(cls): pass\ndef f(): pass",
    )
    mine, wrap = importlib.import_module("mine"), importlib.import_module("wrap")
    reader = CodeReader()
    assert names(reader.of(wrap.wrapper(mine.f))) == {"mine.py", "wrap.py"}
    assert "mine.py" in names(reader.of(functools.partial(mine.f)))
    assert "mine.py" in names(reader.of(mine.T.made))
    assert reader.of(len) == CodeIdentity()


class Rude:
    """What raises whatever it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Ring:
    """An estimator of its own that holds itself."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        return {"inner": [self, {"again": self}]}


def test_whatever_a_parameter_is_it_is_looked_at_and_raises_nothing() -> None:
    found = set(things_in(Ring(), [Rude()], FunctionTransformer(np.log1p), {"C": [SVC(), len]}, range(10), np.ones(3)))
    assert {Ring, Rude, FunctionTransformer, SVC, len} <= found


@pytest.mark.parametrize("build", [list, tuple, lambda values: dict(enumerate(values))])
def test_a_long_list_of_numbers_has_no_code(build: Callable[[Any], Any]) -> None:
    assert list(things_in(build(range(200_000)))) == []


def test_a_module_that_only_hands_on_a_class_counts_because_it_may_change_it(folder: Path) -> None:
    write(folder, handing="from sklearn.svm import SVC\nSVC.patched = 1", mine="class T: pass")

    def code(path: str) -> Any:
        return code_of_search(estimators=[SVC()], others=[], paths=[path], told=TOLD)

    assert names(code("handing.SVC").beside) == {"handing.py"}
    assert code("sklearn.svm.SVC").all == CodeIdentity()


def test_the_classes_that_a_manifest_names_are_found_at_any_depth() -> None:
    grid = {"grid": {"parameters": {"model": [{"class": "a.B", "params": {"of": {"class": "c.D"}}}, "passthrough"]}}}
    pipeline = [{"name": "scale", "class": "passthrough"}, {"name": "model", "class": "e.F"}]
    assert set(named_classes([{"pipeline": pipeline}, grid])) == {"a.B", "c.D", "e.F", "passthrough"}
