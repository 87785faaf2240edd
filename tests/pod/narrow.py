"""A pod whose bounds are so narrow that a test meets them, and that writes down how many cells it has finished and spilled."""

import os
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from tuningjob import pod
from tuningjob.protocol.records import CellResult
from tuningjob.remote.worker import HttpSearchJournal
from tuningjob.search.outbox import Outbox
from tuningjob.search.run import Worker

PATIENCE_SECONDS = "TEST_PATIENCE_SECONDS"
MEMORY_CELLS = "TEST_MEMORY_CELLS"
NOTES_FILE = "TEST_NOTES_FILE"


class Noting(Outbox):
    """An outbox whose file says at any time how many cells have come in, and how many of them did not fit in memory."""

    def __init__(self) -> None:
        super().__init__(memory_cells=int(os.environ.get(MEMORY_CELLS, "2000")))
        self.finished = 0

    def put(self, results: Sequence[CellResult]) -> None:
        """See Outbox."""
        super().put(results)
        self.finished += len(results)
        notes = Path(os.environ[NOTES_FILE])
        draft = notes.with_suffix(".draft")
        draft.write_text(f"{self.finished} {self.spilled}")
        draft.replace(notes)


def main() -> int:
    """See tuningjob.pod."""
    patience = float(os.environ.get(PATIENCE_SECONDS, "600"))
    vars(pod).update(
        HttpSearchJournal=partial(HttpSearchJournal, patience_seconds=patience),
        Worker=partial(Worker, outbox=Noting()),
    )
    return pod.main()


if __name__ == "__main__":
    sys.exit(main())
