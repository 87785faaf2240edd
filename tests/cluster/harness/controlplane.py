"""etcd, the API server, the controller manager, the scheduler and DNS, all in one network namespace."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from . import pki, processes
from .binaries import path as binary
from .layout import (
    API_PORT,
    CONTROL_PLANE,
    CONTROL_PLANE_ADDRESS,
    DNS_SERVICE_ADDRESS,
    KUBECONFIG,
    NODES,
    RUN,
    SERVICE_RANGE,
)
from .shell import HarnessError, run, succeeds, until

_ETCD = "http://127.0.0.1:2379"
_CONTROLLER_MANAGER = "controller-manager"


def start() -> None:
    """Start the control plane and wait until the API server says that it is ready."""
    # fsync off: a test cluster's data is thrown away, and a slow disk would be waited for at every write
    processes.spawn(
        *("etcd", binary("etcd"), f"--data-dir={RUN}/etcd", "--unsafe-no-fsync"),
        *(f"--listen-client-urls={_ETCD}", f"--advertise-client-urls={_ETCD}"),
        network=CONTROL_PLANE,
    )
    _start_api_server()
    # one of each, so no election: it would only delay the start
    _start_controller_manager()
    processes.spawn(
        *("scheduler", binary("kube-scheduler"), f"--kubeconfig={KUBECONFIG}", "--leader-elect=false"),
        network=CONTROL_PLANE,
    )
    _start_dns()


def restart_controller_manager() -> None:
    """End the controller manager, and start another, which looks at all there is anew."""
    processes.end(processes.recorded([_CONTROLLER_MANAGER]).values())
    _start_controller_manager()


def _start_controller_manager() -> None:
    processes.spawn(
        *(
            _CONTROLLER_MANAGER,
            binary("kube-controller-manager"),
            f"--kubeconfig={KUBECONFIG}",
            "--leader-elect=false",
        ),
        *(f"--service-account-private-key-file={pki.FOLDER}/sa.key", f"--root-ca-file={pki.FOLDER}/ca.crt"),
        "--use-service-account-credentials=true",
        "--node-monitor-grace-period=20s",
        "--horizontal-pod-autoscaler-sync-period=2s",
        network=CONTROL_PLANE,
    )


@contextlib.contextmanager
def api_server_down() -> Iterator[None]:
    """The API server's process ends here; it comes back at the end, and is waited for."""
    processes.end(processes.recorded(["apiserver"]).values())
    try:
        yield
    finally:
        _start_api_server()


def _start_api_server() -> None:
    processes.spawn(
        *("apiserver", binary("kube-apiserver"), f"--etcd-servers={_ETCD}"),
        *(f"--advertise-address={CONTROL_PLANE_ADDRESS}", "--bind-address=0.0.0.0", f"--secure-port={API_PORT}"),
        f"--service-cluster-ip-range={SERVICE_RANGE}",
        *(f"--tls-cert-file={pki.FOLDER}/apiserver.crt", f"--tls-private-key-file={pki.FOLDER}/apiserver.key"),
        f"--client-ca-file={pki.FOLDER}/ca.crt",
        f"--service-account-key-file={pki.FOLDER}/sa.pub",
        f"--service-account-signing-key-file={pki.FOLDER}/sa.key",
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=Node,RBAC",
        f"--kubelet-client-certificate={pki.FOLDER}/to-kubelet.crt",
        f"--kubelet-client-key={pki.FOLDER}/to-kubelet.key",
        "--kubelet-preferred-address-types=InternalIP",
        # the API server runs no kube-proxy: it must reach a Service's endpoints by their own addresses
        "--enable-aggregator-routing=true",
        "--allow-privileged=true",
        # beta in 1.34, and off: the chart has the API server note who created a TuningJob by one
        *("--feature-gates=MutatingAdmissionPolicy=true", "--runtime-config=admissionregistration.k8s.io/v1beta1=true"),
        # a pod on a lost node is given up after 15 s instead of 5 minutes: tests wait for that
        "--default-not-ready-toleration-seconds=15",
        "--default-unreachable-toleration-seconds=15",
        network=CONTROL_PLANE,
    )
    try:
        until("the API server to be ready", lambda: succeeds(*_kubectl("get", "--raw", "/readyz")))
    except HarnessError as error:
        raise HarnessError(f"{error}\n{processes.last_words('apiserver')}") from error


def wait_for_nodes() -> None:
    """Wait until every node is Ready, and every namespace can take pods."""
    names = [f"node/{node.name}" for node in NODES]
    try:
        until("the nodes to register", lambda: succeeds(*_kubectl("get", *names)))
    except HarnessError as error:
        daemons = [*(f"kubelet-{node.name}" for node in NODES), "apiserver"]
        logs = "\n".join(f"--- {name} ---\n{processes.last_words(name)}" for name in daemons)
        raise HarnessError(f"{error}\n{logs}") from error
    run(*_kubectl("wait", "--for=condition=Ready", "--timeout=300s", *names))
    # a pod is refused until the controller manager has made its namespace's service account
    until("the default service account", lambda: succeeds(*_kubectl("get", "serviceaccount", "default")))


def healthy() -> bool:
    """Whether a cluster is up and whole: every daemon alive, the API server ready, every node Ready."""
    if set(processes.recorded()) != _daemons() or not succeeds(*_kubectl("get", "--raw", "/readyz")):
        return False
    nodes: list[dict[str, Any]] = json.loads(run(*_kubectl("get", "nodes", "-o", "json")))["items"]
    ready = {"type": "Ready", "status": "True"}
    conditions = [
        {key: condition[key] for key in ready} for node in nodes for condition in node["status"]["conditions"]
    ]
    return conditions.count(ready) == len(NODES)


def _daemons() -> set[str]:
    of_nodes = {f"{kind}-{node.name}" for node in NODES for kind in ("containerd", "kubelet", "proxy")}
    return of_nodes | {"etcd", "apiserver", "controller-manager", "scheduler", "coredns"}


def _kubectl(*words: str) -> tuple[str, ...]:
    options = (f"--kubeconfig={KUBECONFIG}", f"--cache-dir={RUN}/cache/kubectl", "--request-timeout=120s")
    return (str(binary("kubectl")), *options, *words)


def _start_dns() -> None:
    """CoreDNS beside the control plane, behind a Service without a selector: no image and no pod to wait for."""
    corefile = RUN / "Corefile"
    corefile.write_text(
        f".:53 {{\n bind {CONTROL_PLANE_ADDRESS}\n errors\n"
        f" kubernetes cluster.local in-addr.arpa {{\n  kubeconfig {KUBECONFIG} tj\n }}\n}}\n"
    )
    processes.spawn("coredns", binary("coredns"), "-conf", corefile, network=CONTROL_PLANE)
    ports = [{"name": name, "port": 53, "protocol": kind} for name, kind in (("dns", "UDP"), ("dns-tcp", "TCP"))]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "kube-dns", "namespace": "kube-system"},
        "spec": {"clusterIP": DNS_SERVICE_ADDRESS, "ports": ports},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "kube-dns-1",
            "namespace": "kube-system",
            "labels": {"kubernetes.io/service-name": "kube-dns"},
        },
        "addressType": "IPv4",
        "ports": ports,
        "endpoints": [{"addresses": [CONTROL_PLANE_ADDRESS]}],
    }
    run(
        # nothing is there yet to be compared with, and to check it first one would load all of the API server's schemas
        *_kubectl("create", "--validate=false", "-f", "-"),
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": [service, endpoints]}),
    )
