"""A backup of a journal at work is a journal, as docs/database.md has it."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from tests.journal.makers import Pod, an_answer, works
from tests.servers.postgres import find_programs
from tuningjob.journal.sql import SqlJournal, open_sqlite


@pytest.mark.slow
def test_a_backup_of_a_sqlite_journal_at_work_is_a_journal(closed: Path) -> None:
    command = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).backup(sqlite3.connect(sys.argv[2]))"
    copy = closed.with_name("backup.db")
    with closing(open_sqlite(closed)) as journal:
        works(journal, "search-b")
        subprocess.run([sys.executable, "-c", command, closed, copy], check=True)
        works(journal, "search-c")
        with closing(open_sqlite(copy)) as restored:
            assert set(restored.revisions()) == {"search-a", "search-b"}
            assert list(restored.view("search-b").results()) == list(journal.view("search-b").results())
            works(restored, "search-d")


@pytest.mark.slow
def test_a_dump_of_a_postgres_journal_at_work_is_restored_into_an_empty_database(
    make_postgres: Callable[[], str], tmp_path: Path
) -> None:
    programs = find_programs()
    assert programs is not None
    url, empty = make_postgres(), make_postgres()
    with closing(SqlJournal(url)) as journal:
        works(journal)
        Pod(journal.view("search-a")).work()
        journal.view("search-a").complete(an_answer())
        journal.audit.bless(namespace="team", model_key="forest", version=1, who="ada")
        subprocess.run([programs / "pg_dump", "--format=custom", f"--file={tmp_path}/dump", url], check=True)
        subprocess.run([programs / "pg_restore", f"--dbname={empty}", "--exit-on-error", tmp_path / "dump"], check=True)
        with closing(SqlJournal(empty)) as restored:
            assert list(restored.view("search-a").results()) == list(journal.view("search-a").results())
            assert restored.audit.blessed(namespace="team", model_key="forest").version == 1
            works(restored, "search-b")
