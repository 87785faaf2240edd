"""``ClusterApi`` over aiohttp, which kopf brings, and the credentials for it and for kopf.

Without the official client: it is 28 MiB in memory and 126 on the disk, of which a session, a token and a certificate would be
used, and kopf has those. Bodies are plain JSON in and out; what comes in is cut to its bounds before it is decoded (``reading``).

Tokens expire: a pod's is read again every minute, and on a 401 everything is built anew, once.
"""

import asyncio
import contextlib
import dataclasses
import json
import logging
import os
import time
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self, TypeVar, overload
from urllib.parse import quote

import aiohttp
import kopf
from pydantic_core import from_json
from typing_extensions import override

from tuningjob.manifest.bounds import MAX_SPEC_BYTES
from tuningjob.manifest.wellknown import API_VERSION, GROUP, KIND, PLURAL, VERSION
from tuningjob_operator import names
from tuningjob_operator.cluster.aside import LARGE_BYTES, READING
from tuningjob_operator.cluster.contract import (
    AlreadyExists,
    ApiError,
    ClusterApi,
    Conflict,
    Listing,
    NotFound,
    Permission,
)
from tuningjob_operator.decide.job import sized
from tuningjob_operator.objects import Body
from tuningjob_operator.reading import KEPT_SPEC_BYTES, ListSplitter, slim

logger = logging.getLogger(__name__)

R = TypeVar("R")

REQUEST_SECONDS: Final = 30
_PAGE: Final = 100
# Of pods, quotas, limit ranges, nodes and Leases.
_MOST_ITEMS: Final = 2_500
# Of the answer to a list: so much is looked through before the loop has its turn.
_CHUNK_BYTES: Final = 64 * 2**10
_METHODS: Final = {
    "get": "GET",
    "list": "GET",
    "create": "POST",
    "update": "PUT",
    "patch": "PATCH",
    "delete": "DELETE",
}
_IDENTITY: Final = ("name", "namespace", "uid", "resourceVersion")
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
    """Do not count."""


class KubeCluster(ClusterApi):
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
        content_type: str = _JSON,
    ) -> Body:
        """One call. ``resource`` may name a subresource."""
        path = _path(resource, namespace, name)

        async def read(response: aiohttp.ClientResponse) -> Body:
            text = await response.read()
            return await read_slim(text)

        return await self._ask(verb, resource, path, read, body=body, content_type=content_type)

    async def _ask(
        self,
        verb: str,
        resource: str,
        path: str,
        read: Callable[[aiohttp.ClientResponse], Awaitable[R]],
        *,
        body: Body | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = _JSON,
    ) -> R:
        """One call, and once more with new credentials if they were refused. ``read``: what is made of a good answer."""
        try:
            return await self._ask_once(verb, resource, path, read, body=body, query=query, content_type=content_type)
        except ApiError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
        logger.info("the API server refused the credentials: reading them again")
        await self._reset()
        return await self._ask_once(verb, resource, path, read, body=body, query=query, content_type=content_type)

    async def _ask_once(
        self,
        verb: str,
        resource: str,
        path: str,
        read: Callable[[aiohttp.ClientResponse], Awaitable[R]],
        *,
        body: Body | None,
        query: Mapping[str, str] | None,
        content_type: str,
    ) -> R:
        session = self._connected()
        headers = {"Accept": _JSON, **self._credentials, **({"Content-Type": content_type} if body is not None else {})}
        data = None if body is None else json.dumps(body, separators=(",", ":")).encode()
        began, status = time.monotonic(), 0
        try:
            async with session.request(
                _METHODS[verb], f"{self._server}{path}", params=query, data=data, headers=headers
            ) as response:
                if response.status >= HTTPStatus.BAD_REQUEST:
                    text = await response.read()
                    status = response.status
                    raise _error(status, text)
                answer = await read(response)
                status = response.status
                return answer
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{type(error).__name__}: {error}") from error
        except ValueError as error:
            raise ApiError(status, "Unreadable", f"the answer to {verb} {resource}: {error}") from error
        finally:
            self._on_call(verb, resource, status, time.monotonic() - began)

    async def _pages(self, resource: str, kind: str, namespace: str | None, **query: str) -> AsyncIterator[Listing]:
        pages = {"limit": str(_PAGE), **query}
        while True:
            items: list[bytes] = []
            found = await self._ask("list", resource, _path(resource, namespace, ""), _reader(kind, items), query=pages)
            metadata = found.get("metadata", {})
            yield Listing(_Packed(items, resource, kind), str(metadata.get("resourceVersion", "")))
            if not metadata.get("continue"):
                return
            pages["continue"] = metadata["continue"]

    async def _list(self, resource: str, kind: str, namespace: str | None, **query: str) -> tuple[Body, ...]:
        """All of them, up to a number that is far beyond what there is need for: a tenant may make any number."""
        found: list[Body] = []
        async for page in self._pages(resource, kind, namespace, **query):
            found += page.items
            if len(found) >= _MOST_ITEMS:
                logger.warning(
                    "only the first objects of a list were read", extra={"resource": resource, "of": namespace}
                )
                break
        return tuple(found)

    @override
    def list_tuningjobs(self, namespace: str | None) -> AsyncIterator[Listing]:
        return self._pages(PLURAL, KIND, namespace)

    async def get_tuningjob(self, namespace: str, name: str, *, whole: bool = True) -> Body:
        """See Cluster. By a list of one: no right is needed for it that the operator does not have."""
        splitter = ListSplitter()
        spec_bytes = MAX_SPEC_BYTES if whole else KEPT_SPEC_BYTES

        async def read(response: aiohttp.ClientResponse) -> list[Body]:
            return [
                await read_slim(text, kind=KIND, spec_bytes=spec_bytes)
                async for text in split(splitter, response.content)
            ]

        only = {"fieldSelector": f"metadata.name={name}"}
        found = await self._ask("list", PLURAL, _path(PLURAL, namespace, ""), read, query=only)
        if not found:
            raise NotFound(HTTPStatus.NOT_FOUND, "NotFound", f"the TuningJob {namespace}/{name} is not there")
        return found[0]

    @override
    def list_jobs(self, namespace: str | None) -> AsyncIterator[Listing]:
        return self._pages("jobs", "Job", namespace, labelSelector=names.MANAGED_SELECTOR)

    @override
    async def get_job(self, namespace: str, name: str) -> Body:
        return await self._call("get", "jobs", namespace, name)

    @override
    async def create_job(self, body: Body) -> Body:
        return await self._call("create", "jobs", _namespace(body), body=body)

    @override
    async def scale_job(self, namespace: str, name: str, *, uid: str, pods: int, deaths: int) -> Body:
        return await self._patch_job(namespace, name, uid=uid, spec=sized(pods, deaths=deaths))

    @override
    async def suspend_job(self, namespace: str, name: str, *, uid: str, suspend: bool) -> Body:
        return await self._patch_job(namespace, name, uid=uid, spec={"suspend": suspend})

    async def _patch_job(self, namespace: str, name: str, *, uid: str, spec: Body) -> Body:
        patch = {"metadata": {"uid": uid}, "spec": spec}
        return await self._call("patch", "jobs", namespace, name, body=patch, content_type=_MERGE_PATCH)

    @override
    async def delete_job(self, namespace: str, name: str, *, uid: str) -> None:
        await self._call("delete", "jobs", namespace, name, body=_deletion("Foreground", uid=uid))

    @override
    async def list_worker_pods(self, namespace: str, *, uid: str) -> tuple[Body, ...]:
        return await self._list("pods", "Pod", namespace, labelSelector=f"{names.LABEL_UID}={uid}")

    @override
    async def list_resource_quotas(self, namespace: str) -> tuple[Body, ...]:
        return await self._list("resourcequotas", "ResourceQuota", namespace)

    @override
    async def list_limit_ranges(self, namespace: str) -> tuple[Body, ...]:
        return await self._list("limitranges", "LimitRange", namespace)

    @override
    async def list_nodes(self) -> tuple[Body, ...]:
        return await self._list("nodes", "Node", None)

    @override
    async def create_secret(self, body: Body) -> None:
        await self._call("create", "secrets", _namespace(body), body=body)

    @override
    async def get_configmap(self, namespace: str, name: str) -> Body:
        return await self._call("get", "configmaps", namespace, name)

    @override
    async def create_configmap(self, body: Body) -> None:
        await self._call("create", "configmaps", _namespace(body), body=body)

    async def replace_status(self, body: Body) -> Body:
        """See Cluster.

        A PUT: a merge patch would leave behind the keys that a new `best.params` no longer has. Without the spec, which the API
        server keeps as it is: however large that is, its status can be told.
        """
        metadata = {field: body["metadata"][field] for field in _IDENTITY if field in body["metadata"]}
        told = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "status": body["status"]}
        return await self._call("update", f"{PLURAL}/status", _namespace(body), metadata["name"], body=told)

    @override
    async def delete_tuningjob(self, namespace: str, name: str, *, uid: str, resource_version: str) -> None:
        body = _deletion("Background", uid=uid, resourceVersion=resource_version)
        await self._call("delete", PLURAL, namespace, name, body=body)

    @override
    async def create_event(self, body: Body) -> None:
        await self._call("create", "events", _namespace(body), body=body)

    async def get_lease(self, namespace: str, name: str) -> Body:
        """See lease.Leases."""
        return await self._call("get", "leases", namespace, name)

    async def list_leases(self, labels: str) -> tuple[Body, ...]:
        """See lease.Leases."""
        return await self._list("leases", "Lease", None, labelSelector=labels)

    async def create_lease(self, body: Body) -> Body:
        """See lease.Leases."""
        return await self._call("create", "leases", _namespace(body), body=body)

    async def replace_lease(self, body: Body) -> Body:
        """See lease.Leases."""
        return await self._call("update", "leases", _namespace(body), body["metadata"]["name"], body=body)

    @override
    async def may(self, access: Permission, namespace: str | None) -> bool:
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


def _reader(kind: str, items: list[bytes]) -> Callable[[aiohttp.ClientResponse], Awaitable[Body]]:
    """What reads a page: its items, compressed, into ``items``; it returns the rest."""

    async def read(response: aiohttp.ClientResponse) -> Body:
        splitter = ListSplitter()
        items.extend([zlib.compress(await _cut(text, kind), 1) async for text in split(splitter, response.content)])
        rest: Body = from_json(splitter.rest)
        return rest

    return read


async def split(splitter: ListSplitter, content: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """The items of a list, as they come in: one is in memory at a time, however many there are."""
    async for chunk in content.iter_chunked(_CHUNK_BYTES):
        for item in splitter.feed(chunk):
            yield item
        await asyncio.sleep(0)


async def read_slim(text: bytes, *, kind: str = "", spec_bytes: int = KEPT_SPEC_BYTES) -> Body:
    """An object, cut to its bounds and then decoded. Raises ValueError for what is none."""
    body: Body = from_json(await _cut(text, kind, spec_bytes))
    return body


async def _cut(text: bytes, kind: str, spec_bytes: int = KEPT_SPEC_BYTES) -> bytes:
    if len(text) <= LARGE_BYTES:
        return slim(text, kind=kind, spec_bytes=spec_bytes)
    return await READING.run(slim, text, kind=kind, spec_bytes=spec_bytes)


def typed(item: Body, resource: str, kind: str) -> Body:
    """An item of a list, with the two fields that those of built-in kinds come without."""
    return {"apiVersion": _api(resource).removeprefix("/apis/").removeprefix("/api/"), "kind": kind, **item}


class _Packed(Sequence[Body]):
    """Items of a list, decoded one by one when they are looked at: thousands of them at once would be all of our memory."""

    def __init__(self, items: Sequence[bytes], resource: str, kind: str) -> None:
        self._items = items
        self._resource = resource
        self._kind = kind

    def __len__(self) -> int:
        return len(self._items)

    @overload
    def __getitem__(self, index: int) -> Body: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Body]: ...

    def __getitem__(self, index: int | slice) -> Body | Sequence[Body]:
        if isinstance(index, slice):
            return _Packed(self._items[index], self._resource, self._kind)
        return typed(from_json(zlib.decompress(self._items[index])), self._resource, self._kind)


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
    reason, message = "", text[:2_000].decode(errors="replace")
    with contextlib.suppress(ValueError, AttributeError):
        told = from_json(text)
        reason, message = told.get("reason", reason), told.get("message", message)
    if status == HTTPStatus.NOT_FOUND:
        return NotFound(status, reason, message)
    if status == HTTPStatus.CONFLICT:
        # not by the verb alone: a quota that another create has changed meanwhile answers a create with a Conflict
        kind = AlreadyExists if reason == "AlreadyExists" else Conflict
        return kind(status, reason, message)
    return ApiError(status, reason, message[:2_000])
