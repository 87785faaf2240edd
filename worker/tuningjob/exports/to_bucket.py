"""Stores a file as an object of a bucket, in a process of its own, because Arrow's clients leave threads behind.

``python -m tuningjob.exports.to_bucket FILE URL`` says in a line of JSON why the object is not there, if it is not.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from tuningjob.errors import ServiceUnavailable

_SECONDS: Final = 600
_CHUNK: Final = 2**20


def put_file(file: Path, url: str) -> None:
    """Store the file, replacing an object of its name. Raises ServiceUnavailable with what the cloud's client says."""
    # -P: no module of the working directory is taken for one of Arrow's
    command = [sys.executable, "-P", "-m", "tuningjob.exports.to_bucket", str(file), url]
    try:
        ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603
    except subprocess.TimeoutExpired:
        raise ServiceUnavailable(f"{url}: must be there within {_SECONDS // 60} minutes, but is not.") from None
    try:
        said = json.loads(ended.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        end = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
        said = f"the process that writes it ended with {ended.returncode} {''.join(end)}".rstrip()
    if said:
        raise ServiceUnavailable(f"{url}: must be an object that may be written, but: {said}")


def _written(file: Path, url: str) -> str:
    """Store the file; returns why the object is not there, "" if it is."""
    from tuningjob.search.bucket import file_system_of  # noqa: PLC0415  only this process needs Arrow

    try:
        store, name = file_system_of(url)
        with file.open("rb") as source, store.open_output_stream(name, compression=None) as target:
            shutil.copyfileobj(source, target, _CHUNK)
    except Exception as error:  # noqa: BLE001  a cloud's client may raise anything
        return " ".join(str(error).split()) or type(error).__name__
    return ""


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_written(Path(sys.argv[1]), sys.argv[2])) + "\n")
    sys.stdout.flush()
    os._exit(0)  # Arrow's clients may take long to end, or crash on the way
