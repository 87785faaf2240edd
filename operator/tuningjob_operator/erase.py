"""``python -m tuningjob_operator.erase NAME``: take a person's name out of the audit.

An administrator runs it in the results service's container, with its settings. It cannot be undone.
"""

import sys

from tuningjob.errors import JournalError
from tuningjob.journal.sql import SqlJournal
from tuningjob_operator.settings import read_settings


def main() -> int:
    """Erase the name; returns the exit code."""
    if len(sys.argv) != 2 or not sys.argv[1]:
        sys.stderr.write("usage: python -m tuningjob_operator.erase NAME\n")
        return 2
    try:
        journal = SqlJournal(read_settings().database_url)
        try:
            erased = journal.audit.erase_person(sys.argv[1])
        finally:
            journal.close()
    except JournalError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        f"{erased.pseudonym} is in {erased.versions} versions and {erased.blessings} blessings in the place of the name.\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
