"""The group of all commands, and the messages and exit codes of their errors."""

import signal

import click

from tuningjob import __version__
from tuningjob.cli import audit, cluster, download, export, manifest, report, run, ui, verify
from tuningjob.cli.console import err
from tuningjob.errors import (
    ClusterRefused,
    ClusterUnavailable,
    ManifestRefused,
    NotBlessed,
    SearchFailed,
    ServiceUnavailable,
    TuningJobError,
    UnknownModel,
)
from tuningjob.manifest.wellknown import ExitCode

_BAD_USE = (ManifestRefused, UnknownModel, NotBlessed, ClusterRefused)
_AWAY = (ServiceUnavailable, ClusterUnavailable)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
def cli() -> None:
    """GridSearchCV for a shared Kubernetes cluster, and for this machine."""


for command in (
    *run.COMMANDS,
    *manifest.COMMANDS,
    *cluster.COMMANDS,
    *audit.COMMANDS,
    *download.COMMANDS,
    *report.COMMANDS,
    *verify.COMMANDS,
    *export.COMMANDS,
    *ui.COMMANDS,
):
    cli.add_command(command)


def main(arguments: list[str] | None) -> int:
    """Run the command; its exit code."""
    from tuningjob.search.stop import Terminated

    try:
        ended = cli.main(arguments, standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (TuningJobError, Terminated, click.Abort) as error:
        return _explain(error)
    # click returns the exit code of a command that ends by Exit
    return ended if isinstance(ended, int) else ExitCode.DONE


def _explain(error: BaseException) -> ExitCode:
    """Say on stderr why there is no result, without a traceback; returns the exit code for it."""
    if isinstance(error, TuningJobError):
        prefix = "search failed: " if isinstance(error, SearchFailed) else ""
        err.print(f"{prefix}{error}")
        if isinstance(error, _BAD_USE):
            return ExitCode.REFUSED
        return ExitCode.SERVICE_UNAVAILABLE if isinstance(error, _AWAY) else ExitCode.FAILED
    err.print(_stopped(error))
    return ExitCode.TERMINATED if getattr(error, "signal", 0) == signal.SIGTERM else ExitCode.INTERRUPTED


def _stopped(error: BaseException) -> str:
    """Say how far a stopped command came: what the journal has by now."""
    kept = getattr(error, "kept", None)
    if kept is None:
        return "Stopped."
    if not kept:
        return "Stopped before a fit was finished: the same command begins anew."
    return f"Stopped. {kept:,} of {getattr(error, 'fits', 0):,} fits are kept: the same command goes on from there."
