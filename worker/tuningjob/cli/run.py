"""`tuningjob run | size | validate FILE`: a search on this machine, and its size and check before it runs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tuningjob.cli.console import out, plain, print_table, terminal_width, warn
from tuningjob.cli.source import RESULTS, user
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest import TuningJob, load_file
from tuningjob.manifest.literals import readable
from tuningjob.manifest.wellknown import LEADERBOARD_FILE, VERDICT_FILE
from tuningjob.sizing import Size, check_limit, size_of, size_warning, with_baseline

if TYPE_CHECKING:
    from tuningjob.local import FinishedSearch, SearchForecast
    from tuningjob.protocol.records import Answer, Choice
    from tuningjob.search.results import Results

_FILE = click.argument("file", type=click.Path(path_type=Path))
_LEADERBOARD_ROWS = 10
_MIB: Final = 2**20
_MOST_ERRORS: Final = 3
_ERROR_LETTERS: Final = 300
_TITLES: Final = {"rank_test": "rank", "mean_test": "mean", "std_test": "std", "mean_train": "train"}


@click.command()
@_FILE
@click.option(
    "--output", type=click.Path(path_type=Path, file_okay=False), help=f"Folder of the results [{RESULTS}/<model key>]."
)
def run(file: Path, output: Path | None) -> None:
    """Do the whole search on this machine. Killed and started again, it goes on where it was.

    Of a manifest with spec.mode: Plan, print what it would be and cost, and run nothing.
    """
    # scikit-learn is imported only where it is needed, and after the thread caps are set
    from tuningjob import local
    from tuningjob.cli.live import LiveView
    from tuningjob.search.stop import Stop

    manifest = _load(file)
    output = output or RESULTS / model_key(manifest)
    _warn(size_of(with_baseline(manifest.spec)))
    stop = Stop()
    if manifest.spec.mode == "Plan":
        with stop.on_signals():
            _show_forecast(local.forecast(manifest, folder=file.parent, stop=stop))
        return
    view = LiveView(manifest.metadata.name)
    with stop.on_signals(), view:
        outcome = local.run(
            manifest,
            folder=file.parent,
            output=output,
            stop=stop,
            created_by=user(),
            watcher=local.Watcher(
                warned=warn, started=view.started, cells=view.cells, reused=view.reused, paused=view.paused
            ),
        )
    _show(outcome, manifest, output)


@click.command()
@_FILE
def size(file: Path) -> None:
    """Print candidates, splits and fits, and a warning where there are many."""
    manifest = _load(file)
    spec = with_baseline(manifest.spec)
    found = size_of(spec)
    splits, fits = "? (only the data tell: tuningjob validate)", f"{readable(found.rows)} for each split"
    if found.splits is not None and found.fits is not None:
        splits, fits = f"{found.splits:,}", readable(found.fits)
    beside = f" (and {', and '.join(found.told_beside)})" if found.beside else ""
    out.print(
        f"candidates  {readable(found.candidates)}{beside}\nsplits      {splits}\nfits        {fits} (and the refit)"
    )
    _warn(found)
    check_limit(found, spec)


@click.command()
@_FILE
def validate(file: Path) -> None:
    """Check everything that can be checked here: the manifest, the estimator, parameters, scorer, data, and a first fit."""
    manifest = _load(file)
    spec = with_baseline(manifest.spec)
    check_limit(size_of(spec), spec)
    from tuningjob.search import probe, problem
    from tuningjob.search.beside import importable

    data = spec.data
    elsewhere = (data.persistent_volume_claim or data.config_map) and not (
        file.parent / str(data.path).lstrip("/")
    ).exists()
    with importable(file.parent):
        if elsewhere:
            problem.prepare_estimator(spec)
            out.print(f"{file}: valid. Its data is on a volume and was not looked at.")
            return
        ready = problem.prepare(spec, file.parent)
        for warning in ready.warnings:
            warn(warning)
        probe.refuse_what_cannot_succeed(ready)
    told = f" {ready.size}." if size_of(spec).splits is None else ""
    out.print(f"{file}: valid. {ready.data.samples:,} samples × {ready.data.features:,} features.{told}")


def _load(file: Path) -> TuningJob:
    """``load_file``, whose refusal of a class without its module says where scikit-learn has it."""
    try:
        return load_file(file)
    except ManifestRefused as refused:
        raise ManifestRefused([_with_path(problem) for problem in refused.problems]) from None


def _with_path(problem: Problem) -> Problem:
    if not (
        problem.field.endswith(".class") and problem.must_be.startswith("a dotted path") and problem.got.startswith("'")
    ):
        return problem
    try:
        from tuningjob.search.paths import whole_path

        meant = whole_path(problem.got.strip("'"), cutoff=0.8)
    except ImportError:
        return problem
    return replace(problem, advice=meant or problem.advice)


def model_key(manifest: TuningJob) -> str:
    """Under which the result is versioned."""
    return manifest.spec.model_key or manifest.metadata.name


def _warn(found: Size) -> None:
    warning = size_warning(found)
    if warning:
        warn(warning)


def _show(outcome: "FinishedSearch", manifest: TuningJob, output: Path) -> None:
    from tuningjob.search.results import leaderboard

    board = leaderboard(outcome.results, _LEADERBOARD_ROWS)
    titles = [_title(str(name), outcome.results.metric) for name in board.columns]
    candidates = outcome.size.candidates
    some = f", {len(board):,} of {candidates:,} shown" if len(board) < candidates else ""
    out.print(f"Best of {candidates:,} candidates ({manifest.spec.metrics.told}){some}")
    rows = [[plain(_cell(value)) for value in row] for row in board.itertuples(index=False)]
    right = [title for title, dtype in zip(titles, board.dtypes, strict=True) if dtype.kind in "fiu"]
    hidden = print_table(titles, rows, right=right, width=terminal_width())
    if hidden:
        out.print(f"{hidden} more columns: {output / LEADERBOARD_FILE}", soft_wrap=True)
    verdict = output / VERDICT_FILE
    if verdict.is_file():  # a version of an older release has none
        out.print(f"\n{verdict.read_text(encoding='utf-8')}", soft_wrap=True)
    if outcome.answer.choice is not None:
        out.print(_chosen(outcome.answer, outcome.answer.choice), soft_wrap=True)
    if outcome.answer.baseline is not None:
        out.print(" ".join(outcome.answer.baseline.told), soft_wrap=True)
    if outcome.answer.nested is not None and not verdict.is_file():
        out.print("\n".join(outcome.answer.nested.told), soft_wrap=True)
    for text in outcome.answer.warnings:
        warn(text)
    for text, count in outcome.warnings.most_common(5):
        warn(f"{text} (×{count:,})")
    if outcome.answer.failed_fits:
        warn(_failures(outcome.results, outcome.answer.failed_fits))
    others = [
        f"{count:,} {how}"
        for count, how in (
            (outcome.kept, "kept"),
            (outcome.reused, "reused"),
            (outcome.pruned, "pruned"),
            (outcome.copied, "of the defaults are a candidate's"),
        )
        if count
    ]
    known = f" ({', '.join(others)})" if others else ""
    processes = "1 process" if outcome.n_jobs == 1 else f"{outcome.n_jobs} processes"
    out.print(
        f"{outcome.fitted:,} fits in {outcome.seconds:.1f} s in {processes}{known}; "
        f"all {outcome.size.fits:,} fits summed: {outcome.answer.fit_seconds_total:.1f} s."
    )
    out.print(
        f"Version {outcome.version} of {model_key(manifest)}. Results: {output}",
        soft_wrap=True,
    )


def _title(name: str, metric: str) -> str:
    """The title of a column of the leaderboard; columns of the deciding metric do not name it."""
    if name == "mean_fit_time":
        return "fit s"
    of_metric = _TITLES.get(name.removesuffix(f"_{metric}"))
    return of_metric or name.removeprefix("param_").removeprefix("mean_test_")


def _chosen(answer: "Answer", choice: "Choice") -> str:
    """The rule by which the answer was chosen, and what was passed over."""
    told = f"Chosen by {choice.rule}: candidate {answer.best_index}, {answer.metric} {answer.best_score:.4g}."
    if choice.passed_over is not None:
        told += f" Passed over: candidate {choice.passed_over}, {choice.score:.4g}, because {choice.why}."
    return told


def _failures(results: "Results", failed: int) -> str:
    """How many fits failed, why, and where to look."""
    told = f"{failed:,} {'fit' if failed == 1 else 'fits'} failed; their scores are NaN."
    for error, count in results.errors.most_common(_MOST_ERRORS):
        told += f" {count:,} with {error[:_ERROR_LETTERS]}{'…' if len(error) > _ERROR_LETTERS else '.'}"
    if len(results.errors) > _MOST_ERRORS:
        told += f" And {len(results.errors) - _MOST_ERRORS} other errors."
    if results.first_failed is not None:
        params = str(results.cv_results["params"][results.first_failed])
        told += f" The first of them is candidate {results.first_failed}: {params[:_ERROR_LETTERS]}."
    elif results.defaults is not None and results.defaults.failed == failed:
        told += " They are those of the defaults: no candidate's failed."
    return told


def _show_forecast(forecast: "SearchForecast") -> None:
    preflight, size = forecast.preflight, forecast.size
    for warning in preflight.warnings:
        warn(warning)
    rows = [
        ["candidates", f"{size.candidates:,}"],
        ["fits", f"{size.fits:,} (and the refit)"],
        ["data", f"{preflight.samples:,} samples × {preflight.features:,} features"],
        ["processes", f"{forecast.n_jobs}"],
    ]
    pilot = preflight.pilot
    if pilot is not None:
        seconds, memory = pilot.cell_seconds, pilot.process_bytes
        each = [seconds.expected, seconds.low, seconds.high]
        rows += [
            ["measured", f"{pilot.cells} fits, {pilot.full} of them on all rows"],
            ["seconds a fit", _spread([f"{value:.2g}" for value in each])],
            ["CPU time", _spread([_duration(value * size.fits) for value in each])],
            ["wall time", _spread([_duration(value * size.fits / forecast.n_jobs) for value in each])],
            ["memory", f"{pilot.pod_bytes / _MIB:,.0f} MiB, and for each process:"],
            ["", _spread([f"{value / _MIB:,.0f} MiB" for value in (memory.expected, memory.low, memory.high)])],
        ]
    print_table(["PLAN", ""], rows)
    out.print("Nothing was run: spec.mode is Plan. How this is estimated: docs/preflight.md.")


def _spread(texts: Sequence[str]) -> str:
    expected, low, high = texts
    return f"{expected} ({low} to {high})"


def _duration(seconds: float) -> str:
    for unit, name in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.3g} {name}"
    return f"{seconds:.2g} s"


def _cell(value: object) -> str:
    # NaN and pandas' NA are the values that are not equal to themselves, or not comparable at all
    if value is None or str(value) in {"nan", "<NA>"}:
        return ""
    if isinstance(value, bool):
        return "yes" if value else ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


COMMANDS: Final = (run, size, validate)
