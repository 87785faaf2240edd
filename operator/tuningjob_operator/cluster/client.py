"""``ClusterApi`` over HTTP: what the operator does in the cluster, each call a method.

The official client takes 28 MiB of memory and 126 MiB of disk, and we would use only its session, token and certificate, which
kopf has too. Bodies are plain JSON in and out; what comes in is cut to its bounds before it is decoded (``reading``).
"""

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final, Self

import aiohttp
from typing_extensions import override

from tuningjob.manifest.bounds import MAX_SPEC_BYTES
from tuningjob.manifest.wellknown import API_VERSION, KIND, PLURAL
from tuningjob_operator import names
from tuningjob_operator.cluster.answers import read_slim, split
from tuningjob_operator.cluster.contract import ClusterApi, Listing, NotFound, Permission
from tuningjob_operator.cluster.http import MERGE_PATCH, HttpApi, OnCall
from tuningjob_operator.cluster.paths import path_of
from tuningjob_operator.decide.job import sized
from tuningjob_operator.objects import Body, ignore
from tuningjob_operator.reading import KEPT_SPEC_BYTES, ListSplitter

_IDENTITY: Final = ("name", "namespace", "uid", "resourceVersion")


class KubeCluster(ClusterApi):
    """The cluster as the operator knows it. An async context: the HTTP session lives in it."""

    def __init__(self, *, on_call: OnCall = ignore) -> None:
        self._http = HttpApi(on_call=on_call)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._http.__aexit__(*error)

    @override
    def list_tuningjobs(self, namespace: str | None) -> AsyncIterator[Listing]:
        return self._http.pages(PLURAL, KIND, namespace)

    @override
    async def get_tuningjob(self, namespace: str, name: str, *, whole: bool = True) -> Body:
        """Read it by a list of one, which needs no right that the operator does not have."""
        splitter = ListSplitter()
        spec_bytes = MAX_SPEC_BYTES if whole else KEPT_SPEC_BYTES

        async def read(response: aiohttp.ClientResponse) -> list[Body]:
            return [
                await read_slim(text, kind=KIND, spec_bytes=spec_bytes)
                async for text in split(splitter, response.content)
            ]

        only = {"fieldSelector": f"metadata.name={name}"}
        found = await self._http.ask("list", PLURAL, path_of(PLURAL, namespace), read, query=only)
        if not found:
            raise NotFound(HTTPStatus.NOT_FOUND, "NotFound", f"the TuningJob {namespace}/{name} is not there")
        return found[0]

    @override
    def list_jobs(self, namespace: str | None) -> AsyncIterator[Listing]:
        return self._http.pages("jobs", "Job", namespace, labelSelector=names.MANAGED_SELECTOR)

    @override
    async def get_job(self, namespace: str, name: str) -> Body:
        return await self._http.call("get", "jobs", namespace, name)

    @override
    async def create_job(self, body: Body) -> Body:
        return await self._http.call("create", "jobs", _namespace(body), body=body)

    @override
    async def scale_job(self, namespace: str, name: str, *, uid: str, pods: int, deaths: int) -> Body:
        return await self._patch_job(namespace, name, uid=uid, spec=sized(pods, deaths=deaths))

    @override
    async def suspend_job(self, namespace: str, name: str, *, uid: str, suspend: bool) -> Body:
        return await self._patch_job(namespace, name, uid=uid, spec={"suspend": suspend})

    async def _patch_job(self, namespace: str, name: str, *, uid: str, spec: Body) -> Body:
        patch = {"metadata": {"uid": uid}, "spec": spec}
        return await self._http.call("patch", "jobs", namespace, name, body=patch, content_type=MERGE_PATCH)

    @override
    async def delete_job(self, namespace: str, name: str, *, uid: str) -> None:
        await self._http.call("delete", "jobs", namespace, name, body=_deletion("Foreground", uid=uid))

    @override
    async def list_worker_pods(self, namespace: str, *, uid: str) -> tuple[Body, ...]:
        return await self._http.all_of("pods", "Pod", namespace, labelSelector=f"{names.LABEL_UID}={uid}")

    @override
    async def list_resource_quotas(self, namespace: str) -> tuple[Body, ...]:
        return await self._http.all_of("resourcequotas", "ResourceQuota", namespace)

    @override
    async def list_limit_ranges(self, namespace: str) -> tuple[Body, ...]:
        return await self._http.all_of("limitranges", "LimitRange", namespace)

    @override
    async def list_nodes(self) -> tuple[Body, ...]:
        return await self._http.all_of("nodes", "Node", None)

    @override
    async def create_secret(self, body: Body) -> None:
        await self._http.call("create", "secrets", _namespace(body), body=body)

    @override
    async def get_configmap(self, namespace: str, name: str) -> Body:
        return await self._http.call("get", "configmaps", namespace, name)

    @override
    async def create_configmap(self, body: Body) -> None:
        await self._http.call("create", "configmaps", _namespace(body), body=body)

    @override
    async def replace_status(self, body: Body) -> Body:
        """Write it by a PUT, because a merge patch would leave behind the keys that a new `best.params` no longer has.

        The spec is left out, and the API server keeps it as it is: the status can be written however large the spec is.
        """
        metadata = {field: body["metadata"][field] for field in _IDENTITY if field in body["metadata"]}
        told = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "status": body["status"]}
        return await self._http.call("update", f"{PLURAL}/status", _namespace(body), metadata["name"], body=told)

    @override
    async def delete_tuningjob(self, namespace: str, name: str, *, uid: str, resource_version: str) -> None:
        body = _deletion("Background", uid=uid, resourceVersion=resource_version)
        await self._http.call("delete", PLURAL, namespace, name, body=body)

    @override
    async def create_event(self, body: Body) -> None:
        await self._http.call("create", "events", _namespace(body), body=body)

    async def get_lease(self, namespace: str, name: str) -> Body:
        """Read one Lease."""
        return await self._http.call("get", "leases", namespace, name)

    async def list_leases(self, labels: str) -> tuple[Body, ...]:
        """The Leases of all namespaces that carry the labels."""
        return await self._http.all_of("leases", "Lease", None, labelSelector=labels)

    async def create_lease(self, body: Body) -> Body:
        """Create a Lease. AlreadyExists if there is one of its name."""
        return await self._http.call("create", "leases", _namespace(body), body=body)

    async def replace_lease(self, body: Body) -> Body:
        """Write a Lease over the version that was read. Conflict if another write came between."""
        return await self._http.call("update", "leases", _namespace(body), body["metadata"]["name"], body=body)

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
        answer = await self._http.call("create", "selfsubjectaccessreviews", None, body=review)
        return bool(answer.get("status", {}).get("allowed"))


def _namespace(body: Body) -> str:
    return str(body["metadata"]["namespace"])


def _deletion(propagation: str, **preconditions: str) -> Body:
    return {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": propagation,
        "preconditions": preconditions,
    }
