"""``spec.data.read`` is ``pandas.read_csv``: what it reads is pandas' frame, and what pandas passes over in silence is refused."""

import csv
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningjob.errors import ManifestRefused
from tuningjob.manifest.data import Data
from tuningjob.search.data import Dataset, load_data


def read(folder: Path, content: bytes | str, read: dict[str, Any] | None = None, **spec: Any) -> Dataset:
    (folder / "t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    with_read = {} if read is None else {"read": read}
    return load_data(Data.model_validate({"path": "t.csv", "target": "y", **with_read, **spec}), folder)


EUROPEAN = "stadt;größe;seit;y\nKöln;1.234,5;03.11.2025;ja\nÜlzen;7,25;13.01.2024;nein\n"
READS: dict[str, tuple[str | bytes, dict[str, Any], dict[str, Any]]] = {
    "semicolons, decimal commas and Latin-1": (EUROPEAN.encode("latin-1"), {"delimiter": ";", "decimal": ",", "thousands": ".", "encoding": "latin-1"}, {"sep": ";", "decimal": ",", "thousands": ".", "encoding": "latin-1"}),
    "dates by their format": (EUROPEAN, {"delimiter": ";", "parseDates": ["seit"], "dateFormat": "%d.%m.%Y"}, {"sep": ";", "parse_dates": ["seit"], "date_format": "%d.%m.%Y"}),
    "dates that begin with the day": ("d,y\n03/11/2025,1\n04/11/2025,2\n", {"parseDates": ["d"], "dayFirst": True}, {"parse_dates": ["d"], "dayfirst": True}),
    "types": ("zip,age,y\n01234,7,1\n00001,,0\n", {"dtypes": {"zip": "str", "age": "Int64", "y": "int8"}}, {"dtype": {"zip": "str", "age": "Int64", "y": "int8"}}),
    "categories": ("c,d,y\nb,1,0\na,2,1\n", {"categories": ["c"], "dtypes": {"d": "category"}}, {"dtype": {"c": "category", "d": "category"}}),
    "missing values of its own": ("a,b,y\n-,NA,1\n?,x,0\n3,y,1\n", {"naValues": ["-", "?"], "keepDefaultNa": False}, {"na_values": ["-", "?"], "keep_default_na": False}),
    "words for true and false": ("a,y\nja,1\nnein,0\n", {"trueValues": ["ja"], "falseValues": ["nein"]}, {"true_values": ["ja"], "false_values": ["nein"]}),
    "another quote": ("a,b,y\n'x,z',1,0\n'it''s',2,1\n", {"quoteChar": "'"}, {"quotechar": "'"}),
    "no quotes": ('a,b,y\n"x,1,0\nz",2,1\n', {"quoting": "none"}, {"quoting": csv.QUOTE_NONE}),
    "escapes": ('a,b,y\n"x\\"y",1,0\nz,2,1\n', {"escapeChar": "\\", "doubleQuote": False}, {"escapechar": "\\", "doublequote": False}),
    "comments and lines before the header": ("made by us\n\na,b,y\n# of old\n1,2,0 # odd\n3,4,1\n", {"comment": "#", "skipRows": 1}, {"comment": "#", "skiprows": 1}),
    "no header": ("1,2,0\n3,4,1\n", {"header": False, "names": ["a", "b", "y"]}, {"header": None, "names": ["a", "b", "y"]}),
    "names in the place of the header's": ("x,z,t\n3,4,1\n", {"names": ["a", "b", "y"]}, {"header": 0, "names": ["a", "b", "y"]}),
    "runs of blanks": ("  a   b  y\n 1.5   2  0\n3    4\t1\n", {"delimiter": r"\s+"}, {"sep": r"\s+"}),
    "tabs": ("a\tb\ty\n1\t\t0\n", {"delimiter": "\t"}, {"sep": "\t"}),
    "blanks after commas": ('a, b, y\n1, "2,5", 0\n', {"skipInitialSpace": True}, {"skipinitialspace": True}),
    "an index": ("id,a,y\nu1,1,0\nu2,2,1\n", {"indexColumn": "id"}, {"index_col": "id"}),
    "UTF-16": ("größe,y\n1,0\n".encode("utf-16"), {"encoding": "utf-16"}, {"encoding": "utf-16"}),
}  # fmt: skip


@pytest.mark.parametrize("case", READS)
def test_a_file_is_read_as_pandas_reads_it(case: str, tmp_path: Path) -> None:
    content, options, by_hand = READS[case]
    data = read(tmp_path, content, options)
    want = pd.read_csv(tmp_path / "t.csv", **by_hand)
    pd.testing.assert_frame_equal(data.X, want.drop(columns="y"))
    pd.testing.assert_series_equal(data.y, want["y"])


_texts = st.text(st.sampled_from("ab'\";,|# .-éß\t1"), max_size=6)
_values = st.one_of(_texts, st.integers(-(10**6), 10**6), st.floats(allow_nan=False, allow_infinity=False), st.none())


_rules = st.fixed_dictionaries(
    {
        "delimiter": st.sampled_from(";|\t"),
        "quoteChar": st.sampled_from("\"'"),
        "decimal": st.sampled_from(".,"),
        "encoding": st.sampled_from(["utf-8", "latin-1", "utf-16", "cp1252"]),
        "keepDefaultNa": st.booleans(),
    },
    optional={"naValues": st.sampled_from([["-"], ["a", "1"]])},
)


@pytest.mark.slow
@given(rows=st.lists(st.tuples(_values, _values, st.integers(0, 1)), min_size=1, max_size=5), rules=_rules)
def test_whatever_is_written_by_some_rules_is_read_by_these(
    rows: list[tuple[Any, ...]], rules: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    names = {"delimiter": "sep", "quoteChar": "quotechar", "naValues": "na_values", "keepDefaultNa": "keep_default_na"}
    by_hand = {names.get(name, name): value for name, value in rules.items()}
    text = pd.DataFrame(rows, columns=["a", "b", "y"]).to_csv(
        sep=rules["delimiter"], quotechar=rules["quoteChar"], decimal=rules["decimal"], index=False
    )
    content = text.encode(rules["encoding"])
    found = read(tmp_path_factory.mktemp("rules"), content, rules)
    want = pd.read_csv(io.BytesIO(content), **by_hand)
    pd.testing.assert_frame_equal(found.X, want[["a", "b"]])
    pd.testing.assert_series_equal(found.y, want["y"])


@pytest.mark.parametrize(
    ("content", "options", "want"),
    [
        ("a;b;y\n1;2;0\n", None, "its fields look separated by ';'. Say so by spec.data.read.delimiter."),
        ("a,b,y\n1,2,0\n", {"delimiter": ";"}, "spec.data.path: must be a csv file whose fields are separated by ';', but got 't.csv'. One column was found, 'a,b,y': its fields look separated by commas."),
        ("größe,y\n1,0\n".encode("latin-1"), None, "or write spec.data.read.encoding: cp1252."),
        ("größe,y\n1,0\n".encode("latin-1"), {"encoding": "ascii"}, "must be a csv file in ascii, but got 't.csv'. It may be Latin-1 or Windows-1252: write spec.data.read.encoding: cp1252, or leave it out where it is UTF-8."),
        ("a,y\n1,0\n", {"encoding": "latin-99"}, "spec.data.read.encoding: must be an encoding that Python knows, but got 'latin-99'."),
        ("a,y\n1,0\n", {"encoding": "rot13"}, "spec.data.read.encoding: must be an encoding that Python knows"),
        ("a,y\n1,0\n", {"encoding": "undefined"}, "spec.data.read.encoding: must be an encoding that Python knows"),
        ("since,y\n1,0\n", {"parseDates": ["sinse"]}, "spec.data.read.parseDates[0]: must be a column of t.csv, but got 'sinse'. Did you mean 'since'?"),
        ("city,y\n1,0\n", {"categories": ["y", "town"]}, "spec.data.read.categories[1]: must be a column of t.csv, but got 'town'. Known: city, y."),
        ("city,y\n1,0\n", {"dtypes": {"zip": "str"}}, "spec.data.read.dtypes.zip: must be a column of t.csv, but got 'zip'."),
        ("city,y\n1,0\n", {"indexColumn": "cty"}, "spec.data.read.indexColumn: must be a column of t.csv, but got 'cty'. Did you mean 'city'?"),
        ("d,y\n2025-01-02,0\nsoon,1\n", {"parseDates": ["d"]}, "spec.data.read.parseDates[0]: must be a column whose every value is a date, written as 'the first', but got 'd'. It has '2025-01-02'. Say by spec.data.read.dateFormat"),
        ("d,y\nabc 7,0\nsoon,1\n", {"parseDates": ["d"]}, "must be a column whose every value is a date"),
        ("d,y\n02.01.2025,0\n", {"parseDates": ["d"], "dateFormat": "%Y-%m-%d"}, "written as '%Y-%m-%d', but got 'd'. It has '02.01.2025'."),
        ("a,y\nx,0\n", {"dtypes": {"a": "int64"}}, "spec.data.path: must be a csv file that can be read, but got 't.csv'. Reading it says: invalid literal for int() with base 10: 'x'"),
        ("1,2,0\n3,4\n", {"header": False, "names": ["a", "b", "y"]}, "There are 3 names, and line 2 has 2 fields."),
        ("1,2,0\n", {"header": False, "names": ["a", "a", "y"]}, "spec.data.read.names: must be a list of different names, but got 'a'. It is there twice."),
        ("1,2,0\n3,4,1\n", {"header": False, "names": ["a", "y"]}, "There are 2 names, and line 1 has 3 fields."),
        ("made by us\na,b,y\n1,2,0\n3,4\n", {"skipRows": 1}, "The header has 3 fields, and line 4 has 2."),
        ("a b  y\n1  2 0\n3 4\n", {"delimiter": r"\s+"}, "The header has 3 fields, and line 3 has 2."),
    ],
)  # fmt: skip
def test_what_pandas_would_take_for_something_else_is_refused_with_what_to_do(
    tmp_path: Path, content: bytes | str, options: dict[str, Any] | None, want: str
) -> None:
    with pytest.raises(ManifestRefused) as refused:
        read(tmp_path, content, options)
    assert want in str(refused.value)


# --- which columns, in which order


def test_what_is_excluded_and_what_sorts_are_no_features(tmp_path: Path) -> None:
    content = "id,day,a,y\n7,2025-02-01,1,0\n8,2024-01-01,2,1\n9,2025-02-01,3,0\n1,2024-12-31,4,1\n"
    data = read(tmp_path, content, exclude=["id"], sort="day")
    want = pd.read_csv(tmp_path / "t.csv").sort_values("day", kind="stable")
    pd.testing.assert_frame_equal(data.X, want[["a"]])
    pd.testing.assert_series_equal(data.y, want["y"])
    assert list(read(tmp_path, content, features=["day"], sort="day").X.columns) == ["day"]


def test_columns_that_other_fields_name_are_no_features(tmp_path: Path) -> None:
    data = Data.model_validate({"path": "t.csv", "target": "y"})
    (tmp_path / "t.csv").write_text("a,who,y\n1,u,0\n2,v,1\n")
    groups = {"spec.crossValidation.groups": "who"}
    grouped = load_data(data, tmp_path, beside=groups)
    assert list(grouped.X.columns) == ["a"]
    assert grouped.beside["spec.crossValidation.groups"].tolist() == ["u", "v"]
    with pytest.raises(ManifestRefused) as refused:
        load_data(data, tmp_path, beside={"spec.crossValidation.groups": "whom"})
    assert "spec.crossValidation.groups: must be a column of t.csv, but got 'whom'. Did you mean 'who'?" in str(
        refused.value
    )
    with pytest.raises(ManifestRefused) as refused:
        load_data(data.model_copy(update={"features": ["who"]}), tmp_path, beside=groups)
    assert "spec.crossValidation.groups: must be a column that is no feature, but got 'who'." in str(refused.value)


@pytest.mark.parametrize(
    ("content", "spec", "want"),
    [
        ("a,day,y\n1,3,0\n2,,1\n", {"sort": "day"}, "spec.data.sort: must be a column without missing values, but got 'day'. 1 of 2 are missing: nobody knows where they belong."),
        ("a,day,y\n1,3,0\n", {"sort": "days"}, "spec.data.sort: must be a column of t.csv, but got 'days'. Did you mean 'day'?"),
        ("a,day,y\n1,3,0\n", {"exclude": ["dey"]}, "spec.data.exclude[0]: must be a column of t.csv, but got 'dey'. Did you mean 'day'?"),
        ("a,day,y\n1,3,0\n", {"exclude": ["day", "a"]}, "spec.data.path: must be a file with columns beside the target, but got 't.csv'. None of its other columns is a feature: 'a', 'day'."),
    ],
)  # fmt: skip
def test_columns_that_cannot_do_their_part_are_refused(
    tmp_path: Path, content: str, spec: dict[str, Any], want: str
) -> None:
    with pytest.raises(ManifestRefused) as refused:
        read(tmp_path, content, **spec)
    assert want in str(refused.value)
