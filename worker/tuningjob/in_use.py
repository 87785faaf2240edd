"""``tuningjob.params``: the parameters of the version that is in use, from a journal or a results service, as Python values."""

from pathlib import Path
from typing import Any, Final

from tuningjob.errors import JournalError
from tuningjob.extras import advice_for
from tuningjob.manifest.wellknown import JOURNAL_FILE
from tuningjob.search.written import from_literals

_SCHEMES: Final = ("http://", "https://")


def params(
    key: str,
    *,
    version: int | None = None,
    where: str | Path | None = None,
    namespace: str | None = None,
    ca_file: Path | None = None,
    token_file: Path | None = None,
) -> dict[str, Any]:
    """The parameters of a version of a model key, as Python values for ``estimator.set_params(**params(key))``.

    ``version``: by default the one in use. ``where``: a folder of results (``results/KEY``, or the one above), a journal's file
    or URL, or the URL of a results service; by default TUNINGJOB_SERVER, or ``results/KEY`` here. ``namespace``, ``ca_file`` and
    ``token_file`` are the options of `tuningjob params`.

    Raises UnknownModel, NotBlessed, JournalError or ServiceUnavailable, and ManifestRefused for a value that cannot be made.
    """
    try:  # code that only reads files needs no command line
        import click  # noqa: PLC0415

        from tuningjob.cli.source import Where, chosen, opened  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ImportError(advice_for(error, "tuningjob.params") or str(error)) from error

    place = None if where is None else str(where)
    is_service = place is not None and place.startswith(_SCHEMES)
    journal = None if place is None or is_service else _journal_in(place, key)
    try:
        with opened(Where(journal, place if is_service else None, namespace, ca_file, token_file), key) as audit:
            row = chosen(audit, key, version)
    except click.ClickException as error:  # its message names the options of the command, which are the same here
        raise JournalError(error.message) from None
    return from_literals(row.best_params)


def _journal_in(place: str, key: str) -> str:
    folder = Path(place)
    if "://" in place or not folder.is_dir():
        return place
    within = folder / JOURNAL_FILE
    return str(within if within.is_file() else folder / key / JOURNAL_FILE)
