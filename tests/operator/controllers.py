"""What moves by itself in a cluster, one step at a time: the Job controller, the kubelets, quotas, Kueue.

The Job controller is pkg/controller/job of Kubernetes 1.34, as far as Indexed Jobs with podReplacementPolicy: Failed go: so many
pods as are wanted, lowest indexes first, and as many at a time as it is told to; a pod that is going is not replaced before it is
gone; of too many, those with an index beyond the completions go first; podFailurePolicy and backoffLimit; a condition that ends
the Job only once no pod is left; suspension. What a pod does, and whether it ends well, its world decides.
"""

import itertools
from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import Any, Final

from tests.operator.fake_cluster import MIN_PARALLELISM, FakeCluster
from tuningjob.manifest.quantity import parse_quantity
from tuningjob_operator import names
from tuningjob_operator.cluster.contract import ApiError
from tuningjob_operator.objects import Body, find_condition, timestamp, uid_of

LABEL_JOB_UID: Final = "batch.kubernetes.io/controller-uid"
TRACKED: Final = "batch.kubernetes.io/job-tracking"
ENDED: Final = frozenset({"Succeeded", "Failed"})
KILLED: Final = 137
ALL: Final = 1_000_000


class Controllers:
    """See the module. Each method is one thing that happens."""

    def __init__(self, cluster: FakeCluster, now: Callable[[], Any]) -> None:
        self._cluster = cluster
        self._now = now
        self._suffixes = itertools.count(1)
        self.refusals: list[str] = []  # of pods that were not made, as their Job's events would tell
        cluster.admission = self._refusal

    # --- the Job controller

    def sync_jobs(self, *, batch: int = ALL) -> None:
        """Every Job's controller looks once, and makes at most ``batch`` pods."""
        for job in self._cluster.of_kind("Job"):
            self.sync_job(job, batch=batch)
        self.count_quotas()

    def sync_job(self, job: Body, *, batch: int = ALL) -> None:
        """One pass over one Job."""
        if find_condition(job, "Complete") or find_condition(job, "Failed"):
            return
        status = dict(job.get("status") or {})
        indexes = {
            index for index in _indexes(status.get("completedIndexes", "")) if index < job["spec"]["completions"]
        }
        failed = int(status.get("failed", 0))
        begun = find_condition(job, "FailureTarget") or find_condition(job, "SuccessCriteriaMet")
        ending = None if begun is None else dict(begun)
        for pod in self.pods_of(job):
            if _phase(pod) not in ENDED or not self._untrack(pod):
                continue
            if _phase(pod) == "Succeeded":
                indexes |= {index_of(pod)} if index_of(pod) < job["spec"]["completions"] else set()
                continue
            action, message = _policy(job, pod)
            failed += action in {"Count", "FailJob"}
            if action == "FailJob":
                ending = ending or _condition("FailureTarget", "PodFailurePolicy", message, self._now())
        if ending is None and failed > max(int(status.get("failed", 0)), job["spec"]["backoffLimit"]):
            text = "Job has reached the specified backoff limit"
            ending = _condition("FailureTarget", "BackoffLimitExceeded", text, self._now())
        is_done = len(indexes) >= job["spec"]["completions"]
        if ending is None and is_done:
            ending = _condition(
                "SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods", self._now()
            )
        if ending is not None:
            self._delete_pods(_active(self.pods_of(job)), tracked=True)
        elif not job["metadata"].get("deletionTimestamp"):
            self._manage(job, indexes, batch)
        self._write_status(job, indexes, failed, ending)

    def _manage(self, job: Body, succeeded: set[int], batch: int) -> None:
        spec, pods = job["spec"], self.pods_of(job)
        active = _active(pods)
        if spec.get("suspend"):
            self._delete_pods(active)
            return
        wanted = min(spec["parallelism"], spec["completions"] - len(succeeded))
        beyond = [pod for pod in active if index_of(pod) >= spec["completions"]]
        rest = sorted((pod for pod in active if pod not in beyond), key=lambda pod: (_is_ready(pod), -index_of(pod)))
        self._delete_pods([*beyond, *rest[: max(0, len(rest) - wanted)]])
        alive = [pod for pod in self.pods_of(job) if _phase(pod) not in ENDED]
        taken = {index_of(pod) for pod in alive} | succeeded
        free = [index for index in range(spec["completions"]) if index not in taken]
        for index in free[: max(0, min(batch, wanted - len(alive)))]:
            if not self._create_pod(job, index):
                break

    def _create_pod(self, job: Body, index: int) -> bool:
        metadata, template = job["metadata"], job["spec"]["template"]
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": metadata["name"], "uid": uid_of(job)}
        try:
            self._cluster.put(
                {
                    "apiVersion": "v1",
                    "kind": "Pod",
                    "metadata": {
                        "name": f"{metadata['name']}-{index}-{next(self._suffixes):05}",
                        "namespace": metadata["namespace"],
                        "labels": {**template["metadata"]["labels"], LABEL_JOB_UID: uid_of(job)},
                        "annotations": {names.ANNOTATION_INDEX: str(index)},
                        "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
                        "finalizers": [TRACKED],
                    },
                    "spec": template["spec"],
                    "status": {"phase": "Pending"},
                }
            )
        except ApiError as refused:
            self.refusals.append(refused.message)
            return False
        self.count_quotas()
        return True

    def _delete_pods(self, pods: Iterable[Body], *, tracked: bool = False) -> None:
        """A pod that is not to count as failed is no longer tracked."""
        for pod in pods:
            if not tracked:
                self._untrack(pod)
            self.delete_pod(pod)

    def _untrack(self, pod: Body) -> bool:
        """Whether it had not been counted yet."""
        known = self._known(pod)
        if known is None or TRACKED not in known["metadata"].get("finalizers", []):
            return False
        self._cluster.replace({**known, "metadata": {**known["metadata"], "finalizers": []}})
        self._finish_deletion(pod)
        return True

    def _write_status(self, job: Body, succeeded: set[int], failed: int, ending: Body | None) -> None:
        if all(uid_of(known) != uid_of(job) for known in self._jobs()):
            return  # it was being deleted, and waited for just the pods that were counted now
        pods = self.pods_of(job)
        active, is_suspended = _active(pods), bool(job["spec"].get("suspend"))
        terminating = [pod for pod in pods if _phase(pod) not in ENDED and pod["metadata"].get("deletionTimestamp")]
        conditions = {condition["type"]: condition for condition in (job.get("status") or {}).get("conditions", [])}
        if ending is not None:
            conditions[ending["type"]] = ending
            if not active and not terminating:
                kind = "Complete" if ending["type"] == "SuccessCriteriaMet" else "Failed"
                conditions[kind] = {**ending, "type": kind}
        was_suspended = conditions.get("Suspended", {}).get("status") == "True"
        if ending is None and is_suspended != was_suspended and (is_suspended or "Suspended" in conditions):
            reason = "JobSuspended" if is_suspended else "JobResumed"
            conditions["Suspended"] = _condition("Suspended", reason, reason, self._now(), is_true=is_suspended)
        self._cluster.set_status(
            job,
            active=len(active),
            ready=sum(map(_is_ready, active)),
            terminating=len(terminating),
            succeeded=len(succeeded),
            failed=failed,
            completedIndexes=",".join(map(str, sorted(succeeded))),
            conditions=list(conditions.values()),
        )

    # --- pods and their kubelets

    def pods(self) -> list[Body]:
        """Every pod that is there, by name."""
        return sorted(self._cluster.of_kind("Pod"), key=lambda pod: str(pod["metadata"]["name"]))

    def pods_of(self, job: Body) -> list[Body]:
        """Pods of one Job, those that ended included."""
        uid = uid_of(job)
        return [pod for pod in self.pods() if pod["metadata"]["labels"][LABEL_JOB_UID] == uid]

    def start(self, pod: Body) -> None:
        """It is scheduled, its image is there, it runs and is ready."""
        self._cluster.set_status(
            pod,
            phase="Running",
            conditions=[
                {"type": "PodScheduled", "status": "True"},
                {"type": "Ready", "status": "True"},
            ],
            containerStatuses=[_container(running={"startedAt": timestamp(self._now())})],
        )

    def leave_unscheduled(self, pod: Body, message: str = "0/2 nodes are available: 2 Insufficient cpu.") -> None:
        """No node takes it."""
        condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        self._cluster.set_status(pod, phase="Pending", conditions=[condition], containerStatuses=None)

    def keep_waiting(
        self, pod: Body, reason: str = "ImagePullBackOff", message: str = "Back-off pulling image"
    ) -> None:
        """It is scheduled, and its container does not start."""
        self._cluster.set_status(
            pod,
            phase="Pending",
            conditions=[{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "False"}],
            containerStatuses=[_container(waiting={"reason": reason, "message": message})],
        )

    def exit(self, pod: Body, code: int, *, reason: str = "", message: str = "", disrupted: bool = False) -> None:
        """Its container ends: by itself, or killed. ``disrupted``: evicted, preempted or drained."""
        terminated = {
            "exitCode": int(code),
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "finishedAt": timestamp(self._now()),
            **({"message": message} if message else {}),
        }
        target = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}
        self._cluster.set_status(
            pod,
            phase="Succeeded" if code == 0 else "Failed",
            conditions=[{"type": "Ready", "status": "False"}, *([target] if disrupted else [])],
            containerStatuses=[_container(terminated=terminated)],
        )
        self._finish_deletion(pod)

    def delete_pod(self, pod: Body) -> None:
        """It is asked to go, and has its grace; one that has ended goes once it was counted."""
        known = self._known(pod)
        if known is None:
            return
        if not known["metadata"].get("deletionTimestamp"):
            metadata = {**known["metadata"], "deletionTimestamp": timestamp(self._now())}
            self._cluster.replace({**known, "metadata": metadata})
        self._finish_deletion(pod)

    def _finish_deletion(self, pod: Body) -> None:
        known = self._known(pod)
        if known is None or not known["metadata"].get("deletionTimestamp"):
            return
        is_orphan = all(job["metadata"]["uid"] != known["metadata"]["labels"][LABEL_JOB_UID] for job in self._jobs())
        # the Job controller takes the finalizer of a pod whose Job is gone
        if _phase(known) in ENDED and (is_orphan or not known["metadata"].get("finalizers")):
            self._cluster.finalize(known)
            self._cluster.collect_garbage()

    def _known(self, pod: Body) -> Body | None:
        same = [each for each in self._cluster.of_kind("Pod") if each["metadata"]["uid"] == pod["metadata"]["uid"]]
        return same[0] if same else None

    def _jobs(self) -> list[Body]:
        return self._cluster.of_kind("Job")

    # --- quotas and limit ranges

    def put_quota(self, name: str, hard: dict[str, str], *, others: dict[str, str] | None = None) -> None:
        """A ResourceQuota of the default namespace; ``others`` of it is used by somebody else."""
        metadata = {"name": name, "namespace": "default", "annotations": others or {}}
        self._cluster.put({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": metadata, "spec": {"hard": hard}})
        self.count_quotas()

    def count_quotas(self) -> None:
        """Every quota's status says what is used."""
        for quota in self._cluster.of_kind("ResourceQuota"):
            others = quota["metadata"]["annotations"]
            live = [pod for pod in self.pods() if _phase(pod) not in ENDED]
            used = {
                resource: _text(
                    parse_quantity(others.get(resource, "0"))
                    + sum((_counted(body, resource) for body in [*self._jobs(), *live]), Decimal(0))
                )
                for resource in quota["spec"]["hard"]
            }
            self._cluster.set_status(quota, hard=quota["spec"]["hard"], used=used)

    def _refusal(self, body: Body) -> str | None:
        """Why the quotas of its namespace do not let an object be made."""
        self.count_quotas()
        for quota in self._cluster.of_kind("ResourceQuota"):
            if quota["metadata"]["namespace"] != body["metadata"].get("namespace"):
                continue
            for resource, hard in quota["status"]["hard"].items():
                asked = _counted(body, resource)
                used = parse_quantity(quota["status"]["used"][resource])
                if asked and used + asked > parse_quantity(hard):
                    return f"exceeded quota: {quota['metadata']['name']}, requested: {resource}={asked}, used: {resource}={used}"
        return None

    # --- Kueue 0.15, as test_kueue.py of the cluster's tests sees the real one

    def admit(self, job: Body, *, pods: int) -> None:
        """Kueue starts a Job that waits, with so many of the pods that it asks for: all of them, unless it may be cut."""
        asked = job["spec"]["parallelism"]
        size = min(pods, asked) if MIN_PARALLELISM in (job["metadata"].get("annotations") or {}) else asked
        self._cluster.patch_job(job["metadata"]["name"], {"suspend": False, "parallelism": size})

    def preempt(self, job: Body) -> None:
        """Kueue takes the place of a Job away, and gives it its size back once it is suspended."""
        self._cluster.patch_job(job["metadata"]["name"], {"suspend": True})
        self._cluster.patch_job(job["metadata"]["name"], {"parallelism": job["spec"]["completions"]})


def index_of(pod: Body) -> int:
    """The completion index."""
    return int(pod["metadata"]["annotations"][names.ANNOTATION_INDEX])


def is_ready(pod: Body) -> bool:
    """Whether its worker is at work."""
    return _is_ready(pod)


def has_ended(pod: Body) -> bool:
    """Whether its container has ended."""
    return _phase(pod) in ENDED


def is_going(pod: Body) -> bool:
    """Whether it was asked to go and has not ended."""
    return not has_ended(pod) and bool(pod["metadata"].get("deletionTimestamp"))


def memory_of(spec: Body) -> int:
    """Bytes that a pod of this spec may have."""
    return int(_asked(spec, "limits.memory"))


def cpu_of(spec: Body) -> Decimal:
    """Cores that a pod of this spec may have."""
    return _asked(spec, "limits.cpu")


def _counted(body: Body, resource: str) -> Decimal:
    """What an object takes of a resource of a quota."""
    if body["kind"] == "Job":
        return Decimal(resource == "count/jobs.batch")
    return _asked(body["spec"], resource) if body["kind"] == "Pod" else Decimal(0)


def _asked(spec: Body, resource: str) -> Decimal:
    if resource in {"pods", "count/pods"}:
        return Decimal(1)
    kind, _, name = resource.rpartition(".")
    if name not in {"cpu", "memory"}:
        return Decimal(0)
    resources = [container["resources"][kind or "requests"] for container in spec["containers"]]
    return sum((parse_quantity(each[name]) for each in resources), Decimal(0))


def _text(value: Decimal) -> str:
    return str(int(value)) if value == int(value) else f"{int(value * 1000)}m"


def _phase(pod: Body) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))


def _is_ready(pod: Body) -> bool:
    return find_condition(pod, "Ready") is not None


def _active(pods: Iterable[Body]) -> list[Body]:
    return [pod for pod in pods if _phase(pod) not in ENDED and not pod["metadata"].get("deletionTimestamp")]


def _indexes(text: str) -> set[int]:
    return {int(part) for part in text.split(",") if part}


def _container(**state: Body) -> Body:
    return {"name": names.CONTAINER, "state": state, "ready": "running" in state, "restartCount": 0}


def _condition(kind: str, reason: str, message: str, now: Any, *, is_true: bool = True) -> Body:
    status = "True" if is_true else "False"
    return {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": timestamp(now)}


def _policy(job: Body, pod: Body) -> tuple[str, str]:
    """What the first matching rule of podFailurePolicy says of a pod that failed, and in which words."""
    status = pod["status"]
    states = {each["name"]: each["state"].get("terminated") or {} for each in status.get("containerStatuses") or []}
    for number, rule in enumerate((job["spec"].get("podFailurePolicy") or {}).get("rules") or []):
        on_exit = rule.get("onExitCodes")
        if on_exit is not None:
            code = states.get(on_exit["containerName"], {}).get("exitCode")
            matches = code in on_exit["values"] if on_exit["operator"] == "In" else code not in {0, *on_exit["values"]}
            text = (
                f"Container {on_exit['containerName']} for pod {pod['metadata']['name']} failed with exit code {code}"
            )
        else:
            wanted = {(each["type"], each["status"]) for each in rule["onPodConditions"]}
            matches = any((each["type"], each["status"]) in wanted for each in status.get("conditions") or [])
            text = f"Pod {pod['metadata']['name']} has a condition"
        if matches:
            return rule["action"], f"{text} matching {rule['action']} rule at index {number}"
    return "Count", ""
