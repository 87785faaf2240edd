"""A real API server takes every object of the chart, to the last field."""

import pytest

from tests.chart.conftest import Manifest, Render
from tests.servers.apiserver import ApiServer

pytestmark = [pytest.mark.cluster, pytest.mark.slow]

# their CRDs are the Prometheus operator's and the Gateway API's
UNKNOWN = {"PodMonitor", "PrometheusRule", "HTTPRoute"}
PEERS = '[{"namespaceSelector":{"matchLabels":{"team":"serving"}}},{"ipBlock":{"cidr":"10.0.0.0/8"}}]'


def create(server: ApiServer, body: Manifest) -> None:
    """As if; a field that is not known is refused, not dropped."""
    group = f"/apis/{body['apiVersion']}" if "/" in body["apiVersion"] else f"/api/{body['apiVersion']}"
    resources = server.call("GET", group)["resources"]
    (plural,) = [found["name"] for found in resources if found["kind"] == body["kind"] and "/" not in found["name"]]
    namespace = body["metadata"].get("namespace")
    where = f"{group}/namespaces/{namespace}/{plural}" if namespace else f"{group}/{plural}"
    server.create_object(f"{where}?dryRun=All&fieldValidation=Strict", body)


@pytest.mark.parametrize(
    "settings",
    [
        (),
        ("tls.enabled=false",),
        (
            *("databaseUrl=postgresql://db/tuningjob", "artifacts.url=gs://models", "tls.secretName=tls"),
            *("artifacts.credentialsSecret=bucket", "monitoring.dashboard.enabled=true"),
            'imagePullSecrets=[{"name":"pull"}]',
        ),
        (
            *('watchNamespaces=["team","other"]', "artifacts.existingClaim=models", "databaseSecret=mine"),
            *(f"networkPolicy.clients={PEERS}", f"networkPolicy.prometheus={PEERS}", f"networkPolicy.dns.to={PEERS}"),
            'networkPolicy.egress=[{"ports":[{"protocol":"TCP","port":988,"endPort":990}]}]',
            f'networkPolicy.workers.egress=[{{"to":{PEERS}}}]',
        ),
        (
            *("ingress.enabled=true", 'ingress.hosts=["a.example.com","*.example.com"]', "ingress.tlsSecret=public"),
            *("ingress.annotations.x=y", "commonLabels.team=ml", "fullnameOverride=search", "runtimeClassName=gvisor"),
            *("serviceAccount.create=false", "serviceAccount.name=mine", f"images.operatorDigest=sha256:{64 * 'a'}"),
            *("probes.results.startup.initialDelaySeconds=3", "dnsPolicy=None", 'dnsConfig.nameservers=["10.0.0.10"]'),
            'extraVolumes=[{"name":"db-ca","configMap":{"name":"db-ca"}}]',
            'extraVolumeMounts=[{"name":"db-ca","mountPath":"/etc/db","readOnly":true}]',
            'hostAliases=[{"ip":"10.0.0.1","hostnames":["db"]}]',
        ),
    ],
    ids=["by default", "without TLS", "production", "two namespaces", "a house with rules"],
)
def test_every_object_is_taken(render: Render, kubernetes: ApiServer, settings: tuple[str, ...]) -> None:
    for found in render(*settings):
        if found["kind"] not in {*UNKNOWN, "CustomResourceDefinition"}:
            create(kubernetes, found)
