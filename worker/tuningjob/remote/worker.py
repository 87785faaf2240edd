"""The journal as a worker pod reaches it: the results service, over HTTP.

A pod outlives a restart of the service (see ``remote.transport``). Every request may be repeated, because the journal's methods
may (see ``tuningjob.protocol.contract``). A refusal (4xx) is final, and raised as the error that the journal itself would raise.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

import httpx
from pydantic import TypeAdapter
from typing_extensions import override

from tuningjob.aliases import Anything
from tuningjob.artifacts.store import blocks
from tuningjob.errors import (
    ArtifactRefused,
    JournalError,
    JournalMismatch,
    ServiceUnavailable,
    TuningJobError,
    UnknownSearch,
)
from tuningjob.manifest.wellknown import RESULT_FILES
from tuningjob.protocol.contract import SearchJournal
from tuningjob.protocol.records import (
    MAX_CELLS_PER_PAGE,
    MAX_CELLS_PER_REPORT,
    MAX_ERROR_LENGTH,
    MAX_TEXT_LENGTH,
    Answer,
    Artifact,
    Cell,
    CellResult,
    Claim,
    Preflight,
    Refusal,
    SearchRecord,
)
from tuningjob.protocol.requests import (
    ClaimRequest,
    Completed,
    Failure,
    Leaving,
    NewStage,
    Report,
    ReportReply,
    ReuseRequest,
)
from tuningjob.remote.transport import Patience, RetryingClient, Unanswered, may_pass, sentence_of

T = TypeVar("T")
PATIENCE_SECONDS: Final = 600.0
_PATIENCE: Final = Patience(
    seconds=PATIENCE_SECONDS, first_pause_seconds=0.5, longest_pause_seconds=20.0, longest_asked_for_seconds=60.0
)
# A connection is made quickly or not at all; an answer may wait for the database's lock; a large model is sent block by block.
_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0)
# The answer to a file comes once the service has sent it on to its bucket.
_FILE_TIMEOUT: Final = httpx.Timeout(60.0, connect=10.0, read=600.0)
# A longer report is sent in two: the service reads 8 MiB of a body, and takes in few long ones at a time.
_MAX_BODY_BYTES: Final = 2 * 2**20

# httpx must be told what it is.
_JSON: Final = {"Content-Type": "application/json"}
_SEARCH: Final = TypeAdapter(SearchRecord)
_CLAIM: Final = TypeAdapter(Claim)
_CELLS: Final = TypeAdapter(list[CellResult])
_CLAIM_REQUEST: Final = TypeAdapter(ClaimRequest)
_NEW_STAGE: Final = TypeAdapter(NewStage)
_LEAVING: Final = TypeAdapter(Leaving)
_REUSE_REQUEST: Final = TypeAdapter(ReuseRequest)
_REPORT: Final = TypeAdapter(Report)
_REPORT_REPLY: Final = TypeAdapter(ReportReply)
_COMPLETED: Final = TypeAdapter(Completed)
_FAILURE: Final = TypeAdapter(Failure)
_REUSED: Final = TypeAdapter(list[Cell])
_PREFLIGHT: Final = TypeAdapter(Preflight)
_ANSWER: Final = TypeAdapter(Answer)
_REFUSAL: Final = TypeAdapter(Refusal)
_ARTIFACT: Final = TypeAdapter(Artifact)
_REFUSED: Final[dict[int, type[TuningJobError]]] = {404: UnknownSearch, 409: JournalMismatch}


class HttpSearchJournal(RetryingClient, SearchJournal):
    """``SearchJournal`` over HTTP; at an https URL the certificate must be signed by ``ca_file`` (PEM), if that is given.

    ``say`` is called when the service does not answer, and when it does again. Every method may raise ServiceUnavailable after
    ``patience_seconds`` without an answer, UnknownSearch and JournalMismatch as the journal does, and JournalError for any
    other refusal (an expired token, say).
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
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
            trust_env=False,  # the service is in the cluster, not behind a proxy of the pod's environment
            ca_file=ca_file,
            say=say,
            clock=clock,
            sleep=sleep,
        )

    @override
    def search(self) -> SearchRecord:
        return self._parsed(_SEARCH, self._request("GET", "/v1/search"))

    @override
    def set_preflight(self, preflight: Preflight) -> None:
        told = tuple(warning[:MAX_TEXT_LENGTH] for warning in preflight.warnings)
        self._send("PUT", "/v1/preflight", _PREFLIGHT, replace(preflight, warnings=told))

    @override
    def claim(self, request: ClaimRequest) -> Claim:
        return self._parsed(_CLAIM, self._send("POST", "/v1/claims", _CLAIM_REQUEST, request))

    @override
    def leave(self, *, index: int) -> None:
        self._send("POST", "/v1/leave", _LEAVING, Leaving(index=index))

    @override
    def reuse(self, request: ReuseRequest) -> tuple[Cell, ...]:
        known: list[Cell] = []
        for start in range(0, len(request.cells), MAX_CELLS_PER_REPORT):
            batch = replace(request, cells=request.cells[start : start + MAX_CELLS_PER_REPORT])
            found: list[Cell] = self._parsed(_REUSED, self._send("POST", "/v1/reuse", _REUSE_REQUEST, batch))
            known += found
        return tuple(known)

    @override
    def report(self, report: Report) -> ReportReply:
        """Report cells; each batch of at most MAX_CELLS_PER_REPORT is taken whole or not at all."""
        reply = ReportReply(new=0)
        for start in range(0, len(report.results), MAX_CELLS_PER_REPORT):
            batch = replace(report, results=report.results[start : start + MAX_CELLS_PER_REPORT])
            reply = _both(reply, self._report(batch))
        if report.results and reply.state is None:  # a service of the release before
            return replace(reply, state=self.search().state)
        return reply

    def _report(self, report: Report) -> ReportReply:
        body = _REPORT.dump_json(report)
        if len(body) > _MAX_BODY_BYTES and len(report.results) > 1:
            half = len(report.results) // 2
            halves = (replace(report, results=part) for part in (report.results[:half], report.results[half:]))
            return _both(*map(self._report, halves))
        return self._parsed(_REPORT_REPLY, self._request("POST", "/v1/cells", headers=_JSON, content=body))

    @override
    def open_stage(self, stage: NewStage) -> None:
        self._send("POST", "/v1/stages", _NEW_STAGE, stage)

    @override
    def results(self) -> Iterator[CellResult]:
        start = 0
        while True:
            query = {"start": start, "limit": MAX_CELLS_PER_PAGE}
            page = self._parsed(_CELLS, self._request("GET", "/v1/cells", params=query))
            yield from page
            if len(page) < MAX_CELLS_PER_PAGE:
                return
            start += len(page)

    @override
    def complete(self, answer: Answer) -> int:
        """End with an answer. Raises ArtifactRefused if it is too large, because another pod's would be, too."""
        refused: dict[int, type[TuningJobError]] = {413: ArtifactRefused, 422: ArtifactRefused}
        return self._parsed(_COMPLETED, self._send("POST", "/v1/complete", _ANSWER, answer, refused=refused)).version

    @override
    def fail(self, reason: str) -> None:
        """End without an answer. A long reason is cut at its beginning, because a traceback says at its end what happened."""
        # a NUL, which Postgres cannot store, must not keep the reason from being reported
        self._send("POST", "/v1/fail", _FAILURE, Failure(reason=reason[-MAX_ERROR_LENGTH:].replace("\0", "")))

    @override
    def refuse(self, refusal: Refusal) -> None:
        """End because the manifest cannot be searched. Texts that are too long are cut at their end."""
        problems = tuple(
            {name: text[:MAX_TEXT_LENGTH].encode(errors="replace").decode() for name, text in problem.items()}
            for problem in refusal.problems
        )
        self._send("POST", "/v1/refuse", _REFUSAL, Refusal(problems=problems))

    def download(self, sha256: str, path: Path, *, most_bytes: int) -> None:
        """Write what was sent from Python to ``path``. Raises ArtifactRefused if it is missing, too large, or another."""

        def write(response: httpx.Response) -> None:
            digest, size, part = hashlib.sha256(), 0, path.with_suffix(".part")
            with part.open("wb") as file:
                for chunk in response.iter_bytes():
                    size += len(chunk)
                    if size > most_bytes:
                        raise ArtifactRefused(
                            f"{sha256}: must be of at most {most_bytes / 2**20:,.0f} MiB, because it is put on the disk first. "
                            "In a pod TMPDIR in spec.pod.env may name a larger emptyDir of spec.pod.volumes."
                        )
                    digest.update(chunk)
                    file.write(chunk)
            if digest.hexdigest() != sha256:
                raise ArtifactRefused(f"{sha256}: must have this SHA-256, but got {digest.hexdigest()}.")
            part.replace(path)

        refused: dict[int, type[TuningJobError]] = {404: ArtifactRefused, 422: ArtifactRefused}
        self._request("GET", f"/v1/data/{sha256}", receive=write, refused=refused, timeout=_FILE_TIMEOUT)

    def upload(self, name: str, path: Path) -> Artifact:
        """Hand in a file of the search. Raises ArtifactRefused for a name or a size that the service refuses."""
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        headers = {"X-Content-Sha256": digest, "Content-Length": str(path.stat().st_size)}
        response = self._request(
            "PUT",
            f"/v1/artifacts/{name}",
            headers=headers,
            body=lambda: _stream(path),
            timeout=_FILE_TIMEOUT,
            refused={413: ArtifactRefused, 422: ArtifactRefused},
        )
        return self._parsed(_ARTIFACT, response)

    def upload_all(self, folder: Path) -> None:
        """Hand in every result file that is in ``folder``. Raises ArtifactRefused."""
        for name in RESULT_FILES:
            if (folder / name).exists():
                self.upload(name, folder / name)

    def _send(self, method: str, path: str, kind: TypeAdapter[T], record: T, **request: Anything) -> httpx.Response:
        """``_request`` with a record as its body; pydantic writes it, because of NaN and infinities."""
        return self._request(method, path, headers=_JSON, content=kind.dump_json(record), **request)

    def _request(
        self,
        method: str,
        path: str,
        *,
        body: Callable[[], Iterator[bytes]] | None = None,
        refused: dict[int, type[TuningJobError]] | None = None,
        **request: Anything,
    ) -> httpx.Response:
        """An answer that is no refusal. ``body`` makes a streamed body, a new one for every attempt."""
        try:
            # every request may be repeated, because the journal's methods may
            response = self._answer(method, path, may_pass=may_pass, body=body, **request)
        except Unanswered as unanswered:
            raise ServiceUnavailable(
                f"{self._url}: must answer within {self._patience.seconds:.0f} seconds, but got: {unanswered}"
            ) from unanswered.error
        if response.status_code >= 400:
            kind = (_REFUSED | (refused or {})).get(response.status_code, JournalError)
            raise kind(sentence_of(response))
        return response


def _both(first: ReportReply, then: ReportReply) -> ReportReply:
    return ReportReply(new=first.new + then.new, state=then.state, standing=then.standing)


def _stream(path: Path) -> Iterator[bytes]:
    """The blocks of a file, which is opened with the first of them, because an attempt may never get that far."""
    yield from blocks(path.open("rb"))
