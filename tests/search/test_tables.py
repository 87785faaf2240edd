"""A file is read as pandas reads it, and what pandas would take for something else is refused with what to do."""

import gzip
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest import load
from tuningjob.manifest.data import Data
from tuningjob.search.data import Dataset, load_data
from tuningjob.search.problem import prepare


def data_of(path: str = "t.csv", **spec: Any) -> Data:
    return Data.model_validate({"path": path, "target": "y", **spec})


def read(folder: Path, content: bytes | str, **spec: Any) -> Dataset:
    (folder / "t.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    return load_data(data_of(**spec), folder)


def refusal(folder: Path, content: bytes | str, **spec: Any) -> Problem:
    with pytest.raises(ManifestRefused) as refused:
        read(folder, content, **spec)
    (problem,) = refused.value.problems
    assert problem.reason == "DataLoad"
    return problem


@pytest.mark.parametrize(
    ("content", "want"),
    [
        ("a;b;y\n1;2;0\n", "spec.data.path: must be a csv file whose fields are separated by commas, but got 't.csv'. One column was found, 'a;b;y': its fields look separated by ';'."),
        ("a;b;y\n1,5;2,5;0\n", "spec.data.path: must be a csv file whose fields are separated by commas"),
        ("a\tb\ty\n1\t2\t0\n", "its fields look separated by tabs."),
        ("a,y\n1,0\n2,1\n".encode("utf-16"), "spec.data.path: must be a csv file in UTF-8, but got 't.csv'. It looks like UTF-16: save it as UTF-8"),
        ("größe,y\n1,0\n".encode("latin-1"), "It may be Latin-1 or Windows-1252: save it as UTF-8"),
        ("a,b,y\n1,2,0,9\n3,4,1,9\n", "spec.data.path: must be a csv file whose every row has as many fields as the header, but got 't.csv'. The header has 3 fields, and line 2 has 4."),
        ("a,b,y\n1,2,0\n3,4,1,9\n", "Expected 3 fields in line 3, saw 4."),
        ("a,b,y\n1,2,0\n\n3,4\n", "The header has 3 fields, and line 4 has 2."),
        ('a,b,y\n"1\n1",2,0\n3,4\n', "The header has 3 fields, and line 4 has 2."),
        ("a,b,y\n\n1,2,0,9\n", "line 3 has 4."),
        ("# made by us\na,b,y\n1,2,0\n", "Is there a line before the header?"),
        ("-1.2,0.1,0.1\n1.3,0.4,0.5\n", "spec.data.target: must be a column of t.csv, but got 'y'. Is the header missing? The first line must hold the columns' names, but holds ['-1.2', '0.1', '0.1.1']."),
        ("a,b,why\n1,2,0\n", "but got 'y'. Known: a, b, why."),
        ("y\n1\n0\n", "spec.data.path: must be a file with columns beside the target, but got 't.csv'. 'y' is the only column of the file."),
    ],
)  # fmt: skip
def test_a_csv_file_that_is_not_what_it_seems_is_refused_with_what_to_do(
    tmp_path: Path, content: bytes | str, want: str
) -> None:
    assert want in str(refusal(tmp_path, content))


@pytest.mark.parametrize(
    "content",
    [
        "a,b,y\n1,2,0\n3,,1\n",
        "a,y,b\n1,0,2\n3,1,\n",
        'a,b,y\n"x,\ny",2,0\n\n3,4,1\n',
        "\ufeffa,b,y\r\n1,2,0\r\n3,4,1\r\n",
        'a,"b;c",y\n1,2,0\n',
        "\n  \na,b,y\n   \n1,2,0\n \n3,,\n",
        f"a,b,y\n{'x' * 200_000},2,\n",
    ],
)
def test_a_csv_file_is_read_as_pandas_reads_it(tmp_path: Path, content: str) -> None:
    data = read(tmp_path, content)
    want = pd.read_csv(tmp_path / "t.csv")
    pd.testing.assert_frame_equal(data.X, want.drop(columns="y"))
    pd.testing.assert_series_equal(data.y, want["y"])


def test_a_compressed_file_is_looked_at_as_well(tmp_path: Path) -> None:
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(b"a,b,y\n1,2,0,9\n3,4,1,9\n"))
    with pytest.raises(ManifestRefused, match="The header has 3 fields, and line 2 has 4"):
        load_data(data_of("t.csv.gz", format="csv"), tmp_path)


@pytest.mark.slow
@given(rows=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5), min_size=1, max_size=6))
def test_no_row_of_another_length_gets_through(rows: list[list[int]], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("rows")
    content = "a,b,y\n" + "".join(",".join(map(str, row)) + "\n" for row in rows)
    if all(len(row) == 3 for row in rows):
        assert read(folder, content).X.to_numpy().tolist() == [row[:2] for row in rows]
    else:
        refusal(folder, content)


def test_classes_that_pandas_takes_for_missing_are_told(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "1,NA\n2,EU\n3,US\n" * 5)
    document = {
        "apiVersion": "tuningjob.dev/v1alpha1",
        "kind": "TuningJob",
        "metadata": {"name": "t"},
        "spec": {
            "estimator": {"class": "sklearn.tree.DecisionTreeClassifier"},
            "search": {"grid": {"parameters": {"max_depth": [1]}}},
            "data": {"path": "t.csv", "target": "y"},
        },
    }
    with pytest.raises(ManifestRefused) as refused:
        prepare(load(document).spec, tmp_path)
    assert str(refused.value) == (
        "spec.data: must be data whose every target is known, but got 5 of 15 missing. Leave these rows out of the data. "
        "If that is a class: pandas reads NA, N/A, None, null and nan as missing; write another word."
    )


# --- where it is


@pytest.mark.parametrize(
    ("path", "want"),
    [
        ("s3://bucket/t.csv", "spec.data.path: must be the path of a file, but got 's3://bucket/t.csv'. A URL is named by spec.data.url: https://, s3://, gs:// and abfs:// are read."),
        ("https://host/t.csv", "A URL is named by spec.data.url"),
        ("parts.parquet", "spec.data.path: must be a file, or a folder of Parquet files (.parquet, .pq), at most 10,000, but got 'parts.parquet'. The folder has 0 files."),
        ("parts.csv", "It is a folder, and of parts only Parquet files are read"),
        ("u.csv", "Did you mean 't.csv'?"),
    ],
)  # fmt: skip
def test_what_is_no_file_is_refused_with_what_can_be_done(tmp_path: Path, path: str, want: str) -> None:
    (tmp_path / "t.csv").write_text("a,y\n1,0\n")
    (tmp_path / "parts.parquet").mkdir()
    (tmp_path / "parts.csv").mkdir()
    with pytest.raises(ManifestRefused) as refused:
        load_data(data_of(path), tmp_path)
    assert want in str(refused.value)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A secret beside the volume ``data``, and a link to it in there."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "t.csv").write_text("a,y\n1,0\n")
    (tmp_path / "secret").mkdir()
    secret = tmp_path / "secret" / "token.csv"
    secret.write_text("tj1.abc\n")
    (tmp_path / "data" / "link.csv").symlink_to(secret)
    (tmp_path / "data" / "linked").symlink_to(tmp_path / "secret")
    return secret


@pytest.mark.parametrize("volume", [{"configMap": "any"}, {"persistentVolumeClaim": "any"}, {}])
@pytest.mark.parametrize("path", ["{}", "link.csv", "linked/token.csv", "linked/other.csv"])
def test_in_a_pod_no_path_leads_out_of_the_volume_and_no_message_tells_of_what_is_there(
    outside: Path, volume: dict[str, str], path: str
) -> None:
    with pytest.raises(ManifestRefused) as refused:
        load_data(data_of(path.format(outside), **volume), outside.parent.parent / "data", in_pod=True)
    assert "tj1" not in str(refused.value)
    assert "Known" not in str(refused.value)


def test_an_absolute_path_is_below_the_volume_in_a_pod_and_itself_on_a_laptop(outside: Path) -> None:
    volume = outside.parent.parent / "data"
    assert load_data(data_of("/t.csv", configMap="any"), volume, in_pod=True).samples == 1
    assert load_data(data_of(str(volume / "t.csv")), outside.parent).samples == 1


def test_a_volume_that_links_within_itself_is_read(tmp_path: Path) -> None:
    # as a ConfigMap is mounted
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..2026" / "t.csv").write_text("a,y\n1,0\n")
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "t.csv").symlink_to("..data/t.csv")
    assert load_data(data_of(configMap="any"), tmp_path, in_pod=True).samples == 1


def test_a_pod_without_a_volume_is_told_to_name_one(tmp_path: Path) -> None:
    with pytest.raises(ManifestRefused, match=r"Name the volume that holds it by spec\.data\.persistentVolumeClaim"):
        load_data(data_of(), tmp_path, in_pod=True)
