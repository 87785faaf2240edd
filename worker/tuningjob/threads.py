"""Thread caps, set before numpy is imported, and waits for threads to end. This module must import nothing that imports numpy."""

import os
import threading
import time
from pathlib import Path

from tuningjob.manifest.wellknown import ENV_JOBLIB_CPUS, THREAD_CAPS


def cap_threads() -> None:
    """Cap BLAS and OpenMP at one thread a process: processes × threads = the CPU limit, and bits depend on the number."""
    for name in THREAD_CAPS:
        os.environ[name] = "1"
    # an estimator's own n_jobs=-1 becomes 1, because the engine starts the processes
    os.environ[ENV_JOBLIB_CPUS] = "1"


def see_off(thread: threading.Thread, seconds: float) -> None:
    """Wait at most this many seconds until a thread that was told to end has gone, so that processes may be forked."""
    thread.join(seconds)
    # Python's join returns a moment before the kernel's thread is gone, and the next fork counts the kernel's threads
    until = time.monotonic() + seconds
    while not thread.is_alive() and time.monotonic() < until:
        if not Path(f"/proc/self/task/{thread.native_id}").exists():
            return
        time.sleep(0.0005)
