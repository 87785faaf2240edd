"""`tuningjob`: searches on this machine (``cli.run``), manifests of what is written in Python (``cli.manifest``),
searches on a cluster (``cli.cluster``), and the results of searches (``cli.audit``, ``cli.download``).

Exit codes: 0 done; 2 bad use, a refused manifest, a model key or a version that is not there, or none in use (stderr
says what it must be, what it got, what to do); 3 the search, the journal or the check of a digest failed; 4 the results service
or the cluster did not answer; 130 stopped by Ctrl-C and 143 by SIGTERM, with finished fits kept.

A command imports in its function what only it needs: scikit-learn takes a second and SQLAlchemy a third of one, and a command
that prints parameters needs neither. numpy, too, is imported only once the thread caps are set.
"""

import sys

from tuningjob.extras import advice_for
from tuningjob.manifest.wellknown import ExitCode
from tuningjob.threads import cap_threads


def main(arguments: list[str] | None = None) -> None:
    """The console script."""
    cap_threads()
    try:
        # an installation without the extra has no click
        from tuningjob.cli.command import main as run

        code = run(arguments)
    except ModuleNotFoundError as error:
        advice = advice_for(error, "The command")
        if advice is None:
            raise
        sys.stderr.write(f"{advice}\n")
        code = ExitCode.REFUSED
    sys.exit(code)
