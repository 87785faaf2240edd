"""The handful of API calls that the operator makes, as a Protocol, and how each may go wrong.

The one way from the reconcile to an API server: ``client.KubeCluster`` in a pod, a fake at the API's edge in unit tests.
Adding a method here means adding a verb to the chart's RBAC, and to ``REQUIRED_ACCESS`` below, which is checked at start.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final, Protocol

from tuningjob.manifest.wellknown import GROUP, PLURAL
from tuningjob_operator.objects import Body

_ABOUT_THE_OBJECT: Final = frozenset(
    {HTTPStatus.BAD_REQUEST, HTTPStatus.REQUEST_ENTITY_TOO_LARGE, HTTPStatus.UNPROCESSABLE_ENTITY}
)
_TOO_LARGE: Final = "request is too large"  # etcd's words, in an answer of status 500


class ApiError(Exception):
    """The API server refused, or was not there (status 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        self.status = status
        self.reason = reason  # metav1.Status.reason, e.g. NotFound, AlreadyExists, Conflict, Forbidden
        self.message = message
        super().__init__(f"{status} {reason}: {message}")

    @property
    def is_about_the_object(self) -> bool:
        """Whether the object itself is refused, for its content or its size, so that a retry would be refused, too."""
        return self.status in _ABOUT_THE_OBJECT or _TOO_LARGE in self.message


class NotFound(ApiError):
    """The object is not there (404)."""


class AlreadyExists(ApiError):
    """The name is taken (409 to a create)."""


class Conflict(ApiError):
    """Another write came between, or the object is another one by now (409 to anything but a create)."""


@dataclass(frozen=True)
class Listing:
    """Objects as they were at one resourceVersion: all of them, or a page of these."""

    items: Sequence[Body]
    resource_version: str


_COORDINATION: Final = "coordination.k8s.io"


@dataclass(frozen=True)
class Permission:
    """One verb on one resource."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    name: str = ""  # the name, if it is about one object only

    def __str__(self) -> str:
        subresource = f"/{self.subresource}" if self.subresource else ""
        name = f" {self.name}" if self.name else ""
        return f"{self.verb} {self.resource}{subresource}{'.' if self.group else ''}{self.group}{name}"


# Everything that the operator does, kopf's watches included: the chart grants these, and no more.
REQUIRED_ACCESS: Final = (
    Permission("list", GROUP, PLURAL),  # kopf, resync
    Permission("watch", GROUP, PLURAL),  # kopf
    Permission("delete", GROUP, PLURAL),  # ttlSecondsAfterFinished
    Permission("update", GROUP, PLURAL, "status"),
    Permission("list", "batch", "jobs"),  # kopf, resync
    Permission("watch", "batch", "jobs"),  # kopf
    Permission("get", "batch", "jobs"),
    Permission("create", "batch", "jobs"),
    Permission("patch", "batch", "jobs"),
    Permission("delete", "batch", "jobs"),
    Permission("list", "", "pods"),
    Permission("list", "", "resourcequotas"),
    Permission("list", "", "limitranges"),
    Permission("create", "", "secrets"),
    Permission("get", "", "configmaps"),
    Permission("create", "", "configmaps"),
    Permission("create", "", "events"),
)
# In the whole cluster, and only if the settings ask for pods to be compared with nodes.
NODES_ACCESS: Final = Permission("list", "", "nodes")
# In the whole cluster, if all of it is watched, to leave a namespace to a release that watches it alone (lease.py).
LEASES_ACCESS: Final = Permission("list", _COORDINATION, "leases")


def lease_access(name: str) -> tuple[Permission, ...]:
    """The rights to the Lease by which operators agree which one works; Kubernetes cannot bound a create by a name."""
    return (
        Permission("create", _COORDINATION, "leases"),
        *(Permission(verb, _COORDINATION, "leases", name=name) for verb in ("get", "update")),
    )


class ClusterApi(Protocol):
    """The operator's calls. Each raises ApiError or a subclass; bodies are new dicts that the caller may keep."""

    def list_tuningjobs(self, namespace: str | None) -> AsyncIterator[Listing]:
        """The TuningJobs of a namespace or the cluster, in pages of one resourceVersion. NotFound: there is no CRD."""

    async def get_tuningjob(self, namespace: str, name: str, *, whole: bool = True) -> Body:
        """One TuningJob, with its spec if that is within bounds; without ``whole`` only a small one, as in a list."""

    def list_jobs(self, namespace: str | None) -> AsyncIterator[Listing]:
        """The Jobs that carry our label, in pages."""

    async def get_job(self, namespace: str, name: str) -> Body:
        """Read one Job."""

    async def create_job(self, body: Body) -> Body:
        """Create a Job; returns it as the server completed it."""

    async def scale_job(self, namespace: str, name: str, *, uid: str, pods: int, deaths: int) -> Body:
        """Give the Job of this uid the size that ``job.sized`` says. Conflict if it is another Job."""

    async def suspend_job(self, namespace: str, name: str, *, uid: str, suspend: bool) -> Body:
        """Suspend the Job of this uid, or let it go on. Conflict if it is another Job."""

    async def delete_job(self, namespace: str, name: str, *, uid: str) -> None:
        """Delete the Job of this uid. It stays, with a deletionTimestamp, until its pods are gone. Conflict if it is another."""

    async def list_worker_pods(self, namespace: str, *, uid: str) -> tuple[Body, ...]:
        """The worker pods of the TuningJob of this uid, of all its Jobs."""

    async def list_resource_quotas(self, namespace: str) -> tuple[Body, ...]:
        """The ResourceQuotas of a namespace."""

    async def list_limit_ranges(self, namespace: str) -> tuple[Body, ...]:
        """The LimitRanges of a namespace."""

    async def list_nodes(self) -> tuple[Body, ...]:
        """The nodes of the cluster. Needs NODES_ACCESS."""

    async def create_secret(self, body: Body) -> None:
        """Create a Secret; none is ever read."""

    async def get_configmap(self, namespace: str, name: str) -> Body:
        """Read one ConfigMap."""

    async def create_configmap(self, body: Body) -> None:
        """Create a ConfigMap."""

    async def replace_status(self, body: Body) -> Body:
        """Put a TuningJob's status, whole, as of its resourceVersion. Conflict when that is no longer the newest."""

    async def delete_tuningjob(self, namespace: str, name: str, *, uid: str, resource_version: str) -> None:
        """Delete the TuningJob of this uid, as of its resourceVersion. Conflict when that is no longer the newest."""

    async def create_event(self, body: Body) -> None:
        """Create an Event of the core group."""

    async def may(self, access: Permission, namespace: str | None) -> bool:
        """Whether the operator may do this, in a namespace or in the whole cluster."""
