"""The chart's NetworkPolicies, where the network enforces them: who reaches what, and that a search needs no more."""

import contextlib
import json
import uuid
from collections.abc import Iterator
from typing import Any, Final

import pytest

from .harness import policies
from .harness import release as product
from .harness.client import Cluster, temporary_namespace
from .harness.layout import API_SERVICE_ADDRESS, RELEASE, SYSTEM_NAMESPACE
from .harness.release import Release
from .test_harness import ours
from .test_search import assert_equal_to_scikit_learn, is_complete
from .tuningjobs import TuningJobs

pytestmark = [pytest.mark.cluster, ours]

Document = dict[str, Any]

PORT: Final = 9000
# Listens for ever, so that there is somebody to be reached, and is reached into to try who else can be.
LISTEN: Final = (
    f"import http.server; http.server.HTTPServer(('', {PORT}), http.server.BaseHTTPRequestHandler).serve_forever()"
)
TRY: Final = """
import json, socket, sys
def reaches(host, port):
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True
print(json.dumps({name: reaches(*target) for name, target in json.loads(sys.argv[1]).items()}))
"""
LABELS_OF_WORKERS: Final = {
    "app.kubernetes.io/name": "tuningjob",
    "app.kubernetes.io/component": "worker",
    "app.kubernetes.io/managed-by": "tuningjob",
}


@pytest.fixture(scope="module")
def fenced(cluster: Cluster, release: Release) -> Iterator[TuningJobs]:
    """A namespace whose workers have the chart's policy, and one destination more: pods of the label ``data``."""
    egress = "networkPolicy.workers.egress[0]"
    with temporary_namespace(cluster, f"network-{uuid.uuid4().hex[:6]}") as namespace, policies.enforced():
        try:
            product.install(
                cluster,
                f"networkPolicy.workers.namespaces[0]={namespace}",
                f"{egress}.to[0].podSelector.matchLabels.app=data",
                f"{egress}.ports[0].port={PORT}",
            )
            yield TuningJobs(cluster, release, namespace)
        finally:
            product.install(cluster)


def listener(cluster: Cluster, name: str, **labels: str) -> Document:
    container = {
        "name": "listener",
        "image": cluster.worker_image,
        "command": ["python3", "-c", LISTEN],
        "resources": {"requests": {"cpu": "50m"}, "limits": {"cpu": "1", "memory": "64Mi"}},
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "terminationGracePeriodSeconds": 0,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [container],
        },
    }


def test_each_pod_reaches_what_the_chart_lets_it_and_nothing_else(cluster: Cluster, fenced: TuningJobs) -> None:
    kinds: dict[str, dict[str, str]] = {
        "worker": LABELS_OF_WORKERS,
        "data": {"app": "data"},
        "other": {"app": "other"},
        "prometheus": {"app.kubernetes.io/name": "prometheus"},
    }
    cluster.apply(*(listener(cluster, name, **labels) for name, labels in kinds.items()), namespace=fenced.namespace)
    cluster.kubectl("wait", "--for=condition=Ready", "--timeout=300s", "pod", *kinds, namespace=fenced.namespace)

    targets: dict[str, tuple[str, int]] = {
        name: (address_of(cluster, name, namespace=fenced.namespace), PORT) for name in kinds if name != "prometheus"
    }
    operator = cluster.items("pods", "--selector=app.kubernetes.io/component=control-plane", namespace=SYSTEM_NAMESPACE)
    targets |= {
        "results": (f"{RELEASE}-results.{SYSTEM_NAMESPACE}.svc.cluster.local", 8080),
        "metrics": (operator[0]["status"]["podIP"], 8082),
        "API server": (API_SERVICE_ADDRESS, 443),
    }

    expected = {
        # by name, so names are resolved too
        "worker": {"data", "results"},
        "other": {"data", "results", "API server"},
        "prometheus": {"data", "other", "results", "API server", "metrics"},
    }
    for name, reached in expected.items():
        others = {target: at for target, at in targets.items() if target != name}  # itself is no matter of a policy
        assert_reaches_only(reached, cluster, name, others, namespace=fenced.namespace)
    others = {name: target for name, target in targets.items() if name not in {"results", "metrics"}}
    name = operator[0]["metadata"]["name"]
    assert_reaches_only({"API server"}, cluster, name, others, namespace=SYSTEM_NAMESPACE)


def test_a_search_needs_no_more_than_the_policies_leave_it(fenced: TuningJobs, iris_forest: Document) -> None:
    fenced.apply(iris_forest)
    fenced.wait_for(iris_forest["metadata"]["name"], is_complete)
    assert_equal_to_scikit_learn(fenced, iris_forest)


def assert_reaches_only(
    reached: set[str], cluster: Cluster, pod: str, targets: dict[str, tuple[str, int]], *, namespace: str
) -> None:
    """Once the nodes' firewalls know the pods of a moment ago."""
    wanted = {target: target in reached for target in targets}
    last: dict[str, bool] = {}

    def as_wanted() -> bool:
        last.update(tried(cluster, pod, targets, namespace=namespace))
        return last == wanted

    with contextlib.suppress(AssertionError):
        cluster.wait_for(f"the firewalls to know {pod}", as_wanted)
    assert last == wanted, f"{pod} reaches {sorted(name for name in last if last[name])}"


def address_of(cluster: Cluster, name: str, *, namespace: str) -> str:
    found = cluster.get("pod", name, namespace=namespace) or {}
    return str(found["status"]["podIP"])


def tried(cluster: Cluster, pod: str, targets: dict[str, tuple[str, int]], *, namespace: str) -> dict[str, bool]:
    """Which of the targets the pod reaches just now."""
    words = ("exec", pod, "--", "python3", "-c", TRY, json.dumps(targets))
    found: dict[str, bool] = json.loads(cluster.kubectl(*words, namespace=namespace))
    return found
