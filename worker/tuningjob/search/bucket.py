"""``python -m tuningjob.search.bucket URL FILE MOST_BYTES`` writes an object of a bucket to a file.

This is a separate process, because Arrow's clients start threads that never end, and a process with threads can fork no workers.
It prints its outcome as a line of JSON: ``kind`` is done, large, refused, or passing (an error that may not occur again).
Each cloud's own client finds the credentials: in the environment, or by the workload identity of the pod.
"""

import hashlib
import json
import os
import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pyarrow import fs

_CHUNK: Final = 2**20
_SECONDS: Final = 60.0
# Errors that another try would meet as well, in the words of the clouds' clients.
_FINAL: Final = re.compile(
    r"ACCESS_DENIED|access denied|forbidden|unauthori[sz]ed|unauthenticated|permission|credential"
    r"|InvalidAccessKeyId|INVALID_ACCESS_KEY|SIGNATURE_DOES_NOT_MATCH|NO_SUCH|not found|does not exist|\b40[0134]\b",
    re.IGNORECASE,
)


def main(url: str, path: str, most: int) -> dict[str, Any]:
    """Write an object to ``path``, if it has at most ``most`` bytes; returns the outcome, which has ``kind``."""
    try:
        store, name = file_system_of(url)
        info = store.get_file_info(name)
        if info.type is not fs.FileType.File:
            what = "a folder" if info.type is fs.FileType.Directory else "no object"
            return {"kind": "refused", "error": f"there is {what} of this name"}
        if info.size is not None and info.size > most:
            return {"kind": "large", "size": info.size}
        return _copied(store, name, Path(path), most)
    except Exception as error:  # noqa: BLE001  a cloud's client may raise anything
        said = " ".join(str(error).split())
        return {"kind": "refused" if _FINAL.search(said) else "passing", "error": said}


def file_system_of(url: str) -> tuple[fs.FileSystem, str]:
    """The bucket's file system, and the object's name in it."""
    parts = urlsplit(url)
    name = f"{parts.netloc}{parts.path}"
    if parts.scheme == "s3":
        return _s3(parts.netloc), name
    if parts.scheme == "gs":
        return _gcs(), name
    container, _, host = parts.netloc.partition("@")
    return _azure(host.partition(".")[0]), f"{container}{parts.path}"


def _s3(bucket: str) -> fs.FileSystem:
    """The S3 file system of a bucket: at the endpoint that AWS's variables name, else in the region found for the bucket."""
    endpoint = urlsplit(os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    options: dict[str, Any] = (
        {"scheme": endpoint.scheme, "endpoint_override": endpoint.netloc} if endpoint.netloc else {}
    )
    if region is None and not options:
        region = fs.resolve_s3_region(bucket)
    if region is not None:
        options["region"] = region
    return fs.S3FileSystem(
        **options,
        connect_timeout=10,
        request_timeout=_SECONDS,
        retry_strategy=fs.AwsStandardS3RetryStrategy(max_attempts=3),
    )


def _gcs() -> fs.FileSystem:
    """Google's file system; ``STORAGE_EMULATOR_HOST`` names another endpoint, without credentials, as for Google's clients."""
    other = urlsplit(os.environ.get("STORAGE_EMULATOR_HOST", ""))
    limit = timedelta(seconds=_SECONDS)
    if other.netloc:
        return fs.GcsFileSystem(
            anonymous=True, scheme=other.scheme, endpoint_override=other.netloc, retry_time_limit=limit
        )
    return fs.GcsFileSystem(retry_time_limit=limit)


def _azure(account: str) -> fs.FileSystem:
    """Azure's file system: by a connection string, which may name another endpoint, by a key, or by the pod's identity."""
    told = dict(
        part.split("=", 1) for part in os.environ.get("AZURE_STORAGE_CONNECTION_STRING", "").split(";") if "=" in part
    )
    key = told.get("AccountKey") or os.environ.get("AZURE_STORAGE_KEY")
    endpoint = urlsplit(told.get("BlobEndpoint", ""))
    if not endpoint.netloc or endpoint.netloc.endswith(".blob.core.windows.net"):
        return fs.AzureFileSystem(account, account_key=key)
    where = dict.fromkeys(("blob_storage_authority", "dfs_storage_authority"), endpoint.netloc)
    how = dict.fromkeys(("blob_storage_scheme", "dfs_storage_scheme"), endpoint.scheme)
    return fs.AzureFileSystem(account, account_key=key, **where, **how)


def _copied(store: fs.FileSystem, name: str, path: Path, most: int) -> dict[str, Any]:
    digest, size = hashlib.sha256(), 0
    with store.open_input_stream(name, compression=None) as source, path.open("wb") as file:
        while chunk := source.read(_CHUNK):
            size += len(chunk)
            if size > most:
                return {"kind": "large"}
            digest.update(chunk)
            file.write(chunk)
    return {"kind": "done", "size": size, "sha256": digest.hexdigest()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], sys.argv[2], int(sys.argv[3]))) + "\n")
    sys.stdout.flush()
    os._exit(0)  # Arrow's clients may take long to end, or crash on the way
