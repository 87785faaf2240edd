"""``spec.data.query`` is ``pandas.read_sql_query``, and cannot write."""

import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import sqlalchemy

from tests.servers.postgres import PASSWORD, Postgres
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest.data import Data
from tuningjob.search.data import Dataset, load_data

SQL = "SELECT * FROM t ORDER BY id"
ROWS = [(3, "Ulm", 1.5, None, "yes"), (1, "Köln: x%", None, 7, "no"), (2, "Kiel", -2.0, 8, "yes")]


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    connection = sqlite3.connect(tmp_path / "db")
    with connection:
        connection.execute("CREATE TABLE t (id INTEGER, city TEXT, a REAL, b INTEGER, y TEXT)")
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?)", ROWS)
    connection.close()
    found = f"sqlite:///{tmp_path / 'db'}"
    monkeypatch.setenv("DB", found)
    return found


def loaded(sql: str = SQL, **spec: Any) -> Dataset:
    memory = spec.pop("memory_bytes", 0)
    data = Data.model_validate({"query": {"sql": sql, "urlFrom": "DB"}, "target": "y", **spec})
    return load_data(data, Path("/nowhere"), in_pod=True, memory_bytes=memory)


def refusal(sql: str = SQL, **spec: Any) -> Problem:
    with pytest.raises(ManifestRefused) as refused:
        loaded(sql, **spec)
    (problem,) = refused.value.problems
    return problem


@pytest.mark.parametrize(
    "sql",
    [
        SQL,
        "select city, a, b, y from t order by id desc",
        "WITH u AS (SELECT y, a + 1 AS more, city FROM t WHERE city LIKE '%: x%' OR a IS NOT NULL)\nSELECT * FROM u ORDER BY more",
    ],
)
def test_rows_are_read_as_pandas_reads_them(url: str, sql: str) -> None:
    engine = sqlalchemy.create_engine(url)
    with engine.connect() as connection:
        want = pd.read_sql_query(sqlalchemy.text(sql.replace(": ", "\\: ")), connection)
    engine.dispose()
    data = loaded(sql)
    pd.testing.assert_frame_equal(data.X, want.drop(columns="y"))
    pd.testing.assert_series_equal(data.y, want["y"])


@pytest.mark.usefixtures("url")
def test_sort_is_an_order_too() -> None:
    assert [*loaded("SELECT * FROM t", sort="id").X["city"]] == ["Köln: x%", "Kiel", "Ulm"]


@pytest.mark.usefixtures("url")
def test_a_query_that_writes_is_refused_by_the_database() -> None:
    assert "readonly database" in refusal("WITH u AS (SELECT 1) DELETE FROM t WHERE 1 OR 'ORDER BY 1'").advice
    assert loaded().samples == 3


@pytest.mark.usefixtures("url")
def test_what_the_database_says_is_told() -> None:
    problem = refusal("SELECT * FROM u ORDER BY 1")
    assert (problem.field, problem.reason) == ("spec.data.query.sql", "DataLoad")
    assert "no such table: u" in problem.advice


def test_no_message_has_the_password(monkeypatch: pytest.MonkeyPatch) -> None:
    for url in ("nodriver://me:pa55word@host/db", "pa55word", "sqlite://me:pa55word@host/db"):
        monkeypatch.setenv("DB", url)
        assert "pa55word" not in str(refusal())


def test_a_variable_that_is_not_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DB", raising=False)
    problem = refusal()
    assert (problem.field, problem.got) == ("spec.data.query.urlFrom", "'DB'")


@pytest.mark.usefixtures("url")
def test_rows_that_do_not_fit_in_the_pods_memory_are_refused() -> None:
    problem = refusal(memory_bytes=2**20)
    assert problem.reason == "DataTooLarge"
    assert "After 3 rows" in problem.advice


@pytest.mark.usefixtures("url")
def test_a_column_that_is_not_there_is_told() -> None:
    assert "spec.data.target: must be a column of the query, but got 'z'." in str(refusal(target="z"))


@pytest.mark.slow
def test_postgres_gives_rows_and_takes_none(postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    name = postgres.create_database()
    url = postgres.url(name).replace("postgresql:", "postgresql+psycopg:")
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    with engine.begin() as connection:
        pd.DataFrame(ROWS, columns=["id", "city", "a", "b", "y"]).to_sql("t", connection, index=False)
        connection.execute(sqlalchemy.text("CREATE SEQUENCE counted"))
    with engine.connect() as connection:
        want = pd.read_sql_query(sqlalchemy.text(SQL), connection)
    monkeypatch.setenv("DB", url)
    pd.testing.assert_frame_equal(loaded().X, want.drop(columns="y"))
    assert loaded("SELECT a, y FROM t WHERE city LIKE 'K%' ORDER BY id").samples == 2
    writing = refusal("SELECT nextval('counted') AS id ORDER BY id")
    assert "read-only transaction" in writing.advice
    assert "data-modifying" in refusal("WITH gone AS (DELETE FROM t RETURNING *) SELECT * FROM gone ORDER BY id").advice
    assert loaded().samples == 3
    monkeypatch.setenv("DB", url.replace(PASSWORD, "pa55word"))
    assert "pa55word" not in str(refusal())
    postgres.drop_database(name)
