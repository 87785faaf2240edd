"""`tuningjob ui`: the searches of a laptop, or of a namespace, in the browser."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tuningjob.cli.console import err, out
from tuningjob.cli.source import RESULTS, BadUse, Where, person_of, user, where_options
from tuningjob.manifest.wellknown import JOURNAL_FILE

if TYPE_CHECKING:
    from tuningjob.cluster.service import Service
    from tuningjob.loopback import Site


@click.command()
@click.argument("folder", metavar="NAME|FOLDER", required=False)
@click.option("--port", type=click.IntRange(min=0, max=65_535), default=0, help="[any free one]")
@click.option("--no-browser", "is_quiet", is_flag=True, help="Print the address alone.")
@click.option(
    "--all-namespaces", "-A", "is_everywhere", is_flag=True, help="Begin with the searches that you may see anywhere."
)
@where_options
def ui(folder: str | None, where: Where, *, port: int, is_quiet: bool, is_everywhere: bool) -> None:
    """Watch searches in the browser, look at models, and put versions into use.

    Of results/NAME, or another folder of results: what runs there, too. The address that is printed lets one browser of this
    machine in, once. Ctrl-C ends it.

    With --namespace: the pages of a namespace (-A: of all that you may see), with your own Kubernetes token, which the browser
    never sees. They are reached at --server (or $TUNINGJOB_SERVER), or else through the API server of your kubeconfig.
    """
    with _site(folder, where, is_everywhere=is_everywhere) as site:
        _serve(site, port, is_quiet=is_quiet)


@contextmanager
def _site(folder: str | None, where: Where, *, is_everywhere: bool) -> Iterator["Site"]:
    """The site of these options: the service's pages at its URL or through the kubeconfig's API server, or a folder's journal."""
    if folder is not None or (where.url is None and (where.journal or not (where.namespace or is_everywhere))):
        from tuningjob.journal.sql import open_sqlite
        from tuningjob.live_figures import figures_while_it_runs
        from tuningjob.ui import LaptopSite

        place = _journal(folder)
        with closing(open_sqlite(place / JOURNAL_FILE)) as journal:
            yield LaptopSite(journal, place, who=user(), figures=figures_while_it_runs)
        return
    from tuningjob.remote.proxy import ServiceSite

    if where.url is not None:
        token, namespace = person_of(where)
        begin = None if is_everywhere else namespace
        with closing(ServiceSite(where.url, lambda: token, namespace=begin, ca_file=where.trusted)) as site:
            yield site
        return
    with _on_the_cluster(where) as service:
        url, ca_file = service.address()
        begin = None if is_everywhere else service.access.namespace
        with closing(ServiceSite(url, service.token, namespace=begin, ca_file=ca_file)) as site:
            yield site


@contextmanager
def _on_the_cluster(where: Where) -> Iterator["Service"]:
    """The results service that the kubeconfig leads to, with the person's token."""
    from tuningjob.cluster.access import Access, Login
    from tuningjob.cluster.service import Service
    from tuningjob.remote.kubeconfig import KubeconfigRefused, read_token

    try:
        token = read_token(where.token_file) if where.token_file else None
        access = Access(Login(), where.namespace)
    except (ImportError, KubeconfigRefused) as error:  # without the extra, or with a file that is no kubeconfig
        raise BadUse(str(error)) from None
    with access, closing(Service(access, ca_file=where.trusted, token=token)) as service:
        service.token()  # a person without a token is told so before a browser is opened
        yield service


def _serve(site: "Site", port: int, *, is_quiet: bool) -> None:
    """Serve the site until Ctrl-C."""
    from tuningjob.loopback import LoopbackServer

    try:
        server = LoopbackServer(site, port)
    except OSError as error:
        raise BadUse(f"--port: must be a port that is free here, but got: {error}.") from None
    with server:
        out.print(server.url, soft_wrap=True)
        if not is_quiet:
            click.launch(server.url)
        err.print("Ctrl-C ends it.")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return
        finally:
            site.is_over.set()


def _journal(folder: str | None) -> Path:
    """The folder of this name; without a name, the only one that there is. Raises BadUse."""
    if folder is None:
        there = sorted(path.parent for path in RESULTS.glob(f"*/{JOURNAL_FILE}"))
        if len(there) != 1:
            names = ", ".join(path.name for path in there[:10]) or "none"
            raise BadUse(f"NAME: must be one of the folders in {RESULTS}, if it has not one alone. There are: {names}.")
        return there[0]
    place = next((path for path in (Path(folder), RESULTS / folder) if (path / JOURNAL_FILE).is_file()), None)
    if place is None:
        raise BadUse(f"NAME: must be a folder of results with a {JOURNAL_FILE}, but got {folder!r}.")
    return place


COMMANDS: Final = (ui,)
