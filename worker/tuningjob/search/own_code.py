"""Put the user's modules (``spec.code``) on the path of a pod's process and of all processes that it starts."""

import importlib
import os
import sys
import tempfile
from pathlib import Path

from tuningjob.manifest.code import Code
from tuningjob.search.archives import ArchiveRefused, unpack
from tuningjob.search.reasons import Reason, refused
from tuningjob.search.sent_data import Fetch, fetched_archive
from tuningjob.search.urls import Remote, fetched


def bring_in(code: Code | None, mounted: Path, fetch: Fetch | None = None) -> None:
    """Make the modules of ``code`` importable from now on, before others of the same names.

    ``mounted`` is the folder of a volume; ``fetch`` gets code that was sent from Python. Raises ManifestRefused for an archive
    with another digest or with invalid entries.
    """
    if code is None:
        return
    folder = str(mounted if code.url is None and code.uploaded is None else _unpacked(code, fetch))
    sys.path.insert(0, folder)
    # for processes that are not forked from this one, such as joblib's own
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    importlib.invalidate_caches()


def _unpacked(code: Code, fetch: Fetch | None) -> Path:
    """The folder with the archive's files, read-only, which stays as long as the pod."""
    folder = Path(tempfile.mkdtemp(prefix="tuningjob-code-"))
    if code.uploaded is not None:
        _unpack(fetched_archive(code.uploaded, fetch), folder, "spec.code.uploaded", code.uploaded)
        return folder
    remote = Remote(str(code.url), code.sha256, "spec.code")
    with fetched(remote, in_pod=True) as archive:
        _unpack(archive, folder, "spec.code.url", remote.shown)
    for record in folder.glob("*.dist-info/RECORD"):
        # no distribution was installed, so no version identifies these files, but the digest of each
        record.unlink()
    return folder


def _unpack(archive: Path, folder: Path, field: str, got: str) -> None:
    try:
        unpack(archive, folder)
    except ArchiveRefused as error:
        must_be = "a wheel, a zip or a tar of plain files"
        raise refused(Reason.CODE_IMPORT, field, must_be, got, f"Of this one {error}.") from error
