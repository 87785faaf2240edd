"""What the chart tells the two containers: TLS, the database, the bucket, ceilings and addresses."""

import datetime as dt
import hashlib
from decimal import Decimal
from pathlib import Path

import pytest

from tests.chart.conftest import CHART, Helm, Manifest, Render
from tests.chart.objects import containers_of, mounts_of, of_kind, pod_of, settings_of, the, volumes_of
from tests.yamls import documents

pytestmark = pytest.mark.cluster


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


def test_the_administrator_sets_what_part_of_its_cpu_a_pod_is_promised(objects: list[Manifest], render: Render) -> None:
    placement = settings_of(containers_of(objects)["operator"]).placement
    assert (placement.default_cpu_request_percent, placement.least_cpu_request_percent) == (100, 0)
    changed = render("limits.defaultCpuRequestPercent=50", "limits.minCpuRequestPercent=10")
    placement = settings_of(containers_of(changed)["operator"]).placement
    assert (placement.default_cpu_request_percent, placement.least_cpu_request_percent) == (50, 10)


def test_a_ceiling_may_be_a_number_of_a_values_file(helm: Helm, tmp_path: Path) -> None:
    file = tmp_path / "values.yaml"
    file.write_text("limits: {maxCpu: 2000000}\n")
    result = helm("template", "tuningjob", str(CHART), "--kube-version", "1.34.0", "--values", str(file))
    objects = documents(result.stdout)
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
