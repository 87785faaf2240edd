"""The private network: a bridge, and a namespace with one leg on it for the control plane and for each node.

No default route anywhere, on purpose: a pod that asks for an address outside fails at once, and nothing can leave.
"""

import json
from typing import Any

from .layout import BRIDGE, CONTROL_PLANE, CONTROL_PLANE_ADDRESS, HOST_ADDRESS, NODES
from .shell import run, succeeds


def create() -> None:
    """Make the bridge, the namespaces and the routes between pods, nodes and this machine."""
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "addr", "add", f"{HOST_ADDRESS}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    _namespace(CONTROL_PLANE, CONTROL_PLANE_ADDRESS)
    for node in NODES:
        _namespace(node.name, node.address)
        # a node forwards between its pods and the bridge; this machine itself does not need to
        run("nsenter", f"--net=/run/netns/{node.name}", "sysctl", "-qw", "net.ipv4.ip_forward=1")
    for node in NODES:
        route = ("route", "add", node.pod_range, "via", node.address)
        run("ip", *route)
        for name in (CONTROL_PLANE, *(other.name for other in NODES if other is not node)):
            run("ip", "-n", name, *route)


def namespaces() -> list[str]:
    """Our network namespaces that exist."""
    listed = run("ip", "netns", "list").splitlines()
    return [name for name in (line.split()[0] for line in listed if line.strip()) if name.startswith("tj-")]


def links() -> list[str]:
    """Our links that exist on this machine."""
    found: list[dict[str, Any]] = json.loads(run("ip", "-json", "link", "show"))
    return [name for name in (link["ifname"] for link in found) if name == BRIDGE or name.startswith("v-tj-")]


def routes() -> list[str]:
    """Our routes that exist on this machine."""
    found: list[dict[str, Any]] = json.loads(run("ip", "-json", "route", "show"))
    return [route["dst"] for route in found if route["dst"] in {node.pod_range for node in NODES}]


def remove() -> None:
    """Remove all of it, whatever of it exists."""
    for name in namespaces():
        run("ip", "netns", "delete", name)
    # the kernel takes a namespace's links away by itself, but only some time after: ask, and take "already gone" for yes
    for link in sorted(links()):
        succeeds("ip", "link", "delete", link)


def _namespace(name: str, address: str) -> None:
    run("ip", "netns", "add", name)
    run("ip", "link", "add", f"v-{name}", "type", "veth", "peer", "name", "eth0", "netns", name)
    run("ip", "link", "set", f"v-{name}", "master", BRIDGE, "up")
    run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
    run("ip", "-n", name, "link", "set", "lo", "up")
    run("ip", "-n", name, "link", "set", "eth0", "up")
