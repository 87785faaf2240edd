"""`tuningjob submit | watch | results | logs | cancel`: searches on a cluster, with the rights of the kubeconfig."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tuningjob.aliases import Anything
from tuningjob.cli.console import err, out, plain
from tuningjob.cli.source import BadUse

if TYPE_CHECKING:
    from tuningjob.cluster.client import Cluster
    from tuningjob.cluster.run import Run, RunProgress


def cluster_options(command: Callable[..., None]) -> Callable[..., None]:
    """The options that every command about a cluster has, handed on as ``connect``."""

    @click.option("--namespace", "-n", help="[that of the kubeconfig's context]")
    @click.option("--context", help="Of the kubeconfig [the current one].")
    @click.option("--kubeconfig", type=click.Path(path_type=Path, dir_okay=False), help="[$KUBECONFIG, ~/.kube/config]")
    @functools.wraps(command)
    def with_cluster(
        *, namespace: str | None, context: str | None, kubeconfig: Path | None, **others: Anything
    ) -> None:
        command(connect=lambda: _connected(namespace, context, kubeconfig), **others)

    return with_cluster


@contextmanager
def _connected(namespace: str | None, context: str | None, kubeconfig: Path | None) -> Iterator["Cluster"]:
    from tuningjob.cluster.client import Cluster

    try:
        cluster = Cluster(namespace, context=context, kubeconfig=kubeconfig)
    except ImportError as error:  # without the extra
        raise BadUse(str(error)) from None
    with cluster:
        yield cluster


_name_argument = click.argument("name")
Connect = Callable[[], "Anything"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@click.option("--watch", "is_watched", is_flag=True, help="Stay until it is over.")
@cluster_options
def submit(file: Path, connect: Connect, *, is_watched: bool) -> None:
    """Begin the search of a manifest, as `kubectl apply` does.

    A file of data that it names by path, and no volume, is sent; so are the modules beside it, if it names one of them.

    A manifest that is refused is refused here, with everything that is wrong with it. The same search again is the same run.
    """
    with connect() as cluster:
        run = cluster.submit(file)
        err.print(f"{plain(run.name)} is in the namespace {plain(run.namespace)}.")
        if is_watched:
            _watch(run)


@click.command()
@_name_argument
@cluster_options
def watch(name: str, connect: Connect) -> None:
    """Show how far a search is, until it is over. Ctrl-C leaves it running; a second one within two seconds cancels it."""
    with connect() as cluster:
        _watch(cluster.attach(name))


@click.command()
@_name_argument
@click.option("--output", type=click.Path(path_type=Path, file_okay=False), help="Folder for the files.")
@cluster_options
def results(name: str, output: Path | None, connect: Connect) -> None:
    """Print what a search has found: the verdict in words. With --output its tables and best parameters, too, as files.

    The model is fetched by `tuningjob download`.
    """
    with connect() as cluster:
        run = cluster.attach(name)
        if output is not None:
            try:
                written = run.write_tables(output)
            except OSError as error:
                raise BadUse(f"--output: must be a folder with room for the files, but got: {error}.") from None
            err.print(f"{len(written)} files in {plain(str(output))}")
        _print_verdict(run)


@click.command()
@_name_argument
@click.option("--tail", "lines", type=click.IntRange(min=1), default=100, show_default=True, help="Lines of each pod.")
@cluster_options
def logs(name: str, lines: int, connect: Connect) -> None:
    """Print what the pods of a search say, each line after its pod's name."""
    with connect() as cluster:
        for pod, text in cluster.attach(name).logs(lines=lines).items():
            for line in text.splitlines():
                out.print(f"{plain(pod)}: {plain(line)}")


@click.command()
@_name_argument
@cluster_options
def cancel(name: str, connect: Connect) -> None:
    """End a search for good. What is finished is kept, and may be reused by another."""
    with connect() as cluster:
        run = cluster.attach(name)
        run.cancel()
        err.print(f"{plain(run.name)}: {plain(str(run.progress()))}")


def _watch(run: "Run") -> None:
    from tuningjob.cluster.display import plan_once

    said: list[str] = []
    is_new = plan_once()

    def tell(progress: "RunProgress") -> None:
        if is_new(progress):
            err.print(plain(f"plan: {progress.plan}"))
        line = progress.line
        if said[-1:] != [line]:
            err.print(plain(line))
            said[:] = [line]

    run.wait(tell=tell)
    if run.progress().phase == "Complete":
        _print_verdict(run)


def _print_verdict(run: "Run") -> None:
    for line in run.verdict().splitlines():
        out.print(plain(line))


COMMANDS: Final = (submit, watch, results, logs, cancel)
