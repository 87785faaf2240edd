"""Every name that one component writes and another reads.

Names that only the operator uses (labels, condition reasons) live in ``tuningjob_operator.names``.
"""

from enum import IntEnum
from typing import Final

GROUP: Final = "tuningjob.dev"
VERSION: Final = "v1alpha1"
KIND: Final = "TuningJob"
PLURAL: Final = "tuningjobs"
API_VERSION: Final = f"{GROUP}/{VERSION}"

# `<name>-<index>` is the host name of a pod, of at most 63 characters; 10 are kept for the index and its dash.
MAX_NAME_LENGTH: Final = 52


class ExitCode(IntEnum):
    """Exit codes of `tuningjob run` and of a worker pod. The Job's podFailurePolicy reads them."""

    DONE = 0
    CRASHED = 1  # a bug, or a process that was killed: the pod is replaced, a few times
    REFUSED = 2  # the manifest (or the data it names) cannot be searched: fail at once, with the reason
    FAILED = 3  # the search ran and has no answer: fail at once, with the reason
    SERVICE_UNAVAILABLE = 4  # the results service, or the place of the data, did not answer: the pod is replaced
    INTERRUPTED = 130  # Ctrl-C was obeyed, on a laptop, and finished fits are kept
    TERMINATED = 143  # SIGTERM was obeyed, finished cells were reported: a free retry


# Environment of a worker pod: written by the operator's Job builder, read by tuningjob.pod.
ENV_RESULTS_URL: Final = "TUNINGJOB_RESULTS_URL"
ENV_TOKEN_FILE: Final = "TUNINGJOB_TOKEN_FILE"  # noqa: S105  the path of a file, not a token
ENV_CA_FILE: Final = "TUNINGJOB_CA_FILE"  # the CA that must have signed the service's certificate; unset: plain HTTP
ENV_COMPLETION_INDEX: Final = "JOB_COMPLETION_INDEX"  # written by the Job controller itself
ENV_N_JOBS: Final = "TUNINGJOB_N_JOBS"
ENV_DATA_DIR: Final = "TUNINGJOB_DATA_DIR"
ENV_CODE_DIR: Final = "TUNINGJOB_CODE_DIR"  # where the volume of spec.code is mounted
ENV_POD_NAME: Final = "TUNINGJOB_POD_NAME"  # the operator names it to the journal if the pod's death was no fit's fault
ENV_MEMORY: Final = "TUNINGJOB_MEMORY_BYTES"  # the container's memory limit
ENV_IMAGE: Final = "TUNINGJOB_IMAGE"  # the container's, for the report

# Environment of a person at the command line: the results service and their token; ENV_CA_FILE is the service's CA.
ENV_SERVER: Final = "TUNINGJOB_SERVER"
ENV_TOKEN: Final = "TUNINGJOB_TOKEN"  # noqa: S105  the name of a variable, not a token

# Thread caps: set in every worker pod and by the CLI before numpy is imported. Two processes with two BLAS
# threads each on two cores took 13 to 25 times as long as capped ones, and the bits depend on the number.
THREAD_CAPS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
# joblib's own number of CPUs: what `n_jobs=-1` inside an estimator may become.
ENV_JOBLIB_CPUS: Final = "LOKY_MAX_CPU_COUNT"

# Files that a finished search leaves behind, on a laptop and as artifacts of the results service.
BEST_PARAMS_FILE: Final = "best_params.json"
VERDICT_FILE: Final = "verdict.txt"  # what was found, how sure that is, and what to do next, in words
REPORT_FILE: Final = "report.html"  # the same with figures, and a table of the candidates: one file that needs no other
LEADERBOARD_FILE: Final = "leaderboard.csv"
CV_RESULTS_CSV_FILE: Final = "cv_results.csv"
PRUNED_COLUMN: Final = "pruned"  # a column of these tables: whether some splits of a candidate were not needed
CV_RESULTS_PARQUET_FILE: Final = "cv_results.parquet"
MODEL_FILE: Final = "model.joblib"
SEARCH_FILE: Final = "search.joblib"  # the fitted GridSearchCV
SIDECAR_FILE: Final = "artifacts.json"  # size, digest and library versions of the others; read when they are loaded
# In the order in which they are handed in: if the last one is there, the others are.
RESULT_FILES: Final = (
    BEST_PARAMS_FILE,
    VERDICT_FILE,
    REPORT_FILE,
    LEADERBOARD_FILE,
    CV_RESULTS_CSV_FILE,
    CV_RESULTS_PARQUET_FILE,
    MODEL_FILE,
    SEARCH_FILE,
    SIDECAR_FILE,
)
# These are made from the other files, and can be made again, so a version of an older release is whole without them.
TOLD_FILES: Final = (VERDICT_FILE, REPORT_FILE)

# A laptop's folder of results: the journal, and below it a folder for the files of each search. Written by tuningjob.local, read
# by tuningjob.cli.
JOURNAL_FILE: Final = "tuning.db"
SEARCHES_FOLDER: Final = "searches"
