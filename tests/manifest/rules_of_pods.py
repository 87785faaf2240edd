"""For each of the CRD's rules about pods: a spec that is refused, the words of the refusal, and a spec that is taken."""

from typing import Final

from tests.manifest.manifests import (
    FULL,
    VARIABLE,
    VOLUME,
    Body,
)
from tests.manifest.manifests import with_value as changed

ENV, VOLUMES, TOLERATIONS = ("pod", "env"), ("pod", "volumes"), ("pod", "tolerations")
POD_RULES: Final[dict[str, tuple[Body, str, Body]]] = {
    "a toleration without a key": (
        changed(FULL, TOLERATIONS, [{"operator": "Equal"}]),
        "must be with a key, or with the operator Exists",
        changed(FULL, TOLERATIONS, [{"operator": "Exists"}]),
    ),
    "a value beside Exists": (
        changed(FULL, TOLERATIONS, [{"key": "a", "operator": "Exists", "value": ""}]),
        "must be without a value beside the operator Exists",
        changed(FULL, TOLERATIONS, [{"key": "a", "value": ""}]),
    ),
    "tolerationSeconds without NoExecute": (
        changed(FULL, TOLERATIONS, [{"key": "a", "effect": "NoSchedule", "tolerationSeconds": 1}]),
        "must be with the effect NoExecute beside tolerationSeconds",
        changed(FULL, TOLERATIONS, [{"key": "a", "effect": "NoExecute", "tolerationSeconds": 1}]),
    ),
    "a constraint twice": (
        changed(FULL, ("pod", "topologySpread"), [{"topologyKey": "a"}, {"topologyKey": "a", "maxSkew": 2}]),
        "must be a list of constraints that differ in topologyKey or whenUnsatisfiable",
        changed(
            FULL, ("pod", "topologySpread"), [{"topologyKey": "a"}, {"topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]
        ),
    ),
    "a pull secret twice": (
        changed(FULL, ("pod", "imagePullSecrets"), ["a", "a"]),
        "must be a list of different names",
        changed(FULL, ("pod", "imagePullSecrets"), ["a", "b"]),
    ),
    "a key of nodeSelector": (
        changed(FULL, ("pod", "nodeSelector"), {"-a": "b"}),
        "must have keys of labels, such as disk or example.com/disk",
        changed(FULL, ("pod", "nodeSelector"), {"a.b/c_D": ""}),
    ),
    "a key of nodeSelector, too long": (
        changed(FULL, ("pod", "nodeSelector"), {f"{'a' * 250}.b/c": "b"}),
        "must have keys of labels, such as disk or example.com/disk",
        changed(FULL, ("pod", "nodeSelector"), {f"{'a' * 249}.b/c": "b"}),
    ),
    "a value of nodeSelector": (
        changed(FULL, ("pod", "nodeSelector"), {"a": "-b"}),
        "should match",
        changed(FULL, ("pod", "nodeSelector"), {"a": "b"}),
    ),
    "a variable of the operator's": (
        changed(FULL, ENV, [{"name": "TUNINGJOB_N_JOBS", "value": "1"}]),
        "must be a variable of your own: TUNINGJOB_\\* and ",
        changed(FULL, ENV, [{"name": "MY_TUNINGJOB_N_JOBS", "value": "1"}]),
    ),
    "a variable that has to be as it is": (
        changed(FULL, ENV, [{"name": "OMP_NUM_THREADS", "value": "8"}]),
        "must be a variable of your own",
        changed(FULL, ENV, [{"name": "omp_num_threads", "value": "8"}]),
    ),
    "a variable with two values": (
        changed(FULL, ENV, [{**VARIABLE, "secret": {"name": "a", "key": "b"}}]),
        "must be with exactly one of value, secret and configMap",
        changed(FULL, ENV, [{"name": "A", "secret": {"name": "a", "key": "b"}}]),
    ),
    "a variable without a value": (
        changed(FULL, ENV, [{"name": "A"}]),
        "must be with exactly one of value, secret and configMap",
        changed(FULL, ENV, [{"name": "A", "value": ""}]),
    ),
    "a variable twice": (
        changed(FULL, ENV, [VARIABLE, VARIABLE]),
        "must be a list of variables with different names",
        changed(FULL, ENV, [VARIABLE, {**VARIABLE, "name": "a"}]),
    ),
    "a volume of two kinds": (
        changed(FULL, VOLUMES, [{**VOLUME, "configMap": "a"}]),
        "must be with exactly one of secret, configMap, persistentVolumeClaim and emptyDir",
        changed(FULL, VOLUMES, [VOLUME]),
    ),
    "a volume of no kind": (
        changed(FULL, VOLUMES, [{"name": "a", "mountPath": "/a"}]),
        "must be with exactly one of secret, configMap, persistentVolumeClaim and emptyDir",
        changed(FULL, VOLUMES, [{"name": "a", "mountPath": "/a", "emptyDir": 2**20}]),
    ),
    "readOnly of what is no claim": (
        changed(FULL, VOLUMES, [{**VOLUME, "readOnly": False}]),
        "must be without readOnly where there is no persistentVolumeClaim",
        changed(FULL, VOLUMES, [{"name": "a", "mountPath": "/a", "persistentVolumeClaim": "a", "readOnly": False}]),
    ),
    "volumes of one name": (
        changed(FULL, VOLUMES, [VOLUME, {**VOLUME, "mountPath": "/b"}]),
        "must be a list of volumes with different names and mountPaths",
        changed(FULL, VOLUMES, [VOLUME, {**VOLUME, "name": "b", "mountPath": "/b"}]),
    ),
    "volumes of one path": (
        changed(FULL, VOLUMES, [VOLUME, {**VOLUME, "name": "b"}]),
        "must be a list of volumes with different names and mountPaths",
        changed(FULL, VOLUMES, [VOLUME, {**VOLUME, "name": "b", "mountPath": "/a/b"}]),
    ),
    **{
        f"a volume at {path}": (
            changed(FULL, VOLUMES, [{**VOLUME, "mountPath": path}]),
            message,
            changed(FULL, VOLUMES, [{**VOLUME, "mountPath": beside}]),
        )
        for path, message, beside in [
            ("/data", "must be a path beside /data", "/database"),
            ("/tmp/x", "must be a path beside /data", "/tmpx"),
            ("/var/run", "must be a path beside /data", "/var/running"),
            ("/run/tuningjob", "must be a path beside /data", "/run/other"),
            ("/", "should match", "/x"),
            ("//tmp", "should match", "/x/tmp"),
            ("/a/../tmp", "should match", "/a/..tmp"),
            ("/a/./b", "should match", "/a/.b"),
            ("/a/", "should match", "/a/..."),
            ("a", "should match", "/A-._a"),
            ("/a:b", "should match", "/a/b"),
        ]
    },
}  # fmt: skip
