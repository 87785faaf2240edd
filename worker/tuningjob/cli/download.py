"""`tuningjob download KEY`: the files of a version, checked."""

import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tuningjob.cli.console import out, plain, warn
from tuningjob.cli.source import VERSION, AuditSource, BadUse, Where, chosen, key_argument, opened, where_options
from tuningjob.errors import Problem
from tuningjob.manifest.wellknown import MODEL_FILE, RESULT_FILES, SIDECAR_FILE

if TYPE_CHECKING:
    from tuningjob.protocol.audit import AuditRow
    from tuningjob.protocol.records import Artifact

_UNKNOWN_VERSIONS: Final = (
    f"it has no {SIDECAR_FILE}: whether its library versions differ from the ones here is not known."
)


@click.command()
@key_argument
@click.option("--version", type=VERSION, help="[the one in use]")
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Folder of the files [KEY-vVERSION].")
@click.option(
    "--only", multiple=True, metavar="NAME", help=f"Not all files, but this one (say, {MODEL_FILE}); repeatable."
)
@where_options
def download(key: str, version: int | None, output: Path | None, only: tuple[str, ...], where: Where) -> None:
    """Get the checked files of a version."""
    for name in only:
        if name not in RESULT_FILES:
            raise BadUse(str(Problem("--only", f"one of {', '.join(RESULT_FILES)}", repr(name))))
    with opened(where, key) as audit:
        row = chosen(audit, key, version)
        folder = output or Path(f"{key}-v{row.version}")
        wanted, warnings = fetch_files(audit, row, only, folder)
    for warning in warnings:
        warn(plain(warning))
    out.print(f"Version {row.version} of {key}: {len(wanted)} files in {folder}")


def fetch_files(
    audit: AuditSource, row: "AuditRow", only: Sequence[str], folder: Path
) -> "tuple[list[Artifact], list[str]]":
    """Get the files of a version, or ``only`` some; returns them, and what is to be known of library versions. Raises BadUse."""
    wanted = _wanted(audit, row, only)
    try:
        return wanted, _fetch_all(audit, row, wanted, folder)
    except OSError as error:
        raise BadUse(str(Problem("--output", "a folder with room for the files", str(error)))) from None


def _wanted(audit: AuditSource, row: "AuditRow", only: Sequence[str]) -> "list[Artifact]":
    """The files to fetch: those asked for, and always the one with the digests and library versions of the others."""
    from tuningjob.artifacts.downloads import hold_to_audit

    there = {entry.name: entry for entry in audit.files(row)}
    if not there:
        where = f" in {row.artifacts}" if row.artifacts else ""
        raise BadUse(
            f"version {row.version} of {row.model_key}: must have files, but got none{where}: they were removed, or it is of a "
            "time before they were kept for each version. Choose another --version, or run its search again."
        )
    if missing := [name for name in only if name not in there]:
        raise BadUse(
            str(
                Problem(
                    "--only", f"one of {', '.join(sorted(there))} (what version {row.version} has)", repr(missing[0])
                )
            )
        )
    wanted = [entry for name, entry in there.items() if not only or name in {*only, SIDECAR_FILE}]
    for entry in wanted:
        hold_to_audit(row, entry)
    return wanted


def _fetch_all(audit: AuditSource, row: "AuditRow", wanted: "Sequence[Artifact]", folder: Path) -> list[str]:
    """Bring the files, whole and checked, to ``folder``; returns a sentence for each library version that differs.

    They are fetched and checked in a folder of their own, and only then moved to their places, the one with the digests last: if
    that one is there, the others are. A run that was interrupted goes on from the files that are in place.
    """
    from tuningjob.artifacts.downloads import check_files

    folder.mkdir(parents=True, exist_ok=True)
    missing = [entry for entry in wanted if not _is_there(folder / entry.name, entry) or entry.name == SIDECAR_FILE]
    part = folder / f".download.{secrets.token_hex(8)}.part"
    part.mkdir()
    try:
        for entry in missing:
            audit.fetch(row, entry, part / entry.name)
        warnings = check_files(part) if (part / SIDECAR_FILE).exists() else [_UNKNOWN_VERSIONS]
        for entry in sorted(missing, key=lambda entry: entry.name == SIDECAR_FILE):
            (part / entry.name).replace(folder / entry.name)
    finally:
        shutil.rmtree(part)
    return warnings


def _is_there(path: Path, entry: "Artifact") -> bool:
    """Whether a file was downloaded before. Raises BadUse if another file is in its place."""
    from tuningjob.artifacts.store import artifact_at

    if not path.exists():
        return False
    if artifact_at(path) == entry:
        return True
    raise BadUse(f"--output: must be a folder without another {path.name}, but got {path.parent}. Give another.")


COMMANDS: Final = (download,)
