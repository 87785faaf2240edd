"""The Indexed Job of a search. Pure: a TuningJob and its Admission in, a batch/v1 body out.

What a manifest may ask of a pod is an allow-list by construction: this builder reads resources, image, data volume and
the few fields of spec.pod, and nothing else. A manifest cannot reach a host path, a host's network, a privilege, a device or a
token of the API server.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from tuningjob.manifest import wellknown
from tuningjob.manifest.code import CODE_PATH
from tuningjob.manifest.model import Model
from tuningjob.manifest.models import TuningJobSpec
from tuningjob.manifest.pod_options import EnvVar, Volume
from tuningjob.manifest.quantity import memory_bytes, parse_quantity
from tuningjob_operator import names
from tuningjob_operator.decide.admission import Admission, cpu_request_of
from tuningjob_operator.decide.capacity import cpu_text, memory_text
from tuningjob_operator.decide.placement import SCRATCH_BYTES, disk_of
from tuningjob_operator.objects import Body, child_metadata, labels, uid_of
from tuningjob_operator.settings import Settings

USER_ID: Final = 65532  # "nonroot" of the distroless images; the Dockerfile has the same
# How many pods may die by themselves, per pod of the Job, before it gives up; deaths that the journal counts come on top.
# Not backoffLimitPerIndex: with that the Job controller keeps the finalizer of a failed pod until its replacement is there, a
# namespace that is being deleted takes no new pod, and since Kubernetes 1.34 it deletes pods first: it would hang for ever.
RETRIES_PER_POD: Final = 3
GRACE_SECONDS: Final = 30
# A pod requests no disk: the scratch volume is mostly empty, and a request would keep pods off nodes with small disks. A pod
# that fills more than its limit is evicted, it alone. If a node's disk runs short, the kubelet first evicts pods that use more
# than they requested: ours, not a neighbour's.
DISK_REQUEST: Final = "0"
# Kueue's own names: https://kueue.sigs.k8s.io/docs/reference/labels-and-annotations/
LABEL_QUEUE: Final = "kueue.x-k8s.io/queue-name"
ANNOTATION_MIN_PARALLELISM: Final = "kueue.x-k8s.io/job-min-parallelism"
TOKEN_VOLUME: Final = "token"  # noqa: S105  a volume's name
# The names of the manifest's volumes begin with this, so that none has the name of one of ours.
VOLUME_PREFIX: Final = "own-"


def build_job(
    tuningjob: Mapping[str, Any],
    admission: Admission,
    settings: Settings,
    *,
    pods: int = 1,
    memory: str | None = None,
) -> Body:
    """The Job as it is created: ``pods`` pods of ``memory`` each, a quantity (by default the manifest's).

    One pod is the preflight: the Job is scaled once that pod has found everything sound. Under Kueue a Job has its full size
    from the start, because a later change of it would be another workload. Kueue unsuspends it, with fewer pods if the queue has
    no room for all.
    """
    name = names.job_name(tuningjob["metadata"]["name"])
    metadata = child_metadata(tuningjob, name, names.COMPONENT_WORKER)
    queue = admission.spec.queue_name
    if queue is not None:
        metadata["labels"] = {**metadata["labels"], LABEL_QUEUE: queue}
        if pods > 1:  # of one pod there are no fewer, and Kueue refuses a Job that asks for that
            metadata["annotations"] = {**metadata.get("annotations", {}), ANNOTATION_MIN_PARALLELISM: "1"}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {
            **({} if queue is None else {"suspend": True}),
            "completionMode": "Indexed",
            **sized(pods),
            # one index never has two live pods, which makes a claim of an index safe without a clock
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {"rules": _failure_rules()},
            "template": {
                "metadata": {"labels": labels(tuningjob, names.COMPONENT_WORKER)},
                "spec": _pod_spec(tuningjob, admission, settings, memory or str(admission.spec.resources.memory)),
            },
        },
    }


def sized(pods: int, *, deaths: int = 0) -> Body:
    """The part of a Job's spec that changes with its search; an elastic Indexed Job takes a change of it at any time.

    ``deaths``: those that the journal has counted. They are no reason to give the search up: each ends a cell or leaves it to be
    tried alone, so they come to an end.
    """
    return {"completions": pods, "parallelism": pods, "backoffLimit": RETRIES_PER_POD * pods + deaths}


def has_address(job: Mapping[str, Any], settings: Settings) -> bool:
    """Whether the pods of an existing Job have the results service's present URL, its scheme included."""
    containers = job["spec"]["template"]["spec"]["containers"]
    variables = next((each.get("env") or [] for each in containers if each["name"] == names.CONTAINER), [])
    told = {each["name"]: each.get("value") for each in variables}
    trusts = wellknown.ENV_CA_FILE in told
    return told.get(wellknown.ENV_RESULTS_URL) == settings.results_url and trusts is (settings.ca is not None)


def has_good_token(job: Mapping[str, Any], tuningjob: Mapping[str, Any], settings: Settings) -> bool:
    """Whether the pods of an existing Job have a token that one of the installation's keys has signed.

    The Secret with the token also has the authority of the results service's certificate: another authority means another Secret.
    """
    name, uid = tuningjob["metadata"]["name"], uid_of(tuningjob)
    accepted = {names.token_name(name, uid, secret_id) for secret_id in settings.secret_ids}
    if settings.takes_old_tokens and settings.ca is None:
        accepted.add(names.old_token_name(name, uid))
    volumes = job["spec"]["template"]["spec"].get("volumes") or []
    return all(volume["secret"]["secretName"] in accepted for volume in volumes if volume["name"] == TOKEN_VOLUME)


def _failure_rules() -> list[Body]:
    def on_exit(action: str, *codes: wellknown.ExitCode) -> Body:
        values = sorted(int(code) for code in codes)
        return {
            "action": action,
            "onExitCodes": {"containerName": names.CONTAINER, "operator": "In", "values": values},
        }

    code = wellknown.ExitCode
    return [
        # the worker's own verdict, which another pod would repeat
        on_exit("FailJob", code.REFUSED, code.FAILED),
        # drained, preempted, evicted: a free retry
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        # SIGTERM was obeyed: a free retry
        on_exit("Ignore", code.TERMINATED),
    ]


def _pod_spec(tuningjob: Mapping[str, Any], admission: Admission, settings: Settings, memory: str) -> Body:
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
        **_placement(spec, uid_of(tuningjob)),
        "containers": [_container(admission, settings, memory)],
        "volumes": [
            {
                "name": TOKEN_VOLUME,
                "secret": {
                    "secretName": names.token_name(
                        tuningjob["metadata"]["name"], uid_of(tuningjob), settings.secret_ids[0]
                    ),
                    "defaultMode": 0o440,
                },
            },
            {"name": "scratch", "emptyDir": {"sizeLimit": memory_text(Decimal(SCRATCH_BYTES))}},
            *_data_volume(spec),
            *_code_volume(spec),
            *(_volume(volume) for volume in spec.pod.volumes or []),
        ],
    }


def _placement(spec: TuningJobSpec, uid: str) -> Body:
    """Where the pods run, and as whom. A field that the manifest does not name is left out."""
    pod = spec.pod
    spread = [{"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}]
    if pod.topology_spread is not None:
        spread = [_written(constraint) for constraint in pod.topology_spread]
    selector = {"matchLabels": {names.LABEL_UID: uid}}
    asked: Body = {
        "topologySpreadConstraints": [{**constraint, "labelSelector": selector} for constraint in spread],
        "priorityClassName": pod.priority_class_name,
        "serviceAccountName": pod.service_account_name,
        "nodeSelector": dict(pod.node_selector or {}),
        "tolerations": [_written(toleration) for toleration in pod.tolerations or []],
        "imagePullSecrets": [{"name": name} for name in pod.image_pull_secrets or []],
    }
    return {key: value for key, value in asked.items() if value}


def _container(admission: Admission, settings: Settings, memory: str) -> Body:
    spec = admission.spec
    has_volume = any(True for _ in _data_volume(spec))
    return {
        "name": names.CONTAINER,
        "image": image_of(spec, settings),
        "imagePullPolicy": settings.worker_pull_policy,
        # said here, not only in our image: an image of the user's own needs no entry point
        "command": ["python", "-m", "tuningjob.pod"],
        # of two variables of one name the later one counts, so ours come last
        "env": [
            *(_variable(variable) for variable in spec.pod.env or []),
            *_environment(admission, settings, memory_bytes(memory)),
        ],
        # always both requests and limits; they are equal, but a search that gives way may request less CPU than its limit
        "resources": _resources(spec, settings, memory),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": TOKEN_VOLUME, "mountPath": names.TOKEN_DIR, "readOnly": True},
            {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108  the pod's own
            *([{"name": "data", "mountPath": names.DATA_DIR, "readOnly": True}] if has_volume else []),
            *({"name": each["name"], "mountPath": CODE_PATH, "readOnly": True} for each in _code_volume(spec)),
            *(_mount(volume) for volume in spec.pod.volumes or []),
        ],
    }


def image_of(spec: TuningJobSpec, settings: Settings) -> str:
    """The image that a search runs in."""
    return spec.image or settings.worker_image


def _resources(spec: TuningJobSpec, settings: Settings, memory: str) -> Body:
    """Requests and limits. A pod in a queue has none of the disk: Kueue admits no resource that its queues do not list.

    In a queue the sizes of its volumes alone bound a pod: its root is read-only, and the kubelet rotates its log.
    """
    cpu, request = spec.resources.cpu, cpu_request_of(spec, settings)
    limits = {"cpu": str(cpu), "memory": memory}
    requests = {**limits, "cpu": str(cpu) if request == parse_quantity(cpu) else cpu_text(request)}
    if spec.queue_name is not None:
        return {"requests": requests, "limits": limits}
    return {
        "requests": {**requests, "ephemeral-storage": DISK_REQUEST},
        "limits": {**limits, "ephemeral-storage": memory_text(Decimal(disk_of(spec)))},
    }


def _environment(admission: Admission, settings: Settings, memory: int) -> Iterator[Body]:
    n_jobs = str(admission.n_jobs)
    values = {
        wellknown.ENV_RESULTS_URL: settings.results_url,
        wellknown.ENV_TOKEN_FILE: f"{names.TOKEN_DIR}/{names.TOKEN_KEY}",
        wellknown.ENV_N_JOBS: n_jobs,
        wellknown.ENV_MEMORY: str(memory),
        wellknown.ENV_IMAGE: image_of(admission.spec, settings).replace("$", "$$"),
        **dict.fromkeys(wellknown.THREAD_CAPS, "1"),
        wellknown.ENV_JOBLIB_CPUS: n_jobs,
        # the root is read-only: files beside the home directory or in joblib's folder are written to the scratch volume
        "HOME": "/tmp",  # noqa: S108
        "JOBLIB_TEMP_FOLDER": "/tmp",  # noqa: S108
    }
    if settings.ca is not None:
        values[wellknown.ENV_CA_FILE] = f"{names.TOKEN_DIR}/{names.CA_KEY}"
    if any(True for _ in _data_volume(admission.spec)):
        values[wellknown.ENV_DATA_DIR] = names.DATA_DIR
    if any(True for _ in _code_volume(admission.spec)):
        values[wellknown.ENV_CODE_DIR] = CODE_PATH
    for name, value in values.items():
        yield {"name": name, "value": value}
    # so that the operator can tell the journal which claimant was evicted
    yield {"name": wellknown.ENV_POD_NAME, "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}


def _variable(variable: EnvVar) -> Body:
    if variable.secret is not None:
        return {"name": variable.name, "valueFrom": {"secretKeyRef": _written(variable.secret)}}
    if variable.config_map is not None:
        return {"name": variable.name, "valueFrom": {"configMapKeyRef": _written(variable.config_map)}}
    return {"name": variable.name, "value": variable.value}


def _data_volume(spec: TuningJobSpec) -> Iterator[Body]:
    if spec.data.persistent_volume_claim is not None:
        claim = {"claimName": spec.data.persistent_volume_claim, "readOnly": True}
        yield {"name": "data", "persistentVolumeClaim": claim}
    elif spec.data.config_map is not None:
        yield {"name": "data", "configMap": {"name": spec.data.config_map}}


def _code_volume(spec: TuningJobSpec) -> Iterator[Body]:
    """Yield the volume of the manifest's code; none for an archive, which the pod itself fetches and unpacks."""
    if spec.code is not None and spec.code.persistent_volume_claim is not None:
        claim = {"claimName": spec.code.persistent_volume_claim, "readOnly": True}
        yield {"name": "code", "persistentVolumeClaim": claim}
    elif spec.code is not None and spec.code.config_map is not None:
        yield {"name": "code", "configMap": {"name": spec.code.config_map}}


def _volume(volume: Volume) -> Body:
    name = VOLUME_PREFIX + volume.name
    if volume.secret is not None:
        return {"name": name, "secret": {"secretName": volume.secret, "defaultMode": 0o440}}
    if volume.config_map is not None:
        return {"name": name, "configMap": {"name": volume.config_map}}
    if volume.persistent_volume_claim is not None:
        claim = {"claimName": volume.persistent_volume_claim, "readOnly": not volume.is_writable}
        return {"name": name, "persistentVolumeClaim": claim}
    return {"name": name, "emptyDir": {"sizeLimit": str(volume.empty_dir)}}


def _mount(volume: Volume) -> Body:
    mount = {"name": VOLUME_PREFIX + volume.name, "mountPath": volume.mount_path}
    return mount if volume.is_writable else {**mount, "readOnly": True}


def _written(model: Model) -> Body:
    """The model as Kubernetes writes it: its fields have core/v1's names."""
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)
