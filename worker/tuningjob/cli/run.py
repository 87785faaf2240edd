"""`tuningjob run | size | validate FILE`: a search on this machine, and what can be said of it before it runs."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tuningjob.cli.console import out, print_table, warn
from tuningjob.cli.places import RESULTS, user
from tuningjob.sizing import Size, check_limit, size_of, size_warning
from tuningjob.spec import TuningJob, load_file

if TYPE_CHECKING:
    from tuningjob.local import Outcome

_FILE = click.argument("file", type=click.Path(path_type=Path))
_LEADERBOARD_ROWS = 10


@click.command()
@_FILE
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help=f"Folder of the results [{RESULTS}/<model key>]."
)
def run(file: Path, output: Path | None) -> None:
    """Do the whole search on this machine. Killed and started again, it goes on where it was."""
    # scikit-learn is imported only where it is needed, and after the thread caps are set
    from tuningjob import local  # noqa: PLC0415
    from tuningjob.cli.live import LiveView  # noqa: PLC0415
    from tuningjob.search.stop import Stop  # noqa: PLC0415

    manifest = load_file(file)
    output = output or RESULTS / model_key(manifest)
    _warn(size_of(manifest.spec))
    view = LiveView(manifest.metadata.name)
    stop = Stop()
    with stop.on_signals(), view:
        outcome = local.run(
            manifest,
            folder=file.parent,
            output=output,
            stop=stop,
            created_by=user(),
            watcher=local.Watcher(warned=warn, started=view.started, cells=view.cells, reused=view.reused),
        )
    _show(outcome, manifest, output)


@click.command()
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


@click.command()
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


def model_key(manifest: TuningJob) -> str:
    """Under which the result is versioned."""
    return manifest.spec.model_key or manifest.metadata.name


def _warn(found: Size) -> None:
    warning = size_warning(found)
    if warning:
        warn(warning)


def _show(outcome: "Outcome", manifest: TuningJob, output: Path) -> None:
    from tuningjob.search.results import leaderboard  # noqa: PLC0415  after the thread caps are set

    board = leaderboard(outcome.results, _LEADERBOARD_ROWS)
    titles = [
        str(name).removeprefix("param_").removesuffix("_test_score").replace("mean_fit_time", "fit s")
        for name in board.columns
    ]
    out.print(f"Best of {outcome.size.candidates:,} candidates ({manifest.spec.scoring or 'score'})")
    print_table(titles, [[_cell(value) for value in row] for row in board.itertuples(index=False)], right=titles)
    for text, count in outcome.warnings.most_common(5):
        warn(f"{text} (×{count:,})")
    if outcome.answer.failed_fits:
        warn(f"{outcome.answer.failed_fits:,} fits failed; their scores are NaN.")
    fitted = outcome.answer.fit_seconds_total
    done = outcome.size.fits - outcome.kept - outcome.reused
    others = [f"{count:,} {how}" for count, how in ((outcome.kept, "kept"), (outcome.reused, "reused")) if count]
    known = f" ({', '.join(others)})" if others else ""
    out.print(
        f"{done:,} fits in {outcome.seconds:.1f} s in {outcome.n_jobs} processes{known}; "
        f"all {outcome.size.fits:,} fits summed: {fitted:.1f} s."
    )
    out.print(
        f"Version {outcome.version} of {model_key(manifest)}. Results: {output}",
        soft_wrap=True,
    )


def _cell(value: object) -> str:
    # NaN and pandas' NA are the values that are not equal to themselves, or not comparable at all
    if value is None or str(value) in {"nan", "<NA>"}:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value).strip('"')


COMMANDS: Final = (run, size, validate)
