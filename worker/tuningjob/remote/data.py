"""Sends data and code of a person's Python to the results service: asks what is there, then sends what is missing in parts."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx
from pydantic import TypeAdapter

from tuningjob.errors import ArtifactRefused, NoRoom, ServiceUnavailable
from tuningjob.protocol.environment import WorkerEnvironment
from tuningjob.protocol.uploads import DataRoom, UploadState
from tuningjob.remote.audit import HttpAudit
from tuningjob.remote.transport import Unanswered, may_pass, sentence_of

_STATE: Final = TypeAdapter(UploadState)
_ROOM: Final = TypeAdapter(DataRoom)
_ENVIRONMENT: Final = TypeAdapter(WorkerEnvironment)
# a part arrives in seconds; after the last one the service reads the file again, and may send it on to a bucket
_TIMEOUT: Final = httpx.Timeout(60.0, connect=5.0, read=600.0)
# between two looks while another client sends the same bytes
_PAUSE_SECONDS: Final = 0.5


class HttpData(HttpAudit):
    """The data of one namespace, over HTTP. Raises as ``HttpAudit``, and ArtifactRefused or NoRoom for what is not taken."""

    def room(self) -> DataRoom:
        """How much the namespace has sent, and how much it may have."""
        return self._parsed(_ROOM, self._request("GET", self._path("data")))

    def environment(self) -> WorkerEnvironment:
        """What the release's worker image has; empty for a release that does not report it."""
        try:
            response = self._answer("GET", self._path("environment"), may_pass=may_pass)
        except Unanswered as unanswered:
            raise self._unavailable(unanswered.error, unsure=False) from unanswered.error
        if response.status_code == 404:
            return WorkerEnvironment()
        if not response.is_success:
            raise self._refusal(response)
        return self._parsed(_ENVIRONMENT, response)

    def state(self, sha256: str) -> UploadState:
        """How much of a file is there."""
        return self._parsed(_STATE, self._request("GET", self._path("data", sha256)))

    def send(self, path: Path, sha256: str, *, tell: Callable[[int, int], object] = lambda _sent, _size: None) -> int:
        """Send a file; returns how many bytes were sent, 0 if all were there. ``tell`` is called with how many are there.

        After a lost connection it goes on with what is missing, and bytes that another client sends of the same file are not sent
        twice. Raises ServiceUnavailable if nothing moves for ``patience_seconds``.
        """
        size = path.stat().st_size
        state, sent, moved_at = self.state(sha256), 0, self._clock()
        if not state.is_complete:
            self._check_room(path, size, state.received_bytes)
        with path.open("rb") as file:
            while not state.is_complete:
                tell(state.received_bytes, size)
                file.seek(state.received_bytes)
                part = file.read(self._part_bytes)
                before, went = (
                    state.received_bytes,
                    self._part(sha256, part, before_bytes=state.received_bytes, size=size),
                )
                state = went or self.state(sha256)
                if state.is_complete or state.received_bytes > before:
                    moved_at = self._clock()
                elif self._clock() - moved_at > self._patience.seconds:
                    raise ServiceUnavailable(
                        f"{self._url}: must take byte {before:,} of {size:,} within {self._patience.seconds:.0f} seconds, "
                        f"but does not: {self._why or 'another sends the same'}."
                    )
                sent += len(part) if went is not None else 0
                if went is None:
                    self._sleep(_PAUSE_SECONDS)
        tell(size, size)
        return sent

    _part_bytes = 4 * 2**20
    _why = ""

    def _part(self, sha256: str, part: bytes, *, before_bytes: int, size: int) -> UploadState | None:
        """What the service has after a part; None if it must be asked, because the part was cut off or was not the next one."""
        query = {"offset": before_bytes, "size": size}
        headers = {"Content-Type": "application/octet-stream"}
        try:
            response = self._answer(
                "PUT",
                self._path("data", sha256),
                may_pass=lambda _error: False,
                params=query,
                headers=headers,
                content=part,
                timeout=_TIMEOUT,
            )
        except Unanswered as unanswered:
            self._why = str(unanswered)
            return None
        if response.is_success:
            return self._parsed(_STATE, response)
        if response.status_code == 409:
            return None
        if response.status_code in {413, 422}:
            raise ArtifactRefused(sentence_of(response))
        raise self._refusal(response)

    def _check_room(self, path: Path, size: int, received: int) -> None:
        """Check, before a byte is sent, that there is room for a file. Raises ArtifactRefused, NoRoom."""
        room = self.room()
        if size > room.file_bytes:
            raise ArtifactRefused(f"{path.name}: must be of at most {room.file_bytes:,} bytes, but has {size:,}.")
        if room.namespace_bytes and room.used_bytes + size - received > room.namespace_bytes:
            raise NoRoom(
                f"{path.name}: must leave the data of namespace {self._namespace} at {room.namespace_bytes:,} bytes at most, but "
                f"{room.used_bytes:,} are there and it has {size:,}. Delete TuningJobs whose data nobody needs, or put the data "
                "on a volume."
            )
