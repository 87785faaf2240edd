"""The same candidates on the two-node cluster: as one TuningJob, and as an Indexed Job with a pod for each."""

import json
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.scale.page import EACH, TUNINGJOB, Many, OnPods
from tests.cluster.harness.client import Cluster

Document = dict[str, Any]
_CODE: Final = "sleeper"
_ROOT: Final = "/code"
# A pod for each node. Slots cost nothing while they sleep, so there may be more of them than cores.
PODS: Final = 2
PROCESSES: Final = 8
SLOTS: Final = PODS * PROCESSES
_RESTRICTED: Final = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
_SCRIPT: Final = "from sleeper import Sleeper; Sleeper(SECONDS).fit([[0.0]], [0])"
_PATIENCE_SECONDS: Final = 1_800
MILLION: Final = 1_000_000
FOLDS: Final = 5


def code() -> Document:
    """The ConfigMap with the estimator."""
    file = Path(__file__).with_name("sleeper.py")
    data = {file.name: file.read_text(encoding="utf-8")}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _CODE}, "data": data}


def tuningjob(name: str, count: int, seconds: float) -> Document:
    """One search, of one split."""
    split = {"class": "sklearn.model_selection.ShuffleSplit", "params": {"n_splits": 1, "random_state": 0}}
    spec = {
        "estimator": {"class": "sleeper.Sleeper", "params": {"seconds": seconds}},
        "search": {"grid": {"parameters": {"number": {"range": [count]}}}},
        "crossValidation": {"splitter": split},
        "data": {"loader": "sklearn.datasets.load_iris"},
        "baseline": False,
        "resources": {"cpu": str(PROCESSES), "cpuRequest": "100m", "memory": "2Gi"},
        "parallelism": PODS,
        "pod": {
            "env": [{"name": "PYTHONPATH", "value": _ROOT}],
            "volumes": [{"name": "code", "mountPath": _ROOT, "configMap": _CODE}],
        },
    }
    return {"apiVersion": "tuningjob.dev/v1alpha1", "kind": "TuningJob", "metadata": {"name": name}, "spec": spec}


def million(name: str) -> Document:
    """A search of MILLION fits that cost next to nothing, so that what is measured is what each costs on its way."""
    spec = {
        "estimator": {"class": "sklearn.naive_bayes.GaussianNB"},
        "search": {"grid": {"parameters": {"var_smoothing": {"logspace": [-12, 0, MILLION // FOLDS]}}}},
        "crossValidation": {"folds": FOLDS},
        "data": {"loader": "sklearn.datasets.load_iris"},
        "baseline": False,
        "resources": {"cpu": "1", "cpuRequest": "100m", "memory": "4Gi"},
        "limits": {"maxFits": MILLION},
        "parallelism": 2,
    }
    return {"apiVersion": "tuningjob.dev/v1alpha1", "kind": "TuningJob", "metadata": {"name": name}, "spec": spec}


def indexed_job(name: str, count: int, seconds: float, image: str) -> Document:
    """A pod for each candidate, as many at a time as the TuningJob has slots."""
    container = {
        "name": "trial",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": ["python", "-c", _SCRIPT.replace("SECONDS", str(seconds))],
        "env": [{"name": "PYTHONPATH", "value": _ROOT}],
        "resources": {
            "requests": {"cpu": "50m", "memory": "200Mi"},
            "limits": {"cpu": "1", "memory": "500Mi"},
        },
        "securityContext": _RESTRICTED,
        "volumeMounts": [{"name": "code", "mountPath": _ROOT}],
    }
    pod = {
        "restartPolicy": "Never",
        "securityContext": {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
        "volumes": [{"name": "code", "configMap": {"name": _CODE}}],
        "containers": [container],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            "completions": count,
            "parallelism": min(SLOTS, count),
            "completionMode": "Indexed",
            "backoffLimit": 0,
            "template": {"spec": pod},
        },
    }


def measure(cluster: Cluster, namespace: str, image: str, count: int, seconds: float) -> list[OnPods]:
    """Both ways, one after the other."""
    cluster.apply(code(), namespace=namespace)
    bodies = {
        TUNINGJOB: tuningjob(f"search-{count}", count, seconds),
        EACH: indexed_job(f"each-{count}", count, seconds, image),
    }
    return [OnPods(way, count, seconds, SLOTS, _run(cluster, namespace, body)[0]) for way, body in bodies.items()]


def measure_million(cluster: Cluster, namespace: str) -> Many:
    """From `kubectl apply` until it is complete, and how large what Kubernetes keeps of it is then."""
    took, kept = _run(cluster, namespace, million("million"))
    return Many(MILLION, took, len(json.dumps(kept, separators=(",", ":"))))


def _run(cluster: Cluster, namespace: str, body: Document) -> tuple[float, Document]:
    """Returns how many seconds it took, and the object at its end; deletes it."""
    kind = "tj" if body["kind"] == "TuningJob" else "job"
    name = body["metadata"]["name"]

    def has_ended() -> Document | None:
        found = cluster.get(kind, name, namespace=namespace) or {}
        ends = {
            each["type"]: each for each in found.get("status", {}).get("conditions", []) if each["status"] == "True"
        }
        if "Failed" in ends:
            raise AssertionError(f"{name} failed: {ends['Failed'].get('message')}")
        return found if "Complete" in ends else None

    began = time.monotonic()
    cluster.apply(body, namespace=namespace)
    kept = cluster.wait_for(f"{name} to end", has_ended, timeout_seconds=_PATIENCE_SECONDS, namespace=namespace)
    took = time.monotonic() - began
    cluster.kubectl("delete", kind, name, "--wait=true", "--timeout=120s", namespace=namespace)
    return took, kept
