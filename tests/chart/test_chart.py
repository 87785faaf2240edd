"""What the chart makes, by the real helm: the pod, the CRD, the volume, and which values it takes."""

import json
from typing import Any

import pytest
import yaml

from tests.chart.conftest import CHART, Helm, Manifest, Render
from tests.chart.objects import containers_of, mounts_of, of_kind, pod_of, the, volumes_of
from tests.yamls import document, documents

pytestmark = pytest.mark.cluster

CRD = CHART / "files" / "crds" / "tuningjobs.yaml"


def test_the_chart_passes_lint(helm: Helm) -> None:
    result = helm("lint", "--strict", str(CHART))
    assert result.returncode == 0, result.stdout + result.stderr


# --- the pod ---------------------------------------------------------------------------------------------------------


def test_one_pod_runs_the_operator_and_the_results_service_and_never_two_at_a_time(objects: list[Manifest]) -> None:
    deployment = the(objects, "Deployment")["spec"]
    assert (deployment["replicas"], deployment["strategy"]) == (1, {"type": "Recreate"})
    containers = containers_of(objects)
    assert {name: container["command"] for name, container in containers.items()} == {
        "operator": ["python", "-m", "tuningjob_operator"],
        "results": ["python", "-m", "tuningjob_operator.service"],
    }
    assert containers["operator"]["image"] == containers["results"]["image"]


def test_the_pod_fits_the_restricted_pod_security_standard(objects: list[Manifest]) -> None:
    spec = pod_of(objects)["spec"]
    assert spec["securityContext"] == {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "runAsGroup": 65532,
        "fsGroup": 65532,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    for container in spec["containers"]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(spec)
    assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} == {
        "persistentVolumeClaim",
        "emptyDir",
        "projected",
        "configMap",
        "secret",
    }


def test_only_the_operator_holds_a_token_of_the_service_account(objects: list[Manifest]) -> None:
    assert pod_of(objects)["spec"]["automountServiceAccountToken"] is False
    for account in of_kind(objects, "ServiceAccount"):
        assert account["automountServiceAccountToken"] is False
    (volume,) = [volume for volume in pod_of(objects)["spec"]["volumes"] if "projected" in volume]
    mounted = {
        name: [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == volume["name"]]
        for name, container in containers_of(objects).items()
    }
    assert mounted == {"operator": ["/var/run/secrets/kubernetes.io/serviceaccount"], "results": []}
    sources = [next(iter(source)) for source in volume["projected"]["sources"]]
    assert sources == ["serviceAccountToken", "configMap", "downwardAPI"]


def test_the_results_service_has_of_kubernetes_the_api_servers_authority_alone(objects: list[Manifest]) -> None:
    name = mounts_of(containers_of(objects)["results"])["/var/run/secrets/kubernetes.io/serviceaccount"]
    only = [{"key": "ca.crt", "path": "ca.crt"}]
    assert volumes_of(objects)[name] == {"configMap": {"name": "kube-root-ca.crt", "items": only}}


# --- the CRD and the volume ------------------------------------------------------------------------------------------

KEEP = {"helm.sh/resource-policy": "keep"}


def test_the_crd_is_the_generated_one_and_stays_by_default(objects: list[Manifest]) -> None:
    crd = the(objects, "CustomResourceDefinition")
    assert crd["metadata"].pop("annotations") == KEEP
    assert crd == document(CRD.read_text(encoding="utf-8"))


def test_the_crd_need_not_stay(render: Render) -> None:
    crd = the(render("crds.keep=false"), "CustomResourceDefinition")
    assert crd == document(CRD.read_text(encoding="utf-8"))


def test_the_crd_may_be_installed_by_other_means(render: Render) -> None:
    assert of_kind(render("crds.enabled=false"), "CustomResourceDefinition") == []


def data_volume(objects: list[Manifest]) -> Manifest:
    (volume,) = [volume for volume in pod_of(objects)["spec"]["volumes"] if volume["name"] == "data"]
    return {kind: source for kind, source in volume.items() if kind != "name"}


def test_the_volume_is_a_claim_that_stays_by_default(objects: list[Manifest]) -> None:
    claim = the(objects, "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == KEEP
    assert claim["spec"] == {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Gi"}}}
    assert data_volume(objects) == {"persistentVolumeClaim": {"claimName": claim["metadata"]["name"]}}


def test_the_claim_takes_its_class_and_size_from_the_values(render: Render) -> None:
    objects = render("persistence.storageClassName=fast", "persistence.size=500Mi", "persistence.keep=false")
    claim = the(objects, "PersistentVolumeClaim")
    assert "annotations" not in claim["metadata"]
    assert claim["spec"]["storageClassName"] == "fast"
    assert claim["spec"]["resources"]["requests"]["storage"] == "500Mi"


def test_a_claim_that_is_there_already_is_used_and_none_is_made(render: Render) -> None:
    objects = render("persistence.existingClaim=mine")
    assert of_kind(objects, "PersistentVolumeClaim") == []
    assert data_volume(objects) == {"persistentVolumeClaim": {"claimName": "mine"}}


def test_without_persistence_the_volume_goes_with_the_pod(render: Render) -> None:
    objects = render("persistence.enabled=false")
    assert of_kind(objects, "PersistentVolumeClaim") == []
    assert data_volume(objects) == {"emptyDir": {}}


def test_nothing_can_make_an_uninstall_hang(objects: list[Manifest]) -> None:
    for found in objects:
        assert "finalizers" not in found["metadata"]
        assert found["metadata"].get("annotations", {}).get("helm.sh/hook", "test") == "test"


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("imgaes.operator=x", "imgaes"),
        ("images.tag=x", "images"),
        ("images.operator=", "/images/operator"),
        ("images.pullPolicy=Sometimes", "/images/pullPolicy"),
        ("limits.maxFits=0", "/limits/maxFits"),
        ("limits.maxFits=many", "/limits/maxFits"),
        ("limits.maxPods=1.5", "/limits/maxPods"),
        ("limits.maxCpu=-1", "/limits/maxCpu"),
        ("limits.defaultCpuRequestPercent=0", "/limits/defaultCpuRequestPercent"),
        ("limits.minCpuRequestPercent=101", "/limits/minCpuRequestPercent"),
        ("limits.maxCpu=0", "/limits/maxCpu"),
        ("limits.maxMemory=lots", "/limits/maxMemory"),
        ("limits.maxMemory=0Gi", "/limits/maxMemory"),
        ("limits.checkNodes=perhaps", "/limits/checkNodes"),
        ("limits.maxGpu=1", "/limits"),
        ("references.check=perhaps", "/references/check"),
        ("references.refuse=true", "/references"),
        ("watchNamespaces=team", "/watchNamespaces"),
        ('watchNamespaces=["Team"]', "/watchNamespaces/0"),
        ('watchNamespaces=["a","a"]', "/watchNamespaces"),
        ("databaseUrl=/data/tuning.db", "/databaseUrl"),
        ("artifacts.url=/models", "/artifacts/url"),
        ("artifacts.url=s3://key:secret@models", "/artifacts/url"),
        ("artifacts.secret=x", "/artifacts"),
        ("retentionDays=-1", "/retentionDays"),
        ("tls.secretName=My_Secret", "/tls/secretName"),
        ("tls.self=true", "/tls"),
        ("tls.days=0", "/tls/days"),
        ("people.audience=a b", "/people/audience"),
        ("tls.issuerRef.kind=Issuer", "/tls/issuerRef"),
        ("metrics.annotations=perhaps", "/metrics/annotations"),
        ("monitoring.podMonitor.interval=often", "/monitoring/podMonitor/interval"),
        ("monitoring.podMonitor.labels.release=1", "/monitoring/podMonitor/labels/release"),
        ("monitoring.serviceMonitor.enabled=true", "/monitoring"),
        ("monitoring.dashboard.enabled=1", "/monitoring/dashboard/enabled"),
        ("networkPolicy.enabled=1", "/networkPolicy/enabled"),
        ("networkPolicy.dns.ports=[]", "/networkPolicy/dns/ports"),
        ("networkPolicy.apiServer.ports=[70000]", "/networkPolicy/apiServer/ports/0"),
        ('networkPolicy.clients=[{"podSelektor":{}}]', "/networkPolicy/clients/0"),
        ("networkPolicy.clients=[{}]", "/networkPolicy/clients/0"),
        ('networkPolicy.egress=[{"from":[]}]', "/networkPolicy/egress/0"),
        ('networkPolicy.workers.namespaces=["Team"]', "/networkPolicy/workers/namespaces/0"),
        ("tests.enabled=perhaps", "/tests/enabled"),
        ("createdBy.enabled=perhaps", "/createdBy/enabled"),
        ("persistence.size=lots", "/persistence/size"),
        ("persistence.enabled=perhaps", "/persistence/enabled"),
        ("persistence.accessModes=x", "/persistence"),
        ("crds.keep=1", "/crds/keep"),
        ("resources.operator.limits.memory=null", "/resources/operator/limits"),
        ("resources.results.limits.gpu=1", "/resources/results/limits"),
        ("resources.sidecar=x", "/resources"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_place(template: Helm, setting: str, place: str) -> None:
    result = template(setting)
    assert result.returncode != 0, f"{setting} was taken"
    assert "values don't meet the specifications of the schema" in result.stderr
    assert place in result.stderr


def test_the_pod_is_placed_as_the_values_say(render: Render) -> None:
    objects = render(
        "nodeSelector.disk=ssd", 'tolerations=[{"operator":"Exists"}]', 'imagePullSecrets=[{"name":"pull"}]'
    )
    spec = pod_of(objects)["spec"]
    assert spec["nodeSelector"] == {"disk": "ssd"}
    assert spec["tolerations"] == [{"operator": "Exists"}]
    assert spec["imagePullSecrets"] == [{"name": "pull"}]


def leaves(values: Any, path: str = "") -> dict[str, Any]:
    """Values by their dotted names; each container's resources, each probe and each destination as it is."""
    is_whole = path.startswith(("resources.", "probes.")) and path.count(".") == (2 if path[0] == "r" else 3)
    if isinstance(values, dict) and values and not is_whole and values.keys() != {"to", "ports"}:
        return {name: leaf for key, value in values.items() for name, leaf in leaves(value, f"{path}{key}.").items()}
    return {path.rstrip("."): values}


def as_written(value: Any) -> str:
    if isinstance(value, (bool, list, dict)):
        return json.dumps(value)
    return str(value) if value != "" else '""'


def test_every_value_is_in_the_readme_with_its_default() -> None:
    values = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    rows = [line for line in (CHART / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    for name, default in leaves(values).items():
        (row,) = [row for row in rows if f"`{name}`" in row.split(" | ")[0]]
        assert name.startswith("resources.") or f"`{as_written(default)}`" in row.split(" | ")[1], row


def test_another_release_name_names_everything_after_itself(helm: Helm) -> None:
    result = helm("template", "search", str(CHART), "--namespace", "a", "--kube-version", "1.34.0")
    objects = documents(result.stdout)
    names = {found["metadata"]["name"] for found in objects if found["kind"] != "CustomResourceDefinition"}
    assert all(name.startswith("search-tuningjob") for name in names), names
    assert "https://search-tuningjob-results.a.svc:8080" in str(the(objects, "Deployment"))


def test_an_old_kubernetes_is_refused(helm: Helm) -> None:
    result = helm("template", "tuningjob", str(CHART), "--kube-version", "1.32.0")
    assert result.returncode != 0
    assert "incompatible with Kubernetes v1.32.0" in result.stderr


# --- more than one replica -------------------------------------------------------------------------------------------

SHARED = ("replicas=2", "databaseUrl=postgresql://db/tuningjob", "artifacts.url=s3://models")


def test_replicas_are_upgraded_without_a_gap_and_hold_no_volume_of_one_node(render: Render) -> None:
    objects = render(*SHARED)
    deployment = the(objects, "Deployment")["spec"]
    assert deployment["replicas"] == 2
    assert deployment["strategy"]["rollingUpdate"] == {"maxUnavailable": 0, "maxSurge": 1}
    assert volumes_of(objects)["data"] == {"emptyDir": {}}
    assert of_kind(objects, "PersistentVolumeClaim") == []
    budget = the(objects, "PodDisruptionBudget")["spec"]
    assert budget["minAvailable"] == 1
    assert budget["selector"] == deployment["selector"]
    assert of_kind(render(), "PodDisruptionBudget") == []


@pytest.mark.parametrize(
    ("left_out", "told"),
    [("databaseUrl", "must be 1 with SQLite"), ("artifacts", "must be 1 while files are on the operator's volume")],
)
def test_replicas_are_refused_where_one_node_would_hold_what_they_share(
    template: Helm, left_out: str, told: str
) -> None:
    result = template(*(setting for setting in SHARED if not setting.startswith(left_out)))
    assert result.returncode != 0
    assert told in result.stderr


def test_the_platform_may_choose_the_user_and_the_group(render: Render) -> None:
    given = pod_of(
        render("securityContext.runAsUser=null", "securityContext.runAsGroup=null", "securityContext.fsGroup=7")
    )
    context = given["spec"]["securityContext"]
    assert {name: value for name, value in context.items() if name.startswith(("runAs", "fsG"))} == {
        "runAsNonRoot": True,
        "fsGroup": 7,
        "fsGroupChangePolicy": "OnRootMismatch",
    }


def test_labels_annotations_a_priority_and_environment_may_be_added(render: Render) -> None:
    objects = render(
        *(
            "podLabels.team=ml",
            "podAnnotations.note=x",
            "priorityClassName=high",
            "serviceAccount.annotations.role=arn",
        ),
        'extraEnv=[{"name":"AWS_REGION","value":"eu"}]',
    )
    pod = pod_of(objects)
    assert (pod["metadata"]["labels"]["team"], pod["metadata"]["annotations"]["note"]) == ("ml", "x")
    assert pod["spec"]["priorityClassName"] == "high"
    accounts = {found["metadata"]["name"]: found["metadata"] for found in of_kind(objects, "ServiceAccount")}
    assert accounts["tuningjob"]["annotations"] == {"role": "arn"}
    for container in containers_of(objects).values():
        assert {"name": "AWS_REGION", "value": "eu"} in container["env"]
