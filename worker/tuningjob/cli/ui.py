"""`tuningjob ui`: the searches of a laptop, or of a namespace, in the browser."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from tuningjob.cli.console import err, out
from tuningjob.cli.source import RESULTS, BadUse, Where, person_of, user, where_options
from tuningjob.manifest.wellknown import JOURNAL_FILE

if TYPE_CHECKING:
    from tuningjob.loopback import Site


@click.command()
@click.argument("folder", metavar="NAME|FOLDER", required=False)
@click.option("--port", type=click.IntRange(min=0, max=65_535), default=0, help="[any free one]")
@click.option("--no-browser", "is_quiet", is_flag=True, help="Print the address alone.")
@where_options
def ui(folder: str | None, where: Where, *, port: int, is_quiet: bool) -> None:
    """Watch searches in the browser, look at models, and put versions into use.

    Of results/NAME, or another folder of results: what runs there, too. The address that is printed lets one browser of this
    machine in, once. Ctrl-C ends it.

    With --server (or $TUNINGJOB_SERVER) and --namespace: the pages of that namespace, with your own Kubernetes token, which the
    browser never sees.
    """
    if where.url is not None and folder is None:
        from tuningjob.remote.proxy import ServiceSite

        token, namespace = person_of(where)
        site = ServiceSite(where.url, token, namespace=namespace, ca_file=where.trusted)
        with site.client:
            _serve(site, port, is_quiet=is_quiet)
        return
    from tuningjob.journal.sql import open_sqlite
    from tuningjob.live_figures import figures_while_it_runs
    from tuningjob.ui import LaptopSite

    place = _journal(folder)
    with closing(open_sqlite(place / JOURNAL_FILE)) as journal:
        _serve(LaptopSite(journal, place, who=user(), figures=figures_while_it_runs), port, is_quiet=is_quiet)


def _serve(site: "Site", port: int, *, is_quiet: bool) -> None:
    """Until Ctrl-C."""
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
    """The folder that is meant; without a name the only one that there is. Raises BadUse."""
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
