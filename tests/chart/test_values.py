"""Values that say how the control plane is run: images, names, logs, probes, and the way to it from outside."""

import pytest

from tests.chart.conftest import CHART, Helm, Manifest, Render
from tests.chart.objects import containers_of, of_kind, pod_of, settings_of, the, volumes_of
from tests.yamls import documents

pytestmark = pytest.mark.cluster

DIGEST = "sha256:" + 64 * "a"
HOSTS = 'ingress.hosts=["a.example.com","b.example.com"]'


# --- images and names ------------------------------------------------------------------------------------------------


def test_images_may_be_held_to_a_digest(render: Render, template: Helm) -> None:
    settings = (f"images.operatorDigest={DIGEST}", f"images.workerDigest={DIGEST}", "images.worker=registry/worker:2")
    objects = render(*settings)
    ours = {
        container["image"]
        for container in (*containers_of(objects).values(), *the(objects, "Pod")["spec"]["containers"])
    }
    assert ours == {f"localhost/tuningjob-operator:0.1.0@{DIGEST}"}
    assert settings_of(containers_of(objects)["operator"]).worker_image == f"registry/worker:2@{DIGEST}"
    twice = template(f"images.worker=registry/worker@{DIGEST}", f"images.workerDigest={DIGEST}")
    assert twice.returncode != 0
    assert "images: must have one digest of an image, but got two for registry/worker@sha256" in twice.stderr


def test_everything_may_be_named(render: Render) -> None:
    objects = render("fullnameOverride=search")
    names = {found["metadata"]["name"] for found in objects if found["kind"] != "CustomResourceDefinition"}
    assert all(name.startswith("search") for name in names), names
    operator = settings_of(containers_of(objects)["operator"])
    assert operator.results_url == "https://search-results.tuningjob-system.svc:8080"
    assert operator.release == "tuningjob-system/search"


def test_labels_are_put_on_everything_and_select_nothing(render: Render) -> None:
    objects = render("commonLabels.team=ml", "commonLabels.app\\.kubernetes\\.io/name=x")
    for found in objects:
        if found["kind"] != "CustomResourceDefinition" and "helm.sh/hook" not in found["metadata"].get(
            "annotations", {}
        ):
            assert found["metadata"]["labels"]["team"] == "ml", found["metadata"]["name"]
    assert "team" not in the(objects, "Deployment")["spec"]["selector"]["matchLabels"]
    assert pod_of(objects)["metadata"]["labels"]["app.kubernetes.io/name"] == "tuningjob"


def test_a_service_account_that_is_there_is_given_the_rights_and_held_to_them(render: Render, template: Helm) -> None:
    objects = render("serviceAccount.create=false", "serviceAccount.name=mine")
    made = {found["metadata"]["name"] for found in of_kind(objects, "ServiceAccount")}
    assert made == {"tuningjob-reviewer", "tuningjob-test"}
    assert pod_of(objects)["spec"]["serviceAccountName"] == "mine"
    bindings = [*of_kind(objects, "ClusterRoleBinding"), *of_kind(objects, "RoleBinding")]
    accounts = [found for binding in bindings for found in binding["subjects"] if found["kind"] == "ServiceAccount"]
    assert {found["name"] for found in accounts} == {"mine", "tuningjob-reviewer"}
    (policy,) = [
        found
        for found in of_kind(objects, "ValidatingAdmissionPolicy")
        if found["metadata"]["name"] == "tuningjob-confine"
    ]
    assert "system:serviceaccount:tuningjob-system:mine'" in str(policy["spec"])
    nameless = template("serviceAccount.create=false")
    assert nameless.returncode != 0
    assert "serviceAccount.name: must be the name of the account that is there" in nameless.stderr


def test_a_namespace_may_have_half_of_the_volume_or_what_is_said(objects: list[Manifest], render: Render) -> None:
    def told(objects: list[Manifest]) -> tuple[int, int]:
        settings = settings_of(containers_of(objects)["results"])
        return settings.max_namespace_bytes, settings.max_namespace_percent

    def sent(objects: list[Manifest]) -> tuple[int, int]:
        settings = settings_of(containers_of(objects)["results"])
        return settings.max_data_bytes, settings.max_data_percent

    assert (told(objects), sent(objects)) == ((0, 50), (0, 25))
    other = render("limits.maxNamespaceBytes=20Gi", "limits.maxDataBytes=3Gi")
    assert (told(other), sent(other)) == ((20 * 2**30, 0), (3 * 2**30, 0))
    assert told(render("limits.maxNamespaceBytes=")) == (0, 0)


# --- logs, probes, the pod -------------------------------------------------------------------------------------------


def test_both_containers_are_told_from_where_on_to_log(objects: list[Manifest], render: Render) -> None:
    assert {settings_of(container).log_level for container in containers_of(objects).values()} == {"info"}
    loud = containers_of(render("logging.level=debug"))
    assert {settings_of(container).log_level for container in loud.values()} == {"debug"}


def test_the_operator_is_told_where_people_open_the_pages(objects: list[Manifest], render: Render) -> None:
    assert settings_of(containers_of(objects)["operator"]).pages_url == ""
    told = containers_of(render("people.url=https://tuning.example.com/"))
    assert settings_of(told["operator"]).pages_url == "https://tuning.example.com"


def test_probes_take_their_times_from_the_values(render: Render) -> None:
    containers = containers_of(
        render("probes.operator.liveness.timeoutSeconds=9", "probes.results.readiness.initialDelaySeconds=7")
    )
    assert containers["operator"]["livenessProbe"] == {
        "httpGet": {"path": "/healthz", "port": "liveness"},
        "periodSeconds": 20,
        "timeoutSeconds": 9,
        "failureThreshold": 3,
    }
    readiness = containers["results"]["readinessProbe"]
    assert (readiness["initialDelaySeconds"], readiness["periodSeconds"]) == (7, 5)


def test_both_containers_may_mount_more(render: Render) -> None:
    objects = render(
        'extraVolumes=[{"name":"db-ca","configMap":{"name":"db-ca"}}]',
        'extraVolumeMounts=[{"name":"db-ca","mountPath":"/etc/db","readOnly":true}]',
    )
    assert volumes_of(objects)["db-ca"] == {"configMap": {"name": "db-ca"}}
    for container in containers_of(objects).values():
        assert {"name": "db-ca", "mountPath": "/etc/db", "readOnly": True} in container["volumeMounts"]


def test_the_pod_may_have_a_runtime_and_names_of_its_own(objects: list[Manifest], render: Render) -> None:
    fields = ("runtimeClassName", "dnsPolicy", "dnsConfig", "hostAliases")
    assert not set(fields) & pod_of(objects)["spec"].keys()
    spec = pod_of(
        render(
            *("runtimeClassName=gvisor", "dnsPolicy=None", 'dnsConfig.nameservers=["10.0.0.10"]'),
            'hostAliases=[{"ip":"10.0.0.1","hostnames":["db"]}]',
        )
    )["spec"]
    assert [spec[name] for name in fields] == [
        *("gvisor", "None", {"nameservers": ["10.0.0.10"]}),
        [{"ip": "10.0.0.1", "hostnames": ["db"]}],
    ]


# --- the way from outside --------------------------------------------------------------------------------------------


def test_there_is_no_way_from_outside_by_default(objects: list[Manifest]) -> None:
    assert of_kind(objects, "Ingress") == of_kind(objects, "HTTPRoute") == []


def test_an_ingress_leads_to_what_people_ask_and_to_nothing_else(render: Render) -> None:
    objects = render("ingress.enabled=true", HOSTS, "ingress.className=nginx", "ingress.tlsSecret=public")
    service, spec = the(objects, "Service"), the(objects, "Ingress")["spec"]
    hosts = ["a.example.com", "b.example.com"]
    assert (spec["ingressClassName"], spec["tls"]) == ("nginx", [{"hosts": hosts, "secretName": "public"}])
    assert [rule["host"] for rule in spec["rules"]] == hosts
    for rule in spec["rules"]:
        (path,) = rule["http"]["paths"]
        assert (path["path"], path["pathType"]) == ("/v1/namespaces", "Prefix")
        backend = path["backend"]["service"]
        assert backend["name"] == service["metadata"]["name"]
        assert backend["port"]["number"] == service["spec"]["ports"][0]["port"]


def test_a_route_of_a_gateway_leads_to_the_same(render: Render) -> None:
    objects = render(
        *("gateway.enabled=true", 'gateway.parentRefs=[{"name":"public","namespace":"edge"}]'),
        'gateway.hosts=["a.example.com"]',
    )
    spec = the(objects, "HTTPRoute")["spec"]
    assert spec["parentRefs"] == [{"name": "public", "namespace": "edge"}]
    assert spec["hostnames"] == ["a.example.com"]
    (rule,) = spec["rules"]
    assert rule["matches"] == [{"path": {"type": "PathPrefix", "value": "/v1/namespaces"}}]
    (backend,) = rule["backendRefs"]
    assert backend == {"name": the(objects, "Service")["metadata"]["name"], "port": 8080}


@pytest.mark.parametrize(
    ("setting", "place"),
    [
        ("images.operatorDigest=1234", "/images/operatorDigest"),
        ("logging.level=loud", "/logging/level"),
        ("people.url=javascript:x", "/people/url"),
        ("limits.maxNamespaceBytes=0%", "/limits/maxNamespaceBytes"),
        ("limits.maxDataBytes=101%", "/limits/maxDataBytes"),
        ("limits.maxNamespaceBytes=101%", "/limits/maxNamespaceBytes"),
        ("logging.format=text", "/logging"),
        ("ingress.enabled=true", "/ingress/hosts"),
        ('ingress.hosts=["A.example.com"]', "/ingress/hosts/0"),
        ("gateway.enabled=true", "/gateway/parentRefs"),
        ('gateway.parentRefs=[{"namespace":"x"}]', "/gateway/parentRefs/0"),
        ("probes.operator.liveness.periodSeconds=0", "/probes/operator/liveness/periodSeconds"),
        ("probes.operator.readiness.periodSeconds=1", "/probes/operator"),
        ("fullnameOverride=My_Name", "/fullnameOverride"),
        ("dnsPolicy=Mine", "/dnsPolicy"),
        ("monitoring.prometheusRule.labels.release=1", "/monitoring/prometheusRule/labels/release"),
    ],
)
def test_a_value_that_cannot_be_is_refused_with_its_place(template: Helm, setting: str, place: str) -> None:
    result = template(setting)
    assert result.returncode != 0, f"{setting} was taken"
    assert "values don't meet the specifications of the schema" in result.stderr
    assert place in result.stderr


def test_the_default_values_are_written_as_values_that_helm_takes(helm: Helm) -> None:
    result = helm("template", "tuningjob", str(CHART), "--kube-version=1.34.0", "--values", str(CHART / "values.yaml"))
    assert result.returncode == 0, result.stderr
    assert documents(result.stdout)
