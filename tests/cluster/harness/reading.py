"""Objects of our own cluster, read over one HTTPS request each.

A wait asks again and again, and each kubectl costs a third of a second of a CPU that the cluster needs for itself.
"""

import functools
import http
import json
import ssl
from collections.abc import Mapping
from typing import Any, Final

import httpx

from . import pki
from .layout import API_PORT, CONTROL_PLANE_ADDRESS
from .shell import HarnessError

_CORE: Final = "api/v1"
# What the tests wait for, by the names that kubectl has for it: the API's group and version, and the plural.
_KINDS: Final[Mapping[str, tuple[str, str]]] = {
    name: (group, plural)
    for group, plural, *names in (
        (_CORE, "pods", "pod"),
        (_CORE, "configmaps", "configmap"),
        (_CORE, "events"),
        (_CORE, "namespaces", "namespace"),
        (_CORE, "nodes"),
        (_CORE, "persistentvolumes"),
        (_CORE, "resourcequotas", "resourcequota"),
        (_CORE, "secrets", "secret"),
        (_CORE, "serviceaccounts", "serviceaccount"),
        (_CORE, "services", "service"),
        ("apis/apps/v1", "deployments"),
        ("apis/batch/v1", "jobs", "job"),
        ("apis/coordination.k8s.io/v1", "leases", "lease"),
        ("apis/tuningjob.dev/v1alpha1", "tuningjobs", "tj"),
    )
    for name in (plural, *names)
}
_OF_NO_NAMESPACE: Final = frozenset({"namespaces", "nodes", "persistentvolumes"})


def can_read(*words: str) -> bool:
    """Whether these words of ``kubectl get`` are a kind, and at most a name or a label selector, that is known here."""
    kind, *rest = words
    return kind in _KINDS and ((len(rest) < 2 and not "".join(rest).startswith("-")) or rest[:-1] == ["-l"])


def read(*words: str, namespace: str | None) -> dict[str, Any] | None:
    """The object, or the list of objects; None if the one that is named does not exist.

    Raises HarnessError if the API server cannot be reached or refuses, RecursionError if the answer is nested too deeply for
    Python's decoder.
    """
    kind, *rest = words
    group, plural = _KINDS[kind]
    where = "" if plural in _OF_NO_NAMESPACE else f"namespaces/{namespace or 'default'}/"
    name = f"/{rest[0]}" if len(rest) == 1 else ""
    selector = {"labelSelector": rest[1]} if len(rest) == 2 else {}
    url = f"https://{CONTROL_PLANE_ADDRESS}:{API_PORT}/{group}/{where}{plural}{name}"
    try:
        # a connection each: the tests restart the API server
        with httpx.Client(verify=_context(pki.FOLDER.stat().st_ctime_ns), trust_env=False, timeout=60) as client:
            answer = client.get(url, params=selector)
    except httpx.HTTPError as error:
        raise HarnessError(f"{url}: {error!r}") from error
    if answer.status_code == http.HTTPStatus.NOT_FOUND:
        if name:
            return None
        raise HarnessError(f"{url}: the server has no such kind")
    if answer.is_error:
        raise HarnessError(f"{url}: {answer.status_code} {answer.text[:1_000]}")
    found: dict[str, Any] = json.loads(answer.content)
    return found


@functools.cache
def _context(_made: int) -> ssl.SSLContext:
    """The administrator's way in; each run of a cluster has its own authority."""
    context = ssl.create_default_context(cafile=str(pki.FOLDER / "ca.crt"))
    context.load_cert_chain(pki.FOLDER / "admin.crt", pki.FOLDER / "admin.key")
    return context
