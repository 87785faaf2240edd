"""The Job: what is always in it, what a manifest may add, and nothing else."""

from typing import Any, Final

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.manifest.generated import pods as pod_options
from tests.manifest.manifests import FULL, SPEC, Path, at, fields, manifest, with_value
from tests.operator.fake_cluster import well_formed
from tests.operator.test_plan import tuningjob
from tests.operator.world import ANYWHERE, make_settings
from tuningjob.errors import ManifestRefused
from tuningjob.manifest import load
from tuningjob.manifest.pod_options import TAKEN_ENV, TAKEN_PATHS
from tuningjob.manifest.wellknown import ExitCode
from tuningjob_operator.ceilings import Ceilings
from tuningjob_operator.decide.admission import admit
from tuningjob_operator.decide.job import build_job
from tuningjob_operator.objects import Body

CSV = {"path": "iris.csv", "target": "species"}


def built(*, pods: int = 1, memory: str | None = None, placement: Ceilings = ANYWHERE, **spec: Any) -> Body:
    body, settings = tuningjob(**spec), make_settings(placement=placement)
    return build_job(body, admit(body, settings), settings, pods=pods, memory=memory)


def pod_of(body: Body) -> Body:
    pod: Body = body["spec"]["template"]["spec"]
    return pod


def environment_of(body: Body) -> dict[str, str | None]:
    return {entry["name"]: entry.get("value") for entry in pod_of(body)["containers"][0]["env"]}


SPECS = {
    "the smallest": {},
    "an image of its own": {"image": "registry.example/mine:1"},
    "data on a volume": {"data": {**CSV, "persistentVolumeClaim": "data"}},
    "data in a ConfigMap": {"data": {**CSV, "configMap": "data"}},
    "code in a ConfigMap": {"code": {"configMap": "mine"}},
    "code on a volume": {"code": {"persistentVolumeClaim": "mine"}, "data": {**CSV, "persistentVolumeClaim": "mine"}},
    "code in an archive": {"code": {"url": "s3://b/mine.whl", "sha256": "0" * 64}},
    "resources as numbers": {"resources": {"cpu": 1, "memory": 1073741824}},
    "every option of a pod": {"pod": FULL["pod"], "queueName": "team-a"},
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_the_official_client_knows_every_key_of(spec: Body) -> None:
    body = built(**spec)

    assert well_formed(body) == body


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_requests_of_cpu_and_memory_are_limits_and_the_disk_has_one_for(spec: Body) -> None:
    for container in pod_of(built(**spec))["containers"]:
        requests, limits = container["resources"]["requests"], container["resources"]["limits"]
        disk = set() if "queueName" in spec else {"ephemeral-storage"}
        assert set(requests) == set(limits) == {"cpu", "memory"} | disk
        assert [requests[name] for name in ("cpu", "memory")] == [limits[name] for name in ("cpu", "memory")]


@pytest.mark.parametrize(
    ("resources", "percent", "want"),
    [
        ({"cpu": "2", "cpuRequest": "250m"}, 100, ("250m", "2")),
        ({"cpu": "2"}, 25, ("500m", "2")),
        ({"cpu": "333m"}, 10, ("34m", "333m")),  # Kubernetes knows no smaller part of a core than a thousandth
        ({"cpu": "1m"}, 1, ("1m", "1m")),
        ({"cpu": "2", "cpuRequest": "2"}, 25, ("2", "2")),  # the manifest's word is before the administrator's default
        ({"cpu": "2", "cpuRequest": "2000m"}, 100, ("2", "2")),
    ],
)
def test_a_search_that_gives_way_is_promised_less_cpu_than_its_limit(
    resources: Body, percent: int, want: tuple[str, str]
) -> None:
    placement = Ceilings(default_cpu_request_percent=percent)
    container = pod_of(built(placement=placement, resources=resources))["containers"][0]["resources"]

    assert (container["requests"]["cpu"], container["limits"]["cpu"]) == want
    assert container["requests"]["memory"] == container["limits"]["memory"]


@pytest.mark.parametrize(
    ("cpu", "want"), [("500m", "1"), ("1", "1"), ("1500m", "1"), ("2", "2"), (4, "4"), ("3999m", "3")]
)
def test_n_jobs_is_the_floor_of_the_cpu_limit(cpu: str | int, want: str) -> None:
    environment = environment_of(built(resources={"cpu": cpu, "memory": "1Gi"}))

    assert (environment["TUNINGJOB_N_JOBS"], environment["LOKY_MAX_CPU_COUNT"]) == (want, want)


def test_inner_threads_are_capped_at_one() -> None:
    environment = environment_of(built())

    assert [environment[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")] == ["1"] * 3


def test_the_worker_is_told_where_to_report_and_what_to_show() -> None:
    environment = environment_of(built())

    assert environment["TUNINGJOB_RESULTS_URL"] == "http://results:8080"
    assert environment["TUNINGJOB_TOKEN_FILE"] == "/var/run/tuningjob/token"
    assert "TUNINGJOB_DATA_DIR" not in environment


def test_the_pod_meets_the_restricted_pod_security_standard() -> None:
    pod = pod_of(built(data={**CSV, "persistentVolumeClaim": "data"}))
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
    assert kinds <= {"secret", "emptyDir", "persistentVolumeClaim", "configMap"}


def test_the_pod_has_no_way_to_the_api_server() -> None:
    pod = pod_of(built())

    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert "serviceAccountName" not in pod


@pytest.mark.parametrize(
    ("data", "want"),
    [
        ({"persistentVolumeClaim": "mine"}, {"persistentVolumeClaim": {"claimName": "mine", "readOnly": True}}),
        ({"configMap": "mine"}, {"configMap": {"name": "mine"}}),
    ],
    ids=["a claim", "a ConfigMap"],
)
def test_the_data_volume_is_mounted_to_be_read(data: Body, want: Body) -> None:
    body = built(data={**CSV, **data})
    pod = pod_of(body)

    assert {"name": "data", **want} in pod["volumes"]
    assert {"name": "data", "mountPath": "/data", "readOnly": True} in pod["containers"][0]["volumeMounts"]
    assert environment_of(body)["TUNINGJOB_DATA_DIR"] == "/data"


def test_the_job_starts_with_the_preflight_alone() -> None:
    spec = built()["spec"]

    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 1, 1)
    assert spec["podReplacementPolicy"] == "Failed"


def test_the_workers_own_verdict_ends_the_job_and_a_disruption_is_free() -> None:
    rules = built()["spec"]["podFailurePolicy"]["rules"]
    by_code = {code: rule["action"] for rule in rules for code in rule.get("onExitCodes", {}).get("values", [])}

    assert by_code == {ExitCode.REFUSED: "FailJob", ExitCode.FAILED: "FailJob", ExitCode.TERMINATED: "Ignore"}
    assert {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]} in rules


def test_everything_carries_the_labels_by_which_it_is_found() -> None:
    body = built()
    want = {
        "app.kubernetes.io/name": "tuningjob",
        "app.kubernetes.io/instance": "forest",
        "app.kubernetes.io/managed-by": "tuningjob",
        "app.kubernetes.io/component": "worker",
        "tuningjob.dev/name": "forest",
        "tuningjob.dev/uid": "uid-1",
    }

    assert body["metadata"]["labels"] == body["spec"]["template"]["metadata"]["labels"] == want


# What a manifest may ask of its pods


def test_nothing_is_asked_that_the_manifest_does_not_name() -> None:
    pod = pod_of(built())

    assert not {"priorityClassName", "nodeSelector", "tolerations", "imagePullSecrets"} & set(pod)
    assert pod["topologySpreadConstraints"] == [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": {"tuningjob.dev/uid": "uid-1"}},
        }
    ]


def test_pods_are_placed_as_the_manifest_says() -> None:
    pod = pod_of(built(pod=FULL["pod"]))

    assert pod["priorityClassName"] == "batch-low"
    assert pod["nodeSelector"] == {"disk": "ssd", "example.com/zone": "a"}
    assert pod["tolerations"] == [
        {"key": "gpu", "operator": "Equal", "value": "no", "effect": "NoSchedule"},
        {"key": "spot", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 60},
    ]
    assert pod["topologySpreadConstraints"] == [
        {
            "topologyKey": "topology.kubernetes.io/zone",
            "maxSkew": 2,
            "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchLabels": {"tuningjob.dev/uid": "uid-1"}},
        }
    ]
    assert pod["imagePullSecrets"] == [{"name": "registry"}, {"name": "registry.two"}]


def test_pods_are_spread_by_nothing_if_the_manifest_says_so() -> None:
    assert "topologySpreadConstraints" not in pod_of(built(pod={"topologySpread": []}))


def test_a_service_account_brings_no_token_of_the_api_server() -> None:
    pod = pod_of(built(pod={"serviceAccountName": "reader"}))

    assert (pod["serviceAccountName"], pod["automountServiceAccountToken"]) == ("reader", False)


def test_variables_come_from_values_secrets_and_config_maps() -> None:
    env = pod_of(built(pod=FULL["pod"]))["containers"][0]["env"]

    assert env[:3] == [
        {"name": "LEVEL", "value": "debug"},
        {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "bucket", "key": "id"}}},
        {"name": "URL", "valueFrom": {"configMapKeyRef": {"name": "hosts", "key": "db.url"}}},
    ]


def test_no_variable_of_a_manifest_can_be_one_of_ours() -> None:
    body = built(data={**CSV, "configMap": "data"})
    ours = [name for name in environment_of(body) if not name.startswith("TUNINGJOB_")]

    assert set(ours) <= TAKEN_ENV
    mounts = {mount["mountPath"] for mount in pod_of(body)["containers"][0]["volumeMounts"]}
    assert mounts <= set(TAKEN_PATHS)


def test_volumes_are_mounted_to_be_read_unless_they_are_there_to_be_written() -> None:
    pod = pod_of(built(pod=FULL["pod"]))

    assert pod["volumes"][2:] == [
        {"name": "own-keys", "secret": {"secretName": "bucket", "defaultMode": 0o440}},
        {"name": "own-hosts", "configMap": {"name": "hosts"}},
        {"name": "own-cache", "persistentVolumeClaim": {"claimName": "cache", "readOnly": False}},
        {"name": "own-space", "emptyDir": {"sizeLimit": "1Gi"}},
    ]
    assert pod["containers"][0]["volumeMounts"][2:] == [
        {"name": "own-keys", "mountPath": "/etc/keys", "readOnly": True},
        {"name": "own-hosts", "mountPath": "/etc/hosts.d", "readOnly": True},
        {"name": "own-cache", "mountPath": "/cache"},
        {"name": "own-space", "mountPath": "/space"},
    ]


def test_a_claim_is_only_read_unless_the_manifest_says_otherwise() -> None:
    volume = {"name": "token", "mountPath": "/cache", "persistentVolumeClaim": "cache"}
    pod = pod_of(built(pod={"volumes": [volume]}))

    # nor does its name take one of ours away
    claim = {"claimName": "cache", "readOnly": True}
    assert pod["volumes"][-1] == {"name": "own-token", "persistentVolumeClaim": claim}
    assert pod["containers"][0]["volumeMounts"][-1] == {"name": "own-token", "mountPath": "/cache", "readOnly": True}


@pytest.mark.parametrize(
    ("memory", "want", "in_bytes"),
    [(None, "1Gi", 2**30), ("2Gi", "2Gi", 2**31), ("1.5Gi", "1.5Gi", 3 * 2**29), ("1e9", "1e9", 10**9)],
)
def test_a_worker_is_told_the_memory_that_its_pod_has(memory: str | None, want: str, in_bytes: int) -> None:
    body = built(memory=memory, resources={"cpu": 1, "memory": "1Gi"})
    resources = pod_of(body)["containers"][0]["resources"]

    assert {(each["cpu"], each["memory"]) for each in resources.values()} == {("1", want)}
    assert environment_of(body)["TUNINGJOB_MEMORY_BYTES"] == str(in_bytes)


def test_a_job_may_have_its_full_size_from_the_start() -> None:
    spec = built(pods=7)["spec"]

    assert (spec["completions"], spec["parallelism"], spec["backoffLimit"]) == (7, 7, 21)
    assert "suspend" not in spec


def test_a_job_of_a_queue_waits_for_kueue() -> None:
    body = built(pods=3, queueName="team-a")

    assert body["spec"]["suspend"] is True
    assert body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    assert body["metadata"]["annotations"]["kueue.x-k8s.io/job-min-parallelism"] == "1"
    assert "kueue.x-k8s.io/queue-name" not in body["spec"]["template"]["metadata"]["labels"]
    assert "kueue.x-k8s.io/queue-name" not in built()["metadata"]["labels"]


def test_a_job_of_one_pod_asks_kueue_for_no_fewer() -> None:
    metadata = built(pods=1, queueName="team-a")["metadata"]

    assert metadata["labels"]["kueue.x-k8s.io/queue-name"] == "team-a"
    # Kueue refuses a least number of pods that is not less than the whole
    assert "kueue.x-k8s.io/job-min-parallelism" not in metadata.get("annotations", {})


# Nothing else can be expressed

POD_KEYS: Final = {
    "restartPolicy", "automountServiceAccountToken", "enableServiceLinks", "terminationGracePeriodSeconds", "securityContext",
    "topologySpreadConstraints", "priorityClassName", "serviceAccountName", "nodeSelector", "tolerations", "imagePullSecrets",
    "containers", "volumes",
}  # fmt: skip
CONTAINER_KEYS: Final = {
    "name", "image", "imagePullPolicy", "command", "env", "resources", "securityContext", "terminationMessagePolicy",
    "volumeMounts",
}  # fmt: skip
ITEM_KEYS: Final = {
    "tolerations": {"key", "operator", "value", "effect", "tolerationSeconds"},
    "topologySpreadConstraints": {"maxSkew", "topologyKey", "whenUnsatisfiable", "labelSelector"},
    "imagePullSecrets": {"name"},
    "volumes": {"name", "secret", "configMap", "persistentVolumeClaim", "emptyDir"},
}
VOLUME_KEYS: Final = {"secretName", "defaultMode", "name", "claimName", "readOnly", "sizeLimit"}
# names of core/v1 that a manifest might try, and any other text
CORE_KEYS: Final = (
    "hostNetwork", "hostPID", "hostIPC", "hostUsers", "hostAliases", "hostPath", "hostname", "privileged", "securityContext",
    "serviceAccount", "automountServiceAccountToken", "containers", "initContainers", "ephemeralContainers", "command", "args",
    "lifecycle", "runtimeClassName", "schedulerName", "nodeName", "affinity", "overhead", "resourceClaims", "volumeDevices",
    "subPath", "mountPropagation", "projected", "csi", "nfs", "downwardAPI", "medium", "valueFrom", "fieldRef", "envFrom",
    "labelSelector", "capabilities", "dnsConfig", "shareProcessNamespace", "defaultMode", "items", "optional", "resources",
)  # fmt: skip


def _is_there(path: Path) -> bool:
    try:
        at(FULL, path)
    except LookupError:
        return False
    return True


anything: Final = st.sampled_from([True, 1, "root", "/", {}, [], {"path": "/"}, [{"hostPath": {"path": "/"}}]])
PLACES: Final = [
    (path, schema)
    for path, schema in fields(SPEC, {"pod": FULL["pod"]})
    if path[0] == "pod" and "properties" in schema and _is_there(path)
]


@pytest.mark.slow
@given(place=st.sampled_from(PLACES), key=st.sampled_from(CORE_KEYS) | st.text(), value=anything)
def test_a_key_that_is_not_allowed_is_refused_wherever_it_stands(
    place: tuple[Path, Body], key: str, value: Any
) -> None:
    path, schema = place
    assume(key not in schema["properties"])
    with pytest.raises(ManifestRefused, match="must be a known field"):
        load(manifest(with_value(FULL, (*path, key), value)))


@pytest.mark.slow
@given(options=pod_options)
def test_whatever_a_manifest_asks_its_pod_has_allowed_keys_alone(options: Body) -> None:
    pod, plain = pod_of(built(pod=options)), pod_of(built())
    (container,) = pod["containers"]

    assert set(pod) <= POD_KEYS
    assert set(container) == CONTAINER_KEYS
    for key, allowed in ITEM_KEYS.items():
        for item in pod.get(key, []):
            assert set(item) <= allowed
    for volume in pod["volumes"]:
        (source,) = (value for key, value in volume.items() if key != "name")
        assert set(source) <= VOLUME_KEYS
    for mount in container["volumeMounts"]:
        assert set(mount) <= {"name", "mountPath", "readOnly"}
    ours = plain["containers"][0]["env"]
    for variable in container["env"][: -len(ours)]:
        assert set(variable) <= {"name", "value", "valueFrom"}
        assert set(variable.get("valueFrom", {})) <= {"secretKeyRef", "configMapKeyRef"}
    # and what is ours stands as it did
    assert {key: pod[key] for key in ("securityContext", "automountServiceAccountToken", "restartPolicy")} == {
        key: plain[key] for key in ("securityContext", "automountServiceAccountToken", "restartPolicy")
    }
    assert container["securityContext"] == plain["containers"][0]["securityContext"]
    assert container["env"][-len(ours) :] == ours
    names = [variable["name"] for variable in container["env"]]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("code", "want"),
    [
        ({"configMap": "mine"}, {"name": "code", "configMap": {"name": "mine"}}),
        (
            {"persistentVolumeClaim": "m"},
            {"name": "code", "persistentVolumeClaim": {"claimName": "m", "readOnly": True}},
        ),
    ],
)
def test_the_users_modules_are_mounted_read_only_and_the_worker_is_told_where(code: Body, want: Body) -> None:
    body = built(code=code)

    assert want in pod_of(body)["volumes"]
    mount = {"name": "code", "mountPath": "/code", "readOnly": True}
    assert mount in pod_of(body)["containers"][0]["volumeMounts"]
    assert environment_of(body)["TUNINGJOB_CODE_DIR"] == "/code"


def test_of_an_archive_of_modules_the_operator_sees_nothing() -> None:
    """The pod fetches and unpacks it."""
    assert built(code={"url": "s3://b/mine.whl", "sha256": "0" * 64}) == built()
