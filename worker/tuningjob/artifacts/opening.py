"""Opens the store of artifacts that a URL names."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from tuningjob.artifacts.local import LocalStore
from tuningjob.artifacts.store import ArtifactStore


def open_store(url: str, *, max_bytes: int, scratch: Path, reserve: float = 0.0) -> ArtifactStore:
    """The store at ``file:///…``, ``s3://bucket/prefix`` or ``gs://bucket/prefix``.

    On their way to a bucket, files are collected below the folder ``scratch``, which only this store may use. Credentials come
    from the environment, as the clients of AWS and Google read them. Raises ValueError for another URL.
    """
    parts = urlsplit(url)
    if parts.scheme == "file" and not parts.netloc and parts.path.startswith("/"):
        return LocalStore(Path(unquote(parts.path)), max_bytes=max_bytes, reserve=reserve)
    from tuningjob.artifacts import buckets  # noqa: PLC0415  its clients are heavy, and only a bucket needs them

    return buckets.open_bucket(url, max_bytes=max_bytes, scratch=scratch, reserve=reserve)
