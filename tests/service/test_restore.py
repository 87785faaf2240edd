"""The restore drill: the commands of docs/database.md, run; all is destroyed, and in a new place it goes on."""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.documents import commands_of
from tests.journal.makers import Pod, a_preflight, a_search, an_answer, score_of
from tests.servers import postgres as servers
from tests.servers.postgres import Postgres
from tests.service.process import Process
from tuningjob.journal.sql import SqlJournal
from tuningjob.protocol.records import Cell, SearchState
from tuningjob.protocol.requests import Report
from tuningjob.remote.worker import HttpSearchJournal
from tuningjob_operator import tokens

pytestmark = pytest.mark.slow

COMMANDS = commands_of("database.md", "Backup and restore")
CANDIDATES, SPLITS = 40, 5
FILES = {"model.joblib": b"a model", "best_params.json": b"{}"}


def commands(pattern: str) -> str:
    """The one command of the page that this matches, without kubectl in front of it."""
    (found,) = [line for line in COMMANDS if re.search(pattern, line)]
    return found.partition(" -- ")[2] or found


def run(command: str, folder: Path, database_url: str = "") -> None:
    """As a person would: in a shell, with ``folder`` in the place of the volume."""
    paths = [servers.find_programs(), "/usr/bin", "/bin", Path(shutil.which("python") or "").parent]
    environment = {"PATH": ":".join(str(path) for path in paths), "DATABASE_URL": database_url}
    subprocess.run(
        ["bash", "-ec", command.replace("/data", str(folder))],
        cwd=folder.parent,
        env=environment,
        check=True,
        timeout=60,
    )


@dataclass(frozen=True)
class Kind:
    """A kind of database: where one is, what saves it, and what makes it again."""

    url_in: Callable[[Path], str]
    backup: tuple[str, ...]
    restore: tuple[str, ...]


@pytest.fixture(params=["sqlite", "postgres"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    if request.param == "sqlite":
        yield Kind(
            lambda folder: f"sqlite:///{folder / 'tuning.db'}",
            (commands("python -c"), commands("tar .*-cf"), commands(" rm ")),
            (commands("tar .*-xf"), commands(" mv ")),
        )
        return
    server: Postgres = request.getfixturevalue("postgres")
    dumped = (commands("pg_dump"), "tar -C /data -cf - artifacts > tuning.tar")
    yield Kind(lambda _: server.url(server.create_database()), dumped, (commands("pg_restore"), commands("tar .*-xf")))


def half(worker: HttpSearchJournal) -> set[Cell]:
    """Do some of a search; what was acknowledged."""
    pod = Pod(worker, slots=2)
    unit = pod.must_claim()
    cells = unit.cells[: len(unit.cells) // 2]
    assert pod.report(*cells) == len(cells)
    return set(cells)


def test_what_was_saved_is_there_in_a_new_place_and_what_was_running_goes_on(kind: Kind, tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    url = kind.url_in(old)
    files = tmp_path / "files"
    files.mkdir()
    for name, content in FILES.items():
        (files / name).write_bytes(content)

    keys = tokens.read_keys(None, old / "signing.key")
    with closing(SqlJournal(url)) as journal:
        for search in ("finished", "running"):
            journal.open_search(a_search(search, name=search, model_key=search, candidates=CANDIDATES, splits=SPLITS))
            journal.view(search).set_preflight(a_preflight())
    with Process(old, database_url="" if url.startswith("sqlite") else url) as process:
        process.start()
        with HttpSearchJournal(process.url, tokens.issue(keys, "finished"), patience_seconds=60) as worker:
            Pod(worker).work()
            for name in FILES:
                worker.upload(name, files / name)
            assert worker.complete(an_answer()) == 1
        with closing(SqlJournal(url)) as journal:
            journal.audit.bless(namespace="team", model_key="finished", version=1, who="ada")
            history = journal.audit.history(namespace="team", model_key="finished")
        with HttpSearchJournal(process.url, tokens.issue(keys, "running"), patience_seconds=60) as worker:
            saved = half(worker)
            for command in kind.backup:
                run(command, old, url)
            lost = half(worker)
        process.kill()
    assert saved
    assert lost
    shutil.copy(old / "signing.key", tmp_path / "signing.key")
    shutil.rmtree(old)

    url = kind.url_in(new)
    for command in kind.restore:
        run(command, new, url)
    shutil.copy(tmp_path / "signing.key", new / "signing.key")
    with Process(new, database_url="" if url.startswith("sqlite") else url) as process:
        process.start()
        with HttpSearchJournal(process.url, tokens.issue(keys, "running"), patience_seconds=60) as worker:
            # a pod that was there before, and holds what nobody knows of any more
            assert worker.report(Report(index=0, results=[])).new == 0
            again = set(Pod(worker, slots=2).work())
            assert worker.complete(an_answer(best_index=3)) == 1
    assert not again & saved, "what the backup has is not fitted again"
    assert lost <= again, "what it has not, is"

    with closing(SqlJournal(url)) as journal:
        assert journal.audit.history(namespace="team", model_key="finished") == history
        blessed = journal.audit.blessings(namespace="team", model_key="finished")
        assert [(each.to_version, each.who) for each in blessed] == [(1, "ada")]
        found = list(journal.view("running").results())
        assert [result.cell for result in found] == [Cell(c, s) for c in range(CANDIDATES) for s in range(SPLITS)]
        assert all(result.test_scores == {"accuracy": score_of(result.cell)} for result in found)
        assert journal.view("running").search().state is SearchState.COMPLETE
    (row,) = history
    assert {file.name for file in row.files or ()} == set(FILES)
    for file in row.files or ():
        content = (new / "artifacts" / "finished" / file.name).read_bytes()
        assert (hashlib.sha256(content).hexdigest(), content) == (file.sha256, FILES[file.name])
