"""Artifacts in a bucket: S3 and what speaks its protocol, or Google Cloud Storage, through fsspec.

A file is collected on the service's volume while its digest is computed. Then one operation of the protocol sends it: a put, or
an upload in parts that counts when it is completed. So a bucket shows an object whole or not at all. The digest is kept
with the object as metadata, so a listing reads no file.

Only ``artifacts.opening`` imports this module. Any thread may use it; fsspec has its own event loop.
"""

import datetime as dt
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, cast
from urllib.parse import urlsplit

import fsspec
from typing_extensions import override

from tuningjob.aliases import Anything
from tuningjob.artifacts.store import (
    ArtifactStore,
    Entry,
    blocks,
    check_place,
    check_search_id,
    no_room,
    part_below,
    sweep_parts,
)
from tuningjob.errors import ArtifactsUnavailable, TuningJobError
from tuningjob.protocol.records import Artifact

_SHA256: Final = "sha256"
# How much of a file is in memory at a time, both ways. S3 takes at most 10,000 parts, of at least 5 MiB each.
_PART_BYTES: Final = 8 << 20
_PARTS_AT_ONCE: Final = 2
_CONNECT_SECONDS: Final = 5
_READ_SECONDS: Final = 60


class _Bucket(ABC):
    """The few operations in which the protocols differ. ``key`` is bucket and path."""

    def __init__(self, fs: Anything) -> None:
        self.fs = fs

    @abstractmethod
    def put(self, part: Path, key: str, sha256: str) -> None:
        """Store the file as the object, whole, with its digest."""

    @abstractmethod
    def stat(self, key: str) -> tuple[int, str | None]:
        """The object's size, and its digest if it was stored with one. Raises FileNotFoundError."""

    @abstractmethod
    def open(self, key: str) -> BinaryIO:
        """Open the object for reading; a read fails once another object has taken its place. Raises FileNotFoundError."""

    @abstractmethod
    def probe(self, bucket: str, prefix: str) -> None:
        """Raise if the bucket cannot be listed below ``prefix``."""

    @abstractmethod
    def changed_at(self, info: dict[str, Any]) -> float:
        """When an object of a listing was stored, in seconds of the epoch."""


class _S3(_Bucket):
    """S3. Credentials are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or from another source of botocore's (a role, say)."""

    def __init__(self) -> None:
        # a self-hosted server (MinIO, Ceph) mostly has one host name, not one for each bucket
        own = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        config: dict[str, Any] = {
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _READ_SECONDS,
            "retries": {"mode": "standard", "max_attempts": 2},
        }
        super().__init__(
            fsspec.filesystem(
                "s3",
                endpoint_url=own,
                client_kwargs={"region_name": os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")},
                config_kwargs=config | ({"s3": {"addressing_style": "path"}} if own else {}),
                use_listings_cache=False,
                skip_instance_cache=True,
            )
        )
        self.fs.retries = 2  # on top of botocore's own

    def put(self, part: Path, key: str, sha256: str) -> None:
        self.fs.put_file(
            str(part), key, chunksize=_PART_BYTES, max_concurrency=_PARTS_AT_ONCE, Metadata={_SHA256: sha256}
        )

    def stat(self, key: str) -> tuple[int, str | None]:
        bucket, _, path = key.partition("/")
        head = self.fs.call_s3("head_object", Bucket=bucket, Key=path)
        return int(head["ContentLength"]), head["Metadata"].get(_SHA256)

    def open(self, key: str) -> BinaryIO:
        # each range is requested with If-Match on the ETag that the object has now
        return cast("BinaryIO", self.fs.open(key, "rb", block_size=_PART_BYTES, cache_type="readahead"))

    def probe(self, bucket: str, prefix: str) -> None:
        self.fs.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, MaxKeys=1)

    def changed_at(self, info: dict[str, Any]) -> float:
        return float(info["LastModified"].timestamp())


class _Gcs(_Bucket):
    """Google Cloud Storage. Credentials are GOOGLE_APPLICATION_CREDENTIALS, or the workload's identity."""

    def __init__(self) -> None:
        # else gcsfs asks over gRPC whether each bucket is a zonal one, and loads that library
        os.environ.setdefault("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
        emulated = "STORAGE_EMULATOR_HOST" in os.environ
        super().__init__(
            fsspec.filesystem(
                "gs",
                token="anon" if emulated else "google_default",
                timeout=_READ_SECONDS,
                version_aware=True,
                use_listings_cache=False,
                skip_instance_cache=True,
            )
        )

    def put(self, part: Path, key: str, sha256: str) -> None:
        self.fs.put_file(str(part), key, chunksize=_PART_BYTES, metadata={_SHA256: sha256})

    def stat(self, key: str) -> tuple[int, str | None]:
        info = self._info(key)
        return int(info["size"]), (info.get("metadata") or {}).get(_SHA256)

    def open(self, key: str) -> BinaryIO:
        # each range is requested from this generation, which is gone once another object takes its place
        pinned = f"{key}#{self._info(key)['generation']}"
        return cast("BinaryIO", self.fs.open(pinned, "rb", block_size=_PART_BYTES, cache_type="readahead"))

    def _info(self, key: str) -> dict[str, Any]:
        info: dict[str, Any] = self.fs.info(key)
        if info["type"] != "file":
            raise FileNotFoundError(key)
        return info

    def probe(self, bucket: str, prefix: str) -> None:
        self.fs.call("GET", "b/{}/o", bucket, prefix=prefix, maxResults=1, json_out=True)

    def changed_at(self, info: dict[str, Any]) -> float:
        return dt.datetime.fromisoformat(str(info["updated"])).timestamp()


class BucketStore(ArtifactStore):
    """Files as objects ``<prefix>/<search id>/<name>``."""

    def __init__(
        self, scheme: str, bucket: str, prefix: str, *, max_bytes: int, scratch: Path, reserve: float = 0.0
    ) -> None:
        super().__init__(max_bytes=max_bytes, reserve=reserve)
        self._root = f"{bucket}/{prefix}" if prefix else bucket
        self._names = (bucket, prefix)
        self._url = f"{scheme}://{self._root}"
        self._scratch = scratch
        with self._answering(exists=False):
            self._bucket: _Bucket = _S3() if scheme == "s3" else _Gcs()

    @override
    def find(self, search_id: str, name: str) -> Artifact:
        """Size and digest of an object; one that another program stored is read, because its digest is not known."""
        key = self._key(search_id, name)
        with self._answering():
            size, digest = self._bucket.stat(key)
            if digest is None:
                digest = _digest_of(self._bucket.open(key))
            return Artifact(name, size, digest)

    @override
    def open(self, search_id: str, name: str) -> BinaryIO:
        """Open an object for reading; errors while it is read are those of the bucket's client."""
        key = self._key(search_id, name)
        with self._answering():
            return self._bucket.open(key)

    @override
    def delete(self, search_id: str) -> None:
        check_search_id(search_id)
        with self._answering():
            for key in self._bucket.fs.find(f"{self._root}/{search_id}/"):
                with suppress(FileNotFoundError):
                    self._bucket.fs.rm_file(key)

    @override
    def remove(self, folder: str, name: str) -> None:
        key = self._key(folder, name)
        with self._answering(), suppress(FileNotFoundError):
            self._bucket.fs.rm_file(key)

    @override
    def folders(self, prefix: str) -> tuple[str, ...]:
        with self._answering(exists=False):
            try:
                found = self._bucket.fs.ls(self._root, detail=False)
            except FileNotFoundError:
                return ()
        names = {str(path).rstrip("/").rpartition("/")[2] for path in found}
        return tuple(sorted(name for name in names if name.startswith(prefix)))

    @override
    def entries(self, folder: str) -> dict[str, Entry]:
        check_search_id(folder)
        with self._answering(exists=False):
            found = self._bucket.fs.find(f"{self._root}/{folder}/", detail=True)
        return {
            key.rpartition("/")[2]: Entry(int(info["size"]), self._bucket.changed_at(info))
            for key, info in found.items()
        }

    @override
    def unfinished(self, folder: str) -> Path:
        check_search_id(folder)
        return self._scratch / folder

    @override
    def sweep(self) -> None:
        """Remove unfinished files on the volume. The bucket's lifecycle rule removes parts of uploads that never completed."""
        sweep_parts(self._scratch)

    @override
    def check(self) -> None:
        bucket, prefix = self._names
        with self._answering(exists=False):
            self._bucket.probe(bucket, prefix)

    @override
    def url(self, search_id: str) -> str:
        check_search_id(search_id)
        return f"{self._url}/{search_id}"

    @contextmanager
    def _incoming(self, search_id: str, name: str) -> Iterator[Path]:  # noqa: ARG002  one folder for all
        try:
            self._scratch.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise no_room(name, error) from error
        with part_below(self._scratch, name) as part:
            yield part

    def _place(self, part: Path, search_id: str, artifact: Artifact) -> None:
        with self._answering(exists=False):
            self._bucket.put(part, self._key(search_id, artifact.name), artifact.sha256)

    def _key(self, search_id: str, name: str) -> str:
        check_place(search_id, name)
        return f"{self._root}/{search_id}/{name}"

    def _answering(self, *, exists: bool = True) -> AbstractContextManager[None]:
        return _answering(self._url, exists=exists)


def _digest_of(file: BinaryIO) -> str:
    digest = hashlib.sha256()
    for block in blocks(file):
        digest.update(block)
    return digest.hexdigest()


@contextmanager
def _answering(url: str, *, exists: bool) -> Iterator[None]:
    """Turn the clients' exceptions into ArtifactsUnavailable; with ``exists``, FileNotFoundError stays what it is."""
    try:
        yield
    except TuningJobError:
        raise
    except Exception as error:  # the clients' errors have no common base class
        if exists and isinstance(error, FileNotFoundError):
            raise
        raise ArtifactsUnavailable(
            f"{url}: must answer, and take these credentials, but got {type(error).__name__}: {str(error)[:500]}"
        ) from error


def open_bucket(url: str, *, max_bytes: int, scratch: Path, reserve: float = 0.0) -> BucketStore:
    """The store at a bucket's URL, for ``artifacts.opening.open_store``. Raises ValueError for any other URL."""
    parts = urlsplit(url)
    scheme = {"s3": "s3", "gs": "gs"}.get(parts.scheme)
    if scheme is None or not parts.hostname or parts.netloc != parts.hostname or parts.query or parts.fragment:
        raise ValueError(
            "The store of artifacts must be at file:///<folder>, s3://<bucket>/<prefix> or gs://<bucket>/<prefix>, "
            f"without credentials, but got {parts._replace(netloc=parts.netloc.rpartition('@')[2]).geturl()!r}."
        )
    return BucketStore(
        scheme, parts.netloc, parts.path.strip("/"), max_bytes=max_bytes, scratch=scratch, reserve=reserve
    )
