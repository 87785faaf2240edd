"""The sources of finished searches: a laptop's journal, or the results service of a cluster."""

import functools
import ipaddress
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import unquote, urlsplit

import click
from typing_extensions import override

from tuningjob.aliases import Anything
from tuningjob.cli.console import warn
from tuningjob.errors import ArtifactRefused, JournalError, NotBlessed, Problem, UnknownModel, UnknownSearch
from tuningjob.manifest.wellknown import (
    ENV_CA_FILE,
    ENV_SERVER,
    ENV_TOKEN,
    JOURNAL_FILE,
    RESULT_FILES,
    SEARCHES_FOLDER,
    ExitCode,
)

if TYPE_CHECKING:
    from tuningjob.journal.audit import SqlAudit
    from tuningjob.journal.sql import SqlJournal
    from tuningjob.protocol.audit import AuditRow, Blessing
    from tuningjob.protocol.records import Artifact

RESULTS: Final = Path("results")
_LAPTOPS_NAMESPACE: Final = "default"
# without a query, because we set none of SQLite's own options
_MAX_KEY: Final = 253
_SQLITE_URL: Final = re.compile(r"sqlite(?:\+pysqlite)?:///([^?]+)")


class BadUse(click.ClickException):
    """A command that is used wrongly: one sentence, exit code 2."""

    exit_code = ExitCode.REFUSED


class AuditSource(Protocol):
    """The audit as one person sees one namespace of it. Raises as ``tuningjob.journal.audit.SqlAudit`` does."""

    def models(self) -> list[str]:
        """The model keys of the namespace."""

    def history(self, model_key: str) -> "list[AuditRow]":
        """The versions, the first one first. Raises UnknownModel."""

    def version(self, model_key: str, version: int) -> "AuditRow":
        """One version of a model key. Raises UnknownModel."""

    def blessed(self, model_key: str) -> "AuditRow":
        """The version in use. Raises UnknownModel and NotBlessed."""

    def bless(self, model_key: str, version: int, *, why: str) -> "Blessing":
        """Say that this version is the one in use, and why. Raises UnknownModel."""

    def rollback(self, model_key: str, *, why: str) -> "Blessing":
        """Bless the version that was in use before. Raises UnknownModel and NotBlessed."""

    def blessings(self, model_key: str) -> "list[Blessing]":
        """Every bless and rollback, the first one first. Raises UnknownModel."""

    def searched(self, row: "AuditRow") -> dict[str, Any] | None:
        """The spec of a version's search; None if it is no longer known."""

    def files(self, row: "AuditRow") -> "list[Artifact]":
        """The files of a version; none if they are no longer kept."""

    def fetch(self, row: "AuditRow", entry: "Artifact", target: Path) -> None:
        """Write a file of a version to ``target``. Raises ArtifactRefused if it is not of the digest that ``files`` told."""


@dataclass(frozen=True)
class JournalSource(AuditSource):
    """A journal that this machine reaches directly. ``folder`` has a laptop's journal; ``journal`` has the searches."""

    audit: "SqlAudit"
    namespace: str
    who: str
    folder: Path | None = None
    journal: "SqlJournal | None" = None

    @override
    def models(self) -> list[str]:
        return self.audit.models(self.namespace)

    @override
    def history(self, model_key: str) -> "list[AuditRow]":
        with self._telling_what_is_known(model_key):
            return self.audit.history(namespace=self.namespace, model_key=model_key)

    @override
    def version(self, model_key: str, version: int) -> "AuditRow":
        with self._telling_what_is_known(model_key):
            return self.audit.version(namespace=self.namespace, model_key=model_key, version=version)

    @override
    def blessed(self, model_key: str) -> "AuditRow":
        with self._telling_what_is_known(model_key):
            return self.audit.blessed(namespace=self.namespace, model_key=model_key)

    @override
    def bless(self, model_key: str, version: int, *, why: str) -> "Blessing":
        with self._telling_what_is_known(model_key):
            return self.audit.bless(
                namespace=self.namespace, model_key=model_key, version=version, who=self.who, why=why
            )

    @override
    def rollback(self, model_key: str, *, why: str) -> "Blessing":
        with self._telling_what_is_known(model_key):
            return self.audit.rollback(namespace=self.namespace, model_key=model_key, who=self.who, why=why)

    @override
    def blessings(self, model_key: str) -> "list[Blessing]":
        with self._telling_what_is_known(model_key):
            return self.audit.blessings(namespace=self.namespace, model_key=model_key)

    @override
    def searched(self, row: "AuditRow") -> dict[str, Any] | None:
        try:
            return self.journal.view(row.search_id).search().spec if self.journal is not None else None
        except UnknownSearch:
            return None

    @override
    def files(self, row: "AuditRow") -> "list[Artifact]":
        from tuningjob.artifacts.store import artifact_at

        folder = self._folder_of(row)
        return [artifact_at(folder / name) for name in RESULT_FILES if folder and (folder / name).is_file()]

    @override
    def fetch(self, row: "AuditRow", entry: "Artifact", target: Path) -> None:
        from tuningjob.artifacts.store import artifact_at

        folder = self._folder_of(row)
        if folder is not None:
            shutil.copyfile(folder / entry.name, target)
            found = artifact_at(target)
            if found == entry:
                return
        raise ArtifactRefused(f"{entry.name}: must stay as it is while it is copied, but it was changed. Try again.")

    def _folder_of(self, row: "AuditRow") -> Path | None:
        """The folder of the version's files: where they were written, or beside the journal if both were moved together."""
        url = urlsplit(row.artifacts)
        if url.scheme not in {"", "file"}:
            raise BadUse(
                f"--journal: must be one whose files are on this machine, but got files at {row.artifacts}. "
                "Ask the results service for them: --server URL."
            )
        recorded = Path(unquote(url.path)) if url.path else None
        moved = self.folder / SEARCHES_FOLDER / row.search_id if self.folder is not None else None
        return next((path for path in (recorded, moved) if path is not None and path.is_dir()), None)

    @contextmanager
    def _telling_what_is_known(self, model_key: str) -> Iterator[None]:
        try:
            yield
        except UnknownModel as unknown:
            known = self.models()
            if model_key in known:
                raise
            advice = f"There are: {', '.join(known)}." if known else "Another namespace is named by -n NAMESPACE."
            raise UnknownModel(f"{unknown} {advice}") from None


@dataclass(frozen=True)
class Where:
    """The place of the audit, as the options give it."""

    journal: str | None
    server: str | None
    namespace: str | None
    ca_file: Path | None
    token_file: Path | None

    @property
    def url(self) -> str | None:
        """The results service's; None for a journal."""
        if self.journal and self.server:
            raise BadUse("--journal, --server: must be one of the two, but got both. Leave one out.")
        return None if self.journal else self.server or os.environ.get(ENV_SERVER) or None

    @property
    def trusted(self) -> Path | None:
        """The file of the results service's CA; None for the CAs that this machine trusts."""
        named = os.environ.get(ENV_CA_FILE)
        return self.ca_file or (Path(named) if named else None)


def where_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that every command about finished searches has, handed on as ``where``."""

    @click.option(
        "--journal",
        metavar="PATH|URL",
        help=f"A journal that this machine reaches directly [{RESULTS}/KEY/{JOURNAL_FILE}].",
    )
    @click.option("--server", metavar="URL", help=f"The results service of a cluster [${ENV_SERVER}].")
    @click.option("--namespace", "-n", help="[that of the current kubeconfig context; of a journal: default]")
    @click.option(
        "--ca-file",
        type=click.Path(path_type=Path, exists=True, dir_okay=False),
        help=f"The authority that signed the service's certificate, as PEM [${ENV_CA_FILE}].",
    )
    @click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        help=f"Your Kubernetes token [${ENV_TOKEN}, then the kubeconfig's].",
    )
    @functools.wraps(command)
    def with_where(
        *,
        journal: str | None,
        server: str | None,
        namespace: str | None,
        ca_file: Path | None,
        token_file: Path | None,
        **others: Anything,
    ) -> None:
        command(where=Where(journal, server, namespace, ca_file, token_file), **others)

    return with_where


def _checked_key(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    return checked_key(value)


def checked_key(value: str) -> str:
    """A model key. Raises BadUse for what is none."""
    from tuningjob.manifest.fields import MODEL_KEY

    if len(value) > _MAX_KEY or not re.fullmatch(MODEL_KEY, value):
        raise BadUse(
            f"KEY: must be a model key (letters, digits, '-', '_' and '.'), but got {value[:80]!r}. "
            "`tuningjob models` lists them."
        )
    return value


key_argument = click.argument("key", callback=_checked_key)
VERSION: Final = click.IntRange(min=1, max=2**31 - 1)


@contextmanager
def opened(where: Where, key: str | None = None) -> Iterator[AuditSource]:
    """The place that is meant; closed at the end. Raises BadUse, JournalError, ServiceUnavailable."""
    url = where.url
    if url is not None:
        with _service(url, where) as place:
            yield place
    else:
        with _journal(where.journal or str(RESULTS / (key or "KEY") / JOURNAL_FILE), where) as place:
            yield place


def chosen(audit: AuditSource, key: str, version: int | None) -> "AuditRow":
    """The version that is asked for, else the one in use. Raises UnknownModel, and NotBlessed with what to do."""
    if version is not None:
        return audit.version(key, version)
    try:
        return audit.blessed(key)
    except NotBlessed as error:
        newest = audit.history(key)[-1].version
        raise NotBlessed(f"{error} As in `tuningjob bless {key} {newest}`; or name one by --version.") from None


@contextmanager
def _journal(path_or_url: str, where: Where) -> Iterator[AuditSource]:
    path = _sqlite_path(path_or_url)
    url = path_or_url if path is None else f"sqlite:///{path}"
    if path is not None:
        _must_be_there(path)
    from tuningjob.journal.sql import SqlJournal

    _must_be_a_journal(url, None if path is None else str(path))
    journal = SqlJournal(url)
    try:
        folder = None if path is None else path.absolute().parent
        yield JournalSource(journal.audit, where.namespace or _LAPTOPS_NAMESPACE, user(), folder, journal)
    finally:
        journal.close()


def _sqlite_path(path_or_url: str) -> Path | None:
    """The file of a SQLite journal; None for another database."""
    scheme = path_or_url.partition(":")[0]
    if scheme.partition("+")[0] != "sqlite":
        return None if "://" in path_or_url else Path(path_or_url)
    found = _SQLITE_URL.fullmatch(path_or_url)
    if found is None:
        raise _no_journal(path_or_url, "which is no URL of a file: that is sqlite:///PATH")
    return Path(found[1])


def _must_be_there(path: Path) -> None:
    """Refuse a file that is no journal, because opening one as a journal would make it one."""
    try:
        there = path.is_file()
    except OSError as error:  # a folder without the right to read it, or a name that is too long
        raise _no_journal(str(path), (error.strerror or str(error)).lower()) from None
    if not there:
        raise _no_journal(str(path), "which is a folder" if path.is_dir() else "where there is none")


def _must_be_a_journal(url: str, name: str | None) -> None:
    """Refuse a database that has no journal. Raises JournalError if it does not answer, BadUse for another kind of URL."""
    from tuningjob.journal.database import Database
    from tuningjob.journal.migrations import why_none

    try:
        database = Database(url, look_only=True)
    except JournalError as error:
        raise BadUse(f"--journal: {error}") from None
    with closing(database):
        why = why_none(database)
    if why is not None:
        raise _no_journal(name or str(database), why)


def _no_journal(name: str, got: str) -> BadUse:
    return BadUse(
        f"--journal: must be a journal that is there, but got {name}, {got}. "
        f"Name another by --journal PATH, or a results service by --server URL (or ${ENV_SERVER})."
    )


@contextmanager
def _service(url: str, where: Where) -> Iterator[AuditSource]:
    import ssl

    from tuningjob.remote.audit import HttpAudit

    split = urlsplit(url)
    if split.scheme not in {"http", "https"} or not split.hostname:
        raise BadUse(str(Problem("--server", "an http:// or https:// URL", repr(url))))
    if split.scheme == "http" and not _is_this_machine(split.hostname):
        warn(f"{url}: your token goes there unencrypted. Use https:// or `kubectl port-forward`.")
    token, namespace = person_of(where)
    try:
        audit = HttpAudit(url, token, namespace=namespace, ca_file=where.trusted)
    except (ssl.SSLError, FileNotFoundError) as error:
        name = "--ca-file" if where.ca_file else ENV_CA_FILE
        raise BadUse(str(Problem(name, "a file of certificates as PEM", str(error)))) from None
    with audit:
        yield audit


def _is_this_machine(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def person_of(where: Where) -> tuple[str, str]:
    """The token and the namespace of the person who asks: from options, then the environment, then the kubeconfig."""
    from tuningjob.remote.kubeconfig import KubeconfigRefused, current_context, read_token

    try:
        given = read_token(where.token_file) if where.token_file else os.environ.get(ENV_TOKEN, "").strip()
        context = None if given and where.namespace else current_context(os.environ, Path.home())
    except KubeconfigRefused as refused:
        raise BadUse(str(refused)) from None
    token = given or (context.token if context else None)
    if not token:
        got = f"a kubeconfig context {context.name!r} whose user has none" if context else "none"
        raise BadUse(
            f"a Kubernetes token must be given, but got {got}. "
            f"Set one: export {ENV_TOKEN}=$(kubectl create token SERVICEACCOUNT --audience tuningjob), "
            "or name its file by --token-file."
        )
    return token, where.namespace or (context.namespace if context else None) or "default"


def user() -> str:
    """Who is at this machine."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):  # in a container, the user may have only a number
        return f"uid {os.getuid()}"
