"""A pool of forked processes in which any worker may be killed at any time.

A fit in C cannot be asked to stop, so a worker that takes too long is killed, and the pool goes on. ProcessPoolExecutor breaks
when a worker dies. It would also fork the next one from a parent that has threads by then, whose child may hang or crash. Here a
*zygote* forks: a child with a single thread, made together with the pool, that only holds what the workers inherit.

::

    parent ── requests: a birth, a death's reason ──▶ zygote
       ▲                                                │ forks
       └──────── tasks, and what came of them ──────▶ worker, worker, …

A worker's connection ends when it dies, because only the worker has the other end open. The kernel ends the zygote with the
parent, and the workers with the zygote (PR_SET_PDEATHSIG).

``parent`` has the pool, ``zygote`` and ``worker`` have the code of these processes, and ``protocol`` has their messages.
``together`` needs no pool: it is for tasks of which all are done in some tenths of a second.
"""

from tuningjob.engine.processes.parent import Processes, may_fork, seconds_to_fork, threads
from tuningjob.engine.processes.protocol import Died, Event, Finished, Item, Raised, RemoteTraceback, how
from tuningjob.engine.processes.together import MOST_TASKS, run_together, seconds_of_a_fork
from tuningjob.engine.processes.worker import current_slot, deadline, flush

__all__ = [
    "MOST_TASKS",
    "Died",
    "Event",
    "Finished",
    "Item",
    "Processes",
    "Raised",
    "RemoteTraceback",
    "current_slot",
    "deadline",
    "flush",
    "how",
    "may_fork",
    "run_together",
    "seconds_of_a_fork",
    "seconds_to_fork",
    "threads",
]
