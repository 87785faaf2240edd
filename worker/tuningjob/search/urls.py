"""Fetch the file of ``spec.data.url`` or ``spec.code.url`` once from a web server or a bucket to the local disk.

Its SHA-256 is computed meanwhile. No redirect may leave https, nothing is unpacked, and bytes, tries and time are bounded.
"""

import hashlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Final
from urllib.parse import urlsplit

import httpx

from tuningjob.errors import ManifestRefused
from tuningjob.manifest.urls import shown_url
from tuningjob.search.reasons import Reason, abridged, refused

_CREDENTIALS: Final = "Credentials are taken from the environment: spec.pod.env, or the service account."
# A part of the 4 GiB of a pod's scratch volume, which also has joblib's memory maps and unsent results.
_MOST_OF_SCRATCH: Final = 3 * 2**30
_SCRATCH: Final = Path("/tmp")  # noqa: S108  where the operator mounts it
_LEFT_FREE: Final = 256 * 2**20
_CHUNK: Final = 2**20
_MIB: Final = 2**20
_WAITS: Final = (1.0, 4.0)  # seconds, between the tries
_TIMEOUT: Final = httpx.Timeout(60, connect=10)
_SECONDS: Final = 3_600.0  # for the whole download, because a server may send a byte a minute
_MOST_REDIRECTS: Final = 5
_PASSING: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_NO_SUFFIX: Final = re.compile(r"[^.A-Za-z0-9]")


@dataclass(frozen=True)
class Remote:
    """A file behind a URL, with its required digest or None; ``of`` is the part of the manifest that names it."""

    url: str
    sha256: str | None
    of: str = "spec.data"

    @property
    def shown(self) -> str:
        """The URL as messages show it."""
        return shown_url(self.url)

    @property
    def field(self) -> str:
        """The field that has the URL."""
        return f"{self.of}.url"

    @property
    def reason(self) -> Reason:
        """The reason with which a search is refused if the file is not the right one."""
        return Reason.DATA_LOAD if self.of == "spec.data" else Reason.CODE_IMPORT


class Passing(Exception):
    """A passing error, which another try may not meet."""


@contextmanager
def fetched(remote: Remote, *, in_pod: bool) -> Iterator[Path]:
    """The path of the fetched file, which exists until the end of the block.

    Raises ManifestRefused, with the reason Unreachable for a passing error.
    """
    with tempfile.TemporaryDirectory(prefix="tuningjob-data-") as folder:
        path = Path(folder) / _local_name(remote.url)
        room = scratch_room(path.parent, in_pod=in_pod)
        found = _from_web(remote, path, room) if remote.url.startswith("https://") else _from_bucket(remote, path, room)
        if remote.sha256 is not None and found != remote.sha256:
            advice = f"What {remote.shown} gives has {found}: it is another file. If that is meant, write it down here."
            raise refused(remote.reason, f"{remote.of}.sha256", "the SHA-256 of the file", remote.sha256, advice)
        yield path


def _local_name(url: str) -> str:
    """A file name with the URL's suffixes, by which pandas knows how a file is compressed."""
    suffixes = PurePosixPath(urlsplit(url).path).suffixes[-2:]
    return "data" + _NO_SUFFIX.sub("", "".join(suffixes))[-40:]


def scratch_room(folder: Path, *, in_pod: bool) -> int:
    """The most bytes of a file in a folder; a scratch volume's free bytes do not show the limit at which a pod is evicted."""
    free = max(0, shutil.disk_usage(folder).free - _LEFT_FREE)
    return min(free, _MOST_OF_SCRATCH) if in_pod and folder.is_relative_to(_SCRATCH) else free


def _too_large(remote: Remote, room: int, size: int | None) -> ManifestRefused:
    its = "more" if size is None else f"{size / _MIB:,.0f} MiB"
    advice = f"It has {its}. In a pod TMPDIR in spec.pod.env may name a larger emptyDir of spec.pod.volumes."
    must_be = f"a file of at most {room / _MIB:,.0f} MiB, because it is put on the disk first"
    return refused(Reason.DATA_TOO_LARGE, remote.field, must_be, remote.shown, advice)


def _unreachable(remote: Remote, tried: list[str]) -> ManifestRefused:
    times = "once" if len(tried) == 1 else f"{len(tried)} times"
    advice = f"Tried {times}: {'; '.join(abridged(each, 200) for each in tried)}."
    return refused(Reason.UNREACHABLE, remote.field, "a URL that can be reached from here", remote.shown, advice)


def _not_given(remote: Remote, said: str, advice: str = "") -> ManifestRefused:
    text = f"It says: {abridged(said)}. {advice}".rstrip()
    return refused(remote.reason, remote.field, "the URL of a file that may be read", remote.shown, text)


# --- https


def _from_web(remote: Remote, path: Path, room: int) -> str:
    """Download a file to ``path``; returns its SHA-256."""
    deadline = time.monotonic() + _SECONDS
    tried: list[str] = []
    # identity, because the digest is that of the file, not of bytes compressed for the transfer
    headers = {"Accept-Encoding": "identity", "User-Agent": "tuningjob"}
    with httpx.Client(timeout=_TIMEOUT, headers=headers, follow_redirects=False) as client:
        for wait in (*_WAITS, None):
            try:
                return _streamed(client, remote, path, room, deadline)
            except (Passing, httpx.TransportError) as error:
                tried.append(str(error) or type(error).__name__)
            except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
                raise _not_given(remote, str(error)) from error
            if wait is not None:
                time.sleep(wait)
    raise _unreachable(remote, tried)


def _streamed(client: httpx.Client, remote: Remote, path: Path, room: int, deadline: float) -> str:
    url = httpx.URL(remote.url)
    for _ in range(_MOST_REDIRECTS + 1):
        with client.stream("GET", url) as response:
            if response.next_request is None:
                _check_answer(remote, response, room)
                return _written(response, remote, path, room, deadline)
            url = response.next_request.url
            if url.scheme != "https":
                said = f"{response.status_code}, to {url.scheme}://{url.host}"
                raise _not_given(remote, said, "Nothing is followed out of https.")
    raise _not_given(remote, f"more than {_MOST_REDIRECTS} redirections")


def _check_answer(remote: Remote, response: httpx.Response, room: int) -> None:
    status = response.status_code
    said = f"{status} {response.reason_phrase}".rstrip()
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in _PASSING:
        raise Passing(said)
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        raise _not_given(
            remote, said, "A signed URL has an end; of a bucket of your own name the object (s3://, gs://, abfs://)."
        )
    if status != HTTPStatus.OK:
        raise _not_given(remote, said)
    packed = response.headers.get("Content-Encoding", "identity")
    if packed != "identity":
        raise _not_given(remote, f"Content-Encoding: {packed}", "The file must be sent as it is.")
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and int(length) > room:
        raise _too_large(remote, room, int(length))


def _written(response: httpx.Response, remote: Remote, path: Path, room: int, deadline: float) -> str:
    digest, size = hashlib.sha256(), 0
    with path.open("wb") as file:
        for chunk in response.iter_raw(_CHUNK):
            size += len(chunk)
            if size > room:
                raise _too_large(remote, room, None)
            if time.monotonic() > deadline:
                raise _unreachable(remote, [f"{size / _MIB:,.0f} MiB came in {_SECONDS / 60:.0f} minutes"])
            digest.update(chunk)
            file.write(chunk)
    return digest.hexdigest()


# --- buckets


def _from_bucket(remote: Remote, path: Path, room: int) -> str:
    """Download an object to ``path`` in a separate process, because Arrow's clients leave threads; returns its SHA-256."""
    # -P, so that no module in the current folder is taken for one of Arrow's
    command = [sys.executable, "-P", "-m", "tuningjob.search.bucket", remote.url, str(path), str(room)]
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired as error:
        raise _unreachable(remote, [f"it took more than {_SECONDS / 60:.0f} minutes"]) from error
    try:
        answer = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        end = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
        said = f"the process that reads it ended with {ended.returncode} {''.join(end)}".rstrip()
        raise _unreachable(remote, [said]) from None
    said = str(answer.get("error", ""))
    answers: dict[str, Callable[[], ManifestRefused]] = {
        "large": lambda: _too_large(remote, room, answer.get("size")),
        "refused": lambda: _not_given(remote, said, _CREDENTIALS),
        "passing": lambda: _unreachable(remote, [said]),
    }
    if answer["kind"] in answers:
        raise answers[answer["kind"]]()
    return str(answer["sha256"])
