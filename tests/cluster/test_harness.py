"""The cluster is a real one: what the other tests take for granted of nodes, pods, limits, DNS and images."""

import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from .harness.client import Cluster, temporary_namespace
from .harness.shell import HarnessError

pytestmark = pytest.mark.cluster

ours = pytest.mark.skipif("TUNINGJOB_KUBECONFIG" in os.environ, reason="a promise of our own cluster's network alone")

# Runs in a pod and prints what it finds there; only the standard library is in both images.
LOOK_AROUND = """
import getpass, importlib.util, json, os, pathlib, socket
def installed(name):
    return importlib.util.find_spec(name) is not None
def compiled(name):
    path = pathlib.Path(importlib.util.cache_from_source(importlib.util.find_spec(name).origin))
    return path.exists() and path.read_bytes()[4] == 1  # PEP 552: hash-based and unchecked, so never out of date
def writable(path):
    return os.access(path, os.W_OK)
print(json.dumps({
    "user": (os.getuid(), getpass.getuser()),
    "root_is_writable": writable("/"),
    "dns": socket.gethostbyname("kubernetes.default.svc.cluster.local"),
    "routes": [line.split()[1] for line in open("/proc/net/route").readlines()[1:]],
    "cpus": __import__("joblib").cpu_count() if installed("joblib") else None,
    "installed": [name for name in
        ("tuningjob", "tuningjob_operator", "sklearn", "numpy", "kopf", "kubernetes", "pip") if installed(name)],
    "not_compiled": [name for name in ("tuningjob", "pydantic", "sklearn") if installed(name) and not compiled(name)],
}))
"""


@pytest.fixture(scope="module")
def found(cluster: Cluster) -> Iterator[dict[str, dict[str, Any]]]:
    """What a pod sees: a worker on each node, and an operator."""
    pods = {f"worker-on-{node}": pod(cluster.worker_image, node=node) for node in cluster.nodes}
    pods["operator"] = pod(cluster.operator_image, node=cluster.nodes[0])
    with temporary_namespace(cluster, f"look-around-{uuid.uuid4().hex[:6]}") as namespace:
        cluster.apply(*({**body, "metadata": {"name": name}} for name, body in pods.items()), namespace=namespace)
        for name in pods:
            wait_for_success(cluster, name, namespace)
        yield {name: json.loads(cluster.kubectl("logs", name, namespace=namespace)) for name in pods}


def pod(image: str, *, node: str) -> dict[str, Any]:
    """A pod as a restricted namespace admits it, on a node, with one core."""
    container = {
        "name": "look",
        "image": image,
        "command": ["python3", "-c", LOOK_AROUND],
        "resources": {"limits": {"cpu": "1", "memory": "512Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "nodeSelector": {"kubernetes.io/hostname": node},
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }


def wait_for_success(cluster: Cluster, name: str, namespace: str) -> None:
    def succeeded() -> bool:
        found = cluster.get("pod", name, namespace=namespace) or {}
        return bool(found.get("status", {}).get("phase") == "Succeeded")

    cluster.wait_for(f"pod {name} to succeed", succeeded, namespace=namespace)


def test_both_nodes_are_ready(cluster: Cluster) -> None:
    ready = [
        node["metadata"]["name"]
        for node in cluster.items("nodes")
        for condition in node["status"]["conditions"]
        if condition["type"] == "Ready" and condition["status"] == "True"
    ]
    assert sorted(ready) == sorted(cluster.nodes)
    assert len(ready) >= 2


def test_a_pod_runs_on_every_node_without_root_and_on_a_read_only_disk(
    cluster: Cluster, found: dict[str, dict[str, Any]]
) -> None:
    assert len(found) == len(cluster.nodes) + 1
    assert [seen["user"] for seen in found.values()] == [[65532, "tuningjob"]] * len(found)
    assert not any(seen["root_is_writable"] for seen in found.values())


def test_a_pod_sees_its_cpu_limit_and_not_the_nodes_cores(found: dict[str, dict[str, Any]]) -> None:
    assert {seen["cpus"] for name, seen in found.items() if name != "operator"} == {1}


def test_a_services_name_resolves_on_every_node(cluster: Cluster, found: dict[str, dict[str, Any]]) -> None:
    address = (cluster.get("service", "kubernetes", namespace="default") or {})["spec"]["clusterIP"]
    assert {seen["dns"] for seen in found.values()} == {address}


@ours
def test_no_pod_has_a_way_out_of_the_machine(found: dict[str, dict[str, Any]]) -> None:
    default = "00000000"
    assert not any(default in seen["routes"] for seen in found.values())


def test_each_image_carries_its_own_half_and_no_more(found: dict[str, dict[str, Any]]) -> None:
    operator = set(found["operator"]["installed"])
    assert operator >= {"tuningjob", "tuningjob_operator", "kopf"}
    # kopf imports the official client wherever it is installed: 28 MiB
    assert not operator & {"numpy", "sklearn", "pip", "kubernetes"}
    for worker in (set(seen["installed"]) for name, seen in found.items() if name != "operator"):
        assert worker >= {"tuningjob", "sklearn", "numpy"}
        assert not worker & {"kopf", "kubernetes", "pip"}


def test_images_carry_their_bytecode(found: dict[str, dict[str, Any]]) -> None:
    assert [seen["not_compiled"] for seen in found.values()] == [[]] * len(found)


def test_a_pod_that_is_not_restricted_is_refused(cluster: Cluster, namespace: str) -> None:
    body = pod(cluster.worker_image, node=cluster.nodes[0])
    del body["spec"]["securityContext"]
    with pytest.raises(HarnessError, match="violates PodSecurity"):
        cluster.apply({**body, "metadata": {"name": "root"}}, namespace=namespace)
