"""`tuningjob verify PLACE`: repeats fits of a finished search, and compares them to the bit."""

import re
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tuningjob.cli.cluster import Connect, cluster_options
from tuningjob.cli.console import err, out, plain
from tuningjob.cli.source import RESULTS, VERSION, BadUse
from tuningjob.errors import ManifestRefused, Problem
from tuningjob.manifest import TuningJobSpec, load_file
from tuningjob.manifest.wellknown import CV_RESULTS_CSV_FILE, CV_RESULTS_PARQUET_FILE, JOURNAL_FILE, ExitCode

if TYPE_CHECKING:
    from tuningjob.journal.sql import SqlJournal
    from tuningjob.verify import Again, Recorded, Verified

_CELLS: Final = 5
_MOST_SHOWN: Final = 20
_CELL: Final = re.compile(r"(\d{1,18}),(\d{1,18})")


@click.command()
@click.argument("place", metavar="NAME|FOLDER")
@click.option(
    "--cells", type=click.IntRange(min=1), default=_CELLS, show_default=True, help="So many, which --seed draws."
)
@click.option("--all", "is_all", is_flag=True, help="Every fit.")
@click.option("--cell", metavar="CANDIDATE,SPLIT", help="This one alone.")
@click.option("--seed", type=int, default=0, show_default=True)
@click.option("--version", type=VERSION, help="[the newest] Of a folder's journal.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    default=Path(),
    help="Folder of the data and the modules that the manifest names [this one].",
)
@click.option(
    "--manifest",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Of a folder of files without a journal.",
)
@click.option(
    "--in-pod",
    "is_in_pod",
    is_flag=True,
    help="Of a TuningJob: by a pod with its data, code and image; all splits of each.",
)
@click.option("--processes", type=click.IntRange(min=1), default=1, show_default=True)
@cluster_options
def verify(
    place: str,
    connect: Connect,
    *,
    cells: int,
    is_all: bool,
    cell: str | None,
    seed: int,
    version: int | None,
    data: Path,
    manifest: Path | None,
    processes: int,
    is_in_pod: bool,
) -> None:
    """Fit some cells of a finished search again, and compare the scores to the bit.

    Of a folder of results (results/NAME), or of a TuningJob on the cluster, with the data in --data, or by a pod (--in-pod).
    If a score differs, what else does is named: versions, data, code, CPU. Exit code 3 then.
    """
    from tuningjob import verify as work

    def choose(recorded: "Recorded") -> Sequence[int]:
        return [_ordinal(cell, recorded)] if cell else work.fits_to_repeat(recorded, None if is_all else cells, seed)

    if is_in_pod:
        found, known = _in_pod(place, connect, choose)
        _show(found, known)
        if not found.is_same:
            raise click.exceptions.Exit(ExitCode.FAILED)
        return
    with _recorded(place, version, manifest, connect) as recorded:
        if not recorded.size:
            raise BadUse(f"{plain(place)}: must have finished fits, but has none.")
        try:
            found = work.verify(recorded, choose(recorded), folder=data, processes=processes)
        except ManifestRefused as refused:
            if any(not problem.field.startswith("spec.data") for problem in refused.problems):
                raise
            raise BadUse(
                f"{refused}\nIts data must be here to be fitted on: name a folder that has them by --data."
            ) from None
    _show(found, recorded)
    if not found.is_same:
        raise click.exceptions.Exit(ExitCode.FAILED)


def _in_pod(
    place: str, connect: Connect, choose: Callable[["Recorded"], Sequence[int]]
) -> tuple["Verified", "Recorded"]:
    from tuningjob.cluster.again import verify_in_pod

    with connect() as cluster:
        return verify_in_pod(cluster, cluster.attach(place), choose, tell=lambda told: err.print(plain(str(told))))


@contextmanager
def _recorded(place: str, version: int | None, manifest: Path | None, connect: Connect) -> Iterator["Recorded"]:
    folder = next((path for path in (Path(place), RESULTS / place) if path.is_dir()), None)
    if folder is not None and (folder / JOURNAL_FILE).is_file():
        from tuningjob.journal.sql import open_sqlite
        from tuningjob.verify import recorded_in

        journal = open_sqlite(folder / JOURNAL_FILE)
        try:
            yield recorded_in(journal, search_id_of(journal, folder, version))
        finally:
            journal.close()
    elif folder is not None:
        if manifest is None:
            raise BadUse(str(Problem("--manifest", f"named where a folder has no {JOURNAL_FILE}", "none")))
        found = load_file(manifest)
        yield _of_files(found.metadata.name, found.spec, folder)
    else:
        with connect() as cluster, tempfile.TemporaryDirectory() as files:
            run = cluster.attach(place)
            run.write_tables(Path(files))
            written = Path(files) / "manifest.yaml"
            written.write_text(run.manifest(), encoding="utf-8")
            yield _of_files(run.name, load_file(written).spec, Path(files))


def _of_files(name: str, spec: TuningJobSpec, folder: Path) -> "Recorded":
    from tuningjob.answers import read_results
    from tuningjob.verify import recorded_as

    there = (folder / name for name in (CV_RESULTS_PARQUET_FILE, CV_RESULTS_CSV_FILE))
    table = next((path for path in there if path.is_file()), None)
    if table is None:
        raise BadUse(str(Problem("FOLDER", f"a folder with a {CV_RESULTS_CSV_FILE}", str(folder))))
    return recorded_as(name, spec, {str(key): list(values) for key, values in read_results(table).items()})


def search_id_of(journal: "SqlJournal", folder: Path, version: int | None) -> str:
    """The search of a version in a laptop's journal, by default the one that ended last. Raises BadUse."""
    namespaces = sorted({namespace for namespace, _ in journal.places().values()})
    rows = [
        row
        for namespace in namespaces
        for key in journal.audit.models(namespace)
        for row in journal.audit.history(namespace=namespace, model_key=key)
        if version in {None, row.version}
    ]
    if not rows:
        wanted = "a finished search" if version is None else f"version {version}"
        raise BadUse(f"{folder}: must have {wanted}, but has not.")
    return max(rows, key=lambda row: row.finished_at).search_id


def _ordinal(cell: str, recorded: "Recorded") -> int:
    found = _CELL.fullmatch(cell)
    candidate, split = (int(found[1]), int(found[2])) if found else (-1, -1)
    if not (0 <= candidate < recorded.candidates and 0 <= split < recorded.splits):
        bounds = f"CANDIDATE,SPLIT below {recorded.candidates:,},{recorded.splits:,}"
        raise BadUse(str(Problem("--cell", bounds, repr(cell[:40]))))
    ordinal = candidate * recorded.splits + split
    if recorded.cells([ordinal])[0].pruned:
        raise BadUse(str(Problem("--cell", "a fit that was run", f"{cell}, which was not needed (spec.prune)")))
    return ordinal


def _show(found: "Verified", recorded: "Recorded") -> None:
    count, other = len(found.again), [each for each in found.again if not each.is_same]
    fits = "1 fit" if count == 1 else f"{count:,} fits"
    told = "the same to the bit" if not other else f"{len(other):,} came out otherwise"
    out.print(f"{plain(recorded.name)}: {fits} of {recorded.size:,} again: {told}.")
    for each in other[:_MOST_SHOWN]:
        out.print(
            f"  candidate {each.before.candidate}, split {each.before.split} ({plain(each.params)[:200]}): {_told(each)}"
        )
    if len(other) > _MOST_SHOWN:
        out.print(f"  … and {len(other) - _MOST_SHOWN:,} more")
    for sentence in found.surroundings:
        out.print(f"Different: {plain(sentence)}")
    if other and not found.surroundings:
        out.print("Nothing that was recorded is different: the fits themselves do not give the same twice.")


def _told(each: "Again") -> str:
    if (each.before.error is None) != (each.now.error is None):
        error = each.before.error or each.now.error or ""
        last = plain((error.strip().splitlines() or [""])[-1])[:200]
        return f"it {'failed then' if each.before.error else 'fails now'}: {last}"
    return ", ".join(f"{plain(name)} {before!r} → {now!r}" for name, (before, now) in each.differing.items())


COMMANDS: Final = (verify,)
