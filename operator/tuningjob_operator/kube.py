"""``Cluster`` over aiohttp, which kopf brings, and the credentials for it and for kopf.

Without the official client: it is 28 MiB in memory and 126 on the disk, of which a session, a token and a certificate would be
used, and kopf has those. Bodies are plain JSON in and out.

Tokens expire: a pod's is read again every minute, and on a 401 everything is built anew, once.
"""

import contextlib
import dataclasses
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp
import kopf

from tuningjob.spec.wellknown import GROUP, PLURAL, VERSION
from tuningjob_operator import names
from tuningjob_operator.cluster import Access, AlreadyExists, ApiError, Conflict, Listing, NotFound
from tuningjob_operator.job import sized
from tuningjob_operator.objects import Body

logger = logging.getLogger(__name__)

REQUEST_SECONDS: Final = 30
_PAGE: Final = 100
_METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
_JSON: Final = "application/json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_APIS: Final = {  # any other resource: the core group
    PLURAL: f"/apis/{GROUP}/{VERSION}",
    "jobs": "/apis/batch/v1",
    "leases": "/apis/coordination.k8s.io/v1",
    "selfsubjectaccessreviews": "/apis/authorization.k8s.io/v1",
}
_SERVICE_HOST: Final = "KUBERNETES_SERVICE_HOST"  # written by the kubelet into every pod
_SERVICE_TOKEN: Final = Path(
    "/var/run/secrets/kubernetes.io/serviceaccount/token"
)  # so is this, and again before it expires
_TOKEN_SECONDS: Final = 60.0


def is_in_cluster() -> bool:
    """Whether this process runs in a pod with a service account's token."""
    return _SERVICE_HOST in os.environ and _SERVICE_TOKEN.exists()


def login(*, settings: kopf.OperatorSettings, **_: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401  kopf's kwargs
    """The login of kopf: called again whenever its credentials are refused.

    By address, not by name (a cluster's DNS may be down when it matters), and without kopf's detour over the synchronous
    client and all its models.
    """
    if not is_in_cluster():
        return kopf.login_with_kubeconfig(settings=settings)
    info = kopf.login_with_service_account(settings=settings)
    host, port = os.environ[_SERVICE_HOST], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    host = f"[{host}]" if ":" in host else host
    return None if info is None else dataclasses.replace(info, server=f"https://{host}:{port}")


# Told of every call: its verb, its resource (`jobs`, `tuningjobs/status`), the HTTP status (0: no answer), and its seconds.
OnCall = Callable[[str, str, int, float], None]


def _uncounted(_verb: str, _resource: str, _status: int, _seconds: float) -> None:
    """Nobody counts."""


class KubeCluster:
    """See Cluster. An async context: the HTTP session lives in it."""

    def __init__(self, *, on_call: OnCall = _uncounted) -> None:
        self._on_call = on_call
        self._session: aiohttp.ClientSession | None = None
        self._server = ""
        self._credentials: dict[str, str] = {}
        self._read_at = 0.0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reset()

    async def _reset(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _connected(self) -> aiohttp.ClientSession:
        now = time.monotonic()
        if self._session is None or now - self._read_at >= _TOKEN_SECONDS:
            info = login(settings=kopf.OperatorSettings())
            if info is None:
                raise ApiError(0, "NoCredentials", "neither a service account's token nor a kubeconfig is there")
            self._server, self._credentials, self._read_at = info.server.rstrip("/"), info.as_http_headers(), now
            if self._session is None:
                # as kopf does: an API server is not reached through a proxy meant for the internet
                connector = aiohttp.TCPConnector(ssl=info.as_ssl_context())
                self._session = aiohttp.ClientSession(
                    connector=connector, timeout=aiohttp.ClientTimeout(total=REQUEST_SECONDS), trust_env=False
                )
        return self._session

    async def _call(
        self,
        verb: str,
        resource: str,
        namespace: str | None,
        name: str = "",
        *,
        body: Body | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = _JSON,
    ) -> Body:
        """One call, and once more with new credentials if they were refused. ``resource`` may name a subresource."""
        path = _path(resource, namespace, name)
        try:
            return await self._call_once(verb, resource, path, body=body, query=query, content_type=content_type)
        except ApiError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
        logger.info("the API server refused the credentials: reading them again")
        await self._reset()
        return await self._call_once(verb, resource, path, body=body, query=query, content_type=content_type)

    async def _call_once(
        self,
        verb: str,
        resource: str,
        path: str,
        *,
        body: Body | None,
        query: Mapping[str, str] | None,
        content_type: str,
    ) -> Body:
        session = self._connected()
        headers = {"Accept": _JSON, **self._credentials, **({"Content-Type": content_type} if body is not None else {})}
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        began, status = time.monotonic(), 0
        try:
            async with session.request(
                _METHODS[verb], f"{self._server}{path}", params=query, data=data, headers=headers
            ) as response:
                text = await response.read()
                status = response.status
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{type(error).__name__}: {error}") from error
        finally:
            self._on_call(verb, resource, status, time.monotonic() - began)
        if status >= HTTPStatus.BAD_REQUEST:
            raise _error(status, text)
        parsed: Body = json.loads(text)
        return parsed

    async def _list(self, resource: str, kind: str, namespace: str | None, *, labels: str = "") -> Listing:
        # items of a list of built-in kinds come without these two
        typed = {"apiVersion": _api(resource).removeprefix("/apis/").removeprefix("/api/"), "kind": kind}
        items: list[Body] = []
        query = {"limit": str(_PAGE), **({"labelSelector": labels} if labels else {})}
        while True:
            found = await self._call("list", resource, namespace, query=query)
            for item in found["items"]:
                # half of the bytes of a body, and nobody here reads them
                item["metadata"].pop("managedFields", None)
                items.append({**typed, **item})
            metadata = found.get("metadata", {})
            if not metadata.get("continue"):
                return Listing(tuple(items), str(metadata.get("resourceVersion", "")))
            query["continue"] = metadata["continue"]

    async def list_tuningjobs(self, namespace: str | None) -> Listing:
        """See Cluster."""
        return await self._list(PLURAL, "TuningJob", namespace)

    async def list_jobs(self, namespace: str | None) -> Listing:
        """See Cluster."""
        return await self._list("jobs", "Job", namespace, labels=names.MANAGED_SELECTOR)

    async def get_job(self, namespace: str, name: str) -> Body:
        """See Cluster."""
        return await self._call("get", "jobs", namespace, name)

    async def create_job(self, body: Body) -> Body:
        """See Cluster."""
        return await self._call("create", "jobs", _namespace(body), body=body)

    async def scale_job(self, namespace: str, name: str, *, uid: str, pods: int, deaths: int) -> Body:
        """See Cluster."""
        return await self._patch_job(namespace, name, uid=uid, spec=sized(pods, deaths=deaths))

    async def suspend_job(self, namespace: str, name: str, *, uid: str, suspend: bool) -> Body:
        """See Cluster."""
        return await self._patch_job(namespace, name, uid=uid, spec={"suspend": suspend})

    async def _patch_job(self, namespace: str, name: str, *, uid: str, spec: Body) -> Body:
        patch = {"metadata": {"uid": uid}, "spec": spec}
        return await self._call("patch", "jobs", namespace, name, body=patch, content_type=_MERGE_PATCH)

    async def delete_job(self, namespace: str, name: str, *, uid: str) -> None:
        """See Cluster."""
        await self._call("delete", "jobs", namespace, name, body=_deletion("Foreground", uid=uid))

    async def list_worker_pods(self, namespace: str, *, uid: str) -> tuple[Body, ...]:
        """See Cluster."""
        return (await self._list("pods", "Pod", namespace, labels=f"{names.LABEL_UID}={uid}")).items

    async def list_resource_quotas(self, namespace: str) -> tuple[Body, ...]:
        """See Cluster."""
        return (await self._list("resourcequotas", "ResourceQuota", namespace)).items

    async def list_limit_ranges(self, namespace: str) -> tuple[Body, ...]:
        """See Cluster."""
        return (await self._list("limitranges", "LimitRange", namespace)).items

    async def list_nodes(self) -> tuple[Body, ...]:
        """See Cluster."""
        return (await self._list("nodes", "Node", None)).items

    async def create_secret(self, body: Body) -> None:
        """See Cluster."""
        await self._call("create", "secrets", _namespace(body), body=body)

    async def get_configmap(self, namespace: str, name: str) -> Body:
        """See Cluster."""
        return await self._call("get", "configmaps", namespace, name)

    async def create_configmap(self, body: Body) -> None:
        """See Cluster."""
        await self._call("create", "configmaps", _namespace(body), body=body)

    async def replace_status(self, body: Body) -> Body:
        """See Cluster. A PUT: a merge patch would leave behind the keys that a new `best.params` no longer has."""
        return await self._call("update", f"{PLURAL}/status", _namespace(body), body["metadata"]["name"], body=body)

    async def delete_tuningjob(self, namespace: str, name: str, *, uid: str, resource_version: str) -> None:
        """See Cluster."""
        body = _deletion("Background", uid=uid, resourceVersion=resource_version)
        await self._call("delete", PLURAL, namespace, name, body=body)

    async def create_event(self, body: Body) -> None:
        """See Cluster."""
        await self._call("create", "events", _namespace(body), body=body)

    async def get_lease(self, namespace: str, name: str) -> Body:
        """See lease.Leases."""
        return await self._call("get", "leases", namespace, name)

    async def list_leases(self, labels: str) -> tuple[Body, ...]:
        """See lease.Leases."""
        return (await self._list("leases", "Lease", None, labels=labels)).items

    async def create_lease(self, body: Body) -> Body:
        """See lease.Leases."""
        return await self._call("create", "leases", _namespace(body), body=body)

    async def replace_lease(self, body: Body) -> Body:
        """See lease.Leases."""
        return await self._call("update", "leases", _namespace(body), body["metadata"]["name"], body=body)

    async def may(self, access: Access, namespace: str | None) -> bool:
        """See Cluster."""
        attributes = {
            "verb": access.verb,
            "group": access.group,
            "resource": access.resource,
            "subresource": access.subresource,
            "name": access.name,
            **({"namespace": namespace} if namespace is not None else {}),
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await self._call("create", "selfsubjectaccessreviews", None, body=review)
        return bool(answer.get("status", {}).get("allowed"))


def _namespace(body: Body) -> str:
    return str(body["metadata"]["namespace"])


def _api(resource: str) -> str:
    return _APIS.get(resource.partition("/")[0], "/api/v1")


def _path(resource: str, namespace: str | None, name: str) -> str:
    plural, _, subresource = resource.partition("/")
    within = "" if namespace is None else f"/namespaces/{quote(namespace)}"
    return "/".join(filter(None, (f"{_api(resource)}{within}", plural, quote(name), subresource)))


def _deletion(propagation: str, **preconditions: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": propagation,
        "preconditions": preconditions,
    }


def _error(status: int, text: bytes) -> ApiError:
    reason, message = "", text.decode(errors="replace")
    with contextlib.suppress(ValueError, AttributeError):
        told = json.loads(text)
        reason, message = told.get("reason", reason), told.get("message", message)
    if status == HTTPStatus.NOT_FOUND:
        return NotFound(status, reason, message)
    if status == HTTPStatus.CONFLICT:
        # not by the verb alone: a quota that another create has changed meanwhile answers a create with a Conflict
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
        return kind(status, reason, message)
    return ApiError(status, reason, message[:2_000])
