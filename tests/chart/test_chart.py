"""What the chart makes, by the real helm."""

import datetime as dt
import hashlib
import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.chart.conftest import CHART, Helm, Manifest, Render
from tests.chart.objects import containers_of, mounts_of, of_kind, pod_of, settings_of, the, volumes_of
from tuningjob_operator.cluster.contract import LEASES_ACCESS, NODES_ACCESS, REQUIRED_ACCESS, Permission, lease_access
from tuningjob_operator.control.lease import SCOPE_NAME
from tuningjob_operator.service.identity import find_audience

pytestmark = pytest.mark.cluster

CRD = CHART / "files" / "crds" / "tuningjobs.yaml"


@pytest.fixture(scope="module")
def objects(render: Render) -> list[Manifest]:
    return render()


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


# --- TLS, the database, the bucket, Prometheus -----------------------------------------------------------------------


WAYS = pytest.mark.parametrize(
    "settings",
    [(), ("tls.secretName=results-tls",), ("tls.issuerRef.name=ours",)],
    ids=["own", "a Secret", "cert-manager"],
)


@WAYS
def test_everything_speaks_https(render: Render, settings: tuple[str, ...]) -> None:
    objects = render(*settings)
    operator, results = (containers_of(objects)[name] for name in ("operator", "results"))
    assert settings_of(operator).results_url == "https://tuningjob-results.tuningjob-system.svc:8080"
    for container in (operator, results):
        tls_dir = settings_of(container).tls_dir
        assert mounts_of(container)[str(tls_dir)] in {"tls", "tls-ca"}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert results[probe]["httpGet"]["scheme"] == "HTTPS"
    (port,) = the(objects, "Service")["spec"]["ports"]
    assert (port["name"], port["appProtocol"]) == ("https", "https")
    assert the(objects, "Service")["metadata"]["annotations"]["prometheus.io/scheme"] == "https"


@WAYS
def test_only_the_results_service_holds_a_key(render: Render, settings: tuple[str, ...]) -> None:
    objects = render(*settings)
    operator, results = (containers_of(objects)[name] for name in ("operator", "results"))
    volumes = volumes_of(objects)
    secret = volumes[mounts_of(results)["/var/run/secrets/tls"]]["secret"]
    assert (secret["secretName"], "items" in secret) == (
        "results-tls" if "secretName" in str(settings) else "tuningjob-tls" if settings else "tuningjob-ca",
        False,
    )
    handed_on = volumes[mounts_of(operator)["/var/run/secrets/tls"]]
    ((kind, source),) = handed_on.items()
    assert source["items"] == [{"key": "ca.crt", "path": "ca.crt"}]
    assert (kind, source.get("name")) == ("secret", None) if settings else ("configMap", "tuningjob-ca")


def test_the_results_service_makes_its_own_certificate_only_by_the_charts_authority(render: Render) -> None:
    own = settings_of(containers_of(render("tls.days=7", "tls.names={results.example.com}"))["results"])
    name = "tuningjob-results.tuningjob-system"
    assert own.tls_life == dt.timedelta(days=7)
    assert set(own.tls_names) == {
        *("tuningjob-results", name, f"{name}.svc", f"{name}.svc.cluster.local", "results.example.com"),
        *("localhost", "127.0.0.1", "::1"),
    }
    # what helm takes for text, because it is no whole number
    brief = settings_of(containers_of(render("tls.days=0.5"))["results"])
    assert brief.tls_life == dt.timedelta(hours=12)
    for settings in ("tls.secretName=results-tls", "tls.issuerRef.name=ours"):
        objects = render(settings)
        assert settings_of(containers_of(objects)["results"]).tls_names == ()
        assert "tuningjob-ca" not in {found["metadata"]["name"] for found in objects}


def test_cert_manager_is_asked_for_a_certificate_of_the_same_names(render: Render) -> None:
    objects = render("tls.issuerRef.name=ours", "tls.issuerRef.kind=ClusterIssuer", "tls.days=90")
    spec = the(objects, "Certificate")["spec"]
    assert spec["issuerRef"] == {"name": "ours", "kind": "ClusterIssuer"}
    assert (spec["secretName"], spec["duration"], spec["renewBefore"]) == ("tuningjob-tls", "2160h", "720h")
    own = settings_of(containers_of(render())["results"])
    assert [*spec["dnsNames"], *spec["ipAddresses"]] == list(own.tls_names)


def test_whom_to_trust_may_be_read_by_everybody_and_the_key_by_nobody(render: Render) -> None:
    objects = render()
    (rules,) = [found["rules"] for found in of_kind(objects, "Role") if found["metadata"]["name"] == "tuningjob-ca"]
    assert rules == [
        {"apiGroups": [""], "resources": ["configmaps"], "resourceNames": ["tuningjob-ca"], "verbs": ["get"]}
    ]
    (configmap,) = [found for found in of_kind(objects, "ConfigMap") if found["metadata"]["name"] == "tuningjob-ca"]
    assert configmap["data"].keys() == {"ca.crt"}
    assert "PRIVATE" not in configmap["data"]["ca.crt"]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("tls.secretName=a", "tls.issuerRef.name=b"), "must be one of the two, but got both"),
        (("tls.secretName=a", "tls.enabled=false"), "must be true with tls.secretName or tls.issuerRef, but got false"),
    ],
)
def test_two_ways_at_once_are_refused(template: Helm, settings: tuple[str, ...], said: str) -> None:
    result = template(*settings)
    assert result.returncode != 0
    assert said in result.stderr


def test_with_tls_turned_off_they_speak_http(render: Render) -> None:
    objects = render("tls.enabled=false")
    results = containers_of(objects)["results"]
    assert "tuningjob-ca" not in {found["metadata"]["name"] for found in objects}
    assert results["readinessProbe"]["httpGet"]["scheme"] == "HTTP"
    assert settings_of(results).tls_dir is None
    assert not [name for name in volumes_of(objects) if name.startswith("tls")]


def test_a_database_url_may_be_in_a_secret_that_is_there_already(render: Render, template: Helm) -> None:
    objects = render("databaseSecret=mine")
    made = {secret["metadata"]["name"] for secret in of_kind(objects, "Secret")}
    assert made == {"tuningjob-ca", "tuningjob-reviewer", "tuningjob-signing-key"}
    for container in containers_of(objects).values():
        (variable,) = [found for found in container["env"] if found["name"] == "TUNINGJOB_DATABASE_URL"]
        assert variable["valueFrom"]["secretKeyRef"] == {"name": "mine", "key": "url"}
    both = template("databaseSecret=mine", "databaseUrl=postgresql://db/tuningjob")
    assert both.returncode != 0
    assert "must be one of the two, but got both" in both.stderr


def test_a_bucket_is_told_to_both_containers_with_its_credentials(render: Render) -> None:
    objects = render("artifacts.url=s3://models/team", "artifacts.credentialsSecret=bucket")
    for container in containers_of(objects).values():
        assert settings_of(container).artifacts_url == "s3://models/team"
        assert container["envFrom"] == [{"secretRef": {"name": "bucket"}}]
        volume = volumes_of(objects)[mounts_of(container)["/var/run/secrets/artifacts"]]
        assert volume["secret"]["secretName"] == "bucket"


def test_a_claim_for_the_files_alone_is_mounted_into_both_containers(render: Render, template: Helm) -> None:
    objects = render("artifacts.existingClaim=models")
    for container in containers_of(objects).values():
        assert settings_of(container).artifacts_url == "file:///artifacts"
        volume = volumes_of(objects)[mounts_of(container)["/artifacts"]]
        assert volume["persistentVolumeClaim"] == {"claimName": "models"}
    both = template("artifacts.existingClaim=models", "artifacts.url=s3://models")
    assert both.returncode != 0
    assert "artifacts.url and artifacts.existingClaim: must be one of the two, but got both" in both.stderr


def test_without_a_bucket_files_are_on_the_volume(objects: list[Manifest]) -> None:
    for container in containers_of(objects).values():
        assert settings_of(container).artifacts_url == "file:///data/artifacts"
        assert "envFrom" not in container


def test_the_retention_of_deleted_searches_is_told_to_the_operator(objects: list[Manifest], render: Render) -> None:
    assert settings_of(containers_of(objects)["operator"]).retention == dt.timedelta(days=30)
    none = render("retentionDays=0")
    assert settings_of(containers_of(none)["operator"]).retention == dt.timedelta(0)


# --- who created a TuningJob: test_created_by tries the policies on a real API server --------------------------------


def admission(objects: list[Manifest], name: str = "created-by") -> dict[str, str]:
    """The version of each kind, of the policies of this name."""
    return {
        found["kind"]: found["apiVersion"]
        for found in objects
        if "AdmissionPolicy" in found["kind"] and found["metadata"]["name"] == f"tuningjob-{name}"
    }


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
def test_the_mutating_policy_is_of_the_version_that_the_cluster_has(helm: Helm, version: str) -> None:
    group = "admissionregistration.k8s.io"
    has = [f"--api-versions={group}/{each}/MutatingAdmissionPolicy" for each in ("v1alpha1", version)]
    result = helm("template", "tuningjob", str(CHART), "--kube-version", "1.34.0", *has)
    kinds = admission([document for document in yaml.safe_load_all(result.stdout) if document])
    assert kinds["MutatingAdmissionPolicy"] == kinds["MutatingAdmissionPolicyBinding"] == f"{group}/{version}"
    assert kinds["ValidatingAdmissionPolicy"] == kinds["ValidatingAdmissionPolicyBinding"] == f"{group}/v1"


def test_a_cluster_without_mutating_policies_has_the_validating_one(objects: list[Manifest]) -> None:
    assert admission(objects).keys() == {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}
    assert settings_of(containers_of(objects)["operator"]).records_creators is True


def test_with_watched_namespaces_the_policies_hold_there_only(render: Render) -> None:
    # the one that confines the operator's own account has nothing to ask elsewhere: it has no rights there
    bindings = of_kind(
        render('watchNamespaces=["one","two"]', "confineOperator.enabled=false"), "ValidatingAdmissionPolicyBinding"
    )
    assert len(bindings) == 2
    for binding in bindings:
        (expression,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
        assert expression == {"key": "kubernetes.io/metadata.name", "operator": "In", "values": ["one", "two"]}


def test_who_created_what_need_not_be_known(render: Render) -> None:
    objects = render("createdBy.enabled=false")
    assert admission(objects) == {}
    assert settings_of(containers_of(objects)["operator"]).records_creators is False


# --- what a TuningJob may name: test_references tries the policy on a real API server ---------------------------------

VALIDATING = ("ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding")


def cluster_with(*kinds: str) -> list[str]:
    """What helm would find on a cluster that has these kinds of admission policies, and what every cluster has."""
    has = ["apps/v1/Deployment", *(f"admissionregistration.k8s.io/v1/{kind}" for kind in kinds)]
    return ["--kube-version=1.34.0", *(f"--api-versions={each}" for each in has)]


def test_authors_are_held_to_their_rights_by_default(objects: list[Manifest]) -> None:
    assert admission(objects, "references").keys() == set(VALIDATING)
    assert settings_of(containers_of(objects)["operator"]).trusts_references is True


def test_without_the_check_the_operator_refuses_what_names_a_secret(render: Render) -> None:
    objects = render("references.check=false")
    assert admission(objects, "references") == {}
    assert settings_of(containers_of(objects)["operator"]).trusts_references is False


def test_authors_may_be_trusted_instead(render: Render, template: Helm) -> None:
    objects = render("references.check=false", "references.trustAuthors=true")
    assert admission(objects, "references") == {}
    assert settings_of(containers_of(objects)["operator"]).trusts_references is True
    both = template("references.trustAuthors=true")
    assert both.returncode != 0
    assert "references.trustAuthors: must be false while references.check is true, but got true. Set references" in (
        both.stderr
    )


def test_a_cluster_without_validating_policies_is_given_none_and_the_operator_refuses(helm: Helm) -> None:
    lacking = helm("template", "tuningjob", str(CHART), *cluster_with())
    objects = [document for document in yaml.safe_load_all(lacking.stdout) if document]
    assert not [found for found in objects if "AdmissionPolicy" in found["kind"]]
    operator = settings_of(containers_of(objects)["operator"])
    assert (operator.trusts_references, operator.records_creators) == (False, False)
    having = helm("template", "tuningjob", str(CHART), *cluster_with("ValidatingAdmissionPolicy"))
    objects = [document for document in yaml.safe_load_all(having.stdout) if document]
    assert admission(objects, "references").keys() == admission(objects).keys() == set(VALIDATING)


def test_every_container_has_requests_limits_and_probes(objects: list[Manifest]) -> None:
    for container in containers_of(objects).values():
        assert set(container["resources"]) == {"requests", "limits"}
        assert set(container["resources"]["requests"]) == set(container["resources"]["limits"]) == {"cpu", "memory"}
        assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert containers_of(objects)["results"]["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_containers_read_their_settings_from_the_values(render: Render) -> None:
    objects = render(
        *("images.worker=registry/worker:1", "images.pullPolicy=Always", "limits.maxFits=123456789"),
        *("limits.maxPods=7", "limits.maxCpu=16", "limits.maxMemory=1.5Ti", 'watchNamespaces=["one","two"]'),
    )
    operator = settings_of(containers_of(objects)["operator"])
    assert (operator.worker_image, operator.worker_pull_policy) == ("registry/worker:1", "Always")
    assert (operator.max_fits, operator.max_pods) == (123_456_789, 7)
    assert (operator.max_cpu, operator.max_memory) == (Decimal(16), Decimal(3 * 2**39))
    assert operator.watch_namespaces == ("one", "two")
    ports = {port["name"]: port["containerPort"] for port in containers_of(objects)["operator"]["ports"]}
    assert ports == {"liveness": operator.liveness_port, "metrics": operator.metrics_port}
    results = settings_of(containers_of(objects)["results"])
    assert results.results_port == containers_of(objects)["results"]["ports"][0]["containerPort"]
    assert operator.database_url == results.database_url == "sqlite:////data/tuning.db"


def test_a_search_has_ceilings_that_may_be_taken_away(objects: list[Manifest], render: Render) -> None:
    operator = settings_of(containers_of(objects)["operator"])
    assert (operator.max_fits, operator.max_pods) == (1_000_000, 100)
    assert (operator.max_cpu, operator.max_memory) == (Decimal(100), Decimal(400 * 2**30))
    without = settings_of(containers_of(render("limits.maxCpu=", "limits.maxMemory="))["operator"])
    assert (without.max_cpu, without.max_memory) == (None, None)


def test_a_ceiling_may_be_a_number_of_a_values_file(helm: Helm, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("limits: {maxCpu: 2000000}\n")
    result = helm("template", "tuningjob", str(CHART), "--kube-version", "1.34.0", "--values", str(file))
    objects = [document for document in yaml.safe_load_all(result.stdout) if document]
    assert settings_of(containers_of(objects)["operator"]).max_cpu == 2_000_000


def test_worker_pods_are_told_the_address_of_the_service(objects: list[Manifest]) -> None:
    service = the(objects, "Service")
    name, namespace = service["metadata"]["name"], service["metadata"]["namespace"]
    (port,) = service["spec"]["ports"]
    url = settings_of(containers_of(objects)["operator"]).results_url
    assert (
        url == f"https://{name}.{namespace}.svc:{port['port']}" == "https://tuningjob-results.tuningjob-system.svc:8080"
    )
    assert service["spec"]["selector"].items() <= pod_of(objects)["metadata"]["labels"].items()
    assert port["targetPort"] in {port["name"] for port in containers_of(objects)["results"]["ports"]}


def test_a_database_url_is_kept_in_a_secret(render: Render) -> None:
    objects = render("databaseUrl=postgresql://user:hidden@db/tuningjob")
    (database,) = [found for found in of_kind(objects, "Secret") if "stringData" in found]
    assert database["stringData"] == {"url": "postgresql://user:hidden@db/tuningjob"}
    for container in containers_of(objects).values():
        (variable,) = [found for found in container["env"] if found["name"] == "TUNINGJOB_DATABASE_URL"]
        assert variable["valueFrom"]["secretKeyRef"] == {"name": "tuningjob-database", "key": "url"}
    assert "hidden" not in str(the(objects, "Deployment"))
    # nor a digest of it, which every viewer of the namespace could try passwords against
    digest = hashlib.sha256(b"postgresql://user:hidden@db/tuningjob").hexdigest()
    assert digest not in str(the(objects, "Deployment"))


# --- rights ----------------------------------------------------------------------------------------------------------


def granted(rules: list[Manifest]) -> set[tuple[str, str, str]]:
    return {
        (verb, group, resource)
        for rule in rules
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def as_right(access: Permission) -> tuple[str, str, str]:
    return access.verb, access.group, "/".join(filter(None, (access.resource, access.subresource)))


REQUIRED = {as_right(access) for access in REQUIRED_ACCESS}
NODES, LEASES = {as_right(NODES_ACCESS)}, {as_right(LEASES_ACCESS)}


def operator_role(objects: list[Manifest], kind: str) -> list[Manifest]:
    return [role for role in of_kind(objects, kind) if role["metadata"]["name"] == "tuningjob"]


def test_the_operator_may_do_in_all_namespaces_what_it_needs_and_no_more(objects: list[Manifest]) -> None:
    (role,) = operator_role(objects, "ClusterRole")
    assert granted(role["rules"]) == REQUIRED | NODES | LEASES
    assert settings_of(containers_of(objects)["operator"]).checks_nodes is True
    (binding,) = operator_role(objects, "ClusterRoleBinding")
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "tuningjob", "namespace": "tuningjob-system"}]
    assert operator_role(objects, "Role") == []


def test_nodes_need_not_be_looked_at(render: Render) -> None:
    objects = render("limits.checkNodes=false")
    (role,) = operator_role(objects, "ClusterRole")
    assert granted(role["rules"]) == REQUIRED | LEASES
    assert settings_of(containers_of(objects)["operator"]).checks_nodes is False


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ((), {"kube-system", "tuningjob-system"}),
        (("leaderElection.namespace=operators",), {"operators", "tuningjob-system"}),
        (('watchNamespaces=["one","tuningjob-system"]',), {"one", "tuningjob-system"}),
    ],
)
def test_the_operator_may_take_its_leases_where_operators_meet_and_no_others(
    render: Render, settings: tuple[str, ...], where: set[str]
) -> None:
    objects = render(*settings)
    roles = [role for role in of_kind(objects, "Role") if role["metadata"]["name"] == "tuningjob-leases"]
    assert {role["metadata"]["namespace"] for role in roles} == where
    assert len(roles) == len(where)
    for role in roles:
        assert granted(role["rules"]) == {as_right(access) for access in lease_access(SCOPE_NAME)}
        (bounded,) = [rule for rule in role["rules"] if "create" not in rule["verbs"]]
        assert bounded["resourceNames"] == [SCOPE_NAME, "tuningjob"]
    told = settings_of(containers_of(objects)["operator"])
    assert told.release == "tuningjob-system/tuningjob"
    assert {told.lease_namespace} | {"tuningjob-system"} == where or told.watch_namespaces


def test_with_watched_namespaces_the_rights_are_given_in_those_only(render: Render) -> None:
    watched = render('watchNamespaces=["one","two"]', "limits.checkNodes=true")
    assert operator_role(watched, "ClusterRole") == operator_role(watched, "ClusterRoleBinding") == []
    roles = operator_role(watched, "Role")
    assert [role["metadata"]["namespace"] for role in roles] == ["one", "two"]
    bindings = operator_role(watched, "RoleBinding")
    assert [binding["metadata"]["namespace"] for binding in bindings] == ["one", "two"]
    assert all(granted(role["rules"]) == REQUIRED for role in roles)
    # nodes are the cluster's
    assert settings_of(containers_of(watched)["operator"]).checks_nodes is False


def test_with_watched_namespaces_nothing_need_be_cluster_wide(render: Render) -> None:
    optional = (
        *("crds.enabled", "createdBy.enabled", "references.check", "confineOperator.enabled"),
        "userRoles.enabled",
    )
    watched = 'watchNamespaces=["one","two"]'
    for kind in {found["kind"] for found in render(watched) if "namespace" not in found["metadata"]}:
        assert kind in {"CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding", *VALIDATING}
    objects = render(watched, *(f"{name}=false" for name in optional), "people.audience=")
    assert {found["metadata"]["namespace"] for found in objects} == {"tuningjob-system", "one", "two"}


def test_no_right_is_a_wildcard_and_no_secret_is_readable(objects: list[Manifest]) -> None:
    rights = granted([rule for role in of_kind(objects, "ClusterRole") for rule in role["rules"]])
    assert not [right for right in rights if "*" in right]
    assert {verb for verb, _, resource in rights if resource == "secrets"} == {"create"}
    assert {resource for verb, _, resource in rights if verb == "delete"} == {"tuningjobs", "jobs"}


def test_users_have_tuningjobs_through_kubernetes_own_roles(objects: list[Manifest], render: Render) -> None:
    roles = {role["metadata"]["name"]: role for role in of_kind(objects, "ClusterRole")}
    prefix = "rbac.authorization.k8s.io/aggregate-to-"
    aggregated = {
        name: {label.removeprefix(prefix) for label in role["metadata"]["labels"] if label.startswith(prefix)}
        for name, role in roles.items()
    }
    assert aggregated == {
        "tuningjob": set(),
        "tuningjob-reviewer": set(),
        "tuningjob-view": {"view", "edit", "admin"},
        "tuningjob-edit": {"edit", "admin"},
    }
    assert {verb for verb, _, _ in granted(roles["tuningjob-view"]["rules"])} == {"get", "list", "watch"}
    assert {resource for _, _, resource in granted(roles["tuningjob-edit"]["rules"])} == {
        "tuningjobs",
        "tuningjobs/scale",
    }
    without = [role["metadata"]["name"] for role in of_kind(render("userRoles.enabled=false"), "ClusterRole")]
    assert without == ["tuningjob", "tuningjob-reviewer"]


# --- tokens of an audience of their own: tests/service/test_audience has the reviews on a real API server ---------------


def test_who_reviews_tokens_may_do_nothing_else_and_its_token_is_the_results_services_alone(
    objects: list[Manifest], render: Render
) -> None:
    (role,) = [found for found in of_kind(objects, "ClusterRole") if found["metadata"]["name"] == "tuningjob-reviewer"]
    assert granted(role["rules"]) == {
        ("create", "authentication.k8s.io", "tokenreviews"),
        ("create", "authorization.k8s.io", "subjectaccessreviews"),
    }
    operator, results = (containers_of(objects)[name] for name in ("operator", "results"))
    told = {each["name"]: each.get("value") for each in results["env"]}
    audience = find_audience({name: value for name, value in told.items() if value is not None})
    assert audience is not None
    assert (audience.name, audience.is_required) == ("tuningjob", False)
    volume = volumes_of(objects)[mounts_of(results)[str(audience.token_file.parent)]]
    assert (volume["secret"]["secretName"], volume["secret"]["optional"]) == ("tuningjob-reviewer", True)
    assert "reviewer" not in str(operator)

    strict = containers_of(render("people.clusterTokens=false"))["results"]
    assert {"name": "TUNINGJOB_CLUSTER_TOKENS", "value": "false"} in strict["env"]


def test_without_an_audience_there_is_nobody_to_review(render: Render, template: Helm) -> None:
    assert "reviewer" not in str(render("people.audience="))
    neither = template("people.audience=", "people.clusterTokens=false")
    assert neither.returncode != 0
    assert "people.clusterTokens: must be true without people.audience" in neither.stderr


def test_the_readme_lists_the_operators_rights_completely() -> None:
    row = re.compile(r"^\| `([a-z/.]+)` \| ([a-z, ]+) \| .* \|$", re.MULTILINE)
    text = (CHART / "README.md").read_text(encoding="utf-8")
    told = {(verb, resource) for resource, verbs in row.findall(text) for verb in verbs.split(", ")}
    plain = {"tuningjobs": "tuningjobs.tuningjob.dev", "jobs": "jobs.batch"}
    want = set()
    for verb, _, resource in REQUIRED | NODES | LEASES:
        name, slash, subresource = resource.partition("/")
        want.add((verb, plain.get(name, name) + slash + subresource))
    assert told == want


# --- the CRD and the volume ------------------------------------------------------------------------------------------

KEEP = {"helm.sh/resource-policy": "keep"}


def test_the_crd_is_the_generated_one_and_stays_by_default(objects: list[Manifest]) -> None:
    crd = the(objects, "CustomResourceDefinition")
    assert crd["metadata"].pop("annotations") == KEEP
    assert crd == yaml.safe_load(CRD.read_text(encoding="utf-8"))


def test_the_crd_need_not_stay(render: Render) -> None:
    crd = the(render("crds.keep=false"), "CustomResourceDefinition")
    assert crd == yaml.safe_load(CRD.read_text(encoding="utf-8"))


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
    objects = [document for document in yaml.safe_load_all(result.stdout) if document]
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
