"""The one home of the names that only the operator gives: labels, object names, condition types and reasons.

Each says who writes it and who reads it. Names that a worker reads too live in ``tuningjob.manifest.wellknown``.
"""

from typing import Final

from tuningjob.journal.records import TOO_MANY_FAILED_FITS
from tuningjob.manifest.wellknown import GROUP

# Labels of the Job, its pods, the Secret and the ConfigMap: written by the builders in job.py and owned_objects.py.
LABEL_APP: Final = "app.kubernetes.io/name"  # read by people and dashboards
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"  # read by people and dashboards
LABEL_COMPONENT: Final = "app.kubernetes.io/component"  # read by people
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"  # read by the Job watch's server-side selector
LABEL_NAME: Final = f"{GROUP}/name"  # the TuningJob's name; read from a Job's event to find the key
LABEL_UID: Final = f"{GROUP}/uid"  # the TuningJob's uid; read by the pods' topology spread and by people

APP: Final = "tuningjob"  # the value of LABEL_APP and LABEL_MANAGED_BY
COMPONENT_WORKER: Final = "worker"  # of the Job and its pods
COMPONENT_RESULTS: Final = "results"  # of the ConfigMap
COMPONENT_TOKEN: Final = "token"  # noqa: S105  of the Secret

MANAGED_SELECTOR: Final = f"{LABEL_MANAGED_BY}={APP}"  # read by the API server for kopf's Job watch and the resync
# Written by the Job controller on each pod of a Job, read by triage.py.
ANNOTATION_INDEX: Final = "batch.kubernetes.io/job-completion-index"
# How far the search was when its Job was made, written and read by plan.py: a Job that ends without having come further is
# not made again.
ANNOTATION_BEGAN_AT: Final = f"{GROUP}/began-at"

# Who created a TuningJob: written by the chart's MutatingAdmissionPolicy, held to the truth by its
# ValidatingAdmissionPolicy, read into the audit. Kubernetes itself does not keep it.
ANNOTATION_CREATED_BY: Final = f"{GROUP}/created-by"

# Inside a worker pod: written by the Job builder.
CONTAINER: Final = "worker"  # read by podFailurePolicy and by people who call `kubectl logs`
TOKEN_KEY: Final = "token"  # noqa: S105  the Secret's key; with TOKEN_DIR it makes the path in TUNINGJOB_TOKEN_FILE
CA_KEY: Final = "ca.crt"  # beside it, if the results service speaks TLS; with TOKEN_DIR the path in TUNINGJOB_CA_FILE
TOKEN_DIR: Final = "/var/run/tuningjob"  # noqa: S105
DATA_DIR: Final = "/data"  # told to the worker by TUNINGJOB_DATA_DIR

# Condition types. Suspended, Complete and Failed are Job's own names; `kubectl wait --for=condition=Complete` reads them.
ADMITTED: Final = "Admitted"  # sized, within every limit, and its objects can be made
CAPACITY: Final = "Capacity"  # False while the namespace's quota has no room for a single pod
PREFLIGHT: Final = "Preflight"  # the first pod found data and estimator sound
PODS_READY: Final = "PodsReady"  # False when pods have not come to work for a while
RESULTS_SERVICE: Final = "ResultsService"  # False while the results service or its database is away
SPEC_ACCEPTED: Final = "SpecAccepted"  # False while the spec differs from what was admitted
SUSPENDED: Final = "Suspended"  # True while spec.suspend is
COMPLETE: Final = "Complete"  # there is an answer, or the plan that was asked for
FAILED: Final = "Failed"  # there will be no answer
TERMINAL: Final = (COMPLETE, FAILED)
# Conditions that are bad news when they are False, in the order in which a False one is the message to show.
GOOD_NEWS: Final = (RESULTS_SERVICE, ADMITTED, CAPACITY, PODS_READY, PREFLIGHT, SPEC_ACCEPTED)

# Reasons: written into conditions and Events, read by people and alerts.
WITHIN_LIMITS: Final = "WithinLimits"  # Admitted
REFUSED: Final = "Refused"  # Admitted=False, where the API server gives no reason of its own
TOO_MANY: Final = "TooManyTuningJobs"  # Admitted=False: beyond what the operator has room for; read by beyond.py
FAULT: Final = "OperatorFault"  # Admitted=False: planning for it raised what it must not
NAME_TAKEN: Final = "NameTaken"  # Admitted=False: another owner's Job has the name
QUOTA_EXCEEDED: Final = "QuotaExceeded"  # Capacity=False
SUFFICIENT: Final = "Sufficient"  # Capacity
CUT_TO_FIT: Final = "CutToFit"  # Capacity: room for some of the pods
PASSED: Final = "Passed"  # Preflight
PASSED_WITH_WARNINGS: Final = "PassedWithWarnings"  # Preflight
READY: Final = "Ready"  # PodsReady
NODE_LOST: Final = "NodeLost"  # PodsReady=False; the other reasons there are Kubernetes' own
QUEUED: Final = "Queued"  # PodsReady=False: Kueue has not admitted them
NOT_CREATED: Final = "PodsNotCreated"  # PodsReady=False
TOKEN_REPLACED: Final = "TokenReplaced"  # noqa: S105  PodsReady=False: the Job's token is of a key that is gone
SERVICE_MOVED: Final = (
    "ServiceMoved"  # PodsReady=False: the Job's pods have another address, or trust another authority
)
NO_SERVICE: Final = (
    "ResultsServiceUnreachable"  # PodsReady=False: from the pods; ResultsService is as the operator sees it
)
UNAVAILABLE: Final = "Unavailable"  # ResultsService=False
AVAILABLE: Final = "Available"  # ResultsService
FROZEN: Final = "Frozen"  # SpecAccepted=False
SUSPENDED_BY_SPEC: Final = "SuspendRequested"  # Suspended
RESUMED: Final = "Resumed"  # Suspended=False
SEARCH_COMPLETE: Final = "SearchComplete"  # Complete
PLAN_READY: Final = "PlanReady"  # Complete, of a TuningJob with mode: Plan
MANIFEST_REFUSED: Final = "ManifestRefused"  # Failed: the manifest, or the data that it names, cannot be searched
SEARCH_FAILED: Final = "SearchFailed"  # Failed: it ran, and no answer came out
OUT_OF_MEMORY: Final = "OutOfMemory"  # Failed: the Job gave up, and its last pod was OOMKilled
JOB_FAILED: Final = "JobFailed"  # Failed: the Job gave up and gave no reason of its own
JOB_ENDED_EARLY: Final = "JobEndedEarly"  # Failed: every pod went home while cells were missing
CANCELLED: Final = "Cancelled"  # Failed: spec.cancel
DEADLINE_EXCEEDED: Final = "DeadlineExceeded"  # Failed: spec.activeDeadlineSeconds (Job's own word)
START_DEADLINE_EXCEEDED: Final = "StartDeadlineExceeded"  # Failed: spec.startDeadlineSeconds
# What the manifest ends a search for. The journal keeps `<reason>: <message>`, so that a crash between the journal and the
# status forgets neither. TooManyFailedFits (spec.limits.maxFailedFits) is the journal's own, the others are the operator's.
ENDED_BY_MANIFEST: Final = (CANCELLED, DEADLINE_EXCEEDED, START_DEADLINE_EXCEEDED, TOO_MANY_FAILED_FITS, PLAN_READY)

# Reporter of our Events: written by owned_objects.build_event, read by `kubectl describe`.
EVENT_SOURCE: Final = "tuningjob"


def job_name(name: str) -> str:
    """The Job of a TuningJob. Its pods are `<name>-<index>-…`, so the name stays as it is."""
    return name


def results_name(name: str) -> str:
    """The ConfigMap with the answer, for people: `kubectl get configmap <name>-results`."""
    return f"{name}-results"


def token_name(name: str, uid: str, secret_id: str) -> str:
    """The Secret with the search's token.

    It holds the uid, so that a TuningJob made again under its old name never meets the old token, and one of
    Settings.secret_ids, so that a new key, or another authority of the service's certificate, means a new Secret: the operator
    may create Secrets, but neither read nor change one.
    """
    return f"{name}-token-{secret_id}-{uid}"


def old_token_name(name: str, uid: str) -> str:
    """What ``token_name`` was in the releases before keys had names."""
    return f"{name}-token-{uid[:8]}"
