"""The small objects beside the Job: the token's Secret, the answer's ConfigMap, Events. Pure: bodies from data."""

import base64
import datetime as dt
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from tuningjob.manifest.status import Condition
from tuningjob.manifest.wellknown import (
    API_VERSION,
    BEST_PARAMS_FILE,
    CV_RESULTS_CSV_FILE,
    KIND,
    LEADERBOARD_FILE,
    SIDECAR_FILE,
    VERDICT_FILE,
)
from tuningjob_operator import names
from tuningjob_operator.objects import Body, child_metadata, clip, timestamp, uid_of

# etcd takes 1.5 MiB in one request and a ConfigMap 1 MiB of data; the rest is left to metadata and base64.
MAX_RESULT_BYTES: Final = 900 * 1024
# A longer text does not fit even when compressed, and is not read; the second bound is for files that people read as they are.
MAX_TABLE_BYTES: Final = 8 * 1024 * 1024
MAX_TEXT_BYTES: Final = 1024 * 1024
# More than this does not fit once base64 has made it longer.
MAX_PACKED_BYTES: Final = MAX_RESULT_BYTES // 4 * 3
PUBLISHED_FILES: Final = (BEST_PARAMS_FILE, SIDECAR_FILE, VERDICT_FILE, LEADERBOARD_FILE, CV_RESULTS_CSV_FILE)
# Their absence is not reported: workers of older releases write no verdict, and the sidecar is beside the models, too.
_UNMISSED: Final = (SIDECAR_FILE, VERDICT_FILE)
_CHUNK_BYTES: Final = 256 * 1024
_GZIP: Final = 31  # zlib's number for its largest window and gzip's header
_MAX_EVENT_MESSAGE: Final = 1_024


def build_secret(tuningjob: Mapping[str, Any], token: str, *, secret_id: str, ca: bytes | None = None) -> Body:
    """The Secret that the worker pods mount: the token, and the authority that must have signed the service's certificate."""
    name = names.token_name(tuningjob["metadata"]["name"], uid_of(tuningjob), secret_id)
    contents = {names.TOKEN_KEY: token.encode(), **({names.CA_KEY: ca} if ca is not None else {})}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": child_metadata(tuningjob, name, names.COMPONENT_TOKEN),
        "type": "Opaque",
        "immutable": True,
        "data": {key: base64.b64encode(content).decode() for key, content in contents.items()},
    }


@dataclass(frozen=True)
class ResultFiles:
    """The files that the results service has of a finished search, with the table of all candidates compressed by gzip.

    ``oversized`` are those that were too long to be read at all.
    """

    contents: Mapping[str, bytes]
    oversized: tuple[str, ...] = ()


def read_files(open_file: Callable[[str], BinaryIO]) -> ResultFiles:
    """Read a search's files, with at most 3 MiB in memory. ``open_file`` raises FileNotFoundError for one that is not there."""
    contents: dict[str, bytes] = {}
    oversized: list[str] = []
    for name in PUBLISHED_FILES:
        try:
            with open_file(name) as file:
                content = _packed(file) if name == CV_RESULTS_CSV_FILE else _whole(file)
        except FileNotFoundError:
            continue
        if content is None:
            oversized.append(name)
        else:
            contents[name] = content
    return ResultFiles(contents, tuple(oversized))


def _whole(file: BinaryIO) -> bytes | None:
    content = file.read(MAX_TEXT_BYTES + 1)
    return content if len(content) <= MAX_TEXT_BYTES else None


def _packed(file: BinaryIO) -> bytes | None:
    """The file compressed by gzip as it is read; None if it is too long. It holds no time, so equal results are equal bytes."""
    packer = zlib.compressobj(wbits=_GZIP)
    packed, read = bytearray(), 0
    while chunk := file.read(_CHUNK_BYTES):
        read += len(chunk)
        packed += packer.compress(chunk)
        if read > MAX_TABLE_BYTES or len(packed) > MAX_PACKED_BYTES:
            return None
    packed += packer.flush()
    return bytes(packed) if len(packed) <= MAX_PACKED_BYTES else None


@dataclass(frozen=True)
class Publication:
    """The answer as an object, and the files that had to stay out of it."""

    configmap: Body
    left_out: tuple[str, ...]


def build_results(tuningjob: Mapping[str, Any], files: ResultFiles) -> Publication:
    """The ConfigMap with the answer: small files first, each while it fits."""
    data: dict[str, str] = {}
    binary: dict[str, str] = {}
    left_out: list[str] = []
    room = MAX_RESULT_BYTES
    for name in PUBLISHED_FILES:
        content = files.contents.get(name)
        if content is None:
            if name in _UNMISSED and name not in files.oversized:
                continue
            left_out.append(f"{name} ({'too large' if name in files.oversized else 'not there'})")
            continue
        if name == CV_RESULTS_CSV_FILE:
            packed = base64.b64encode(content).decode()
            size, target, key, value = len(packed), binary, f"{name}.gz", packed
        else:
            text = content.decode(errors="replace")
            # its size as JSON on the wire, where a byte may take six
            size, target, key, value = len(json.dumps(text, ensure_ascii=False).encode()), data, name, text
        if size > room:
            left_out.append(f"{name} (too large)")
            continue
        room -= size
        target[key] = value
    body: Body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": child_metadata(
            tuningjob, names.results_name(tuningjob["metadata"]["name"]), names.COMPONENT_RESULTS
        ),
        **({"data": data} if data else {}),
        **({"binaryData": binary} if binary else {}),
    }
    return Publication(body, tuple(left_out))


def page_of(tuningjob: Mapping[str, Any], pages_url: str) -> str:
    """The address of a search's page."""
    return f"{pages_url}/v1/namespaces/{tuningjob['metadata']['namespace']}/ui/searches/{uid_of(tuningjob)}"


def build_event(tuningjob: Mapping[str, Any], condition: Condition, now: dt.datetime, pages_url: str = "") -> Body:
    """The Event of one condition transition. Its name follows from the transition, so that two reports of it make one Event.

    ``pages_url`` is where people open the results service's pages; with it, the Event at the end of a search names its page.
    """
    metadata = tuningjob["metadata"]
    told = f"{uid_of(tuningjob)}/{condition.type}/{condition.status}/{condition.last_transition_time}"
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    is_bad = condition.type == names.FAILED or (condition.type in names.GOOD_NEWS and condition.status == "False")
    is_over = condition.status == "True" and condition.reason == names.SEARCH_COMPLETE
    page = f" Page and report: {page_of(tuningjob, pages_url)}" if pages_url and is_over else ""
    message = clip(condition.message, _MAX_EVENT_MESSAGE - len(page), keep_end=is_bad) + page
    moment = timestamp(now)
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{digest}", "namespace": metadata["namespace"]},
        "involvedObject": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": uid_of(tuningjob),
            "resourceVersion": metadata["resourceVersion"],
        },
        "type": "Warning" if is_bad else "Normal",
        "reason": condition.reason,
        "message": message,
        "source": {"component": names.EVENT_SOURCE},
        "reportingComponent": names.EVENT_SOURCE,
        "reportingInstance": names.EVENT_SOURCE,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
