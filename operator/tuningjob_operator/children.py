"""The small objects beside the Job: the token's Secret, the answer's ConfigMap, Events. Pure: bodies from data."""

import base64
import datetime as dt
import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tuningjob.spec.status import Condition
from tuningjob.spec.wellknown import (
    API_VERSION,
    BEST_PARAMS_FILE,
    CV_RESULTS_CSV_FILE,
    KIND,
    LEADERBOARD_FILE,
)
from tuningjob_operator import names
from tuningjob_operator.objects import Body, child_metadata, clip, timestamp, uid_of

# etcd takes 1.5 MiB in one request and a ConfigMap 1 MiB of data; metadata and base64 are in the rest.
MAX_RESULT_BYTES: Final = 900 * 1024
# A text that is longer than this will not fit when compressed either, and is not worth reading.
MAX_TEXT_BYTES: Final = 8 * 1024 * 1024
RESULT_FILES: Final = (BEST_PARAMS_FILE, LEADERBOARD_FILE, CV_RESULTS_CSV_FILE)
_MAX_EVENT_MESSAGE: Final = 1_024


def build_secret(tuningjob: Mapping[str, Any], token: str, *, key_id: str, ca: bytes | None = None) -> Body:
    """The Secret that the worker pods mount: the token, and whom the service's certificate must be signed by."""
    name = names.token_name(tuningjob["metadata"]["name"], uid_of(tuningjob), key_id)
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
    """What the results service has of a finished search. ``oversized`` were too long to be read at all."""

    contents: Mapping[str, bytes]
    oversized: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """The answer as an object, and what had to stay out of it."""

    configmap: Body
    left_out: tuple[str, ...]


def build_results(tuningjob: Mapping[str, Any], files: ResultFiles) -> Results:
    """The ConfigMap with the answer: small files first, each while it fits."""
    data: dict[str, str] = {}
    binary: dict[str, str] = {}
    left_out: list[str] = []
    room = MAX_RESULT_BYTES
    for name in RESULT_FILES:
        content = files.contents.get(name)
        if content is None:
            left_out.append(f"{name} ({'too large' if name in files.oversized else 'not there'})")
            continue
        if name == CV_RESULTS_CSV_FILE:
            # mtime=0: the same results are the same bytes
            packed = base64.b64encode(gzip.compress(content, mtime=0)).decode()
            size, target, key, value = len(packed), binary, f"{name}.gz", packed
        else:
            size, target, key, value = len(content), data, name, content.decode(errors="replace")
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
    return Results(body, tuple(left_out))


def build_event(tuningjob: Mapping[str, Any], condition: Condition, now: dt.datetime) -> Body:
    """The Event of one condition transition. Its name follows from the transition: told twice, it is there once."""
    metadata = tuningjob["metadata"]
    told = f"{uid_of(tuningjob)}/{condition.type}/{condition.status}/{condition.last_transition_time}"
    digest = hashlib.sha256(told.encode()).hexdigest()[:16]
    is_bad = condition.type == names.FAILED or (condition.type in names.GOOD_NEWS and condition.status == "False")
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
        "message": clip(condition.message, _MAX_EVENT_MESSAGE, keep_end=is_bad),
        "source": {"component": names.EVENT_SOURCE},
        "reportingComponent": names.EVENT_SOURCE,
        "reportingInstance": names.EVENT_SOURCE,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
        "count": 1,
    }
