"""``spec.data.query``: read the rows of a SELECT by pandas, without writing anything.

Our images have neither SQLAlchemy nor database drivers: a user who queries a database adds them to their own image.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final

import pandas as pd

from tuningjob.errors import ManifestRefused
from tuningjob.manifest.query import Query
from tuningjob.search.proc import resident_bytes
from tuningjob.search.reasons import Reason, error_text, refused

_SQL: Final = "spec.data.query.sql"
_URL_FROM: Final = "spec.data.query.urlFrom"
_ROWS: Final = 10_000  # fetched at a time
_MIB: Final = 2**20
# The statement that makes a transaction read-only in each database; PostgreSQL has an option of the connection.
_READ_ONLY: Final = {
    "sqlite": "PRAGMA query_only = ON",
    "mysql": "SET TRANSACTION READ ONLY",
    "mariadb": "SET TRANSACTION READ ONLY",
}


def read_query(query: Query, *, memory_bytes: int = 0) -> pd.DataFrame:
    """The frame of ``pandas.read_sql_query``. ``memory_bytes`` is the pod's, 0 if it is not known. Raises ManifestRefused."""
    if find_spec("sqlalchemy") is None:
        advice = "Install it, with your database's driver, where the search runs: pip install sqlalchemy psycopg, say."
        raise refused(Reason.CODE_IMPORT, "spec.data.query", "left out where SQLAlchemy is missing", "a query", advice)
    url = os.environ.get(query.url_from)
    if not url:
        advice = "In a pod set it in spec.pod.env, from a Secret; on a laptop in the environment."
        raise refused(Reason.DATA_LOAD, _URL_FROM, "a variable that is set", query.url_from, advice)
    with _told(query, url), _connected(url) as connection:
        return _rows(query, connection, memory_bytes)


@contextmanager
def _connected(url: str) -> Iterator[Any]:
    import sqlalchemy  # noqa: PLC0415  not in every image

    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    try:
        with engine.connect() as connection:
            dialect = engine.dialect.name
            if dialect == "postgresql":
                connection.execution_options(postgresql_readonly=True)
            elif dialect in _READ_ONLY:
                connection.exec_driver_sql(_READ_ONLY[dialect])
            # unchanged, so that neither a colon nor a % in it begins a parameter
            yield connection.execution_options(stream_results=True, no_parameters=True)
    finally:
        engine.dispose()


def _rows(query: Query, connection: Any, memory_bytes: int) -> pd.DataFrame:  # noqa: ANN401  SQLAlchemy is not in every image
    result = connection.exec_driver_sql(query.sql)
    rows: list[Any] = []
    while chunk := result.fetchmany(_ROWS):
        rows += map(tuple, chunk)
        taken = resident_bytes()
        if 0 < memory_bytes < taken:
            must_be = f"a query whose rows fit in the pod's memory ({memory_bytes / _MIB:,.0f} MiB)"
            advice = f"After {len(rows):,} rows {taken / _MIB:,.0f} MiB are taken. Raise spec.resources.memory, or select less."
            raise refused(Reason.DATA_TOO_LARGE, _SQL, must_be, query.sql, advice)
    return pd.DataFrame.from_records(rows, columns=list(result.keys()), coerce_float=True)


@contextmanager
def _told(query: Query, url: str) -> Iterator[None]:
    """The database's error as a refusal, without the URL, which has a password."""
    try:
        yield
    except ManifestRefused:
        raise
    except Exception as error:  # noqa: BLE001  any driver may raise its own
        said = error_text(getattr(error, "orig", None) or error)
        for secret in (url, url.partition("://")[2].rpartition("@")[0].partition(":")[2]):
            said = said.replace(secret, "…") if secret else said
        raise refused(Reason.DATA_LOAD, _SQL, "a query that can be run", query.sql, f"It says: {said}.") from None
