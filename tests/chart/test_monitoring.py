"""What the chart tells Prometheus and Grafana, held to what the code really exposes."""

import json
import re
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from tests.chart.conftest import CHART, Manifest, Render
from tests.chart.objects import containers_of, of_kind, pod_of, settings_of, the
from tuningjob_operator.cluster.cache import Cache
from tuningjob_operator.control.loops import PassOutcome
from tuningjob_operator.control.telemetry import Telemetry
from tuningjob_operator.service.metrics import ServiceMetrics

pytestmark = pytest.mark.cluster

DASHBOARD = CHART / "files" / "dashboard.json"
POD_MONITOR = "monitoring.podMonitor.enabled=true"


# --- annotations and PodMonitor --------------------------------------------------------------------------------------


def annotations(found: Manifest) -> dict[str, str]:
    told = found["metadata"].get("annotations", {})
    return {name.removeprefix("prometheus.io/"): told[name] for name in told if name.startswith("prometheus.io/")}


def test_annotations_name_both_ports_one_on_the_pod_and_one_on_the_service(objects: list[Manifest]) -> None:
    metrics = settings_of(containers_of(objects)["operator"]).metrics_port
    results = settings_of(containers_of(objects)["results"]).results_port
    same = {"scrape": "true", "path": "/metrics"}
    assert annotations(pod_of(objects)) == {**same, "port": str(metrics), "scheme": "http"}
    assert annotations(the(objects, "Service")) == {**same, "port": str(results), "scheme": "https"}


def test_annotations_may_be_left_out(render: Render) -> None:
    objects = render("metrics.annotations=false")
    assert annotations(pod_of(objects)) == annotations(the(objects, "Service")) == {}


def endpoints(monitor: Manifest) -> dict[str, Manifest]:
    return {found["port"]: found for found in monitor["spec"]["podMetricsEndpoints"]}


def test_a_pod_monitor_names_both_ports_of_the_operators_pod(render: Render) -> None:
    objects = render(POD_MONITOR, "monitoring.podMonitor.labels.release=prometheus")
    monitor = the(objects, "PodMonitor")
    assert monitor["metadata"]["labels"]["release"] == "prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod_of(objects)["metadata"]["labels"].items()
    named = {port["name"] for found in containers_of(objects).values() for port in found["ports"]}
    assert endpoints(monitor).keys() == {"metrics", "results"} <= named
    for found in endpoints(monitor).values():
        assert (found["path"], found["interval"]) == ("/metrics", "30s")


@pytest.mark.parametrize(
    ("settings", "source"),
    [
        ((), {"configMap": {"name": "tuningjob-ca", "key": "ca.crt"}}),  # the Secret of this name has a key
        (("tls.secretName=results-tls",), {"secret": {"name": "results-tls", "key": "ca.crt"}}),
        (("tls.issuerRef.name=ours",), {"secret": {"name": "tuningjob-tls", "key": "ca.crt"}}),
    ],
)
def test_it_verifies_the_results_service_by_its_name(
    render: Render, settings: tuple[str, ...], source: Manifest
) -> None:
    found = endpoints(the(render(POD_MONITOR, *settings), "PodMonitor"))
    assert (found["metrics"]["scheme"], found["results"]["scheme"]) == ("http", "https")
    assert found["results"]["tlsConfig"] == {
        "ca": source,
        "serverName": "tuningjob-results.tuningjob-system.svc",
    }


def test_there_is_neither_by_default(objects: list[Manifest]) -> None:
    assert of_kind(objects, "PodMonitor") == of_kind(objects, "PrometheusRule") == []
    assert not [found for found in of_kind(objects, "ConfigMap") if "dashboard" in found["metadata"]["name"]]


# --- alerts ----------------------------------------------------------------------------------------------------------

ALERTS = CHART / "files" / "alerts.yaml"


@pytest.fixture(scope="module")
def alerts() -> list[Manifest]:
    (group,) = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    found: list[Manifest] = group["rules"]
    return found


def test_a_prometheus_rule_has_the_alerts_of_the_file(render: Render, alerts: list[Manifest]) -> None:
    rule = the(
        render("monitoring.prometheusRule.enabled=true", "monitoring.prometheusRule.labels.release=prometheus"),
        "PrometheusRule",
    )
    assert rule["metadata"]["labels"]["release"] == "prometheus"
    assert rule["spec"] == {"groups": [{"name": "tuningjob", "rules": alerts}]}


def test_every_alert_says_how_bad_it_is_and_what_it_means(alerts: list[Manifest]) -> None:
    for alert in alerts:
        assert alert["labels"]["severity"] in {"critical", "warning", "info"}
        assert alert["annotations"].keys() == {"summary", "description"}
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    told = Path("docs/observability.md").read_text(encoding="utf-8")
    assert not [alert["alert"] for alert in alerts if f"`{alert['alert']}`" not in told]


def test_every_alert_is_on_metrics_and_labels_that_the_code_exposes(
    alerts: list[Manifest], metrics: dict[str, set[str]]
) -> None:
    for query in (alert["expr"] for alert in alerts):
        assert names_in(query), query
        assert names_in(query) <= metrics.keys(), query
        matched = re.findall(r"([a-z_]+)(?:=~|=)\"", query)
        left_out = [each for group in re.findall(r"without \(([a-z_, ]+)\)", query) for each in group.split(", ")]
        assert {*matched, *left_out} <= known_labels(), query


def test_every_status_and_outcome_that_an_alert_asks_for_is_one_that_there_is(alerts: list[Manifest]) -> None:
    asked = {label: value for alert in alerts for label, value in re.findall(r'([a-z_]+)="([^"]+)"', alert["expr"])}
    assert asked["outcome"] in get_args(PassOutcome)
    assert asked["phase"] in telemetry_phases()


def telemetry_phases() -> set[str]:
    """The phases that TuningJobs are counted by."""
    (family,) = [found for found in Telemetry(Cache()).registry.collect() if found.name == "tuningjob_tuningjobs"]
    return {sample.labels["phase"] for sample in family.samples}


# --- the dashboard ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return found


def test_the_config_map_is_what_grafanas_sidecar_looks_for(render: Render, dashboard: dict[str, Any]) -> None:
    objects = render("monitoring.dashboard.enabled=true", "monitoring.dashboard.folder=Search")
    (config_map,) = [found for found in of_kind(objects, "ConfigMap") if "dashboard" in found["metadata"]["name"]]
    assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert config_map["metadata"]["annotations"] == {"grafana_folder": "Search"}
    ((name, text),) = config_map["data"].items()
    assert name == "tuningjob.json"
    assert json.loads(text) == dashboard


def queries(dashboard: dict[str, Any]) -> list[str]:
    return [target["expr"] for panel in dashboard["panels"] for target in panel.get("targets", [])]


def names_in(query: str) -> set[str]:
    """The metrics of a query: what has a selector, as each here has."""
    return set(re.findall(r"([a-z_]+)\{", query))


def exposed(registry: CollectorRegistry) -> dict[str, set[str]]:
    """The names of all samples that a registry may have, each with its labels, but for those of process_…"""
    found: dict[str, set[str]] = {}
    for family in registry.collect():
        suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}.get(family.type, ("",))
        for suffix in suffixes:
            found[family.name + suffix] = {name for sample in family.samples for name in sample.labels}
    return found


@pytest.fixture(scope="module")
def metrics() -> dict[str, set[str]]:
    """Of both processes, with a sample of each, so that labels are seen."""
    service, operator = ServiceMetrics(), Telemetry(Cache())
    operator.show(queue=[], resync_age=lambda: 0.0, leads=lambda: True)
    found = exposed(service.registry) | exposed(operator.registry)
    assert generate_latest(service.registry)
    return found


def test_every_metric_of_the_dashboard_is_one_that_the_code_exposes(
    dashboard: dict[str, Any], metrics: dict[str, set[str]]
) -> None:
    for query in queries(dashboard):
        assert names_in(query), query
        assert names_in(query) <= metrics.keys(), query


def known_labels() -> set[str]:
    """Of all that the two processes expose."""
    known = {"le", "phase"}
    for owner in (ServiceMetrics(), Telemetry(Cache())):
        for found in vars(owner).values():
            known |= set(getattr(found, "_labelnames", ()))
    return known


def test_every_grouping_of_the_dashboard_is_by_labels_that_the_code_knows(dashboard: dict[str, Any]) -> None:
    known = known_labels()
    for query in queries(dashboard):
        by = {label for group in re.findall(r"by \(([a-z_, ]+)\)", query) for label in group.split(", ")}
        assert by <= known, query


def test_every_panel_is_of_the_chosen_prometheus_and_instances(dashboard: dict[str, Any]) -> None:
    panels = [panel for panel in dashboard["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in panels} == {"${datasource}"}
    assert all('{instance=~"$instance"}' in query for query in queries(dashboard))
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "instance"}
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    assert len({panel["title"] for panel in panels}) == len(panels)


def test_no_panel_hides_another(dashboard: dict[str, Any]) -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells


@pytest.mark.parametrize(
    "name",
    [
        *("tuningjob_fits_total", "tuningjob_failed_fits_total", "tuningjob_cell_seconds_bucket"),
        *("tuningjob_claims_total", "tuningjob_queue_depth", "tuningjob_queue_latency_seconds_bucket"),
        *("tuningjob_reconcile_seconds_bucket", "tuningjob_reconcile_seconds_count", "tuningjob_api_calls_total"),
        *("tuningjob_tuningjobs", "tuningjob_active_pods", "process_resident_memory_bytes"),
        *("process_cpu_seconds_total", "tuningjob_resync_age_seconds", "tuningjob_unavailable_total"),
    ],
)
def test_the_dashboard_shows(dashboard: dict[str, Any], name: str) -> None:
    assert any(name in names_in(query) for query in queries(dashboard))
