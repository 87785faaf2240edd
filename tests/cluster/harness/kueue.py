"""Kueue, the real one, for the tests that ask for it: a process beside the control plane, with its CRDs and webhooks.

Not part of a bring-up, and gone when those tests are done: its webhooks are asked about every Job and every pod of the cluster,
and without Kueue behind them each of those would be refused.
"""

import base64
import contextlib
import json
import shutil
from collections.abc import Iterator
from typing import Any

from . import processes
from .binaries import path as binary
from .client import Cluster
from .layout import CONTROL_PLANE, CONTROL_PLANE_ADDRESS, KUBECONFIG, RUN
from .shell import HarnessError, until

NAMESPACE = "kueue-system"
_NAME = "kueue"
_FOLDER = RUN / _NAME
_CERTIFICATE = _FOLDER / "certificate"
_SERVICE = "kueue-webhook-service"
_SECRET = "kueue-webhook-server-cert"
_PORT = 9443
_WEBHOOKS = tuple(
    f"{kind}webhookconfiguration/{_NAME}-{kind}-webhook-configuration" for kind in ("mutating", "validating")
)
_GROUP = "kueue.x-k8s.io"


@contextlib.contextmanager
def running(cluster: Cluster) -> Iterator[None]:
    """Install Kueue, which then decides about Jobs, and remove all of it at the end, also after an error."""
    try:
        _start(cluster)
        yield
    finally:
        _remove(cluster)


def left_behind() -> bool:
    """Whether something of Kueue is on a cluster whose user was killed: it may refuse every pod there."""
    return _FOLDER.exists()


def _start(cluster: Cluster) -> None:
    _FOLDER.mkdir(mode=0o700)
    configuration = _FOLDER / "configuration.json"
    configuration.write_text(json.dumps(_configuration()))
    cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
    # by the server: the schema of a Workload is too large for the annotation that kubectl would make of it
    cluster.kubectl("apply", "--server-side", "-f", str(binary("kueue.yaml")))
    cluster.apply(_endpoints())
    processes.spawn(
        *(_NAME, binary("kueue"), f"--kubeconfig={KUBECONFIG}", f"--config={configuration}"),
        network=CONTROL_PLANE,
    )
    try:
        _mount_certificate(cluster)
        # its webhooks answer, and the API server has heard of them and of where they are
        until("Kueue to be asked about Jobs", lambda: _is_asked(cluster), poll_seconds=0.5)
    except HarnessError as error:
        raise HarnessError(f"{error}\n{processes.last_words(_NAME)}") from error


def _configuration() -> dict[str, Any]:
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "namespace": NAMESPACE,
        # nobody asks for these
        "health": {"healthProbeBindAddress": "0"},
        "metrics": {"bindAddress": "0"},
        "webhook": {"host": CONTROL_PLANE_ADDRESS, "port": _PORT, "certDir": str(_CERTIFICATE)},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": True, "webhookServiceName": _SERVICE, "webhookSecretName": _SECRET},
        "integrations": {"frameworks": ["batch/job"]},
        # an API server of its own, which would want a folder at the root of this machine's disk
        "featureGates": {"VisibilityOnDemand": False},
    }


def _endpoints() -> dict[str, Any]:
    """Where the webhooks' Service leads: no pod is behind it."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": f"{_SERVICE}-1",
            "namespace": NAMESPACE,
            "labels": {"kubernetes.io/service-name": _SERVICE},
        },
        "addressType": "IPv4",
        "ports": [{"port": _PORT, "protocol": "TCP"}],
        "endpoints": [{"addresses": [CONTROL_PLANE_ADDRESS]}],
    }


def _mount_certificate(cluster: Cluster) -> None:
    """Kueue makes its own certificate, puts it into a Secret, and waits for it on its disk: a kubelet's part, done here."""

    def made() -> dict[str, str]:
        secret = cluster.get("secret", _SECRET, namespace=NAMESPACE) or {}
        files: dict[str, str] = secret.get("data") or {}
        return files

    files = until("Kueue to make its certificate", made)
    unfinished = _FOLDER / "unfinished"
    unfinished.mkdir()
    for name, content in files.items():
        (unfinished / name).write_bytes(base64.b64decode(content))
    unfinished.rename(_CERTIFICATE)


def _is_asked(cluster: Cluster) -> bool:
    """Whether a Job of a queue, only tried, comes back suspended."""
    container = {"name": "none", "image": "localhost/none"}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "tried", "namespace": NAMESPACE, "labels": {f"{_GROUP}/queue-name": "none"}},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }
    words = ("create", "--dry-run=server", "--output=jsonpath={.spec.suspend}", "-f", "-")
    return cluster.kubectl(*words, stdin=json.dumps(job), check=False) == "true"


def _remove(cluster: Cluster) -> None:
    """Take all of it away; works on a half of it, too, and without Kueue's help, for it may be that which failed."""
    # first of all: from here on the cluster is again as it was for all others
    cluster.kubectl("delete", *_WEBHOOKS, "--ignore-not-found")
    processes.end(processes.recorded([_NAME]).values())
    (RUN / "pid" / _NAME).unlink(missing_ok=True)
    crds = _crds(cluster)
    if crds:
        cluster.kubectl("delete", "--wait=false", "crd", *(crd["metadata"]["name"] for crd in crds))
    until("Kueue's CRDs to go", lambda: _are_gone(cluster), poll_seconds=1)
    cluster.kubectl("delete", "namespace", NAMESPACE, "--ignore-not-found")
    shutil.rmtree(_FOLDER, ignore_errors=True)


def _crds(cluster: Cluster) -> list[dict[str, Any]]:
    return [crd for crd in cluster.items("crds") if crd["spec"]["group"] == _GROUP]


def _are_gone(cluster: Cluster) -> bool:
    """Whether no CRD of Kueue's is left. Objects that only Kueue would release, and that keep a CRD, are released here."""
    left = _crds(cluster)
    for crd in left:
        # in the version in which they are stored: nobody is there any more to convert them
        version = next(each["name"] for each in crd["spec"]["versions"] if each["storage"])
        kind = f"{crd['spec']['names']['plural']}.{version}.{_GROUP}"
        # unchecked: the CRD, or an object, may have gone since
        listed = cluster.kubectl("get", kind, "--all-namespaces", "--output=json", check=False)
        for body in json.loads(listed)["items"] if listed else []:
            metadata = body["metadata"]
            words = ("patch", kind, metadata["name"], "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
            cluster.kubectl(*words, namespace=metadata.get("namespace"), check=False)
    return not left
