"""The paths under which the API server has its resources. Pure."""

from typing import Final
from urllib.parse import quote

from tuningjob.manifest.wellknown import GROUP, PLURAL, VERSION

_APIS: Final = {  # any other resource: the core group
    PLURAL: f"/apis/{GROUP}/{VERSION}",
    "jobs": "/apis/batch/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "selfsubjectaccessreviews": "/apis/authorization.k8s.io/v1",
}


def api_of(resource: str) -> str:
    """The path of the API group that has this resource."""
    return _APIS.get(resource.partition("/")[0], "/api/v1")


def path_of(resource: str, namespace: str | None, name: str = "") -> str:
    """The path of a resource (``jobs``, ``tuningjobs/status``), or of one object of it."""
    plural, _, subresource = resource.partition("/")
    within = "" if namespace is None else f"/namespaces/{quote(namespace)}"
    return "/".join(filter(None, (f"{api_of(resource)}{within}", plural, quote(name), subresource)))
