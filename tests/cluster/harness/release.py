"""The product on the cluster: the chart, installed by the real helm, on a volume that outlives its pod."""

from dataclasses import dataclass

from . import nodes
from .client import Cluster, Manifest
from .layout import CHART, KUBECONFIG, NODES, RELEASE, ROOT, SYSTEM_NAMESPACE
from .shell import HarnessError, until

STORAGE_CLASS = "tuningjob-local"
# a claim takes a volume for itself, and an uninstalled release's claim may stay: enough for a few
VOLUMES = 4
_EXAMPLE = ROOT / "examples" / "iris-forest.yaml"


@dataclass(frozen=True)
class Release:
    """Where the product is on the cluster."""

    name: str = RELEASE
    namespace: str = SYSTEM_NAMESPACE


def install(cluster: Cluster, *settings: str) -> Release:
    """Install the chart, or upgrade it to what the checkout and the images are now."""
    if not (CHART / "Chart.yaml").exists():
        raise HarnessError(f"there is no chart at {CHART}")
    if cluster.kubeconfig == KUBECONFIG:  # a cluster that was named to us has its own
        ensure_storage(cluster)
    values = (
        f"images.operator={cluster.operator_image}",
        f"images.worker={cluster.worker_image}",
        "images.pullPolicy=IfNotPresent",
        # many tests wait for the next pod of the operator's
        "probes.operator.startup.periodSeconds=1",
        "probes.results.readiness.periodSeconds=1",
        *settings,
    )
    try:
        cluster.helm(
            *("upgrade", "--install", RELEASE, str(CHART), f"--namespace={SYSTEM_NAMESPACE}", "--create-namespace"),
            *(word for value in values for word in ("--set", value)),
            *("--wait", "--timeout=300s"),
        )
    except HarnessError as error:
        raise HarnessError(f"{error}\n\n{cluster.state(SYSTEM_NAMESPACE)}") from error
    until("an API server that takes TuningJobs", lambda: _takes_tuningjobs(cluster), poll_seconds=0.5)
    return Release()


def uninstall(cluster: Cluster) -> None:
    """Uninstall the chart, and wait until its objects are gone."""
    cluster.helm(
        "uninstall", RELEASE, f"--namespace={SYSTEM_NAMESPACE}", "--ignore-not-found", "--wait", "--timeout=300s"
    )


def _takes_tuningjobs(cluster: Cluster) -> bool:
    """Whether the API server has learned of the CRD wherever it must.

    Its MutatingAdmissionPolicies learn of a new kind within some 5 seconds, and until then it answers 503, whatever their
    failurePolicy is (k8s.io/apiserver 0.34, pkg/admission/plugin/policy/mutating: typeconverter.go polls, dispatchOne refuses).
    """
    try:
        cluster.kubectl("create", "--dry-run=server", "-f", str(_EXAMPLE), namespace=SYSTEM_NAMESPACE)
    except HarnessError as error:
        if "ServiceUnavailable" in str(error):
            return False
        raise
    return True


def ensure_storage(cluster: Cluster) -> None:
    """A storage class and free volumes of it, on node 1's disk.

    ``local`` and not ``hostPath``: only of the former does the kubelet set the group, which a non-root pod needs.
    """
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        # the default one, as most clusters have: claims, the chart's too, need not name it
        "metadata": {"name": STORAGE_CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    # a volume whose claim was deleted is Released and taken by none again: replaced, with its data kept
    for volume in cluster.items("persistentvolumes"):
        if volume["spec"].get("storageClassName") == STORAGE_CLASS and volume["status"].get("phase") == "Released":
            cluster.kubectl("delete", "persistentvolume", volume["metadata"]["name"])
    cluster.apply(storage_class, *(_volume(f"{STORAGE_CLASS}-{number + 1}") for number in range(VOLUMES)))


def _volume(name: str) -> Manifest:
    node = NODES[0]
    on_node = {"key": "kubernetes.io/hostname", "operator": "In", "values": [node.name]}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": STORAGE_CLASS,
            "local": {"path": nodes.disk(node, name)},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [on_node]}]}},
        },
    }
