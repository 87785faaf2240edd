"""The command by which an administrator takes a person's name out of the audit."""

from contextlib import closing
from pathlib import Path

import pytest

from tests.journal.makers import Pod, a_search, an_answer
from tuningjob.journal.sql import open_sqlite
from tuningjob_operator import erase


@pytest.mark.slow
def test_the_name_is_gone_and_the_command_says_from_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TUNINGJOB_DATA_DIR", str(tmp_path))
    monkeypatch.delenv("TUNINGJOB_DATABASE_URL", raising=False)
    monkeypatch.setattr("sys.argv", ["erase", "ada@example.com"])
    with closing(open_sqlite(tmp_path / "tuning.db")) as journal:
        journal.open_search(a_search(created_by="ada@example.com"))
        Pod(journal.view("search-a")).work()
        journal.view("search-a").complete(an_answer())
        assert erase.main() == 0
        assert "is in 1 versions and 0 blessings in the place of the name" in capsys.readouterr().out
        row = journal.audit.version(namespace="team", model_key="forest", version=1)
    assert row.created_by.startswith("erased-")


def test_without_a_name_it_tells_how_it_is_used(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["erase"])
    assert erase.main() == 2
    assert "usage:" in capsys.readouterr().err
