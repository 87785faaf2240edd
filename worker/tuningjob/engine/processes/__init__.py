"""A pool of forked processes in which any worker may be killed at any time.

A fit in C cannot be asked to stop: one that takes too long is killed, and the pool goes on. ProcessPoolExecutor breaks when a
worker dies, and it would fork the next one from a parent that has threads by then; a child of such a parent hangs or crashes.
Here a *zygote* does the forking: a child with a single thread, made together with the pool, that holds what the workers inherit
and does nothing else.

::

    parent ── requests: a birth, a death's reason ──▶ zygote
       ▲                                                │ forks
       └──────── tasks, and what came of them ──────▶ worker, worker, …

A worker's death is the end of its connection: nobody but the worker itself has the other end open. The zygote dies with the
parent and the workers with the zygote, by the kernel (PR_SET_PDEATHSIG).

``parent`` has the pool, ``zygote`` what the zygote does, ``worker`` what a worker does, ``protocol`` what they say to each other.
"""

from tuningjob.engine.processes.parent import Processes, may_fork, seconds_to_fork, threads
from tuningjob.engine.processes.protocol import Died, Event, Finished, Item, Raised, RemoteTraceback, how
from tuningjob.engine.processes.worker import current_slot, deadline, flush

__all__ = [
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
    "seconds_to_fork",
    "threads",
]
