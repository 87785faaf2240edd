"""Checks of the files of a finished search after a download: are they what was stored, and will they load here?

The module is light on purpose: nothing is unpickled and no library is imported before digest and versions are checked.
"""

import json
import platform
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from tuningjob.aliases import Estimator
from tuningjob.artifacts.store import artifact_at
from tuningjob.errors import ArtifactRefused
from tuningjob.manifest.wellknown import RESULT_FILES, SIDECAR_FILE
from tuningjob.protocol.audit import AuditRow
from tuningjob.protocol.records import Artifact

_PYTHON: Final = "python"
# What scikit-learn's fit sets besides cv_results_ and what follows from it, by a refit or in a search that halves.
FIT_ATTRIBUTES: Final = (
    "refit_time_",
    "n_required_iterations_",
    "n_possible_iterations_",
    "n_iterations_",
    "n_resources_",
    "n_candidates_",
    "n_remaining_candidates_",
    "min_resources_",
    "max_resources_",
)


@dataclass(frozen=True)
class Sidecar:
    """The file ``artifacts.json`` beside the others: how they were compressed, by which versions, and their digests.

    ``tuningjob`` is the version that wrote them; no file needs it. ``versions`` are those of Python and of the distributions
    that decide whether a model loads, and what it predicts. ``attributes`` are those of FIT_ATTRIBUTES that the search has,
    ``kernels`` the libraries for matrices where the model was fitted, each with the processor that it detected. Older releases
    wrote neither of the two.
    """

    tuningjob: str
    compression: str
    versions: Mapping[str, str]
    files: tuple[Artifact, ...]
    attributes: Mapping[str, float | int | list[float | int]] = field(default_factory=dict)
    kernels: tuple[str, ...] = ()

    def dumps(self) -> str:
        """The sidecar as JSON."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def loads(cls, text: str | bytes) -> "Sidecar":
        """A sidecar from JSON. Raises ArtifactRefused for a text that is no sidecar."""
        try:
            sidecar = _SIDECAR.validate_json(text)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise ArtifactRefused(
                f"{SIDECAR_FILE}: must be the JSON that a search writes beside its files, but got {where}: {first['msg']}."
            ) from None
        for entry in sidecar.files:
            if entry.name not in RESULT_FILES:
                raise ArtifactRefused(
                    f"{SIDECAR_FILE}: must list {', '.join(RESULT_FILES)} alone, but got {entry.name[:80]!r}."
                )
        return sidecar


_SIDECAR: Final = TypeAdapter(Sidecar)


def check_files(folder: Path, *, only: str | None = None) -> list[str]:
    """Check the files of ``folder`` (or ``only`` one of them) against the sidecar among them.

    Returns a sentence for each version that differs here from the one that made them. Raises ArtifactRefused for a file
    that is not what was stored. A file that the sidecar lists and ``folder`` lacks was not asked for: no error.
    """
    try:
        sidecar = Sidecar.loads((folder / SIDECAR_FILE).read_bytes())
    except FileNotFoundError:
        return [f"{folder / SIDECAR_FILE} is not there: neither digests nor versions could be checked."]
    for entry in sidecar.files:
        if only in {None, entry.name} and (folder / entry.name).exists():
            _check(folder / entry.name, entry)
    if only not in {None, *(entry.name for entry in sidecar.files)}:
        raise ArtifactRefused(f"{only}: must be one of the files that {folder / SIDECAR_FILE} lists, but is not.")
    return list(_differences(sidecar.versions))


def hold_to_audit(row: AuditRow, entry: Artifact) -> None:
    """Check a file against the audit. Raises ArtifactRefused for one that was changed after its version was completed."""
    if row.files is None:
        return  # written by a release whose audit kept no digests
    told = {file.name: file.sha256 for file in row.files}.get(entry.name)
    if told != entry.sha256:
        raise ArtifactRefused(
            f"{entry.name}: must be the file that version {row.version} of {row.model_key} was completed with "
            f"(SHA-256 {told or 'of none'}), but got {entry.sha256}. Somebody has changed it: do not load it."
        )


def load_model(path: Path | str, *, mmap_mode: Literal["r", "r+", "w+", "c"] | None = None) -> Estimator:
    """Load what a search has stored in ``path`` (``model.joblib`` or ``search.joblib``), checked before it is unpickled.

    ``mmap_mode`` as in ``joblib.load``: for files without compression. Warns for each version that differs. Raises
    ArtifactRefused, FileNotFoundError.
    """
    import joblib  # noqa: PLC0415  only needed to load a model

    path = Path(path)
    for sentence in check_files(path.parent, only=path.name):
        warnings.warn(sentence, UserWarning, stacklevel=2)
    return joblib.load(path, mmap_mode=mmap_mode)


def _check(path: Path, want: Artifact) -> None:
    found = artifact_at(path)
    if want.sha256 != found.sha256:
        raise ArtifactRefused(
            f"{path}: must be of {want.size_bytes:,} bytes with the SHA-256 {want.sha256}, "
            f"but got {found.size_bytes:,} bytes with {found.sha256}. Download it again."
        )


def _differences(versions: Mapping[str, str]) -> Iterator[str]:
    for name, made_with in versions.items():
        if name == _PYTHON:
            # pickles do not depend on the patch level
            if made_with.split(".")[:2] != list(platform.python_version_tuple()[:2]):
                yield f"Python: the files were written with {made_with}, this is {platform.python_version()}."
            continue
        try:
            here = version(name)
        except PackageNotFoundError:
            yield f"{name}: the files were written with {made_with}, and it is not installed here."
        else:
            if here != made_with:
                yield (
                    f"{name}: the files were written with {made_with}, {here} is installed here. "
                    f"Install {name}=={made_with} if they do not load."
                )
