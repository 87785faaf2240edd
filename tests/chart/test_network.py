"""The chart's NetworkPolicies: their text. No network here enforces them; test_accepted has that an API server takes them."""

from typing import Any

import pytest
from sqlalchemy import make_url

from tests.chart.conftest import Helm, Manifest, Render
from tests.chart.objects import containers_of, of_kind, pod_of, settings_of, the
from tuningjob_operator import names
from tuningjob_operator.objects import labels

pytestmark = pytest.mark.cluster

WORKERS = "networkPolicy.workers.namespaces"


def policies(objects: list[Manifest]) -> dict[str, Manifest]:
    """Their specs, by namespace."""
    return {found["metadata"]["namespace"]: found["spec"] for found in of_kind(objects, "NetworkPolicy")}


def selects(selector: Manifest, labelled: dict[str, str]) -> bool:
    return bool(selector["matchLabels"].items() <= labelled.items())


def ports_of(rules: list[Manifest]) -> list[tuple[tuple[str, int], ...]]:
    return [tuple((port["protocol"], port["port"]) for port in rule["ports"]) for rule in rules]


@pytest.fixture(scope="module")
def worker() -> dict[str, str]:
    """The labels of a worker pod, from where the operator makes them."""
    return labels({"metadata": {"name": "forest", "uid": "1"}}, names.COMPONENT_WORKER)


def test_by_default_the_operators_pod_is_held_and_no_worker_is(objects: list[Manifest], worker: dict[str, str]) -> None:
    (spec,) = policies(objects).values()
    assert policies(objects).keys() == {"tuningjob-system"}
    assert spec["policyTypes"] == ["Ingress", "Egress"]
    assert selects(spec["podSelector"], pod_of(objects)["metadata"]["labels"])
    assert not selects(spec["podSelector"], worker)


def test_worker_pods_everywhere_reach_the_results_service(objects: list[Manifest], worker: dict[str, str]) -> None:
    reports = policies(objects)["tuningjob-system"]["ingress"][0]
    results = settings_of(containers_of(objects)["results"]).results_port
    assert ports_of([reports]) == [(("TCP", results),)]
    assert reports["from"][0]["namespaceSelector"] == {}
    assert selects(reports["from"][0]["podSelector"], worker)


def test_the_pod_of_helm_test_reaches_it_and_is_held_by_no_policy(objects: list[Manifest], render: Render) -> None:
    spec = policies(objects)["tuningjob-system"]
    test_pod = the(objects, "Pod")["metadata"]["labels"]
    assert selects(spec["ingress"][0]["from"][1]["podSelector"], test_pod)
    assert not selects(spec["podSelector"], test_pod)
    assert not test_pod.items() >= the(objects, "Service")["spec"]["selector"].items()
    peers = policies(render("tests.enabled=false"))["tuningjob-system"]["ingress"][0]["from"]
    assert len(peers) == 2


def test_prometheus_reaches_both_metrics_ports(objects: list[Manifest]) -> None:
    rule = policies(objects)["tuningjob-system"]["ingress"][1]
    results = settings_of(containers_of(objects)["results"]).results_port
    metrics = settings_of(containers_of(objects)["operator"]).metrics_port
    assert ports_of([rule]) == [(("TCP", results), ("TCP", metrics))]
    assert rule["from"] == [
        {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app.kubernetes.io/name": "prometheus"}}}
    ]


def test_clients_may_be_few_or_none(objects: list[Manifest], render: Render) -> None:
    assert policies(objects)["tuningjob-system"]["ingress"][0]["from"][2:] == [{"namespaceSelector": {}}]
    serving = '{"namespaceSelector":{"matchLabels":{"team":"serving"}}}'
    one = policies(render(f"networkPolicy.clients=[{serving}]"))["tuningjob-system"]["ingress"]
    assert one[0]["from"][2:] == [{"namespaceSelector": {"matchLabels": {"team": "serving"}}}]
    none = policies(render("networkPolicy.clients=[]", "networkPolicy.prometheus=[]"))["tuningjob-system"]["ingress"]
    # an empty list of peers would be everybody: there is no rule instead
    assert len(none) == 1
    assert len(none[0]["from"]) == 2


DNS = (("UDP", 53), ("TCP", 53))
API_SERVER = (("TCP", 443), ("TCP", 6443))


@pytest.mark.parametrize(
    ("settings", "more"),
    [
        ((), []),
        (("databaseSecret=mine",), [(("TCP", 5432),)]),
        (("databaseUrl=postgresql://user:hidden@db/tuningjob",), [(("TCP", 5432),)]),
        (("databaseUrl=postgresql://user:hid5:1@db:6000/tuningjob?connect_timeout=5",), [(("TCP", 6000),)]),
        (("databaseUrl=postgresql://db:6000",), [(("TCP", 6000),)]),
        (("artifacts.url=s3://models", "networkPolicy.bucket.ports=[9000]"), [(("TCP", 9000),)]),
        (("artifacts.url=file:///elsewhere",), []),
        (("artifacts.existingClaim=models",), []),
        (
            ('networkPolicy.egress=[{"ports":[{"protocol":"TCP","port":988}]}]',),
            [(("TCP", 988),)],
        ),
    ],
)
def test_the_operators_pod_reaches_what_the_values_name(
    render: Render, settings: tuple[str, ...], more: list[Any]
) -> None:
    egress = policies(render(*settings))["tuningjob-system"]["egress"]
    assert ports_of(egress) == [DNS, API_SERVER, *more]
    assert not [rule for rule in egress if "to" in rule]


def asked_ports(url: str) -> set[int]:
    """Where libpq would go, as SQLAlchemy hands the URL to it."""
    parsed = make_url(url)
    _, options = parsed.get_dialect()().create_connect_args(parsed)
    hosts = str(options.get("host", "")).split(",")
    ports = str(options.get("port", "")).split(",")
    return {int(port or 5432) for host, port in zip(hosts, ports, strict=True) if not host.startswith("/")}


@pytest.mark.parametrize(
    "rest",
    [
        "user:hid@db/n",
        "user:hid@db:6000/n?host=",
        "user:hid5:1@[2001:db8::1]:6000/n",
        "user:hid@/n?host=one:6432&host=two:6432&target_session_attrs=read-write",
        "user:hid@/n?host=one:5432&host=two:6432",
        "user:hid@/n?target_session_attrs=any&host=one&host=two:6432",
        "user:hid@/n?host=one%3A7001&host=two%3A7002",
        "user:hid@/n?host=one,two&port=7001,7002",
    ],
)
def test_it_reaches_every_server_that_a_database_url_names(render: Render, rest: str) -> None:
    url = f"postgresql+psycopg://{rest}"
    (rule,) = policies(render(f"databaseUrl={url.replace(',', chr(92) + ',')}"))["tuningjob-system"]["egress"][2:]
    assert {port["port"] for port in rule["ports"]} == asked_ports(url)


def test_addresses_may_be_named(render: Render) -> None:
    block = {"ipBlock": {"cidr": "10.0.0.1/32"}}
    settings = [f'networkPolicy.{name}.to=[{{"ipBlock":{{"cidr":"10.0.0.1/32"}}}}]' for name in ("dns", "apiServer")]
    egress = policies(render(*settings))["tuningjob-system"]["egress"]
    assert [rule["to"] for rule in egress] == [[block], [block]]


def test_workers_in_named_namespaces_reach_dns_the_results_service_and_what_is_listed(
    render: Render, worker: dict[str, str]
) -> None:
    data = 'networkPolicy.workers.egress=[{"to":[{"ipBlock":{"cidr":"10.20.0.0/16"}}],"ports":[{"port":443}]}]'
    objects = render(f'{WORKERS}=["one","two"]', data)
    found = policies(objects)
    assert found.keys() == {"tuningjob-system", "one", "two"}
    assert found["one"] == found["two"]
    spec = found["one"]
    assert selects(spec["podSelector"], worker)
    assert not selects(spec["podSelector"], pod_of(objects)["metadata"]["labels"])
    assert (spec["policyTypes"], "ingress" in spec) == (["Ingress", "Egress"], False)
    dns, results, listed = spec["egress"]
    assert ports_of([dns, results]) == [DNS, (("TCP", 8080),)]
    (service,) = results["to"]
    assert service["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "tuningjob-system"}}
    assert selects(service["podSelector"], pod_of(objects)["metadata"]["labels"])
    assert listed == {"to": [{"ipBlock": {"cidr": "10.20.0.0/16"}}], "ports": [{"port": 443}]}


def test_watched_namespaces_are_where_workers_are(render: Render, template: Helm) -> None:
    watched = 'watchNamespaces=["one","two"]'
    assert policies(render(watched)).keys() == {"tuningjob-system", "one", "two"}
    assert policies(render(watched, f'{WORKERS}=["two"]')).keys() == {"tuningjob-system", "two"}
    elsewhere = template(watched, f'{WORKERS}=["three"]')
    assert elsewhere.returncode != 0
    assert (
        "networkPolicy.workers.namespaces: must be of watchNamespaces (one, two), where worker pods are, but got three"
        in elsewhere.stderr
    )


def test_there_need_be_none(render: Render) -> None:
    assert policies(render("networkPolicy.enabled=false", 'watchNamespaces=["one"]')) == {}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ((), "Worker pods are not held by a NetworkPolicy: a chart cannot know their namespaces."),
        ((f'{WORKERS}=["one"]',), "Worker pods in other namespaces are not held by a NetworkPolicy of this release."),
        (('watchNamespaces=["one"]',), "Worker pods in one reach DNS, the results service and"),
        (('watchNamespaces=["one","two"]', f'{WORKERS}=["two"]'), "Worker pods in one are not held"),
        (("networkPolicy.enabled=false",), "networkPolicy.enabled is false"),
    ],
)
def test_the_notes_say_which_worker_pods_are_held(helm: Helm, settings: tuple[str, ...], told: str) -> None:
    words = [word for setting in settings for word in ("--set-json" if "=[" in setting else "--set", setting)]
    result = helm(*("install", "tuningjob", "charts/tuningjob", "--dry-run=client", *words))
    assert result.returncode == 0, result.stderr
    assert told in result.stdout
    everybody_is_held = told.startswith("Worker pods in one reach")
    assert everybody_is_held != ("not held" in result.stdout or "is false" in result.stdout)
