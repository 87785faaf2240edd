"""Fetch X, y, groups, weights and folds that a Python process has sent, by digest; they are checked and unchanged."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from tuningjob.aliases import Anything
from tuningjob.errors import ArtifactRefused
from tuningjob.manifest.data import Uploaded
from tuningjob.search.reasons import Reason, refused
from tuningjob.sent.files import read_sent

# It gives the file with a digest, on this disk as long as the process lives. It raises ArtifactRefused.
Fetch = Callable[[str], Path]
UPLOADED: Final = "spec.data.uploaded"
_ADVICE: Final = "tuningjob.Cluster sends it again: submit the search from Python."


class SentData(NamedTuple):
    """The data that were passed to ``fit`` in Python."""

    X: Any
    y: Any
    groups: Any
    sample_weight: Any
    predefined: Any


def from_uploads(uploaded: Uploaded, fetch: Fetch | None) -> SentData:
    """The sent data; ``fetch`` is None on a laptop, where there is no results service. Raises ManifestRefused."""
    return SentData(
        _one(uploaded.features, "features", fetch),
        _one(uploaded.target, "target", fetch),
        _one(uploaded.groups, "groups", fetch),
        _one(uploaded.sample_weight, "sampleWeight", fetch),
        _one(uploaded.predefined, "predefined", fetch),
    )


def fetched_archive(sha256: str, fetch: Fetch | None) -> Path:
    """The path of the archive of ``spec.code.uploaded``. Raises ManifestRefused."""
    return _file(sha256, "spec.code.uploaded", fetch, Reason.CODE_IMPORT)


def _one(sha256: str | None, name: str, fetch: Fetch | None) -> Anything:
    if sha256 is None:
        return None
    field = f"{UPLOADED}.{name}"
    path = _file(sha256, field, fetch, Reason.DATA_LOAD)
    try:
        return read_sent(path)
    except ArtifactRefused as error:
        raise refused(Reason.DATA_LOAD, field, "data that were sent from Python", sha256, str(error)) from error


def _file(sha256: str, field: str, fetch: Fetch | None, reason: Reason) -> Path:
    if fetch is None:
        advice = (
            "It is in the results service of a cluster: search there, or name a file that is here by spec.data.path."
        )
        raise refused(reason, field, "left out on a laptop", sha256, advice)
    try:
        return fetch(sha256)
    except ArtifactRefused as error:
        must_be = "the SHA-256 of what was sent to this namespace"
        raise refused(reason, field, must_be, sha256, f"{error} {_ADVICE}") from error
