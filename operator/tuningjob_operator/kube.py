"""``Cluster`` over the official client's asyncio half, and the credentials for it and for kopf.

The client is young, and its generated models would cost 30 MiB and a validation of every body: only its configuration
(in a pod, or KUBECONFIG), its authentication and its HTTP session are used. Bodies are plain JSON in and out.

Tokens expire: the client reads a pod's token again every minute, and on a 401 everything is built anew, once.
"""

import contextlib
import dataclasses
import json
import logging
import os
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote

import aiohttp
import kopf
from kubernetes.aio import config
from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration

from tuningjob.spec.wellknown import GROUP, PLURAL, VERSION
from tuningjob_operator import names
from tuningjob_operator.cluster import Access, AlreadyExists, ApiError, Conflict, Listing, NotFound
from tuningjob_operator.job import sized
from tuningjob_operator.objects import Body

logger = logging.getLogger(__name__)

REQUEST_SECONDS: Final = 30
_PAGE: Final = 500
_JSON: Final = "application/json"
_MERGE_PATCH: Final = "application/merge-patch+json"
_TUNINGJOBS: Final = f"/apis/{GROUP}/{VERSION}"
_SERVICE_HOST: Final = "KUBERNETES_SERVICE_HOST"  # written by the kubelet into every pod


def is_in_cluster() -> bool:
    """Whether this process runs in a pod with a service account's token."""
    return _SERVICE_HOST in os.environ and Path(config.incluster_config.SERVICE_TOKEN_FILENAME).exists()


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


class KubeCluster:
    """See Cluster. An async context: the HTTP session lives in it."""

    def __init__(self) -> None:
        self._client: ApiClient | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._reset()

    async def _reset(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.close()  # type: ignore[no-untyped-call]

    async def _connected(self) -> ApiClient:
        if self._client is None:
            configuration = Configuration()
            # as kopf does: an API server is not reached through a proxy meant for the internet
            configuration.client_session_kwargs = {"trust_env": False}
            if is_in_cluster():
                config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                await config.load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=os.environ.get("KUBECONFIG"), client_configuration=configuration, persist_config=False
                )
            self._client = ApiClient(configuration)
        return self._client

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Body | None = None,
        query: Mapping[str, str] | None = None,
        content_type: str = _JSON,
    ) -> Body:
        try:
            return await self._call_once(method, path, body=body, query=query, content_type=content_type)
        except ApiError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
        logger.info("the API server refused the credentials: reading them again")
        await self._reset()
        return await self._call_once(method, path, body=body, query=query, content_type=content_type)

    async def _call_once(
        self, method: str, path: str, *, body: Body | None, query: Mapping[str, str] | None, content_type: str
    ) -> Body:
        client = await self._connected()
        headers = {"Accept": _JSON, **({"Content-Type": content_type} if body is not None else {})}
        request = await client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        try:
            response = await client.call_api(*request, _request_timeout=REQUEST_SECONDS)
            text = await response.read()  # type: ignore[no-untyped-call]
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ApiError(0, "Unreachable", f"{type(error).__name__}: {error}") from error
        if response.status >= HTTPStatus.BAD_REQUEST:
            raise _error(response.status, text, method=method)
        parsed: Body = json.loads(text)
        return parsed

    async def _list(self, path: str, query: Mapping[str, str], *, api_version: str, kind: str) -> Listing:
        items: list[Body] = []
        page: dict[str, str] = {"limit": str(_PAGE)}
        while True:
            found = await self._call("GET", path, query={**query, **page})
            # items of a list of built-in kinds come without these two
            items.extend({"apiVersion": api_version, "kind": kind, **item} for item in found["items"])
            metadata = found.get("metadata", {})
            if not metadata.get("continue"):
                return Listing(tuple(items), str(metadata.get("resourceVersion", "")))
            page["continue"] = metadata["continue"]

    async def list_tuningjobs(self, namespace: str | None) -> Listing:
        """See Cluster."""
        path = f"{_TUNINGJOBS}{_within(namespace)}/{PLURAL}"
        return await self._list(path, {}, api_version=f"{GROUP}/{VERSION}", kind="TuningJob")

    async def list_jobs(self, namespace: str | None) -> Listing:
        """See Cluster."""
        query = {"labelSelector": names.MANAGED_SELECTOR}
        return await self._list(f"/apis/batch/v1{_within(namespace)}/jobs", query, api_version="batch/v1", kind="Job")

    async def get_job(self, namespace: str, name: str) -> Body:
        """See Cluster."""
        return await self._call("GET", f"/apis/batch/v1{_within(namespace)}/jobs/{quote(name)}")

    async def create_job(self, body: Body) -> Body:
        """See Cluster."""
        return await self._call("POST", f"/apis/batch/v1{_within(_namespace(body))}/jobs", body=body)

    async def scale_job(self, namespace: str, name: str, *, uid: str, pods: int, deaths: int) -> Body:
        """See Cluster."""
        patch = {"metadata": {"uid": uid}, "spec": sized(pods, deaths=deaths)}
        path = f"/apis/batch/v1{_within(namespace)}/jobs/{quote(name)}"
        return await self._call("PATCH", path, body=patch, content_type=_MERGE_PATCH)

    async def list_job_pods(self, namespace: str, *, job_uid: str) -> tuple[Body, ...]:
        """See Cluster."""
        query = {"labelSelector": f"{names.LABEL_JOB_UID}={job_uid}"}
        listing = await self._list(f"/api/v1{_within(namespace)}/pods", query, api_version="v1", kind="Pod")
        return listing.items

    async def create_secret(self, body: Body) -> None:
        """See Cluster."""
        await self._call("POST", f"/api/v1{_within(_namespace(body))}/secrets", body=body)

    async def get_configmap(self, namespace: str, name: str) -> Body:
        """See Cluster."""
        return await self._call("GET", f"/api/v1{_within(namespace)}/configmaps/{quote(name)}")

    async def create_configmap(self, body: Body) -> None:
        """See Cluster."""
        await self._call("POST", f"/api/v1{_within(_namespace(body))}/configmaps", body=body)

    async def replace_status(self, body: Body) -> Body:
        """See Cluster. A PUT: a merge patch would leave behind the keys that a new `best.params` no longer has."""
        name = quote(body["metadata"]["name"])
        return await self._call("PUT", f"{_TUNINGJOBS}{_within(_namespace(body))}/{PLURAL}/{name}/status", body=body)

    async def create_event(self, body: Body) -> None:
        """See Cluster."""
        await self._call("POST", f"/api/v1{_within(_namespace(body))}/events", body=body)

    async def may(self, access: Access, namespace: str | None) -> bool:
        """See Cluster."""
        attributes = {
            "verb": access.verb,
            "group": access.group,
            "resource": access.resource,
            "subresource": access.subresource,
            **({"namespace": namespace} if namespace is not None else {}),
        }
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": attributes},
        }
        answer = await self._call("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
        return bool(answer.get("status", {}).get("allowed"))


def _namespace(body: Body) -> str:
    return str(body["metadata"]["namespace"])


def _within(namespace: str | None) -> str:
    return "" if namespace is None else f"/namespaces/{quote(namespace)}"


def _error(status: int, text: bytes, *, method: str) -> ApiError:
    reason, message = "", text.decode(errors="replace")
    with contextlib.suppress(ValueError, AttributeError):
        told = json.loads(text)
        reason, message = told.get("reason", reason), told.get("message", message)
    if status == HTTPStatus.NOT_FOUND:
        return NotFound(status, reason, message)
    if status == HTTPStatus.CONFLICT:
        return AlreadyExists(status, reason, message) if method == "POST" else Conflict(status, reason, message)
    return ApiError(status, reason, message[:2_000])
