"""The audit as a person reaches it: the results service over HTTP, with their own Kubernetes token.

A request that fails on the way is retried for up to ``patience_seconds``, unless a retry can do harm: a rollback is not retried,
because it may have been done already. A refusal (4xx) is final, and raised as the error that the journal itself would raise.
"""

import hashlib
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import httpx
from pydantic import TypeAdapter

from tuningjob.aliases import Anything
from tuningjob.errors import (
    ArtifactRefused,
    JournalError,
    NotBlessed,
    ServiceUnavailable,
    TuningJobError,
    UnknownModel,
)
from tuningjob.protocol.audit import AuditRow, Blessing
from tuningjob.protocol.records import Artifact
from tuningjob.remote.transport import Bearer, Patience, RetryingClient, Unanswered, detail_of, may_pass

T = TypeVar("T")
K = TypeVar("K", int, str)
_PAGE: Final = 200
PATIENCE_SECONDS: Final = 15.0
_PATIENCE: Final = Patience(
    seconds=PATIENCE_SECONDS, first_pause_seconds=0.25, longest_pause_seconds=4.0, longest_asked_for_seconds=4.0
)
_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0)
_SHA256_HEADER: Final = "X-Content-Sha256"

_ROW: Final = TypeAdapter(AuditRow)
_ROWS: Final = TypeAdapter(list[AuditRow])
_BLESSING: Final = TypeAdapter(Blessing)
_BLESSINGS: Final = TypeAdapter(list[Blessing])
_MODELS: Final = TypeAdapter(dict[str, list[str]])
_PARAMS: Final = TypeAdapter(dict[str, Any])
_FILES: Final = TypeAdapter(list[Artifact])


class HttpAudit(RetryingClient):
    """The audit of one namespace, over HTTP; see ``tuningjob.cli.source.Place``.

    Every method may raise ServiceUnavailable after ``patience_seconds`` without an answer, UnknownModel and NotBlessed as the
    journal does, and JournalError for any other refusal (no right to it, say).
    """

    def __init__(
        self,
        url: str,
        token: str | Bearer,
        *,
        namespace: str,
        ca_file: Path | None = None,
        patience_seconds: float = PATIENCE_SECONDS,
        say: Callable[[str], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__(
            url,
            token,
            timeout=_TIMEOUT,
            patience=replace(_PATIENCE, seconds=patience_seconds),
            trust_env=True,
            ca_file=ca_file,
            say=say,
            clock=clock,
            sleep=sleep,
        )
        self._namespace = namespace

    def models(self) -> list[str]:
        """The model keys of the namespace, sorted."""

        def page(after: str) -> list[str]:
            return self._get(_MODELS, "models", after=after, limit=_PAGE).get("models", [])

        return _all(page, "", str)

    def history(self, model_key: str) -> list[AuditRow]:
        """The versions, the first one first. Raises UnknownModel."""

        def page(after: int) -> list[AuditRow]:
            return self._get(_ROWS, "models", model_key, "versions", after=after, limit=_PAGE)

        return _all(page, 0, lambda row: row.version)

    def version(self, model_key: str, version: int) -> AuditRow:
        """The row of the version. Raises UnknownModel."""
        return self._get(_ROW, "models", model_key, "versions", version)

    def blessed(self, model_key: str) -> AuditRow:
        """The version in use. Raises UnknownModel and NotBlessed."""
        with self._telling_what_is_unknown(model_key):
            found = self._get(_PARAMS, "models", model_key, "params")
        return self.version(model_key, int(found["version"]))

    def bless(self, model_key: str, version: int, *, why: str) -> Blessing:
        """Put a version into use, in the name of the token's user. Raises UnknownModel."""
        path = self._path("models", model_key, "bless")
        return self._parsed(_BLESSING, self._request("POST", path, json={"version": version, "why": why}))

    def rollback(self, model_key: str, *, why: str) -> Blessing:
        """Put the version that was in use before into use again, in the name of the token's user. Raises NotBlessed."""
        path = self._path("models", model_key, "rollback")
        with self._telling_what_is_unknown(model_key):
            return self._parsed(_BLESSING, self._request("POST", path, json={"why": why}, once=True))

    def blessings(self, model_key: str) -> list[Blessing]:
        """Every bless and rollback, the first one first. Raises UnknownModel."""

        def page(after: int) -> list[Blessing]:
            return self._get(_BLESSINGS, "models", model_key, "blessings", after=after, limit=_PAGE)

        return _all(page, 0, lambda blessing: blessing.number)

    def searched(self, row: AuditRow) -> dict[str, Any] | None:  # noqa: ARG002  as a journal's
        """The spec of a version's search, which the results service does not give."""
        return None

    def files(self, row: AuditRow) -> list[Artifact]:
        """The files of a version; none if they are no longer kept."""
        return self._get(_FILES, "models", row.model_key, "versions", row.version, "artifacts")

    def fetch(self, row: AuditRow, entry: Artifact, target: Path) -> None:
        """Write a file of a version to ``target``. Raises ArtifactRefused if it does not have the digest that ``files`` gave."""
        path = self._path("models", row.model_key, "versions", row.version, "artifacts", entry.name)
        self._request("GET", path, receive=lambda response: _write(response, entry, target))

    @contextmanager
    def _telling_what_is_unknown(self, model_key: str) -> Iterator[None]:
        """A block in which a 404 is raised as NotBlessed if the model key is there, and as UnknownModel if it is not."""
        try:
            yield
        except UnknownModel as unknown:
            self.history(model_key)
            raise NotBlessed(str(unknown)) from None

    def _path(self, *parts: str | int) -> str:
        return "/".join(
            ["/v1/namespaces", quote(self._namespace, safe=""), *(quote(str(part), safe="") for part in parts)]
        )

    def _get(self, adapter: TypeAdapter[T], *parts: str | int, **query: str | int) -> T:
        return self._parsed(adapter, self._request("GET", self._path(*parts), params=query))

    def _request(
        self,
        method: str,
        path: str,
        *,
        once: bool = False,
        receive: Callable[[httpx.Response], object] = httpx.Response.read,
        **request: Anything,
    ) -> httpx.Response:
        """A received answer that is no refusal. ``once``: send the request at most once."""
        try:
            response = self._answer(method, path, may_pass=_never_sent if once else _passes, receive=receive, **request)
        except Unanswered as unanswered:
            error = unanswered.error
            raise self._unavailable(error, unsure=once and not _never_sent(error)) from error
        if not response.is_success:
            raise self._refusal(response)
        return response

    def _unavailable(self, error: Exception, *, unsure: bool) -> TuningJobError:
        advice = (
            " It may have been done all the same: see `tuningjob blessings KEY` before you try again." if unsure else ""
        )
        if _is_untrusted(error):
            advice = " Name the authority that signed its certificate by --ca-file."
        elif isinstance(error, httpx.RemoteProtocolError | httpx.ReadError) and self._url.startswith("http://"):
            advice += " If it speaks TLS, its URL begins with https://."
        return ServiceUnavailable(f"{self._url}: must be a results service that answers, but got: {error}.{advice}")

    def _refusal(self, response: httpx.Response) -> TuningJobError:
        detail = detail_of(response)
        if detail is None or (response.status_code == 404 and detail == "Not Found"):
            got = f"{response.status_code} {response.text[:200]!r}"
            return JournalError(f"{self._url}: must be a results service of this version, but got: {got}.")
        if response.status_code == 404:
            return UnknownModel(detail)
        advice = (
            " A fresh one: TUNINGJOB_TOKEN=$(kubectl create token NAME --audience tuningjob)."
            if response.status_code == 401
            else ""
        )
        return JournalError(f"{self._url}: {detail}{advice}")


def _all(page: Callable[[K], list[T]], after: K, key: Callable[[T], K]) -> list[T]:
    """Every entry of a list, fetched by pages. A service of the release before knows no pages, and answers with all of them."""
    found: dict[K, T] = {}
    while True:
        entries = page(after)
        fresh = {key(entry): entry for entry in entries if key(entry) not in found}
        found |= fresh
        if len(entries) != _PAGE or not fresh:
            return list(found.values())
        after = key(entries[-1])


def _write(response: httpx.Response, entry: Artifact, target: Path) -> None:
    digest = hashlib.sha256()
    with target.open("wb") as file:
        for chunk in response.iter_bytes():
            digest.update(chunk)
            file.write(chunk)
    found = digest.hexdigest()
    for want in (entry.sha256, response.headers.get(_SHA256_HEADER, entry.sha256)):
        if found != want:
            raise ArtifactRefused(f"{entry.name}: must have the SHA-256 {want}, but got {found}. Download it again.")


def _passes(error: BaseException) -> bool:
    """Whether another attempt may get a better answer."""
    return may_pass(error) and not _is_untrusted(error)


def _never_sent(error: BaseException) -> bool:
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout) and not _is_untrusted(error)


def _is_untrusted(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
