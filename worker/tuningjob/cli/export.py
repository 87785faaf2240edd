"""`tuningjob export PLACE`: the results of a search for optuna-dashboard, for MLflow, or as a table."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from tuningjob.cli.console import out
from tuningjob.cli.download import fetch_files
from tuningjob.cli.source import VERSION, BadUse, Where, checked_key, chosen, opened, where_options
from tuningjob.errors import Problem
from tuningjob.extras import advice_for
from tuningjob.manifest.wellknown import CV_RESULTS_CSV_FILE, CV_RESULTS_PARQUET_FILE, RESULT_FILES, SEARCH_FILE

_CHILDREN: Final = 20
_TABLES: Final = (CV_RESULTS_PARQUET_FILE, CV_RESULTS_CSV_FILE)
_NEW_FILE: Final = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("place", metavar="KEY|FOLDER")
@click.option("--version", type=VERSION, help="[the one in use] Of a model key.")
@click.option("--csv", type=_NEW_FILE, help="cv_results_ as CSV.")
@click.option("--parquet", type=_NEW_FILE, help="cv_results_ as Parquet.")
@click.option("--optuna", type=_NEW_FILE, help="A study, for optuna-dashboard: SQLite, or .journal (extra 'optuna').")
@click.option("--mlflow", metavar="URI", help="Runs on a tracking server or in a store (extra 'mlflow').")
@click.option("--experiment", help="MLflow's [the name of the search].")
@click.option(
    "--children",
    type=click.IntRange(min=0),
    default=_CHILDREN,
    show_default=True,
    help="Candidates that get an MLflow run.",
)
@click.option(
    "--no-model", "leaves_model", is_flag=True, help="Load no model for MLflow: loading one runs what its file says."
)
@where_options
def export(
    place: str,
    where: Where,
    *,
    version: int | None,
    csv: Path | None,
    parquet: Path | None,
    optuna: Path | None,
    mlflow: str | None,
    experiment: str | None,
    children: int,
    leaves_model: bool,
) -> None:
    """Hand what came of a search to other tools.

    Of a folder of results (results/KEY), or of a version of a model key.
    """
    if not (csv or parquet or optuna or mlflow):
        raise BadUse("--csv, --parquet, --optuna, --mlflow: must be given, at least one of them, but none is.")
    with _files(place, version, where, with_model=bool(mlflow) and not leaves_model) as folder:
        table = next((folder / name for name in _TABLES if (folder / name).is_file()), None)
        if table is None:
            raise BadUse(str(Problem("FOLDER", f"a folder with a {CV_RESULTS_CSV_FILE}", str(folder))))
        try:
            _to_tables(table, csv, parquet)
            if optuna or mlflow:
                _to_tools(
                    table,
                    Path(place).absolute().name,
                    optuna,
                    mlflow,
                    experiment=experiment,
                    children=children,
                    model=not leaves_model,
                )
        except OSError as error:
            raise BadUse(f"a file must be one that can be written, but got: {error}.") from None


@contextmanager
def _files(place: str, version: int | None, where: Where, *, with_model: bool) -> Iterator[Path]:
    if Path(place).is_dir():
        yield Path(place)
        return
    key = checked_key(place)
    with opened(where, key) as audit, tempfile.TemporaryDirectory() as folder:
        row = chosen(audit, key, version)
        there = {entry.name for entry in audit.files(row)}
        wanted = [name for name in RESULT_FILES if name in there and name != SEARCH_FILE]
        fetch_files(audit, row, [name for name in wanted if with_model or not name.endswith(".joblib")], Path(folder))
        yield Path(folder)


def _to_tables(table: Path, csv: Path | None, parquet: Path | None) -> None:
    if not (csv or parquet):
        return
    from tuningjob.exports.to_tables import write_csv, write_parquet

    for path, write in ((csv, write_csv), (parquet, write_parquet)):
        if path is not None:
            write(table, path)
            out.print(f"{path}: cv_results_")


def _to_tools(
    path: Path,
    name: str,
    optuna: Path | None,
    mlflow: str | None,
    *,
    experiment: str | None,
    children: int,
    model: bool,
) -> None:
    from tuningjob.reread import table_again

    table = table_again(path, name=name)
    try:
        if optuna is not None:
            from tuningjob.exports import to_optuna

            out.print(f"{optuna}: a study of {to_optuna.write_study(table, optuna):,} trials")
        if mlflow is not None:
            from tuningjob.exports import to_mlflow

            run = to_mlflow.log_search(
                table, path.parent, mlflow, experiment=experiment or name, children=children, model=model
            )
            out.print(f"{experiment or name}: run {run}")
    except ModuleNotFoundError as error:
        advice = advice_for(error, "--mlflow" if (error.name or "").startswith("mlflow") else "--optuna")
        if advice is None:
            raise
        raise BadUse(advice) from None


COMMANDS: Final = (export,)
