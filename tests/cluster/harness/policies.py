"""NetworkPolicies that are enforced: kube-router's firewall on each node, for the tests that ask for it.

Not part of a bring-up: a network without it is what most small clusters have. It is gone when those tests are done, and so is
every rule that it made.
"""

import contextlib
from collections.abc import Iterator

from . import processes
from .binaries import path as binary
from .layout import KUBECONFIG, NODES, RUN, SERVICE_RANGE, Node
from .shell import HarnessError, run, until

_NAME = "kube-router"
# Its chains and sets; kube-proxy's begin otherwise.
_CHAINS = ("KUBE-ROUTER-", "KUBE-POD-FW-", "KUBE-NWPLCY-")
_SETS = ("KUBE-SRC-", "KUBE-DST-", "kube-router-", "inet6:kube-router-")


@contextlib.contextmanager
def enforced() -> Iterator[None]:
    """What NetworkPolicies say holds, on every node."""
    try:
        for node in NODES:
            _start(node)
        yield
    finally:
        for node in NODES:
            _remove(node)


def _daemon(node: Node) -> str:
    return f"{_NAME}-{node.name}"


def _start(node: Node) -> None:
    processes.spawn(
        *(_daemon(node), binary(_NAME), f"--kubeconfig={KUBECONFIG}", f"--hostname-override={node.name}"),
        *("--run-firewall=true", "--run-router=false", "--run-service-proxy=false"),
        *(f"--service-cluster-ip-range={SERVICE_RANGE}", "--health-port=0"),
        network=node.name,
    )
    try:
        until(f"the firewall of {node.name}", lambda: _CHAINS[0] in _rules(node))
    except HarnessError as error:
        raise HarnessError(f"{error}\n{processes.last_words(_daemon(node))}") from error


def _remove(node: Node) -> None:
    """Take it away with its rules; works on a half of it, too."""
    processes.end(processes.recorded([_daemon(node)]).values())
    (RUN / "pid" / _daemon(node)).unlink(missing_ok=True)
    kept = [line for line in _rules(node).splitlines() if not any(chain in line for chain in _CHAINS)]
    _in(node, "iptables-restore", "--table=filter", stdin="\n".join([*kept, ""]))
    for name in _in(node, "ipset", "list", "-name").split():
        if name.startswith(_SETS):
            _in(node, "ipset", "destroy", name)


def _rules(node: Node) -> str:
    return _in(node, "iptables-save", "--table=filter")


def _in(node: Node, *words: str, stdin: str | None = None) -> str:
    return run("nsenter", f"--net=/run/netns/{node.name}", *words, stdin=stdin)
