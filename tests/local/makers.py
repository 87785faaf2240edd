"""Places with finished searches to ask about, made without fitting anything."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.journal.makers import Clock, Pod, a_preflight, a_search, an_answer
from tests.journal.template import ensure_journal
from tests.service.server import Service
from tuningjob.artifacts.downloads import Sidecar
from tuningjob.artifacts.local import LocalStore
from tuningjob.artifacts.store import artifact_at, blocks
from tuningjob.journal.sql import SqlJournal, open_sqlite
from tuningjob.protocol.records import Artifact

FILES = {"best_params.json": b'{"C": 1}\n', "cv_results.csv": b"a,b\n1,2\n", "model.joblib": b"\x80\x04 a model"}


@dataclass
class Place:
    """Where commands look; ``options`` lead them there."""

    journal: SqlJournal
    clock: Clock
    folder: Path
    options: list[str]
    store: LocalStore | None = None
    service: Service | None = None
    token: str = ""
    versions: int = field(default=0)

    def add(
        self,
        key: str = "forest",
        *,
        namespace: str = "team",
        preflight: dict[str, Any] | None = None,
        artifacts: str | None = None,
        with_files: bool = False,
        **answer: Any,
    ) -> str:
        """A search that has finished; the next version of its key. Returns the search's id.

        ``with_files``: it had them when it was completed, so the audit knows their digests.
        """
        self.versions += 1
        search = f"search-{self.versions}"
        if artifacts is None:
            artifacts = "" if self.store else self.files_of(search).as_uri()
        self.journal.open_search(
            a_search(
                search,
                namespace=namespace,
                name=key,
                model_key=key,
                candidates=1,
                splits=1,
                created_by="ada",
                artifacts=artifacts,
            )
        )
        self.journal.view(search).set_preflight(a_preflight(**(preflight or {})))
        Pod(self.journal.view(search)).work()
        self.clock.pass_time(seconds=90)
        if with_files:
            self.add_files(search)
            for name in (*FILES, "artifacts.json"):
                entry = artifact_at(self.path_of(search, name))
                with self.journal.placing(search, Artifact(entry.name, entry.size_bytes, entry.sha256)):
                    pass
        self.journal.view(search).complete(an_answer(**answer))
        return search

    def files_of(self, search: str) -> Path:
        return self.folder / "searches" / search

    def path_of(self, search: str, name: str) -> Path:
        return self.store.path(search, name) if self.store else self.files_of(search) / name

    def add_files(self, search: str, files: dict[str, bytes] | None = None, **versions: str) -> None:
        """The files of a search, and beside them what they must be and which versions made them."""
        folder = self.folder / "made" / search if self.store else self.files_of(search)
        folder.mkdir(parents=True)
        for name, content in (FILES if files is None else files).items():
            (folder / name).write_bytes(content)
        entries = tuple(artifact_at(path) for path in sorted(folder.iterdir()))
        made_by = {"scikit-learn": version("scikit-learn")} | {
            name.replace("_", "-"): made for name, made in versions.items()
        }
        (folder / "artifacts.json").write_text(Sidecar("0.1.0", "none", made_by, entries).dumps())
        if self.store:
            for path in folder.iterdir():
                self.store.put(search, path.name, blocks(path.open("rb")), sha256=artifact_at(path).sha256)


@contextmanager
def a_journal(folder: Path) -> Iterator[Place]:
    clock = Clock()
    journal = open_sqlite(ensure_journal(folder / "tuning.db"), clock=clock)
    try:
        yield Place(journal, clock, folder, ["--journal", str(folder / "tuning.db"), "-n", "team"])
    finally:
        journal.close()


@contextmanager
def a_service(folder: Path) -> Iterator[Place]:
    service = Service(folder, max_artifact_bytes=10_000_000)
    service.start()
    token = service.register.enter("ada", "get", "update")
    try:
        options = ["--server", service.url, "-n", "team"]
        yield Place(service.journal, service.clock, folder, options, service.artifacts, service, token)
    finally:
        service.close()
