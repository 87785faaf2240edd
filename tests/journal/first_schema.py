"""A journal as the first release left it, in SQL as it wrote it: its tables, and searches in every state."""

import json
from collections.abc import Callable, Iterable, Set
from typing import Any

from sqlalchemy import Connection, text

# {time} and {without_rowid}: where the two databases differ
TABLES = """
CREATE TABLE schema_version (version INTEGER NOT NULL, PRIMARY KEY (version));
CREATE TABLE searches (
    id VARCHAR(128) NOT NULL, namespace VARCHAR(63) NOT NULL, name VARCHAR(253) NOT NULL, model_key VARCHAR(253) NOT NULL,
    spec TEXT NOT NULL, candidates BIGINT NOT NULL, splits INTEGER NOT NULL, pods INTEGER NOT NULL,
    state VARCHAR(16) NOT NULL, revision INTEGER NOT NULL,
    opened_at {time} NOT NULL, started_at {time}, finished_at {time},
    preflight TEXT, refusal TEXT, failure TEXT, answer TEXT, model_version INTEGER,
    next_ordinal BIGINT NOT NULL, done BIGINT NOT NULL, failed BIGINT NOT NULL, finisher INTEGER, PRIMARY KEY (id));
CREATE TABLE hyperparameter_audit (
    namespace VARCHAR(63) NOT NULL, model_key VARCHAR(253) NOT NULL, version INTEGER NOT NULL, search_id VARCHAR(128) NOT NULL,
    best_params TEXT NOT NULL, score FLOAT, metric VARCHAR(64) NOT NULL, std FLOAT, fits BIGINT NOT NULL,
    failed_fits BIGINT NOT NULL, duration_seconds FLOAT NOT NULL, finished_at {time} NOT NULL,
    data_digest VARCHAR(128) NOT NULL, versions TEXT NOT NULL, PRIMARY KEY (namespace, model_key, version));
CREATE TABLE units (
    search_id VARCHAR(128) NOT NULL, id INTEGER NOT NULL, start BIGINT NOT NULL, stop BIGINT NOT NULL,
    remaining INTEGER NOT NULL, holder INTEGER, PRIMARY KEY (search_id, id),
    FOREIGN KEY(search_id) REFERENCES searches (id) ON DELETE CASCADE);
CREATE INDEX units_open ON units (search_id, remaining, holder);
CREATE TABLE cells (
    search_id VARCHAR(128) NOT NULL, ordinal BIGINT NOT NULL, candidate BIGINT NOT NULL, score FLOAT, result TEXT NOT NULL,
    reported_by INTEGER NOT NULL, reported_at {time} NOT NULL, reports INTEGER NOT NULL, PRIMARY KEY (search_id, ordinal),
    FOREIGN KEY(search_id) REFERENCES searches (id) ON DELETE CASCADE) {without_rowid};
"""
SPLITS = 5
CANDIDATES = 6
PREFLIGHT = {
    "data_digest": "d" * 64,
    "samples": 150,
    "features": 4,
    "versions": {"scikit-learn": "1.9.1"},
    "warnings": [],
}
ANSWER = {
    "best_index": 3, "best_score": 0.9, "best_std": 0.01, "best_params": {"C": 1, "kernel": "rbf"}, "metric": "accuracy",
    "failed_fits": 0, "refit_seconds": 0.5, "fit_seconds_total": 30.0,
}  # fmt: skip
NOON = "2026-03-01 12:00:00.000000"


def make(connection: Connection) -> None:
    """The tables, empty but for the schema's version."""
    kinds = {"sqlite": ("DATETIME", "WITHOUT ROWID"), "postgresql": ("TIMESTAMP WITH TIME ZONE", "")}
    time, without_rowid = kinds[connection.dialect.name]
    for statement in TABLES.format(time=time, without_rowid=without_rowid).split(";"):
        if statement.strip():
            connection.execute(text(statement))
    connection.execute(text("INSERT INTO schema_version (version) VALUES (1)"))


def fill(connection: Connection) -> None:
    """Searches of 6 candidates × 5 splits.

    ``running``: 20 cells cut into units. 0 is finished; index 1 holds unit 1 with a cell of it in; unit 2 was given back.
    ``claimed``: index 0 holds the first unit, nothing is in. ``new``: nobody has claimed. ``complete``, ``failed``, ``refused``:
    ended so. ``tie``: two candidates of the same mean, and one with a NaN that would be better.
    """
    _search(connection, "running", next_ordinal=20, done=11, failed=1, preflight=PREFLIGHT)
    _units(connection, "running", [(0, 10, 0, 0), (10, 16, 5, 1), (16, 20, 4, None)])
    _cells(connection, "running", range(11), failing={4})
    _search(connection, "claimed", next_ordinal=8)
    _units(connection, "claimed", [(0, 8, 8, 0)])
    _search(connection, "new")
    everything = CANDIDATES * SPLITS
    _search(connection, "complete", state="Complete", next_ordinal=everything, done=everything, finisher=0,
            preflight=PREFLIGHT, answer=ANSWER, model_version=1, finished_at=NOON)  # fmt: skip
    _units(connection, "complete", [(0, everything, 0, 0)])
    _cells(connection, "complete", range(everything))
    _search(connection, "failed", state="Failed", next_ordinal=5, failure="OutOfMemory", finished_at=NOON)
    _units(connection, "failed", [(0, 5, 5, 0)])
    _search(connection, "refused", state="Refused", refusal={"problems": [{"field": "spec"}]}, finished_at=NOON)
    _search(connection, "tie", next_ordinal=15, done=15)
    _units(connection, "tie", [(0, 15, 0, 0)])
    _cells(
        connection, "tie", range(15), score=lambda ordinal: None if ordinal == 0 else 0.9 if ordinal < SPLITS else 0.5
    )
    _insert(connection, "hyperparameter_audit", namespace="team", model_key="forest", version=1, search_id="complete",
            best_params=json.dumps(ANSWER["best_params"]), score=0.9, metric="accuracy", std=None, fits=everything,
            failed_fits=0, duration_seconds=90.0, finished_at=NOON, data_digest="d" * 64,
            versions=json.dumps(PREFLIGHT["versions"]))  # fmt: skip


def score_of(ordinal: int) -> float:
    """Highest for candidate 3, and of the first two for candidate 1."""
    candidate, split = divmod(ordinal, SPLITS)
    return 0.9 - abs(candidate - 3) / 10 + split / 1000


def _search(connection: Connection, search_id: str, **columns: Any) -> None:
    ordinary: dict[str, Any] = {
        "id": search_id, "namespace": "team", "name": "forest", "model_key": "forest", "spec": "{}", "candidates": CANDIDATES,
        "splits": SPLITS, "pods": 2, "state": "Running", "revision": 7, "opened_at": NOON, "next_ordinal": 0, "done": 0,
        "failed": 0,
    }  # fmt: skip
    _insert(connection, "searches", **(ordinary | columns))


def _units(connection: Connection, search_id: str, units: list[tuple[int, int, int, int | None]]) -> None:
    for number, (start, stop, remaining, holder) in enumerate(units):
        _insert(connection, "units", search_id=search_id, id=number, start=start, stop=stop, remaining=remaining,
                holder=holder)  # fmt: skip


def _cells(
    connection: Connection,
    search_id: str,
    ordinals: Iterable[int],
    *,
    score: Callable[[int], float | None] = score_of,
    failing: Set[int] = frozenset(),
) -> None:
    for ordinal in ordinals:
        candidate, split = divmod(ordinal, SPLITS)
        value = None if ordinal in failing else score(ordinal)
        result = {
            "candidate": candidate, "split": split, "test_scores": {"accuracy": "NaN" if value is None else value},
            "train_scores": None, "fit_seconds": 0.25, "score_seconds": 0.5, "test_samples": 30,
            "error": "ValueError" if ordinal in failing else None,
        }  # fmt: skip
        _insert(connection, "cells", search_id=search_id, ordinal=ordinal, candidate=candidate, score=value, result=result,
                reported_by=0, reported_at=NOON, reports=1)  # fmt: skip


def _insert(connection: Connection, table: str, **columns: Any) -> None:
    values = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in columns.items()}
    if connection.dialect.name == "postgresql":  # SQLite's times are in UTC without saying so
        values = {name: f"{NOON}+00" if value == NOON else value for name, value in values.items()}
    names = ", ".join(values)
    connection.execute(text(f"INSERT INTO {table} ({names}) VALUES (:{', :'.join(values)})"), values)
