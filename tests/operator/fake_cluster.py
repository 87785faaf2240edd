"""An API server in memory, as far as the operator can tell: the fake at the API's edge.

It has resourceVersions, uids, generations, the status subresource, optimistic locking, AlreadyExists and NotFound, garbage
collection by ownerReferences, pruning by the status schema, a watch, and a Job controller that moves when told to. It can
be made to fail or to "crash the operator" at the k-th call. It does not know RBAC, admission or pods beyond a list.
"""

import copy
import datetime as dt
import itertools
import json
from collections.abc import Callable
from typing import Any

from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.models.v1_config_map import V1ConfigMap
from kubernetes.aio.client.models.v1_job import V1Job
from kubernetes.aio.client.models.v1_secret import V1Secret

from tuningjob.spec.canonical import canonical
from tuningjob.spec.status import TuningJobStatus
from tuningjob_operator import names
from tuningjob_operator.cluster import Access, AlreadyExists, ApiError, Conflict, Listing, NotFound
from tuningjob_operator.job import sized
from tuningjob_operator.objects import Body, find_condition, timestamp

MODELS: dict[str, Any] = {"Job": V1Job, "Secret": V1Secret, "ConfigMap": V1ConfigMap}


class Crash(BaseException):
    """The operator's process ends here."""


class FakeCluster:
    """See the module. Methods without an underscore that are not in Cluster are the world outside: users and controllers."""

    def __init__(self, now: Callable[[], dt.datetime]) -> None:
        self._now = now
        self._objects: dict[tuple[str, str, str], Body] = {}
        self._versions = itertools.count(1)
        self._uids = itertools.count(1)
        self.watch: list[tuple[str, Body]] = []  # what a watch would have sent: (type, body)
        self.calls: list[str] = []
        self.crash_after: int | None = None  # the operator dies when this many calls were answered
        self.fail_next: list[ApiError] = []
        self.pods: list[Body] = []
        self.forbidden: set[tuple[str, str | None]] = set()  # access and namespace

    # the operator's side: Cluster

    async def list_tuningjobs(self, namespace: str | None) -> Listing:
        return self._listing("TuningJob", namespace)

    async def list_jobs(self, namespace: str | None) -> Listing:
        return self._listing("Job", namespace)

    async def get_job(self, namespace: str, name: str) -> Body:
        return self._answer("get job", lambda: self._get("Job", namespace, name))

    async def create_job(self, body: Body) -> Body:
        return self._answer("create job", lambda: self._create(body))

    async def scale_job(self, namespace: str, name: str, *, uid: str, pods: int, deaths: int) -> Body:
        def scale() -> Body:
            job = self._get("Job", namespace, name)
            if job["metadata"]["uid"] != uid:
                raise Conflict(409, "Conflict", "the uid is another")
            job["spec"] |= sized(pods, deaths=deaths)
            return self._update(job)

        return self._answer("scale job", scale)

    async def list_job_pods(self, namespace: str, *, job_uid: str) -> tuple[Body, ...]:
        def is_its(pod: Body) -> bool:
            metadata = pod["metadata"]
            return metadata["namespace"] == namespace and metadata["labels"][names.LABEL_JOB_UID] == job_uid

        return self._answer("list pods", lambda: tuple(copy.deepcopy([pod for pod in self.pods if is_its(pod)])))

    async def create_secret(self, body: Body) -> None:
        self._answer("create secret", lambda: self._create(body))

    async def get_configmap(self, namespace: str, name: str) -> Body:
        return self._answer("get configmap", lambda: self._get("ConfigMap", namespace, name))

    async def create_configmap(self, body: Body) -> None:
        self._answer("create configmap", lambda: self._create(body))

    async def replace_status(self, body: Body) -> Body:
        def replace() -> Body:
            metadata = body["metadata"]
            known = self._get("TuningJob", metadata["namespace"], metadata["name"])
            for field in ("uid", "resourceVersion"):
                if known["metadata"][field] != metadata[field]:
                    raise Conflict(409, "Conflict", f"the {field} is another")
            # what the CRD does not declare would be pruned, and what it bounds refused: here both are errors
            TuningJobStatus.model_validate(body["status"])
            return self._update({**known, "status": json.loads(json.dumps(body["status"], allow_nan=False))})

        return self._answer("replace status", replace)

    async def create_event(self, body: Body) -> None:
        self._answer("create event", lambda: self._create(body))

    async def may(self, access: Access, namespace: str | None) -> bool:
        return self._answer("review access", lambda: (str(access), namespace) not in self.forbidden)

    # users

    def apply(self, manifest: Body) -> Body:
        """`kubectl apply` of a TuningJob."""
        metadata = manifest["metadata"]
        try:
            known = self._get("TuningJob", metadata.get("namespace", "default"), metadata["name"])
        except NotFound:
            manifest = {**manifest, "metadata": {"namespace": "default", **metadata}}
            return self._create(canonical(manifest))
        known["spec"] = canonical(manifest["spec"])
        known["metadata"]["generation"] += 1
        return self._update(known)

    def put(self, body: Body) -> Body:
        """Any other object, as its owner made it."""
        return self._create(body)

    def delete(self, kind: str, name: str, namespace: str = "default") -> None:
        """`kubectl delete`, and at once the garbage collector."""
        body = self._objects.pop((kind, namespace, name))
        self._changed("DELETED", body)
        self.collect_garbage()

    def collect_garbage(self) -> None:
        """Delete everything whose owner is gone, and what that owned."""
        uids = {body["metadata"]["uid"] for body in self._objects.values()}
        for key, body in self._objects.items():
            owners = [reference["uid"] for reference in body["metadata"].get("ownerReferences", [])]
            if owners and not any(owner in uids for owner in owners):
                self._changed("DELETED", self._objects.pop(key))
                self.collect_garbage()
                return

    def of_kind(self, kind: str) -> list[Body]:
        """Every object of a kind."""
        return [copy.deepcopy(body) for (found, _, _), body in self._objects.items() if found == kind]

    def tuningjob(self, name: str) -> Body:
        """One TuningJob in the default namespace."""
        return self._get("TuningJob", "default", name)

    def job(self, name: str) -> Body:
        """One Job in the default namespace."""
        return self._get("Job", "default", name)

    # the Job controller, step by step

    def run_pods(self) -> None:
        """Every Job that has not ended gets its pods."""
        for job in self.of_kind("Job"):
            if find_condition(job, "Complete") is None and find_condition(job, "Failed") is None:
                self.set_job_status(job, active=job["spec"]["parallelism"])

    def end_jobs(self, kind: str = "Complete", **condition: str) -> None:
        """Every Job ends."""
        for job in self.of_kind("Job"):
            self.set_job_status(job, active=0, conditions=[{"type": kind, "status": "True", **condition}])

    def set_job_status(self, job: Body, **fields: Any) -> None:
        """What the Job controller writes."""
        metadata = job["metadata"]
        known = self._get("Job", metadata["namespace"], metadata["name"])
        changed = {**known, "status": {**known.get("status", {}), **fields}}
        if changed != known:
            self._update(changed)

    # inside

    def _answer(self, call: str, run: Callable[[], Any]) -> Any:
        if self.crash_after is not None and len(self.calls) >= self.crash_after:
            raise Crash(call)
        self.calls.append(call)
        if self.fail_next:
            raise self.fail_next.pop(0)
        return run()

    def _listing(self, kind: str, namespace: str | None) -> Listing:
        items = [body for body in self.of_kind(kind) if namespace in {None, body["metadata"]["namespace"]}]
        return self._answer(f"list {kind}", lambda: Listing(tuple(items), str(next(self._versions))))

    def _get(self, kind: str, namespace: str, name: str) -> Body:
        if (kind, namespace, name) not in self._objects:
            raise NotFound(404, "NotFound", f"{kind} {name}")
        return copy.deepcopy(self._objects[kind, namespace, name])

    def _create(self, body: Body) -> Body:
        body = copy.deepcopy(body)
        metadata = body["metadata"]
        key = (body["kind"], metadata["namespace"], metadata["name"])
        if key in self._objects:
            raise AlreadyExists(409, "AlreadyExists", f"{key}")
        if body["kind"] in MODELS:
            assert well_formed(body) == body
        metadata |= {
            "uid": f"uid-{next(self._uids):04}",
            "creationTimestamp": timestamp(self._now()),
            "generation": 1,
        }
        return self._update(body, kind="ADDED")

    def _update(self, body: Body, *, kind: str = "MODIFIED") -> Body:
        metadata = body["metadata"]
        body["metadata"] = {**metadata, "resourceVersion": str(next(self._versions))}
        self._objects[body["kind"], metadata["namespace"], metadata["name"]] = body
        self._changed(kind, body)
        return copy.deepcopy(body)

    def _changed(self, kind: str, body: Body) -> None:
        if kind == "DELETED":
            body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(next(self._versions))}}
        self.watch.append((kind, copy.deepcopy(body)))


def well_formed(body: Body) -> Body:
    """``body`` by way of the official client's model: a misspelt key is lost, a wrong type is refused."""
    serializer = ApiClient.__new__(ApiClient)
    serializer.configuration = Configuration()
    result: Body = serializer.sanitize_for_serialization(MODELS[body["kind"]].from_dict(body))
    return result
