"""The Job: what is always in it, what a manifest may add, and nothing else."""

from typing import Any

import pytest

from tests.operator.fake_cluster import well_formed
from tests.operator.test_plan import tuningjob
from tests.operator.world import make_settings
from tuningjob.spec.wellknown import ExitCode
from tuningjob_operator.admission import admit
from tuningjob_operator.job import build_job
from tuningjob_operator.objects import Body

CSV = {"path": "iris.csv", "target": "species"}


def built(**spec: Any) -> Body:
    body, settings = tuningjob(**spec), make_settings()
    return build_job(body, admit(body, settings), settings)


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
    "resources as numbers": {"resources": {"cpu": 1, "memory": 1073741824}},
}


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_the_official_client_knows_every_key_of(spec: Body) -> None:
    body = built(**spec)

    assert well_formed(body) == body


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS.keys())
def test_requests_are_limits_for(spec: Body) -> None:
    for container in pod_of(built(**spec))["containers"]:
        assert set(container["resources"]["limits"]) == {"cpu", "memory"}
        assert container["resources"]["requests"] == container["resources"]["limits"]


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
