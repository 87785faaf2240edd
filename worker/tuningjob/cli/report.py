"""`tuningjob report PLACE`: the results of a search, in words and as a page."""

from pathlib import Path
from typing import Final

import click

from tuningjob.cli.console import out
from tuningjob.cli.download import fetch_files
from tuningjob.cli.source import VERSION, BadUse, Where, checked_key, chosen, opened, where_options
from tuningjob.errors import Problem
from tuningjob.manifest.wellknown import (
    CV_RESULTS_CSV_FILE,
    CV_RESULTS_PARQUET_FILE,
    REPORT_FILE,
    TOLD_FILES,
    VERDICT_FILE,
)


@click.command()
@click.argument("place", metavar="KEY|FOLDER")
@click.option("--version", type=VERSION, help="[the one in use] Of a model key.")
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder of the files [KEY-vVERSION, or FOLDER]."
)
@click.option("--open", "is_opened", is_flag=True, help="Show the page in the browser.")
@where_options
def report(place: str, version: int | None, output: Path | None, is_opened: bool, where: Where) -> None:  # noqa: FBT001  click's
    """Print what came of a search, and bring report.html.

    Of a folder of results (results/KEY), or of a version of a model key. A folder that has no report gets one.
    """
    folder = _of_folder(Path(place), output) if Path(place).is_dir() else _of_version(place, version, output, where)
    page = folder / REPORT_FILE
    out.print((folder / VERDICT_FILE).read_text(encoding="utf-8"), soft_wrap=True)
    out.print(f"Report: {page}", soft_wrap=True)
    if is_opened:
        click.launch(page.absolute().as_uri())


def _of_folder(folder: Path, output: Path | None) -> Path:
    if output is None and all((folder / name).is_file() for name in TOLD_FILES):
        return folder
    table = next(
        (folder / name for name in (CV_RESULTS_PARQUET_FILE, CV_RESULTS_CSV_FILE) if (folder / name).is_file()), None
    )
    if table is None:
        raise BadUse(str(Problem("FOLDER", f"a folder with a {CV_RESULTS_CSV_FILE}", str(folder))))
    from tuningjob.reread import judged_again

    told = judged_again(table)
    there = output or folder
    there.mkdir(parents=True, exist_ok=True)
    (there / VERDICT_FILE).write_text(told.verdict, encoding="utf-8")
    (there / REPORT_FILE).write_text(told.report, encoding="utf-8")
    return there


def _of_version(place: str, version: int | None, output: Path | None, where: Where) -> Path:
    key = checked_key(place)
    with opened(where, key) as audit:
        row = chosen(audit, key, version)
        folder = output or Path(f"{key}-v{row.version}")
        fetch_files(audit, row, TOLD_FILES, folder)
    return folder


COMMANDS: Final = (report,)
