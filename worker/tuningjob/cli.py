"""`tuningjob run | size | validate FILE`.

Exit codes: 0 done; 2 manifest refused (field, must-be, got, on stderr); 3 search failed; 143 stopped, with what is finished kept.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Self

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from tuningjob import __version__
from tuningjob.errors import ManifestRefused, SearchFailed, TuningJobError
from tuningjob.sizing import Size, check_limit, size_of, size_warning
from tuningjob.spec import TuningJob, load_file
from tuningjob.spec.wellknown import ExitCode
from tuningjob.threads import cap_threads

if TYPE_CHECKING:
    from tuningjob.journal.records import CellResult
    from tuningjob.local import Outcome

_FILE = click.argument("file", type=click.Path(path_type=Path))
_LEADERBOARD_ROWS = 10

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """GridSearchCV for a shared Kubernetes cluster, and for this machine."""


@cli.command()
@_FILE
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help="Folder of the results [results/<name>]."
)
def run(file: Path, output: Path | None) -> None:
    """Do the whole search on this machine. Killed and started again, it goes on where it was."""
    # scikit-learn is imported only where it is needed, and after the thread caps are set
    from tuningjob import local  # noqa: PLC0415
    from tuningjob.search.stop import Stop  # noqa: PLC0415

    manifest = load_file(file)
    output = output or Path("results") / manifest.metadata.name
    _warn(size_of(manifest.spec))
    view = _LiveView(manifest.metadata.name)
    stop = Stop()
    with stop.on_signals(), view:
        outcome = local.run(
            manifest,
            folder=file.parent,
            output=output,
            stop=stop,
            watcher=local.Watcher(started=view.started, cells=view.cells),
        )
    _show(outcome, manifest, output)


@cli.command()
@_FILE
def size(file: Path) -> None:
    """Print candidates, splits and fits, and a warning where there are many."""
    manifest = load_file(file)
    found = size_of(manifest.spec)
    out.print(
        f"candidates  {found.candidates:,}\nsplits      {found.splits:,}\nfits        {found.fits:,} (and the refit)"
    )
    _warn(found)
    check_limit(found, manifest.spec)


@cli.command()
@_FILE
def validate(file: Path) -> None:
    """Check everything that can be checked here: the manifest, the estimator, parameters, scorer, data."""
    manifest = load_file(file)
    check_limit(size_of(manifest.spec), manifest.spec)
    from tuningjob.search import problem  # noqa: PLC0415  after the thread caps are set

    data = manifest.spec.data
    elsewhere = (data.persistent_volume_claim or data.config_map) and not (
        file.parent / str(data.path).lstrip("/")
    ).is_file()
    if elsewhere:
        problem.prepare_estimator(manifest.spec)
        out.print(f"{file}: valid. Its data is on a volume and was not looked at.")
        return
    ready = problem.prepare(manifest.spec, file.parent)
    out.print(f"{file}: valid. {ready.data.samples:,} samples × {ready.data.features:,} features.")


def _warn(found: Size) -> None:
    warning = size_warning(found)
    if warning:
        err.print(f"warning: {warning}", style="yellow")


class _LiveView:
    """A progress bar, from the moment that the worker's processes are there: its refresh is a thread."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[failed]}"),
            console=err,
        )
        self._task: TaskID | None = None
        self._failed = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._task is not None:
            self._bar.stop()

    def started(self, size: Size, kept: int, n_jobs: int) -> None:
        if kept:
            err.print(f"Kept {kept:,} of {size.fits:,} fits of an earlier run.")
        plural = "es" if n_jobs > 1 else ""
        err.print(
            f"{size.candidates:,} candidates × {size.splits} splits = {size.fits:,} fits in {n_jobs} process{plural}."
        )
        self._bar.start()
        self._task = self._bar.add_task(self._name, total=size.fits, completed=kept, failed="")

    def cells(self, results: "list[CellResult]") -> None:
        if self._task is not None:
            self._failed += sum(result.error is not None for result in results)
            self._bar.update(self._task, advance=len(results), failed=f"{self._failed} failed" if self._failed else "")


def _show(outcome: "Outcome", manifest: TuningJob, output: Path) -> None:
    from tuningjob.search.results import leaderboard  # noqa: PLC0415  after the thread caps are set

    table = Table(title=f"Best of {outcome.size.candidates:,} candidates ({manifest.spec.scoring or 'score'})")
    board = leaderboard(outcome.results, _LEADERBOARD_ROWS)
    for name in board.columns:
        title = name.removeprefix("param_").removesuffix("_test_score").replace("mean_fit_time", "fit s")
        table.add_column(title, justify="right", overflow="fold")
    for row in board.itertuples(index=False):
        table.add_row(*(_cell(value) for value in row))
    out.print(table)
    for text, count in outcome.warnings.most_common(5):
        err.print(f"warning: {text} (×{count:,})", style="yellow", markup=False)
    if outcome.answer.failed_fits:
        err.print(f"warning: {outcome.answer.failed_fits:,} fits failed; their scores are NaN.", style="yellow")
    fitted = outcome.answer.fit_seconds_total
    out.print(
        f"{outcome.size.fits - outcome.kept:,} fits in {outcome.seconds:.1f} s in {outcome.n_jobs} processes; "
        f"all {outcome.size.fits:,} fits summed: {fitted:.1f} s."
    )
    out.print(
        f"Version {outcome.version} of {manifest.spec.model_key or manifest.metadata.name}. Results: {output}",
        soft_wrap=True,
    )


def _cell(value: object) -> str:
    # NaN and pandas' NA are the values that are not equal to themselves, or not comparable at all
    if value is None or str(value) in {"nan", "<NA>"}:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).strip('"')


def main(arguments: list[str] | None = None) -> None:
    """The console script."""
    cap_threads()
    sys.exit(_main(arguments))


def _main(arguments: list[str] | None) -> int:
    from tuningjob.search.stop import Terminated  # noqa: PLC0415  light: it imports signal alone

    try:
        cli.main(arguments, standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (TuningJobError, Terminated, click.Abort) as error:
        return _explain(error)
    return ExitCode.DONE


def _explain(error: BaseException) -> ExitCode:
    """Say on stderr why there is no result, without a traceback; the exit code that goes with it."""
    if isinstance(error, ManifestRefused):
        for problem in error.problems:
            err.print(str(problem), markup=False)
        return ExitCode.REFUSED
    if isinstance(error, TuningJobError):
        prefix = "search failed: " if isinstance(error, SearchFailed) else ""
        err.print(f"{prefix}{error}", markup=False)
        return ExitCode.FAILED
    err.print("Stopped. What was finished is kept: the same command goes on from there.")
    return ExitCode.TERMINATED


if __name__ == "__main__":
    main()
