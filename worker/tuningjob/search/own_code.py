"""``spec.code`` in a pod: the user's modules put on the path, for this process and all that it starts."""

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
    """Modules of ``code`` can be imported from now on, before others of their names. ``mounted``: where a volume is,
    ``fetch``: gets what was sent from Python.

    Raises ManifestRefused for an archive that is not what was meant, or has what no archive of modules has.
    """
    if code is None:
        return
    folder = str(mounted if code.url is None and code.uploaded is None else _unpacked(code, fetch))
    sys.path.insert(0, folder)
    # for processes that are not forked from this one: those of joblib's own, say
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, os.environ.get("PYTHONPATH")]))
    importlib.invalidate_caches()


def _unpacked(code: Code, fetch: Fetch | None) -> Path:
    """The archive's files, read-only, for as long as the pod lives."""
    folder = Path(tempfile.mkdtemp(prefix="tuningjob-code-"))
    if code.uploaded is not None:
        _unpack(fetched_archive(code.uploaded, fetch), folder, "spec.code.uploaded", code.uploaded)
        return folder
    remote = Remote(str(code.url), code.sha256, "spec.code")
    with fetched(remote, in_pod=True) as archive:
        _unpack(archive, folder, "spec.code.url", remote.shown)
    for record in folder.glob("*.dist-info/RECORD"):
        # nothing was installed, so a version does not vouch for these files: each is known by its digest
        record.unlink()
    return folder


def _unpack(archive: Path, folder: Path, field: str, got: str) -> None:
    try:
        unpack(archive, folder)
    except ArchiveRefused as error:
        must_be = "a wheel, a zip or a tar of plain files"
        raise refused(Reason.CODE_IMPORT, field, must_be, got, f"Of this one {error}.") from error
