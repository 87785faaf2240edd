"""Thread caps, set before numpy is imported. This module must import nothing that could import numpy."""

import os

from tuningjob.manifest.wellknown import ENV_JOBLIB_CPUS, THREAD_CAPS


def cap_threads() -> None:
    """One BLAS and OpenMP thread a process: processes × threads = the CPU limit, and the bits depend on the number."""
    for name in THREAD_CAPS:
        os.environ[name] = "1"
    # an estimator's own n_jobs=-1 becomes 1: the processes are ours
    os.environ[ENV_JOBLIB_CPUS] = "1"
