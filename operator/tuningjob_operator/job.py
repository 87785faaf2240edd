"""The Indexed Job of a search. Pure: a TuningJob and what was admitted in, a batch/v1 body out.

What a manifest may ask of a pod is an allow-list by construction: this builder reads resources, image and data volume
from the spec, and nothing else. There is no way from a manifest to a host path, a privilege or a service account.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from tuningjob.spec import wellknown
from tuningjob.spec.models import TuningJobSpec
from tuningjob_operator import names
from tuningjob_operator.admission import Admission
from tuningjob_operator.objects import Body, child_metadata, labels, uid_of
from tuningjob_operator.settings import Settings

USER_ID: Final = 65532  # "nonroot" of the distroless images; the Dockerfile has the same
# Pods that may die by themselves, for each that there is, before the Job gives up; deaths that the journal counts come on top.
# Not backoffLimitPerIndex: with that the Job controller keeps the finalizer of a failed pod until its replacement is there, a
# namespace that is being deleted takes no new pod, and since Kubernetes 1.34 it deletes pods first: it would hang for ever.
RETRIES_PER_POD: Final = 3
GRACE_SECONDS: Final = 30
# joblib's memory maps of X and the pipeline caches go here; on disk, so it does not count as the pod's memory.
SCRATCH_SIZE: Final = "4Gi"


def build_job(tuningjob: Mapping[str, Any], admission: Admission, settings: Settings) -> Body:
    """The Job as it is created: one pod, the preflight. It is scaled once that pod has found everything sound."""
    name = names.job_name(tuningjob["metadata"]["name"])
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": child_metadata(tuningjob, name, names.COMPONENT_WORKER),
        "spec": {
            "completionMode": "Indexed",
            **sized(1),
            # one index never has two live pods: what makes a claim of an index safe without a clock
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": {
                "metadata": {"labels": labels(tuningjob, names.COMPONENT_WORKER)},
                "spec": _pod_spec(tuningjob, admission, settings),
            },
        },
    }


def sized(pods: int, *, deaths: int = 0) -> Body:
    """The part of a Job's spec that changes with its search; an elastic Indexed Job takes a change of it at any time.

    ``deaths``: those that the journal has counted. Each ends a cell or leaves it to be tried alone, so there is an end to them:
    they are no reason to give the search up.
    """
    return {"completions": pods, "parallelism": pods, "backoffLimit": RETRIES_PER_POD * pods + deaths}


def _failure_rules() -> list[Body]:
    def on_exit(action: str, *codes: wellknown.ExitCode) -> Body:
        values = sorted(int(code) for code in codes)
        return {
            "action": action,
            "onExitCodes": {"containerName": names.CONTAINER, "operator": "In", "values": values},
        }

    code = wellknown.ExitCode
    return [
        # the worker's own verdict: another pod would come to the same
        on_exit("FailJob", code.REFUSED, code.FAILED),
        # drained, preempted, evicted: a free retry
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        # SIGTERM was obeyed: a free retry
        on_exit("Ignore", code.TERMINATED),
    ]


def _pod_spec(tuningjob: Mapping[str, Any], admission: Admission, settings: Settings) -> Body:
    spec = admission.spec
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER_ID,
            "runAsGroup": USER_ID,
            "fsGroup": USER_ID,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": {names.LABEL_UID: uid_of(tuningjob)}},
            }
        ],
        "containers": [_container(admission, settings)],
        "volumes": [
            {
                "name": "token",
                "secret": {
                    "secretName": names.token_name(tuningjob["metadata"]["name"], uid_of(tuningjob)),
                    "defaultMode": 0o440,
                },
            },
            {"name": "scratch", "emptyDir": {"sizeLimit": SCRATCH_SIZE}},
            *_data_volume(spec),
        ],
    }


def _container(admission: Admission, settings: Settings) -> Body:
    spec = admission.spec
    resources = {"cpu": str(spec.resources.cpu), "memory": str(spec.resources.memory)}
    has_volume = any(True for _ in _data_volume(spec))
    return {
        "name": names.CONTAINER,
        "image": spec.image or settings.worker_image,
        "imagePullPolicy": settings.worker_pull_policy,
        # said here, not only in our image: an image of the user's own needs no entry point
        "command": ["python", "-m", "tuningjob.pod"],
        "env": list(_environment(admission, settings)),
        # equal, always: the scheduler promises what the pod may use, and nothing beyond it is ever used
        "resources": {"requests": dict(resources), "limits": dict(resources)},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "token", "mountPath": names.TOKEN_DIR, "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108  the pod's own
            *([{"name": "data", "mountPath": names.DATA_DIR, "readOnly": True}] if has_volume else []),
        ],
    }


def _environment(admission: Admission, settings: Settings) -> Iterator[Body]:
    n_jobs = str(admission.n_jobs)
    values = {
        wellknown.ENV_RESULTS_URL: settings.results_url,
        wellknown.ENV_TOKEN_FILE: f"{names.TOKEN_DIR}/{names.TOKEN_KEY}",
        wellknown.ENV_N_JOBS: n_jobs,
        **dict.fromkeys(wellknown.THREAD_CAPS, "1"),
        wellknown.ENV_JOBLIB_CPUS: n_jobs,
        # the root is read-only: whatever writes beside the home directory or to joblib's folder goes to the scratch volume
        "HOME": "/tmp",  # noqa: S108
        "JOBLIB_TEMP_FOLDER": "/tmp",  # noqa: S108
    }
    if settings.tls_dir is not None:
        values[wellknown.ENV_CA_FILE] = f"{names.TOKEN_DIR}/{names.CA_KEY}"
    if any(True for _ in _data_volume(admission.spec)):
        values[wellknown.ENV_DATA_DIR] = names.DATA_DIR
    for name, value in values.items():
        yield {"name": name, "value": value}


def _data_volume(spec: TuningJobSpec) -> Iterator[Body]:
    if spec.data.persistent_volume_claim is not None:
        claim = {"claimName": spec.data.persistent_volume_claim, "readOnly": True}
        yield {"name": "data", "persistentVolumeClaim": claim}
    elif spec.data.config_map is not None:
        yield {"name": "data", "configMap": {"name": spec.data.config_map}}
