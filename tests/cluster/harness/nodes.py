"""A worker node: containerd, kubelet and kube-proxy in a network namespace of its own, with its own disk and cgroup.

``stop`` is a real node loss: its processes end without a word to anybody. ``start`` is the machine coming back.
"""

import contextlib
import json
import socket
from pathlib import Path

from . import cgroups, pki, processes
from .binaries import path as binary
from .layout import DNS_SERVICE_ADDRESS, KUBECONFIG, POD_RANGE, RUN, Node
from .shell import HarnessError, run, until

PAUSE_IMAGE = "localhost/pause:1"
_KUBELET_SECONDS = 120.0
_PLUGIN_SOCKET = Path("/var/lib/kubelet/device-plugins/kubelet.sock")


def configure(node: Node) -> None:
    """Write the node's configuration and make its cgroup."""
    cgroups.create(node)
    (node.home / "cni").mkdir(parents=True)
    (node.home / "containerd.toml").write_text(_containerd(node))
    for name, document in (
        ("cni/10-tj.conflist", _cni(node)),
        ("kubelet.yaml", _kubelet(node)),
        ("proxy.yaml", _proxy(node)),
    ):
        (node.home / name).write_text(json.dumps(document, indent=1))  # JSON is YAML


def start_containerd(node: Node) -> None:
    """Start the container runtime and wait until it answers: a kubelet that finds none exits."""
    processes.spawn(
        f"containerd-{node.name}", "containerd", "--config", node.home / "containerd.toml", network=node.name
    )

    def answers() -> bool:
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.connect(str(node.containerd_socket))
            return True
        return False

    try:
        until(f"containerd of {node.name} to answer", answers)
    except HarnessError as error:
        raise HarnessError(f"{error}\n{processes.last_words(f'containerd-{node.name}')}") from error


def start_kubelet(node: Node) -> None:
    """Start the kubelet and kube-proxy; the API server must be ready.

    Wait until it listens for device plugins: at a path that is the same for every kubelet of this machine, whatever its
    --root-dir is. Each removes the socket that it finds there and makes its own, and one that is overtaken in between exits. One
    was seen to run for minutes without it, and to end no pods: so it is started again, once.
    """
    processes.spawn(
        *(f"proxy-{node.name}", binary("kube-proxy"), f"--config={node.home}/proxy.yaml"), network=node.name
    )
    try:
        _start_kubelet(node)
    except HarnessError:
        processes.end(processes.recorded([f"kubelet-{node.name}"]).values())
        _start_kubelet(node)


def _start_kubelet(node: Node) -> None:
    _PLUGIN_SOCKET.unlink(missing_ok=True)
    processes.spawn(
        *(f"kubelet-{node.name}", binary("kubelet"), f"--config={node.home}/kubelet.yaml"),
        *(f"--kubeconfig={pki.kubeconfig(node.name)}", f"--root-dir={node.home}/kubelet"),
        *(f"--hostname-override={node.name}", f"--node-ip={node.address}"),
        network=node.name,
    )
    try:
        what = f"the kubelet of {node.name} to listen for device plugins"
        until(what, _PLUGIN_SOCKET.exists, timeout_seconds=_KUBELET_SECONDS)
    except HarnessError as error:
        raise HarnessError(f"{error}\n{processes.last_words(f'kubelet-{node.name}')}") from error


def start(node: Node) -> None:
    """Bring a stopped node back, with the disk that it had."""
    start_containerd(node)
    start_kubelet(node)


def stop(node: Node) -> None:
    """Lose the node: everything on it ends at once, its daemons first so that nothing is reported or restarted."""
    processes.end(processes.recorded(f"{kind}-{node.name}" for kind in ("kubelet", "proxy", "containerd")).values())
    processes.end(pid for pid, command in processes.shims().items() if str(node.home) in command)
    processes.end(cgroups.members(node))


def import_image(node: Node, archive: str, reference: str) -> None:
    """Give the node an image from an archive, unless it has it."""
    ctr = ("ctr", f"--address={node.containerd_socket}", "--namespace=k8s.io", "images")
    if reference not in run(*ctr, "list", "--quiet").split():
        run(*ctr, "import", archive)


def _containerd(node: Node) -> str:
    return f"""\
version = 2
root = "{node.home}/containerd"
state = "{node.home}/containerd-state"
[grpc]
  address = "{node.containerd_socket}"
[ttrpc]
  address = "{node.home}/containerd.ttrpc.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "{node.home}/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # without CAP_SYS_RESOURCE (which a virtual machine may lack) runc dies with "can't get final child's PID from pipe: EOF"
  restrict_oom_score_adj = true
  # pods' network namespaces below our own folder, where they are found and unmounted, and not in /run/netns
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{node.home}/cni"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      Root = "{node.home}/runc"
"""


def _cni(node: Node) -> dict[str, object]:
    ipam = {
        "type": "host-local",
        "dataDir": f"{node.home}/ipam",
        "ranges": [[{"subnet": node.pod_range}]],
        "routes": [{"dst": "10.0.0.0/8"}],  # pods, nodes and services: all there is. No default route
    }
    bridge = {"type": "bridge", "bridge": "cni0", "isGateway": True, "hairpinMode": True, "ipam": ipam}
    portmap = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": node.name, "plugins": [bridge, portmap]}


def _kubelet(node: Node) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": f"{pki.FOLDER}/ca.crt"},
        },
        "authorization": {"mode": "Webhook"},
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{node.name}",
        "containerRuntimeEndpoint": f"unix://{node.containerd_socket}",
        "podLogsDir": f"{node.home}/logs",
        "volumePluginDir": f"{node.home}/volume-plugins",
        "clusterDNS": [DNS_SERVICE_ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": "",  # nothing of this machine's resolver: it would not be reachable from a pod
        "tlsCertFile": f"{pki.FOLDER}/{node.name}.crt",
        "tlsPrivateKeyFile": f"{pki.FOLDER}/{node.name}.key",
        "failSwapOn": False,
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        # an image that is collected on a full disk cannot be pulled again: there is no registry
        "imageGCHighThresholdPercent": 100,
    }


def _proxy(node: Node) -> dict[str, object]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(KUBECONFIG)},
        "clusterCIDR": POD_RANGE,
        "mode": "iptables",
        "conntrack": {"maxPerCore": 0},  # the table's size is the whole machine's, not this namespace's to set
        "hostnameOverride": node.name,
    }


def disk(node: Node, name: str) -> str:
    """A folder on the node's disk, made if need be, for a volume that outlives its pods."""
    folder = RUN / node.name / "volumes" / name
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)
