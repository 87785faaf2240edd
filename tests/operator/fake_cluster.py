"""An API server in memory, as far as the operator can tell: the fake at the API's edge.

It has resourceVersions, uids, generations, the status subresource, optimistic locking, preconditions, AlreadyExists and NotFound,
deletion in the background and in the foreground, garbage collection by ownerReferences, pruning by the status schema, and a watch.
It can answer with errors, lose answers after a call took effect, read from the past, and "crash the operator" at the k-th call.
Of Jobs it refuses what Kueue's webhook refuses. It does not know RBAC. What moves by itself in a cluster (Jobs, pods, quotas) is
in ``controllers.py``.
"""

import datetime as dt
import itertools
import json
import marshal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Final

from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.client.models.v1_config_map import V1ConfigMap
from kubernetes.aio.client.models.v1_job import V1Job
from kubernetes.aio.client.models.v1_secret import V1Secret

from tuningjob.manifest.canonical import canonical
from tuningjob.manifest.status import TuningJobStatus
from tuningjob_operator import names
from tuningjob_operator.cluster.contract import AlreadyExists, ApiError, Conflict, Listing, NotFound, Permission
from tuningjob_operator.decide.job import LABEL_QUEUE, sized
from tuningjob_operator.objects import Body, find_condition, timestamp

MODELS: dict[str, Any] = {"Job": V1Job, "Secret": V1Secret, "ConfigMap": V1ConfigMap}
PAGE: Final = 2
FOREGROUND: Final = "foregroundDeletion"
MIN_PARALLELISM: Final = "kueue.x-k8s.io/job-min-parallelism"
ObjectKey = tuple[str, str, str]  # kind, namespace ("" for a node), name


class Crash(BaseException):
    """The operator's process ends here."""


def unreachable() -> ApiError:
    """No answer came."""
    return ApiError(0, "Unreachable", "TimeoutError")


class FakeCluster:
    """See the module. Methods without an underscore that are not in Cluster are the world outside: users and controllers."""

    def __init__(self, now: Callable[[], dt.datetime]) -> None:
        self._now = now
        self._objects: dict[ObjectKey, Body] = {}
        self._past: list[tuple[int, ObjectKey, Body | None]] = []  # every change, in order
        self._version = 0
        self._uids = itertools.count(1)
        self.watch: list[tuple[str, Body]] = []  # what a watch would have sent: (type, body)
        self.calls: list[str] = []
        self.crash_after: int | None = None  # the operator dies when this many calls were answered
        self.fail_next: list[ApiError] = []  # answers of the next calls, which do nothing
        self.lose_next: list[
            ApiError | None
        ] = []  # likewise, of calls that do what they are to do; None: answered as ever
        self.behind = 0  # reads see the world as it was so many changes ago
        self.pods: list[Body] = []  # pods that no controller made
        self.admission: Callable[[Body], str | None] = lambda _: None  # why an object must not be made
        self.has_default_queue = False  # Kueue puts every Job without a queue into one
        self.forbidden: set[tuple[str, str | None]] = set()  # access and namespace

    # the operator's side: Cluster

    async def list_tuningjobs(self, namespace: str | None) -> AsyncIterator[Listing]:
        for page in _pages(self._listing("TuningJob", namespace)):
            yield page

    async def get_tuningjob(self, namespace: str, name: str, *, whole: bool = True) -> Body:
        return self._answer("list TuningJob", lambda: self._read("TuningJob", namespace, name))

    async def list_jobs(self, namespace: str | None) -> AsyncIterator[Listing]:
        for page in _pages(self._listing("Job", namespace)):
            yield page

    async def get_job(self, namespace: str, name: str) -> Body:
        return self._answer("get job", lambda: self._read("Job", namespace, name))

    async def create_job(self, body: Body) -> Body:
        return self._answer("create job", lambda: self._create(body))

    async def scale_job(self, namespace: str, name: str, *, uid: str, pods: int, deaths: int) -> Body:
        size = sized(pods, deaths=deaths)
        return self._answer("scale job", lambda: self.patch_job(name, size, namespace=namespace, uid=uid))

    async def suspend_job(self, namespace: str, name: str, *, uid: str, suspend: bool) -> Body:
        changed = {"suspend": suspend}
        return self._answer("suspend job", lambda: self.patch_job(name, changed, namespace=namespace, uid=uid))

    async def delete_job(self, namespace: str, name: str, *, uid: str) -> None:
        def remove() -> None:
            self._current("Job", namespace, name, uid=uid)
            self.delete("Job", name, namespace, foreground=True)

        self._answer("delete job", remove)

    async def list_worker_pods(self, namespace: str, *, uid: str) -> tuple[Body, ...]:
        def is_its(pod: Body) -> bool:
            metadata = pod["metadata"]
            return metadata["namespace"] == namespace and metadata["labels"].get(names.LABEL_UID) == uid

        def found() -> tuple[Body, ...]:
            return tuple(_copied([pod for pod in [*self.pods, *self._seen("Pod").values()] if is_its(pod)]))

        return self._answer("list pods", found)

    async def list_resource_quotas(self, namespace: str) -> tuple[Body, ...]:
        return tuple(self._listing("ResourceQuota", namespace).items)

    async def list_limit_ranges(self, namespace: str) -> tuple[Body, ...]:
        return tuple(self._listing("LimitRange", namespace).items)

    async def list_nodes(self) -> tuple[Body, ...]:
        return tuple(self._listing("Node", None).items)

    async def create_secret(self, body: Body) -> None:
        self._answer("create secret", lambda: self._create(body))

    async def get_configmap(self, namespace: str, name: str) -> Body:
        return self._answer("get configmap", lambda: self._read("ConfigMap", namespace, name))

    async def create_configmap(self, body: Body) -> None:
        self._answer("create configmap", lambda: self._create(body))

    async def replace_status(self, body: Body) -> Body:
        def replace() -> Body:
            metadata = body["metadata"]
            of = {field: metadata[field] for field in ("uid", "resourceVersion")}
            known = self._current("TuningJob", metadata["namespace"], metadata["name"], **of)
            # what the CRD does not declare would be pruned, and what it bounds refused: here both are errors
            TuningJobStatus.model_validate(body["status"])
            return self._update({**known, "status": json.loads(json.dumps(body["status"], allow_nan=False))})

        return self._answer("replace status", replace)

    async def delete_tuningjob(self, namespace: str, name: str, *, uid: str, resource_version: str) -> None:
        def remove() -> None:
            self._current("TuningJob", namespace, name, uid=uid, resourceVersion=resource_version)
            self.delete("TuningJob", name, namespace)

        self._answer("delete tuningjob", remove)

    async def create_event(self, body: Body) -> None:
        self._answer("create event", lambda: self._create(body))

    async def may(self, access: Permission, namespace: str | None) -> bool:
        return self._answer("review access", lambda: (str(access), namespace) not in self.forbidden)

    # users

    def apply(self, manifest: Body) -> Body:
        """`kubectl apply` of a TuningJob."""
        metadata = manifest["metadata"]
        try:
            known = self.get("TuningJob", metadata["name"], metadata.get("namespace", "default"))
        except NotFound:
            manifest = {**manifest, "metadata": {"namespace": "default", **metadata}}
            return self._create(canonical(manifest))
        return self._respecify(known, canonical(manifest["spec"]))

    def edit(self, name: str, namespace: str = "default", **spec: Any) -> Body:
        """`kubectl patch` or `kubectl scale` of a TuningJob; None takes a field away."""
        known = self.get("TuningJob", name, namespace)
        changed = {**known["spec"], **spec}
        return self._respecify(known, {field: value for field, value in changed.items() if value is not None})

    def put(self, body: Body) -> Body:
        """Any other object, as its owner made it."""
        return self._create(body)

    def delete(
        self, kind: str, name: str, namespace: str = "default", *, foreground: bool = False, collect: bool = True
    ) -> None:
        """`kubectl delete`, and at once (unless told otherwise) the garbage collector.

        Foreground: the object stays, with a deletionTimestamp, until what it owns is gone.
        """
        body = self.get(kind, name, namespace)
        if foreground:
            self._mark_deleted(body, finalizers=[FOREGROUND])
        elif body["metadata"].get("finalizers"):
            self._mark_deleted(body, finalizers=body["metadata"]["finalizers"])
        else:
            self._remove((kind, namespace, name))
        if collect:
            self.collect_garbage()

    def collect_garbage(self) -> None:
        """Everything that the garbage collector does until it has nothing left to do. Pods take their time to end."""
        while self._collect_once():
            pass

    def of_kind(self, kind: str) -> list[Body]:
        """Every object of a kind."""
        return [_copied(body) for (found, _, _), body in self._objects.items() if found == kind]

    def get(self, kind: str, name: str, namespace: str = "default") -> Body:
        """One object, as it is now."""
        return self._current(kind, namespace, name)

    def tuningjob(self, name: str) -> Body:
        """One TuningJob in the default namespace."""
        return self.get("TuningJob", name)

    def job(self, name: str) -> Body:
        """One Job in the default namespace."""
        return self.get("Job", name)

    # controllers and their likes

    def patch_job(self, name: str, spec: Body, *, namespace: str = "default", uid: str | None = None) -> Body:
        """A merge patch of a Job's spec, by the operator, by Kueue or by hand."""
        job = self._current("Job", namespace, name, **({} if uid is None else {"uid": uid}))
        new = {**job["spec"], **spec}
        if _may_be_cut(job) and not job["spec"].get("suspend") and new["parallelism"] != job["spec"]["parallelism"]:
            raise _refused_by_kueue("spec.parallelism: Forbidden: cannot change when partial admission is enabled")
        if new["completions"] != job["spec"]["completions"] and new["completions"] != new["parallelism"]:
            raise ApiError(422, "Invalid", "spec.completions: field is immutable, but together with parallelism")
        return self._respecify(job, new)

    def set_status(self, body: Body, **fields: Any) -> Body:
        """What a controller writes; a field that is None is taken away."""
        metadata = body["metadata"]
        known = self.get(body["kind"], metadata["name"], metadata["namespace"])
        status = {**known.get("status", {}), **fields}
        return self._update({**known, "status": {name: value for name, value in status.items() if value is not None}})

    def replace(self, body: Body) -> Body:
        """An object with other metadata."""
        return self._update(body)

    def finalize(self, body: Body) -> None:
        """The object, which is being deleted, ends."""
        metadata = body["metadata"]
        self._remove((body["kind"], metadata["namespace"], metadata["name"]))

    # the Job controller in a word; step by step it is in controllers.py

    def run_pods(self) -> None:
        """Every Job that has not ended gets its pods, and they are ready."""
        for job in self.of_kind("Job"):
            if find_condition(job, "Complete") is None and find_condition(job, "Failed") is None:
                pods = 0 if job["spec"].get("suspend") else job["spec"]["parallelism"]
                self.set_status(job, active=pods, ready=pods)

    def end_jobs(self, kind: str = "Complete", **condition: str) -> None:
        """Every Job ends."""
        for job in self.of_kind("Job"):
            self.set_status(job, active=0, ready=0, conditions=[{"type": kind, "status": "True", **condition}])

    def set_job_status(self, job: Body, **fields: Any) -> None:
        """What the Job controller writes."""
        self.set_status(job, **fields)

    # inside

    def _answer(self, call: str, run: Callable[[], Any]) -> Any:
        if self.crash_after is not None and len(self.calls) >= self.crash_after:
            raise Crash(call)
        self.calls.append(call)
        if self.fail_next:
            raise self.fail_next.pop(0)
        lost = self.lose_next.pop(0) if self.lose_next else None
        answer = run()
        if lost is not None:
            raise lost
        return answer

    def _listing(self, kind: str, namespace: str | None) -> Listing:
        def found() -> Listing:
            items = [body for key, body in self._seen(kind).items() if namespace in {None, key[1]}]
            return Listing(tuple(_copied(items)), str(self._version_seen()))

        return self._answer(f"list {kind}", found)

    def _version_seen(self) -> int:
        return max(0, self._version - self.behind)

    def _seen(self, kind: str) -> dict[ObjectKey, Body]:
        """Objects of a kind as a read sees them: of now, or of the past."""
        if not self.behind:
            return {key: body for key, body in self._objects.items() if key[0] == kind}
        seen: dict[ObjectKey, Body] = {}
        for version, key, body in self._past:
            if version > self._version_seen():
                break
            if key[0] != kind:
                continue
            if body is None:
                del seen[key]
            else:
                seen[key] = body
        return seen

    def _read(self, kind: str, namespace: str, name: str) -> Body:
        seen = self._seen(kind)
        if (kind, namespace, name) not in seen:
            raise NotFound(404, "NotFound", f"{kind} {name}")
        return _copied(seen[kind, namespace, name])

    def _current(self, kind: str, namespace: str, name: str, **preconditions: str) -> Body:
        if (kind, namespace, name) not in self._objects:
            raise NotFound(404, "NotFound", f"{kind} {name}")
        known = _copied(self._objects[kind, namespace, name])
        for field, value in preconditions.items():
            if known["metadata"][field] != value:
                raise Conflict(409, "Conflict", f"the {field} is another")
        return known

    def _create(self, body: Body) -> Body:
        body = _copied(body)
        metadata = body["metadata"]
        key = (body["kind"], metadata["namespace"], metadata["name"])
        if key in self._objects:
            raise AlreadyExists(409, "AlreadyExists", f"{key}")
        refusal = self.admission(body)
        if refusal is not None:
            raise ApiError(403, "Forbidden", refusal)
        if body["kind"] == "Job" and self.has_default_queue and LABEL_QUEUE not in metadata["labels"]:
            metadata["labels"][LABEL_QUEUE] = "default"
            body["spec"]["suspend"] = True
        if body["kind"] == "Job" and _may_be_cut(body):
            pods = min(body["spec"]["parallelism"], body["spec"]["completions"])
            least = int(body["metadata"]["annotations"][MIN_PARALLELISM])
            if not 0 < least < pods:
                raise _refused_by_kueue(
                    f"{MIN_PARALLELISM}: Invalid value: {least}: should be between 0 and {pods - 1}"
                )
        if body["kind"] in MODELS:
            assert well_formed(body) == body
        metadata |= {
            "uid": f"uid-{next(self._uids):04}",
            "creationTimestamp": timestamp(self._now()),
            "generation": 1,
        }
        return self._store("ADDED", body)

    def _respecify(self, known: Body, spec: Body) -> Body:
        if spec == known["spec"]:
            return known
        metadata = {**known["metadata"], "generation": known["metadata"]["generation"] + 1}
        return self._update({**known, "metadata": metadata, "spec": _copied(spec)})

    def _update(self, body: Body) -> Body:
        """Of an object that is there; one that changes nothing is no change, as on a real server."""
        metadata = body["metadata"]
        known = self._objects[body["kind"], metadata["namespace"], metadata["name"]]
        return _copied(known) if body == known else self._store("MODIFIED", body)

    def _store(self, change: str, body: Body) -> Body:
        self._version += 1
        metadata = body["metadata"]
        body = {**body, "metadata": {**metadata, "resourceVersion": str(self._version)}}
        key = (body["kind"], metadata["namespace"], metadata["name"])
        self._objects[key] = body
        self._past.append((self._version, key, body))
        self.watch.append((change, _copied(body)))
        return _copied(body)

    # deletion

    def _mark_deleted(self, body: Body, *, finalizers: list[str]) -> None:
        metadata = {"deletionTimestamp": timestamp(self._now()), **body["metadata"], "finalizers": finalizers}
        self._update({**body, "metadata": metadata})

    def _remove(self, key: ObjectKey) -> None:
        self._version += 1
        body = self._objects.pop(key)
        self._past.append((self._version, key, None))
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self._version)}}
        self.watch.append(("DELETED", _copied(body)))

    def _collect_once(self) -> bool:
        by_uid = {body["metadata"]["uid"]: body for body in self._objects.values()}
        for key, body in list(self._objects.items()):
            owners = [reference["uid"] for reference in body["metadata"].get("ownerReferences", [])]
            is_orphan = bool(owners) and not any(owner in by_uid for owner in owners)
            is_to_go_first = any(_goes_in_foreground(by_uid[owner]) for owner in owners if owner in by_uid)
            if (is_orphan or is_to_go_first) and self._delete_dependent(key, body):
                return True
            if _goes_in_foreground(body) and not self._blockers(body["metadata"]["uid"]):
                self._remove(key)
                return True
        return False

    def _delete_dependent(self, key: ObjectKey, body: Body) -> bool:
        """Whether there was anything to be done for it. A pod ends when its kubelet says so."""
        if key[0] != "Pod" or body.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
            self._remove(key)
            return True
        if body["metadata"].get("deletionTimestamp"):
            return False
        self._mark_deleted(body, finalizers=[])
        return True

    def _blockers(self, uid: str) -> list[Body]:
        """What the deletion of this owner in the foreground waits for."""
        return [
            body
            for body in self._objects.values()
            for reference in body["metadata"].get("ownerReferences", [])
            if reference["uid"] == uid and reference.get("blockOwnerDeletion")
        ]


def _pages(listing: Listing) -> Iterator[Listing]:
    for start in range(0, max(1, len(listing.items)), PAGE):
        yield Listing(listing.items[start : start + PAGE], listing.resource_version)


def _may_be_cut(job: Body) -> bool:
    """Whether Kueue may start it with fewer pods than it asks for."""
    return MIN_PARALLELISM in (job["metadata"].get("annotations") or {})


def _refused_by_kueue(why: str) -> ApiError:
    return ApiError(403, "Forbidden", f'admission webhook "vjob.kb.io" denied the request: {why}')


def _copied(plain: Any) -> Any:
    """By far the fastest way, and one that refuses what is not plain JSON, but for tuples."""
    return marshal.loads(marshal.dumps(plain))


def _goes_in_foreground(body: Body) -> bool:
    metadata = body["metadata"]
    return bool(metadata.get("deletionTimestamp")) and FOREGROUND in metadata.get("finalizers", [])


def well_formed(body: Body) -> Body:
    """``body`` by way of the official client's model: a misspelt key is lost, a wrong type is refused."""
    serializer = ApiClient.__new__(ApiClient)
    serializer.configuration = Configuration()
    result: Body = serializer.sanitize_for_serialization(MODELS[body["kind"]].from_dict(body))
    return result
