"""``spec.data.function``: X and y from the user's own code, of any kind; whatever else it does is refused in words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.search.packages import write
from tests.search.searches import small
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.data import Data
from tuningjob.search.beside import importable
from tuningjob.search.data import Dataset, load_data

MINE = "tests.search.own_data"


def loaded(name: str, **params: Any) -> Dataset:
    return load_data(Data.model_validate({"function": f"{MINE}.{name}", "params": params}), Path())


@pytest.mark.parametrize(
    ("name", "params", "shape"),
    [
        ("load", {}, (90, 2)),
        ("load", {"rows": 12, "random_state": 3}, (12, 2)),
        ("bunch", {}, (30, 2)),
        ("sparse", {}, (90, 2)),
        ("documents", {}, (30, 1)),
        ("nothing_to_predict", {}, (90, 2)),
        ("must_be_told", {"random_state": 1}, (30, 2)),
    ],
)
def test_a_function_gives_data_of_any_kind(name: str, params: dict[str, Any], shape: tuple[int, int]) -> None:
    data = loaded(name, **params)
    assert (data.samples, data.features) == shape
    assert (data.y is None) == (name == "nothing_to_predict")


def test_params_are_its_arguments() -> None:
    assert loaded("load", random_state=1).digest != loaded("load").digest
    np.testing.assert_array_equal(loaded("load", random_state=0).X, loaded("load").X)


@pytest.mark.parametrize(
    ("name", "params", "reason", "want"),
    [
        ("drawn", {}, "DataUnseeded", "spec.data.params.random_state: must be an integer, but got None. Every worker must make the same data."),
        ("drawn", {"random_state": True}, "DataUnseeded", "must be an integer, but got True."),
        ("must_be_told", {}, "DataUnseeded", "spec.data.params.random_state: must be an integer"),
        ("laod", {}, "CodeImport", "spec.data.function: must be a function that tests.search.own_data has, but got 'tests.search.own_data.laod'. Did you mean 'load'?"),
        ("NO_FUNCTION", {}, "DataLoad", "spec.data.function: must be a function that gives X and y, but got 'tests.search.own_data.NO_FUNCTION'. It is an object of type int."),
        ("load", {"row": 3}, "DataLoad", "got an unexpected keyword argument 'row'"),
        ("raising", {}, "DataLoad", "It says: RuntimeError: the warehouse is closed (own_data.py, line"),
        ("leaving", {}, "DataLoad", "It says: SystemExit: 0"),
        ("three", {}, "DataLoad", "It gives 3 things."),
        ("frame", {}, "DataLoad", "It gives a dict: return X, y (or X, None where nothing is predicted)."),
        ("odd", {}, "DataLoad", "It gives a Odd"),
        ("number", {}, "DataLoad", "must be data whose X and y have rows"),
        ("uneven", {}, "DataLoad", "It has 2 rows and 1 targets."),
        ("empty", {}, "DataLoad", "spec.data.function: must be data with rows"),
        ("locked", {}, "DataLoad", "must be data that can be pickled, because pods must tell that they have the same"),
    ],
)  # fmt: skip
def test_what_a_function_must_not_do_is_refused_in_words(
    name: str, params: dict[str, Any], reason: str, want: str
) -> None:
    with pytest.raises(ManifestRefused) as refused:
        loaded(name, **params)
    (problem,) = refused.value.problems
    assert problem.reason == reason
    assert want in str(problem)


def _problem(**spec: Any) -> Problem:
    with pytest.raises(ManifestRefused) as refused:
        small({"max_depth": [1]}, **spec)
    return refused.value.problems[0]


def test_a_function_that_does_not_import_is_told_with_the_line() -> None:
    problem = _problem(data={"function": "tests.search.broken_module.load"})
    assert "Importing it says: RuntimeError: no licence was found (broken_module.py, line 3, in <module>)." in str(
        problem
    )


def test_the_functions_module_and_what_it_imports_are_part_of_the_searchs_code(tmp_path: Path) -> None:
    """The data are the same: that the code is another must still be known."""

    def identity(source: str) -> tuple[dict[str, str], str, str | None]:
        write(tmp_path, mydata="import deeper\n" + source, deeper="ROWS = 30")
        with importable(tmp_path):
            problem = small({"max_depth": [1]}, data={"function": "mydata.load"})
            return dict(problem.code.all.parts), problem.data.digest, problem.identities.of(0, 0)

    load = "from sklearn.datasets import make_blobs\ndef load():\n    return make_blobs(deeper.ROWS, random_state=0)\n"
    parts, digest, cell = identity(load)
    assert {"mydata.py", "deeper.py"} <= parts.keys()
    assert identity(load) == (parts, digest, cell)
    other_parts, same_digest, other_cell = identity(f"{load}# reviewed\n")
    assert same_digest == digest
    assert other_parts["deeper.py"] == parts["deeper.py"]
    assert other_parts["mydata.py"] != parts["mydata.py"]
    assert other_cell != cell
