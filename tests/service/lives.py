"""``python -m tests.service.lives``: the results service, begun once for each line of stdin, with everything imported before.

A line with its process id goes to stdout when it begins, and one with its exit code when it has ended.
"""

import importlib
import os
import sys

from tuningjob_operator.service.__main__ import main as serve

# what is only imported when the first service of a process begins
for name in ("psycopg", "uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.protocols.http.auto"):
    importlib.import_module(name)


def main() -> None:
    """Until stdin ends. There is no thread here that a fork would lose."""
    for _ in sys.stdin:
        pid = os.fork()
        if pid == 0:
            os.dup2(2, 1)  # nobody may wait here for what it says
            os._exit(serve())
        tell(pid)
        _, status = os.waitpid(pid, 0)
        tell(os.waitstatus_to_exitcode(status))


def tell(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
