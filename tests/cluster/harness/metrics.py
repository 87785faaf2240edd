"""A number that HorizontalPodAutoscalers may go by: an API of external metrics with one value, which the test sets.

In a cluster of some size an adapter stands here, of Prometheus say; the autoscaler that asks is Kubernetes' own.
"""

import base64
import contextlib
import datetime as dt
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.servers.certificates import make_authority, make_certificate

from .client import Cluster
from .layout import HOST_ADDRESS

_GROUP = "external.metrics.k8s.io"
_VERSION = "v1beta1"
_NAME = "test-metrics"
_NAMESPACE = "kube-system"
_API_SERVICE = f"{_VERSION}.{_GROUP}"


@dataclass
class Metric:
    """What autoscalers are told of the metric of this name, in every namespace."""

    name: str
    value: int


@contextlib.contextmanager
def served(cluster: Cluster, metric: Metric, certificates: Path) -> Iterator[None]:
    """The API server hands questions for the metric on to this process. ``certificates``: a folder to make some in."""
    make_authority(certificates, f"DNS:{_NAME}.{_NAMESPACE}.svc")
    make_certificate(certificates)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "tls.crt", certificates / "tls.key")
    server = ThreadingHTTPServer((HOST_ADDRESS, 0), _handler(metric))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        cluster.apply(*_registration(int(server.server_address[1]), (certificates / "ca.crt").read_bytes()))
        cluster.kubectl("wait", "--for=condition=Available", "--timeout=300s", "apiservice", _API_SERVICE)
        yield
    finally:
        # before the server goes: with an API that does not answer no namespace can be deleted
        cluster.kubectl("delete", "apiservice", _API_SERVICE, "--ignore-not-found")
        cluster.kubectl("delete", "service", _NAME, "--ignore-not-found", namespace=_NAMESPACE)
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(metric: Metric) -> type[BaseHTTPRequestHandler]:
    group_version = f"{_GROUP}/{_VERSION}"
    root = f"/apis/{group_version}"

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found = self._found(self.path.partition("?")[0])
            body = json.dumps(found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def _found(self, path: str) -> dict[str, Any] | None:
            if path == root:
                kind = {"kind": "ExternalMetricValueList", "namespaced": True, "singularName": "", "verbs": ["get"]}
                resources = [{"name": metric.name, **kind}]
                return {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": group_version,
                    "resources": resources,
                }
            if path.startswith(f"{root}/namespaces/") and path.endswith(f"/{metric.name}"):
                now = dt.datetime.now(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                item = {"metricName": metric.name, "metricLabels": {}, "timestamp": now, "value": str(metric.value)}
                return {
                    "kind": "ExternalMetricValueList",
                    "apiVersion": group_version,
                    "metadata": {},
                    "items": [item],
                }
            return None

        def log_message(self, *_: object) -> None:
            """Nobody reads along."""

    return Handler


def _registration(port: int, authority: bytes) -> tuple[dict[str, Any], ...]:
    where = {"name": _NAME, "namespace": _NAMESPACE}
    return (
        {"apiVersion": "v1", "kind": "Service", "metadata": where, "spec": {"ports": [{"port": port}]}},
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**where, "labels": {"kubernetes.io/service-name": _NAME}},
            "addressType": "IPv4",
            "ports": [{"port": port, "protocol": "TCP"}],
            "endpoints": [{"addresses": [HOST_ADDRESS]}],
        },
        {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": _API_SERVICE},
            "spec": {
                "group": _GROUP,
                "version": _VERSION,
                "groupPriorityMinimum": 100,
                "versionPriority": 100,
                "caBundle": base64.b64encode(authority).decode(),
                "service": {**where, "port": port},
            },
        },
    )
